//! Which task starts next, and which does not start at all.

use super::*;

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

#[test]
fn l12_c4_7_higher_priorities_start_first_and_returned_tasks_keep_their_place() {
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
    assert_eq!(scheduler.cancel(CancelSource::Caller, ids[0], hour, Tick(41 * MS)), CancelAnswer::Removed);
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
    assert!(scheduler.submit(first, None, Tick(0)).is_ok());
    assert_eq!(scheduler.submit(nightly(), None, Tick(1)), Err(AcceptError::Unique(id)));
    scheduler.place(PoolId::CPU, Tick(1));
    assert_eq!(scheduler.submit(nightly(), None, Tick(2)), Err(AcceptError::Unique(id)), "also while it runs");
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(3));
    assert!(scheduler.submit(nightly(), None, Tick(4)).is_ok());
    assert_eq!(scheduler.table().live(), 1);
}
