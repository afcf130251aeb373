"""The errors for what cannot be sent: what it is, why not, and what to do."""

import pickle

from .. import _references, _specials
from .._packing import PROTOCOL
from .._references import ATTRIBUTE, CELL, GLOBAL
from ..errors import SubmitError
from .kinds import contents_of
from .pickler import Dump

_here = _references.module()


def refusal(mirror, value, error):
    """The error for something that cannot be sent: what it is, why not, and what to do."""
    kind, _, name = value.slot.key
    user = getattr(value.user, "__qualname__", None) or type(value.user).__qualname__
    if kind == GLOBAL:
        what = "%s, which %s uses" % (name_of(value.slot.key), user)
    elif kind == CELL:
        what = "the variable %r, which %s takes from the function around it" % (_variable(value), user)
    elif name == "__defaults__" or name == "__kwdefaults__":
        what = "the default of %s of %s" % (_argument(mirror, value, name), user)
    else:
        what = "the attribute %r of %s" % (name, user)
    where = _line_of(value.user, name) if kind == GLOBAL else ""
    if isinstance(error, _specials.Refused):
        return SubmitError("%s%s, cannot be pickled: it is or holds %s: %s. %s" % (
            what, where, error.what, error.why, error.advice), "not_picklable")
    return SubmitError("%s%s, cannot be pickled: %s: %s. Make it inside the function or in an initializer, or pass what "
                       "it is made of" % (what, where, type(error).__name__, error), "not_picklable")


def name_of(key):
    kind, owner, name = key
    if kind == GLOBAL:
        return "the global %r of %s" % (name, owner if type(owner) is str else "the program")
    return "the attribute %r" % name if kind == ATTRIBUTE else "a variable of an enclosing function"


def _variable(value):
    for name, cell in zip(value.user.__code__.co_freevars, value.user.__closure__ or ()):
        if contents_of(cell) is value.value:
            return name
    return "?"


def _argument(mirror, value, name):
    """The argument whose default cannot be pickled."""
    code = value.user.__code__
    if name == "__kwdefaults__":
        defaults = value.value
    else:
        names = code.co_varnames[:code.co_argcount]
        defaults = dict(zip(names[len(names) - len(value.value):], value.value))
    for argument, default in defaults.items():
        try:
            Dump(mirror, (default,))
        except Exception:
            return repr(argument)
    return "an argument"


def _line_of(function, name):
    """Where a function uses a global."""
    from dis import get_instructions

    code = getattr(function, "__code__", None)
    line = None
    for instruction in get_instructions(code) if code is not None else ():
        line = instruction.starts_line if type(instruction.starts_line) is int else line
        if instruction.argval == name and "GLOBAL" in instruction.opname:
            line = getattr(instruction, "line_number", None) or line
            return " in %s:%s" % (code.co_filename, line)
    return ""


def refused(problem):
    return pickle.dumps((_Refused(str(problem)),), PROTOCOL)


class _Refused:
    def __init__(self, text):
        self._text = text

    def __reduce__(self):
        return _here.refusal, (self._text,)
