//! All workflows in flight.
//!
//! Each workflow is a [`Graph`]. A ready step passes the gate of its workflow, if the workflow has limits of its own,
//! and is then submitted like any task. The scheduler applies the engine's limits to steps and tasks alike.

mod retained;

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

pub use self::retained::RetainedWorkflows;
use super::graph::{ChunkedBytes, Ended, EngineView, Found, Graph, GraphAction, Lookups, StepKey, StepStatus};
use super::recorder::Recorder;
use super::resources::{Gate, Permit};
use super::scheduler::impossible;
use crate::model::CancelAnswer;
use crate::model::workflow::{GraphError, Step, StepOutcome, StepState, WorkflowId, WorkflowSpec};
use crate::model::{EngineCapacity, ErrorKind, FactKind, Limits, Outcome, Task, TaskError, TaskId, Tick};

/// A step of a workflow, or one instance of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepRef {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The step, or the instance.
    pub key: StepKey,
}

/// What the caller has to do.
#[derive(Debug)]
pub enum WorkflowAction {
    /// Run this step when there is room for it. [`hand_over`](Workflows::hand_over) then gives its task.
    Submit(StepRef),
    /// Cancel this task, which was submitted.
    Cancel {
        /// The step.
        step: StepRef,
        /// Its id.
        task: TaskId,
    },
    /// A step with a [subscriber](Workflows::subscribe) ended.
    Ended {
        /// The step.
        step: StepRef,
        /// Its task.
        task: TaskId,
        /// How it ended.
        outcome: Box<StepOutcome>,
    },
    /// Every step of this workflow ended: [take](Workflows::take) it.
    Finished(WorkflowId),
}

#[derive(Debug)]
struct WorkflowEntry {
    graph: Graph,
    /// Present if the workflow has limits of its own.
    gate: Option<Gate<StepRef>>,
    /// The permits of the steps that have passed the gate and have not ended.
    tickets: FxHashMap<StepKey, Permit>,
}

impl WorkflowEntry {
    /// Sets whether changes of steps and the reasons of their waits become facts.
    fn listen(&mut self, workflow: WorkflowId, on: bool) {
        self.graph.watch(on);
        if let Some(gate) = &mut self.gate {
            let holders = self.tickets.iter().map(|(key, permit)| (StepRef { workflow, key: *key }, permit));
            gate.listen(on, holders);
        }
    }

    /// Whether a ready step was submitted. If not, it waits at the gate.
    fn is_sent(&self, key: StepKey) -> bool {
        self.gate.is_none() || self.tickets.contains_key(&key)
    }
}

/// The workflows that have not ended.
#[derive(Debug)]
pub struct Workflows {
    entries: FxHashMap<WorkflowId, WorkflowEntry>,
    capacity: EngineCapacity,
    /// The workflows that wait for a step of another workflow, by the task of the step. A step that ends is removed.
    subscriptions: FxHashMap<TaskId, Vec<WorkflowId>>,
    /// The outcomes of such steps that are not delivered yet.
    external_ends: VecDeque<(WorkflowId, TaskId, StepOutcome)>,
    actions: Vec<WorkflowAction>,
    /// An empty list, whose memory is reused.
    empty: Vec<GraphAction>,
    recorder: Recorder,
}

impl Workflows {
    /// Creates the state of an engine with this capacity, without workflows.
    #[must_use]
    pub fn new(capacity: EngineCapacity) -> Self {
        Self {
            entries: FxHashMap::default(),
            capacity,
            subscriptions: FxHashMap::default(),
            external_ends: VecDeque::new(),
            actions: Vec::new(),
            empty: Vec::new(),
            recorder: Recorder::default(),
        }
    }

    /// Checks a workflow and starts it. `known` has the status of every external task that it names, and of those of
    /// its own tasks that the engine knows already, without a look at the workflows in flight.
    ///
    /// # Errors
    /// All mistakes. Nothing of the workflow is kept then.
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
        let copy = self.recorder.is_listening().then(|| Box::new(spec.clone()));
        let graph = Graph::check(id, spec, &EngineView { status: &known, capacity: &self.capacity }, now)?;
        for (task, StepRef { workflow, key }) in elsewhere {
            if let Some(entry) = self.entries.get_mut(&workflow) {
                entry.graph.subscribe(key.step);
                self.subscriptions.entry(task).or_default().push(id);
            }
        }
        self.recorder.note_with(now, copy, |spec| FactKind::WorkflowAccepted { workflow: id, spec });
        let gate = limited.then(|| Gate::new(*graph.capacity()));
        self.entries.insert(id, WorkflowEntry { graph, gate, tickets: FxHashMap::default() });
        self.advance(id, now, |graph| graph.start(now));
        Ok(())
    }

    /// Corrects the status of tasks that are steps of workflows in flight, and marks own tasks that are known, in one
    /// pass over the workflows. Returns the named steps that have not ended.
    fn look_elsewhere(&self, spec: &WorkflowSpec, known: &mut FxHashMap<TaskId, StepStatus>) -> Vec<(TaskId, StepRef)> {
        let named: FxHashSet<TaskId> =
            known.iter().filter(|(_, known)| **known != StepStatus::Live).map(|(task, _)| *task).collect();
        let ids = || spec.steps.iter().map(|step| step.task().id());
        let span = if self.entries.is_empty() { None } else { ids().min().zip(ids().max()) };
        let overlaps = |entry: &&WorkflowEntry| {
            let (low, high) = entry.graph.span();
            span.is_some_and(|(first, last)| first <= high && low <= last)
        };
        // Ids sort by time, so workflows that were made at different times need one comparison.
        let own: FxHashSet<TaskId> =
            if self.entries.values().any(|entry| overlaps(&entry)) { ids().collect() } else { FxHashSet::default() };
        let mut live = Vec::new();
        for (workflow, entry) in &self.entries {
            for (task, step) in entry.graph.steps_among(&named) {
                let status = entry.graph.status(step);
                if status == StepStatus::Live {
                    live.push((task, StepRef { workflow: *workflow, key: StepKey::whole(step) }));
                }
                if let Some(known) = known.get_mut(&task) {
                    known.correct(status);
                }
            }
            known.extend(entry.graph.steps_among(&own).into_iter().map(|(task, _)| (task, StepStatus::Live)));
        }
        live
    }

    /// The step in flight with this task. Instances of mapped steps are not included.
    #[must_use]
    pub fn step_of(&self, task: TaskId) -> Option<StepRef> {
        let found = |(workflow, entry): (&WorkflowId, &WorkflowEntry)| {
            let key = StepKey::whole(entry.graph.step_of(task)?);
            Some(StepRef { workflow: *workflow, key })
        };
        self.entries.iter().find_map(found)
    }

    /// The status of a step, for those outside its workflow.
    #[must_use]
    pub fn status(&self, step: StepRef) -> StepStatus {
        self.graph(step.workflow).map_or(StepStatus::Unknown, |graph| graph.status(step.key.step))
    }

    /// Makes the end of a step an [action](WorkflowAction::Ended).
    pub fn subscribe(&mut self, step: StepRef) {
        if let Some(entry) = self.entries.get_mut(&step.workflow) {
            entry.graph.subscribe(step.key.step);
        }
    }

    /// Whether a step waits for its dependencies or at a gate, so that nothing of it was submitted.
    #[must_use]
    pub fn waits(&self, step: StepRef) -> bool {
        let Some(entry) = self.entries.get(&step.workflow) else { return false };
        let mapped = entry.graph.rules_of(step.key).is_some_and(|rules| rules.map_over.is_some());
        match entry.graph.state_of(step.key.step) {
            Some(StepState::Waiting) => true,
            Some(StepState::Ready) => !mapped && !entry.is_sent(step.key),
            _ => false,
        }
    }

    /// Cancels a step on request. A step that was not submitted is never submitted.
    pub fn cancel_step(&mut self, step: StepRef, now: Tick) -> CancelAnswer {
        let waits = self.waits(step);
        let mut answer = CancelAnswer::Unknown;
        self.advance(step.workflow, now, |graph| answer = graph.cancel_step(step.key.step, now));
        if waits { CancelAnswer::Removed } else { answer }
    }

    /// The external tasks that the steps of a workflow still wait for.
    #[must_use]
    pub fn externals(&self, id: WorkflowId) -> Vec<TaskId> {
        self.entries.get(&id).map(|entry| entry.graph.externals().collect()).unwrap_or_default()
    }

    /// A workflow in flight.
    #[must_use]
    pub fn graph(&self, id: WorkflowId) -> Option<&Graph> {
        self.entries.get(&id).map(|entry| &entry.graph)
    }

    /// The facts of the present turn.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The number of workflows in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no workflow is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An attempt of a step has started.
    pub fn started(&mut self, step: StepRef, now: Tick) {
        self.advance(step.workflow, now, |graph| graph.started(step.key, now));
    }

    /// A submitted step ended. A step or a workflow that ended before is not changed (L3).
    pub fn ended(&mut self, step: StepRef, ended: Ended, now: Tick) {
        if self.release_permit(step) {
            self.advance(step.workflow, now, |graph| graph.ended(step.key, ended, now));
        }
    }

    /// A step was cancelled before its task was submitted.
    pub fn not_submitted(&mut self, step: StepRef, now: Tick) {
        self.ended(step, Ended::without_attempt(cancelled()), now);
    }

    /// Whether the step's result may add steps.
    #[must_use]
    pub fn is_dynamic(&self, step: StepRef) -> bool {
        let rules = self.entries.get(&step.workflow).and_then(|entry| entry.graph.rules_of(step.key));
        rules.is_some_and(|rules| rules.dynamic && rules.map_over.is_none())
    }

    /// What other steps will read of a result, if it is large: look it up elsewhere, and pass it to
    /// [`found`](Self::found) before the end of the step.
    #[must_use]
    pub fn lookups(&self, step: StepRef, outcome: &Outcome) -> Option<Lookups> {
        match outcome {
            Outcome::Succeeded(data) => self.graph(step.workflow)?.lookups(step.key, data),
            _ => None,
        }
    }

    /// Takes what was found in the result of a step that is about to end.
    pub fn found(&mut self, step: StepRef, found: Found) {
        if let Some(entry) = self.entries.get_mut(&step.workflow) {
            entry.graph.found(step.key, found);
        }
    }

    /// A dynamic step succeeded: its result adds these steps, or is invalid.
    pub fn ended_with(
        &mut self,
        step: StepRef,
        ended: Ended,
        steps: Result<Vec<Step>, Vec<String>>,
        known: &dyn Fn(TaskId) -> StepStatus,
        now: Tick,
    ) {
        if !self.release_permit(step) {
            return;
        }
        let (workflow, below) = (step.workflow, step.key.step);
        let mut copy = if self.recorder.is_listening() { steps.as_ref().ok().cloned() } else { None };
        let capacity = self.capacity.clone();
        self.apply_fact(workflow, now, |graph| {
            let before = graph.added();
            let added = steps.and_then(|steps| {
                let outside = EngineView { status: known, capacity: &capacity };
                let added = graph.add_below(step.key, steps, &outside, now);
                added.map_err(|problems| problems.iter().map(ToString::to_string).collect())
            });
            match added {
                Ok(()) => graph.ended(step.key, ended, now),
                Err(problems) => graph.not_added(step.key, problems, &ended, now),
            }
            let below = graph.title_of(below).unwrap_or_default();
            let fact = || copy.take().map(|steps| FactKind::StepsAdded { workflow, below, steps });
            (graph.added() > before).then(fact)
        });
        self.propagate(now);
    }

    /// Returns the permit of a step to its gate. False if the step was not submitted.
    fn release_permit(&mut self, step: StepRef) -> bool {
        let Some(entry) = self.entries.get_mut(&step.workflow) else { return false };
        let Some(gate) = &mut entry.gate else { return true };
        let Some(permit) = entry.tickets.remove(&step.key) else { return false };
        gate.give_back(permit);
        true
    }

    /// An external task of a workflow ended.
    pub fn external_ended(&mut self, id: WorkflowId, task: TaskId, end: impl Into<StepOutcome>, now: Tick) {
        self.advance(id, now, |graph| graph.external_ended(task, end.into(), now));
    }

    /// Cancels a workflow. Steps that were not submitted are never submitted. Returns whether it is in flight.
    pub fn cancel(&mut self, id: WorkflowId, now: Tick) -> bool {
        let is_there = self.entries.contains_key(&id);
        if is_there {
            self.recorder.note(now, || FactKind::WorkflowCancelRequested { workflow: id });
        }
        self.advance(id, now, |graph| graph.cancel(now));
        is_there
    }

    /// Cancels all workflows.
    pub fn cancel_all(&mut self, now: Tick) {
        let ids: Vec<WorkflowId> = self.entries.keys().copied().collect();
        for id in ids {
            self.cancel(id, now);
        }
    }

    /// Takes the actions, in order.
    pub fn take_actions(&mut self) -> Vec<WorkflowAction> {
        std::mem::take(&mut self.actions)
    }

    /// The task of a submitted step, and the parameters that replace the step's own. Call it once for each step.
    /// Returns `None` if the step has ended.
    pub fn hand_over(&mut self, step: StepRef) -> Option<(Task, ChunkedBytes)> {
        self.entries.get_mut(&step.workflow)?.graph.hand_over(step.key)
    }

    /// Removes a workflow that ended.
    pub fn take(&mut self, id: WorkflowId) -> Option<Graph> {
        self.entries.remove(&id).map(|entry| entry.graph)
    }

    /// Applies an event to a workflow, and then to the workflows that wait for its steps.
    fn advance(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph)) {
        self.apply(id, now, event);
        self.propagate(now);
    }

    /// A queue replaces recursion, because workflows can form a long chain.
    fn propagate(&mut self, now: Tick) {
        while let Some((id, task, end)) = self.external_ends.pop_front() {
            self.apply(id, now, |graph| graph.external_ended(task, end, now));
        }
    }

    fn apply(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph)) {
        self.apply_fact(id, now, |graph| {
            event(graph);
            None
        });
    }

    /// Applies an event that may be a fact itself. The fact is recorded before the changes that it makes. It is
    /// `Some(None)` if nobody listens.
    fn apply_fact(&mut self, id: WorkflowId, now: Tick, event: impl FnOnce(&mut Graph) -> Option<Option<FactKind>>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.listen(id, self.recorder.is_listening());
        if let Some(fact) = event(&mut entry.graph) {
            self.recorder.note_with(now, fact, |fact| fact);
        }
        let mut removed = Vec::new();
        let mut emitted = std::mem::take(&mut self.empty);
        entry.graph.swap_actions(&mut emitted);
        self.recorder.skip(entry.graph.take_unwatched());
        for action in emitted.drain(..) {
            match action {
                GraphAction::Submit(key) => {
                    let step = StepRef { workflow: id, key };
                    if let Err(problem) = admit(entry, &self.capacity, &mut self.actions, step) {
                        removed.push((step, problem));
                    }
                }
                GraphAction::Cancel(key) => match entry.graph.id_of(key).filter(|_| entry.is_sent(key)) {
                    Some(task) => {
                        let step = StepRef { workflow: id, key };
                        self.actions.push(WorkflowAction::Cancel { step, task });
                    }
                    // The step waits at its workflow's gate; all of those steps are removed below.
                    None => removed.push((StepRef { workflow: id, key }, cancelled())),
                },
                GraphAction::Changed { step, state } => note_change(&mut self.recorder, &entry.graph, step, state, now),
                GraphAction::Ended { step, task, outcome } => {
                    let waiting = self.subscriptions.remove(&task).unwrap_or_default();
                    self.external_ends
                        .extend(waiting.into_iter().map(|other| (other, task, StepOutcome::clone(&outcome))));
                    let step = StepRef { workflow: id, key: StepKey::whole(step) };
                    self.actions.push(WorkflowAction::Ended { step, task, outcome });
                }
                GraphAction::Finished => self.actions.push(WorkflowAction::Finished(id)),
            }
        }
        // A wide graph submits many steps at once, and later only a few.
        emitted.shrink_to(1024);
        self.empty = emitted;
        if !removed.is_empty() {
            self.withdraw(id, removed, now);
        }
        self.open_gate(id, now);
    }

    /// Removes steps from their workflow's gate and ends them.
    fn withdraw(&mut self, id: WorkflowId, steps: Vec<(StepRef, Outcome)>, now: Tick) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(gate) = &mut entry.gate {
            let gone: std::collections::HashSet<StepRef> = steps.iter().map(|(step, _)| *step).collect();
            gate.remove(|step| gone.contains(step));
        }
        for (step, outcome) in steps {
            self.apply(id, now, |graph| graph.ended(step.key, Ended::without_attempt(outcome), now));
        }
    }

    /// Submits the steps that the gate of a workflow admits.
    fn open_gate(&mut self, workflow: WorkflowId, now: Tick) {
        let Some(WorkflowEntry { graph, gate: Some(gate), tickets }) = self.entries.get_mut(&workflow) else { return };
        let title = |key: StepKey| graph.title_of(key.step).unwrap_or_default();
        for (step, permit) in gate.open(now) {
            let StepKey { step: number, instance } = step.key;
            if let Some((task, _)) = graph.tasks_of(number) {
                let fact = || FactKind::StepAdmitted { workflow, step: title(step.key), task, instance };
                self.recorder.note(now, fact);
            }
            tickets.insert(step.key, permit);
            self.actions.push(WorkflowAction::Submit(step));
        }
        // The gate has no keys, so no reason names a step. The list is empty while nobody listens.
        for (step, by) in gate.take_blocked(|_| None) {
            let StepKey { step: number, instance } = step.key;
            if let Some((task, _)) = graph.tasks_of(number) {
                self.recorder.note(now, || FactKind::StepBlocked {
                    workflow,
                    step: title(step.key),
                    task,
                    instance,
                    by: Box::new(by),
                });
            }
        }
    }
}

/// Records that a step has another state.
fn note_change(recorder: &mut Recorder, graph: &Graph, step: u32, state: StepState, now: Tick) {
    let Some((task, instances)) = graph.tasks_of(step) else { return };
    let workflow = graph.id();
    recorder.note(now, || {
        let step = graph.title_of(step).unwrap_or_default();
        FactKind::StepChanged { workflow, step, task, state, instances }
    });
}

/// Queues a step at its workflow's gate, or submits it if there is no gate.
fn admit(
    entry: &mut WorkflowEntry,
    pools: &EngineCapacity,
    actions: &mut Vec<WorkflowAction>,
    step: StepRef,
) -> Result<(), Outcome> {
    let (Some(gate), Some(task)) = (&mut entry.gate, entry.graph.task_of(step.key)) else {
        actions.push(WorkflowAction::Submit(step));
        return Ok(());
    };
    // The engine applies keys and rates, because they are shared beyond this workflow.
    let needs = task.limits().map(|limits| limits.needs).unwrap_or_default();
    let limits = Limits { needs, ..Limits::default() };
    let line = gate.wait(step, pools.kind(task.pool_id()).unwrap_or_default(), task.options().priority, &limits);
    line.map(|_| ()).map_err(|(_, shortfall)| impossible(shortfall))
}

fn cancelled() -> Outcome {
    Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, "the step was cancelled before it was submitted")))
}

#[cfg(test)]
mod tests;
