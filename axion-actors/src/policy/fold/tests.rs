//! Facts that cannot follow each other are refused, and change nothing.

use super::*;
use crate::model::{Attempt, Generation, Incarnation, Placement};

fn fact(number: u64, kind: FactKind) -> Fact {
    let id = FactId { incarnation: Incarnation(7), number };
    Fact::new(id, jiff::Timestamp::UNIX_EPOCH, Tick(number), kind)
}

fn worker() -> WorkerRef {
    WorkerRef { id: "cpu-0".parse().expect("a worker"), generation: Generation(1) }
}

fn sent(task: TaskId, attempt: u32) -> FactKind {
    let placement = Placement::Isolated;
    FactKind::TaskSent { task, worker: worker(), seq: Seq(1), attempt: Attempt(attempt), placement }
}

#[test]
fn a_gap_is_refused_with_the_two_ids() {
    let mut state = EngineState::default();
    state.apply(&fact(3, FactKind::OverloadEnded {})).expect("the first may have any number");
    let error = state.apply(&fact(5, FactKind::OverloadEnded {})).expect_err("4 is missing");
    assert_eq!(error.to_string(), "fact 7.5 follows fact 7.3: facts are missing between them");
    state.apply(&fact(4, FactKind::OverloadEnded {})).expect("it changed nothing");
}

#[test]
fn l1_l3_l5_what_cannot_happen_is_refused() {
    let (mut state, task) = (EngineState::default(), Task::script("/a.py"));
    let id = task.id();
    let mut apply = |kind| state.apply_kind(Tick(1), &kind);
    assert!(matches!(apply(sent(id, 1)), Err(FoldError::WrongWorker { .. })), "L3: the worker is not there");
    apply(FactKind::WorkerJoined { worker: worker(), slots: 1, coroutines: 0 }).expect("new");
    assert!(matches!(apply(sent(id, 1)), Err(FoldError::NotLive { .. })));
    apply(FactKind::TaskAccepted { task: task.clone() }).expect("new");
    assert_eq!(apply(FactKind::TaskAccepted { task }), Err(FoldError::AcceptedTwice { task: id }), "L1");
    assert!(matches!(apply(sent(id, 2)), Err(FoldError::WrongAttempt { .. })), "L5");
    apply(sent(id, 1)).expect("queued");
    assert!(matches!(apply(sent(id, 2)), Err(FoldError::WrongPhase { .. })));
}

#[test]
fn l3_a_task_is_held_anew_only_before_its_first_attempt_and_until_a_calendar_time() {
    let hour = std::time::Duration::from_secs(3600);
    let held = |task, until| FactKind::TaskHeld { task, until: Tick(until), wait_seconds: 1.0 };
    let delayed = Task::script("/a.py").delay(hour);
    let timed = Task::script("/a.py").not_before(jiff::Timestamp::UNIX_EPOCH + hour);
    for (task, is_allowed) in [(delayed, false), (timed, true)] {
        let (mut state, id) = (EngineState::default(), task.id());
        state.apply_kind(Tick(1), &FactKind::TaskAccepted { task }).expect("new");
        state.apply_kind(Tick(1), &held(id, 9)).expect("queued");
        assert_eq!(state.apply_kind(Tick(2), &held(id, 5)).is_ok(), is_allowed);
        assert_eq!(state.tasks[&id].phase, TaskPhase::Waiting { until: Tick(if is_allowed { 5 } else { 9 }) });
    }
}
