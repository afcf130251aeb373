"""Functions, arguments and results as bytes, in the format of `_packing`."""

import json
import pickle
import sys
import weakref
from types import BuiltinFunctionType, FunctionType

from . import _axion, _names, _packing
from ._mirror import LOOKUP, Arrays, MaySentinel, contents_of, is_atom, mirror
from ._packing import CALL, PROTOCOL, SCALARS, PackingError
from .errors import SubmitError, TaskError

_PLAIN_PICKLE = 0x80
_NOTHING = pickle.dumps(((), {}), PROTOCOL)
_PYTHON = sys.version_info[:2]
_NO_ROOTS = {}
_SHARED_FROM = 1 << 20  # bytes from which on an array that cannot be written to is shared by all tasks


class Packed:
    """Packed arguments that refer to definitions of this program, or to arrays in parts that tasks share."""

    __slots__ = ("payload", "roots", "parts")

    def __init__(self, payload, roots, parts=()):
        self.payload = payload
        self.roots = roots
        self.parts = parts


class Coder:
    """Makes the code of functions that workers load. One for each mode in which functions are called."""

    def __init__(self, surroundings, mode=CALL, initializer=None, initargs=()):
        self._mode = mode
        self._initializer, self._initializer_parts = None, []
        if initializer is not None:
            self._set_initializer(initializer, tuple(initargs))
        self._surroundings = surroundings
        self._around = None
        # The ids of a function and of parts of arguments -> the function for such arguments, as long as a task has it.
        self._with_parts = weakref.WeakValueDictionary()
        self._cache = {}  # the id of a function -> what was made of it, see `_Made`
        self._others = {}  # the pickle of a callable that is no function, what it reaches -> the same, of each version

    def _set_initializer(self, initializer, initargs):
        try:
            target, roots = mirror.dump((initializer, initargs))
        except Exception as error:
            raise unpicklable("the initializer", error) from error
        reach = mirror.reach(roots) if roots else None
        self._initializer = pickle.dumps((None if reach is None else reach.pins, target), PROTOCOL)
        if reach is not None:
            self._initializer_parts = list(reach.parts)

    def function(self, function, roots=_NO_ROOTS):
        """The `_axion.Function` of a callable that is called with arguments that refer to `roots`, and what keeps the
        definitions that it reaches alive. One that has not changed since its last use is taken from the cache.
        """
        around = self._surroundings.current()
        if around is not self._around:
            self._around = around
            self._cache.clear()
            self._others.clear()
        made = self._cache.get(id(function))
        if made is not None and made.reference() is function:
            if roots:
                made = made.by_roots.get(tuple(roots))
            if made is not None:
                code = made.code
                if code is not None:
                    if code is made.by_name or function.__code__ is code and function.__defaults__ is None:
                        return made.function, None
                elif made.reach.is_current():
                    return made.function, made.reach.hold()
        return self._make(function, roots)

    def function_for(self, function, packed):
        """As `function`, for a call with these arguments."""
        made, hold = self.function(function, packed.roots)
        if not packed.parts:
            return made, hold
        key = made.id, *(part.id for part in packed.parts)
        known = self._with_parts.get(key)
        if known is None:
            known = self._with_parts[key] = made.needing(packed.parts)
        return known, (hold, known, packed.parts)

    def _make(self, function, roots):
        target, found, inline = target_of(function)
        reached = {**roots, **found}
        reach = mirror.reach(reached, inline) if reached or inline else None
        if type(function) in _CACHED:
            made = _Made(self.compile(function, target, reach), reach)
            self._remember(function, roots, made)
        else:
            made = self._others.get((target, reach))
            if made is None:
                made = _Made(self.compile(function, target, reach), reach)
                if len(self._others) >= _MAX_OTHERS:
                    self._others.clear()
                self._others[target, reach] = made
        return made.function, None if reach is None else reach.hold()

    def _remember(self, function, roots, made):
        key, cache = id(function), self._cache
        if made.reach is None:
            made.code = made.by_name
        elif made.reach.is_closed() and function.__defaults__ is None and function.__kwdefaults__ is None:
            made.code = function.__code__
        if not roots:
            made.reference = weakref.ref(function, _forgetter(cache, key))
            cache[key] = made
        else:
            known = cache.get(key)
            if known is not None and known.reference() is function:
                if len(known.by_roots) >= _MAX_OTHERS:
                    known.by_roots.clear()
                known.by_roots[tuple(roots)] = made

    def compile(self, function, target, reach):
        """The `_axion.Function` of a target, which is loaded when what it reaches is there."""
        around = self._surroundings.current()
        pins, parts = None, [*around, *self._initializer_parts]
        if reach is not None:
            pins, parts = reach.pins, [*parts, *reach.parts]
        code = pickle.dumps((_PYTHON, around[0].id, self._mode, self._initializer, pins, target), PROTOCOL)
        return _axion.Function(_name(function), code, parts)


class _Made:
    """An `_axion.Function`, and when it is good for another submit: while what it reaches has not changed; if that is
    nothing (`code`), while the function has its code; if it goes by name, always.
    """

    __slots__ = ("function", "reach", "code", "reference", "by_roots")
    by_name = "by name"

    def __init__(self, function, reach):
        self.function, self.reach = function, reach
        self.code = self.reference = None
        self.by_roots = {}  # the same for arguments that refer to definitions


_MAX_OTHERS = 256
_CACHED = frozenset((FunctionType, BuiltinFunctionType))


def target_of(function):
    """What a worker calls: its pickle, the definitions that this refers to, and the functions in it that have no
    number, with their spaces: a list of one or none.
    """
    try:
        if type(function) is FunctionType and _has_no_number(function) and not _names.goes_by_name(function):
            space = mirror.space_of(function)  # kept, so that the walk finds it under the same number
            return mirror.dump_by_value(function), _NO_ROOTS, [(function, space)]
        try:
            data, found = mirror.dump(function, stops=True)
        except MaySentinel:
            mirror.reach(mirror.dump(function)[1])  # for what is bound to it, such as the arguments of a partial
            data, found = mirror.dump(function)
        if not found and mirror.looks_up(function):
            found[LOOKUP] = None
        return data, found, []
    except SubmitError:
        raise
    except Exception as error:
        raise unpicklable("the function", error) from error


def _forgetter(cache, key):
    def forget(reference):
        made = cache.get(key)
        if made is not None and made.reference is reference:
            del cache[key]

    return forget


def _has_no_number(function):
    """Whether nothing but its call can refer to a function, so that it needs no identity.

    Two equal ones are one function for the engine, as the lambdas that one line makes.
    """
    if (function.__dict__ or not is_atom(function.__defaults__) or function.__kwdefaults__
            or getattr(function, "__type_params__", ()) or not _has_plain_annotations(function)):
        return False
    if not function.__closure__ and not mirror.needs(function.__code__)[1]:
        return True
    return (id(function) not in mirror.definitions and function.__globals__.get(function.__name__) is not function
            and all(is_atom(contents_of(cell)) for cell in function.__closure__ or ()))


def _has_plain_annotations(function):
    """Whether annotations refer to nothing of this program. From Python 3.14 on, most are code, which is not called."""
    if getattr(function, "__annotate__", None) is not None:
        return False
    return all(is_atom(each) or isinstance(each, type) and _names.goes_by_name(each)
               for each in function.__annotations__.values())


def _name(function):
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return "%s.%s" % (module, name) if module not in (None, "__main__") else name


def pack(args, kwargs, function=None):
    """Arguments: bytes; with large buffers in them, a list of buffers; if they refer to definitions, `Packed`."""
    if not kwargs:
        if not args:
            return _NOTHING
        for arg in args:
            if type(arg) not in SCALARS:
                break
        else:
            return pickle.dumps((args, kwargs), PROTOCOL)
    return pack_value((args, kwargs), function)


def pack_value(value, function=None, placeholder=None, arrays=None):
    """As `pack`. What `function`, or each of a list of functions, reaches has an identity that arguments keep.

    `placeholder(part)`, for arguments of a step, is the number by which a part is replaced, or None.
    """
    roots, stops = _NO_ROOTS, True
    if arrays is None and placeholder is None and "numpy" in sys.modules:
        arrays = Arrays(_SHARED_FROM)

    def dumps(value, keep_in_band):
        nonlocal roots
        if arrays is not None:
            arrays.parts.clear()
        data, roots = mirror.dump(value, keep_in_band, placeholder, arrays, stops)
        return data

    try:
        try:
            packed = _packing.pack(value, dumps)
        except MaySentinel:
            stops = False
            _packing.pack(value, dumps)  # which finds what the arguments refer to
            for each in function if type(function) is list else [function]:
                walk_from(each, roots)
            packed = _packing.pack(value, dumps)
    except SubmitError:
        raise
    except Exception as error:
        raise unpicklable("the arguments", error) from error
    parts = arrays.parts if arrays is not None else ()
    return Packed(packed, roots, parts) if roots or parts else packed


def named(error):
    """An error in which a part that is too large has the name that the program has for it."""
    found = mirror.name_of_part(str(error)) if getattr(error, "code", None) == "part_too_large" else None
    if found is None:
        return error
    return SubmitError(str(error).replace("the part " + found[0], found[1]), error.code)


def unpicklable(what, error):
    message = "%s cannot be pickled: %s: %s" % (what, type(error).__name__, error)
    return SubmitError(message, "not_picklable")


def walk_from(function, roots=_NO_ROOTS):
    """Has arguments keep the identity of what a function reaches."""
    _, found, inline = target_of(function) if function is not None else (None, _NO_ROOTS, [])
    roots = {**roots, **found}
    if roots or inline:
        mirror.reach(roots, inline)


def unpack(data):
    """A result. Its large buffers stay where they are, in `data`.

    Raises:
        TaskError: the bytes are not a result. Code: result_unreadable.
    """
    if data and data[0] == _PLAIN_PICKLE:
        return pickle.loads(data)
    try:
        return _packing.unpack(data, pickle.loads, json.loads)
    except PackingError as error:
        raise TaskError("the result cannot be read: %s" % error, "result_unreadable") from error
