"""What one walk has pinned, in the order in which workers set it."""

from .._references import ATTRIBUTE, FROZEN, UNCERTAIN, VALUES
from .kinds import WRAPPERS
from .pickler import Dump
from .pins import VALUE, State, versions
from .units import groups_of, order, slots_by_id, units_of


class Pinned:
    """The slots that one walk has met, with their pins. Values are pinned together when all of them are known."""

    def __init__(self, mirror):
        self._mirror = mirror
        self._pins, self._known = [], set()
        self.states = []  # each slot, and its pin
        self.held = []  # what has to live as long as it is compared by identity
        self.values = []
        self.used = {}  # the number of a function -> the slots that its code uses
        self._needed = {}  # a pin -> the definitions, and the pins, that have to be complete before it is set

    def has(self, slot):
        return slot.state is not None and slot.state.pin in self._known

    def add(self, slot):
        """Pins a slot that is compared by identity, to its state."""
        state = slot.state
        self._note(state.pin)
        self.states.append((slot, state.pin))
        self.held.append(state.held)

    def _note(self, pin):
        self._pins.append(pin)
        self._known.add(pin)

    def pin_values(self):
        """Pins the slots with values. A value that is inside another one is a reference to its slot; values that share
        further objects, or are inside each other, are one unit.
        """
        for group in groups_of(self.values):
            slots = slots_by_id(group) if len(group) > 1 else {}
            for unit in units_of(self._mirror, group, slots):
                self._pin_unit(unit, slots)

    def _pin_unit(self, unit, slots):
        unit.sort(key=order)
        keys, own = tuple([value.slot.key for value in unit]), {value.slot for value in unit}
        dump = unit[0].dump
        if slots or len(unit) > 1:
            others = {key: value for key, value in slots.items() if value.slot not in own}
            dump = Dump(self._mirror, tuple([value.value for value in unit]), others)
        print = [*dump.print, *sorted(slot.state.pin[1] for slot in dump.refers_to)]
        states = [value.slot.state for value in unit]
        first = states[0]
        is_needed = not all(value.uncertain for value in unit)
        if first is not None and first.kind is VALUE and first.pin[2] == keys and first.print == print and not (
                is_needed and first.pin[0] == UNCERTAIN) and all(
                state is not None and state.pin is first.pin for state in states):
            pin = first.pin
        else:
            stage = FROZEN if all(type(value.value) in WRAPPERS for value in unit) else VALUES
            if all(value.uncertain for value in unit):
                stage = UNCERTAIN
            pin = stage, next(versions), keys, dump.content()
            members = tuple([value.member() for value in (*unit, *dump.refers_to.values())
                             if len(unit) > 1 or value is not unit[0]])
            for value in unit:
                value.slot.state = State(VALUE, None, pin, (), print, members)
        self._note(pin)
        self.states += [(value.slot, pin) for value in unit]
        self._needed[pin] = list(dump.found), [slot.state.pin for slot in dump.refers_to]

    def ordered(self):
        """The pins, each behind what its value needs when it is read: the definitions that it refers to, complete with
        their attributes and with what their code uses.
        """
        attributes, ordered, met = {}, [], set()
        for pin in self._pins:
            for kind, owner, _ in pin[2]:
                if kind == ATTRIBUTE:
                    attributes.setdefault(owner, []).append(pin)
        for first in self._pins:
            left = [(first, False)]
            while left:
                node, is_ready = left.pop()  # a pin, or the number of a definition
                if is_ready:
                    ordered.append(node)
                elif node not in met and (type(node) is int or node in self._known):
                    met.add(node)
                    if type(node) is int:
                        used = [slot.state.pin for slot in self.used.get(node, ()) if slot.state is not None]
                        left += [(each, False) for each in reversed([*attributes.get(node, ()), *used])]
                    else:
                        left.append((node, True))
                        left += [(each, False) for each in self._needed_by(node, attributes)]
        return self._behind_their_references(ordered)

    def _behind_their_references(self, pins):
        """The pins, each behind those that its value refers to. That is not so yet where definitions need each other in
        a circle. References of values to each other are in no circle.
        """
        ordered, met = [], set()
        for first in pins:
            left = [(first, False)]
            while left:
                pin, is_ready = left.pop()
                if is_ready:
                    ordered.append(pin)
                elif pin not in met:
                    met.add(pin)
                    left.append((pin, True))
                    left += [(each, False) for each in self._needed.get(pin, ((), ()))[1]]
        return ordered

    def _needed_by(self, pin, attributes):
        numbers, pins = self._needed.get(pin, ((), ()))
        kind, owner, _ = pin[2][0]
        if kind == ATTRIBUTE and len(pin[2]) == 1:  # the attributes of one class keep their order
            own = attributes[owner]
            yield from reversed(own[:own.index(pin)])
        yield from pins
        yield from numbers
        if type(pin[3]) is tuple:
            yield from pin[3]  # the number of a definition

    def sizes(self):
        """The bytes of the values that it has pinned."""
        return [len(content) for _, _, _, content in self._pins if type(content) is not tuple and content is not None]
