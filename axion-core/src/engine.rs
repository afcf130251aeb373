//! The engine, as an embedder uses it.

mod check;
mod ending;
mod job;
mod ready;
mod submit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_actors::actors::messages::{CancelTask, Reply, Request};
use axion_actors::actors::{Admission, Awaited, InboxSender, inbox};
use axion_actors::config::Config;
use axion_actors::model::workflow::WorkflowId;
use axion_actors::model::{CancelAnswer, CancelSource};
use axion_actors::model::{ComponentStatus, HealthReport, Status, TaskId, TaskProgress, TaskRecord};
use axion_actors::policy::health;
use axion_actors::process::Launcher;
use axion_actors::sequencer::{QueueBounds, Sequencer};
use tokio::sync::oneshot;

pub(crate) use self::check::TaskChecks;
use self::ending::Ending;
pub use self::ending::ShutdownReport;
pub use self::job::JobControl;
use crate::builder::EngineBuilder;
use crate::completions::Completions;
use crate::error::{StartError, StatusError, SubmitError, WaitError};
use crate::handle::TaskHandle;
use crate::park;
use crate::runtime::{self, Children, Runtime, RuntimeParts};
use crate::watch::EventStream;

/// Runs Python tasks in supervised child processes.
///
/// It is `Send + Sync`: share it in an [`Arc`]. Dropping it shuts it down without waiting
/// ([`shutdown`](Self::shutdown) with a limit of zero): tasks that have not ended are cancelled.
pub struct Engine {
    requests: InboxSender,
    admission: Arc<Admission>,
    sequencer: Sequencer,
    runtime: Runtime,
    config: Config,
    checks: Arc<TaskChecks>,
    ending: Mutex<Ending>,
    /// A shutdown was requested: the end of the engine's thread is no fault.
    ending_asked: AtomicBool,
    job: JobControl,
}

impl Engine {
    /// Settings for a new engine.
    #[must_use]
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    pub(crate) fn start(
        config: Config,
        sequencer: Sequencer,
        launcher: impl FnOnce() -> Box<dyn Launcher> + Send + 'static,
        children: Children,
    ) -> Result<Self, StartError> {
        let config = config.resolved();
        let admission = Arc::new(Admission::new(config.input_queue_size, config.input_queue_bytes));
        let (requests, inbox) = inbox()?;
        let checks = Arc::new(TaskChecks::new(&config));
        let parts = RuntimeParts {
            config: config.clone(),
            admission: admission.clone(),
            sequencer: sequencer.clone(),
            requests: inbox,
        };
        let job = JobControl::of(children.guardian.as_ref());
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
            job,
        })
    }

    /// A handle of a task that was submitted before, alone or as a step of a workflow, whether it has started or not.
    /// Resolves to an error if the id is unknown.
    #[must_use]
    pub fn handle(&self, id: TaskId) -> TaskHandle {
        let (reply, record) = oneshot::channel();
        // If the engine has stopped, the reply is dropped, and the handle resolves to an error.
        let _ = self.requests.send(Request::Await { id, reply: Reply::One(reply) });
        TaskHandle::new(id, record, None)
    }

    /// Sends the record of a task that was submitted before to `completions`, under `number`, unless the caller gives up
    /// by dropping what this returns. What was given up may be completed all the same.
    pub fn follow(&self, id: TaskId, completions: &Completions, number: u64) -> Awaited {
        let (completer, awaited) = completions.completer_while_awaited(number);
        // If the engine has stopped, the completer is dropped, which completes the number with an error.
        let _ = self.requests.send(Request::Await { id, reply: Reply::Many(Box::new(completer)) });
        awaited
    }

    /// Blocks the thread until a task has ended, or until `limit` has passed. In the second case it returns `Ok(None)`,
    /// and the task continues. The record of a finished task can be read repeatedly while it is kept, also with a limit
    /// of 0.
    ///
    /// # Errors
    /// If the id is unknown or the engine has stopped.
    pub fn result(&self, id: TaskId, limit: Duration) -> Result<Option<Arc<TaskRecord>>, WaitError> {
        let mut handle = self.handle(id);
        let found = handle.wait_timeout(limit)?;
        if found.is_some() {
            return Ok(found);
        }
        // The limit may pass before the engine has looked the task up. It answers this request afterwards, so the
        // handle knows the answer by then.
        let _ = self.workflow(WorkflowId::generate());
        handle.wait_timeout(Duration::ZERO)
    }

    /// Cancels a task and returns what becomes of it. Blocks the thread for the answer, not for the end of the task:
    /// wait for its handle for that.
    ///
    /// A waiting task is removed. A running task is asked to stop: its context's `cancelled` turns true, or its
    /// coroutine is cancelled. After `cancel_grace` it is killed with every process that it started, and no other task
    /// is affected. The same holds for the task of a workflow's step; the rules of the steps that depend on it decide
    /// what becomes of them.
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
        self.request_cancel(id, CancelSource::Caller).await
    }

    async fn request_cancel(&self, id: TaskId, by: CancelSource) -> Result<CancelAnswer, WaitError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Cancel(CancelTask { id, by, reply }));
        answer.await.map_err(|_| WaitError::EngineStopped)
    }

    /// Cancels a task if it still waits in the engine, and returns whether it did. A task that was sent to a worker
    /// continues. Blocks the thread for the answer.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn withdraw(&self, id: TaskId) -> Result<bool, WaitError> {
        let answer = park::wait(self.request_cancel(id, CancelSource::Withdrawal))?;
        Ok(answer == CancelAnswer::Removed)
    }

    /// The status of the engine: one consistent snapshot. Threads that ask at the same time share one snapshot.
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

    /// The health and the figures of one component: `input_queue`, `output_queue`, `cpu_pool`, `io_pool` or
    /// `process_pool`.
    ///
    /// # Errors
    /// If the component does not exist, or the engine has stopped.
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

    /// What a running task has reported last about its progress; `None` if it does not run, or has reported none.
    #[must_use]
    pub fn progress(&self, id: TaskId) -> Option<TaskProgress> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::Progress { id, reply });
        park::wait(answer).ok().flatten()
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

    /// Makes the Dispatcher panic, for tests of that case.
    #[cfg(feature = "test-util")]
    pub fn panic_for_test(&self) {
        self.runtime.dispatcher.do_send(axion_actors::actors::messages::Panic);
    }

    /// The number of workers that the engine always keeps.
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
