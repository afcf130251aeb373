//! What a live task has been through: bounded as its record will be (L9).

use std::collections::VecDeque;

use crate::model::AttemptRecord;
use crate::policy::timers::TimerId;

/// Attempts remembered of one task (L9).
const EARLIER: usize = 16;

/// What a task has been through.
#[derive(Debug, Default)]
pub(super) struct TaskHistory {
    pub(super) counters: TaskCounters,
    /// What lets it expire, while it has not started.
    pub(super) expiry: Option<TimerId>,
    earlier: VecDeque<AttemptRecord>,
    /// Of those, how many were left out, and whether one was for its size.
    left_out: u32,
    trimmed: bool,
}

impl TaskHistory {
    /// Remembers one more attempt, and of all of them no more than `most` bytes.
    pub(super) fn remember(&mut self, attempt: AttemptRecord, most: usize) {
        self.earlier.push_back(attempt);
        let mut bytes: usize = self.earlier.iter().map(AttemptRecord::weight).sum();
        while self.earlier.len() > EARLIER || bytes > most {
            let Some(oldest) = self.earlier.pop_front() else { return };
            self.trimmed |= self.earlier.len() <= EARLIER;
            bytes -= oldest.weight();
            self.left_out += 1;
        }
    }

    /// Whether an attempt was left out for its size.
    pub(super) fn is_trimmed(&self) -> bool {
        self.trimmed
    }

    /// The attempts remembered, and how many were left out.
    pub(super) fn into_earlier(self) -> (Vec<AttemptRecord>, u32) {
        (self.earlier.into(), self.left_out)
    }
}

/// What a task has been through, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounters {
    /// Retries after failures.
    pub retries: u32,
    /// Deaths of a worker under it.
    pub losses: u32,
    /// Its cancellation was asked for.
    pub cancelled: bool,
    /// It is suspected of killing its worker: it runs alone next time.
    pub alone: bool,
}
