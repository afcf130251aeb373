"""The byte code of the workers' runtime, as this interpreter keeps it.

A worker compiles the runtime if there is no byte code for it, which takes almost as long as the interpreter's own start.
So the package has the runtime's source in a folder, which installers compile like any other. Where they have not, the
first engine does.
"""

import functools
import marshal
import os
from importlib import machinery, util

_FOLDER = os.path.join(os.path.dirname(__file__), "_runtime")
_CHECKED_HASH = 3  # the flags of byte code that is good for a source with this hash, whatever its time (PEP 552)


@functools.cache
def byte_code():
    """The files for `__pycache__` beside the runtime's source: `[(name, bytes)]`. A worker compares them with the source."""
    try:
        return [_compiled(os.path.join(_FOLDER, name)) for name in os.listdir(_FOLDER) if name.endswith(".py")]
    except (OSError, NotImplementedError):  # the package is in an archive; this Python keeps no byte code
        return []


def _compiled(path):
    loader = machinery.SourceFileLoader("axion._runtime", path)
    code = loader.get_code(loader.name)
    head = util.MAGIC_NUMBER + _CHECKED_HASH.to_bytes(4, "little") + util.source_hash(loader.get_data(path))
    return os.path.basename(util.cache_from_source(path)), head + marshal.dumps(code)
