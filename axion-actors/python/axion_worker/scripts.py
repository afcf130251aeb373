"""Loading script files and finding their entry point.

A script is loaded once per worker and again when its file changed. The file is looked at once per
read of the data pipe: every task of such a batch was accepted before the look, so a change made
before a task was submitted is always seen, and a thousand tasks in one read cost one look.
"""

import os
import sys
from io import StringIO
from time import time_ns
from types import FunctionType, ModuleType

from .failure import Kind, TaskFailure
from .library import First, forget_lines, remember_lines
from .values import dumps, loads

_CO_VARARGS, _CO_COROUTINE = 0x04, 0x80
_MOST = 256  # scripts a worker keeps; a program that writes a new one for each task must not fill it (L9)


class Script:
    """One loaded script. `call(params, context)` runs its entry point.

    `is_async` says whether that is a coroutine function; None until `module()` has been called once.
    """

    __slots__ = ("path", "folder", "stamp", "young", "batch", "module", "call", "is_async")

    loads = staticmethod(loads)
    dumps = staticmethod(dumps)

    @staticmethod
    def raised(_error):
        """A script's exception goes to the engine as text alone."""
        return b""


# What compiling bad source raises; before Python 3.9, one that is nested too deeply is a MemoryError.
_NOT_PYTHON = (SyntaxError, ValueError, RecursionError) + ((MemoryError,) if sys.version_info < (3, 9) else ())


class Scripts:
    """The scripts this worker knows, by path."""

    def __init__(self, one_at_a_time):
        self._known = {}
        # Where one task runs at a time, what it imports late is also from its own script's folder.
        self._one_at_a_time = one_at_a_time
        self._folder = None  # the one whose turn it is
        self._listed = {}  # folder -> its time stamp and the names importable from it
        self._contested = {}  # folder -> the names that another script's folder has too
        self._aside = {}  # folder -> {name: module}, put aside while another folder's turn lasts

    def get(self, raw, batch):
        """The script at the path `raw` (bytes), loaded if need be."""
        script = self._known.get(raw)
        if script is not None:
            if script.batch == batch or _is_same(script):
                script.batch = batch
                if script.folder != self._folder and self._one_at_a_time:
                    self._enter(script.folder)
                return script
            del self._known[raw]
        script = self._load(os.fsdecode(raw))
        script.batch = batch
        self._known[raw] = script
        if len(self._known) > _MOST:
            self._forget(next(iter(self._known)))
        return script

    def coroutine(self, raw, batch):
        """A loaded script whose entry point is a coroutine function and whose file is still the same, or None.

        Loads nothing, so that the thread that reads may call it.
        """
        script = self._known.get(raw)
        if script is None or not script.is_async:
            return None
        if script.batch != batch:
            if not _is_same(script):
                return None
            script.batch = batch
        return script

    def is_plain(self, raw):
        """Whether a script is loaded and known to be no coroutine."""
        script = self._known.get(raw)
        return script is not None and script.is_async is False

    def _forget(self, raw):
        """Drops the script that was loaded longest ago, and its folder with the last of its scripts."""
        script = self._known.pop(raw)
        sys.modules.pop(script.module.__name__, None)
        forget_lines(script.path)
        folder = script.folder
        if folder != self._folder and all(other.folder != folder for other in list(self._known.values())):
            for known in (self._listed, self._contested, self._aside, sys.path_importer_cache):
                known.pop(folder, None)
            if folder in sys.path:
                sys.path.remove(folder)

    def _load(self, path):
        now = time_ns()
        source, stamp = _read(path)
        try:
            code = compile(source, path, "exec", dont_inherit=True)
        except _NOT_PYTHON as error:
            raise TaskFailure(Kind.SCRIPT_SYNTAX, "%s cannot be compiled: %s" % (path, error)) from error
        _remember_lines(path, source)
        folder, file = os.path.split(path)
        stem = file.rpartition(".")[0] or file
        # Scripts of one name in two folders are two modules, each of one name in every worker.
        name = "%s@%x" % (stem, int.from_bytes(os.fsencode(path), "little") % 0xFFFFFFFB)
        module = ModuleType(name)
        module.__file__ = path
        self._list(folder)
        self._enter(folder)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        script = Script()
        script.path, script.folder, script.stamp, script.module = path, folder, stamp, module
        script.young = hash(source) if _is_young(stamp, now) else None
        _find_entry(script)
        return script

    def _list(self, folder):
        """Learns which names a script's folder shares with those of other scripts."""
        sys.path_importer_cache.pop(folder, None)  # a helper may be as new as the script
        stamp = _stamp(folder)
        if stamp is not None and self._listed.get(folder, (None,))[0] == stamp:
            return
        try:
            files = os.listdir(folder or ".")
        except OSError:  # a folder that may be entered but not read
            files = ()
        names = {file.partition(".")[0] for file in files if not file.startswith((".", "__"))}
        self._listed[folder] = stamp, names
        for other, (_, others) in self._listed.items():
            both = names & others
            if both and other != folder:
                self._contested.setdefault(folder, set()).update(both)
                self._contested.setdefault(other, set()).update(both)

    def _enter(self, folder):
        """Makes the script's folder importable, in front of those of other scripts.

        A helper of a name that this folder has too, loaded for a script in another folder, is put
        aside until that folder's next turn.
        """
        for name in self._contested.get(folder, ()):
            home = _home(sys.modules.get(name))
            if home != folder and home in self._listed:
                aside = self._aside.setdefault(home, {})
                for loaded in [n for n in sys.modules if n == name or n.startswith(name + ".")]:
                    aside[loaded] = sys.modules.pop(loaded)
        sys.modules.update(self._aside.pop(folder, ()))
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
        self._folder = folder


def _home(module):
    """The folder in which `import` found a module; None if it came from no file."""
    place = next(iter(getattr(module, "__path__", ())), None) or getattr(module, "__file__", None)
    return os.path.dirname(place) if isinstance(place, str) else None


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_same(script):
    """Whether the file is still what was loaded."""
    if _stamp(script.path) != script.stamp:
        return False
    if script.young is not None:
        now = time_ns()
        try:
            source, stamp = _read(script.path)
        except TaskFailure:
            return False
        if stamp != script.stamp or hash(source) != script.young:
            return False
        if not _is_young(stamp, now):
            script.young = None
    return True


def _is_young(stamp, now):
    """Whether a file that was read after `now` may have changed since without a new stamp.

    The times of files are as coarse as 10 ms on many systems, and 2 s on some file systems.
    """
    return now - stamp[0] < 2_100_000_000


def _read(path):
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(), (status.st_mtime_ns, status.st_size, status.st_ino)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null byte in the path
        raise TaskFailure(Kind.SCRIPT_NOT_FOUND, "no script at %s" % path)
    except OSError as error:
        raise TaskFailure(Kind.SCRIPT_UNREADABLE, "cannot read the script %s: %s" % (path, error.strerror))


def _remember_lines(path, source):
    """Tracebacks show the lines that ran, also when the file has changed since."""
    text = source.decode("utf-8-sig", "replace")
    if b"coding" in source[:200]:
        from _frozen_importlib_external import decode_source

        with First():
            text = decode_source(source)
    # Python ends lines at newlines alone; `splitlines` knows more ends than that.
    remember_lines(path, list(StringIO(text, None)), len(source))


def _find_entry(script):
    main = getattr(script.module, "main", None)
    if callable(main):
        _check_parameters(main, script.path)
        script.call, script.is_async = main, _is_async(main)
        return
    make = getattr(script.module, "module", None)
    if not callable(make):
        raise TaskFailure(Kind.ENTRY_MISSING, "no entry point in %s: %s" % (script.path, _ENTRY))

    def call(params, _context):
        run = _runner(make(), script.path)
        script.is_async = _is_async(run)
        return run(params)

    run = getattr(make, "run", None)  # of the class, if `module` is one
    script.call, script.is_async = call, None if run is None else _is_async(run)


def _check_parameters(main, path):
    """What can be known to fail is told with what to write instead."""
    if type(main) is not FunctionType:
        return
    code = main.__code__
    least = code.co_argcount - len(main.__defaults__ or ())
    if least > 2 or (code.co_argcount < 2 and not code.co_flags & _CO_VARARGS):
        raise TaskFailure(Kind.ENTRY_MISSING, "main in %s is not for two arguments (it takes %d): %s"
                          % (path, code.co_argcount, _ENTRY))


_ENTRY = "define main(params, context), or module() that returns an object with run(params)"


def _runner(made, path):
    run = getattr(made, "run", None)
    if not callable(run):
        raise TaskFailure(Kind.ENTRY_MISSING, "module() in %s returned %s, which cannot run: %s"
                          % (path, type(made).__name__, _ENTRY))
    return run


def _is_async(function):
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)
