//! The run queue of a pool: tasks that wait for a worker, by priority and in order (L12).

use std::collections::VecDeque;

use super::task_table::TaskKey;
use crate::model::Priority;

/// One queue for each priority. Every operation but a sweep is O(1).
#[derive(Debug, Default)]
pub struct RunQueue {
    levels: [VecDeque<TaskKey>; Priority::COUNT],
    /// A bit for each priority whose queue is not empty.
    filled: u16,
    len: usize,
}

impl RunQueue {
    /// Adds a task behind those of its priority.
    pub fn push_back(&mut self, priority: Priority, key: TaskKey) {
        self.levels[priority.level()].push_back(key);
        self.count(priority);
    }

    /// Adds a task before those of its priority: it came back from a worker and keeps its place (L5, L12).
    pub fn push_front(&mut self, priority: Priority, key: TaskKey) {
        self.levels[priority.level()].push_front(key);
        self.count(priority);
    }

    fn count(&mut self, priority: Priority) {
        self.filled |= 1 << priority.level();
        self.len += 1;
    }

    /// The next task.
    #[must_use]
    pub fn front(&self) -> Option<TaskKey> {
        self.levels.get(self.filled.trailing_zeros() as usize)?.front().copied()
    }

    /// Removes and returns the next task.
    pub fn pop_front(&mut self) -> Option<TaskKey> {
        let level = self.filled.trailing_zeros() as usize;
        let queue = self.levels.get_mut(level)?;
        let key = queue.pop_front()?;
        if queue.is_empty() {
            self.filled &= !(1 << level);
        }
        self.len -= 1;
        Some(key)
    }

    /// The number of tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All tasks, the next one first.
    pub fn iter(&self) -> impl Iterator<Item = TaskKey> + '_ {
        self.levels.iter().flatten().copied()
    }

    /// Drops the keys for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(TaskKey) -> bool) {
        for (level, queue) in self.levels.iter_mut().enumerate() {
            queue.retain(|key| keep(*key));
            if queue.is_empty() {
                self.filled &= !(1 << level);
            }
        }
        self.len = self.levels.iter().map(VecDeque::len).sum();
    }

    /// Removes and returns all tasks, the next one first.
    pub fn drain(&mut self) -> impl Iterator<Item = TaskKey> + use<> {
        std::mem::take(self).levels.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slotmap::SlotMap;

    use super::*;

    fn keys(count: usize) -> Vec<TaskKey> {
        let mut map = SlotMap::with_key();
        (0..count).map(|_| map.insert(())).collect()
    }

    fn level(level: u8) -> Priority {
        Priority::try_from(level).expect("in range")
    }

    #[test]
    fn l12_the_higher_priority_goes_first_and_what_came_back_before_its_equals() {
        let keys = keys(5);
        let mut queue = RunQueue::default();
        queue.push_back(level(5), keys[0]);
        queue.push_back(level(9), keys[1]);
        queue.push_back(level(0), keys[2]);
        queue.push_back(level(5), keys[3]);
        queue.push_front(level(5), keys[4]);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_front()).collect();
        assert_eq!(order, [keys[2], keys[4], keys[0], keys[3], keys[1]]);
        assert!(queue.is_empty() && queue.front().is_none());
    }

    proptest! {
        #[test]
        fn l12_it_is_a_stable_sort_by_priority(levels in proptest::collection::vec(0..10u8, 0..60), cut in 0..60usize) {
            let keys = keys(levels.len());
            let mut queue = RunQueue::default();
            for (key, n) in keys.iter().zip(&levels) {
                queue.push_back(level(*n), *key);
            }
            let gone = keys.get(cut).copied();
            queue.retain(|key| Some(key) != gone);
            let mut expected: Vec<_> = keys.iter().zip(&levels).filter(|(key, _)| Some(**key) != gone).collect();
            expected.sort_by_key(|(_, n)| **n);
            prop_assert_eq!(queue.len(), expected.len());
            prop_assert_eq!(queue.front(), expected.first().map(|(key, _)| **key));
            let order: Vec<_> = queue.drain().collect();
            prop_assert_eq!(order, expected.into_iter().map(|(key, _)| *key).collect::<Vec<_>>());
            prop_assert!(queue.is_empty());
        }
    }
}
