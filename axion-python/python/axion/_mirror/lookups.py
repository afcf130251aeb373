"""Whether code may find functions and classes of this program by their names."""

from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

from .kinds import MISSING

# Modules through which code finds nothing of this program by a name, and the builtins that may.
_FINDS_NOTHING = frozenset(("builtins", "math", "cmath", "time", "datetime", "random", "itertools", "functools", "operator",
                            "_operator", "collections", "string", "re", "os", "posix", "posixpath", "decimal",
                            "fractions", "statistics", "heapq", "_heapq", "bisect", "_bisect", "hashlib", "_hashlib",
                            "json", "struct", "_struct", "array", "textwrap", "numpy", "joblib.parallel"))
_FINDING_BUILTINS = frozenset(("__import__", "eval", "exec", "compile", "globals", "vars", "getattr"))
_PICKLES = ("_pickle", "pickle", "cloudpickle.cloudpickle", "dill._dill", "joblib.numpy_pickle")


def may_find(name, value):
    """Whether code may find things of this program by their names through this global."""
    if value is MISSING:
        return name in _FINDING_BUILTINS
    kind = type(value)
    if kind is ModuleType:
        module = value.__name__
    elif kind is FunctionType or kind is BuiltinFunctionType or issubclass(kind, type):
        module = getattr(value, "__module__", None)
    else:
        return False
    return type(module) is str and module not in _FINDS_NOTHING and module.partition(".")[0] not in _FINDS_NOTHING


def looks_up(function, needs):
    """Whether a callable that goes by name may find functions and classes of this program by their names. `needs` says
    what code needs of its globals.
    """
    if type(function) is MethodType:
        function = function.__func__
    elif type(getattr(type(function), "__call__", None)) is FunctionType:
        function = type(function).__call__
    if type(function) is not FunctionType:
        return getattr(function, "__module__", None) in _PICKLES or function is getattr
    names = function.__globals__  # pyright: ignore[reportAttributeAccessIssue]
    _, needed, everything, _ = needs(function.__code__)
    return everything or any(may_find(name, names.get(name, MISSING)) for name in needed)


def names_subclasses(code):
    return "__subclasses__" in code.co_names or any(
        names_subclasses(each) for each in code.co_consts if type(each) is CodeType)


def with_packages(names):
    """The names of modules, and those of the packages that they are in."""
    found = set(names)
    for name in names:
        while "." in name:
            name = name.rpartition(".")[0]
            found.add(name)
    return found
