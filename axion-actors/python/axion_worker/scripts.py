"""Loads script files and finds their entry points.

A worker loads a script once, and again when its file has changed. It checks the file once per read of
the data pipe. Every task of such a batch was accepted before the check, so the check sees a change that
was made before the task was submitted, and a thousand tasks in one read cost one check.
"""

import os
import sys
from io import StringIO
from time import time_ns
from types import FunctionType, ModuleType

from . import spawned
from .cpython import decode_source
from .failure import FailureKind, TaskFailure
from .library import StdlibFirst, forget_lines, remember_lines
from .process_state import ProcessState
from .values import dumps, loads

_CO_VARARGS, _CO_COROUTINE = 0x04, 0x80
_MAX_SCRIPTS = 256  # that a worker keeps: a program that writes a new script for each task must not fill it (L9)


class Script:
    """One loaded script. `call(params, context)` runs its entry point.

    `is_async` says whether the entry point is a coroutine function; None until `module()` has been called once.
    """

    __slots__ = ("path", "folder", "stamp", "recent_hash", "batch", "module", "call", "is_async", "state")

    # Its codec: how its parameters, result and exception travel.

    loads = staticmethod(loads)
    dumps = staticmethod(dumps)

    @staticmethod
    def dumps_exception(_error):
        """Empty: a script's exception goes to the engine as text alone."""
        return b""


# `compile` raises these for bad source; before Python 3.9, MemoryError for deep nesting.
_COMPILE_ERRORS = (SyntaxError, ValueError, RecursionError) + ((MemoryError,) if sys.version_info < (3, 9) else ())


class Scripts:
    """The loaded scripts, by path."""

    def __init__(self, one_at_a_time):
        self._scripts = {}
        # Where one task runs at a time, its late imports come from its own script's folder, too.
        self._one_at_a_time = one_at_a_time
        self._active_folder = None  # the first of the scripts' folders in `sys.path`
        self._listings = {}  # folder -> its time stamp and the names importable from it
        self._conflicts = {}  # folder -> its names that are importable from another script's folder, too
        self._inactive_modules = {}  # folder -> {name: module}, removed from `sys.modules` until it is active again
        # Where one task runs at a time, its script's module is `__main__`, and the process is put back after it.
        self._main = None  # the module that was entered; None while functions run
        self._state = None  # what is put back after a task
        self._state_at_start = self._state_of_functions = ProcessState() if one_at_a_time else None
        self._main_of_functions = None
        spawned.start()

    def get(self, raw, batch):
        """The script at the path `raw` (bytes), loaded if need be."""
        script = self._scripts.get(raw)
        if script is not None:
            if script.batch == batch or _is_same(script):
                script.batch = batch
                if script.module is not self._main and self._one_at_a_time:
                    self._enter(script.module, script.state)
                    self._activate(script.folder)
                return script
            self._drop(raw)
        script = self._load(os.fsdecode(raw))
        script.batch = batch
        self._scripts[raw] = script
        if len(self._scripts) > _MAX_SCRIPTS:
            self._forget(next(iter(self._scripts)))
        return script

    def loaded_coroutine(self, raw, batch):
        """The script if it is loaded, a coroutine function and its file is unchanged; else None.

        Loads nothing, so the thread that reads the data pipe may call it.
        """
        script = self._scripts.get(raw)
        if script is None or not script.is_async:
            return None
        if script.batch != batch:
            if not _is_same(script):
                return None
            script.batch = batch
        return script

    def is_plain(self, raw):
        """Whether a script is loaded and known not to be a coroutine function."""
        script = self._scripts.get(raw)
        return script is not None and script.is_async is False

    def _enter(self, module, state):
        """Makes a script's module `__main__`, and the process as it was after the script was loaded."""
        if self._main is None:
            self._main_of_functions, self._state_of_functions = sys.modules.get("__main__"), ProcessState()
        sys.modules["__main__"] = self._main = module
        self._state = state
        state.put_back()

    def leave(self):
        """Gives functions the main module and the process as they left them."""
        if self._main is not None:
            self._main = self._state = None
            sys.modules["__main__"] = self._main_of_functions
            self._state_of_functions.put_back()

    def note_functions(self, is_new):
        """Called when a function was loaded, if the process is put back after functions, too."""
        if is_new or self._state is None:  # it has imported its modules, and may have run an initializer
            self._state = ProcessState()
        else:
            self._state.take_depth()  # which goes with the surroundings of the function

    def put_back(self):
        """Undoes what a task has changed of the process."""
        if self._state is not None:
            self._state.put_back()

    def _drop(self, raw):
        script = self._scripts.pop(raw)
        spawned.remove(script.module)
        return script

    def _forget(self, raw):
        """Drops a script, and its folder if it was the last script in it."""
        script = self._drop(raw)
        sys.modules.pop(script.module.__name__, None)
        forget_lines(script.path)
        folder = script.folder
        if folder != self._active_folder and all(other.folder != folder for other in list(self._scripts.values())):
            for cache in (self._listings, self._conflicts, self._inactive_modules, sys.path_importer_cache):
                cache.pop(folder, None)
            if folder in sys.path:
                sys.path.remove(folder)

    def _load(self, path):
        now = time_ns()
        source, stamp = _read(path)
        try:
            code = compile(source, path, "exec", dont_inherit=True)
        except _COMPILE_ERRORS as error:
            raise TaskFailure(FailureKind.SCRIPT_SYNTAX, "%s cannot be compiled: %s" % (path, error)) from error
        _remember_lines(path, source)
        folder, file = os.path.split(path)
        stem = file.rpartition(".")[0] or file
        # Scripts of one name in two folders are two modules. The name is the same in every worker.
        name = "%s@%x" % (stem, int.from_bytes(os.fsencode(path), "little") % 0xFFFFFFFB)
        module = ModuleType(name)
        module.__file__ = path
        self._list(folder)
        self._activate(folder)
        sys.modules[name] = module
        spawned.add(module, path)
        if self._one_at_a_time:
            self._enter(module, self._state_at_start)
        try:
            exec(code, module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            spawned.remove(module)
            raise
        script = Script()
        script.state = self._state = self._state_after_load()
        script.path, script.folder, script.stamp, script.module = path, folder, stamp, module
        script.recent_hash = hash(source) if _is_recent(stamp, now) else None
        _find_entry(script)
        return script

    def _state_after_load(self):
        at_start = self._state_at_start
        return at_start if at_start is None or at_start.is_current() else ProcessState()

    def _list(self, folder):
        """Finds the names that a script's folder shares with the folders of other scripts."""
        sys.path_importer_cache.pop(folder, None)  # a helper module may be as new as the script
        stamp = _stamp(folder)
        if stamp is not None and self._listings.get(folder, (None,))[0] == stamp:
            return
        try:
            files = os.listdir(folder or ".")
        except OSError:  # the folder may be searchable but not readable
            files = ()
        names = {file.partition(".")[0] for file in files if not file.startswith((".", "__"))}
        self._listings[folder] = stamp, names
        for other, (_, others) in self._listings.items():
            shared = names & others
            if shared and other != folder:
                self._conflicts.setdefault(folder, set()).update(shared)
                self._conflicts.setdefault(other, set()).update(shared)

    def _activate(self, folder):
        """Moves the script's folder to the front of `sys.path`.

        A helper module from another script's folder whose name is also importable from this one leaves
        `sys.modules` until that folder is active again.
        """
        for name in self._conflicts.get(folder, ()):
            owner = _folder_of(sys.modules.get(name))
            if owner != folder and owner in self._listings:
                inactive = self._inactive_modules.setdefault(owner, {})
                for loaded in [n for n in sys.modules if n == name or n.startswith(name + ".")]:
                    inactive[loaded] = sys.modules.pop(loaded)
        sys.modules.update(self._inactive_modules.pop(folder, ()))
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
        self._active_folder = folder


def _folder_of(module):
    """The folder in which `import` found a module; None if the module came from no file."""
    path = next(iter(getattr(module, "__path__", ())), None) or getattr(module, "__file__", None)
    return os.path.dirname(path) if isinstance(path, str) else None


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_same(script):
    """Whether the file is unchanged since it was loaded."""
    if _stamp(script.path) != script.stamp:
        return False
    if script.recent_hash is not None:
        now = time_ns()
        try:
            source, stamp = _read(script.path)
        except TaskFailure:
            return False
        if stamp != script.stamp or hash(source) != script.recent_hash:
            return False
        if not _is_recent(stamp, now):
            script.recent_hash = None
    return True


def _is_recent(stamp, now):
    """Whether a file that was read after `now` may have changed since without a new stamp.

    File times have a resolution of 10 ms on many systems, and of 2 s on some file systems.
    """
    return now - stamp[0] < 2_100_000_000


def _read(path):
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(), (status.st_mtime_ns, status.st_size, status.st_ino)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte in the path
        raise TaskFailure(FailureKind.SCRIPT_NOT_FOUND, "no script at %s" % path)
    except OSError as error:
        raise TaskFailure(FailureKind.SCRIPT_UNREADABLE, "cannot read the script %s: %s" % (path, error.strerror))


def _remember_lines(path, source):
    """Makes tracebacks show the lines that ran, also when the file has changed since."""
    text = source.decode("utf-8-sig", "replace")
    if b"coding" in source[:200]:
        with StdlibFirst():
            text = decode_source(source)
    # Python ends lines at newlines alone; `splitlines` also splits at other characters.
    remember_lines(path, list(StringIO(text, None)), len(source))


def _find_entry(script):
    main = getattr(script.module, "main", None)
    if callable(main):
        script.call, script.is_async = _with_two_arguments(main, script.path), _is_async(main)
        return
    factory = getattr(script.module, "module", None)
    if not callable(factory):
        raise TaskFailure(FailureKind.ENTRY_MISSING, "no entry point in %s: %s" % (script.path, _ENTRY))

    def call(params, _context):
        run = _run_method(factory(), script.path)
        script.is_async = _is_async(run)
        return run(params)

    run = getattr(factory, "run", None)  # if `module` is a class
    script.call, script.is_async = call, None if run is None else _is_async(run)


def _with_two_arguments(main, path):
    """What calls `main` with those of the parameters and the context that it takes.

    Required parameters are these two in their order, whatever their names are. An optional one gets its value only by the
    name `params` or `context`: another one, such as `argv=None`, is not meant for a task.
    """
    if type(main) is not FunctionType:
        return main
    code = main.__code__
    names = code.co_varnames[:code.co_argcount]
    required = names[:len(names) - len(main.__defaults__ or ())]
    only_by_name = code.co_varnames[len(names):len(names) + code.co_kwonlyargcount]
    lacking = [name for name in only_by_name if name not in (main.__kwdefaults__ or ()) and name not in _GIVEN]
    if len(required) > 2 or lacking:
        raise TaskFailure(FailureKind.ENTRY_MISSING, "main in %s needs more than the parameters and the context (%s): %s"
                          % (path, ", ".join((*required, *lacking)), _ENTRY))
    if code.co_flags & _CO_VARARGS:
        return main
    first = ("context",) if required == ("context",) else _GIVEN[:len(required)]
    rest = [name for name in _GIVEN if name not in first and name in names[len(required):] + only_by_name]
    if first == _GIVEN and not rest:
        return main
    return _adapted(main, [_GIVEN.index(name) for name in first], [(name, _GIVEN.index(name)) for name in rest])


def _adapted(main, positions, names):
    if positions == [0] and not names:
        return lambda params, _context: main(params)
    if not positions and not names:
        return lambda _params, _context: main()

    def call(*given):
        return main(*[given[at] for at in positions], **{name: given[at] for name, at in names})

    return call


_GIVEN = ("params", "context")
_ENTRY = "define main(), main(params) or main(params, context), or module() that returns an object with run(params)"


def _run_method(made, path):
    run = getattr(made, "run", None)
    if not callable(run):
        raise TaskFailure(FailureKind.ENTRY_MISSING, "module() in %s returned %s, which has no method run: %s"
                          % (path, type(made).__name__, _ENTRY))
    return run


def _is_async(function):
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)
