//! Every message between actors, grouped by receiver.

use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use crate::model::{PoolKind, Seq, Task, TaskError, TaskId, TaskRecord, WorkerRef};
use crate::policy::scheduler::{Departure, Report, RunTask};

// To the Dispatcher.

/// A task and who waits for it. Travels in a queue of its own, in batches, not in the mailbox: its
/// bound is the [`Admission`](super::Admission) that every sender passes first (L9).
#[derive(Debug)]
pub struct Submission {
    /// The task.
    pub task: Task,
    /// Gets its record.
    pub reply: Reply,
}

/// Where a record goes. Dropped without an answer only if the engine itself fails.
pub type Reply = oneshot::Sender<Result<Arc<TaskRecord>, Refusal>>;

/// Why there is no record to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A task with this id was submitted before.
    #[error("a task with this id was submitted before")]
    DuplicateId,
    /// No task with this id is known.
    #[error("no task with this id is known: it was never submitted, or its record has made room for newer ones")]
    UnknownId,
}

/// A worker takes tasks from now on. From the Supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WorkerJoined {
    /// Which.
    pub worker: WorkerRef,
    /// How many at a time.
    pub slots: u32,
    /// Its mailbox.
    pub orders: Recipient<Order>,
}

/// A worker is gone. From the Supervisor, after every report of that worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerLeft {
    /// Which.
    pub worker: WorkerRef,
    /// Why, and what it ran.
    pub departure: Departure,
}

/// What became of tasks. From a worker, many at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reports {
    /// Which worker.
    pub worker: WorkerRef,
    /// In the order they happened.
    pub reports: Vec<Report>,
}

/// No worker of a pool can be started at present. From the Supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PoolUnavailable {
    /// Which pool.
    pub pool: PoolKind,
    /// The reason, for its tasks.
    pub error: TaskError,
}

/// Someone else wants to wait for a task, too. From a handle.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Await {
    /// Which task.
    pub id: TaskId,
    /// Gets its record.
    pub reply: Reply,
}

/// Answer when no task is live any more. From the engine's shutdown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// Gets the answer.
    pub reply: oneshot::Sender<()>,
}

/// End every live task as cancelled. From the engine's shutdown.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CancelAll {
    /// The reason, for the tasks.
    pub error: TaskError,
}

// To a Worker.

/// From the Dispatcher.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    /// Run these, in this order.
    Run(Vec<RunTask>),
    /// Take these back if they have not started.
    Revoke(Vec<Seq>),
}

/// Finish what was sent, then end; by force after the grace period. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

// To the Supervisor.

/// A worker finished its handshake. From the worker.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerReady {
    /// Which.
    pub worker: WorkerRef,
}

/// A worker is gone: sent exactly once for every worker that was started, after all its reports,
/// also when its actor panics. From the worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerDown {
    /// Which.
    pub worker: WorkerRef,
    /// Why, and what it ran.
    pub departure: Departure,
    /// Whether it had lived or worked long enough to be worth replacing at once.
    pub healthy: bool,
}

/// Retire every worker and start none; answer when all are gone. From the engine's shutdown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopWorkers {
    /// Gets the answer.
    pub reply: oneshot::Sender<()>,
}

/// Panic, to show what becomes of the engine then. From tests, to the Dispatcher.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Panic;
