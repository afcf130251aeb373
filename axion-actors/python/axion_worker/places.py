"""Functions and classes of a module that their names do not lead to: one in a list or dict of the module, a lambda, what
a factory has made, a class that is the value of an Enum's member.

The Python package has this very file as `axion._places`. It imports nothing of either side.

Pickles refer to such a thing by its *place*: the name of the module, and the steps that lead from there to it. Both sides
import the same module, so both have the thing there. A step is `(name,)`, an attribute, or `(None, key)`, an item.
"""

import sys
from types import FunctionType

_MAX_STEPS = 6
_MAX_ITEMS = 1000  # of a container that is looked at
_CONTAINERS = frozenset((dict, list, tuple))
_KEYS = frozenset((str, bytes, int, bool, type(None)))
_settled = {}  # id -> the thing, its module's name, its steps: as they were when the module had been executed
_found = {}  # the name of a module -> the number of its globals, and the steps to each thing by its id


def settle(module):
    """Notes the places in a module that has just been executed. What has one later was put there while it was used."""
    for thing, steps in places_in(module):
        _settled[id(thing)] = thing, _vars(module)["__name__"], steps


def settled_place(thing):
    """`(module, steps)` for a thing that was there when its module had been executed, else None."""
    found = _settled.get(id(thing))
    return found[1:] if found is not None and found[0] is thing else None


def place_of(thing):
    """`(module, steps)` for a thing that its module has now, else None."""
    name = vars(thing).get("__module__") if isinstance(thing, type) else getattr(thing, "__module__", None)
    module = sys.modules.get(name) if type(name) is str else None
    if module is None:
        return None
    count = len(_vars(module))
    if _found.get(name, (None,))[0] != count:
        _found[name] = count, {id(each): steps for each, steps in places_in(module)}
    steps = _found[name][1].get(id(thing))
    return None if steps is None or follow(module, steps) is not thing else (name, steps)


def at(module, steps, mark):
    """What has a place: how pickles refer to it.

    Raises:
        LookupError: there is another thing.
    """
    __import__(module)
    found = follow(sys.modules[module], steps)
    if mark_of(found) != mark:
        raise LookupError("%s has been replaced in %s: what another process has sent is not the same here" % (
            mark[0], module))
    return found


def mark_of(thing):
    """What two processes compare of a thing in the same place."""
    code = getattr(thing, "__code__", None)
    return getattr(thing, "__qualname__", None), None if code is None else code.co_firstlineno


def follow(module, steps):
    """What steps lead to; None if they lead nowhere."""
    found = module
    for step in steps:
        try:
            found = _vars(found)[step[0]] if len(step) == 1 else found[step[1]]
        except (TypeError, KeyError, IndexError):
            return None
    return found


def places_in(module):
    """Each function and class of the module's own that its name does not lead to: `(thing, steps)`."""
    search = _Search(module)
    search.names(_vars(module), (), "")
    return search.found


class _Search:
    def __init__(self, module):
        self.found = []
        self._module, self._name = module, _vars(module).get("__name__")
        self._seen = set()

    def names(self, names, steps, prefix):
        """Looks at the attributes of the module or of a class. `prefix` is what their qualified names begin with."""
        for name, value in list(names.items()):
            kind = type(value)
            if kind is FunctionType and value.__qualname__ == prefix + name or name[:2] == "__":
                continue  # as most are: their names lead to them
            if kind is FunctionType or kind in _CONTAINERS or issubclass(kind, type):
                self._value(value, kind, (*steps, (name,)))

    def _value(self, value, kind, steps):
        if id(value) in self._seen:
            return
        if kind in _CONTAINERS:
            if value and len(value) <= _MAX_ITEMS and len(steps) < _MAX_STEPS:
                self._seen.add(id(value))
                for key, item in list(value.items()) if kind is dict else enumerate(list(value)):
                    if type(key) in _KEYS:
                        self._value(item, type(item), (*steps, (None, key)))
        elif kind is FunctionType:
            if value.__module__ == self._name:
                self._note(value, steps)
        elif issubclass(kind, type):
            own = _vars(value)
            if own.get("__module__") == self._name:
                self._note(value, steps)
                if len(steps) < _MAX_STEPS:
                    self.names(own, steps, value.__qualname__ + ".")
                    self._members(own.get("_member_map_"), steps)

    def _members(self, members, steps):
        """What an Enum's members have as their values."""
        for name, member in list(members.items()) if type(members) is dict else ():
            value = _vars(member).get("_value_")
            self._value(value, type(value), (*steps, ("_member_map_",), (None, name), ("_value_",)))

    def _note(self, thing, steps):
        self._seen.add(id(thing))
        if not _leads_to(self._module, thing):
            self.found.append((thing, steps))


def _leads_to(module, thing):
    found = module
    for part in thing.__qualname__.split("."):
        found = _vars(found).get(part)
        if found is None:
            return False
    return found is thing


def _vars(thing):
    """The dict of a module, class or member, without running code of theirs."""
    try:
        return type.__dict__["__dict__"].__get__(thing) if isinstance(thing, type) else object.__getattribute__(thing, "__dict__")
    except (AttributeError, TypeError):
        return {}
