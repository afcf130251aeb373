//! Workflows as data: steps, their dependencies, their rules, and how they end.
//!
//! A workflow is a graph of tasks. A [`Step`] is a task with its dependencies. Its [`Rules`] say what it does when they
//! end, and its task says what it uses while it runs. `policy/graph` checks and runs the graph.

mod build;
mod condition;
mod error;
mod path;
mod record;
mod report;
mod template;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::build::WorkflowBuilder;
pub use self::condition::{Condition, Op, Test};
pub use self::error::GraphError;
pub use self::path::{JsonPath, PathError, Segment};
pub use self::record::{
    CriticalPath, InstanceCounts, RootCause, RootCauses, StepCounts, StepError, StepOutcome, StepRecord, StepState,
    WorkflowRecord, WorkflowState,
};
pub use self::template::{Piece, Reference, Template, TemplateError, TemplateWriter};
use super::ids::TaskId;
pub use super::limits::{Capacity, Concurrency, Fixed, Memory, Needs, Rate, Shortfall};
use super::task::Task;

/// The identity of a workflow: a UUID of version 7, made by the submitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(pub Uuid);

impl WorkflowId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(super::fresh_uuid())
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens to the other steps when a step fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// All steps that still can run.
    #[default]
    Continue,
    /// Steps that have not started are cancelled. Running steps finish.
    Stop,
    /// Steps that have not started and running steps are cancelled.
    StopRunning,
}

/// What happens to a step whose needs can never be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnImpossible {
    /// The workflow is refused.
    #[default]
    Refuse,
    /// The step is cancelled before anything starts. The others run.
    Cancel,
}

/// The keys of a step's dependencies in `params["upstream_results"]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKeys {
    /// Task ids, and also names for steps that have one.
    #[default]
    Both,
    /// Names, or task ids for steps without a name.
    Names,
    /// Task ids.
    Ids,
}

/// The bounds of one workflow (L9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowBounds {
    /// The number of steps, with those that are added while it runs.
    pub steps: usize,
    /// The number of all dependencies.
    pub edges: usize,
    /// The elements of a list that a step is mapped over.
    pub elements: usize,
    /// The number of steps that dynamic steps may add, all together.
    pub added: usize,
    /// The bytes of results that only the record needs.
    pub kept_bytes: usize,
}

impl Default for WorkflowBounds {
    fn default() -> Self {
        Self { steps: 200_000, edges: 2_000_000, elements: 100_000, added: 10_000, kept_bytes: 256 << 20 }
    }
}

/// A workflow as it is submitted, with steps in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkflowSpec {
    /// The name of the workflow, for people.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// What happens to the other steps when a step fails.
    pub on_failure: OnFailure,
    /// What happens to a step whose needs can never be met.
    pub on_impossible: OnImpossible,
    /// The keys of `params["upstream_results"]`.
    pub upstream: UpstreamKeys,
    /// The capacity that its steps share, within that of the engine.
    pub capacity: Capacity,
    /// The bounds.
    pub bounds: WorkflowBounds,
}

/// A dependency of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    /// A step of the same workflow, by name.
    Step(Arc<str>),
    /// A task by id: a step of the same workflow, or any task that the engine knows.
    Task(TaskId),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(name) => name.fmt(f),
            Self::Task(id) => id.fmt(f),
        }
    }
}

impl From<&str> for Dependency {
    fn from(name: &str) -> Self {
        Self::Step(name.into())
    }
}

impl From<TaskId> for Dependency {
    fn from(id: TaskId) -> Self {
        Self::Task(id)
    }
}

/// Which outcomes of its dependencies let a step run. The decision waits until all of them have ended. Only under
/// [`AllSucceeded`](Self::AllSucceeded), a failure decides at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunIf {
    /// All dependencies succeeded. If one failed, the step fails. If none failed and one was skipped, the step is
    /// skipped.
    #[default]
    AllSucceeded,
    /// At least one dependency succeeded. If none succeeded, the step fails if one failed, and is skipped otherwise.
    AnySucceeded,
    /// All dependencies ended, in any state.
    AllDone,
    /// At least one dependency failed, timed out, was cancelled, expired, was lost, or failed because of its own
    /// dependencies. If none did, the step is skipped.
    AnyFailed,
}

/// The number of instances that must succeed for a mapped step to succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enough {
    /// All instances. The first failure ends the others.
    #[default]
    All,
    /// At least one instance.
    Any,
    /// At least this number of instances.
    AtLeast(usize),
}

/// Runs one instance of a step for each element of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapOver {
    /// The list: a step's result, or a part of it.
    pub list: Reference,
    /// The parameter that gets the element. `<name>_index` gets its index.
    pub name: Arc<str>,
    /// The most instances that run at the same time; `None`: no limit of its own.
    pub max_parallel: Option<u32>,
    /// The number of instances that must succeed.
    pub enough: Enough,
}

impl MapOver {
    /// Maps over all elements of a list, in the parameter `item`. The number of parallel instances has no limit of its
    /// own, and all instances must succeed.
    #[must_use]
    pub fn new(list: Reference) -> Self {
        Self { list, name: "item".into(), max_parallel: None, enough: Enough::All }
    }
}

/// What a step asks for beyond its task and its dependencies. Most steps ask for nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Which outcomes of its dependencies let it run.
    pub run_if: RunIf,
    /// The condition for it to run. Otherwise it is skipped.
    #[serde(with = "condition::as_json")]
    pub when: Option<Condition>,
    /// The list that the step is mapped over.
    pub map_over: Option<MapOver>,
    /// Parameters with references, which replace the task's own.
    pub params: Option<Arc<Template>>,
    /// For a function: the values of the placeholders in its arguments, in their order.
    pub inputs: Vec<Reference>,
    /// Whether its result may add steps that depend on it.
    pub dynamic: bool,
    /// Whether the record keeps its result.
    pub keep_result: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            run_if: RunIf::AllSucceeded,
            when: None,
            map_over: None,
            params: None,
            inputs: Vec::new(),
            dynamic: false,
            keep_result: true,
        }
    }
}

static NOTHING_SPECIAL: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(Rules::default);

/// A task with its place in a workflow.
///
/// ```
/// # use axion_actors::model::{Task, workflow::{Reference, RunIf, Step}};
/// let load = Step::new("load", Task::script("load.py")).after("extract").run_if(RunIf::AllDone);
/// assert_eq!(load.title(), "load");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    name: Option<Arc<str>>,
    task: Task,
    depends_on: Vec<Dependency>,
    rules: Option<Box<Rules>>,
}

impl Step {
    /// A step with a name, which is unique in the workflow.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, task: Task) -> Self {
        Self { name: Some(name.into()), task, depends_on: Vec::new(), rules: None }
    }

    /// A step without a name. Others refer to it by the id of its task.
    #[must_use]
    pub fn unnamed(task: Task) -> Self {
        Self { name: None, task, depends_on: Vec::new(), rules: None }
    }

    /// Changes its task.
    #[must_use]
    pub fn with_task(mut self, change: impl FnOnce(Task) -> Task) -> Self {
        self.task = change(self.task);
        self
    }

    /// Adds a dependency.
    #[must_use]
    pub fn after(mut self, dependency: impl Into<Dependency>) -> Self {
        self.depends_on.push(dependency.into());
        self
    }

    /// Sets the ends of the dependencies that let the step run.
    #[must_use]
    pub fn run_if(mut self, rule: RunIf) -> Self {
        self.rules_mut().run_if = rule;
        self
    }

    /// Sets the condition for the step to run. The steps that it names become dependencies.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.rules_mut().when = Some(condition);
        self
    }

    /// Runs the step once for each element of a list. The step with the list becomes a dependency.
    #[must_use]
    pub fn map_over(mut self, map: MapOver) -> Self {
        self.rules_mut().map_over = Some(map);
        self
    }

    /// Sets parameters with references. The steps that they name become dependencies.
    #[must_use]
    pub fn params(mut self, template: Template) -> Self {
        self.rules_mut().params = Some(Arc::new(template));
        self
    }

    /// Sets the values of the placeholders in the arguments of a function, in their order. The steps that they name become
    /// dependencies. `docs/internals/wire-protocol.md`, "Functions", describes placeholders.
    #[must_use]
    pub fn inputs(mut self, inputs: Vec<Reference>) -> Self {
        self.rules_mut().inputs = inputs;
        self
    }

    /// Lets its result add steps that depend on it.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.rules_mut().dynamic = true;
        self
    }

    /// Sets the resources that the task uses while it runs.
    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.task = self.task.needs(needs);
        self
    }

    /// Limits the number of tasks that run at the same time with the same key.
    #[must_use]
    pub fn concurrency(mut self, limit: Concurrency) -> Self {
        self.task = self.task.concurrency(limit);
        self
    }

    /// Limits the number of starts per time with the same key.
    #[must_use]
    pub fn rate(mut self, limit: Rate) -> Self {
        self.task = self.task.rate(limit);
        self
    }

    /// Leaves its result out of the record. It is freed when the last step that needs it has read it.
    #[must_use]
    pub fn forget_result(mut self) -> Self {
        self.rules_mut().keep_result = false;
        self
    }

    /// Sets all rules.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = (rules != Rules::default()).then(|| Box::new(rules));
        self
    }

    fn rules_mut(&mut self) -> &mut Rules {
        self.rules.get_or_insert_default()
    }

    /// The name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The name, or the task's id if it has none.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.task.id().to_string(), ToString::to_string)
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Shares the script or function of another task, if it is the same.
    pub(crate) fn share_work_of(&mut self, other: &Task) {
        self.task.share_work_of(other);
    }

    /// Replaces the task.
    pub fn set_task(&mut self, task: Task) {
        self.task = task;
    }

    /// Its named dependencies. References add to these.
    #[must_use]
    pub fn depends_on(&self) -> &[Dependency] {
        &self.depends_on
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        self.rules.as_deref().unwrap_or(&NOTHING_SPECIAL)
    }

    /// All its references: in parameters or arguments, in the condition, and in `map_over`.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let rules = self.rules();
        let params = rules.params.iter().flat_map(|template| template.references());
        let when = rules.when.iter().flat_map(|condition| condition.references());
        params.chain(&rules.inputs).chain(when).chain(rules.map_over.iter().map(|map| &map.list))
    }

    /// Its parts, for the graph.
    #[must_use]
    pub fn into_parts(self) -> (Option<Arc<str>>, Task, Option<Box<Rules>>) {
        (self.name, self.task, self.rules)
    }
}
