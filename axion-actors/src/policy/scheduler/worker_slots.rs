//! One worker as the scheduler sees it: what it has been sent, what of that runs, and what else it has room for.

use std::collections::VecDeque;

use super::protocol::{RunTask, TimeLimits, WorkerCapacity, WorkerView};
use crate::model::{KillReason, Placement, PoolKind, Seq, Task, TaskId, Tick, WorkerRef};
use crate::policy::placement::{self, Backlog, WorkerLoad};
use crate::policy::task_table::{TaskKey, TaskTable};
use crate::policy::timers::{TimerId, Timers};

/// How a task runs in its worker: what it takes a place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// One of the slots: a thread, or the whole of a one-slot worker.
    Slot,
    /// The event loop. Nothing is sent ahead on this lane: a coroutine starts as soon as it is read.
    Coroutine,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) key: TaskKey,
    pub(super) bytes: usize,
    /// Expected nanoseconds; more than a window's worth when unknown.
    pub(super) estimate: u64,
    pub(super) lane: Lane,
    /// Since when it has had a place in its lane, so it runs or is about to.
    pub(super) since: Option<Tick>,
    pub(super) soft: Option<TimerId>,
    pub(super) hard: Option<TimerId>,
    pub(super) grace: Option<TimerId>,
    /// It is to be killed.
    pub(super) kill: Option<KillReason>,
}

impl InFlight {
    pub(super) fn started(&self) -> bool {
        self.since.is_some()
    }

    /// Nanoseconds from its start, as far as that is known here: one that was sent ahead may have begun unseen.
    pub(super) fn ran(&self, now: Tick) -> u64 {
        self.since.map_or(0, |since| now.0.saturating_sub(since.0))
    }

    pub(super) fn stop_timers(&self, timers: &mut Timers<Due>) {
        for timer in [self.soft, self.hard, self.grace].into_iter().flatten() {
            timers.stop(timer);
        }
    }
}

/// What has been asked back of what was sent ahead, while the answer is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Revoking {
    #[default]
    Nothing,
    /// A part, for another worker.
    Part,
    /// All of it.
    All,
    /// A part, and then all that was left: two answers are on their way.
    PartThenAll,
}

impl Revoking {
    /// The rest is asked back, too.
    pub(super) fn all(self) -> Self {
        if self == Self::Part { Self::PartThenAll } else { Self::All }
    }

    /// An answer is there; they come in the order of the questions.
    pub(super) fn answered(self) -> Self {
        if self == Self::PartThenAll { Self::All } else { Self::Nothing }
    }
}

/// Whether a worker takes nothing more until it is empty, so that a suspect runs alone in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    /// It takes tasks.
    #[default]
    None,
    /// It is reserved for the next suspect.
    Reserved,
    /// A suspect runs in it.
    Suspect,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Soft(WorkerRef, Seq),
    Hard(WorkerRef, Seq),
    Grace(WorkerRef, Seq),
    /// A wait before a start is over: a retry's, or the one that the task asked for.
    Start(TaskKey),
    Expiry(TaskKey),
}

#[derive(Debug)]
pub(super) struct WorkerSlots {
    pub(super) worker: WorkerRef,
    pub(super) capacity: WorkerCapacity,
    pub(super) next: Seq,
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of `in_flight` have started, by lane; the others were sent ahead.
    running: [usize; 2],
    /// Sums over `in_flight`.
    pub(super) load: u64,
    pub(super) bytes: usize,
    /// When a task last left a slot, or came while none was taken: since then, what was sent ahead has waited
    /// behind the same tasks.
    pub(super) front_since: Tick,
    /// The front turned out long: nothing is sent ahead until it ended.
    pub(super) stalled: bool,
    pub(super) revoking: Revoking,
    /// It gave nothing back when it was asked: what it has, it has begun. It is not asked again until one of
    /// its slots was free (L10).
    pub(super) refusing: bool,
    /// It takes nothing more: one of its attempts is being killed.
    pub(super) killing: bool,
    pub(super) isolation: Isolation,
    /// Attempts it has ended.
    pub(super) ended: u64,
    /// Slots that are kept idle for tasks that need several.
    pub(super) reserved: usize,
    /// Its replacement has been asked for.
    pub(super) recycling: bool,
    /// How busy its process was when it was last measured, in cores.
    pub(super) cpu: f32,
    pub(super) outbox: Vec<RunTask>,
}

/// The estimate of a run time that is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;

impl WorkerSlots {
    pub(super) fn new(worker: WorkerRef, capacity: WorkerCapacity, now: Tick) -> Self {
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
            killing: false,
            isolation: Isolation::None,
            ended: 0,
            reserved: 0,
            recycling: false,
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

    pub(super) fn takes(&self) -> bool {
        !self.killing && self.isolation == Isolation::None
    }

    /// Whether it has anything to offer at all.
    pub(super) fn may_take(&self) -> bool {
        self.takes() && (self.reserved == 0 || self.places(Lane::Slot) + self.capacity.coroutines > 0)
    }

    pub(super) fn score(&self, kind: PoolKind) -> f32 {
        placement::score(kind, self.load())
    }

    /// Whether it could do something.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.reserved == 0
    }

    pub(super) fn running(&self) -> usize {
        self.running[0] + self.running[1]
    }

    /// How many were sent ahead of those that run.
    pub(super) fn ahead(&self) -> usize {
        self.in_flight.len() - self.running()
    }

    pub(super) fn has_free_place(&self, lane: Lane) -> bool {
        self.takes() && self.has_place(lane)
    }

    /// Slots that a task may reserve. Behind tasks that were sent ahead there are none.
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

    /// Whether another task may be sent ahead.
    fn has_window(&self, estimate: u64, bytes: usize, now: Tick) -> bool {
        let link = &self.capacity.link;
        let window = link.window_nanos();
        !self.stalled
            // What comes back goes before what is sent only now (L12).
            && !matches!(self.revoking, Revoking::All | Revoking::PartThenAll)
            // The process knows nothing of reservations: what is sent ahead there would start in them.
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
        // Mostly it is the first.
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

    /// When tasks sent ahead will have waited too long.
    pub(super) fn stalls_at(&self) -> Option<Tick> {
        (!self.stalled && self.ahead() > 0).then(|| self.front_since.after(self.capacity.link.stall))
    }

    /// Up to `count` of the tasks sent ahead, the last ones, in their order.
    pub(super) fn last_ahead(&self, count: usize) -> Vec<Seq> {
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        ahead.skip(self.ahead().saturating_sub(count)).map(|task| task.seq).collect()
    }

    /// The tasks of these of its attempts, for a fact.
    pub(super) fn tasks(&self, seqs: &[Seq], table: &TaskTable) -> Vec<TaskId> {
        let task = |seq: &Seq| table.task(self.in_flight[self.position(*seq)?].key).map(Task::id);
        seqs.iter().filter_map(task).collect()
    }

    pub(super) fn backlog(&self, now: Tick) -> Backlog {
        if self.revoking != Revoking::Nothing || self.refusing {
            return Backlog { waiting: 0, nanos: 0 };
        }
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        // The task in front may take longer than was expected of it.
        let waited = u64::try_from(now.since(self.front_since).as_nanos()).unwrap_or(u64::MAX);
        Backlog { waiting: self.ahead(), nanos: ahead.map(|task| task.estimate).sum::<u64>().max(waited) }
    }

    /// What its process does.
    pub(super) fn load(&self) -> WorkerLoad {
        WorkerLoad { running: self.running(), queued: self.ahead(), cpu: self.cpu }
    }

    pub(super) fn view(&self, draining: bool) -> WorkerView {
        WorkerView { worker: self.worker, load: self.load(), reserved: self.reserved, draining, ended: self.ended }
    }

    /// Lets the tasks sent ahead come into the slots that are free, in their order. A coroutine has its place
    /// from the first, so all that waits here waits for a slot.
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

    /// A task has come into a place: its clocks start.
    fn start(&mut self, at: usize, table: &TaskTable, timers: &mut Timers<Due>, limits: TimeLimits, now: Tick) {
        let (worker, task) = (self.worker, &mut self.in_flight[at]);
        task.since = Some(now);
        self.running[task.lane as usize] += 1;
        let Some(known) = table.task(task.key) else { return };
        let limits = limits_of(known, limits);
        task.soft = limits.soft.map(|limit| timers.start(now.after(limit), Due::Soft(worker, task.seq)));
        task.hard = limits.hard.map(|limit| timers.start(now.after(limit), Due::Hard(worker, task.seq)));
    }

    /// A task of this lane has left: the next one starts. What was sent ahead waits for slots alone.
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

/// Puts a task into a worker's outbox.
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
    let waiter = table.waiter(key);
    let Some(task) = table.task(key) else { return };
    member.next = seq.next();
    let (id, work, params) = (task.id(), task.work().clone(), task.params_bytes().clone());
    let (limit, bytes) = (limits_of(task, limits).hard, task.weight());
    // One that runs long fills the window of one slot and no more.
    let estimate = estimate.min(member.capacity.link.window_nanos() + 1);
    let sent =
        InFlight { seq, key, bytes, estimate, lane, since: None, soft: None, hard: None, grace: None, kill: None };
    member.push(sent, now);
    member.outbox.push(RunTask { waiter, seq, attempt, id, work, params, limit });
    // Whoever was sent before it on a lane with a free place has one.
    if member.has_place(lane) {
        member.start(member.in_flight.len() - 1, table, timers, limits, now);
    }
}

pub(super) fn limits_of(task: &Task, defaults: TimeLimits) -> TimeLimits {
    let options = task.options();
    TimeLimits { hard: options.timeout.or(defaults.hard), soft: options.soft_timeout.or(defaults.soft) }
}
