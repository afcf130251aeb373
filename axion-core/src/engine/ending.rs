//! The shutdown of an engine: it happens once, and every caller gets its report.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use axion_actors::actors::messages::{Request, StopWorkers};
use axion_actors::model::{ErrorKind, TaskError};
use tokio::sync::oneshot;

use super::Engine;
use crate::park;

/// How long the engine's actors may take to answer during a shutdown, beyond the workers' grace.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The state of the shutdown.
pub(super) enum Ending {
    NotYet(JoinHandle<()>),
    Done(ShutdownReport),
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Tasks that were cancelled because the limit had passed.
    pub cancelled: usize,
}

impl Engine {
    /// Shuts the engine down: accepts no more tasks, waits up to `limit` for the others, cancels the rest, and returns
    /// when no worker process is left.
    ///
    /// It can be called again, also from other threads. Every call returns when the first is done, with the same report.
    /// A call with `Duration::ZERO` ends the waiting of the first. Blocks the thread: in async code, call it on a thread
    /// for blocking work.
    pub fn shutdown(&self, limit: Duration) -> ShutdownReport {
        self.ending_asked.store(true, Ordering::Release);
        // Closed before the lock is taken, so that no submitter waits for room that never comes.
        self.admission.close();
        if limit.is_zero() {
            // Ends another call that waits for tasks.
            self.cancel_all();
        }
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        let report = match std::mem::replace(&mut *ending, Ending::Done(ShutdownReport::default())) {
            Ending::Done(report) => report,
            Ending::NotYet(thread) => self.end(thread, limit),
        };
        *ending = Ending::Done(report);
        report
    }

    fn end(&self, thread: JoinHandle<()>, limit: Duration) -> ShutdownReport {
        let (reply, drained) = oneshot::channel();
        let _ = self.requests.send(Request::Drain { reply });
        let _ = park::wait_timeout(drained, limit);
        let cancelled = self.cancel_all();

        let (reply, stopped) = oneshot::channel();
        self.runtime.supervisor.do_send(StopWorkers { reply });
        let _ = park::wait_timeout(stopped, self.config.stop_grace.saturating_add(ANSWER_LIMIT));
        self.runtime.system.stop();
        if thread.join().is_err() {
            tracing::error!("the engine's thread had panicked");
        }
        ShutdownReport { cancelled }
    }

    /// Cancels every live task. Returns the number of tasks cancelled by this and earlier calls.
    fn cancel_all(&self) -> usize {
        let error = TaskError::new(ErrorKind::Shutdown, "the engine was shut down before the task ended");
        let (reply, cancelled) = oneshot::channel();
        let _ = self.requests.send(Request::CancelAll { error, reply });
        park::wait_timeout(cancelled, ANSWER_LIMIT).and_then(Result::ok).unwrap_or_default()
    }
}
