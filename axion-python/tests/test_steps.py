"""Functions as steps of workflows."""

import asyncio
import concurrent.futures
import functools
import math
import os
import pickle
import signal
import threading

import axion
import cloudpickle
import helpers
import pytest
from axion import Ref, Task, chain, chord, group, step
from axion._workflow import _names
from helpers import add, double

UPSTREAM = "def main(params, context):\n    return params"


class Own:
    """What has no JSON form."""

    def __init__(self, value):
        self.value = value

    def plus(self, other):
        return self.value + other.value


def rows(n):
    return {"rows": [{"id": n}, {"id": n + 1}]}


def error(engine, node):
    result = engine.get_result(node.id, timeout=30)
    assert not result.is_success
    return result.error


def test_a_function_gets_the_results_of_its_steps_wherever_they_stand_in_its_arguments(engine):
    one, two = step(add, 1, 2), step(rows, 5)

    def gather(first, *others, **named):
        return [first, others, named]

    last = step(gather, one, [Ref(two, "rows[1].id"), {"k": (one, two)}], own=Own(one), plain=(1, "x"))
    workflow = engine.submit_workflow([last])
    first, (others,), named = workflow.result(30)["gather"]
    assert (first, others) == (3, [6, {"k": (3, {"rows": [{"id": 5}, {"id": 6}]})}])
    assert (named["own"].value, named["plain"]) == (3, (1, "x"))
    assert [workflow.future(node).result(30) for node in (one, two)] == [3, rows(5)]


def test_every_kind_of_function_is_a_step(engine):
    start = 10
    steps = [step(lambda n: n + start, 1), step(helpers.Counter(5).plus, 1), step(helpers.Counter(5), 2),
             step(functools.partial(add, 4), b=3), step(helpers.slow_double, 4), step(math.sqrt, 9)]
    numbers = engine.submit_workflow([*steps, step(list, steps)])
    assert numbers.result(30) == {"list": [11, 6, 10, 7, 8, 3.0]}
    record = engine.get_result(steps[4].id).record
    assert record.worker_id.startswith("io-"), "an async def, in the IO pool"
    assert engine.get_result(steps[0].id).record.worker_id.startswith("cpu-")


def test_c4_5_chain_group_and_chord_of_functions(engine):
    assert engine.submit_workflow(chain(step(add, 4, 6), step(lambda n: n * 10))).result(30) == {"lambda": 100}
    numbers = group(step(double, n) for n in range(4))
    assert engine.submit_workflow(chord(numbers, step(sum))).result(30) == {"sum": 12}
    nested = chain(step(add, 1, 1), [chain(step(double), step(double)), step(str)], step(list))
    assert engine.submit_workflow(nested).result(30) == {"list": [8, "2"]}
    assert engine.submit_workflow(step(len, group(step(add, 1, 1), [step(add, 1, 2)]))).result(30) == {"len": 2}
    parts = [chain(step(add, 1, 1), step(double)), step(add, 2, 3)]
    assert engine.submit_workflow(chord(parts, step(list))).result(30) == {"list": [4, 5]}
    assert engine.submit_workflow(step(list, group([step(add, 1, 1), step(add, 2, 2)]))).result(30) == {"list": [2, 4]}
    first = step(add, 1, 2)
    explicit = chain(first, step(add, 10, first))
    assert engine.submit_workflow(explicit).result(30) == {"add-2": 13}, "it is among its arguments already"
    broken = chain(step(helpers.fail_with, KeyError("no")), step(double), last := step(double))
    assert isinstance(engine.submit_workflow(broken).future(last).exception(30), axion.DependencyFailed)


def test_an_empty_group_in_a_chain_stands_for_an_empty_list(engine):
    assert engine.submit_workflow(chord([], step(sum))).result(30) == {"sum": 0}
    first = step(add, 1, 1)
    last = step(lambda found: found).options(name="last")
    assert engine.submit_workflow(chain(first, group(), [], last)).result(30) == {"last": []}
    assert last.dependencies == [first], "in its order all the same"
    assert engine.submit_workflow(chain(chain(), step(add, 1, 1))).result(30) == {"add": 2}, "an empty chain is nothing"


def test_a_chain_adds_no_argument_to_a_step_that_names_or_maps_over_the_result(engine):
    named = chain(step(add, 1, 1).options(name="n"), step(lambda *found: found, Ref("n")).options(name="end"))
    assert engine.submit_workflow(named).result(30) == {"end": (2,)}
    for over in (lambda made: made, lambda made: {"ref": made}, lambda made: {"ref": "made"}, lambda made: Ref("made")):
        made = step(helpers.same, [1, 2]).options(name="made")
        mapped = chain(made, step(double).options(map_over=over(made)))
        assert engine.submit_workflow(mapped).result(30) == {"double": [2, 4]}


def test_a_step_may_be_in_several_chains(engine):
    first = step(add, 1, 1)
    workflow = engine.submit_workflow([chain(first, step(double)), chain(first, step(str)), first])
    assert workflow.result(30) == {"double": 4, "str": "2"} and len(workflow) == 3


class Turns:
    """A lock that says when another thread asks for it."""

    def __init__(self):
        self.asked, self._lock, self._first = threading.Event(), threading.RLock(), threading.get_ident()

    def __enter__(self):
        if threading.get_ident() != self._first:
            self.asked.set()
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


class Submits:
    """While it is pickled, another thread submits a workflow."""

    def __init__(self, submit, asked):
        self._submit, self._asked = submit, asked
        self._thread = threading.Thread(target=self._run)

    def __reduce__(self):
        self._thread.start()
        assert self._asked.wait(30)
        return int, ()

    def _run(self):
        try:
            self._workflow = self._submit()
        finally:
            self._asked.set()

    def result(self):
        self._thread.join(30)
        return self._workflow.result(30)


def test_threads_may_bring_the_same_step_along(engine, monkeypatch):
    turns, shared = Turns(), step(add, 1, 1)
    monkeypatch.setattr(engine, "_planning", turns)
    other = Submits(lambda: engine.submit_workflow([step(double, shared)]), turns.asked)
    # The first takes the shared one along, the second is pickled after that.
    assert engine.submit_workflow([step(str, shared), step(double, other)]).result(30) == {"str": "2", "double": 0}
    assert other.result() == {"double": 4}


def test_in_a_coroutine(engine):
    async def main():
        found = await engine.run_workflow(chain(step(add, 1, 1), step(double)))
        workflow = engine.submit_workflow([one := step(add, 2, 2)])
        return found, await workflow.future(one)

    assert asyncio.run(main()) == ({"double": 4}, 4)


def test_scripts_and_functions_take_each_others_results(engine, script):
    echo = script(UPSTREAM)
    first = Task(echo, {"n": [1, 2]}, name="first")
    made = step(rows, Ref(first, "n[1]")).options(name="made")
    last = Task(echo, {"it": Ref(made, "rows[0].id"), "all": made}, dependencies=[made])
    whole = step(lambda params: params["upstream_results"], last)
    workflow = engine.submit_workflow([whole, last], upstream="names")
    assert workflow.result(30) == {"lambda": {"made": rows(2)}}
    assert engine.get_result(last.id).data["it"] == 2 and engine.get_result(last.id).data["all"] == rows(2)
    chained = chain(Task(echo, {"n": 1}), step(lambda params: params["n"]), Task(echo, name="end"))
    assert 1 in engine.submit_workflow(chained).result(30)["end"]["upstream_results"].values()


@pytest.mark.parametrize("value, json", [((1, (2, "x")), [1, [2, "x"]]), ({1: (None,)}, {"1": [None]}), (True, True),
                                         ([1, {"a": -0.5}], [1, {"a": -0.5}]), ("\ud800", "\ud800")])
def test_plain_data_arrives_as_it_was_and_scripts_get_its_json_form(engine, script, value, json):
    made = step(helpers.same, value)
    given, read = step(helpers.same, made), Task(script(UPSTREAM), {"it": made}, name="read")
    workflow = engine.submit_workflow([given, read])
    assert workflow.future(given).result(30) == value and type(workflow.future(given).result()) is type(value)
    assert workflow.result(30)["read"]["it"] == json


def test_the_rules_of_steps_read_plain_data(engine):
    ready = step(rows, 1).options(name="ready")
    yes = step(add, 1, 1).options(when={"ref": ready, "path": "rows[0].id", "op": "==", "value": 1}, name="yes")
    no = step(add, 1, 1).options(when={"all": [Ref(ready, "rows[0].id"), {"not": Ref("ready", "rows")}]}, name="no")
    workflow = engine.submit_workflow([yes, no])
    assert workflow.result(30) == {"yes": 2}
    states = {found["name"]: found["state"] for found in workflow.status()["steps"]}
    assert states == {"ready": "succeeded", "yes": "succeeded", "no": "skipped"}


def test_map_and_reduce(engine, script):
    listed = step(rows, 1)
    mapped = step(lambda row, plus: row["id"] + plus, plus=10).options(map_over=Ref(listed, "rows"))
    named = step(lambda k, row: (k, row["id"]), "k").options(map_over={"ref": listed, "path": "rows", "as": "row"})
    of_script = step(double).options(map_over={"ref": Task(script("def main(p, c): return [1, 2]")), "max_parallel": 1})
    ends = engine.submit_workflow([step(sum, mapped), step(list, named), step(max, of_script)]).result(30)
    assert ends == {"sum": 23, "list": [("k", 1), ("k", 2)], "max": 4}
    over = Task(script(UPSTREAM, "over.py"), map_over={"ref": "same", "as": "n"}, name="over")
    assert [found["n"] for found in engine.submit_workflow([step(helpers.same, (3, 4)), over]).result(30)["over"]] == [3, 4]


def test_instances_may_return_what_has_no_json_form(engine):
    made = step(Own).options(map_over=step(helpers.same, [1, 2]))
    values = step(lambda found: [one.value for one in found], made)
    first = step(str, Ref(made, "[0]"))
    workflow = engine.submit_workflow([values, first])
    assert workflow.future(values).result(30) == [1, 2]
    assert error(engine, first).code == "result_not_plain" and "Own at [0]" in str(error(engine, first))


class Witness:
    """Notes in which processes it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return note, (self.path,)


def note(path):
    with open(path, "a") as file:
        file.write("%d\n" % os.getpid())
    return Witness(path)


def test_what_is_not_plain_reaches_functions_whole_and_is_not_unpickled_on_the_way(engine, tmp_path):
    made = step(Witness, str(tmp_path / "seen"))
    users = [step(lambda witness: type(witness).__name__, made) for _ in range(3)]
    assert engine.submit_workflow(users).result(30) == dict.fromkeys(("lambda", "lambda-2", "lambda-3"), "Witness")
    seen = (tmp_path / "seen").read_text().split()
    assert len(seen) == 3 and str(os.getpid()) not in seen


def test_a_step_that_reads_into_a_result_without_json_fails_and_names_its_type(engine, script):
    made = step(Own, 1).options(name="made")
    readers = [step(str, Ref(made, "value")), step(str, 1).options(when=made), step(str).options(map_over=made),
               Task(script(UPSTREAM), dependencies=[made]), Task(script(UPSTREAM), {"it": Ref(made)})]
    fine = step(Own.plus, made, made)
    workflow = engine.submit_workflow([*readers, fine])
    for reader in readers:
        found = error(engine, reader)
        assert found.code == "result_not_plain" and "Own" in str(found) and "made" in str(found), found
    assert workflow.future(fine).result(30) == 2 and workflow.future("made").result(30).value == 1
    with pytest.raises(axion.WorkflowFailed, match="result is a (.*)Own"):
        workflow.result(30)


def test_large_results_travel_beside_the_pickle(engine):
    def fill(size):
        return {"data": pickle.PickleBuffer(bytearray(size))}

    def change(made):
        view = memoryview(made["data"])
        view[0] = 7  # it is the function's own
        return bytes(view[:2]), len(view)

    made = step(fill, 3 << 20)
    workflow = engine.submit_workflow([step(change, made), step(change, made)])
    assert workflow.result(30) == dict.fromkeys(("change", "change-2"), (b"\7\0", 3 << 20))


def test_exceptions_are_the_functions_own(engine):
    fails = step(helpers.fail_with, KeyError("told to")).options(name="fails")
    below, alarm = step(double, fails), step(add, 1, 1).options(dependencies=fails, run_if="any_failed", name="alarm")
    workflow = engine.submit_workflow([below, alarm])
    found = workflow.future(fails).exception(30)
    assert type(found) is KeyError and found.args == ("told to",) and "in fail_with" in str(found.__cause__)
    assert type(error(engine, fails)) is KeyError
    assert isinstance(workflow.future(below).exception(30), axion.DependencyFailed)
    assert workflow.future("alarm").result(30) == 2
    with pytest.raises(axion.WorkflowFailed, match="fails failed: .*told to") as caught:
        workflow.result(30)
    assert type(caught.value.__cause__) is KeyError and "in fail_with" in str(caught.value.__cause__.__cause__)
    stubborn = engine.submit_workflow([step(helpers.fail_stubbornly)]).future(0).exception(30)
    assert isinstance(stubborn, axion.RemoteError) and "this and that" in str(stubborn)


def test_arguments_without_a_pickle_are_refused_by_the_name_of_their_step(engine):
    fine = step(add, 1, 1)
    for bad, name in ((step(str, threading.Lock()), "str"), (step(str, {"k": [threading.Lock()]}).options(name="it"), "it"),
                      (step(functools.partial(str, threading.Lock())), "str")):
        with pytest.raises(axion.SubmitError, match="^%s: the (arguments|function) cannot be pickled" % name) as caught:
            engine.submit_workflow([fine, step(add, fine, bad)])
        assert caught.value.code == "not_picklable"
    with pytest.raises(axion.EngineError, match="no task with this id"):
        engine.get_result(fine.id, timeout=30)
    assert engine.submit_workflow([fine]).result(30) == {"add": 2}, "nothing of it was taken in"


def test_what_is_wrong_is_refused_whole(engine, script):
    a, b = step(add, 1, 1), step(double)
    a.args, b.args = (b,), (a,)
    with pytest.raises(axion.CircularDependency, match="add → double → add"):
        engine.submit_workflow([a])
    with pytest.raises(axion.UnknownDependency):
        engine.submit_workflow([step(str, Ref("nobody"))])
    with pytest.raises(axion.UnknownDependency):
        engine.submit_workflow([step(str, Ref(axion._axion.new_task_id()))])
    with pytest.raises(axion.SubmitError, match="path") as caught:
        engine.submit_workflow([step(str, Ref(step(add, 1, 1), "a..b"))])
    assert caught.value.code == "step_options"
    with pytest.raises(axion.WorkflowRefused, match="can never run"):
        engine.submit_workflow([step(add, 1, 1).options(slots=100)])
    with pytest.raises(axion.ConfigError, match="kind"):
        step(add, 1, 1).options(kind="gpu")
    with pytest.raises(TypeError, match="unexpected keyword"):
        step(add, 1, 1).options(retires=1)
    with pytest.raises(TypeError, match="not callable"):
        step(5)
    with pytest.raises(TypeError, match="not 5"):
        engine.submit_workflow([step(add, 1, 1), 5])
    with pytest.raises(TypeError, match="not 5"):
        chain(step(add, 1, 1), 5)


def attempt_with(path, dies):
    attempt = axion.current().attempt
    if attempt == 1:
        dies() if callable(dies) else helpers.fail_with(dies)
    return attempt, open(path).read()


def test_options_are_those_of_any_task(engine, tmp_path):
    path = tmp_path / "data"
    path.write_text("x")
    again = step(attempt_with, str(path), ValueError("once")).options(retries=1, retry_delay=0.001)
    workflow = engine.submit_workflow([step(list, again)])
    assert workflow.result(30) == {"list": [2, "x"]}
    assert engine.get_result(again.id).record.attempt == 2


def test_a_time_limit_and_a_cancellation_hit_the_step(engine, gate):
    endless = step(signal.pause).options(timeout=0.2)
    assert isinstance(engine.submit_workflow([endless]).future(endless).exception(30), axion.TaskTimeout)
    waits, below = step(helpers.at_gate, gate.path), step(double)
    workflow = engine.submit_workflow(chain(waits, below))
    gate.begun()
    workflow.cancel()
    assert workflow.wait(30) and workflow.cancelled()
    for node in (waits, below):
        assert axion.wait_for_all([workflow.future(node)], 30).done and workflow.status()["counts"]["cancelled"] == 2
        with pytest.raises(concurrent.futures.CancelledError):
            workflow.future(node).result(30)


def test_a_worker_that_dies_in_the_middle_costs_an_attempt(engine, tmp_path):
    path = tmp_path / "data"
    path.write_text("y")
    made = step(Own, str(path))
    fatal = step(lambda own, dies: attempt_with(own.value, dies), made, helpers.die)
    after = step(tuple, fatal)
    assert engine.submit_workflow([after]).result(30) == {"tuple": (2, "y")}
    lost = step(helpers.die).options(max_worker_losses=0)
    assert isinstance(engine.submit_workflow([lost]).future(lost).exception(30), axion.WorkerLost)


def test_futures_and_steps_of_earlier_workflows_are_arguments(engine, script):
    future, plain = engine.submit(Own, 4), engine.submit(add, 1, 1)
    made = step(Own, 5)
    engine.submit_workflow([made])
    ends = engine.submit_workflow([step(Own.plus, future, made), step(double, plain)])
    assert ends.result(30) == {"plus": 9, "double": 4} and len(ends) == 2
    only_waits = Task(script(UPSTREAM), {"n": 1}, dependencies=[future.task_id], name="waits")
    assert engine.submit_workflow([only_waits]).result(30)["waits"] == {"n": 1, "upstream_results": {}}


def test_steps_are_called_as_their_functions_unless_they_have_names(engine):
    steps = [step(add, 1, 1), step(add, 1, 2).options(name="ADD-2"), step(add, 1, 3), step(lambda: 0)]
    workflow = engine.submit_workflow(steps, name="named")
    assert [node.name for node in steps] == ["add", "ADD-2", "add-3", "lambda"]
    assert workflow.result(30) == {"add": 2, "ADD-2": 3, "add-3": 4, "lambda": 0}
    assert list(workflow) == [node.id for node in steps] and workflow["add-3"] == steps[2].id
    for nobody in ("nobody", 4, -5, step(add, 1, 1)):
        with pytest.raises(KeyError):
            workflow.future(nobody)
    assert workflow.future(-1).result(30) == 0
    with pytest.raises(axion.WorkflowRefused) as caught:
        engine.submit_workflow([step(add, 1, 1).options(name="x"), step(add, 1, 1).options(name="X")])
    assert caught.value.code == "duplicate_name"


def test_very_many_steps_of_one_function():
    # To look at each name for each other one would take longer than a test may.
    steps = [step(add, 1, 1) for _ in range(100_000)]
    end = step(double)
    chain(steps, end)
    assert list(_names(steps))[-1] == "add-100000"
    assert end.dependencies == steps


@axion.task(retries=1, retry_delay=0.001, wait=False)
def flaky(path):
    return attempt_with(path, ValueError("once"))[0]


def test_a_decorated_function_makes_steps_with_its_options(engine, tmp_path):
    path = tmp_path / "data"
    path.write_text("x")
    assert engine.submit_workflow([flaky.step(str(path)), step(flaky, str(path))]).result(30) == {"flaky": 2, "flaky-2": 2}


def test_a_decorated_async_function_runs_in_the_io_pool_from_every_entry(engine):
    task = helpers.async_double
    made, partial = task.step(2), step(functools.partial(task, 3))
    assert engine.submit_workflow([made, partial]).result(30) == {"async_double": 4, "async_double-2": 6}
    ends = [engine.get_result(node.id).record for node in (made, partial)]
    for future in (task.submit(engine, 2), engine.submit(task, 2), engine.options(timeout=helpers.LONG).submit(task, 2)):
        assert future.result(30) == 4
        ends.append(future.record)
    assert {record.worker_id.partition("-")[0] for record in ends} == {"io"}
    assert list(task.map(engine, [1, 2])) == list(engine.map(task, [1, 2])) == [2, 4]
    assert asyncio.run(task.run(engine, 2)) == 4
    in_cpu = axion.task(kind="cpu")(helpers.slow_double).submit(engine, 2)
    assert in_cpu.result(30) == 4 and in_cpu.record.worker_id.startswith("cpu-")


def test_a_decorated_function_of_a_module_is_imported_by_the_worker(engine):
    task = helpers.locked_double
    assert engine.submit_workflow([task.step(2)]).result(30) == {"locked_double": 4}
    assert task.submit(engine, 3).result(30) == engine.submit(task, 3).result(30) == 6
    assert pickle.loads(pickle.dumps(task)) is task
    for local in (axion.task(lambda n: n + 1), axion.task(functools.partial(add, 1)), axion.task(helpers.Counter(1).plus)):
        assert local.submit(engine, 1).result(30) == engine.submit(local, 1).result(30) == 2
        assert engine.submit_workflow([made := local.step(1)]).future(made).result(30) == 2
    cloudpickle.register_pickle_by_value(helpers)
    try:
        assert task.submit(engine, 3).result(30) == 6  # with a lock of its own
    finally:
        cloudpickle.unregister_pickle_by_value(helpers)


def test_a_decorated_method_belongs_to_its_object(engine):
    scale = helpers.Scale(3)
    assert scale.times(2) == scale.times.submit(engine, 2).result(30) == 6
    made = scale.async_times.step(2)
    assert engine.submit_workflow([scale.times.step(4), made]).result(30) == {"times": 12, "async_times": 6}
    assert engine.get_result(made.id).record.worker_id.startswith("io-")


def test_the_kind_may_be_left_to_the_function(engine):
    tasks = [axion.task(kind=None)(add).step(1, 1), step(helpers.slow_double, 2).options(kind=None)]
    assert engine.submit_workflow(tasks).result(30) == {"add": 2, "slow_double": 4}
    assert engine.get_result(tasks[1].id).record.worker_id.startswith("io-")


def test_a_step_or_a_future_in_the_wrong_place_is_refused_with_a_reason(engine):
    made = step(add, 1, 1)
    for submit in (lambda: engine.submit(double, made), lambda: engine.submit_workflow(step(lambda: made))):
        with pytest.raises(axion.SubmitError, match="only in the arguments of another axion.step"):
            submit()
    with pytest.raises(axion.SubmitError, match="pass its result\\(\\) to a function"):
        engine.submit(double, engine.submit(double, 1))
    with pytest.raises(axion.SubmitError, match="give its steps"):
        engine.submit_workflow([step(double, engine.submit_workflow([made]))])
    with pytest.raises(TypeError, match="name of a step is a str, not 5"):
        made.options(name=5)


def test_what_fails_because_of_an_earlier_workflow_says_so(engine):
    fails = step(helpers.fail_with, KeyError("no"))
    assert engine.submit_workflow([fails]).wait(30)
    with pytest.raises(axion.WorkflowFailed, match="double dependency_failed: not run because") as caught:
        engine.submit_workflow([step(double, fails)]).result(30)
    assert [failure[:2] for failure in caught.value.failures] == [("double", "dependency_failed")]


def test_a_step_alone(engine):
    made = step(Own, 3)
    assert engine.get_result(engine.submit_task(made), timeout=30).data.value == 3


def test_a_step_that_adds_steps(engine, script):
    path = script("def main(params, context): return params['n']")
    adds = step(lambda: {"steps": [{"name": "more", "script": path, "params": {"n": 7}}]}).options(dynamic=True)
    assert engine.submit_workflow([adds]).result(30)["more"] == 7


def test_what_exceeds_the_payload_limit_fails_the_step_and_not_the_worker(script):
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, io_bound_count=0, io_bound_max=0, payload_limit="1 MiB") as engine:
        parts = [step(lambda: "x" * (700 << 10)) for _ in range(2)]
        joined, pid = step("".join, parts), step(helpers.worker_pid)
        below = step(len, joined).options(run_if="any_failed", name="below")
        below.args = (b"abc",)
        below.options(dependencies=joined)
        read = Task(script(UPSTREAM), dependencies=parts, task_type=axion.TaskType.CPU_BOUND)
        workflow = engine.submit_workflow([pid, joined, read, below])
        for node in (joined, read):
            found = error(engine, node)
            assert found.code == "params_too_large" and "payload_limit" in str(found)
        assert workflow.future(below).result(30) == 3
        assert engine.submit(helpers.worker_pid).result(30) == workflow.future(pid).result(30)


def test_a_serial_engine_runs_steps_in_their_order():
    with axion.Engine(engine="serial") as engine:
        steps = [step(helpers.worker_pid) for _ in range(3)]
        pids = engine.submit_workflow([*steps, step(set, steps)]).result(30)["set"]
        assert len(pids) == 1
    with axion.Engine(engine="serial") as other:
        again = other.submit_workflow([step(len, steps)])
        assert again.result(30) == {"len": 3} and len(again) == 4, "another engine knows nothing of them"


def test_a_long_chain(engine):
    links = [step(add, 0, 1)]
    for _ in range(2000):
        links.append(step(add, links[-1], 1))
    assert engine.submit_workflow([links[-1]]).result(60) == {"add": 2001}
