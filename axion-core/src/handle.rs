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
use crate::spin::{ShortWait, SpinHint};

/// A submitted task, and a future of its record. Dropping it does not cancel the task.
///
/// It needs no async runtime: await it in any, or wait for it on a plain thread.
#[derive(Debug)]
pub struct TaskHandle {
    id: TaskId,
    record: oneshot::Receiver<Answer>,
    /// For a thread that waits.
    spin: Option<SpinHint>,
}

impl TaskHandle {
    pub(crate) fn new(id: TaskId, record: oneshot::Receiver<Answer>, spin: Option<SpinHint>) -> Self {
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
        self.wait_short(|handle| Some(park::wait(handle))).unwrap_or(Err(WaitError::EngineStopped))
    }

    /// Blocks the thread until the task has ended, or until `limit` has passed. In the second case it returns
    /// `Ok(None)`, and the task continues.
    ///
    /// # Errors
    /// If the engine does not know the task or has stopped.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<Arc<TaskRecord>>, WaitError> {
        if limit.is_zero() {
            return park::wait_timeout(self, limit).transpose();
        }
        self.wait_short(|handle| park::wait_timeout(handle, limit)).transpose()
    }

    /// Waits by `sleep`, after a spin if that is likely to be faster.
    fn wait_short<T>(&mut self, sleep: impl FnOnce(&mut Self) -> Option<T>) -> Option<T>
    where
        Self: Future<Output = T>,
    {
        let Some(wait) = self.spin.take().and_then(ShortWait::begin) else { return sleep(self) };
        let output = wait.spin(|| park::poll_once(self)).or_else(|| sleep(self));
        if output.is_some() {
            wait.ended();
        }
        output
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
