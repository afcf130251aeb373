"""What things are to a mirror: definitions, sentinels, atoms, and what goes by name."""

import functools
import sys
import typing
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from .. import _names, _places, _references, _specials

MISSING = object()
_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)))
IMMUTABLE = (*_ATOMS, tuple, frozenset, FunctionType, BuiltinFunctionType, ModuleType, type)
WRAPPERS = frozenset((property, classmethod, staticmethod))
# What a worker makes once, as functions and classes: the caches of `functools.lru_cache`, and type parameters.
MADE_ONCE = frozenset((type(functools.lru_cache(len)), *[
    getattr(typing, name) for name in ("TypeVar", "ParamSpec", "TypeVarTuple") if hasattr(typing, name)]))
MADE_BY_PYTHON = 1 << 9  # and types of newer extension modules


def is_definition(thing):
    """Whether it is a function or class that workers make by value."""
    kind = type(thing)
    return (kind is FunctionType or kind in MADE_ONCE or issubclass(kind, type) and thing.__flags__ & MADE_BY_PYTHON
            ) and not goes_by_name(thing)


def annotate_of(function):
    """What makes the annotations of a function, from Python 3.14 on, if they cannot be made now; else None."""
    annotate = getattr(function, "__annotate__", None)
    if type(annotate) is not FunctionType:
        return None
    try:
        function.__annotations__  # kept by the function, once it is made
    except Exception:
        return annotate
    return None


def goes_by_name(thing):
    return getattr(thing, "__module__", None) == _references.NAME or _names.goes_by_name(thing)


def is_atom(value):
    kind = type(value)
    return kind in _ATOMS or kind in (tuple, frozenset) and all(map(is_atom, value))


BOUND = frozenset((MethodType, BuiltinFunctionType))


def named_method(method):
    """The module and the global of a bound method that a module offers as a function, as `random.seed`."""
    module = sys.modules.get(getattr(type(method.__self__), "__module__", ""))
    if (type(module) is ModuleType and method.__self__ is not module and getattr(module, method.__name__, None) == method
            and _names.place_of_module(module.__name__) is not None):
        return module, method.__name__
    return None


def is_sentinel(thing):
    return _is_stateless(thing) and not _has_name_in_worker(_specials.reduce_special(thing, goes_by_name))


def _has_name_in_worker(reduced):
    """Whether an object is reduced to what is in a module that workers import."""
    if reduced is NotImplemented:
        return False
    module = _specials.owner_of(reduced)
    return type(module) is not ModuleType or _names.place_of_module(module.__name__) is not None


def _is_stateless(thing):
    """Whether an object is nothing but itself, as `MISSING = object()`, or an instance of a class of Python without
    any state.
    """
    kind = type(thing)
    if kind is object:
        return True
    own = kind.__dict__
    return (kind.__base__ is object and ("__dict__" in own or own.get("__slots__", MISSING) in ((), []))
            and not getattr(thing, "__dict__", None)
            and (kind.__new__ is object.__new__ or type(kind.__new__) is FunctionType)
            and all(getattr(kind, name) is getattr(object, name) for name in _PLAIN_METHODS)
            and not hasattr(kind, "__getnewargs__") and not hasattr(kind, "__getnewargs_ex__"))


_PLAIN_METHODS = ("__eq__", "__hash__", "__reduce_ex__", "__reduce__", "__getstate__")


def contents_of(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def identities(names):
    return list(names), list(map(id, names.values()))


def is_same(one, other):
    return one is other


def place_of(thing):
    """The module and the steps by which a worker has an object of its own that is the same, if it imports the module:
    a lambda, or what a call has made when the module was imported. The worker checks whether it is.
    """
    name = getattr(thing, "__module__", None)  # a class that code without a `__name__` makes has none
    if type(name) is not str or _names.place_of_module(name) is None or _names.is_registered_by_value(name):
        return None
    return _places.place_of(thing)
