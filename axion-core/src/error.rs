//! What can go wrong with the engine itself. A task that fails is not an error here.

use axion_actors::actors::Refusal;
use axion_actors::config::ConfigError;
use axion_actors::model::{PoolId, Shortfall};
use axion_actors::process::{FolderError, GuardianError, PythonNotFound};

use crate::handle::TaskHandle;

/// The engine cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no Python interpreter.
    #[error(transparent)]
    Python(#[from] PythonNotFound),
    /// The worker runtime cannot be written to disk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The process that ends orphaned workers cannot be started.
    #[error(transparent)]
    Guardian(#[from] GuardianError),
    /// The engine's thread cannot be started.
    #[error("cannot start the engine's thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The engine's thread ended before it was ready.
    #[error("the engine's thread ended during its start; its log says why")]
    Runtime,
}

/// A task was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many tasks wait as may.
    #[error(
        "the queue is full: {size} tasks are waiting; use `submit_wait`, submit later, or raise `input_queue_size`"
    )]
    QueueFull {
        /// How many may wait.
        size: usize,
    },
    /// The tasks that wait bring along as many bytes as they may.
    #[error(
        "the queue is full: {bytes} bytes of parameters are waiting; use `submit_wait`, submit later, or raise \
         `input_queue_bytes`"
    )]
    QueueBytesFull {
        /// How many bytes may wait.
        bytes: usize,
    },
    /// The machine is too busy.
    #[error("tasks are refused: {why}; use `submit_wait`, submit later, or raise that setting")]
    Overloaded {
        /// Of what there is too much.
        why: String,
    },
    /// The parameters do not fit into a frame.
    #[error(
        "the parameters are {size} bytes, the limit is {limit}: pass a file's path instead, or raise `frame_limit`"
    )]
    ParamsTooLarge {
        /// How large they are.
        size: usize,
        /// How large they may be.
        limit: usize,
    },
    /// The task's pool has no workers by configuration.
    #[error("the {pool} pool is disabled: set {} to at least 1", max_key(*.pool))]
    PoolDisabled {
        /// The pool.
        pool: PoolId,
    },
    /// The engine has no pool of this name.
    #[error("unknown pool `{pool}`: the engine has the pools {}; declare others as `[pools.NAME]`", list(.known))]
    UnknownPool {
        /// The pool.
        pool: PoolId,
        /// The pools that the engine has.
        known: Vec<PoolId>,
    },
    /// The task needs more than there can ever be.
    #[error(
        "the task can never run: {shortfall}; it should need less, or raise the limit: `cpu_bound_max`, \
         `io_bound_max` and the pools' task limits for slots, `max_estimated_cpu_percent`, \
         `max_estimated_memory_percent`"
    )]
    NeedsImpossible {
        /// What is missing.
        shortfall: Shortfall,
    },
    /// A number in the task's limits is 0.
    #[error("{what} of the task must be at least 1")]
    LimitsInvalid {
        /// Which.
        what: &'static str,
    },
    /// The engine is shutting down, or has been shut down.
    #[error("the engine is shutting down and takes no more tasks")]
    ShuttingDown,
    /// The engine ended by a fault of its own.
    #[error("the engine has stopped after an internal error; its log says which")]
    EngineStopped,
}

impl SubmitError {
    /// A stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "queue_full",
            Self::QueueBytesFull { .. } => "queue_bytes_full",
            Self::Overloaded { .. } => "overloaded",
            Self::ParamsTooLarge { .. } => "params_too_large",
            Self::PoolDisabled { .. } => "pool_disabled",
            Self::UnknownPool { .. } => "unknown_pool",
            Self::NeedsImpossible { .. } => "needs_impossible",
            Self::LimitsInvalid { .. } => "limits_invalid",
            Self::ShuttingDown => "shutting_down",
            Self::EngineStopped => "engine_stopped",
        }
    }
}

/// The setting that bounds the workers of a pool.
fn max_key(pool: PoolId) -> String {
    match pool {
        PoolId::CPU => "`cpu_bound_max`".to_owned(),
        PoolId::IO => "`io_bound_max`".to_owned(),
        pool => format!("the maximum of `workers` in [pools.{pool}]"),
    }
}

fn list(pools: &[PoolId]) -> String {
    pools.iter().map(|pool| pool.name()).collect::<Vec<_>>().join(", ")
}

/// A batch was accepted in part.
#[derive(Debug, thiserror::Error)]
#[error("{error} ({} of the batch have been accepted)", accepted.len())]
pub struct SubmitManyError {
    /// Why the next one was not.
    pub error: SubmitError,
    /// The handles of those that were, in their order.
    pub accepted: Vec<TaskHandle>,
}

/// There is no such status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The engine has no part of this name.
    #[error("there is no component {name:?}: the engine has {}", known.join(", "))]
    UnknownComponent {
        /// What was asked for.
        name: String,
        /// The parts that the engine has.
        known: Vec<String>,
    },
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] WaitError),
}

/// There will be no record of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The engine does not know the task, or refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine ended by a fault of its own, or before it could answer.
    #[error("the engine has stopped; nothing more will be known of this task")]
    EngineStopped,
}
