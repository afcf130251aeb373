//! Errors of the engine itself. A task that fails is not an error here.

use axion_actors::actors::Refusal;
use axion_actors::config::ConfigError;
use axion_actors::model::{PartId, PoolId, Shortfall};
use axion_actors::process::{FolderError, GuardianError, PythonNotFound};

use crate::handle::TaskHandle;

/// The engine cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting has an invalid value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No Python interpreter was found.
    #[error(transparent)]
    Python(#[from] PythonNotFound),
    /// The files of the worker runtime cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The guardian, which ends orphaned workers, cannot be started.
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
    /// The queue is full.
    #[error("the queue is full: {size} tasks are waiting; wait for room, submit later, or raise `input_queue_size`")]
    QueueFull {
        /// The maximum number of waiting tasks.
        size: usize,
    },
    /// The waiting tasks hold the maximum number of bytes.
    #[error(
        "the queue is full: {bytes} bytes of parameters are waiting; wait for room, submit later, or raise \
         `input_queue_bytes`"
    )]
    QueueBytesFull {
        /// The maximum number of bytes.
        bytes: usize,
    },
    /// The machine is too busy.
    #[error("tasks are refused: {why}; wait, submit later, or raise that setting")]
    Overloaded {
        /// The measured load that is too high.
        why: String,
    },
    /// The parameters are larger than a payload may be.
    #[error(
        "the parameters are {size} bytes, the limit is {limit}: pass a file's path instead, or raise `payload_limit`"
    )]
    ParamsTooLarge {
        /// The size of the parameters.
        size: usize,
        /// The maximum size.
        limit: usize,
    },
    /// A part of the task's function is larger than a payload may be.
    #[error(
        "the part {part} of the function {function} has {size} bytes, the limit is {limit}: pass a file's path instead, \
         or raise `payload_limit`"
    )]
    PartTooLarge {
        /// The name of the function.
        function: String,
        /// The part.
        part: PartId,
        /// The size of the part.
        size: usize,
        /// The maximum size.
        limit: usize,
    },
    /// The configuration gives the task's pool no workers.
    #[error("the {pool} pool is disabled: set {} to at least 1", max_key(*.pool))]
    PoolDisabled {
        /// The pool.
        pool: PoolId,
    },
    /// The engine has no pool of this name.
    #[error("unknown pool `{pool}`: the engine has the pools {}; declare others as `[pools.NAME]`", list(.known))]
    UnknownPool {
        /// The name that was given.
        pool: PoolId,
        /// The names of the engine's pools.
        known: Vec<PoolId>,
    },
    /// The task's needs exceed the engine's capacity.
    #[error(
        "the task can never run: {shortfall}; it should need less, or raise the limit: `cpu_bound_max`, \
         `io_bound_max` and the pools' task limits for slots, `max_estimated_cpu_percent`, \
         `max_estimated_memory_percent`"
    )]
    NeedsImpossible {
        /// The part that is missing.
        shortfall: Shortfall,
    },
    /// A number in the task's limits is 0.
    #[error("{what} of the task must be at least 1")]
    LimitsInvalid {
        /// The limit that is 0.
        what: &'static str,
    },
    /// The engine is shutting down, or has shut down.
    #[error("the engine is shutting down and takes no more tasks")]
    ShuttingDown,
    /// The engine ended because of an internal fault.
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
            Self::PartTooLarge { .. } => "part_too_large",
            Self::PoolDisabled { .. } => "pool_disabled",
            Self::UnknownPool { .. } => "unknown_pool",
            Self::NeedsImpossible { .. } => "needs_impossible",
            Self::LimitsInvalid { .. } => "limits_invalid",
            Self::ShuttingDown => "shutting_down",
            Self::EngineStopped => "engine_stopped",
        }
    }
}

/// The setting that limits the workers of a pool.
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
    /// The reason why the next task was refused.
    pub error: SubmitError,
    /// The handles of the accepted tasks, in order.
    pub accepted: Vec<TaskHandle>,
}

/// The engine cannot report a status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The engine has no component of this name.
    #[error("there is no component {name:?}: the engine has {}", known.join(", "))]
    UnknownComponent {
        /// The name that was given.
        name: String,
        /// The names of the components.
        known: Vec<String>,
    },
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] WaitError),
}

/// An engine does not get the workers that it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// No worker of a pool can start.
    #[error("no worker of the {pool} pool can start: {why}")]
    Unavailable {
        /// The pool.
        pool: PoolId,
        /// Why.
        why: String,
    },
    /// The engine has stopped.
    #[error(transparent)]
    Stopped(#[from] WaitError),
}

/// A task has no record and will not get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The engine does not know the task, or refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine ended because of an internal fault, or before it could answer.
    #[error("the engine has stopped; nothing more will be known of this task")]
    EngineStopped,
}
