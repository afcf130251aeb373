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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::durations::Durations;
#[cfg(test)]
use super::task_table::State;
use super::task_table::{Duplicate, End, TaskKey, TaskTable};
use crate::model::{
    Attempt, CapturedOutput, ErrorKind, Json, Outcome, PoolKind, ScriptPath, Seq, Task, TaskError, TaskId, TaskRecord,
    Tick, WorkerDownReason, WorkerRef,
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
    /// Tell whoever waits for this task.
    Finished {
        /// Its place in the table, until now.
        key: TaskKey,
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
}

#[derive(Debug)]
struct InFlight {
    seq: Seq,
    key: TaskKey,
    bytes: usize,
    /// Expected nanoseconds; more than a window's worth when unknown.
    estimate: u64,
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
    outbox: Vec<RunTask>,
}

const AHEAD_NANOS: u64 = AHEAD.as_nanos() as u64;
const UNKNOWN: u64 = AHEAD_NANOS + 1;

impl Member {
    fn has_room(&self, estimate: u64, bytes: usize) -> bool {
        let count = self.in_flight.len();
        count < self.slots
            || (!self.stalled
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

    fn take(&mut self, seq: Seq) -> Option<InFlight> {
        let at = self.in_flight.binary_search_by_key(&seq, |task| task.seq).ok()?;
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
    queue: VecDeque<TaskKey>,
    /// By worker index; `None` while the slot has no worker that takes tasks.
    members: Vec<Option<Member>>,
    /// Why no task of this pool can run at present.
    unavailable: Option<TaskError>,
}

impl Pool {
    fn member(&mut self, worker: WorkerRef) -> Option<&mut Member> {
        self.members.get_mut(worker.id.index as usize)?.as_mut().filter(|member| member.worker == worker)
    }
}

/// The worker with room that has the fewest tasks; ties go to the lowest index.
fn choose(members: &mut [Option<Member>], estimate: u64, bytes: usize) -> Option<&mut Member> {
    let with_room = members.iter_mut().flatten().filter(|member| member.has_room(estimate, bytes));
    with_room.min_by_key(|member| member.in_flight.len())
}

/// The decisions of the Dispatcher.
#[derive(Debug)]
pub struct Scheduler {
    table: TaskTable,
    pools: [Pool; 2],
    durations: Durations,
    actions: Vec<Action>,
    queued: usize,
}

impl Scheduler {
    /// A scheduler without workers.
    #[must_use]
    pub fn new(table: TaskTable) -> Self {
        Self { table, pools: Default::default(), durations: Durations::default(), actions: Vec::new(), queued: 0 }
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

    /// Tasks that wait in queues.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
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
        if let Some(error) = self.pools[pool.index()].unavailable.clone() {
            self.finish(key, None, End::without_run(Outcome::Failed(Box::new(error))), now);
        } else {
            self.pools[pool.index()].queue.push_back(key);
            self.queued += 1;
        }
        Ok(key)
    }

    /// A worker takes tasks from now on.
    pub fn joined(&mut self, worker: WorkerRef, slots: usize, now: Tick) {
        let pool = &mut self.pools[worker.id.pool.index()];
        let index = worker.id.index as usize;
        if pool.members.len() <= index {
            pool.members.resize_with(index + 1, || None);
        }
        pool.unavailable = None;
        pool.members[index] = Some(Member {
            worker,
            slots,
            next: Seq::FIRST,
            in_flight: VecDeque::new(),
            load: 0,
            bytes: 0,
            front_since: now,
            stalled: false,
            outbox: Vec::new(),
        });
        self.place(worker.id.pool, now);
    }

    /// A worker reports on its tasks.
    pub fn reported(&mut self, worker: WorkerRef, reports: Vec<Report>, now: Tick) {
        for report in reports {
            match report {
                Report::Ended { seq, nanos, result, output } => {
                    let outcome = match result {
                        Ok(data) => Outcome::Succeeded(data),
                        Err(error) if error.kind == ErrorKind::Cancelled => Outcome::Cancelled(error),
                        Err(error) => Outcome::Failed(error),
                    };
                    self.ended(worker, seq, End { outcome, nanos: Some(nanos), output }, now);
                }
                Report::Revoked { seqs } => self.returned(worker, seqs, now),
            }
        }
        self.place(worker.id.pool, now);
    }

    /// A worker is gone. What it ran is lost; what it had not started goes back to the front (L5).
    pub fn left(&mut self, worker: WorkerRef, departure: Departure, now: Tick) {
        let pool = &mut self.pools[worker.id.pool.index()];
        if pool.member(worker).is_none() {
            self.table.ignore();
            return;
        }
        let Some(member) = pool.members[worker.id.index as usize].take() else {
            return;
        };
        let Departure { reason, running, mut outputs } = departure;
        let slots = member.slots;
        let started = |at: usize, seq: Seq| running.as_ref().map_or(at < slots, |seqs| seqs.contains(&seq));
        let mut unstarted = Vec::new();
        for (at, task) in member.in_flight.into_iter().enumerate() {
            if started(at, task.seq) {
                let found = outputs.iter().position(|(seq, _)| *seq == task.seq);
                let output = found.map(|at| outputs.swap_remove(at).1);
                let end = End { outcome: Outcome::Lost(Box::new(lost(worker, &reason))), nanos: None, output };
                self.finish(task.key, Some((worker, task.seq)), end, now);
            } else {
                unstarted.push(task);
            }
        }
        self.requeue(worker, unstarted, now);
        self.place(worker.id.pool, now);
    }

    /// No worker of a pool can be started: its tasks fail with the reason, until one joins.
    pub fn unavailable(&mut self, pool: PoolKind, error: TaskError, now: Tick) {
        for key in std::mem::take(&mut self.pools[pool.index()].queue) {
            self.queued -= 1;
            self.finish(key, None, End::without_run(Outcome::Failed(Box::new(error.clone()))), now);
        }
        self.pools[pool.index()].unavailable = Some(error);
    }

    /// Ends every live task as cancelled.
    pub fn cancel_all(&mut self, error: &TaskError, now: Tick) {
        for pool in &mut self.pools {
            pool.queue.clear();
        }
        self.queued = 0;
        let keys: Vec<TaskKey> = self.table.keys().collect();
        for key in keys {
            self.finish(key, None, End::without_run(Outcome::Cancelled(Box::new(error.clone()))), now);
        }
    }

    /// Takes back what was sent ahead of a task that turned out long.
    pub fn tick(&mut self, now: Tick) {
        for member in self.pools.iter_mut().flat_map(|pool| pool.members.iter_mut().flatten()) {
            if member.stalls_at().is_some_and(|at| at <= now) {
                member.stalled = true;
                let seqs = member.in_flight.iter().skip(member.slots).map(|task| task.seq).collect();
                self.actions.push(Action::Revoke { worker: member.worker, seqs });
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next; `None` while nothing is sent ahead (L10).
    #[must_use]
    pub fn next_tick(&self) -> Option<Tick> {
        self.pools.iter().flat_map(|pool| pool.members.iter().flatten()).filter_map(Member::stalls_at).min()
    }

    /// Sends what waits in a pool's queue to the workers that have room.
    pub fn place(&mut self, kind: PoolKind, now: Tick) {
        let Pool { queue, members, .. } = &mut self.pools[kind.index()];
        while let Some(&key) = queue.front() {
            let Some(task) = self.table.task(key) else {
                queue.pop_front();
                continue;
            };
            let (script, params) = (task.script_path().clone(), task.params_text().clone());
            let (id, bytes) = (task.id(), params.len() + script.as_bytes().len());
            let estimate = self.durations.estimate(&script).unwrap_or(UNKNOWN).min(UNKNOWN);
            let Some(member) = choose(members, estimate, bytes) else {
                break;
            };
            queue.pop_front();
            self.queued -= 1;
            let seq = member.next;
            if let Some(attempt) = self.table.send(key, member.worker, seq, now) {
                member.next = seq.next();
                member.push(InFlight { seq, key, bytes, estimate }, now);
                member.outbox.push(RunTask { seq, attempt, id, script, params });
            }
        }
        for member in members.iter_mut().flatten().filter(|member| !member.outbox.is_empty()) {
            let tasks = std::mem::take(&mut member.outbox);
            self.actions.push(Action::Run { worker: member.worker, tasks });
        }
    }

    fn ended(&mut self, worker: WorkerRef, seq: Seq, end: End, now: Tick) {
        let Some(member) = self.pools[worker.id.pool.index()].member(worker) else {
            return self.table.ignore();
        };
        let Some(task) = member.take(seq) else {
            return self.table.ignore();
        };
        member.stalled = false;
        member.front_since = now;
        if let (Some(nanos), Some(known)) = (end.nanos, self.table.task(task.key)) {
            self.durations.record(known.script_path(), nanos);
        }
        self.finish(task.key, Some((worker, seq)), end, now);
    }

    fn returned(&mut self, worker: WorkerRef, seqs: Vec<Seq>, now: Tick) {
        let Some(member) = self.pools[worker.id.pool.index()].member(worker) else {
            return self.table.ignore();
        };
        let mut tasks: Vec<InFlight> = seqs.into_iter().filter_map(|seq| member.take(seq)).collect();
        tasks.sort_unstable_by_key(|task| task.seq);
        self.requeue(worker, tasks, now);
    }

    /// Puts tasks back to the front of their queue, the first of them foremost (L5, L12).
    fn requeue(&mut self, worker: WorkerRef, tasks: Vec<InFlight>, now: Tick) {
        for task in tasks.into_iter().rev() {
            if self.table.give_back(task.key, worker, task.seq, now) {
                self.pools[worker.id.pool.index()].queue.push_front(task.key);
                self.queued += 1;
            }
        }
    }

    fn finish(&mut self, key: TaskKey, by: Option<(WorkerRef, Seq)>, end: End, now: Tick) {
        if let Some(record) = self.table.finish(key, by, end, now) {
            self.actions.push(Action::Finished { key, record });
        }
    }

    /// The attempts that a worker has been sent and has not answered, for tests.
    #[cfg(test)]
    fn sent_to(&self, worker: WorkerRef) -> Vec<(TaskKey, Seq)> {
        let sent = |key| match self.table.state(key) {
            Some(State::Sent { worker: with, seq }) if with == worker => Some((key, seq)),
            _ => None,
        };
        let mut sent: Vec<_> = self.table.keys().filter_map(sent).collect();
        sent.sort_unstable_by_key(|(_, seq)| *seq);
        sent
    }
}

fn lost(worker: WorkerRef, reason: &WorkerDownReason) -> TaskError {
    let (what, exit) = match reason {
        WorkerDownReason::Exited(exit) => (format!("died while it ran this task: {exit}"), Some(*exit)),
        WorkerDownReason::Protocol { violation } => {
            (format!("broke the protocol while it ran this task and was killed: {violation}"), None)
        }
        WorkerDownReason::ActorPanicked => ("failed inside the engine while it ran this task".to_owned(), None),
        WorkerDownReason::Retired => ("was stopped while it ran this task".to_owned(), None),
        WorkerDownReason::StartFailed { message, .. } => (format!("did not start: {message}"), None),
    };
    TaskError { exit, ..TaskError::new(ErrorKind::WorkerLost, format!("worker {} {what}", worker.id)) }
}

#[cfg(test)]
mod tests;
