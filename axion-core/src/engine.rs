//! The engine as its users see it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axion_actors::actors::messages::{Request, StopWorkers};
use axion_actors::actors::{Admission, AdmissionClosed, EventBus, InboxSender, NoRoom, inbox};
use axion_actors::config::Config;
use axion_actors::model::{ErrorKind, PoolKind, Task, TaskError, TaskId, TaskRecord};
use axion_actors::policy::scheduler::CancelAnswer;
use axion_actors::process::Launcher;
use tokio::sync::oneshot;

use crate::builder::EngineBuilder;
use crate::error::{StartError, SubmitError, WaitError};
use crate::handle::TaskHandle;
use crate::park;
use crate::runtime::{self, Children, Parts, Runtime};
use crate::watch::Events;

/// The bytes of a `Run` frame beside script and parameters, rounded up.
const FRAME_OVERHEAD: usize = 256;
/// How long the engine's own actors may take to answer while it ends, beyond the workers' grace.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Runs Python tasks in supervised child processes.
///
/// `Send + Sync`; share it in an [`Arc`]. Dropping it is [`shutdown`](Self::shutdown) without
/// patience: what has not ended by then is cancelled.
pub struct Engine {
    requests: InboxSender,
    admission: Arc<Admission>,
    bus: EventBus,
    runtime: Runtime,
    config: Config,
    ending: Mutex<Ending>,
}

enum Ending {
    NotYet(JoinHandle<()>),
    Done(ShutdownReport),
}

/// What a shutdown had to give up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Tasks that were ended as cancelled because the limit had passed.
    pub cancelled: usize,
}

impl Engine {
    /// Settings for a new engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    pub(crate) fn start(
        config: Config,
        launcher: impl FnOnce() -> Box<dyn Launcher> + Send + 'static,
        children: Children,
    ) -> Result<Self, StartError> {
        let admission = Arc::new(Admission::new(config.input_queue_size, config.input_queue_bytes));
        let bus = EventBus::default();
        let (requests, inbox) = inbox()?;
        let parts = Parts { config: config.clone(), admission: admission.clone(), bus: bus.clone(), requests: inbox };
        let (runtime, thread) = runtime::start(parts, launcher, children)?;
        Ok(Self { requests, admission, bus, runtime, config, ending: Mutex::new(Ending::NotYet(thread)) })
    }

    /// Hands a task in. Returns at once.
    ///
    /// # Errors
    /// If the task cannot be accepted now; it has not been and will not be run.
    pub fn submit(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        self.check(&task)?;
        self.admission.try_enter(task.weight()).map_err(|reason| match reason {
            NoRoom::Full => SubmitError::QueueFull { size: self.admission.most().0 },
            NoRoom::Heavy => SubmitError::QueueBytesFull { bytes: self.admission.most().1 },
            NoRoom::Closed => self.closed(),
        })?;
        self.hand_over(task)
    }

    /// Hands a task in, blocking the thread while the queue is full.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except that it never refuses because of a full queue.
    pub fn submit_wait(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        park::wait(self.submit_async(task))
    }

    /// Hands a task in, waiting while the queue is full.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except that it never refuses because of a full queue.
    pub async fn submit_async(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        self.check(&task)?;
        self.admission.enter(task.weight()).await.map_err(|AdmissionClosed| self.closed())?;
        self.hand_over(task)
    }

    /// A handle of a task that was submitted before. Resolves to an error if the id is unknown.
    #[must_use]
    pub fn handle(&self, id: TaskId) -> TaskHandle {
        let (reply, record) = oneshot::channel();
        // If the engine is gone, so is the reply, and the handle says so.
        let _ = self.requests.send(Request::Await { id, reply });
        TaskHandle::new(id, record, self.config.wait_spin)
    }

    /// Blocks the thread until a task has ended, or for `limit`: then `Ok(None)`, and the task goes
    /// on. A finished task's record is found again and again while it is kept.
    ///
    /// # Errors
    /// If the id is unknown or the engine has stopped.
    pub fn result(&self, id: TaskId, limit: Duration) -> Result<Option<Arc<TaskRecord>>, WaitError> {
        self.handle(id).wait_timeout(limit)
    }

    /// Ends a task before its time and says what becomes of it. Blocks the thread for the answer,
    /// not for the end: wait for the task's handle for that.
    ///
    /// A task that waits is removed. One that runs is asked to stop (its context's `cancelled` turns
    /// true, a coroutine is cancelled) and, if it has not after `cancel_grace`, killed with
    /// everything it started; other tasks are not hit.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn cancel(&self, id: TaskId) -> Result<CancelAnswer, WaitError> {
        park::wait(self.cancel_async(id))
    }

    /// As [`cancel`](Self::cancel), without blocking.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub async fn cancel_async(&self, id: TaskId) -> Result<CancelAnswer, WaitError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Cancel { id, reply });
        answer.await.map_err(|_| WaitError::EngineStopped)
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn watch(&self) -> Events {
        Events(self.bus.watch())
    }

    /// The settings the engine was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Ends the engine: takes no more tasks, lets those it has end for up to `limit`, cancels the
    /// rest, and returns when no worker process is left.
    ///
    /// Can be called again, also from other threads: every call returns when the first is done, with
    /// the same report; one without patience (`Duration::ZERO`) cuts short a first one that still waits
    /// for tasks. Blocks the thread; in async code, use a thread for blocking work.
    pub fn shutdown(&self, limit: Duration) -> ShutdownReport {
        // Closed before the lock is taken: nobody waits for room that will never come.
        self.admission.close();
        if limit.is_zero() {
            // With no task left, whoever waits for them goes on.
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

    /// Ends every live task as cancelled; returns how many have been, by this and earlier calls.
    fn cancel_all(&self) -> usize {
        let error = TaskError::new(ErrorKind::Shutdown, "the engine was shut down before the task ended");
        let (reply, cancelled) = oneshot::channel();
        let _ = self.requests.send(Request::CancelAll { error, reply });
        park::wait_timeout(cancelled, ANSWER_LIMIT).and_then(Result::ok).unwrap_or_default()
    }

    fn check(&self, task: &Task) -> Result<(), SubmitError> {
        if self.config.most_workers(task.pool()) == 0 {
            return Err(SubmitError::PoolDisabled { pool: task.pool() });
        }
        let limit = self.config.frame_limit - FRAME_OVERHEAD;
        let size = task.weight();
        if size > limit {
            return Err(SubmitError::ParamsTooLarge { size, limit });
        }
        Ok(())
    }

    fn hand_over(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let (reply, record) = oneshot::channel();
        let id = task.id();
        self.requests.send(Request::Submit { task, reply, accepted: None }).map_err(|_| self.closed())?;
        Ok(TaskHandle::new(id, record, self.config.wait_spin))
    }

    /// Why the doors are closed.
    fn closed(&self) -> SubmitError {
        if self.runtime.dispatcher.connected() { SubmitError::ShuttingDown } else { SubmitError::EngineStopped }
    }

    /// Makes the Dispatcher panic, to show what becomes of the engine then.
    #[cfg(feature = "test-util")]
    pub fn panic_for_test(&self) {
        self.runtime.dispatcher.do_send(axion_actors::actors::messages::Panic);
    }

    /// Workers that the configuration asks for.
    #[must_use]
    pub fn worker_count(&self) -> u32 {
        PoolKind::ALL.iter().map(|pool| self.config.workers(*pool)).sum()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}
