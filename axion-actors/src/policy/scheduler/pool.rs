//! The workers of a pool as the scheduler sees them, and who has room for a task.

use std::collections::VecDeque;
use std::time::Duration;

use super::protocol::{PoolRules, RunTask, TimeLimits};
use crate::model::{KillReason, Seq, Task, TaskError, Tick, WorkerRef};
use crate::policy::task_table::{TaskKey, TaskTable};
use crate::policy::timers::{TimerId, Timers};

/// The work that may be in a worker, per slot, when another task is sent ahead.
pub const AHEAD: Duration = Duration::from_millis(2);
/// How long a task sent ahead waits behind another one before it is taken back.
pub const STALL: Duration = Duration::from_millis(20);
/// The most tasks sent ahead of those that run.
const AHEAD_TASKS: usize = 128;
/// The most parameter bytes in a worker when another task is sent ahead: what a pipe holds, so that
/// sending never waits.
const AHEAD_BYTES: usize = 48 << 10;

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) key: TaskKey,
    pub(super) bytes: usize,
    /// Expected nanoseconds; more than a window's worth when unknown.
    pub(super) estimate: u64,
    /// It is in one of the worker's slots.
    pub(super) started: bool,
    pub(super) soft: Option<TimerId>,
    pub(super) hard: Option<TimerId>,
    pub(super) grace: Option<TimerId>,
    /// It is to be killed.
    pub(super) kill: Option<KillReason>,
}

impl InFlight {
    pub(super) fn new(seq: Seq, key: TaskKey, bytes: usize, estimate: u64) -> Self {
        Self { seq, key, bytes, estimate, started: false, soft: None, hard: None, grace: None, kill: None }
    }

    pub(super) fn stop_timers(&self, timers: &mut Timers<Due>) {
        for timer in [self.soft, self.hard, self.grace].into_iter().flatten() {
            timers.stop(timer);
        }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Soft(WorkerRef, Seq),
    Hard(WorkerRef, Seq),
    Grace(WorkerRef, Seq),
    Retry(TaskKey),
    Expiry(TaskKey),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) worker: WorkerRef,
    pub(super) slots: usize,
    pub(super) next: Seq,
    pub(super) in_flight: VecDeque<InFlight>,
    /// Sums over `in_flight`.
    pub(super) load: u64,
    pub(super) bytes: usize,
    /// When the oldest of `in_flight` came to the front.
    pub(super) front_since: Tick,
    /// The front turned out long: nothing is sent ahead until it ended.
    pub(super) stalled: bool,
    /// It takes nothing more: one of its attempts is being killed.
    pub(super) condemned: bool,
    /// It takes nothing more until it is empty: what it runs, or will run next, runs alone.
    pub(super) alone: bool,
    /// Attempts it has ended.
    pub(super) ended: u64,
    /// Its replacement has been asked for.
    pub(super) recycling: bool,
    pub(super) outbox: Vec<RunTask>,
}

pub(super) const AHEAD_NANOS: u64 = AHEAD.as_nanos() as u64;
pub(super) const UNKNOWN: u64 = AHEAD_NANOS + 1;

impl Member {
    pub(super) fn new(worker: WorkerRef, slots: usize, now: Tick) -> Self {
        Self {
            worker,
            slots,
            next: Seq::FIRST,
            in_flight: VecDeque::new(),
            load: 0,
            bytes: 0,
            front_since: now,
            stalled: false,
            condemned: false,
            alone: false,
            ended: 0,
            recycling: false,
            outbox: Vec::new(),
        }
    }

    pub(super) fn has_room(&self, estimate: u64, bytes: usize, now: Tick) -> bool {
        let count = self.in_flight.len();
        if self.condemned || self.alone {
            return false;
        }
        count < self.slots
            || (!self.stalled
                && now < self.front_since.after(STALL)
                && estimate <= AHEAD_NANOS
                && count < self.slots + AHEAD_TASKS
                && self.load + estimate <= AHEAD_NANOS * self.slots as u64
                && self.bytes + bytes <= AHEAD_BYTES)
    }

    pub(super) fn push(&mut self, task: InFlight, now: Tick) {
        if self.in_flight.is_empty() {
            self.front_since = now;
        }
        self.load += task.estimate;
        self.bytes += task.bytes;
        self.in_flight.push_back(task);
    }

    pub(super) fn position(&self, seq: Seq) -> Option<usize> {
        self.in_flight.binary_search_by_key(&seq, |task| task.seq).ok()
    }

    pub(super) fn take(&mut self, seq: Seq) -> Option<InFlight> {
        let at = self.position(seq)?;
        let task = self.in_flight.remove(at)?;
        self.load -= task.estimate;
        self.bytes -= task.bytes;
        Some(task)
    }

    /// When tasks sent ahead will have waited too long.
    pub(super) fn stalls_at(&self) -> Option<Tick> {
        (!self.stalled && self.in_flight.len() > self.slots).then(|| self.front_since.after(STALL))
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) rules: PoolRules,
    /// Workers whose successors have joined: they take nothing more and end when they are empty.
    pub(super) leaving: Vec<Member>,
    /// Keys of tasks that were cancelled meanwhile may be among them.
    pub(super) queue: VecDeque<TaskKey>,
    /// Tasks that have to run alone; they go first.
    pub(super) suspects: VecDeque<TaskKey>,
    /// By worker index; `None` while the slot has no worker that takes tasks.
    pub(super) members: Vec<Option<Member>>,
    /// Why no task of this pool can run at present.
    pub(super) unavailable: Option<TaskError>,
}

impl Pool {
    /// Those that take tasks and those that finish what they have.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten().chain(&self.leaving)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().flatten().chain(&mut self.leaving)
    }

    pub(super) fn member(&mut self, worker: WorkerRef) -> Option<&mut Member> {
        let present = self.members.get_mut(worker.id.index as usize).and_then(Option::as_mut);
        present.into_iter().chain(&mut self.leaving).find(|member| member.worker == worker)
    }

    /// Takes a worker out that is gone.
    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<Member> {
        if let Some(at) = self.leaving.iter().position(|member| member.worker == worker) {
            return Some(self.leaving.swap_remove(at));
        }
        self.members.get_mut(worker.id.index as usize)?.take_if(|member| member.worker == worker)
    }
}

/// The worker with room that has the fewest tasks; ties go to the lowest index.
pub(super) fn choose(members: &mut [Option<Member>], estimate: u64, bytes: usize, now: Tick) -> Option<&mut Member> {
    let with_room = members.iter_mut().flatten().filter(|member| member.has_room(estimate, bytes, now));
    with_room.min_by_key(|member| member.in_flight.len())
}

/// Puts a task into a worker's outbox.
pub(super) fn dispatch(
    table: &mut TaskTable,
    timers: &mut Timers<Due>,
    member: &mut Member,
    key: TaskKey,
    estimate: u64,
    limits: TimeLimits,
    now: Tick,
) {
    let seq = member.next;
    let Some(attempt) = table.send(key, member.worker, seq, now) else { return };
    if let Some(timer) = table.take_expiry(key) {
        timers.stop(timer);
    }
    let Some(task) = table.task(key) else { return };
    member.next = seq.next();
    let (id, script, params) = (task.id(), task.script_path().clone(), task.params_text().clone());
    let limit = limits_of(task, limits).hard;
    member.push(InFlight::new(seq, key, task.weight(), estimate), now);
    member.outbox.push(RunTask { seq, attempt, id, script, params, limit });
    start(table, timers, member, limits, now);
}

/// Starts the clocks of the tasks that have come into a worker's slots.
pub(super) fn start(table: &TaskTable, timers: &mut Timers<Due>, member: &mut Member, limits: TimeLimits, now: Tick) {
    let worker = member.worker;
    for task in member.in_flight.iter_mut().take(member.slots).filter(|task| !task.started) {
        task.started = true;
        let Some(known) = table.task(task.key) else { continue };
        let limits = limits_of(known, limits);
        task.soft = limits.soft.map(|limit| timers.start(now.after(limit), Due::Soft(worker, task.seq)));
        task.hard = limits.hard.map(|limit| timers.start(now.after(limit), Due::Hard(worker, task.seq)));
    }
}

pub(super) fn limits_of(task: &Task, defaults: TimeLimits) -> TimeLimits {
    let options = task.options();
    TimeLimits { hard: options.timeout.or(defaults.hard), soft: options.soft_timeout.or(defaults.soft) }
}
