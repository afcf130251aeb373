//! All workflows in flight: the WorkflowManager without its mailbox.
//!
//! Each workflow is a [`Graph`]. What a graph wants to run passes the gate of its workflow, if that has
//! limits of its own, and is submitted like any task. What the engine allows of its slots, of the machine
//! and by key holds for steps as for all tasks: the scheduler sees to that.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::graph::{Action as GraphAction, Ended, Graph, GraphError, Known, Outside, Params, Place};
use super::resources::{Gate, Ticket};
use super::task_table::Keep;
use crate::model::workflow::{Step, StepState, WorkflowId, WorkflowRecord, WorkflowSpec};
use crate::model::{Capacity, ErrorKind, Limits, Outcome, Shortfall, Task, TaskError, TaskId, Tick};

/// A step of a workflow, or one instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepRef {
    /// The workflow.
    pub workflow: WorkflowId,
    /// Where in it.
    pub place: Place,
}

/// What should happen.
#[derive(Debug)]
pub enum Action {
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
    /// Every step of this workflow has ended: [take](Workflows::take) it.
    Finished(WorkflowId),
}

#[derive(Debug)]
struct Flow {
    graph: Graph,
    /// If the workflow has limits of its own.
    gate: Option<Gate<StepRef>>,
    /// Of the steps that have passed it and have not ended.
    tickets: FxHashMap<Place, Ticket>,
}

impl Flow {
    /// Whether a step that is to run has been submitted: if not, it waits at the gate.
    fn is_sent(&self, place: Place) -> bool {
        self.gate.is_none() || self.tickets.contains_key(&place)
    }
}

/// The workflows that have not ended.
#[derive(Debug)]
pub struct Workflows {
    flows: FxHashMap<WorkflowId, Flow>,
    capacity: Capacity,
    actions: Vec<Action>,
    /// An empty list, kept for its memory.
    heard: Vec<GraphAction>,
    /// Somebody wants to know of every change.
    watched: bool,
}

impl Workflows {
    /// No workflows, in an engine that has so much for what runs at one time.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self { flows: FxHashMap::default(), capacity, actions: Vec::new(), heard: Vec::new(), watched: false }
    }

    /// Checks a workflow and begins it.
    ///
    /// # Errors
    /// Everything that is wrong with it; nothing of it is kept then.
    pub fn submit(
        &mut self,
        id: WorkflowId,
        spec: WorkflowSpec,
        known: &dyn Fn(TaskId) -> Known,
        now: Tick,
    ) -> Result<(), Vec<GraphError>> {
        let graph = Graph::check(id, spec, &Outside { known, capacity: &self.capacity }, now)?;
        let limited = *graph.capacity() != Capacity::default();
        let gate = limited.then(|| Gate::new(*graph.capacity()));
        self.flows.insert(id, Flow { graph, gate, tickets: FxHashMap::default() });
        self.advance(id, now, |graph| graph.start(now));
        Ok(())
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
        self.advance(step.workflow, now, |graph| graph.started(step.place, now));
    }

    /// What was submitted for a step has ended. One that has ended already, or of a workflow that has, changes
    /// nothing (L3).
    pub fn ended(&mut self, step: StepRef, ended: Ended, now: Tick) {
        if self.has_ended(step) {
            self.advance(step.workflow, now, |graph| graph.ended(step.place, ended, now));
        }
    }

    /// Whether the step's result may name further steps.
    #[must_use]
    pub fn is_dynamic(&self, step: StepRef) -> bool {
        let rules = self.flows.get(&step.workflow).and_then(|flow| flow.graph.rules_of(step.place));
        rules.is_some_and(|rules| rules.dynamic && rules.map_over.is_none())
    }

    /// A dynamic step succeeded, and its result names these steps, or is wrong.
    pub fn ended_with(
        &mut self,
        step: StepRef,
        ended: Ended,
        steps: Result<Vec<Step>, Vec<String>>,
        known: &dyn Fn(TaskId) -> Known,
        now: Tick,
    ) {
        if !self.has_ended(step) {
            return;
        }
        let capacity = self.capacity;
        self.advance(step.workflow, now, |graph| {
            let added = steps.and_then(|steps| {
                let outside = Outside { known, capacity: &capacity };
                let added = graph.add_below(step.place, steps, &outside, now);
                added.map_err(|problems| problems.iter().map(ToString::to_string).collect())
            });
            match added {
                Ok(()) => graph.ended(step.place, ended, now),
                Err(problems) => graph.not_added(step.place, problems, &ended, now),
            }
        });
    }

    /// Gives back what a step used; false if it was not submitted.
    fn has_ended(&mut self, step: StepRef) -> bool {
        let Some(flow) = self.flows.get_mut(&step.workflow) else { return false };
        let Some(gate) = &mut flow.gate else { return true };
        let Some(ticket) = flow.tickets.remove(&step.place) else { return false };
        gate.give_back(ticket);
        true
    }

    /// A task outside a workflow has ended, for which its steps waited.
    pub fn external_ended(&mut self, id: WorkflowId, task: TaskId, outcome: Outcome, now: Tick) {
        self.advance(id, now, |graph| graph.external_ended(task, outcome, now));
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
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The task of a step that was submitted, and the parameters it is to have instead of its own. Asked for once;
    /// nothing if the step has ended meanwhile.
    pub fn hand_over(&mut self, step: StepRef) -> Option<(Task, Params)> {
        self.flows.get_mut(&step.workflow)?.graph.hand_over(step.place)
    }

    /// Takes a workflow that has ended out.
    pub fn take(&mut self, id: WorkflowId) -> Option<Graph> {
        self.flows.remove(&id).map(|flow| flow.graph)
    }

    /// Tells a graph of an event, and does what comes of it.
    fn advance(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph)) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        flow.graph.watch(self.watched);
        event(&mut flow.graph);
        let mut removed = Vec::new();
        let mut heard = std::mem::take(&mut self.heard);
        flow.graph.swap_actions(&mut heard);
        for action in heard.drain(..) {
            match action {
                GraphAction::Submit(place) => {
                    let step = StepRef { workflow: id, place };
                    if let Err(problem) = admit(flow, &mut self.actions, step) {
                        removed.push((step, problem));
                    }
                }
                GraphAction::Cancel(place) => match flow.graph.id_of(place).filter(|_| flow.is_sent(place)) {
                    Some(task) => {
                        let step = StepRef { workflow: id, place };
                        self.actions.push(Action::Cancel { step, task });
                    }
                    // It waits at its workflow's gate, from which all such are taken below.
                    None => removed.push((StepRef { workflow: id, place }, cancelled())),
                },
                GraphAction::Changed { step, state } if self.watched => {
                    self.actions.push(Action::Changed { workflow: id, step, state });
                }
                GraphAction::Changed { .. } => {}
                GraphAction::Finished => self.actions.push(Action::Finished(id)),
            }
        }
        // A wide graph begins many steps at one time, and then hardly any.
        heard.shrink_to(1024);
        self.heard = heard;
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
            self.advance(id, now, |graph| graph.ended(step.place, outcome.into(), now));
        }
    }

    /// Lets through the gate of a workflow what fits.
    fn open(&mut self, id: WorkflowId, now: Tick) {
        if let Some(Flow { gate: Some(gate), tickets, .. }) = self.flows.get_mut(&id) {
            for (step, ticket) in gate.open(now) {
                tickets.insert(step.place, ticket);
                self.actions.push(Action::Submit(step));
            }
        }
    }
}

/// Records of workflows that have ended, within bounds (L9): the oldest go first.
#[derive(Debug)]
pub struct Kept {
    records: FxHashMap<WorkflowId, Arc<WorkflowRecord>>,
    order: VecDeque<(WorkflowId, usize, Tick)>,
    bytes: usize,
    keep: Keep,
}

impl Kept {
    /// No records, to be kept within these bounds.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self { records: FxHashMap::default(), order: VecDeque::new(), bytes: 0, keep }
    }

    /// Keeps one more.
    pub fn push(&mut self, record: Arc<WorkflowRecord>, now: Tick) {
        let (id, weight) = (record.id, record.weight());
        self.records.insert(id, record);
        self.order.push_back((id, weight, now));
        self.bytes += weight;
        while self.order.len() > self.keep.count || self.bytes > self.keep.bytes {
            self.drop_oldest();
        }
        self.drop_old(now);
    }

    /// One of them, if it is still there.
    pub fn get(&mut self, id: WorkflowId, now: Tick) -> Option<Arc<WorkflowRecord>> {
        self.drop_old(now);
        self.records.get(&id).cloned()
    }

    fn drop_old(&mut self, now: Tick) {
        let Some(age) = self.keep.age else { return };
        while self.order.front().is_some_and(|(_, _, at)| at.after(age) <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((id, weight, _)) = self.order.pop_front() {
            self.records.remove(&id);
            self.bytes -= weight;
        }
    }
}

/// Brings a step to its workflow's gate, or submits it if there is none.
fn admit(flow: &mut Flow, actions: &mut Vec<Action>, step: StepRef) -> Result<(), Outcome> {
    let (Some(gate), Some(task)) = (&mut flow.gate, flow.graph.task_of(step.place)) else {
        actions.push(Action::Submit(step));
        return Ok(());
    };
    // Keys and rates are the engine's business: they are shared with what is not of this workflow.
    let needs = task.limits().map(|limits| limits.needs).unwrap_or_default();
    let limits = Limits { needs, ..Limits::default() };
    let line = gate.wait(step, task.pool(), task.options().priority, &limits);
    line.map_err(|(_, shortfall)| impossible(shortfall))
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
