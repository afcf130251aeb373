"""What workers make on demand: the functions and classes of modules without a file."""

import pickle

from .._packing import PROTOCOL
from .kinds import is_definition
from .pins import header_of, make_part
from .walk import Walk

_MAX_OFFERED = 1 << 20  # bytes of values that a function reaches which is offered: they are compared at each submit


class Offers:
    """What workers make on demand: the functions and classes of modules without a file, and all that these reach.

    What cannot be sent, or is large, is not offered.
    """

    def __init__(self, mirror):
        self._mirror = mirror
        self._modules = mirror.mirrored_modules()
        self._ids = {name: list(map(id, names.values())) for name, names in self._modules.items()}
        self._offered = {}  # (module, name) -> its walk
        self._refused = {}  # (module, name) -> why workers cannot have it
        self._found = {name: self._definitions(name) for name in self._modules}
        roots = {}
        for name, found in self._found.items():
            for key, thing in found.items():
                definition = mirror.define(thing)
                walk = Walk(mirror, {definition.number: definition}, offers=None)
                try:
                    walk.reach()
                    walk.visit_global(name, key, thing)
                except Exception as error:
                    self._refused[name, key] = str(error)
                    continue
                size = sum(walk.pinned.sizes())
                if size <= _MAX_OFFERED:
                    self._offered[name, key] = walk
                    roots[definition.number] = definition
                else:
                    self._refused[name, key] = "it needs values of %d bytes, at most %d are sent for functions that may " \
                        "ask for them; use the name in the program's own function, or pass it" % (size, _MAX_OFFERED)
        self._reach = Walk(mirror, roots, offers=None).reach()

    def _definitions(self, name):
        return {key: value for key, value in list(self._modules[name].items()) if is_definition(value)}

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
            if id(value) != identity and (key in found or is_definition(value)):
                return False
        self._ids[name] = [id(value) for _, value in items]
        return True

    def modules(self):
        """The modules that have offers, with their headers: a worker has them before anything is asked of them."""
        return {module: header_of(self._modules[module]) for module, _ in self._offered}

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
                       for each in walk.definitions.values()]
            pins = [position(units, (stage, version, keys, place(content)))
                    for stage, version, keys, content in walk.pinned.ordered()]
            names[key] = numbers, pins
            spaces.update({space: header for space, (_, header) in walk.spaces.items()})
        names.update(self._refused)
        if not names:
            return None
        return place(make_part(pickle.dumps((names, tuple(spaces.items()), definitions, units), PROTOCOL)))
