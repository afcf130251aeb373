"""Which globals a function needs: those that its code names, and those that its annotations name as text.

The Python package has this very file as `axion._needs`. It imports nothing of either side.
"""

import sys
from types import CodeType, ModuleType


class Needs:
    """`names`: the globals that code uses. `everything`: whether it can reach all of them, as `eval` can."""

    def __init__(self):
        self.names = set()
        self.everything = False


_GLOBAL_OPERATIONS = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL",
                                "LOAD_FROM_DICT_OR_GLOBALS"))
_CALLS = frozenset(("CALL", "CALL_FUNCTION"))
_REACH_ALL = frozenset(("globals", "eval", "exec"))
_REACH_ALL_OF_ARGUMENT = frozenset(("vars", "dir"))  # without an argument they reach a function's locals, no globals
_REACH_ALL_ATTRIBUTES = frozenset(("__globals__", "f_globals", "f_builtins"))
_MAIN_MODULES = ("__main__", "__mp_main__")
_FINDERS_OF_MODULES = frozenset(("modules", "import_module", "__import__"))
_ANNOTATIONS_FLAG = 4  # of MAKE_FUNCTION and SET_FUNCTION_ATTRIBUTE


def names_needed(code):
    """What code, the code inside it and the string annotations inside it need of the globals: `Needs`."""
    needs = Needs()
    _add_needs(code, needs)
    return needs


def _add_needs(code, needs):
    instructions = _instructions(code)
    for at, instruction in enumerate(instructions):
        if instruction.opname in _GLOBAL_OPERATIONS:
            needs.names.add(instruction.argval)
            needs.everything |= _reaches_all(instructions, at)
        elif instruction.opname in ("IMPORT_NAME", "LOAD_CONST") and instruction.argval in _MAIN_MODULES:
            needs.everything = True
        for text in _annotation_texts(instructions, at):
            _add_text(text, needs)
    names = set(code.co_names)
    if names & _REACH_ALL_ATTRIBUTES or "__name__" in names and names & _FINDERS_OF_MODULES:
        needs.everything = True
    for constant in code.co_consts:
        if type(constant) is CodeType:
            _add_needs(constant, needs)


def _instructions(code):
    from dis import get_instructions

    return [each for each in get_instructions(code) if each.opname not in _FILLERS]


_FILLERS = frozenset(("EXTENDED_ARG", "PUSH_NULL", "PRECALL", "CACHE"))


def _reaches_all(instructions, at):
    name = instructions[at].argval
    if name in _REACH_ALL_OF_ARGUMENT:
        following = instructions[at + 1]
        return not (following.opname in _CALLS and following.arg == 0)
    return name in _REACH_ALL


def _annotation_texts(instructions, at):
    """The string annotations of a variable of a class, or of a function whose annotations are all strings."""
    this = instructions[at]
    if this.opname == "LOAD_NAME" and this.argval == "__annotations__" and at:
        return (instructions[at - 1].argval,)
    if this.opname in ("SET_FUNCTION_ATTRIBUTE", "MAKE_FUNCTION") and this.arg and this.arg & _ANNOTATIONS_FLAG:
        return _annotations_before(instructions, at)
    return ()


def _annotations_before(instructions, at):
    """Those of the function that is made there: its code, cells and, up to Python 3.10, its name come after them."""
    for instruction in reversed(instructions[:at]):
        constant = instruction.argval if instruction.opname == "LOAD_CONST" else None
        if type(constant) is tuple:
            return constant[1::2]
        if instruction.opname not in _BEHIND_ANNOTATIONS and type(constant) not in (CodeType, str):
            break
    return ()


_BEHIND_ANNOTATIONS = frozenset(("LOAD_CLOSURE", "LOAD_FAST", "BUILD_TUPLE", "MAKE_FUNCTION", "SET_FUNCTION_ATTRIBUTE"))


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
