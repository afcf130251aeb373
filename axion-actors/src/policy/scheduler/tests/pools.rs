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
    assert_eq!(scheduler.cancel(ids[1], Duration::ZERO, Tick(2)), CancelAnswer::Removed);
    scheduler.place(PoolKind::Cpu, Tick(2));
    // And the first one's task comes back without having started.
    assert_eq!(scheduler.cancel(ids[0], Duration::from_secs(1), Tick(3)), CancelAnswer::Requested);
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(1)] }], Tick(4));
    assert_eq!(scheduler.table().live(), 0);
    submit(&mut scheduler, 1, Tick(5));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1, "nobody else would run it");
}

/// Two workers die under one task each, while `others` more of so many slots are busy: the suspects.
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
fn l12_where_one_task_runs_at_a_time_a_successor_waits_for_its_predecessor() {
    let mut scheduler = ruled(PoolRules { worker_tasks: Some(1), one_at_a_time: true, ..PoolRules::default() });
    let (old, new) = (worker(0, 1), worker(0, 2));
    scheduler.joined(old, slots(1), Tick(0));
    let ids = submit(&mut scheduler, 3, Tick(0));
    scheduler.reported(old, vec![done(Seq(1), 50 * MS)], after(1));
    assert_eq!(scheduler.sent_to(old).len(), 1, "it works on until its successor is there");
    scheduler.take_actions();
    scheduler.joined(new, slots(1), after(2));
    assert_eq!(ids_sent(&scheduler.take_actions()), [], "the predecessor has not finished");
    scheduler.reported(old, vec![done(Seq(2), 50 * MS)], after(60));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[2..]);

    // Also if the predecessor dies instead: its task goes first.
    scheduler.joined(worker(0, 3), slots(1), after(61));
    let late = submit(&mut scheduler, 1, after(61));
    assert_eq!(ids_sent(&scheduler.take_actions()), []);
    scheduler.left(new, killed(&[1]), after(62));
    assert_eq!(ids_sent(&scheduler.take_actions()), ids[2..]);
    scheduler.reported(worker(0, 3), vec![done(Seq(1), MS)], after(63));
    assert_eq!(ids_sent(&scheduler.take_actions()), late);
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
    scheduler.resized(PoolKind::Cpu, 0, 1, Tick(1));
    assert_eq!(calls(&mut scheduler), 1);
    let error = TaskError::new(ErrorKind::WorkerStartFailed, "no python3");
    scheduler.unavailable(PoolKind::Cpu, error, Tick(2));
    scheduler.resized(PoolKind::Cpu, 0, 1, Tick(3));
    assert_eq!(calls(&mut scheduler), 0, "nobody waits");
    submit(&mut scheduler, 1, Tick(4));
    assert_eq!((calls(&mut scheduler), scheduler.table().live()), (1, 1), "nobody tries any more: it has to call");
}
