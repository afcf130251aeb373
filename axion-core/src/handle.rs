//! The handle of one task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axion_actors::actors::Answer;
use axion_actors::model::{TaskId, TaskRecord};
use tokio::sync::oneshot;

use crate::error::WaitError;
use crate::park;

/// A submitted task, and a future of its record. Dropping it does not cancel the task.
///
/// It needs no async runtime: await it in any, or wait for it on a plain thread.
#[derive(Debug)]
pub struct TaskHandle {
    id: TaskId,
    record: oneshot::Receiver<Answer>,
    /// How long a waiting thread spins before it sleeps.
    spin: Duration,
}

impl TaskHandle {
    pub(crate) fn new(id: TaskId, record: oneshot::Receiver<Answer>, spin: Duration) -> Self {
        Self { id, record, spin }
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Blocks the thread until the task has ended. In async code, await the handle instead.
    ///
    /// # Errors
    /// If the engine does not know the task or has stopped.
    pub fn wait(mut self) -> Result<Arc<TaskRecord>, WaitError> {
        let spin = self.spin;
        park::spin(&mut self, spin).unwrap_or_else(|| park::wait(self))
    }

    /// Blocks the thread until the task has ended or `limit` has passed: then `Ok(None)`, and the
    /// task goes on.
    ///
    /// # Errors
    /// If the engine does not know the task or has stopped.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<Arc<TaskRecord>>, WaitError> {
        park::wait_timeout(self, limit).transpose()
    }
}

impl Future for TaskHandle {
    type Output = Result<Arc<TaskRecord>, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.record).poll(cx).map(|answer| match answer {
            Ok(record) => Ok(record?),
            Err(_) => Err(WaitError::EngineStopped),
        })
    }
}
