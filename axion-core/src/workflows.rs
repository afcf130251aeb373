//! Workflows, as the engine's users see them.

use std::path::{Path, PathBuf};
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

/// A step whose task cannot be run in this engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {error}")]
pub struct WrongTask {
    /// Its place in the list of steps.
    pub at: usize,
    /// Its name, else its task's id.
    pub step: String,
    /// Why.
    pub error: SubmitError,
}

/// A workflow was not accepted; nothing of it has been or will be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// Tasks of it cannot be run in this engine.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Tasks(Vec<WrongTask>),
    /// It is wrong in itself, or the engine takes no workflows now.
    #[error(transparent)]
    Refused(#[from] WorkflowRefusal),
    /// The engine has stopped.
    #[error("the engine has stopped; nothing more will be known of this workflow")]
    EngineStopped,
}

impl WorkflowError {
    /// A stable code: of the first problem, if there are several.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tasks(wrong) => wrong.first().map_or("refused", |wrong| wrong.error.code()),
            Self::Refused(WorkflowRefusal::Graph(problems)) => problems.first().map_or("refused", GraphError::code),
            Self::Refused(WorkflowRefusal::TooMany { .. }) => "too_many_workflows",
            Self::Refused(WorkflowRefusal::ShuttingDown) => "shutting_down",
            Self::EngineStopped => "engine_stopped",
        }
    }
}

/// There is nothing more to be known of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowWaitError {
    /// No such workflow is known.
    #[error(transparent)]
    Gone(#[from] WorkflowGone),
    /// The engine has stopped.
    #[error("the engine has stopped; nothing more will be known of this workflow")]
    EngineStopped,
}

/// A submitted workflow. A future of its record; dropping it leaves the workflow running.
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

    /// Blocks the thread until every step has ended or `limit` has passed: then `Ok(None)`, and the workflow
    /// goes on.
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
    /// Hands a workflow in, all of it or nothing. Blocks the thread for the check, not for the end.
    ///
    /// Steps that a dynamic step adds name scripts from the current folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, or why the engine takes none now.
    pub fn submit_workflow(&self, spec: WorkflowSpec) -> Result<WorkflowHandle, WorkflowError> {
        park::wait(self.submit_workflow_async(spec, Path::new("")))
    }

    /// As [`submit_workflow`](Self::submit_workflow), without blocking. Steps that a dynamic step adds name
    /// scripts from `folder`.
    ///
    /// # Errors
    /// The same.
    pub async fn submit_workflow_async(
        &self,
        spec: WorkflowSpec,
        folder: &Path,
    ) -> Result<WorkflowHandle, WorkflowError> {
        let (reply, record) = oneshot::channel();
        let id = self.hand_workflow_over(spec, folder, Reply::One(reply)).await?;
        Ok(WorkflowHandle { id, record })
    }

    /// As [`submit_workflow`](Self::submit_workflow), but the record goes to `completions`, under `number`. Steps
    /// that a dynamic step adds name scripts from `folder`.
    ///
    /// # Errors
    /// The same. What comes to `completions` of a workflow that was not accepted says nothing.
    pub fn submit_workflow_to(
        &self,
        spec: WorkflowSpec,
        folder: &Path,
        completions: &Completions,
        number: u64,
    ) -> Result<WorkflowId, WorkflowError> {
        let reply = Reply::Many(Box::new(completions.completer(number)));
        park::wait(self.hand_workflow_over(spec, folder, reply))
    }

    async fn hand_workflow_over(
        &self,
        mut spec: WorkflowSpec,
        folder: &Path,
        reply: Reply<WorkflowAnswer>,
    ) -> Result<WorkflowId, WorkflowError> {
        let mut wrong = Vec::new();
        for (at, step) in spec.steps.iter_mut().enumerate() {
            if let Err(error) = self.checks().prepare_step(step) {
                wrong.push(WrongTask { at, step: step.title(), error });
            }
        }
        if !wrong.is_empty() {
            return Err(WorkflowError::Tasks(wrong));
        }
        let id = WorkflowId::generate();
        let (accepted, is_accepted) = oneshot::channel();
        let submission = WorkflowSubmission { id, spec, expand: self.expand(folder.to_owned()), accepted, reply };
        self.ask(WorkflowRequest::Submit(Box::new(submission)));
        match is_accepted.await {
            Ok(Ok(())) => Ok(id),
            Ok(Err(refusal)) => Err(refusal.into()),
            Err(_) => Err(WorkflowError::EngineStopped),
        }
    }

    /// A handle of a workflow that was submitted before. Resolves to an error if the id is unknown.
    #[must_use]
    pub fn workflow_handle(&self, id: WorkflowId) -> WorkflowHandle {
        let (reply, record) = oneshot::channel();
        self.ask(WorkflowRequest::Await { id, reply: Reply::One(reply) });
        WorkflowHandle { id, record }
    }

    /// Where a workflow stands, step by step: its record so far.
    ///
    /// # Errors
    /// If no such workflow is known or the engine has stopped.
    pub fn workflow(&self, id: WorkflowId) -> Result<Arc<WorkflowRecord>, WorkflowWaitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(WorkflowRequest::Look { id, reply });
        Ok(park::wait(answer).map_err(|_| WorkflowWaitError::EngineStopped)??)
    }

    /// Ends a workflow before its time: what has not started never will, what runs is cancelled like any
    /// task. Returns whether it was in flight. Blocks the thread for the answer, not for the end.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn cancel_workflow(&self, id: WorkflowId) -> Result<bool, WorkflowWaitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(WorkflowRequest::Cancel { id, reply });
        park::wait(answer).map_err(|_| WorkflowWaitError::EngineStopped)
    }

    fn ask(&self, request: WorkflowRequest) {
        // If the engine is gone, so is the reply, and whoever waits for it is told.
        let _ = self.requests().send(Request::Workflow(request));
    }

    /// What makes steps of a dynamic step's result, under the same rules as those that were submitted.
    fn expand(&self, folder: PathBuf) -> Expand {
        let checks = self.checks().clone();
        Box::new(move |result| {
            let steps = added_steps(result.as_str(), &folder)
                .map_err(|problems| problems.all.into_iter().map(|problem| problem.message).collect::<Vec<_>>())?;
            let prepared = |mut step: Step| {
                checks.prepare_step(&mut step).map_err(|error| format!("{}: {error}", step.title()))?;
                Ok(step)
            };
            let (ready, wrong): (Vec<_>, Vec<_>) = steps.into_iter().map(prepared).partition(Result::is_ok);
            let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
            if wrong.is_empty() { Ok(ready.into_iter().filter_map(Result::ok).collect()) } else { Err(wrong) }
        })
    }
}
