//! A second implementation of the queues: in which order tasks may start and expire.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use axion_core::{Priority, TaskId};
use jiff::Timestamp;

/// A queue of a pool, by priority and then by place (L12). Tasks with limits and suspects wait in other queues.
#[derive(Debug, Default)]
pub(super) struct Line {
    places: HashMap<TaskId, (Priority, i64)>,
    order: BTreeSet<(usize, i64, TaskId)>,
    next: i64,
}

impl Line {
    /// Before all those of its priority, or behind them.
    pub(super) fn push(&mut self, task: TaskId, priority: Priority, first: bool) {
        self.next += 1;
        let place = if first { -self.next } else { self.next };
        self.places.insert(task, (priority, place));
        self.order.insert((priority.level(), place, task));
    }

    /// Takes a task out. Returns the first of all, if that is another one.
    pub(super) fn remove(&mut self, task: TaskId) -> Option<TaskId> {
        let (priority, place) = self.places.remove(&task)?;
        let first = self.order.first().map(|(.., first)| *first);
        self.order.remove(&(priority.level(), place, task));
        first.filter(|first| *first != task)
    }
}

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
