//! Causes: the data on which the engine based a decision (L15). The decision itself passes its cause on; nothing is
//! reconstructed afterwards.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Generation, TaskId};
use super::postmortem::{KillReason, ProcessExit};
use super::scaling::ScalingRule;
use super::time::Tick;

/// The source of a task's cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelSource {
    /// A caller, by `cancel`.
    Caller,
    /// A caller, by `withdraw`, which ends only a waiting task.
    Withdrawal,
    /// The task's workflow.
    Workflow,
    /// The engine's shutdown.
    Shutdown,
}

/// The reason why a task was sent to its worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// The worker had the lowest score of all workers with room.
    LeastLoaded {
        /// The score before the task was added.
        score: f32,
    },
    /// The worker was empty, and the task runs in isolation.
    Isolated,
    /// The worker had the most free slots, and the task needs several.
    MostFreeSlots,
}

/// The reason why a task came back from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReturnCause {
    /// The worker gave the task back on request.
    Revoked,
    /// The worker left before the task started.
    WorkerLeft,
}

/// The reason why the engine asks a worker for tasks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevokeCause {
    /// The tasks have waited too long behind a long task.
    Stalled,
    /// Another worker is idle.
    Rebalance,
    /// The worker drains.
    Draining,
    /// The tasks were sent as coroutines, but are not coroutines.
    NotCoroutine,
    /// A task that has not started is to be killed.
    NotStarted,
}

/// The reason why a task cannot start although a worker has room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BlockedBy {
    /// The rate allows no start before this tick.
    Rate {
        /// The rate's key.
        key: Arc<str>,
        /// The tick of the next allowed start.
        allowed_at: Tick,
    },
    /// The concurrency key is at its limit.
    Concurrency {
        /// The key.
        key: Arc<str>,
        /// The limit.
        max: u32,
        /// The number of tasks that hold the key.
        running: u32,
        /// Those that have held it longest, at most [`MAX_HOLDERS`](Self::MAX_HOLDERS).
        holders: Vec<TaskId>,
    },
    /// A shared resource is in use.
    Capacity {
        /// The resources of which less is free than the task needs.
        short_of: Vec<Shortage>,
    },
    /// The resources are free, but reserved for a task that has waited longer.
    Reserved {
        /// That task, if the reserved resource is a key. Several tasks may hold a reservation of capacity.
        by: Option<TaskId>,
    },
    /// Another task with the same limits is before this one.
    SameLimits,
    /// The task needs more slots than are free at the same time.
    Slots {
        /// The number of slots needed.
        needed: u32,
    },
}

impl BlockedBy {
    /// How many holders of a concurrency key are named.
    pub const MAX_HOLDERS: usize = 8;

    /// The bytes that it holds outside itself.
    pub(super) fn payload(&self) -> usize {
        match self {
            Self::Concurrency { holders, .. } => holders.len() * size_of::<TaskId>(),
            Self::Capacity { short_of } => short_of.len() * size_of::<Shortage>(),
            _ => 0,
        }
    }
}

/// A shared resource of which less is free than a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The resource.
    pub of: Resource,
    /// The amount needed.
    pub needed: u64,
    /// The amount free.
    pub free: u64,
}

/// A resource that all tasks share. Percentages are in thousandths.
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

/// The reason why a worker is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LaunchCause {
    /// The pool has fewer workers than its target.
    BelowTarget,
    /// The previous worker ended.
    Replacement {
        /// The generation of the previous worker.
        of: Generation,
    },
    /// The present worker is to be replaced.
    Recycling(RecycleCause),
}

/// The reason why a worker drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetireCause {
    /// The pool has more workers than its target.
    AboveTarget,
    /// The successor has joined.
    Replaced {
        /// The generation of the successor.
        by: Generation,
    },
    /// The engine shuts down.
    Shutdown,
    /// The worker has ended as many tasks as it may take (`max_tasks_per_worker`).
    UsedUp,
}

/// The reason why a worker is recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecycleCause {
    /// The worker reached its maximum number of tasks (`max_tasks_per_worker`).
    Tasks {
        /// The number of tasks that it has ended or has in flight.
        taken: u64,
        /// The maximum number of tasks.
        limit: u64,
    },
    /// The worker exceeded its maximum memory (`max_worker_memory`).
    Memory {
        /// The resident memory, in bytes.
        resident: u64,
        /// The maximum memory, in bytes.
        limit: u64,
    },
}

/// The reason for a pool's new target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetCause {
    /// The configuration, at the engine's start.
    Configured,
    /// The autoscaler: the rule and its figures.
    Scaling(ScalingRule),
    /// A waiting task needs more workers than the pool has.
    TaskNeeds {
        /// The number of workers that the task needs.
        workers: usize,
    },
}

impl fmt::Display for TargetCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("configured"),
            Self::Scaling(rule) => rule.fmt(f),
            Self::TaskNeeds { workers } => write!(f, "a task needs {workers} workers"),
        }
    }
}

/// The reason why a submission was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalReason {
    /// The queue is full.
    QueueFull,
    /// The waiting tasks hold the maximum number of bytes.
    QueueBytesFull,
    /// The machine is too busy.
    Overloaded,
    /// The engine accepts no more tasks.
    Closed,
    /// The engine knows a task with the same id.
    DuplicateId,
    /// The workflow is invalid.
    InvalidWorkflow,
    /// The maximum number of workflows is in flight.
    TooManyWorkflows,
}

impl RefusalReason {
    /// All reasons, in their order.
    pub const ALL: [Self; 7] = [
        Self::QueueFull,
        Self::QueueBytesFull,
        Self::Overloaded,
        Self::Closed,
        Self::DuplicateId,
        Self::InvalidWorkflow,
        Self::TooManyWorkflows,
    ];

    /// Whether the engine had no room at the time of the submission.
    #[must_use]
    pub fn is_for_room(self) -> bool {
        self <= Self::Closed
    }
}

/// The way in which the engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EngineEnd {
    /// A shutdown.
    Shutdown,
    /// One of its actors failed.
    InternalError,
}

/// The reason why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerDownReason {
    /// The engine ordered it to end.
    Retired,
    /// The worker could not start.
    StartFailed {
        /// The cause, and what to do.
        message: String,
        /// Whether another start can only fail in the same way.
        definite: bool,
    },
    /// The process exited, or a signal from outside ended it.
    Exited(ProcessExit),
    /// The engine killed it to end one attempt.
    Killed(KillReason),
    /// The worker broke the protocol, and the engine killed it (L8).
    Protocol {
        /// The violation.
        violation: String,
    },
    /// The worker's actor panicked, which also ended the process.
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
