//! The counts of live tasks that are not with a worker. Every change of a task's state updates them.

use super::TaskState;
use crate::model::{PoolId, PoolMap, Task};

/// The counts of waiting tasks.
#[derive(Debug, Default)]
pub(super) struct WaitingCounts {
    count: usize,
    bytes: usize,
    /// The waiting tasks that could start, by pool.
    queued: PoolMap<usize>,
}

impl WaitingCounts {
    /// A task comes into this state.
    pub(super) fn enters(&mut self, task: &Task, state: TaskState) {
        if !matches!(state, TaskState::Sent { .. }) {
            self.count += 1;
            self.bytes += task.weight();
            *self.queued.or_default(task.pool_id()) += usize::from(state == TaskState::Queued);
        }
    }

    /// A task leaves this state.
    pub(super) fn leaves(&mut self, task: &Task, state: TaskState) {
        if !matches!(state, TaskState::Sent { .. }) {
            self.count -= 1;
            self.bytes -= task.weight();
            *self.queued.or_default(task.pool_id()) -= usize::from(state == TaskState::Queued);
        }
    }

    /// The number of all waiting tasks, and their size in bytes.
    pub(super) fn all(&self) -> (usize, usize) {
        (self.count, self.bytes)
    }

    /// The number of waiting tasks of a pool that could start.
    pub(super) fn queued(&self, pool: PoolId) -> usize {
        self.queued.get(pool).copied().unwrap_or_default()
    }

    /// The number of tasks that wait for a time.
    pub(super) fn held_back(&self) -> usize {
        self.count - self.queued.values().sum::<usize>()
    }
}
