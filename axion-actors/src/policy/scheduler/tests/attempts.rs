//! Time limits, retries and cancellations: how attempts end and what follows.

use super::*;

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
    assert!(sent(&mut scheduler, worker(0, 1)).is_empty(), "a killing worker takes nothing");

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
fn all_attempts_together_have_a_limit_from_the_first_send() {
    let backoff = crate::model::Backoff::Fixed(Duration::from_millis(30));
    let policy = crate::model::RetryPolicy { backoff, ..crate::model::RetryPolicy::times(9) };
    let limit = Duration::from_millis(100);
    let shape = |task: Task| task.retry(policy.clone()).total_timeout(limit);
    // The attempt that runs when the time is over is killed, and there is no retry, although time limits are retried.
    let mut scheduler = scheduler();
    submit_as(&mut scheduler, 1, Tick(0), |task| {
        let mut policy = policy.clone();
        policy.on.push(ErrorKind::Timeout);
        task.retry(policy).total_timeout(limit).timeout(limit * 3)
    });
    scheduler.joined(worker(0, 1), slots(1), after(50));
    scheduler.reported(worker(0, 1), vec![failing(Seq(1), ErrorKind::Exception)], after(60));
    scheduler.tick(after(90));
    assert_eq!(scheduler.next_tick(), Some(after(150)), "100 ms after the first send, whatever came before it");
    scheduler.take_actions();
    scheduler.tick(after(150));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(2), reason: KillReason::Deadline, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::Deadline, &[2]), after(151));
    let records = finished(scheduler.take_actions());
    let error = records[0].outcome.error().expect("an error");
    assert_eq!(records[0].outcome.name(), "timed_out");
    assert!(error.message.contains("the time limit of all its attempts together, 100 ms"), "{}", error.message);

    // A retry that would begin later does not come: the failure is the outcome.
    scheduler.joined(worker(0, 2), slots(1), after(200));
    submit_as(&mut scheduler, 1, after(200), shape);
    scheduler.reported(worker(0, 2), vec![failing(Seq(1), ErrorKind::Exception)], after(271));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].outcome.name(), records[0].retries), ("failed", 0));
    assert_eq!(scheduler.next_tick(), None, "L10: no timer is left");
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
    let withdraw =
        |scheduler: &mut Scheduler, id| scheduler.cancel(CancelSource::Withdrawal, id, Duration::ZERO, Tick(0));
    assert_eq!(withdraw(&mut scheduler, TaskId::generate()), CancelAnswer::Unknown);
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    assert_eq!(ids_sent(&scheduler.take_actions()), [ids[0]]);
    assert_eq!(withdraw(&mut scheduler, ids[0]), CancelAnswer::Started);
    assert!(scheduler.take_actions().is_empty(), "and is not disturbed");
    assert_eq!(withdraw(&mut scheduler, ids[1]), CancelAnswer::Removed);
    assert_eq!(withdraw(&mut scheduler, ids[1]), CancelAnswer::AlreadyFinished("cancelled"));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (ids[1], "cancelled"));
}

#[test]
fn cancelling_answers_for_every_state_a_task_can_be_in() {
    let mut scheduler = scheduler();
    let grace = Duration::from_millis(100);
    assert_eq!(scheduler.cancel(CancelSource::Caller, TaskId::generate(), grace, Tick(0)), CancelAnswer::Unknown);
    let queued = submit(&mut scheduler, 1, Tick(0))[0];
    assert_eq!(scheduler.cancel(CancelSource::Caller, queued, grace, Tick(0)), CancelAnswer::Removed);
    assert_eq!(
        scheduler.cancel(CancelSource::Caller, queued, grace, Tick(0)),
        CancelAnswer::AlreadyFinished("cancelled")
    );
    assert_eq!(scheduler.table().waiting().0, 0);

    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let running = submit_as(&mut scheduler, 1, Tick(0), |task| task.retry(crate::model::RetryPolicy::times(5)))[0];
    scheduler.take_actions();
    assert_eq!(scheduler.cancel(CancelSource::Caller, running, grace, after(1)), CancelAnswer::Requested);
    assert_eq!(scheduler.cancel(CancelSource::Caller, running, grace, after(2)), CancelAnswer::AlreadyRequested);
    assert!(matches!(scheduler.take_actions()[..], [Action::Cancel { seq: Seq(1), .. }]));
    scheduler.tick(after(101));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(1), reason: KillReason::Cancel, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::Cancel, &[1]), after(102));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (running, "cancelled"), "and is not retried");

    scheduler.joined(worker(0, 2), slots(1), after(110));
    let waiting = submit_as(&mut scheduler, 1, after(110), |task| task.retry(crate::model::RetryPolicy::times(5)))[0];
    scheduler.reported(worker(0, 2), vec![failing(Seq(1), ErrorKind::Exception)], after(111));
    assert_eq!(scheduler.cancel(CancelSource::Caller, waiting, grace, after(112)), CancelAnswer::Removed);
    assert_eq!(scheduler.next_tick(), None, "its timer is stopped");

    // Sent ahead: it comes back from the worker and is cancelled instead of queued.
    let ahead = submit(&mut scheduler, 3, after(120));
    scheduler.reported(worker(0, 2), vec![done(Seq(2), 1000)], after(121));
    scheduler.take_actions();
    assert_eq!(scheduler.cancel(CancelSource::Caller, ahead[2], grace, after(122)), CancelAnswer::Requested);
    scheduler.reported(worker(0, 2), vec![Report::Revoked { seqs: vec![Seq(4)] }], after(123));
    let records = finished(scheduler.take_actions());
    assert_eq!((records[0].id, records[0].outcome.name()), (ahead[2], "cancelled"));
}

#[test]
fn cancelling_a_task_whose_record_was_dropped_still_tells_its_outcome() {
    let keep = RetentionPolicy { count: 1, bytes: 1 << 20, each: 1 << 20, age: None };
    let mut scheduler = Scheduler::new(
        TaskTable::new(Timestamp::UNIX_EPOCH, keep),
        &in_every_pool(PoolRules::default()),
        EngineCapacity::default(),
    );
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 2, Tick(0));
    for seq in [1, 2] {
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), 1000)], Tick(seq));
    }
    assert!(matches!(scheduler.table().find(ids[0]), TaskLookup::Expired(_)));
    assert_eq!(
        scheduler.cancel(CancelSource::Caller, ids[0], Duration::ZERO, Tick(9)),
        CancelAnswer::AlreadyFinished("succeeded")
    );
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
