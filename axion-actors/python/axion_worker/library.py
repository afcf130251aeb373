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


def asyncio():
    """The module, which costs more than all the rest and is imported for the first coroutine."""
    with First():
        import asyncio

    return asyncio
