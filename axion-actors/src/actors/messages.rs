//! Every message between actors, grouped by receiver.

use std::sync::Arc;

use actix::{Message, Recipient};
use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::model::{KillReason, PoolKind, Seq, Task, TaskError, TaskId, TaskRecord, WorkerRef};
use crate::policy::restart::BreakerState;
use crate::policy::scheduler::{CancelAnswer, Departure, Report, RunTask};
use crate::policy::task_table::ExpiredBy;

// To the Dispatcher, from outside the engine's thread. All of these travel in one queue, in batches,
// so that they are handled in the order in which they were sent: see `inbox`.

/// Something that is wanted of the engine.
#[derive(Debug)]
pub enum Request {
    /// Run a task. Its sender has passed the [`Admission`](super::Admission) (L9).
    Submit {
        /// The task.
        task: Task,
        /// Gets its record.
        reply: Reply,
    },
    /// Someone else wants to wait for a task, too.
    Await {
        /// Which task.
        id: TaskId,
        /// Gets its record.
        reply: Reply,
    },
    /// End a task before its time.
    Cancel {
        /// Which.
        id: TaskId,
        /// Gets what becomes of it.
        reply: oneshot::Sender<CancelAnswer>,
    },
    /// Answer when no task is live any more.
    Drain {
        /// Gets the answer.
        reply: oneshot::Sender<()>,
    },
    /// End every live task as cancelled.
    CancelAll {
        /// The reason, for the tasks.
        error: TaskError,
        /// Gets the number of tasks so far.
        reply: oneshot::Sender<usize>,
    },
}

/// Where a record goes. Dropped without an answer only if the engine itself fails.
pub type Reply = oneshot::Sender<Result<Arc<TaskRecord>, Refusal>>;

/// Why there is no record to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A task with this id was submitted before.
    #[error("a task with this id was submitted before")]
    DuplicateId,
    /// The task finished, but its record is no longer kept.
    #[error(
        "the task's result was dropped at {at} ({}); raise that setting, or keep the task's handle",
        match why {
            ExpiredBy::Count => "`output_queue_size`: newer results took its place",
            ExpiredBy::Bytes => "`output_queue_bytes`: the results held too much memory together",
            ExpiredBy::Age => "`result_ttl`: it had grown too old",
        }
    )]
    ResultExpired {
        /// When.
        at: Timestamp,
        /// Which bound it would have broken.
        why: ExpiredBy,
    },
    /// No task with this id is known.
    #[error("no task with this id is known: it was never submitted, or very long ago")]
    UnknownId,
}

// To the Dispatcher, from other actors.

/// Whom to ask for replacements. From the Supervisor, first of all.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Introduce {
    /// Its mailbox.
    pub supervisor: Recipient<Recycle>,
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

// To a Worker.

/// From the Dispatcher.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    /// Run these, in this order.
    Run(Vec<RunTask>),
    /// Take these back if they have not started.
    Revoke(Vec<Seq>),
    /// Raise the soft time limit's exception in this one.
    Interrupt(Seq),
    /// Take this one back if it has not started, else ask it to stop.
    Cancel(Seq),
    /// Kill the process of this one, unless it has ended (L6).
    Kill(Seq, KillReason),
    /// End: the successor is there.
    Retire,
}

/// Finish what was sent, then end; by force after the grace period. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

// To the Supervisor.

/// Start a successor of this worker; it goes when that is ready. From the Dispatcher.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Recycle {
    /// Which.
    pub worker: WorkerRef,
}

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

/// Say what the breakers of the pools are. From whoever shows how the engine is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct AskBreakers {
    /// Gets the answer, by the pools' indices.
    pub reply: oneshot::Sender<[BreakerState; 2]>,
}

/// Panic, to show what becomes of the engine then. From tests, to the Dispatcher.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Panic;
