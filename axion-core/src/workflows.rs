//! The user's interface to workflows.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axion_actors::actors::messages::{Expand, Reply, Request, WorkflowRefusal, WorkflowRequest, WorkflowSubmission};
use axion_actors::actors::{WorkflowAnswer, WorkflowGone};
use axion_actors::model::workflow::{GraphError, Step, WorkflowId, WorkflowRecord, WorkflowSpec};
use tokio::sync::oneshot;

use crate::completions::Completions;
use crate::engine::Engine;
use crate::error::SubmitError;
use crate::flow::added_steps;
use crate::park;

/// A step whose task cannot run in this engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {error}")]
pub struct WrongTask {
    /// The index in the list of steps.
    pub at: usize,
    /// The step's name, or its task's id if it has no name.
    pub step: String,
    /// The reason.
    pub error: SubmitError,
}

/// What holds for all steps of a workflow, also for those that a dynamic step adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkflowOptions {
    /// The folder of scripts that the result of a dynamic step names without one.
    pub folder: PathBuf,
    /// How often a step runs again, at most, after its worker died while it ran, whatever the step says; `None`: as the
    /// step says. With 0, no step runs twice.
    pub max_worker_losses: Option<u32>,
}

/// A workflow was not accepted. None of its steps has run or will run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// The engine accepts nothing now: the queue is full, or the machine overloaded.
    #[error(transparent)]
    NoRoom(SubmitError),
    /// Some of its tasks cannot run in this engine.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tasks(Vec<WrongTask>),
    /// The workflow is invalid, or the engine accepts no workflows now.
    #[error(transparent)]
    Refused(#[from] WorkflowRefusal),
    /// The engine has stopped.
    #[error("the engine has stopped; nothing more will be known of this workflow")]
    EngineStopped,
}

impl WorkflowError {
    /// A stable code. If there are several problems, it is the code of the first one.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoom(refused) => refused.code(),
            Self::Tasks(wrong) => wrong.first().map_or("refused", |wrong| wrong.error.code()),
            Self::Refused(WorkflowRefusal::Graph(problems)) => problems.first().map_or("refused", GraphError::code),
            Self::Refused(WorkflowRefusal::TooMany { .. }) => "too_many_workflows",
            Self::Refused(WorkflowRefusal::ShuttingDown) => "shutting_down",
            Self::EngineStopped => "engine_stopped",
        }
    }
}

/// A workflow that did not pass the admission.
fn no_room(refused: SubmitError) -> WorkflowError {
    match refused {
        SubmitError::ShuttingDown => WorkflowRefusal::ShuttingDown.into(),
        SubmitError::EngineStopped => WorkflowError::EngineStopped,
        refused => WorkflowError::NoRoom(refused),
    }
}

/// The engine has no record of a workflow and will not get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowWaitError {
    /// The engine does not know the workflow.
    #[error(transparent)]
    Gone(#[from] WorkflowGone),
    /// The engine has stopped.
    #[error("the engine has stopped; nothing more will be known of this workflow")]
    EngineStopped,
}

/// A submitted workflow. It is a future of its record. If you drop it, the workflow continues.
#[derive(Debug)]
pub struct WorkflowHandle {
    id: WorkflowId,
    record: oneshot::Receiver<WorkflowAnswer>,
}

impl WorkflowHandle {
    /// The workflow's id.
    #[must_use]
    pub fn id(&self) -> WorkflowId {
        self.id
    }

    /// Blocks the thread until every step has ended. In async code, await the handle instead.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn wait(self) -> Result<Arc<WorkflowRecord>, WorkflowWaitError> {
        park::wait(self)
    }

    /// Blocks the thread until every step has ended, or until `limit` has passed. In the second case it returns
    /// `Ok(None)`, and the workflow continues.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<Arc<WorkflowRecord>>, WorkflowWaitError> {
        park::wait_timeout(self, limit).transpose()
    }
}

impl Future for WorkflowHandle {
    type Output = Result<Arc<WorkflowRecord>, WorkflowWaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.record).poll(cx).map(|answer| match answer {
            Ok(record) => Ok(record?),
            Err(_) => Err(WorkflowWaitError::EngineStopped),
        })
    }
}

impl Engine {
    /// Submits a workflow, all of it or nothing. Blocks the thread for the check, not until the end. If the queue is
    /// full, it waits for room as [`submit`](Self::submit) does, and it is refused as a task is. The steps enter the
    /// queue later, when they are ready, and wait for room.
    ///
    /// The result of a dynamic step may name scripts relative to the current folder.
    ///
    /// # Errors
    /// All mistakes in the workflow, or the reason why the engine accepts none now.
    pub fn submit_workflow(&self, spec: WorkflowSpec) -> Result<WorkflowHandle, WorkflowError> {
        self.admit_workflow()?;
        let (reply, record) = oneshot::channel();
        let id = park::wait(self.hand_workflow_over(spec, WorkflowOptions::default(), Reply::One(reply)))?;
        Ok(WorkflowHandle { id, record })
    }

    /// Submits as [`submit_workflow`](Self::submit_workflow), without blocking, and waits while the queue is full or the
    /// machine overloaded.
    ///
    /// # Errors
    /// Those of [`submit_workflow`](Self::submit_workflow), except those for a full queue and an overloaded machine.
    pub async fn submit_workflow_async(
        &self,
        spec: WorkflowSpec,
        options: WorkflowOptions,
    ) -> Result<WorkflowHandle, WorkflowError> {
        self.wait_for_room().await.map_err(no_room)?;
        let (reply, record) = oneshot::channel();
        let id = self.hand_workflow_over(spec, options, Reply::One(reply)).await?;
        Ok(WorkflowHandle { id, record })
    }

    /// Submits as [`submit_workflow`](Self::submit_workflow). The record goes to `completions`, under `number`.
    ///
    /// # Errors
    /// Those of [`submit_workflow`](Self::submit_workflow). Ignore a completion of a workflow that was not accepted.
    pub fn submit_workflow_to(
        &self,
        spec: WorkflowSpec,
        options: WorkflowOptions,
        completions: &Completions,
        number: u64,
    ) -> Result<WorkflowId, WorkflowError> {
        self.admit_workflow()?;
        let reply = Reply::Many(Box::new(completions.completer(number)));
        park::wait(self.hand_workflow_over(spec, options, reply))
    }

    /// Has a workflow pass the admission as a task does, before anything of it is registered.
    fn admit_workflow(&self) -> Result<(), WorkflowError> {
        self.check_room().map_err(no_room)
    }

    async fn hand_workflow_over(
        &self,
        mut spec: WorkflowSpec,
        options: WorkflowOptions,
        reply: Reply<WorkflowAnswer>,
    ) -> Result<WorkflowId, WorkflowError> {
        let losses = options.max_worker_losses;
        let mut wrong = Vec::new();
        for (at, step) in spec.steps.iter_mut().enumerate() {
            if let Err(error) = self.checks().prepare_step(step, losses) {
                wrong.push(WrongTask { at, step: step.title(), error });
            }
        }
        if !wrong.is_empty() {
            return Err(WorkflowError::Tasks(wrong));
        }
        let id = WorkflowId::generate();
        let (accepted, is_accepted) = oneshot::channel();
        let submission = WorkflowSubmission { id, spec, expand: self.expand(options), accepted, reply };
        self.ask(WorkflowRequest::Submit(Box::new(submission)));
        match is_accepted.await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(refusal)) => Err(refusal.into()),
            Err(_) => Err(WorkflowError::EngineStopped),
        }
    }

    /// A handle of a workflow that was submitted before. It resolves to an error if the id is unknown.
    #[must_use]
    pub fn workflow_handle(&self, id: WorkflowId) -> WorkflowHandle {
        let (reply, record) = oneshot::channel();
        self.ask(WorkflowRequest::Await { id, reply: Reply::One(reply) });
        WorkflowHandle { id, record }
    }

    /// The state of a workflow, step by step: its record so far.
    ///
    /// # Errors
    /// If the workflow is unknown, or the engine has stopped.
    pub fn workflow(&self, id: WorkflowId) -> Result<Arc<WorkflowRecord>, WorkflowWaitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(WorkflowRequest::Look { id, reply });
        Ok(park::wait(answer).map_err(|_| WorkflowWaitError::EngineStopped)??)
    }

    /// Cancels a workflow. Steps that have not started never start, and running steps are cancelled like any task.
    /// Returns whether the workflow was in flight. Blocks the thread for the answer, not until the end.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn cancel_workflow(&self, id: WorkflowId) -> Result<bool, WorkflowWaitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(WorkflowRequest::Cancel { id, reply });
        park::wait(answer).map_err(|_| WorkflowWaitError::EngineStopped)
    }

    fn ask(&self, request: WorkflowRequest) {
        // If the engine is gone, the reply is dropped, and the caller gets an error.
        let _ = self.requests().send(Request::Workflow(request));
    }

    /// The function that makes steps from a dynamic step's result, by the rules for submitted steps.
    fn expand(&self, options: WorkflowOptions) -> Expand {
        let checks = self.checks().clone();
        Box::new(move |result| {
            let steps = added_steps(result.as_str(), &options.folder)
                .map_err(|problems| problems.all.into_iter().map(|problem| problem.message).collect::<Vec<_>>())?;
            let prepared = |mut step: Step| {
                checks
                    .prepare_step(&mut step, options.max_worker_losses)
                    .map_err(|error| format!("{}: {error}", step.title()))?;
                Ok(step)
            };
            let (ready, wrong): (Vec<_>, Vec<_>) = steps.into_iter().map(prepared).partition(Result::is_ok);
            let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
            if wrong.is_empty() { Ok(ready.into_iter().filter_map(Result::ok).collect()) } else { Err(wrong) }
        })
    }
}
