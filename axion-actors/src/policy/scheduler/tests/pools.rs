//! Workers that come, are kept free, and go.

use super::*;

#[test]
fn l1_a_worker_kept_free_for_a_suspect_that_is_cancelled_takes_tasks_again() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    scheduler.joined(worker(1, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 2, Tick(0));
    // The second worker dies of its task, which waits for the first one to be empty.
    scheduler.left(worker(1, 1), killed(&[1]), Tick(1));
    assert_eq!(scheduler.cancel(CancelSource::Caller, ids[1], Duration::ZERO, Tick(2)), CancelAnswer::Removed);
    scheduler.place(PoolId::CPU, Tick(2));
    // And the first one's task comes back without having started.
    assert_eq!(
        scheduler.cancel(CancelSource::Caller, ids[0], Duration::from_secs(1), Tick(3)),
        CancelAnswer::Requested
    );
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(1)] }], Tick(4));
    assert_eq!(scheduler.table().live(), 0);
    submit(&mut scheduler, 1, Tick(5));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1, "nobody else would run it");
}

/// Two workers die, each with one running task. `others` more workers, with this many slots each, are busy. Returns
/// the suspects.
fn two_suspects(each: usize, others: u32) -> (Scheduler, Vec<TaskId>) {
    let mut scheduler = scheduler();
    let mut begun = Vec::new();
    for index in 0..2 + others {
        scheduler.joined(worker(index, 1), slots(each), Tick(0));
        begun.extend(submit(&mut scheduler, 1, Tick(0)));
    }
    // More than there is room for: no worker becomes empty by itself.
    submit(&mut scheduler, 32 * each, Tick(0));
    for index in [0, 1] {
        scheduler.left(worker(index, 1), killed(&[1]), Tick(1));
    }
    scheduler.take_actions();
    begun.truncate(2);
    (scheduler, begun)
}

/// Each busy worker ends what it runs, one task after the other; says which suspects run then, each alone.
fn turn_over(scheduler: &mut Scheduler, suspects: &[TaskId], workers: std::ops::Range<u32>) -> Vec<TaskId> {
    let mut trying = Vec::new();
    for at in 0..12 {
        for worker in workers.clone().map(|index| worker(index, 1)) {
            let held = scheduler.sent_to(worker);
            let first = scheduler.table().task(held[0].0).map(Task::id).filter(|id| suspects.contains(id));
            if first.is_none() {
                scheduler.reported(worker, vec![done(held[0].1, 50 * MS)], after(50 + at));
                trying.extend(ids_sent(&scheduler.take_actions()).into_iter().filter(|id| suspects.contains(id)));
            }
        }
    }
    trying
}

#[test]
fn a_suspect_that_runs_long_does_not_hold_up_the_next_one() {
    let (mut scheduler, suspects) = two_suspects(4, 4);
    assert_eq!(turn_over(&mut scheduler, &suspects, 2..6), suspects);
}

#[test]
fn suspects_leave_half_of_the_workers_with_many_slots_to_the_others() {
    let (mut scheduler, suspects) = two_suspects(4, 2);
    assert_eq!(turn_over(&mut scheduler, &suspects, 2..4), suspects[..1]);
    assert_eq!(turn_over(&mut scheduler, &suspects, 2..4), []);
}

#[test]
fn l12_in_a_place_with_one_slot_a_successor_waits_for_its_predecessor() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(1), ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    scheduler.joined(old, slots(1), Tick(0));
    let ids = submit(&mut scheduler, 3, Tick(0));
    scheduler.take_actions();
    scheduler.joined(new, slots(1), after(2));
    assert_eq!(ids_sent(&scheduler.take_actions()), [], "the predecessor has not finished");
    scheduler.reported(old, vec![done(Seq(1), 50 * MS)], after(60));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[1..2]);

    // Also if the predecessor dies instead: its task goes first.
    scheduler.joined(worker(0, 3), slots(1), after(61));
    assert_eq!(ids_sent(&scheduler.take_actions()), []);
    scheduler.left(new, killed(&[1]), after(62));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[1..2]);
    scheduler.joined(worker(0, 4), slots(1), after(63));
    scheduler.reported(worker(0, 3), vec![done(Seq(1), MS)], after(64));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[2..]);
}

#[test]
fn a_successor_that_is_ready_early_stands_by_until_all_tasks_are_taken() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(4), ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    scheduler.joined(old, slots(1), Tick(0));
    let mut ran = Vec::new();
    let mut run_one = |scheduler: &mut Scheduler, seq: u64, ms: u64| {
        submit(scheduler, 1, after(ms));
        scheduler.reported(old, vec![done(Seq(seq), 60 * MS)], after(ms + 60));
        ran.push(scheduler.take_actions().iter().any(|it| matches!(it, Action::Recycle { .. })));
    };
    run_one(&mut scheduler, 1, 0);
    run_one(&mut scheduler, 2, 60);
    run_one(&mut scheduler, 3, 120);
    assert_eq!(ran, [false, false, true], "at this pace, the rest of its tasks lasts 60 ms");
    scheduler.joined(new, slots(1), after(181));
    let ids = submit(&mut scheduler, 2, after(182));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[..1], "the last one of the predecessor");
    assert_eq!((scheduler.sent_to(old).len(), scheduler.sent_to(new).len()), (1, 0));
    scheduler.reported(old, vec![done(Seq(4), 60 * MS)], after(242));
    assert_eq!(scheduler.sent_to(new).len(), 1);
}

#[test]
fn l1_a_successor_that_stands_by_gets_the_place_of_a_predecessor_that_dies_or_is_not_wanted() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(2), ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    let stand_by = |scheduler: &mut Scheduler| {
        scheduler.joined(old, slots(1), Tick(0));
        submit(scheduler, 1, Tick(0));
        scheduler.reported(old, vec![done(Seq(1), MS)], after(1));
        scheduler.joined(new, slots(1), after(2));
        scheduler.take_actions();
    };
    stand_by(&mut scheduler);
    scheduler.left(old, killed(&[]), after(3));
    submit(&mut scheduler, 1, after(4));
    assert_eq!(scheduler.sent_to(new).len(), 1);

    let mut scheduler = ruled(PoolRules { worker_tasks: Some(2), ..PoolRules::default() });
    stand_by(&mut scheduler);
    scheduler.shrink(PoolId::CPU, 1, after(3));
    let actions = scheduler.take_actions();
    let retired =
        |worker: WorkerRef| actions.iter().any(|it| matches!(it, Action::Retire { worker: it } if *it == worker));
    assert!(retired(old) && retired(new), "{actions:?}");
    assert!(actions.iter().any(|it| matches!(it, Action::Release { workers, .. } if workers[..] == [new])));
}

#[test]
fn a_worker_takes_exactly_as_many_tasks_as_it_may_and_ends_also_without_a_successor() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(3), ..PoolRules::default() });
    let old = worker(0, 1);
    scheduler.joined(old, slots(2), Tick(0));
    submit(&mut scheduler, 5, Tick(0));
    let recycled = |actions: &[Action]| actions.iter().filter(|it| matches!(it, Action::Recycle { .. })).count();
    let retired =
        |actions: &[Action]| actions.iter().any(|it| matches!(it, Action::Retire { worker } if *worker == old));
    scheduler.reported(old, vec![done(Seq(1), 50 * MS)], after(50));
    assert_eq!(recycled(&scheduler.take_actions()), 1, "its last task is on its way: the successor is started");
    scheduler.reported(old, vec![done(Seq(2), 50 * MS)], after(60));
    let actions = scheduler.take_actions();
    assert_eq!((ids_sent(&actions), recycled(&actions), retired(&actions)), (vec![], 0, false));
    scheduler.reported(old, vec![done(Seq(3), 50 * MS)], after(70));
    assert!(retired(&scheduler.take_actions()), "it has run three, and leaves before its successor has joined");
    scheduler.joined(worker(0, 2), slots(2), after(80));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 2);
}

#[test]
fn l1_a_pool_that_is_to_have_no_worker_is_called_for_one_again_and_is_not_refused_for_good() {
    let mut scheduler = scheduler();
    submit(&mut scheduler, 1, Tick(0));
    let calls = |scheduler: &mut Scheduler| {
        scheduler.take_actions().iter().filter(|it| matches!(it, Action::Call { .. })).count()
    };
    assert_eq!(calls(&mut scheduler), 1);
    // The one that was on its way is given up.
    scheduler.resized(PoolId::CPU, 0, 1, Tick(1));
    assert_eq!(calls(&mut scheduler), 1);
    let error = TaskError::new(ErrorKind::WorkerStartFailed, "no python3");
    scheduler.unavailable(PoolId::CPU, error, Tick(2));
    scheduler.resized(PoolId::CPU, 0, 1, Tick(3));
    assert_eq!(calls(&mut scheduler), 0, "nobody waits");
    submit(&mut scheduler, 1, Tick(4));
    assert_eq!((calls(&mut scheduler), scheduler.table().live()), (1, 1), "nobody tries any more: it has to call");
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
fn l5_a_dead_worker_loses_its_running_tasks_and_returns_the_others_in_order() {
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
    scheduler.unavailable(PoolId::CPU, error.clone(), Tick(1));
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

#[test]
fn a_worker_is_recycled_between_tasks_and_its_successor_is_there_before_it_goes() {
    let mut scheduler = ruled(PoolRules { worker_memory: Some(100), ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    scheduler.joined(old, slots(2), Tick(0));
    submit(&mut scheduler, 5, Tick(0));
    scheduler.reported(old, vec![measured(101, &[1])], after(1));
    let recycled = |actions: &[Action]| actions.iter().filter(|it| matches!(it, Action::Recycle { .. })).count();
    assert_eq!(recycled(&scheduler.take_actions()), 1);
    // Until the successor is there, it works on, and is not asked twice.
    scheduler.reported(old, vec![done(Seq(1), MS), done(Seq(2), MS), done(Seq(3), MS)], after(2));
    scheduler.reported(old, vec![measured(102, &[1])], after(2));
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
    scheduler.reported(worker(0, 1), vec![measured(100, &[1])], Tick(1));
    assert!(scheduler.take_actions().is_empty());
    scheduler.reported(worker(0, 1), vec![measured(101, &[1])], Tick(2));
    assert!(matches!(scheduler.take_actions()[..], [Action::Recycle { .. }]));

    // Three run: any of them may use the memory. Each runs again alone, and only the guilty one is killed.
    submit(&mut scheduler, 3, Tick(3));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![measured(201, &[1])], Tick(4));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { reason: KillReason::MemoryLimit, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::MemoryLimit, &[1, 2, 3]), Tick(5));
    scheduler.joined(worker(0, 2), slots(3), Tick(6));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 1, "alone");
    scheduler.reported(worker(0, 2), vec![measured(201, &[1])], Tick(7));
    scheduler.left(worker(0, 2), killed_by(KillReason::MemoryLimit, &[1]), Tick(8));
    let records = finished(scheduler.take_actions());
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record.outcome.error().map(|error| error.kind), Some(ErrorKind::MemoryLimit));
    assert_eq!(scheduler.table().live(), 2);
}

#[test]
fn a_pool_shrinks_by_its_idle_workers_first_and_loses_nothing() {
    let mut scheduler = scheduler();
    for index in 0..3 {
        scheduler.joined(worker(index, 1), slots(1), Tick(0));
    }
    submit(&mut scheduler, 2, Tick(0));
    scheduler.take_actions();
    scheduler.shrink(PoolId::CPU, 2, Tick(1));
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
    scheduler.shrink(PoolId::CPU, 5, Tick(4));
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
    assert!(matches!(scheduler.take_actions()[..], [Action::Call { pool: PoolId::CPU, workers: 1 }]));
    scheduler.joined(worker(0, 1), slots(1), Tick(1));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 1);
}
