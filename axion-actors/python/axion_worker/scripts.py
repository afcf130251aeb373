"""Loading script files and finding their entry point.

A script is loaded once per worker and again when its file changed. The file is looked at once per
read of the data pipe: every task of such a batch was accepted before the look, so a change made
before a task was submitted is always seen, and a thousand tasks in one read cost one look.
"""

import os
import sys
from types import ModuleType

from .failure import Kind, TaskFailure

_CO_COROUTINE = 0x80


class Script:
    """One loaded script. `call(params, context)` runs its entry point."""

    __slots__ = ("path", "stamp", "batch", "module", "call", "is_async")


class Scripts:
    """The scripts this worker knows, by path."""

    def __init__(self):
        self._known = {}
        self._folders = []

    def get(self, raw, batch):
        """The script at the path `raw` (bytes), loaded if need be."""
        script = self._known.get(raw)
        if script is not None:
            if script.batch == batch:
                return script
            if _stamp(script.path) == script.stamp:
                script.batch = batch
                return script
            del self._known[raw]
        script = self._load(os.fsdecode(raw))
        script.batch = batch
        self._known[raw] = script
        return script

    def _load(self, path):
        source, stamp = _read(path)
        try:
            code = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise TaskFailure(Kind.SCRIPT_SYNTAX, "%s cannot be compiled: %s" % (path, error)) from error
        _remember_lines(path, source)
        folder, file = os.path.split(path)
        stem = file.rpartition(".")[0] or file
        # Scripts of one name in two folders are two modules.
        name = "%s@%x" % (stem, hash(path) & 0xFFFFFFFF)
        module = ModuleType(name)
        module.__file__ = path
        self._enter(folder)
        sys.modules[name] = module
        try:
            exec(code, module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        script = Script()
        script.path, script.stamp, script.module = path, stamp, module
        script.call, script.is_async = _entry(module, path)
        return script

    def _enter(self, folder):
        """Makes the script's folder importable, in front of those of other scripts."""
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
        # A helper of the same name that a script in another folder has loaded is not this one's.
        for other in self._folders:
            if other != folder:
                for name, module in list(sys.modules.items()):
                    home = getattr(module, "__file__", None)
                    if ("." not in name and "@" not in name and isinstance(home, str)
                            and os.path.dirname(home) in (other, os.path.join(other, name))
                            and (os.path.exists(os.path.join(folder, name + ".py"))
                                 or os.path.isdir(os.path.join(folder, name)))):
                        for loaded in [n for n in sys.modules if n == name or n.startswith(name + ".")]:
                            del sys.modules[loaded]
        if folder not in self._folders:
            self._folders.append(folder)


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path):
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read(), (status.st_mtime_ns, status.st_size, status.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        raise TaskFailure(Kind.SCRIPT_NOT_FOUND, "no script at %s" % path)
    except OSError as error:
        raise TaskFailure(Kind.SCRIPT_UNREADABLE, "cannot read the script %s: %s" % (path, error.strerror))


def _remember_lines(path, source):
    """Tracebacks show the lines that ran, also when the file has changed since."""
    import linecache

    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(source), None, text.splitlines(True), path)


def _entry(module, path):
    main = getattr(module, "main", None)
    if callable(main):
        return main, _is_async(main)
    make = getattr(module, "module", None)
    if callable(make):
        run = getattr(make, "run", None)  # of the class, if `module` is one
        return (lambda params, context: make().run(params)), _is_async(run)
    raise TaskFailure(
        Kind.ENTRY_MISSING,
        "no entry point in %s: define main(params, context), or module() that returns an object with run(params)"
        % path)


def _is_async(function):
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _CO_COROUTINE)
