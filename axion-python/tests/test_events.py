"""Events, progress and readiness (C8, C9)."""

import asyncio
import gc
import logging
import queue
import threading
import weakref

import pytest
from helpers import LONG, at_gate, double

import axion


def reporting(gate):
    context = axion.current()
    context.progress(0.25, "begun")
    context.progress(0.5, "half")
    at_gate(gate)
    return "done"


def silent(gate):
    at_gate(gate)


def test_c8_a_future_says_how_far_its_task_is(engine, gate):
    with engine.watch("progress") as watch:
        future = engine.submit(reporting, gate.path)
        while next(watch).data["fraction"] < 0.5:
            pass
        assert future.progress == axion.Progress(0.5, "half") == (0.5, "half")
    gate.begun()
    gate.open()
    assert future.result(LONG) == "done" and future.progress is None
    other = engine.submit(silent, gate.path)
    gate.begun()
    assert other.progress is None
    gate.open()
    other.result(LONG)


def test_c8_a_watch_gives_facts_and_notices_in_their_order(engine, gate):
    with engine.watch() as watch:
        future = engine.submit(reporting, gate.path)
        gate.open()
        future.result(LONG)
        seen = []
        for event in watch:
            if event.task_id == future.task_id:
                seen.append(event)
            if event.kind == "task_finished" and event.task_id == future.task_id:
                break
    kinds = [event.kind for event in seen]
    assert kinds[0] == "task_accepted" and kinds[-1] == "task_finished" and "task_sent" in kinds
    progress = [(event.data["fraction"], event.data["message"]) for event in seen if event.kind == "progress"]
    assert progress == [(0.25, "begun"), (0.5, "half")]
    assert "succeeded" in str(seen[-1].data["record"]["outcome"])
    assert next(watch, None) is None, "it is closed"


def test_c8_a_watch_is_filtered_by_kind_and_task(engine, gate):
    first = engine.submit(silent, gate.path)
    with engine.watch(["task_finished"]) as finished, engine.watch(tasks=first) as one:
        other = engine.submit(double, 1)
        other.result(LONG)
        gate.begun()
        gate.open()
        first.result(LONG)
        assert [next(finished).task_id, next(finished).task_id] == [other.task_id, first.task_id]
        assert {next(one).task_id} == {first.task_id}


def test_c8_a_watch_is_an_async_iterator(engine):
    async def main():
        watch = engine.watch("task_finished")
        future = engine.submit(double, 4)
        async for event in watch:
            assert event.task_id == future.task_id
            break
        waiting = asyncio.ensure_future(watch.__anext__())
        await asyncio.sleep(0)  # it waits now
        watch.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
        # A wait that is given up takes no event along.
        watch = engine.watch("task_finished")
        waiting = asyncio.ensure_future(watch.__anext__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        future = engine.submit(double, 5)
        assert (await watch.__anext__()).task_id == future.task_id
        watch.close()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_c8_callbacks_follow_the_steps_of_a_workflow(engine, caplog):
    events = queue.Queue()

    def listener(event):
        events.put(event)
        if event.kind == "workflow_accepted":
            raise ValueError("a listener that fails")

    watch = engine.on_event(listener, ["workflow_accepted", "step_changed", "workflow_finished"])
    first = axion.step(double, 2).options(name="first")
    workflow = engine.submit_workflow([axion.step(double, first).options(name="second")])
    workflow.result(LONG)
    seen = []
    while not seen or seen[-1].kind != "workflow_finished":
        seen.append(events.get(timeout=LONG))
    watch.close()
    assert seen[0].kind == "workflow_accepted" and {event.data["workflow"] for event in seen} == {workflow.id}
    states = [(event.data["step"], event.data["state"]) for event in seen if event.kind == "step_changed"]
    assert [state for step, state in states if step == "first"][-1] == "succeeded"
    assert states.index(("first", "succeeded")) < states.index(("second", "succeeded"))
    assert "failed for the event workflow_accepted" in caplog.text


def test_c8_a_watch_of_one_workflow(engine, gate):
    workflow = engine.submit_workflow([axion.step(at_gate, gate.path)])
    gate.begun()
    with engine.watch(workflow=workflow) as own:
        engine.submit_workflow([axion.step(double, 1)]).result(LONG)
        gate.open()
        workflow.result(LONG)
        kinds = []
        while "workflow_finished" not in kinds:
            event = next(own)
            assert event.data["workflow"] == workflow.id
            kinds.append(event.kind)
    assert set(kinds) == {"step_changed", "workflow_finished"}


def test_l9_a_reader_that_is_too_slow_learns_how_much_it_missed():
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1) as engine:
        watch = engine.watch("task_accepted")
        big = b"x" * (1 << 20)
        futures = [engine.submit(len, big) for _ in range(60)]
        assert [future.result(LONG) for future in futures] == [1 << 20] * 60, "the engine does not wait for the reader"
    events = list(watch)
    missed = sum(event.data["count"] for event in events if event.kind == "facts_missed")
    assert missed > 0 and len(events) < 60


def test_a_watch_ends_with_its_engine_and_with_its_last_reference(engine):
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1) as own:
        watch = own.watch()
        list_of_it = []
        reader = threading.Thread(target=lambda: list_of_it.extend(watch))
        reader.start()
    reader.join(LONG)
    assert list_of_it[-1].kind == "engine_ended"
    with pytest.raises(axion.EngineError) as caught:
        own.watch()
    assert caught.value.code == "shutting_down"
    forgotten = engine.watch()
    engine.submit(double, 1).result(LONG)
    assert next(forgotten) is not None
    mailbox, gone = forgotten._mailbox, weakref.ref(forgotten)
    del forgotten
    gc.collect()
    assert gone() is None and mailbox._ended


def test_c9_an_engine_waits_until_it_is_ready():
    with axion.Engine(cpu_bound_count=2, io_bound_count=1, wait=True) as engine:
        health = engine.get_health()
        assert health.overall_health is axion.Health.HEALTHY
        pools = engine.get_status()["components"]["process_pool"]["metrics"]
        assert pools["cpu_bound_workers"] >= 2 and pools["io_bound_workers"] >= 1
        assert engine.wait_ready() is True and engine.wait_ready(0) is True


def test_c9_right_after_the_start_it_is_starting_and_never_degraded():
    with axion.Engine(cpu_bound_count=2, io_bound_count=1) as engine:
        seen = {engine.get_health().overall_health}
        while not engine.wait_ready(0.01):
            seen.add(engine.get_health().overall_health)
        seen.add(engine.get_health().overall_health)
        assert seen <= {axion.Health.STARTING, axion.Health.HEALTHY} and axion.Health.HEALTHY in seen


def test_c9_a_pool_that_cannot_start_says_so(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    engine = axion.Engine(python=str(python), wait=True, cpu_bound_count=1, io_bound_count=0)
    with pytest.raises(axion.EngineError) as caught:
        engine.start()
    assert caught.value.code == "not_ready" and "cpu" in str(caught.value)
    assert engine.get_status()["engine"]["is_running"] is False


def test_c8_nothing_is_logged_for_a_callback_that_works(engine, caplog):
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "axion"), engine.on_event(lambda _: done.set(), "task_finished"):
        engine.submit(double, 1).result(LONG)
        assert done.wait(LONG)
    assert "failed for the event" not in caplog.text


def test_c8_no_event_is_lost_between_two_batches(engine):
    """A fact's number follows that of the fact before it."""
    with engine.watch() as watch:
        begun = engine.submit(double, 0)
        first = next(watch)  # the reading thread begins
        for future in [begun, *(engine.submit(double, n) for n in range(600))]:
            future.result(LONG)
        numbers, finished = [first.data["id"]], 0
        for event in watch:
            if "id" in event.data:
                numbers.append(event.data["id"])
            finished += event.kind == "task_finished"
            if finished == 601:
                break
    numbers = [int(str(number).split(".")[-1]) for number in numbers]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
