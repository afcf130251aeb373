//! Which records are retained: those of tasks, those of workflows, and the results in a workflow, each within bounds (L9).

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{ExpiredBy, Tick};

/// Bounds on the retained records (L9).
#[derive(Clone, Copy, Debug)]
pub struct RetentionPolicy {
    /// The number of records.
    pub count: usize,
    /// The bytes of all records together.
    pub bytes: usize,
    /// The bytes of one record, beside its result.
    pub each: usize,
    /// The age of a record.
    pub age: Option<Duration>,
}

/// The order in which retained records expire. The records themselves are kept elsewhere, under the same keys.
#[derive(Debug)]
pub(super) struct RetentionQueue<K> {
    policy: RetentionPolicy,
    order: VecDeque<(K, Tick)>,
    bytes: usize,
}

impl<K> RetentionQueue<K> {
    pub(super) fn new(policy: RetentionPolicy) -> Self {
        Self { policy, order: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn policy(&self) -> RetentionPolicy {
        self.policy
    }

    /// The number of records, and their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.order.len(), self.bytes)
    }

    /// Adds the record that finished last.
    pub(super) fn push(&mut self, key: K, weight: usize, now: Tick) {
        self.order.push_back((key, now));
        self.bytes += weight;
    }

    /// The bound that all records together break, if they break one. [`pop`](Self::pop) the oldest then, and ask again.
    pub(super) fn over_limit(&self) -> Option<ExpiredBy> {
        if self.order.len() > self.policy.count {
            Some(ExpiredBy::Count)
        } else if self.bytes > self.policy.bytes && !self.order.is_empty() {
            Some(ExpiredBy::Bytes)
        } else {
            None
        }
    }

    /// Whether the oldest record has reached the age limit.
    pub(super) fn is_overdue(&self, now: Tick) -> bool {
        self.next_expiry().is_some_and(|at| at <= now)
    }

    /// Removes the oldest record. `remove` takes it from where it is kept and returns its weight.
    pub(super) fn pop(&mut self, remove: impl FnOnce(K) -> usize) {
        if let Some((key, _)) = self.order.pop_front() {
            self.bytes = self.bytes.saturating_sub(remove(key));
        }
    }

    /// When the oldest record reaches the age limit.
    pub(super) fn next_expiry(&self) -> Option<Tick> {
        Some(self.order.front()?.1.after(self.policy.age?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut RetentionQueue<u32>, now: u64) -> Vec<(u32, ExpiredBy)> {
        let mut gone = Vec::new();
        let why = |queue: &RetentionQueue<u32>| {
            queue.over_limit().or_else(|| queue.is_overdue(Tick(now)).then_some(ExpiredBy::Age))
        };
        while let Some(why) = why(queue) {
            queue.pop(|key| {
                gone.push((key, why));
                10
            });
        }
        gone
    }

    #[test]
    fn l9_the_oldest_record_expires_by_the_bound_that_it_breaks() {
        let policy = RetentionPolicy { count: 3, bytes: 25, each: 0, age: Some(Duration::from_nanos(5)) };
        let mut queue = RetentionQueue::new(policy);
        (0..4).for_each(|key| queue.push(key, 10, Tick(u64::from(key))));
        assert_eq!(drain(&mut queue, 4), [(0, ExpiredBy::Count), (1, ExpiredBy::Bytes)]);
        assert_eq!((queue.held(), queue.next_expiry()), ((2, 20), Some(Tick(7))));
        assert_eq!(drain(&mut queue, 8), [(2, ExpiredBy::Age), (3, ExpiredBy::Age)]);
        assert_eq!((queue.held(), queue.next_expiry(), queue.is_overdue(Tick(99))), ((0, 0), None, false));
    }
}
