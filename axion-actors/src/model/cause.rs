//! Why the engine did something: the data by which it decided (L15). A cause is passed on from the decision; nothing
//! here is worked out afterwards.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Generation, TaskId};
use super::postmortem::{KillReason, ProcessExit};
use super::time::Tick;

/// Who asked for a task's cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelSource {
    /// A caller, by `cancel`.
    Caller,
    /// A caller, by `withdraw`: only a task that waits is ended.
    Withdrawal,
    /// The workflow of which it is a step.
    Workflow,
    /// The engine's shutdown.
    Shutdown,
}

/// Why a task was sent to the worker that got it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// That worker had the lowest score of those with room.
    LeastLoaded {
        /// Its score, before the task was added.
        score: f32,
    },
    /// It was empty, and the task runs alone.
    Isolated,
    /// It had the most free slots, and the task needs several.
    MostFreeSlots,
}

/// Why a task came back from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReturnCause {
    /// The worker gave it back on request.
    Revoked,
    /// The worker left before the task had started.
    WorkerLeft,
}

/// Why tasks are asked back from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevokeCause {
    /// They have waited too long behind a task that turned out long.
    Stalled,
    /// Another worker has nothing to do.
    Rebalance,
    /// The worker takes no more tasks.
    Draining,
    /// They were sent as coroutines and are none.
    NotCoroutine,
    /// One was to be killed and had not started.
    NotStarted,
}

/// What a task waits for that could start otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockedBy {
    /// Its rate allows no start before this tick.
    Rate {
        /// The rate's key.
        key: Arc<str>,
        /// When it allows one.
        allowed_at: Tick,
    },
    /// As many tasks as may run with its key.
    Concurrency {
        /// The key.
        key: Arc<str>,
        /// How many may run.
        max: u32,
        /// How many do.
        running: u32,
    },
    /// Something that all tasks share is in use.
    Capacity {
        /// What it needs more of than is free.
        short_of: Vec<Shortage>,
    },
    /// What it needs is free, but reserved for a task that has waited longer.
    Reserved {
        /// That task, if it reserves a key; else several may.
        by: Option<TaskId>,
    },
    /// Another task with the same limits is before it.
    SameLimits,
    /// It needs more slots than are free at one time.
    Slots {
        /// How many it needs.
        needed: u32,
    },
}

/// One shared resource of which a task needs more than is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Which.
    pub of: Resource,
    /// How much it needs.
    pub needed: u64,
    /// How much is free.
    pub free: u64,
}

/// What all tasks share. Percentages are counted in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// Slots of a pool.
    Slots,
    /// Processor time, in thousandths of a per cent.
    Cpu,
    /// Memory, in thousandths of a per cent.
    MemoryShare,
    /// Memory, in bytes.
    MemoryBytes,
}

/// Why a worker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LaunchCause {
    /// Its pool has fewer workers than it should.
    BelowTarget,
    /// The one before it ended.
    Replacement {
        /// Which was that.
        of: Generation,
    },
    /// The present one is to be replaced.
    Recycling(RecycleCause),
}

/// Why a worker takes no more tasks and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetireCause {
    /// Its pool should have fewer workers.
    AboveTarget,
    /// Its successor has joined.
    Replaced {
        /// The successor.
        by: Generation,
    },
    /// The engine ends.
    Shutdown,
}

/// Why a worker is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecycleCause {
    /// It has ended as many tasks as it may (`max_tasks_per_worker`).
    Tasks {
        /// How many it has ended.
        ended: u64,
        /// How many it may.
        limit: u64,
    },
    /// It holds more memory than it may (`max_worker_memory`).
    Memory {
        /// Bytes that are resident.
        resident: u64,
        /// Bytes that may be.
        limit: u64,
    },
}

/// Why a pool should have another number of workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetCause {
    /// The configuration says so, at the engine's start.
    Configured,
    /// The autoscaler decided so, by this rule and these figures.
    Scaling(String),
    /// A task waits that cannot run with fewer workers.
    TaskNeeds {
        /// How many it needs.
        workers: usize,
    },
}

/// Why a submission was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalReason {
    /// As many tasks wait as may.
    QueueFull,
    /// The tasks that wait hold as many bytes as they may.
    QueueBytesFull,
    /// The machine is too busy.
    Overloaded,
    /// The engine takes no more tasks.
    Closed,
    /// A task with the same id is known.
    DuplicateId,
    /// A workflow is wrong in itself.
    InvalidWorkflow,
    /// As many workflows are in flight as may be.
    TooManyWorkflows,
}

impl RefusalReason {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::QueueFull,
        Self::QueueBytesFull,
        Self::Overloaded,
        Self::Closed,
        Self::DuplicateId,
        Self::InvalidWorkflow,
        Self::TooManyWorkflows,
    ];

    /// Whether the engine had no room at that moment.
    #[must_use]
    pub fn is_for_room(self) -> bool {
        self <= Self::Closed
    }
}

/// How the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EngineEnd {
    /// By a shutdown.
    Shutdown,
    /// One of its actors failed.
    InternalError,
}

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
