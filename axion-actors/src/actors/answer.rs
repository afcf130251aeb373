//! The answer to a waiter: a record, or the reason why there is none.

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::workflow::WorkflowRecord;
use crate::model::{ExpiredBy, TaskRecord};

/// A task's record, or why there is none.
pub type Answer = Result<Arc<TaskRecord>, Refusal>;

/// A workflow's record, or the statement that there is none.
pub type WorkflowAnswer = Result<Arc<WorkflowRecord>, WorkflowGone>;

/// The reason why a waiter gets no record.
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
            ExpiredBy::NotRetained => "its workflow does not keep it: by the step's own wish, or for its bound on kept results",
        }
    )]
    ResultExpired {
        /// The time at which the record was dropped.
        at: Timestamp,
        /// The bound that the record exceeded.
        why: ExpiredBy,
    },
    /// No task with this id is known.
    #[error("no task with this id is known: it was never submitted, or very long ago")]
    UnknownId,
}

/// The engine has no record of the workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no workflow with this id is known: it was never submitted, or its record is no longer kept (`result_ttl`)")]
pub struct WorkflowGone;
