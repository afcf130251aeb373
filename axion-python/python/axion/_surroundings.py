"""What a task finds around it, as a child of this process would (L18): folders of modules, arguments, limits, filters.

They are a part of every function, which a worker takes over where it differs from what the worker has. The key of
`multiprocessing` is a part of its own, which facts and records leave out (L17). Whatever can be told before a worker
starts, such as flags of the interpreter, goes to the engine at its start instead.
"""

import itertools
import operator
import os
import pickle
import site
import sys
import warnings

from . import _axion, _names, _stamps
from ._cpython import interpreter_flags

_versions = itertools.count(1)
_get_max_digits = getattr(sys, "get_int_max_str_digits", lambda: 0)


class Surroundings:
    """Those of the tasks of one engine."""

    def __init__(self, main=None):
        if main not in (None, "run"):
            raise ValueError("main is \"run\" or None, not %r" % (main,))
        self._runs_main = main == "run"
        self._parts = self._values = self._at = self._authkey = self._secret = None
        self._path, self._filters = [], []
        self._context = self._process = None  # of modules that are imported; one that comes is seen by `_modules`
        self._has_relative = False
        self._modules = self._depth = self._digits = self._names = self._stamps = -1
        self.begin()

    def begin(self):
        """Takes down what stays as it is when the engine starts."""
        self._argv = [arg for arg in sys.argv if isinstance(arg, str)]
        self._folder = _folder()
        self._parts = None

    def current(self):
        """The parts that functions need to have the surroundings as of now: the surroundings, and what is secret of them.
        The same list as long as nothing has changed.
        """
        # Cheap, since every submit asks. Modules that came make a new survey, which may find nothing new.
        if not (self._parts is not None and sys.path == self._path and len(sys.modules) == self._modules
                and _names.version() == self._names and _stamps.version() == self._stamps
                and ((process := self._process) is None or process().authkey is self._authkey)
                and warnings.filters == self._filters and sys.getrecursionlimit() == self._depth
                and _get_max_digits() == self._digits and ((context := self._context) is None or _is_same_context(*context))
                and not (self._has_relative and _folder() != self._at)):
            self._take_down()
        return self._parts

    def _take_down(self):
        parts_before, before = self._parts, self._values
        self._path, self._modules, self._stamps = list(sys.path), len(sys.modules), _stamps.version()
        self._filters = list(warnings.filters)
        self._depth, self._digits = sys.getrecursionlimit(), _get_max_digits()
        self._context = _decimal_context()
        self._process = getattr(sys.modules.get("multiprocessing.process"), "current_process", None)
        self._at = _folder()
        self._has_relative = any(isinstance(entry, str) and not os.path.isabs(entry) for entry in self._path)
        self._values = {
            "path": (self._absolute_path(), _interpreter()),
            "argv": self._argv,
            "main": _main_module() if self._runs_main else None,
            "depth": self._depth,
            "digits": self._digits,
            "decimal": _fields(self._context),
            "filters": [_plain_filter(each) for each in self._filters],
            "authkey": self._id_of_authkey(),
            "files": _names.modules_from_files(),
            "stamps": _stamps.stamps(),
        }
        self._names = _names.version()
        if parts_before is None or self._values != before:
            around = _axion.Part(pickle.dumps((next(_versions), self._values), 4))
            self._parts = [around] if self._secret is None else [around, self._secret]

    def _id_of_authkey(self):
        """Of the key by which the processes of `multiprocessing` know each other: objects of its managers need it."""
        key = None if self._process is None else self._process().authkey
        if key is not None and key is not self._authkey:
            self._authkey, self._secret = key, _axion.Part.secret(bytes(key))
        return None if self._secret is None else self._secret.id

    def _absolute_path(self):
        """`sys.path`. If this process has left the folder in which the engine started, where the workers still are,
        relative entries are made absolute.
        """
        entries = [entry for entry in self._path if isinstance(entry, str)]
        if self._at is None or self._at == self._folder:
            return entries
        return [os.path.join(self._at, entry) if entry else self._at for entry in entries]


def _main_module():
    """The name of the program's main module, for one that `python -m` runs, and its file; None if it has none."""
    main = sys.modules["__main__"]
    name = getattr(_stamps.spec_of(main), "name", None)
    path = getattr(main, "__file__", None)
    return None if name is None and path is None else (name, path and os.path.abspath(path))


def _folder():
    try:
        return os.getcwd()
    except OSError:
        return None


def _interpreter():
    """By what a worker knows whether it is the same interpreter, and folders beyond the prefix that are for this one."""
    folders = [folder for folder in (getattr(site, "USER_SITE", None),) if folder]
    return sys.prefix, sys.base_prefix, list(sys.version_info[:2]), folders


def _decimal_context():
    """What gives the context of a thread, the numbers of this thread's, and a copy of it, if `decimal` is imported."""
    get_context = getattr(sys.modules.get("decimal"), "getcontext", None)
    if get_context is None:
        return None
    context = get_context().copy()
    return get_context, _context_numbers(context), context


def _is_same_context(get_context, numbers, context):
    now = get_context()
    return _context_numbers(now) == numbers and now.traps == context.traps


_context_numbers = operator.attrgetter("prec", "rounding", "Emin", "Emax", "capitals", "clamp")


def _fields(context):
    if context is None:
        return None
    _, numbers, context = context
    return *numbers, [signal.__name__ for signal, is_set in context.traps.items() if is_set]


def _plain_filter(each):
    """A filter of `warnings`, without objects that make the worker import something."""
    action, message, category, module, line = each
    return action, _plain_pattern(message), (category.__module__, category.__qualname__), _plain_pattern(module), line


def _plain_pattern(pattern):
    return pattern if pattern is None or isinstance(pattern, str) else (pattern.pattern, pattern.flags)


def interpreter_arguments(python):
    """The flags of this interpreter, for workers that `python` runs.

    The engine gives `-P` to an interpreter that may be too old for it by a variable, which `-E` has it ignore.
    """
    arguments = interpreter_flags()
    if str(python) == sys.executable or "-E" not in arguments:
        return arguments
    return [argument for argument in arguments if argument != "-P"]
