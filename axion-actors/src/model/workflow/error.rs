//! Errors in a workflow that are found before it starts.

use crate::model::{Shortfall, TaskId};

/// One error in a workflow. `at` is the index of the step in the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The workflow has no steps.
    #[error("a workflow needs at least one step")]
    Empty,
    /// The workflow has too many steps.
    #[error("{count} steps are more than the {limit} a workflow may have")]
    TooManySteps {
        /// The number of steps.
        count: usize,
        /// The maximum.
        limit: usize,
    },
    /// Steps added too many steps.
    #[error("{count} added steps are more than the {limit} a workflow may add")]
    TooManyAdded {
        /// The number of added steps.
        count: usize,
        /// The maximum.
        limit: usize,
    },
    /// The workflow has too many dependencies.
    #[error("{count} dependencies are more than the {limit} a workflow may have")]
    TooManyEdges {
        /// The number of dependencies.
        count: usize,
        /// The maximum.
        limit: usize,
    },
    /// An invalid name.
    #[error("step {at} has the invalid name {name:?}: expected 1 to 200 characters, without control characters")]
    BadName {
        /// The step.
        at: usize,
        /// The name.
        name: String,
    },
    /// Two steps have the same name.
    #[error("two steps are called {name}: rename one of them")]
    DuplicateName {
        /// The later one.
        at: usize,
        /// The earlier one.
        first: usize,
        /// The name.
        name: String,
    },
    /// Two names differ only in upper and lower case.
    #[error("the steps {other} and {name} differ only in upper and lower case: rename one of them")]
    SimilarName {
        /// The later one.
        at: usize,
        /// The later name.
        name: String,
        /// The earlier name.
        other: String,
    },
    /// Two steps have the same task, or the engine already knows the task.
    #[error("the task {task} of step {step} is already known: create a new task")]
    DuplicateTask {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The task.
        task: TaskId,
    },
    /// A dependency or reference names a step that does not exist.
    #[error("{step} waits for the step {missing}, and there is none{}", hint(.nearest.as_deref()))]
    UnknownStep {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The missing name.
        missing: String,
        /// A name that differs only in case.
        nearest: Option<String>,
    },
    /// A dependency names a task that the engine does not know.
    #[error("{step} waits for the task {missing}, which the engine does not know")]
    UnknownTask {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The missing task.
        missing: TaskId,
    },
    /// A step depends on itself.
    #[error("{step} waits for itself")]
    SelfReference {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
    },
    /// Steps depend on each other in a cycle.
    #[error("{} steps wait for each other: {}", .path.len(), circle(.path))]
    Cycle {
        /// The first step of the cycle in the list.
        at: usize,
        /// The steps' names: each depends on the previous one, and the first on the last.
        path: Vec<String>,
    },
    /// The parameters are not an object, so results cannot be added.
    #[error("the parameters of {step} must be an object, so that results can be added to them")]
    ParamsNotObject {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
    },
    /// A condition is nested too deeply.
    #[error("the condition of {step} is nested {depth} levels deep, and the limit is {limit}")]
    ConditionTooDeep {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The depth.
        depth: usize,
        /// The maximum depth.
        limit: usize,
    },
    /// A number is 0 but must be at least 1.
    #[error("{what} of {step} must be at least 1")]
    Zero {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The name of the number.
        what: &'static str,
    },
    /// A step that runs only after a failed dependency has no dependency.
    #[error("{step} runs only if a dependency fails, but it has no dependency")]
    NothingCanFail {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
    },
    /// The needs of a step exceed the capacity.
    #[error("{step} can never run: {shortfall}")]
    Impossible {
        /// The step.
        at: usize,
        /// The step's name.
        step: String,
        /// The missing resources.
        shortfall: Shortfall,
    },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}

fn circle(path: &[String]) -> String {
    let first = path.first().map_or("", String::as_str);
    format!("{} → {first}", path.join(" → "))
}

impl GraphError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_workflow",
            Self::TooManySteps { .. } | Self::TooManyAdded { .. } => "too_many_steps",
            Self::TooManyEdges { .. } => "too_many_dependencies",
            Self::BadName { .. } => "bad_name",
            Self::DuplicateName { .. } | Self::SimilarName { .. } => "duplicate_name",
            Self::DuplicateTask { .. } => "duplicate_task",
            Self::UnknownStep { .. } | Self::UnknownTask { .. } => "unknown_dependency",
            Self::SelfReference { .. } | Self::Cycle { .. } => "circular_dependency",
            Self::ParamsNotObject { .. } => "params_not_an_object",
            Self::ConditionTooDeep { .. } => "condition_too_deep",
            Self::Zero { .. } => "out_of_range",
            Self::NothingCanFail { .. } => "never_runs",
            Self::Impossible { .. } => "needs_impossible",
        }
    }

    /// The index of the affected step in the list.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::TooManySteps { .. } | Self::TooManyAdded { .. } | Self::TooManyEdges { .. } => None,
            Self::BadName { at, .. }
            | Self::DuplicateName { at, .. }
            | Self::SimilarName { at, .. }
            | Self::DuplicateTask { at, .. }
            | Self::UnknownStep { at, .. }
            | Self::UnknownTask { at, .. }
            | Self::SelfReference { at, .. }
            | Self::Cycle { at, .. }
            | Self::ParamsNotObject { at, .. }
            | Self::ConditionTooDeep { at, .. }
            | Self::Zero { at, .. }
            | Self::NothingCanFail { at, .. }
            | Self::Impossible { at, .. } => Some(*at),
        }
    }
}
