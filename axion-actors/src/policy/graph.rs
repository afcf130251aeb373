//! Which step of a workflow runs when, and with what.
//!
//! A [`Graph`] has one method per event and leaves [`GraphAction`]s for the caller to carry out. It owns one workflow
//! (L4) and brings every step to exactly one final state (L1). A late event names a step that ended before, and
//! changes nothing (L3).
//!
//! A step is decided when its dependencies have ended: first by its [`RunIf`], then by its condition. The end of a step
//! propagates to its dependents through a queue, without recursion, and each dependency is visited once. So a step of a
//! chain of 100,000 costs as much as a step of a chain of ten.
//!
//! A ready step is queued by its number. Its task and its parameters are built when it is handed over. Parameters share
//! their bytes with the results that they contain ([`ChunkedBytes`]). Small results are never parsed, and what steps read
//! of a large one is looked up once ([`Lookups`]). Results are freed when
//! neither a step nor the record needs them. Functions receive results unchanged, also results without a JSON form.

mod arguments;
mod condition;
mod external;
mod json;
mod lookups;
mod mapped;
mod node;
mod plan;
mod protocol;
mod readiness;
mod results;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use self::arguments::Prepared;
pub use self::json::ChunkedBytes;
pub use self::lookups::{Found, Lookups};
use self::node::{NEVER, Node};
use self::plan::{Directory, Plan, Planner};
use self::protocol::StopReason;
pub use self::protocol::{Ended, EngineView, GraphAction, StepKey, StepStatus};
use crate::model::workflow::{
    Capacity, GraphError, OnFailure, OnImpossible, RootCauses, Rules, RunIf, Step, StepCounts, StepError, StepOutcome,
    StepState, UpstreamKeys, WorkflowBounds, WorkflowId, WorkflowSpec,
};
use crate::model::{Data, Outcome, TaskId, Tick};
use crate::policy::retention::{RetentionPolicy, RetentionQueue};

/// One workflow and the state of its steps.
#[derive(Debug)]
pub struct Graph {
    id: WorkflowId,
    name: String,
    on_failure: OnFailure,
    on_impossible: OnImpossible,
    upstream: UpstreamKeys,
    capacity: Capacity,
    bounds: WorkflowBounds,
    nodes: Vec<Node>,
    /// The dependencies of all steps, step by step. Each stands once, in the order in which the step names them.
    deps: Vec<u32>,
    /// Its indices are the numbers of the nodes, because nothing is ever removed. An edge leads from a step to a
    /// dependent.
    edges: DiGraph<(), ()>,
    directory: Directory,
    /// The lowest and the highest id of its steps' tasks. Ids sort by time, so this range excludes most foreign tasks
    /// without a search.
    span: (TaskId, TaskId),
    /// The nodes in topological order. The steps of the specification without dependencies come first.
    order: Vec<u32>,
    counts: StepCounts,
    /// The number of steps that have not ended.
    unfinished: usize,
    added: usize,
    stop: Option<StopReason>,
    /// Set while `stop` still has to reach the steps. The value says whether running steps are cancelled, too.
    cancel_pending: Option<bool>,
    cancelled: bool,
    /// Nodes that ended, and whose dependents are not updated yet.
    ended_queue: VecDeque<u32>,
    /// The resolved references of ready steps that are not handed over.
    prepared: FxHashMap<u32, Prepared>,
    /// What was looked up in large results, while steps need it.
    found: FxHashMap<u32, Found>,
    /// Whether any result so far was not JSON.
    has_pickles: bool,
    /// Steps whose results only the record needs.
    kept: RetentionQueue<u32>,
    submitted: Tick,
    finished: Tick,
    actions: Vec<GraphAction>,
    /// Whether changes of steps become actions.
    watched: bool,
    /// The number of changes of steps that had no subscriber.
    unwatched: u64,
}

impl Graph {
    /// Checks a workflow and builds its graph. Nothing starts before [`start`](Self::start).
    ///
    /// # Errors
    /// All mistakes, in the order of the steps.
    pub fn check(
        id: WorkflowId,
        spec: WorkflowSpec,
        outside: &EngineView<'_>,
        now: Tick,
    ) -> Result<Self, Vec<GraphError>> {
        let mut graph = Self {
            id,
            name: spec.name,
            on_failure: spec.on_failure,
            on_impossible: spec.on_impossible,
            upstream: spec.upstream,
            capacity: spec.capacity,
            bounds: spec.bounds,
            nodes: Vec::new(),
            deps: Vec::new(),
            edges: DiGraph::new(),
            directory: Directory::default(),
            span: (TaskId(Uuid::max()), TaskId(Uuid::nil())),
            order: Vec::new(),
            counts: StepCounts::default(),
            unfinished: 0,
            added: 0,
            stop: None,
            cancel_pending: None,
            cancelled: false,
            ended_queue: VecDeque::new(),
            prepared: FxHashMap::default(),
            found: FxHashMap::default(),
            has_pickles: false,
            kept: RetentionQueue::new(RetentionPolicy {
                count: usize::MAX,
                bytes: spec.bounds.kept_bytes,
                each: usize::MAX,
                age: None,
            }),
            submitted: now,
            finished: NEVER,
            actions: Vec::new(),
            watched: true,
            unwatched: 0,
        };
        let plan = graph.planner(None, outside).plan(spec.steps)?;
        graph.take_over(plan, now);
        Ok(graph)
    }

    fn planner<'a>(&'a self, below: Option<u32>, outside: &'a EngineView<'a>) -> Planner<'a> {
        Planner {
            nodes: &self.nodes,
            directory: &self.directory,
            edges: self.deps.len(),
            below,
            bounds: self.bounds,
            on_impossible: self.on_impossible,
            capacity: &self.capacity,
            outside,
        }
    }

    fn take_over(&mut self, plan: Plan, now: Tick) {
        let first = self.nodes.len();
        let whole = first == 0;
        // Steps that have ended, and that new steps depend on.
        let mut read_again = Vec::new();
        if whole {
            (self.nodes, self.deps, self.edges) = (plan.nodes, plan.deps, plan.graph);
        } else {
            self.nodes.extend(plan.nodes);
            self.deps.extend(plan.deps);
            for _ in first..self.nodes.len() {
                self.edges.add_node(());
            }
            for at in first..self.nodes.len() {
                for index in self.nodes[at].deps.heard() {
                    let dep = self.deps[index] as usize;
                    self.nodes[dep].readers += u32::from(dep < first);
                }
                for index in self.nodes[at].deps.range() {
                    let dep = self.deps[index] as usize;
                    self.edges.add_edge(NodeIndex::new(dep), NodeIndex::new(at), ());
                    let state = self.nodes[dep].state;
                    if state.is_final() {
                        self.nodes[at].dependencies.note(state);
                        self.nodes[at].open -= 1;
                        read_again.push(dep);
                    }
                }
            }
        }
        if let Some((low, high)) = plan.ids {
            self.span = (self.span.0.min(low), self.span.1.max(high));
        }
        let steps = self.nodes.len() - first - plan.outside.len();
        self.unfinished += steps;
        self.counts.0[StepState::Waiting as usize] += steps;
        self.directory.extend(plan.directory);
        read_again.sort_unstable();
        read_again.dedup();
        for dep in read_again {
            self.look_up_here(dep, true);
        }
        self.order.extend(plan.order);
        for (node, end) in plan.ended {
            self.external(node, end, now);
        }
        for (node, shortfall) in plan.impossible {
            self.end(node, StepState::Cancelled, Some(StepError::Impossible(shortfall)), now);
        }
    }

    /// Starts the steps without open dependencies. External tasks that ended before count as ended dependencies.
    pub fn start(&mut self, now: Tick) {
        self.propagate(now);
        for index in 0..self.order.len() {
            let at = self.order[index] as usize;
            if self.nodes[at].deps.count > 0 {
                break;
            }
            self.decide_if_due(at, now);
        }
        self.propagate(now);
    }

    fn decide_if_due(&mut self, at: usize, now: Tick) {
        let node = &self.nodes[at];
        if !node.is_step() || node.state != StepState::Waiting {
            return;
        }
        let at_once = node.dependencies.failed && self.rules(at).run_if == RunIf::AllSucceeded;
        if node.open == 0 || at_once {
            self.decide(at, now);
        }
    }

    /// An attempt of a step started.
    pub fn started(&mut self, key: StepKey, now: Tick) {
        let at = key.step as usize;
        let Some(node) = self.nodes.get_mut(at) else { return };
        if let (Some(index), Some(mapping)) = (key.instance, node.mapping.as_mut()) {
            mapping.started(index as usize);
        }
        if node.state == StepState::Ready {
            node.started = now;
            self.enter(at, StepState::Running);
        }
    }

    /// A submitted step ended.
    pub fn ended(&mut self, key: StepKey, ended: Ended, now: Tick) {
        let at = key.step as usize;
        let Some(node) = self.nodes.get_mut(at) else { return };
        if !matches!(node.state, StepState::Ready | StepState::Running) {
            return;
        }
        match (key.instance, node.mapping.is_some()) {
            (None, false) => {
                node.attempts = ended.attempts;
                if let Some(started) = ended.started {
                    // The start of the last attempt. With several attempts, the step started with the first one, which
                    // was noted when it was sent.
                    node.started = if ended.attempts > 1 { node.started.min(started) } else { started };
                }
                let StepOutcome { state, data, error } = self.step_outcome(at, ended.outcome);
                self.take_result(at, data);
                self.end(key.step, state, error, now);
                self.propagate(now);
            }
            (Some(index), true) => self.instance_ended(at, index as usize, ended, now),
            _ => {}
        }
    }

    /// The outcome of a step, from the outcome of its task.
    fn step_outcome(&self, at: usize, outcome: Outcome) -> StepOutcome {
        let mut end = StepOutcome::from(outcome);
        if end.state == StepState::Cancelled
            && self.nodes[at].cancelling
            && let Some(stop) = &self.stop
        {
            end.error = Some(stop.error());
        }
        end
    }

    fn take_result(&mut self, at: usize, data: Option<Data>) {
        self.has_pickles |= matches!(data, Some(Data::Pickle(_)));
        self.nodes[at].result = data;
        self.look_up_here(at, false);
    }

    /// An external task ended.
    pub fn external_ended(&mut self, task: TaskId, end: StepOutcome, now: Tick) {
        let found = self.directory.ids.get(task).copied();
        if let Some(node) = found.filter(|node| !self.nodes[*node as usize].is_step()) {
            self.external(node, end, now);
            self.propagate(now);
        }
    }

    fn external(&mut self, node: u32, StepOutcome { state, data, error }: StepOutcome, now: Tick) {
        let at = node as usize;
        if !self.nodes[at].state.is_final() {
            self.take_result(at, data);
            self.end(node, state, error, now);
        }
    }

    /// The external tasks that steps still wait for.
    pub fn externals(&self) -> impl Iterator<Item = TaskId> {
        self.nodes.iter().filter(|node| !node.is_step() && !node.state.is_final()).map(|node| node.id)
    }

    /// Adds steps below a dynamic step that is about to end. Call [`ended`](Self::ended) for the dynamic step next. The
    /// new steps depend on it, and may depend on each other and on any other step. Those that name it get its result.
    ///
    /// # Errors
    /// All mistakes in the new steps, of which none is added then. Report the dynamic step as failed, by
    /// [`not_added`](Self::not_added).
    pub fn add_below(
        &mut self,
        key: StepKey,
        steps: Vec<Step>,
        outside: &EngineView<'_>,
        now: Tick,
    ) -> Result<(), Vec<GraphError>> {
        let at = key.step as usize;
        let runs = self.nodes.get(at).is_some_and(|node| {
            node.is_step() && matches!(node.state, StepState::Ready | StepState::Running) && node.mapping.is_none()
        });
        if steps.is_empty() || !runs || !self.rules(at).dynamic || self.stop.is_some() {
            return Ok(());
        }
        let (count, limit) = (self.added + steps.len(), self.bounds.added);
        if count > limit {
            return Err(vec![GraphError::TooManyAdded { count, limit }]);
        }
        let plan = self.planner(Some(key.step), outside).plan(steps)?;
        self.added = count;
        let first = self.nodes.len();
        self.take_over(plan, now);
        self.propagate(now);
        for at in first..self.nodes.len() {
            self.decide_if_due(at, now);
        }
        self.propagate(now);
        Ok(())
    }

    /// A dynamic step succeeded, but the steps that it returned are invalid.
    pub fn not_added(&mut self, key: StepKey, problems: Vec<String>, ended: &Ended, now: Tick) {
        let at = key.step as usize;
        let under_way = |node: &Node| matches!(node.state, StepState::Ready | StepState::Running);
        if self.nodes.get(at).is_some_and(under_way) {
            self.nodes[at].attempts = ended.attempts;
            self.end(key.step, StepState::Failed, Some(StepError::NotAdded(problems)), now);
            self.propagate(now);
        }
    }

    /// Cancels the workflow: waiting steps end at once, and submitted steps are cancelled through their tasks.
    pub fn cancel(&mut self, now: Tick) {
        if self.unfinished > 0 && !self.cancelled {
            self.cancelled = true;
            (self.stop, self.cancel_pending) = (Some(StopReason::Cancelled), Some(true));
            self.propagate(now);
        }
    }

    /// Takes the actions since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<GraphAction> {
        std::mem::take(&mut self.actions)
    }

    /// The number of steps that were added while the workflow ran.
    pub(super) fn added(&self) -> usize {
        self.added
    }

    /// Takes the number of changes that had no subscriber.
    pub(super) fn take_unwatched(&mut self) -> u64 {
        std::mem::take(&mut self.unwatched)
    }

    /// Sets whether changes of steps become actions.
    pub(super) fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// Swaps the actions with an empty list, whose memory is reused.
    pub(super) fn swap_actions(&mut self, empty: &mut Vec<GraphAction>) {
        std::mem::swap(&mut self.actions, empty);
    }

    /// The rules of a step.
    #[must_use]
    pub fn rules_of(&self, key: StepKey) -> Option<&Rules> {
        self.nodes.get(key.step as usize).map(|_| self.rules(key.step as usize))
    }

    fn deps_of(&self, at: usize) -> &[u32] {
        &self.deps[self.nodes[at].deps.range()]
    }

    fn rules(&self, at: usize) -> &Rules {
        static NOTHING_SPECIAL: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(Rules::default);
        self.nodes[at].rules.as_deref().unwrap_or(&NOTHING_SPECIAL)
    }

    fn enter(&mut self, at: usize, state: StepState) {
        let node = &mut self.nodes[at];
        let before = std::mem::replace(&mut node.state, state);
        if node.is_step() {
            self.counts.0[before as usize] -= 1;
            self.counts.0[state as usize] += 1;
            if self.watched {
                self.actions.push(GraphAction::Changed { step: u32::try_from(at).unwrap_or(u32::MAX), state });
            } else {
                self.unwatched += 1;
            }
        }
    }

    /// Ends a step (L1). [`propagate`](Self::propagate) updates its dependents.
    fn end(&mut self, number: u32, state: StepState, error: Option<StepError>, now: Tick) {
        let at = number as usize;
        // A step that was handed over has read the results of its dependencies.
        let reads = !self.nodes[at].handed_over;
        self.enter(at, state);
        let node = &mut self.nodes[at];
        node.finished = now;
        node.error = error.map(Box::new);
        if std::mem::take(&mut node.wanted) {
            node.readers -= 1;
            self.actions.push(GraphAction::Ended { step: number, task: node.id, outcome: Box::new(node.outcome()) });
        }
        if reads {
            self.prepared.remove(&number);
            self.release_deps(at);
        }
        if self.nodes[at].readers == 0 {
            self.release_result(at);
        }
        self.ended_queue.push_back(number);
        if self.nodes[at].is_step() {
            self.unfinished -= 1;
        }
    }

    /// Updates the dependents of ended steps until no step ends any more.
    fn propagate(&mut self, now: Tick) {
        let was_finished = self.finished != NEVER;
        let mut dependents = Vec::new();
        loop {
            while let Some(number) = self.ended_queue.pop_front() {
                let (at, state) = (number as usize, self.nodes[number as usize].state);
                self.stop_because_of(at);
                dependents.extend(self.edges.neighbors(NodeIndex::new(at)).map(NodeIndex::index));
                // petgraph returns the newest edge first; tasks start in the order of the list (L12).
                while let Some(next) = dependents.pop() {
                    let node = &mut self.nodes[next];
                    node.open = node.open.saturating_sub(1);
                    node.dependencies.note(state);
                    self.decide_if_due(next, now);
                }
            }
            // Steps that fail because of a dependency have ended by now. The others are cancelled.
            match self.cancel_pending.take() {
                Some(running_too) => self.cancel_pending(running_too, now),
                None => break,
            }
        }
        if self.unfinished == 0 && !was_finished {
            self.finished = now;
            self.actions.push(GraphAction::Finished);
        }
    }

    /// Stops the workflow at its first failure, if its rule says so.
    fn stop_because_of(&mut self, at: usize) {
        let node = &self.nodes[at];
        let first = node.is_step() && node.state.is_failure() && self.stop.is_none();
        let passed_on =
            matches!(node.error.as_deref(), Some(StepError::DependencyFailed(_) | StepError::Impossible(_)));
        if first && !passed_on && self.on_failure != OnFailure::Continue {
            let causes = Arc::new(RootCauses { steps: vec![node.blame()], more: 0 });
            self.stop = Some(StopReason::Stopped(causes));
            self.cancel_pending = Some(self.on_failure == OnFailure::StopRunning);
        }
    }

    /// Cancels the waiting steps, and requests the cancellation of submitted ones.
    fn cancel_pending(&mut self, running_too: bool, now: Tick) {
        let Some(stop) = self.stop.clone() else { return };
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].is_step()).collect::<Vec<_>>() {
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            match self.nodes[at].state {
                StepState::Waiting => self.end(number, StepState::Cancelled, Some(stop.error()), now),
                StepState::Ready | StepState::Running if self.nodes[at].mapping.is_some() => {
                    self.stop_mapped(at, running_too, now);
                }
                StepState::Ready => self.request_cancel(StepKey::whole(number)),
                StepState::Running if running_too => self.request_cancel(StepKey::whole(number)),
                _ => {}
            }
        }
    }

    fn request_cancel(&mut self, key: StepKey) {
        let node = &mut self.nodes[key.step as usize];
        if key.instance.is_some() || !std::mem::replace(&mut node.cancelling, true) {
            node.cancelling = true;
            self.actions.push(GraphAction::Cancel(key));
        }
    }
}
