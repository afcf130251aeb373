"""`@axion.task`."""

import functools

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

    def submit(self, engine, /, *args, **kwargs):
        """As `engine.options(…).submit(function, …)`."""
        return engine.options(**self._options).submit(self, *args, **kwargs)

    async def run(self, engine, /, *args, **kwargs):
        """As `await engine.options(…).run(function, …)`."""
        return await engine.options(**self._options).run(self, *args, **kwargs)

    def step(self, /, *args, **kwargs):
        """As `axion.step(function, …)`, with these options."""
        return step(self, *args, **kwargs)

    def map(self, engine, /, *iterables, **how):
        """As `engine.options(…).map(function, …)`."""
        return engine.options(**self._options).map(self, *iterables, **how)


def task(fn=None, /, **options):
    """Gives a function options for its submission: those of `Engine.options`."""
    if fn is None:
        return lambda fn: TaskFunction(fn, options)
    return TaskFunction(fn, options)
