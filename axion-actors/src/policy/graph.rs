//! Which step of a workflow runs when, and with what.
//!
//! A [`Graph`] is the WorkflowManager without its mailbox: one method per event, and what should
//! happen is left in a list of [`Action`]s. It owns one workflow (L4) and ends every step of it in
//! exactly one state (L1); what can come late names a step that has ended and changes nothing (L3).
//!
//! A step is decided when its dependencies have ended, by its [`RunIf`] and then its condition. An
//! end is passed down the graph by a work list, never by recursion, and each dependency is looked at
//! once: a chain of 100,000 costs as much a step as one of ten.
//!
//! A step that is due is only named; its task and its parameters are put together when it is handed
//! over. Results are handed on as parts of a JSON text that share their bytes with the result itself
//! ([`Params`]); they are never parsed, and freed when neither a step nor the record needs them.

mod condition;
mod decide;
mod error;
mod json;
mod mapped;
mod node;
mod others;
mod plan;
mod protocol;
mod results;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};
use rustc_hash::FxHashMap;
use uuid::Uuid;

pub use self::error::GraphError;
pub use self::json::Params;
use self::json::Splicer;
use self::node::{NEVER, Node};
use self::plan::{Directory, Plan, Planner};
use self::protocol::Halt;
pub use self::protocol::{Action, Ended, Known, Outside, Place, Standing};
use crate::model::workflow::{
    Bounds, Capacity, Causes, Counts, OnFailure, OnImpossible, Rules, RunIf, Step, StepEnd, StepError, StepState,
    UpstreamKeys, WorkflowId, WorkflowSpec,
};
use crate::model::{Outcome, TaskId, Tick};

/// One workflow and everything that is known of it.
#[derive(Debug)]
pub struct Graph {
    id: WorkflowId,
    name: String,
    on_failure: OnFailure,
    on_impossible: OnImpossible,
    upstream: UpstreamKeys,
    capacity: Capacity,
    bounds: Bounds,
    nodes: Vec<Node>,
    /// What the steps wait for, in the order in which it was named, each once; in the order of the steps.
    deps: Vec<u32>,
    /// The nodes' numbers are its indices: nothing is ever removed. An edge leads from a step to one
    /// that waits for it.
    edges: DiGraph<(), ()>,
    directory: Directory,
    /// The lowest and the highest id of its steps' tasks. Ids sort by time, so mostly this tells already that
    /// a task is not among them.
    span: (TaskId, TaskId),
    /// Nodes in an order by dependencies; at its start those of the specification that wait for nothing.
    order: Vec<u32>,
    counts: Counts,
    /// Steps that have not ended.
    unfinished: usize,
    added: usize,
    halt: Option<Halt>,
    /// What is under way is still to be looked through because of `halt`; whether what runs is to
    /// end too.
    sweep: Option<bool>,
    cancelled: bool,
    /// Ended nodes whose dependents have not heard of it.
    news: VecDeque<u32>,
    /// What the templates of steps have come to that are ready and not handed over.
    filled_in: FxHashMap<u32, Splicer>,
    /// Steps whose result only the record needs, the oldest first.
    kept: VecDeque<u32>,
    kept_bytes: usize,
    submitted: Tick,
    finished: Tick,
    actions: Vec<Action>,
    /// Whether changes of its steps are told.
    watched: bool,
}

impl Graph {
    /// Checks a workflow and makes its graph; nothing starts before [`start`](Self::start).
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of its steps where there is one.
    pub fn check(
        id: WorkflowId,
        spec: WorkflowSpec,
        outside: &Outside<'_>,
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
            counts: Counts::default(),
            unfinished: 0,
            added: 0,
            halt: None,
            sweep: None,
            cancelled: false,
            news: VecDeque::new(),
            filled_in: FxHashMap::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            submitted: now,
            finished: NEVER,
            actions: Vec::new(),
            watched: true,
        };
        let plan = graph.planner(None, outside).plan(spec.steps)?;
        graph.take_over(plan, now);
        Ok(graph)
    }

    fn planner<'a>(&'a self, below: Option<u32>, outside: &'a Outside<'a>) -> Planner<'a> {
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
        if whole {
            (self.nodes, self.deps, self.edges) = (plan.nodes, plan.deps, plan.graph);
        } else {
            self.nodes.extend(plan.nodes);
            self.deps.extend(plan.deps);
            for _ in first..self.nodes.len() {
                self.edges.add_node(());
            }
            for at in first..self.nodes.len() {
                for place in self.nodes[at].deps.heard() {
                    let dep = self.deps[place] as usize;
                    self.nodes[dep].readers += u32::from(dep < first);
                }
                for place in self.nodes[at].deps.range() {
                    let dep = self.deps[place] as usize;
                    self.edges.add_edge(NodeIndex::new(dep), NodeIndex::new(at), ());
                    let state = self.nodes[dep].state;
                    if state.is_final() {
                        self.nodes[at].seen.note(state);
                        self.nodes[at].open -= 1;
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
        self.order.extend(plan.order);
        for (node, end) in plan.ended {
            self.external(node, end, now);
        }
        for (node, shortfall) in plan.impossible {
            self.end(node, StepState::Cancelled, Some(StepError::Impossible(shortfall)), now);
        }
    }

    /// Begins: whatever waits for nothing is handed over. What waited only for tasks outside that have ended has heard
    /// of them then.
    pub fn start(&mut self, now: Tick) {
        self.spread(now);
        for place in 0..self.order.len() {
            let at = self.order[place] as usize;
            if self.nodes[at].deps.count > 0 {
                break;
            }
            self.decide_if_due(at, now);
        }
        self.spread(now);
    }

    fn decide_if_due(&mut self, at: usize, now: Tick) {
        let node = &self.nodes[at];
        if !node.is_step() || node.state != StepState::Waiting {
            return;
        }
        let at_once = node.seen.failed && self.rules(at).run_if == RunIf::AllSucceeded;
        if node.open == 0 || at_once {
            self.decide(at, now);
        }
    }

    /// An attempt of this has started.
    pub fn started(&mut self, place: Place, now: Tick) {
        let at = place.step as usize;
        let Some(node) = self.nodes.get_mut(at) else { return };
        if let (Some(index), Some(mapping)) = (place.instance, node.mapping.as_mut()) {
            mapping.started(index as usize);
        }
        if node.state == StepState::Ready {
            node.started = now;
            self.enter(at, StepState::Running);
        }
    }

    /// Something that was submitted ended.
    pub fn ended(&mut self, place: Place, ended: Ended, now: Tick) {
        let at = place.step as usize;
        let Some(node) = self.nodes.get_mut(at) else { return };
        if !matches!(node.state, StepState::Ready | StepState::Running) {
            return;
        }
        match (place.instance, node.mapping.is_some()) {
            (None, false) => {
                node.attempts = ended.attempts;
                if let Some(started) = ended.started {
                    // That of its last attempt. Of an only one it is exact; the first of several was noted when it was
                    // sent, and what lies between is part of what the step took.
                    node.started = if ended.attempts > 1 { node.started.min(started) } else { started };
                }
                let StepEnd { state, data, error } = self.verdict(at, ended.outcome);
                self.nodes[at].result = data;
                self.end(place.step, state, error, now);
                self.spread(now);
            }
            (Some(index), true) => self.instance_ended(at, index as usize, ended, now),
            _ => {}
        }
    }

    /// What the outcome of a task makes of its step.
    fn verdict(&self, at: usize, outcome: Outcome) -> StepEnd {
        let mut end = StepEnd::from(outcome);
        if end.state == StepState::Cancelled
            && self.nodes[at].cancelling
            && let Some(halt) = &self.halt
        {
            end.error = Some(halt.error());
        }
        end
    }

    /// A task outside the workflow ended.
    pub fn external_ended(&mut self, task: TaskId, end: StepEnd, now: Tick) {
        let found = self.directory.ids.get(task).copied();
        if let Some(node) = found.filter(|node| !self.nodes[*node as usize].is_step()) {
            self.external(node, end, now);
            self.spread(now);
        }
    }

    fn external(&mut self, node: u32, StepEnd { state, data, error }: StepEnd, now: Tick) {
        let at = node as usize;
        if !self.nodes[at].state.is_final() {
            self.nodes[at].result = data;
            self.end(node, state, error, now);
        }
    }

    /// The tasks outside the workflow that steps still wait for.
    pub fn externals(&self) -> impl Iterator<Item = TaskId> {
        self.nodes.iter().filter(|node| !node.is_step() && !node.state.is_final()).map(|node| node.id)
    }

    /// Adds steps below one that is dynamic and about to end; call [`ended`](Self::ended) for it
    /// next. All of them wait for it, and those that name it get its result; they may wait for each other and for any
    /// other step.
    ///
    /// # Errors
    /// Everything that is wrong with them; none is added then. The step should be reported as
    /// failed with [`not_added`](Self::not_added).
    pub fn add_below(
        &mut self,
        place: Place,
        steps: Vec<Step>,
        outside: &Outside<'_>,
        now: Tick,
    ) -> Result<(), Vec<GraphError>> {
        let at = place.step as usize;
        let runs = self.nodes.get(at).is_some_and(|node| {
            node.is_step() && matches!(node.state, StepState::Ready | StepState::Running) && node.mapping.is_none()
        });
        if steps.is_empty() || !runs || !self.rules(at).dynamic || self.halt.is_some() {
            return Ok(());
        }
        let (count, limit) = (self.added + steps.len(), self.bounds.added);
        if count > limit {
            return Err(vec![GraphError::TooManyAdded { count, limit }]);
        }
        let plan = self.planner(Some(place.step), outside).plan(steps)?;
        self.added = count;
        let first = self.nodes.len();
        self.take_over(plan, now);
        self.spread(now);
        for at in first..self.nodes.len() {
            self.decide_if_due(at, now);
        }
        self.spread(now);
        Ok(())
    }

    /// A dynamic step succeeded, but what it returned cannot be added.
    pub fn not_added(&mut self, place: Place, problems: Vec<String>, ended: &Ended, now: Tick) {
        let at = place.step as usize;
        let under_way = |node: &Node| matches!(node.state, StepState::Ready | StepState::Running);
        if self.nodes.get(at).is_some_and(under_way) {
            self.nodes[at].attempts = ended.attempts;
            self.end(place.step, StepState::Failed, Some(StepError::NotAdded(problems)), now);
            self.spread(now);
        }
    }

    /// Ends the workflow: what has not been handed over is cancelled, what has is told to end.
    pub fn cancel(&mut self, now: Tick) {
        if self.unfinished > 0 && !self.cancelled {
            self.cancelled = true;
            (self.halt, self.sweep) = (Some(Halt::Cancelled), Some(true));
            self.spread(now);
        }
    }

    /// Takes what should happen since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Whether changes of its steps are told from now on.
    pub(super) fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// The same, for a list that has been worked off, whose memory is used again.
    pub(super) fn swap_actions(&mut self, empty: &mut Vec<Action>) {
        std::mem::swap(&mut self.actions, empty);
    }

    /// What a step asks for.
    #[must_use]
    pub fn rules_of(&self, place: Place) -> Option<&Rules> {
        self.nodes.get(place.step as usize).map(|_| self.rules(place.step as usize))
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
                self.actions.push(Action::Changed { step: u32::try_from(at).unwrap_or(u32::MAX), state });
            }
        }
    }

    /// A step has ended (L1); its dependents hear of it by [`spread`](Self::spread).
    fn end(&mut self, number: u32, state: StepState, error: Option<StepError>, now: Tick) {
        let at = number as usize;
        // A step that was handed over has read its dependencies' results already.
        let reads = !self.nodes[at].handed_over;
        self.enter(at, state);
        let node = &mut self.nodes[at];
        node.finished = now;
        node.error = error.map(Box::new);
        if std::mem::take(&mut node.wanted) {
            node.readers -= 1;
            self.actions.push(Action::Ended { step: number, task: node.id, end: Box::new(node.end()) });
        }
        if reads {
            self.filled_in.remove(&number);
            self.release_deps(at);
        }
        if self.nodes[at].readers == 0 {
            self.unread(at);
        }
        self.news.push_back(number);
        if self.nodes[at].is_step() {
            self.unfinished -= 1;
        }
    }

    /// Passes ends on to dependents until there is nothing new.
    fn spread(&mut self, now: Tick) {
        let was_finished = self.finished != NEVER;
        let mut dependents = Vec::new();
        loop {
            while let Some(number) = self.news.pop_front() {
                let (at, state) = (number as usize, self.nodes[number as usize].state);
                self.stop_because_of(at);
                dependents.extend(self.edges.neighbors(NodeIndex::new(at)).map(NodeIndex::index));
                // petgraph gives the youngest edge first; tasks start in the order of the list (L12).
                while let Some(next) = dependents.pop() {
                    let node = &mut self.nodes[next];
                    node.open = node.open.saturating_sub(1);
                    node.seen.note(state);
                    self.decide_if_due(next, now);
                }
            }
            // What failed because of another has said so by now; the rest is cancelled.
            match self.sweep.take() {
                Some(running_too) => self.sweep(running_too, now),
                None => break,
            }
        }
        if self.unfinished == 0 && !was_finished {
            self.finished = now;
            self.actions.push(Action::Finished);
        }
    }

    /// If the workflow stops at a failure and this is the first one, nothing more is begun.
    fn stop_because_of(&mut self, at: usize) {
        let node = &self.nodes[at];
        let first = node.is_step() && node.state.is_failure() && self.halt.is_none();
        let passed_on =
            matches!(node.error.as_deref(), Some(StepError::DependencyFailed(_) | StepError::Impossible(_)));
        if first && !passed_on && self.on_failure != OnFailure::Continue {
            let causes = Arc::new(Causes { steps: vec![node.blame()], more: 0 });
            self.halt = Some(Halt::Stopped(causes));
            self.sweep = Some(self.on_failure == OnFailure::StopRunning);
        }
    }

    /// Cancels what has not been handed over, and tells what has to end.
    fn sweep(&mut self, running_too: bool, now: Tick) {
        let Some(halt) = self.halt.clone() else { return };
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].is_step()).collect::<Vec<_>>() {
            let number = u32::try_from(at).unwrap_or(u32::MAX);
            match self.nodes[at].state {
                StepState::Waiting => self.end(number, StepState::Cancelled, Some(halt.error()), now),
                StepState::Ready | StepState::Running if self.nodes[at].mapping.is_some() => {
                    self.halt_mapped(at, running_too, now);
                }
                StepState::Ready => self.tell_to_end(Place { step: number, instance: None }),
                StepState::Running if running_too => self.tell_to_end(Place { step: number, instance: None }),
                _ => {}
            }
        }
    }

    fn tell_to_end(&mut self, place: Place) {
        let node = &mut self.nodes[place.step as usize];
        if place.instance.is_some() || !std::mem::replace(&mut node.cancelling, true) {
            node.cancelling = true;
            self.actions.push(Action::Cancel(place));
        }
    }
}
