"""Describes every failure of a task as text.

The process that raised an exception turns it into text. The engine never needs the exception's
class, so a class that cannot be imported, rebuilt or even printed elsewhere hides nothing.
"""

import os
import sys

from . import library

_HERE = (os.path.dirname(__file__) + os.sep, "<axion>")  # the second under coverage, see `worker.py`
_MAX_MESSAGE, _MAX_TRACEBACK, _MAX_CAUSES = 8 << 10, 64 << 10, 16  # characters, and causes


class FailureKind:
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
    MODULE_CHANGED = 16


class TaskFailure(Exception):
    """A failure that the runtime itself found, with its kind."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


class SoftTimeout(TimeoutError):
    """Raised in a task that has reached its soft time limit."""

    # The package of the runtime has a random name, which users should not see.
    __module__ = "builtins"

    def __init__(self, message="the task has reached its soft time limit"):
        super().__init__(message)


# The first match decides.
_KINDS = (
    (SoftTimeout, FailureKind.SOFT_TIMEOUT),
    (SystemExit, FailureKind.SYSTEM_EXIT),
    (KeyboardInterrupt, FailureKind.KEYBOARD_INTERRUPT),
    (MemoryError, FailureKind.MEMORY_ERROR),
    (RecursionError, FailureKind.RECURSION_ERROR),
)


def failure_fields(error):
    """The fields of a wire `Failure` except the last: kind, exception, message, traceback, causes."""
    if isinstance(error, TaskFailure):
        cause = error.__cause__
        if cause is None:
            return error.kind, "", _message(error), "", []
        return error.kind, _name(cause), _message(error), _traceback(cause), _causes(cause)
    kind = FailureKind.EXCEPTION
    for base, number in _KINDS:
        if isinstance(error, base):
            kind = number
            break
    return kind, _name(error), _message(error), _traceback(error), _causes(error)


def _name(error):
    return type_name(type(error))


def type_name(kind):
    """A class's qualified name, without the module if that is `builtins` or `__main__`."""
    module = getattr(kind, "__module__", None)
    name = getattr(kind, "__qualname__", "exception")
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return name
    return "%s.%s" % (module.partition("@")[0], name)  # the module of a script: see `scripts`


def _message(error):
    try:
        text = str(error)
    except BaseException as inner:
        text = "<no message: __str__ raised %s>" % type(inner).__name__
    return truncate(text, _MAX_MESSAGE)


def _causes(error):
    """The chain of causes, nearest first: `raise … from`, else the exception that was being handled."""
    causes, seen = [], {id(error)}
    while len(causes) < _MAX_CAUSES:
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
    text = format_traceback(error, _skip_runtime_frames(error.__traceback__), _remove_runtime_frames)
    if "@" in text:
        text = _with_script_names(text, type(error).__module__)
    return truncate(text, _MAX_TRACEBACK)


def _with_script_names(text, *modules):
    """Replaces the module names of scripts, such as `job@1f3a`, by the scripts' names: see `scripts`."""
    for module in (*modules, *list(sys.modules)):
        if isinstance(module, str) and "@" in module:
            text = text.replace(module + ".", module.partition("@")[0] + ".")
    return text


def format_traceback(error, frames, edit=None):
    """A traceback as Python writes it; a plain one if the `traceback` module fails. `edit` may change it first."""
    try:
        with library.StdlibFirst():
            traceback = library.traceback()
            formatted = traceback.TracebackException(type(error), error, frames)
            if edit is not None:
                edit(formatted)
            return "".join(formatted.format())
    except BaseException:
        # On some versions an exception whose `__str__` raises breaks it. Or the module cannot be
        # imported: no descriptor is left, or a user module shadows one that it needs.
        return _plain_traceback(error, frames)


def _plain_traceback(error, frames):
    """The frames, with the source lines of scripts."""
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


def _skip_runtime_frames(frames):
    """The traceback from the first frame on that is not the runtime's."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_HERE):
        first = first.tb_next
    return first


def _remove_runtime_frames(formatted):
    """Removes the runtime's frames from a traceback and its causes: asyncio can put them anywhere."""
    while formatted is not None:
        formatted.stack[:] = [frame for frame in formatted.stack if not frame.filename.startswith(_HERE)]
        formatted = formatted.__cause__ or formatted.__context__


def truncate(text, limit):
    """Cuts the middle out of a text of more than `limit` characters, and says how much."""
    if len(text) <= limit:
        return text
    return "%s\n... %d characters left out ...\n%s" % (text[:limit // 2], len(text) - limit, text[-(limit // 2):])


def end_worker(error, _exit=os._exit, _write=os.write):
    """Ends this process at once, after a failure of the runtime itself. The engine then accounts for every task.

    Not by an exception: the interpreter would wait for threads that tasks have left. What it calls last is bound
    above, because a task may have overwritten this module.
    """
    try:
        _write(2, format_traceback(error, error.__traceback__).encode("utf-8", "backslashreplace"))
    finally:
        _exit(1)


def exit_forked_copy(error):
    """Ends a copy of the worker that user code forked, as Python ends on an uncaught exception."""
    code, text = 1, ""
    if not isinstance(error, SystemExit):
        text = _traceback(error)
    elif error.code is None or isinstance(error.code, int):
        code = error.code or 0
    else:
        text = "%s\n" % _message(error)
    try:
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)
