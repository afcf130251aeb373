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
//! A task that is not to start yet is put from Queued to Waiting when it is accepted (`hold`). Anything
//! else is a late or illegal event: it changes nothing and is counted (L3).

mod entry;
mod history;
mod retained;
mod waiting;

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
use super::recorder::Recorder;
use super::retention::RetentionPolicy;
use super::task_ids::TaskIds;
use super::timers::TimerId;
use crate::model::{
    Attempt, CancelSource, CapturedOutput, FactKind, FullRecord, Outcome, OutcomeCounts, Placement, PoolId,
    ReturnCause, Seq, Task, TaskError, TaskId, TaskRecord, Tick, WorkerRef,
};

slotmap::new_key_type! {
    /// A live task's place in the table.
    pub struct TaskKey;
}

/// The place of those who wait for a task, with their owner. The table keeps it with the task, so that it travels with
/// the fact of the task's end: a place is not used again before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaiterId(pub std::num::NonZeroU32);

/// A task that reached its outcome.
#[derive(Debug)]
pub struct Finished {
    /// Its record.
    pub record: Arc<TaskRecord>,
    /// Those who wait for it.
    pub waiter: Option<WaiterId>,
}

/// How a task ends.
#[derive(Debug)]
pub struct TaskEnd {
    /// The outcome.
    pub outcome: Outcome,
    /// How long it ran, if it did.
    pub nanos: Option<u64>,
    /// What it wrote.
    pub output: Option<Box<CapturedOutput>>,
}

impl TaskEnd {
    /// The end of a task that did not run to it.
    #[must_use]
    pub fn without_run(outcome: Outcome) -> Self {
        Self { outcome, nanos: None, output: None }
    }
}

/// What the table knows under an id.
#[derive(Debug, PartialEq)]
pub enum TaskLookup {
    /// Waiting or running.
    Live(TaskKey),
    /// Finished, its record retained.
    Finished(Arc<TaskRecord>),
    /// Finished, but its record was dropped.
    Expired(Expired),
    /// Never accepted, or so long ago that even its expiry is forgotten.
    Unknown,
}

/// Why a task was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptError {
    /// A task with its id is known already.
    Id,
    /// This task is live and has the same unique key.
    Unique(TaskId),
}

#[derive(Debug)]
enum IdEntry {
    Live(TaskKey),
    RetainedRecords(Arc<TaskRecord>),
}

/// All tasks that are live, and the records of those that finished lately.
#[derive(Debug)]
pub struct TaskTable {
    epoch: Timestamp,
    live: SlotMap<TaskKey, Entry>,
    waiting: WaitingCounts,
    /// Which live task holds a unique key.
    unique: FxHashMap<Arc<str>, TaskKey>,
    /// Tasks taken in, and outcomes reached, by name.
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

    /// The facts of the present turn.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Tasks that have not reached their outcome.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// How many tasks are not with a worker, and the bytes they bring along.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.waiting.all()
    }

    /// How many tasks of a pool wait for a worker.
    #[must_use]
    pub fn queued(&self, pool: PoolId) -> usize {
        self.waiting.queued(pool)
    }

    /// How many tasks wait for a time before they may start.
    #[must_use]
    pub fn held_back(&self) -> usize {
        self.waiting.held_back()
    }

    /// Tasks taken in so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Outcomes so far.
    #[must_use]
    pub fn finished(&self) -> OutcomeCounts {
        self.finished
    }

    /// The bounds on retained records.
    #[must_use]
    pub fn bounds(&self) -> RetentionPolicy {
        self.retained.bounds()
    }

    /// How many records are retained, and the bytes they hold.
    #[must_use]
    pub fn retained(&self) -> (usize, usize) {
        self.retained.held()
    }

    /// Late or illegal events so far.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Records dropped to keep the bounds.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.retained.evicted()
    }

    /// Records of which something was left out to keep their bound.
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

    /// Where a live task is.
    #[must_use]
    pub fn state(&self, key: TaskKey) -> Option<TaskState> {
        self.live.get(key).map(|entry| entry.state())
    }

    /// Whether a task with this id is live or its record retained.
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

    /// Takes a new task in, to wait in its queue.
    ///
    /// # Errors
    /// If a task with the same id is live or its record is retained, or one with the same unique key is live.
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

    /// A queued task may not start before `timer` is due.
    pub fn hold(&mut self, key: TaskKey, timer: TimerId, until: Tick, now: Tick) -> bool {
        let Some(entry) = self.live.get_mut(key).filter(|entry| entry.state() == TaskState::Queued) else {
            self.ignored += 1;
            return false;
        };
        entry.become_state(&mut self.waiting, TaskState::Waiting { timer });
        let task = entry.task.id();
        let wait_seconds = until.since(now).as_secs_f64();
        self.recorder.note(now, || FactKind::TaskHeld { task, until, wait_seconds });
        true
    }

    /// A queued task goes to a worker. Returns the number of the attempt.
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
        let (task, attempt) = (entry.task.id(), Attempt(entry.attempts));
        self.recorder.note(now, || FactKind::TaskSent { task, worker, seq, attempt, placement });
        Some(attempt)
    }

    /// A task that had not started comes back from exactly that worker and sequence number; the
    /// attempt is not counted (L5).
    pub fn give_back(&mut self, key: TaskKey, by: (WorkerRef, Seq), cause: ReturnCause, now: Tick) -> bool {
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        entry.become_state(&mut self.waiting, TaskState::Queued);
        entry.attempts -= 1;
        let task = entry.task.id();
        self.recorder.note(now, || FactKind::TaskReturned { task, worker: by.0, cause });
        true
    }

    /// An attempt failed after `nanos` of running, and the task waits until `timer` is due.
    pub fn retry(
        &mut self,
        key: TaskKey,
        by: (WorkerRef, Seq),
        (error, nanos): (TaskError, Option<u64>),
        (timer, wait): (TimerId, Duration),
        now: Tick,
    ) -> bool {
        let (epoch, most, listening) = (self.epoch, self.retained.bounds().each, self.recorder.is_listening());
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        let task = entry.task.id();
        let ended = entry.remember(error, epoch, most, listening, now);
        entry.history_mut().counters.retries += 1;
        entry.become_state(&mut self.waiting, TaskState::Waiting { timer });
        let (until, wait_seconds, run_seconds) = (now.after(wait), wait.as_secs_f64(), nanos.map(seconds));
        self.recorder.note_with(now, ended, |ended| FactKind::TaskRetrying {
            task,
            ended,
            run_seconds,
            until,
            wait_seconds,
        });
        true
    }

    /// A wait before a start is over.
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

    /// An attempt's process ended under it after `nanos`, and the task is to run again. A loss that is `counted` makes it a
    /// suspect; otherwise a neighbour had to be killed and it is innocent.
    pub fn rerun(
        &mut self,
        key: TaskKey,
        by: (WorkerRef, Seq),
        (error, nanos): (TaskError, Option<u64>),
        counted: bool,
        now: Tick,
    ) -> bool {
        let (epoch, most, listening) = (self.epoch, self.retained.bounds().each, self.recorder.is_listening());
        let Some(entry) = Self::sent(&mut self.live, &mut self.ignored, key, by) else { return false };
        let task = entry.task.id();
        let ended = entry.remember(error, epoch, most, listening, now);
        let counters = &mut entry.history_mut().counters;
        counters.losses += u32::from(counted);
        counters.alone |= counted;
        entry.become_state(&mut self.waiting, TaskState::Queued);
        let run_seconds = nanos.map(seconds);
        self.recorder.note_with(now, ended, |ended| FactKind::TaskRerun { task, ended, run_seconds, counted });
        true
    }

    /// Marks a task as one whose cancellation was asked for; false if it was before.
    pub fn cancel(&mut self, key: TaskKey) -> bool {
        self.live
            .get_mut(key)
            .is_some_and(|entry| !std::mem::replace(&mut entry.history_mut().counters.cancelled, true))
    }

    /// Records who asked for a task's cancellation. A task that is with a worker has `grace` to stop by itself.
    pub fn note_cancel(&mut self, key: TaskKey, by: CancelSource, grace: Option<Duration>, now: Tick) {
        if let Some(task) = self.live.get(key).map(|entry| entry.task.id()) {
            let grace_seconds = grace.map(|grace| grace.as_secs_f64());
            self.recorder.note(now, || FactKind::CancelRequested { task, by, grace_seconds });
        }
    }

    /// Those who wait for a live task.
    #[must_use]
    pub fn waiter(&self, key: TaskKey) -> Option<WaiterId> {
        self.live.get(key)?.waiter
    }

    /// Gives a task that nobody waits for its place for those who do.
    pub fn set_waiter(&mut self, key: TaskKey, waiter: WaiterId) {
        if let Some(entry) = self.live.get_mut(key) {
            entry.waiter = Some(waiter);
        }
    }

    /// Notes what lets a task expire.
    pub fn set_expiry(&mut self, key: TaskKey, timer: TimerId) {
        if let Some(entry) = self.live.get_mut(key) {
            entry.history_mut().expiry = Some(timer);
        }
    }

    /// Takes what lets a task expire.
    pub fn take_expiry(&mut self, key: TaskKey) -> Option<TimerId> {
        self.live.get_mut(key)?.history.as_mut()?.expiry.take()
    }

    /// Whether an attempt of a live task has started before.
    #[must_use]
    pub fn has_run(&self, key: TaskKey) -> bool {
        self.live.get(key).is_some_and(|entry| entry.attempts > 0)
    }

    /// How often a live task has been sent, for tests.
    #[cfg(test)]
    pub(super) fn attempts(&self, key: TaskKey) -> Option<u32> {
        self.live.get(key).map(|entry| entry.attempts)
    }

    /// When a live task was submitted.
    #[must_use]
    pub fn submitted(&self, key: TaskKey) -> Option<Tick> {
        self.live.get(key).map(|entry| entry.submitted)
    }

    /// What a live task has been through.
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

    /// A task reaches its outcome (L1). With `by`, only if it is with exactly that worker and
    /// sequence number (L3); without, wherever it is.
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

    /// A late or illegal event, found by the caller.
    pub fn ignore(&mut self) {
        self.ignored += 1;
    }

    /// Drops records that have grown too old.
    pub fn expire_old(&mut self, now: Tick) {
        self.retained.expire_old(&mut self.places, &mut self.recorder, self.epoch, now);
    }

    /// When the oldest record will be too old.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        self.retained.next_expiry()
    }

    /// A wall time on the engine's clock; one before its start is its start.
    #[must_use]
    pub fn tick(&self, time: Timestamp) -> Tick {
        let since = time.duration_since(self.epoch);
        Tick(0).after(Duration::try_from(since).unwrap_or_default())
    }

    /// A tick in wall time.
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
