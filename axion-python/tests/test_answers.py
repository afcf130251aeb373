"""`get_result` gives one answer each time, and everything that is refused is refused alike (C1, C2, C6, C10, C11)."""

import datetime
import threading
import time
import uuid

import pytest
from helpers import LONG, at_gate, double

import axion

OPEN = "def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)\n    return 'late'"


def code_of(call, *args, **kwargs):
    with pytest.raises(axion.AxionError) as caught:
        call(*args, **kwargs)
    return caught.value.code


def test_c2_a_poll_gives_the_same_answer_each_time(engine, script, gate):
    task_id = engine.submit_task(axion.Task(script(OPEN), {"gate": gate.path}))
    assert [engine.get_result(task_id, timeout=0) for _ in range(20)] == [None] * 20
    gate.open()
    assert engine.get_result(task_id, timeout=LONG).data == "late"
    assert [engine.get_result(task_id, timeout=0).data for _ in range(20)] == ["late"] * 20
    assert engine.get_result(uuid.UUID(task_id), timeout=0).data == "late"
    unknown = axion._axion.new_task_id()
    for timeout in (0, 0, 0.001, 1, None, 0):
        assert code_of(engine.get_result, unknown, timeout=timeout) == "result_unknown"


@pytest.mark.parametrize("wrong", ["", "no id", "1234", None, 7, ["a"]])
def test_c2_what_is_no_id_is_said_to_be_none(engine, wrong):
    for timeout in (0, 1, None):
        assert code_of(engine.get_result, wrong, timeout=timeout) == "id_invalid"
    assert code_of(engine.cancel, wrong) == "id_invalid"


def test_c1_l1_after_the_shutdown_there_is_an_answer():
    engine = axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=1)
    assert code_of(engine.get_result, axion._axion.new_task_id()) == "not_started"
    with engine:
        future = engine.submit(double, 4)
        assert future.result(LONG) == 8
        assert engine.get_result(future.task_id, timeout=LONG).data == 8
    for timeout in (0, 0.001, 1, None, 0):
        assert code_of(engine.get_result, future.task_id, timeout=timeout) == "engine_stopped"
        assert code_of(engine.get_result, axion._axion.new_task_id(), timeout=timeout) == "engine_stopped"
    assert code_of(engine.get_result, "no id") in ("id_invalid", "engine_stopped")


@pytest.mark.parametrize("wait", [True, False])
def test_c1_l1_who_waits_during_the_shutdown_is_woken(gate, wait):
    engine = axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=1, cancel_grace=0).start()
    future = engine.submit(at_gate, gate.path, "through")
    gate.begun()
    answers = []

    def ask(timeout):
        try:
            answers.append(engine.get_result(future.task_id, timeout).record.outcome)
        except axion.EngineError as error:
            answers.append(error.code)

    threads = [threading.Thread(target=ask, args=(timeout,)) for timeout in (None, LONG) * 3]
    threads.append(threading.Thread(target=engine.shutdown, args=(wait,)))
    for thread in threads:
        thread.start()
    if wait:
        gate.open()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()
    # A thread that came late finds the engine gone.
    assert len(answers) == 6 and set(answers) <= {"succeeded" if wait else "cancelled", "engine_stopped"}


@pytest.fixture
def full(gate):
    """An engine whose one worker is busy and whose queue has no room."""
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, io_bound_max=0, input_queue_size=2,
                      max_queue_full_retries=0, cancel_grace=0) as engine:
        running = engine.submit(at_gate, gate.path)
        gate.begun()
        waiting = [engine.submit(double, n) for n in range(2)]
        yield engine
        gate.open()
        assert running.result(LONG) is None and [future.result(LONG) for future in waiting] == [0, 2]


def refused(call):
    with pytest.raises(axion.SubmitError) as caught:
        call()
    return caught.value


def test_c6_a_workflow_is_refused_like_a_task_if_the_queue_is_full(full, script):
    path = script("def main(params, context): return 1")
    task = refused(lambda: full.submit_task(axion.Task(path, task_type=axion.TaskType.CPU_BOUND)))
    steps = [axion.Task(path, task_type=axion.TaskType.CPU_BOUND)]
    workflow = refused(lambda: full.submit_workflow(steps))
    assert (task.code, task.legacy_code) == (workflow.code, workflow.legacy_code) == ("queue_full", "TASK001")
    assert str(workflow) == str(task)
    counts = full.get_status()["components"]["input_queue"]["metrics"]
    assert (counts["size"], counts["total_put"], counts["total_dropped"]) == (2, 3, 2), "nothing half registered"
    assert code_of(full.get_result, steps[0].id, timeout=0) == "result_unknown"


def test_c6_c10_a_workflow_is_refused_like_a_task_if_the_machine_is_overloaded(script):
    path = script("def main(params, context): return 1")
    with axion.Engine(io_bound_count=1, max_memory_percent=0.015) as engine:
        with engine.watch("overload_started") as watch:
            if engine.get_health().components["input_queue"].health is axion.Health.HEALTHY:
                next(watch)
        task = refused(lambda: engine.submit_task(axion.Task(path)))
        workflow = refused(lambda: engine.submit_workflow([axion.Task(path)]))
        assert (task.code, task.legacy_code) == (workflow.code, workflow.legacy_code) == ("overloaded", "TASK002")
        assert "`max_memory_percent` is 0.015;" in str(workflow) and "submit_wait" not in str(workflow)


def test_c11_an_executor_may_refuse_instead_of_waiting(gate):
    with axion.Executor(1, block=False, input_queue_size=2, cancel_grace=0) as executor:
        running = executor.submit(at_gate, gate.path)
        gate.begun()
        waiting = [executor.submit(double, n) for n in range(2)]
        assert refused(lambda: executor.submit(double, 3)).code == "queue_full"
        gate.open()
        assert running.result(LONG) is None and [future.result(LONG) for future in waiting] == [0, 2]


def test_c10_an_option_that_does_not_exist_is_named_as_the_caller_wrote_it(engine, script):
    calls = [lambda: engine.options(retires=1), lambda: axion.step(double).options(retires=1),
             lambda: axion.Task(script(OPEN), retires=1)]
    for call in calls:
        with pytest.raises(TypeError, match="unexpected keyword argument 'retires': did you mean 'retries'") as caught:
            call()
        assert "__new__" not in str(caught.value)
    with pytest.raises(TypeError) as caught:
        engine.options(retries="many")
    assert "retries" in str(caught.value) and "__new__" not in str(caught.value)


def test_c1_4_automatic_counts_and_the_quietest_log():
    config = axion.EngineConfig(cpu_bound_count=None, io_bound_count=None, log_level="CRITICAL")
    assert config.cpu_bound_count >= 1 and config.io_bound_count >= 1 and config.log_level == "CRITICAL"
    assert axion.EngineConfig().cpu_bound_count == 1


def test_c11_eta_is_the_earliest_start(engine):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=200)
    for eta in (soon, soon.astimezone().replace(tzinfo=None)):
        assert engine.options(eta=eta).submit(started_at).result(LONG) >= soon.timestamp() - 0.001
    assert engine.options(eta=datetime.datetime(2000, 1, 1)).submit(double, 2).result(LONG) == 4
    with pytest.raises(TypeError, match="eta"):
        engine.options(eta=5)
    with pytest.raises(axion.ConfigError, match="`delay` and `eta`"):
        engine.options(eta=soon, delay=1)


def started_at():
    return time.time()
