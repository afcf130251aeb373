use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::workflow::{Condition, Dependency, MapOver, OnFailure, Op, Reference, RunIf, WorkflowState};
use crate::model::{
    BlockedBy, Capacity, Concurrency, Fixed, Json, Needs, PoolCapacity, PoolKind, Rate, Resource, Shortage,
};
use crate::policy::recorder::Turn;
use crate::policy::retention::RetentionPolicy;
use crate::testing::Oracle;

mod across;

/// An engine with four slots in each pool.
fn room() -> EngineCapacity {
    let pool = |kind: PoolKind| (kind.into(), PoolCapacity { kind, slots: 4 });
    EngineCapacity { shared: Capacity::default(), pools: PoolKind::ALL.into_iter().map(pool).collect() }
}

fn step(name: &str) -> Step {
    Step::new(name, Task::script("/a.py"))
}

fn slots(slots: u32) -> Needs {
    Needs { slots, ..Needs::default() }
}

fn keyed(name: &str, max: u32) -> Step {
    step(name).concurrency(Concurrency { key: "api".into(), max })
}

fn begin(workflows: &mut Workflows, spec: WorkflowSpec) -> WorkflowId {
    let id = WorkflowId::generate();
    let known = named(&spec);
    workflows.submit(id, spec, known, Tick(0)).expect("sound");
    id
}

/// The tasks that a workflow names outside itself. Nobody else knows them.
fn named(spec: &WorkflowSpec) -> FxHashMap<TaskId, StepStatus> {
    let own: Vec<TaskId> = spec.steps.iter().map(|step| step.task().id()).collect();
    let named = spec.steps.iter().flat_map(Step::depends_on).filter_map(|dependency| match dependency {
        Dependency::Task(id) if !own.contains(id) => Some((*id, StepStatus::Unknown)),
        _ => None,
    });
    named.collect()
}

fn success() -> Ended {
    Outcome::Succeeded(Json("1".into()).into()).into()
}

/// The steps that the actions have submitted so far, and the workflows that have ended.
fn submitted(workflows: &mut Workflows) -> (Vec<StepRef>, Vec<WorkflowId>) {
    let (mut steps, mut over) = (Vec::new(), Vec::new());
    for action in workflows.take_actions() {
        match action {
            WorkflowAction::Submit(step) => steps.push(step),
            WorkflowAction::Finished(id) => over.push(id),
            WorkflowAction::Cancel { .. } | WorkflowAction::Ended { .. } => {}
        }
    }
    (steps, over)
}

#[test]
fn a_cancelled_step_leaves_the_gate_of_its_workflow_and_gives_back_what_it_held() {
    let mut workflows = Workflows::new(room());
    let capacity = Capacity { processes: Some(2), ..Capacity::default() };
    let steps = [step("runs"), step("waits").needs(slots(2)), step("behind").after("runs").needs(slots(2))];
    let id = begin(&mut workflows, WorkflowSpec { capacity, ..WorkflowSpec::of(steps) });
    let (running, _) = submitted(&mut workflows);
    assert_eq!(running.len(), 1, "the other one waits for the slot that it holds");
    assert!(workflows.cancel(id, Tick(1)));
    assert_eq!(submitted(&mut workflows).1, []);
    workflows.ended(running[0], success(), Tick(2));
    assert_eq!(submitted(&mut workflows), (vec![], vec![id]));
    assert!(workflows.graph(id).is_some() && workflows.entries[&id].gate.as_ref().is_some_and(Gate::is_empty));
    let record = workflows.take(id).expect("in flight").record(Timestamp::UNIX_EPOCH);
    assert_eq!(record.state, WorkflowState::Cancelled);
    let attempts: Vec<u32> = record.steps.iter().map(|step| step.attempts).collect();
    assert_eq!(attempts, [1, 0, 0], "what never left the gate has begun nothing");
    assert!(!workflows.cancel(id, Tick(3)));
}

/// The facts about the gate of a workflow since the last call, with the step and the instance.
fn at_the_gate(workflows: &mut Workflows) -> Vec<(String, Option<u32>, Option<BlockedBy>)> {
    let facts = workflows.recorder().take().facts.into_iter().filter_map(|(_, kind)| match kind {
        FactKind::StepBlocked { step, instance, by, .. } => Some((step, instance, Some(*by))),
        FactKind::StepAdmitted { step, instance, .. } => Some((step, instance, None)),
        _ => None,
    });
    facts.collect()
}

#[test]
fn l15_a_step_that_waits_at_the_gate_of_its_workflow_says_what_for() {
    let mut workflows = Workflows::new(room());
    workflows.recorder().begin(true);
    let capacity = Capacity { processes: Some(2), ..Capacity::default() };
    let each = MapOver::new(Reference::to("list"));
    let steps = [step("list"), step("large").needs(slots(2)), step("each").map_over(each)];
    begin(&mut workflows, WorkflowSpec { capacity, ..WorkflowSpec::of(steps) });
    let short =
        |needed, free| Some(BlockedBy::Capacity { short_of: vec![Shortage { of: Resource::Slots, needed, free }] });
    let facts = at_the_gate(&mut workflows);
    assert_eq!(facts, [("list".to_owned(), None, None), ("large".to_owned(), None, short(2, 1))]);
    let (running, _) = submitted(&mut workflows);
    let list = Outcome::Succeeded(Json("[1, 2]".into()).into());
    workflows.ended(running[0], list.into(), Tick(1));
    let facts = at_the_gate(&mut workflows);
    let behind = ("each".to_owned(), Some(1), Some(BlockedBy::SameLimits));
    assert_eq!(facts, [("large".to_owned(), None, None), behind, ("each".to_owned(), Some(0), short(1, 0))]);
}

#[test]
fn a_step_takes_its_limits_along_with_its_task() {
    let mut workflows = Workflows::new(room());
    let rate = Rate::per_second("calls", 1);
    begin(&mut workflows, WorkflowSpec::of(["a", "b"].map(|name| keyed(name, 1).rate(rate.clone()).needs(slots(3)))));
    let limits =
        submitted(&mut workflows).0.into_iter().filter_map(|step| workflows.hand_over(step)?.0.limits().cloned());
    let concurrency = Some(Concurrency { key: "api".into(), max: 1 });
    let expected = Limits { needs: slots(3), concurrency, rate: Some(rate) };
    assert_eq!(limits.collect::<Vec<_>>(), [expected.clone(), expected], "who comes first is the scheduler's business");
}

#[test]
fn l3_an_end_that_comes_twice_or_late_changes_nothing() {
    let mut workflows = Workflows::new(room());
    let id = begin(&mut workflows, WorkflowSpec::of([step("a"), step("b").after("a")]));
    let (first, _) = submitted(&mut workflows);
    workflows.ended(first[0], success(), Tick(1));
    workflows.ended(first[0], success(), Tick(1));
    let (second, over) = submitted(&mut workflows);
    assert_eq!((second.len(), over.len()), (1, 0));
    workflows.ended(second[0], success(), Tick(2));
    assert_eq!(submitted(&mut workflows).1, [id]);
    workflows.take(id);
    workflows.ended(second[0], success(), Tick(3));
    workflows.started(second[0], Tick(3));
    assert!(workflows.take_actions().is_empty());
}

#[test]
fn l9_records_are_kept_within_bounds() {
    let mut workflows = Workflows::new(room());
    let mut kept = RetainedWorkflows::new(RetentionPolicy {
        count: 2,
        bytes: 1 << 20,
        each: 0,
        age: Some(Duration::from_secs(1)),
    });
    let ids: Vec<WorkflowId> = (0..3).map(|_| begin(&mut workflows, WorkflowSpec::of([step("a")]))).collect();
    for id in &ids {
        workflows.cancel(*id, Tick(0));
        let graph = workflows.take(*id).expect("in flight");
        let span = graph.span();
        kept.push(Arc::new(graph.into_record(Timestamp::UNIX_EPOCH)), span, Tick(0));
    }
    assert!(kept.get(ids[0], Tick(1)).is_none() && kept.get(ids[2], Tick(1)).is_some());
    assert!(kept.get(ids[2], Tick(1_000_000_000)).is_none(), "it has grown too old");
    assert_eq!((kept.queue.held(), kept.records.len()), ((0, 0), 0));
}

/// L13: the facts fold to the states of all steps in flight.
fn check_facts(workflows: &Workflows, oracle: &Oracle) {
    let state = oracle.state();
    assert_eq!(state.workflows.len(), workflows.entries.len());
    for (id, entry) in &workflows.entries {
        for (task, known) in &state.workflows[id] {
            let step = entry.graph.step_of(*task).expect("a step");
            assert_eq!(entry.graph.state_of(step), Some(*known), "{task}");
        }
        assert_eq!(state.workflows[id].len(), entry.graph.counts().0.iter().sum::<usize>());
        for task in state.workflows[id].keys() {
            let key = StepKey::whole(entry.graph.step_of(*task).expect("a step"));
            let waits = entry.graph.state_of(key.step) == Some(StepState::Ready) && !entry.is_sent(key);
            assert_eq!(state.blocked_steps.contains_key(&(*task, None)), waits, "what waits at its gate has a reason");
        }
    }
}

proptest! {
    /// Random workflows with random needs and limits of their own, ended and cancelled at random. The running steps of
    /// each workflow stay within its limits, every workflow ends, and nothing is in use afterwards.
    #[test]
    fn l1_every_workflow_ends_within_its_own_limits(
        flows_of in proptest::collection::vec(proptest::collection::vec((1..=4u32, any::<bool>()), 1..6), 1..6),
        choices in proptest::collection::vec((any::<u16>(), 0..10u8), 120)
    ) {
        let mut workflows = Workflows::new(room());
        workflows.recorder().begin(true);
        let (mut left, mut oracle) = (Vec::new(), Oracle::default());
        for (number, steps) in flows_of.iter().enumerate() {
            let mut spec = WorkflowSpec::default();
            if number % 2 == 0 {
                spec.capacity = Capacity { processes: Some(4), cpu: Fixed::new(100.0), ..Capacity::default() };
            }
            for (at, (need, after)) in steps.iter().enumerate() {
                let mut next = step(&format!("s{at}")).needs(slots(*need));
                if *after && at > 0 {
                    next = next.after(&*format!("s{}", at - 1));
                }
                spec.steps.push(next);
            }
            left.push(begin(&mut workflows, spec));
        }
        let mut running: Vec<(StepRef, u32)> = Vec::new();
        let mut choices = choices.into_iter().cycle();
        for _ in 0..2000 {
            for action in workflows.take_actions() {
                match action {
                    WorkflowAction::Submit(step) => {
                        let (task, _) = workflows.hand_over(step).expect("it has not ended");
                        running.push((step, task.limits().map_or(1, |limits| limits.needs.slots)));
                    }
                    WorkflowAction::Finished(id) => {
                        prop_assert!(workflows.entries[&id].gate.as_ref().is_none_or(Gate::is_whole), "nothing is still in use");
                        oracle.observe_turn(workflows.recorder().take());
                        let graph = workflows.take(id);
                        prop_assert!(graph.is_some(), "L1: it ends once");
                        let graph = graph.expect("it is there");
                        let kind = FactKind::WorkflowFinished {
                            workflow: id,
                            state: graph.state(),
                            record: Arc::new(graph.into_record(Timestamp::UNIX_EPOCH)),
                        };
                        oracle.observe_turn(Turn::of(Tick(1), kind));
                        left.retain(|other| *other != id);
                    }
                    WorkflowAction::Cancel { .. } | WorkflowAction::Ended { .. } => {}
                }
            }
            oracle.observe_turn(workflows.recorder().take());
            check_facts(&workflows, &oracle);
            for (id, flow) in &workflows.entries {
                let used: u32 = running.iter().filter(|(step, _)| step.workflow == *id).map(|(_, slots)| slots).sum();
                prop_assert!(flow.gate.is_none() || used <= 4, "{used} slots of 4");
            }
            if left.is_empty() {
                break;
            }
            let (pick, what) = choices.next().unwrap_or_default();
            if what == 0 {
                workflows.cancel(left[usize::from(pick) % left.len()], Tick(1));
            } else if !running.is_empty() {
                let (next, _) = running.remove(usize::from(pick) % running.len());
                workflows.ended(next, success(), Tick(1));
            }
        }
        prop_assert!(left.is_empty(), "L1: {} did not end", left.len());
    }
}
