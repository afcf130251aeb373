//! The states and records of steps and workflows.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::WorkflowId;
use super::template::Reference;
use crate::model::{
    Attempt, Data, ErrorKind, Json, Outcome, Pickle, PoolId, Shortfall, TaskError, TaskId, TaskRecord, Timings,
    WorkName,
};

/// The state of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepState {
    /// It waits for its dependencies.
    #[default]
    Waiting,
    /// It can run and waits for room.
    Ready,
    /// An attempt, or an attempt of an instance, started.
    Running,
    /// It succeeded.
    Succeeded,
    /// The step ran and failed, or could not be run.
    Failed,
    /// The step reached its time limit.
    TimedOut,
    /// It was cancelled: on request, by the rule of the workflow, or because its needs can never be met.
    Cancelled,
    /// The step was not started within its ttl.
    Expired,
    /// Its worker crashed each time it ran.
    Lost,
    /// Its condition was false, or a dependency was skipped.
    Skipped,
    /// A dependency did not succeed.
    DependencyFailed,
}

impl StepState {
    /// All states, in the order of their indices.
    pub const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Ready,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Expired,
        Self::Lost,
        Self::Skipped,
        Self::DependencyFailed,
    ];

    /// Whether the state is final.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= Self::Succeeded
    }

    /// Whether the state is final, and neither succeeded nor skipped.
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.is_final() && !matches!(self, Self::Succeeded | Self::Skipped)
    }

    /// The name of the task outcome for this state, as [`StepOutcome::into_outcome`] maps it.
    #[must_use]
    pub fn outcome_name(self) -> &'static str {
        match self {
            Self::DependencyFailed => Self::Failed.name(),
            Self::Skipped => Self::Cancelled.name(),
            other => other.name(),
        }
    }

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Skipped => "skipped",
            Self::DependencyFailed => "dependency_failed",
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A step or task that failed by itself, not because of a dependency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCause {
    /// The step's name, or its task's id if it has none.
    pub step: String,
    /// The task.
    pub task: TaskId,
    /// The final state.
    pub state: StepState,
}

/// The root causes of a failure: the steps that failed by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootCauses {
    /// The first of them, up to [`RootCauses::NAMED`].
    pub steps: Vec<RootCause>,
    /// The number of others, at least (L9).
    pub more: usize,
}

impl RootCauses {
    /// The most causes that are named.
    pub const NAMED: usize = 8;
}

impl fmt::Display for RootCauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, blame) in self.steps.iter().enumerate() {
            write!(f, "{}{} ({})", if place == 0 { "" } else { ", " }, blame.step, blame.state)?;
        }
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

/// Why a step failed or did not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(remote = "Self")]
#[non_exhaustive]
pub enum StepError {
    /// Its task failed.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// A dependency failed.
    #[error("not run because a dependency failed: {0}")]
    DependencyFailed(Arc<RootCauses>),
    /// A reference points to a value that does not exist.
    #[error("{reference} cannot be resolved: {place} is {found}")]
    Unresolved {
        /// The reference.
        reference: Box<Reference>,
        /// The part of the path that exists.
        place: String,
        /// The value at that place.
        found: String,
    },
    /// A reference to a step without a result.
    #[error("{reference} cannot be resolved: the step ended as {state} and has no result")]
    NoResult {
        /// The reference.
        reference: Box<Reference>,
        /// The final state of that step.
        state: StepState,
    },
    /// The step reads a result that has no JSON form.
    #[error("{reference} cannot be read: the result is {found}, which only a function can take, and only whole")]
    NotPlain {
        /// The reference, or the step whose result a script reads.
        reference: String,
        /// A description of the result.
        found: String,
    },
    /// A condition compares values that have no order.
    #[error("the condition {test} cannot be decided: {found}")]
    Incomparable {
        /// The test.
        test: String,
        /// The value that was found.
        found: String,
    },
    /// The value that the step is mapped over is not a list.
    #[error("map_over needs a list, but {reference} is {found}")]
    NotAList {
        /// The reference.
        reference: Box<Reference>,
        /// A description of the value.
        found: String,
    },
    /// The list that the step is mapped over is too long.
    #[error(
        "map_over takes lists of up to {limit} elements, but {reference} has {count}: map over larger pieces, or raise \
         `limits.elements` of the workflow (`WorkflowBounds::elements` in Rust)"
    )]
    TooManyElements {
        /// The reference.
        reference: Box<Reference>,
        /// The number of elements.
        count: usize,
        /// The maximum number of elements.
        limit: usize,
    },
    /// Too few instances of a mapped step succeeded.
    #[error("{succeeded} of {total} instances succeeded, but {needed} must succeed; the first failure is {first}")]
    NotEnough {
        /// The number of instances that had succeeded when the failure was certain.
        succeeded: usize,
        /// The number of instances that must succeed.
        needed: usize,
        /// The number of instances.
        total: usize,
        /// The index of the first instance that failed, and its error; `none` for an empty list.
        first: String,
    },
    /// The needs of the step exceed the capacity.
    #[error("cancelled before anything started: {0}")]
    Impossible(Shortfall),
    /// The workflow stopped after a failure.
    #[error("cancelled because the workflow stops at a failure: {0}")]
    Stopped(Arc<RootCauses>),
    /// The workflow was cancelled.
    #[error("the workflow was cancelled")]
    Cancelled,
    /// The steps that the step returned cannot be added.
    #[error("the steps it returned cannot be added: {}", .0.join("; "))]
    NotAdded(Vec<String>),
}

impl StepError {
    /// The error kind. A task's error has its own.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Task(error) => error.kind,
            Self::DependencyFailed(_) => ErrorKind::DependencyFailed,
            Self::Unresolved { .. } | Self::NoResult { .. } => ErrorKind::ReferenceUnresolved,
            Self::NotPlain { .. } => ErrorKind::ResultNotPlain,
            Self::Incomparable { .. } => ErrorKind::ConditionUndecidable,
            Self::NotAList { .. } => ErrorKind::MapNotAList,
            Self::TooManyElements { .. } => ErrorKind::MapTooLong,
            Self::NotEnough { .. } => ErrorKind::MapNotEnough,
            Self::Impossible(_) => ErrorKind::NeedsImpossible,
            Self::Stopped(_) => ErrorKind::WorkflowStopped,
            Self::Cancelled => ErrorKind::WorkflowCancelled,
            Self::NotAdded(_) => ErrorKind::StepsNotAdded,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> String {
        self.kind().to_string()
    }
}

impl From<StepError> for Box<TaskError> {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Task(error) => error,
            other => Self::new(TaskError::new(other.kind(), other.to_string())),
        }
    }
}

/// How a step or a task ended, for its dependents.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// The final state.
    pub state: StepState,
    /// Its result, if it succeeded and the result is retained.
    pub data: Option<Data>,
    /// Why it failed or did not run.
    pub error: Option<StepError>,
}

impl From<Outcome> for StepOutcome {
    fn from(outcome: Outcome) -> Self {
        let (state, error) = match outcome {
            Outcome::Succeeded(data) => {
                return Self { state: StepState::Succeeded, data: Some(data), error: None };
            }
            Outcome::Failed(error) => (StepState::Failed, error),
            Outcome::TimedOut(error) => (StepState::TimedOut, error),
            Outcome::Cancelled(error) => (StepState::Cancelled, error),
            Outcome::Expired(error) => (StepState::Expired, error),
            Outcome::Lost(error) => (StepState::Lost, error),
        };
        Self { state, data: None, error: Some(StepError::Task(error)) }
    }
}

impl StepOutcome {
    /// The outcome of a task: a skipped step counts as cancelled, and one with a failed dependency as failed. `None` if the
    /// step has not ended, or if its result is not retained.
    #[must_use]
    pub fn into_outcome(self) -> Option<Outcome> {
        let error = match self.error {
            Some(error) => error.into(),
            None => Box::new(TaskError::new(
                ErrorKind::Skipped,
                "skipped: its condition was not met, or a dependency was skipped",
            )),
        };
        match self.state {
            StepState::Waiting | StepState::Ready | StepState::Running => None,
            StepState::Succeeded => self.data.map(Outcome::Succeeded),
            StepState::Failed | StepState::DependencyFailed => Some(Outcome::Failed(error)),
            StepState::TimedOut => Some(Outcome::TimedOut(error)),
            StepState::Cancelled | StepState::Skipped => Some(Outcome::Cancelled(error)),
            StepState::Expired => Some(Outcome::Expired(error)),
            StepState::Lost => Some(Outcome::Lost(error)),
        }
    }
}

/// The counts of the instances of a mapped step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCounts {
    /// The number of elements of the list.
    pub total: usize,
    /// The number of instances that were handed over or have started.
    pub begun: usize,
    /// The number of instances that succeeded.
    pub succeeded: usize,
    /// The number of instances that ended in another way.
    pub failed: usize,
}

/// The record of a step, which may not have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct StepRecord {
    /// The name, if it has one.
    pub name: Option<Arc<str>>,
    /// The task. The instances of a mapped step have [their own tasks](TaskId::instance).
    pub task: TaskId,
    /// The script or function.
    pub work: WorkName,
    /// The pool.
    pub pool: PoolId,
    /// Whether no other step depends on it.
    pub last: bool,
    /// Its state.
    pub state: StepState,
    /// The number of attempts, with those of all instances.
    pub attempts: u32,
    /// The time when its dependencies let it run.
    pub ready: Option<Timestamp>,
    /// The time when its first attempt started; of a mapped step, the first attempt of its first instance.
    pub started: Option<Timestamp>,
    /// The time when its end was known.
    pub finished: Option<Timestamp>,
    /// The JSON result, if it is kept.
    #[serde(with = "crate::model::raw::optional")]
    pub data: Option<Json>,
    /// The pickled result of a function, if it is kept and not plain data.
    #[serde(with = "crate::model::raw::optional")]
    pub pickle: Option<Box<Pickle>>,
    /// Whether the result was dropped: by the rules of the step, or for the bound on kept bytes.
    pub data_dropped: bool,
    /// Why it failed or did not run.
    pub error: Option<Box<StepError>>,
    /// The counts of instances, if the step is mapped.
    pub instances: Option<Box<InstanceCounts>>,
}

impl StepRecord {
    /// The end of the step, for the steps that depend on it; `None` if it has not ended.
    #[must_use]
    pub fn outcome(&self) -> Option<StepOutcome> {
        let data = || self.pickle.as_deref().cloned().map(Data::from).or_else(|| self.data.clone().map(Data::from));
        let end = || StepOutcome { state: self.state, data: data(), error: self.error.as_deref().cloned() };
        self.state.is_final().then(end)
    }

    /// The record of a task with the same end, in a workflow that was submitted at `submitted`. `None` in the same
    /// cases as [`StepOutcome::into_outcome`].
    #[must_use]
    pub fn into_task_record(self, submitted: Timestamp) -> Option<TaskRecord> {
        let data = self.pickle.map(|pickle| Data::from(*pickle)).or_else(|| self.data.map(Data::from));
        let error = self.error.map(|error| *error);
        let outcome = StepOutcome { state: self.state, data, error }.into_outcome()?;
        Some(TaskRecord {
            id: self.task,
            work: self.work,
            pool: self.pool,
            outcome,
            attempt: (self.attempts > 0).then_some(Attempt(self.attempts)),
            worker: None,
            timings: Timings { submitted, started: self.started, finished: self.finished? },
            output: None,
            retries: 0,
            worker_losses: 0,
            earlier: Vec::new(),
            earlier_left_out: 0,
        })
    }
}

/// The state of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkflowState {
    /// Some step has not ended.
    Running,
    /// All steps succeeded or were skipped.
    Succeeded,
    /// At least one step failed.
    Failed,
    /// The workflow was cancelled.
    Cancelled,
}

impl WorkflowState {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for WorkflowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of steps in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts(pub [usize; StepState::ALL.len()]);

impl StepCounts {
    /// The number of steps in this state.
    #[must_use]
    pub fn of(&self, state: StepState) -> usize {
        self.0[state as usize]
    }
}

/// The chain of dependencies with the longest run time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CriticalPath {
    /// The steps' names, or their tasks' ids, first to last.
    pub steps: Vec<String>,
    /// The total run time, in seconds.
    pub seconds: f64,
}

/// The record of a workflow, which may not have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkflowRecord {
    /// The id.
    pub id: WorkflowId,
    /// The name for people.
    pub name: String,
    /// Its state.
    pub state: WorkflowState,
    /// The time of submission.
    pub submitted: Timestamp,
    /// The time when the last step ended.
    pub finished: Option<Timestamp>,
    /// The number of steps in each state.
    pub counts: StepCounts,
    /// The steps in the order of the specification, then the added ones.
    pub steps: Vec<StepRecord>,
    /// The critical path.
    pub critical_path: CriticalPath,
}

impl WorkflowRecord {
    /// The approximate size in memory, in bytes, for the bound on retained records (L9).
    #[must_use]
    pub fn weight(&self) -> usize {
        let step = |step: &StepRecord| {
            let json = || step.data.as_ref().map_or(0, |data| data.0.len());
            // The JSON form of a pickle shares the pickle's bytes.
            let data = step.pickle.as_ref().map_or_else(json, |pickle| size_of::<Pickle>() + pickle.0.len());
            let error = step.error.as_deref().map_or(0, |error| {
                let task = if let StepError::Task(error) = error { error.weight() } else { 0 };
                size_of::<StepError>() + task
            });
            let instances = step.instances.as_ref().map_or(0, |_| size_of::<InstanceCounts>());
            size_of::<StepRecord>() + data + error + instances
        };
        size_of::<Self>() + self.name.len() + self.steps.iter().map(step).sum::<usize>()
    }
}
