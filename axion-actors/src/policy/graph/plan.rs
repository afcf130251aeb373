//! Builds nodes and edges from a list of steps, and finds all mistakes at once.
//!
//! Nothing is recursive or quadratic: names and ids are looked up, stamps find repeated dependencies, and the search
//! for cycles runs only when a topological order fails.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;

use super::node::{DependencyRange, Node};
use super::{EngineView, StepStatus};
use crate::model::workflow::{
    Dependency, Enough, GraphError, OnImpossible, Piece, Shortfall, Step, StepOutcome, WorkflowBounds,
};
use crate::model::{Limits, Needs, TaskId, Work};
use crate::policy::resources;
use crate::policy::task_ids::TaskIds;

/// The deepest nesting of a condition, which is evaluated by recursion.
const CONDITION_DEPTH: usize = 32;

/// The longest name of a step, in characters.
const NAME: usize = 200;

/// The names and ids of the steps.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// By name in lower case. The node has the exact name.
    names: FxHashMap<Arc<str>, u32>,
    pub(super) ids: TaskIds<u32>,
}

impl Directory {
    pub(super) fn by_name(&self, name: &str) -> Option<u32> {
        self.names.get(&*folded(name)).copied()
    }

    /// By name, else by the id of its task.
    pub(super) fn find(&self, step: &str) -> Option<u32> {
        self.by_name(step).or_else(|| self.ids.get(step.parse().ok()?).copied())
    }

    /// Adds the steps of a plan.
    pub(super) fn extend(&mut self, other: Self) {
        if self.ids.is_empty() {
            *self = other;
        } else {
            self.names.extend(other.names);
            for (id, node) in other.ids.into_entries() {
                self.ids.insert(id, node);
            }
        }
    }
}

fn folded(name: &str) -> Cow<'_, str> {
    if name.chars().any(|it| !it.is_ascii() || it.is_ascii_uppercase()) {
        Cow::Owned(name.to_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Valid nodes, ready to be added.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The steps, and after them the external tasks that they depend on.
    pub(super) nodes: Vec<Node>,
    /// The dependencies of the steps, step by step.
    pub(super) deps: Vec<u32>,
    pub(super) directory: Directory,
    /// The external tasks.
    pub(super) outside: Vec<TaskId>,
    /// The dependencies of each step, as ranges in `deps`.
    spans: Vec<DependencyRange>,
    /// The number of new steps that read the result of each new node.
    readers: Vec<u32>,
    /// The lowest and the highest id of the steps' tasks.
    pub(super) ids: Option<(TaskId, TaskId)>,
    /// The edges among the new nodes, numbered from 0.
    pub(super) graph: DiGraph<(), ()>,
    /// The new nodes in topological order. Those without dependencies come first, in the order of the list.
    pub(super) order: Vec<u32>,
    /// External tasks that ended before.
    pub(super) ended: Vec<(u32, StepOutcome)>,
    /// Steps to cancel because their needs can never be met.
    pub(super) impossible: Vec<(u32, Shortfall)>,
}

/// A dependency as a step names it.
#[derive(Clone, Copy)]
enum Named<'a> {
    Step(&'a Arc<str>),
    Task(TaskId),
}

/// The graph that new steps are planned for.
pub(super) struct Planner<'a> {
    /// The existing nodes.
    pub(super) nodes: &'a [Node],
    pub(super) directory: &'a Directory,
    /// The number of existing dependencies.
    pub(super) edges: usize,
    /// The dynamic step that adds the new ones.
    pub(super) below: Option<u32>,
    pub(super) bounds: WorkflowBounds,
    pub(super) on_impossible: OnImpossible,
    pub(super) capacity: &'a crate::model::workflow::Capacity,
    pub(super) outside: &'a EngineView<'a>,
}

fn index(place: usize) -> u32 {
    // Steps are bounded by `WorkflowBounds`, which `plan` holds below this.
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Planner<'_> {
    /// Checks the steps and builds their nodes.
    pub(super) fn plan(&self, steps: Vec<Step>) -> Result<Plan, Vec<GraphError>> {
        let mut errors = Vec::new();
        let (count, limit) = (self.nodes.len() + steps.len(), self.bounds.steps.min(u32::MAX as usize / 2));
        if steps.is_empty() {
            errors.push(GraphError::Empty);
        } else if count > limit {
            errors.push(GraphError::TooManySteps { count, limit });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut plan = Plan::default();
        self.name(&steps, &mut plan, &mut errors);
        self.connect(&steps, &mut plan, &mut errors);
        for (at, step) in steps.iter().enumerate() {
            self.look_at(at, step, &mut plan, &mut errors);
        }
        self.sort(&steps, &mut plan, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        plan.nodes.reserve_exact(steps.len() + plan.outside.len());
        let mut readers = plan.readers.iter().copied();
        for (mut step, span) in steps.into_iter().zip(&plan.spans) {
            // Steps in a row often run the same script. Sharing its path keeps one copy in the processor's caches.
            if let Some(before) = plan.nodes.last().and_then(|node| node.task.as_ref()) {
                step.share_work_of(before);
            }
            // The index in the list of all dependencies.
            let span = DependencyRange { start: span.start + index(self.edges), ..*span };
            plan.nodes.push(Node::step(step, span, readers.next().unwrap_or_default()));
        }
        plan.nodes.extend(plan.outside.iter().zip(readers).map(|(id, readers)| Node::outside(*id, readers)));
        Ok(plan)
    }

    fn name(&self, steps: &[Step], plan: &mut Plan, errors: &mut Vec<GraphError>) {
        let base = self.nodes.len();
        plan.directory.ids.reserve(steps.len());
        plan.directory.names.reserve(steps.iter().filter(|step| step.name().is_some()).count());
        for (at, step) in steps.iter().enumerate() {
            let (here, id) = (index(base + at), step.task().id());
            plan.ids = plan.ids.map(|(low, high)| (low.min(id), high.max(id))).or(Some((id, id)));
            let known = || matches!((self.outside.status)(id), StepStatus::Unknown);
            if self.directory.ids.get(id).is_some() || plan.directory.ids.insert(id, here).is_none() || !known() {
                errors.push(GraphError::DuplicateTask { at, step: step.title(), task: id });
            }
            let Some(name) = step.name() else { continue };
            if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
                errors.push(GraphError::BadName { at, name: name.to_string() });
            }
            let before = self.find(plan, name);
            match before {
                None => {
                    let key = match folded(name) {
                        Cow::Borrowed(_) => name.clone(),
                        Cow::Owned(key) => key.into(),
                    };
                    plan.directory.names.insert(key, here);
                }
                Some(first) if self.name_of(steps, first) == Some(name) => {
                    errors.push(GraphError::DuplicateName { at, first: first as usize, name: name.to_string() });
                }
                Some(other) => {
                    let other = self.title_of(steps, other);
                    errors.push(GraphError::SimilarName { at, name: name.to_string(), other });
                }
            }
        }
    }

    fn find(&self, plan: &Plan, name: &str) -> Option<u32> {
        self.directory.by_name(name).or_else(|| plan.directory.by_name(name))
    }

    fn name_of<'a>(&'a self, steps: &'a [Step], index: u32) -> Option<&'a Arc<str>> {
        match self.nodes.get(index as usize) {
            Some(node) => node.name.as_ref(),
            None => steps.get(index as usize - self.nodes.len())?.name(),
        }
    }

    fn title_of(&self, steps: &[Step], index: u32) -> String {
        self.name_of(steps, index).map_or_else(String::new, ToString::to_string)
    }

    /// Finds the dependencies of each step, each once, in the order in which the step names them.
    fn connect(&self, steps: &[Step], plan: &mut Plan, errors: &mut Vec<GraphError>) {
        let base = self.nodes.len();
        let mut stamps = vec![u32::MAX; base + steps.len()];
        let mut last = 0;
        plan.spans.reserve_exact(steps.len());
        for (at, step) in steps.iter().enumerate() {
            let (here, first) = (index(base + at), plan.deps.len());
            let mut own = false;
            let named = step.depends_on().iter().map(|dependency| match dependency {
                Dependency::Step(name) => Named::Step(name),
                Dependency::Task(id) => Named::Task(*id),
            });
            let referred_to = step.references().map(|reference| Named::Step(&reference.step));
            for dependency in named.chain(referred_to) {
                match self.target(at, steps, dependency, &mut last, plan) {
                    Ok(target) if target == here => {
                        if !std::mem::replace(&mut own, true) {
                            errors.push(GraphError::SelfReference { at, step: step.title() });
                        }
                    }
                    Ok(target) => {
                        stamps.resize(stamps.len().max(target as usize + 1), u32::MAX);
                        if std::mem::replace(&mut stamps[target as usize], here) != here {
                            plan.deps.push(target);
                        }
                    }
                    Err(error) if errors.last() != Some(&error) => errors.push(error),
                    Err(_) => {}
                }
            }
            // A dynamic step that the new step does not name passes no result on: each new step would get the list of
            // all new steps.
            let unnamed = self.below.filter(|below| !plan.deps[first..].contains(below));
            plan.deps.extend(unnamed);
            let (start, count) = (index(first), index(plan.deps.len() - first));
            plan.spans.push(DependencyRange { start, count, last_is_silent: unnamed.is_some() });
        }
        let (count, limit) = (self.edges + plan.deps.len(), self.bounds.edges.min(u32::MAX as usize / 2));
        if count > limit {
            errors.push(GraphError::TooManyEdges { count, limit });
        }
    }

    /// The node of a dependency. `last` is the index of the dependency that was found last. Most steps name the same
    /// one or the next one, which needs no lookup.
    fn target(
        &self,
        at: usize,
        steps: &[Step],
        dependency: Named<'_>,
        last: &mut usize,
        plan: &mut Plan,
    ) -> Result<u32, GraphError> {
        let base = self.nodes.len();
        for near in [*last, *last + 1] {
            let is_it = steps.get(near).is_some_and(|step| match dependency {
                Named::Step(name) => step.name() == Some(name),
                Named::Task(id) => step.task().id() == id,
            });
            if is_it {
                *last = near;
                return Ok(index(base + near));
            }
        }
        let found = match dependency {
            Named::Step(name) => match (self.find(plan, name), name.parse()) {
                (Some(found), _) if self.name_of(steps, found) == Some(name) => found,
                (None, Ok(id)) => self.task(at, steps, id, plan)?,
                (found, _) => {
                    let nearest = found.map(|found| self.title_of(steps, found));
                    let (step, missing) = (steps[at].title(), name.to_string());
                    return Err(GraphError::UnknownStep { at, step, missing, nearest });
                }
            },
            Named::Task(id) => self.task(at, steps, id, plan)?,
        };
        *last = (found as usize).saturating_sub(base);
        Ok(found)
    }

    /// The node of a task, which may be external.
    fn task(&self, at: usize, steps: &[Step], id: TaskId, plan: &mut Plan) -> Result<u32, GraphError> {
        match self.directory.ids.get(id).or_else(|| plan.directory.ids.get(id)).copied() {
            Some(known) => Ok(known),
            None => self.task_outside(at, steps, id, plan),
        }
    }

    fn task_outside(&self, at: usize, steps: &[Step], id: TaskId, plan: &mut Plan) -> Result<u32, GraphError> {
        let here = index(self.nodes.len() + steps.len() + plan.outside.len());
        match (self.outside.status)(id) {
            StepStatus::Unknown | StepStatus::ResultDropped => {
                return Err(GraphError::UnknownTask { at, step: steps[at].title(), missing: id });
            }
            StepStatus::Live => {}
            StepStatus::Ended(outcome) => plan.ended.push((here, outcome)),
        }
        plan.directory.ids.insert(id, here);
        plan.outside.push(id);
        Ok(here)
    }

    fn look_at(&self, at: usize, step: &Step, plan: &mut Plan, errors: &mut Vec<GraphError>) {
        let rules = step.rules();
        let deps = plan.spans[at].count > 0;
        let wants_object = match step.task().work() {
            Work::Script(_) => (deps || rules.params.is_some()) && !is_object(step),
            // Its arguments are not JSON.
            Work::Function(_) => rules.params.is_some(),
        };
        if wants_object {
            errors.push(GraphError::ParamsNotObject { at, step: step.title() });
        }
        if let Some(depth) = rules.when.iter().flat_map(|it| it.parts().map(|(_, depth)| depth)).max()
            && depth > CONDITION_DEPTH
        {
            errors.push(GraphError::ConditionTooDeep { at, step: step.title(), depth, limit: CONDITION_DEPTH });
        }
        if rules.run_if == crate::model::workflow::RunIf::AnyFailed && !deps {
            errors.push(GraphError::NothingCanFail { at, step: step.title() });
        }
        let zeros = [
            ("max_parallel", rules.map_over.as_ref().is_some_and(|it| it.max_parallel == Some(0))),
            ("at_least", rules.map_over.as_ref().is_some_and(|it| it.enough == Enough::AtLeast(0))),
        ];
        let limits = step.task().limits();
        let zeros = zeros.into_iter().filter(|(_, wrong)| *wrong).map(|(what, _)| what);
        for what in zeros.chain(limits.and_then(Limits::zero)) {
            errors.push(GraphError::Zero { at, step: step.title(), what });
        }
        let (pool, needs) = (step.task().pool_id(), limits.map_or_else(Needs::default, |it| it.needs));
        let engine = self.outside.capacity;
        // The submit reports a pool that the engine does not have.
        let missing = engine.kind(pool).and_then(|kind| {
            let capacities = engine.of_pool(pool).into_iter().chain([*self.capacity]);
            capacities.filter_map(|capacity| resources::shortfall(&capacity, kind, &needs)).reduce(resources::worse)
        });
        match (missing, self.on_impossible) {
            (None, _) => {}
            (Some(shortfall), OnImpossible::Cancel) => {
                plan.impossible.push((index(self.nodes.len() + at), shortfall));
            }
            (Some(shortfall), OnImpossible::Refuse) => {
                errors.push(GraphError::Impossible { at, step: step.title(), shortfall });
            }
        }
    }

    /// Sorts the new nodes topologically and reports the cycles among them.
    fn sort(&self, steps: &[Step], plan: &mut Plan, errors: &mut Vec<GraphError>) {
        let base = self.nodes.len();
        let count = steps.len() + plan.outside.len();
        let mut graph = DiGraph::<(), ()>::with_capacity(count, plan.deps.len());
        for _ in 0..count {
            graph.add_node(());
        }
        let mut open = vec![0u32; count];
        plan.readers.resize(count, 0);
        for (at, span) in plan.spans.iter().enumerate() {
            for dep in plan.deps[span.range()].iter().filter_map(|dep| (*dep as usize).checked_sub(base)) {
                graph.add_edge(NodeIndex::new(dep), NodeIndex::new(at), ());
                open[at] += 1;
                plan.readers[dep] += 1;
            }
        }
        plan.order.reserve_exact(count);
        let mut free: VecDeque<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
        while let Some(at) = free.pop_front() {
            plan.order.push(index(base + at));
            for next in graph.neighbors(NodeIndex::new(at)) {
                open[next.index()] -= 1;
                if open[next.index()] == 0 {
                    free.push_back(next.index());
                }
            }
        }
        if plan.order.len() < count {
            let mut circles: Vec<Vec<usize>> = kosaraju_scc(&graph)
                .into_iter()
                .filter(|part| part.len() > 1)
                .map(|part| circle(&graph, &part.iter().map(|it| it.index()).collect::<Vec<_>>()))
                .collect();
            circles.sort_unstable();
            errors.extend(circles.into_iter().map(|circle| GraphError::Cycle {
                at: circle[0],
                path: circle.iter().map(|at| steps[*at].title()).collect(),
            }));
        }
        plan.graph = graph;
    }
}

/// The shortest cycle through the first step of a strongly connected component.
fn circle(graph: &DiGraph<(), ()>, part: &[usize]) -> Vec<usize> {
    let inside: FxHashMap<usize, ()> = part.iter().map(|at| (*at, ())).collect();
    let start = part.iter().copied().min().unwrap_or_default();
    let mut came: FxHashMap<usize, usize> = FxHashMap::default();
    let mut left = VecDeque::from([start]);
    'search: while let Some(at) = left.pop_front() {
        for next in graph.neighbors(NodeIndex::new(at)).map(NodeIndex::index) {
            if inside.contains_key(&next) && !came.contains_key(&next) {
                came.insert(next, at);
                if next == start {
                    break 'search;
                }
                left.push_back(next);
            }
        }
    }
    let mut path = vec![start];
    let mut at = came.get(&start).copied().unwrap_or(start);
    while at != start {
        path.push(at);
        at = came.get(&at).copied().unwrap_or(start);
    }
    path[1..].reverse();
    path
}

fn is_object(step: &Step) -> bool {
    let (first, last) = match &step.rules().params {
        None => (Some(&**step.task().params_bytes()), Some(&**step.task().params_bytes())),
        Some(template) => (text_of(template.pieces().first()), text_of(template.pieces().last())),
    };
    first.is_some_and(|text| text.trim_ascii_start().first() == Some(&b'{'))
        && last.is_some_and(|text| text.trim_ascii_end().last() == Some(&b'}'))
}

fn text_of(piece: Option<&Piece>) -> Option<&bytes::Bytes> {
    match piece {
        Some(Piece::Text(text)) => Some(text),
        _ => None,
    }
}
