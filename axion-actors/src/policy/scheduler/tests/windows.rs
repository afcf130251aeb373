//! What is sent ahead and asked back.

use super::*;
use crate::model::WorkName;

fn io(index: u32) -> WorkerRef {
    WorkerRef { id: WorkerId::local(PoolId::IO, index), generation: Generation(1) }
}

fn submit_io(scheduler: &mut Scheduler, script: &str, count: usize, now: Tick) -> Vec<TaskId> {
    let tasks = (0..count).map(|_| Task::script(script).on(PoolId::IO));
    let ids = tasks.map(|task| (task.id(), scheduler.submit(task, None, now).expect("new")).0).collect();
    scheduler.place(PoolId::IO, now);
    ids
}

fn revokes(actions: &[Action]) -> Vec<(WorkerRef, Vec<Seq>)> {
    let revokes = actions.iter().filter_map(|action| match action {
        Action::Revoke { worker, seqs } => Some((*worker, seqs.clone())),
        _ => None,
    });
    revokes.collect()
}

/// A scheduler whose one worker has ended a task of 50 µs, so that it sends more of them ahead.
fn after_a_short_task() -> Scheduler {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), slots(1), Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 20)], Tick(0));
    scheduler
}

#[test]
fn l10_a_worker_that_returned_nothing_is_not_asked_again_before_it_ends_a_task() {
    let mut scheduler = after_a_short_task();
    submit(&mut scheduler, 40, Tick(0));
    scheduler.take_actions();
    scheduler.joined(worker(1, 1), slots(1), after(1));
    assert_eq!(revokes(&scheduler.take_actions()).len(), 1, "an idle worker steals");
    // It had read them all: what the engine takes for sent ahead has begun there.
    for now in 2..10 {
        scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: Vec::new() }], after(now));
        scheduler.place(PoolId::CPU, after(now));
        assert_eq!(revokes(&scheduler.take_actions()), [], "it has just been asked");
    }
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS / 20)], after(10));
    assert_eq!(revokes(&scheduler.take_actions()).len(), 1, "now it may have something again");
}

#[test]
fn tasks_behind_long_ones_are_revoked_after_20_ms_even_while_coroutines_end() {
    let mut scheduler = scheduler();
    scheduler.durations.learn(WorkKey::Script(&ScriptPath::new("/async.py".as_ref())), true);
    scheduler.joined(io(0), WorkerCapacity::local(2, 3), Tick(0));
    submit_io(&mut scheduler, "/plain.py", 1, Tick(0));
    scheduler.reported(io(0), vec![done(Seq(1), MS / 10)], Tick(0));
    submit_io(&mut scheduler, "/plain.py", 4, after(1));
    assert_eq!(scheduler.sent_to(io(0)).len(), 4, "two run, two are sent ahead");
    let mut seq = 5;
    for now in 2..21 {
        submit_io(&mut scheduler, "/async.py", 1, after(now));
        seq += 1;
        scheduler.reported(io(0), vec![done(Seq(seq), MS / 2)], after(now));
        scheduler.tick(after(now));
    }
    assert_eq!(revokes(&scheduler.take_actions()), [], "not yet");
    scheduler.tick(after(21));
    assert_eq!(revokes(&scheduler.take_actions()), [(io(0), vec![Seq(4), Seq(5)])]);
    scheduler.reported(io(0), vec![Report::Revoked { seqs: vec![Seq(4), Seq(5)] }], after(22));
    submit_io(&mut scheduler, "/async.py", 1, after(22));
    scheduler.reported(io(0), vec![done(Seq(25), MS / 2)], after(23));
    assert_eq!(scheduler.sent_to(io(0)).len(), 2, "a coroutine's end does not make the long ones short");
}

#[test]
fn l12_no_task_overtakes_one_whose_revocation_has_no_answer_yet() {
    let mut scheduler = after_a_short_task();
    let mut expected = submit(&mut scheduler, 3, after(1)).split_off(1);
    scheduler.tick(after(21));
    assert_eq!(revokes(&scheduler.take_actions()), [(worker(0, 1), vec![Seq(3), Seq(4)])]);
    expected.extend(submit(&mut scheduler, 1, after(21)));
    // The task ends: it was sent late, but was short. Its report overtakes the answer to the revocation.
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS / 20)], after(22));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [0; 0]);
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: vec![Seq(3), Seq(4)] }], after(22));
    let mut started = Vec::new();
    for (seq, now) in (5..).zip(23..26) {
        let runs = scheduler.take_actions().into_iter().filter_map(|action| match action {
            Action::Run { tasks, .. } => Some(tasks),
            _ => None,
        });
        started.extend(runs.flatten().map(|task| task.id));
        scheduler.reported(worker(0, 1), vec![done(Seq(seq), MS / 20)], after(now));
    }
    assert_eq!(started, expected);
}

#[test]
fn l12_no_task_overtakes_one_that_two_revocations_name() {
    let mut scheduler = after_a_short_task();
    submit(&mut scheduler, 40, Tick(0));
    scheduler.take_actions();
    scheduler.joined(worker(1, 1), slots(1), after(1));
    let [(_, part)] = revokes(&scheduler.take_actions()).try_into().expect("an idle worker steals");
    submit(&mut scheduler, 200, after(2));
    scheduler.tick(after(20));
    let [(_, all)] = revokes(&scheduler.take_actions()).try_into().expect("and then it stalls");
    // The first answer is there, and the front has ended: the rest is still to come back.
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: part.clone() }], after(21));
    scheduler.reported(worker(0, 1), vec![done(Seq(2), MS / 20)], after(21));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [0; 0]);
    let rest = all.into_iter().filter(|seq| !part.contains(seq)).collect();
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs: rest }], after(22));
    assert_ne!(sent(&mut scheduler, worker(0, 1)), [0; 0]);
}

#[test]
fn coroutines_that_turn_out_to_be_plain_are_taken_back_where_they_have_not_begun() {
    let mut scheduler = scheduler();
    let script = ScriptPath::new("/async.py".as_ref());
    scheduler.durations.learn(WorkKey::Script(&script), true);
    scheduler.joined(io(0), WorkerCapacity::local(2, 9), Tick(0));
    submit_io(&mut scheduler, "/async.py", 5, Tick(0));
    submit_io(&mut scheduler, "/other.py", 1, Tick(0));
    scheduler.take_actions();
    // The script has changed: two of its tasks are in threads, three wait for one, and the clocks of all run.
    scheduler.reported(io(0), vec![Report::Learned { work: WorkName::Script(script), coroutine: false }], after(1));
    let all = (1..=5).map(Seq).collect();
    assert_eq!(revokes(&scheduler.take_actions()), [(io(0), all)], "the child knows which have begun");
    scheduler.reported(io(0), vec![Report::Revoked { seqs: [3, 4, 5].map(Seq).into() }], after(2));
    let left: Vec<u64> = scheduler.sent_to(io(0)).iter().map(|(_, seq)| seq.0).collect();
    assert_eq!(left, [1, 2, 6, 7], "one of them comes into the free slot, as a plain task");
}

#[test]
fn no_task_is_sent_ahead_behind_one_whose_run_time_is_unknown_or_long() {
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
fn coroutines_have_places_of_their_own_once_their_script_is_known() {
    let mut scheduler = scheduler();
    let io = WorkerRef { id: WorkerId::local(PoolId::IO, 0), generation: Generation(1) };
    scheduler.joined(io, WorkerCapacity::local(2, 3), Tick(0));
    let submit = |scheduler: &mut Scheduler, count, script: &str| {
        for _ in 0..count {
            scheduler.submit(Task::script(script).on(PoolId::IO), None, Tick(0)).expect("new");
        }
        scheduler.place(PoolId::IO, Tick(0));
        ids_sent(&scheduler.take_actions()).len()
    };
    assert_eq!(submit(&mut scheduler, 9, "/async.py"), 2, "unknown: as if it took a thread");
    let script = ScriptPath::new("/async.py".as_ref());
    scheduler.durations.learn(WorkKey::Script(&script), true);
    scheduler.place(PoolId::IO, Tick(0));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 3, "and none is sent ahead");
    // The slots are free again, for plain tasks only.
    scheduler.reported(io, vec![done(Seq(1), MS), done(Seq(2), MS)], Tick(MS));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 0);
    scheduler.reported(io, vec![done(Seq(4), MS)], Tick(MS));
    assert_eq!(ids_sent(&scheduler.take_actions()).len(), 1);
    scheduler.pools[PoolId::IO].workers.assert_sums();
}

#[test]
fn c0_9_an_idle_worker_steals_half_of_another_worker_s_window() {
    let mut scheduler = after_a_short_task();
    // 40 tasks of 50 µs fill its window: one runs, 39 wait.
    submit(&mut scheduler, 50, Tick(0));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 40);
    scheduler.take_actions();
    // The idle worker gets the other ten tasks of the queue, and then half of the first worker's window.
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
    scheduler.place(PoolId::CPU, Tick(MS / 20));
    assert!(scheduler.take_actions().is_empty(), "once");
    scheduler.reported(worker(0, 1), vec![Report::Revoked { seqs }], Tick(MS / 10));
    let stolen = scheduler.sent_to(worker(1, 1)).len();
    assert_eq!((stolen, scheduler.sent_to(worker(0, 1)).len()), (19, 21));
}

#[test]
fn how_much_is_sent_ahead_and_for_how_long_follows_from_the_way_to_the_worker() {
    let far = WorkerLink { window: Duration::from_millis(20), stall: Duration::from_millis(200), ..WorkerLink::LOCAL };
    for (link, ahead, stall) in [(WorkerLink::LOCAL, 2, 20), (far, 20, 200)] {
        let mut scheduler = scheduler();
        scheduler.joined(worker(0, 1), WorkerCapacity { link, ..slots(1) }, Tick(0));
        submit(&mut scheduler, 1, Tick(0));
        scheduler.reported(worker(0, 1), vec![done(Seq(1), MS)], Tick(0));
        sent(&mut scheduler, worker(0, 1));
        submit(&mut scheduler, 100, Tick(0));
        assert_eq!(sent(&mut scheduler, worker(0, 1)).len(), ahead);
        scheduler.tick(after(stall - 1));
        assert_eq!(revokes(&scheduler.take_actions()), []);
        scheduler.tick(after(stall));
        assert_eq!(revokes(&scheduler.take_actions()).len(), 1);
    }
}
