use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::Json;
use crate::model::workflow::{Concurrency, Fixed, Rate, WorkflowState};

const ROOM: Capacity = Capacity { processes: Some(4), threads: Some(4), cpu: None, memory: None, machine_memory: None };

fn step(name: &str) -> Step {
    Step::new(name, Task::script("/a.py"))
}

fn slots(slots: u32) -> Needs {
    Needs { slots, ..Needs::default() }
}

fn keyed(name: &str, max: u32) -> Step {
    step(name).concurrency(Concurrency { key: "api".into(), max })
}

fn begin(flows: &mut Workflows, spec: WorkflowSpec) -> WorkflowId {
    let id = WorkflowId::generate();
    flows.submit(id, spec, &|_| Known::Unknown, Tick(0)).expect("sound");
    id
}

fn success() -> Ended {
    Outcome::Succeeded(Json("1".into()).into()).into()
}

/// What is submitted by the actions so far, and which workflows have ended.
fn submitted(flows: &mut Workflows) -> (Vec<StepRef>, Vec<WorkflowId>) {
    let (mut steps, mut over) = (Vec::new(), Vec::new());
    for action in flows.take_actions() {
        match action {
            Action::Submit(step) => steps.push(step),
            Action::Finished(id) => over.push(id),
            Action::Cancel { .. } | Action::Changed { .. } => {}
        }
    }
    (steps, over)
}

#[test]
fn a_key_is_shared_between_workflows() {
    let mut flows = Workflows::new(ROOM);
    let first = begin(&mut flows, WorkflowSpec::of([keyed("a", 1), keyed("b", 1)]));
    let second = begin(&mut flows, WorkflowSpec::of([keyed("a", 1), step("free")]));
    let mut seen = Vec::new();
    let (mut running, _) = submitted(&mut flows);
    assert_eq!(running.len(), 2, "one with the key, and the one without");
    while let Some(next) = running.pop() {
        seen.push(next);
        flows.ended(next, success(), Tick(1));
        let (more, over) = submitted(&mut flows);
        running.extend(more);
        over.into_iter().for_each(|id| drop(flows.take(id)));
    }
    assert_eq!(seen.iter().filter(|step| step.workflow == first).count(), 2);
    assert_eq!(seen.iter().filter(|step| step.workflow == second).count(), 2);
    assert!(flows.is_empty());
}

#[test]
fn a_cancelled_step_leaves_both_gates_and_gives_back_what_it_held() {
    let mut flows = Workflows::new(ROOM);
    let capacity = Capacity { processes: Some(2), ..Capacity::default() };
    let limited = |steps: Vec<Step>| WorkflowSpec { capacity, ..WorkflowSpec::of(steps) };
    // It holds the key; the next workflow's step passes its own gate and waits for the key with a ticket.
    let holder = begin(&mut flows, WorkflowSpec::of([keyed("holder", 1)]));
    let (held, _) = submitted(&mut flows);
    let waiting = begin(&mut flows, limited(vec![keyed("waits", 1), step("behind").needs(slots(2))]));
    assert_eq!(submitted(&mut flows).0, [], "one waits for the key, the other for the slot that it holds");
    assert!(flows.cancel(waiting, Tick(1)));
    let (_, over) = submitted(&mut flows);
    assert_eq!(over, [waiting]);
    assert_eq!(
        flows.take(waiting).map(|graph| graph.record(Timestamp::UNIX_EPOCH).state),
        Some(WorkflowState::Cancelled)
    );
    flows.ended(held[0], success(), Tick(2));
    assert_eq!(submitted(&mut flows).1, [holder]);
    flows.take(holder);
    assert!(flows.gate.is_empty() && !flows.cancel(waiting, Tick(3)));
    let again = begin(&mut flows, WorkflowSpec::of([keyed("again", 1), step("rest").needs(slots(3))]));
    assert_eq!(submitted(&mut flows).0.len(), 2, "nothing is still in use");
    assert_eq!((flows.len(), flows.graph(again).is_some()), (1, true));
}

#[test]
fn a_rate_says_when_the_next_start_may_be() {
    let mut flows = Workflows::new(ROOM);
    let rate = Rate { key: "calls".into(), count: 1, per: Duration::from_secs(1), burst: 1 };
    begin(&mut flows, WorkflowSpec::of(["a", "b"].map(|name| step(name).rate(rate.clone()))));
    assert_eq!(submitted(&mut flows).0.len(), 1);
    let next = flows.next_tick().expect("the other one waits");
    flows.tick(Tick(next.0 - 1));
    assert_eq!(submitted(&mut flows).0.len(), 0);
    flows.tick(next);
    assert_eq!((submitted(&mut flows).0.len(), flows.next_tick()), (1, None), "L10");
    // One that is cancelled while it waits for its rate leaves no timer behind.
    let last = begin(&mut flows, WorkflowSpec::of([step("c").rate(rate.clone())]));
    flows.tick(next);
    assert!(flows.next_tick().is_some());
    flows.cancel(last, next);
    assert_eq!(flows.next_tick(), None, "L10");
}

#[test]
fn l3_an_end_that_comes_twice_or_late_changes_nothing() {
    let mut flows = Workflows::new(ROOM);
    let id = begin(&mut flows, WorkflowSpec::of([step("a"), step("b").after("a")]));
    let (first, _) = submitted(&mut flows);
    flows.ended(first[0], success(), Tick(1));
    flows.ended(first[0], success(), Tick(1));
    let (second, over) = submitted(&mut flows);
    assert_eq!((second.len(), over.len()), (1, 0));
    flows.ended(second[0], success(), Tick(2));
    assert_eq!(submitted(&mut flows).1, [id]);
    flows.take(id);
    flows.ended(second[0], success(), Tick(3));
    flows.started(second[0], Tick(3));
    assert!(flows.take_actions().is_empty());
}

#[test]
fn l9_records_are_kept_within_bounds() {
    let mut flows = Workflows::new(ROOM);
    let mut kept = Kept::new(Keep { count: 2, bytes: 1 << 20, each: 0, age: Some(Duration::from_secs(1)) });
    let ids: Vec<WorkflowId> = (0..3).map(|_| begin(&mut flows, WorkflowSpec::of([step("a")]))).collect();
    for id in &ids {
        flows.cancel(*id, Tick(0));
        let graph = flows.take(*id).expect("in flight");
        kept.push(Arc::new(graph.record(Timestamp::UNIX_EPOCH)), Tick(0));
    }
    assert!(kept.get(ids[0], Tick(1)).is_none() && kept.get(ids[2], Tick(1)).is_some());
    assert!(kept.get(ids[2], Tick(1_000_000_000)).is_none(), "it has grown too old");
    assert_eq!((kept.bytes, kept.order.len(), kept.records.len()), (0, 0, 0));
}

proptest! {
    /// Random workflows with random needs and keys, ended and cancelled at random: what runs stays within the
    /// limits, every workflow ends, and nothing is in use afterwards.
    #[test]
    fn l1_every_workflow_ends_within_the_limits(
        flows_of in proptest::collection::vec(proptest::collection::vec((1..=4u32, 0..3u32, any::<bool>()), 1..6), 1..6),
        choices in proptest::collection::vec((any::<u16>(), 0..10u8), 120)
    ) {
        let mut flows = Workflows::new(ROOM);
        let mut left = Vec::new();
        for (number, steps) in flows_of.iter().enumerate() {
            let mut spec = WorkflowSpec::default();
            if number % 2 == 0 {
                spec.capacity = Capacity { processes: Some(4), cpu: Fixed::new(100.0), ..Capacity::default() };
            }
            for (at, (need, key, after)) in steps.iter().enumerate() {
                let mut next = step(&format!("s{at}")).needs(slots(*need));
                if *key > 0 {
                    next = next.concurrency(Concurrency { key: format!("k{key}").into(), max: *key });
                }
                if *after && at > 0 {
                    next = next.after(&*format!("s{}", at - 1));
                }
                spec.steps.push(next);
            }
            left.push(begin(&mut flows, spec));
        }
        let mut running: Vec<StepRef> = Vec::new();
        let mut choices = choices.into_iter().cycle();
        for _ in 0..2000 {
            let (more, over) = submitted(&mut flows);
            running.extend(more);
            for id in over {
                prop_assert!(flows.take(id).is_some(), "L1: it ends once");
                left.retain(|other| *other != id);
            }
            let rules = |step: &StepRef| flows.graph(step.workflow).and_then(|graph| graph.rules_of(step.place)).cloned();
            let rules: Vec<Rules> = running.iter().filter_map(rules).collect();
            let special: u32 = rules.iter().filter(|it| **it != Rules::default()).map(|it| it.needs.slots).filter(|slots| *slots > 1).sum();
            prop_assert!(special <= 4, "{special} slots of 4");
            for key in [1, 2] {
                let with = |it: &&Rules| it.concurrency.as_ref().is_some_and(|limit| *limit.key == *format!("k{key}"));
                prop_assert!(rules.iter().filter(with).count() <= key as usize);
            }
            if left.is_empty() {
                break;
            }
            let (pick, what) = choices.next().unwrap_or_default();
            if what == 0 {
                flows.cancel(left[usize::from(pick) % left.len()], Tick(1));
            } else if !running.is_empty() {
                let next = running.remove(usize::from(pick) % running.len());
                flows.ended(next, success(), Tick(1));
            }
        }
        prop_assert!(left.is_empty(), "L1: {} did not end", left.len());
        prop_assert!(flows.gate.is_empty());
        let all = begin(&mut flows, WorkflowSpec::of([step("all").needs(slots(4)), keyed("k", 1)]));
        prop_assert!(submitted(&mut flows).0.iter().any(|step| step.workflow == all), "nothing is still in use");
    }
}
