"""What some definitions reach: the pins, and the checks by which a later submit sees that nothing has changed."""

import pickle
import weakref
from operator import itemgetter

from .. import _definitions
from .._packing import PROTOCOL
from .kinds import MISSING, contents_of, identities, is_definition, is_same
from .pickler import Dump
from .pins import MIN_PART, make_part


class Reach:
    """What some definitions reach: the pins, and whether they still hold."""

    def __init__(self, walk):
        self._mirror = walk.mirror
        self._names = [(check.owner, check.reference, _getter(check.names), check.ids, frozenset(check.absent), check.count,
                        check.space.slots, frozenset(check.absent).difference(check.space.slots))
                       for check in walk.names.values()]
        self._functions, self._classes = walk.functions, walk.classes
        self._states, self._slot_counts = walk.pinned.states, walk.slot_counts
        self._imports = walk.imports
        self._modules = self._mirror.mirrored_modules() if self._imports else None
        self._held = walk.pinned.held, [space for space, _ in walk.spaces.values()]
        self._abc_token = _abc_token() if walk.classes else None
        watched = [value for value in walk.pinned.values if value.reader is not None]
        self._readers = [value.reader for value in watched]
        self._refused = walk.refused
        self._print = None
        if watched:
            self._print = watched[0].dump.print if len(watched) == 1 else Dump(
                walk.mirror, tuple([value.value for value in watched])).print
        self._offers = walk.offers
        self._subclasses = list(walk.subclasses.values())
        self._references = [each.reference for each in walk.definitions.values()]
        self._described = [(each, each.pin) for each in walk.definitions.values()]
        self._hold = _nothing
        self.definitions = walk.definitions
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

        definitions = tuple([(each.pin[0], each.pin[1], place(each.pin[3])) for _, each in sorted(walk.definitions.items())])
        units = tuple([(stage, version, keys, place(content)) for stage, version, keys, content in walk.pinned.ordered()])
        spaces = {key: header for key, (_, header) in walk.spaces.items()}
        if walk.offers is not None:
            spaces.update(walk.offers.modules())
        spaces = tuple(spaces.items())
        offers = None if walk.offers is None else walk.offers.content(place)
        if not definitions and not units and not spaces and offers is None:
            self.pins = None
            return
        pins = tuple(positions), spaces, definitions, units, offers
        data = pickle.dumps(pins, PROTOCOL)
        self.pins = pins
        if len(data) >= MIN_PART:
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
        for definition, pin in self._described:
            if definition.pin is not pin:
                return False
        for slots, count in self._slot_counts:
            if len(slots) != count:
                return False  # a worker may have got one meanwhile, for another function
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
                return False  # as above
        if self._imports and not self._are_imports_equal():
            return False
        for reference, code, (name, qualname, doc), defaults, kwdefaults, annotations, attributes, cells in self._functions:
            function = reference()
            if (function is None or function.__code__ is not code or function.__name__ is not name
                    or function.__qualname__ is not qualname or function.__doc__ is not doc
                    or defaults is not MISSING and function.__defaults__ is not defaults
                    or kwdefaults is not MISSING and function.__kwdefaults__ is not kwdefaults):
                return False
            if type(annotations) is weakref.ref:
                if function.__annotate__ is not annotations():
                    return False
            elif annotations is not None and identities(function.__annotations__) != annotations:
                return False
            if attributes is None:
                if function.__dict__:
                    return False
            elif identities(function.__dict__) != attributes:
                return False
            if cells:
                closure = function.__closure__
                for at, identity in cells:
                    if id(contents_of(closure[at])) != identity:
                        return False
        for reference, name, bases, names, ids, registrations in self._classes:
            cls = reference()
            if cls is None or cls.__name__ is not name or cls.__bases__ is not bases:
                return False
            own = cls.__dict__
            if list(map(id, own.values())) != ids or [*own] != names:
                return False
            now = _definitions.registrations_elsewhere(cls)
            if len(now) != len(registrations) or not all(map(is_same, now, registrations)):
                return False
        if self._abc_token is not None and self._abc_token != _abc_token():
            return False
        if self._offers is not None and not self._offers.is_current():
            return False
        for reference, count in self._subclasses:
            cls = reference()
            if cls is None or len([each for each in type.__subclasses__(cls) if is_definition(each)]) != count:
                return False
        if any(map(self._can_be_sent, self._refused)):
            return False  # it could not be sent, and has changed since
        return self._print is None or self._are_values_equal()

    def _are_imports_equal(self):
        modules, before = self._mirror.mirrored_modules(), self._modules
        if modules is before:
            return True
        if any(modules.get(name) is not before.get(name) for name in self._imports):
            return False
        self._modules = modules
        return True

    def _can_be_sent(self, reader):
        try:
            Dump(self._mirror, (reader.read(),))
        except Exception:
            return False
        return True

    def _are_values_equal(self):
        try:
            dump = Dump(self._mirror, tuple([reader.read() for reader in self._readers]))
        except Exception:
            return False  # the walk finds what it is
        return dump.print == self._print

    def hold(self):
        """An object that keeps the definitions alive, for as long as a task may return one of them."""
        hold = self._hold()
        if hold is None:
            hold = _Hold([reference() for reference in self._references], self)
            self._hold = weakref.ref(hold)
        return hold


class _Hold:
    __slots__ = ("things", "reach", "__weakref__")

    def __init__(self, things, reach):
        self.things = things
        self.reach = reach


def _nothing():
    return None


def _getter(names):
    if len(names) == 1:
        name, = names
        return lambda space: (space[name],)
    return itemgetter(*names) if names else None


def _abc_token():
    from abc import get_cache_token

    return get_cache_token()


class GlobalReader:
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


class CellReader(_Reader):
    def read(self):
        return self._reference().__closure__[self._name].cell_contents


class AttributeReader(_Reader):
    def read(self):
        return getattr(self._reference(), self._name)


class DictReader(_Reader):
    def read(self):
        return self._reference().__dict__[self._name]
