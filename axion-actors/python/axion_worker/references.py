"""What a program and its workers call the objects that both have.

The Python package has this very file as `axion._references`. It imports nothing of either side.

A pickle refers to an object of the other side by a function of the module `NAME` and a number. The worker resolves
`worker_…`, the caller `caller_…`. A process that is a worker and has workers of its own is both: each side sets its own
functions.
"""

import sys
from types import ModuleType

NAME = "_axion_mirror"
# The kinds of slots. See `mirror` for the whole format.
GLOBAL, ATTRIBUTE, CELL, LINES = "g", "a", "c", "l"
FUNCTION, CLASS, OBJECT = 0, 1, 2  # the kinds of definitions
# The stages in which units are set: the second may run code that needs the first. The third may fail.
FROZEN, VALUES, UNCERTAIN = 0, 1, 2
# The attributes of a function that are slots. Its dict is, too.
FUNCTION_ATTRIBUTES = ("__defaults__", "__kwdefaults__", "__annotations__", "__type_params__")

_FUNCTIONS = ("worker_object", "worker_cell", "worker_sentinel", "worker_module", "worker_space", "worker_array",
              "refusal", "placed", "caller_object", "caller_module", "caller_space", "caller_sentinel", "caller_refusal")


def module():
    """The module `NAME`, made at its first use."""
    found = sys.modules.get(NAME)
    if found is None:
        found = ModuleType(NAME, "References between a program and its workers.")
        for name in _FUNCTIONS:
            setattr(found, name, _named(name, _unresolved))
        sys.modules[NAME] = found
    return found


def resolve(**functions):
    """Sets the functions of one side."""
    for name, function in functions.items():
        setattr(module(), name, _named(name, function))


def is_worker():
    """Whether this process resolves what a caller refers to."""
    return getattr(module().worker_object, "resolves", False)


def resolvers():
    """The functions as they are now."""
    now = ModuleType(NAME)
    now.__dict__.update({name: getattr(module(), name) for name in _FUNCTIONS})
    return now


def _named(name, function):
    def reference(*arguments):
        return function(*arguments)

    reference.resolves = function is not _unresolved  # pyright: ignore[reportFunctionMemberAccess]
    reference.__module__, reference.__name__, reference.__qualname__ = NAME, name, name
    return reference


def _unresolved(*_):
    raise LookupError("a reference to an object of another process")
