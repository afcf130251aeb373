"""joblib on Axion."""

import pytest

joblib = pytest.importorskip("joblib")

import helpers  # noqa: E402

import axion.joblib  # noqa: E402


@pytest.fixture(autouse=True)
def backend():
    axion.joblib.register()
    with joblib.parallel_config(backend="axion", n_jobs=2):
        yield


def test_parallel_gives_the_results_in_order():
    assert joblib.Parallel()(joblib.delayed(helpers.double)(n) for n in range(500)) == list(range(0, 1000, 2))


def test_lambdas_and_large_arrays():
    numpy = pytest.importorskip("numpy")
    arrays = [numpy.full(100_000, n) for n in range(4)]
    assert joblib.Parallel()(joblib.delayed(lambda a: int(a.sum()))(a) for a in arrays) == [0, 100_000, 200_000, 300_000]


def test_results_as_they_come():
    results = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(helpers.double)(n) for n in range(50))
    assert sorted(results) == list(range(0, 100, 2))


def test_an_exception_is_raised_and_the_next_call_works():
    with joblib.Parallel() as parallel:
        with pytest.raises(ZeroDivisionError):
            parallel(joblib.delayed(divmod)(1, n) for n in (1, 0, 1))
        assert parallel(joblib.delayed(helpers.double)(n) for n in range(3)) == [0, 2, 4]


def test_a_worker_that_dies_is_told():
    with pytest.raises(axion.WorkerLost):
        joblib.Parallel()(joblib.delayed(helpers.die)() for _ in range(2))
