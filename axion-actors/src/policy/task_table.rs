//! The task table: the only place where a task changes state.
//!
//! ```text
//!            accept              send                 finish
//!   (none) ─────────▶ Queued ─────────────▶ Sent ──────────────▶ retained record
//!                      ▲ ▲ │                │ │                       ▲
//!                      │ └─┼─ give_back ────┘ │ retry                 │
//!                  due │   │  rerun           ▼                       │
//!                      └───┼────────────── Waiting                          │
//!                          └──────────────── finish ──────────────────┘
//! ```
//!
//! A task that may not start yet goes from Queued to Waiting when it is accepted (`hold`), and waits until another time
//! when the wall clock is set (`hold_anew`). Every other event is late or illegal: it changes nothing and is counted (L3).

mod entry;
mod history;
mod retained;
mod waiting;
mod wall_clock;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use slotmap::SlotMap;

use self::entry::Entry;
pub use self::entry::TaskState;
pub use self::history::TaskCounters;
pub use self::retained::Expired;
use self::retained::RetainedRecords;
use self::waiting::WaitingCounts;
pub use self::wall_clock::CalendarHold;
use super::recorder::Recorder;
use super::retention::RetentionPolicy;
use super::task_ids::TaskIds;
use super::timers::TimerId;
use crate::model::{
    Attempt, CancelSource, CapturedOutput, FactKind, FullRecord, Outcome, OutcomeCounts, Placement, PoolId,
    ReturnCause, Seq, Task, TaskError, TaskId, TaskRecord, Tick, WorkerRef,
};

slotmap::new_key_type! {
    /// The place of a live task in the table.
    pub struct TaskKey;
}

/// The place of the callers that wait for a task, with its owner. The table keeps it with the task and emits it with
/// the fact of the task's end. The place is not reused before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId(pub std::num::NonZeroU32);

/// A task that reached its outcome.
#[derive(Debug)]
pub struct Finished {
    /// The record.
    pub record: Arc<TaskRecord>,
    /// The waiting callers.
    pub waiter: Option<WaiterId>,
}

/// The end of a task.
#[derive(Debug)]
pub struct TaskEnd {
    /// The outcome.
    pub outcome: Outcome,
    /// The run time in nanoseconds, if it ran.
    pub nanos: Option<u64>,
    /// The output.
    pub output: Option<Box<CapturedOutput>>,
}

/// The end of an attempt that another one follows.
#[derive(Debug)]
pub struct AttemptEnd {
    /// The error.
    pub error: TaskError,
    /// The run time in nanoseconds, if it ran.
    pub nanos: Option<u64>,
    /// The output.
    pub output: Option<Box<CapturedOutput>>,
}

impl TaskEnd {
    /// The end of a task that did not run.
    #[must_use]
    pub fn without_run(outcome: Outcome) -> Self {
        Self { outcome, nanos: None, output: None }
    }
}

/// The state of a task id.
#[derive(Debug, PartialEq)]
pub enum TaskLookup {
    /// The task waits or runs.
    Live(TaskKey),
    /// The task has finished, and its record is retained.
    Finished(Arc<TaskRecord>),
    /// The task has finished, and its record was dropped.
    Expired(Expired),
    /// The task was never accepted, or so long ago that its expiry is forgotten.
    Unknown,
}

/// The reason why a task was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// A task with the same id is known.
    Id,
    /// This live task has the same unique key.
    Unique(TaskId),
}

#[derive(Debug)]
enum IdEntry {
    Live(TaskKey),
    RetainedRecords(Arc<TaskRecord>),
}

/// All live tasks, and the retained records of finished ones.
#[derive(Debug)]
pub struct TaskTable {
    epoch: Timestamp,
    live: SlotMap<TaskKey, Entry>,
    waiting: WaitingCounts,
    /// The live task that holds each unique key.
    unique: FxHashMap<Arc<str>, TaskKey>,
    /// The number of tasks accepted.
    accepted: u64,
    finished: OutcomeCounts,
    places: TaskIds<IdEntry>,
    retained: RetainedRecords,
    ignored: u64,
    recorder: Recorder,
}

impl TaskTable {
    /// An empty table. `epoch` is the wall time of tick 0.
    #[must_use]
    pub fn new(epoch: Timestamp, keep: RetentionPolicy) -> Self {
        Self {
            epoch,
            live: SlotMap::with_key(),
            waiting: WaitingCounts::default(),
            unique: FxHashMap::default(),
            accepted: 0,
            finished: OutcomeCounts::default(),
            places: TaskIds::default(),
            retained: RetainedRecords::new(keep),
            ignored: 0,
            recorder: Recorder::default(),
        }
    }

    /// The recorder of this turn's facts.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// The number of tasks without an outcome.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// The number of tasks that are not with a worker, and their size in bytes.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.waiting.all()
    }

    /// The number of tasks of a pool that wait for a worker.
    #[must_use]
    pub fn queued(&self, pool: PoolId) -> usize {
        self.waiting.queued(pool)
    }

    /// The number of tasks that wait for a time before they may start.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.waiting.held_back()
    }

    /// The number of tasks accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The counts of outcomes so far.
    #[must_use]
    pub fn finished(&self) -> OutcomeCounts {
        self.finished
    }

    /// The bounds on retained records.
    #[must_use]
    pub fn bounds(&self) -> RetentionPolicy {
        self.retained.bounds()
    }

    /// The number of retained records, and their size in bytes.
    #[must_use]
    pub fn retained(&self) -> (usize, usize) {
        self.retained.held()
    }

    /// The number of late or illegal events so far.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The number of records dropped because of the bounds.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.retained.evicted()
    }

    /// The number of records trimmed because of their bound.
    #[must_use]
    pub fn trimmed(&self) -> u64 {
        self.retained.trimmed()
    }

    /// The keys of all live tasks.
    pub fn keys(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.live.keys()
    }

    /// A live task.
    #[must_use]
    pub fn task(&self, key: TaskKey) -> Option<&Task> {
        self.live.get(key).map(|entry| &entry.task)
    }

    /// When the time of all attempts of a task is over, if it has such a limit and has been sent to a worker.
    #[must_use]
    pub fn total_deadline(&self, key: TaskKey) -> Option<Tick> {
        let entry = self.live.get(key)?;
        Some(entry.history.as_ref()?.first_sent?.after(entry.task.options().total_timeout?))
    }

    /// The state of a live task.
    #[must_use]
    pub fn state(&self, key: TaskKey) -> Option<TaskState> {
        self.live.get(key).map(|entry| entry.state())
    }

    /// Whether a task with this id is live, or its record is retained.
    #[must_use]
    pub fn has(&self, id: TaskId) -> bool {
        self.places.get(id).is_some()
    }

    /// Looks an id up.
    #[must_use]
    pub fn find(&self, id: TaskId) -> TaskLookup {
        match self.places.get(id) {
            Some(IdEntry::Live(key)) => TaskLookup::Live(*key),
            Some(IdEntry::RetainedRecords(record)) => TaskLookup::Finished(record.clone()),
            None => self.retained.expired(id).map_or(TaskLookup::Unknown, TaskLookup::Expired),
        }
    }

    /// Accepts a new task, which waits in its queue.
    ///
    /// # Errors
    /// If a task with the same id is live or its record is retained, or a task with the same unique key is live.
    pub fn accept(&mut self, task: Task, waiter: Option<WaiterId>, now: Tick) -> Result<TaskKey, AcceptError> {
        let id = task.id();
        let unique = task.options().unique.clone();
        if let Some(holder) = unique.as_ref().and_then(|unique| self.task(*self.unique.get(unique)?)) {
            return Err(if self.has(id) { AcceptError::Id } else { AcceptError::Unique(holder.id()) });
        }
        let (places, waiting) = (&mut self.places, &mut self.waiting);
        let key = self.live.try_insert_with_key(|key| {
            let hint = places.insert(id, IdEntry::Live(key)).ok_or(AcceptError::Id)?;
            waiting.enters(&task, TaskState::Queued);
            Ok(Entry::new(task, waiter, hint, now))
        })?;
        self.accepted += 1;
        if let Some(unique) = unique {
            self.unique.insert(unique, key);
        }
        let Self { recorder, live, .. } = self;
        recorder.note(now, || FactKind::TaskAccepted { task: live[key].task.clone() });
        Ok(key)
    }

    /// Holds a queued task back until `timer` is due.
    pub fn hold(&mut self, key: TaskKey, timer: TimerId, until: Tick, now: Tick) -> bool {
        self.hold_from(key, |state| state == TaskState::Queued, (timer, until), now)
    }

    /// Holds a held task back until another time, because the wall clock was set.
    pub fn hold_anew(&mut self, key: TaskKey, timer: TimerId, until: Tick, now: Tick) -> bool {
        self.hold_from(key, |state| matches!(state, TaskState::Waiting { .. }), (timer, until), now)
    }

    fn hold_from(
        &mut self,
        key: TaskKey,
        fits: impl Fn(TaskState) -> bool,
        (timer, until): (TimerId, Tick),
        now: Tick,
    ) -> bool {
        let Some(entry) = self.live.get_mut(key).filter(|entry| fits(entry.state())) else {
            self.ignored += 1;
            return false;
        };
        entry.become_state(&mut self.waiting, TaskState::Waiting { timer });
        let task = entry.task.id();
        let wait_seconds = until.since(now).as_secs_f64();
        self.recorder.note(now, || FactKind::TaskHeld { task, until, wait_seconds });
        true
    }

    /// Sends a queued task to a worker. Returns the number of the attempt.
    pub fn send(
        &mut self,
        key: TaskKey,
        (worker, seq): (WorkerRef, Seq),
        placement: Placement,
        now: Tick,
    ) -> Option<Attempt> {
        let Some(entry) = self.live.get_mut(key).filter(|entry| entry.state() == TaskState::Queued) else {
            self.ignored += 1;
            return None;
        };
        entry.become_state(&mut self.waiting, TaskState::Sent { worker, seq, at: now });
        entry.attempts += 1;
        // An attempt that came back without having started does not count.
        if entry.attempts == 1 && entry.task.options().total_timeout.is_some() {
            entry.history_mut().first_sent = Some(now);
        }
        let (task, attempt) = (entry.task.id(), Attempt(entry.attempts));
        self.recorder.note(now, || FactKind::TaskSent { task, worker, seq, attempt, placement });
        Some(attempt)
    }

    /// Returns a task that had not started to the queue, if it is with exactly that worker and sequence number. The
    /// attempt does not count (L5).
    pub fn give_back(&mut self, key: TaskKey, by: (WorkerRef, Seq), cause: ReturnCause, now: Tick) -> bool {
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        entry.become_state(&mut self.waiting, TaskState::Queued);
        entry.attempts -= 1;
        let task = entry.task.id();
        self.recorder.note(now, || FactKind::TaskReturned { task, worker: by.0, cause });
        true
    }

    /// Handles a failed attempt. The task waits for its retry until `timer` is due.
    pub fn retry(
        &mut self,
        key: TaskKey,
        by: (WorkerRef, Seq),
        end: AttemptEnd,
        (timer, wait): (TimerId, Duration),
        now: Tick,
    ) -> bool {
        let (epoch, most, listening) = (self.epoch, self.retained.bounds().each, self.recorder.is_listening());
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        let task = entry.task.id();
        let run_seconds = end.nanos.map(seconds);
        let ended = entry.remember(end, epoch, most, listening, now);
        entry.history_mut().counters.retries += 1;
        entry.become_state(&mut self.waiting, TaskState::Waiting { timer });
        let (until, wait_seconds) = (now.after(wait), wait.as_secs_f64());
        self.recorder.note_with(now, ended, |ended| FactKind::TaskRetrying {
            task,
            ended,
            run_seconds,
            until,
            wait_seconds,
        });
        true
    }

    /// Ends the wait before a start.
    pub fn due(&mut self, key: TaskKey, now: Tick) -> bool {
        let Some(entry) = self.live.get_mut(key).filter(|entry| matches!(entry.state(), TaskState::Waiting { .. }))
        else {
            self.ignored += 1;
            return false;
        };
        entry.become_state(&mut self.waiting, TaskState::Queued);
        let task = entry.task.id();
        self.recorder.note(now, || FactKind::TaskDue { task });
        true
    }

    /// Reruns a task whose process ended during the attempt. A `counted` loss makes the task a suspect.
    /// The loss does not count if another task in the worker was killed.
    pub fn rerun(&mut self, key: TaskKey, by: (WorkerRef, Seq), end: AttemptEnd, counted: bool, now: Tick) -> bool {
        let (epoch, most, listening) = (self.epoch, self.retained.bounds().each, self.recorder.is_listening());
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        let task = entry.task.id();
        let run_seconds = end.nanos.map(seconds);
        let ended = entry.remember(end, epoch, most, listening, now);
        let counters = &mut entry.history_mut().counters;
        counters.losses += u32::from(counted);
        counters.alone |= counted;
        entry.become_state(&mut self.waiting, TaskState::Queued);
        self.recorder.note_with(now, ended, |ended| FactKind::TaskRerun { task, ended, run_seconds, counted });
        true
    }

    /// Marks a task as cancelled. Returns false if it was marked before.
    pub fn cancel(&mut self, key: TaskKey) -> bool {
        self.live
            .get_mut(key)
            .is_some_and(|entry| !std::mem::replace(&mut entry.history_mut().counters.cancelled, true))
    }

    /// Records the source of a task's cancellation. A task that is with a worker has `grace` to stop by itself.
    pub fn note_cancel(&mut self, key: TaskKey, by: CancelSource, grace: Option<Duration>, now: Tick) {
        if let Some(task) = self.live.get(key).map(|entry| entry.task.id()) {
            let grace_seconds = grace.map(|grace| grace.as_secs_f64());
            self.recorder.note(now, || FactKind::CancelRequested { task, by, grace_seconds });
        }
    }

    /// The callers that wait for a live task.
    #[must_use]
    pub fn waiter(&self, key: TaskKey) -> Option<WaiterId> {
        self.live.get(key)?.waiter
    }

    /// Sets the waiting callers of a task that has none.
    pub fn set_waiter(&mut self, key: TaskKey, waiter: WaiterId) {
        if let Some(entry) = self.live.get_mut(key) {
            entry.waiter = Some(waiter);
        }
    }

    /// Sets the timer that lets a task expire.
    pub fn set_expiry(&mut self, key: TaskKey, timer: TimerId) {
        if let Some(entry) = self.live.get_mut(key) {
            entry.history_mut().expiry = Some(timer);
        }
    }

    /// Takes the timer that lets a task expire.
    pub fn take_expiry(&mut self, key: TaskKey) -> Option<TimerId> {
        self.live.get_mut(key)?.history.as_mut()?.expiry.take()
    }

    /// Whether an attempt of a live task has started before.
    #[must_use]
    pub fn has_run(&self, key: TaskKey) -> bool {
        self.live.get(key).is_some_and(|entry| entry.attempts > 0)
    }

    /// The number of times that a live task was sent, for tests.
    #[cfg(test)]
    pub(super) fn attempts(&self, key: TaskKey) -> Option<u32> {
        self.live.get(key).map(|entry| entry.attempts)
    }

    /// The time when a live task was submitted.
    #[must_use]
    pub fn submitted(&self, key: TaskKey) -> Option<Tick> {
        self.live.get(key).map(|entry| entry.submitted)
    }

    /// The counters of a live task.
    #[must_use]
    pub fn counters(&self, key: TaskKey) -> TaskCounters {
        self.live.get(key).and_then(|entry| entry.history.as_ref()).map(|history| history.counters).unwrap_or_default()
    }

    fn sent<'a>(
        live: &'a mut SlotMap<TaskKey, Entry>,
        ignored: &mut u64,
        key: TaskKey,
        by: (WorkerRef, Seq),
    ) -> Option<&'a mut Entry> {
        let found = live.get_mut(key).filter(|entry| entry.state().is_with(by));
        if found.is_none() {
            *ignored += 1;
        }
        found
    }

    /// Sets a task's outcome (L1). With `by`, only if the task is with exactly that worker and sequence number (L3).
    pub fn finish(&mut self, key: TaskKey, by: Option<(WorkerRef, Seq)>, end: TaskEnd, now: Tick) -> Option<Finished> {
        let fenced = |entry: &Entry| by.is_none_or(|by| entry.state().is_with(by));
        if !self.live.get(key).is_some_and(fenced) {
            self.ignored += 1;
            return None;
        }
        let entry = self.live.remove(key)?;
        self.waiting.leaves(&entry.task, entry.state());
        self.finished.count(&end.outcome);
        if let Some(unique) = &entry.task.options().unique {
            self.unique.remove(unique);
        }
        let (waiter, hint) = (entry.waiter, entry.hint);
        let is_trimmed = entry.history.as_ref().is_some_and(|history| history.is_trimmed());
        let record = self.retained.bound(entry.into_record(end, self.epoch, now), is_trimmed);
        self.recorder.note(now, || FactKind::TaskFinished { record: FullRecord(record.clone()) });
        self.retained.push(&record, hint, &mut self.places, &mut self.recorder, self.epoch, now);
        Some(Finished { record, waiter })
    }

    /// Counts a late or illegal event that the caller found.
    pub fn ignore(&mut self) {
        self.ignored += 1;
    }

    /// Drops records above the maximum age.
    pub fn expire_old(&mut self, now: Tick) {
        self.retained.expire_old(&mut self.places, &mut self.recorder, self.epoch, now);
    }

    /// The time when the oldest record reaches the maximum age.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        self.retained.next_expiry()
    }

    /// Converts a wall time to the engine's clock. A time before the engine's start becomes its start.
    #[must_use]
    pub fn tick(&self, time: Timestamp) -> Tick {
        let since = time.duration_since(self.epoch);
        Tick(0).after(Duration::try_from(since).unwrap_or_default())
    }

    /// Converts a tick to wall time.
    #[must_use]
    pub fn wall(&self, tick: Tick) -> Timestamp {
        wall(self.epoch, tick)
    }
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

fn wall(epoch: Timestamp, tick: Tick) -> Timestamp {
    epoch.saturating_add(Duration::from_nanos(tick.0)).unwrap_or(epoch)
}

#[cfg(test)]
mod tests;
