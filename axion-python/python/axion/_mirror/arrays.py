"""Large arrays of NumPy's as parts that tasks share."""

import sys
import weakref

from .. import _references
from .pins import fingerprint, make_part

_here = _references.module()


class Arrays:
    """The large arrays of NumPy's in the arguments of one call, as parts that workers map once. They are read-only there.

    `least`: the bytes from which on an array is shared. Arrays that can be written to are copied, unless `all_kinds`.
    """

    def __init__(self, least, all_kinds=False):
        numpy = sys.modules.get("numpy")
        self.kind = numpy and numpy.ndarray
        self.parts = []
        self._least, self._all_kinds = least, all_kinds

    def reduce(self, array):
        flags = array.flags
        if array.nbytes < self._least or flags.writeable and not self._all_kinds or not flags.forc or array.dtype.hasobject:
            return NotImplemented
        print = fingerprint(array)
        part = _parts_of_arrays.get(print)
        if part is None:
            part = _parts_of_arrays[print] = make_part(array)
        self.parts.append(part)
        return _here.worker_array, (part.id, array.dtype, array.shape, "C" if flags.c_contiguous else "F")


_parts_of_arrays = weakref.WeakValueDictionary()  # as long as a task has the part
