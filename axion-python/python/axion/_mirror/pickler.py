"""Pickles of values of this program for its workers."""

import copyreg
import io
import pickle
import typing
from types import CellType, FunctionType, ModuleType

from .. import _definitions, _packing, _references, _shared, _specials
from .._packing import PROTOCOL
from .kinds import BOUND, IMMUTABLE, MADE_BY_PYTHON, MADE_ONCE, goes_by_name, is_sentinel, named_method
from .pins import LOOKUP, MIN_PART, fingerprint, make_part

_here = _references.module()


class Globals:
    """Stands in a pickle for the dict that has a function's globals."""

    __slots__ = ("key",)

    def __init__(self, key):
        self.key = key


class Pickler(pickle.Pickler):
    """Pickles values of this program for a worker. Definitions, and modules that workers mirror, are references."""

    inline = None  # a function that is pickled by value
    places: typing.Any = None  # the number of the placeholder for a part of the value, or None
    arrays: typing.Any = None  # the `Arrays` that tasks share, for arguments
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
        if kind is FunctionType or issubclass(kind, type) or kind in MADE_ONCE and thing is not self.inline:
            if kind in MADE_ONCE:
                self.references.add(id(thing))
            if thing is self.inline:
                return _definitions.reduce_function(thing, Globals(mirror.space_of(thing).key))
            known = mirror.definitions.get(id(thing))
            if known is None or known.reference() is not thing:
                if goes_by_name(thing):
                    self._note_lookup(thing)
                    return NotImplemented
                if kind is type and not thing.__flags__ & MADE_BY_PYTHON:
                    return _specials.reduce_special(thing, goes_by_name)
                if kind in MADE_ONCE:
                    _specials.reduce_special(thing, goes_by_name)  # it may fail over a bound that cannot be evaluated
                known = mirror.define(thing)
            self.found[known.number] = known
            return _here.worker_object, (known.number,)
        if kind is CellType:
            return self._reduce_cell(thing)
        if kind is Globals:
            return _here.worker_space, (thing.key,)
        if self.arrays is not None and kind is self.arrays.kind:
            reduced = self.arrays.reduce(thing)
            if reduced is not NotImplemented:
                return reduced
        if kind in BOUND:
            self._note_lookup(thing)
            named = named_method(thing)
            if named is not None:
                return getattr, named
        if _shared.is_loaded():
            reduced = _shared.reduce(thing)
            if reduced is not NotImplemented:
                return reduced
        if str(getattr(kind, "__module__", None)).startswith("axion.") or not self.registers and _specials.is_made_anew(kind):
            return NotImplemented  # it says itself what it stands for, or that it cannot be an argument
        number = mirror.sentinels.get(id(thing))
        if number is None and self.registers and is_sentinel(thing):
            number = mirror.sentinel(thing)
        elif number is None and self.stops and not getattr(thing, "__dict__", kind is not object) and is_sentinel(thing):
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
            if (kind.__reduce__ is not _object_reduce or kind.__reduce_ex__ is not _object_reduce_ex) and mirror.is_sent(kind):
                return self._reduce_itself(thing)
        elif kind not in MADE_ONCE:
            return getattr(copyreg, "__newobj__"), (kind,), thing.__getstate__()  # not by its name
        reduced = _specials.reduce_special(thing, goes_by_name)
        if type(reduced) is tuple and _specials.owner_of(reduced) is not None:  # by a name
            self.references.add(id(thing))
        return reduced

    def _note_lookup(self, function):
        if LOOKUP not in self.found and self._mirror.looks_up(function):
            self.found[LOOKUP] = None

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


class PlaceholderPickler(Pickler):
    def persistent_id(self, part):
        return self.places(part)


class MaySentinel(Exception):
    """An argument may be what it is by identity: that is known when the walk from the function has been there."""


_object_reduce, _object_reduce_ex = object.__reduce__, object.__reduce_ex__


class Dump:
    """A pickle of some values, and what it refers to. `slots` has the slots that stand for objects inside, by their ids."""

    def __init__(self, mirror, values, slots=None):
        self._mirror = mirror
        self._slots = slots
        self.refers_to = {}  # the values whose slots it refers to
        packed = _packing.pack(values, self._dumps)
        self._parts: typing.Any = packed if type(packed) is list else [packed]
        self.print = [part if len(part) < MIN_PART else fingerprint(part) for part in self._parts]

    def _dumps(self, values, keep_in_band):
        with io.BytesIO() as file:
            if self._slots is None:
                pickler = Pickler(self._mirror, file, keep_in_band)
            else:
                pickler = PlaceholderPickler(self._mirror, file, keep_in_band)
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
        return make_part(self._parts) if sum(map(len, self._parts)) >= MIN_PART else b"".join(self._parts)

    def is_reference(self, thing):
        """Whether a pickle has only the name or the number of an object."""
        return isinstance(thing, IMMUTABLE) or id(thing) in self._references

    def shared(self):
        """The ids of the objects by which two values can share a part."""
        return {key for key, (_, thing) in self._memo.copy().items()
                if not isinstance(thing, IMMUTABLE) and key not in self._references}
