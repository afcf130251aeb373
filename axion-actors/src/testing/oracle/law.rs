//! The laws that facts can break.

use std::fmt;

use crate::model::{FactId, FactKind, TaskId};
use crate::policy::fold::FoldError;

/// A law, or a rule of the design that has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Law {
    /// L1: each task has one acceptance and one outcome, and nothing happens to it outside of the two.
    L1,
    /// L3: a fact about an attempt names the worker, the seq and the attempt that the task has.
    L3,
    /// L5: only attempts that started count.
    L5,
    /// L6: an order to kill names the attempt that is with the worker.
    L6,
    /// L12: the tasks of one pool and one priority start in their order.
    L12,
    /// L13: facts have no gaps, and fold to what they state.
    L13,
    /// L15: a stated cause is the fact by which the engine decided.
    L15,
    /// A task whose cancellation was asked for gets no further attempt.
    Cancel,
    /// At most as many tasks hold a concurrency key as each of them allows.
    Concurrency,
    /// A rerun after a counted loss runs alone in its worker.
    Isolation,
    /// A task has at most `max_worker_losses` counted losses. With 0, it never reruns.
    Losses,
    /// A task runs in its own pool.
    Pool,
    /// One live task holds a unique key.
    Unique,
    /// A wait ends when its fact says, not earlier.
    Wait,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "L1",
            Self::L3 => "L3",
            Self::L5 => "L5",
            Self::L6 => "L6",
            Self::L12 => "L12",
            Self::L13 => "L13",
            Self::L15 => "L15",
            Self::Cancel => "cancellation",
            Self::Concurrency => "concurrency",
            Self::Isolation => "isolation",
            Self::Losses => "max_worker_losses",
            Self::Pool => "pool",
            Self::Unique => "unique key",
            Self::Wait => "wait",
        })
    }
}

/// A fact that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{law}: fact {fact}: {why}")]
pub struct LawBroken {
    /// The law.
    pub law: Law,
    /// The task that the fact concerns, if any.
    pub task: Option<TaskId>,
    /// The fact.
    pub fact: FactId,
    /// What does not fit.
    pub why: String,
}

/// A broken law, before the fact is named.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) law: Law,
    pub(super) why: String,
}

impl Breach {
    /// A fact that the fold refused.
    pub(super) fn of_fold(error: &FoldError, kind: &FactKind) -> Self {
        let is_order = matches!(kind, FactKind::KillOrdered { .. } | FactKind::InterruptOrdered { .. });
        let law = match error {
            FoldError::NotLive { .. } | FoldError::AcceptedTwice { .. } | FoldError::WrongStep { .. } => Law::L1,
            FoldError::WrongPhase { .. } if is_order => Law::L6,
            FoldError::WrongPhase { .. } | FoldError::WrongWorker { .. } => Law::L3,
            FoldError::WrongAttempt { .. } => Law::L5,
            FoldError::Gap { .. } | FoldError::NoRecord { .. } => Law::L13,
        };
        Self { law, why: error.to_string() }
    }
}

/// Fails with `law` unless the condition holds.
pub(super) fn require(holds: bool, law: Law, why: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach { law, why: why() }) }
}
