//! The Dispatcher's side of the workflows: what it hands to the WorkflowManager and tells it, and what that asks of it.

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::super::messages::{
    CancelStep, CancelWorkflows, IntroduceWorkflows, LookUp, News, StepNews, SubmitSteps, Tasks, WorkflowOver,
    WorkflowRequest,
};
use super::Dispatcher;
use super::waiters::Waiter;
use crate::model::TaskId;
use crate::policy::graph;
use crate::policy::task_table::Found;

/// The WorkflowManager, and what is on its way there.
#[derive(Default)]
pub(super) struct Workflows {
    manager: Option<IntroduceWorkflows>,
    /// What was asked of it before it was there: in the engine's first moment.
    early: Vec<WorkflowRequest>,
    /// Workflows it was given that are not over.
    in_flight: usize,
    /// What to tell it of its tasks.
    news: Vec<News>,
}

impl Workflows {
    /// Whether any is not over: without, no live task is a step.
    pub(super) fn are_any(&self) -> bool {
        self.in_flight > 0
    }

    /// Passes on what only the WorkflowManager can answer.
    pub(super) fn forward(&mut self, request: WorkflowRequest) {
        self.in_flight += usize::from(matches!(request, WorkflowRequest::Submit(_)));
        match &self.manager {
            Some(manager) => manager.requests.do_send(request),
            None => self.early.push(request),
        }
    }

    /// News of a task, for [`pass_on_news`](Self::pass_on_news).
    pub(super) fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    /// Sends the news together.
    pub(super) fn pass_on_news(&mut self) {
        if !self.news.is_empty()
            && let Some(manager) = &self.manager
        {
            manager.news.do_send(StepNews(std::mem::take(&mut self.news)));
        }
    }

    /// Ends all of them, if there can be any: the answer comes when that is done.
    pub(super) fn cancel_all(&self) -> Option<oneshot::Receiver<()>> {
        let manager = self.manager.as_ref()?;
        let (reply, done) = oneshot::channel();
        manager.cancel.do_send(CancelWorkflows { reply });
        Some(done)
    }

    fn introduce(&mut self, manager: IntroduceWorkflows) {
        for request in self.early.drain(..) {
            manager.requests.do_send(request);
        }
        self.manager = Some(manager);
    }

    fn over(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

impl Handler<IntroduceWorkflows> for Dispatcher {
    type Result = ();

    fn handle(&mut self, manager: IntroduceWorkflows, _: &mut Self::Context) {
        self.workflows.introduce(manager);
    }
}

impl Handler<SubmitSteps> for Dispatcher {
    type Result = ();

    fn handle(&mut self, SubmitSteps(steps): SubmitSteps, ctx: &mut Self::Context) {
        let now = self.begin();
        for (step, task) in steps {
            self.take_in(task, Waiter::Step(step), now);
            if self.scheduler.has_actions() {
                self.carry_out();
            }
        }
        self.place(ctx, now);
    }
}

impl Handler<CancelStep> for Dispatcher {
    type Result = ();

    fn handle(&mut self, CancelStep(id): CancelStep, ctx: &mut Self::Context) {
        let grace = self.cancel_grace;
        self.decide(ctx, |scheduler, now| {
            // What it comes to is told by the record.
            let _ = scheduler.cancel(id, grace, now);
        });
    }
}

impl Handler<LookUp> for Dispatcher {
    type Result = Tasks;

    fn handle(&mut self, LookUp { workflow, own, others }: LookUp, _: &mut Self::Context) -> Tasks {
        let table = self.scheduler.table();
        let mut known: FxHashMap<TaskId, graph::Known> =
            own.into_iter().filter(|id| table.has(*id)).map(|id| (id, graph::Known::Live)).collect();
        for id in others {
            // What is unknown is not searched for among the expired: a wrong list may name many such (L11).
            let found = match if table.has(id) { table.find(id) } else { Found::Unknown } {
                // The WorkflowManager knows it, and how the step ends. Of an instance, it does not.
                Found::Live(key) if self.waiters.step(key).is_some_and(|step| step.place.instance.is_none()) => {
                    graph::Known::Unknown
                }
                Found::Live(_) => {
                    self.waiters.add(id, Waiter::Workflow(workflow));
                    graph::Known::Live
                }
                Found::Finished(record) => graph::Known::Ended(record.outcome.clone().into()),
                Found::Expired(_) | Found::Unknown => graph::Known::Unknown,
            };
            known.insert(id, found);
        }
        Tasks(known)
    }
}

impl Handler<WorkflowOver> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: WorkflowOver, ctx: &mut Self::Context) {
        self.workflows.over();
        self.settle(ctx);
    }
}
