"""What type checkers know of the package: nothing here is run, `make test-python` has it checked."""

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, Future
from multiprocessing import Process
from threading import Thread
from typing import Any, assert_type

import axion
from axion.scheduler import SchedulerResult, scheduled_task, task_scheduler


def area(width: float, height: float = 1.0) -> float:
    return width * height


async def load(url: str) -> bytes:
    return url.encode()


@axion.task(timeout=5, retries=2, slots=2, concurrency=("api", 2))
def length(text: str) -> int:
    return len(text)


@axion.task
async def loaded(url: str) -> bytes:
    return await load(url)


class Loader:
    @axion.task(timeout=5)
    def length(self, text: str) -> int:
        return len(text)

    @axion.task
    async def loaded(self, url: str) -> bytes:
        return await load(url)


def methods(engine: axion.Engine, loader: Loader) -> None:
    assert_type(loader.length("x"), int)
    assert_type(loader.length.submit(engine, "x"), axion.Future[int])
    assert_type(loader.loaded.submit(engine, "x"), axion.Future[bytes])
    loader.length.submit(engine, 5)  # pyright: ignore[reportArgumentType]


def functions(engine: axion.Engine) -> None:
    assert_type(engine.submit(area, 2.0, height=3.0), axion.Future[float])
    assert_type(engine.submit(load, "a").result(1), bytes)
    assert_type(engine.options(timeout=5, kind="io").submit(area, 2.0), axion.Future[float])
    assert_type(engine.options(cpu=50, memory="1 GiB", rate="10/s").submit(area, 2.0), axion.Future[float])
    assert_type(engine.map(area, [1.0, 2.0], chunksize=2), Iterator[float])
    assert_type(engine.options(retries=1).starmap(area, [(1.0, 2.0)]), Iterator[float])
    assert_type(length("four"), int)
    assert_type(length.submit(engine, "four"), axion.Future[int])
    assert_type(loaded.submit(engine, "a").result(), bytes)
    done, _ = axion.wait_for_all([engine.submit(area, 2.0)], timeout=1)
    assert_type({future.result() for future in done}, set[float])
    engine.submit(area, "2")  # pyright: ignore[reportArgumentType, reportCallIssue]
    length.submit(engine, 4)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def coroutines(engine: axion.Engine) -> None:
    assert_type(await engine.run(area, 2.0), float)
    assert_type(await engine.run(load, "a"), bytes)
    assert_type(await engine.submit(area, 2.0), float)
    assert_type(await loaded.run(engine, "a"), bytes)
    assert_type(engine.amap(load, ["a"]), AsyncIterator[bytes])


def executors() -> None:
    with axion.Executor(2, initializer=print, max_tasks_per_child=3, nice=5) as executor:
        standard: Executor = executor
        assert_type(standard.submit(area, 2.0).result(), float)
        assert_type(executor.submit(area, 2.0), axion.Future[float])
        assert_type(executor.map(area, [2.0], timeout=1, buffersize=4), Iterator[float])


def scripts(engine: axion.Engine) -> None:
    task = axion.Task.create("script.py", {"value": 1}, axion.TaskType.IO_BOUND, timeout=5)
    result = engine.get_result(engine.submit_task(task), timeout=1)
    if result is not None:
        assert_type(result.is_success, bool)
        assert_type(result.duration, float)
    assert_type(engine.get_health().overall_health, axion.Health)


async def workflows(engine: axion.Engine) -> None:
    first = axion.Task("first.py", name="first")
    second = axion.Task("second.py", {"it": axion.Ref(first, "rows[0]")}, dependencies=[first, "named"], run_if="all_done")
    workflow = engine.submit_workflow(axion.chain(first, [second]), on_failure="stop")
    assert_type(workflow.result(), dict[str, Any])
    assert_type(await workflow, dict[str, Any])
    assert_type([engine.get_result(task_id) for task_id in workflow], list[axion.Result | None])
    assert_type((workflow["first"], workflow[0], workflow[:1]), tuple[str, str, list[str]])
    assert_type(axion.wait_for_any([workflow]).done, set[Future[dict[str, Any]]])
    assert_type(await engine.run_workflow([first]), dict[str, Any])
    engine.submit_flow("flow.toml", {"n": 1}).wait(1)
    engine.submit_workflow([first], on_failure="stopp")  # pyright: ignore[reportArgumentType]


async def function_steps(engine: axion.Engine) -> None:
    script = axion.Task("first.py", name="first")
    first = axion.step(area, script, height=3.0)
    second = axion.step(load, first).options(name="second", retries=2, run_if="all_done", map_over=axion.Ref(first, "a"))
    assert_type(first, axion.Step[float])
    assert_type(second, axion.Step[bytes])
    assert_type((length.step(first), loaded.step("a")), tuple[axion.Step[int], axion.Step[bytes]])
    workflow = engine.submit_workflow(axion.chain(first, axion.group(second, script), [script]))
    assert_type(workflow.future(first), axion.Future[float])
    assert_type(await workflow.future("first"), Any)
    assert_type(engine.submit_task(second), str)
    numbers = axion.group(axion.step(area, n) for n in range(3))
    assert_type(await engine.run_workflow(axion.chord(numbers, axion.step(sum))), dict[str, Any])
    assert_type(engine.submit_workflow(first, name="one").result(), dict[str, Any])
    axion.step(area, 1.0).options(run_if="never")  # pyright: ignore[reportArgumentType]
    axion.step(area, 1.0).options(retires=1)  # pyright: ignore[reportCallIssue]


def of_the_task() -> None:
    context = axion.current()
    if context is not None:
        context.progress(0.5, "half")
        assert_type(context.attempt, int)


def scheduled() -> None:
    one = scheduled_task(Process, "one", pow, (2, 5), continual=True)
    two = scheduled_task(Thread, "two", print, (one.return_value["part"],), dependencies=[one])
    assert_type(task_scheduler((one, two), processes=2), SchedulerResult)
