//! Each law has a short sequence of facts that breaks it. The oracle refuses the last of them.

use jiff::Timestamp;

use super::*;
use crate::model::{
    AttemptRecord, CancelSource, Concurrency, ErrorKind, FactId, FullAttempt, FullRecord, Incarnation, KillReason,
    Placement, Priority, ReturnCause, Task, TaskError, Timings,
};

fn worker(index: u32, generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId::local(PoolId::CPU, index), generation: Generation(generation) }
}

fn error(kind: ErrorKind) -> TaskError {
    TaskError::new(kind, "bad")
}

fn fact(number: u64, kind: FactKind) -> Fact {
    let id = FactId { incarnation: Incarnation(7), number };
    Fact::new(id, Timestamp::UNIX_EPOCH, Tick(number), kind)
}

fn joined(worker: WorkerRef) -> FactKind {
    FactKind::WorkerJoined { worker, slots: 2, coroutines: 0 }
}

fn accepted(task: &Task) -> FactKind {
    FactKind::TaskAccepted { task: task.clone() }
}

fn sent(task: &Task, worker: WorkerRef, seq: u64, attempt: u32) -> FactKind {
    let placement = Placement::LeastLoaded { score: 0.0 };
    FactKind::TaskSent { task: task.id(), worker, seq: Seq(seq), attempt: Attempt(attempt), placement }
}

fn returned(task: &Task, worker: WorkerRef) -> FactKind {
    FactKind::TaskReturned { task: task.id(), worker, cause: ReturnCause::Revoked }
}

fn ended(worker: WorkerRef, attempt: u32) -> FullAttempt {
    let (sent, ended) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
    let error = error(ErrorKind::WorkerLost);
    FullAttempt(Box::new(AttemptRecord { attempt: Attempt(attempt), worker, sent, ended, error, output: None }))
}

fn rerun(task: &Task, worker: WorkerRef, attempt: u32, counted: bool) -> FactKind {
    FactKind::TaskRerun { task: task.id(), ended: ended(worker, attempt), run_seconds: None, counted }
}

fn retrying(task: &Task, worker: WorkerRef, until: u64) -> FactKind {
    let (ended, until) = (ended(worker, 1), Tick(until));
    FactKind::TaskRetrying { task: task.id(), ended, run_seconds: None, until, wait_seconds: 0.0 }
}

fn killed(task: &Task, worker: WorkerRef, seq: u64) -> FactKind {
    FactKind::KillOrdered { task: task.id(), worker, seq: Seq(seq), reason: KillReason::Deadline }
}

fn finished(task: &Task, worker: Option<WorkerRef>, attempt: u32, outcome: Outcome) -> FactKind {
    let epoch = Timestamp::UNIX_EPOCH;
    FactKind::TaskFinished {
        record: FullRecord(std::sync::Arc::new(TaskRecord {
            id: task.id(),
            work: task.work().name(),
            pool: task.pool_id(),
            outcome,
            attempt: (attempt > 0).then_some(Attempt(attempt)),
            worker,
            timings: Timings { submitted: epoch, started: None, finished: epoch },
            output: None,
            retries: 0,
            worker_losses: 0,
            earlier: Vec::new(),
            earlier_left_out: 0,
        })),
    }
}

fn failed() -> Outcome {
    Outcome::Failed(Box::new(error(ErrorKind::Exception)))
}

fn lost() -> Outcome {
    Outcome::Lost(Box::new(error(ErrorKind::WorkerLost)))
}

fn tasks() -> [Task; 2] {
    [Task::script("/a.py"), Task::script("/b.py")]
}

/// All but the last fact pass. Returns the law that the last one breaks.
fn broken_by_the_last(kinds: Vec<FactKind>) -> Law {
    let (mut oracle, count) = (Oracle::default(), kinds.len() as u64);
    for (number, kind) in (1..).zip(kinds) {
        let fact = fact(number, kind);
        let checked = oracle.observe(&fact);
        if number < count {
            checked.unwrap_or_else(|broken| panic!("{broken}: {fact:?}"));
            continue;
        }
        let broken = checked.expect_err("the last fact breaks a law");
        assert_eq!((broken.fact, broken.task), (fact.id, fact.kind.task()));
        assert_eq!(oracle.finish(), Err(broken.clone().into()), "a broken law stops the oracle");
        return broken.law;
    }
    unreachable!("there is a last fact")
}

#[test]
fn l13_a_gap_is_refused() {
    let mut oracle = Oracle::default();
    oracle.observe(&fact(3, FactKind::OverloadEnded {})).expect("the first may have any number");
    let broken = oracle.observe(&fact(5, FactKind::OverloadEnded {})).expect_err("4 is missing");
    assert_eq!((broken.law, broken.task, broken.fact.number), (Law::L13, None, 5));
}

#[test]
fn a_missed_fact_stops_the_oracle_without_an_alarm() {
    let mut oracle = Oracle::default();
    oracle.observe(&fact(3, FactKind::OverloadEnded {})).expect("the first");
    oracle.missed(1);
    oracle.observe(&fact(5, FactKind::OverloadEnded {})).expect("no verdict");
    assert_eq!(oracle.finish(), Err(OracleStopped::FactsMissed(1)));
}

#[test]
fn l13_a_record_states_what_the_facts_before_it_state() {
    let ([a, _], w) = (tasks(), worker(0, 1));
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), rerun(&a, w, 1, true), sent(&a, w, 2, 2)];
    let forgets = [begin, vec![finished(&a, Some(w), 2, failed())]].concat();
    assert_eq!(broken_by_the_last(forgets), Law::L13);
}

#[test]
fn l1_one_acceptance_one_outcome_and_nothing_outside_of_them() {
    let ([a, b], w) = (tasks(), worker(0, 1));
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), finished(&a, Some(w), 1, failed())];
    let then = |kind| [begin.clone(), vec![kind]].concat();
    assert_eq!(broken_by_the_last(then(accepted(&a))), Law::L1);
    assert_eq!(broken_by_the_last(then(finished(&a, Some(w), 1, failed()))), Law::L1);
    assert_eq!(broken_by_the_last(then(returned(&a, w))), Law::L1);
    assert_eq!(broken_by_the_last(then(sent(&b, w, 2, 1))), Law::L1);
}

#[test]
fn l1_the_oracle_names_the_tasks_without_an_outcome() {
    let ([a, b], mut oracle) = (tasks(), Oracle::default());
    let kinds = [accepted(&a), accepted(&b), finished(&a, None, 0, failed())];
    for (number, kind) in (1..).zip(kinds) {
        oracle.observe(&fact(number, kind)).expect("no law is broken");
    }
    assert_eq!(oracle.finish(), Ok(vec![b.id()]));
    assert_eq!(oracle.state().accepted, 2);
}

#[test]
fn l3_a_stale_fact_is_refused() {
    let ([a, b], w) = (tasks(), worker(0, 2));
    let begin = vec![joined(w), accepted(&a), accepted(&b), sent(&a, w, 1, 1)];
    let then = |kind| [begin.clone(), vec![kind]].concat();
    assert_eq!(broken_by_the_last(then(returned(&a, worker(0, 1)))), Law::L3, "another generation");
    assert_eq!(broken_by_the_last(then(finished(&a, Some(worker(0, 1)), 1, failed()))), Law::L3);
    assert_eq!(broken_by_the_last(then(rerun(&a, w, 2, true))), Law::L3, "another attempt");
    assert_eq!(broken_by_the_last(then(sent(&a, w, 2, 2))), Law::L3, "it is with a worker");
    assert_eq!(broken_by_the_last(then(sent(&b, worker(1, 1), 1, 1))), Law::L3, "the worker is not there");
    assert_eq!(broken_by_the_last(then(sent(&b, w, 1, 1))), Law::L3, "the seq is taken");
    let again = vec![joined(w), FactKind::WorkerLeft { worker: w }, joined(worker(0, 1))];
    assert_eq!(broken_by_the_last(again), Law::L3, "a generation comes once");
}

#[test]
fn l5_what_had_not_started_is_not_counted() {
    let ([a, _], w) = (tasks(), worker(0, 1));
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), returned(&a, w)];
    let then = |kind| [begin.clone(), vec![kind]].concat();
    assert_eq!(broken_by_the_last(then(sent(&a, w, 2, 2))), Law::L5);
    assert_eq!(broken_by_the_last(then(finished(&a, None, 1, failed()))), Law::L5);
    let skips = vec![joined(w), accepted(&a), sent(&a, w, 1, 2)];
    assert_eq!(broken_by_the_last(skips), Law::L5, "attempts grow by one");
}

#[test]
fn l6_a_kill_names_the_attempt_that_is_with_the_worker() {
    let ([a, b], w) = (tasks(), worker(0, 1));
    let begin = vec![joined(w), accepted(&a), accepted(&b), sent(&a, w, 1, 1)];
    let then = |kinds: &[FactKind]| [begin.clone(), kinds.to_vec()].concat();
    assert_eq!(broken_by_the_last(then(&[killed(&a, w, 2)])), Law::L6, "another seq");
    assert_eq!(broken_by_the_last(then(&[killed(&a, worker(0, 2), 1)])), Law::L6, "another worker");
    assert_eq!(broken_by_the_last(then(&[killed(&b, w, 1)])), Law::L6, "it is queued");
    assert_eq!(broken_by_the_last(then(&[killed(&a, w, 1), killed(&a, w, 1)])), Law::L6, "one at a time");
    let spared = |task: &Task, seq| FactKind::KillSpared { task: task.id(), worker: w, seq: Seq(seq) };
    assert_eq!(broken_by_the_last(then(&[killed(&a, w, 1), spared(&a, 2)])), Law::L6, "another was to be killed");
    assert_eq!(broken_by_the_last(then(&[killed(&a, w, 1), spared(&b, 1)])), Law::L6, "of another task");
    assert_eq!(broken_by_the_last(then(&[spared(&a, 1)])), Law::L6, "none was to be killed");
    let interrupt = FactKind::InterruptOrdered { task: a.id(), worker: w, seq: Seq(2) };
    assert_eq!(broken_by_the_last(then(&[interrupt])), Law::L6);
}

#[test]
fn l13_a_worker_is_killed_after_an_order() {
    let ([a, _], w) = (tasks(), worker(0, 1));
    let reason = WorkerDownReason::Killed(KillReason::Deadline);
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1)];
    assert_eq!(broken_by_the_last([begin, vec![FactKind::WorkerDown { worker: w, reason }]].concat()), Law::L13);
}

#[test]
fn l15_a_reason_names_the_tasks_that_hold_the_key() {
    let (w, with) =
        (worker(0, 1), |key: &str| Task::script("/a.py").concurrency(Concurrency { key: key.into(), max: 1 }));
    let (a, b, other) = (with("db"), with("db"), with("api"));
    let admitted = |task: &Task| FactKind::TaskAdmitted { task: task.id() };
    let begin = [joined(w), accepted(&a), accepted(&b), accepted(&other), admitted(&a), admitted(&other)];
    let blocked = |by| [&begin[..], &[FactKind::TaskBlocked { task: b.id(), by }]].concat();
    let held = |running, holders: &[&Task]| {
        let holders = holders.iter().map(|task| task.id()).collect();
        blocked(BlockedBy::Concurrency { key: "db".into(), max: 1, running, holders })
    };
    let mut oracle = Oracle::default();
    for (number, kind) in (1..).zip(held(1, &[&a])) {
        oracle.observe(&fact(number, kind)).expect("it holds the key");
    }
    assert_eq!(broken_by_the_last(held(1, &[])), Law::L15, "the holder is not named");
    assert_eq!(broken_by_the_last(held(1, &[&b])), Law::L15, "it waits itself");
    assert_eq!(broken_by_the_last(held(1, &[&other])), Law::L15, "it holds another key");
    assert_eq!(broken_by_the_last(held(0, &[])), Law::L15, "the key has room");
    let reserved = blocked(BlockedBy::Reserved { by: Some(TaskId::generate()) });
    assert_eq!(broken_by_the_last(reserved), Law::L15, "no such task waits");
}

#[test]
fn l12_tasks_start_by_priority_and_in_their_order() {
    let ([a, b], w) = (tasks(), worker(0, 1));
    let urgent = b.clone().priority(Priority::try_from(0).expect("in range"));
    let overtakes = vec![joined(w), accepted(&a), accepted(&b), sent(&b, w, 1, 1)];
    assert_eq!(broken_by_the_last(overtakes), Law::L12);
    let waits = vec![joined(w), accepted(&a), accepted(&urgent), sent(&a, w, 1, 1)];
    assert_eq!(broken_by_the_last(waits), Law::L12);
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), accepted(&b), returned(&a, w)];
    assert_eq!(broken_by_the_last([begin, vec![sent(&b, w, 2, 1)]].concat()), Law::L12, "what came back is first");
}

#[test]
fn a_task_after_a_counted_loss_runs_alone() {
    let ([a, b], w) = (tasks(), worker(0, 1));
    let lost = vec![joined(w), accepted(&a), accepted(&b), sent(&a, w, 1, 1), rerun(&a, w, 1, true)];
    let joins = [lost.clone(), vec![sent(&b, w, 2, 1), sent(&a, w, 3, 2)]].concat();
    assert_eq!(broken_by_the_last(joins), Law::Isolation);
    let is_joined = [lost, vec![sent(&a, w, 2, 2), sent(&b, w, 3, 1)]].concat();
    assert_eq!(broken_by_the_last(is_joined), Law::Isolation);
}

#[test]
fn losses_are_bounded() {
    let w = worker(0, 1);
    let lost_with = |most, kinds: &dyn Fn(&Task) -> Vec<FactKind>| {
        let task = Task::script("/a.py").max_worker_losses(most);
        let begin = vec![joined(w), accepted(&task), sent(&task, w, 1, 1)];
        broken_by_the_last([begin, kinds(&task)].concat())
    };
    assert_eq!(lost_with(0, &|task| vec![rerun(task, w, 1, false)]), Law::Losses, "it must not run twice");
    let twice = |task: &Task| vec![rerun(task, w, 1, true), sent(task, w, 2, 2), rerun(task, w, 2, true)];
    assert_eq!(lost_with(1, &twice), Law::Losses);
    assert_eq!(lost_with(1, &|task| vec![finished(task, Some(w), 1, lost())]), Law::Losses, "lost too early");
}

#[test]
fn a_task_stays_in_its_pool_and_a_wait_is_not_cut_short() {
    let ([a, _], w) = (tasks(), worker(0, 1));
    let other = a.clone().on(PoolId::IO);
    assert_eq!(broken_by_the_last(vec![joined(w), accepted(&other), sent(&other, w, 1, 1)]), Law::Pool);
    let due = FactKind::TaskDue { task: a.id() };
    let early = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), retrying(&a, w, 100), due];
    assert_eq!(broken_by_the_last(early), Law::Wait);
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1)];
    let longer = [begin, vec![retrying(&a, w, 1_000_000_000)]].concat();
    assert_eq!(broken_by_the_last(longer), Law::Wait, "it states a wait of 0 s");
}

#[test]
fn l5_a_worker_that_left_ran_no_more_attempts_than_it_has_places() {
    let kinds = three_reruns(|worker| vec![FactKind::WorkerLeft { worker }]);
    assert_eq!(broken_by_the_last(kinds), Law::L5, "it has two slots, and the third had not started");
}

#[test]
fn l8_of_a_worker_that_broke_the_protocol_everything_it_was_sent_may_have_run() {
    for is_down_first in [true, false] {
        let kinds = three_reruns(|worker| {
            let reason = WorkerDownReason::Protocol { violation: "it".into() };
            let mut leaves = vec![FactKind::WorkerDown { worker, reason }, FactKind::WorkerLeft { worker }];
            if !is_down_first {
                leaves.reverse();
            }
            leaves
        });
        let mut oracle = Oracle::default();
        for (number, kind) in (1..).zip(kinds) {
            oracle.observe(&fact(number, kind)).expect("no law is broken");
        }
    }
}

/// Three tasks of a worker with two slots, which leaves, run again.
fn three_reruns(leaves: impl Fn(WorkerRef) -> Vec<FactKind>) -> Vec<FactKind> {
    let (w, all) = (worker(0, 1), [(); 3].map(|()| Task::script("/a.py")));
    let mut kinds = vec![joined(w)];
    kinds.extend(all.iter().map(accepted));
    kinds.extend((1..).zip(&all).map(|(seq, task)| sent(task, w, seq, 1)));
    kinds.extend(leaves(w));
    kinds.extend(all.iter().map(|task| rerun(task, w, 1, true)));
    kinds
}

#[test]
fn a_cancelled_task_gets_no_further_attempt() {
    let ([a, _], w) = (tasks(), worker(0, 1));
    let cancelled = FactKind::CancelRequested { task: a.id(), by: CancelSource::Caller, grace_seconds: Some(1.0) };
    let begin = vec![joined(w), accepted(&a), sent(&a, w, 1, 1), cancelled];
    let then = |kinds: &[FactKind]| broken_by_the_last([begin.clone(), kinds.to_vec()].concat());
    assert_eq!(then(&[retrying(&a, w, 6)]), Law::Cancel);
    assert_eq!(then(&[rerun(&a, w, 1, true)]), Law::Cancel);
    assert_eq!(then(&[returned(&a, w), sent(&a, w, 2, 1)]), Law::Cancel);
}

#[test]
fn keys_have_no_more_holders_than_they_allow() {
    let [one, other] = [(); 2].map(|()| Task::script("/a.py").unique("nightly").expect("a key"));
    assert_eq!(broken_by_the_last(vec![accepted(&one), accepted(&other)]), Law::Unique);
    let [one, other] = [(); 2].map(|()| Task::script("/a.py").concurrency(Concurrency { key: "db".into(), max: 1 }));
    let admitted = |task: &Task| FactKind::TaskAdmitted { task: task.id() };
    let both = vec![accepted(&one), accepted(&other), admitted(&one), admitted(&other)];
    assert_eq!(broken_by_the_last(both), Law::Concurrency);
}
