"""Functions of all kinds, their values, and how they fail."""

import functools
import operator
import os
import subprocess
import sys
import time

import helpers
import pytest

import axion


def test_functions_of_modules_builtins_lambdas_and_closures(engine):
    base = 40
    calls = [(helpers.add, (1, 2), 3), (pow, (2, 5), 32), (lambda n: n + 1, (1,), 2), (lambda n: base + n, (2,), 42)]
    assert [engine.submit(fn, *args).result() for fn, args, _ in calls] == [wanted for _, _, wanted in calls]


def test_code_with_slices(engine):
    # From Python 3.14 on they may be constants.
    def middle(text):
        return text[1:3], text[::2]

    assert engine.submit(middle, "abcd").result() == ("bc", "ac")
    assert engine.submit(helpers.call_code, middle.__code__, "abcd").result() == ("bc", "ac")


def test_bound_methods_callables_and_partials(engine):
    counter = helpers.Counter(3)
    assert engine.submit(counter.plus, 4).result() == 7
    assert engine.submit(counter, 4).result() == 12
    assert engine.submit(functools.partial(helpers.add, 1), 2).result() == 3


def test_a_closure_is_taken_as_it_is_at_each_submit(engine):
    box = {"n": 1}
    first = engine.submit(lambda: box["n"]).result()
    box["n"] = 2
    number = [5]

    def read():
        return number[0]

    seen = [engine.submit(read).result()]
    number[0] = 6
    seen.append(engine.submit(read).result())
    assert (first, seen) == (1, [5, 6])


def test_a_global_of_main_is_taken_as_it_is_at_each_submit(tmp_path):
    source = """
import axion
level = 1
def read(): return level
def plain(n): return n + 1
with axion.Engine(cpu_bound_count=1) as engine:
    first = engine.submit(read).result()
    level = 2
    print(first, engine.submit(read).result(), engine.submit(plain, 1).result(), engine.submit(plain, 2).result())
"""
    path = tmp_path / "main.py"
    path.write_text(source)
    done = subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=helpers.LONG)
    assert (done.stdout, done.stderr) == ("1 2 2 3\n", "")


def test_an_object_of_a_local_class_comes_back_as_one(engine):
    class Point:
        def __init__(self, x):
            self.x = x

    moved = engine.submit(lambda point: Point(point.x + 1), Point(1)).result()
    assert type(moved) is Point and moved.x == 2


def test_coroutine_functions_run_in_the_io_pool_and_wait_together(engine):
    # More than it has threads.
    futures = [engine.submit(helpers.meet, 30, n) for n in range(30)]
    assert [future.result() for future in futures] == list(range(30))
    assert futures[0].record.worker_id.startswith("io-")


def test_keyword_arguments_named_like_ours(engine):
    assert engine.submit(dict, fn=1, self=2, engine=3).result() == {"fn": 1, "self": 2, "engine": 3}


def test_an_exception_is_raised_with_the_remote_traceback_as_its_cause(engine):
    with pytest.raises(KeyError) as caught:
        engine.submit(helpers.fail_with, KeyError("key")).result()
    assert caught.value.args == ("key",)
    assert "in fail_with" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_rebuilt_arrives_as_text(engine):
    with pytest.raises(axion.RemoteError) as caught:
        engine.submit(helpers.fail_stubbornly).result()
    error = caught.value
    assert (error.code, error.exception, error.message) == ("exception", "helpers.Stubborn", "this and that")
    assert "fail_stubbornly" in error.traceback and "fail_stubbornly" in str(error.__cause__)


def test_leaving_the_interpreter_is_an_outcome(engine):
    with pytest.raises(axion.RemoteError) as caught:
        engine.submit(sys.exit, 3).result()
    assert caught.value.code == "system_exit"


def test_arguments_without_a_pickle_fail_at_submit_and_results_without_one_fail_the_task(engine):
    with pytest.raises(axion.SubmitError, match="generator") as caught:
        engine.submit(print, (n for n in ()))
    assert caught.value.code == "not_picklable"
    with pytest.raises(axion.RemoteError, match="generator") as caught:
        engine.submit(lambda: (n for n in ())).result()
    assert caught.value.code == "result_not_serializable"
    assert engine.submit(helpers.double, 2).result() == 4


def test_what_is_no_function_is_refused(engine):
    with pytest.raises(TypeError, match="not callable"):
        engine.submit(7)


def test_large_buffers_go_there_and_back_and_can_be_written_to(engine):
    data = bytearray(os.urandom(1 << 20))
    back = engine.submit(lambda it: it[::-1], data).result()
    assert back == data[::-1]
    array = pytest.importorskip("numpy")
    numbers = array.arange(1 << 17, dtype=float)

    def change(numbers):
        numbers[0] = 7
        return numbers

    back = engine.submit(change, numbers).result()
    assert (back[0], numbers[0], len(back)) == (7, 0, 1 << 17)
    back[1] = 3


def test_a_result_that_is_too_large_fails_the_task():
    with axion.Engine(cpu_bound_count=1, io_bound_count=0, payload_limit="2 MiB") as engine:
        assert len(engine.submit(bytes, 1 << 20).result()) == 1 << 20
        with pytest.raises(axion.RemoteError, match="payload_limit") as caught:
            engine.submit(bytes, 2 << 20).result()
        assert caught.value.code == "result_too_large"


def test_a_worker_that_dies_costs_its_task_alone(engine):
    future = engine.options(max_worker_losses=0).submit(helpers.die)
    with pytest.raises(axion.WorkerLost) as caught:
        future.result()
    assert caught.value.code == "worker_lost" and caught.value.post_mortem
    assert engine.submit(helpers.double, 2).result() == 4


def test_the_folder_and_the_paths_are_the_callers(engine, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def here(): return __name__")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    assert engine.submit(only_here.here).result() == "only_here"
    assert engine.submit(os.getcwd).result() == os.getcwd()


def test_the_context_of_a_task(engine):
    def who():
        context = axion.current()
        return context.attempt, context.worker_id, context.task_id

    future = engine.submit(who)
    attempt, worker, task = future.result()
    assert (attempt, worker, task) == (1, future.record.worker_id, future.task_id)
    assert axion.current() is None
    assert engine.options(kind="io").submit(who).result()[1].startswith("io-")


def test_options(engine, tmp_path):
    log = tmp_path / "attempts"

    def flaky(path):
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            raise ValueError("not yet")
        return os.path.getsize(path)

    assert engine.options(retries=5, retry_delay=0.01).submit(flaky, str(log)).result() == 3
    with pytest.raises(axion.TaskTimeout) as caught:
        engine.options(timeout=0.2).submit(time.sleep, 30).result()
    assert caught.value.code == "timeout" and isinstance(caught.value, TimeoutError)
    with pytest.raises(axion.TaskTimeout) as caught:
        engine.options(soft_timeout=0.1).submit(time.sleep, 30).result()
    assert caught.value.code == "soft_timeout"
    with pytest.raises(axion.ConfigError, match="`priority` must be a whole number from 0, the most urgent, to 9, not 11"):
        engine.options(priority=11)
    with pytest.raises(axion.ConfigError, match="`kind` must be"):
        engine.options(kind="gpu")
    with pytest.raises(axion.ConfigError, match="`retry_delay` has no effect without `retries`"):
        engine.options(retry_delay=1)
    for name in ("retries", "max_worker_losses"):
        with pytest.raises(axion.ConfigError, match="`%s` must be a whole number from 0 to [0-9]+, not -1" % name):
            engine.options(**{name: -1})


@pytest.mark.parametrize("name", ["timeout", "soft_timeout", "ttl"])
def test_a_limit_of_nothing_is_refused_as_everywhere(engine, name):
    for seconds in (0, 0.0, -1, -0.5, 1e-12, float("nan"), float("inf")):
        with pytest.raises(axion.ConfigError, match="`%s` must be a time above 0: seconds as a number, not" % name):
            engine.options(**{name: seconds})
        with pytest.raises(axion.ConfigError, match="`%s` must be a time above 0" % name):
            axion.Task("script.py", **{name: seconds})
    assert engine.options(**{name: 1000}).submit(helpers.double, 4).result(helpers.LONG) == 8


def test_a_soft_limit_that_would_never_speak_is_refused(engine):
    for soft in (5, 6):
        with pytest.raises(axion.ConfigError, match="`soft_timeout` has no effect together with a `timeout` that is not longer"):
            engine.options(timeout=5, soft_timeout=soft)
    assert engine.options(timeout=1000, soft_timeout=999).submit(helpers.double, 4).result(helpers.LONG) == 8


def test_numbers_that_make_no_sense_are_refused(engine):
    for slots in (0, -1, 1 << 40):
        with pytest.raises(axion.ConfigError, match="`slots` must be a whole number from 1 to 4294967295, not"):
            engine.options(slots=slots)
    for name, values in (("retry_factor", (-1, float("nan"))), ("retry_jitter", (-0.1, 1.1, float("nan")))):
        for value in values:
            with pytest.raises(axion.ConfigError, match="`%s` must be a number, 0 .*, not" % name):
                engine.options(retries=1, **{name: value})
    for name in ("delay", "retry_delay", "retry_max_delay"):
        with pytest.raises(axion.ConfigError, match="`%s` must be seconds as a number, 0 or more, not -1" % name):
            engine.options(retries=1, **{name: -1})
    assert engine.options(retries=1, retry_delay=0, delay=0).submit(helpers.double, 4).result(helpers.LONG) == 8


def test_c4_6_five_retries_are_six_executions(engine, tmp_path):
    log = tmp_path / "attempts"

    def fail(path):
        with open(path, "a") as file:
            file.write("x")
        raise ValueError("never")

    with pytest.raises(ValueError):
        engine.options(retries=5, retry_delay=0.001).submit(fail, str(log)).result()
    assert log.read_text() == "x" * 6


def test_tasks_decorated_with_their_options(engine):
    @axion.task(kind="io", timeout=20)
    def where(n):
        return n, axion.current() is not None

    assert where(1) == (1, False)
    future = where.submit(engine, 2)
    assert future.result() == (2, True) and future.record.worker_id.startswith("io-")


def test_c4_3_wait_for_all_and_for_any(engine, gate):
    open_at_once = engine.submit(helpers.double, 1)
    waiting = engine.submit(helpers.at_gate, gate.path)
    assert axion.wait_for_any([open_at_once, waiting]) == ({open_at_once}, {waiting})
    assert axion.wait_for_all([open_at_once, waiting], timeout=0.05) == ({open_at_once}, {waiting})
    gate.open()
    assert axion.wait_for_all([open_at_once, waiting]).done == {open_at_once, waiting}


def test_a_running_task_can_be_killed(engine, gate):
    future = engine.submit(helpers.at_gate, gate.path)
    gate.begun()
    assert not future.cancel() and future.running()
    assert future.kill()
    with pytest.raises(axion._futures.CancelledError):
        future.result(helpers.LONG)
    assert future.cancelled() and not future.kill()


def test_more_functions_than_a_worker_keeps(engine):
    functions = [eval("lambda: %d" % n) for n in range(600)]
    wanted = list(range(600))
    assert [future.result() for future in [engine.submit(fn) for fn in functions]] == wanted
    assert [future.result() for future in [engine.submit(fn) for fn in functions]] == wanted


def test_a_function_may_be_an_argument_first_and_a_task_later(executor):
    """What needs no number when it is called may have one already."""
    def square(value):
        return value * value

    assert executor.submit(operator.call, functools.partial(square, 3)).result() == 9
    with axion.Executor(1) as other:
        assert list(other.map(square, range(3))) == [0, 1, 4]
