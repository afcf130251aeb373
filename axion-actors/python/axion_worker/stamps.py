"""What an interpreter saw of the files of its modules when it loaded them.

The caller and the worker compare it (L18). The Python package has this very file as `axion._stamps`.

A *stamp* is `(path, seconds, size, nanos)`: the file, its modification time and its size. `nanos` is the part of the time
below a second, or None if that is not known. A finder in front of `PathFinder` takes the stamps of modules right before
they are loaded. The stamps of modules that were loaded by other means follow from what is on the disk.
"""

import os
import sys

_32_BITS = 0xFFFFFFFF  # what a file of byte code has for a time or a size
_LIBRARY = os.path.dirname(os.__file__) + os.sep  # of the interpreter: it is the same for all its processes
_SITES = ("site-packages" + os.sep, "dist-packages" + os.sep)
_PROGRAM = ("__main__", "__mp_main__", "axion_worker")  # which no worker imports from the caller's file
_WITHOUT_FILE = ("built-in", "frozen")

_taken = {}  # the name of a module -> its spec and its stamp
_begun = []  # when this process began
_changes = [0]


class _Finder:
    """Finds what the finders behind it find, `PathFinder` among them."""

    def __init__(self, check):
        self._check = check

    def find_spec(self, name, path=None, target=None):
        finders = iter(sys.meta_path[:])
        for finder in finders:
            if finder is self:
                break
        for finder in finders:
            find_spec = getattr(finder, "find_spec", None)
            spec = None if find_spec is None else find_spec(name, path, target)
            if spec is not None:
                self._check(spec, take(name, spec))
                return spec
        return None


def _accept(_spec, _stamp):
    pass


def install(path_finder, check=_accept):
    """Has the stamps of modules taken from now on. `check(spec, stamp)` may raise: then the module is not loaded."""
    if path_finder in sys.meta_path:
        sys.meta_path.insert(sys.meta_path.index(path_finder), _Finder(check))


def take(name, spec):
    """Takes the stamp of a module that is about to be loaded."""
    stamp = _stamp_now(spec)
    _taken[name] = spec, stamp
    _changes[0] += 1
    return stamp


def version():
    """Changes when a module is found, also for a reload."""
    return _changes[0]


def stamp_of(name, module):
    """The stamp of a loaded module; None if it has no file of its own, or belongs to the standard library."""
    spec = spec_of(module)
    origin = getattr(spec, "origin", None)
    if not _is_file(origin) or getattr(spec, "name", None) != name or is_of_library(origin):
        return None
    known = _taken.get(name)
    if known is None or known[0] is not spec:
        known = _taken[name] = spec, _stamp_since(spec)
    return known[1]


def stamps():
    """The stamps of all modules that this process has loaded: name -> stamp."""
    found = {}
    for name, module in list(sys.modules.items()):
        stamp = stamp_of(name, module)
        if stamp is not None and name.partition(".")[0] not in _PROGRAM:
            found[name] = stamp
    return found


def spec_of(module):
    """A module's `__spec__`, without loading a module that is lazy."""
    try:
        return object.__getattribute__(module, "__dict__").get("__spec__")
    except AttributeError:
        return None


def _is_file(origin):
    return type(origin) is str and origin not in _WITHOUT_FILE


def is_of_library(path):
    """Whether a file belongs to the standard library."""
    return path.startswith(_LIBRARY) and not path[len(_LIBRARY):].startswith(_SITES)


def _status(spec):
    """The state of a module's file, or of the archive that it is in."""
    for path in filter(None, (spec.origin, getattr(getattr(spec, "loader", None), "archive", None))):
        try:
            return os.stat(path)
        except (OSError, TypeError, ValueError):
            pass
    return None


def _stamp_now(spec):
    origin = getattr(spec, "origin", None)
    status = _status(spec) if _is_file(origin) else None
    return None if status is None else _stamp(origin, status)


def _stamp(path, status):
    seconds, nanos = divmod(status.st_mtime_ns, 1000000000)
    return path, seconds & _32_BITS, status.st_size & _32_BITS, nanos


def is_same(one, other):
    """Whether two stamps are of the same source."""
    if one[1:3] != other[1:3] or None not in (one[3], other[3]) and one[3] != other[3]:
        return False
    if one[0] == other[0]:
        return True
    try:
        return os.path.samefile(one[0], other[0])
    except OSError:
        return False


def stamp_of_file(path):
    """The stamp of a module's file as it is now; None if it cannot be seen, as in an archive."""
    try:
        return _stamp(path, os.stat(path))
    except OSError:
        return None


def _stamp_since(spec):
    """The stamp of a module that was loaded some time ago. If its file has changed since this process began, the byte
    code that was written or used says what it was.
    """
    status = _status(spec)
    if status is None:
        return None
    stamp = _stamp(spec.origin, status)
    if status.st_ctime > _process_began():
        compiled = _compiled(spec)
        if compiled is not None and compiled != stamp[1:3]:
            return (spec.origin,) + compiled + (None,)
    return stamp


def _process_began():
    """The time of the calendar; 0 if it is unknown."""
    if not _begun:
        try:
            from time import CLOCK_BOOTTIME, clock_gettime, time

            with open("/proc/self/stat", "rb") as file:
                ticks = int(file.read().rpartition(b")")[2].split()[19])
            # File systems take the time from a clock that ticks every 10 ms at worst.
            _begun.append(time() - clock_gettime(CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK") - 0.02)
        except (ImportError, OSError, ValueError, IndexError):
            _begun.append(0.0)
    return _begun[0]


def _compiled(spec):
    """The modification time and size of the source from which a module's byte code was made."""
    cached = getattr(spec, "cached", None)
    if not cached or cached == spec.origin:
        return None
    try:
        with open(cached, "rb") as file:
            header = file.read(16)  # magic number, flags, modification time, size
    except OSError:
        return None
    if len(header) < 16 or any(header[4:8]):  # the source is named by a hash
        return None
    return int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:], "little")
