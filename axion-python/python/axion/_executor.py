"""A `concurrent.futures.Executor` on an engine of its own."""

import concurrent.futures
import os
import time
from collections import deque
from itertools import islice

from ._code import Coder, pack, pack_value
from ._engine import _SHORTLY, _WAIT, Engine, EngineConfig
from ._future import Future
from ._options import pool_options
from ._packing import CALL, EACH
from .errors import InitializerFailed


# What a task prints is kept whole until it is shown, up to a bound that only a mistake reaches (L9).
_SHOWN = {"captured_output_limit": 16 << 20, "record_limit": 40 << 20}


class Executor(concurrent.futures.Executor):
    """Calls functions in worker processes, as `concurrent.futures.ProcessPoolExecutor` does.

    In addition, a worker that dies affects only the task that it ran, `future.kill()` ends a running task, lambdas,
    closures and functions of `__main__` need no guard, and `submit` waits while the queue is full.

    Args:
        max_workers: the number of worker processes; None: one for each processor.
        initializer, initargs: called once in each worker, before its first task. If it fails, the tasks fail and the
            executor is broken.
        max_tasks_per_child: the number of tasks that a worker runs before another one takes its place; None: no limit.
        kind: "cpu": one task at a time in each worker; "io": many, in threads.
        pool: the name of the pool. `pools` among `config` declares it, as in
            `Executor(2, pool="gpu", pools={"gpu": {"kind": "cpu"}})`. Excludes `kind`.
        main: as for `Engine`.
        block: whether `submit` waits while the queue (`input_queue_size`) is full. Otherwise it raises `SubmitError`.
        show_output: whether this process prints the output of a task when the task has ended. `future.record` has the
            output in any case.
        config: further settings of the engine, by name.
    """

    def __init__(self, max_workers=None, mp_context=None, initializer=None, initargs=(), *,
                 max_tasks_per_child=None, kind=None, pool=None, main=None, show_output=True, block=True,
                 **config):
        if max_workers is None:
            max_workers = _processors()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if kind not in ("cpu", "io", None):
            raise ValueError("kind is \"cpu\" or \"io\", not %r" % (kind,))
        if pool is not None:
            pool_options(kind, pool)
        pool = pool or kind or "cpu"
        child = {} if max_tasks_per_child is None else {"max_tasks_per_worker": max_tasks_per_child}
        shown = _SHOWN if show_output else {}
        patience = {} if block else {"max_queue_full_retries": 0}
        keys = {"autoscaler": "off", "input_queue_size": 10_000, **patience, **shown, **_pool_keys(pool, max_workers, child, config)}
        self._max_workers = max_workers
        self._engine = Engine(EngineConfig(**keys), main=main)
        self._engine._finishes_at_exit = True
        self._engine._shows_output = show_output
        self._call = Coder(self._engine._surroundings, CALL, initializer, initargs)
        self._each = Coder(self._engine._surroundings, EACH, initializer, initargs)
        self._wait = _WAIT if block else _SHORTLY
        self._has_initializer = initializer is not None
        self._broken = None
        self._shut = False
        self._options = self._engine.options(pool=pool)._native
        self._engine.start()

    def submit(self, fn, /, *args, **kwargs):
        """Calls `fn(*args, **kwargs)` in a worker. Returns an `axion.Future`."""
        return self._enter(self._call, fn, pack(args, kwargs, fn))

    def _enter(self, coder, fn, payload):
        if self._broken is not None:
            raise InitializerFailed("the executor is broken: %s" % self._broken, "initializer_failed")
        if self._shut or self._engine._closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = _InitializerFuture(self) if self._has_initializer else None
        return self._engine._submit(coder, fn, payload, self._options, self._wait, future)

    def _submit_chunk(self, fn, chunk):
        return self._enter(self._each, fn, pack_value(chunk, fn))

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """As `concurrent.futures.Executor.map` of Python 3.14: yields the results in the order of the items.

        It takes all items at once, unless `buffersize` limits the chunks in flight. See also `Engine.map`."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else timeout + time.monotonic()
        items = zip(*iterables)
        submit_chunk = self._submit_chunk
        if getattr(self.submit, "__func__", None) is not Executor.submit:
            # A subclass that overrides `submit` sees every call, as with the standard executors.
            def submit_chunk(fn, chunk):
                return self.submit(_call_each, fn, chunk)

        def chunks():
            while chunk := list(islice(items, chunksize)):
                yield submit_chunk(fn, chunk)

        source = chunks()
        in_flight = deque(source if buffersize is None else islice(source, buffersize))

        def results():
            try:
                while in_flight:
                    left = None if end is None else end - time.monotonic()
                    values = in_flight[0].result(left)
                    in_flight.popleft()
                    if buffersize is not None:
                        in_flight.extend(islice(source, 1))
                    # Keep no reference to a value that the reader has.
                    values.reverse()
                    while values:
                        yield values.pop()
            finally:
                for future in in_flight:
                    future.cancel()

        return results()

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Accepts no more tasks. With `wait`, returns when all tasks are done and the workers have ended; without it,
        they finish in the background. `cancel_futures` cancels the tasks that have not started."""
        self._shut = True
        engine = self._engine
        if cancel_futures and engine._inbox is not None and not engine._forked:
            for future in list(engine._inbox.futures.values()):
                future.cancel()
        if wait:
            engine.shutdown()
        else:
            import threading

            threading.Thread(target=engine.shutdown, name="axion-shutdown", daemon=True).start()

    def __reduce__(self):
        raise TypeError("an axion.Executor lives in one process and cannot be pickled")


def _call_each(fn, chunk):
    return [fn(*arguments) for arguments in chunk]


class _InitializerFuture(Future):
    """A future of an executor with an initializer: it marks the executor as broken before its own result is set."""

    def __init__(self, executor):
        super().__init__(executor._engine)
        self._executor = executor

    def _finish(self, result, exception):
        if isinstance(exception, InitializerFailed):
            self._executor._broken = exception
        super()._finish(result, exception)


def _processors():
    try:
        return len(os.sched_getaffinity(0)) or 1
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def _pool_keys(pool, workers, child, config):
    """The settings of an engine whose only workers are those of one pool; `child` are settings of its processes."""
    keys = {of + key: workers if of == pool else 0 for of in ("cpu", "io") for key in ("_bound_count", "_bound_max")}
    if pool in ("cpu", "io"):
        return {**keys, **({pool + "_bound_worker": child} if child else {}), **config}
    pools = config.get("pools") or {}
    if pool not in pools:
        raise ValueError("unknown pool %r: declare it, as in `pools={%r: {\"kind\": \"cpu\"}}`" % (pool, pool))
    idle = {name: {**settings, "workers": 0} for name, settings in pools.items()}
    return {**keys, **config, "pools": {**idle, pool: {**child, **pools[pool], "workers": workers}}}
