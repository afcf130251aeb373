"""Every way a task can fail, as text first.

An exception is turned into words here, in the process that raised it: the engine never needs its
class, so one that cannot be imported, rebuilt or even printed elsewhere hides nothing.
"""

import os
import sys

from . import library

_HERE = os.path.dirname(__file__) + os.sep
_MESSAGE, _TRACEBACK, _CAUSES = 8 << 10, 64 << 10, 16


class Kind:
    """The numbers of `FailureKind` on the wire."""

    EXCEPTION = 0
    SCRIPT_NOT_FOUND = 1
    SCRIPT_UNREADABLE = 2
    SCRIPT_SYNTAX = 3
    ENTRY_MISSING = 4
    SYSTEM_EXIT = 5
    KEYBOARD_INTERRUPT = 6
    MEMORY_ERROR = 7
    RECURSION_ERROR = 8
    RESULT_NOT_SERIALIZABLE = 9
    RESULT_TOO_LARGE = 10
    PARAMS_INVALID = 11
    CANCELLED = 12
    SOFT_TIMEOUT = 13
    FUNCTION_NOT_LOADABLE = 14
    INITIALIZER_FAILED = 15


class TaskFailure(Exception):
    """A failure the runtime itself found, with its kind."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class SoftTimeout(TimeoutError):
    """Raised in a task that has reached its soft time limit."""

    # The runtime's own modules have another name in each engine, which is nobody's business.
    __module__ = "builtins"

    def __init__(self, message="the task has reached its soft time limit"):
        super().__init__(message)


# The first match decides.
_KINDS = (
    (SoftTimeout, Kind.SOFT_TIMEOUT),
    (SystemExit, Kind.SYSTEM_EXIT),
    (KeyboardInterrupt, Kind.KEYBOARD_INTERRUPT),
    (MemoryError, Kind.MEMORY_ERROR),
    (RecursionError, Kind.RECURSION_ERROR),
)


def describe(error):
    """The values of a wire `Failure`: kind, exception, message, traceback, causes."""
    if isinstance(error, TaskFailure):
        cause = error.__cause__
        return (error.kind, _name(cause) if cause else "", _message(error),
                _traceback(cause) if cause else "", _causes(cause) if cause else [])
    kind = Kind.EXCEPTION
    for base, number in _KINDS:
        if isinstance(error, base):
            kind = number
            break
    return kind, _name(error), _message(error), _traceback(error), _causes(error)


def _name(error):
    return type_name(type(error))


def type_name(kind):
    """A class as people know it: with its module, unless that goes without saying."""
    module = getattr(kind, "__module__", None)
    name = getattr(kind, "__qualname__", "exception")
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return name
    return "%s.%s" % (module.partition("@")[0], name)  # of a script: see `scripts`


def _message(error):
    try:
        text = str(error)
    except BaseException as inner:
        text = "<its text cannot be had: __str__ raised %s>" % type(inner).__name__
    return cut(text, _MESSAGE)


def _causes(error):
    """What stood behind the exception, nearest first: `raise … from`, else what was being handled."""
    causes, seen = [], {id(error)}
    while len(causes) < _CAUSES:
        nearer = error.__cause__
        if nearer is None and not error.__suppress_context__:
            nearer = error.__context__
        if nearer is None or id(nearer) in seen:
            break
        seen.add(id(nearer))
        causes.append((_name(nearer), _message(nearer)))
        error = nearer
    return causes


def _traceback(error):
    text = listing(error, _strip(error.__traceback__), _clear)
    if "@" in text:
        text = _without_paths(text, type(error).__module__)
    return cut(text, _TRACEBACK)


def _without_paths(text, *modules):
    """With the names of scripts as people know them: see `scripts`."""
    for module in (*modules, *list(sys.modules)):
        if isinstance(module, str) and "@" in module:
            text = text.replace(module + ".", module.partition("@")[0] + ".")
    return text


def listing(error, frames, clear=None):
    """A traceback as Python writes it; a plain one if that cannot be had."""
    try:
        with library.First():
            traceback = library.traceback()
            found = traceback.TracebackException(type(error), error, frames)
            if clear is not None:
                clear(found)
            return "".join(found.format())
    except BaseException:
        # An exception whose own text raises spoils it on some versions; or the module cannot be
        # imported: no descriptor is left, or the user has a module of the name of one it needs.
        return _plain(error, frames)


def _plain(error, frames):
    """Frames with their lines, the latter where they are those of scripts."""
    parts = ["Traceback (most recent call last):\n"]
    while frames is not None:
        code, number = frames.tb_frame.f_code, frames.tb_lineno
        parts.append('  File "%s", line %d, in %s\n' % (code.co_filename, number, code.co_name))
        lines = library.lines_of(code.co_filename)
        if 0 < number <= len(lines):
            parts.append("    %s\n" % lines[number - 1].strip())
        frames = frames.tb_next
    try:
        return "%s%s: %s\n" % ("".join(parts), _name(error), _message(error))
    except BaseException:
        return ""


def _strip(frames):
    """The traceback from the first frame on that is not the runtime's."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_HERE):
        first = first.tb_next
    return first


def _clear(listing):
    """Takes the runtime's frames out of a listing and those of its causes: asyncio can bring them anywhere."""
    while listing is not None:
        listing.stack[:] = [frame for frame in listing.stack if not frame.filename.startswith(_HERE)]
        listing = listing.__cause__ or listing.__context__


def cut(text, limit):
    if len(text) <= limit:
        return text
    return "%s\n... %d characters left out ...\n%s" % (text[:limit // 2], len(text) - limit, text[-(limit // 2):])


def leave(error):
    """Ends a copy of the worker that user code forked, as Python ends on an exception nobody caught."""
    code, words = 1, ""
    if not isinstance(error, SystemExit):
        words = _traceback(error)
    elif error.code is None or isinstance(error.code, int):
        code = error.code or 0
    else:
        words = "%s\n" % _message(error)
    try:
        sys.stdout.flush()
        sys.stderr.write(words)
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)
