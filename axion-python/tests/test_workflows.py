"""Workflows from Python: the older Axion's snippets as they stand there, and what they left open."""

import asyncio
import concurrent.futures
import json
import threading

import axion
import pytest
from axion import CircularDependency, Ref, Task, TaskType, UnknownDependency

ECHO = '''
def main(params, context):
    return params
'''

SUM = '''
def main(params, context):
    below = params.get("upstream_results", {})
    if params.get("fail"):
        raise ValueError("told to")
    return params.get("value", 0) + sum(below.values())
'''

GATE = '''
def main(params, context):
    with open(params["gate"] + ".begun", "wb", 0) as file:
        file.write(b"x")
    with open(params["gate"], "rb", 0) as file:
        file.read(1)
    return "through"
'''


@pytest.fixture
def add(script):
    path = script(SUM, "add.py")

    def make(value=0, *after, **options):
        params = {"value": value}
        if options.pop("fail", False):
            params["fail"] = True
        return Task.create(path, params=params, task_type=TaskType.CPU_BOUND, dependencies=after, **options)

    return make


@pytest.fixture
def waits(script, gate):
    path = script(GATE, "gate.py")
    return lambda **options: Task(path, {"gate": gate.path}, TaskType.CPU_BOUND, **options)


def data(engine, task):
    result = engine.get_result(getattr(task, "id", task), timeout=30)
    assert result.is_success, result.error
    return result.data


def test_c0_6_the_documents_snippet(capsys, script, tmp_path, monkeypatch):
    script(ECHO, "a.py")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec('''
from axion import Engine, Task
with Engine() as engine:
    # Görevler arası bağımlılık
    task_a = Task.create(script_path="a.py", params={"who": "a"})
    task_b = Task.create(script_path="a.py", params={"who": "b"}, dependencies=[task_a.id])
    task_c = Task.create(script_path="a.py", params={"who": "c"}, dependencies=[task_b.id])
    # Workflow olarak gönder
    task_ids = engine.submit_workflow([task_a, task_b, task_c])
    # task_a tamamlanınca task_b otomatik başlar
    # task_b tamamlanınca task_c otomatik başlar
    results = [engine.get_result(task_id, timeout=30) for task_id in task_ids]
''', names)
    a, b, c = names["results"]
    assert list(names["task_ids"]) == [names["task_" + name].id for name in "abc"]
    assert a.data == {"who": "a"}
    assert b.data == {"who": "b", "upstream_results": {a.task_id: a.data}}
    assert c.data["upstream_results"] == {b.task_id: b.data}, "of direct dependencies only"


def test_c0_6_the_order_of_the_list_does_not_matter(engine, add):
    first = add(1)
    second = add(10, first.id)
    third = add(100, first, second)
    workflow = engine.submit_workflow([third, second, first])
    assert workflow.result(30) == {third.id: 112}
    assert [data(engine, task) for task in (first, second, third)] == [1, 11, 112]
    assert (workflow.record.state, workflow.done(), workflow.exception()) == ("succeeded", True, None)


def test_c0_7_one_splitter_fifty_mappers_and_a_reducer(engine, script):
    count = script("def main(params, context):\n    return len(params['upstream_results'])", "count.py")
    one = script("def main(params, context):\n    return params['n']", "one.py")
    split = Task(one, {"n": 0})
    mappers = [Task(one, {"n": n}, dependencies=[split.id]) for n in range(50)]
    reduce = Task(count, dependencies=[mapper.id for mapper in mappers])
    workflow = engine.submit_workflow([reduce, *mappers, split])
    assert workflow.result(60) == {reduce.id: 50}
    steps = {step["task"]: step for step in workflow.status()["steps"]}
    assert all(steps[mapper.id]["finished"] <= steps[reduce.id]["started"] for mapper in mappers)


def test_c0_6_a_failure_goes_down_the_graph_and_names_its_cause(engine, add):
    breaks = add(fail=True, name="breaks")
    below = add(1, breaks.id)
    further = add(1, below.id)
    alarm = add(5, breaks, run_if="any_failed", name="alarm")
    workflow = engine.submit_workflow([breaks, below, further, alarm])
    result = engine.get_result(further.id, timeout=30)
    assert not result.is_success and isinstance(result.error, axion.DependencyFailed)
    assert result.error.code == "dependency_failed" and "breaks (failed)" in str(result.error)
    assert data(engine, alarm) == 5
    with pytest.raises(axion.WorkflowFailed, match="breaks failed: .*told to") as caught:
        workflow.result(30)
    assert [failure[:3] for failure in caught.value.failures] == [("breaks", "failed", "exception")]
    assert workflow.status()["counts"]["dependency_failed"] == 2


def test_c0_6_what_is_wrong_is_refused_whole_with_its_code(engine, add):
    a, b = add(name="a"), add(name="b")
    a.dependencies, b.dependencies = [b.id], [a.id]
    fine = add()
    with pytest.raises(CircularDependency, match="a → b → a|b → a → b") as caught:
        engine.submit_workflow([a, b, fine])
    assert caught.value.code == "circular_dependency" and len(caught.value.problems) == 1
    with pytest.raises(axion.EngineError, match="no task with this id"):
        engine.get_result(fine.id, timeout=30)
    alone = add()
    alone.dependencies = [alone.id]
    with pytest.raises(CircularDependency, match="waits for itself"):
        engine.submit_workflow([alone])
    with pytest.raises(UnknownDependency) as caught:
        engine.submit_workflow([add(0, axion._axion.new_task_id()), add(0, "nobody")])
    assert caught.value.code == "unknown_dependency" and len(caught.value.problems) == 2
    assert isinstance(caught.value, axion.SubmitError) and isinstance(caught.value, axion.TaskError)
    for tasks, code in (([], "empty_workflow"), ([fine, fine], "duplicate_task"),
                        ([add(name="x"), add(name="X")], "duplicate_name")):
        with pytest.raises(axion.WorkflowRefused) as caught:
            engine.submit_workflow(tasks)
        assert caught.value.code == code
    with pytest.raises(TypeError, match="scripts"):
        engine.submit_workflow([pow])


def test_wrong_options_of_a_step_are_named(engine, add):
    for options, words in (({"run_if": "sometimes"}, "run_if"), ({"map_over": {"as": "x"}}, "ref"),
                           ({"when": {"ref": "x", "op": "~"}}, "op"), ({"dynamic": 1}, "dynamic")):
        with pytest.raises(axion.SubmitError, match=words) as caught:
            engine.submit_workflow([add(**options, name="wrong")])
        assert caught.value.code == "step_options" and "wrong" in str(caught.value)
    with pytest.raises(axion.SubmitError, match="did you mean|continue"):
        engine.submit_workflow([add()], on_failure="stopp")
    with pytest.raises(axion.SubmitError, match="has no key `processors`"):
        engine.submit_workflow([add()], limits={"processors": 1})


def test_c0_6_a_dependency_that_is_known_already_counts(engine, add, waits, gate):
    done = add(1)
    engine.submit_task(done)
    assert data(engine, done) == 1
    slow = waits()
    later = add(5, slow.id, name="later")
    held = engine.submit_workflow([slow, later])
    gate.begun()
    alone = add(10, done.id)
    assert engine.submit_task(alone) == alone.id
    assert data(engine, alone) == 11
    # Also one that still waits in another workflow.
    after = add(100, later.id)
    engine.submit_task(after)
    assert engine.get_result(after.id, timeout=0) is None
    slow_id = held[0]
    assert (held["later"], slow_id) == (later.id, slow.id) and later.id in held and len(held) == 2
    assert engine.cancel(later.id) is True
    assert engine.get_result(after.id, timeout=30).error.code == "dependency_failed"
    gate.open()
    assert data(engine, slow) == "through"
    with pytest.raises(UnknownDependency):
        engine.submit_task(add(1, axion._axion.new_task_id()))


def test_a_step_that_has_not_started_can_be_waited_for_and_cancelled(engine, add, waits, gate):
    slow, never = waits(), add()
    never.dependencies = [slow]
    below = add(0, never)
    workflow = engine.submit_workflow([slow, never, below])
    gate.begun()
    assert engine.get_result(below.id, timeout=0.05) is None
    assert engine.cancel(never.id) and not engine.cancel(never.id)
    result = engine.get_result(never.id, timeout=30)
    assert isinstance(result.error, axion.TaskCancelled) and result.error.code == "cancelled"
    assert engine.get_result(below.id, timeout=30).error.code == "dependency_failed"
    gate.open()
    assert workflow.wait(30) and workflow.status()["state"] == "failed"


def test_conditions_references_and_lists(engine, script):
    value = script("def main(params, context):\n    return params['value']", "value.py")
    echo = script(ECHO, "echo.py")
    tasks = [
        Task(value, {"value": {"rows": [1, 2, 3]}}, name="list"),
        Task(echo, name="each", map_over={"ref": "list", "path": "rows", "as": "row"}),
        Task(echo, {"first": Ref("list", "rows[0]"), "all": [Ref("list")]}, name="refers"),
        Task(echo, name="skipped", when={"ref": "list", "path": "rows[0]", "op": ">", "value": 1}),
    ]
    workflow = engine.submit_workflow(tasks, upstream="names", name="a flow")
    results = workflow.result(30)
    assert sorted(results) == ["each", "refers"]
    assert [each["row"] for each in results["each"]] == [1, 2, 3]
    assert results["refers"]["first"] == 1 and results["refers"]["all"] == [{"rows": [1, 2, 3]}]
    assert engine.get_result(workflow["skipped"], 30).error.code == "skipped"
    assert data(engine, workflow["each"]) == results["each"]
    assert workflow.status()["name"] == "a flow"


def test_c4_5_chain_group_and_chord(engine, script):
    source = """
def main(params, context):
    below = list(params.get("upstream_results", {}).values())
    if params["do"] == "add":
        return params["a"] + params["b"]
    if params["do"] == "times":
        return below[0] * params["by"]
    if params["do"] == "sum":
        return sum(below)
    raise ValueError("told to")
"""
    path = script(source, "work.py")

    def work(do, **params):
        return Task(path, {"do": do, **params}, TaskType.CPU_BOUND)

    last = work("times", by=10)
    assert engine.submit_workflow(axion.chain(work("add", a=4, b=6), last)).result(30) == {last.id: 100}
    total = work("sum")
    numbers = [work("times", by=n) for n in (1, 2, 3)]
    assert engine.submit_workflow(axion.chain(work("add", a=1, b=1), numbers, total)).result(30) == {total.id: 12}
    steps = [work("add", a=1, b=1), work("fail"), work("times", by=2), work("times", by=2)]
    assert not engine.submit_workflow(axion.chain(*steps)).exception(30) is None
    codes = [getattr(engine.get_result(step.id, 30).error, "code", None) for step in steps]
    assert codes == [None, "exception", "dependency_failed", "dependency_failed"]


def test_c3_limits_hold_among_what_runs_at_one_time(engine, script):
    span = script("from time import monotonic, sleep\n"
                  "def main(params, context):\n    a = monotonic(); sleep(0.1); return [a, monotonic()]")
    half = [Task(span, task_type=TaskType.CPU_BOUND, cpu=60.5, name="s%d" % n) for n in range(2)]
    spans = sorted(engine.submit_workflow(half, limits={"cpu": 100}).result(30).values())
    assert spans[0][1] <= spans[1][0], "60.5 % and 60.5 % never overlap"
    too_much = Task(span, cpu=100.1, name="p4")
    with pytest.raises(axion.WorkflowRefused, match="short of 0.1 % CPU") as caught:
        engine.submit_workflow([too_much], limits={"cpu": 100})
    assert caught.value.code == "needs_impossible"
    fine = Task(script(ECHO), name="fine")
    workflow = engine.submit_workflow([Task(span, cpu=100.1, name="p4"), fine], limits={"cpu": 100},
                                      impossible="cancel")
    assert workflow.wait(30)
    assert engine.get_result(workflow["p4"], 30).error.code == "needs_impossible"
    assert data(engine, fine) == {}


def test_a_step_adds_steps(engine, script, tmp_path):
    script("def main(params, context):\n    return 42", "added.py")
    grows = script("def main(params, context):\n    return {'steps': [{'name': 'new', 'script': %r}]}"
                   % str(tmp_path / "added.py"), "grows.py")
    workflow = engine.submit_workflow([Task(grows, name="grows", dynamic=True)])
    assert workflow.result(30) == {"new": 42}


def test_a_cancelled_workflow_is_a_cancelled_future(engine, add, waits, gate):
    slow = waits()
    workflow = engine.submit_workflow([slow, add(0, slow)])
    gate.begun()
    assert not workflow.wait(0) and not workflow.done()
    assert workflow.status()["state"] == "running"
    assert axion.wait_for_any([workflow], timeout=0).not_done == {workflow}
    assert workflow.cancel()
    assert workflow.wait(30) and workflow.cancelled() and workflow.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        workflow.result()
    assert workflow.record.state == "cancelled"
    gate.open()


def test_await(engine, add, waits, gate):
    async def main():
        first = add(1)
        assert await engine.run_workflow([first, add(2, first, name="last")]) == {"last": 3}
        assert await engine.submit_workflow([add(7, name="x")]) == {"x": 7}
        with pytest.raises(axion.WorkflowFailed):
            await engine.run_workflow([add(fail=True)])
        with pytest.raises(CircularDependency):
            await engine.run_workflow([add(0, "me", name="me")])
        slow = waits()
        below = add(0, slow)
        running = asyncio.ensure_future(engine.run_workflow([slow, below]))
        await asyncio.to_thread(gate.begun)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return below.id

    below = asyncio.run(main())
    assert engine.get_result(below, timeout=30).error.code == "workflow_cancelled"
    gate.open()


def test_ctrl_c_ends_a_wait(engine, waits, gate, ctrl_c):
    workflow = engine.submit_workflow([waits()])
    gate.begun()
    interrupt = threading.Thread(target=ctrl_c, daemon=True)
    with pytest.raises(KeyboardInterrupt):
        interrupt.start()
        workflow.result()
    interrupt.join()
    gate.open()
    assert workflow.wait(30)


def test_l1_shutdown_waits_for_workflows_or_cancels_them(add, waits, gate):
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, cancel_grace=0) as engine:
        first = add(1)
        workflow = engine.submit_workflow([first, add(1, first, name="last")])
    assert workflow.result(0) == {"last": 2}
    with axion.Engine(cpu_bound_count=1, cpu_bound_max=1, cancel_grace=0) as engine:
        slow = waits()
        workflow = engine.submit_workflow([slow, add(0, slow)])
        gate.begun()
        engine.shutdown(wait=False)
        assert workflow.wait(30) and workflow.cancelled()
        with pytest.raises(axion.EngineError) as caught:
            engine.submit_workflow([add()])
        assert caught.value.code == "shutting_down"
    gate.open()


def test_a_flow_s_file(engine, script, tmp_path):
    script("def main(params, context):\n    return params['n'] * 2", "double.py")
    flow = tmp_path / "double.toml"
    flow.write_text('''
[params]
n = 3
[[steps]]
name = "one"
script = "double.py"
params = { n = { "$param" = "n" } }
[[steps]]
name = "two"
script = "double.py"
params = { n = { "$ref" = "one" } }
''')
    assert engine.submit_flow(flow).result(30) == {"two": 12}
    workflow = engine.submit_flow(str(flow), params={"n": 5})
    assert workflow.result(30) == {"two": 20} and data(engine, workflow["one"]) == 10
    assert engine.submit_flow(flow, changes={"two.n": 1}).result(30) == {"one": 6, "two": 2}
    flow.write_text(flow.read_text().replace('"$ref" = "one"', '"$ref" = "on"'))
    with pytest.raises(axion.FlowError, match=r"double.toml:11:27: .*did you mean `one`") as caught:
        engine.submit_flow(flow)
    assert [problem[:2] for problem in caught.value.problems] == [(11, 27)]
    with pytest.raises(axion.FlowError, match="no such file|No such file"):
        engine.submit_flow(tmp_path / "nowhere.toml")


def test_the_record_is_all_there_is(engine, add):
    workflow = engine.submit_workflow([add(1, name="a")])
    assert workflow.record is None or workflow.done()
    workflow.result(30)
    record = json.loads(workflow.record.to_json())
    assert record == workflow.status() and record["id"] == workflow.id == workflow.record.id
    assert record["steps"][0]["script"].endswith("add.py") and record["critical_path"]["steps"] == ["a"]
    assert "1 steps" in repr(workflow)


def test_a_reference_with_a_default_stands_for_it_if_its_step_was_skipped(engine, script):
    echo = script("def main(params, context):\n    return params.get('n')\n", "default.py")
    skipped = Task.create(echo, params={"n": 1}, name="one", when={"any": []})
    script_join = Task.create(echo, params={"n": Ref("one", "x", default=[None])}, name="two", run_if="all_done")
    both = axion.step(lambda a, b: (a, b), Ref(skipped, default=0), Ref(skipped, "y", default={"k": 1}))
    join = both.options(name="three", run_if="all_done")
    workflow = engine.submit_workflow([skipped, script_join, join])
    assert workflow.result(30) == {"two": [None], "three": (0, {"k": 1})}
    assert repr(Ref("a", "b", default=1)) == "Ref('a', 'b', default=1)"
    with pytest.raises(TypeError):
        Ref("a", default=object())
