//! The state of a running workflow, from its file, its events, and sometimes its record.

use std::collections::{BTreeSet, HashMap};

use axion_core::workflow::{StepState, WorkflowRecord, WorkflowSpec};
use axion_core::{Attempt, TaskId};

/// The known state of a step.
#[derive(Debug)]
pub(super) struct StepView {
    pub(super) name: String,
    pub(super) state: StepState,
    /// It runs once for each element of a list.
    pub(super) mapped: bool,
    /// When its start was reported.
    pub(super) started: Option<jiff::Timestamp>,
    /// The attempts of a step that is not mapped.
    pub(super) attempts: u32,
    /// The last progress that it reported.
    pub(super) progress: Option<(f64, String)>,
    /// The number of instances, and of those that ended.
    pub(super) instances: (usize, usize),
    /// The first failed instance.
    pub(super) first_failed: Option<TaskId>,
}

/// The step or the instance that a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskOwner {
    pub(super) step: usize,
    pub(super) instance: Option<u32>,
}

/// A change of a step, from an event.
#[derive(Debug)]
pub(super) struct StepChange {
    pub(super) name: String,
    pub(super) task: TaskId,
    pub(super) state: StepState,
    pub(super) instances: Option<usize>,
}

/// The known state of all steps.
#[derive(Debug, Default)]
pub(super) struct WorkflowView {
    steps: Vec<StepView>,
    by_task: HashMap<TaskId, TaskOwner>,
    running: BTreeSet<usize>,
    ended: usize,
    failed: usize,
}

impl WorkflowView {
    pub(super) fn of(spec: &WorkflowSpec) -> Self {
        let mut view = Self::default();
        for step in &spec.steps {
            view.add(step.title(), step.task().id(), step.rules().map_over.is_some());
        }
        view
    }

    fn add(&mut self, name: String, task: TaskId, mapped: bool) -> usize {
        let at = self.steps.len();
        self.by_task.insert(task, TaskOwner { step: at, instance: None });
        self.steps.push(StepView {
            name,
            state: StepState::Waiting,
            mapped,
            started: None,
            attempts: 0,
            progress: None,
            instances: (0, 0),
            first_failed: None,
        });
        at
    }

    /// Takes added steps, instances and missed states from a record.
    pub(super) fn update(&mut self, record: &WorkflowRecord) {
        for it in &record.steps {
            let at = match self.by_task.get(&it.task) {
                Some(owner) => owner.step,
                None => {
                    let name = it.name.as_ref().map_or_else(|| it.task.to_string(), ToString::to_string);
                    self.add(name, it.task, it.instances.is_some())
                }
            };
            self.mapped(at, it.task, it.instances.as_ref().map(|it| it.total));
            let Some(step) = self.steps.get_mut(at) else { continue };
            step.started = step.started.or(it.started);
            self.set(at, it.state);
        }
    }

    /// Registers the tasks of a mapped step's instances, once their number is known.
    fn mapped(&mut self, at: usize, task: TaskId, instances: Option<usize>) {
        let (Some(total), Some(step)) = (instances, self.steps.get_mut(at)) else { return };
        step.mapped = true;
        if step.instances.0 == 0 {
            step.instances.0 = total;
            for index in 0..u32::try_from(total).unwrap_or(u32::MAX) {
                self.by_task.insert(task.instance(index), TaskOwner { step: at, instance: Some(index) });
            }
        }
    }

    /// Changes the state of a step. An unknown step was added by another one.
    pub(super) fn changed(&mut self, change: StepChange, at: jiff::Timestamp) -> Option<&StepView> {
        let StepChange { name, task, state, instances } = change;
        let number = match self.by_task.get(&task) {
            Some(owner) => owner.step,
            None => self.add(name, task, instances.is_some()),
        };
        self.mapped(number, task, instances);
        if state == StepState::Running {
            self.steps.get_mut(number)?.started.get_or_insert(at);
        }
        self.set(number, state);
        self.steps.get(number)
    }

    /// Sets a later state. An event can repeat what a record said before.
    fn set(&mut self, at: usize, state: StepState) {
        let Some(step) = self.steps.get_mut(at).filter(|step| !step.state.is_final()) else { return };
        step.state = state;
        if state == StepState::Running {
            self.running.insert(at);
        }
        if state.is_final() {
            self.running.remove(&at);
            self.ended += 1;
            self.failed += usize::from(state.is_failure());
        }
    }

    pub(super) fn owner(&self, task: TaskId) -> Option<TaskOwner> {
        self.by_task.get(&task).copied()
    }

    pub(super) fn step(&self, owner: TaskOwner) -> Option<&StepView> {
        self.steps.get(owner.step)
    }

    /// The label in front of a task's lines.
    pub(super) fn label(&self, owner: TaskOwner) -> String {
        let name = self.step(owner).map_or("", |step| &step.name);
        owner.instance.map_or_else(|| name.to_owned(), |index| format!("{name}[{index}]"))
    }

    pub(super) fn sent(&mut self, task: TaskId, attempt: Attempt) {
        if let Some(step) = self.owner(task).and_then(|it| self.steps.get_mut(it.step)) {
            step.attempts = step.attempts.max(attempt.0);
        }
    }

    pub(super) fn progressed(&mut self, task: TaskId, fraction: f64, message: String) {
        if let Some(step) = self.owner(task).and_then(|it| self.steps.get_mut(it.step)) {
            step.progress = Some((fraction, message));
        }
    }

    pub(super) fn task_ended(&mut self, task: TaskId, succeeded: bool) {
        let Some(owner) = self.owner(task).filter(|it| it.instance.is_some()) else { return };
        let Some(step) = self.steps.get_mut(owner.step) else { return };
        step.instances.1 += 1;
        if !succeeded {
            step.first_failed.get_or_insert(task);
        }
    }

    /// The running steps, in the order of the workflow.
    pub(super) fn running(&self) -> impl ExactSizeIterator<Item = &StepView> {
        self.running.iter().map(|at| &self.steps[*at])
    }

    /// The number of steps that ended, that failed, and of all steps.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.ended, self.failed, self.steps.len())
    }

    /// The first failed instance of each mapped step, by the step's name.
    pub(super) fn first_failed(&self) -> impl Iterator<Item = (&str, TaskId)> {
        self.steps.iter().filter_map(|step| Some((step.name.as_str(), step.first_failed?)))
    }
}

#[cfg(test)]
mod tests {
    use axion_core::Task;
    use axion_core::workflow::Step;
    use jiff::Timestamp;

    use super::*;

    fn change(name: &str, task: TaskId, state: StepState, instances: Option<usize>) -> StepChange {
        StepChange { name: name.to_owned(), task, state, instances }
    }

    #[test]
    fn events_alone_tell_of_steps_that_were_added_and_of_instances() {
        let mut view = WorkflowView::of(&WorkflowSpec::of([Step::new("first", Task::script("/work.py"))]));
        let (added, mapped) = (TaskId::generate(), TaskId::generate());
        let now = Timestamp::UNIX_EPOCH;
        view.changed(change("added", added, StepState::Ready, None), now);
        view.changed(change("added", added, StepState::Running, None), now);
        view.changed(change("each", mapped, StepState::Ready, Some(3)), now);
        view.changed(change("each", mapped, StepState::Running, Some(3)), now);
        assert_eq!(view.counts(), (0, 0, 3));
        let label = |task| view.owner(task).map(|owner| view.label(owner));
        assert_eq!(label(added).as_deref(), Some("added"));
        assert_eq!(label(mapped.instance(2)).as_deref(), Some("each[2]"));
        assert_eq!(label(mapped.instance(3)), None);
        assert_eq!(view.running().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["added", "each"]);
    }
}
