//! A pool: its workers, and what waits for them.

use std::collections::VecDeque;

use super::member::Member;
use super::members::Members;
use super::protocol::PoolRules;
use crate::model::{PoolKind, Priority, TaskError, WorkerRef};
use crate::policy::resources::PATIENCE;
use crate::policy::run_queue::RunQueue;
use crate::policy::task_table::TaskKey;

/// Tasks that need several slots, when they are the next of their pool. One whose slots are not free may be overtaken
/// [`PATIENCE`] times; from then on nothing that is not more urgent starts in the pool until it fits.
#[derive(Debug, Default)]
pub(super) struct Large {
    pub(super) queue: RunQueue,
    /// The first of them.
    pub(super) first: Option<First>,
}

/// The first of the tasks that need several slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) key: TaskKey,
    pub(super) priority: Priority,
    pub(super) slots: usize,
    /// How often, since it is the first.
    pub(super) overtaken: u64,
    /// The workers that are here have so many slots. While they have not, it gains nothing if others wait, and more
    /// workers are called for.
    pub(super) can_fit: bool,
}

impl First {
    /// Whether a task of this priority may be placed before this one.
    pub(super) fn lets_pass(&self, priority: Priority) -> bool {
        self.overtaken < PATIENCE || priority < self.priority || !self.can_fit
    }

    /// A task of this priority has been placed. One that is more urgent goes before it anyway.
    pub(super) fn is_overtaken_by(&mut self, priority: Priority) {
        self.overtaken += u64::from(priority >= self.priority);
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) rules: PoolRules,
    pub(super) members: Members,
    /// Workers that have been replaced or are no longer needed: they take nothing more and end when
    /// they are empty.
    pub(super) leaving: Vec<Member>,
    /// Keys of tasks that were cancelled meanwhile may be among them.
    pub(super) queue: RunQueue,
    /// Tasks that have to run alone; they go first.
    pub(super) suspects: VecDeque<TaskKey>,
    /// Tasks that have passed the gate of their limits and need one slot; they go before the queue.
    pub(super) cleared: VecDeque<TaskKey>,
    /// Tasks that need several slots.
    pub(super) large: Large,
    /// So many workers were asked for, because a task waits that cannot run with fewer.
    pub(super) called: usize,
    /// Why no task of this pool can run at present.
    pub(super) unavailable: Option<TaskError>,
    /// Attempts that its workers have ended.
    pub(super) ended: u64,
}

impl Pool {
    pub(super) fn new(kind: PoolKind, rules: PoolRules) -> Self {
        Self {
            rules,
            members: Members::new(kind),
            leaving: Vec::new(),
            queue: RunQueue::default(),
            suspects: VecDeque::new(),
            cleared: VecDeque::new(),
            large: Large::default(),
            called: 0,
            unavailable: None,
            ended: 0,
        }
    }

    /// Whether nothing waits for a worker.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.suspects.is_empty() && self.cleared.is_empty() && self.large.queue.is_empty()
    }

    /// How many keys wait, with those of ended tasks.
    pub(super) fn keys(&self) -> usize {
        self.queue.len() + self.suspects.len() + self.cleared.len() + self.large.queue.len()
    }

    /// Drops the keys that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(TaskKey) -> bool) {
        self.queue.retain(&keep);
        self.large.queue.retain(&keep);
        self.suspects.retain(|key| keep(*key));
        self.cleared.retain(|key| keep(*key));
    }

    /// Takes everything that waits, the next one first.
    pub(super) fn drain(&mut self) -> Vec<TaskKey> {
        let first = std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.cleared));
        let mut large = std::mem::take(&mut self.large).queue;
        first.chain(large.drain()).chain(self.queue.drain()).collect()
    }

    /// Only one task may run at a time, and a worker that has been replaced has not finished its last.
    pub(super) fn is_finishing(&self) -> bool {
        self.rules.one_at_a_time && self.leaving.iter().any(|member| !member.in_flight.is_empty())
    }

    /// Changes a worker, also one that is leaving; `None` if there is no such worker.
    pub(super) fn change<T>(&mut self, worker: WorkerRef, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        if self.members.get(worker).is_some() {
            return self.members.change(worker.id.index as usize, change);
        }
        self.leaving.iter_mut().find(|member| member.worker == worker).map(change)
    }

    /// A worker that is here or leaving.
    pub(super) fn member(&self, worker: WorkerRef) -> Option<&Member> {
        self.members.get(worker).or_else(|| self.leaving.iter().find(|member| member.worker == worker))
    }

    /// Takes a worker out that is gone.
    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<Member> {
        if let Some(at) = self.leaving.iter().position(|member| member.worker == worker) {
            return Some(self.leaving.swap_remove(at));
        }
        self.members.remove(worker)
    }
}
