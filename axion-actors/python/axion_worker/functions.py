"""Functions that the engine sends: loaded at their first call, called with pickled arguments.

The engine names a function by a hash of its code and sends that code once. The code is a pickle of
`(python, around, mode, initializer, pins, target)`. The surroundings are a part of the function, and the last three are
pickles of their own: so the surroundings are the caller's before anything of the user's is imported, and its program is
mirrored before anything refers to it.
docs/internals/wire-protocol.md has the format.
"""

import sys
from _thread import RLock, get_ident
from types import BuiltinFunctionType, FunctionType, ModuleType

from . import library, mirror, surroundings, wire
from .channel import Segments
from .context import parse_call
from .failure import FailureKind, TaskFailure, type_name
from .surroundings import CONTEXT_MODULE
from .packing import (EACH, EACH_OF_ONE, PROTOCOL, SCALARS, STEP, add_description, is_async, is_exact, pack, unpack,
                      unpack_arguments)
from .values import json_or_description, loads as read_json

_MAX_EXCEPTION = 256 << 10  # bytes: a larger exception is sent as text alone


class Functions:
    """The functions that this worker was sent, and their parts.

    The engine defines the parts of a function before the function, and keeps both until the last of its calls has ended.
    """

    def __init__(self, current, payloads, only_forward):
        self._payloads = payloads
        self.parts = {}  # what the engine defined and did not take back: the code of functions, and its parts
        self._functions = {}  # made of their code at their first call
        self._current = current
        self._only_forward = only_forward
        self._pickle = self.mirror = None
        self._lock = RLock()

    def receive(self, body, start, end):
        """Handles a frame that is not a `Run`. Returns the fields of a task, with the `Function` in place of its id;
        None if the frame is no task.
        """
        if body[start] != wire.CALL_TAG:
            name, values = wire.decode(wire.DOWN, body[start:end])
            if name == "Define":
                self.parts[values[0]] = values[1]
            elif name == "Forget":
                self.parts.pop(values[0], None)
                self._functions.pop(values[0], None)
            else:
                return self._receive_large(name, values)
            return None
        seq, attempt, limit_ns, task, name, arguments = parse_call(body, start, end)
        return seq, attempt, limit_ns, task, self._function(name), arguments

    def _receive_large(self, name, values):
        """Handles a message whose payload travels apart, as `receive`."""
        if name == "Piece":
            self._payloads.add(values[0])
            return None
        if name not in ("LargeDefine", "LargeCall", "LargeRun"):
            raise wire.WireError("a %s among the tasks" % name)
        if name == "LargeDefine":
            self.parts[values[0]] = self._payloads.take_part(*values[1])
            return None
        payload = self._payloads.take(*values.pop())
        target = values.pop()
        if name == "LargeRun":
            return (*values, target, bytes(payload))
        return (*values, self._function(target), payload)

    def _function(self, name):
        function = self._functions.get(name)
        if function is None:
            if name not in self.parts:
                raise wire.WireError("a call of a function that was not defined: %s" % name.hex())
            function = self._functions[name] = Function(self, name, self.parts[name])
        return function

    def pickle(self):
        """The `pickle` module. Also makes the mirror, and the module through which a function finds its context."""
        if self._pickle is None:
            with self._lock:  # several threads may load their first functions
                if self._pickle is None:
                    self._start()
        return self._pickle

    def _start(self):
        with library.StdlibFirst():
            import pickle
        module = ModuleType(CONTEXT_MODULE, "Set by the Axion worker: current() is the running task's context.")
        module.current = self._current
        # The threads that import modules for a function. An engine that a module starts then would import it again.
        module.importing = set()
        sys.modules[CONTEXT_MODULE] = module
        self.mirror = mirror.start(self.parts, self._only_forward, pickle)
        self._pickle = pickle


class Targets:
    """Finds the loaded script or function of a task's target: a script's path as bytes, or a `Function`."""

    def __init__(self, scripts):
        self._scripts = scripts
        self.restores_functions = False  # whether what functions change of the process is put back, too

    def load(self, target, batch):
        """The `Script` or `Function`, loaded if need be."""
        if type(target) is bytes:
            return self._scripts.get(target, batch)
        self._scripts.leave()
        is_new = target.call is None
        loaded = target.load()
        if self.restores_functions:
            self._scripts.note_functions(is_new)
        return loaded

    def put_back(self):
        """Undoes what the last task has changed of the process, as far as that is undone."""
        self._scripts.put_back()

    def loaded_coroutine(self, target, batch):
        """The same if it is loaded and known to be a coroutine function, else None. Loads nothing."""
        if type(target) is bytes:
            return self._scripts.loaded_coroutine(target, batch)
        return target if target.is_async else None

    def is_plain(self, target):
        """Whether it is loaded and known not to be a coroutine function."""
        return self._scripts.is_plain(target) if type(target) is bytes else target.is_async is False


class Function:
    """One function. `load` sets `call`, which calls it with `(arguments, context)`, and `is_async`, None until then."""

    __slots__ = ("id", "is_async", "call", "_functions", "_around", "_code", "_lock", "_is_step", "_pins", "_kept",
                 "_epoch")

    def __init__(self, functions, name, code):
        self.id = name
        self.is_async = None
        self.call = None
        self._is_step = False
        self._functions = functions
        self._around = None
        self._code = code
        self._lock = RLock()
        self._pins = self._kept = self._epoch = None

    def load(self):
        """Loads it if need be, and mirrors what it reaches in the versions of its submit."""
        if self.call is None:
            with self._lock:
                if self.call is None:
                    self._load()
        else:
            surroundings.enter(self._functions.pickle(), self._functions.parts, self._around)
            if self._pins is not None:
                self._apply()
        return self

    def _load(self):
        pickle = self._functions.pickle()
        python, around, mode, initializer, pins, target = pickle.loads(self._code)
        surroundings.enter(pickle, self._functions.parts, around)
        importing, thread = sys.modules[CONTEXT_MODULE].importing, get_ident()
        try:
            pins = self._check_version(python, pins)
            if initializer is not None:
                _initialize(self._functions.mirror, initializer)
            importing.add(thread)
            if pins is not None:
                self._pins = self._functions.mirror.read_pins(pins)
                self._apply()
            function = pickle.loads(target)
        except TaskFailure:
            raise
        except Exception as error:
            text = "the function cannot be loaded in this worker: %s: %s" % (type_name(type(error)), error)
            if python != sys.version_info[:2]:
                text += " (it is from Python %d.%d, the worker is %d.%d)" % (python + sys.version_info[:2])
            raise TaskFailure(FailureKind.FUNCTION_NOT_LOADABLE, text) from error
        finally:
            importing.discard(thread)
        self._around = around
        self._is_step = mode == STEP
        self.is_async = is_async(function)
        if type(function) not in _STATELESS:
            # Each call has a copy of the object, as the arguments are copies.
            self.call = _call_of_copy(lambda: pickle.loads(target), _EACH.get((mode, self.is_async)))
        elif mode in (EACH, EACH_OF_ONE):
            each = _EACH[mode, self.is_async]
            self.call = lambda items, _context: each(function, items)
        else:
            self.call = lambda arguments, _context: function(*arguments[0], **arguments[1])
        self._code = None

    def _check_version(self, python, pins):
        """The pins that this interpreter can use. Code is good for the version of Python that compiled it.

        Raises:
            TaskFailure: the call needs functions or classes of the caller's that go by value.
        """
        if pins is None or python == sys.version_info[:2]:
            return pins
        _, _, definitions, units, _ = self._functions.mirror.read_pins(pins)
        if not definitions and not units:
            return None  # only what a module without a file would make on demand
        text = ("the function is from Python %d.%d and this worker is Python %d.%d: put it, and the functions and classes "
                "that it uses, into a module that both can import" % (python + sys.version_info[:2]))
        raise TaskFailure(FailureKind.FUNCTION_NOT_LOADABLE, text)

    def _apply(self):
        mirror = self._functions.mirror
        if self._epoch != mirror.epoch:
            self._kept = mirror.apply(self._pins)
            self._epoch = mirror.epoch
        mirror.offer(self._pins)

    # Its codec: how its arguments, result and exception travel.

    def loads(self, raw):
        """The arguments: `(args, kwargs)`, or a list of argument tuples."""
        pickle = self._functions.pickle()
        try:
            return unpack_arguments(raw, pickle, read_json) if self._is_step else unpack(raw, pickle.loads, read_json)
        except TaskFailure:
            raise
        except Exception as error:
            text = "the arguments cannot be loaded in this worker: %s: %s" % (type_name(type(error)), error)
            raise TaskFailure(FailureKind.PARAMS_INVALID, text) from error

    def dumps(self, value):
        """The result, as bytes or, if it has large buffers, as `Segments`."""
        mirror = self._functions.mirror
        try:
            packed = _pack_step_result(mirror, value) if self._is_step else _pack_result(mirror, value)
            return Segments(packed) if type(packed) is list else packed
        except MemoryError:
            raise
        except Exception as error:
            text = "the result cannot be pickled: %s: %s" % (type_name(type(error)), error)
            raise TaskFailure(FailureKind.RESULT_NOT_SERIALIZABLE, text) from error

    def dumps_exception(self, error):
        """An exception as a pickle, for the caller to raise. Empty if it cannot be pickled or is too large.

        The caller's process does not raise a SystemExit or KeyboardInterrupt of a task.
        """
        if not isinstance(error, Exception) or str(type(error).__module__).startswith(__package__ + "."):
            return b""
        try:
            dumps = self._functions.mirror.dumps
            if type(error).__setattr__ is not BaseException.__setattr__ and not _is_copied(error):
                # A frozen dataclass refuses the attributes that a pickle sets, but its `__init__` sets its fields.
                error = type(error), error.args
            data = dumps(error, None)
        except Exception:
            return b""
        return data if len(data) <= _MAX_EXCEPTION else b""


_STATELESS = (FunctionType, BuiltinFunctionType, type)


def _call_of_copy(load, each):
    if each is not None:
        return lambda items, _context: each(load(), items)
    return lambda arguments, _context: load()(*arguments[0], **arguments[1])


def _is_copied(error):
    """Whether what a pickle of an exception would do gives it back."""
    import copy

    try:
        copy.copy(error)
    except Exception:
        return False
    return True


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


# The pickle of each initializer that has run -> its exception or None, and what keeps its definitions alive.
_initializers = {}
_initializers_lock = RLock()
_MAX_INITIALIZERS = 64


def _initialize(mirror, code):
    with _initializers_lock:
        if code not in _initializers:
            if len(_initializers) >= _MAX_INITIALIZERS:
                _initializers.clear()
            failure = kept = None
            try:
                pins, target = mirror.pickle.loads(code)
                if pins is not None:
                    kept = mirror.apply(mirror.read_pins(pins))
                function, arguments = mirror.pickle.loads(target)
                function(*arguments)
            except BaseException as error:
                failure = error
            _initializers[code] = failure, kept
        failure = _initializers[code][0]
    if failure is not None:
        text = "the initializer failed: %s: %s" % (type_name(type(failure)), failure)
        raise TaskFailure(FailureKind.INITIALIZER_FAILED, text) from failure


def _pack_result(mirror, value):
    if type(value) in SCALARS:
        return mirror.pickle.dumps(value, PROTOCOL)
    return pack(value, mirror.dumps)


def _pack_step_result(mirror, value):
    """JSON where that gives back the very same value; else a pickle, with its JSON form or a description in front."""
    json, description = json_or_description(value)
    # In JSON, two surrogates that follow each other are one character.
    if json is not None and is_exact(value) and (b"\\ud" not in json or read_json(json) == value):
        return json
    return add_description(_pack_result(mirror, value), json, description)
