//! Workflows as data: steps, what they wait for, what they need, and how they may end.
//!
//! A workflow is a graph of tasks. A [`Step`] is a task with its place in that graph; what a step
//! does when its dependencies end is said by its [`Rules`]; what it may use while it runs, its task says. How a graph
//! is checked and walked is the business of `policy/graph`.

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

/// A workflow's identity: a UUID of version 7, made by whoever submits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(pub Uuid);

impl WorkflowId {
    /// A new id.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What becomes of the rest when a step has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Everything that still can runs.
    #[default]
    Continue,
    /// What has not started is cancelled; what runs goes on to its end.
    Stop,
    /// What has not started and what runs is cancelled.
    StopRunning,
}

/// What becomes of a step whose needs can never be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnImpossible {
    /// The whole workflow is refused.
    #[default]
    Refuse,
    /// That step is cancelled before anything starts, and the others run.
    Cancel,
}

/// Under which names a step finds its dependencies' results in `params["upstream_results"]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKeys {
    /// By task id, and by name too where the step has one.
    #[default]
    Both,
    /// By name where the step has one, else by id.
    Names,
    /// By task id.
    Ids,
}

/// What keeps one workflow within bounds (L9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowBounds {
    /// Steps, with those that are added while it runs.
    pub steps: usize,
    /// Dependencies, all together.
    pub edges: usize,
    /// Elements of one list that a step is mapped over.
    pub elements: usize,
    /// Steps that steps may add, all together.
    pub added: usize,
    /// Bytes of results that are kept for the record alone, beyond what steps still wait for.
    pub kept_bytes: usize,
}

impl Default for WorkflowBounds {
    fn default() -> Self {
        Self { steps: 200_000, edges: 2_000_000, elements: 100_000, added: 10_000, kept_bytes: 256 << 20 }
    }
}

/// A workflow as it is submitted. Steps may be in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkflowSpec {
    /// What people call it.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// What becomes of the rest when a step has failed.
    pub on_failure: OnFailure,
    /// What becomes of a step whose needs can never be met.
    pub on_impossible: OnImpossible,
    /// The keys of `params["upstream_results"]`.
    pub upstream: UpstreamKeys,
    /// What its steps may use at one time, on top of what the engine allows.
    pub capacity: Capacity,
    /// Its bounds.
    pub bounds: WorkflowBounds,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependency {
    /// A step of the same workflow, by its name.
    Step(Arc<str>),
    /// A task by its id: a step of the same workflow, or any task the engine knows.
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

/// Which ends of its dependencies let a step run. It is decided when all of them have ended; only a
/// failure under [`AllSucceeded`](Self::AllSucceeded) is decided at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunIf {
    /// All succeeded. If one failed, so does this; else if one was skipped, so is this.
    #[default]
    AllSucceeded,
    /// At least one succeeded. If none did: failed if one failed, else skipped.
    AnySucceeded,
    /// In any case.
    AllDone,
    /// At least one failed, timed out, was cancelled, expired, was lost, or failed because of its
    /// own dependencies. If none did: skipped.
    AnyFailed,
}

/// How many instances of a mapped step must succeed for it to succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enough {
    /// All. The first failure ends the others.
    #[default]
    All,
    /// At least one.
    Any,
    /// At least so many.
    AtLeast(usize),
}

/// One instance of a step for each element of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapOver {
    /// The list: a step's result, or a part of it.
    pub list: Reference,
    /// The parameter that carries the element; its place is in `<name>_index`.
    pub name: Arc<str>,
    /// At most so many instances run at one time; `None`: as many as there is room for.
    pub max_parallel: Option<u32>,
    /// How many must succeed.
    pub enough: Enough,
}

impl MapOver {
    /// All elements of a list, in the parameter `item`, without a limit of its own; all must
    /// succeed.
    #[must_use]
    pub fn new(list: Reference) -> Self {
        Self { list, name: "item".into(), max_parallel: None, enough: Enough::All }
    }
}

/// What a step asks for beyond its task and its dependencies. Most ask for nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Which ends of its dependencies let it run.
    pub run_if: RunIf,
    /// Must hold for it to run; else it is skipped.
    #[serde(with = "condition::as_json")]
    pub when: Option<Condition>,
    /// One instance per element.
    pub map_over: Option<MapOver>,
    /// Parameters with references in them; they take the place of the task's own.
    pub params: Option<Arc<Template>>,
    /// Of a function: what fills the holes in its arguments, in their order.
    pub inputs: Vec<Reference>,
    /// Whether its result may name further steps to add below it.
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
    /// A step with a name that is its own in the workflow.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, task: Task) -> Self {
        Self { name: Some(name.into()), task, depends_on: Vec::new(), rules: None }
    }

    /// A step known by its task's id alone.
    #[must_use]
    pub fn unnamed(task: Task) -> Self {
        Self { name: None, task, depends_on: Vec::new(), rules: None }
    }

    /// Waits for this step or task too.
    #[must_use]
    pub fn after(mut self, dependency: impl Into<Dependency>) -> Self {
        self.depends_on.push(dependency.into());
        self
    }

    /// Sets which ends of its dependencies let it run.
    #[must_use]
    pub fn run_if(mut self, rule: RunIf) -> Self {
        self.rules_mut().run_if = rule;
        self
    }

    /// Runs only if this holds; else it is skipped. The steps it names become dependencies.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.rules_mut().when = Some(condition);
        self
    }

    /// Runs once for each element of a list. The step whose result that is becomes a dependency.
    #[must_use]
    pub fn map_over(mut self, map: MapOver) -> Self {
        self.rules_mut().map_over = Some(map);
        self
    }

    /// Sets parameters with references; the steps they name become dependencies.
    #[must_use]
    pub fn params(mut self, template: Template) -> Self {
        self.rules_mut().params = Some(Arc::new(template));
        self
    }

    /// Sets what fills the holes in the arguments of a function, in their order; the steps they name become
    /// dependencies. `docs/internals/wire-protocol.md`, "Functions", says what a hole is.
    #[must_use]
    pub fn inputs(mut self, inputs: Vec<Reference>) -> Self {
        self.rules_mut().inputs = inputs;
        self
    }

    /// Lets its result name further steps to add below it.
    #[must_use]
    pub fn dynamic(mut self) -> Self {
        self.rules_mut().dynamic = true;
        self
    }

    /// Sets what its task uses while it runs.
    #[must_use]
    pub fn needs(mut self, needs: Needs) -> Self {
        self.task = self.task.needs(needs);
        self
    }

    /// Limits how many tasks run at one time with the same key.
    #[must_use]
    pub fn concurrency(mut self, limit: Concurrency) -> Self {
        self.task = self.task.concurrency(limit);
        self
    }

    /// Limits how many tasks start in a time with the same key.
    #[must_use]
    pub fn rate(mut self, limit: Rate) -> Self {
        self.task = self.task.rate(limit);
        self
    }

    /// Leaves its result out of the record: it is freed when the last step that needs it has it.
    #[must_use]
    pub fn forget_result(mut self) -> Self {
        self.rules_mut().keep_result = false;
        self
    }

    /// Sets all it asks for beyond its task and its dependencies.
    #[must_use]
    pub fn with_rules(mut self, rules: Rules) -> Self {
        self.rules = (rules != Rules::default()).then(|| Box::new(rules));
        self
    }

    fn rules_mut(&mut self) -> &mut Rules {
        self.rules.get_or_insert_default()
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Its name, else its task's id.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.task.id().to_string(), ToString::to_string)
    }

    /// Its task.
    #[must_use]
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// Lets go of its own copy of what its task runs, if the other one runs the same.
    pub(crate) fn share_work_of(&mut self, other: &Task) {
        self.task.share_work_of(other);
    }

    /// Runs another task instead.
    pub fn set_task(&mut self, task: Task) {
        self.task = task;
    }

    /// What it was told to wait for. References add to this.
    #[must_use]
    pub fn depends_on(&self) -> &[Dependency] {
        &self.depends_on
    }

    /// What else it asks for.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        self.rules.as_deref().unwrap_or(&NOTHING_SPECIAL)
    }

    /// All references it makes: in its parameters or arguments, its condition, and the list it is mapped over.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let rules = self.rules();
        let params = rules.params.iter().flat_map(|template| template.references());
        let when = rules.when.iter().flat_map(|condition| condition.references());
        params.chain(&rules.inputs).chain(when).chain(rules.map_over.iter().map(|map| &map.list))
    }

    /// Its parts, for the graph that takes them over.
    #[must_use]
    pub fn into_parts(self) -> (Option<Arc<str>>, Task, Option<Box<Rules>>) {
        (self.name, self.task, self.rules)
    }
}
