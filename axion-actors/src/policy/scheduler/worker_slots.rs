//! One worker as the scheduler sees it: its tasks in flight, which of them run, and its room.

use std::collections::VecDeque;
use std::time::Duration;

use super::protocol::{RunTask, TimeLimits, WorkerCapacity, WorkerView};
use crate::model::{KillReason, Placement, PoolKind, RecycleCause, Seq, Task, TaskId, Tick, WorkerRef};
use crate::policy::placement::{self, Backlog, WorkerLoad};
use crate::policy::task_table::{TaskKey, TaskTable};
use crate::policy::timers::{TimerId, Timers};

/// The kind of place that a task takes in its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// A slot: a thread, or the whole worker if it has one slot.
    Slot,
    /// The event loop. A coroutine starts as soon as the worker reads it, so none waits in a window.
    Coroutine,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) key: TaskKey,
    pub(super) bytes: usize,
    /// The expected run time in nanoseconds; longer than a window if unknown.
    pub(super) estimate: u64,
    pub(super) lane: Lane,
    /// The time since when the task has a place in its lane, so it runs or is about to.
    pub(super) since: Option<Tick>,
    pub(super) soft: Option<TimerId>,
    pub(super) hard: Option<TimerId>,
    pub(super) grace: Option<TimerId>,
    /// The reason, if it is to be killed.
    pub(super) kill: Option<KillReason>,
}

impl InFlight {
    pub(super) fn started(&self) -> bool {
        self.since.is_some()
    }

    /// The nanoseconds from its start, as far as the engine knows: a task in a window may have started unnoticed.
    pub(super) fn ran(&self, now: Tick) -> u64 {
        self.since.map_or(0, |since| now.0.saturating_sub(since.0))
    }

    pub(super) fn stop_timers(&self, timers: &mut Timers<Due>) {
        for timer in [self.soft, self.hard, self.grace].into_iter().flatten() {
            timers.stop(timer);
        }
    }
}

/// The revocations of a window that have not been answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Revoking {
    #[default]
    Nothing,
    /// Part of the window, for another worker.
    Part,
    /// The whole window.
    All,
    /// A part, and then the rest: two answers are outstanding.
    PartThenAll,
}

impl Revoking {
    /// Adds a revocation of the rest.
    pub(super) fn all(self) -> Self {
        if self == Self::Part { Self::PartThenAll } else { Self::All }
    }

    /// Handles an answer. Answers arrive in the order of the revocations.
    pub(super) fn answered(self) -> Self {
        if self == Self::PartThenAll { Self::All } else { Self::Nothing }
    }
}

/// Whether a worker takes no other task until it is empty, so that a suspect runs alone in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    /// The worker takes tasks.
    #[default]
    None,
    /// The worker is reserved for the next suspect.
    Reserved,
    /// A suspect runs in the worker.
    Suspect,
}

/// The meaning of a timer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Soft(WorkerRef, Seq),
    Hard(WorkerRef, Seq),
    Grace(WorkerRef, Seq),
    /// The end of a wait before a start: for a retry, or for the task's earliest start.
    Start(TaskKey),
    Expiry(TaskKey),
}

#[derive(Debug)]
pub(super) struct WorkerSlots {
    pub(super) worker: WorkerRef,
    pub(super) capacity: WorkerCapacity,
    pub(super) next: Seq,
    pub(super) in_flight: VecDeque<InFlight>,
    /// The number of running tasks in `in_flight`, by lane. The others are in the window.
    running: [usize; 2],
    /// The sum of the estimates in `in_flight`, in nanoseconds.
    pub(super) load: u64,
    pub(super) bytes: usize,
    /// The time when a task last left a slot, or arrived while all were free. The window has waited behind the same
    /// tasks since then.
    pub(super) front_since: Tick,
    /// Whether a running task turned out long. The window stays empty until the task ends.
    pub(super) stalled: bool,
    pub(super) revoking: Revoking,
    /// Whether the worker gave nothing back at the last revocation, because it had started all its tasks. The scheduler
    /// does not ask again before a slot becomes free (L10).
    pub(super) refusing: bool,
    /// The attempt whose kill is ordered, and its task. The worker takes no more tasks.
    pub(super) killing: Option<(Seq, TaskId)>,
    pub(super) isolation: Isolation,
    /// The number of attempts that it has ended.
    pub(super) ended: u64,
    /// The number of attempts that it may take in its life.
    budget: u64,
    /// The time when it joined.
    joined: Tick,
    /// Whether the process that had its place before still runs a task. Until that task ends, it takes none, so a place
    /// with one slot runs one task at a time (L12).
    pub(super) follows: bool,
    /// The number of slots reserved for tasks that need several.
    pub(super) reserved: usize,
    /// Why its replacement has been requested, if it has.
    pub(super) recycling: Option<RecycleCause>,
    /// The last measured CPU usage of its process, in cores.
    pub(super) cpu: f32,
    pub(super) outbox: Vec<RunTask>,
}

/// The estimate of a run time that is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;

impl WorkerSlots {
    pub(super) fn new(worker: WorkerRef, capacity: WorkerCapacity, budget: Option<u64>, now: Tick) -> Self {
        Self {
            worker,
            capacity,
            next: Seq::FIRST,
            in_flight: VecDeque::new(),
            running: [0; 2],
            load: 0,
            bytes: 0,
            front_since: now,
            stalled: false,
            revoking: Revoking::Nothing,
            refusing: false,
            killing: None,
            isolation: Isolation::None,
            ended: 0,
            budget: budget.unwrap_or(u64::MAX),
            joined: now,
            follows: false,
            reserved: 0,
            recycling: None,
            cpu: 0.0,
            outbox: Vec::new(),
        }
    }

    pub(super) fn places(&self, lane: Lane) -> usize {
        match lane {
            Lane::Slot => self.capacity.slots.saturating_sub(self.reserved),
            Lane::Coroutine => self.capacity.coroutines,
        }
    }

    /// Whether it takes tasks, at least one in isolation.
    pub(super) fn is_open(&self) -> bool {
        self.killing.is_none() && !self.follows && self.has_budget()
    }

    /// Whether it may take another attempt in its life.
    pub(super) fn has_budget(&self) -> bool {
        self.taken() < self.budget
    }

    pub(super) fn takes(&self) -> bool {
        self.is_open() && self.isolation == Isolation::None
    }

    /// The number of attempts that it has ended or has in flight.
    pub(super) fn taken(&self) -> u64 {
        self.ended + self.in_flight.len() as u64
    }

    /// The time in which it takes the rest of its budget, at its pace so far; None before it has ended a task.
    pub(super) fn budget_lasts(&self, now: Tick) -> Option<Duration> {
        let left = u128::from(self.budget.saturating_sub(self.taken()));
        let nanos = (now.since(self.joined).as_nanos() * left).checked_div(u128::from(self.ended))?;
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Whether its successor takes its place when it has taken all its tasks, and not before.
    pub(super) fn is_replaced_when_used_up(&self) -> bool {
        self.has_budget() && matches!(self.recycling, Some(RecycleCause::Tasks { .. }))
    }

    /// Whether it has ended every attempt that it may take.
    pub(super) fn is_used_up(&self) -> bool {
        self.ended >= self.budget && self.in_flight.is_empty()
    }

    /// Whether the worker may take any task.
    pub(super) fn may_take(&self) -> bool {
        self.takes() && (self.reserved == 0 || self.places(Lane::Slot) + self.capacity.coroutines > 0)
    }

    pub(super) fn score(&self, kind: PoolKind) -> f32 {
        placement::score(kind, self.load())
    }

    /// Whether no task is in flight and no slot is reserved.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.reserved == 0
    }

    pub(super) fn running(&self) -> usize {
        self.running[0] + self.running[1]
    }

    /// The number of tasks in its window.
    pub(super) fn ahead(&self) -> usize {
        self.in_flight.len() - self.running()
    }

    pub(super) fn has_free_place(&self, lane: Lane) -> bool {
        self.takes() && self.has_place(lane)
    }

    /// The number of slots that a task may reserve. Behind a window there are none.
    pub(super) fn free_slots(&self) -> usize {
        if self.takes() && self.ahead() == 0 {
            self.places(Lane::Slot).saturating_sub(self.running[Lane::Slot as usize])
        } else {
            0
        }
    }

    pub(super) fn has_room(&self, lane: Lane, estimate: u64, bytes: usize, now: Tick) -> bool {
        self.has_free_place(lane) || (lane == Lane::Slot && self.takes() && self.has_window(estimate, bytes, now))
    }

    /// Whether the window has room for another task.
    fn has_window(&self, estimate: u64, bytes: usize, now: Tick) -> bool {
        let link = &self.capacity.link;
        let window = link.window_nanos();
        !self.stalled
            // Tasks that come back are placed before new ones (L12).
            && !matches!(self.revoking, Revoking::All | Revoking::PartThenAll)
            // The process does not know reservations, so a task in its window would start in a reserved slot.
            && self.reserved == 0
            && now < self.front_since.after(link.stall)
            && estimate <= window
            && self.ahead() < link.window_tasks
            && self.load + estimate <= window * self.capacity.slots as u64
            && self.bytes + bytes <= link.window_bytes
    }

    pub(super) fn push(&mut self, task: InFlight, now: Tick) {
        if task.lane == Lane::Slot && self.running[Lane::Slot as usize] == 0 {
            self.front_since = now;
        }
        self.load += task.estimate;
        self.bytes += task.bytes;
        self.in_flight.push_back(task);
    }

    pub(super) fn position(&self, seq: Seq) -> Option<usize> {
        // Usually the first task ends.
        if self.in_flight.front().is_some_and(|task| task.seq == seq) {
            return Some(0);
        }
        self.in_flight.binary_search_by_key(&seq, |task| task.seq).ok()
    }

    pub(super) fn take(&mut self, seq: Seq) -> Option<InFlight> {
        let at = self.position(seq)?;
        let task = self.in_flight.remove(at)?;
        self.load -= task.estimate;
        self.bytes -= task.bytes;
        self.running[task.lane as usize] -= usize::from(task.started());
        if self.in_flight.is_empty() {
            self.isolation = Isolation::None;
        }
        Some(task)
    }

    /// The time when the window stalls.
    pub(super) fn stalls_at(&self) -> Option<Tick> {
        (!self.stalled && self.ahead() > 0).then(|| self.front_since.after(self.capacity.link.stall))
    }

    /// The last tasks in the window, up to `count`, in their order.
    pub(super) fn last_ahead(&self, count: usize) -> Vec<Seq> {
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        ahead.skip(self.ahead().saturating_sub(count)).map(|task| task.seq).collect()
    }

    /// The tasks of these attempts, for a fact.
    pub(super) fn tasks(&self, seqs: &[Seq], table: &TaskTable) -> Vec<TaskId> {
        let task = |seq: &Seq| table.task(self.in_flight[self.position(*seq)?].key).map(Task::id);
        seqs.iter().filter_map(task).collect()
    }

    pub(super) fn backlog(&self, now: Tick) -> Backlog {
        if self.revoking != Revoking::Nothing || self.refusing {
            return Backlog { waiting: 0, nanos: 0 };
        }
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        // The first task may take longer than expected.
        let waited = u64::try_from(now.since(self.front_since).as_nanos()).unwrap_or(u64::MAX);
        Backlog { waiting: self.ahead(), nanos: ahead.map(|task| task.estimate).sum::<u64>().max(waited) }
    }

    /// The load of the worker.
    pub(super) fn load(&self) -> WorkerLoad {
        WorkerLoad { running: self.running(), queued: self.ahead(), cpu: self.cpu }
    }

    pub(super) fn view(&self) -> WorkerView {
        WorkerView {
            worker: self.worker,
            load: self.load(),
            reserved: self.reserved,
            draining: false,
            stands_by: false,
            ended: self.ended,
        }
    }

    /// Starts tasks from the window in free slots, in order. Coroutines start at once, so the window only waits for
    /// slots.
    pub(super) fn fill_places(&mut self, table: &TaskTable, timers: &mut Timers<Due>, limits: TimeLimits, now: Tick) {
        let mut at = 0;
        while self.ahead() > 0 && self.has_place(Lane::Slot) && at < self.in_flight.len() {
            if !self.in_flight[at].started() {
                self.start(at, table, timers, limits, now);
            }
            at += 1;
        }
    }

    fn has_place(&self, lane: Lane) -> bool {
        self.running[lane as usize] < self.places(lane)
    }

    /// A task enters a place: its clocks start.
    fn start(&mut self, at: usize, table: &TaskTable, timers: &mut Timers<Due>, limits: TimeLimits, now: Tick) {
        let (worker, task) = (self.worker, &mut self.in_flight[at]);
        task.since = Some(now);
        self.running[task.lane as usize] += 1;
        let Some(known) = table.task(task.key) else { return };
        let limits = limits_of(known, limits);
        task.soft = limits.soft.map(|limit| timers.start(now.after(limit), Due::Soft(worker, task.seq)));
        let hard = limits.hard.map(|limit| now.after(limit)).into_iter().chain(table.total_deadline(task.key)).min();
        task.hard = hard.map(|at| timers.start(at, Due::Hard(worker, task.seq)));
    }

    /// A task has left this lane, so the next one starts. The window only waits for slots.
    pub(super) fn advance(
        &mut self,
        lane: Lane,
        table: &TaskTable,
        timers: &mut Timers<Due>,
        limits: TimeLimits,
        now: Tick,
    ) {
        if lane == Lane::Slot {
            (self.stalled, self.refusing) = (false, false);
            self.front_since = now;
        }
        self.ended += 1;
        self.fill_places(table, timers, limits, now);
    }
}

/// Adds a task to the worker's outbox.
pub(super) fn dispatch(
    table: &mut TaskTable,
    timers: &mut Timers<Due>,
    member: &mut WorkerSlots,
    key: TaskKey,
    (lane, estimate, placement): (Lane, u64, Placement),
    limits: TimeLimits,
    now: Tick,
) {
    let seq = member.next;
    let Some(attempt) = table.send(key, (member.worker, seq), placement, now) else { return };
    if let Some(timer) = table.take_expiry(key) {
        timers.stop(timer);
    }
    let (waiter, time_left) = (table.waiter(key), table.total_deadline(key).map(|end| end.since(now)));
    let Some(task) = table.task(key) else { return };
    member.next = seq.next();
    let (id, work, params) = (task.id(), task.work().clone(), task.params_bytes().clone());
    let limit = limits_of(task, limits).hard.into_iter().chain(time_left).min();
    let bytes = task.weight();
    // One that runs long fills the window of one slot and no more.
    let estimate = estimate.min(member.capacity.link.window_nanos() + 1);
    let sent =
        InFlight { seq, key, bytes, estimate, lane, since: None, soft: None, hard: None, grace: None, kill: None };
    member.push(sent, now);
    member.outbox.push(RunTask { waiter, seq, attempt, id, work, params, limit });
    // Earlier tasks on a lane with a free place all have one.
    if member.has_place(lane) {
        member.start(member.in_flight.len() - 1, table, timers, limits, now);
    }
}

pub(super) fn limits_of(task: &Task, defaults: TimeLimits) -> TimeLimits {
    let options = task.options();
    TimeLimits { hard: options.timeout.or(defaults.hard), soft: options.soft_timeout.or(defaults.soft) }
}
