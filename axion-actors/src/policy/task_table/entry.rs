//! A live task and its state. The state changes only together with the counts of waiting tasks.

use jiff::Timestamp;

use super::history::{EARLIER, TaskHistory};
use super::waiting::WaitingCounts;
use super::{AttemptEnd, TaskEnd, WaiterId, wall};
use crate::model::{Attempt, AttemptRecord, FullAttempt, NotBefore, Seq, Task, TaskRecord, Tick, Timings, WorkerRef};
use crate::policy::task_ids::Hint;
use crate::policy::timers::TimerId;

/// The state of a live task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// The task is in its pool's queue.
    Queued,
    /// The task is with a worker: it has started or will.
    Sent {
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker process.
        seq: Seq,
        /// The time of the send.
        at: Tick,
    },
    /// The task waits for its retry or for its earliest start.
    Waiting {
        /// The timer that ends the wait.
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
    /// The position of its id in the index.
    pub(super) hint: Hint,
    pub(super) submitted: Tick,
    state: TaskState,
    /// The number of attempts, including the present one.
    pub(super) attempts: u32,
    /// The waiting callers.
    pub(super) waiter: Option<WaiterId>,
    /// The history, which most tasks do not have.
    pub(super) history: Option<Box<TaskHistory>>,
}

impl Entry {
    /// A task that has just been accepted and waits in its queue.
    pub(super) fn new(task: Task, waiter: Option<WaiterId>, hint: Hint, now: Tick) -> Self {
        Self { task, hint, submitted: now, state: TaskState::Queued, attempts: 0, waiter, history: None }
    }

    /// The state.
    pub(super) fn state(&self) -> TaskState {
        self.state
    }

    /// The history, to add to.
    pub(super) fn history_mut(&mut self) -> &mut TaskHistory {
        self.history.get_or_insert_default()
    }

    /// The timer and the calendar time until which the task is held, if it is.
    pub(super) fn calendar_hold(&self) -> Option<(TimerId, Timestamp)> {
        match (self.state, self.task.options().not_before) {
            (TaskState::Waiting { timer }, Some(NotBefore::At(time))) if self.attempts == 0 => Some((timer, time)),
            _ => None,
        }
    }

    /// Changes the state and the counts.
    pub(super) fn become_state(&mut self, waiting: &mut WaitingCounts, state: TaskState) {
        waiting.leaves(&self.task, self.state);
        waiting.enters(&self.task, state);
        self.state = state;
    }

    /// Remembers the end of the present attempt. Returns the attempt too if it is `wanted`.
    pub(super) fn remember(
        &mut self,
        AttemptEnd { error, mut output, .. }: AttemptEnd,
        epoch: Timestamp,
        most: usize,
        wanted: bool,
        now: Tick,
    ) -> Option<FullAttempt> {
        let TaskState::Sent { worker, at, .. } = self.state else { return None };
        let attempt = Attempt(self.attempts);
        if let Some(output) = &mut output {
            // All that are remembered have room: no attempt's reason is left out for what another one printed.
            output.shrink(most / EARLIER);
        }
        let record = AttemptRecord { attempt, worker, sent: wall(epoch, at), ended: wall(epoch, now), error, output };
        let copy = wanted.then(|| FullAttempt(Box::new(record.clone())));
        self.history_mut().remember(record, most);
        copy
    }

    /// The record of a task that has ended.
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
