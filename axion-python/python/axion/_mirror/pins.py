"""Definitions, slots and their pins.

A *definition* is a function or class that workers make by value. A *slot* is where the program keeps a value that
definitions reach. Its *state* is what it held when it was last looked at, with the *pin* for workers.
"""

import itertools
import os
import typing
import weakref

from .. import _axion, _references
from .._references import ATTRIBUTE, CELL, GLOBAL

MIN_PART = 1024  # bytes from which on content is a part of its own: smaller content is within the pins
ATOM, NAMED, DEFINED, VALUE, ABSENT, REFUSED = "atom", "named", "defined", "value", "absent", "refused"
LOOKUP = 0  # among definitions, by its number, without one: what is called may find any definition by its name
versions = itertools.count(1)
# A worker that has workers of its own must not confuse their numbers with those of its caller.
numbers = itertools.count(1 + (int.from_bytes(os.urandom(4), "little") << 20 if _references.is_worker() else 0))


def make_part(data):
    return _axion.Part(data)


def fingerprint(data):
    return _axion.fingerprint(data)


class Definition:
    """A function or class of this program that workers make by value."""

    __slots__ = ("number", "reference", "slots", "seen", "pin", "found", "space", "cells", "reach")

    def __init__(self, thing, died):
        self.number = next(numbers)
        self.reference = weakref.ref(thing, died)
        self.slots = {}
        self.seen = self.pin = self.space = self.reach = None
        self.found = self.cells = ()

    def slot(self, name):
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = Slot((ATTRIBUTE, self.number, name))
        return slot


class Space:
    """A dict of globals that workers mirror. It does not hold the dict."""

    def __init__(self, key):
        self.key = key
        self.slots = {}

    def slot(self, name):
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = Slot((GLOBAL, self.key, name))
        return slot


class Imported:
    """The dict of globals of a module that workers import."""

    def __init__(self, name):
        self.key = name,


class Cell:
    """A closure cell."""

    def __init__(self):
        self.number = next(numbers)
        self.slot = Slot((CELL, self.number, ""))


class Slot:
    __slots__ = ("key", "state")

    def __init__(self, key):
        self.key = key
        self.state: typing.Any = None


class State:
    """What a slot held when it was last looked at. Never changed: a slot gets another."""

    __slots__ = ("kind", "held", "pin", "found", "print", "members")

    def __init__(self, kind, held, pin, found=(), print=None, members=()):
        self.kind = kind
        self.held = held  # the value, or its definition, if they are compared by identity
        self.pin = pin  # (stage, version, keys, content)
        self.found = found  # the definitions that the value refers to
        self.print = print  # of a value that is compared by content; of a package, its submodules that workers import
        self.members = members  # of its unit: how a walk gets at each slot

    def is_of(self, value):
        if self.kind is DEFINED:
            return self.held.reference() is value
        return self.kind not in _LOOKED_AT_AGAIN and self.held is value


_LOOKED_AT_AGAIN = frozenset((VALUE, ABSENT, REFUSED))


def content_of(data):
    return data if len(data) < MIN_PART else make_part(data)


def pin_of(slot, stage, content, before):
    """The pin of a slot: the same as before if its content is."""
    keys = slot.key,
    if before is not None and before.pin[2] == keys and before.pin[0] == stage and _same(before.pin[3], content):
        return before.pin
    return stage, next(versions), keys, content


def _same(one, other):
    if type(one) is not type(other):
        return False
    return one == other if type(one) in (bytes, tuple, type(None)) else one.id == other.id


HEADER = ("__name__", "__package__", "__file__", "__doc__")  # and `__spec__`, by its name and origin


def header_of(names):
    header = {name: names[name] for name in HEADER if type(names.get(name)) is str}
    spec = names.get("__spec__")
    if type(getattr(spec, "name", None)) is str:
        header["__spec__"] = spec.name, spec.origin
    return header
