//! What the graph hears and says.

use std::sync::Arc;

use crate::model::workflow::{Capacity, Causes, StepEnd, StepError, StepRecord, StepState};
use crate::model::{Outcome, TaskId, Tick};

/// What the engine knows of a task outside the workflow.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// Nothing.
    Unknown,
    /// It has not ended.
    Live,
    /// How it ended.
    Ended(StepEnd),
}

/// Where a step stands, for those outside its workflow who name its task.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It has not ended.
    Live,
    /// How it ended.
    Ended(StepEnd),
    /// It succeeded, and its result is not kept.
    Dropped,
}

impl From<&StepRecord> for Standing {
    fn from(step: &StepRecord) -> Self {
        match step.end() {
            None => Self::Live,
            Some(StepEnd { state: StepState::Succeeded, data: None, .. }) => Self::Dropped,
            Some(end) => Self::Ended(end),
        }
    }
}

impl Known {
    /// The task is a step's that stands so: what waits for it waits for the step, which may end otherwise than its
    /// task. A result that is gone here may still be known elsewhere.
    pub fn correct(&mut self, standing: Standing) {
        match standing {
            Standing::Live => *self = Self::Live,
            Standing::Ended(end) => *self = Self::Ended(end),
            Standing::Dropped => {}
        }
    }
}

/// What a workflow is checked against.
pub struct Outside<'a> {
    /// What the engine knows of a task.
    pub known: &'a dyn Fn(TaskId) -> Known,
    /// What there is in the engine for tasks that run at one time.
    pub capacity: &'a Capacity,
}

/// A step, or one instance of a mapped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The step's number in the graph.
    pub step: u32,
    /// Which element it is for.
    pub instance: Option<u32>,
}

/// What should happen.
#[derive(Debug)]
pub enum Action {
    /// Run this when there is room for it; the rules of the step say what it needs. Its task is
    /// [handed over](super::Graph::hand_over) then.
    Submit(Place),
    /// End this as soon as possible, and report how it ended.
    Cancel(Place),
    /// Tell who watches that a step is in another state now.
    Changed {
        /// The step.
        step: u32,
        /// Its state.
        state: StepState,
    },
    /// A step that is [wanted](super::Graph::want) has ended.
    Ended {
        /// The step.
        step: u32,
        /// Its task.
        task: TaskId,
        /// How. Hardly ever there: in its own piece of memory, it does not widen all the others.
        end: Box<StepEnd>,
    },
    /// Every step has ended: take the [record](super::Graph::record).
    Finished,
}

/// How something that was submitted ended.
#[derive(Debug)]
pub struct Ended {
    /// Its outcome.
    pub outcome: Outcome,
    /// How many attempts it took.
    pub attempts: u32,
    /// When its last attempt started, if it did.
    pub started: Option<Tick>,
}

impl Ended {
    /// Of something that was taken back before any attempt.
    #[must_use]
    pub fn unbegun(outcome: Outcome) -> Self {
        Self { outcome, attempts: 0, started: None }
    }
}

/// After one attempt.
impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, attempts: 1, started: None }
    }
}

/// Why no more steps are begun.
#[derive(Clone, Debug)]
pub(super) enum Halt {
    /// A step failed and the workflow stops then.
    Stopped(Arc<Causes>),
    /// The workflow was cancelled.
    Cancelled,
}

impl Halt {
    pub(super) fn error(&self) -> StepError {
        match self {
            Self::Stopped(causes) => StepError::Stopped(causes.clone()),
            Self::Cancelled => StepError::Cancelled,
        }
    }
}
