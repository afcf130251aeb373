//! The events that a graph takes and the actions that it asks for.

use std::sync::Arc;

use crate::model::EngineCapacity;
use crate::model::workflow::{RootCauses, StepError, StepOutcome, StepRecord, StepState};
use crate::model::{Outcome, TaskId, Tick};

/// What the engine knows of a task that a step depends on.
#[derive(Clone, Debug, PartialEq)]
pub enum StepStatus {
    /// The engine does not know the task.
    Unknown,
    /// The task has not ended.
    Live,
    /// The task ended with this outcome.
    Ended(StepOutcome),
    /// The task is a step that succeeded, and its result was not retained.
    ResultDropped,
}

impl From<&StepRecord> for StepStatus {
    fn from(step: &StepRecord) -> Self {
        match step.outcome() {
            None => Self::Live,
            Some(StepOutcome { state: StepState::Succeeded, data: None, .. }) => Self::ResultDropped,
            Some(outcome) => Self::Ended(outcome),
        }
    }
}

impl StepStatus {
    /// Replaces the status of a task by the status of the step it belongs to: a step can end otherwise than its task.
    /// A dropped result changes nothing, because the task's own record may still have it.
    pub fn correct(&mut self, status: StepStatus) {
        match status {
            Self::Live | Self::Ended(_) => *self = status,
            Self::ResultDropped | Self::Unknown => {}
        }
    }
}

/// What the engine offers to a workflow while the workflow is checked.
pub struct EngineView<'a> {
    /// Looks up a task that is not a step of the workflow.
    pub status: &'a dyn Fn(TaskId) -> StepStatus,
    /// The capacity of the engine.
    pub capacity: &'a EngineCapacity,
}

/// A step of a graph, or one instance of a mapped step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey {
    /// The step's number in the graph.
    pub step: u32,
    /// The index of the instance, if the step is mapped.
    pub instance: Option<u32>,
}

impl StepKey {
    /// The step itself, not an instance of it.
    #[must_use]
    pub fn whole(step: u32) -> Self {
        Self { step, instance: None }
    }
}

/// What the caller has to do.
#[derive(Debug)]
pub enum GraphAction {
    /// Run this step when there is room for it. [`Graph::hand_over`](super::Graph::hand_over) then gives its task.
    Submit(StepKey),
    /// Cancel this step and report how it ended.
    Cancel(StepKey),
    /// The state of a step changed.
    Changed {
        /// The step.
        step: u32,
        /// Its new state.
        state: StepState,
    },
    /// A step with a [subscriber](super::Graph::subscribe) ended.
    Ended {
        /// The step.
        step: u32,
        /// Its task.
        task: TaskId,
        /// How it ended. Boxed, because this rare variant would widen all the others.
        outcome: Box<StepOutcome>,
    },
    /// Every step ended: take the [record](super::Graph::record).
    Finished,
}

/// How a submitted step ended.
#[derive(Debug)]
pub struct Ended {
    /// The outcome of its task.
    pub outcome: Outcome,
    /// The number of attempts.
    pub attempts: u32,
    /// When its last attempt started, if one did.
    pub started: Option<Tick>,
}

impl Ended {
    /// A step that was withdrawn before its first attempt.
    #[must_use]
    pub fn without_attempt(outcome: Outcome) -> Self {
        Self { outcome, attempts: 0, started: None }
    }
}

/// The end of a step after one attempt.
impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, attempts: 1, started: None }
    }
}

/// Why no more steps start.
#[derive(Clone, Debug)]
pub(super) enum StopReason {
    /// A step failed and the workflow stops then.
    Stopped(Arc<RootCauses>),
    /// The workflow was cancelled.
    Cancelled,
}

impl StopReason {
    pub(super) fn error(&self) -> StepError {
        match self {
            Self::Stopped(causes) => StepError::Stopped(causes.clone()),
            Self::Cancelled => StepError::Cancelled,
        }
    }
}
