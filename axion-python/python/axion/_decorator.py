"""`@axion.task`."""

import functools

from ._names import goes_by_name
from ._packing import code_of
from ._step import step


class TaskFunction:
    """A function with options: called, it is the function; `submit` and `run` send it to an engine, `step` makes it a
    step of a workflow.

        @axion.task(timeout=5, retries=2)
        def load(url): ...

        load.submit(engine, "https://…").result()
    """

    def __init__(self, fn, options):
        functools.update_wrapper(self, fn)
        self.__wrapped__ = fn
        self._options = options

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance, owner=None):
        """Binds a method to its object, with the same options."""
        bind = getattr(type(self.__wrapped__), "__get__", None)
        if instance is None or bind is None:
            return self
        return TaskFunction(bind(self.__wrapped__, instance, owner), self._options)

    @property
    def __code__(self):
        """The function's code: the package and the worker see by it whether a call gives a coroutine."""
        return code_of(self.__wrapped__)

    def __reduce__(self):
        return getattr(self, "__qualname__") if goes_by_name(self) else (TaskFunction, (self.__wrapped__, self._options))

    def _sent(self):
        """The object that a worker calls: this one if the worker can import it by its name, else the plain function."""
        return self if goes_by_name(self) else self.__wrapped__

    def submit(self, engine, /, *args, **kwargs):
        """The same as `engine.options(…).submit(function, …)`."""
        return engine.options(**self._options).submit(self._sent(), *args, **kwargs)

    async def run(self, engine, /, *args, **kwargs):
        """The same as `await engine.options(…).run(function, …)`."""
        return await engine.options(**self._options).run(self._sent(), *args, **kwargs)

    def step(self, /, *args, **kwargs):
        """The same as `axion.step(function, …)`, with these options."""
        return step(self, *args, **kwargs)

    def map(self, engine, /, *iterables, **how):
        """The same as `engine.options(…).map(function, …)`."""
        return engine.options(**self._options).map(self._sent(), *iterables, **how)


def task(fn=None, /, **options):
    """Sets options of `Engine.options` for every submission of a function."""
    if fn is None:
        return lambda fn: TaskFunction(fn, options)
    return TaskFunction(fn, options)
