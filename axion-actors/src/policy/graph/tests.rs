//! The graph alone: each rule, then random workflows against a second implementation of the rules.

mod arguments;
mod bad;
mod gated;
mod lookups;
mod model;
mod rules;

use std::collections::VecDeque;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::*;
use crate::model::workflow::{CriticalPath, StepRecord, WorkflowRecord, WorkflowState};
use crate::model::{EngineCapacity, ErrorKind, Json, Task, TaskError};

pub(super) fn task() -> Task {
    Task::script("/work.py")
}

pub(super) fn step(name: &str) -> Step {
    Step::new(name, task())
}

pub(super) fn nobody(_: TaskId) -> StepStatus {
    StepStatus::Unknown
}

pub(super) fn outside() -> EngineView<'static> {
    EngineView { status: &nobody, capacity: &NO_LIMIT }
}

/// An engine with the maximum number of slots.
static NO_LIMIT: LazyLock<EngineCapacity> = LazyLock::new(EngineCapacity::unlimited);

pub(super) fn ok(value: Value) -> Outcome {
    Outcome::Succeeded(Json(value.to_string().into()).into())
}

pub(super) fn failed(message: &str) -> Outcome {
    Outcome::Failed(Box::new(TaskError::new(ErrorKind::Exception, message)))
}

pub(super) fn cancelled() -> Outcome {
    Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, "on request")))
}

/// A workflow in an engine that starts every submitted step at once and ends it when the test says so.
pub(super) struct Run {
    pub(super) graph: Graph,
    /// The running steps, in the order of their submission.
    pub(super) running: VecDeque<(String, StepKey, Value)>,
    pub(super) told_to_end: Vec<String>,
    pub(super) now: Tick,
    finished: usize,
}

impl Run {
    pub(super) fn of(spec: WorkflowSpec) -> Self {
        Self::beside(spec, &outside())
    }

    pub(super) fn beside(spec: WorkflowSpec, outside: &EngineView<'_>) -> Self {
        let graph = Graph::check(WorkflowId::generate(), spec, outside, Tick(0)).expect("sound");
        let mut run = Self { graph, running: VecDeque::new(), told_to_end: Vec::new(), now: Tick(0), finished: 0 };
        run.graph.start(Tick(0));
        run.act();
        run
    }

    fn label(&self, key: StepKey) -> String {
        let name = self.graph.title_of(key.step).expect("a step");
        key.instance.map_or_else(|| name.clone(), |index| format!("{name}[{index}]"))
    }

    pub(super) fn act(&mut self) {
        for action in self.graph.take_actions() {
            match action {
                GraphAction::Submit(key) => {
                    let (task, params) = self.graph.hand_over(key).expect("it is to run");
                    assert_eq!(self.graph.id_of(key), Some(task.id()));
                    assert!(key.instance.is_some() || self.graph.hand_over(key).is_none(), "once");
                    let params = serde_json::from_slice(&params.into_bytes()).expect("JSON");
                    self.running.push_back((self.label(key), key, params));
                }
                GraphAction::Cancel(key) => self.told_to_end.push(self.label(key)),
                GraphAction::Changed { .. } | GraphAction::Ended { .. } => {}
                GraphAction::Finished => self.finished += 1,
            }
        }
        assert_eq!(self.finished, usize::from(self.graph.is_finished()), "said once, and when it is so");
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.running.iter().map(|(name, ..)| name.as_str()).collect()
    }

    pub(super) fn params(&self, name: &str) -> &Value {
        &self.running.iter().find(|it| it.0 == name).unwrap_or_else(|| panic!("{name} does not run")).2
    }

    pub(super) fn end(&mut self, name: &str, outcome: Outcome) {
        self.now = Tick(self.now.0 + 1_000_000_000);
        let at = self.running.iter().position(|it| it.0 == name);
        let (_, key, _) = self.running.remove(at.unwrap_or_else(|| panic!("{name} does not run"))).expect("found");
        self.graph.ended(key, outcome.into(), self.now);
        self.act();
    }

    pub(super) fn start(&mut self, name: &str) {
        let key = self.running.iter().find(|it| it.0 == name).expect("it runs").1;
        self.graph.started(key, self.now);
        self.act();
    }

    pub(super) fn record(&self) -> WorkflowRecord {
        self.graph.record(jiff::Timestamp::UNIX_EPOCH)
    }

    pub(super) fn of_step(&self, name: &str) -> StepRecord {
        self.record().steps.into_iter().find(|it| it.name.as_deref() == Some(name)).expect("a step")
    }

    pub(super) fn state(&self, name: &str) -> StepState {
        self.of_step(name).state
    }

    pub(super) fn error(&self, name: &str) -> String {
        self.of_step(name).error.expect("an error").to_string()
    }
}

#[test]
fn c0_6_a_dependent_starts_when_its_dependencies_are_done_whatever_the_order_of_the_list() {
    let (a, b, c) = (task(), task(), task());
    let ids = [a.id(), b.id(), c.id()];
    let spec = WorkflowSpec::of([
        Step::unnamed(c).after(ids[0]).after(ids[1]),
        Step::unnamed(b).after(ids[0]),
        Step::unnamed(a),
    ]);
    let mut run = Run::of(spec);
    assert_eq!(run.names(), [ids[0].to_string()]);
    run.end(&ids[0].to_string(), ok(json!({"n": 1})));
    assert_eq!(run.names(), [ids[1].to_string()]);
    assert_eq!(run.params(&ids[1].to_string()), &json!({"upstream_results": {ids[0].to_string(): {"n": 1}}}));
    run.end(&ids[1].to_string(), ok(json!(2)));
    let results = json!({ids[0].to_string(): {"n": 1}, ids[1].to_string(): 2});
    assert_eq!(run.params(&ids[2].to_string())["upstream_results"], results);
    run.end(&ids[2].to_string(), ok(json!(null)));
    assert_eq!(run.record().state, WorkflowState::Succeeded);
}

#[test]
fn c0_7_one_splitter_fifty_mappers_and_a_reducer_that_sees_fifty_entries() {
    let split = Step::unnamed(task());
    let mappers: Vec<Step> = (0..50).map(|_| Step::unnamed(task())).collect();
    let reduce = Step::unnamed(task());
    let last = reduce.task().id().to_string();
    let mut run = Run::of(WorkflowSpec::builder("").step(split).then().chord(mappers, reduce).build());
    let first = run.names()[0].to_owned();
    run.end(&first, ok(json!(0)));
    assert_eq!(run.running.len(), 50);
    for name in run.names().into_iter().map(str::to_owned).collect::<Vec<_>>() {
        assert!(!run.names().contains(&last.as_str()));
        run.end(&name, ok(json!(1)));
    }
    assert_eq!(run.params(&last)["upstream_results"].as_object().map(serde_json::Map::len), Some(50));
}

#[test]
fn c4_5_a_chain_passes_its_results_on_and_stops_at_a_failure() {
    let chain = || WorkflowSpec::builder("").chain(["add", "times", "shown"].map(step)).build();
    let mut run = Run::of(chain());
    run.end("add", ok(json!(10)));
    assert_eq!(run.params("times")["upstream_results"]["add"], 10);
    run.end("times", ok(json!(100)));
    assert_eq!(run.params("shown")["upstream_results"]["times"], 100);

    let mut run = Run::of(chain());
    run.end("add", failed("no"));
    assert_eq!((run.running.len(), run.record().state), (0, WorkflowState::Failed));
    assert_eq!(run.error("shown"), "not run because a dependency failed: add (failed)");
    assert_eq!(run.record().counts.of(StepState::DependencyFailed), 2);
}

#[test]
fn c3_1_session_1_starts_and_passes_on_in_its_order() {
    let mut spec = WorkflowSpec::builder("").group(["p1", "p2", "p3"].map(step)).build();
    for n in 1..=3 {
        spec.steps.push(step(&format!("t{n}")).after(&*format!("p{n}")));
    }
    spec.steps.push(step("p4").after("t1").after("t2").after("t3"));
    spec.steps.push(step("t4").after("p4"));
    let mut run = Run::of(spec);
    assert_eq!(run.names(), ["p1", "p2", "p3"]);
    for (name, value, next) in [("p1", 6, "t1"), ("p2", 15, "t2"), ("p3", 24, "t3")] {
        run.end(name, ok(json!(value)));
        assert_eq!(run.params(next)["upstream_results"][name], value);
        run.end(next, ok(json!(value)));
    }
    assert_eq!(run.names(), ["p4"]);
    let sum: i64 = ["t1", "t2", "t3"].iter().filter_map(|t| run.params("p4")["upstream_results"][t].as_i64()).sum();
    run.end("p4", ok(json!(sum)));
    assert_eq!(run.params("t4")["upstream_results"]["p4"], 45);
}

#[test]
fn c3_2_session_2_ends_each_step_with_its_own_reason() {
    use crate::model::workflow::{Fixed, Memory, Needs};
    let percent = |number| Fixed::new(number).expect("a percentage");
    let mut spec = WorkflowSpec { on_impossible: OnImpossible::Cancel, ..WorkflowSpec::default() };
    spec.capacity = Capacity {
        processes: Some(2),
        threads: Some(2),
        cpu: Some(percent(10.0)),
        memory: Some(Memory::Percent(percent(25.0))),
        machine_memory: None,
    };
    for n in 1..=5 {
        let needs = match n {
            3 => Needs { slots: 3, ..Needs::default() },
            4 => Needs { cpu: percent(12.6), memory: Some(Memory::Percent(percent(34.7))), slots: 1 },
            _ => Needs::default(),
        };
        spec.steps.push(step(&format!("p{n}")).needs(needs));
        spec.steps.push(step(&format!("t{n}")).after(&*format!("p{n}")));
    }
    let mut run = Run::of(spec.clone());
    assert_eq!(run.names(), ["p1", "p2", "p5"]);
    assert_eq!(run.error("p3"), "cancelled before anything started: short of 1 process");
    assert_eq!(run.error("p4"), "cancelled before anything started: short of 2.6 % CPU and 9.7 % memory");
    run.end("p1", ok(json!(2.5)));
    run.end("p2", failed("division by zero"));
    run.end("p5", ok(json!(3.5)));
    run.end("t1", ok(json!(2.5)));
    run.end("t5", ok(json!(3.5)));
    for (name, cause) in [("t2", "p2 (failed)"), ("t3", "p3 (cancelled)"), ("t4", "p4 (cancelled)")] {
        assert_eq!(run.error(name), format!("not run because a dependency failed: {cause}"));
    }
    let counts = run.record().counts;
    assert_eq!((counts.of(StepState::Succeeded), counts.of(StepState::Cancelled)), (4, 2));

    spec.on_impossible = OnImpossible::Refuse;
    let errors = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect_err("impossible");
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        ["p3 can never run: short of 1 process", "p4 can never run: short of 2.6 % CPU and 9.7 % memory"]
    );
}

#[test]
fn the_critical_path_is_the_chain_that_ran_longest() {
    let spec = WorkflowSpec::of([
        step("a"),
        step("short").after("a"),
        step("long").after("a"),
        step("end").after("short").after("long"),
        step("alone"),
    ]);
    let mut run = Run::of(spec);
    let mut end = |name: &str, started: u64, ended: u64| {
        let at = run.running.iter().position(|it| it.0 == name).expect("it runs");
        let (_, key, _) = run.running.remove(at).expect("found");
        let (outcome, started) = (ok(json!(1)), Some(Tick(started * 1_000_000_000)));
        run.graph.ended(key, Ended { outcome, attempts: 2, started }, Tick(ended * 1_000_000_000));
        run.act();
    };
    end("alone", 0, 4);
    end("a", 0, 1);
    end("short", 1, 2);
    end("long", 5, 8);
    end("end", 8, 9);
    let path = CriticalPath { steps: ["a", "long", "end"].map(str::to_owned).to_vec(), seconds: 5.0 };
    assert_eq!(run.record().critical_path, path);
    assert_eq!(run.of_step("end").attempts, 2);
}

#[test]
fn what_a_step_took_begins_with_its_first_attempt() {
    let second = |number: u64| Tick(number * 1_000_000_000);
    let run_of = |attempts| {
        let mut run = Run::of(WorkflowSpec::of([step("a")]));
        let (_, key, _) = run.running.pop_front().expect("it runs");
        run.graph.started(key, second(1));
        let ended = Ended { outcome: ok(json!(1)), attempts, started: Some(second(7)) };
        run.graph.ended(key, ended, second(8));
        run.act();
        run.record().critical_path.seconds
    };
    // Sent at 1. The only attempt started at 7, or the last of three did.
    assert_eq!((run_of(1), run_of(3)), (1.0, 7.0));
}

#[test]
fn the_record_is_json_with_states_counts_and_reasons() {
    let mut run = Run::of(WorkflowSpec::builder("nightly").chain(["a", "b"].map(step)).build());
    run.end("a", failed("no"));
    let record = serde_json::to_value(run.record()).expect("JSON");
    assert_eq!((&record["name"], &record["state"]), (&json!("nightly"), &json!("failed")));
    assert_eq!((&record["counts"]["failed"], &record["counts"]["waiting"]), (&json!(1), &json!(0)));
    assert_eq!(record["steps"][0]["error"]["kind"], "exception");
    assert_eq!(record["steps"][1]["error"]["kind"], "dependency_failed");
    assert_eq!(record["steps"][1]["error"]["causes"][0]["step"], "a");
    assert_eq!(record["finished"], "1970-01-01T00:00:01Z");
}
