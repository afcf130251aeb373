//! A pool: its workers, and what waits for them.

use std::collections::VecDeque;

use super::pool_workers::PoolWorkers;
use super::protocol::PoolRules;
use super::worker_slots::WorkerSlots;
use crate::model::{PoolId, Priority, TaskError, WorkerRef};
use crate::policy::resources::MAX_OVERTAKES;
use crate::policy::run_queue::RunQueue;
use crate::policy::task_table::TaskKey;

/// Tasks that need several slots, when they are the next of their pool. One whose slots are not free may be overtaken
/// [`MAX_OVERTAKES`] times; from then on nothing that is not more urgent starts in the pool until it fits.
#[derive(Debug, Default)]
pub(super) struct MultiSlotQueue {
    pub(super) queue: RunQueue,
    /// The first of them.
    pub(super) first: Option<HeadOfLine>,
}

/// The first of the tasks that need several slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadOfLine {
    pub(super) key: TaskKey,
    pub(super) priority: Priority,
    pub(super) slots: usize,
    /// How often, since it is the first.
    pub(super) overtaken: u64,
    /// The workers that are here have so many slots. While they have not, it gains nothing if others wait, and more
    /// workers are called for.
    pub(super) can_fit: bool,
}

impl HeadOfLine {
    /// Whether a task of this priority may be placed before this one.
    pub(super) fn allows_backfill(&self, priority: Priority) -> bool {
        self.overtaken < MAX_OVERTAKES || priority < self.priority || !self.can_fit
    }

    /// A task of this priority has been placed. One that is more urgent goes before it anyway.
    pub(super) fn note_backfill(&mut self, priority: Priority) {
        self.overtaken += u64::from(priority >= self.priority);
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) rules: PoolRules,
    pub(super) workers: PoolWorkers,
    /// Workers that have been replaced or are no longer needed: they take nothing more and end when
    /// they are empty.
    pub(super) draining: Vec<WorkerSlots>,
    /// Keys of tasks that were cancelled meanwhile may be among them.
    pub(super) queue: RunQueue,
    /// Tasks that have to run alone; they go first.
    pub(super) suspects: VecDeque<TaskKey>,
    /// Tasks that have passed the gate of their limits and need one slot; they go before the queue.
    pub(super) cleared: VecDeque<TaskKey>,
    /// Tasks that need several slots.
    pub(super) multi_slot: MultiSlotQueue,
    /// So many workers were asked for, because a task waits that cannot run with fewer.
    pub(super) called: usize,
    /// Why no task of this pool can run at present.
    pub(super) unavailable: Option<TaskError>,
    /// Attempts that its workers have ended.
    pub(super) ended: u64,
    /// Something may be placed in it that could not be before: it is in the scheduler's list of such pools.
    pub(super) woken: bool,
}

impl Pool {
    pub(super) fn new(id: PoolId, rules: PoolRules) -> Self {
        Self {
            id,
            rules,
            workers: PoolWorkers::new(rules.kind),
            draining: Vec::new(),
            queue: RunQueue::default(),
            suspects: VecDeque::new(),
            cleared: VecDeque::new(),
            multi_slot: MultiSlotQueue::default(),
            called: 0,
            unavailable: None,
            ended: 0,
            woken: false,
        }
    }

    /// Puts the pool into the list of those in which something may be placed.
    pub(super) fn wake(&mut self, woken: &mut VecDeque<PoolId>) {
        if !std::mem::replace(&mut self.woken, true) {
            woken.push_back(self.id);
        }
    }

    /// Whether nothing waits for a worker.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.suspects.is_empty() && self.cleared.is_empty() && self.multi_slot.queue.is_empty()
    }

    /// How many keys wait, with those of ended tasks.
    pub(super) fn keys(&self) -> usize {
        self.queue.len() + self.suspects.len() + self.cleared.len() + self.multi_slot.queue.len()
    }

    /// Drops the keys that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(TaskKey) -> bool) {
        self.queue.retain(&keep);
        self.multi_slot.queue.retain(&keep);
        self.suspects.retain(|key| keep(*key));
        self.cleared.retain(|key| keep(*key));
    }

    /// Takes everything that waits, the next one first.
    pub(super) fn drain(&mut self) -> Vec<TaskKey> {
        let first = std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.cleared));
        let mut multi_slot = std::mem::take(&mut self.multi_slot).queue;
        first.chain(multi_slot.drain()).chain(self.queue.drain()).collect()
    }

    /// Only one task may run at a time, and a worker that has been replaced has not finished its last.
    pub(super) fn is_finishing(&self) -> bool {
        self.rules.one_at_a_time && self.draining.iter().any(|member| !member.in_flight.is_empty())
    }

    /// Changes a worker, also one that is draining; `None` if there is no such worker.
    pub(super) fn change<T>(&mut self, worker: WorkerRef, change: impl FnOnce(&mut WorkerSlots) -> T) -> Option<T> {
        if self.workers.get(worker).is_some() {
            return self.workers.change(worker.id.index as usize, change);
        }
        self.draining.iter_mut().find(|member| member.worker == worker).map(change)
    }

    /// A worker that is here or draining.
    pub(super) fn member(&self, worker: WorkerRef) -> Option<&WorkerSlots> {
        self.workers.get(worker).or_else(|| self.draining.iter().find(|member| member.worker == worker))
    }

    /// Takes a worker out that is gone.
    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<WorkerSlots> {
        if let Some(at) = self.draining.iter().position(|member| member.worker == worker) {
            return Some(self.draining.swap_remove(at));
        }
        self.workers.remove(worker)
    }
}
