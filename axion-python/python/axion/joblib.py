"""A joblib backend: scikit-learn and other users of joblib then run their work in Axion's workers.

    import joblib, axion.joblib

    axion.joblib.register()
    with joblib.parallel_config(backend="axion", n_jobs=4):
        joblib.Parallel()(joblib.delayed(abs)(n) for n in range(-9, 0))
"""

# joblib's own classes have no types, and those that are guessed from them are too narrow.
# pyright: reportIncompatibleMethodOverride=false

import operator

from joblib._parallel_backends import ParallelBackendBase
from joblib.parallel import register_parallel_backend

from ._executor import Executor, _processors
from ._map import next_size

_GROWTH = 4  # at most, from batch to batch: the next calls may be slower, and a batch of thousands would delay all


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
        self._executor = None
        self._size = 1

    def effective_n_jobs(self, n_jobs):
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return max(_processors() + 1 + n_jobs, 1) if n_jobs < 0 else n_jobs

    def configure(self, n_jobs=1, parallel=None, **_):
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1 and not self._config:
            from joblib.parallel import FallbackToBackend, SequentialBackend

            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._executor = self._start(n_jobs)
        return n_jobs

    def _start(self, workers):
        # Limits the threads of numeric libraries, so that all workers together use as many as there are processors.
        # Variables that the program sets itself take precedence.
        pool, env = self._config.get("pool"), self._prepare_worker_env(workers)
        if pool in (None, "cpu", "io"):
            key = (pool or self._config.get("kind") or "cpu") + "_bound_worker"
            return Executor(workers, **{**self._config, key: _with_env(self._config.get(key, {}), env)})
        pools = self._config.get("pools") or {}
        if pool in pools:
            pools = {**pools, pool: _with_env(pools[pool], env)}
        return Executor(workers, **{**self._config, "pools": pools})

    def start_call(self):
        self._size = 1

    def submit(self, func, callback=None):
        # The batch is an argument: as a function, each batch would have to be sent as new code.
        future = self._executor.submit(operator.call, func)
        future._axion_items = len(func)  # pyright: ignore[reportAttributeAccessIssue]
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future):
        if future.record is not None:
            self._size = next_size(future._axion_items, future.record.duration, _GROWTH)
        return future.result()

    def compute_batch_size(self):
        return self._size

    def terminate(self):
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def abort_everything(self, ensure_ready=True):
        """Ends running calls, too: their results are not needed."""
        executor, self._executor = self._executor, None
        if executor is not None:
            workers = executor._max_workers
            executor._engine.shutdown(wait=False)
            if ensure_ready:
                self._executor = self._start(workers)


def _with_env(settings, env):
    """Settings of processes with these environment variables beneath their own."""
    return {**settings, "env": {**env, **settings.get("env", {})}}


def register(make_default=False):
    """Registers the backend "axion" with joblib."""
    register_parallel_backend("axion", AxionBackend, make_default=make_default)
