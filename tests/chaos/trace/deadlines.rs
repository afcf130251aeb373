//! The order in which tasks may expire.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axion_core::TaskId;
use jiff::Timestamp;

/// Until when the tasks that have not started must have.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    all: HashMap<TaskId, Timestamp>,
    waiting: BTreeSet<(Timestamp, TaskId)>,
}

impl Deadlines {
    pub(super) fn accepted(&mut self, task: TaskId, ttl: Option<Duration>, at: Timestamp) {
        if let Some(until) = ttl.and_then(|ttl| at.saturating_add(ttl).ok()) {
            self.all.insert(task, until);
            self.waiting.insert((until, task));
        }
    }

    /// It has been sent, or has ended.
    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some(until) = self.all.get(&task) {
            self.waiting.remove(&(*until, task));
        }
    }

    /// It came back without having started.
    pub(super) fn restore(&mut self, task: TaskId) {
        if let Some(until) = self.all.get(&task) {
            self.waiting.insert((*until, task));
        }
    }

    /// Checks that the task does not expire early, and that no task with an earlier deadline still waits.
    pub(super) fn expired(&self, task: TaskId, at: Timestamp) -> Result<(), String> {
        let until = *self.all.get(&task).ok_or("it may wait for ever, but has expired")?;
        if at < until {
            return Err(format!("it expired at {at}, and might have waited until {until}"));
        }
        match self.waiting.first() {
            Some((earlier, other)) if *earlier < until => {
                Err(format!("it expired, but {other}, which was to have started by {earlier}, still waits"))
            }
            _ => Ok(()),
        }
    }
}
