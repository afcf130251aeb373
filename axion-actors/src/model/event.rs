//! What happens in the engine, as one type that can be watched, recorded and checked.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::ids::{Attempt, TaskId, WorkerRef};
use super::outcome::ErrorKind;
use super::pool::PoolId;
use super::postmortem::{KillReason, ProcessExit};
use super::workflow::{StepState, WorkflowId, WorkflowState};

/// A standard stream of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// fd 1.
    Stdout,
    /// fd 2.
    Stderr,
}

/// The level a task gave its log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// For the record.
    Info,
    /// Unexpected, but the task goes on.
    Warning,
    /// The task cannot do its work.
    Error,
}

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Wall time.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Every change of a task's state is one that begins with `Task`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A task was accepted and waits in its pool's queue.
    TaskAccepted {
        /// The task.
        task: TaskId,
        /// Its pool.
        pool: PoolId,
    },
    /// A task that was accepted is not to start yet.
    TaskHeld {
        /// The task.
        task: TaskId,
        /// How long it waits, in seconds.
        wait_seconds: f64,
    },
    /// A task was sent to a worker.
    TaskSent {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// Which execution this will be.
        attempt: Attempt,
    },
    /// An attempt failed and the task waits for its retry.
    TaskRetrying {
        /// The task.
        task: TaskId,
        /// The attempt that failed.
        attempt: Attempt,
        /// Why.
        error: ErrorKind,
        /// How long it waits, in seconds.
        wait_seconds: f64,
    },
    /// A wait before a start is over: the task is queued.
    TaskDue {
        /// The task.
        task: TaskId,
    },
    /// An attempt's process ended under it and the task is queued again.
    TaskRerun {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// Whether the loss counts against the task, or only its neighbour had to be killed.
        counted: bool,
    },
    /// A task that had not started came back from a worker and waits again, uncounted (L5).
    TaskReturned {
        /// The task.
        task: TaskId,
        /// The worker it came back from.
        worker: WorkerRef,
    },
    /// A task reached its outcome (L1).
    TaskFinished {
        /// The task.
        task: TaskId,
        /// The outcome's name.
        outcome: &'static str,
    },
    /// A step of a workflow is in another state.
    StepChanged {
        /// The workflow.
        workflow: WorkflowId,
        /// The step's name, else its task's id.
        step: String,
        /// Its task; that of a mapped step never runs itself.
        task: TaskId,
        /// Its state.
        state: StepState,
        /// How many instances it has, if it is mapped and its list is known.
        instances: Option<usize>,
    },
    /// Every step of a workflow has ended.
    WorkflowFinished {
        /// The workflow.
        workflow: WorkflowId,
        /// How it ended.
        state: WorkflowState,
    },
    /// A task, or a worker outside any task, wrote to a standard stream.
    Output {
        /// The task, if the bytes could be attributed.
        task: Option<TaskId>,
        /// The worker.
        worker: WorkerRef,
        /// Which stream.
        stream: Stream,
        /// The bytes.
        #[serde(serialize_with = "lossy")]
        data: Bytes,
    },
    /// A task said how far it is.
    Progress {
        /// The task.
        task: TaskId,
        /// From 0 to 1.
        fraction: f64,
        /// A word on it.
        message: String,
    },
    /// A task wrote to the log.
    Log {
        /// The task.
        task: TaskId,
        /// How grave.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// A worker finished its handshake and takes tasks.
    WorkerReady {
        /// The worker.
        worker: WorkerRef,
        /// Its process.
        pid: u32,
        /// Its Python version.
        python: String,
    },
    /// A worker ended.
    WorkerDown {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        reason: WorkerDownReason,
    },
}

fn lossy<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(data))
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerDownReason {
    /// The engine asked it to.
    Retired,
    /// It never took tasks: why it could not start.
    StartFailed {
        /// What went wrong and what to do.
        message: String,
        /// Whether another try can only fail the same way.
        definite: bool,
    },
    /// Its process ended by itself or by a foreign hand.
    Exited(ProcessExit),
    /// The engine killed it to end one attempt.
    Killed(KillReason),
    /// It broke the protocol and was killed for it (L8).
    Protocol {
        /// What it did.
        violation: String,
    },
    /// Its actor panicked and took the process along.
    ActorPanicked,
}

impl fmt::Display for WorkerDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retired => f.write_str("the engine asked it to end"),
            Self::StartFailed { message, .. } => f.write_str(message),
            Self::Exited(exit) => write!(f, "{exit}"),
            Self::Killed(_) => f.write_str("the engine killed it to end one attempt"),
            Self::Protocol { violation } => write!(f, "it broke the protocol: {violation}"),
            Self::ActorPanicked => f.write_str("its actor in the engine failed"),
        }
    }
}
