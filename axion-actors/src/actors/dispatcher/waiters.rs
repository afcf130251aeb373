//! Who waits for the ends of tasks. Whoever does is told once (L1).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use slotmap::SecondaryMap;

use super::super::add_waiter;
use super::super::answer::Refusal;
use super::super::messages::{Reply, StepUpdate};
use crate::model::workflow::WorkflowId;
use crate::model::{TaskId, TaskRecord};
use crate::policy::task_table::TaskKey;
use crate::policy::workflows::StepRef;

/// Who wants to know how a task ends.
pub(super) enum Waiter {
    /// Whoever submitted it, or asked for it.
    Handle(Reply),
    /// A workflow of which it is a step.
    Step(StepRef),
    /// A workflow whose steps wait for it.
    Workflow(WorkflowId),
}

impl Waiter {
    fn gave_up(&self) -> bool {
        matches!(self, Self::Handle(reply) if reply.is_closed())
    }

    /// Answers with the record of the task, which has ended. Returns the update that a workflow gets instead.
    pub(super) fn resolve(self, record: &Arc<TaskRecord>) -> Option<StepUpdate> {
        match self {
            // The handle may be gone by now; the record is retained all the same.
            Self::Handle(reply) => {
                reply.send(Ok(record.clone()));
                None
            }
            Self::Step(step) => Some(StepUpdate::Ended(step, record.clone())),
            Self::Workflow(id) => Some(StepUpdate::External(id, record.clone())),
        }
    }

    /// Answers that the task was not accepted. Returns the update that a workflow gets instead.
    pub(super) fn refuse(self, refusal: Refusal) -> Option<StepUpdate> {
        match self {
            Self::Handle(reply) => {
                reply.send(Err(refusal));
                None
            }
            Self::Step(step) => Some(StepUpdate::Refused(step)),
            Self::Workflow(_) => None,
        }
    }
}

/// Those who wait for tasks that are live.
#[derive(Default)]
pub(super) struct Waiters {
    /// By place in the table. What has finished is delivered before its place is used again.
    handles: SecondaryMap<TaskKey, Reply>,
    /// The same for steps of workflows: apart, because most tasks are none.
    steps: SecondaryMap<TaskKey, StepRef>,
    /// Whoever came later.
    more: FxHashMap<TaskId, Vec<Waiter>>,
}

impl Waiters {
    /// Whoever submitted the task waits for it.
    pub(super) fn submitted(&mut self, key: TaskKey, waiter: Waiter) {
        match waiter {
            Waiter::Handle(reply) => {
                self.handles.insert(key, reply);
            }
            Waiter::Step(step) => {
                self.steps.insert(key, step);
            }
            Waiter::Workflow(_) => {}
        }
    }

    /// One more waits for a live task.
    pub(super) fn add(&mut self, id: TaskId, waiter: Waiter) {
        add_waiter(self.more.entry(id).or_default(), waiter, Waiter::gave_up);
    }

    /// The step that a live task is.
    pub(super) fn step(&self, key: TaskKey) -> Option<StepRef> {
        self.steps.get(key).copied()
    }

    /// All who wait for a task that has ended; it may be a step only if there are workflows.
    pub(super) fn take(&mut self, key: TaskKey, id: TaskId, may_be_step: bool) -> impl Iterator<Item = Waiter> + use<> {
        let more = self.more.remove(&id).unwrap_or_default();
        let handle = self.handles.remove(key).map(Waiter::Handle);
        let step = if may_be_step { self.steps.remove(key).map(Waiter::Step) } else { None };
        handle.into_iter().chain(step).chain(more)
    }
}
