//! The laws over random histories. The facts of each history go to the oracle that the chaos test uses, too.

mod steps;

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::option;
use proptest::prelude::*;

use super::super::worker_slots::Isolation;
use super::*;
use crate::model::{Backoff, BlockedBy, NotBefore, RetryPolicy};
use crate::policy::fold::{Duty, TaskPhase};
use crate::testing::Oracle;

/// One step of a random history; numbers pick among what is there.
#[derive(Clone, Debug)]
pub(super) enum HistoryStep {
    Submit {
        task: DrawnTask,
        count: u8,
        timeout: Option<u8>,
        delay: u8,
    },
    SubmitLimited {
        task: DrawnTask,
        wanted: limits::Wanted,
    },
    Shrink {
        pool: u8,
        count: u8,
    },
    Join(u8),
    Ended {
        worker: u8,
        pick: u8,
        micros: u32,
        fails: bool,
    },
    Stale {
        worker: u8,
        seq: u8,
        generation: u8,
    },
    Die {
        worker: u8,
        started: u8,
        unknown: bool,
    },
    Execute {
        worker: u8,
        spared: bool,
        started: bool,
    },
    Revoke {
        worker: u8,
        picks: Vec<u8>,
        begun: bool,
    },
    Cancel(u8),
    Unavailable {
        pool: u8,
    },
    /// The wall clock is set forward or back by this many milliseconds.
    SetWallClock(i64),
    Wait(u32),
}

/// The options of a submitted task. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct DrawnTask {
    pool: u8,
    retries: u8,
    losses: u8,
    ttl: Option<u8>,
    priority: u8,
}

impl DrawnTask {
    fn of(self, task: Task) -> Task {
        let backoff = Backoff::Fixed(Duration::from_millis(3));
        let policy = RetryPolicy { backoff, ..RetryPolicy::times(self.retries.into()) };
        let task = task.on(pool_of(self.pool)).retry(policy).max_worker_losses(self.losses.into());
        let task = task.priority(Priority::try_from(self.priority).expect("in range"));
        match self.ttl {
            Some(ms) => task.ttl(millis(ms)),
            None => task,
        }
    }
}

fn millis(count: u8) -> Duration {
    Duration::from_millis(count.into())
}

pub(super) fn drawn_task() -> impl Strategy<Value = DrawnTask> {
    (0..3u8, 0..3u8, 0..3u8, option::of(1..40u8), 0..10u8)
        .prop_map(|(pool, retries, losses, ttl, priority)| DrawnTask { pool, retries, losses, ttl, priority })
}

pub(super) fn step() -> impl Strategy<Value = HistoryStep> {
    prop_oneof![
        4 => (drawn_task(), 1..6u8, option::of(1..40u8), 0..20u8)
            .prop_map(|(task, count, timeout, delay)| HistoryStep::Submit { task, count, timeout, delay }),
        1 => (0..3u8, 1..3u8).prop_map(|(pool, count)| HistoryStep::Shrink { pool, count }),
        4 => (0..WORKERS).prop_map(HistoryStep::Join),
        14 => (0..WORKERS, any::<u8>(), 1..5000u32, any::<bool>())
            .prop_map(|(worker, pick, micros, fails)| HistoryStep::Ended { worker, pick, micros, fails }),
        2 => (0..WORKERS, any::<u8>(), 0..4u8).prop_map(|(worker, seq, generation)| HistoryStep::Stale { worker, seq, generation }),
        2 => (0..WORKERS, 0..3u8, any::<bool>()).prop_map(|(worker, started, unknown)| HistoryStep::Die { worker, started, unknown }),
        4 => (0..WORKERS, any::<bool>(), any::<bool>())
            .prop_map(|(worker, spared, started)| HistoryStep::Execute { worker, spared, started }),
        3 => (0..WORKERS, proptest::collection::vec(any::<u8>(), 0..5), any::<bool>())
            .prop_map(|(worker, picks, begun)| HistoryStep::Revoke { worker, picks, begun }),
        1 => any::<u8>().prop_map(HistoryStep::Cancel),
        1 => (0..3u8).prop_map(|pool| HistoryStep::Unavailable { pool }),
        1 => prop_oneof![(-3..=3i64).prop_map(|hours| hours * 3_600_000), -20..=20i64].prop_map(HistoryStep::SetWallClock),
        3 => (1..30_000u32).prop_map(HistoryStep::Wait),
    ]
}

/// The workers of a history are numbered: the first three are of the pool `cpu`, the next of `io`, the last of `gpu`.
pub(super) const WORKERS: u8 = 9;

/// A pool by the number that a step has.
fn pool_of(number: u8) -> PoolId {
    [PoolId::CPU, PoolId::IO, gpu()][usize::from(number)]
}

fn worker_of(number: u8, generation: u32) -> WorkerRef {
    let id = WorkerId::local(pool_of(number / 3), u32::from(number % 3));
    WorkerRef { id, generation: Generation(generation) }
}

/// The number of a worker.
fn number_of(worker: WorkerRef) -> usize {
    let of_pool = (0..3).find(|pool| pool_of(*pool) == worker.id.pool).expect("one of the three");
    usize::from(of_pool) * 3 + worker.id.index as usize
}

/// The slots of a worker: one of the first of its pool, two of the second, three of the third.
fn slots_of_worker(number: u8) -> usize {
    1 + usize::from(number % 3)
}

/// A history: the scheduler, the workers that live, and what a truthful world would say.
pub(super) struct HistoryWorld {
    pub(super) scheduler: Scheduler,
    /// There are tasks with limits.
    pub(super) limited: bool,
    pub(super) now: Tick,
    pub(super) generations: [u32; WORKERS as usize],
    pub(super) alive: [bool; WORKERS as usize],
    /// The attempt that each worker was ordered to kill.
    pub(super) ordered: [Option<(Seq, KillReason)>; WORKERS as usize],
    pub(super) accepted: Vec<TaskId>,
    pub(super) records: Vec<Arc<TaskRecord>>,
    /// Attempts that a truthful world counts: ended, or running when their process did.
    pub(super) counted: BTreeMap<TaskId, u32>,
    /// Judges the facts, and folds them.
    pub(super) oracle: Oracle,
}

impl HistoryWorld {
    pub(super) fn new(scheduler: Scheduler, limited: bool) -> Self {
        Self {
            scheduler,
            limited,
            now: Tick(0),
            generations: [0; WORKERS as usize],
            alive: [false; WORKERS as usize],
            ordered: [None; WORKERS as usize],
            accepted: Vec::new(),
            records: Vec::new(),
            counted: BTreeMap::new(),
            oracle: Oracle::default(),
        }
    }

    pub(super) fn worker(&self, index: u8) -> WorkerRef {
        worker_of(index, self.generations[usize::from(index)])
    }

    pub(super) fn count(&mut self, key: TaskKey) {
        let id = self.scheduler.table().task(key).expect("live").id();
        *self.counted.entry(id).or_default() += 1;
    }

    pub(super) fn take_actions(&mut self) {
        let mut retired = Vec::new();
        for action in self.scheduler.take_actions() {
            match action {
                Action::Retire { worker } if !retired.contains(&worker) => retired.push(worker),
                Action::Finished { record, .. } => self.records.push(record),
                Action::Kill { worker, seq, reason } => {
                    let ordered = &mut self.ordered[number_of(worker)];
                    assert!(ordered.is_none(), "one kill at a time");
                    *ordered = Some((seq, reason));
                }
                _ => {}
            }
        }
        for worker in retired {
            assert_eq!(self.scheduler.sent_to(worker), [], "what leaves has finished what it had");
            self.alive[number_of(worker)] = false;
            let departure = Departure { reason: WorkerDownReason::Retired, ..killed(&[]) };
            self.scheduler.left(worker, departure, self.now);
        }
    }

    /// Passes the facts since the last call to the oracle.
    pub(super) fn observe_facts(&mut self) {
        self.oracle.observe_turn(self.scheduler.table_mut().recorder().take());
    }

    /// L13: the facts fold to the state of the table and of the pools.
    pub(super) fn check_facts(&self) {
        let Self { scheduler, oracle, .. } = self;
        let (table, state) = (scheduler.table(), oracle.state());
        assert_eq!((state.accepted, state.outcomes), (table.accepted(), table.finished()));
        assert_eq!(state.records.len(), table.retained().0);
        assert_eq!(state.tasks.len(), table.live());
        let (at_gate, held) = (scheduler.limiter.at_gate(), scheduler.limiter.held());
        for key in table.keys() {
            let id = table.task(key).expect("live").id();
            let (known, counters) = (&state.tasks[&id], table.counters(key));
            let phase = match table.state(key).expect("live") {
                TaskState::Queued => TaskPhase::Queued,
                TaskState::Sent { worker, seq, at } => TaskPhase::Sent { worker, seq, at },
                TaskState::Waiting { timer } => TaskPhase::Waiting { until: timer.due() },
            };
            assert_eq!(known.phase, phase, "{id}");
            if let (TaskPhase::Waiting { until }, 0) = (phase, known.attempts)
                && let Some(NotBefore::At(time)) = known.task.options().not_before
            {
                assert_eq!(until, table.tick(time), "a task that is held until a calendar time follows the wall clock");
            }
            assert_eq!(Some(known.submitted), table.submitted(key));
            assert_eq!((known.retries, known.losses), (counters.retries, counters.losses));
            assert_eq!((known.cancelled, known.isolated), (counters.cancelled, counters.alone));
            assert_eq!(Some(known.attempts), table.attempts(key));
            let hold = held.iter().find(|(holder, ..)| *holder == key);
            let needs_permit = table.task(key).and_then(Task::limits).is_some_and(|limits| limits.is_shared());
            assert_eq!(known.admitted, needs_permit && hold.is_some_and(|(_, permit, _)| *permit), "{id} {known:?}");
            let slots = hold.map(|(.., slots)| slots.iter().map(|it| it.named(known.task.pool_id())).collect());
            assert_eq!(known.reserved, slots.unwrap_or_else(Vec::new));
            if at_gate.contains(&key) {
                assert!(known.blocked.is_some(), "what waits at the gate has a reason: {known:?}");
            } else if !matches!(known.blocked, Some(BlockedBy::Slots { .. })) {
                assert_eq!(known.blocked, None);
            }
        }
        let duty = |duty: Duty| -> BTreeSet<WorkerRef> {
            state.workers.iter().filter(|(_, it)| it.duty == Some(duty)).map(|(worker, _)| *worker).collect()
        };
        let pools = || scheduler.pools.values();
        assert_eq!(duty(Duty::Joined), pools().flat_map(|it| it.workers.iter()).map(|it| it.worker).collect());
        assert_eq!(duty(Duty::Retiring), pools().flat_map(|it| &it.draining).map(|it| it.worker).collect());
        let unavailable = scheduler.why_unavailable(PoolId::CPU).map(|error| error.message.clone());
        assert_eq!(state.pools.get(&PoolId::CPU).and_then(|pool| pool.unavailable.clone()), unavailable);
    }

    /// What must hold after every step.
    pub(super) fn check(&self) {
        let table = self.scheduler.table();
        let queued = table.keys().filter(|key| table.state(*key) == Some(TaskState::Queued)).count();
        let weight = |key| table.task(key).map_or(0, Task::weight);
        let here = |key: &TaskKey| !matches!(table.state(*key), Some(TaskState::Sent { .. }));
        let bytes = table.keys().filter(here).map(weight).sum::<usize>();
        assert_eq!((table.keys().filter(here).count(), bytes), table.waiting());
        for (pool, _) in self.scheduler.pools.iter() {
            let of_pool = |key: &TaskKey| table.task(*key).is_some_and(|task| task.pool_id() == pool);
            let count = table.keys().filter(of_pool).filter(|key| table.state(*key) == Some(TaskState::Queued)).count();
            assert_eq!(count, table.queued(pool), "{pool}");
        }
        let pools = self.scheduler.pools.values();
        let others = |pool: &Pool| -> Vec<TaskKey> {
            pool.suspects.iter().chain(&pool.cleared).copied().chain(pool.multi_slot.queue.iter()).collect()
        };
        let keys = pools.flat_map(|pool| pool.queue.iter().chain(others(pool)));
        let keys = keys.chain(self.scheduler.limiter.at_gate());
        let live: Vec<TaskKey> = keys.filter(|key| table.task(*key).is_some()).collect();
        assert_eq!(live.len(), queued, "L1: every queued task is in a queue");
        assert_eq!(live.iter().collect::<BTreeSet<_>>().len(), queued, "once");
        let mut timers =
            table.keys().filter(|key| matches!(table.state(*key), Some(TaskState::Waiting { .. }))).count();
        timers += table
            .keys()
            .filter(here)
            .filter(|key| table.task(*key).is_some_and(|it| it.options().ttl.is_some()))
            .count();
        let pools = self.scheduler.pools.values();
        for pool in pools.clone() {
            pool.workers.assert_sums();
            assert!(!pool.woken, "what may be placed has been");
        }
        for (pool, member) in pools.clone().flat_map(|pool| pool.workers.iter().map(move |member| (pool, member))) {
            let suspects = pool.suspects.iter().any(|key| table.task(*key).is_some());
            let queued = table.queued(pool.id);
            assert_eq!(member.worker.id.pool, pool.id);
            let elsewhere = |task: &InFlight| table.task(task.key).is_some_and(|it| it.pool_id() != pool.id);
            assert!(!member.in_flight.iter().any(elsewhere), "a task runs in its own pool");
            assert_eq!(member.in_flight.len(), self.scheduler.sent_to(member.worker).len());
            assert_eq!(member.load, member.in_flight.iter().map(|task| task.estimate).sum::<u64>());
            assert!(member.outbox.is_empty());
            let kept_free = member.isolation != Isolation::None && member.in_flight.is_empty();
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
        let workers = pools.flat_map(|pool| pool.workers.iter().chain(&pool.draining));
        let in_flight = workers.flat_map(|member| &member.in_flight);
        timers += in_flight.flat_map(|it| [it.soft, it.hard, it.grace]).flatten().count();
        assert!(self.scheduler.timers.len() <= timers, "L9: no timer is left behind");
    }
}

proptest! {
    #[test]
    fn l1_l3_l5_hold_over_random_histories(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = HistoryWorld::new(scheduler(), false);
        for step in steps {
            world.apply(step);
        }
        // What is with a worker at the end is in its next attempt.
        let table = world.scheduler.table();
        let sent = table.keys().filter(|key| matches!(table.state(*key), Some(TaskState::Sent { .. })));
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
            let (submitted, ended) = (record.timings.submitted, record.timings.finished);
            let times = record.earlier.iter().flat_map(|it| [it.sent, it.ended]);
            let times: Vec<_> = std::iter::once(submitted).chain(times).chain([ended]).collect();
            prop_assert!(times.is_sorted(), "the times of a record never go backwards: {times:?}");
        }
        let accepted: BTreeSet<TaskId> = world.accepted.iter().copied().collect();
        prop_assert_eq!(finished.keys().copied().collect::<BTreeSet<_>>(), accepted, "L1: every task ends");
        prop_assert!(finished.values().all(|count| *count == 1), "L1: exactly once");

        world.observe_facts();
        prop_assert_eq!(world.oracle.finish(), Ok(Vec::new()), "the facts tell of every end");
        prop_assert_eq!(world.oracle.state().outcomes, world.scheduler.table().finished());
    }
}
