//! The Dispatcher's link to the WorkflowManager: requests and updates to it, and its messages.

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::super::messages::{
    CancelSteps, CancelWorkflows, LookUp, RegisterWorkflows, StepUpdate, StepUpdates, SubmitSteps, Tasks,
    WorkflowClosed, WorkflowRequest,
};
use super::Dispatcher;
use super::waiters::Waiter;
use crate::model::{CancelSource, TaskId};
use crate::policy::graph::StepStatus;
use crate::policy::task_table::{TaskKey, TaskLookup};

/// The WorkflowManager, and what waits to be sent to it.
#[derive(Default)]
pub(super) struct WorkflowManagerLink {
    manager: Option<RegisterWorkflows>,
    /// Requests that came before the manager registered.
    early: Vec<WorkflowRequest>,
    /// WorkflowManagerLink it was given that are not over.
    in_flight: usize,
    /// Updates of its tasks, to send together.
    updates: Vec<StepUpdate>,
}

impl WorkflowManagerLink {
    /// Whether any workflow is in flight. If none is, no live task is a step.
    pub(super) fn are_any(&self) -> bool {
        self.in_flight > 0
    }

    /// Forwards a request that only the WorkflowManager can answer.
    pub(super) fn forward(&mut self, request: WorkflowRequest) {
        self.in_flight += usize::from(matches!(request, WorkflowRequest::Submit(_)));
        match &self.manager {
            Some(manager) => manager.requests.do_send(request),
            None => self.early.push(request),
        }
    }

    /// Queues an update, if there is one, for [`send_updates`](Self::send_updates).
    pub(super) fn add_update(&mut self, update: Option<StepUpdate>) {
        self.updates.extend(update);
    }

    /// Sends the updates together.
    pub(super) fn send_updates(&mut self) {
        if !self.updates.is_empty()
            && let Some(manager) = &self.manager
        {
            manager.updates.do_send(StepUpdates(std::mem::take(&mut self.updates)));
        }
    }

    /// Cancels all workflows, if the manager has registered. The receiver completes when that is done.
    pub(super) fn cancel_all(&self) -> Option<oneshot::Receiver<()>> {
        let manager = self.manager.as_ref()?;
        let (reply, done) = oneshot::channel();
        manager.cancel.do_send(CancelWorkflows { reply });
        Some(done)
    }

    fn register(&mut self, manager: RegisterWorkflows) {
        for request in self.early.drain(..) {
            manager.requests.do_send(request);
        }
        self.manager = Some(manager);
    }

    fn closed(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

impl Handler<RegisterWorkflows> for Dispatcher {
    type Result = ();

    fn handle(&mut self, manager: RegisterWorkflows, _: &mut Self::Context) {
        self.workflows.register(manager);
    }
}

impl Handler<SubmitSteps> for Dispatcher {
    type Result = ();

    fn handle(&mut self, SubmitSteps(steps): SubmitSteps, ctx: &mut Self::Context) {
        let now = self.begin();
        for (step, task) in steps {
            let units = self.admission.units_of(task.weight());
            self.take_in((task, units), Waiter::Step(step), now);
        }
        self.place_all(now);
        self.settle(ctx);
    }
}

impl Handler<CancelSteps> for Dispatcher {
    type Result = ();

    fn handle(&mut self, CancelSteps(tasks): CancelSteps, ctx: &mut Self::Context) {
        let grace = self.cancel_grace;
        self.decide(ctx, |scheduler, now| {
            for task in tasks {
                // The record reports the outcome.
                let _ = scheduler.cancel(CancelSource::Workflow, task, grace, now);
            }
        });
    }
}

impl Dispatcher {
    /// Whether a live task is a step of a workflow, and no instance of one.
    fn is_whole_step(&self, key: TaskKey) -> bool {
        let step = self.scheduler.table().waiter(key).and_then(|waiter| self.waiters.step(waiter));
        step.is_some_and(|step| step.key.instance.is_none())
    }
}

impl Handler<LookUp> for Dispatcher {
    type Result = Tasks;

    fn handle(&mut self, LookUp { workflow, own, others }: LookUp, _: &mut Self::Context) -> Tasks {
        let table = self.scheduler.table();
        let mut known: FxHashMap<TaskId, StepStatus> =
            own.into_iter().filter(|id| table.has(*id)).map(|id| (id, StepStatus::Live)).collect();
        for id in others {
            let table = self.scheduler.table();
            // What is unknown is not searched for among the expired: a wrong list may name many such (L11).
            let found = match if table.has(id) { table.find(id) } else { TaskLookup::Unknown } {
                // The WorkflowManager knows it, and how the step ends. Of an instance, it does not.
                TaskLookup::Live(key) if self.is_whole_step(key) => StepStatus::Unknown,
                TaskLookup::Live(key) => {
                    self.await_live(key, Waiter::Workflow(workflow));
                    StepStatus::Live
                }
                TaskLookup::Finished(record) => StepStatus::Ended(record.outcome.clone().into()),
                TaskLookup::Expired(_) | TaskLookup::Unknown => StepStatus::Unknown,
            };
            known.insert(id, found);
        }
        Tasks(known)
    }
}

impl Handler<WorkflowClosed> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: WorkflowClosed, ctx: &mut Self::Context) {
        self.workflows.closed();
        self.settle(ctx);
    }
}
