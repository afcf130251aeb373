//! Placement, windows and departures as cases; L1, L3, L5 over random histories.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::{EventKind, Generation, ProcessExit, WorkerId};
use crate::policy::task_table::Keep;

const MS: u64 = 1_000_000;

fn scheduler() -> Scheduler {
    let mut table = TaskTable::new(Timestamp::UNIX_EPOCH, Keep { count: 1 << 20, bytes: 1 << 30 });
    table.record_events(true);
    Scheduler::new(table)
}

fn worker(index: u32, generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId { pool: PoolKind::Cpu, index }, generation: Generation(generation) }
}

fn submit(scheduler: &mut Scheduler, count: usize, now: Tick) -> Vec<TaskId> {
    let ids = (0..count)
        .map(|_| {
            let task = Task::script("/a.py");
            let id = task.id();
            scheduler.submit(task, now).expect("new");
            id
        })
        .collect();
    scheduler.place(PoolKind::Cpu, now);
    ids
}

fn done(seq: Seq, nanos: u64) -> Report {
    Report::Ended { seq, nanos, result: Ok(Json("1".into())), output: None }
}

fn killed(running: &[u64]) -> Departure {
    Departure {
        reason: WorkerDownReason::Exited(ProcessExit::Signal(9)),
        running: Some(running.iter().copied().map(Seq).collect()),
        outputs: Vec::new(),
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
        scheduler.joined(worker(index, 1), 4, Tick(0));
    }
    submit(&mut scheduler, 8, Tick(0));
    let counts: Vec<usize> = (0..3).map(|index| scheduler.sent_to(worker(index, 1)).len()).collect();
    assert_eq!(counts, [3, 3, 2]);
}

#[test]
fn nothing_is_sent_ahead_of_a_task_whose_run_time_is_unknown_or_long() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), 1, Tick(0));
    submit(&mut scheduler, 5, Tick(0));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), 500 * MS)], Tick(500 * MS));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [2]);
}

#[test]
fn short_tasks_are_sent_ahead_up_to_two_milliseconds_of_work() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), 1, Tick(0));
    submit(&mut scheduler, 50, Tick(0));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [1]);
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 2)], Tick(MS));
    assert_eq!(sent(&mut scheduler, worker(0, 1)), [2, 3, 4, 5]);
}

#[test]
fn tasks_behind_one_that_turned_out_long_are_revoked_after_20_ms_and_go_elsewhere_in_order() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), 1, Tick(0));
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
    scheduler.joined(worker(1, 1), 1, Tick(23 * MS));
    let actions = scheduler.take_actions();
    let [Action::Run { worker: to, tasks }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((*to, tasks[0].id, tasks[0].attempt), (worker(1, 1), ids[3], Attempt(1)));
}

#[test]
fn l5_a_dead_worker_loses_what_it_ran_and_gives_back_the_rest_in_order() {
    let mut scheduler = scheduler();
    scheduler.joined(worker(0, 1), 1, Tick(0));
    let ids = submit(&mut scheduler, 4, Tick(0));
    scheduler.reported(worker(0, 1), vec![done(Seq(1), MS / 10)], Tick(MS));
    scheduler.take_actions();
    scheduler.left(worker(0, 1), killed(&[2]), Tick(2 * MS));
    let actions = scheduler.take_actions();
    let [Action::Finished { record, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(record.id, ids[1]);
    let error = record.outcome.error().expect("lost");
    assert_eq!(error.exit, Some(ProcessExit::Signal(9)));
    assert!(error.message.contains("cpu-0") && error.message.contains("SIGKILL"), "{}", error.message);
    scheduler.joined(worker(0, 2), 1, Tick(3 * MS));
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
    scheduler.joined(worker(0, 1), 1, Tick(0));
    submit(&mut scheduler, 1, Tick(0));
    scheduler.left(worker(0, 1), killed(&[]), Tick(1));
    scheduler.joined(worker(0, 2), 1, Tick(2));
    assert_eq!(scheduler.sent_to(worker(0, 2)).len(), 1);
}

#[test]
fn a_pool_that_cannot_start_fails_its_tasks_with_the_reason_and_heals() {
    let mut scheduler = scheduler();
    submit(&mut scheduler, 2, Tick(0));
    let error = TaskError::new(ErrorKind::WorkerStartFailed, "no python3");
    scheduler.unavailable(PoolKind::Cpu, error.clone(), Tick(1));
    submit(&mut scheduler, 1, Tick(2));
    let ends: Vec<_> = scheduler.take_actions().into_iter().collect();
    assert_eq!(ends.len(), 3);
    for end in ends {
        let Action::Finished { record, .. } = end else { panic!("{end:?}") };
        assert_eq!(record.outcome.error(), Some(&error));
    }
    scheduler.joined(worker(0, 1), 1, Tick(3));
    submit(&mut scheduler, 1, Tick(4));
    assert_eq!(scheduler.sent_to(worker(0, 1)).len(), 1);
}

/// One step of a random history; numbers pick among what is there.
#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Join(u8),
    End { worker: u8, pick: u8, micros: u32 },
    Stale { worker: u8, seq: u8, generation: u8 },
    Die { worker: u8, started: u8, unknown: bool },
    Revoke { worker: u8, picks: Vec<u8> },
    Unavailable,
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6u8).prop_map(Step::Submit),
        2 => (0..3u8).prop_map(Step::Join),
        8 => (0..3u8, any::<u8>(), 1..5000u32).prop_map(|(worker, pick, micros)| Step::End { worker, pick, micros }),
        2 => (0..3u8, any::<u8>(), 0..4u8).prop_map(|(worker, seq, generation)| Step::Stale { worker, seq, generation }),
        1 => (0..3u8, 0..3u8, any::<bool>()).prop_map(|(worker, started, unknown)| Step::Die { worker, started, unknown }),
        2 => (0..3u8, proptest::collection::vec(any::<u8>(), 0..5)).prop_map(|(worker, picks)| Step::Revoke { worker, picks }),
        1 => Just(Step::Unavailable),
        2 => (1..30_000u32).prop_map(Step::Wait),
    ]
}

/// A history: the scheduler, the workers that live, and what a truthful world would say.
struct World {
    scheduler: Scheduler,
    now: Tick,
    generations: [u32; 3],
    alive: [bool; 3],
    accepted: BTreeSet<TaskId>,
    /// Attempts that a world would charge: started when their worker died, or ended.
    charged: BTreeMap<TaskId, u32>,
}

impl World {
    fn worker(&self, index: u8) -> WorkerRef {
        worker(u32::from(index), self.generations[usize::from(index)])
    }

    fn charge(&mut self, key: TaskKey) {
        let id = self.scheduler.table().task(key).expect("live").id();
        *self.charged.entry(id).or_default() += 1;
    }

    fn apply(&mut self, step: Step) {
        self.now = Tick(self.now.0 + 1000);
        match step {
            Step::Submit(count) => {
                let ids = submit(&mut self.scheduler, count.into(), self.now);
                self.accepted.extend(ids);
            }
            Step::Join(index) if !self.alive[usize::from(index)] => {
                self.generations[usize::from(index)] += 1;
                self.alive[usize::from(index)] = true;
                self.scheduler.joined(self.worker(index), 1 + usize::from(index), self.now);
            }
            Step::End { worker, pick, micros } => {
                let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
                if let Some(&(key, seq)) = sent.get(usize::from(pick) % sent.len().max(1)) {
                    self.charge(key);
                    self.scheduler.reported(from, vec![done(seq, u64::from(micros) * 1000)], self.now);
                    let before = self.scheduler.table().ignored();
                    self.scheduler.reported(from, vec![done(seq, 1)], self.now);
                    assert_eq!(self.scheduler.table().ignored(), before + 1, "L1: a result counts once");
                }
            }
            Step::Stale { worker: index, seq, generation } => {
                let stale = worker(index.into(), generation.into());
                if stale.generation.0 < self.generations[usize::from(index)] {
                    let live = self.scheduler.table().live();
                    let reports = vec![done(Seq(seq.into()), 1), Report::Revoked { seqs: vec![Seq(seq.into())] }];
                    self.scheduler.reported(stale, reports, self.now);
                    self.scheduler.left(stale, killed(&[seq.into()]), self.now);
                    assert_eq!(self.scheduler.table().live(), live, "L3: a stale message changes nothing");
                }
            }
            Step::Die { worker, started, unknown } if self.alive[usize::from(worker)] => {
                self.alive[usize::from(worker)] = false;
                let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
                let slots = 1 + usize::from(worker);
                let count = if unknown { slots } else { usize::from(started).min(slots) };
                let running: Vec<u64> = sent.iter().take(count).map(|(_, seq)| seq.0).collect();
                for &(key, _) in sent.iter().take(count) {
                    self.charge(key);
                }
                let mut departure = killed(&running);
                if unknown {
                    departure.running = None;
                }
                self.scheduler.left(from, departure, self.now);
            }
            Step::Revoke { worker, picks } => {
                let (from, sent) = (self.worker(worker), self.scheduler.sent_to(self.worker(worker)));
                let seqs = picks.iter().filter_map(|pick| sent.get(usize::from(*pick) % sent.len().max(1)));
                let seqs = seqs.map(|(_, seq)| *seq).collect();
                self.scheduler.reported(from, vec![Report::Revoked { seqs }], self.now);
            }
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
        self.check();
    }

    /// What must hold after every step.
    fn check(&self) {
        let queued =
            self.scheduler.table().keys().filter(|key| self.scheduler.table().state(*key) == Some(State::Queued));
        assert_eq!(queued.count(), self.scheduler.queued());
        let waiting: usize = self.scheduler.pools.iter().map(|pool| pool.queue.len()).sum();
        assert_eq!(waiting, self.scheduler.queued(), "L1: every queued task is in a queue, once");
        for member in self.scheduler.pools.iter().flat_map(|pool| pool.members.iter().flatten()) {
            assert_eq!(member.in_flight.len(), self.scheduler.sent_to(member.worker).len());
            assert_eq!(member.load, member.in_flight.iter().map(|task| task.estimate).sum::<u64>());
            assert!(member.outbox.is_empty());
            let idle = member.in_flight.len() < member.slots;
            assert!(!idle || self.scheduler.queued() == 0, "no task waits while a worker is free");
        }
    }
}

proptest! {
    #[test]
    fn l1_l3_l5_hold_over_random_histories(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World {
            scheduler: scheduler(),
            now: Tick(0),
            generations: [0; 3],
            alive: [false; 3],
            accepted: BTreeSet::new(),
            charged: BTreeMap::new(),
        };
        for step in steps {
            world.apply(step);
        }
        world.scheduler.cancel_all(&TaskError::new(ErrorKind::Shutdown, "over"), world.now);
        prop_assert_eq!(world.scheduler.table().live(), 0);

        let (mut finished, mut attempts) = (BTreeMap::<TaskId, u32>::new(), BTreeMap::<TaskId, u32>::new());
        for action in world.scheduler.take_actions() {
            if let Action::Finished { record, .. } = action {
                *finished.entry(record.id).or_default() += 1;
                attempts.insert(record.id, record.attempt.map_or(0, |attempt| attempt.0));
            }
        }
        prop_assert_eq!(finished.keys().copied().collect::<BTreeSet<_>>(), world.accepted.clone(), "L1: every task ends");
        prop_assert!(finished.values().all(|count| *count == 1), "L1: exactly once");
        for (id, charged) in &world.charged {
            prop_assert_eq!(attempts[id], *charged, "L5: only what started is charged");
        }

        // The trace tells the same story: accepted first, then sent and returned in turn, finished last.
        let mut states: BTreeMap<TaskId, &str> = BTreeMap::new();
        for event in world.scheduler.table_mut().take_events() {
            let (task, legal, next): (_, &[Option<&str>], _) = match event.kind {
                EventKind::TaskAccepted { task, .. } => (task, &[None], "queued"),
                EventKind::TaskSent { task, .. } => (task, &[Some("queued")], "sent"),
                EventKind::TaskReturned { task, .. } => (task, &[Some("sent")], "queued"),
                EventKind::TaskFinished { task, .. } => (task, &[Some("queued"), Some("sent")], "finished"),
                other => panic!("the table emitted {other:?}"),
            };
            let before = states.get(&task).copied();
            prop_assert!(legal.contains(&before), "{} after {:?}", next, before);
            states.insert(task, next);
        }
        prop_assert!(states.values().all(|state| *state == "finished"));
    }
}
