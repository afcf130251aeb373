"""Which globals a function needs: those that its code names, and those that its annotations name as text.

The Python package has this very file as `axion._needs`. It imports nothing of either side.
"""

import sys
from types import CodeType, ModuleType


class Needs:
    """`names`: the globals that code uses. `everything`: whether it can reach all of them, as `eval` can. `modules`: the
    names of the modules that it imports itself.
    """

    def __init__(self):
        self.names = set()
        self.modules = set()
        self.everything = False


_GLOBALS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"))
_FILLERS = frozenset(("EXTENDED_ARG", "PUSH_NULL", "PRECALL", "CACHE"))
_CALLS = frozenset(("CALL", "CALL_FUNCTION"))
_REACH_ALL = frozenset(("globals", "eval", "exec"))
_REACH_ALL_OF_ARGUMENT = frozenset(("vars", "dir"))  # without an argument they reach a function's locals, no globals
_REACH_ALL_ATTRIBUTES = frozenset(("__globals__", "f_globals"))
_MAIN_MODULES = ("__main__", "__mp_main__")
_FINDERS_OF_MODULES = frozenset(("modules", "import_module", "__import__"))
_SET_ANNOTATIONS = frozenset(("MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE"))
_ANNOTATIONS_FLAG = 4
_BEHIND_ANNOTATIONS = frozenset(("LOAD_CLOSURE", "LOAD_FAST", "BUILD_TUPLE", "MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE"))


def names_needed(code):
    """What code, the code inside it and the string annotations inside it need of the globals: `Needs`."""
    needs = Needs()
    _add_needs(code, needs)
    return needs


def _add_needs(code, needs):
    operations = operations_of(code)
    names = set(code.co_names)
    finds_modules = not names.isdisjoint(_FINDERS_OF_MODULES)
    for at, (operation, value) in enumerate(operations):
        if operation in _GLOBALS:
            needs.names.add(value)
            if value in _REACH_ALL or value in _REACH_ALL_OF_ARGUMENT and not _is_called_bare(operations, at):
                needs.everything = True
        elif operation == "LOAD_CONST" or operation == "IMPORT_NAME":
            if type(value) is str and (finds_modules or operation == "IMPORT_NAME"):
                needs.modules.add(value)
            if value in _MAIN_MODULES:
                needs.everything = True
        for text in _annotation_texts(operations, at):
            _add_text(text, needs)
    if names & _REACH_ALL_ATTRIBUTES or "__name__" in names and finds_modules:
        needs.everything = True
    for constant in code.co_consts:
        if type(constant) is CodeType:
            _add_needs(constant, needs)


def operations_of(code):
    """`(name, value)` for each operation. The value is a name or constant where the operation has one, else a number.

    `dis` takes twenty times as long.
    """
    from opcode import opname

    found, extended = [], 0
    raw = code.co_code
    for operation, argument in zip(raw[::2], raw[1::2]):
        name = opname[operation]
        argument |= extended
        extended = argument << 8 if name == "EXTENDED_ARG" else 0
        if name == "LOAD_CONST":
            argument = code.co_consts[argument]
        elif name in _GLOBALS or name == "IMPORT_NAME":
            argument = code.co_names[argument >> 1 if name == "LOAD_GLOBAL" and _HAS_NULL_BIT else argument]
        if name not in _FILLERS:
            found.append((name, argument))
    return found


_HAS_NULL_BIT = sys.version_info >= (3, 11)  # the lowest bit of LOAD_GLOBAL's argument is no part of the name's number


def _is_called_bare(operations, at):
    following, count = operations[at + 1]
    return following in _CALLS and count == 0


def _annotation_texts(operations, at):
    """The string annotations of a variable of a class, or of a function whose annotations are all strings."""
    operation, value = operations[at]
    if operation == "LOAD_NAME" and value == "__annotations__" and at:
        return (operations[at - 1][1],)
    if operation in _SET_ANNOTATIONS and int(value) & _ANNOTATIONS_FLAG:
        return _annotations_before(operations, at)
    return ()


def _annotations_before(operations, at):
    """Those of the function that is made there: its code, cells and, up to Python 3.10, its name come after them."""
    for operation, value in reversed(operations[:at]):
        if operation == "LOAD_CONST":
            if type(value) is tuple:
                return value[1::2]
            if type(value) not in (CodeType, str):
                break
        elif operation not in _BEHIND_ANNOTATIONS:
            break
    return ()


def names_in_annotations(annotations):
    """The globals that the string annotations of a function or class need, also those inside `List["Price"]`."""
    needs = Needs()
    remaining, seen = list(annotations.values()), set()
    for part in remaining:
        if type(part) is str:
            _add_text(part, needs)
        elif id(part) not in seen:
            seen.add(id(part))
            text = getattr(part, "__forward_arg__", None)
            inside = getattr(part, "__args__", None)
            remaining.extend((text,) if type(text) is str else inside if type(inside) is tuple else ())
    return needs.names


def _add_text(text, needs):
    if type(text) is str:
        try:
            code = compile(text, "<annotation>", "eval")
        except (SyntaxError, ValueError):  # not every string annotation is an expression
            return
        needs.names.update(names_needed(code).names)


def submodules_needed(code, values):
    """The names of loaded modules that code reaches as attributes of a package: `xml.etree` of `import xml.etree`.

    `values` are those of its globals and cells. A pickle of a package imports the package alone.
    """
    names = _all_names(code)
    found = []
    for package in values:
        if isinstance(package, ModuleType) and hasattr(package, "__path__"):
            prefix = package.__name__ + "."
            found += [name for name in list(sys.modules)
                      if name.startswith(prefix) and names.issuperset(name[len(prefix):].split("."))]
    return sorted(found)


def _all_names(code):
    names = set(code.co_names)
    for constant in code.co_consts:
        if type(constant) is CodeType:
            names |= _all_names(constant)
    return names
