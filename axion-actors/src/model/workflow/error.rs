//! What can be wrong with a workflow before it starts.

use crate::model::{Shortfall, TaskId};

/// One thing that is wrong with a workflow. `at` is the place of the step in the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// There are no steps.
    #[error("a workflow needs at least one step")]
    Empty,
    /// More steps than a workflow may have.
    #[error("{count} steps are more than the {limit} a workflow may have")]
    TooManySteps {
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// More steps were added than may be.
    #[error("{count} added steps are more than the {limit} a workflow may add")]
    TooManyAdded {
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// More dependencies than a workflow may have.
    #[error("{count} dependencies are more than the {limit} a workflow may have")]
    TooManyEdges {
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// A name that cannot be one.
    #[error("step {at} cannot be called {name:?}: a name has 1 to 200 characters, none of them a control character")]
    BadName {
        /// The step.
        at: usize,
        /// Its name.
        name: String,
    },
    /// Two steps of one name.
    #[error("the steps {first} and {at} are both called {name}")]
    DuplicateName {
        /// The later one.
        at: usize,
        /// The earlier one.
        first: usize,
        /// Their name.
        name: String,
    },
    /// Two steps whose names only look the same.
    #[error("the steps {other} and {name} differ in upper and lower case only: that is too easily confused")]
    SimilarName {
        /// The later one.
        at: usize,
        /// Its name.
        name: String,
        /// The earlier one's.
        other: String,
    },
    /// Two steps with the same task, or a task that the engine knows already.
    #[error("the task {task} of step {step} is known already: make a new one")]
    DuplicateTask {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// The task.
        task: TaskId,
    },
    /// A dependency or reference to a step that does not exist.
    #[error("{step} waits for the step {missing}, and there is none{}", hint(.nearest.as_deref()))]
    UnknownStep {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// The name it uses.
        missing: String,
        /// A name that differs in case only.
        nearest: Option<String>,
    },
    /// A dependency on a task that the engine does not know.
    #[error("{step} waits for the task {missing}, which the engine does not know")]
    UnknownTask {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// The task.
        missing: TaskId,
    },
    /// A step that waits for itself.
    #[error("{step} waits for itself")]
    SelfReference {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
    },
    /// Steps that wait for each other.
    #[error("{} steps wait for each other: {}", .path.len(), circle(.path))]
    Cycle {
        /// The first step of the path in the list.
        at: usize,
        /// Their names: each waits for the one before, and the first for the last.
        path: Vec<String>,
    },
    /// Parameters that have no room for results.
    #[error("the parameters of {step} must be an object, so that results can be added to them")]
    ParamsNotObject {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
    },
    /// A condition that is nested too deeply.
    #[error("the condition of {step} is nested {depth} deep; {limit} is the limit")]
    ConditionTooDeep {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// How deep.
        depth: usize,
        /// How deep it may be.
        limit: usize,
    },
    /// A number that must be above 0.
    #[error("{what} of {step} must be at least 1")]
    Zero {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// What.
        what: &'static str,
    },
    /// A step that can never run.
    #[error("{step} runs if a dependency failed, and has none")]
    NothingCanFail {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
    },
    /// A need that can never be met.
    #[error("{step} can never run: {shortfall}")]
    Impossible {
        /// The step.
        at: usize,
        /// Its name.
        step: String,
        /// What is missing.
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
    /// A stable code.
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

    /// The step it speaks of, by its place in the list.
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
