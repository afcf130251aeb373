"""What functions reach in this program, in the form in which workers mirror it (L18).

A *definition* is a function or class that workers make by value. It has a number for as long as it lives. A *slot* is
where the program keeps a value that definitions reach: a global of a *space*, an attribute of a definition, what a
closure cell holds. Each slot has a *pin*: what the worker's slot is to hold, and a version that grows with every change.
`axion_worker/mirror.py` has the format.

`Mirror.reach` walks from some definitions over all that they reach and gives a `Reach`: the pins, and the checks by which
a later submit sees that nothing has changed. Values are compared in four ways:

- by identity: atoms, and tuples of atoms; what goes by name; definitions, which are then compared attribute by attribute;
- by content: everything else, as pickles. Large buffers count by a hash. Values of one reach are pickled together, so
  that a change of what they share is a change. Slots whose values share objects are one *unit*, set together.

Nothing here knows what a worker has: pins are complete, and the engine sends what a worker lacks. So a walk may be
interrupted at any point, and threads may walk at the same time: the state of a slot is replaced as a whole, and only the
numbers are given under a lock. User code that pickling runs is never called under it.

This module keeps nothing alive: it has weak references to definitions, and a dict of globals that belongs to no module
is found through its functions.
"""

# Attributes that are None in a class get their values in its instances.
# pyright: reportAttributeAccessIssue=false, reportOptionalCall=false, reportArgumentType=false

import copyreg
import functools
import io
import itertools
import linecache
import logging
import os
import pickle
import sys
import threading
import time
import typing
import weakref
from operator import itemgetter
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType

from . import _axion, _definitions, _names, _needs, _packing, _references, _shared, _specials
from ._packing import PROTOCOL
from ._references import (ATTRIBUTE, CELL, CLASS, FROZEN, FUNCTION, FUNCTION_ATTRIBUTES, GLOBAL, LINES, OBJECT,
                          UNCERTAIN, VALUES)
from .errors import SubmitError

_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)))
_IMMUTABLE = (*_ATOMS, tuple, frozenset, FunctionType, BuiltinFunctionType, ModuleType, type)
_WRAPPERS = frozenset((property, classmethod, staticmethod))
_ATOM, _NAMED, _DEFINED, _VALUE, _ABSENT = "atom", "named", "defined", "value", "absent"
_MIN_PART = 1024  # bytes from which on content is a part of its own: smaller content is within the pins
_SLOW_COMPARISON = 0.01  # seconds
_MAX_OFFERED = 64 << 10  # bytes of values that a function reaches which is offered: they are compared at each submit
_MAX_REACHES = 256  # that are kept for sets of definitions
_HEADER = ("__name__", "__package__", "__file__", "__doc__")  # and `__spec__`, by its name and origin
_MAIN = ("__main__", "__mp_main__")  # `everything` lists what these need
_MISSING = object()

# Modules through which code finds nothing of this program by a name, and the builtins that may.
_FINDS_NOTHING = frozenset(("builtins", "math", "cmath", "time", "datetime", "random", "itertools", "functools", "operator",
                            "_operator", "collections", "string", "re", "os", "posix", "posixpath", "decimal",
                            "fractions", "statistics", "heapq", "_heapq", "bisect", "_bisect", "hashlib", "_hashlib",
                            "json", "struct", "_struct", "array", "textwrap", "numpy"))
_FINDING_BUILTINS = frozenset(("__import__", "eval", "exec", "compile", "globals", "vars", "getattr"))
_PICKLES = ("_pickle", "pickle", "cloudpickle.cloudpickle", "dill._dill", "joblib.numpy_pickle")
_OWN_MODULES = ("__mp_main__", _references.NAME, _definitions.NAME, "_axion_task")

_here = _references.module()
_logger = logging.getLogger("axion")
_versions = itertools.count(1)
# A worker that has workers of its own must not confuse their numbers with those of its caller.
_numbers = itertools.count(1 + (int.from_bytes(os.urandom(4), "little") << 20 if _references.is_worker() else 0))


def make_part(data):
    return _axion.Part(data)


def fingerprint(data):
    return _axion.fingerprint(data)


class Definition:
    """A function or class of this program that workers make by value."""

    __slots__ = ("number", "reference", "slots", "seen", "pin", "found", "space", "cells", "reach")

    def __init__(self, thing, died):
        self.number = next(_numbers)
        self.reference = weakref.ref(thing, died)
        self.slots = {}
        self.seen = self.pin = self.space = self.reach = None
        self.found = self.cells = ()

    def slot(self, name):
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = _Slot((ATTRIBUTE, self.number, name))
        return slot


class _Space:
    """A dict of globals that workers mirror. It does not hold the dict."""

    def __init__(self, key):
        self.key = key
        self.slots = {}

    def slot(self, name):
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = _Slot((GLOBAL, self.key, name))
        return slot


class _Imported:
    """The dict of globals of a module that workers import."""

    def __init__(self, name):
        self.key = name,


class _Cell:
    """A closure cell."""

    def __init__(self):
        self.number = next(_numbers)
        self.slot = _Slot((CELL, self.number, ""))


class _Slot:
    __slots__ = ("key", "state")

    def __init__(self, key):
        self.key = key
        self.state = None


class _State:
    """What a slot held when it was last looked at. Never changed: a slot gets another."""

    __slots__ = ("kind", "held", "pin", "found", "print", "members")

    def __init__(self, kind, held, pin, found=(), print=None, members=()):
        self.kind = kind
        self.held = held  # the value, or its definition, if they are compared by identity
        self.pin = pin  # (stage, version, keys, content)
        self.found = found  # the definitions that the value refers to
        self.print = print  # of a value that is compared by content
        self.members = members  # of its unit: how a walk gets at each slot

    def is_of(self, value):
        if self.kind is _DEFINED:
            return self.held.reference() is value
        return self.kind is not _VALUE and self.kind is not _ABSENT and self.held is value


class _Globals:
    """Stands in a pickle for the dict that has a function's globals."""

    __slots__ = ("key",)

    def __init__(self, key):
        self.key = key


class _Pickler(pickle.Pickler):
    """Pickles values of this program for a worker. Definitions, and modules that workers mirror, are references."""

    inline = None  # a function that is pickled by value
    places = None  # the number of the placeholder for a part of the value, or None
    arrays = None  # the `Arrays` that tasks share, for arguments
    stops = False  # whether `MaySentinel` is raised for an object without a state
    registers = False  # whether objects without a state are what they are by identity

    def __init__(self, mirror, file, keep_in_band=None):
        super().__init__(file, PROTOCOL, buffer_callback=keep_in_band)
        self._mirror = mirror
        self.found = {}
        self.references = set()  # the ids of objects that are references, beside functions and classes

    def reducer_override(self, thing):
        kind = type(thing)
        mirror = self._mirror
        if kind is FunctionType or issubclass(kind, type) or kind in _MADE_ONCE and thing is not self.inline:
            if kind in _MADE_ONCE:
                self.references.add(id(thing))
            if thing is self.inline:
                return _definitions.reduce_function(thing, _Globals(mirror.space_of(thing).key))
            known = mirror.definitions.get(id(thing))
            if known is None or known.reference() is not thing:
                if _goes_by_name(thing):
                    return NotImplemented
                if kind is type and not thing.__flags__ & _MADE_BY_PYTHON:
                    return _specials.reduce_special(thing, _goes_by_name)
                if kind in _MADE_ONCE:
                    _specials.reduce_special(thing, _goes_by_name)  # it may fail over a bound that cannot be evaluated
                known = mirror.define(thing)
            self.found[known.number] = known
            return _here.worker_object, (known.number,)
        if kind is CellType:
            return self._reduce_cell(thing)
        if kind is _Globals:
            return _here.worker_space, (thing.key,)
        if self.arrays is not None and kind is self.arrays.kind:
            reduced = self.arrays.reduce(thing)
            if reduced is not NotImplemented:
                return reduced
        if kind in _BOUND:
            named = _named_method(thing)
            if named is not None:
                return getattr, named
        if _shared.is_loaded():
            reduced = _shared.reduce(thing)
            if reduced is not NotImplemented:
                return reduced
        if str(kind.__module__).startswith("axion.") or not self.registers and _specials.is_made_anew(kind):
            return NotImplemented  # it says itself what it stands for, or that it cannot be an argument
        number = mirror.sentinels.get(id(thing))
        if number is None and self.registers and _is_sentinel(thing):
            number = mirror.sentinel(thing)
        elif number is None and self.stops and not getattr(thing, "__dict__", kind is not object) and _is_sentinel(thing):
            raise MaySentinel
        if number is not None:
            self.references.add(id(thing))
            return _here.worker_sentinel, (number[0], kind)
        if issubclass(kind, ModuleType):
            return mirror.reduce_module(thing)
        if type(kind) is not type and _definitions.is_enum_member(thing):
            self.references.add(id(thing))
            return _definitions.reduce_member(thing)
        if thing is not self.inline:
            known = mirror.definitions.get(id(thing))
            if known is not None and known.reference() is thing:
                self.found[known.number] = known
                self.references.add(id(thing))
                return _here.worker_object, (known.number,)
            if (kind.__reduce__ is not _object_reduce or kind.__reduce_ex__ is not _object_reduce_ex) and _is_sent(kind):
                return self._reduce_itself(thing)
        elif kind not in _MADE_ONCE:
            return copyreg.__newobj__, (kind,), thing.__getstate__()  # not by its name
        reduced = _specials.reduce_special(thing, _goes_by_name)
        if type(reduced) is tuple and reduced[0] is getattr:  # by a name
            self.references.add(id(thing))
        return reduced

    def _reduce_itself(self, thing):
        """An instance of a class of this program that says how it is pickled. If it gives its name, it is this object."""
        if type(thing) in copyreg.dispatch_table:
            return NotImplemented
        reduced = thing.__reduce_ex__(PROTOCOL)
        if type(reduced) is not str:
            return reduced
        known = self._mirror.define(thing)
        self.found[known.number] = known
        self.references.add(id(thing))
        return _here.worker_object, (known.number,)

    def _reduce_cell(self, cell):
        if self.inline is not None:
            return _definitions.reduce_cell(cell)
        return _here.worker_cell, (self._mirror.cell(cell).number,)


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


class MaySentinel(Exception):
    """An argument may be what it is by identity: that is known when the walk from the function has been there."""


class _PickleWithPlaceholders(_Pickler):
    def persistent_id(self, part):
        return self.places(part)


# What a worker makes once, as functions and classes: the caches of `functools.lru_cache`, and type parameters.
_MADE_ONCE = frozenset((type(functools.lru_cache(len)), *[
    getattr(typing, name) for name in ("TypeVar", "ParamSpec", "TypeVarTuple") if hasattr(typing, name)]))
_MADE_BY_PYTHON = 1 << 9  # and types of newer extension modules


def _is_definition(thing):
    """Whether it is a function or class that workers make by value."""
    kind = type(thing)
    return (kind is FunctionType or kind in _MADE_ONCE or issubclass(kind, type) and thing.__flags__ & _MADE_BY_PYTHON
            ) and not _goes_by_name(thing)


_BOUND = frozenset((MethodType, BuiltinFunctionType))


def _named_method(method):
    """The module and the global of a bound method that a module offers as a function, as `random.seed`."""
    module = sys.modules.get(type(method.__self__).__module__)
    if (type(module) is ModuleType and method.__self__ is not module and getattr(module, method.__name__, None) == method
            and _names.place_of_module(module.__name__) is not None):
        return module, method.__name__
    return None


_object_reduce, _object_reduce_ex = object.__reduce__, object.__reduce_ex__


def _is_sent(kind):
    """Whether a class is one that workers make by value."""
    known = mirror.definitions.get(id(kind))
    return known is not None and known.reference() is kind or _is_definition(kind)


def _goes_by_name(thing):
    return getattr(thing, "__module__", None) == _references.NAME or _names.goes_by_name(thing)


def _may_find(name, value):
    """Whether code may find things of this program by their names through this global."""
    if value is _MISSING:
        return name in _FINDING_BUILTINS
    kind = type(value)
    if kind is ModuleType:
        module = value.__name__
    elif kind is FunctionType or kind is BuiltinFunctionType or issubclass(kind, type):
        module = value.__module__
    else:
        return False
    return type(module) is str and module.partition(".")[0] not in _FINDS_NOTHING


def _is_sentinel(thing):
    return _is_stateless(thing) and not _has_name_in_worker(_specials.reduce_special(thing, _goes_by_name))


def _has_name_in_worker(reduced):
    """Whether an object is reduced to a global of a module that workers import."""
    if reduced is NotImplemented:
        return False
    module = reduced[1][0] if reduced[0] is getattr else None
    return type(module) is not ModuleType or _names.place_of_module(module.__name__) is not None


def _is_stateless(thing):
    """Whether an object is nothing but itself, as `MISSING = object()`, or an instance of a class of Python without
    any state.
    """
    kind = type(thing)
    if kind is object:
        return True
    own = kind.__dict__
    return (kind.__base__ is object and ("__dict__" in own or own.get("__slots__", _MISSING) in ((), []))
            and not getattr(thing, "__dict__", None)
            and (kind.__new__ is object.__new__ or type(kind.__new__) is FunctionType)
            and all(getattr(kind, name) is getattr(object, name) for name in _PLAIN_METHODS)
            and not hasattr(kind, "__getnewargs__") and not hasattr(kind, "__getnewargs_ex__"))


_PLAIN_METHODS = ("__eq__", "__hash__", "__reduce_ex__", "__reduce__", "__getstate__")


class _Dump:
    """A pickle of some values, and what it refers to. `slots` has the slots that stand for objects inside, by their ids."""

    def __init__(self, mirror, values, slots=None):
        self._mirror = mirror
        self._slots = slots
        self.refers_to = {}  # the values whose slots it refers to
        packed = _packing.pack(values, self._dumps)
        self._parts = packed if type(packed) is list else [packed]
        self.print = [part if len(part) < _MIN_PART else fingerprint(part) for part in self._parts]

    def _dumps(self, values, keep_in_band):
        with io.BytesIO() as file:
            if self._slots is None:
                pickler = _Pickler(self._mirror, file, keep_in_band)
            else:
                pickler = _PickleWithPlaceholders(self._mirror, file, keep_in_band)
                pickler.places = self._place
            pickler.registers = True
            pickler.dump(values)
            self.found, self._memo, self._references = pickler.found, pickler.memo, pickler.references
            return file.getvalue()

    def _place(self, part):
        value = self._slots.get(id(part))
        if value is None:
            return None
        self.refers_to[value.slot] = value
        return value.slot.key

    def content(self):
        return make_part(self._parts) if sum(map(len, self._parts)) >= _MIN_PART else b"".join(self._parts)

    def is_reference(self, thing):
        """Whether a pickle has only the name or the number of an object."""
        return isinstance(thing, _IMMUTABLE) or id(thing) in self._references

    def shared(self):
        """The ids of the objects by which two values can share a part."""
        return {key for key, (_, thing) in self._memo.copy().items()
                if not isinstance(thing, _IMMUTABLE) and key not in self._references}


def _content(data):
    return data if len(data) < _MIN_PART else make_part(data)


class Mirror:
    """What this process has told its workers of its program. There is one for each process."""

    def __init__(self):
        self.definitions = {}  # by the id of the function or class
        self.by_number = {}
        self.sentinels = {}  # id -> (number, object)
        self._sentinels_by_number = {}
        self._modules = {}  # name -> its dict and its space
        self._spaces = weakref.WeakValueDictionary()  # by the id of the dict; the definitions in it hold the space
        self._cells = weakref.WeakValueDictionary()  # by the id of the cell; the functions' definitions hold these
        self._lines = {}
        self._reaches = {}
        self._needs = {}
        self._lock = threading.RLock()
        self._offers = None
        self._module_count, self._mirrored = None, {}
        self._slow = set()

    # Numbers.

    def define(self, thing):
        """The definition of a function or class."""
        with self._lock:
            known = self.definitions.get(id(thing))
            if known is None or known.reference() is not thing:
                known = Definition(thing, self._forgetter(id(thing)))
                self.definitions[id(thing)] = known
                self.by_number[known.number] = known
            return known

    def _forgetter(self, key):
        mirror = weakref.ref(self)

        def forget(reference):
            it = mirror()
            known = it and it.definitions.get(key)
            if known and known.reference is reference:
                del it.definitions[key], it.by_number[known.number]

        return forget

    def sentinel(self, thing):
        with self._lock:
            found = self.sentinels.get(id(thing))
            if found is None:
                found = self.sentinels[id(thing)] = next(_numbers), thing
                self._sentinels_by_number[found[0]] = thing
            return found

    def cell(self, cell):
        with self._lock:
            known = self._cells.get(id(cell))
            if known is None:
                known = self._cells[id(cell)] = _Cell()
            return known

    def space_of(self, function):
        names = function.__globals__
        name = names.get("__name__")
        module = sys.modules.get(name) if type(name) is str else None
        if getattr(module, "__dict__", None) is names:
            if _names.place_of_module(name) is None:
                return self.space_of_module(name, names)
            if not _names.is_registered_by_value(name):
                return _Imported(name)
        with self._lock:
            space = self._spaces.get(id(names))
            if space is None:
                space = self._spaces[id(names)] = _Space(next(_numbers))
            return space

    def needs(self, code):
        """What code needs of its globals."""
        known = self._needs.get(id(code))
        if known is None or known[0]() is not code:
            found = _needs.names_needed(code)
            key = id(code)

            def forget(reference):
                if self._needs.get(key, (None,))[0] is reference:
                    del self._needs[key]

            known = self._needs[key] = weakref.ref(code, forget), sorted(found.names), found.everything, frozenset(found.modules)
        return known

    def reduce_module(self, module):
        name = module.__name__
        if sys.modules.get(name) is module:
            if _names.place_of_module(name) is not None:
                return _specials.reduce_special(module)
            return _here.worker_module, (name,)
        return _specials.reduce_special(module)

    def warn_of(self, value):
        """Says once for each global that its comparison delays every submit."""
        if value.slot.key not in self._slow:
            self._slow.add(value.slot.key)
            _logger.warning("%r, which %s uses, is compared at each submit, and that takes more than %.0f ms", value.slot.key[2],
                            getattr(value.user, "__qualname__", "the function"), _SLOW_COMPARISON * 1e3)

    # Offers.

    def looks_up(self, function):
        """Whether a function that goes by name may find functions and classes of this program by their names."""
        if type(function) is not FunctionType:
            return getattr(function, "__module__", None) in _PICKLES or function is getattr
        names = function.__globals__
        _, needed, everything, _ = self.needs(function.__code__)
        return everything or any(_may_find(name, names.get(name, _MISSING)) for name in needed)

    def offers(self):
        """The functions and classes of the modules that have no file."""
        offers = self._offers
        if offers is None or not offers.is_current():
            offers = self._offers = _Offers(self)
        return offers

    def mirrored_modules(self):
        """The dicts of the modules that have no file, by their names."""
        count = len(sys.modules), id(sys.modules.get("__main__"))
        if count != self._module_count:
            found = {}
            for name, module in list(sys.modules.items()):
                names = getattr(module, "__dict__", None)
                if (type(names) is dict and names.get("__name__") == name and name not in _OWN_MODULES
                        and _names.place_of_module(name) is None):
                    found[name] = names
            self._module_count, self._mirrored = count, found
        return self._mirrored

    def space_of_module(self, name, names):
        known = self._modules.get(name)
        if known is None or known[0] is not names:
            known = self._modules[name] = names, _Space(name)
        return known[1]

    def name_of_part(self, text):
        """What keeps a part whose id is in the text of an error; None if that is not found."""
        spaces = [space for _, space in list(self._modules.values())] + list(self._spaces.values())
        owners = spaces + list(self.definitions.values())
        slots = [slot for owner in owners for slot in list(owner.slots.values())]
        slots += [cell.slot for cell in list(self._cells.values())]
        for slot in slots:
            content = slot.state.pin[3] if slot.state is not None else None
            if isinstance(content, _axion.Part) and content.id.hex() in text:
                return content.id.hex(), _name_of(slot.key)
        return None

    # What comes back.

    def object(self, number):
        known = self.by_number.get(number)
        thing = known.reference() if known is not None else self._sentinels_by_number.get(number)
        if thing is None and _of_worker is not None:  # this process is a worker, and the pickle is not of its own
            return _of_worker.caller_object(number)
        if thing is None:
            raise LookupError("a function or class that this program does not have any more")
        return thing

    def caller_space(self, key):
        """The dict of a space: of a module, of its functions, or a new one."""
        if key is None:
            return {"__builtins__": __builtins__}
        if type(key) is tuple:
            __import__(key[0])
            return vars(sys.modules[key[0]])
        if type(key) is str:
            return vars(sys.modules[key])
        for known in list(self.definitions.values()):
            if known.space is not None and known.space.key == key:
                function = known.reference()
                if function is not None:
                    return function.__globals__
        if _of_worker is not None:
            return _of_worker.caller_space(key)
        raise LookupError("a namespace that this program does not have any more")

    # Walks.

    def dump(self, value, keep_in_band=None, places=None, arrays=None, stops=False):
        """A pickle of arguments, and the definitions that it refers to, by their numbers."""
        with io.BytesIO() as file:
            if places is None:
                pickler = _Pickler(self, file, keep_in_band)
            else:
                pickler = _PickleWithPlaceholders(self, file, keep_in_band)
                pickler.places = places
            pickler.arrays = arrays
            pickler.stops = stops
            pickler.dump(value)
            return file.getvalue(), pickler.found

    def dump_by_value(self, function):
        """A pickle of a function that has no number."""
        with io.BytesIO() as file:
            pickler = _Pickler(self, file)
            pickler.inline = function
            pickler.dump(function)
            return file.getvalue()

    def reach(self, roots, functions=(), looks_up=False):
        """What definitions reach, and beside them functions that have no number, each with its space, and one that goes
        by name and may look things up.
        """
        if functions or looks_up:
            return _Walk(self, roots, functions, looks_up).reach()
        if len(roots) == 1:
            known, = roots.values()
            if known.reach is None or not known.reach.is_current():
                known.reach = _Walk(self, roots).reach()
            return known.reach
        key = frozenset(roots)
        found = self._reaches.get(key)
        if found is None or not found.is_current():
            found = _Walk(self, roots).reach()
            if len(self._reaches) >= _MAX_REACHES:
                self._reaches.clear()
            self._reaches[key] = found
        return found


class _Walk:
    """One walk from some definitions, and functions that have no number, over all that they reach."""

    def __init__(self, mirror, roots, functions=(), looks_up=False):
        self._mirror = mirror
        self._looks_up = looks_up  # None: not even if a function may do so
        self._todo = list(roots.values())
        self._definitions = {}
        self._kept = []  # objects, until the walk has ended
        self._spaces = {}
        self._pins = []
        self._states = []  # each slot that it has pinned, and its pin
        self._needed = {}  # a pin -> the definitions, and the pins, that have to be complete before it is set
        self._values = []
        self._held = []
        self._names = {}  # id of a dict of globals -> how to check it
        self._functions, self._classes = [], []
        self._imports = set()  # the names of modules without a file, or unknown ones, that functions import themselves
        self._asks_for_subclasses, self._subclasses = False, {}
        self._inline = functions

    def reach(self):
        for function, _ in self._inline:
            self._walk_function(function, None)
        self._walk_definitions()
        while self._join_members() or self._join_subclasses():
            self._walk_definitions()
        self._pin_values()
        self._offers = self._mirror.offers() if self._looks_up else None
        return Reach(self)

    def _walk_definitions(self):
        while self._todo:
            definition = self._todo.pop()
            if definition.number in self._definitions:
                continue
            thing = definition.reference()
            if thing is None:
                continue
            self._definitions[definition.number] = definition
            self._kept.append(thing)
            if type(thing) is FunctionType:
                self._walk_function(thing, definition)
            elif not issubclass(type(thing), type):
                self._walk_object(thing, definition)
            else:
                self._walk_class(thing, definition)

    def _join_members(self):
        """Walks to the other slots of the units that it has met. False if it has met all."""
        met = {value.slot for value in self._values}
        joined = False
        for value in list(self._values):
            for slot, reference, name in value.slot.state.members if value.slot.state is not None else ():
                if slot in met:
                    continue
                met.add(slot)
                thing = reference()
                if thing is None:
                    continue
                if name is None:
                    known = self._mirror.definitions.get(id(thing))
                    if known is not None and known.number not in self._definitions:
                        self._todo.append(known)
                        joined = True
                else:
                    space, names = self._mirror.space_of(thing), thing.__globals__
                    check = self._check(space, names, thing)
                    if name not in check.seen:
                        self._walk_global(thing, space, names, check, name, True)
                        joined = True
        return joined

    def _join_subclasses(self):
        """Walks to the subclasses of the classes that it has met, if a function asks for them."""
        before = len(self._todo)
        for cls in self._kept if self._asks_for_subclasses else ():
            if issubclass(type(cls), type):
                found = [each for each in type.__subclasses__(cls) if _is_definition(each)]
                self._subclasses[id(cls)] = weakref.ref(cls), len(found)
                self._todo += [each for each in map(self._mirror.define, found) if each.number not in self._definitions]
        return len(self._todo) > before

    def visit_global(self, space, name, thing):
        """Pins the name of a definition."""
        space = self._mirror.space_of_module(space, self._mirror.mirrored_modules()[space])
        self._spaces.setdefault(space.key, (space, {}))
        slot = space.slot(name)
        if slot.state is None or slot.state.pin not in self._pins:
            self._visit(slot, thing, thing, None)

    def ordered_pins(self):
        """The pins, each behind what its value needs when it is read, such as the attributes of its class."""
        attributes, ordered, met = {}, [], set()
        for pin in self._pins:
            for kind, owner, _ in pin[2]:
                if kind == ATTRIBUTE:
                    attributes.setdefault(owner, []).append(pin)
        for first in self._pins:
            left = [(first, False)]
            while left:
                pin, is_ready = left.pop()
                if is_ready:
                    ordered.append(pin)
                elif pin not in met:
                    met.add(pin)
                    left.append((pin, True))
                    numbers, pins = self._needed.get(pin, ((), ()))
                    kind, owner, _ = pin[2][0]
                    if kind == ATTRIBUTE and len(pin[2]) == 1:  # the attributes of one class keep their order
                        own = attributes[owner]
                        left += [(each, False) for each in reversed(own[:own.index(pin)])]
                    left += [(each, False) for each in pins]
                    left += [(each, False) for number in numbers for each in reversed(attributes.get(number, ()))]
        return ordered

    def sizes(self):
        """The bytes of the values that it has pinned."""
        return [len(content) for _, _, _, content in self._pins if type(content) is not tuple and content is not None]

    # Definitions.

    def _walk_function(self, function, definition):
        mirror, code = self._mirror, function.__code__
        if self._looks_up is False and mirror.needs(code)[2]:
            self._looks_up = True
        if _names_subclasses(code):
            self._asks_for_subclasses = True
        space = mirror.space_of(function)
        if definition is not None:
            self._describe_function(function, definition, space)
        self._walk_globals(function, space)
        self._walk_imports(function)
        self._walk_lines(code.co_filename)
        indices = []
        for at, cell in enumerate(function.__closure__ or ()):
            known = mirror.cell(cell)
            if definition is None:
                continue  # it is pickled by value
            value = contents_of(cell)
            if self._visit(known.slot, value, function, _CellReader(definition.reference, at)) is not _VALUE:
                indices.append(at)
        reference = definition.reference if definition is not None else weakref.ref(function)
        exact, annotations = {}, None
        for name in FUNCTION_ATTRIBUTES:
            value = getattr(function, name, None)
            if name == "__annotations__" or name == "__type_params__":
                if type(value) is dict and definition is not None:
                    annotations = _identities(value)
                if definition is not None and (value or value is not None and name in definition.slots):
                    self._visit(definition.slot(name), value, function, None, soft=True)
                    self._walk_annotations(function, value)
            elif definition is None:
                exact[name] = value
            elif value is None and name not in definition.slots:
                exact[name] = None
            elif self._visit(definition.slot(name), value, function, _AttributeReader(reference, name)) is not _VALUE:
                exact[name] = value
        attributes = None
        if function.__dict__ and definition is not None:
            attributes = _identities(function.__dict__)
            for name, value in function.__dict__.items():
                self._visit(definition.slot(name), value, function, _DictReader(reference, name))
        if definition is not None:
            for name, slot in list(definition.slots.items()):
                if name not in FUNCTION_ATTRIBUTES and name not in function.__dict__:
                    self._visit(slot, _MISSING, function, None)
        names = function.__name__, function.__qualname__, function.__doc__
        self._functions.append((reference, code, names, exact.get("__defaults__", _MISSING),
                                exact.get("__kwdefaults__", _MISSING), annotations, attributes,
                                [(at, id(contents_of(function.__closure__[at]))) for at in indices]))

    def _walk_object(self, thing, definition):
        """What `functools.lru_cache` has made, which begins with an empty cache in a worker; a type parameter; or an
        object that pickles by the name of a global.
        """
        with io.BytesIO() as file:
            pickler = _Pickler(self._mirror, file)
            pickler.inline, pickler.registers = thing, True
            pickler.dump((OBJECT, thing, None, None))
            data = file.getvalue()
        if definition.seen != data:
            definition.pin = definition.number, next(_versions), data, _content(data)
            definition.found, definition.seen = tuple(pickler.found.values()), data
        self._todo.extend(definition.found)

    def _describe_function(self, function, definition, space):
        seen = (function.__code__, function.__name__, function.__qualname__, function.__module__, function.__doc__)
        if definition.seen is not None and all(map(_is, seen, definition.seen)):
            return
        code, name, cells = _definitions.function_structure(function)
        definition.cells = tuple(map(self._mirror.cell, cells or ()))
        definition.space = space
        structure = code, name, cells, dict(zip(("__name__", "__qualname__", "__module__", "__doc__"), seen[1:]))
        self._describe(definition, lambda: (FUNCTION, structure, space.key, _alias(function)), seen)

    def _describe(self, definition, describe, seen):
        try:
            self._describe_as(definition, describe(), seen)
        except SubmitError:
            raise
        except Exception as error:
            thing = definition.reference()
            raise SubmitError("%s cannot be sent to a worker: %s: %s" % (
                getattr(thing, "__qualname__", thing), type(error).__name__, error), "not_picklable") from error

    def _describe_as(self, definition, description, seen):
        with io.BytesIO() as file:
            pickler = _Pickler(self._mirror, file)
            pickler.dump(description)
            data = file.getvalue()
        if definition.pin is None or definition.pin[2] != data:
            definition.pin = definition.number, next(_versions), data, _content(data)
        definition.found = tuple(pickler.found.values())
        definition.seen = seen

    def _walk_class(self, cls, definition):
        seen = cls.__bases__, cls.__name__, cls.__qualname__
        if definition.seen is None or not all(map(_is, seen[0], definition.seen[0])) or seen != definition.seen:
            self._describe(definition, lambda: (CLASS, _definitions.class_structure(cls), None, _alias(cls)), seen)
        self._todo.extend(definition.found)
        attributes = _definitions.class_attributes(cls)
        is_plain = _definitions.MEMBER_STATES not in attributes
        own = vars(cls)
        if own.get("__annotations__"):
            self._walk_annotations(cls, own["__annotations__"])
        for name, value in attributes.items():
            reader = None
            if is_plain and own.get(name, _MISSING) is value:
                reader = _ClassReader(definition.reference, name)
            self._visit(definition.slot(name), value, cls, reader, soft=True)
        for name, slot in list(definition.slots.items()):
            if name not in attributes:
                self._visit(slot, _MISSING, cls, None)
        self._classes.append((definition.reference, cls.__name__, list(own), list(map(id, own.values()))))

    # Slots.

    def _walk_globals(self, function, space):
        if type(space) is _Imported:
            return
        names = function.__globals__
        _, needed, everything, _ = self._mirror.needs(function.__code__)
        check = self._check(space, names, function)
        for name in needed:
            self._walk_global(function, space, names, check, name, False)
        if everything:
            check.count = len(names)
            for name in {**names, **space.slots}:
                if name not in _UNSENT:
                    self._walk_global(function, space, names, check, name, True)

    def _walk_imports(self, function):
        """Walks over the modules without a file that a function imports itself: any of their names may be asked for."""
        wanted = {name for name in _with_packages(self._mirror.needs(function.__code__)[3])
                  if name not in _MAIN and (name not in sys.modules or _names.place_of_module(name) is None)}
        self._imports |= wanted
        modules = self._mirror.mirrored_modules() if wanted else {}
        for name in sorted(wanted.intersection(modules)):
            names = modules[name]
            space = self._mirror.space_of_module(name, names)
            check = self._check(space, names, None)
            check.count = len(names)
            for each in {**names, **space.slots}:
                if each not in _UNSENT:
                    self._walk_global(function, space, names, check, each, True)

    def _walk_global(self, function, space, names, check, name, soft):
        if name in check.seen:
            return
        check.seen.add(name)
        value = names.get(name, _MISSING)
        if self._looks_up is False and not _is_definition(value) and _may_find(name, value):
            self._looks_up = True
        if value is _MISSING:
            check.absent.append(name)
            if name in space.slots:
                self._visit(space.slots[name], _MISSING, function, None)
            return
        reader = _GlobalReader(check.owner, check.reference, name)
        try:
            kind = self._visit(space.slot(name), value, function, reader, uncertain=soft)
        except SubmitError:
            if not soft:
                raise
            kind = None
        if kind is not _VALUE:
            check.names.append(name)
            check.ids.append(id(value))

    def _walk_annotations(self, thing, annotations):
        """Pins the names in annotations that are text."""
        wanted = _needs.names_in_annotations(annotations) if type(annotations) is dict else ()
        if not wanted:
            return
        names = getattr(thing, "__globals__", None) or self._mirror.mirrored_modules().get(thing.__module__)
        if names is None:
            return
        name = names.get("__name__")
        function = thing if type(thing) is FunctionType else None
        if function is not None:
            space = self._mirror.space_of(function)
        else:
            space = self._mirror.space_of_module(name, names)
        if type(space) is not _Imported:
            check = self._check(space, names, function)
            for each in sorted(wanted):
                self._walk_global(thing, space, names, check, each, True)

    def _check(self, space, names, function):
        self._spaces.setdefault(space.key, (space, _header(names)))
        check = self._names.get(id(names))
        if check is None:
            owner = names if type(space.key) is str else None
            reference = None if function is None else weakref.ref(function)
            check = self._names[id(names)] = _NamesCheck(space, owner, reference)
        return check

    def _walk_lines(self, name):
        entry = linecache.cache.get(name)
        if entry is None or len(entry) != 4 or entry[1] is not None:
            return
        slot = self._mirror._lines.get(name)
        if slot is None:
            slot = self._mirror._lines[name] = _Slot((LINES, "", name))
        if slot.state is None or slot.state.held is not entry[2]:
            content = _content(pickle.dumps((entry[2],), PROTOCOL))
            slot.state = _State(_NAMED, entry[2], (FROZEN, next(_versions), (slot.key,), content))
        if slot.state.pin not in self._pins:
            self._pins.append(slot.state.pin)

    def _visit(self, slot, value, user, reader, soft=False, uncertain=False):
        """Pins a slot, or puts it off until all values are known. Returns how its value is compared."""
        state = slot.state
        if state is None or not state.is_of(value):
            state = self._look(slot, value, state)
        if state is None:
            return self._visit_value(_Value(slot, value, user, reader, soft, uncertain))
        slot.state = state
        self._pins.append(state.pin)
        self._states.append((slot, state.pin))
        self._held.append(state.held)
        self._todo.extend(state.found)
        return state.kind

    def _look(self, slot, value, before):
        """The state of a slot whose value is compared by identity; None for any other."""
        if value is _MISSING:
            if before is not None and before.kind is _ABSENT:
                return before
            return _State(_ABSENT, None, (FROZEN, next(_versions), (slot.key,), None))
        kind = type(value)
        if kind is FunctionType or kind in _MADE_ONCE or issubclass(kind, type):
            if _is_definition(value):
                definition = self._mirror.define(value)
                return _State(_DEFINED, definition, _pin(slot, FROZEN, (definition.number,), before), (definition,))
            how = _NAMED
        elif is_atom(value):
            return _State(_ATOM, value, _pin(slot, FROZEN, _content(pickle.dumps((value,), PROTOCOL)), before))
        elif kind is ModuleType or kind is BuiltinFunctionType and type(value.__self__) is ModuleType:
            how = _NAMED
        elif _is_sentinel(value):
            self._mirror.sentinel(value)
            how = _NAMED
        else:
            return None
        dump = _Dump(self._mirror, (value,))
        return _State(how, value, _pin(slot, FROZEN, dump.content(), before), tuple(dump.found.values()))

    def _visit_value(self, value):
        try:
            began = time.perf_counter()
            value.dump = _Dump(self._mirror, (value.value,))
            if time.perf_counter() - began > _SLOW_COMPARISON:
                self._mirror.warn_of(value)
        except Exception as error:
            problem = refusal(value, error)
            if not value.soft:
                raise problem from error
            state = _State(_NAMED, value.value, _pin(value.slot, FROZEN, _refused(problem), value.slot.state))
            value.slot.state = state
            self._pins.append(state.pin)
            self._states.append((value.slot, state.pin))
            self._held.append(value.value)
            return _NAMED
        self._values.append(value)
        self._todo.extend(value.dump.found.values())
        return _VALUE

    def _pin_values(self):
        """Pins the slots with values. A value that is inside another one is a reference to its slot; values that share
        further objects, or are inside each other, are one unit.
        """
        for group in _groups(self._values):
            slots = _slots_by_id(group) if len(group) > 1 else {}
            for unit in _units(self._mirror, group, slots):
                self._pin_unit(unit, slots)

    def _pin_unit(self, unit, slots):
        unit.sort(key=_order)
        keys, own = tuple([value.slot.key for value in unit]), {value.slot for value in unit}
        dump = unit[0].dump
        if slots or len(unit) > 1:
            others = {key: value for key, value in slots.items() if value.slot not in own}
            dump = _Dump(self._mirror, tuple([value.value for value in unit]), others)
        print = [*dump.print, *sorted(slot.state.pin[1] for slot in dump.refers_to)]
        states = [value.slot.state for value in unit]
        first = states[0]
        is_needed = not all(value.uncertain for value in unit)
        if first is not None and first.kind is _VALUE and first.pin[2] == keys and first.print == print and not (
                is_needed and first.pin[0] == UNCERTAIN) and all(
                state is not None and state.pin is first.pin for state in states):
            pin = first.pin
        else:
            stage = FROZEN if all(type(value.value) in _WRAPPERS for value in unit) else VALUES
            if all(value.uncertain for value in unit):
                stage = UNCERTAIN
            pin = stage, next(_versions), keys, dump.content()
            members = tuple([value.member() for value in (*unit, *dump.refers_to.values())
                             if len(unit) > 1 or value is not unit[0]])
            for value in unit:
                value.slot.state = _State(_VALUE, None, pin, (), print, members)
        self._pins.append(pin)
        self._states += [(value.slot, pin) for value in unit]
        self._needed[pin] = list(dump.found), [slot.state.pin for slot in dump.refers_to]


def _header(names):
    header = {name: names[name] for name in _HEADER if type(names.get(name)) is str}
    spec = names.get("__spec__")
    if type(getattr(spec, "name", None)) is str:
        header["__spec__"] = spec.name, spec.origin
    return header


def _with_packages(names):
    """The names of modules, and those of the packages that they are in."""
    found = set(names)
    for name in names:
        while "." in name:
            name = name.rpartition(".")[0]
            found.add(name)
    return found


def _names_subclasses(code):
    return "__subclasses__" in code.co_names or any(
        _names_subclasses(each) for each in code.co_consts if type(each) is CodeType)


def _alias(thing):
    """The module and the global by which a worker has an object of its own that is the same, if it imports the module:
    a lambda, or what a call has made when the module was imported. The worker checks whether it is.
    """
    name = thing.__module__
    module = sys.modules.get(name) if type(name) is str else None
    if module is None or _names.place_of_module(name) is None or _names.is_registered_by_value(name):
        return None
    for key, value in list(vars(module).items()):
        if value is thing:
            return name, key
    return None


class _Value:
    """A value that is compared by content."""

    __slots__ = ("slot", "value", "user", "reader", "soft", "uncertain", "dump")

    def __init__(self, slot, value, user, reader, soft, uncertain):
        self.slot, self.value, self.user, self.reader, self.soft = slot, value, user, reader, soft
        self.uncertain = uncertain  # whether nothing is known to need it

    def member(self):
        """The slot, and what leads a walk to it: a definition, or a function and the name of its global."""
        kind, _, name = self.slot.key
        return self.slot, weakref.ref(self.user), name if kind == GLOBAL and type(self.user) is FunctionType else None


def _order(value):
    kind, owner, name = value.slot.key
    return kind, str(owner), name


def _groups(values):
    """The values, in lists of those that share objects."""
    if len(values) < 2:
        return [[value] for value in values]
    return _joined(values, [value.dump.shared() for value in values])


def _joined(values, shared):
    """The values, in lists of those whose sets have common elements."""
    groups = []
    for value, own in zip(values, shared):
        members = [value]
        for group in [each for each in groups if not each[0].isdisjoint(own)]:
            groups.remove(group)
            own = own | group[0]
            members = group[1] + members
        groups.append((own, members))
    return [members for _, members in groups]


def _slots_by_id(values):
    """The slot that stands for each value when it is inside another one. It is the one that had it first."""
    found = {}
    for value in sorted(values, key=_seniority):
        if not value.dump.is_reference(value.value):
            found.setdefault(id(value.value), value)
    return found


def _seniority(value):
    state = value.slot.state
    version = state.pin[1] if state is not None and state.kind is _VALUE else sys.maxsize
    return version, _order(value)


def _units(mirror, values, slots):
    """The values, in lists that are pinned together. What a unit refers to comes before it."""
    if not slots:
        return [values]
    dumps = []
    for value in values:
        others = slots if slots.get(id(value.value)) is not value else {
            key: other for key, other in slots.items() if other is not value}
        dumps.append(_Dump(mirror, (value.value,), others))
    units = _joined(values, [dump.shared() for dump in dumps])
    unit_of = {value.slot: at for at, unit in enumerate(units) for value in unit}
    needs = [set() for _ in units]
    for value, dump in zip(values, dumps):
        own = unit_of[value.slot]
        needs[own].update(unit_of[slot] for slot in dump.refers_to if unit_of[slot] != own)
    ordered, placed = [], set()
    while len(placed) < len(units):
        ready = [[at] for at in range(len(units)) if at not in placed and needs[at] <= placed]
        if not ready:  # some are inside each other
            ready = [[at for at in range(len(units)) if at not in placed]]
        for each in ready:
            placed.update(each)
            ordered.append(([value for at in each for value in units[at]], set().union(*[needs[at] for at in each])))
    for unit, needed in reversed(ordered):  # what is known to be needed needs what it refers to
        if not all(value.uncertain for value in unit):
            for value in [value for at in needed for value in units[at]]:
                value.uncertain = False
    return [unit for unit, _ in ordered]


class _NamesCheck:
    """The names of one dict of globals that a walk has met."""

    def __init__(self, space, owner, reference):
        self.space, self.owner, self.reference = space, owner, reference
        self.seen, self.names, self.ids, self.absent = set(), [], [], []
        self.count = None  # of all names, if a function can reach them all


class Reach:
    """What some definitions reach: the pins, and whether they still hold."""

    def __init__(self, walk):
        self._mirror = walk._mirror
        self._names = [(check.owner, check.reference, _getter(check.names), check.ids, frozenset(check.absent), check.count,
                        check.space.slots, frozenset(check.absent).difference(check.space.slots))
                       for check in walk._names.values()]
        self._functions, self._classes = walk._functions, walk._classes
        self._states = walk._states
        self._imports = walk._imports
        self._modules = self._mirror.mirrored_modules() if self._imports else None
        self._held = walk._held, [space for space, _ in walk._spaces.values()]
        self._abc_token = _abc_token() if walk._classes else None
        watched = [value for value in walk._values if value.reader is not None]
        self._readers = [value.reader for value in watched]
        self._print = None
        if watched:
            self._print = watched[0].dump.print if len(watched) == 1 else _Dump(
                walk._mirror, tuple([value.value for value in watched])).print
        self._offers = walk._offers
        self._subclasses = list(walk._subclasses.values())
        self._references = [each.reference for each in walk._definitions.values()]
        self._hold = _nothing
        self.definitions = walk._definitions
        self._compile(walk)

    def _compile(self, walk):
        self.parts, positions = [], {}

        def place(content):
            if type(content) in (bytes, tuple, type(None)):
                return content
            if content.id not in positions:
                self.parts.append(content)
                positions[content.id] = len(positions)
            return positions[content.id]

        definitions = tuple([(each.pin[0], each.pin[1], place(each.pin[3])) for _, each in sorted(walk._definitions.items())])
        units = tuple([(stage, version, keys, place(content)) for stage, version, keys, content in walk.ordered_pins()])
        spaces = tuple([(key, header) for key, (_, header) in walk._spaces.items()])
        offers = None if walk._offers is None else walk._offers.content(place)
        if not definitions and not units and not spaces and offers is None:
            self.pins = None
            return
        pins = tuple(positions), spaces, definitions, units, offers
        data = pickle.dumps(pins, PROTOCOL)
        self.pins = pins
        if len(data) >= _MIN_PART:
            part = make_part(data)
            self.parts.append(part)
            self.pins = part.id

    def is_closed(self):
        """Whether it is one function without a number that needs nothing but its code."""
        return (len(self._functions) == 1 and not self._references and self._offers is None and not self._imports
                and self._functions[0][6] is None and not self._functions[0][7]
                and all(getter is None and not absent for _, _, getter, _, absent, *_ in self._names))

    def is_current(self):
        """Whether nothing that it reaches has changed, and no other walk has found a change that was taken back."""
        for slot, pin in self._states:
            if slot.state.pin is not pin:
                return False
        for names, reference, getter, ids, absent, count, slots, never in self._names:
            if names is None:
                function = reference()
                if function is None:
                    return False
                names = function.__globals__
            if getter is not None:
                try:
                    if list(map(id, getter(names))) != ids:
                        return False
                except KeyError:
                    return False
            if absent and not absent.isdisjoint(names) or count is not None and count != len(names):
                return False
            if never and not never.isdisjoint(slots):
                return False  # a worker may have got one meanwhile, for another function
        if self._imports and not self._are_imports_equal():
            return False
        for reference, code, (name, qualname, doc), defaults, kwdefaults, annotations, attributes, cells in self._functions:
            function = reference()
            if (function is None or function.__code__ is not code or function.__name__ is not name
                    or function.__qualname__ is not qualname or function.__doc__ is not doc
                    or defaults is not _MISSING and function.__defaults__ is not defaults
                    or kwdefaults is not _MISSING and function.__kwdefaults__ is not kwdefaults):
                return False
            if annotations is not None and _identities(function.__annotations__) != annotations:
                return False
            if attributes is None:
                if function.__dict__:
                    return False
            elif _identities(function.__dict__) != attributes:
                return False
            if cells:
                closure = function.__closure__
                for at, identity in cells:
                    if id(contents_of(closure[at])) != identity:
                        return False
        for reference, name, names, ids in self._classes:
            cls = reference()
            if cls is None or cls.__name__ is not name:
                return False
            own = cls.__dict__
            if list(map(id, own.values())) != ids or [*own] != names:
                return False
        if self._abc_token is not None and self._abc_token != _abc_token():
            return False
        if self._offers is not None and not self._offers.is_current():
            return False
        for reference, count in self._subclasses:
            cls = reference()
            if cls is None or len([each for each in type.__subclasses__(cls) if _is_definition(each)]) != count:
                return False
        return self._print is None or self._are_values_equal()

    def _are_imports_equal(self):
        modules, before = self._mirror.mirrored_modules(), self._modules
        if modules is before:
            return True
        if any(modules.get(name) is not before.get(name) for name in self._imports):
            return False
        self._modules = modules
        return True

    def _are_values_equal(self):
        try:
            dump = _Dump(self._mirror, tuple([reader.read() for reader in self._readers]))
        except Exception:
            return False  # the walk finds what it is
        return dump.print == self._print

    def hold(self):
        """An object that keeps the definitions alive, for as long as a task may return one of them."""
        hold = self._hold()
        if hold is None:
            hold = _Hold([reference() for reference in self._references])
            self._hold = weakref.ref(hold)
        return hold


class _Offers:
    """What workers make on demand: the functions and classes of modules without a file, and all that these reach.

    What cannot be sent, or is large, is not offered.
    """

    def __init__(self, mirror):
        self._mirror = mirror
        self._modules = mirror.mirrored_modules()
        self._ids = {name: list(map(id, names.values())) for name, names in self._modules.items()}
        self._offered = {}  # (module, name) -> its walk
        self._found = {name: self._definitions(name) for name in self._modules}
        roots = {}
        for name, found in self._found.items():
            for key, thing in found.items():
                definition = mirror.define(thing)
                walk = _Walk(mirror, {definition.number: definition}, looks_up=None)
                try:
                    walk.reach()
                    walk.visit_global(name, key, thing)
                except Exception:
                    continue
                if sum(walk.sizes()) <= _MAX_OFFERED:
                    self._offered[name, key] = walk
                    roots[definition.number] = definition
        self._reach = _Walk(mirror, roots, looks_up=None).reach()

    def _definitions(self, name):
        return {key: value for key, value in list(self._modules[name].items()) if _is_definition(value)}

    def is_current(self):
        if self._mirror.mirrored_modules() is not self._modules:
            return False
        for name, names in self._modules.items():
            before = self._ids[name]
            if list(map(id, names.values())) != before and not self._are_same(name, names, before):
                return False
        return self._reach.is_current()

    def _are_same(self, name, names, before):
        """Whether the functions and classes are, though some names have other values."""
        found, items = self._found[name], list(names.items())
        if len(items) != len(before):
            return False
        for (key, value), identity in zip(items, before):
            if id(value) != identity and (key in found or _is_definition(value)):
                return False
        self._ids[name] = [id(value) for _, value in items]
        return True

    def content(self, place):
        """The offers in the form in which a worker reads them. `place` gives the position of a part."""
        names, spaces, definitions, units = {}, {}, [], []
        positions = {}

        def position(items, item):
            if item not in positions:
                positions[item] = len(items)
                items.append(item)
            return positions[item]

        for key, walk in self._offered.items():
            numbers = [position(definitions, (each.pin[0], each.pin[1], place(each.pin[3])))
                       for each in walk._definitions.values()]
            pins = [position(units, (stage, version, keys, place(content)))
                    for stage, version, keys, content in walk.ordered_pins()]
            names[key] = numbers, pins
            spaces.update({space: header for space, (_, header) in walk._spaces.items()})
        if not names:
            return None
        return place(make_part(pickle.dumps((names, tuple(spaces.items()), definitions, units), PROTOCOL)))


class _Hold:
    __slots__ = ("things", "__weakref__")

    def __init__(self, things):
        self.things = things


def _nothing():
    return None


def _getter(names):
    if len(names) == 1:
        name, = names
        return lambda space: (space[name],)
    return itemgetter(*names) if names else None


class _GlobalReader:
    __slots__ = ("_names", "_reference", "_name")

    def __init__(self, names, reference, name):
        self._names, self._reference, self._name = names, reference, name

    def read(self):
        names = self._names
        return (names if names is not None else self._reference().__globals__)[self._name]


class _Reader:
    __slots__ = ("_reference", "_name")

    def __init__(self, reference, name):
        self._reference, self._name = reference, name


class _CellReader(_Reader):
    def read(self):
        return self._reference().__closure__[self._name].cell_contents


class _AttributeReader(_Reader):
    def read(self):
        return getattr(self._reference(), self._name)


class _DictReader(_Reader):
    def read(self):
        return self._reference().__dict__[self._name]


_ClassReader = _DictReader


def contents_of(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _identities(names):
    return list(names), list(map(id, names.values()))


def _is(one, other):
    return one is other


def is_atom(value):
    kind = type(value)
    return kind in _ATOMS or kind in (tuple, frozenset) and all(map(is_atom, value))


def _abc_token():
    from abc import get_cache_token

    return get_cache_token()


def _pin(slot, stage, content, before):
    """The pin of a slot: the same as before if its content is."""
    keys = slot.key,
    if before is not None and before.pin[2] == keys and before.pin[0] == stage and _same(before.pin[3], content):
        return before.pin
    return stage, next(_versions), keys, content


def _same(one, other):
    if type(one) is not type(other):
        return False
    return one == other if type(one) in (bytes, tuple, type(None)) else one.id == other.id


_UNSENT = frozenset(("__builtins__", "__loader__", "__spec__", "__cached__", *_HEADER))


# Refusals.


def refusal(value, error):
    """The error for something that cannot be sent: what it is, why not, and what to do."""
    kind, _, name = value.slot.key
    user = getattr(value.user, "__qualname__", None) or type(value.user).__qualname__
    if kind == GLOBAL:
        what = "%s, which %s uses" % (_name_of(value.slot.key), user)
    elif kind == CELL:
        what = "the variable %r, which %s takes from the function around it" % (_variable(value), user)
    elif name == "__defaults__" or name == "__kwdefaults__":
        what = "the default of %s of %s" % (_argument(value, name), user)
    else:
        what = "the attribute %r of %s" % (name, user)
    where = _line_of(value.user, name) if kind == GLOBAL else ""
    if isinstance(error, _specials.Refused):
        return SubmitError("%s%s, cannot be pickled: it is or holds %s: %s. %s" % (
            what, where, error.what, error.why, error.advice), "not_picklable")
    return SubmitError("%s%s, cannot be pickled: %s: %s. Make it inside the function or in an initializer, or pass what "
                       "it is made of" % (what, where, type(error).__name__, error), "not_picklable")


def _name_of(key):
    kind, owner, name = key
    if kind == GLOBAL:
        return "the global %r of %s" % (name, owner if type(owner) is str else "the program")
    return "the attribute %r" % name if kind == ATTRIBUTE else "a variable of an enclosing function"


def _variable(value):
    for name, cell in zip(value.user.__code__.co_freevars, value.user.__closure__ or ()):
        if contents_of(cell) is value.value:
            return name
    return "?"


def _argument(value, name):
    """The argument whose default cannot be pickled."""
    code = value.user.__code__
    if name == "__kwdefaults__":
        defaults = value.value
    else:
        names = code.co_varnames[:code.co_argcount]
        defaults = dict(zip(names[len(names) - len(value.value):], value.value))
    for argument, default in defaults.items():
        try:
            _Dump(mirror, (default,))
        except Exception:
            return repr(argument)
    return "an argument"


def _line_of(function, name):
    """Where a function uses a global."""
    from dis import get_instructions

    code = getattr(function, "__code__", None)
    line = None
    for instruction in get_instructions(code) if code is not None else ():
        line = instruction.starts_line if type(instruction.starts_line) is int else line
        if instruction.argval == name and "GLOBAL" in instruction.opname:
            line = getattr(instruction, "line_number", None) or line
            return " in %s:%s" % (code.co_filename, line)
    return ""


def _refused(problem):
    return pickle.dumps((_Refused(str(problem)),), PROTOCOL)


class _Refused:
    def __init__(self, text):
        self._text = text

    def __reduce__(self):
        return _here.refusal, (self._text,)


mirror = Mirror()
_of_worker = _references.resolvers() if _references.is_worker() else None
_references.resolve(caller_object=mirror.object, caller_space=mirror.caller_space,
                    caller_sentinel=lambda number, _kind: mirror.object(number),
                    caller_module=lambda name: sys.modules[name],
                    caller_refusal=lambda text: SubmitError(text, "not_picklable"))
