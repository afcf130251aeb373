"""What the older Axion promised beyond the examples in its documents, which `test_seed_texts.py` runs."""

import axion
import pytest


def test_c0_3_an_error_in_a_script_is_reported(engine, script, tmp_path):
    def error(source=None, path=None):
        task = axion.Task(path or script(source, "bad.py"))
        return engine.get_result(engine.submit_task(task), timeout=30).error

    missing = error("x = 1")
    assert missing.code == "entry_missing" and "main" in str(missing) and "bad.py" in str(missing)
    assert error(path=str(tmp_path / "nowhere.py")).code == "script_not_found"
    assert error("def main(:").code == "script_syntax"
    raised = error("def main(params, context):\n    raise ValueError('bad')")
    assert (raised.code, raised.exception, raised.message) == ("exception", "ValueError", "bad")
    assert "line 2" in raised.traceback


def test_c0_1_a_result_that_is_not_there_in_time_is_found_later(engine, script, gate):
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)\n    return 'late'")
    task_id = engine.submit_task(axion.Task(path, {"gate": gate.path}))
    assert engine.get_result(task_id, timeout=0.05) is None
    assert engine.get_result(task_id, timeout=0) is None
    gate.open()
    assert engine.get_result(task_id, timeout=30).data == "late"
    assert engine.get_result(task_id, timeout=30).data == "late", "and again"


def test_c0_5_each_refusal_has_its_code(script, gate):
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)")
    task = axion.Task(path, {"gate": gate.path}, axion.TaskType.CPU_BOUND)
    engine = axion.Engine(cpu_bound_count=1, cpu_bound_max=1, input_queue_size=1, cancel_grace=0)
    with pytest.raises(axion.EngineError) as caught:
        engine.submit_task(task)
    assert (caught.value.code, caught.value.legacy_code) == ("not_started", "ENG002")
    with engine:
        with pytest.raises(axion.EngineError) as caught:
            engine.start()
        assert (caught.value.code, caught.value.legacy_code) == ("already_started", "ENG001")
        with pytest.raises(axion.TaskError) as caught:
            for _ in range(10):
                engine.submit_task(axion.Task(path, {"gate": gate.path}, axion.TaskType.CPU_BOUND))
        assert (caught.value.code, caught.value.legacy_code) == ("queue_full", "TASK001")
        with pytest.raises(axion.EngineError, match="no task with this id") as caught:
            engine.get_result(axion._axion.new_task_id(), timeout=5)
        assert caught.value.code == "result_unknown"
        assert engine.shutdown(wait=False) >= 1
    with pytest.raises(axion.EngineError) as caught:
        engine.submit(pow, 1, 2)
    assert caught.value.code == "shutting_down"


def test_a_task_with_dependencies_is_not_run_without_them(engine, script):
    task = axion.Task(script("def main(params, context): return 1"), dependencies=[axion._axion.new_task_id()])
    with pytest.raises(axion.SubmitError) as caught:
        engine.submit_task(task)
    assert caught.value.code == "unknown_dependency"


def test_c0_4_what_is_no_setting_or_no_value_is_refused():
    with pytest.raises(axion.ConfigError, match="did you mean `input_queue_size`"):
        axion.EngineConfig(input_queue_sizes=3)
    for key, value in (("input_queue_size", 0), ("input_queue_size", -1), ("log_level", "LOUD"),
                       ("cpu_bound_count", "many"), ("enable_metrics", 3), ("cpu_bound_task_limit", None),
                       ("frame_limit", "1 XB"), ("input_queue_size", object())):
        with pytest.raises(axion.ConfigError, match=key):
            axion.EngineConfig(**{key: value})
    with pytest.raises(axion.ConfigError, match="cpu_bound_worker"):
        axion.EngineConfig(cpu_bound_worker={"nices": 3})
    assert axion.EngineConfig(frame_limit="2 MiB", start_timeout="1.5 s").frame_limit == 2 << 20


def test_c0_11_five_thousand_unread_results_are_not_lost(engine, script):
    path = script("def main(params, context):\n    return params['n']")
    ids = []
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, input_queue_size=6000) as engine:
        ids = [engine.submit_task(axion.Task(path, {"n": n}, axion.TaskType.CPU_BOUND)) for n in range(5000)]
        assert [engine.get_result(task_id, 30).data for task_id in ids] == list(range(5000))


def test_l9_waiters_that_gave_up_are_taken_away(engine, script, gate):
    """Also those of tasks that are queued, unknown, or ended; a limit of 0 finds what has ended."""
    path = script("def main(params, context):\n    open(params['gate'], 'rb', 0).read(1)\n    return 'late'")
    queued = [engine.submit_task(axion.Task(path, {"gate": gate.path})) for _ in range(20)]
    unfinished = len(engine._inbox.futures)
    for task_id in queued:
        assert engine.get_result(task_id, timeout=0) is None
        assert engine.get_result(task_id, timeout=0.001) is None
    for _ in range(20):
        with pytest.raises(axion.EngineError, match="no task with this id"):
            engine.get_result(axion._axion.new_task_id(), timeout=0)
    assert len(engine._inbox.futures) == unfinished
    for _ in queued:
        gate.open()
    assert engine.get_result(queued[-1], timeout=30).data == "late"
    for task_id in queued[:-1]:
        engine.get_result(task_id, timeout=30)
        assert engine.get_result(task_id, timeout=0).data == "late"
    assert len(engine._inbox.futures) == 0
