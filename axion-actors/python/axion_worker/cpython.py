"""The private parts of CPython that the runtime uses, each with a public replacement.

The public modules (`struct`, `signal`, `socket`, `queue`, `json`, `importlib.util` …) cost a worker time
and memory at its start. Once imported, they would also hide user modules of the same names. So the
runtime uses what is below them, where the interpreter has it. No other module of the runtime imports a
private module of CPython's.
"""

import sys

try:
    from _struct import Struct, calcsize, error as StructError, unpack
except ImportError:
    from struct import Struct, calcsize, error as StructError, unpack
try:
    import _signal as signal
except ImportError:
    import signal
try:
    import _socket as socket
except ImportError:
    import socket

# From `_thread` the runtime takes what that module documents.
__all__ = ["Struct", "StructError", "calcsize", "cache_from_source", "decode_source", "environ_data", "find_spec",
           "json_encoder", "json_scanner", "path_finder", "signal", "socket", "source_loader", "thread_types", "unpack",
           "warning_filters"]


def thread_types():
    """`deque`, `SimpleQueue`, `ContextVar` and `copy_context`: for the workers that have threads."""
    try:
        from _collections import deque
    except ImportError:
        from collections import deque
    try:
        from _queue import SimpleQueue
    except ImportError:
        from queue import SimpleQueue
    try:
        from _contextvars import ContextVar, copy_context
    except ImportError:
        from contextvars import ContextVar, copy_context
    return deque, SimpleQueue, ContextVar, copy_context


def warning_filters():
    """The filters of `warnings`, without importing that module."""
    module = sys.modules.get("warnings")
    if module is None:
        try:
            import _warnings as module
        except ImportError:
            import warnings as module
    return module.filters


def environ_data(environ):
    """The variables of `os.environ` as a dict to compare and to change; `environ` itself if there is none below it."""
    return getattr(environ, "_data", environ)


def end_without_collections():
    """Has the interpreter look for no more garbage.

    At its end it would do so several times. With many modules that takes longer than all else, and a pool that ends waits
    for it. References still free what they alone keep. Files that cycles of references keep are flushed here.
    """
    import gc
    from io import IOBase

    if not hasattr(gc, "freeze"):
        return
    file_class = IOBase.__base__  # no abstract class: asking for its subclasses runs no code of theirs
    for each in gc.get_objects():
        if issubclass(type(each), file_class):
            try:
                each.flush()
            except BaseException:
                pass  # closed, or its other end is gone
    gc.freeze()


# JSON


def json_encoder(default):
    """A strict encoder in C: `encode(value, 0)` gives the pieces of a value's JSON. None if there is none."""
    try:
        from _json import encode_basestring_ascii, make_encoder

        return make_encoder({}, default, encode_basestring_ascii, None, ": ", ", ", False, False, False)
    except (ImportError, TypeError):
        return None


def json_scanner(parse_constant):
    """A strict scanner in C: `scan(text, 0)` gives a value and the position behind it. None if there is none."""
    class Options:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float, parse_int = float, int
        memo = {}

    Options.parse_constant = staticmethod(parse_constant)
    try:
        from _json import make_scanner

        return make_scanner(Options)
    except (AttributeError, ImportError, TypeError):
        return None


# The import system. These modules are there from the interpreter's start on.

_bootstrap = sys.modules.get("_frozen_importlib")
_external = sys.modules.get("_frozen_importlib_external")


def _has(module, *names):
    return all(hasattr(module, name) for name in names)


if _has(_external, "PathFinder", "SourceFileLoader", "cache_from_source", "decode_source"):
    path_finder, source_loader = _external.PathFinder, _external.SourceFileLoader
    cache_from_source, decode_source = _external.cache_from_source, _external.decode_source
else:
    from importlib.machinery import PathFinder as path_finder, SourceFileLoader as source_loader
    from importlib.util import cache_from_source, decode_source

if _has(_bootstrap, "_find_spec"):
    def find_spec(name, path, target):
        """The spec of a module that is not imported yet."""
        return _bootstrap._find_spec(name, path, target)
else:
    from importlib.util import find_spec as _find_spec

    def find_spec(name, path, target):
        """The spec of a module that is not imported yet; only of one that is in no package."""
        return None if path is not None else _find_spec(name)
