//! Submitting tasks: the checks on the caller's thread, the admission, and the way into the inbox.
//!
//! A task either goes into the inbox after it passed the admission (L9), or the caller gets an error (L1).

use std::iter::Peekable;
use std::time::Duration;

use axion_actors::actors::messages::{Reply, Request, Submission};
use axion_actors::actors::{AdmissionClosed, Answer, NoRoom, WorkSlot};
use axion_actors::config::processors;
use axion_actors::model::{Task, TaskId};
use tokio::sync::oneshot;

use super::Engine;
use crate::completions::Completions;
use crate::error::{SubmitError, SubmitManyError};
use crate::handle::TaskHandle;
use crate::park;
use crate::spin::SpinHint;

/// The tasks of one request, few enough that the engine's thread handles other requests in between.
const PIECE: usize = 256;
/// The first wait for room in a full queue.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// A task that can run in this engine.
struct Prepared {
    task: Task,
    /// The units of bytes that it needs in the queue.
    units: u32,
}

/// A submitted task, for its submitter.
struct Submitted {
    id: TaskId,
    /// For a thread that waits for it.
    spin: Option<SpinHint>,
    /// Gets the id of the task that runs, if another task may have its unique key.
    other: Option<oneshot::Receiver<TaskId>>,
}

impl Engine {
    /// Submits a task. Returns at once, or, if the queue is full, after a wait for room of 70 ms in all
    /// (`max_queue_full_retries`, `queue_poll_timeout`).
    ///
    /// # Errors
    /// If the task cannot be accepted now. It will not run.
    pub fn submit(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let task = self.prepare(task, None)?;
        self.enter(1, task.units)?;
        park::wait(self.hand_over(task))
    }

    /// Submits a task, and blocks the thread while the queue is full or the machine overloaded.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except those for a full queue and an overloaded machine.
    pub fn submit_wait(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        park::wait(self.submit_async(task))
    }

    /// Submits a task, and waits while the queue is full or the machine overloaded.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), except those for a full queue and an overloaded machine.
    pub async fn submit_async(&self, task: Task) -> Result<TaskHandle, SubmitError> {
        let task = self.prepare(task, None)?;
        self.admission.enter(1, task.units).await.map_err(|AdmissionClosed| self.closed())?;
        self.hand_over(task).await
    }

    /// As [`submit`](Self::submit), but sends the record to `completions`, under `number`. Returns the id of the task
    /// that runs.
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit). Ignore the completion of a task that was not accepted.
    pub fn submit_to(&self, task: Task, completions: &Completions, number: u64) -> Result<TaskId, SubmitError> {
        let task = self.prepare(task, None)?;
        self.enter(1, task.units)?;
        self.hand_over_to(task, completions, number)
    }

    /// As [`submit_to`](Self::submit_to), but blocks the thread for up to `limit` while the queue is full or the
    /// machine overloaded. `Ok(None)` after that: the task is not accepted.
    ///
    /// # Errors
    /// As [`submit_to`](Self::submit_to), except those for a full queue and an overloaded machine.
    pub fn submit_to_wait(
        &self,
        task: Task,
        completions: &Completions,
        number: u64,
        limit: Duration,
    ) -> Result<Option<TaskId>, SubmitError> {
        let task = self.prepare(task, None)?;
        match park::wait_timeout(self.admission.enter(1, task.units), limit) {
            None => Ok(None),
            Some(Err(AdmissionClosed)) => Err(self.closed()),
            Some(Ok(())) => self.hand_over_to(task, completions, number).map(Some),
        }
    }

    /// Submits tasks, all of them or none, in their order.
    ///
    /// # Errors
    /// If one of them cannot be accepted now. None will run.
    pub fn submit_many(&self, tasks: impl IntoIterator<Item = Task>) -> Result<Vec<TaskHandle>, SubmitError> {
        let mut prepared = Vec::new();
        for task in tasks {
            prepared.push(self.prepare(task, prepared.last())?);
        }
        let count = u32::try_from(prepared.len()).unwrap_or(u32::MAX);
        let units = prepared.iter().fold(0u32, |sum, task| sum.saturating_add(task.units));
        if count > 0 {
            self.enter(count, units)?;
        }
        let mut handles = Vec::with_capacity(prepared.len());
        let mut tasks = prepared.into_iter().peekable();
        while tasks.peek().is_some() {
            handles.extend(park::wait(self.hand_over_many(tasks.by_ref().take(PIECE).collect()))?);
        }
        Ok(handles)
    }

    /// Submits tasks in their order, and waits while the queue is full or the machine overloaded. There may be more
    /// tasks than the queue holds.
    ///
    /// # Errors
    /// The error of the first task that cannot be accepted, with the handles of the tasks before it, which are
    /// accepted.
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

    /// Takes the tasks of the next batch. They need at most a quarter of the places, so that no batch waits for an
    /// empty queue. Also returns the units of their bytes, and the reason why the next task cannot be accepted at all.
    fn next_piece(
        &self,
        tasks: &mut Peekable<impl Iterator<Item = Task>>,
    ) -> (Vec<Prepared>, u32, Option<SubmitError>) {
        let (most, mut units) = (self.admission.units_of(usize::MAX), 0u32);
        let most_tasks = (self.admission.most().0 / 4).clamp(1, PIECE);
        let mut piece = Vec::new();
        let fits = |piece: &Vec<Prepared>, units: u32, task: &Task| {
            let more = || self.units(task, piece.last());
            piece.is_empty() || (piece.len() < most_tasks && units.saturating_add(more()) <= most)
        };
        while let Some(task) = tasks.next_if(|task| fits(&piece, units, task)) {
            match self.prepare(task, piece.last()) {
                Ok(task) => {
                    units += task.units;
                    piece.push(task);
                }
                Err(error) => return (piece, units, Some(error)),
            }
        }
        (piece, units, None)
    }

    /// As [`submit_many_async`](Self::submit_many_async), but blocks the thread.
    ///
    /// # Errors
    /// The same.
    pub fn submit_many_wait(&self, tasks: impl IntoIterator<Item = Task>) -> Result<Vec<TaskHandle>, SubmitManyError> {
        park::wait(self.submit_many_async(tasks))
    }

    /// Checks a task that is submitted after the task `before`, if there is one, in the same call.
    fn prepare(&self, task: Task, before: Option<&Prepared>) -> Result<Prepared, SubmitError> {
        let task = self.checks.prepare(task)?;
        let units = self.units(&task, before);
        Ok(Prepared { task, units })
    }

    fn units(&self, task: &Task, before: Option<&Prepared>) -> u32 {
        let shares_parts = before.is_some_and(|before| before.task.work().key() == task.work().key());
        self.admission.units_of(if shares_parts { task.weight() } else { task.weight_in_queue() })
    }

    /// Passes the admission as a task does, and gives the place back: for a workflow, whose steps enter the queue later.
    pub(crate) fn check_room(&self) -> Result<(), SubmitError> {
        self.enter(1, 0)?;
        self.admission.leave(1, 0);
        Ok(())
    }

    /// As [`check_room`](Self::check_room), but waits while there is no room.
    pub(crate) async fn wait_for_room(&self) -> Result<(), SubmitError> {
        self.admission.enter(1, 0).await.map_err(|AdmissionClosed| self.closed())?;
        self.admission.leave(1, 0);
        Ok(())
    }

    /// Passes the admission, after a wait if the queue is full.
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
        self.admission.count_refusal(refused.into());
        Err(match refused {
            NoRoom::Full => SubmitError::QueueFull { size: self.admission.most().0 },
            NoRoom::Heavy => SubmitError::QueueBytesFull { bytes: self.admission.most().1 },
            NoRoom::Overloaded(overload) => SubmitError::Overloaded { why: overload.to_string() },
            NoRoom::Closed => self.closed(),
        })
    }

    /// How long a submitter waits for a full queue: the sum of several waits, each twice as long as the one before.
    fn patience(&self) -> Duration {
        let wait = |nth: u32| FIRST_WAIT.saturating_mul(2u32.saturating_pow(nth)).min(self.config.queue_poll_timeout);
        (0..self.config.max_queue_full_retries).map(wait).sum()
    }

    fn submission(&self, Prepared { task, units }: Prepared, reply: Reply) -> (Submission, Submitted) {
        let (id, spin) = (task.id(), self.spin_hint(&task));
        // Only the engine knows whether another task has its unique key.
        let (accepted, other) = task.options().unique.is_some().then(oneshot::channel).unzip();
        (Submission { task, units, reply, accepted }, Submitted { id, spin, other })
    }

    /// For a thread that waits for the task, unless it has to wait behind others.
    fn spin_hint(&self, task: &Task) -> Option<SpinHint> {
        let limit = self.config.wait_spin;
        let is_next = self.admission.waiting() <= processors();
        (is_next && !limit.is_zero())
            .then(|| SpinHint::new(self.admission.load().clone(), WorkSlot::of(task.work().key()), limit))
    }

    fn hand_over_to(&self, task: Prepared, completions: &Completions, number: u64) -> Result<TaskId, SubmitError> {
        let reply = Reply::Many(Box::new(completions.completer(number)));
        let (submission, Submitted { id, spin, other }) = self.submission(task, reply);
        completions.submitting(number, spin);
        self.requests.send(Request::Submit(submission)).map_err(|_| self.closed())?;
        other.map_or(Ok(id), |other| park::wait(other).map_err(|_| self.closed()))
    }

    async fn hand_over(&self, task: Prepared) -> Result<TaskHandle, SubmitError> {
        let (reply, record) = oneshot::channel();
        let (submission, submitted) = self.submission(task, Reply::One(reply));
        self.requests.send(Request::Submit(submission)).map_err(|_| self.closed())?;
        self.handle_of(submitted, record).await
    }

    async fn hand_over_many(&self, tasks: Vec<Prepared>) -> Result<Vec<TaskHandle>, SubmitError> {
        let submit = |task| {
            let (reply, record) = oneshot::channel();
            let (submission, submitted) = self.submission(task, Reply::One(reply));
            (submission, (submitted, record))
        };
        let (submissions, submitted): (_, Vec<_>) = tasks.into_iter().map(submit).unzip();
        self.requests.send(Request::SubmitMany(submissions)).map_err(|_| self.closed())?;
        let mut handles = Vec::with_capacity(submitted.len());
        for (submitted, record) in submitted {
            handles.push(self.handle_of(submitted, record).await?);
        }
        Ok(handles)
    }

    async fn handle_of(
        &self,
        Submitted { id, spin, other }: Submitted,
        record: oneshot::Receiver<Answer>,
    ) -> Result<TaskHandle, SubmitError> {
        let id = match other {
            Some(other) => other.await.map_err(|_| self.closed())?,
            None => id,
        };
        Ok(TaskHandle::new(id, record, spin))
    }
}
