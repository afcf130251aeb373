//! The retained records of finished tasks, within bounds (L9). The oldest go first.
//!
//! * A record is known under its id exactly as long as it is in the order here.
//! * Dropped and trimmed records are counted. The reason of a drop is remembered for a while.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::{IdEntry, wall};
use crate::model::{ExpiredBy, FactKind, TaskId, TaskRecord, Tick};
use crate::policy::recorder::Recorder;
use crate::policy::retention::{RetentionPolicy, RetentionQueue};
use crate::policy::task_ids::{Hint, TaskIds};

/// A record that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The time of the drop.
    pub at: Timestamp,
    /// The bound that the record would have exceeded.
    pub why: ExpiredBy,
    /// The name of the record's outcome.
    pub outcome: &'static str,
}

/// The order of the retained records. The records themselves are stored under their ids, with the live tasks.
#[derive(Debug)]
pub(super) struct RetainedRecords {
    queue: RetentionQueue<(TaskId, Hint)>,
    /// The dropped records, at most as many as can be retained, so that a late lookup learns why a record was dropped.
    /// Lookups are rare and search linearly, which keeps a drop cheap.
    expired: VecDeque<(TaskId, Expired)>,
    evicted: u64,
    trimmed: u64,
}

impl RetainedRecords {
    pub(super) fn new(bounds: RetentionPolicy) -> Self {
        Self { queue: RetentionQueue::new(bounds), expired: VecDeque::new(), evicted: 0, trimmed: 0 }
    }

    pub(super) fn bounds(&self) -> RetentionPolicy {
        self.queue.policy()
    }

    /// The number of retained records, and their size in bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        self.queue.held()
    }

    /// The number of records dropped so far.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The number of records trimmed so far.
    pub(super) fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// The reason why a record was dropped, if that is remembered.
    pub(super) fn expired(&self, id: TaskId) -> Option<Expired> {
        self.expired.iter().find(|(it, _)| *it == id).map(|(_, it)| *it)
    }

    /// Trims a record to its own bound. Parts of it may have been left out before.
    pub(super) fn bound(&mut self, mut record: TaskRecord, is_trimmed: bool) -> Arc<TaskRecord> {
        self.trimmed += u64::from(record.trim(self.queue.policy().each) || is_trimmed);
        Arc::new(record)
    }

    /// Retains the record of a task that has just ended.
    pub(super) fn push(
        &mut self,
        record: &Arc<TaskRecord>,
        hint: Hint,
        places: &mut TaskIds<IdEntry>,
        recorder: &mut Recorder,
        epoch: Timestamp,
        now: Tick,
    ) {
        if let Some(place) = places.get_mut(record.id, hint) {
            *place = IdEntry::RetainedRecords(record.clone());
        }
        self.queue.push((record.id, hint), record.weight(), now);
        while let Some(why) = self.queue.over_limit() {
            self.expire(why, places, recorder, epoch, now);
        }
    }

    /// Drops the records that reached the age limit.
    pub(super) fn expire_old(
        &mut self,
        places: &mut TaskIds<IdEntry>,
        recorder: &mut Recorder,
        epoch: Timestamp,
        now: Tick,
    ) {
        while self.queue.is_overdue(now) {
            self.expire(ExpiredBy::Age, places, recorder, epoch, now);
        }
    }

    /// When the oldest record reaches the age limit.
    pub(super) fn next_expiry(&self) -> Option<Tick> {
        self.queue.next_expiry()
    }

    fn expire(
        &mut self,
        why: ExpiredBy,
        places: &mut TaskIds<IdEntry>,
        recorder: &mut Recorder,
        epoch: Timestamp,
        now: Tick,
    ) {
        let Self { queue, expired, evicted, .. } = self;
        let count = queue.policy().count;
        queue.pop(|(oldest, hint)| {
            let Some(IdEntry::RetainedRecords(gone)) = places.remove(oldest, hint) else { return 0 };
            *evicted += 1;
            if expired.len() == count {
                expired.pop_front();
            }
            recorder.note(now, || FactKind::RecordDropped { task: oldest, by: why });
            expired.push_back((oldest, Expired { at: wall(epoch, now), why, outcome: gone.outcome.name() }));
            gone.weight()
        });
    }
}
