//! All workflows in flight: the WorkflowManager without its mailbox.
//!
//! Each workflow is a [`Graph`]. What a graph wants to run passes the gate of its workflow, if that has
//! limits of its own, and is submitted like any task. What the engine allows of its slots, of the machine
//! and by key holds for steps as for all tasks: the scheduler sees to that.

mod retained;

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

pub use self::retained::RetainedWorkflows;
use super::graph::{ChunkedBytes, Ended, EngineView, Graph, GraphAction, StepKey, StepStatus};
use super::resources::{Gate, Permit};
use crate::model::CancelAnswer;
use crate::model::workflow::{GraphError, Step, StepOutcome, StepState, WorkflowId, WorkflowSpec};
use crate::model::{EngineCapacity, ErrorKind, Limits, Outcome, Shortfall, Task, TaskError, TaskId, Tick};

/// A step of a workflow, or one instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepRef {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Where in it.
    pub key: StepKey,
}

/// What should happen.
#[derive(Debug)]
pub enum WorkflowAction {
    /// Run this step when there is room for it: [`hand_over`](Workflows::hand_over) gives its task then.
    Submit(StepRef),
    /// End this task as soon as possible; it has been submitted.
    Cancel {
        /// Which.
        step: StepRef,
        /// Its id.
        task: TaskId,
    },
    /// Tell who watches that a step is in another state.
    Changed {
        /// Of this workflow.
        workflow: WorkflowId,
        /// The step's number.
        step: u32,
        /// Its state.
        state: StepState,
    },
    /// A step that is [wanted](Workflows::subscribe) has ended.
    Ended {
        /// Which.
        step: StepRef,
        /// Its task.
        task: TaskId,
        /// How it ended.
        outcome: Box<StepOutcome>,
    },
    /// Every step of this workflow has ended: [take](Workflows::take) it.
    Finished(WorkflowId),
}

#[derive(Debug)]
struct WorkflowEntry {
    graph: Graph,
    /// If the workflow has limits of its own.
    gate: Option<Gate<StepRef>>,
    /// Of the steps that have passed it and have not ended.
    tickets: FxHashMap<StepKey, Permit>,
}

impl WorkflowEntry {
    /// Whether a step that is to run has been submitted: if not, it waits at the gate.
    fn is_sent(&self, key: StepKey) -> bool {
        self.gate.is_none() || self.tickets.contains_key(&key)
    }
}

/// The workflows that have not ended.
#[derive(Debug)]
pub struct Workflows {
    flows: FxHashMap<WorkflowId, WorkflowEntry>,
    capacity: EngineCapacity,
    /// Which workflows wait for a step of another one, by that step's task. A step that ends leaves this.
    wanted: FxHashMap<TaskId, Vec<WorkflowId>>,
    /// Ends of such steps that the workflows that wait for them have not heard of.
    heard: VecDeque<(WorkflowId, TaskId, StepOutcome)>,
    actions: Vec<WorkflowAction>,
    /// An empty list, kept for its memory.
    empty: Vec<GraphAction>,
    /// Somebody wants to know of every change.
    watched: bool,
}

impl Workflows {
    /// No workflows, in an engine that has so much for what runs at one time.
    #[must_use]
    pub fn new(capacity: EngineCapacity) -> Self {
        Self {
            flows: FxHashMap::default(),
            capacity,
            wanted: FxHashMap::default(),
            heard: VecDeque::new(),
            actions: Vec::new(),
            empty: Vec::new(),
            watched: false,
        }
    }

    /// Checks a workflow and begins it. `known` has every task that it names and that is not one of its own, and
    /// those of its own that should not be known: what is known of them outside the workflows in flight.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing of it is kept then.
    pub fn submit(
        &mut self,
        id: WorkflowId,
        mut spec: WorkflowSpec,
        mut known: FxHashMap<TaskId, StepStatus>,
        now: Tick,
    ) -> Result<(), Vec<GraphError>> {
        let limited = spec.capacity != crate::model::Capacity::default();
        spec.capacity.machine_memory = spec.capacity.machine_memory.or(self.capacity.shared.machine_memory);
        let elsewhere = self.look_elsewhere(&spec, &mut known);
        let known = |task: TaskId| known.get(&task).cloned().unwrap_or(StepStatus::Unknown);
        let graph = Graph::check(id, spec, &EngineView { status: &known, capacity: &self.capacity }, now)?;
        for (task, StepRef { workflow, key }) in elsewhere {
            if let Some(flow) = self.flows.get_mut(&workflow) {
                flow.graph.subscribe(key.step);
                self.wanted.entry(task).or_default().push(id);
            }
        }
        let gate = limited.then(|| Gate::new(*graph.capacity()));
        self.flows.insert(id, WorkflowEntry { graph, gate, tickets: FxHashMap::default() });
        self.advance(id, now, |graph| graph.start(now));
        Ok(())
    }

    /// Looks for the tasks that others do not know to be in flight among the steps here, and for its own, which should
    /// not be there: in one pass over the workflows. Says which of the named ones have not ended.
    fn look_elsewhere(&self, spec: &WorkflowSpec, known: &mut FxHashMap<TaskId, StepStatus>) -> Vec<(TaskId, StepRef)> {
        let named: FxHashSet<TaskId> =
            known.iter().filter(|(_, known)| **known != StepStatus::Live).map(|(task, _)| *task).collect();
        let ids = || spec.steps.iter().map(|step| step.task().id());
        let span = if self.flows.is_empty() { None } else { ids().min().zip(ids().max()) };
        let overlaps = |flow: &&WorkflowEntry| {
            let (low, high) = flow.graph.span();
            span.is_some_and(|(first, last)| first <= high && low <= last)
        };
        // Ids sort by time: of workflows that were not made at the same time, one look suffices.
        let own: FxHashSet<TaskId> =
            if self.flows.values().any(|flow| overlaps(&flow)) { ids().collect() } else { FxHashSet::default() };
        let mut live = Vec::new();
        for (workflow, flow) in &self.flows {
            for (task, step) in flow.graph.steps_among(&named) {
                let status = flow.graph.status(step);
                if status == StepStatus::Live {
                    live.push((task, StepRef { workflow: *workflow, key: StepKey::whole(step) }));
                }
                if let Some(known) = known.get_mut(&task) {
                    known.correct(status);
                }
            }
            known.extend(flow.graph.steps_among(&own).into_iter().map(|(task, _)| (task, StepStatus::Live)));
        }
        live
    }

    /// The step in flight whose task this is. InstanceCounts of mapped steps are not among them.
    #[must_use]
    pub fn step_of(&self, task: TaskId) -> Option<StepRef> {
        let found = |(workflow, flow): (&WorkflowId, &WorkflowEntry)| {
            let key = StepKey::whole(flow.graph.step_of(task)?);
            Some(StepRef { workflow: *workflow, key })
        };
        self.flows.iter().find_map(found)
    }

    /// Where a step stands, for those outside its workflow.
    #[must_use]
    pub fn status(&self, step: StepRef) -> StepStatus {
        self.graph(step.workflow).map_or(StepStatus::Unknown, |graph| graph.status(step.key.step))
    }

    /// Has the end of a step be an [action](WorkflowAction::Ended).
    pub fn subscribe(&mut self, step: StepRef) {
        if let Some(flow) = self.flows.get_mut(&step.workflow) {
            flow.graph.subscribe(step.key.step);
        }
    }

    /// Whether a step waits, for others or at a gate: nothing of it has been submitted.
    #[must_use]
    pub fn waits(&self, step: StepRef) -> bool {
        let Some(flow) = self.flows.get(&step.workflow) else { return false };
        let mapped = flow.graph.rules_of(step.key).is_some_and(|rules| rules.map_over.is_some());
        match flow.graph.state_of(step.key.step) {
            Some(StepState::Waiting) => true,
            Some(StepState::Ready) => !mapped && !flow.is_sent(step.key),
            _ => false,
        }
    }

    /// Ends one step on request, and says what becomes of it: what has not been submitted never will be.
    pub fn cancel_step(&mut self, step: StepRef, now: Tick) -> CancelAnswer {
        let waits = self.waits(step);
        let mut answer = CancelAnswer::Unknown;
        self.advance(step.workflow, now, |graph| answer = graph.cancel_step(step.key.step, now));
        if waits { CancelAnswer::Removed } else { answer }
    }

    /// The tasks outside a workflow that its steps still wait for.
    #[must_use]
    pub fn externals(&self, id: WorkflowId) -> Vec<TaskId> {
        self.flows.get(&id).map(|flow| flow.graph.externals().collect()).unwrap_or_default()
    }

    /// A workflow in flight.
    #[must_use]
    pub fn graph(&self, id: WorkflowId) -> Option<&Graph> {
        self.flows.get(&id).map(|flow| &flow.graph)
    }

    /// Whether every change of a step is wanted as an action.
    pub fn watch(&mut self, watched: bool) {
        self.watched = watched;
    }

    /// How many are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// An attempt of a step has started.
    pub fn started(&mut self, step: StepRef, now: Tick) {
        self.advance(step.workflow, now, |graph| graph.started(step.key, now));
    }

    /// What was submitted for a step has ended. One that has ended already, or of a workflow that has, changes
    /// nothing (L3).
    pub fn ended(&mut self, step: StepRef, ended: Ended, now: Tick) {
        if self.has_ended(step) {
            self.advance(step.workflow, now, |graph| graph.ended(step.key, ended, now));
        }
    }

    /// Whether the step's result may name further steps.
    #[must_use]
    pub fn is_dynamic(&self, step: StepRef) -> bool {
        let rules = self.flows.get(&step.workflow).and_then(|flow| flow.graph.rules_of(step.key));
        rules.is_some_and(|rules| rules.dynamic && rules.map_over.is_none())
    }

    /// A dynamic step succeeded, and its result names these steps, or is wrong.
    pub fn ended_with(
        &mut self,
        step: StepRef,
        ended: Ended,
        steps: Result<Vec<Step>, Vec<String>>,
        known: &dyn Fn(TaskId) -> StepStatus,
        now: Tick,
    ) {
        if !self.has_ended(step) {
            return;
        }
        let capacity = self.capacity.clone();
        self.advance(step.workflow, now, |graph| {
            let added = steps.and_then(|steps| {
                let outside = EngineView { status: known, capacity: &capacity };
                let added = graph.add_below(step.key, steps, &outside, now);
                added.map_err(|problems| problems.iter().map(ToString::to_string).collect())
            });
            match added {
                Ok(()) => graph.ended(step.key, ended, now),
                Err(problems) => graph.not_added(step.key, problems, &ended, now),
            }
        });
    }

    /// Gives back what a step used; false if it was not submitted.
    fn has_ended(&mut self, step: StepRef) -> bool {
        let Some(flow) = self.flows.get_mut(&step.workflow) else { return false };
        let Some(gate) = &mut flow.gate else { return true };
        let Some(permit) = flow.tickets.remove(&step.key) else { return false };
        gate.give_back(permit);
        true
    }

    /// A task outside a workflow has ended, for which its steps waited.
    pub fn external_ended(&mut self, id: WorkflowId, task: TaskId, end: impl Into<StepOutcome>, now: Tick) {
        self.advance(id, now, |graph| graph.external_ended(task, end.into(), now));
    }

    /// Ends a workflow: what has not been submitted never will be. Returns whether there is one.
    pub fn cancel(&mut self, id: WorkflowId, now: Tick) -> bool {
        let is_there = self.flows.contains_key(&id);
        self.advance(id, now, |graph| graph.cancel(now));
        is_there
    }

    /// Ends all of them.
    pub fn cancel_all(&mut self, now: Tick) {
        let ids: Vec<WorkflowId> = self.flows.keys().copied().collect();
        for id in ids {
            self.cancel(id, now);
        }
    }

    /// Takes what should happen, in order.
    pub fn take_actions(&mut self) -> Vec<WorkflowAction> {
        std::mem::take(&mut self.actions)
    }

    /// The task of a step that was submitted, and the parameters it is to have instead of its own. Asked for once;
    /// nothing if the step has ended meanwhile.
    pub fn hand_over(&mut self, step: StepRef) -> Option<(Task, ChunkedBytes)> {
        self.flows.get_mut(&step.workflow)?.graph.hand_over(step.key)
    }

    /// Takes a workflow that has ended out.
    pub fn take(&mut self, id: WorkflowId) -> Option<Graph> {
        self.flows.remove(&id).map(|flow| flow.graph)
    }

    /// Tells a graph of an event, and does what comes of it, also in workflows that wait for its steps.
    fn advance(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph)) {
        self.tell(id, now, event);
        self.pass_on(now);
    }

    /// By a work list, not by recursion: workflows may wait for each other in a long row.
    fn pass_on(&mut self, now: Tick) {
        while let Some((id, task, end)) = self.heard.pop_front() {
            self.tell(id, now, |graph| graph.external_ended(task, end, now));
        }
    }

    fn tell(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph)) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.graph.watch(self.watched);
        event(&mut flow.graph);
        let mut removed = Vec::new();
        let mut told = std::mem::take(&mut self.empty);
        flow.graph.swap_actions(&mut told);
        for action in told.drain(..) {
            match action {
                GraphAction::Submit(key) => {
                    let step = StepRef { workflow: id, key };
                    if let Err(problem) = admit(flow, &self.capacity, &mut self.actions, step) {
                        removed.push((step, problem));
                    }
                }
                GraphAction::Cancel(key) => match flow.graph.id_of(key).filter(|_| flow.is_sent(key)) {
                    Some(task) => {
                        let step = StepRef { workflow: id, key };
                        self.actions.push(WorkflowAction::Cancel { step, task });
                    }
                    // It waits at its workflow's gate, from which all such are taken below.
                    None => removed.push((StepRef { workflow: id, key }, cancelled())),
                },
                GraphAction::Changed { step, state } if self.watched => {
                    self.actions.push(WorkflowAction::Changed { workflow: id, step, state });
                }
                GraphAction::Changed { .. } => {}
                GraphAction::Ended { step, task, outcome } => {
                    let waiting = self.wanted.remove(&task).unwrap_or_default();
                    self.heard.extend(waiting.into_iter().map(|other| (other, task, StepOutcome::clone(&outcome))));
                    let step = StepRef { workflow: id, key: StepKey::whole(step) };
                    self.actions.push(WorkflowAction::Ended { step, task, outcome });
                }
                GraphAction::Finished => self.actions.push(WorkflowAction::Finished(id)),
            }
        }
        // A wide graph begins many steps at one time, and then hardly any.
        told.shrink_to(1024);
        self.empty = told;
        if !removed.is_empty() {
            self.turn_away(id, removed, now);
        }
        self.open(id, now);
    }

    /// Takes steps out of their workflow's gate and ends them.
    fn turn_away(&mut self, id: WorkflowId, steps: Vec<(StepRef, Outcome)>, now: Tick) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        if let Some(gate) = &mut flow.gate {
            let gone: std::collections::HashSet<StepRef> = steps.iter().map(|(step, _)| *step).collect();
            gate.remove(|step| gone.contains(step));
        }
        for (step, outcome) in steps {
            self.tell(id, now, |graph| graph.ended(step.key, Ended::without_attempt(outcome), now));
        }
    }

    /// Lets through the gate of a workflow what fits.
    fn open(&mut self, id: WorkflowId, now: Tick) {
        if let Some(WorkflowEntry { gate: Some(gate), tickets, .. }) = self.flows.get_mut(&id) {
            for (step, permit) in gate.open(now) {
                tickets.insert(step.key, permit);
                self.actions.push(WorkflowAction::Submit(step));
            }
        }
    }
}

/// Brings a step to its workflow's gate, or submits it if there is none.
fn admit(
    flow: &mut WorkflowEntry,
    pools: &EngineCapacity,
    actions: &mut Vec<WorkflowAction>,
    step: StepRef,
) -> Result<(), Outcome> {
    let (Some(gate), Some(task)) = (&mut flow.gate, flow.graph.task_of(step.key)) else {
        actions.push(WorkflowAction::Submit(step));
        return Ok(());
    };
    // Keys and rates are the engine's business: they are shared with what is not of this workflow.
    let needs = task.limits().map(|limits| limits.needs).unwrap_or_default();
    let limits = Limits { needs, ..Limits::default() };
    let line = gate.wait(step, pools.kind(task.pool_id()).unwrap_or_default(), task.options().priority, &limits);
    line.map(|_| ()).map_err(|(_, shortfall)| impossible(shortfall))
}

fn cancelled() -> Outcome {
    Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, "the step was cancelled before it was submitted")))
}

fn impossible(shortfall: Shortfall) -> Outcome {
    let words = format!("it can never run: {shortfall}");
    Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, words)))
}

#[cfg(test)]
mod tests;
