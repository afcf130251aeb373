"""Pools by name: `pool=` wherever a pool can be chosen, and a pool that the engine does not have."""

import os
import time

import pytest

import axion
from axion import Engine, EngineConfig, Executor, Task

from helpers import LONG

POOLS = {"gpu": {"kind": "cpu", "workers": 1, "env": {"DEVICE": "0"}}, "web": {"kind": "io", "workers": {"max": 1}}}


def where():
    import axion.context

    return axion.context.current().worker_id, os.environ.get("DEVICE")


async def where_async():
    return where()


@pytest.fixture(scope="module")
def engine():
    with Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, io_bound_max=1, pools=POOLS) as engine:
        yield engine


def test_functions_run_in_the_pool_of_their_options(engine):
    assert engine.options(pool="gpu").submit(where).result(LONG) == ("gpu-0", "0")
    assert engine.options(pool="web").submit(where_async).result(LONG) == ("web-0", None)
    assert engine.submit(where).result(LONG) == ("cpu-0", None)
    assert axion.task(pool="gpu")(where).submit(engine).result(LONG)[0] == "gpu-0"
    assert list(engine.options(pool="gpu").map(lambda _: where()[0], range(3))) == ["gpu-0"] * 3


def test_scripts_and_steps_name_their_pool(engine, tmp_path):
    script = tmp_path / "where.py"
    script.write_text("def main(params, context):\n    return context.worker_id\n")
    task = Task.create(script, pool="gpu")
    assert task.pool == "gpu" and Task.create(script).pool == "io"
    assert engine.get_result(engine.submit_task(task), LONG).data == "gpu-0"
    step = axion.step(where).options(pool="web", name="where")
    assert engine.submit_workflow([step]).result(LONG)["where"] == ("web-0", None)


def test_the_status_has_every_pool_by_its_name(engine):
    engine.options(pool="gpu").submit(where).result(LONG)
    pool = engine.get_status()["components"]["process_pool"]["metrics"]["pools"]
    assert sorted(pool) == ["cpu", "gpu", "io", "web"]
    assert (pool["gpu"]["kind"], pool["gpu"]["ready"], list(pool["gpu"]["workers"])) == ("cpu", 1, ["gpu-0"])
    assert engine.get_component_status("gpu_pool").health.value == "healthy"


def test_a_pool_that_the_engine_does_not_have_is_refused_with_those_that_it_has(engine, tmp_path):
    known = "unknown pool `gpo`: the engine has the pools cpu, io, gpu, web"
    for submit in (
        lambda: engine.options(pool="gpo").submit(where),
        lambda: engine.submit_task(Task.create(tmp_path / "a.py", pool="gpo")),
        lambda: engine.submit_workflow([axion.step(where).options(pool="gpo")]),
    ):
        with pytest.raises(axion.SubmitError, match=known) as refused:
            submit()
        assert refused.value.code == "unknown_pool"
    with pytest.raises(axion.ConfigError, match="invalid pool name \"GPU\""):
        engine.options(pool="GPU")
    with pytest.raises(axion.ConfigError, match="`kind` and `pool` both choose the pool"):
        engine.options(pool="gpu", kind="cpu")


def test_an_executor_can_have_a_pool_of_its_own():
    with Executor(1, pool="gpu", pools=POOLS, max_tasks_per_child=5) as executor:
        assert executor.submit(where).result(LONG) == ("gpu-0", "0")
    with pytest.raises(ValueError, match="unknown pool 'gpu': declare it"):
        Executor(1, pool="gpu")


def test_the_settings_of_pools_are_read_checked_and_shown():
    config = EngineConfig(pools=POOLS)
    assert config.pools["gpu"]["workers"] == {"min": 1, "max": 1}
    assert config.pools["web"]["workers"] == {"min": 0, "max": 1}
    assert config.pools["gpu"]["env"] == {"DEVICE": "0"}
    for pools, words in (
        ({"gpu": {"wrokers": 1}}, "there is no setting `pools.gpu.wrokers`"),
        ({"gpu": {"workers": {"least": 1}}}, "`pools.gpu.workers`"),
        ({"gpu": {"workers": -1}}, "`pools.gpu.workers`"),
        ({"cpu": {"workers": 1}}, "every engine has the pool `cpu`"),
        ({"GPU": {"workers": 1}}, "invalid pool name"),
    ):
        with pytest.raises(axion.ConfigError, match=words):
            EngineConfig(pools=pools)


def wander(folder):
    before = os.getcwd()
    os.chdir(folder)
    time.sleep(0.001)  # what a shorter task changes stays
    return before


def test_restore_puts_the_folder_back_after_functions_too():
    for restore in (False, True):
        with Engine(cpu_bound_count=1, io_bound_count=0, cpu_bound_worker={"restore": restore}) as engine:
            found = [engine.submit(wander, folder).result(LONG) for folder in ("/usr", "/")]
        assert found == [os.getcwd(), os.getcwd() if restore else "/usr"]
