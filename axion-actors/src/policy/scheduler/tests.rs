//! Placement, windows and departures as cases; L1, L3, L5 over random histories.

mod ends;
mod limits;
mod pools;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::option;
use proptest::prelude::*;

use super::*;
use std::sync::Arc;

use crate::model::{
    Attempt, ErrorKind, EventKind, Generation, Json, Priority, ProcessExit, ScriptPath, TaskRecord, WorkKey,
    WorkerDownReason, WorkerId,
};
use crate::policy::task_table::Keep;

const MS: u64 = 1_000_000;

fn scheduler() -> Scheduler {
    let mut table =
        TaskTable::new(Timestamp::UNIX_EPOCH, Keep { count: 1 << 20, bytes: 1 << 30, each: 1 << 20, age: None });
    table.record_events(true);
    Scheduler::new(table, [PoolRules::default(); 2], model::Capacity::default())
}

fn slots(slots: usize) -> Capacity {
    Capacity { slots, coroutines: 0 }
}

fn worker(index: u32, generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId { pool: PoolKind::Cpu, index }, generation: Generation(generation) }
}

fn submit(scheduler: &mut Scheduler, count: usize, now: Tick) -> Vec<TaskId> {
    submit_as(scheduler, count, now, |task| task)
}

fn submit_as(scheduler: &mut Scheduler, count: usize, now: Tick, shape: impl Fn(Task) -> Task) -> Vec<TaskId> {
    let ids = (0..count)
        .map(|_| {
            let task = shape(Task::script("/a.py"));
            let id = task.id();
            scheduler.submit(task, now).expect("new");
            id
        })
        .collect();
    scheduler.place(PoolKind::Cpu, now);
    ids
}

fn done(seq: Seq, nanos: u64) -> Report {
    Report::Ended { seq, nanos, result: Ok(Json("1".into()).into()), output: None }
}

fn killed(running: &[u64]) -> Departure {
    Departure {
        reason: WorkerDownReason::Exited(ProcessExit::Signal(9)),
        running: Some(running.iter().copied().map(Seq).collect()),
        outputs: Vec::new(),
        post_mortem: None,
    }
}

/// The seqs sent to a worker by the actions so far.
fn sent(scheduler: &mut Scheduler, to: WorkerRef) -> Vec<u64> {
    let actions = scheduler.take_actions();
    let runs = actions.into_iter().filter_map(|action| match action {
        Action::Run { worker, tasks } if worker == to => Some(tasks),
        _ => None,
    });
    runs.flatten().map(|task| task.seq.0).collect()
}

#[test]
fn c1_5_equal_tasks_over_idle_workers_differ_by_at_most_one() {
    let mut scheduler = scheduler();
    for index in 0..3 {
        scheduler.joined(worker(index, 1), slots(4), Tick(0));
    }
    submit(&mut scheduler, 8, Tick(0));
    let counts: Vec<usize> = (0..3).map(|index| scheduler.sent_to(worker(index, 1)).len()).collect();
    assert_eq!(counts, [3, 3, 2]);
}

#[test]
fn nothing_is_sent_ahead_of_a_task_whose_run_time_is_unknown_or_long() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 5, Tick(0));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), 500 * MS)], Tick(500 * MS));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [2]);
}

#[test]
fn short_tasks_are_sent_ahead_up_to_two_milliseconds_of_work() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 50, Tick(0));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 2)], Tick(MS));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [2, 3, 4, 5]);
}

#[test]
fn tasks_behind_one_that_turned_out_long_are_revoked_after_20_ms_and_go_elsewhere_in_order() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 5, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 2)], Tick(MS));
    scheduler.take_actions();
    assert_eq!(scheduler.next_tick(), Some(Tick(21 * MS)));
    scheduler.tick(Tick(20 * MS));
    assert!(scheduler.take_actions().is_empty(), "not yet");
    scheduler.tick(Tick(21 * MS));
    let actions = scheduler.take_actions();
    let [Action::Revoke { seqs, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(seqs, &[Seq(3), Seq(4), Seq(5)]);
    assert_eq!(scheduler.next_tick(), None, "L10: asked once");

    // The child had taken 3 in the meantime; 4 and 5 come back and go to a second worker in order.
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(5), Seq(4)] }], Tick(22 * MS));
    assert!(sent(&mut scheduler, worker(0, 1)).is_empty(), "a stalled worker is sent nothing ahead");
    scheduler.joined(worker(1, 1), slots(1), Tick(23 * MS));
    let actions = scheduler.take_actions();
    let [Action::Run { worker: to, tasks }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((*to, tasks[0].id, tasks[0].attempt), (worker(1, 1), ids[3], Attempt(1)));
}

#[test]
fn l5_a_dead_worker_loses_what_it_ran_and_gives_back_the_rest_in_order() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit_as(&mut scheduler, 4, Tick(0), |task| task.max_worker_losses(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 10)], Tick(MS));
    scheduler.take_actions();
    scheduler.left(worker(0, 1), killed(&[2]), Tick(2 * MS));
    let actions = scheduler.take_actions();
    let [Action::Finished { record, .. }, Action::Call { .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(record.id, ids[1]);
    let error = record.outcome.error().expect("lost");
    assert!(error.message.contains("cpu-0") && error.message.contains("SIGKILL"), "{}", error.message);
    scheduler.joined(worker(0, 2), slots(1), Tick(3 * MS));
    let actions = scheduler.take_actions();
    let [Action::Run { tasks, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(
        tasks.iter().map(|t| (t.id, t.attempt)).collect::<Vec<_>>(),
        [(ids[2], Attempt(1)), (ids[3], Attempt(1))]
    );
}

#[test]
fn l12_tasks_start_in_the_order_they_were_accepted_also_after_they_came_back() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 6, Tick(0));
    let started = |scheduler: &mut Scheduler| -> Vec<TaskId> {
        let runs = scheduler.take_actions().into_iter().filter_map(|action| match action {
            Action::Run { tasks, .. } => Some(tasks),
            _ => None,
        });
        runs.flatten().map(|task| task.id).collect()
    };
    assert_eq!(started(&mut scheduler), ids[..1]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 10)], after(1));
    assert_eq!(started(&mut scheduler), ids[1..]);
    // The worker dies while it runs the second: the others come back, and later ones stay behind them.
    let late = submit(&mut scheduler, 1, after(2));
    assert_eq!(started(&mut scheduler), late, "sent ahead behind them");
    scheduler.left(worker(0, 1), killed(&[2]), after(3));
    scheduler.joined(worker(0, 2), slots(1), after(4));
    let mut order = started(&mut scheduler);
    for seq in 1..=6 {
        scheduler.reported(worker(0, 2), vec![done(Seq(seq), MS / 10)], after(4 + seq));
        order.extend(started(&mut scheduler));
    }
    order.retain(|id| *id != ids[1]); // a suspect goes first, alone
    let expected: Vec<TaskId> = ids[2..].iter().chain(&late).copied().collect();
    assert_eq!(order, expected);
}

#[test]
fn an_idle_worker_that_dies_with_an_unread_task_does_not_lose_it() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.left(worker(0, 1), killed(&[]), Tick(1));
    scheduler.joined(worker(0, 2), slots(1), Tick(2));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 1);
}

#[test]
fn a_pool_that_cannot_start_fails_its_tasks_with_the_reason_and_heals() {
    let mut scheduler = scheduler();
    submit(&mut scheduler, 2, Tick(0));
    let error = TaskError::new(ErrorKind::WorkerStartFailed, "no python3");
    scheduler.unavailable(PoolKind::Cpu, error.clone(), Tick(1));
    submit(&mut scheduler, 1, Tick(2));
    let ends = finished(scheduler.take_actions());
    assert_eq!(ends.len(), 3);
    for record in ends {
        assert_eq!(record.outcome.error(), Some(&error));
    }
    scheduler.joined(worker(0, 1), slots(1), Tick(3));
    submit(&mut scheduler, 1, Tick(4));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1);
}

fn failing(seq: Seq, kind: ErrorKind) -> Report {
    Report::Ended { seq, nanos: MS, result: Err(Box::new(TaskError::new(kind, "bad"))), output: None }
}

fn finished(actions: Vec<Action>) -> Vec<Arc<TaskRecord>> {
    let records = actions.into_iter().filter_map(|action| match action {
        Action::Finished { record, .. } => Some(record),
        _ => None,
    });
    records.collect()
}

fn killed_by(reason: KillReason, running: &[u64]) -> Departure {
    Departure { reason: WorkerDownReason::Killed(reason), ..killed(running) }
}

fn after(now: u64) -> Tick {
    Tick(now * MS)
}

#[test]
fn l6_a_deadline_kills_the_attempt_and_its_neighbours_run_again_uncounted() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    let limit = Duration::from_millis(50);
    let late = submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(limit).soft_timeout(limit / 2))[0];
    let others = submit(&mut scheduler, 3, Tick(0));
    scheduler.take_actions();
    assert_eq!(scheduler.next_tick(), Some(after(25)));
    scheduler.tick(after(25));
    assert!(matches!(scheduler.take_actions()[..], [Action::Interrupt { seq: Seq(1), .. }]));
    scheduler.tick(after(50));
    let actions = scheduler.take_actions();
    assert!(matches!(actions[..], [Action::Kill { seq: Seq(1), reason: KillReason::Deadline, .. }]), "{actions:?}");
    submit(&mut scheduler, 1, after(51));
    assert!(sent(&mut scheduler, worker(0, 1)).is_empty(), "a condemned worker takes nothing");

    scheduler.left(worker(0, 1), killed_by(KillReason::Deadline, &[1, 2, 3]), after(60));
    let records = finished(scheduler.take_actions());
    assert_eq!((records.len(), records[0].id, records[0].outcome.name()), (1, late, "timed_out"));
    scheduler.joined(worker(0, 2), slots(3), after(70));
    for seq in 1..=3 {
        scheduler.reported(worker(0, 2), vec![done(Seq(seq), MS)], after(80));
    }
    let records = finished(scheduler.take_actions());
    let mut ids: Vec<TaskId> = records.iter().map(|record| record.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, others);
    assert!(records.iter().all(|record| record.worker_losses == 0 && record.outcome.is_success()));
    let attempts: Vec<u32> = others
        .iter()
        .map(|id| records.iter().find(|it| it.id == *id).map_or(0, |it| it.attempt.map_or(0, |a| a.0)))
        .collect();
    assert_eq!(attempts, [2, 2, 1], "two ran beside it, the third had not started");
}

#[test]
fn a_result_that_came_before_the_kill_counts_and_the_worker_goes_on() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(Duration::from_millis(5)));
    scheduler.tick(after(5));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS), Report::Spared { seq: Seq(1) }], after(6));
    assert!(finished(scheduler.take_actions())[0].outcome.is_success());
    submit(&mut scheduler, 1, after(7));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [2]);
    assert_eq!(scheduler.next_tick(), None, "L10: no timer is left");
}

#[test]
fn a_time_limit_runs_from_the_start_not_from_the_sending_ahead() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let limit = Duration::from_millis(10);
    submit_as(&mut scheduler, 3, Tick(0), |task| task.timeout(limit));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), 1000)], after(1));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1, 2, 3]);
    scheduler.reported(worker(0, 1), vec![done(Seq(2), 1000)], after(8));
    scheduler.tick(after(17));
    assert!(scheduler.take_actions().iter().all(|action| !matches!(action, Action::Kill { .. })));
    scheduler.tick(after(18));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(3), .. }]));
}

#[test]
fn a_failure_is_retried_after_its_wait_and_the_attempts_are_kept() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let id = submit_as(&mut scheduler, 1, Tick(0), |task| task.retry(crate::model::RetryPolicy::times(2)))[0];
    for (seq, fails_at, due) in [(1, 1, 501), (2, 600, 1600)] {
        assert_eq!(sent(&mut scheduler, worker(0, 1)), [seq]);
        scheduler.reported(worker(0, 1), vec![failing(Seq(seq), ErrorKind::Exception)], after(fails_at));
        assert_eq!(scheduler.next_tick(), Some(after(due)));
        scheduler.tick(after(due));
    }
    scheduler.reported(worker(0, 1), vec![failing(Seq(3), ErrorKind::Exception)], after(1700));
    let records = finished(scheduler.take_actions());
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.id, record.outcome.name(), record.retries), (id, "failed", 2));
    assert_eq!(record.earlier.iter().map(|it| it.attempt.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(record.attempt, Some(Attempt(3)));
}

#[test]
fn only_a_task_that_waits_can_be_withdrawn() {
    let mut scheduler = scheduler();
    let ids = submit(&mut scheduler, 2, Tick(0));
    assert!(!scheduler.withdraw(TaskId::generate(), Tick(0)));
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    assert_eq!(ids_sent(&scheduler.take_actions()), [ids[0]]);
    assert!(!scheduler.withdraw(ids[0], Tick(0)), "it runs");
    assert!(scheduler.take_actions().is_empty(), "and is not disturbed");
    assert!(scheduler.withdraw(ids[1], Tick(0)));
    assert!(!scheduler.withdraw(ids[1], Tick(0)), "it has ended");
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (ids[1], "cancelled"));
}

#[test]
fn cancelling_answers_for_every_state_a_task_can_be_in() {
    let mut scheduler = scheduler();
    let grace = Duration::from_millis(100);
    assert_eq!(scheduler.cancel(TaskId::generate(), grace, Tick(0)), CancelAnswer::Unknown);
    let queued = submit(&mut scheduler, 1, Tick(0))[0];
    assert_eq!(scheduler.cancel(queued, grace, Tick(0)), CancelAnswer::Removed);
    assert_eq!(scheduler.cancel(queued, grace, Tick(0)), CancelAnswer::AlreadyFinished("cancelled"));
    assert_eq!(scheduler.table().waiting().0, 0);

    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let running = submit_as(&mut scheduler, 1, Tick(0), |task| task.retry(crate::model::RetryPolicy::times(5)))[0];
    scheduler.take_actions();
    assert_eq!(scheduler.cancel(running, grace, after(1)), CancelAnswer::Requested);
    assert_eq!(scheduler.cancel(running, grace, after(2)), CancelAnswer::AlreadyRequested);
    assert!(matches!(scheduler.take_actions()[..], [Action::Cancel { seq: Seq(1), .. }]));
    scheduler.tick(after(101));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(1), reason: KillReason::Cancel, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::Cancel, &[1]), after(102));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (running, "cancelled"), "and is not retried");

    scheduler.joined(worker(0, 2), slots(1), after(110));
    let waiting = submit_as(&mut scheduler, 1, after(110), |task| task.retry(crate::model::RetryPolicy::times(5)))[0];
    scheduler.reported(worker(0, 2), vec![failing(Seq(1), ErrorKind::Exception)], after(111));
    assert_eq!(scheduler.cancel(waiting, grace, after(112)), CancelAnswer::Removed);
    assert_eq!(scheduler.next_tick(), None, "its timer is stopped");

    // Sent ahead: it comes back from the worker and is cancelled instead of queued.
    let ahead = submit(&mut scheduler, 3, after(120));
    scheduler.reported(worker(0, 2), vec![done(Seq(2), 1000)], after(121));
    scheduler.take_actions();
    assert_eq!(scheduler.cancel(ahead[2], grace, after(122)), CancelAnswer::Requested);
    scheduler.reported(worker(0, 2), vec![Report::Revoked { seqs: vec![Seq(4)] }], after(123));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (ahead[2], "cancelled"));
}

#[test]
fn cancelling_a_task_whose_record_was_dropped_still_tells_its_outcome() {
    let keep = Keep { count: 1, bytes: 1 << 20, each: 1 << 20, age: None };
    let mut scheduler = Scheduler::new(
        TaskTable::new(Timestamp::UNIX_EPOCH, keep),
        [PoolRules::default(); 2],
        model::Capacity::default(),
    );
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 2, Tick(0));
    for seq in [1, 2] {
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), 1000)], Tick(seq));
    }
    assert!(matches!(scheduler.table().find(ids[0]), Found::Expired(_)));
    assert_eq!(scheduler.cancel(ids[0], Duration::ZERO, Tick(9)), CancelAnswer::AlreadyFinished("succeeded"));
}

#[test]
fn a_poison_task_convicts_itself_and_its_neighbours_succeed() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(20), Tick(0));
    let ids = submit(&mut scheduler, 20, Tick(0));
    let poison = ids[7];
    let (mut generation, mut now, mut records) = (1, 1, Vec::new());
    while scheduler.table().live() > 0 {
        now += 1;
        assert!(now < 1000, "it comes to an end");
        let me = worker(0, generation);
        let sent = scheduler.sent_to(me);
        let id = |scheduler: &Scheduler, key| scheduler.table().task(key).map(Task::id);
        if sent.iter().any(|(key, _)| id(&scheduler, *key) == Some(poison)) {
            let running: Vec<u64> = sent.iter().map(|(_, seq)| seq.0).collect();
            scheduler.left(me, killed(&running), after(now));
            generation += 1;
            scheduler.joined(worker(0, generation), slots(20), after(now));
        } else {
            let (_, seq) = sent[0];
            scheduler.reported(me, vec![done(seq, MS)], after(now));
        }
        records.extend(finished(scheduler.take_actions()));
    }
    for record in records {
        if record.id == poison {
            assert_eq!((record.outcome.name(), record.worker_losses, record.earlier.len()), ("lost", 2, 2));
        } else {
            assert!(record.outcome.is_success(), "{record:?}");
            assert_eq!((record.worker_losses, record.attempt), (1, Some(Attempt(2))));
        }
    }
}

#[test]
fn a_task_that_has_not_started_in_time_expires_and_one_that_has_does_not() {
    let mut scheduler = scheduler();
    let ttl = |task: Task| task.ttl(Duration::from_millis(10));
    let ids = submit_as(&mut scheduler, 3, Tick(0), ttl);
    scheduler.joined(worker(0, 1), slots(1), after(1));
    scheduler.tick(after(9));
    assert_eq!(scheduler.table().live(), 3);
    scheduler.tick(after(10));
    let records = finished(scheduler.take_actions());
    assert_eq!(
        records.iter().map(|it| (it.id, it.outcome.name())).collect::<Vec<_>>(),
        [(ids[1], "expired"), (ids[2], "expired")]
    );
    assert_eq!(scheduler.next_tick(), None, "the clock of the one that runs is stopped");
    assert_eq!(scheduler.table().waiting(), (0, 0));
    scheduler.left(worker(0, 1), killed(&[]), after(11));
    scheduler.tick(after(11));
    assert_eq!(finished(scheduler.take_actions()).len(), 1, "it came back without having started");
}

fn ruled(rules: PoolRules) -> Scheduler {
    let table = TaskTable::new(Timestamp::UNIX_EPOCH, Keep { count: 100, bytes: 1 << 20, each: 1 << 20, age: None });
    Scheduler::new(table, [rules; 2], model::Capacity::default())
}

#[test]
fn a_worker_is_recycled_between_tasks_and_its_successor_is_there_before_it_goes() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(2), ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    scheduler.joined(old, slots(2), Tick(0));
    submit(&mut scheduler, 5, Tick(0));
    scheduler.reported(old, vec![done(Seq(1), MS), done(Seq(2), MS)], after(1));
    let recycled = |actions: &[Action]| actions.iter().filter(|it| matches!(it, Action::Recycle { .. })).count();
    assert_eq!(recycled(&scheduler.take_actions()), 1);
    // Until the successor is there, it works on, and is not asked twice.
    scheduler.reported(old, vec![done(Seq(3), MS)], after(2));
    assert_eq!(recycled(&scheduler.take_actions()), 0);
    scheduler.joined(new, slots(2), after(3));
    submit(&mut scheduler, 2, after(3));
    assert_eq!(scheduler.sent_to(new).len(), 2, "the successor takes what comes");
    assert!(!scheduler.take_actions().iter().any(|it| matches!(it, Action::Retire { .. })), "the old one is busy");
    let rest: Vec<u64> = scheduler.sent_to(old).iter().map(|(_, seq)| seq.0).collect();
    for seq in rest {
        scheduler.reported(old, vec![done(Seq(seq), MS)], after(4));
    }
    let actions = scheduler.take_actions();
    assert!(actions.iter().any(|it| matches!(it, Action::Retire { worker } if *worker == old)), "{actions:?}");
    scheduler.left(old, Departure { reason: WorkerDownReason::Retired, ..killed(&[]) }, after(5));
    assert_eq!(scheduler.sent_to(new).len(), 2, "L3: the departure of the old one is not the new one's");
}

#[test]
fn a_full_worker_is_recycled_and_a_task_above_its_limit_is_ended() {
    let rules = PoolRules { worker_memory: Some(100), task_memory: Some(200), ..PoolRules::default() };
    let mut scheduler = ruled(rules);
    scheduler.joined(worker(0, 1), slots(3), Tick(0));
    scheduler.reported(worker(0, 1), vec![Report::Measured { resident: 100 }], Tick(1));
    assert!(scheduler.take_actions().is_empty());
    scheduler.reported(worker(0, 1), vec![Report::Measured { resident: 101 }], Tick(2));
    assert!(matches!(scheduler.take_actions()[..], [Action::Recycle { .. }]));

    // Three run: nobody knows which one it is. Each runs again alone, and only the guilty one is ended.
    submit(&mut scheduler, 3, Tick(3));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![Report::Measured { resident: 201 }], Tick(4));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { reason: KillReason::MemoryLimit, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::MemoryLimit, &[1, 2, 3]), Tick(5));
    scheduler.joined(worker(0, 2), slots(3), Tick(6));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 1, "alone");
    scheduler.reported(worker(0, 2), vec![Report::Measured { resident: 201 }], Tick(7));
    scheduler.left(worker(0, 2), killed_by(KillReason::MemoryLimit, &[1]), Tick(8));
    let records = finished(scheduler.take_actions());
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.outcome.error().map(|error| error.kind), Some(ErrorKind::MemoryLimit));
    assert_eq!(scheduler.table().live(), 2);
}

fn ids_sent(actions: &[Action]) -> Vec<TaskId> {
    let runs = actions.iter().filter_map(|action| match action {
        Action::Run { tasks, .. } => Some(tasks),
        _ => None,
    });
    runs.flatten().map(|task| task.id).collect()
}

#[test]
fn l12_c4_7_the_higher_priority_starts_first_and_what_came_back_keeps_its_place() {
    let mut scheduler = scheduler();
    let with = |level: u8| move |task: Task| task.priority(Priority::try_from(level).expect("in range"));
    let usual = submit(&mut scheduler, 2, Tick(0));
    let low = submit_as(&mut scheduler, 1, Tick(0), with(9));
    let high = submit_as(&mut scheduler, 2, Tick(0), with(0));
    scheduler.take_actions();
    let mut order = Vec::new();
    for generation in 1..=5 {
        scheduler.joined(worker(0, generation), slots(1), Tick(1));
        order.extend(ids_sent(&scheduler.take_actions()));
        // One that had not started comes back to the front of its priority.
        if generation == 2 {
            scheduler.reported(worker(0, 2), vec![Report::Revoked { seqs: vec![Seq(1)] }], Tick(2));
            assert_eq!(ids_sent(&scheduler.take_actions()), [high[0]]);
        }
        scheduler.left(worker(0, generation), killed(&[]), Tick(3));
    }
    assert_eq!(order, [high[0]; 5], "it never starts, so it stays first");
    scheduler.joined(worker(0, 6), slots(1), Tick(4));
    let mut order = Vec::new();
    for seq in 1..=5 {
        order.extend(ids_sent(&scheduler.take_actions()));
        scheduler.reported(worker(0, 6), vec![done(Seq(seq), 10 * MS)], Tick(5));
    }
    assert_eq!(order, [high[0], high[1], usual[0], usual[1], low[0]]);
}

#[test]
fn a_delayed_task_waits_for_its_time_and_counts_as_waiting() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let late = submit_as(&mut scheduler, 1, Tick(0), |task| task.delay(Duration::from_millis(30)));
    let at = Timestamp::UNIX_EPOCH + Duration::from_millis(20);
    let timed = submit_as(&mut scheduler, 1, Tick(0), |task| task.not_before(at));
    let past = submit_as(&mut scheduler, 1, Tick(0), |task| task.not_before(Timestamp::UNIX_EPOCH));
    assert_eq!(ids_sent(&scheduler.take_actions()), past);
    assert_eq!((scheduler.table().waiting().0, scheduler.table().held_back()), (2, 2));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(MS));
    assert_eq!(scheduler.next_tick(), Some(Tick(20 * MS)), "L10: nothing before that");
    scheduler.tick(Tick(20 * MS));
    assert_eq!(ids_sent(&scheduler.take_actions()), timed);
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], Tick(21 * MS));
    scheduler.tick(Tick(30 * MS));
    assert_eq!(ids_sent(&scheduler.take_actions()), late);

    // It can be cancelled, and expire, while it waits.
    let hour = Duration::from_secs(3600);
    let ids = submit_as(&mut scheduler, 1, Tick(40 * MS), |task| task.delay(hour));
    assert_eq!(scheduler.cancel(ids[0], hour, Tick(41 * MS)), CancelAnswer::Removed);
    submit_as(&mut scheduler, 1, Tick(41 * MS), |task| task.delay(hour).ttl(Duration::from_millis(9)));
    scheduler.tick(Tick(50 * MS));
    let outcomes: Vec<_> = finished(scheduler.take_actions()).iter().map(|it| it.outcome.name()).collect();
    assert_eq!(outcomes, ["cancelled", "expired"]);
    assert_eq!(scheduler.timers.len(), 0, "L9: no timer is left behind");
}

#[test]
fn a_second_task_with_a_unique_key_is_the_first_while_that_is_live() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let nightly = || Task::script("/a.py").unique("nightly").expect("a key");
    let first = nightly();
    let id = first.id();
    assert!(scheduler.submit(first, Tick(0)).is_ok());
    assert_eq!(scheduler.submit(nightly(), Tick(1)), Err(Known::Unique(id)));
    scheduler.place(PoolKind::Cpu, Tick(1));
    assert_eq!(scheduler.submit(nightly(), Tick(2)), Err(Known::Unique(id)), "also while it runs");
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(3));
    assert!(scheduler.submit(nightly(), Tick(4)).is_ok());
    assert_eq!(scheduler.table().live(), 1);
}

#[test]
fn coroutines_have_places_of_their_own_once_their_script_is_known() {
    let mut scheduler = scheduler();
    let io = WorkerRef { id: WorkerId { pool: PoolKind::Io, index: 0 }, generation: Generation(1) };
    scheduler.joined(io, Capacity { slots: 2, coroutines: 3 }, Tick(0));
    let submit = |scheduler: &mut Scheduler, count, script: &str| {
        for _ in 0..count {
            scheduler.submit(Task::script(script).on(PoolKind::Io), Tick(0)).expect("new");
        }
        scheduler.place(PoolKind::Io, Tick(0));
        ids_sent(&scheduler.take_actions()).len()
    };
    assert_eq!(submit(&mut scheduler, 9, "/async.py"), 2, "unknown: as if it took a thread");
    let script = ScriptPath::new("/async.py".as_ref());
    scheduler.durations.learn(WorkKey::Script(&script), true);
    scheduler.place(PoolKind::Io, Tick(0));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 3, "and none is sent ahead");
    // The slots are free again: they are not for coroutines any more.
    scheduler.reported(io, vec![done(Seq(1), MS), done(Seq(2), MS)], Tick(MS));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 0);
    scheduler.reported(io, vec![done(Seq(4), MS)], Tick(MS));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 1);
    scheduler.pools[PoolKind::Io.index()].members.assert_sums();
}

#[test]
fn c0_9_an_idle_worker_takes_half_of_what_another_one_was_sent() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 20)], Tick(0));
    // 40 tasks of 50 µs fill its window: one runs, 39 wait.
    submit(&mut scheduler, 50, Tick(0));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 40);
    scheduler.take_actions();
    // The queue's other ten go to whoever comes, and then half of what waits in the first one's pipe.
    scheduler.joined(worker(1, 1), slots(1), Tick(0));
    let actions = scheduler.take_actions();
    assert_eq!(ids_sent(&actions).len(), 10);
    for seq in 1..=10 {
        scheduler.reported(worker(1, 1), vec![done(Seq(seq), MS / 20)], Tick(MS / 20));
    }
    let actions = scheduler.take_actions();
    let Some(Action::Revoke { worker: victim, seqs }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!((*victim, seqs.len()), (worker(0, 1), 19));
    let seqs = seqs.clone();
    scheduler.place(PoolKind::Cpu, Tick(MS / 20));
    assert!(scheduler.take_actions().is_empty(), "once");
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs }], Tick(MS / 10));
    let stolen = scheduler.sent_to(worker(1, 1)).len();
    assert_eq!((stolen, scheduler.sent_to(worker(0, 1)).len()), (19, 21));
}

#[test]
fn a_pool_shrinks_by_its_idle_workers_first_and_loses_nothing() {
    let mut scheduler = scheduler();
    for index in 0..3 {
        scheduler.joined(worker(index, 1), slots(1), Tick(0));
    }
    submit(&mut scheduler, 2, Tick(0));
    scheduler.take_actions();
    scheduler.shrink(PoolKind::Cpu, 2, Tick(1));
    let actions = scheduler.take_actions();
    let [Action::Retire { worker: idle }, Action::Release { workers, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((*idle, &workers[..]), (worker(2, 1), &[worker(2, 1), worker(1, 1)][..]));
    // The busy one that is to go takes nothing more, and goes when it has finished.
    submit(&mut scheduler, 1, Tick(2));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 0);
    scheduler.reported(worker(1, 1), vec![done(Seq(1), MS)], Tick(3));
    let actions = scheduler.take_actions();
    assert!(actions.iter().any(|action| matches!(action, Action::Retire { worker: it } if *it == worker(1, 1))));
    assert_eq!(finished(actions).len(), 1);
    scheduler.shrink(PoolKind::Cpu, 5, Tick(4));
    let asked = scheduler.take_actions();
    assert!(
        matches!(&asked[..], [Action::Release { workers, .. }, Action::Call { .. }] if workers.len() == 1),
        "{asked:?}"
    );
}

#[test]
fn a_pool_without_workers_calls_for_one_once() {
    let mut scheduler = scheduler();
    submit(&mut scheduler, 1, Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    assert!(matches!(scheduler.take_actions()[..], [Action::Call { pool: PoolKind::Cpu, workers: 1 }]));
    scheduler.joined(worker(0, 1), slots(1), Tick(1));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 1);
}

#[test]
fn c1_5_equal_tasks_over_idle_workers_differ_by_one_at_most() {
    let mut scheduler = scheduler();
    for index in 0..4 {
        scheduler.joined(worker(index, 1), slots(8), Tick(0));
    }
    submit(&mut scheduler, 14, Tick(0));
    let loads: Vec<_> = (0..4).map(|index| scheduler.sent_to(worker(index, 1)).len()).collect();
    assert_eq!(loads, [4, 4, 3, 3]);
}

/// One step of a random history; numbers pick among what is there.
#[derive(Clone, Debug)]
enum Step {
    Submit { count: u8, timeout: Option<u8>, retries: u8, losses: u8, ttl: Option<u8>, priority: u8, delay: u8 },
    SubmitLimited { wanted: limits::Wanted, retries: u8, losses: u8, ttl: Option<u8>, priority: u8 },
    Shrink(u8),
    Join(u8),
    End { worker: u8, pick: u8, micros: u32, fails: bool },
    Stale { worker: u8, seq: u8, generation: u8 },
    Die { worker: u8, started: u8, unknown: bool },
    Execute { worker: u8, spared: bool, started: bool },
    Revoke { worker: u8, picks: Vec<u8>, begun: bool },
    Cancel(u8),
    Unavailable,
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6u8, option::of(1..40u8), 0..3u8, 0..3u8, option::of(1..40u8), 0..10u8, 0..20u8).prop_map(
            |(count, timeout, retries, losses, ttl, priority, delay)| {
                Step::Submit { count, timeout, retries, losses, ttl, priority, delay }
            }),
        1 => (1..3u8).prop_map(Step::Shrink),
        2 => (0..3u8).prop_map(Step::Join),
        8 => (0..3u8, any::<u8>(), 1..5000u32, any::<bool>())
            .prop_map(|(worker, pick, micros, fails)| Step::End { worker, pick, micros, fails }),
        2 => (0..3u8, any::<u8>(), 0..4u8).prop_map(|(worker, seq, generation)| Step::Stale { worker, seq, generation }),
        1 => (0..3u8, 0..3u8, any::<bool>()).prop_map(|(worker, started, unknown)| Step::Die { worker, started, unknown }),
        2 => (0..3u8, any::<bool>(), any::<bool>())
            .prop_map(|(worker, spared, started)| Step::Execute { worker, spared, started }),
        2 => (0..3u8, proptest::collection::vec(any::<u8>(), 0..5), any::<bool>())
            .prop_map(|(worker, picks, begun)| Step::Revoke { worker, picks, begun }),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => Just(Step::Unavailable),
        3 => (1..30_000u32).prop_map(Step::Wait),
    ]
}

/// A history: the scheduler, the workers that live, and what a truthful world would say.
struct World {
    scheduler: Scheduler,
    /// There are tasks with limits.
    limited: bool,
    now: Tick,
    generations: [u32; 3],
    alive: [bool; 3],
    /// The attempt that each worker was ordered to kill.
    ordered: [Option<(Seq, KillReason)>; 3],
    accepted: Vec<TaskId>,
    records: Vec<Arc<TaskRecord>>,
    /// Must not run twice.
    once: BTreeSet<TaskId>,
    /// Attempts that a truthful world counts: ended, or running when their process did.
    counted: BTreeMap<TaskId, u32>,
}

impl World {
    fn new(scheduler: Scheduler, limited: bool) -> Self {
        Self {
            scheduler,
            limited,
            now: Tick(0),
            generations: [0; 3],
            alive: [false; 3],
            ordered: [None; 3],
            accepted: Vec::new(),
            records: Vec::new(),
            once: BTreeSet::new(),
            counted: BTreeMap::new(),
        }
    }

    fn worker(&self, index: u8) -> WorkerRef {
        worker(u32::from(index), self.generations[usize::from(index)])
    }

    fn count(&mut self, key: TaskKey) {
        let id = self.scheduler.table().task(key).expect("live").id();
        *self.counted.entry(id).or_default() += 1;
    }

    fn apply(&mut self, step: Step) {
        self.now = Tick(self.now.0 + 1000);
        match step {
            Step::Submit { count, timeout, retries, losses, ttl, priority, delay } => {
                let ids = submit_as(&mut self.scheduler, count.into(), self.now, |task| {
                    let backoff = crate::model::Backoff::Fixed(Duration::from_millis(3));
                    let policy =
                        crate::model::RetryPolicy { backoff, ..crate::model::RetryPolicy::times(retries.into()) };
                    let task = task.retry(policy).max_worker_losses(losses.into());
                    let task = task.priority(Priority::try_from(priority).expect("in range"));
                    // Most start at once.
                    let delay = Duration::from_millis(delay.saturating_sub(10).into());
                    let task = if delay.is_zero() { task } else { task.delay(delay) };
                    let task = match ttl {
                        Some(ms) => task.ttl(Duration::from_millis(ms.into())),
                        None => task,
                    };
                    match timeout {
                        Some(ms) => task.timeout(Duration::from_millis(ms.into())),
                        None => task,
                    }
                });
                if losses == 0 {
                    self.once.extend(&ids);
                }
                self.accepted.extend(ids);
            }
            Step::SubmitLimited { wanted, retries, losses, ttl, priority } => {
                let ids = submit_as(&mut self.scheduler, 1, self.now, |task| {
                    let backoff = crate::model::Backoff::Fixed(Duration::from_millis(3));
                    let policy =
                        crate::model::RetryPolicy { backoff, ..crate::model::RetryPolicy::times(retries.into()) };
                    let task = task.retry(policy).max_worker_losses(losses.into());
                    let task = task.priority(Priority::try_from(priority).expect("in range"));
                    let task = ttl.map(|ms| task.clone().ttl(Duration::from_millis(ms.into()))).unwrap_or(task);
                    wanted.of(task)
                });
                if losses == 0 {
                    self.once.extend(&ids);
                }
                self.accepted.extend(ids);
            }
            Step::Join(index) if !self.alive[usize::from(index)] => {
                self.generations[usize::from(index)] += 1;
                self.alive[usize::from(index)] = true;
                self.ordered[usize::from(index)] = None;
                self.scheduler.joined(self.worker(index), slots(1 + usize::from(index)), self.now);
            }
            Step::End { worker, pick, micros, fails } => {
                let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
                // Only what is in a slot can end.
                let running = sent.len().min(1 + usize::from(worker));
                if let Some(&(key, seq)) = sent.get(usize::from(pick) % running.max(1)) {
                    self.count(key);
                    let report =
                        || if fails { failing(seq, ErrorKind::Exception) } else { done(seq, u64::from(micros) * 1000) };
                    self.scheduler.reported(from, vec![report()], self.now);
                    let before = self.scheduler.table().ignored();
                    self.scheduler.reported(from, vec![report()], self.now);
                    assert_eq!(self.scheduler.table().ignored(), before + 1, "L1: a result counts once");
                }
            }
            Step::Stale { worker: index, seq, generation } => {
                let stale = worker(index.into(), generation.into());
                if stale.generation.0 < self.generations[usize::from(index)] {
                    let live = self.scheduler.table().live();
                    let seq = Seq(seq.into());
                    let reports = vec![done(seq, 1), Report::Revoked { seqs: vec![seq] }, Report::Spared { seq }];
                    self.scheduler.reported(stale, reports, self.now);
                    self.scheduler.left(stale, killed(&[seq.0]), self.now);
                    assert_eq!(self.scheduler.table().live(), live, "L3: a stale message changes nothing");
                }
            }
            Step::Die { worker, started, unknown } if self.alive[usize::from(worker)] => {
                let slots = 1 + usize::from(worker);
                let count = if unknown { slots } else { usize::from(started).min(slots) };
                self.dies(worker, count, |running| {
                    let departure = killed(running);
                    if unknown { Departure { running: None, ..departure } } else { departure }
                });
            }
            Step::Execute { worker, spared, started } if self.alive[usize::from(worker)] => {
                let Some((seq, reason)) = self.ordered[usize::from(worker)].take() else { return };
                let from = self.worker(worker);
                let sent = self.scheduler.sent_to(from);
                let running = sent.iter().take(1 + usize::from(worker)).find(|(_, running)| *running == seq);
                match running {
                    // It is in the worker's pipe, or its threads are held up.
                    Some(_) if !started => self.scheduler.reported(from, vec![Report::Spared { seq }], self.now),
                    // The process dies with it, unless its result was there already.
                    Some(_) if !spared => {
                        self.dies(worker, 1 + usize::from(worker), |running| killed_by(reason, running));
                    }
                    Some(&(key, _)) => {
                        self.count(key);
                        self.scheduler.reported(from, vec![done(seq, MS), Report::Spared { seq }], self.now);
                    }
                    None => self.scheduler.reported(from, vec![Report::Spared { seq }], self.now),
                }
            }
            Step::Revoke { worker, picks, begun } => {
                let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
                // A worker that is held up has begun nothing, and can give back everything.
                let ahead = sent.get(if begun { 1 + usize::from(worker) } else { 0 }..).unwrap_or_default();
                let seqs = picks.iter().filter_map(|pick| ahead.get(usize::from(*pick) % ahead.len().max(1)));
                let seqs = seqs.map(|(_, seq)| *seq).collect();
                self.scheduler.reported(from, vec![Report::Revoked { seqs }], self.now);
            }
            Step::Cancel(pick) if !self.accepted.is_empty() => {
                let id = self.accepted[usize::from(pick) % self.accepted.len()];
                let answer = self.scheduler.cancel(id, Duration::from_millis(4), self.now);
                assert_ne!(answer, CancelAnswer::Unknown);
                if !self.limited {
                    self.scheduler.place(PoolKind::Cpu, self.now);
                }
            }
            Step::Shrink(count) => self.scheduler.shrink(PoolKind::Cpu, count.into(), self.now),
            Step::Unavailable if !self.alive.contains(&true) => {
                let error = TaskError::new(ErrorKind::WorkerStartFailed, "none");
                self.scheduler.unavailable(PoolKind::Cpu, error, self.now);
            }
            Step::Wait(micros) => {
                self.now = Tick(self.now.0 + u64::from(micros) * 1000);
                self.scheduler.tick(self.now);
                assert!(self.scheduler.next_tick().is_none_or(|at| at > self.now));
            }
            _ => {}
        }
        self.take_actions();
        self.check();
    }

    fn dies(&mut self, index: u8, running: usize, departure: impl Fn(&[u64]) -> Departure) {
        self.alive[usize::from(index)] = false;
        let (from, sent) = (self.worker(index), self.scheduler.sent_to(self.worker(index)));
        for &(key, _) in sent.iter().take(running) {
            self.count(key);
        }
        let running: Vec<u64> = sent.iter().take(running).map(|(_, seq)| seq.0).collect();
        self.scheduler.left(from, departure(&running), self.now);
    }

    fn take_actions(&mut self) {
        let mut retired = Vec::new();
        for action in self.scheduler.take_actions() {
            match action {
                Action::Retire { worker } if !retired.contains(&worker) => retired.push(worker),
                Action::Finished { record, .. } => self.records.push(record),
                Action::Kill { worker, seq, reason } => {
                    let ordered = &mut self.ordered[worker.id.index as usize];
                    assert!(ordered.is_none(), "one kill at a time");
                    *ordered = Some((seq, reason));
                }
                _ => {}
            }
        }
        for worker in retired {
            assert_eq!(self.scheduler.sent_to(worker), [], "what leaves has finished what it had");
            self.alive[worker.id.index as usize] = false;
            let departure = Departure { reason: WorkerDownReason::Retired, ..killed(&[]) };
            self.scheduler.left(worker, departure, self.now);
        }
    }

    /// What must hold after every step.
    fn check(&self) {
        let table = self.scheduler.table();
        let queued = table.keys().filter(|key| table.state(*key) == Some(State::Queued)).count();
        let weight = |key| table.task(key).map_or(0, Task::weight);
        let here = |key: &TaskKey| !matches!(table.state(*key), Some(State::Sent { .. }));
        let bytes = table.keys().filter(here).map(weight).sum::<usize>();
        assert_eq!((table.keys().filter(here).count(), bytes), table.waiting());
        assert_eq!(queued, table.queued(PoolKind::Cpu));
        let pools = self.scheduler.pools.iter();
        let others = |pool: &Pool| -> Vec<TaskKey> {
            pool.suspects.iter().chain(&pool.cleared).copied().chain(pool.large.queue.iter()).collect()
        };
        let keys = pools.flat_map(|pool| pool.queue.iter().chain(others(pool)));
        let keys = keys.chain(self.scheduler.limiter.at_gate());
        let live: Vec<TaskKey> = keys.filter(|key| table.task(*key).is_some()).collect();
        assert_eq!(live.len(), queued, "L1: every queued task is in a queue");
        assert_eq!(live.iter().collect::<BTreeSet<_>>().len(), queued, "once");
        let mut timers = table.keys().filter(|key| matches!(table.state(*key), Some(State::Waiting { .. }))).count();
        timers += table
            .keys()
            .filter(here)
            .filter(|key| table.task(*key).is_some_and(|it| it.options().ttl.is_some()))
            .count();
        let pools = self.scheduler.pools.iter();
        let suspects = pools.clone().any(|pool| pool.suspects.iter().any(|key| table.task(*key).is_some()));
        for pool in pools.clone() {
            pool.members.assert_sums();
        }
        for member in pools.clone().flat_map(|pool| pool.members.iter()) {
            assert_eq!(member.in_flight.len(), self.scheduler.sent_to(member.worker).len());
            assert_eq!(member.load, member.in_flight.iter().map(|task| task.estimate).sum::<u64>());
            assert!(member.outbox.is_empty());
            let kept_free = member.alone && member.in_flight.is_empty();
            assert!(!kept_free || suspects, "L1: nobody is kept free for nobody");
            assert!(
                self.limited || !member.has_free_place(Lane::Slot) || suspects || queued == 0,
                "no task waits while a worker is free"
            );
            for task in member.in_flight.iter().take(1 + member.worker.id.index as usize) {
                let limit = table.task(task.key).and_then(|it| it.options().timeout);
                assert!(task.started(), "what runs has its clock");
                let mut clocks = [task.hard, task.grace].into_iter().flatten();
                let runs = clocks.any(|timer| self.scheduler.timers.is_running(timer));
                assert!(limit.is_none() || task.kill.is_some() || runs, "L1: nobody would end it");
            }
        }
        if self.limited {
            self.check_limits();
        }
        let members = pools.flat_map(|pool| pool.members.iter().chain(&pool.leaving));
        let in_flight = members.flat_map(|member| &member.in_flight);
        timers += in_flight.flat_map(|it| [it.soft, it.hard, it.grace]).flatten().count();
        assert!(self.scheduler.timers.len() <= timers, "L9: no timer is left behind");
    }
}

proptest! {
    #[test]
    fn l1_l3_l5_hold_over_random_histories(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new(scheduler(), false);
        for step in steps {
            world.apply(step);
        }
        // What is with a worker at the end is in its next attempt.
        let table = world.scheduler.table();
        let sent = table.keys().filter(|key| matches!(table.state(*key), Some(State::Sent { .. })));
        for id in sent.filter_map(|key| table.task(key).map(Task::id)).collect::<Vec<_>>() {
            *world.counted.entry(id).or_default() += 1;
        }
        world.scheduler.cancel_all(&TaskError::new(ErrorKind::Shutdown, "over"), world.now);
        world.take_actions();
        prop_assert_eq!(world.scheduler.table().live(), 0);

        let mut finished = BTreeMap::<TaskId, u32>::new();
        for record in &world.records {
            *finished.entry(record.id).or_default() += 1;
            let counted = world.counted.get(&record.id).copied().unwrap_or_default();
            prop_assert_eq!(record.attempt.map_or(0, |attempt| attempt.0), counted, "L5: only what started is counted");
            prop_assert!(record.worker_losses <= 2 && record.retries <= 2);
        }
        let accepted: BTreeSet<TaskId> = world.accepted.iter().copied().collect();
        prop_assert_eq!(finished.keys().copied().collect::<BTreeSet<_>>(), accepted, "L1: every task ends");
        prop_assert!(finished.values().all(|count| *count == 1), "L1: exactly once");

        // The trace tells the same story.
        let mut states: BTreeMap<TaskId, &str> = BTreeMap::new();
        for event in world.scheduler.table_mut().take_events() {
            if let EventKind::TaskRerun { task, .. } = &event.kind {
                prop_assert!(!world.once.contains(task), "one that must not run twice does not");
            }
            let (task, legal, next): (_, &[Option<&str>], _) = match event.kind {
                EventKind::TaskAccepted { task, .. } => (task, &[None], "queued"),
                EventKind::TaskSent { task, .. } => (task, &[Some("queued")], "sent"),
                EventKind::TaskReturned { task, .. } | EventKind::TaskRerun { task, .. } => (task, &[Some("sent")], "queued"),
                EventKind::TaskRetrying { task, .. } => (task, &[Some("sent")], "waiting"),
                EventKind::TaskHeld { task, .. } => (task, &[Some("queued")], "waiting"),
                EventKind::TaskDue { task } => (task, &[Some("waiting")], "queued"),
                EventKind::TaskFinished { task, .. } => (task, &[Some("queued"), Some("sent"), Some("waiting")], "finished"),
                other => panic!("the table emitted {other:?}"),
            };
            let before = states.get(&task).copied();
            prop_assert!(legal.contains(&before), "{} after {:?}", next, before);
            states.insert(task, next);
        }
        prop_assert!(states.values().all(|state| *state == "finished"));
    }
}
