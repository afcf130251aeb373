//! A second implementation of a pool's queue: the order in which its tasks start (L12).

use std::collections::{BTreeSet, HashMap};

use crate::model::{Priority, TaskId};

/// An end of a queue, within one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueEnd {
    Front,
    Back,
}

/// The tasks of a pool that wait in order.
#[derive(Debug, Default)]
pub(super) struct ExpectedQueue {
    places: HashMap<TaskId, (usize, i64)>,
    order: BTreeSet<(usize, i64, TaskId)>,
    next: i64,
}

impl ExpectedQueue {
    pub(super) fn push(&mut self, task: TaskId, priority: Priority, end: QueueEnd) {
        self.next += 1;
        let place = if end == QueueEnd::Front { -self.next } else { self.next };
        self.places.insert(task, (priority.level(), place));
        self.order.insert((priority.level(), place, task));
    }

    /// Removes a task. Returns the first task of the queue if that is another one.
    pub(super) fn remove(&mut self, task: TaskId) -> Option<TaskId> {
        let (level, place) = self.places.remove(&task)?;
        let first = self.order.first().map(|(.., first)| *first);
        self.order.remove(&(level, place, task));
        first.filter(|first| *first != task)
    }
}
