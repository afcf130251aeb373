"""What a generated program calls. `MODE` says who runs its calls; everything else is the same for all of them.

| mode | a call runs |
| --- | --- |
| `plain` | directly, in the caller |
| `fork` | in a pool of one process, forked at the first call |
| `spawn` | in a pool of one process, spawned |
| `axion` | in Axion's workers |

A program prints one line for each call: program, step, category, what came back as text, and how it was called.
"""

import asyncio
import builtins
import contextlib
import copyreg
import enum
import functools
import gc
import inspect
import io
import itertools
import json
import os
import pickle
import re
import sys
import types
import typing  # noqa: F401  (so that its classes are known in each mode)

MODE = os.environ.get("HARNESS_MODE", "plain")
STYLES = json.loads(os.environ.get("HARNESS_STYLES", "{}"))  # program -> styles, by turns
LONG = 240  # seconds


class Session:
    """Where the calls of the programs in this process run."""

    def __init__(self):
        self.pools = contextlib.ExitStack()
        self.program = self.styles = self.style = self.pool = None
        self.step = 0

    @functools.cached_property
    def shared(self):
        return self.open()

    def open(self, *initializer):
        return self.pools.enter_context(POOLS[MODE](*initializer))

    def begin(self, program):
        self.program, self.step = program, 0
        self.styles = itertools.cycle(STYLES.get(str(program), ["submit"]))
        # A forked worker knows only what there was before it; Axion's workers serve all programs of the process.
        self.pool = self.open() if MODE in ("fork", "spawn") else None

    def call(self, function, args):
        if self.pool is None:
            self.pool = self.shared
        self.style = next(self.styles)
        return self.pool.call(self.style, function, args)

    def print(self, category, text):
        self.step += 1
        print(json.dumps([self.program, self.step, category, text, self.style]), flush=True)


class Unavailable(Exception):
    """This kind of pool cannot do that at all."""


# The functions that programs call.

def begin(program):
    session.begin(program)


def value(function, *args):
    """A call whose value depends on nothing that earlier tasks left behind."""
    _run("value", function, args)


def state(function, *args):
    """A call whose value depends on what earlier tasks left in their worker."""
    _run("state", function, args)


def show(thing):
    """Something of the caller's, after its tasks ran."""
    session.print("value", describe(thing, Known()))


def initialize(function, *args):
    """The calls that follow run in workers which have called this."""
    if MODE == "plain":
        function(*args)
    else:
        session.pool = session.open(function, args)


def end():
    session.pools.close()


def _run(category, function, args):
    known = Known()
    try:
        text = describe(session.call(function, args), known)
    except Unavailable:
        text = None
    except Exception as error:
        text = "raises " + describe(error, known)
        if os.environ.get("HARNESS_TRACEBACKS"):
            import traceback
            traceback.print_exc()
    session.print(category, text)


# The pools.

class Plain:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, _style, function, args):
        result = function(*args)
        return asyncio.run(result) if asyncio.iscoroutine(result) else result


class Standard:
    """A ProcessPoolExecutor of one worker."""

    method = "spawn"

    def __init__(self, initializer=None, initargs=()):
        self.executor, self.prepare = None, (initializer, initargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.executor is not None:
            self.executor.shutdown()

    def start(self):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(1, multiprocessing.get_context(self.method), *self.prepare)

    def call(self, _style, function, args):
        if self.executor is None:
            self.executor = self.start()
        try:
            call = self.dumps((function, args))
        except Exception as error:
            raise Unavailable from error
        status, data = self.executor.submit(run_pickled, call, self.dumps).result(LONG)
        result = self.loads(data)
        if status == "raised":
            raise result
        return result

    dumps = staticmethod(functools.partial(pickle.dumps, protocol=5))
    loads = staticmethod(pickle.loads)


class Forked(Standard):
    """Functions and classes that exist when it forks are the same objects on both sides, so they go by their address.

    The stock pool cannot take lambdas and local functions; otherwise this is what it does.
    """

    method = "fork"

    def start(self):
        global by_address
        by_address = {id(thing): thing for thing in gc.get_objects() if isinstance(thing, GO_BY_ADDRESS)}
        return super().start()

    @staticmethod
    def dumps(thing):
        file = io.BytesIO()
        AddressPickler(file, 5).dump(thing)
        return file.getvalue()


GO_BY_ADDRESS = types.FunctionType, type, type(functools.cache(len))
by_address = {}


class AddressPickler(pickle.Pickler):
    def reducer_override(self, thing):
        if thing is not at_address and isinstance(thing, GO_BY_ADDRESS) and id(thing) in by_address:
            return at_address, (id(thing),)
        if isinstance(thing, types.ModuleType):
            return sys.modules.__getitem__, (thing.__name__,)
        return NotImplemented


def at_address(address):
    return by_address[address]


def run_pickled(call, dumps):
    try:
        function, args = pickle.loads(call)
        result = function(*args)
        if asyncio.iscoroutine(result):
            result = asyncio.run(result)
        return "returned", dumps(result)
    except Exception as error:
        return "raised", dumps(error)


class Axion:
    """An engine with one CPU worker, or an executor where there is an initializer."""

    def __init__(self, initializer=None, initargs=()):
        import axion
        if initializer is None:
            self.runner = axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=1, io_bound_max=1)
        else:
            self.runner = axion.Executor(1, initializer=initializer, initargs=initargs)

    def __enter__(self):
        self.runner.__enter__()
        return self

    def __exit__(self, *what):
        return self.runner.__exit__(*what)

    def call(self, style, function, args):
        import axion
        if isinstance(self.runner, axion.Executor) and style in ENGINE_STYLES:
            style = "submit"
        if inspect.iscoroutinefunction(function) and style not in ASYNC_STYLES:
            style = "run"
        return getattr(self, "_" + style)(function, args)

    def _submit(self, function, args):
        return self.runner.submit(function, *args).result(LONG)

    def _map(self, function, args):
        return list(self.runner.map(function, *[[arg] for arg in args]))[0] if args else self._submit(function, args)

    def _map_of_two(self, function, args):
        """The first result of a chunk of two calls with nothing in between."""
        return list(self.runner.map(call_of, [(function, args)], chunksize=2))[0]

    def _partial(self, function, args):
        return self._submit(functools.partial(function, *args), ())

    def _lambda(self, function, args):
        return self._submit(lambda: function(*args), ())

    def _argument(self, function, args):
        return self._submit(call_of, ((function, args),))

    def _in_a_dict(self, function, args):
        return self._submit(call_in, ({"call": [function], "args": args},))

    def _method(self, function, args):
        return self._submit(Holder(function).call, args)

    def _callable(self, function, args):
        return self._submit(Holder(function), args)

    def _starmap(self, function, args):
        return list(self.runner.starmap(function, [args]))[0]

    def _run(self, function, args):
        return asyncio.run(self._await(function, args))

    async def _await(self, function, args):
        return await self.runner.run(function, *args)

    def _io(self, function, args):
        return self.runner.options(kind="io").submit(function, *args).result(LONG)

    def _task(self, function, args):
        import axion
        if not isinstance(function, types.FunctionType):
            return self._submit(function, args)
        return axion.task(function).submit(self.runner, *args).result(LONG)

    def _step(self, function, args):
        import axion
        step = axion.step(function, *args)
        return self.runner.submit_workflow(step).future(step).result(LONG)

    def _chain(self, function, args):
        import axion
        if len(set(map(id, args))) < len(args):
            return self._step(function, args)  # each step's result is an object of its own
        step = axion.step(function, *[axion.step(same, arg) for arg in args])
        return self.runner.submit_workflow(step).future(step).result(LONG)

    def _joblib(self, function, args):
        import joblib

        import axion.joblib
        axion.joblib.register()
        return joblib.Parallel(n_jobs=2, backend="axion")([joblib.delayed(function)(*args)])[0]


ASYNC_STYLES = {"submit", "map", "starmap", "partial", "run", "io", "task", "step", "chain"}
ENGINE_STYLES = {"starmap", "run", "io", "task", "step", "chain"}
POOLS = {"plain": Plain, "fork": Forked, "spawn": Standard, "axion": Axion}


def call_of(call):
    function, args = call
    return function(*args)


def call_in(table):
    return table["call"][0](*table["args"])


def same(thing):
    return thing


class Holder:
    def __init__(self, function):
        self.function = function

    def call(self, *args):
        return self.function(*args)

    __call__ = call


# How what came back is described: the same text for the same value, also across processes.

class Known:
    """The classes of programs that exist before a call. A class that is not among them is a copy."""

    def __init__(self):
        self._numbers = {}
        stack, seen = [object], {object}
        while stack:
            for kind in type.__subclasses__(stack.pop()):
                if kind not in seen:
                    seen.add(kind)
                    stack.append(kind)
                    if is_of_a_program(kind):
                        self._numbers[kind] = _numbers.get(kind) or _next_number(kind)

    def name(self, kind):
        if not is_of_a_program(kind):
            return "%s.%s" % (kind.__module__, kind.__qualname__)
        return "%s#%s" % (kind.__qualname__, self._numbers.get(kind, "new"))


_numbers = {}  # class -> which one of its name it is, in the order in which they were first seen
_libraries = (os.path.dirname(os.__file__), sys.prefix)


def _next_number(kind):
    name = kind.__module__, kind.__qualname__
    number = 1 + sum(name == (each.__module__, each.__qualname__) for each in _numbers)
    _numbers[kind] = number
    return number


HEAP_TYPE = 1 << 9


def is_of_a_program(kind):
    name = getattr(kind, "__module__", None)
    if not isinstance(name, str) or name.partition(".")[0] in (__name__, "axion"):
        return False
    if name == "__main__":
        return True
    if name == "builtins":  # also of code whose globals have no __name__
        return getattr(builtins, kind.__name__, None) is not kind and bool(kind.__flags__ & HEAP_TYPE)
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is None or not hasattr(module, "__spec__") or module.__spec__ is None
    return not file.startswith(_libraries)


def describe(thing, known, above=()):
    if id(thing) in above:
        return "<above: %d>" % (len(above) - above.index(id(thing)))
    below = (*above, id(thing))
    part = functools.partial(describe, known=known, above=below)
    kind = type(thing)
    if isinstance(thing, type):
        return "class " + known.name(thing)
    if isinstance(thing, enum.Enum):
        return "%s.%s" % (known.name(kind), thing.name)
    if isinstance(thing, BaseException):
        more = dict(vars(thing))
        return "%s(%s)%s" % (known.name(kind), ", ".join(map(part, thing.args)), part(more) if more else "")
    if kind in (list, tuple):
        return ("[%s]" if kind is list else "(%s)") % ", ".join(map(part, thing))
    if kind is dict:
        return "{%s}" % ", ".join("%s: %s" % (part(key), part(each)) for key, each in thing.items())
    if kind in (set, frozenset):
        return "%s{%s}" % (kind.__name__, ", ".join(sorted(map(part, thing))))
    if isinstance(thing, types.FunctionType):
        own = thing.__globals__.get(thing.__name__) is thing
        return "function %s%s" % (thing.__qualname__, " of the program" if own else "")
    if isinstance(thing, types.MethodType):
        return "method %s of %s" % (thing.__func__.__qualname__, part(thing.__self__))
    if isinstance(thing, types.ModuleType):
        return "module %s%s" % (thing.__name__, "" if sys.modules.get(thing.__name__) is thing else ", not the module")
    if is_of_a_program(kind):
        return "%s<%s>" % (known.name(kind), part(_content(thing)))
    if kind is object:
        return "object"
    return re.sub(" at 0x[0-9a-f]+", "", repr(thing))


def _content(thing):
    content = {}
    for base in (int, float, str, bytes, tuple, list, dict, set, frozenset):
        if isinstance(thing, base):
            content["itself"] = base(thing)
    for name in sorted(getattr(thing, "__dict__", {})):
        content[name] = vars(thing)[name]
    for name in sorted(copyreg._slotnames(type(thing))):
        if hasattr(thing, name):
            content[name] = getattr(thing, name)
    return content


session = Session()
