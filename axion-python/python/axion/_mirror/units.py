"""Units: slots whose values share objects, which workers set together."""

import sys
import weakref
from types import FunctionType

from .._references import GLOBAL
from .pickler import Dump
from .pins import VALUE


class Value:
    """A value that is compared by content."""

    __slots__ = ("slot", "value", "user", "reader", "soft", "uncertain", "dump")

    def __init__(self, slot, value, user, reader, soft, uncertain):
        self.slot, self.value, self.user, self.reader, self.soft = slot, value, user, reader, soft
        self.uncertain = uncertain  # whether nothing is known to need it

    def member(self):
        """The slot, and what leads a walk to it: a definition, or a function and the name of its global."""
        kind, _, name = self.slot.key
        return self.slot, weakref.ref(self.user), name if kind == GLOBAL and type(self.user) is FunctionType else None


def groups_of(values):
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


def slots_by_id(values):
    """The slot that stands for each value when it is inside another one. It is the one that had it first."""
    found = {}
    for value in sorted(values, key=_seniority):
        if not value.dump.is_reference(value.value):
            found.setdefault(id(value.value), value)
    return found


def units_of(mirror, values, slots):
    """The values, in lists that are pinned together. What a unit refers to comes before it."""
    if not slots:
        return [values]
    dumps = []
    for value in values:
        others = slots if slots.get(id(value.value)) is not value else {
            key: other for key, other in slots.items() if other is not value}
        dumps.append(Dump(mirror, (value.value,), others))
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


def _seniority(value):
    state = value.slot.state
    version = state.pin[1] if state is not None and state.kind is VALUE else sys.maxsize
    return version, order(value)


def order(value):
    kind, owner, name = value.slot.key
    return kind, str(owner), name
