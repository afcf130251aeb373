"""Functions, arguments and results as bytes, in the format of `_packing`."""

import functools
import io
import json
import pickle
import sys
from types import BuiltinFunctionType, CodeType, FunctionType
from weakref import WeakKeyDictionary

from . import _axion, _packing
from ._names import goes_by_name
from ._packing import CALL, PROTOCOL, SCALARS, PackingError
from .errors import SubmitError, TaskError

_PLAIN_PICKLE = 0x80
_NOTHING = pickle.dumps(((), {}), PROTOCOL)
_PYTHON = sys.version_info[:2]


class Coder:
    """Makes the code of functions that workers load. One for each mode in which functions are called."""

    def __init__(self, surroundings, mode=CALL, initializer=None, initargs=()):
        self._mode = mode
        self._initializer = None
        if initializer is not None:
            self._initializer = _dumps((initializer, tuple(initargs)), "the initializer")
        self._surroundings = surroundings
        self._around = None
        # function -> its code object, or None if it goes by name, and its `_axion.Function`
        self._cache = WeakKeyDictionary()

    def function(self, function):
        """The `_axion.Function` of a callable. One that cannot have changed since its last use is taken from the cache."""
        around = self._surroundings.current()
        if around is not self._around:
            self._around = around
            self._cache.clear()
        kind = type(function)
        is_cacheable = kind is FunctionType or kind is BuiltinFunctionType
        if is_cacheable:
            cached = self._cache.get(function)
            if cached is not None and (cached[0] is None or (cached[0] is function.__code__ and _is_closed(function))):
                return cached[1]
        code = _dumps(function, "the function")
        around = self._surroundings.of(function)
        blob = pickle.dumps((_PYTHON, around, self._mode, self._initializer, code), PROTOCOL)
        made = _axion.Function(_name(function), blob)
        if is_cacheable:
            if goes_by_name(function):
                self._cache[function] = None, made
            elif kind is FunctionType and _is_closed(function):
                self._cache[function] = function.__code__, made
        return made


def _name(function):
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return "%s.%s" % (module, name) if module not in (None, "__main__") else name


def _is_closed(function):
    """Whether its code is all that it depends on: nothing that it refers to can have changed."""
    code = function.__code__
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__:
        return False
    names = function.__globals__
    for name in code.co_names:
        if name in names:
            return False
    return not any(type(part) is CodeType for part in code.co_consts)


def pack(args, kwargs):
    """Arguments, as bytes or, with large buffers in them, as a list of buffers."""
    if not kwargs:
        if not args:
            return _NOTHING
        for arg in args:
            if type(arg) not in SCALARS:
                break
        else:
            return pickle.dumps((args, kwargs), PROTOCOL)
    return pack_value((args, kwargs))


def pack_value(value):
    return _packing.pack(value, lambda value, keep_in_band: _dumps(value, "the arguments", keep_in_band))


def _dumps(value, what, buffer_callback=None):
    import cloudpickle

    try:
        return cloudpickle.dumps(value, PROTOCOL, buffer_callback=buffer_callback)
    except Exception as error:
        raise unpicklable(what, error) from error


def unpicklable(what, error):
    message = "%s cannot be pickled: %s: %s" % (what, type(error).__name__, error)
    return SubmitError(message, "not_picklable")


def pack_with_placeholders(value, placeholder):
    """Arguments of a step. `placeholder(part)` is the number by which a part of them is replaced, or None."""
    make = _pickler()

    def dumps(value, keep_in_band):
        with io.BytesIO() as file:
            pickler = make(file, PROTOCOL, buffer_callback=keep_in_band)
            pickler.placeholder = placeholder
            pickler.dump(value)
            return file.getvalue()

    try:
        return _packing.pack(value, dumps)
    except Exception as error:
        raise unpicklable("the arguments", error) from error


@functools.cache
def _pickler():
    import cloudpickle

    class Pickler(cloudpickle.Pickler):
        placeholder = staticmethod(lambda part: None)

        def persistent_id(self, part):
            return self.placeholder(part)

    return Pickler


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
