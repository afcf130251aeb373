"""The standard library, whatever modules of the user's bear the same names.

`worker.py` guards what is imported at the start. This guards what waits until a task asks for it,
without a touch on `sys.path`, which other threads may be importing from.
"""

import sys
from _thread import get_ident

# While this line runs, `worker.py` lets `sys.path` hold the runtime's folder and the library alone.
_FOLDERS = sys.path[1:]


class First:
    """`with First():` what this thread imports comes from the standard library first."""

    def __enter__(self):
        self._thread = get_ident()
        self._search = sys.modules["_frozen_importlib_external"].PathFinder.find_spec
        sys.meta_path.insert(0, self)

    def __exit__(self, *_):
        sys.meta_path.remove(self)

    def find_spec(self, name, path=None, _target=None):
        if path is None and get_ident() == self._thread:
            return self._search(name, _FOLDERS)
        return None


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


class _Linecache:
    """Hands the lines over when user code imports `linecache`, mostly by `traceback` or `logging`."""

    def find_spec(self, name, path=None, target=None):
        if name != "linecache":
            return None
        sys.meta_path.remove(self)
        spec = sys.modules["_frozen_importlib"]._find_spec(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module

            def execute_and_hand_over(module):
                execute(module)
                _hand_over(module)

            spec.loader.exec_module = execute_and_hand_over
        return spec


if "linecache" not in sys.modules:
    sys.meta_path.insert(0, _Linecache())


def asyncio():
    """The module, which costs more than all the rest and is imported for the first coroutine."""
    with First():
        import asyncio

    return asyncio
