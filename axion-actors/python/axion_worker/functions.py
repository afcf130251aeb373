"""Functions that the engine sent: loaded at their first call, called with pickled arguments.

The engine names a function by a hash of its code and sends that once. The code is a pickle of
`(python, paths, mode, initializer, function)`; the latter two are pickles of their own, so that
`sys.path` is right before anything of the user's is imported. docs/internals/wire-protocol.md has the format.
"""

import sys
from _thread import RLock
from types import ModuleType

from . import library, wire
from .channel import Segments
from .context import parse_call
from .failure import Kind, TaskFailure, type_name
from .packing import CALL, EACH, EACH_OF_ONE, PROTOCOL, SCALARS, STEP, describe, fill, is_async, is_exact, pack, unpack
from .values import loads as read_json, view

_RAISED = 256 << 10  # bytes of the largest exception that is sent as more than text
CURRENT = "_axion_task"  # the module by which `axion.current()` finds the running task


class Functions:
    """The functions this worker was sent, by their names."""

    def __init__(self, current):
        self._known = {}
        self._current = current
        self._pickle = None

    def hear(self, body, start, end):
        """Takes a frame that is no `Run`: the fields of a `Call`, its `Function` in place of the name, or None."""
        if body[start] != wire.CALL_TAG:
            name, values = wire.decode(wire.DOWN, body[start:end])
            if name == "Define":
                self._known[values[0]] = Function(self, *values)
            elif name == "Forget":
                self._known.pop(values[0], None)
            else:
                raise wire.WireError("a %s among the tasks" % name)
            return None
        seq, attempt, limit, task, name, arguments = parse_call(body, start, end)
        function = self._known.get(name)
        if function is None:
            raise wire.WireError("a call of a function that was not defined: %s" % name.hex())
        return seq, attempt, limit, task, function, arguments

    def pickle(self):
        """The module, with what a function's module may ask for in place."""
        if self._pickle is None:
            with library.First():
                import pickle
            module = ModuleType(CURRENT, "Set by the Axion worker: current() is the running task's context.")
            module.current = self._current
            sys.modules[CURRENT] = module
            self._pickle = pickle
        return self._pickle


class Works:
    """Scripts, by their path, and functions, which stand for themselves."""

    def __init__(self, scripts):
        self._scripts = scripts

    def get(self, key, batch):
        """What is to be called, loaded if need be."""
        return self._scripts.get(key, batch) if type(key) is bytes else key.load()

    def coroutine(self, key, batch):
        """What is loaded and known to be a coroutine function, or None. Loads nothing."""
        if type(key) is bytes:
            return self._scripts.coroutine(key, batch)
        return key if key.is_async else None

    def is_plain(self, key):
        """Whether it is loaded and known to be no coroutine."""
        return self._scripts.is_plain(key) if type(key) is bytes else key.is_async is False


class Function:
    """One function. `call(arguments, context)` calls it, once it is loaded; `is_async` is None until then."""

    __slots__ = ("id", "is_async", "call", "_functions", "_code", "_lock", "_is_step")

    def __init__(self, functions, name, code):
        self.id = name
        self.is_async = None
        self.call = None
        self._is_step = False
        self._functions = functions
        self._code = code
        self._lock = RLock()

    def load(self):
        if self.call is None:
            with self._lock:
                if self.call is None:
                    self._load()
        return self

    def _load(self):
        pickle = self._functions.pickle()
        python, paths, mode, initializer, function = pickle.loads(self._code)
        for path in paths:
            if path not in sys.path:
                sys.path.append(path)
        if initializer is not None:
            _initialize(pickle, initializer)
        try:
            function = pickle.loads(function)
        except Exception as error:
            words = "the function cannot be loaded in this worker: %s: %s" % (type_name(type(error)), error)
            if python != sys.version_info[:2]:
                words += " (it is from Python %d.%d, the worker is %d.%d)" % (python + sys.version_info[:2])
            raise TaskFailure(Kind.FUNCTION_NOT_LOADABLE, words) from error
        self._is_step = mode == STEP
        if mode in (EACH, EACH_OF_ONE):
            each = _EACH[mode, is_async(function)]
            self.call = lambda items, _context: each(function, items)
        else:
            self.call = lambda arguments, _context: function(*arguments[0], **arguments[1])
        self.is_async = is_async(function)
        self._code = None

    # How its values travel.

    def loads(self, raw):
        """The arguments: `(args, kwargs)`, or a list of argument tuples."""
        pickle = self._functions.pickle()
        try:
            return fill(raw, pickle, read_json) if self._is_step else unpack(raw, pickle.loads, read_json)
        except Exception as error:
            words = "the arguments cannot be loaded in this worker: %s: %s" % (type_name(type(error)), error)
            raise TaskFailure(Kind.PARAMS_INVALID, words) from error

    def dumps(self, value):
        """The result, as bytes or, with large buffers in it, as `Segments`."""
        pickle = self._functions.pickle()
        try:
            packed = _step_result(pickle, value) if self._is_step else _packed(pickle, value)
            return Segments(packed) if type(packed) is list else packed
        except MemoryError:
            raise
        except Exception as error:
            words = "the result cannot be pickled: %s: %s" % (type_name(type(error)), error)
            raise TaskFailure(Kind.RESULT_NOT_SERIALIZABLE, words) from error

    def raised(self, error):
        """An exception as a pickle, for the caller to raise; empty if it has no such form or is too large.

        A SystemExit or KeyboardInterrupt is not raised in the caller's process.
        """
        if not isinstance(error, Exception) or str(type(error).__module__).startswith(__package__ + "."):
            return b""
        try:
            data = _dumps(self._functions.pickle(), error, None)
        except Exception:
            return b""
        return data if len(data) <= _RAISED else b""


def _each(function, items):
    return [function(*item) for item in items]


def _each_of_one(function, items):
    return list(map(function, items))


async def _each_async(function, items):
    import asyncio

    return await asyncio.gather(*[function(*item) for item in items])


async def _each_of_one_async(function, items):
    import asyncio

    return await asyncio.gather(*map(function, items))


_EACH = {(EACH, False): _each, (EACH, True): _each_async,
         (EACH_OF_ONE, False): _each_of_one, (EACH_OF_ONE, True): _each_of_one_async}


_initialized = {}  # what prepared this worker, by its code -> None, or the failure it ended in
_initializing = RLock()
_MOST_INITIALIZERS = 64


def _initialize(pickle, code):
    with _initializing:
        if code not in _initialized:
            if len(_initialized) >= _MOST_INITIALIZERS:
                _initialized.clear()
            failure = None
            try:
                function, arguments = pickle.loads(code)
                function(*arguments)
            except BaseException as error:
                failure = error
            _initialized[code] = failure
        failure = _initialized[code]
    if failure is not None:
        words = "the initializer failed: %s: %s" % (type_name(type(failure)), failure)
        raise TaskFailure(Kind.INITIALIZER_FAILED, words) from failure


def _packed(pickle, value):
    if type(value) in SCALARS:
        return pickle.dumps(value, PROTOCOL)
    return pack(value, lambda value, keep: _dumps(pickle, value, keep))


def _step_result(pickle, value):
    """What others can read, as JSON; what JSON would change or has no form for, as a pickle that says what it is."""
    json, words = view(value)
    if json is not None and is_exact(value):
        return json
    return describe(_packed(pickle, value), json, words)


def _dumps(pickle, value, keep):
    # What was made here of a class or function that came by value has to go by value again.
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is None:
        try:
            return pickle.dumps(value, PROTOCOL, buffer_callback=keep)
        except (pickle.PicklingError, AttributeError, TypeError):
            try:
                import cloudpickle
            except ImportError:
                cloudpickle = None
            if cloudpickle is None:
                raise
    return cloudpickle.dumps(value, PROTOCOL, buffer_callback=keep)
