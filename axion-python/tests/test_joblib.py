"""joblib on Axion."""

import os
import select

import pytest

joblib = pytest.importorskip("joblib")

import helpers  # noqa: E402

import axion.joblib  # noqa: E402
from axion._map import next_size  # noqa: E402


@pytest.fixture(autouse=True)
def backend():
    axion.joblib.register()
    with joblib.parallel_config(backend="axion", n_jobs=2):
        yield


def test_parallel_gives_the_results_in_order():
    assert joblib.Parallel()(joblib.delayed(helpers.double)(n) for n in range(500)) == list(range(0, 1000, 2))


def test_calls_are_put_together_by_the_time_that_they_take(monkeypatch):
    import time

    with joblib.Parallel() as parallel:
        assert parallel(joblib.delayed(time.sleep)(0.05) for _ in range(12)) == [None] * 12
        assert parallel.n_dispatched_batches == 12
    # Of a microsecond each, whatever this machine takes; joblib itself makes twenty of what is left at the end.
    monkeypatch.setattr(axion.joblib, "next_size", lambda items, _, growth: next_size(items, items / 1e6, growth))
    with joblib.Parallel() as parallel:
        assert parallel(joblib.delayed(abs)(-n) for n in range(10_000)) == list(range(10_000))
        assert parallel.n_dispatched_batches < 200
        monkeypatch.undo()
        parallel(joblib.delayed(time.sleep)(0.05) for _ in range(40))
        assert parallel.n_dispatched_batches == 40, "what was quick says nothing of the next call"


def test_a_short_call_does_not_wait_for_joblib_to_look_again(monkeypatch):
    import time
    import types

    naps = []
    clock = types.SimpleNamespace(time=time.time, sleep=lambda seconds: (naps.append(seconds), time.sleep(seconds)))
    monkeypatch.setattr(axion.joblib, "_LOOK_SECONDS", 60)  # whatever this machine takes
    with joblib.Parallel() as parallel:
        monkeypatch.setattr(joblib.parallel, "time", clock)
        assert parallel(joblib.delayed(abs)(-n) for n in range(100)) == list(range(100))
        with pytest.raises(ZeroDivisionError):
            parallel(joblib.delayed(divmod)(1, n) for n in (1, 0, 1))
        assert naps == []


def test_lambdas_and_large_arrays():
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.full(100_000, n) for n in range(4)]
    assert joblib.Parallel()(joblib.delayed(lambda a: int(a.sum()))(a) for a in arrays) == [0, 100_000, 200_000, 300_000]


def test_large_arrays_are_shared_and_read_only_as_with_loky():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(400_000.0)

    def look(a):
        return float(a[5]), a.flags.writeable

    assert joblib.Parallel()(joblib.delayed(look)(array) for _ in range(3)) == [(5.0, False)] * 3
    assert joblib.Parallel(max_nbytes=None)(joblib.delayed(look)(array) for _ in range(2)) == [(5.0, True)] * 2
    assert joblib.Parallel()(joblib.delayed(look)(array[:100]) for _ in range(2)) == [(5.0, True)] * 2


def test_results_as_they_come():
    results = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(helpers.double)(n) for n in range(50))
    assert sorted(results) == list(range(0, 100, 2))


def test_an_exception_is_raised_and_the_next_call_works():
    with joblib.Parallel() as parallel:
        with pytest.raises(ZeroDivisionError):
            parallel(joblib.delayed(divmod)(1, n) for n in (1, 0, 1))
        assert parallel(joblib.delayed(helpers.double)(n) for n in range(3)) == [0, 2, 4]


def test_a_worker_that_dies_is_reported():
    with pytest.raises(axion.WorkerLost):
        joblib.Parallel()(joblib.delayed(helpers.die)() for _ in range(2))


def test_the_threads_of_libraries_are_bounded(monkeypatch):
    def threads():
        return os.environ.get("OMP_NUM_THREADS")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    each = str(max(joblib.cpu_count() // 2, 1))
    assert joblib.Parallel()(joblib.delayed(threads)() for _ in range(2)) == [each] * 2
    with joblib.parallel_config(backend="axion", n_jobs=2, inner_max_num_threads=3):
        assert joblib.Parallel()(joblib.delayed(threads)() for _ in range(2)) == ["3"] * 2
    own = {"nice": 1, "env": {"OMP_NUM_THREADS": "7"}}
    with joblib.parallel_config(backend="axion", n_jobs=2, cpu_bound_worker=own):
        assert joblib.Parallel()(joblib.delayed(threads)() for _ in range(2)) == ["7"] * 2


def test_parallel_calls_within_parallel_calls():
    def outer(count):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(count)))

    assert joblib.Parallel()(joblib.delayed(outer)(count) for count in range(5)) == [0, 0, 1, 3, 6]


def test_calls_after_each_other_share_their_workers():
    def pids():
        return set(joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(20)))

    # The first call may end before the second worker is ready.
    used = set().union(*(pids() for _ in range(8)))
    assert len(used) <= 2
    with joblib.parallel_config(backend="axion", n_jobs=3):
        assert not pids() & used, "another number of workers"


def test_calls_at_the_same_time_have_workers_of_their_own():
    with joblib.Parallel() as outer:
        (first,) = outer(joblib.delayed(os.getpid)() for _ in range(1))
        (second,) = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(1))
    assert first != second


def test_what_parallel_is_given_are_settings_as_those_of_the_backend():
    numpy = pytest.importorskip("numpy")
    for _ in range(2):  # whether these are the same is not known: arrays have no one truth
        how = {"initializer": helpers.keep, "initargs": (numpy.arange(3),)}
        assert joblib.Parallel(n_jobs=2, **how)([joblib.delayed(helpers.kept)()])[0].tolist() == [0, 1, 2]
    with pytest.raises(axion.ConfigError, match="initialiser"):
        joblib.Parallel(n_jobs=2, initialiser=helpers.keep)([joblib.delayed(helpers.kept)()])


def test_idle_workers_end():
    with joblib.parallel_config(backend="axion", n_jobs=2, idle_worker_timeout=0):
        (pid,) = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(1))
    watch = os.pidfd_open(pid) if os.path.exists("/proc/%d" % pid) else None
    if watch is not None:
        assert select.select([watch], [], [], helpers.LONG)[0]
        os.close(watch)


def test_a_call_in_a_forked_process_starts_workers_of_its_own():
    joblib.Parallel()(joblib.delayed(abs)(n) for n in range(4))
    child = os.fork()
    if child == 0:
        try:
            right = joblib.Parallel()(joblib.delayed(abs)(-n) for n in range(4)) == [0, 1, 2, 3]
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_backend_is_known_in_workers():
    def outer(count):
        calls = (joblib.delayed(abs)(-n) for n in range(count))
        return sum(joblib.Parallel(n_jobs=2, backend="axion")(calls))

    assert joblib.Parallel()(joblib.delayed(outer)(count) for count in range(5)) == [0, 0, 1, 3, 6]


def test_no_result_in_time(gate):
    from multiprocessing import TimeoutError

    with pytest.raises((TimeoutError, axion.TaskTimeout)):
        joblib.Parallel(timeout=0.2)(joblib.delayed(helpers.at_gate)(gate.path) for _ in range(2))
