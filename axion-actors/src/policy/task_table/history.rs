//! The history of a live task, within the bounds of its record (L9).

use std::collections::VecDeque;

use jiff::SignedDuration;

use crate::model::{AttemptRecord, Tick};
use crate::policy::timers::TimerId;

/// The maximum number of remembered attempts of a task (L9).
pub(super) const EARLIER: usize = 16;

/// The history of a task.
#[derive(Debug, Default)]
pub(super) struct TaskHistory {
    pub(super) counters: TaskCounters,
    /// The timer that lets the task expire, until it starts.
    pub(super) expiry: Option<TimerId>,
    /// The time of the first send, for a task whose attempts have a limit together.
    pub(super) first_sent: Option<Tick>,
    earlier: VecDeque<AttemptRecord>,
    /// The number of attempts left out, and whether one was left out because of its size.
    left_out: u32,
    trimmed: bool,
}

impl TaskHistory {
    /// Remembers another attempt, and keeps all of them within `most` bytes.
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

    /// Moves the wall times of the remembered attempts, because the wall clock was set by `span`.
    pub(super) fn shift(&mut self, span: SignedDuration) {
        for attempt in &mut self.earlier {
            for time in [&mut attempt.sent, &mut attempt.ended] {
                *time = time.saturating_add(span).unwrap_or(*time);
            }
        }
    }

    /// Whether an attempt was left out because of its size.
    pub(super) fn is_trimmed(&self) -> bool {
        self.trimmed
    }

    /// The remembered attempts, and the number of those left out.
    pub(super) fn into_earlier(self) -> (Vec<AttemptRecord>, u32) {
        (self.earlier.into(), self.left_out)
    }
}

/// The counters of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskCounters {
    /// The number of retries after failures.
    pub retries: u32,
    /// The number of worker deaths during the task.
    pub losses: u32,
    /// Whether its cancellation was requested.
    pub cancelled: bool,
    /// Whether it is suspected of killing its worker, so that its next attempt runs in isolation.
    pub alone: bool,
}
