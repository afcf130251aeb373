"""What an interpreter saw of a module's source when it loaded it.

The caller and the worker compare it (L18). The Python package has this very file as `axion._stamps`.
"""

import os
import sys
from time import time

_32_BITS = 0xFFFFFFFF  # what a file of byte code has for a time or a size
_begun = time() - 0.01  # file systems take the time from a clock that ticks every 10 ms at worst


def stamp_of(spec):
    """The file of a module, and the modification time (whole seconds) and size that its loader saw; None without a file.

    If the source has changed since, the byte code that was written or used says what it was.
    """
    try:
        status = os.stat(spec.origin)
    except (AttributeError, OSError, TypeError):
        return None
    mtime, size = int(status.st_mtime) & _32_BITS, status.st_size & _32_BITS
    if status.st_ctime > _begun and not sys.dont_write_bytecode:
        mtime, size = _compiled(spec) or (mtime, size)
    return spec.origin, mtime, size


def _compiled(spec):
    """The modification time and size of the source from which a module's byte code was made."""
    if not spec.cached or spec.cached == spec.origin:
        return None
    try:
        with open(spec.cached, "rb") as file:
            header = file.read(16)  # magic number, flags, modification time, size
    except OSError:
        return None
    if len(header) < 16 or any(header[4:8]):  # the source is named by a hash
        return None
    return int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:], "little")
