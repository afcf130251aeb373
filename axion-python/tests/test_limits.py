"""Needs, keys and rates from Python."""

import time

import pytest

import axion


def span(seconds=0.05):
    begun = time.monotonic()
    time.sleep(seconds)
    return begun, time.monotonic()


def most_at_once(spans):
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


def test_a_key_is_shared_by_functions_of_both_pools_and_scripts(engine, script):
    one = engine.options(concurrency=("api.example", 1))
    futures = [one.submit(span) for _ in range(3)]
    futures += [engine.options(kind="io", concurrency=("api.example", 1)).submit(span) for _ in range(3)]
    path = script("import time\ndef main(params, context):\n b = time.monotonic(); time.sleep(0.05)\n"
                  " return [b, time.monotonic()]")
    task = axion.Task(path, concurrency=("api.example", 1))
    engine.submit_task(task)
    spans = [future.result() for future in futures] + [tuple(engine.get_result(task.id).data)]
    assert most_at_once(spans) == 1


def test_slots_are_reserved_and_a_decorator_may_ask_for_them(engine):
    @axion.task(slots=2)
    def alone():
        return span()

    futures = [alone.submit(engine) for _ in range(2)] + [engine.submit(span)]
    assert most_at_once([future.result() for future in futures]) == 1


def test_a_rate_is_the_functions_own_unless_it_is_shared(engine):
    engine.submit(span).result()
    begun = time.monotonic()
    futures = [engine.options(rate="20/s").submit(span, 0) for _ in range(3)]
    futures += [engine.options(rate=("calls", "20/s")).submit(span, 0) for _ in range(3)]
    for future in futures:
        future.result()
    # Two more starts of each, side by side: 100 ms, not 250.
    assert 0.09 <= time.monotonic() - begun


def test_estimates_of_the_machine(engine):
    half = engine.options(kind="io", cpu=60, memory="1 MiB")
    assert most_at_once([future.result() for future in [half.submit(span) for _ in range(3)]]) == 1


def test_what_can_never_be_met_is_refused_with_what_is_missing(engine):
    with pytest.raises(axion.SubmitError, match="short of 1 process and 20 % CPU") as refused:
        engine.options(slots=3, cpu=120).submit(span)
    assert refused.value.code == "needs_impossible"
    with pytest.raises(axion.SubmitError) as refused:
        engine.options(concurrency=("api.example", 0)).submit(span)
    assert refused.value.code == "limits_invalid"


@pytest.mark.parametrize("wrong", [{"rate": "often"}, {"rate": ("key", "0/s")}, {"memory": "much"}, {"cpu": -1}])
def test_what_cannot_be_read_says_what_is_expected(engine, wrong):
    with pytest.raises(axion.ConfigError, match=next(iter(wrong))):
        engine.options(**wrong)


def test_the_steps_of_a_workflow_share_keys_with_tasks_and_need_slots(engine, script):
    path = script("import time\ndef main(params, context):\n b = time.monotonic(); time.sleep(0.05)\n"
                  " return [b, time.monotonic()]")
    keyed = {"concurrency": ("api.example", 1)}
    steps = [axion.Task(path, **keyed), axion.Task(path, task_type=axion.TaskType.CPU_BOUND, slots=2, **keyed)]
    futures = [engine.options(**keyed).submit(span) for _ in range(2)]
    engine.submit_workflow(steps)
    spans = [tuple(engine.get_result(step.id, timeout=30).data) for step in steps]
    assert most_at_once(spans + [future.result() for future in futures]) == 1
    with pytest.raises(axion.WorkflowRefused, match="short of 1 process") as refused:
        engine.submit_workflow([axion.Task(path, task_type=axion.TaskType.CPU_BOUND, slots=3)])
    assert refused.value.code == "needs_impossible"
