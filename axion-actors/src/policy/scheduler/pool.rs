//! A pool: its workers and its waiting tasks.

use std::collections::VecDeque;

use super::pool_workers::PoolWorkers;
use super::protocol::PoolRules;
use super::worker_slots::WorkerSlots;
use crate::model::{PoolId, Priority, TaskError, WorkerRef};
use crate::policy::resources::MAX_OVERTAKES;
use crate::policy::run_queue::RunQueue;
use crate::policy::task_table::TaskKey;

/// The next tasks of a pool that need several slots. While the slots of the first one are not free, other tasks may
/// overtake it [`MAX_OVERTAKES`] times. After that, only more urgent tasks start in the pool until it fits.
#[derive(Debug, Default)]
pub(super) struct MultiSlotQueue {
    pub(super) queue: RunQueue,
    /// The first of the tasks.
    pub(super) first: Option<HeadOfLine>,
}

/// The first of the tasks that need several slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadOfLine {
    pub(super) key: TaskKey,
    pub(super) priority: Priority,
    pub(super) slots: usize,
    /// The number of tasks that overtook it since it became the first.
    pub(super) overtaken: u64,
    /// Whether the present workers have enough slots. If not, holding other tasks back does not help, and the pool
    /// requests more workers.
    pub(super) can_fit: bool,
}

impl HeadOfLine {
    /// Whether a task of this priority may be placed before this one.
    pub(super) fn allows_backfill(&self, priority: Priority) -> bool {
        self.overtaken < MAX_OVERTAKES || priority < self.priority || !self.can_fit
    }

    /// Counts a placed task of this priority as an overtake, unless it is more urgent.
    pub(super) fn note_backfill(&mut self, priority: Priority) {
        self.overtaken += u64::from(priority >= self.priority);
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) id: PoolId,
    pub(super) rules: PoolRules,
    pub(super) workers: PoolWorkers,
    /// Draining workers, which were replaced or are no longer needed. They take no more tasks and end when they are
    /// empty.
    pub(super) draining: Vec<WorkerSlots>,
    /// Successors that are ready before their predecessors have taken all their tasks.
    pub(super) standby: Vec<WorkerSlots>,
    /// The queued tasks. The keys of cancelled tasks may be among them.
    pub(super) queue: RunQueue,
    /// Tasks that rerun in isolation. They go first.
    pub(super) suspects: VecDeque<TaskKey>,
    /// Admitted tasks that need one slot. They go before the queue.
    pub(super) cleared: VecDeque<TaskKey>,
    /// Tasks that need several slots.
    pub(super) multi_slot: MultiSlotQueue,
    /// The number of workers requested for a waiting task that cannot run with fewer.
    pub(super) called: usize,
    /// The reason why no task of the pool can run at present.
    pub(super) unavailable: Option<TaskError>,
    /// The number of attempts that its workers have ended.
    pub(super) ended: u64,
    /// Whether the pool is in the scheduler's list of pools in which a task may be placed.
    pub(super) woken: bool,
}

impl Pool {
    pub(super) fn new(id: PoolId, rules: PoolRules) -> Self {
        Self {
            id,
            rules,
            workers: PoolWorkers::new(rules.kind),
            draining: Vec::new(),
            standby: Vec::new(),
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

    /// Adds the pool to the list of pools in which a task may be placed.
    pub(super) fn wake(&mut self, woken: &mut VecDeque<PoolId>) {
        if !std::mem::replace(&mut self.woken, true) {
            woken.push_back(self.id);
        }
    }

    /// Whether no task waits for a worker.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.suspects.is_empty() && self.cleared.is_empty() && self.multi_slot.queue.is_empty()
    }

    /// The number of waiting keys, including those of ended tasks.
    pub(super) fn keys(&self) -> usize {
        self.queue.len() + self.suspects.len() + self.cleared.len() + self.multi_slot.queue.len()
    }

    /// Drops the keys for which `keep` returns false.
    pub(super) fn retain(&mut self, keep: impl Fn(TaskKey) -> bool) {
        self.queue.retain(&keep);
        self.multi_slot.queue.retain(&keep);
        self.suspects.retain(|key| keep(*key));
        self.cleared.retain(|key| keep(*key));
    }

    /// Takes all waiting tasks, the next one first.
    pub(super) fn drain(&mut self) -> Vec<TaskKey> {
        let first = std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.cleared));
        let mut multi_slot = std::mem::take(&mut self.multi_slot).queue;
        first.chain(multi_slot.drain()).chain(self.queue.drain()).collect()
    }

    /// Whether a process that left this place still has a task in flight.
    pub(super) fn is_finishing(&self, index: u32) -> bool {
        self.draining.iter().any(|member| member.worker.id.index == index && !member.in_flight.is_empty())
    }

    /// Lets the worker in this place take tasks, unless a process that left the place still has one.
    pub(super) fn let_successor_take(&mut self, index: u32) {
        if !self.is_finishing(index) {
            self.workers.change(index as usize, |member| member.follows = false);
        }
    }

    /// Changes a worker, which may be draining. Returns `None` if there is no such worker.
    pub(super) fn change<T>(&mut self, worker: WorkerRef, change: impl FnOnce(&mut WorkerSlots) -> T) -> Option<T> {
        if self.workers.get(worker).is_some() {
            return self.workers.change(worker.id.index as usize, change);
        }
        self.draining.iter_mut().chain(&mut self.standby).find(|member| member.worker == worker).map(change)
    }

    /// A worker, which may be draining.
    pub(super) fn member(&self, worker: WorkerRef) -> Option<&WorkerSlots> {
        let others = || self.draining.iter().chain(&self.standby).find(|member| member.worker == worker);
        self.workers.get(worker).or_else(others)
    }

    /// Removes a worker that ended.
    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<WorkerSlots> {
        for list in [&mut self.draining, &mut self.standby] {
            if let Some(at) = list.iter().position(|member| member.worker == worker) {
                return Some(list.swap_remove(at));
            }
        }
        self.workers.remove(worker)
    }

    /// Takes the successor that stands by for this place.
    pub(super) fn take_standby(&mut self, index: u32) -> Option<WorkerSlots> {
        let at = self.standby.iter().position(|member| member.worker.id.index == index)?;
        Some(self.standby.swap_remove(at))
    }
}
