"""A joblib backend: scikit-learn and other users of joblib then run their work in Axion's workers.

    import joblib, axion.joblib

    axion.joblib.register()
    with joblib.parallel_config(backend="axion", n_jobs=4):
        joblib.Parallel()(joblib.delayed(abs)(n) for n in range(-9, 0))
"""

# joblib's own classes have no types, and those that are guessed from them are too narrow.
# pyright: reportIncompatibleMethodOverride=false

import contextlib
import operator
import os
import threading
import time

from joblib._parallel_backends import ParallelBackendBase
from joblib.disk import memstr_to_bytes
from joblib.parallel import register_parallel_backend

from ._code import pack_value
from ._executor import Executor, _processors
from ._map import next_size
from ._mirror import Arrays

_GROWTH = 4  # at most, from batch to batch: the next calls may be slower, and a batch of thousands would delay all
_JOBLIBS_OWN = frozenset(("temp_folder", "prefer", "require", "verbose", "context"))  # what `Parallel` passes to every backend
_IDLE_SECONDS = 300  # after which kept workers end, as those of loky
_LOOK_SECONDS = 0.01  # joblib looks for results, and sleeps as long as this before it looks again


class AxionBackend(ParallelBackendBase):
    """Runs joblib's batches in an `axion.Executor`. The size of a batch follows the run time of calls in the workers,
    which the engine measures; joblib's own rule also counts the time that batches wait."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(self, nesting_level=None, inner_max_num_threads=None, **config):
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._config = config
        self._lease = self._arrays = None
        self._size = 1
        self._pending = set()  # the batches whose ends joblib has not been told
        self._all_done = threading.Event()

    def effective_n_jobs(self, n_jobs):
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return max(_processors() + 1 + n_jobs, 1) if n_jobs < 0 else n_jobs

    def configure(self, n_jobs=1, parallel=None, idle_worker_timeout=None, max_nbytes="1M", mmap_mode="r", **config):
        """Arrays of `max_nbytes` and more are shared by all calls and read-only in workers, as with loky, if `mmap_mode`
        is "r"; otherwise each call has a copy. The rest of what `Parallel` was given are settings of the executor."""
        n_jobs = self.effective_n_jobs(n_jobs)
        config = {**self._config, **{name: value for name, value in config.items() if name not in _JOBLIBS_OWN}}
        if n_jobs == 1 and not config:
            from joblib.parallel import FallbackToBackend, SequentialBackend

            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._arrays = memstr_to_bytes(max_nbytes) if isinstance(max_nbytes, str) else max_nbytes
        if mmap_mode != "r":
            self._arrays = None
        idle = config.pop("idle_worker_timeout", None) if idle_worker_timeout is None else idle_worker_timeout
        self._lease = _kept.lease(self._settings(config, n_jobs), _IDLE_SECONDS if idle is None else idle)
        return n_jobs

    def _settings(self, config, workers):
        """The arguments of the executor that a call needs."""
        # Limits the threads of numeric libraries, so that all workers together use as many as there are processors.
        # Variables that the program sets itself take precedence.
        config, env = {**config, "max_workers": workers}, self._prepare_worker_env(workers)
        config.pop("idle_worker_timeout", None)
        pool = config.get("pool")
        if pool in (None, "cpu", "io"):
            key = (pool or config.get("kind") or "cpu") + "_bound_worker"
            config[key] = _with_env(config.get(key, {}), env)
        elif pool in (pools := config.get("pools") or {}):
            config["pools"] = {**pools, pool: _with_env(pools[pool], env)}
        return config

    def start_call(self):
        self._size = 1

    def submit(self, func, callback=None):
        # The batch is an argument: as a function, each batch would have to be sent as new code.
        executor, arrays = self._lease.executor, self._arrays
        payload = pack_value(((func,), {}), arrays=None if arrays is None else Arrays(arrays, all_kinds=True))
        future = executor._enter(executor._call, operator.call, payload)
        future._axion_items = len(func)  # pyright: ignore[reportAttributeAccessIssue]
        self._pending.add(future)

        def tell(future):
            try:
                if callback is not None:
                    callback(future)  # which may submit the next batch
            finally:
                self._pending.discard(future)
                if not self._pending:
                    self._all_done.set()

        future.add_done_callback(tell)
        return future

    @contextlib.contextmanager
    def retrieval_context(self):
        """joblib calls this when it has submitted the first batches, and retrieves the results within.

        It would find few results now and sleep. The batches of a short call are done before that, so this waits for them."""
        if not self.parallel.return_generator:
            self._all_done.clear()
            if self._pending:  # after `clear`: what ends from now on sets the event
                self._all_done.wait(_LOOK_SECONDS)
        yield

    def retrieve_result_callback(self, future):
        if future.record is not None:
            self._size = next_size(future._axion_items, future.record.duration, _GROWTH)
        return future.result()

    def compute_batch_size(self):
        return self._size

    def terminate(self):
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def abort_everything(self, ensure_ready=True):
        """Ends running calls, too: their results are not needed."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.abort()
            if ensure_ready:
                self._lease = _kept.lease(lease.settings, lease.idle_seconds)


class _Lease:
    """An executor for one call of `Parallel`, or for the calls within one `with Parallel()`."""

    def __init__(self, keeper, settings, idle_seconds):
        self.settings, self.idle_seconds = settings, idle_seconds
        self.executor = Executor(**settings)
        self.pid = os.getpid()
        self._keeper = keeper
        self.timer = None
        self.idle_since = 0.0

    def is_usable(self):
        engine = self.executor._engine
        return self.pid == os.getpid() and not engine._closing and self.executor._broken is None

    def release(self):
        """Gives the executor back. What the call has left in the queue is cancelled."""
        for future in list(self.executor._engine._inbox.futures.values()):
            future.cancel()
        self._keeper.give_back(self)

    def abort(self):
        _stop_timer(self)
        self.executor._engine.shutdown(wait=False)


class _Keeper:
    """Keeps the workers of the last call for the next one with the same settings, as loky does.

    Calls that run at the same time have executors of their own; one of them is kept.

    A timer is a thread, and calls may be short. So the one of a kept executor runs on while the executor is in use, and
    goes on with what is left of the idle time when it fires.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._idle = None

    def lease(self, settings, idle_seconds):
        with self._lock:
            kept, self._idle = self._idle, None
        if kept is not None:
            if _are_same(kept.settings, settings) and kept.is_usable():
                if idle_seconds < kept.idle_seconds:
                    _stop_timer(kept)  # it would fire too late
                kept.idle_seconds = idle_seconds
                return kept
            _end(kept)
        return _Lease(self, settings, idle_seconds)

    def give_back(self, lease):
        if not lease.is_usable():
            _stop_timer(lease)
            return
        lease.idle_since = time.monotonic()
        with self._lock:
            other, self._idle = self._idle, lease
            if lease.timer is None:
                self._start_timer(lease, lease.idle_seconds)
        if other is not None:
            _end(other)

    def _start_timer(self, lease, seconds):
        lease.timer = threading.Timer(seconds, self._check, (lease,))
        lease.timer.daemon = True
        lease.timer.name = "axion-joblib-idle"
        lease.timer.start()

    def _check(self, lease):
        """The lease's timer has fired."""
        with self._lock:
            if lease.timer is not threading.current_thread():
                return
            lease.timer = None
            if self._idle is not lease:
                return  # it gets another timer when it is given back
            left = lease.idle_since + lease.idle_seconds - time.monotonic()
            if left > 0:
                self._start_timer(lease, left)
                return
            self._idle = None
        _end(lease)

    def forget(self):
        """In a forked process: the workers are the parent's."""
        self._lock, self._idle = threading.Lock(), None


def _are_same(one, other):
    try:
        return bool(one == other)
    except Exception:  # arguments of an initializer, as arrays
        return False


def _stop_timer(lease):
    timer, lease.timer = lease.timer, None
    if timer is not None:
        timer.cancel()


def _end(lease):
    """Ends the workers of an executor that nobody uses."""
    _stop_timer(lease)
    if lease.is_usable():
        lease.executor.shutdown(wait=True, cancel_futures=True)


_kept = _Keeper()
os.register_at_fork(after_in_child=_kept.forget)


def _with_env(settings, env):
    """Settings of processes with these environment variables beneath their own."""
    return {**settings, "env": {**env, **settings.get("env", {})}}


def register(make_default=False):
    """Registers the backend "axion" with joblib."""
    register_parallel_backend("axion", AxionBackend, make_default=make_default)
