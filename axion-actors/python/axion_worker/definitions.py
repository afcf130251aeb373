"""How one function or class is taken apart, and made again in another process.

The Python package has this very file as `axion._definitions`. It imports nothing of either side, so it is one file.

What a definition consists of stays what it is here: defaults, closure cells, attributes, bases and metaclasses are
objects, and the caller's pickler encodes them, other definitions as references. A definition comes in two steps, so
that it may refer to itself: first its *structure*, which can never refer to it, then its *attributes*.

A class is copied as it is when it is finished. Nothing that ran when the caller defined it runs again: no metaclass, no
`__init_subclass__`, no `__set_name__`. What these have written elsewhere travels with what they have written to.
"""

import sys
from marshal import dumps, loads
from types import (BuiltinFunctionType, CellType, ClassMethodDescriptorType, FunctionType, GetSetDescriptorType,
                   MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType)

# Pseudo attributes of a class. No identifier equals them.
MEMBER_STATES = "<member states>"  # of an Enum: the name of each member -> its instance state
REGISTERED = "<registered>"  # of an abstract base class: the classes that have been registered with it
REGISTERED_WITH = "<registered with>"  # of any class: the abstract base classes of other modules, the other way round
DISPATCHED = "<dispatched>"  # of any class: functions of `singledispatch` in other modules, and its implementations
REDUCER = "<reducer>"  # of any class: its function in `copyreg`

_MARSHAL = 2  # the newest version whose bytes depend on nothing but the code: later ones depend on reference counts
_MISSING = object()


def code_bytes(code):
    """Code as bytes. They differ as little as can be: workers are sent what has other bytes."""
    try:
        return dumps(code, _MARSHAL)
    except ValueError:
        # From 3.14 on, slices may be constants, which only newer versions have. In a fresh copy, no references are left
        # that depend on what else the program has.
        return dumps(loads(dumps(code)))


# Functions of this module in pickles. Its own name differs between the two sides: pickles have it under this one. A
# process that is on both sides has two such modules, of which the first serves both.
NAME = "_axion_definitions"
sys.modules.setdefault(NAME, sys.modules[__name__])


class Reduced:
    """Stands in a pickle for what a call gives when the pickle is read: the call is made as soon as it is read."""

    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced

    def __call__(self):
        raise TypeError("it can only be pickled")


_MODULE = Reduced(__import__, NAME)


def own(function):
    """Stands in a pickle for a function of this module; also as the callable of a tuple that reduces an object."""
    return Reduced(getattr, _MODULE, function.__name__)


# Functions


def function_recipe(function):
    """All that a function is but its globals: `(structure, attributes)`."""
    return function_structure(function), function_attributes(function)


def function_structure(function):
    """`(code, name, cells)`. Functions that share a closure cell share it afterwards: the cells are objects."""
    return code_bytes(function.__code__), function.__name__, function.__closure__


def function_attributes(function):
    """The attributes that can be assigned, with the function's dict under "__dict__"."""
    attributes = {name: getattr(function, name) for name in _FUNCTION_ATTRIBUTES}
    attributes["__dict__"] = function.__dict__.copy()
    return attributes


# The annotations of Python 3.14 are evaluated when they are read, which may fail; `__annotate__` evaluates them.
_FUNCTION_ATTRIBUTES = tuple(
    name for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__",
                      "__annotate__" if "__annotate__" in vars(FunctionType) else "__annotations__",
                      "__type_params__") if name in vars(FunctionType))


def make_function(recipe, globals_dict):
    """A function of a recipe whose globals are `globals_dict`."""
    structure, attributes = recipe
    function = new_function(structure, globals_dict)
    set_function_attributes(function, attributes)
    return function


def new_function(structure, globals_dict):
    """The first step of `make_function`."""
    code, name, cells = structure
    return FunctionType(loads(code), globals_dict, name, None, cells)


def set_function_attributes(function, attributes):
    """The second step of `make_function`. Keeps the function's dict, which other objects may hold."""
    for name, value in attributes.items():
        if name != "__dict__":
            setattr(function, name, value)
        elif value or function.__dict__:
            _make_equal(function.__dict__, value or {})


def update_function(function, recipe):
    """Makes an existing function what the recipe says. Its globals stay.

    Its cells stay, too, with the contents of the recipe's. A function's cells are the same for its whole life, so a
    recipe of the same function has as many.
    """
    (code, _, cells), attributes = recipe
    for own, new in zip(function.__closure__ or (), cells or ()):
        if own is not new:
            _set_contents(own, _contents(new))
    function.__code__ = loads(code)
    set_function_attributes(function, attributes)


def _make_equal(own, new):
    """A thread that reads the dict meanwhile finds each key, with its old or its new value."""
    for key in list(own):
        if key not in new:
            own.pop(key, None)
    own.update(new)


def function_snapshot(function):
    """What `function_changed` compares. It keeps what the function referred to."""
    return (tuple([getattr(function, name) for name in _COMPARED]),
            _items(function.__kwdefaults__), _items(function.__dict__), _items(_annotations(function)),
            tuple(map(_contents, function.__closure__ or ())))


_COMPARED = ("__code__", "__defaults__", "__name__", "__qualname__", "__module__", "__doc__")


def _annotations(function):
    return None if "__annotate__" in _FUNCTION_ATTRIBUTES else function.__annotations__


def _items(mapping):
    return tuple(part for item in mapping.items() for part in item) if mapping else ()


def function_changed(function, snapshot):
    """Whether the function refers to other objects than at the snapshot. Whether these have changed is another matter.
    """
    for now, then in zip(function_snapshot(function), snapshot):
        if len(now) != len(then):
            return True
        for one, other in zip(now, then):
            if one is not other:
                return True
    return False


# Closure cells


def reduce_cell(cell):
    """How a pickle makes a cell. Its contents may refer to it: they are set when the cell exists."""
    contents = _contents(cell)
    return (_CELL, ()) if contents is _MISSING else (_CELL, (), (None, {"cell_contents": contents}))


def new_cell():
    """A cell without contents."""
    return CellType()


_CELL = own(new_cell)


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:  # no value has been assigned yet, or it has been deleted
        return _MISSING


def _set_contents(cell, contents):
    if contents is not _MISSING:
        cell.cell_contents = contents
    elif _contents(cell) is not _MISSING:
        del cell.cell_contents


# Classes


def class_structure(cls):
    """`(metaclass, name, bases, namespace, base, features)`: what `make_class` makes the bare class of."""
    own = vars(cls)
    metaclasses = type(cls).__mro__[:-2]  # but `type` and `object`
    if any(map(_is_native, (cls,) + metaclasses)):
        raise TypeError("the class %s.%s is made by C code and cannot be copied; define it in a module of its own" % (
            getattr(cls, "__module__", None), cls.__qualname__))
    namespace = {"__qualname__": cls.__qualname__}
    if "__module__" in own:
        namespace["__module__"] = own["__module__"]
    slots = _slots(cls)
    if slots is not None:
        namespace["__slots__"] = slots
    features = {}
    if slots is not None and "__slots__" not in own:
        features["without_slots"] = True
    if "_abc_impl" in own or "_abc_registry" in own:
        features["abstract"] = True
    if _is_enum(cls):
        features["members"] = _members(cls)
    return type(cls), cls.__name__, cls.__bases__, namespace, cls.__base__, features


def _is_native(cls):
    return any(type(value) in _NATIVE_METHODS and value.__objclass__ is cls for value in vars(cls).values())


_NATIVE_METHODS = frozenset((MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType))


def make_class(structure):
    """The bare class of a structure, without running any hook. Its attributes are set afterwards."""
    metaclass, name, bases, namespace, base, features = structure
    if _has_hook(bases):
        cls = _made_quietly(metaclass, name, bases, namespace, base)
    else:
        cls = type.__new__(metaclass, name, bases, dict(namespace))
    if "without_slots" in features:
        type.__delattr__(cls, "__slots__")
    if "__module__" not in namespace:  # `type` has put in the name of this one
        del _dict_of(cls)["__module__"]
        _forget_cached_attributes(cls)
    if "abstract" in features:
        _make_abstract(cls)
    if "members" in features:
        _make_members(cls, features["members"])
    return cls


def _slots(cls):
    """The value for `__slots__` that gives the class its layout; None if it has the layout of a class without it."""
    members, added, base = _own_members(cls), _added(cls), cls.__base__
    natural = ["__dict__"] * (not base.__dictoffset__)
    natural += ["__weakref__"] * (not base.__weakrefoffset__ and not base.__itemsize__)
    return None if not members and added == natural else members + added


def _own_members(cls):
    return [name for name, value in vars(cls).items() if _is_own(value, MemberDescriptorType, cls, name)]


def _added(cls):
    """What it adds to the layout of its base, beside slots with names."""
    own = vars(cls)
    return [name for name in ("__dict__", "__weakref__") if _is_own(own.get(name), GetSetDescriptorType, cls, name)]


def _is_own(value, kind, cls, name):
    return type(value) is kind and value.__objclass__ is cls and value.__name__ == name


def _has_hook(bases):
    """Whether a class with these bases would run an `__init_subclass__`."""
    return any("__init_subclass__" in vars(cls) for base in bases for cls in base.__mro__ if cls is not object)


def _made_quietly(metaclass, name, bases, namespace, base):
    """Makes the class with a quiet class in front of its bases, whose `__init_subclass__` hides theirs.

    Then it gets its own bases. The interpreter allows that if the layout stays. It takes the layout from the base with
    slots, or else from the first base: then the quiet class must have the layout of `base`.
    """
    quiet = _QUIET[bool(base.__dictoffset__), bool(base.__weakrefoffset__)]
    cls = type.__new__(metaclass, name, (quiet,) + bases, dict(namespace))
    try:
        _set_bases(cls, bases)
    except TypeError:
        _set_bases(cls, (quiet,))  # the bases list it no longer as a subclass
        quiet = _quiet_twin(base)
        cls = type.__new__(metaclass, name, (quiet,) + bases, dict(namespace))
        _set_bases(cls, bases)
        _unlist(quiet)
    return cls


def _set_bases(cls, bases):
    type.__setattr__(cls, "__bases__", bases)


def _quiet_twin(base):
    """A quiet class that adds the same to the same class as the base, or the one of its bases that was the last to add.
    """
    while not _added(base) and base is not object:
        base = base.__base__
    parent = base.__base__ or object
    twin = make_class((type(parent), "Quiet", (parent,), {"__slots__": _added(base)}, parent, {}))
    type.__setattr__(twin, "__init_subclass__", vars(_QUIET[False, False])["__init_subclass__"])
    return twin


def _unlist(twin):
    """Makes a twin no subclass of its base, which may be a user's class that lists its subclasses."""
    parent = twin.__base__
    try:
        _set_bases(twin, (_QUIET[bool(parent.__dictoffset__), bool(parent.__weakrefoffset__)],))
    except TypeError:
        other = _quiet_twin(parent)
        if other.__base__ is not object:
            _set_bases(twin, (other,))
            _unlist(other)


def _quiet(*slots):
    def __init_subclass__(cls, **_):
        pass

    return type("Quiet", (), {"__slots__": slots, "__init_subclass__": __init_subclass__})


_QUIET = {(has_dict, has_weakref): _quiet(*["__dict__"] * has_dict + ["__weakref__"] * has_weakref)
          for has_dict in (False, True) for has_weakref in (False, True)}


def class_attributes(cls):
    """The class's own attributes, in the order in which they are to be set.

    While the later ones are read, instances of the class may be made, which needs the earlier ones.
    """
    is_enum = _is_enum(cls)
    simple = {MEMBER_STATES: _member_states(cls)} if is_enum else {}
    others, last = {}, {}
    for name, value in vars(cls).copy().items():  # a copy, for other threads may assign meanwhile
        kind = type(value)
        if name in _MADE_WITH_CLASS or is_enum and name in _MADE_OF_MEMBERS:
            continue
        if is_simple(value):
            simple[name] = value
        elif cls in kind.__mro__ or type in kind.__mro__:  # other classes may have instances of this one
            last[name] = value
        elif kind not in _LAYOUT or not _is_own(value, kind, cls, name):
            others[name] = value
    if is_enum:
        others["_value2member_map_"] = _named_values(cls)
    simple.update(others)
    simple.update(last)
    simple.update(_registrations(cls))
    return simple


# `copyreg` keeps a list of slots under "__slotnames__".
_MADE_WITH_CLASS = frozenset((
    "__module__", "__slotnames__", "_abc_impl", "_abc_registry", "_abc_cache", "_abc_negative_cache",
    "_abc_negative_cache_version"))
_MADE_OF_MEMBERS = frozenset(("_member_map_", "_value2member_map_"))
_LAYOUT = frozenset((MemberDescriptorType, GetSetDescriptorType))


def is_simple(value):
    """Whether no instance of a class is made when it is read. Of several classes, these attributes are set first."""
    kind = type(value)
    if kind in _SIMPLE:
        return True
    if kind is staticmethod or kind is classmethod:
        return type(value.__func__) is FunctionType
    if kind in _CONTAINERS and len(value) <= _MAX_SIMPLE:
        return all(map(is_simple, value)) and (kind is not dict or all(map(is_simple, value.values())))
    return False


_SIMPLE = frozenset((FunctionType, property, type(None), bool, int, float, complex, str, bytes))
_CONTAINERS = frozenset((tuple, list, dict, set, frozenset))
_MAX_SIMPLE = 100  # parts of a container that are looked at


def set_class_attribute(cls, name, value):
    """Sets one of `class_attributes`, past the metaclass's `__setattr__`. Runs no `__set_name__`."""
    if name == MEMBER_STATES:
        _set_member_states(cls, value)
    elif name in _REGISTER:
        _REGISTER[name](cls, value)
    elif _is_property_of_metaclass(cls, name):
        _dict_of(cls)[name] = value
        _forget_cached_attributes(cls)
    else:
        type.__setattr__(cls, name, value)


def delete_class_attribute(cls, name):
    """Removes an attribute that the class has no longer, past the metaclass's `__delattr__`."""
    if name == MEMBER_STATES or name in _REGISTER:
        return  # there is no way to take a registration back
    if _is_property_of_metaclass(cls, name):
        del _dict_of(cls)[name]
        _forget_cached_attributes(cls)
    else:
        type.__delattr__(cls, name)


def _is_property_of_metaclass(cls, name):
    """Whether `type.__setattr__` would run a descriptor instead of storing the value in the class."""
    for metaclass in type(cls).__mro__:
        if metaclass is type:
            break
        if name in vars(metaclass):
            return _is_data_descriptor(vars(metaclass)[name])
    return name in _PROPERTIES_OF_TYPE


def _is_data_descriptor(value):
    return hasattr(type(value), "__set__") or hasattr(type(value), "__delete__")


# Those that store nothing in the class under their name. A class may have an attribute `__name__` for its instances.
_PROPERTIES_OF_TYPE = frozenset(
    name for kind in (type, object) for name, value in vars(kind).items() if _is_data_descriptor(value)
) - {"__module__", "__doc__", "__abstractmethods__", "__annotations__", "__annotate__", "__type_params__"}


def _dict_of(cls):
    from gc import get_referents

    names, = [each for each in get_referents(vars(cls)) if type(each) is dict]
    return names


def _forget_cached_attributes(cls):
    """The interpreter caches what it finds in classes. Each assignment that it sees empties the cache."""
    type.__setattr__(cls, "<changed>", None)
    type.__delattr__(cls, "<changed>")


# Abstract base classes


def _make_abstract(cls):
    """What `ABCMeta` does to a class."""
    import abc

    initialize = getattr(abc, "_abc_init", None)
    if initialize is not None:
        initialize(cls)
        return
    from weakref import WeakSet

    for name in ("_abc_registry", "_abc_cache", "_abc_negative_cache"):
        type.__setattr__(cls, name, WeakSet())
    type.__setattr__(cls, "_abc_negative_cache_version", getattr(abc.ABCMeta, "_abc_invalidation_counter"))


# Registrations


def _registrations(cls):
    found = {REGISTERED: _registered(cls), REGISTERED_WITH: _registered_with(cls), DISPATCHED: _dispatched(cls),
             REDUCER: _reducer(cls)}
    return {name: value for name, value in found.items() if value}


def _registered(cls):
    own = vars(cls)
    if "_abc_impl" in own:
        import abc

        found = [each for each in (reference() for reference in getattr(abc, "_get_dump")(cls)[0]) if each is not None]
    else:
        found = list(own.get("_abc_registry", ()))
    return sorted(found, key=lambda each: (str(getattr(each, "__module__", None)), each.__qualname__))


_registries = None, {}  # the number of registrations so far, and the id of a registered class -> abstract classes


def _registered_with(cls):
    global _registries
    import abc

    count = abc.get_cache_token()
    if _registries[0] != count:
        by_id = {}
        for abstract in _abstract_classes():
            for each in _registered(abstract):
                by_id.setdefault(id(each), []).append((each, abstract))
        _registries = count, by_id
    return [abstract for each, abstract in _registries[1].get(id(cls), ())
            if each is cls and getattr(abstract, "__module__", None) != getattr(cls, "__module__", None)]


def _abstract_classes():
    remaining, seen = [object], set()
    while remaining:
        for cls in type.__subclasses__(remaining.pop()):
            if id(cls) not in seen:
                seen.add(id(cls))
                remaining.append(cls)
                if "_abc_impl" in vars(cls) or "_abc_registry" in vars(cls):
                    yield cls


def registrations_elsewhere(cls):
    """What other modules know of a class, to be compared by identity. `ABCMeta` has a token of its own."""
    return [_reducer(cls), *[registry.get(cls) for _, _, registry in _all_dispatchers()]]


def _reducer(cls):
    return sys.modules["copyreg"].dispatch_table.get(cls) if "copyreg" in sys.modules else None


def _dispatched(cls):
    own = getattr(cls, "__module__", None)
    return [(dispatcher, registry[cls]) for module, dispatcher, registry in _all_dispatchers()
            if module != own and cls in registry]


_searched = {}  # the name of a module -> the module, the number of its globals, and the dispatchers in it
_dispatchers = 0, []  # the number of modules that have been searched; what was found in them


def _all_dispatchers():
    """`(module, dispatcher, registry)` for each function of `singledispatch`, and for each method: `(class, name)`."""
    global _dispatchers
    if _dispatchers[0] != len(sys.modules):
        modules, found = list(sys.modules.items()), {}
        for name, module in modules:
            names = getattr(module, "__dict__", {})
            known = _searched.get(name)
            if known is None or known[0] is not module or known[1] != len(names):
                known = _searched[name] = module, len(names), list(_dispatchers_in(name, names))
            found.update(known[2])
        _dispatchers = len(modules), list(found.values())
    return _dispatchers[1]


def _dispatchers_in(module, names):
    has_methods = "functools" in names or "singledispatchmethod" in names
    for value in list(names.values()):
        if type(value) is FunctionType and hasattr(value, "registry") and hasattr(value, "dispatch"):
            yield id(value), (value.__module__, value, getattr(value, "registry"))
        elif has_methods and type in type(value).__mro__ and vars(value).get("__module__") == module:
            for name, method in list(vars(value).items()):
                if type(method).__name__ == "singledispatchmethod":
                    yield id(method), (module, (value, name), getattr(method.dispatcher, "registry"))


def _register(cls, classes):
    from abc import ABCMeta

    for each in classes:
        ABCMeta.register(cls, each)


def _register_with(cls, abstract_classes):
    for each in abstract_classes:
        _register(each, [cls])


def _register_dispatched(cls, dispatched):
    for dispatcher, implementation in dispatched:
        if type(dispatcher) is tuple:
            owner, name = dispatcher
            dispatcher = vars(owner)[name].dispatcher
        dispatcher.register(cls, implementation)


def forget_dispatched(function):
    """A function of `singledispatch` remembers what it has found for a class: its registry has another content now."""
    clear = function.__dict__.get("_clear_cache")
    if clear is not None:
        clear()


def _register_reducer(cls, reducer):
    from copyreg import pickle

    pickle(cls, reducer)


_REGISTER = {REGISTERED: _register, REGISTERED_WITH: _register_with, DISPATCHED: _register_dispatched,
             REDUCER: _register_reducer}


# Enums. Their members are made with the class: as its attributes, they refer to each other and to the class.


def _is_enum(cls):
    if type(cls) is type or "_member_map_" not in vars(cls):
        return False
    enum = sys.modules.get("enum")
    return enum is not None and enum.EnumMeta in type(cls).__mro__


def is_enum_member(thing):
    """Whether it is a member that has a name: not a combination of flags, as `A | B`."""
    cls = type(thing)
    return _is_enum(cls) and vars(cls)["_member_map_"].get(thing._name_) is thing


def enum_member(cls, name):
    """The member of a class that has this name."""
    return vars(cls)["_member_map_"][name]


def reduce_member(member):
    """How a pickle refers to a member through its class."""
    return own(enum_member), (type(member), member._name_)


def _named_values(cls):
    """Without the combinations of flags that have been made on demand."""
    members = vars(cls)["_member_map_"]
    return {value: member for value, member in vars(cls)["_value2member_map_"].copy().items()
            if members.get(member._name_) is member}


def _member_states(cls):
    return {name: vars(member).copy() for name, member in vars(cls)["_member_map_"].items() if member._name_ == name}


def _members(cls):
    """`(name, name of the member, arguments)` for each name; an alias has the name of another and no arguments."""
    native = _native_class(cls)
    return [(name, member._name_, _native_arguments(native, member) if member._name_ == name else None)
            for name, member in vars(cls)["_member_map_"].items()]


def _make_members(cls, members):
    native = _native_class(cls)
    made = {}
    for name, member_name, arguments in members:
        if name == member_name:
            made[name] = native.__new__(cls, *arguments)
            vars(made[name])["_name_"] = name  # which their hash needs, before their states are set
    type.__setattr__(cls, "_member_map_", {name: made[member_name] for name, member_name, _ in members})


def _set_member_states(cls, states):
    members = vars(cls)["_member_map_"]
    for name, state in states.items():
        _make_equal(vars(members[name]), state)


def _native_class(cls):
    """The base that lays out instances in C: `int` of an IntEnum. Its `__new__` runs no Python code."""
    for base in cls.__mro__:
        if type(vars(base).get("__new__")) is BuiltinFunctionType:
            return base
    return object


def _native_arguments(native, member):
    """The arguments of `native.__new__` for an equal instance. Runs nothing of the member's class."""
    if "__getnewargs__" in vars(native):
        return native.__getnewargs__(member)
    if "__reduce__" not in vars(native) and "__reduce_ex__" not in vars(native) or native is object:
        if native is object:
            return ()
        raise TypeError("%s.%s is an Enum of %s, which cannot be copied" % (
            getattr(type(member), "__module__", None), type(member).__qualname__, native.__name__))
    return native.__reduce_ex__(member, 2)[1]


# Whole definitions, for a pickle that holds them by value


def reduce_class(cls):
    """How a pickle makes a class, for `reducer_override`. Each attribute is set as soon as it has been read."""
    setter = own(set_class_attribute)
    settings = [Reduced(setter, cls, name, value) for name, value in class_attributes(cls).items()]
    return own(make_class), (class_structure(cls),), settings, None, None, own(keep)


def reduce_function(function, globals_dict):
    """The same for a function. Its globals are the dict that `globals_dict` is read as."""
    return (own(new_function), (function_structure(function), globals_dict), function_attributes(function), None, None,
            own(set_function_attributes))


def keep(thing, state):
    """For an object that is complete when its state has been read."""
