"""The standard library, whatever modules of the user's bear the same names.

`worker.py` guards what is imported at the start. This guards what waits until a task asks for it,
without a touch on `sys.path`, which other threads may be importing from.
"""

import sys
from _thread import get_ident

# While this line runs, `worker.py` lets `sys.path` hold the runtime's folder and the library alone.
_FOLDERS = sys.path[1:]


_first = set()  # the threads within `First`


class First:
    """`with First():` what this thread imports comes from the standard library first."""

    def __enter__(self):
        self._thread = get_ident()
        self._is_outer = self._thread not in _first
        _first.add(self._thread)

    def __exit__(self, *_):
        if self._is_outer:
            _first.discard(self._thread)


def traceback():
    """The module, which costs a quarter of a megabyte and is imported for the first failure."""
    with First():
        import traceback

    _hand_over(sys.modules.get("linecache"))
    return traceback


_lines = {}  # of scripts: what `linecache` has to know as soon as there is one


def remember_lines(path, lines, size):
    """Has tracebacks show these lines of a script, whoever writes them, also when the file has changed since."""
    _lines[path] = (size, None, lines, path)
    _hand_over(sys.modules.get("linecache"))


def forget_lines(path):
    for cache in (_lines, _cache(sys.modules.get("linecache"))):
        cache.pop(path, None)


def lines_of(path):
    for cache in (_lines, _cache(sys.modules.get("linecache"))):
        if path in cache:
            return cache[path][2]
    return ()


def _hand_over(linecache):
    cache = getattr(linecache, "cache", None)
    while _lines and type(cache) is dict:
        path, entry = _lines.popitem()
        cache[path] = entry


def _cache(linecache):
    cache = getattr(linecache, "cache", None)
    return cache if type(cache) is dict else {}


class _Finder:
    """Stays where it is: whoever takes a finder out of the list hides the one behind it from the thread that is
    just going through them.
    """

    _looks_for_lines = False

    def find_spec(self, name, path=None, target=None):
        if path is None and get_ident() in _first:
            spec = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name, _FOLDERS)
            if spec is not None:
                return spec
        # Mostly by `traceback` or `logging`, which user code imports.
        if name == "linecache" and not self._looks_for_lines and name not in sys.modules:
            return self._find_linecache(name, path, target)
        return None

    def _find_linecache(self, name, path, target):
        """Has the lines handed over as soon as the module is there."""
        self._looks_for_lines = True
        try:
            spec = sys.modules["_frozen_importlib"]._find_spec(name, path, target)
        finally:
            self._looks_for_lines = False
        if spec is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module

            def execute_and_hand_over(module):
                execute(module)
                _hand_over(sys.modules.get(name))

            spec.loader.exec_module = execute_and_hand_over
        return spec


sys.meta_path.insert(0, _Finder())


def asyncio():
    """The module, which costs more than all the rest and is imported for the first coroutine."""
    with First():
        import asyncio

    return asyncio
