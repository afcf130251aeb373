//! The engine as its users see it.

use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axion_actors::actors::messages::{Answer, Reply, Request, StopWorkers, Submission};
use axion_actors::actors::{Admission, AdmissionClosed, EventBus, InboxSender, NoRoom, inbox};
use axion_actors::config::{Config, EngineKind};
use axion_actors::model::workflow::{Step, WorkflowId};
use axion_actors::model::{
    ComponentStatus, ErrorKind, HealthReport, PoolKind, Status, Task, TaskError, TaskId, TaskRecord,
};
use axion_actors::policy::scheduler::CancelAnswer;
use axion_actors::policy::{health, resources};
use axion_actors::process::{Launcher, machine_memory};
use tokio::sync::oneshot;

use crate::builder::EngineBuilder;
use crate::completions::Completions;
use crate::error::{StartError, StatusError, SubmitError, SubmitManyError, WaitError};
use crate::handle::TaskHandle;
use crate::park;
use crate::runtime::{self, Children, Parts, Runtime};
use crate::watch::Events;

/// Tasks of a batch that travel together: few enough that the engine's thread does other things meanwhile.
const PIECE: usize = 256;
/// The first wait for room in a full queue.
const FIRST_WAIT: Duration = Duration::from_millis(10);
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
    /// A shutdown was asked for: what ends from now on ends in order.
    ending_asked: AtomicBool,
}

/// A task that is on its way in, as its submitter sees it.
struct Submitted {
    id: TaskId,
    record: oneshot::Receiver<Answer>,
    /// Gets the id of the task that runs, if that may be another one.
    other: Option<oneshot::Receiver<TaskId>>,
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
        let config = config.resolved();
        let admission = Arc::new(Admission::new(config.input_queue_size, config.input_queue_bytes));
        let bus = EventBus::default();
        let (requests, inbox) = inbox()?;
        let parts = Parts { config: config.clone(), admission: admission.clone(), bus: bus.clone(), requests: inbox };
        let (runtime, thread) = runtime::start(parts, launcher, children)?;
        Ok(Self {
            requests,
            admission,
            bus,
            runtime,
            config,
            ending: Mutex::new(Ending::NotYet(thread)),
            ending_asked: AtomicBool::new(false),
        })
    }

    /// Hands a task in. Returns at once; if the queue is full, after a wait for room of 70 ms in all
    /// (`max_queue_full_retries`, `queue_poll_timeout`).
    ///
    /// # Errors
    /// If the task cannot be accepted now; it has not been and will not be run.
    pub fn submit(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let task = self.prepare(task)?;
        self.enter(1, self.units(&task))?;
        park::wait(self.hand_over(task))
    }

    /// Hands a task in, blocking the thread while the queue is full or the machine too busy.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except that it never refuses for want of room.
    pub fn submit_wait(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        park::wait(self.submit_async(task))
    }

    /// Hands a task in, waiting while the queue is full or the machine too busy.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except that it never refuses for want of room.
    pub async fn submit_async(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let task = self.prepare(task)?;
        self.admission.enter(1, self.units(&task)).await.map_err(|AdmissionClosed| self.closed())?;
        self.hand_over(task).await
    }

    /// As [`submit`](Self::submit), but the record goes to `completions`, under `number`. Returns the id of
    /// the task that runs.
    ///
    /// # Errors
    /// The same. What comes to `completions` of a task that was not accepted says nothing.
    pub fn submit_to(&self, task: Task, completions: &Completions, number: u64) -> Result<TaskId, SubmitError> {
        let task = self.prepare(task)?;
        self.enter(1, self.units(&task))?;
        self.hand_over_to(task, completions, number)
    }

    /// As [`submit_to`](Self::submit_to), blocking the thread for up to `limit` while the queue is full or the
    /// machine too busy: then `Ok(None)`, and the task is not accepted.
    ///
    /// # Errors
    /// As [`submit_to`](Self::submit_to), except that it never refuses for want of room.
    pub fn submit_to_wait(
        &self,
        task: Task,
        completions: &Completions,
        number: u64,
        limit: Duration,
    ) -> Result<Option<TaskId>, SubmitError> {
        let task = self.prepare(task)?;
        match park::wait_timeout(self.admission.enter(1, self.units(&task)), limit) {
            None => Ok(None),
            Some(Err(AdmissionClosed)) => Err(self.closed()),
            Some(Ok(())) => self.hand_over_to(task, completions, number).map(Some),
        }
    }

    /// Hands tasks in, all of them or none. They are accepted in their order.
    ///
    /// # Errors
    /// If one of them cannot be accepted now; none has been and none will be run.
    pub fn submit_many(&self, tasks: impl IntoIterator<Item = Task>) -> Result<Vec<TaskHandle>, SubmitError> {
        let tasks = tasks.into_iter().map(|task| self.prepare(task)).collect::<Result<Vec<_>, _>>()?;
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let units = tasks.iter().fold(0u32, |sum, task| sum.saturating_add(self.units(task)));
        if count > 0 {
            self.enter(count, units)?;
        }
        let mut handles = Vec::with_capacity(tasks.len());
        let mut tasks = tasks.into_iter().peekable();
        while tasks.peek().is_some() {
            handles.extend(park::wait(self.hand_over_many(tasks.by_ref().take(PIECE).collect()))?);
        }
        Ok(handles)
    }

    /// Hands tasks in, in their order, waiting while the queue is full or the machine too busy: also more of
    /// them than may wait at one time.
    ///
    /// # Errors
    /// The error of the first that cannot be accepted; with it come the handles of those before it, which
    /// have been.
    pub async fn submit_many_async(
        &self,
        tasks: impl IntoIterator<Item = Task>,
    ) -> Result<Vec<TaskHandle>, SubmitManyError> {
        let mut accepted = Vec::new();
        let mut tasks = tasks.into_iter().peekable();
        while tasks.peek().is_some() {
            let (piece, units, error) = self.next_piece(&mut tasks);
            let count = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let handed = match self.admission.enter(count, units).await {
                Ok(()) => self.hand_over_many(piece).await,
                Err(AdmissionClosed) => Err(self.closed()),
            };
            match handed {
                Ok(handles) => accepted.extend(handles),
                Err(error) => return Err(SubmitManyError { error, accepted }),
            }
            if let Some(error) = error {
                return Err(SubmitManyError { error, accepted });
            }
        }
        Ok(accepted)
    }

    /// Takes tasks that together need a part of the room: a quarter of the places at most, so that one batch
    /// does not wait for an empty queue. With them comes the room for their bytes, and why the next one
    /// cannot be accepted at all.
    fn next_piece(&self, tasks: &mut Peekable<impl Iterator<Item = Task>>) -> (Vec<Task>, u32, Option<SubmitError>) {
        let (most, mut units) = (self.admission.units_of(usize::MAX), 0u32);
        let most_tasks = (self.admission.most().0 / 4).clamp(1, PIECE);
        let mut piece = Vec::new();
        let fits = |piece: &Vec<Task>, units: u32, task: &Task| {
            piece.is_empty() || (piece.len() < most_tasks && units.saturating_add(self.units(task)) <= most)
        };
        while let Some(task) = tasks.next_if(|task| fits(&piece, units, task)) {
            match self.prepare(task) {
                Ok(task) => {
                    units += self.units(&task);
                    piece.push(task);
                }
                Err(error) => return (piece, units, Some(error)),
            }
        }
        (piece, units, None)
    }

    /// As [`submit_many_async`](Self::submit_many_async), blocking the thread.
    ///
    /// # Errors
    /// The same.
    pub fn submit_many_wait(&self, tasks: impl IntoIterator<Item = Task>) -> Result<Vec<TaskHandle>, SubmitManyError> {
        park::wait(self.submit_many_async(tasks))
    }

    /// A handle of a task that was submitted before, alone or as a step of a workflow: also one that has not started
    /// yet, or never did. Resolves to an error if the id is unknown.
    #[must_use]
    pub fn handle(&self, id: TaskId) -> TaskHandle {
        let (reply, record) = oneshot::channel();
        // If the engine is gone, so is the reply, and the handle says so.
        let _ = self.requests.send(Request::Await { id, reply: Reply::One(reply) });
        TaskHandle::new(id, record, self.config.wait_spin)
    }

    /// Has the record of a task that was submitted before go to `completions`, under `number`.
    pub fn follow(&self, id: TaskId, completions: &Completions, number: u64) {
        // If the engine is gone, so is the ticket, and says so.
        let _ = self.requests.send(Request::Await { id, reply: Reply::Many(Box::new(completions.ticket(number))) });
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
        health::component(&status, name).ok_or_else(|| StatusError::UnknownComponent { name: name.to_owned() })
    }

    /// How well the engine and its parts are; `docs/status.md` says by which rules.
    ///
    /// # Errors
    /// If the engine has stopped.
    pub fn health(&self) -> Result<HealthReport, WaitError> {
        Ok(health::report(&*self.status()?))
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
        self.ending_asked.store(true, Ordering::Release);
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

    /// What can be said of a task without asking the engine's thread.
    fn prepare(&self, task: Task) -> Result<Task, SubmitError> {
        let task = Self::prepare_for(&self.config, task)?;
        let Some(limits) = task.limits() else { return Ok(task) };
        if let Some(what) = limits.zero() {
            return Err(SubmitError::LimitsInvalid { what });
        }
        match resources::shortfall(&self.config.capacity(machine_memory()), task.pool(), &limits.needs) {
            Some(shortfall) => Err(SubmitError::NeedsImpossible { shortfall }),
            None => Ok(task),
        }
    }

    fn prepare_for(config: &Config, task: Task) -> Result<Task, SubmitError> {
        let pool = Self::check(config, &task)?;
        Ok(if pool == task.pool() { task } else { task.on(pool) })
    }

    /// As [`prepare`](Self::prepare), for a step of a workflow. There may be very many, and most are left as they are.
    pub(crate) fn prepare_step(config: &Config, step: &mut Step) -> Result<(), SubmitError> {
        let pool = Self::check(config, step.task())?;
        if pool != step.task().pool() {
            step.set_task(step.task().clone().on(pool));
        }
        Ok(())
    }

    /// The pool that a task is for here, or why it cannot be run.
    fn check(config: &Config, task: &Task) -> Result<PoolKind, SubmitError> {
        // A serial engine has one worker for everything.
        let pool = if config.engine == EngineKind::Serial { PoolKind::Cpu } else { task.pool() };
        if config.most_workers(pool) == 0 {
            return Err(SubmitError::PoolDisabled { pool });
        }
        let (limit, size) = (config.task_limit(), task.weight());
        if size > limit {
            return Err(SubmitError::ParamsTooLarge { size, limit });
        }
        Ok(pool)
    }

    fn units(&self, task: &Task) -> u32 {
        self.admission.units_of(task.weight())
    }

    /// Takes room, after some waiting if the queue is full.
    fn enter(&self, count: u32, units: u32) -> Result<(), SubmitError> {
        let refused = match self.admission.try_enter(count, units) {
            Ok(()) => return Ok(()),
            Err(NoRoom::Full | NoRoom::Heavy) if self.admission.can_ever_take(count, units) => {
                match park::wait_timeout(self.admission.enter(count, units), self.patience()) {
                    Some(entered) => return entered.map_err(|AdmissionClosed| self.closed()),
                    None => self.admission.try_enter(count, units).err(),
                }
            }
            Err(refused) => Some(refused),
        };
        let Some(refused) = refused else { return Ok(()) };
        self.admission.count_refusal();
        Err(match refused {
            NoRoom::Full => SubmitError::QueueFull { size: self.admission.most().0 },
            NoRoom::Heavy => SubmitError::QueueBytesFull { bytes: self.admission.most().1 },
            NoRoom::Overloaded(overload) => SubmitError::Overloaded { why: overload.to_string() },
            NoRoom::Closed => self.closed(),
        })
    }

    /// How long a full queue is waited for: several waits, each twice as long as the one before, which
    /// nobody has to wake up between.
    fn patience(&self) -> Duration {
        let wait = |nth: u32| FIRST_WAIT.saturating_mul(2u32.saturating_pow(nth)).min(self.config.queue_poll_timeout);
        (0..self.config.max_queue_full_retries).map(wait).sum()
    }

    fn submission(&self, task: Task) -> (Submission, Submitted) {
        let (reply, record) = oneshot::channel();
        let id = task.id();
        // Only the engine knows whether another task has its unique key.
        let (accepted, other) = task.options().unique.is_some().then(oneshot::channel).unzip();
        (Submission { task, reply: Reply::One(reply), accepted }, Submitted { id, record, other })
    }

    fn hand_over_to(&self, task: Task, completions: &Completions, number: u64) -> Result<TaskId, SubmitError> {
        let id = task.id();
        // Only the engine knows whether another task has its unique key.
        let (accepted, other) = task.options().unique.is_some().then(oneshot::channel).unzip();
        let submission = Submission { task, reply: Reply::Many(Box::new(completions.ticket(number))), accepted };
        self.requests.send(Request::Submit(submission)).map_err(|_| self.closed())?;
        other.map_or(Ok(id), |other| park::wait(other).map_err(|_| self.closed()))
    }

    async fn hand_over(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let (submission, submitted) = self.submission(task);
        self.requests.send(Request::Submit(submission)).map_err(|_| self.closed())?;
        self.handle_of(submitted).await
    }

    async fn hand_over_many(&self, tasks: Vec<Task>) -> Result<Vec<TaskHandle>, SubmitError> {
        let (submissions, submitted): (_, Vec<_>) = tasks.into_iter().map(|task| self.submission(task)).unzip();
        self.requests.send(Request::SubmitMany(submissions)).map_err(|_| self.closed())?;
        let mut handles = Vec::with_capacity(submitted.len());
        for submitted in submitted {
            handles.push(self.handle_of(submitted).await?);
        }
        Ok(handles)
    }

    async fn handle_of(&self, Submitted { id, record, other }: Submitted) -> Result<TaskHandle, SubmitError> {
        let id = match other {
            Some(other) => other.await.map_err(|_| self.closed())?,
            None => id,
        };
        Ok(TaskHandle::new(id, record, self.config.wait_spin))
    }

    /// Why the doors are closed.
    fn closed(&self) -> SubmitError {
        let stopped = !self.runtime.dispatcher.connected() && !self.ending_asked.load(Ordering::Acquire);
        if stopped { SubmitError::EngineStopped } else { SubmitError::ShuttingDown }
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
