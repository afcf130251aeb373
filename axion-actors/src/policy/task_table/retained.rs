//! Records of the tasks that finished lately, within bounds (L9): the oldest go first.
//!
//! * A record is known under its id exactly as long as it stands in the order here.
//! * What is dropped, or of which something is left out, is counted, and for a while it is known why it was dropped.

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
    /// When.
    pub at: Timestamp,
    /// Which bound it would have broken.
    pub why: ExpiredBy,
    /// The name of the outcome that it had.
    pub outcome: &'static str,
}

/// Which records are retained. They themselves stand under their ids, with the live tasks.
#[derive(Debug)]
pub(super) struct RetainedRecords {
    queue: RetentionQueue<(TaskId, Hint)>,
    /// As many as may be retained, so that whoever asks late learns what became of a record. Searched
    /// from end to end for that, which is rare, so that dropping a record costs next to nothing.
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

    /// How many records are retained, and the bytes they hold.
    pub(super) fn held(&self) -> (usize, usize) {
        self.queue.held()
    }

    /// Records dropped so far.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Records so far of which something was left out.
    pub(super) fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// What became of a record, if it was dropped lately.
    pub(super) fn expired(&self, id: TaskId) -> Option<Expired> {
        self.expired.iter().find(|(it, _)| *it == id).map(|(_, it)| *it)
    }

    /// Brings a record within its own bound, of which something may have been left out before.
    pub(super) fn bound(&mut self, mut record: TaskRecord, is_trimmed: bool) -> Arc<TaskRecord> {
        self.trimmed += u64::from(record.trim(self.queue.policy().each) || is_trimmed);
        Arc::new(record)
    }

    /// Keeps one more, of a task that was live until now.
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
