//! Workflows through the whole engine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_actors::testing::FakeLauncher;
use axion_core::flow::{Flow, Overrides};
use axion_core::workflow::{
    Concurrency, Enough, MapOver, Rate, Reference, RunIf, Step, StepError, StepRecord, StepState, WorkflowRecord,
    WorkflowSpec, WorkflowState,
};
use axion_core::{
    Config, Engine, ErrorKind, Fact, FactKind, PoolKind, Task, Watched, WorkflowError, WorkflowHandle,
    WorkflowWaitError,
};
use serde_json::{Value, json};

use crate::support::{Gate, LIMIT, bad, echoing, ended, engine, entry, kill, next_output, script, scripted, until};

fn ended_flow(mut handle: WorkflowHandle) -> Arc<WorkflowRecord> {
    let record = handle.wait_timeout(LIMIT).expect("the engine lives");
    record.unwrap_or_else(|| panic!("workflow {} has not ended within {LIMIT:?}", handle.id()))
}

fn run_flow(engine: &Engine, spec: WorkflowSpec) -> Arc<WorkflowRecord> {
    ended_flow(engine.submit_workflow(spec).expect("accepted"))
}

fn step_of<'a>(record: &'a WorkflowRecord, name: &str) -> &'a StepRecord {
    let found = record.steps.iter().find(|step| step.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no step {name}: {record:?}"))
}

fn data(step: &StepRecord) -> Value {
    step.data.as_ref().unwrap_or_else(|| panic!("{step:?}")).parse().expect("JSON")
}

fn states(record: &WorkflowRecord) -> Vec<&'static str> {
    record.steps.iter().map(|step| step.state.name()).collect()
}

/// A step that returns its parameters.
fn echo(name: &str) -> Step {
    Step::new(name, entry("params", json!({})))
}

#[test]
fn c0_6_steps_run_after_their_dependencies_whatever_the_order_of_the_list() {
    let engine = engine(2, 0);
    let (a, c) = (entry("double", json!({"value": 1})), entry("double", json!({"value": 3})));
    let b = entry("params", json!({}));
    let ids = [a.id(), b.id(), c.id()];
    let spec = WorkflowSpec::of([Step::unnamed(b).after(ids[0]).after(ids[2]), Step::unnamed(a), Step::unnamed(c)]);
    let record = run_flow(&engine, spec);
    assert_eq!((record.state, record.counts.of(StepState::Succeeded)), (WorkflowState::Succeeded, 3));
    let upstream = &data(&record.steps[0])["upstream_results"];
    assert_eq!(upstream[ids[0].to_string()]["result"], 2);
    assert_eq!(upstream[ids[2].to_string()]["result"], 6);
    // Each of them is a task like any other.
    assert_eq!(engine.result(ids[1], LIMIT).expect("known").expect("ended").outcome.name(), "succeeded");
}

#[test]
fn c0_7_a_reducer_runs_last_and_sees_fifty_results() {
    let engine = engine(2, 1);
    let mappers: Vec<Task> = (0..50).map(|n| entry("double", json!({"value": n}))).collect();
    let mut reducer = Step::unnamed(entry("params", json!({}))).after("split");
    let mut spec = WorkflowSpec::of([Step::new("split", entry("double", json!({"value": 0})))]);
    for mapper in mappers {
        reducer = reducer.after(mapper.id());
        spec.steps.push(Step::unnamed(mapper).after("split"));
    }
    let position = spec.steps.len();
    spec.steps.push(reducer);
    let record = run_flow(&engine, spec);
    let upstream = data(&record.steps[position])["upstream_results"].clone();
    // The splitter is named, so it is there twice.
    assert_eq!(upstream.as_object().expect("an object").len(), 52);
    let last = record.steps[position].started.expect("it ran");
    assert!(record.steps[..position].iter().all(|step| step.started.expect("it ran") <= last));
}

#[test]
fn a_dependency_on_a_task_that_is_known_already_counts() {
    let engine = engine(1, 1);
    let done = engine.submit(entry("double", json!({"value": 4}))).expect("accepted");
    let done = ended(done).id;
    let gate = Gate::new();
    let running = engine.submit(gate.task().on(PoolKind::Io)).expect("accepted").id();
    let flow = engine.submit_workflow(WorkflowSpec::of([echo("both").after(done).after(running)])).expect("accepted");
    gate.open("");
    let record = ended_flow(flow);
    assert_eq!(data(&record.steps[0])["upstream_results"][done.to_string()]["result"], 8);
    assert_eq!(states(&record), ["succeeded"]);
    let unknown = WorkflowSpec::of([echo("never").after(axion_core::TaskId::generate())]);
    let refused = engine.submit_workflow(unknown).expect_err("refused");
    assert!(refused.to_string().contains("does not know"), "{refused}");
}

#[test]
fn l1_what_is_wrong_is_refused_whole_and_nothing_runs() {
    let engine = echoing(1, 0);
    let circle = WorkflowSpec::of([echo("a").after("b"), echo("b").after("a"), echo("c")]);
    let refused = engine.submit_workflow(circle).expect_err("a circle");
    assert!(refused.to_string().contains("a") && refused.to_string().contains("b"), "{refused}");
    assert!(matches!(engine.submit_workflow(WorkflowSpec::default()), Err(WorkflowError::Refused(_))));
    let io = |name: &str| Step::new(name, entry("params", json!({})).on(PoolKind::Io));
    match engine.submit_workflow(WorkflowSpec::of([io("one"), echo("fine"), io("other")])) {
        Err(WorkflowError::Tasks(wrong)) => assert_eq!(wrong.iter().map(|it| it.at).collect::<Vec<_>>(), [0, 2]),
        other => panic!("{other:?}"),
    }
    let task = entry("double", json!({"value": 1}));
    engine.submit(task.clone()).expect("accepted").wait().expect("a record");
    let again = engine.submit_workflow(WorkflowSpec::of([Step::new("again", task)])).expect_err("known");
    assert!(again.to_string().contains("is already known"), "{again}");
    assert_eq!(engine.status().expect("it lives").components.input_queue.total_put, 1);
}

#[test]
fn a_failure_goes_down_the_graph_at_once_and_names_its_first_cause() {
    let engine = engine(2, 0);
    let spec = WorkflowSpec::of([
        Step::new("breaks", entry("raise", json!({}))),
        echo("below").after("breaks"),
        echo("further").after("below"),
        echo("cleanup").after("further").run_if(RunIf::AllDone),
        echo("alarm").after("breaks").run_if(RunIf::AnyFailed),
        echo("apart"),
    ]);
    let record = run_flow(&engine, spec);
    let expected = ["failed", "dependency_failed", "dependency_failed", "succeeded", "succeeded", "succeeded"];
    assert_eq!((record.state, states(&record)), (WorkflowState::Failed, expected.to_vec()));
    let error = step_of(&record, "further").error.as_ref().expect("a reason").to_string();
    assert!(error.contains("breaks"), "{error}");
}

#[test]
fn l1_a_dependency_that_is_cancelled_or_lost_fails_those_who_wait() {
    let engine = engine(2, 0);
    let slow = entry("sleep", json!({"seconds": 60}));
    let id = slow.id();
    let dies = bad("kill_itself").max_worker_losses(0);
    let spec = WorkflowSpec::of([
        Step::new("slow", slow),
        echo("waits").after("slow"),
        Step::new("dies", dies),
        echo("mourns").after("dies"),
    ]);
    let handle = engine.submit_workflow(spec).expect("accepted");
    until("it runs", || engine.workflow(handle.id()).expect("known").counts.of(StepState::Running) > 0);
    engine.cancel(id).expect("it lives");
    let record = ended_flow(handle);
    assert_eq!(states(&record), ["cancelled", "dependency_failed", "lost", "dependency_failed"]);
}

#[test]
fn a_worker_killed_in_the_middle_of_the_reducer_costs_nothing_but_time() {
    let engine = engine(1, 0);
    let mut events = engine.watch();
    let folder = tempfile::tempdir().expect("a folder");
    let mark = folder.path().join("mark");
    let spec = WorkflowSpec::of([
        Step::new("one", entry("double", json!({"value": 1}))),
        Step::new("reduce", entry("announce_once", json!({"mark": mark}))).after("one"),
    ]);
    let handle = engine.submit_workflow(spec).expect("accepted");
    let pid = next_output(&mut events).trim().parse().expect("a pid");
    kill(pid);
    let record = ended_flow(handle);
    assert_eq!((record.state, step_of(&record, "reduce").attempts), (WorkflowState::Succeeded, 2));
}

#[test]
fn maps_references_branches_and_steps_that_add_steps() {
    let engine = engine(2, 0);
    let list = Step::new("list", entry("value", json!({"value": {"rows": [1, 2, 3]}})));
    let map = MapOver {
        enough: Enough::All,
        max_parallel: Some(2),
        ..MapOver::new(Reference::to("list").at("rows").expect("a path"))
    };
    let mapped = Step::new("map", entry("double_item", json!({}))).map_over(map);
    let reduce = echo("reduce").after("map");
    let spec = WorkflowSpec::of([list, mapped, reduce]);
    let record = run_flow(&engine, spec);
    assert_eq!(record.state, WorkflowState::Succeeded, "{record:?}");
    assert_eq!(data(step_of(&record, "map")), json!([2, 4, 6]));
    assert_eq!(data(step_of(&record, "reduce"))["upstream_results"]["map"], json!([2, 4, 6]));

    let more =
        json!({"steps": [{"name": "added", "script": script("entry.py"), "params": {"do": "double", "value": 21}}]});
    let grows = Step::new("grows", entry("value", json!({"value": more}))).dynamic();
    let record = run_flow(&engine, WorkflowSpec::of([grows]));
    assert_eq!(data(step_of(&record, "added"))["result"], 42);
    // A condition on a result that was not kept cannot be read, so its step fails, whether the condition held or not.
    for wanted in [1, 2] {
        let when = json!({"ref": "gone", "path": "rows", "op": "==", "value": wanted});
        let params = json!({"do": "double", "value": 21});
        let more = json!({"steps": [{"name": "late", "script": script("entry.py"), "params": params, "when": when}]});
        let gone = Step::new("gone", entry("value", json!({"value": {"rows": 1}}))).forget_result();
        let grows = Step::new("grows", entry("value", json!({"value": more}))).after("gone").dynamic();
        let record = run_flow(&engine, WorkflowSpec::of([gone, grows]));
        let late = step_of(&record, "late");
        let kind = late.error.as_deref().map(StepError::kind);
        assert_eq!((late.state, kind), (StepState::Failed, Some(ErrorKind::ReferenceUnresolved)), "{late:?}");
    }
    let wrong =
        Step::new("grows", entry("value", json!({"value": {"steps": [{"name": "x", "scrip": "a"}]}}))).dynamic();
    let record = run_flow(&engine, WorkflowSpec::of([wrong]));
    let error = record.steps[0].error.as_ref().expect("a reason").to_string();
    assert!(record.state == WorkflowState::Failed && error.contains("scrip"), "{error}");
}

#[test]
fn limits_by_key_and_by_rate_hold_across_workflows() {
    let engine = engine(0, 1);
    let slow = |name: &str| {
        let step = Step::new(name, entry("span_sleep", json!({"seconds": 0.05})).on(PoolKind::Io));
        step.concurrency(Concurrency { key: "api".into(), max: 1 })
    };
    let handles: Vec<_> = (0..2)
        .map(|_| engine.submit_workflow(WorkflowSpec::of([slow("a"), slow("b"), slow("c")])).expect("accepted"))
        .collect();
    let records: Vec<_> = handles.into_iter().map(ended_flow).collect();
    let mut spans: Vec<(u64, u64)> =
        records.iter().flat_map(|it| &it.steps).map(|step| serde_json::from_value(data(step)).expect("two")).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "one at a time: {spans:?}");

    let rated = |n: usize| {
        let step = Step::new(format!("r{n}"), entry("span_sleep", json!({"seconds": 0})).on(PoolKind::Io));
        step.rate(Rate { key: "calls".into(), count: 20, per: Duration::from_secs(1), burst: 1 })
    };
    let record = run_flow(&engine, WorkflowSpec::of((0..5).map(rated)));
    let mut starts: Vec<u64> =
        record.steps.iter().map(|step| serde_json::from_value::<(u64, u64)>(data(step)).expect("two").0).collect();
    starts.sort_unstable();
    // How long the way to its start takes is each one's own; none is before its turn.
    let before = spans[spans.len() - 1].1;
    let in_turn = starts.iter().zip(0..).all(|(start, n)| start - before >= n * 50_000_000);
    assert!(in_turn, "at most 20 a second: {starts:?} after {before}");
}

#[test]
fn a_workflow_can_be_watched_looked_at_and_cancelled() {
    let (engine, children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let (mut events, mut end) = (engine.watch(), engine.watch());
    let mut handle =
        engine.submit_workflow(WorkflowSpec::of([echo("first"), echo("second").after("first")])).expect("accepted");
    let so_far = engine.workflow(handle.id()).expect("known");
    assert_eq!((so_far.state, states(&so_far)), (WorkflowState::Running, vec!["ready", "waiting"]));
    assert!(handle.wait_timeout(Duration::ZERO).expect("known").is_none());
    assert_eq!(engine.cancel_workflow(handle.id()), Ok(true));
    let record = ended_flow(handle);
    assert_eq!((record.state, states(&record)), (WorkflowState::Cancelled, vec!["cancelled", "cancelled"]));
    assert_eq!(engine.cancel_workflow(record.id), Ok(false));
    assert_eq!(engine.workflow_handle(record.id).wait().expect("kept"), record);
    let unknown = axion_core::workflow::WorkflowId::generate();
    assert!(matches!(engine.workflow(unknown), Err(WorkflowWaitError::Gone(_))));
    // No wait is needed: the events of the steps come before the record.
    let changes = std::iter::from_fn(|| events.try_next()).filter_map(|watched| match watched {
        Watched::Fact(Fact { kind: FactKind::StepChanged { step, task, state, instances, .. }, .. }) => {
            assert!(record.steps.iter().any(|it| it.task == task && it.name.as_deref() == Some(&step)));
            assert_eq!(instances, None);
            Some((step, state.name()))
        }
        Watched::Fact(_) | Watched::Notice(_) => None,
        other => panic!("missed events: {other:?}"),
    });
    let mut changes: Vec<_> = changes.collect();
    changes.sort_unstable();
    let expected = [("first", "cancelled"), ("first", "ready"), ("second", "cancelled")];
    assert_eq!(changes, expected.map(|(step, state)| (step.to_owned(), state)));
    let finished = std::iter::from_fn(|| end.wait_next()).find_map(|watched| match watched {
        Watched::Fact(Fact { kind: FactKind::WorkflowFinished { workflow, state, .. }, .. }) => Some((workflow, state)),
        _ => None,
    });
    assert_eq!(finished, Some((record.id, WorkflowState::Cancelled)));
    drop(children);
}

#[test]
fn l9_the_record_of_a_workflow_is_given_up_when_it_has_grown_too_old_though_nobody_asks() {
    let config = Config { result_ttl: Some(Duration::from_millis(50)), ..Config::default() };
    let (engine, children) = scripted(Engine::builder().config(config).cpu_workers(1).io_workers(0));
    for name in ["one", "another"] {
        let handle = engine.submit_workflow(WorkflowSpec::of([echo(name)])).expect("accepted");
        assert_eq!(engine.cancel_workflow(handle.id()), Ok(true));
        let record = ended_flow(handle);
        until("nobody else has the record", || Arc::strong_count(&record) == 1);
    }
    drop(children);
}

#[test]
fn a_drain_lets_workflows_end_and_a_shutdown_without_patience_cancels_them() {
    let engine = echoing(2, 0);
    let chain = |count: usize| WorkflowSpec::builder("chain").chain((0..count).map(|n| echo(&format!("s{n}")))).build();
    let handle = engine.submit_workflow(chain(500)).expect("accepted");
    engine.shutdown(LIMIT);
    assert_eq!(ended_flow(handle).state, WorkflowState::Succeeded);
    let refused = engine.submit_workflow(chain(1)).expect_err("it is over");
    assert!(matches!(refused, WorkflowError::EngineStopped | WorkflowError::Refused(_)));

    let engine = self::engine(1, 0);
    let sleeps = (0..3).map(|n| Step::new(format!("s{n}"), entry("sleep", json!({"seconds": 60}))));
    let handle = engine.submit_workflow(WorkflowSpec::builder("sleeps").chain(sleeps).build()).expect("accepted");
    engine.shutdown(Duration::ZERO);
    let record = ended_flow(handle);
    assert_eq!((record.state, record.counts.of(StepState::Cancelled)), (WorkflowState::Cancelled, 3), "{record:?}");
}

#[test]
fn l9_wide_workflows_wait_for_room_like_everybody_else() {
    let config = Config { input_queue_size: 20, ..Config::default() };
    let launcher = || Box::new(FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().config(config).cpu_workers(2).io_workers(0).start_with(launcher).expect("starts");
    let wide = |count: usize| {
        let middle = (0..count).map(|n| echo(&format!("m{n}")));
        WorkflowSpec::builder("wide").step(echo("split")).then().chord(middle, echo("join")).build()
    };
    let handle = engine.submit_workflow(wide(5000)).expect("accepted");
    let plain = engine.submit_wait(echo("plain").task().clone()).expect("accepted");
    assert!(ended(plain).outcome.is_success());
    assert_eq!(ended_flow(handle).counts.of(StepState::Succeeded), 5002);
    // Cancelling the steps that wait for room takes linear time.
    let (engine, children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let handle =
        engine.submit_workflow(WorkflowSpec::of((0..50_000).map(|n| echo(&format!("m{n}"))))).expect("accepted");
    engine.cancel_workflow(handle.id()).expect("it lives");
    assert_eq!(ended_flow(handle).counts.of(StepState::Cancelled), 50_000);
    drop(children);
}

#[test]
fn l9_steps_give_back_exactly_the_room_they_took() {
    let config = Config { input_queue_bytes: 10 << 10, max_queue_full_retries: 0, ..Config::default() };
    let launcher = || Box::new(FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().config(config).cpu_workers(2).io_workers(0).start_with(launcher).expect("starts");
    // With its script's path, each weighs a little more than a kibibyte.
    let task = || Task::script("/".to_owned() + &"a".repeat(60)).params(&"x".repeat(1000)).expect("JSON");
    let wide = WorkflowSpec::of((0..200).map(|_| Step::unnamed(task())));
    let handle = engine.submit_workflow(wide).expect("accepted");
    assert_eq!(ended_flow(handle).state, WorkflowState::Succeeded);
    // One that is cancelled while it waits for its room leaves that to others.
    let held = || task().delay(Duration::from_secs(3600));
    let waiting: Vec<_> = (0..9).map(|_| engine.submit(held()).expect("there is room").id()).collect();
    let two = engine.submit_workflow(WorkflowSpec::of((0..2).map(|_| Step::unnamed(held())))).expect("accepted");
    until("one of them waits", || engine.status().expect("it lives").components.input_queue.size == 10);
    engine.cancel_workflow(two.id()).expect("it lives");
    assert_eq!(ended_flow(two).state, WorkflowState::Cancelled);
    until("its room is free", || engine.status().expect("it lives").components.input_queue.size == 9);
    engine.submit(held()).expect("the tenth");
    assert_eq!(engine.submit(held()).expect_err("no room for an eleventh").code(), "queue_bytes_full");
    drop(waiting);
}

#[test]
fn the_example_flows_run() {
    let engine = engine(2, 2);
    let run = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flows").join(name);
        let flow = Flow::load(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        run_flow(&engine, flow.spec)
    };
    let etl = run("etl.toml");
    assert_eq!(etl.state, WorkflowState::Succeeded, "{etl:?}");
    assert!(etl.critical_path.steps.len() >= 3 && etl.critical_path.seconds > 0.0, "{:?}", etl.critical_path);
    assert_eq!(run("branch.toml").state, WorkflowState::Succeeded);
    assert_eq!(run("chord.json").state, WorkflowState::Succeeded);

    let one = run("session1.toml");
    let results: Vec<Value> =
        ["p1", "p2", "p3", "t1", "t2", "t3", "p4", "t4"].map(|name| data(step_of(&one, name))).into();
    assert_eq!(results, [6, 15, 24, 6, 15, 24, 45, 45].map(Value::from), "C3-1");

    let two = run("session2.toml");
    let state = |name: &str| step_of(&two, name).state.name();
    assert_eq!(["p1", "p5", "t1", "t5"].map(state), ["succeeded"; 4], "C3-2");
    assert_eq!((state("p2"), state("p3"), state("p4")), ("failed", "cancelled", "cancelled"));
    let why = |name: &str| step_of(&two, name).error.as_ref().expect("a reason").to_string();
    assert!(why("p3").contains("short of 1 process"), "{}", why("p3"));
    assert!(why("p4").contains("2.6 % CPU") && why("p4").contains("9.7 % memory"), "{}", why("p4"));
    assert!(why("p2").contains("division by zero"), "{}", why("p2"));
    for (thread, process) in [("t2", "p2"), ("t3", "p3"), ("t4", "p4")] {
        assert!(state(thread) == "dependency_failed" && why(thread).contains(process), "{thread}: {}", why(thread));
    }
    let kept: Vec<_> = two.steps.iter().filter(|it| it.data.is_some()).filter_map(|it| it.name.as_deref()).collect();
    assert_eq!(kept, ["t1", "t5"]);
}
