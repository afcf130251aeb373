//! The engine as its users see it.

mod check;
mod ending;
mod submit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_actors::actors::messages::{Reply, Request};
use axion_actors::actors::{Admission, InboxSender, inbox};
use axion_actors::config::Config;
use axion_actors::model::CancelAnswer;
use axion_actors::model::workflow::WorkflowId;
use axion_actors::model::{Clock, ComponentStatus, HealthReport, Status, TaskId, TaskRecord};
use axion_actors::policy::health;
use axion_actors::process::Launcher;
use axion_actors::sequencer::{QueueBounds, Sequencer};
use tokio::sync::oneshot;

pub(crate) use self::check::TaskChecks;
use self::ending::Ending;
pub use self::ending::ShutdownReport;
use crate::builder::EngineBuilder;
use crate::completions::Completions;
use crate::error::{StartError, StatusError, SubmitError, WaitError};
use crate::handle::TaskHandle;
use crate::park;
use crate::runtime::{self, Children, Runtime, RuntimeParts};
use crate::watch::EventStream;

/// Runs Python tasks in supervised child processes.
///
/// `Send + Sync`; share it in an [`Arc`]. Dropping it is [`shutdown`](Self::shutdown) without
/// patience: what has not ended by then is cancelled.
pub struct Engine {
    requests: InboxSender,
    admission: Arc<Admission>,
    sequencer: Sequencer,
    runtime: Runtime,
    config: Config,
    checks: Arc<TaskChecks>,
    ending: Mutex<Ending>,
    /// A shutdown was asked for: what ends from now on ends in order.
    ending_asked: AtomicBool,
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
        let config = config.resolved();
        let admission = Arc::new(Admission::new(config.input_queue_size, config.input_queue_bytes));
        let sequencer = Sequencer::new(Clock::start());
        let (requests, inbox) = inbox()?;
        let checks = Arc::new(TaskChecks::new(&config));
        let parts = RuntimeParts {
            config: config.clone(),
            admission: admission.clone(),
            sequencer: sequencer.clone(),
            requests: inbox,
        };
        let (runtime, thread) = runtime::start(parts, launcher, children)?;
        Ok(Self {
            requests,
            admission,
            sequencer,
            runtime,
            config,
            checks,
            ending: Mutex::new(Ending::NotYet(thread)),
            ending_asked: AtomicBool::new(false),
        })
    }

    /// A handle of a task that was submitted before, alone or as a step of a workflow: also one that has not started
    /// yet, or never did. Resolves to an error if the id is unknown.
    #[must_use]
    pub fn handle(&self, id: TaskId) -> TaskHandle {
        let (reply, record) = oneshot::channel();
        // If the engine is gone, so is the reply, and the handle says so.
        let _ = self.requests.send(Request::Await { id, reply: Reply::One(reply) });
        TaskHandle::new(id, record, None)
    }

    /// Has the record of a task that was submitted before go to `completions`, under `number`.
    pub fn follow(&self, id: TaskId, completions: &Completions, number: u64) {
        // If the engine is gone, so is the completer, and says so.
        let _ = self.requests.send(Request::Await { id, reply: Reply::Many(Box::new(completions.completer(number))) });
    }

    /// Blocks the thread until a task has ended, or for `limit`: then `Ok(None)`, and the task goes
    /// on. A finished task's record is found again and again while it is kept, also with a limit of 0.
    ///
    /// # Errors
    /// If the id is unknown or the engine has stopped.
    pub fn result(&self, id: TaskId, limit: Duration) -> Result<Option<Arc<TaskRecord>>, WaitError> {
        let mut handle = self.handle(id);
        let found = handle.wait_timeout(limit)?;
        if found.is_some() {
            return Ok(found);
        }
        // The limit may be over before the engine has looked: what is asked now is answered after that, wherever the
        // task is known.
        let _ = self.workflow(WorkflowId::generate());
        handle.wait_timeout(Duration::ZERO)
    }

    /// Ends a task before its time and says what becomes of it. Blocks the thread for the answer,
    /// not for the end: wait for the task's handle for that.
    ///
    /// A task that waits is removed. One that runs is asked to stop (its context's `cancelled` turns
    /// true, a coroutine is cancelled) and, if it has not after `cancel_grace`, killed with
    /// everything it started; other tasks are not hit. The same goes for the task of a workflow's step; what
    /// becomes of the steps that wait for it is said by their rules.
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

    /// Ends a task, as cancelled, if it still waits in the engine; one that was sent to a worker is not
    /// disturbed. Returns whether it has ended it. Blocks the thread for the answer.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn withdraw(&self, id: TaskId) -> Result<bool, WaitError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Withdraw { id, reply });
        park::wait(answer).map_err(|_| WaitError::EngineStopped)
    }

    /// How everything is at this moment: one consistent snapshot. However many threads ask at a time, it is
    /// made once for all of them.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn status(&self) -> Result<Arc<Status>, WaitError> {
        park::wait(self.status_async())
    }

    /// As [`status`](Self::status), without blocking.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub async fn status_async(&self) -> Result<Arc<Status>, WaitError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Status { reply });
        answer.await.map_err(|_| WaitError::EngineStopped)
    }

    /// How well one part of the engine is, and its figures: `input_queue`, `output_queue`, `cpu_pool`,
    /// `io_pool` or `process_pool`.
    ///
    /// # Errors
    /// If there is no such part, or the engine has stopped.
    pub fn component_status(&self, name: &str) -> Result<ComponentStatus, StatusError> {
        let status = self.status()?;
        health::component(&status, name).ok_or_else(|| StatusError::UnknownComponent {
            name: name.to_owned(),
            known: health::components(status.components.process_pool.pools.ids()),
        })
    }

    /// How well the engine and its parts are; `docs/reference/status.md` says by which rules.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn health(&self) -> Result<HealthReport, WaitError> {
        Ok(health::report(&*self.status()?))
    }

    /// Every fact and notice from now on.
    #[must_use]
    pub fn watch(&self) -> EventStream {
        EventStream(self.sequencer.subscribe(QueueBounds::default()))
    }

    /// The settings the engine was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why the engine refuses everything: it was asked to end, or it has failed.
    fn closed(&self) -> SubmitError {
        if self.ending_asked.load(Ordering::Acquire) { SubmitError::ShuttingDown } else { SubmitError::EngineStopped }
    }

    pub(crate) fn checks(&self) -> &Arc<TaskChecks> {
        &self.checks
    }

    pub(crate) fn requests(&self) -> &InboxSender {
        &self.requests
    }

    /// Makes the Dispatcher panic, to show what becomes of the engine then.
    #[cfg(feature = "test-util")]
    pub fn panic_for_test(&self) {
        self.runtime.dispatcher.do_send(axion_actors::actors::messages::Panic);
    }

    /// Workers that are always there.
    #[must_use]
    pub fn worker_count(&self) -> u32 {
        self.checks.least_workers()
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
