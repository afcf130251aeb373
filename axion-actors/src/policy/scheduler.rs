//! Which task goes to which worker, and what becomes of it.
//!
//! The scheduler is the Dispatcher without its mailbox: one method per event, and what should
//! happen is left in a list of [`Action`]s. It owns the task table and the pools' queues (L4).
//!
//! Tasks bind late: they wait in their pool's queue (L12) until a worker has room. A worker has room
//! for as many tasks as it has slots, and beyond them for a *window* of tasks sent ahead, so that a
//! fast worker does not wait for the engine between two tasks. The window is sized by the measured
//! run time of the scripts: at most [`AHEAD`] of work per slot, none when a run time is unknown. If
//! what was sent ahead still waits after [`STALL`], it is revoked and placed elsewhere.
//!
//! An attempt's time limits run from its start: a worker takes its tasks in the order they were
//! sent, so those in its first slots are the ones that run. When an attempt must be killed, its
//! worker goes with it; who shared the worker runs again, uncounted. When a worker dies by itself,
//! all who ran in it are suspects: each runs again alone, so that the guilty one convicts itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::durations::Durations;
use super::retry;
use super::task_table::{Duplicate, End, Found, Lot, State, TaskKey, TaskTable};
use super::timers::{TimerId, Timers};
use crate::model::{
    Attempt, CapturedOutput, EndedBy, ErrorKind, Json, KillReason, Outcome, PoolKind, PostMortem, ScriptPath, Seq,
    Task, TaskError, TaskId, TaskRecord, Tick, WorkerDownReason, WorkerRef,
};

/// The work that may be in a worker, per slot, when another task is sent ahead.
pub const AHEAD: Duration = Duration::from_millis(2);
/// How long a task sent ahead waits behind another one before it is taken back.
pub const STALL: Duration = Duration::from_millis(20);
/// The most tasks sent ahead of those that run.
const AHEAD_TASKS: usize = 128;
/// The most parameter bytes in a worker when another task is sent ahead: what a pipe holds, so that
/// sending never waits.
const AHEAD_BYTES: usize = 48 << 10;

/// What should happen.
#[derive(Debug)]
pub enum Action {
    /// Send these tasks to this worker, in this order.
    Run {
        /// To whom.
        worker: WorkerRef,
        /// What.
        tasks: Vec<RunTask>,
    },
    /// Ask this worker to give back what it has not started.
    Revoke {
        /// Whom.
        worker: WorkerRef,
        /// What.
        seqs: Vec<Seq>,
    },
    /// Raise the soft time limit's exception in this attempt.
    Interrupt {
        /// Where it runs.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
    },
    /// Take this attempt back if it has not started, else ask it to stop.
    Cancel {
        /// Where it is.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
    },
    /// Kill the process of this attempt, unless the attempt has ended (L6).
    Kill {
        /// Where it runs.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
        /// Why.
        reason: KillReason,
    },
    /// Have this worker replaced: its successor is to be ready before it goes.
    Recycle {
        /// Which.
        worker: WorkerRef,
    },
    /// Let this worker end: its successor is there and it has nothing left to do.
    Retire {
        /// Which.
        worker: WorkerRef,
    },
    /// Tell whoever waits for this task.
    Finished {
        /// Its record.
        record: Arc<TaskRecord>,
    },
}

/// One task on its way to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTask {
    /// Its name in that worker.
    pub seq: Seq,
    /// Which execution it is.
    pub attempt: Attempt,
    /// The task.
    pub id: TaskId,
    /// Its script.
    pub script: ScriptPath,
    /// Its parameters.
    pub params: Bytes,
    /// After how long it will be killed.
    pub limit: Option<Duration>,
}

/// What a worker says of its tasks.
#[derive(Debug)]
pub enum Report {
    /// An attempt ended.
    Ended {
        /// Which.
        seq: Seq,
        /// How long it ran.
        nanos: u64,
        /// With what.
        result: Result<Json, Box<TaskError>>,
        /// What it wrote.
        output: Option<Box<CapturedOutput>>,
    },
    /// These attempts were taken back and will not run there.
    Revoked {
        /// Which.
        seqs: Vec<Seq>,
    },
    /// So many bytes of the worker's memory are resident.
    Measured {
        /// How many.
        resident: u64,
    },
    /// This attempt was to be killed, but had ended: the worker goes on.
    Spared {
        /// Which.
        seq: Seq,
    },
}

/// What becomes of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It had not started and never will: its outcome is Cancelled.
    Removed,
    /// It was sent to a worker: it is taken back, asked to stop, or killed after the grace period.
    /// If it ends by itself first, that is its outcome.
    Requested,
    /// The same was asked before and is under way.
    AlreadyRequested,
    /// It had ended, with this outcome.
    AlreadyFinished(&'static str),
    /// No task with this id is known.
    Unknown,
}

/// Time limits of the tasks that state none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// For the attempt.
    pub hard: Option<Duration>,
    /// For the exception in it.
    pub soft: Option<Duration>,
}

/// What holds for the tasks and workers of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolRules {
    /// Time limits.
    pub limits: TimeLimits,
    /// Resident bytes above which the task that runs is ended.
    pub task_memory: Option<u64>,
    /// Resident bytes above which a worker is replaced.
    pub worker_memory: Option<u64>,
    /// Tasks after which a worker is replaced.
    pub worker_tasks: Option<u64>,
}

/// How a worker left.
#[derive(Debug)]
pub struct Departure {
    /// Why.
    pub reason: WorkerDownReason,
    /// The attempts that had started and not ended; `None` if that could not be learned.
    pub running: Option<Vec<Seq>>,
    /// What those attempts had written.
    pub outputs: Vec<(Seq, Box<CapturedOutput>)>,
    /// What is known of the end of the process.
    pub post_mortem: Option<PostMortem>,
}

#[derive(Debug)]
struct InFlight {
    seq: Seq,
    key: TaskKey,
    bytes: usize,
    /// Expected nanoseconds; more than a window's worth when unknown.
    estimate: u64,
    /// It is in one of the worker's slots.
    started: bool,
    soft: Option<TimerId>,
    hard: Option<TimerId>,
    grace: Option<TimerId>,
    /// It is to be killed.
    kill: Option<KillReason>,
}

impl InFlight {
    fn new(seq: Seq, key: TaskKey, bytes: usize, estimate: u64) -> Self {
        Self { seq, key, bytes, estimate, started: false, soft: None, hard: None, grace: None, kill: None }
    }

    fn stop_timers(&self, timers: &mut Timers<Due>) {
        for timer in [self.soft, self.hard, self.grace].into_iter().flatten() {
            timers.stop(timer);
        }
    }
}

/// The end of a worker, as each of its running attempts is told.
struct Bereft<'a> {
    worker: WorkerRef,
    reason: &'a WorkerDownReason,
    post_mortem: Option<PostMortem>,
    /// Nothing else ran in it.
    alone: bool,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Due {
    Soft(WorkerRef, Seq),
    Hard(WorkerRef, Seq),
    Grace(WorkerRef, Seq),
    Retry(TaskKey),
    Expiry(TaskKey),
}

#[derive(Debug)]
struct Member {
    worker: WorkerRef,
    slots: usize,
    next: Seq,
    in_flight: VecDeque<InFlight>,
    /// Sums over `in_flight`.
    load: u64,
    bytes: usize,
    /// When the oldest of `in_flight` came to the front.
    front_since: Tick,
    /// The front turned out long: nothing is sent ahead until it ended.
    stalled: bool,
    /// It takes nothing more: one of its attempts is being killed.
    condemned: bool,
    /// It takes nothing more until it is empty: what it runs, or will run next, runs alone.
    alone: bool,
    /// Attempts it has ended.
    ended: u64,
    /// Its replacement has been asked for.
    recycling: bool,
    outbox: Vec<RunTask>,
}

const AHEAD_NANOS: u64 = AHEAD.as_nanos() as u64;
const UNKNOWN: u64 = AHEAD_NANOS + 1;

impl Member {
    fn has_room(&self, estimate: u64, bytes: usize, now: Tick) -> bool {
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

    fn push(&mut self, task: InFlight, now: Tick) {
        if self.in_flight.is_empty() {
            self.front_since = now;
        }
        self.load += task.estimate;
        self.bytes += task.bytes;
        self.in_flight.push_back(task);
    }

    fn position(&self, seq: Seq) -> Option<usize> {
        self.in_flight.binary_search_by_key(&seq, |task| task.seq).ok()
    }

    fn take(&mut self, seq: Seq) -> Option<InFlight> {
        let at = self.position(seq)?;
        let task = self.in_flight.remove(at)?;
        self.load -= task.estimate;
        self.bytes -= task.bytes;
        Some(task)
    }

    /// When tasks sent ahead will have waited too long.
    fn stalls_at(&self) -> Option<Tick> {
        (!self.stalled && self.in_flight.len() > self.slots).then(|| self.front_since.after(STALL))
    }
}

#[derive(Debug, Default)]
struct Pool {
    rules: PoolRules,
    /// Workers whose successors have joined: they take nothing more and end when they are empty.
    leaving: Vec<Member>,
    /// Keys of tasks that were cancelled meanwhile may be among them.
    queue: VecDeque<TaskKey>,
    /// Tasks that have to run alone; they go first.
    suspects: VecDeque<TaskKey>,
    /// By worker index; `None` while the slot has no worker that takes tasks.
    members: Vec<Option<Member>>,
    /// Why no task of this pool can run at present.
    unavailable: Option<TaskError>,
}

impl Pool {
    fn member(&mut self, worker: WorkerRef) -> Option<&mut Member> {
        let present = self.members.get_mut(worker.id.index as usize).and_then(Option::as_mut);
        present.into_iter().chain(&mut self.leaving).find(|member| member.worker == worker)
    }

    /// Takes a worker out that is gone.
    fn remove(&mut self, worker: WorkerRef) -> Option<Member> {
        if let Some(at) = self.leaving.iter().position(|member| member.worker == worker) {
            return Some(self.leaving.swap_remove(at));
        }
        self.members.get_mut(worker.id.index as usize)?.take_if(|member| member.worker == worker)
    }
}

/// The worker with room that has the fewest tasks; ties go to the lowest index.
fn choose(members: &mut [Option<Member>], estimate: u64, bytes: usize, now: Tick) -> Option<&mut Member> {
    let with_room = members.iter_mut().flatten().filter(|member| member.has_room(estimate, bytes, now));
    with_room.min_by_key(|member| member.in_flight.len())
}

/// The decisions of the Dispatcher.
#[derive(Debug)]
pub struct Scheduler {
    table: TaskTable,
    pools: [Pool; 2],
    durations: Durations,
    timers: Timers<Due>,
    actions: Vec<Action>,
    /// The engine is ending, for this reason.
    closing: Option<TaskError>,
}

impl Scheduler {
    /// A scheduler without workers, with the rules of each pool.
    #[must_use]
    pub fn new(table: TaskTable, rules: [PoolRules; 2]) -> Self {
        Self {
            table,
            pools: rules.map(|rules| Pool { rules, ..Pool::default() }),
            durations: Durations::default(),
            timers: Timers::default(),
            actions: Vec::new(),
            closing: None,
        }
    }

    /// The task table, to look things up.
    #[must_use]
    pub fn table(&self) -> &TaskTable {
        &self.table
    }

    /// The task table's recorded events.
    pub fn table_mut(&mut self) -> &mut TaskTable {
        &mut self.table
    }

    /// Takes what should happen since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// A task was submitted. Call [`place`](Self::place) when the batch is in.
    ///
    /// # Errors
    /// If its id is known already.
    pub fn submit(&mut self, task: Task, now: Tick) -> Result<TaskKey, Duplicate> {
        let pool = task.pool();
        let key = self.table.accept(task, now)?;
        if let Some(error) = self.closing.clone() {
            self.finish(key, None, End::without_run(Outcome::Cancelled(Box::new(error))), now);
        } else if let Some(error) = self.pools[pool.index()].unavailable.clone() {
            self.finish(key, None, End::without_run(Outcome::Failed(Box::new(error))), now);
        } else {
            self.pools[pool.index()].queue.push_back(key);
            self.let_expire(key);
        }
        Ok(key)
    }

    /// Starts the clock of a task that waits for its first start, if it has one.
    fn let_expire(&mut self, key: TaskKey) {
        let limit = self.table.task(key).and_then(|task| task.options().ttl);
        if let (Some(limit), Some(submitted)) = (limit, self.table.submitted(key)) {
            let timer = self.timers.start(submitted.after(limit), Due::Expiry(key));
            self.table.set_expiry(key, timer);
        }
    }

    fn expired(&mut self, key: TaskKey, now: Tick) {
        self.table.take_expiry(key);
        if self.table.state(key) == Some(State::Queued) {
            let pool = self.table.task(key).map(Task::pool);
            let limit = self.table.task(key).and_then(|task| task.options().ttl).unwrap_or_default();
            let words = format!("it had not started {limit:?} after its submission");
            let error = Box::new(TaskError::new(ErrorKind::Expired, words));
            self.finish(key, None, End::without_run(Outcome::Expired(error)), now);
            self.sweep(pool);
        }
    }

    /// A worker takes tasks from now on.
    pub fn joined(&mut self, worker: WorkerRef, slots: usize, now: Tick) {
        let pool = &mut self.pools[worker.id.pool.index()];
        let index = worker.id.index as usize;
        if pool.members.len() <= index {
            pool.members.resize_with(index + 1, || None);
        }
        pool.unavailable = None;
        // A predecessor that is still here has been recycled: it finishes what it has.
        let predecessor = pool.members[index].take();
        pool.members[index] = Some(Member {
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
        });
        if let Some(predecessor) = predecessor {
            let old = predecessor.worker;
            pool.leaving.push(predecessor);
            self.retire_if_empty(old);
        }
        self.place(worker.id.pool, now);
    }

    fn retire_if_empty(&mut self, worker: WorkerRef) {
        let leaving = &self.pools[worker.id.pool.index()].leaving;
        if leaving.iter().any(|member| member.worker == worker && member.in_flight.is_empty()) {
            self.actions.push(Action::Retire { worker });
        }
    }

    /// Has a worker replaced that has done or holds enough.
    fn recycle_if_due(&mut self, worker: WorkerRef, resident: u64) {
        let pool = &mut self.pools[worker.id.pool.index()];
        let rules = pool.rules;
        let Some(member) = pool.members.iter_mut().flatten().find(|member| member.worker == worker) else { return };
        let done = rules.worker_tasks.is_some_and(|most| member.ended >= most);
        let full = rules.worker_memory.is_some_and(|most| resident > most);
        if (done || full) && !std::mem::replace(&mut member.recycling, true) {
            self.actions.push(Action::Recycle { worker });
        }
    }

    /// The worker holds so much memory. If a task may not and several run, any of them can be the one.
    fn measured(&mut self, worker: WorkerRef, resident: u64) {
        let pool = &mut self.pools[worker.id.pool.index()];
        let too_much = pool.rules.task_memory.is_some_and(|most| resident > most);
        let first = pool.member(worker).and_then(|member| member.in_flight.front()).map(|task| task.seq);
        match first {
            Some(seq) if too_much => self.kill(worker, seq, KillReason::MemoryLimit),
            _ => self.recycle_if_due(worker, resident),
        }
    }

    /// A worker reports on its tasks.
    pub fn reported(&mut self, worker: WorkerRef, reports: Vec<Report>, now: Tick) {
        for report in reports {
            match report {
                Report::Ended { seq, nanos, result, output } => self.ended(worker, seq, nanos, result, output, now),
                Report::Revoked { seqs } => self.returned(worker, seqs, now),
                Report::Spared { seq } => self.spared(worker, seq),
                Report::Measured { resident } => self.measured(worker, resident),
            }
        }
        self.place(worker.id.pool, now);
    }

    /// A worker is gone. What had not started goes back to the front (L5); what it ran is timed out,
    /// cancelled, run again or lost.
    pub fn left(&mut self, worker: WorkerRef, departure: Departure, now: Tick) {
        let pool = &mut self.pools[worker.id.pool.index()];
        if pool.member(worker).is_none() {
            self.table.ignore();
            return;
        }
        let Some(member) = pool.remove(worker) else { return };
        let Departure { reason, running, mut outputs, post_mortem } = departure;
        let slots = member.slots;
        let started = |at: usize, seq: Seq| running.as_ref().map_or(at < slots, |seqs| seqs.contains(&seq));
        let count = running.as_ref().map_or(slots.min(member.in_flight.len()), Vec::len);
        let mut unstarted = Vec::new();
        for (at, task) in member.in_flight.into_iter().enumerate() {
            task.stop_timers(&mut self.timers);
            if started(at, task.seq) {
                let found = outputs.iter().position(|(seq, _)| *seq == task.seq);
                let output = found.map(|at| outputs.swap_remove(at).1);
                let end = Bereft { worker, reason: &reason, post_mortem: post_mortem.clone(), alone: count == 1 };
                self.bereft(&task, end, output, now);
            } else {
                unstarted.push(task);
            }
        }
        self.requeue(worker, unstarted, now);
        self.place(worker.id.pool, now);
    }

    /// Ends a task before its time, or says why not. A task that runs has `grace` to stop by itself.
    pub fn cancel(&mut self, id: TaskId, grace: Duration, now: Tick) -> CancelAnswer {
        let key = match self.table.find(id) {
            Found::Live(key) => key,
            Found::Finished(record) => return CancelAnswer::AlreadyFinished(record.outcome.name()),
            Found::Expired(_) => return CancelAnswer::AlreadyFinished("expired"),
            Found::Unknown => return CancelAnswer::Unknown,
        };
        match self.table.state(key) {
            Some(State::Sent { worker, seq, .. }) => {
                if !self.table.cancel(key) {
                    return CancelAnswer::AlreadyRequested;
                }
                self.actions.push(Action::Cancel { worker, seq });
                let timer = self.timers.start(now.after(grace), Due::Grace(worker, seq));
                if let Some(task) = self.in_flight(worker, seq) {
                    task.grace = Some(timer);
                }
                CancelAnswer::Requested
            }
            state => {
                if let Some(State::Waiting { timer }) = state {
                    self.timers.stop(timer);
                }
                let pool = self.table.task(key).map(Task::pool);
                self.finish(key, None, End::without_run(Outcome::Cancelled(Box::new(cancelled()))), now);
                self.sweep(pool);
                CancelAnswer::Removed
            }
        }
    }

    /// No worker of a pool can be started: its tasks fail with the reason, until one joins.
    pub fn unavailable(&mut self, kind: PoolKind, error: TaskError, now: Tick) {
        let pool = &mut self.pools[kind.index()];
        let waiting = std::mem::take(&mut pool.suspects).into_iter().chain(std::mem::take(&mut pool.queue));
        for key in waiting.collect::<Vec<_>>() {
            if self.table.task(key).is_some() {
                self.finish(key, None, End::without_run(Outcome::Failed(Box::new(error.clone()))), now);
            }
        }
        self.pools[kind.index()].unavailable = Some(error);
    }

    /// Ends every live task as cancelled, and every one that still comes.
    pub fn cancel_all(&mut self, error: &TaskError, now: Tick) {
        for pool in &mut self.pools {
            pool.queue.clear();
            pool.suspects.clear();
        }
        self.timers = Timers::default();
        self.closing = Some(error.clone());
        let keys: Vec<TaskKey> = self.table.keys().collect();
        for key in keys {
            self.finish(key, None, End::without_run(Outcome::Cancelled(Box::new(error.clone()))), now);
        }
    }

    /// Does what has become due: time limits, retries, and tasks sent ahead that waited too long.
    pub fn tick(&mut self, now: Tick) {
        self.table.expire_old(now);
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Soft(worker, seq) => self.actions.push(Action::Interrupt { worker, seq }),
                Due::Hard(worker, seq) => self.kill(worker, seq, KillReason::Deadline),
                Due::Grace(worker, seq) => self.kill(worker, seq, KillReason::Cancel),
                Due::Retry(key) => self.again(key, now),
                Due::Expiry(key) => self.expired(key, now),
            }
        }
        for member in self.pools.iter_mut().flat_map(|pool| pool.members.iter_mut().flatten()) {
            if member.stalls_at().is_some_and(|at| at <= now) {
                member.stalled = true;
                let seqs = member.in_flight.iter().skip(member.slots).map(|task| task.seq).collect();
                self.actions.push(Action::Revoke { worker: member.worker, seqs });
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next; `None` while nothing is limited, retried,
    /// sent ahead or kept (L10).
    #[must_use]
    pub fn next_tick(&self) -> Option<Tick> {
        let members = self.pools.iter().flat_map(|pool| pool.members.iter().flatten());
        members.filter_map(Member::stalls_at).chain(self.timers.next()).chain(self.table.next_expiry()).min()
    }

    /// Sends what waits in a pool's queue to the workers that have room.
    pub fn place(&mut self, kind: PoolKind, now: Tick) {
        self.place_suspects(kind, now);
        let Pool { queue, members, rules, .. } = &mut self.pools[kind.index()];
        while let Some(&key) = queue.front() {
            let Some(task) = self.table.task(key) else {
                queue.pop_front();
                continue;
            };
            let bytes = task.weight();
            let estimate = self.durations.estimate(task.script_path()).unwrap_or(UNKNOWN).min(UNKNOWN);
            let Some(member) = choose(members, estimate, bytes, now) else { break };
            queue.pop_front();
            dispatch(&mut self.table, &mut self.timers, member, key, estimate, rules.limits, now);
        }
        for member in members.iter_mut().flatten().filter(|member| !member.outbox.is_empty()) {
            let tasks = std::mem::take(&mut member.outbox);
            self.actions.push(Action::Run { worker: member.worker, tasks });
        }
    }

    /// A suspect waits for a worker that is empty, and one worker is kept from taking more until it
    /// is: so suspects are not starved by the tasks behind them.
    fn place_suspects(&mut self, kind: PoolKind, now: Tick) {
        let Pool { suspects, members, rules, .. } = &mut self.pools[kind.index()];
        while let Some(&key) = suspects.front() {
            if self.table.task(key).is_none() {
                suspects.pop_front();
                continue;
            }
            let usable = || members.iter().flatten().filter(|member| !member.condemned);
            if let Some(at) = usable().find(|member| member.in_flight.is_empty()).map(|member| member.worker.id.index) {
                let Some(member) = members[at as usize].as_mut() else { return };
                suspects.pop_front();
                member.alone = true;
                dispatch(&mut self.table, &mut self.timers, member, key, UNKNOWN, rules.limits, now);
            } else {
                if !usable().any(|member| member.alone)
                    && let Some(member) =
                        members.iter_mut().flatten().filter(|it| !it.condemned).min_by_key(|it| it.in_flight.len())
                {
                    member.alone = true;
                }
                return;
            }
        }
        // A worker that was kept free for a suspect that is gone takes tasks again.
        for member in members.iter_mut().flatten().filter(|member| member.in_flight.is_empty()) {
            member.alone = false;
        }
    }

    fn ended(
        &mut self,
        worker: WorkerRef,
        seq: Seq,
        nanos: u64,
        result: Result<Json, Box<TaskError>>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let Some(task) = self.leave_slot(worker, seq, now) else { return self.table.ignore() };
        if let Some(known) = self.table.task(task.key) {
            self.durations.record(known.script_path(), nanos);
        }
        match result {
            Ok(data) => {
                let end = End { outcome: Outcome::Succeeded(data), nanos: Some(nanos), output };
                self.finish(task.key, Some((worker, seq)), end, now);
            }
            Err(error) => self.failed(task.key, (worker, seq), *error, Some(nanos), output, now),
        }
    }

    /// Takes a task out of its worker; the next one there starts.
    fn leave_slot(&mut self, worker: WorkerRef, seq: Seq, now: Tick) -> Option<InFlight> {
        let pool = &mut self.pools[worker.id.pool.index()];
        let limits = pool.rules.limits;
        let member = pool.member(worker)?;
        let task = member.take(seq)?;
        task.stop_timers(&mut self.timers);
        member.stalled = false;
        member.front_since = now;
        member.ended += 1;
        if member.in_flight.is_empty() {
            member.alone = false;
        }
        start(&self.table, &mut self.timers, member, limits, now);
        self.recycle_if_due(worker, 0);
        self.retire_if_empty(worker);
        Some(task)
    }

    /// An attempt failed: the task is retried if its policy says so, else that is its outcome.
    fn failed(
        &mut self,
        key: TaskKey,
        by: (WorkerRef, Seq),
        error: TaskError,
        nanos: Option<u64>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let lot = self.table.lot(key);
        let wait = self
            .table
            .task(key)
            .filter(|_| !lot.cancelled)
            .and_then(|task| retry::wait(&task.options().retry, error.kind, lot.retries, task.id()));
        if let Some(wait) = wait {
            let timer = self.timers.start(now.after(wait), Due::Retry(key));
            if !self.table.retry(key, by, error, (timer, wait), now) {
                self.timers.stop(timer);
            }
        } else {
            let end = End { outcome: Outcome::of_error(Box::new(error)), nanos, output };
            self.finish(key, Some(by), end, now);
        }
    }

    /// What becomes of an attempt whose process is gone.
    fn bereft(
        &mut self,
        task: &InFlight,
        Bereft { worker, reason, post_mortem, alone }: Bereft<'_>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let (key, by, lot) = (task.key, (worker, task.seq), self.table.lot(task.key));
        let examined = |mut error: TaskError, ended_by: Option<EndedBy>| {
            error.post_mortem = post_mortem.clone().map(|found| {
                let ended_by = ended_by.unwrap_or(found.ended_by);
                Box::new(PostMortem { ended_by, ..found })
            });
            error
        };
        let killed = matches!(reason, WorkerDownReason::Killed(_));
        match task.kill {
            Some(KillReason::Deadline) => {
                let error = examined(self.timed_out(worker, key), Some(EndedBy::Deadline));
                self.failed(key, by, error, None, output, now);
            }
            _ if lot.cancelled => {
                let ended_by = (task.kill == Some(KillReason::Cancel)).then_some(EndedBy::Cancel);
                self.failed(key, by, examined(cancelled(), ended_by), None, output, now);
            }
            Some(KillReason::MemoryLimit) if lot.alone || alone => {
                let most = self.pools[worker.id.pool.index()].rules.task_memory.unwrap_or_default();
                let words = format!("the process {} held more than {most} bytes of memory; killed", worker.id);
                let error = TaskError::new(ErrorKind::MemoryLimit, words);
                self.failed(key, by, examined(error, Some(EndedBy::MemoryLimit)), None, output, now);
            }
            // Each of them can have been the one: each runs again alone.
            _ if matches!(reason, WorkerDownReason::Killed(KillReason::MemoryLimit)) => {
                let error = examined(lost(worker, reason), Some(EndedBy::MemoryLimit));
                self.run_again(key, by, error, true, now);
            }
            _ if killed => {
                let error = examined(lost(worker, reason), Some(EndedBy::Neighbour));
                self.run_again(key, by, error, false, now);
            }
            _ => {
                let error = examined(lost(worker, reason), None);
                let most = self.table.task(key).map_or(0, |task| task.options().max_worker_losses);
                if lot.losses < most {
                    self.run_again(key, by, error, true, now);
                } else {
                    let end = End { outcome: Outcome::Lost(Box::new(error)), nanos: None, output };
                    self.finish(key, Some(by), end, now);
                }
            }
        }
    }

    fn timed_out(&self, worker: WorkerRef, key: TaskKey) -> TaskError {
        let limits = self.table.task(key).map(|task| limits_of(task, self.pools[worker.id.pool.index()].rules.limits));
        let limit = limits.and_then(|limits| limits.hard).unwrap_or_default();
        TaskError::new(
            ErrorKind::Timeout,
            format!("still running on {} after its time limit of {limit:?}; killed", worker.id),
        )
    }

    fn run_again(&mut self, key: TaskKey, by: (WorkerRef, Seq), error: TaskError, suspect: bool, now: Tick) {
        if self.table.rerun(key, by, error, suspect, now) {
            let pool = &mut self.pools[by.0.id.pool.index()];
            if suspect { pool.suspects.push_back(key) } else { pool.queue.push_front(key) }
        }
    }

    /// A retry's wait is over: the task joins the end of its queue.
    fn again(&mut self, key: TaskKey, now: Tick) {
        if self.table.due(key, now)
            && let Some(kind) = self.table.task(key).map(Task::pool)
        {
            let suspect = self.table.lot(key).alone;
            let pool = &mut self.pools[kind.index()];
            if let Some(error) = pool.unavailable.clone() {
                self.finish(key, None, End::without_run(Outcome::Failed(Box::new(error))), now);
                return;
            }
            if suspect {
                pool.suspects.push_back(key)
            } else {
                pool.queue.push_back(key)
            }
            self.place(kind, now);
        }
    }

    fn kill(&mut self, worker: WorkerRef, seq: Seq, reason: KillReason) {
        let Some(member) = self.pools[worker.id.pool.index()].member(worker) else { return };
        let Some(at) = member.position(seq) else { return };
        member.in_flight[at].kill.get_or_insert(reason);
        // One at a time: if the first of them is spared, the next one follows.
        if !std::mem::replace(&mut member.condemned, true) {
            self.actions.push(Action::Kill { worker, seq, reason });
        }
    }

    fn spared(&mut self, worker: WorkerRef, seq: Seq) {
        let Some(member) = self.pools[worker.id.pool.index()].member(worker) else { return self.table.ignore() };
        member.condemned = false;
        let next = member.in_flight.iter().find_map(|task| Some((task.seq, task.kill?)));
        if let Some((next, reason)) = next.filter(|(next, _)| *next != seq) {
            self.kill(worker, next, reason);
        }
    }

    fn in_flight(&mut self, worker: WorkerRef, seq: Seq) -> Option<&mut InFlight> {
        let member = self.pools[worker.id.pool.index()].member(worker)?;
        let at = member.position(seq)?;
        member.in_flight.get_mut(at)
    }

    fn returned(&mut self, worker: WorkerRef, seqs: Vec<Seq>, now: Tick) {
        let Some(member) = self.pools[worker.id.pool.index()].member(worker) else { return self.table.ignore() };
        let mut tasks: Vec<InFlight> = seqs.into_iter().filter_map(|seq| member.take(seq)).collect();
        tasks.sort_unstable_by_key(|task| task.seq);
        for task in &tasks {
            task.stop_timers(&mut self.timers);
        }
        self.requeue(worker, tasks, now);
    }

    /// Puts tasks back to the front of their queue, the first of them foremost (L5, L12). One whose
    /// cancellation was asked for is cancelled instead.
    fn requeue(&mut self, worker: WorkerRef, tasks: Vec<InFlight>, now: Tick) {
        for task in tasks.into_iter().rev() {
            let lot = self.table.lot(task.key);
            if !self.table.give_back(task.key, worker, task.seq, now) {
                continue;
            }
            if lot.cancelled {
                self.finish(task.key, None, End::without_run(Outcome::Cancelled(Box::new(cancelled()))), now);
                continue;
            }
            let pool = &mut self.pools[worker.id.pool.index()];
            if lot.alone {
                pool.suspects.push_front(task.key)
            } else {
                pool.queue.push_front(task.key)
            }
            if lot == Lot::default() {
                self.let_expire(task.key);
            }
        }
    }

    /// Drops the keys of cancelled tasks from a queue when they are most of it (L9).
    fn sweep(&mut self, kind: Option<PoolKind>) {
        let Some(pool) = kind.map(|kind| &mut self.pools[kind.index()]) else { return };
        if pool.queue.len() + pool.suspects.len() > 2 * self.table.queued().0 + 64 {
            let table = &self.table;
            pool.queue.retain(|key| table.task(*key).is_some());
            pool.suspects.retain(|key| table.task(*key).is_some());
        }
    }

    fn finish(&mut self, key: TaskKey, by: Option<(WorkerRef, Seq)>, end: End, now: Tick) {
        if let Some(timer) = self.table.take_expiry(key) {
            self.timers.stop(timer);
        }
        if let Some(record) = self.table.finish(key, by, end, now) {
            self.actions.push(Action::Finished { record });
        }
    }

    /// The attempts that a worker has been sent and has not answered, for tests.
    #[cfg(test)]
    fn sent_to(&self, worker: WorkerRef) -> Vec<(TaskKey, Seq)> {
        let sent = |key| match self.table.state(key) {
            Some(State::Sent { worker: with, seq, .. }) if with == worker => Some((key, seq)),
            _ => None,
        };
        let mut sent: Vec<_> = self.table.keys().filter_map(sent).collect();
        sent.sort_unstable_by_key(|(_, seq)| *seq);
        sent
    }
}

/// Puts a task into a worker's outbox.
fn dispatch(
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
fn start(table: &TaskTable, timers: &mut Timers<Due>, member: &mut Member, limits: TimeLimits, now: Tick) {
    let worker = member.worker;
    for task in member.in_flight.iter_mut().take(member.slots).filter(|task| !task.started) {
        task.started = true;
        let Some(known) = table.task(task.key) else { continue };
        let limits = limits_of(known, limits);
        task.soft = limits.soft.map(|limit| timers.start(now.after(limit), Due::Soft(worker, task.seq)));
        task.hard = limits.hard.map(|limit| timers.start(now.after(limit), Due::Hard(worker, task.seq)));
    }
}

fn limits_of(task: &Task, defaults: TimeLimits) -> TimeLimits {
    let options = task.options();
    TimeLimits { hard: options.timeout.or(defaults.hard), soft: options.soft_timeout.or(defaults.soft) }
}

fn cancelled() -> TaskError {
    TaskError::new(ErrorKind::Cancelled, "the task was cancelled")
}

fn lost(worker: WorkerRef, reason: &WorkerDownReason) -> TaskError {
    let what = match reason {
        WorkerDownReason::Exited(exit) => format!("died while it ran this task: {exit}"),
        WorkerDownReason::Protocol { violation } => {
            format!("broke the protocol while it ran this task and was killed: {violation}")
        }
        WorkerDownReason::Killed(_) => "was killed because of another task while it ran this one".to_owned(),
        WorkerDownReason::ActorPanicked => "failed inside the engine while it ran this task".to_owned(),
        WorkerDownReason::Retired => "was stopped while it ran this task".to_owned(),
        WorkerDownReason::StartFailed { message, .. } => format!("did not start: {message}"),
    };
    TaskError::new(ErrorKind::WorkerLost, format!("worker {} {what}", worker.id))
}

#[cfg(test)]
mod tests;
