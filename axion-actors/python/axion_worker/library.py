"""Imports from the standard library when user modules have the same names.

`worker.py` guards the imports at the start. This module guards later imports without changing
`sys.path`, from which other threads may be importing.
"""

import sys
from _thread import get_ident

from . import cpython

# `worker.py` imports this while `sys.path` holds the runtime's folder and the standard library alone.
_FOLDERS = sys.path[1:]


_threads = set()  # the threads within `StdlibFirst`


class StdlibFirst:
    """`with StdlibFirst():` this thread imports from the standard library before any other folder."""

    def __enter__(self):
        self._thread = get_ident()
        self._is_outermost = self._thread not in _threads
        _threads.add(self._thread)

    def __exit__(self, *_):
        if self._is_outermost:
            _threads.discard(self._thread)


def traceback():
    """The module, imported at the first failure: it takes a quarter of a megabyte."""
    with StdlibFirst():
        import traceback

    _pass_to_linecache(sys.modules.get("linecache"))
    return traceback


_after_import = {}  # the name of a module that is not imported yet -> what is then done with it


def after_import(name, action):
    """Calls `action(module)` now, or as soon as the module has been executed."""
    module = sys.modules.get(name)
    if module is None:
        _after_import[name] = action
    else:
        action(module)


_lines = {}  # the lines of scripts, until `linecache` is imported and gets them


def remember_lines(path, lines, size):
    """Makes tracebacks show these lines of a script, also when the file has changed since."""
    _lines[path] = (size, None, lines, path)
    _pass_to_linecache(sys.modules.get("linecache"))


def forget_lines(path):
    for cache in (_lines, _cache_of(sys.modules.get("linecache"))):
        cache.pop(path, None)


def lines_of(path):
    for cache in (_lines, _cache_of(sys.modules.get("linecache"))):
        if path in cache:
            return cache[path][2]
    return ()


def _pass_to_linecache(linecache):
    cache = getattr(linecache, "cache", None)
    while _lines and type(cache) is dict:
        try:
            path, entry = _lines.popitem()
        except KeyError:
            break  # another thread has passed the last one
        cache[path] = entry


def _cache_of(linecache):
    cache = getattr(linecache, "cache", None)
    return cache if type(cache) is dict else {}


class _Finder:
    """Stays in `sys.meta_path` for good: removing a finder hides the next one from a thread that is iterating."""

    def __init__(self):
        self._finding = set()

    def find_spec(self, name, path=None, target=None):
        if path is None and get_ident() in _threads:
            spec = cpython.path_finder.find_spec(name, _FOLDERS)
            if spec is not None:
                return spec
        if name in _after_import and name not in self._finding and name not in sys.modules:
            return self._find(name, path, target)
        return None

    def _find(self, name, path, target):
        """Finds the module, and has its action done as soon as it has been executed."""
        self._finding.add(name)
        try:
            spec = cpython.find_spec(name, path, target)
        finally:
            self._finding.discard(name)
        if spec is not None:
            after_execution(spec, lambda module: _after_import.pop(name, _nothing)(module))
        return spec


def after_execution(spec, action):
    """Calls `action(module)` when the module that is about to be loaded has been executed."""
    loader = spec.loader
    # A loader that is a class loads other modules, too.
    if not hasattr(loader, "exec_module") or isinstance(loader, type):
        return
    exec_module = loader.exec_module

    def exec_and_act(module):
        exec_module(module)
        action(module)

    loader.exec_module = exec_and_act


def _nothing(_module):
    pass


# Usually `traceback` or `logging`, imported by user code, imports it.
_after_import["linecache"] = _pass_to_linecache
sys.meta_path.insert(0, _Finder())


def asyncio():
    """The module, imported for the first coroutine: it takes more memory than all the rest."""
    with StdlibFirst():
        import asyncio

    return asyncio
