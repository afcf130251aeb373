//! Steps of workflows as the tasks that they are: named by their ids, before they start and when they never do.

use std::sync::Arc;
use std::time::Duration;

use axion_core::workflow::{
    Condition, MapOver, Op, Reference, RunIf, Step, StepState, Template, WorkflowSpec, WorkflowState,
};
use axion_core::{CancelAnswer, Completed, Completions, Config, Engine, Refusal, Task, TaskId, TaskRecord, WaitError};
use serde_json::json;

use crate::support::{Gate, LIMIT, echoing, ended, engine, entry, exactly, scripted, value};

fn double(number: i32) -> Task {
    entry("double", json!({"value": number}))
}

fn sleeps() -> Task {
    entry("sleep", json!({"seconds": 60}))
}

fn named(name: &str, task: &Task) -> Step {
    Step::new(name, task.clone())
}

fn result(engine: &Engine, id: TaskId) -> Arc<TaskRecord> {
    ended(engine.handle(id))
}

fn kind(record: &TaskRecord) -> (&'static str, String) {
    (record.outcome.name(), record.outcome.error().map_or_else(String::new, |error| error.kind.to_string()))
}

#[test]
fn a_step_can_be_waited_for_by_its_task_before_it_is_submitted() {
    let engine = engine(1, 0);
    let gate = Gate::new();
    let (first, second) = (gate.task(), double(21));
    let spec = WorkflowSpec::of([named("first", &first), named("second", &second).after("first")]);
    let workflow = engine.submit_workflow(spec).expect("accepted");
    let completions = Completions::new().expect("a pipe");
    let _awaited = engine.follow(second.id(), &completions, 7);
    let (one, other) = (engine.handle(second.id()), engine.handle(second.id()));
    assert_eq!(engine.result(second.id(), Duration::ZERO), Ok(None), "it has not ended");
    gate.open("");
    let record = ended(one);
    assert_eq!((value(&record)["result"].clone(), record.attempt.is_some()), (json!(42), true));
    assert_eq!(ended(other), record);
    assert_eq!(workflow.wait().expect("it lives").state, WorkflowState::Succeeded);
    let taken = completions.wait(Some(LIMIT));
    assert!(matches!(&taken[..], [(7, Some(Completed::Task(Ok(it))))] if *it == record), "{taken:?}");
}

#[test]
fn a_step_that_never_runs_has_an_outcome_all_the_same() {
    let engine = engine(1, 0);
    let (breaks, below, skipped) = (entry("raise", json!({})), double(1), double(2));
    let (list, each) = (entry("value", json!({"value": [1, 2, 3]})), entry("double_item", json!({})));
    let spec = WorkflowSpec::of([
        named("list", &list),
        named("each", &each).map_over(MapOver::new(Reference::to("list"))),
        named("skipped", &skipped).when(Condition::test(Reference::to("list"), Op::Eq, 1)),
        named("breaks", &breaks).after("each"),
        named("below", &below).after("breaks"),
    ]);
    let workflow = engine.submit_workflow(spec).expect("accepted");
    let waiting = [skipped.id(), below.id(), each.id()].map(|id| engine.handle(id));
    let [skip, fail, map] = waiting.map(ended);
    assert_eq!(kind(&skip), ("cancelled", "skipped".to_owned()));
    assert_eq!(kind(&fail), ("failed", "dependency_failed".to_owned()));
    let words = fail.outcome.error().expect("a reason").to_string();
    assert!(words.contains("breaks (failed)") && fail.attempt.is_none(), "{words}");
    assert_eq!(value(&map), json!([2, 4, 6]));
    let record = workflow.wait().expect("it lives");
    assert_eq!(record.counts.of(StepState::Skipped), 1);
    // And again, from what is kept of the workflow.
    for before in [skip, fail, map] {
        assert_eq!(result(&engine, before.id).outcome, before.outcome);
        let found = engine.result(before.id, Duration::ZERO).expect("known").expect("ended");
        assert_eq!(found.outcome, before.outcome, "also by a look");
    }
    assert_eq!(engine.cancel(skipped.id()), Ok(CancelAnswer::AlreadyFinished("cancelled")));
    assert_eq!(engine.withdraw(skipped.id()), Ok(false));
}

#[test]
fn a_step_can_be_cancelled_by_its_task_wherever_it_stands() {
    let engine = engine(1, 0);
    let (first, second, third) = (sleeps(), double(1), double(2));
    let spec = WorkflowSpec::of([
        named("first", &first),
        named("second", &second).after("first"),
        named("third", &third).after("second"),
    ]);
    let workflow = engine.submit_workflow(spec).expect("accepted");
    let waiting = engine.handle(third.id());
    assert_eq!(engine.cancel(second.id()), Ok(CancelAnswer::Removed));
    assert_eq!(kind(&result(&engine, second.id())), ("cancelled", "cancelled".to_owned()));
    assert_eq!(kind(&ended(waiting)), ("failed", "dependency_failed".to_owned()));
    let answer = engine.cancel(first.id()).expect("it lives");
    assert!(matches!(answer, CancelAnswer::Requested | CancelAnswer::Removed), "{answer:?}");
    assert_eq!(result(&engine, first.id()).outcome.name(), "cancelled");
    assert_eq!(workflow.wait().expect("it lives").counts.of(StepState::Cancelled), 2);

    let (first, second) = (sleeps(), double(1));
    let spec = WorkflowSpec::of([named("first", &first), named("second", &second).after("first")]);
    engine.submit_workflow(spec).expect("accepted");
    assert_eq!((engine.withdraw(second.id()), engine.withdraw(second.id())), (Ok(true), Ok(false)));
    assert_eq!(result(&engine, second.id()).outcome.name(), "cancelled");
}

#[test]
fn l1_whoever_waits_for_a_step_is_woken_when_its_workflow_is_cancelled_or_the_engine_ends() {
    let spec = |first: &Task, second: &Task| WorkflowSpec::of([named("a", first), named("b", second).after("a")]);
    let engine = engine(1, 0);
    let (first, second) = (sleeps(), double(2));
    let workflow = engine.submit_workflow(spec(&first, &second)).expect("accepted");
    let waiting = engine.handle(second.id());
    engine.cancel_workflow(workflow.id()).expect("it lives");
    assert_eq!(kind(&ended(waiting)), ("cancelled", "workflow_cancelled".to_owned()));

    let (first, second) = (sleeps(), double(2));
    engine.submit_workflow(spec(&first, &second)).expect("accepted");
    let waiting = engine.handle(second.id());
    engine.shutdown(Duration::ZERO);
    assert_eq!(ended(waiting).outcome.name(), "cancelled");
    assert!(matches!(engine.handle(second.id()).wait(), Err(WaitError::EngineStopped)));

    let (engine, children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let (first, second) = (double(1), double(2));
    engine.submit_workflow(spec(&first, &second)).expect("accepted");
    let waiting = engine.handle(second.id());
    drop(children);
    engine.panic_for_test();
    assert!(matches!(waiting.wait(), Err(WaitError::EngineStopped)));

    let engine = echoing(1, 0);
    let unknown = engine.handle(TaskId::generate()).wait();
    assert!(matches!(unknown, Err(WaitError::Refused(Refusal::UnknownId))), "{unknown:?}");
    assert_eq!(engine.cancel(TaskId::generate()), Ok(CancelAnswer::Unknown));
    assert_eq!(engine.withdraw(TaskId::generate()), Ok(false));
}

#[test]
fn a_step_that_waits_in_another_workflow_can_be_waited_for() {
    let engine = engine(1, 0);
    let gate = Gate::new();
    let (first, second, skipped) = (gate.task(), double(21), double(1));
    let spec = WorkflowSpec::of([
        named("first", &first),
        named("second", &second).after("first"),
        named("skipped", &skipped).when(Condition::test(Reference::to("first"), Op::Eq, "never")),
    ]);
    engine.submit_workflow(spec).expect("accepted");
    let (after, never) = (entry("params", json!({})), double(2));
    let other = engine
        .submit_workflow(WorkflowSpec::of([
            named("after", &after).after(second.id()),
            named("never", &never).after(skipped.id()),
        ]))
        .expect("what waits in another workflow is known");
    gate.open("");
    let record = other.wait().expect("it lives");
    assert_eq!(record.steps.iter().map(|step| step.state.name()).collect::<Vec<_>>(), ["succeeded", "skipped"]);
    let upstream = value(&result(&engine, after.id()))["upstream_results"].clone();
    assert_eq!(upstream[second.id().to_string()]["result"], 42);
    // And when it is gone, too.
    let late = engine.submit_workflow(WorkflowSpec::of([named("late", &double(3)).after(skipped.id())]));
    let record = late.expect("it is kept").wait().expect("it lives");
    assert_eq!(record.steps[0].state, StepState::Skipped);
}

#[test]
fn what_waits_for_a_step_of_another_workflow_waits_for_the_step_and_not_for_its_task() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut child = children.blocking_recv().expect("launched");
    let grows = double(1);
    let first = WorkflowSpec::of([named("grows", &grows).dynamic()]);
    let first = engine.submit_workflow(first).expect("accepted");
    let seq = runtime.block_on(async {
        child.ready().await;
        child.runs().await
    });
    let follow = || engine.submit_workflow(WorkflowSpec::of([named("after", &double(2)).after(grows.id())]));
    let during = follow().expect("it runs");
    // Its task succeeds, but what that returns cannot be added: so the step has failed.
    let data = json!({"steps": [{"name": "grows", "script": "again.py"}]}).to_string().into();
    runtime.block_on(child.says(axion_actors::wire::Up::Done { seq, nanos: 1, data }));
    assert_eq!(first.wait().expect("it lives").steps[0].state, StepState::Failed);
    let after = follow().expect("it is kept");
    for handle in [during, after] {
        let record = handle.wait().expect("it lives");
        assert_eq!(record.steps[0].state, StepState::DependencyFailed);
        let error = record.steps[0].error.as_ref().expect("a reason").to_string();
        assert!(error.contains("(failed)"), "{error}");
    }
}

#[test]
fn a_step_that_is_too_large_with_what_others_returned_fails_by_name_and_costs_no_worker() {
    let config = Config { payload_limit: Some(1 << 20), ..exactly(1, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let piece = "x".repeat(400 << 10);
    let spec = WorkflowSpec::of([
        named("list", &entry("value", json!({"value": [1, 2]}))),
        named("large", &entry("value", json!({"value": piece}))),
        // By its name and its id, as here, it fits; a reference has it there once more.
        named("once", &entry("double", json!({"value": 1}))).after("large"),
        named("twice", &entry("double", json!({"value": 1})))
            .params(Template::from_json(&json!({"do": "double", "value": {"$ref": "large"}})).expect("sound")),
        named("each", &entry("double_item", json!({})))
            .map_over(MapOver::new(Reference::to("list")))
            .params(Template::from_json(&json!({"do": "double_item", "x": {"$ref": "large"}})).expect("sound")),
        named("after", &entry("double", json!({"value": 2}))).after("twice").run_if(RunIf::AllDone),
    ]);
    let record = engine.submit_workflow(spec).expect("accepted").wait().expect("it lives");
    let told: Vec<_> = record
        .steps
        .iter()
        .map(|step| (step.state, step.attempts, step.error.as_ref().map(ToString::to_string).unwrap_or_default()))
        .collect();
    for at in [3, 4] {
        let (state, _, error) = &told[at];
        assert_eq!(*state, StepState::Failed, "{told:?}");
        assert!(error.contains("params_too_large") && error.contains("`payload_limit`"), "{error}");
    }
    for at in [0, 1, 2, 5] {
        assert_eq!((told[at].0, told[at].1), (StepState::Succeeded, 1), "{told:?}");
    }
    assert_eq!(told[3].1, 0, "it was never sent");
    let status = engine.status().expect("it lives");
    let workers = &status.components.process_pool.cpu_worker_tasks;
    assert!(workers.values().all(|worker| worker.generation.0 == 1), "{workers:?}");
}
