"""dask on Axion: it takes an executor as its scheduler."""

import pytest

dask = pytest.importorskip("dask")

import helpers  # noqa: E402

import axion  # noqa: E402


def test_a_graph_runs_in_the_executor():
    parts = [dask.delayed(helpers.double)(n) for n in range(20)]
    pids = [dask.delayed(helpers.worker_pid)(n) for n in range(4)]
    with axion.Executor(2) as executor:
        total, where = dask.compute(dask.delayed(sum)(parts), pids, scheduler=executor)
    assert total == sum(range(0, 40, 2))
    import os

    assert os.getpid() not in where
