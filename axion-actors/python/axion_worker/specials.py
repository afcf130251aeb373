"""How a pickle makes the objects that have no pickle of their own: locks, caches, properties, views and others.

The Python package has this very file as `axion._specials`. It imports nothing of either side.

`reduce_special` is for a pickler's `reducer_override`. Whatever it returns refers to the standard library alone. So an
object of this kind needs nothing of Axion where it is read. An object that belongs to its process is either made anew,
as a spawned process makes it (a lock is free, a cache is empty), or refused.
"""

import sys

_MARSHAL = 2  # the newest version whose bytes depend on nothing but the code
_MAX_KINDS = 1000  # reducers of types that are remembered


class Refused(TypeError):
    """An object that cannot leave its process. `what` it is, `why` not, and `advice` for the user."""

    def __init__(self, what, why, advice):
        super().__init__(what, why, advice)
        self.what, self.why, self.advice = what, why, advice

    def __str__(self):
        return "%s cannot be sent to another process: %s. %s" % (self.what, self.why, self.advice)


def is_importable(thing):
    """Whether its module and name lead to it, so that a pickle can hold its name alone."""
    module, path = getattr(thing, "__module__", None), getattr(thing, "__qualname__", getattr(thing, "__name__", None))
    if type(module) is not str or type(path) is not str or module == "__main__":
        return False
    found = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is thing


def reduce_special(thing, goes_by_name=is_importable):
    """What `reducer_override` returns: a tuple, or NotImplemented if the pickler needs no help.

    `goes_by_name(thing)` says whether an object that has a name is imported by the reader.

    Raises:
        Refused: the object cannot leave its process.
    """
    return _reducer_of(type(thing))(thing, goes_by_name)


def is_made_anew(kind):
    """Whether the reader gets another object than the one that was pickled, as of a lock. That does for a global of a
    worker. As an argument or result, it would be another one than the sender's without a word: that is refused.
    """
    return _reducer_of(kind) in _MADE_ANEW


def _reducer_of(kind):
    reducer = _found.get(kind)
    if reducer is None:
        if len(_found) >= _MAX_KINDS:
            _found.clear()
        reducer = _found[kind] = _find_reducer(kind)
    return reducer


_found = {}


def _find_reducer(kind):
    for base in kind.__mro__:
        name = "%s.%s" % (getattr(base, "__module__", None), base.__qualname__)
        if name in _EXACT and base is kind:
            return _EXACT[name]
        if name in _WITH_SUBCLASSES:
            return _WITH_SUBCLASSES[name]
    if kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__:
        return _instance
    return _no_help


def _no_help(thing, _):
    return NotImplemented


_EXACT = {}
_WITH_SUBCLASSES = {}


def _reduces(*names, subclasses=True):
    """Registers the reducer of types, each named by its module and qualified name."""
    def register(reducer):
        for name in names:
            (_WITH_SUBCLASSES if subclasses else _EXACT)[name] = reducer
        return reducer
    return register


def _module(name):
    return __import__(name, fromlist=[name])


def _attribute(module, name):
    return getattr, (_module(module), name)


# Made anew


@_reduces("_thread.lock")
def _lock(lock, _):
    return _module("_thread").allocate_lock, ()


@_reduces("_thread.RLock", "threading._RLock")
def _rlock(lock, _):
    return _module("threading").RLock, ()


@_reduces("threading.Event", "_thread._local", "weakref.WeakKeyDictionary", "weakref.WeakValueDictionary",
          "_weakrefset.WeakSet")
def _anew(thing, _):
    return type(thing), ()


@_reduces("threading.Condition", subclasses=False)
def _condition(condition, _):
    return type(condition), (condition._lock,)


@_reduces("threading.Barrier", subclasses=False)
def _barrier(barrier, _):
    return type(barrier), (barrier.parties, barrier._action, barrier._timeout)


@_reduces("_contextvars.ContextVar", "builtins.ContextVar")
def _context_variable(variable, _):
    from contextvars import Context
    from functools import partial

    try:
        default = {"default": Context().run(variable.get)}
    except LookupError:
        default = {}
    return partial(type(variable), variable.name, **default), ()


_MADE_ANEW = frozenset((_lock, _rlock, _anew, _condition, _barrier, _context_variable))


@_reduces("functools._lru_cache_wrapper")
def _lru_cache(cached, goes_by_name):
    import functools

    if goes_by_name(cached):
        return NotImplemented
    if hasattr(cached, "cache_parameters"):
        parameters = cached.cache_parameters()
    else:  # before Python 3.9
        parameters = {"maxsize": cached.cache_info().maxsize, "typed": False}
    arguments = cached.__wrapped__, parameters["maxsize"], parameters["typed"], functools._CacheInfo
    return type(cached), arguments, dict(vars(cached))


@_reduces("functools.KeyWrapper")
def _key_of_comparison(key, _):
    """What `functools.cmp_to_key` gives, or what that gives for an item."""
    from gc import get_referents

    function, *item = [each for each in get_referents(key) if each is not type(key)]
    make = _module("functools").cmp_to_key
    return (_Call(make, function), tuple(item)) if item else (make, (function,))


@_reduces("functools.partialmethod")
def _partial_method(method, _):
    """From Python 3.14 on, none can be made without its function, which is what its own pickle tries."""
    if type(method).__new__ is object.__new__:
        return NotImplemented
    return type(method), (method.func,), vars(method)


@_reduces("contextlib._GeneratorContextManagerBase")
def _generator_context(context, _):
    """A context that has not been entered is made again by the call that made it."""
    if not hasattr(context, "func"):
        raise Refused("a context that has been entered", "it is a call that has not ended", "Enter it inside the function.")
    return type(context), (context.func, context.args, context.kwds)


@_reduces("argparse._AttributeHolder", "argparse._ActionsContainer")
def _of_argparse(thing, _):
    """`argparse.SUPPRESS` is a text that its module recognises by identity."""
    kind, suppress = type(thing), _module("argparse").SUPPRESS
    if (kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__
            or getattr(kind, "__getstate__", None) is not getattr(object, "__getstate__", None)):
        return NotImplemented

    def named(values):
        return {name: _Call(getattr, _module("argparse"), "SUPPRESS") if value is suppress else value
                for name, value in values.items()}

    state = named(vars(thing))
    if type(state.get("_defaults")) is dict:
        state["_defaults"] = named(state["_defaults"])
    return _module("copyreg").__newobj__, (kind,), state


@_reduces("_queue.SimpleQueue")
def _simple_queue(queue, _):
    if not queue.empty():
        raise Refused("a SimpleQueue with items", "they would be in two processes", "Use queue.Queue, or pass a list.")
    return type(queue), ()


@_reduces("_struct.Struct", "builtins.Struct")
def _struct(struct, _):
    return _module("struct").Struct, (struct.format,)


@_reduces("itertools.count", subclasses=False)
def _count(count, _):
    """Its own pickle warns from Python 3.12 on, and is gone in 3.14. Its text has what it counts next, and the step."""
    from ast import literal_eval

    try:
        return type(count), literal_eval(repr(count)[len("count"):-1] + ",)")
    except (SyntaxError, ValueError):
        return NotImplemented


# Descriptors and methods


@_reduces("builtins.staticmethod", "builtins.classmethod")
def _method_descriptor(descriptor, _):
    function = descriptor.__func__
    # From Python 3.10 on it has a dict, which gets the names and the text of the function when it is made.
    usual = getattr(staticmethod(function), "__dict__", {})
    added = {name: value for name, value in getattr(descriptor, "__dict__", {}).items() if usual.get(name) is not value}
    return type(descriptor), (function,), added or None


@_reduces("builtins.property")
def _property(prop, _):
    kind, parts = type(prop), (prop.fget, prop.fset, prop.fdel, prop.__doc__)
    if kind is property:
        return property, parts
    # A subclass may have another `__init__`. It is not called: what it has set is set again.
    return property.__new__, (kind,), (_Call(property.__init__, prop, *parts), _state(prop))


class _Call:
    """In a pickle: a call that is made when the pickle is read. It may have the object as its argument."""

    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced

    def __call__(self, *_):
        raise TypeError("it can only be pickled")


def _state(prop):
    """What its dict and the slots of its class hold."""
    state = dict(getattr(prop, "__dict__", {}))
    for kind in type(prop).__mro__[:-len(property.__mro__)]:
        for name, value in vars(kind).items():
            if type(value).__name__ == "member_descriptor" and hasattr(prop, name):
                state[name] = getattr(prop, name)
    return state


@_reduces("builtins.getset_descriptor", "builtins.member_descriptor", "builtins.classmethod_descriptor")
def _attribute_descriptor(descriptor, _):
    owner, name = descriptor.__objclass__, descriptor.__name__
    if getattr(owner, name, None) is descriptor:
        return getattr, (owner, name)
    return _module("inspect").getattr_static, (owner, name)


@_reduces("builtins.method")
def _method(method, _):
    """By the name of its function, unless another attribute has that name."""
    name = getattr(method.__func__, "__name__", "")
    if getattr(getattr(method.__self__, name, None), "__func__", None) is method.__func__:
        return NotImplemented
    return type(method), (method.__func__, method.__self__)


# Views


@_reduces("builtins.mappingproxy")
def _mapping_proxy(proxy, _):
    return type(proxy), (_viewed(proxy),)


@_reduces("builtins.dict_keys", "builtins.dict_values", "builtins.dict_items",
          "builtins.odict_keys", "builtins.odict_values", "builtins.odict_items")
def _view(view, _):
    viewed = _viewed(view)
    kind, method = type(view).__name__.split("_")
    # Not the method of a subclass, which may be another.
    return getattr(dict if kind == "dict" else _module("collections").OrderedDict, method), (viewed,)


def _viewed(view):
    from gc import get_referents

    viewed, = get_referents(view)
    return viewed


@_reduces("builtins.memoryview")
def _memory_view(view, _):
    data = view.tobytes() if view.readonly else bytearray(view)
    if view.format == "B" and view.ndim == 1:
        return memoryview, (data,)
    from operator import methodcaller

    return methodcaller("cast", view.format, list(view.shape)), (memoryview(data),)


# What has a name


@_reduces("builtins.module")
def _imported(module, _):
    return reduce_module(module)


def reduce_module(module, submodules=()):
    """A module, and submodules of it, which are imported as well."""
    from importlib import import_module

    if not submodules:
        return import_module, (module.__name__,)
    imports = [_Call(import_module, name) for name in (*submodules, module.__name__)]
    return _module("operator").getitem, (tuple(imports), -1)


@_reduces("builtins.type")
def _builtin_type(kind, _):
    """A type of the interpreter that has its name in another module than it says, as that of functions."""
    if getattr(kind, "__module__", None) != "builtins" or hasattr(_module("builtins"), kind.__qualname__):
        return NotImplemented
    for module in ("types", "contextvars", "struct", "weakref"):
        found = _name_in(sys.modules.get(module), kind)
        if found:
            return getattr, found
    return NotImplemented


@_reduces("builtins.code")
def _code(code, _):
    from marshal import dumps, loads

    try:
        return loads, (dumps(code, _MARSHAL),)
    except ValueError:  # from 3.14 on, slices may be constants, which only newer versions have
        return loads, (dumps(loads(dumps(code))),)


@_reduces("dataclasses._FIELD_BASE")
def _kind_of_field(kind, _):
    return _attribute("dataclasses", kind.name)


@_reduces("sys.version_info", "sys.flags", "sys.float_info", "sys.hash_info", "sys.int_info", "sys.thread_info")
def _fact_of_the_interpreter(fact, _):
    return _attribute("sys", type(fact).__name__)


@_reduces("os._Environ")
def _environment(environment, _):
    import os

    return (getattr, (os, "environ")) if environment is os.environ else NotImplemented


# `typing`


@_reduces("typing.TypeVar", "typing.ParamSpec", "typing.TypeVarTuple")
def _type_parameter(parameter, goes_by_name):
    if goes_by_name(parameter):
        return NotImplemented
    options = {name: True for name in ("covariant", "contravariant", "infer_variance")
               if getattr(parameter, "__%s__" % name, False)}
    if getattr(parameter, "__bound__", None) is not None:
        options["bound"] = parameter.__bound__
    if hasattr(parameter, "has_default") and parameter.has_default():
        options["default"] = parameter.__default__
    return _named(parameter, getattr(parameter, "__constraints__", ()), options)


@_reduces("typing.NewType")
def _new_type(new, goes_by_name):
    return NotImplemented if goes_by_name(new) else _named(new, (new.__supertype__,), {})


@_reduces("typing.TypeAliasType")
def _type_alias(alias, goes_by_name):
    if goes_by_name(alias):
        return NotImplemented
    from functools import partial

    return partial(type(alias), alias.__name__, alias.__value__, type_params=alias.__type_params__), ()


def _named(thing, arguments, options):
    """Its module is the one that has called `TypeVar`: it is set afterwards."""
    from functools import partial

    return partial(type(thing), thing.__name__, *arguments, **options), (), (None, {"__module__": thing.__module__})


# Instances without state: what counts is which object it is


def _instance(thing, goes_by_name):
    if getattr(thing, "__dict__", None):
        return NotImplemented
    kind = type(thing)
    if kind is object:
        return _place_of_object(thing) or NotImplemented
    if _has_no_slots(kind) and goes_by_name(kind):
        return _place_in(sys.modules.get(getattr(kind, "__module__", "")), thing) or NotImplemented
    return NotImplemented


def _has_no_slots(kind):
    return kind.__basicsize__ <= object.__basicsize__ + 16  # a dict and a weak reference


def _name_in(module, thing):
    for name, value in list(getattr(module, "__dict__", {}).items()):
        if value is thing:
            return module, name
    return None


def _place_in(module, thing):
    """How a pickle gets at an object that is a global of a module, or inside a container or class that is one."""
    found = _name_in(module, thing)
    if found:
        return getattr, found
    for owner, key, value, reduced in _insides(module):
        if value is thing:
            return reduced(owner, key)
    return None


def _insides(module):
    """The objects in the containers and classes of a module: `(owner, key, object, how a pickle gets at it)`."""
    item = _item_of(module)
    for name, owner in list(getattr(module, "__dict__", {}).items()):
        if name.startswith("__"):
            continue
        kind = type(owner)
        if kind is dict and len(owner) <= _MAX_INSIDE:
            for key, value in list(owner.items()):
                if type(key) in _KEYS:
                    yield name, key, value, item
        elif kind in (list, tuple) and len(owner) <= _MAX_INSIDE:
            for at, value in enumerate(list(owner)):
                yield name, at, value, item
        elif isinstance(owner, type) and getattr(owner, "__module__", None) == module.__name__:
            for key, value in list(vars(owner).items()):
                yield owner, key, value, _attribute_of


def owner_of(reduced):
    """The module or class in which an object has the name to which it is reduced; None if it is not by a name."""
    function, arguments = reduced[:2]
    if function is getattr:
        return arguments[0]
    if function is _module("operator").getitem:
        return owner_of(arguments[0].__reduce__())
    return None


_MAX_INSIDE = 1000  # objects in one container that are looked at
_KEYS = frozenset((str, bytes, int, bool, type(None)))


def _item_of(module):
    return lambda name, key: (_module("operator").getitem, (_Call(getattr, module, name), key))


def _attribute_of(owner, name):
    return getattr, (owner, name)


_objects = {}  # the id of each `object()` that is in a module -> how a pickle gets at it, the object
_modules_searched = 0


def _place_of_object(thing):
    global _modules_searched
    found = _objects.get(id(thing))
    if found is None and len(sys.modules) != _modules_searched:
        modules = list(sys.modules.items())
        for module_name, module in modules:
            if module_name != "__main__" and getattr(module, "__spec__", None) is not None:
                _note_objects(module)
        _modules_searched = len(modules)
        found = _objects.get(id(thing))
    return found and found[0]


def _note_objects(module):
    for name, value in list(getattr(module, "__dict__", {}).items()):
        if type(value) is object:
            _objects[id(value)] = (getattr, (module, name)), value
    if not str(getattr(module, "__file__", sys.prefix)).startswith((sys.prefix, sys.base_prefix)):
        for owner, key, value, reduced in _insides(module):
            if type(value) is object and id(value) not in _objects:
                _objects[id(value)] = reduced(owner, key), value


# Refused


def _refuse(what, advice, *names, why="it belongs to the process that made it"):
    def refuse(thing, _):
        raise Refused(what, why, advice)

    _reduces(*names)(refuse)


_refuse("a socket", "Connect inside the function, or in an initializer.", "_socket.socket", "ssl.SSLSocket")
_refuse("a database connection", "Connect inside the function, or in an initializer.",
        "sqlite3.Connection", "sqlite3.Cursor")
_refuse("a memory map", "Map the file inside the function.", "mmap.mmap")
_refuse("a generator", "Pass a list of its items, or make it inside the function.", "builtins.generator",
        "builtins.async_generator", why="it is a call that has not ended")
_refuse("a coroutine", "Pass the `async def` function itself and its arguments.", "builtins.coroutine",
        why="it is a call that has not ended")
_refuse("a frame", "Pass the values that are needed.", "builtins.frame", why="it is a call of this process")
_refuse("a traceback", "Pass its text, from traceback.format_exception.", "builtins.traceback",
        why="it holds the calls of this process")
_refuse("a running process", "Start it inside the function.", "subprocess.Popen")
_refuse("a thread", "Start it inside the function.", "threading.Thread", why="it runs in its own process")
_refuse("an event loop", "The function gets one where it runs.", "asyncio.events.AbstractEventLoop")
_refuse("an asyncio future", "Await it, and pass its result.", "_asyncio.Future", "asyncio.futures.Future")
_refuse("an executor", "Make it inside the function, or in an initializer.", "concurrent.futures._base.Executor")
_refuse("a weak reference", "Pass the object itself, or keep it in a weakref.WeakValueDictionary.",
        "builtins.weakref", "weakref.ReferenceType", "weakref.finalize", why="what it refers to is in this process")


@_reduces("_io._IOBase")
def _file(file, _):
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        if file is getattr(sys, name, None):
            return _attribute("sys", name)
    if type(file).__module__ != "_io" or type(file).__name__ in ("BytesIO", "StringIO"):
        return NotImplemented
    name = getattr(file, "name", None)
    raise Refused("an open file%s" % ("" if name is None else " (%s)" % (name,)),
                  "it belongs to the process that opened it", "Open it inside the function, or pass its path.")


@_reduces("concurrent.futures._base.Future")
def _future(future, _):
    if future.done():
        return NotImplemented
    raise Refused("a future without a result", "it is fulfilled in its own process", "Pass its result.")
