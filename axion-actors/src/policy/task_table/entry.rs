//! A live task and the state it is in, which changes only together with the counts of those that wait.

use jiff::Timestamp;

use super::history::TaskHistory;
use super::waiting::WaitingCounts;
use super::{TaskEnd, WaiterId, wall};
use crate::model::{Attempt, AttemptRecord, FullAttempt, Seq, Task, TaskError, TaskRecord, Tick, Timings, WorkerRef};
use crate::policy::task_ids::Hint;
use crate::policy::timers::TimerId;

/// Where a live task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// In its pool's queue.
    Queued,
    /// With a worker, started or about to be.
    Sent {
        /// Which process.
        worker: WorkerRef,
        /// Its name there.
        seq: Seq,
        /// Since when.
        at: Tick,
    },
    /// For its retry, or for the time before which it is not to start.
    Waiting {
        /// What ends the wait.
        timer: TimerId,
    },
}

impl TaskState {
    pub(super) fn is_with(&self, by: (WorkerRef, Seq)) -> bool {
        matches!(self, Self::Sent { worker, seq, .. } if (*worker, *seq) == by)
    }
}

/// A live task.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Task,
    /// Where its id stands.
    pub(super) hint: Hint,
    pub(super) submitted: Tick,
    state: TaskState,
    /// Executions so far, the present one included.
    pub(super) attempts: u32,
    /// Those who wait for it.
    pub(super) waiter: Option<WaiterId>,
    /// Most tasks have none.
    pub(super) history: Option<Box<TaskHistory>>,
}

impl Entry {
    /// One that has just been taken in, to wait in its queue.
    pub(super) fn new(task: Task, waiter: Option<WaiterId>, hint: Hint, now: Tick) -> Self {
        Self { task, hint, submitted: now, state: TaskState::Queued, attempts: 0, waiter, history: None }
    }

    /// Where it is.
    pub(super) fn state(&self) -> TaskState {
        self.state
    }

    /// What it has been through, to add to.
    pub(super) fn history_mut(&mut self) -> &mut TaskHistory {
        self.history.get_or_insert_default()
    }

    /// Every change of a state, so that the counts are right.
    pub(super) fn become_state(&mut self, waiting: &mut WaitingCounts, state: TaskState) {
        waiting.leaves(&self.task, self.state);
        waiting.enters(&self.task, state);
        self.state = state;
    }

    /// Keeps how the present attempt ended. Returns it too if it is `wanted`.
    pub(super) fn remember(
        &mut self,
        error: TaskError,
        epoch: Timestamp,
        most: usize,
        wanted: bool,
        now: Tick,
    ) -> Option<FullAttempt> {
        let TaskState::Sent { worker, at, .. } = self.state else { return None };
        let attempt = Attempt(self.attempts);
        let record = AttemptRecord { attempt, worker, sent: wall(epoch, at), ended: wall(epoch, now), error };
        let copy = wanted.then(|| FullAttempt(Box::new(record.clone())));
        self.history_mut().remember(record, most);
        copy
    }

    /// Its record, now that it has reached its end.
    pub(super) fn into_record(self, end: TaskEnd, epoch: Timestamp, now: Tick) -> TaskRecord {
        let started = end.nanos.map(|nanos| wall(epoch, now.before(nanos)));
        let worker = match self.state {
            TaskState::Sent { worker, .. } => Some(worker),
            TaskState::Queued | TaskState::Waiting { .. } => None,
        };
        let counters = self.history.as_ref().map(|history| history.counters).unwrap_or_default();
        let (earlier, earlier_left_out) = self.history.map(|history| history.into_earlier()).unwrap_or_default();
        TaskRecord {
            id: self.task.id(),
            work: self.task.work().name(),
            pool: self.task.pool_id(),
            outcome: end.outcome,
            attempt: (self.attempts > 0).then_some(Attempt(self.attempts)),
            worker,
            timings: Timings { submitted: wall(epoch, self.submitted), started, finished: wall(epoch, now) },
            output: end.output,
            retries: counters.retries,
            worker_losses: counters.losses,
            earlier,
            earlier_left_out,
        }
    }
}
