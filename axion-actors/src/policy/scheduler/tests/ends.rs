//! How attempts end whose process was ended or died.

use super::*;
use crate::model::{EndedBy, PostMortem};

#[test]
fn the_pool_bounds_how_often_a_task_runs_again_after_a_loss() {
    for (most, reruns) in [(Some(0), 0), (Some(1), 1), (Some(9), 2), (None, 2)] {
        let mut scheduler = ruled(PoolRules { worker_losses: most, ..PoolRules::default() });
        submit_as(&mut scheduler, 1, Tick(0), |task| task.max_worker_losses(2));
        let mut runs = 0;
        let record = loop {
            runs += 1;
            scheduler.joined(worker(0, runs), slots(1), Tick(0));
            let seqs = sent(&mut scheduler, worker(0, runs));
            scheduler.left(worker(0, runs), killed(&seqs), Tick(1));
            if let Some(record) = finished(scheduler.take_actions()).pop() {
                break record;
            }
        };
        assert_eq!((runs, record.outcome.name()), (reruns + 1, "lost"), "{most:?}");
    }
}

#[test]
fn a_task_that_must_not_run_twice_is_lost_when_its_worker_is_ended_because_of_another() {
    let limit = Duration::from_millis(50);
    let cases = [
        (KillReason::Deadline, EndedBy::Neighbour, "another task in it"),
        (KillReason::Cancel, EndedBy::Neighbour, "another task in it"),
        (KillReason::MemoryLimit, EndedBy::MemoryLimit, "together"),
    ];
    for (reason, ended_by, words) in cases {
        let mut scheduler = ruled(PoolRules { task_memory: Some(200), ..PoolRules::default() });
        scheduler.joined(worker(0, 1), slots(3), Tick(0));
        let late = submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(limit))[0];
        let once = submit_as(&mut scheduler, 3, Tick(0), |task| task.max_worker_losses(0));
        match reason {
            KillReason::Deadline => scheduler.tick(after(50)),
            KillReason::MemoryLimit => {
                scheduler.reported(worker(0, 1), vec![measured(201, &[1])], after(50));
            }
            KillReason::Cancel => {
                scheduler.cancel(CancelSource::Caller, late, Duration::ZERO, after(1));
                scheduler.tick(after(1));
            }
        }
        scheduler.take_actions();
        let departure = Departure { post_mortem: Some(found(EndedBy::Unknown)), ..killed_by(reason, &[1, 2, 3]) };
        scheduler.left(worker(0, 1), departure, after(60));
        let records = finished(scheduler.take_actions());
        // The third of them was sent, but had not started: it was not running and goes back (L5).
        let lost: Vec<_> = records.iter().filter(|record| record.id != late).collect();
        assert_eq!(lost.iter().map(|record| record.id).collect::<Vec<_>>(), once[..2], "{reason:?}");
        for record in lost {
            assert_eq!((record.outcome.name(), record.worker_losses, record.earlier.len()), ("lost", 0, 0));
            let error = record.outcome.error().expect("lost");
            let post_mortem = error.post_mortem.as_ref().expect("examined");
            assert_eq!((error.kind, post_mortem.ended_by), (ErrorKind::WorkerLost, ended_by));
            assert!(error.message.contains("`max_worker_losses` 0") && error.message.contains(words), "{error}");
        }
        assert!(matches!(scheduler.table().find(once[2]), TaskLookup::Live(_)), "{reason:?}");
    }
}

fn found(ended_by: EndedBy) -> PostMortem {
    PostMortem {
        ended_by,
        exit: Some(ProcessExit::Signal(9)),
        usage: None,
        worker_age_seconds: 1.0,
        worker_tasks: 0,
        stdout_tail: String::new(),
        stderr_tail: String::new(),
        stacks: None,
    }
}

/// How the one task of a test's record ended, and by whom its process was, if that is known.
fn end_of(record: &TaskRecord) -> (&'static str, Option<EndedBy>) {
    let error = record.outcome.error();
    (record.outcome.name(), error.and_then(|error| error.post_mortem.as_ref()).map(|found| found.ended_by))
}

#[test]
fn a_task_that_moves_up_because_another_was_taken_back_has_its_time_limit() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let limit = Duration::from_millis(10);
    let ids = submit_as(&mut scheduler, 4, Tick(0), |task| task.timeout(limit));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), 1000)], after(1));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1, 2, 3, 4]);
    // The third is taken back while the second runs, and the answer comes only when that has ended: in
    // the child the fourth runs by then.
    assert_eq!(scheduler.cancel(CancelSource::Caller, ids[2], limit, after(2)), CancelAnswer::Requested);
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], after(3));
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(3)] }], after(4));
    scheduler.take_actions();
    scheduler.tick(after(14));
    let actions = scheduler.take_actions();
    assert!(matches!(actions[..], [Action::Kill { seq: Seq(4), reason: KillReason::Deadline, .. }]), "{actions:?}");
}

#[test]
fn an_attempt_that_ended_with_its_process_ran_from_its_start_to_that_end() {
    let limit = Duration::from_millis(50);
    for (reason, outcome) in [(Some(KillReason::Deadline), "timed_out"), (None, "lost")] {
        let mut scheduler = scheduler();
        scheduler.joined(worker(0, 1), slots(1), Tick(0));
        // The second comes into the slot when the first has left it.
        submit_as(&mut scheduler, 2, Tick(0), |task| task.timeout(limit).max_worker_losses(0));
        scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 2)], after(4));
        if reason.is_some() {
            scheduler.tick(after(54));
        }
        scheduler.take_actions();
        let departure = reason.map_or_else(|| killed(&[2]), |reason| killed_by(reason, &[2]));
        scheduler.left(worker(0, 1), departure, after(60));
        let records = finished(scheduler.take_actions());
        let [record] = &records[..] else { panic!("{records:?}") };
        assert_eq!(record.outcome.name(), outcome);
        assert_eq!((record.timings.wait_seconds(), record.timings.run_seconds()), (0.004, 0.056), "{outcome}");
    }
}

#[test]
fn a_task_that_had_not_started_when_it_was_to_be_killed_has_its_limit_anew() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(Duration::from_millis(10)));
    scheduler.tick(after(10));
    scheduler.take_actions();
    // The worker was stopped by somebody: it had taken nothing, so there was nothing to kill.
    scheduler.reported(worker(0, 1), vec![Report::Spared { seq: Seq(1) }], after(11));
    let actions = scheduler.take_actions();
    assert!(matches!(&actions[..], [Action::Revoke { seqs, .. }] if seqs == &[Seq(1)]), "{actions:?}");
    // It was too late to take it back: it runs now, and has to end.
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: Vec::new() }], after(12));
    scheduler.tick(after(21));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(1), reason: KillReason::Deadline, .. }]));
    scheduler.left(worker(0, 1), killed_by(KillReason::Deadline, &[1]), after(22));
    assert_eq!(finished(scheduler.take_actions())[0].outcome.name(), "timed_out");
}

#[test]
fn a_cancelled_task_that_had_not_started_when_it_was_to_be_killed_is_asked_for_again() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let id = submit(&mut scheduler, 1, Tick(0))[0];
    scheduler.cancel(CancelSource::Caller, id, Duration::ZERO, Tick(0));
    scheduler.tick(Tick(1));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![Report::Spared { seq: Seq(1) }], after(1));
    assert!(matches!(scheduler.take_actions()[..], [Action::Revoke { .. }]));
    let again = scheduler.next_tick().expect("it is not forgotten");
    scheduler.tick(again);
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(1), reason: KillReason::Cancel, .. }]));
    // It had ended meanwhile: its result came first, and nothing is left to be done.
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS), Report::Spared { seq: Seq(1) }], again);
    assert!(finished(scheduler.take_actions())[0].outcome.is_success());
    assert_eq!(scheduler.next_tick(), None, "L10");
}

#[test]
fn l6_a_spared_kill_names_the_task_that_it_was_ordered_for() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let id = submit(&mut scheduler, 1, Tick(0))[0];
    scheduler.cancel(CancelSource::Caller, id, Duration::ZERO, Tick(0));
    scheduler.tick(Tick(1));
    facts(&mut scheduler);
    let spared = || Report::Spared { seq: Seq(1) };
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS), spared()], after(1));
    let told = facts(&mut scheduler);
    assert!(matches!(&told[..], [FactKind::TaskFinished { .. }, FactKind::KillSpared { task, .. }] if *task == id));
    scheduler.reported(worker(0, 1), vec![spared()], after(2));
    assert_eq!(facts(&mut scheduler), [], "L3: a second answer is stale");
}

#[test]
fn l13_nothing_is_killed_without_a_fact_when_its_task_has_ended() {
    let mut scheduler = ruled(PoolRules { task_memory: Some(1000), ..PoolRules::default() });
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.cancel_all(&TaskError::new(ErrorKind::Shutdown, "over"), after(1));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![measured(2000, &[1])], after(2));
    assert!(!scheduler.has_actions(), "{:?}", scheduler.take_actions());
}

/// A worker that has been replaced, with one task that runs and so many sent ahead.
fn draining(ahead: usize) -> (Scheduler, Vec<TaskId>) {
    let mut scheduler = ruled(PoolRules { worker_memory: Some(100), ..PoolRules::default() });
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    let ids = submit(&mut scheduler, 2 + ahead, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), 1000), measured(101, &[1])], after(1));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1 + ahead);
    scheduler.joined(worker(0, 2), slots(1), after(2));
    (scheduler, ids)
}

#[test]
fn a_replaced_worker_ends_also_when_the_last_it_had_was_taken_back() {
    let (mut scheduler, ids) = draining(1);
    scheduler.take_actions();
    scheduler.cancel(CancelSource::Caller, ids[2], Duration::from_secs(1), after(3));
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], after(4));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(3)] }], after(5));
    let actions = scheduler.take_actions();
    assert!(
        actions.iter().any(|it| matches!(it, Action::Retire { worker: old } if *old == worker(0, 1))),
        "{actions:?}"
    );
}

#[test]
fn tasks_that_wait_in_a_replaced_worker_are_revoked_at_once() {
    let (mut scheduler, ids) = draining(2);
    let actions = scheduler.take_actions();
    let Some(Action::Revoke { worker: old, seqs }) = actions.iter().find(|it| matches!(it, Action::Revoke { .. }))
    else {
        panic!("{actions:?}")
    };
    assert_eq!((*old, &seqs[..]), (worker(0, 1), &[Seq(3), Seq(4)][..]));
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: seqs.clone() }], after(22));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 0, "a place with one slot runs one task at a time");
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], after(23));
    let moved = scheduler.sent_to(worker(0, 2)).into_iter().filter_map(|(key, _)| scheduler.table().task(key));
    assert_eq!(moved.map(Task::id).next(), Some(ids[2]), "L12");
}

#[test]
fn a_post_mortem_never_guesses_who_ended_a_process() {
    let grace = Duration::from_secs(1);
    let limit = Duration::from_millis(5);
    let crash = || Departure { post_mortem: Some(found(EndedBy::Crash)), ..killed(&[1, 2]) };
    let killed_for = |reason| Departure { post_mortem: Some(found(EndedBy::Unknown)), ..killed_by(reason, &[1, 2]) };
    let ends = |rules: PoolRules, happens: &dyn Fn(&mut Scheduler, &[TaskId]), departure: Departure| {
        let mut scheduler = ruled(rules);
        scheduler.joined(worker(0, 1), slots(2), Tick(0));
        let mut ids = submit_as(&mut scheduler, 1, Tick(0), |task| task.timeout(limit).max_worker_losses(0));
        ids.extend(submit_as(&mut scheduler, 1, Tick(0), |task| task.max_worker_losses(0)));
        happens(&mut scheduler, &ids);
        scheduler.take_actions();
        scheduler.left(worker(0, 1), departure, after(6));
        let records = finished(scheduler.take_actions());
        ids.iter().map(|id| records.iter().find(|it| it.id == *id).map(|it| end_of(it))).collect::<Vec<_>>()
    };
    let end = |outcome, ended_by| Some((outcome, Some(ended_by)));
    let rules = PoolRules { task_memory: Some(1), ..PoolRules::default() };
    // The neighbour's cancellation was asked for, but it was the other one's deadline that ended both.
    let cancels = |scheduler: &mut Scheduler, ids: &[TaskId]| {
        scheduler.cancel(CancelSource::Caller, ids[1], grace, after(1));
        scheduler.tick(after(5));
    };
    assert_eq!(
        ends(rules, &cancels, killed_for(KillReason::Deadline)),
        [end("timed_out", EndedBy::Deadline), end("cancelled", EndedBy::Neighbour)]
    );
    // The process crashed before the engine could kill it.
    let late = |scheduler: &mut Scheduler, _: &[TaskId]| scheduler.tick(after(5));
    assert_eq!(ends(rules, &late, crash()), [end("timed_out", EndedBy::Crash), end("lost", EndedBy::Crash)]);
    let heavy = |scheduler: &mut Scheduler, _: &[TaskId]| {
        scheduler.reported(worker(0, 1), vec![measured(2, &[1])], after(1));
    };
    assert_eq!(ends(rules, &heavy, crash()), [end("lost", EndedBy::Crash); 2]);
    let stubborn = |scheduler: &mut Scheduler, ids: &[TaskId]| {
        scheduler.cancel(CancelSource::Caller, ids[0], Duration::ZERO, after(1));
        scheduler.tick(after(2));
    };
    assert_eq!(ends(rules, &stubborn, crash()), [end("cancelled", EndedBy::Crash), end("lost", EndedBy::Crash)]);
    assert_eq!(
        ends(rules, &stubborn, killed_for(KillReason::Cancel)),
        [end("cancelled", EndedBy::Cancel), end("lost", EndedBy::Neighbour)]
    );
}

#[test]
fn l6_a_measurement_ends_no_task_that_began_during_it() {
    let mut scheduler = ruled(PoolRules { task_memory: Some(1), ..PoolRules::default() });
    scheduler.joined(worker(0, 1), slots(2), Tick(0));
    submit(&mut scheduler, 3, Tick(0));
    // The first had the memory, ended, and another one took its slot before the measurement came in.
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(1));
    scheduler.take_actions();
    scheduler.reported(worker(0, 1), vec![measured(2, &[1])], Tick(2));
    assert!(!scheduler.has_actions(), "{:?}", scheduler.take_actions());
    scheduler.reported(worker(0, 1), vec![measured(2, &[1, 2])], Tick(3));
    assert!(matches!(scheduler.take_actions()[..], [Action::Kill { seq: Seq(2), .. }]));
}

#[test]
fn a_task_above_the_memory_limit_is_alone_also_beside_one_that_has_just_ended() {
    let mut scheduler = ruled(PoolRules { task_memory: Some(1), ..PoolRules::default() });
    scheduler.joined(worker(0, 1), slots(2), Tick(0));
    submit(&mut scheduler, 2, Tick(0));
    scheduler.reported(worker(0, 1), vec![measured(2, &[1])], Tick(1));
    // The second had written its result when the process was killed, but not yet left the page.
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS)], Tick(2));
    scheduler.take_actions();
    scheduler.left(worker(0, 1), killed_by(KillReason::MemoryLimit, &[1, 2]), Tick(3));
    let records = finished(scheduler.take_actions());
    assert_eq!(records[0].outcome.error().map(|error| error.kind), Some(ErrorKind::MemoryLimit));
}
