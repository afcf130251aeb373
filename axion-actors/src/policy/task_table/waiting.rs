//! The counts of live tasks that are not with a worker. Every change of a task's state updates them.

use rustc_hash::FxHashMap;

use super::TaskState;
use crate::model::{PartId, PoolId, PoolMap, Task, Work};

/// The counts of waiting tasks.
#[derive(Debug, Default)]
pub(super) struct WaitingCounts {
    count: usize,
    /// Each part counts once, however many tasks need it.
    bytes: usize,
    /// The functions with parts that waiting tasks have, and the number of these tasks.
    functions: FxHashMap<PartId, usize>,
    /// The parts of these functions, and the number of functions that need each.
    parts: FxHashMap<PartId, usize>,
    /// The waiting tasks that could start, by pool.
    queued: PoolMap<usize>,
}

impl WaitingCounts {
    /// A task comes into this state.
    pub(super) fn enters(&mut self, task: &Task, state: TaskState) {
        if !matches!(state, TaskState::Sent { .. }) {
            self.count += 1;
            self.bytes += task.weight();
            self.add_parts(task.work());
            *self.queued.or_default(task.pool_id()) += usize::from(state == TaskState::Queued);
        }
    }

    /// A task leaves this state.
    pub(super) fn leaves(&mut self, task: &Task, state: TaskState) {
        if !matches!(state, TaskState::Sent { .. }) {
            self.count -= 1;
            self.bytes -= task.weight();
            self.remove_parts(task.work());
            *self.queued.or_default(task.pool_id()) -= usize::from(state == TaskState::Queued);
        }
    }

    fn add_parts(&mut self, work: &Work) {
        let Work::Function(function) = work else { return };
        if function.parts().is_empty() || !add_one(&mut self.functions, function.id()) {
            return;
        }
        for part in function.parts() {
            part.begin_to_wait();
            if add_one(&mut self.parts, part.id()) {
                self.bytes += part.bytes().len();
            }
        }
    }

    fn remove_parts(&mut self, work: &Work) {
        let Work::Function(function) = work else { return };
        if function.parts().is_empty() || !remove_one(&mut self.functions, function.id()) {
            return;
        }
        for part in function.parts() {
            part.cease_to_wait();
            if remove_one(&mut self.parts, part.id()) {
                self.bytes -= part.bytes().len();
            }
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

/// Counts one more. Returns whether it is the first.
fn add_one(counts: &mut FxHashMap<PartId, usize>, id: PartId) -> bool {
    let count = counts.entry(id).or_default();
    *count += 1;
    *count == 1
}

/// Counts one less. Returns whether it was the last.
fn remove_one(counts: &mut FxHashMap<PartId, usize>, id: PartId) -> bool {
    let Some(count) = counts.get_mut(&id) else { return false };
    *count -= 1;
    let is_last = *count == 0;
    if is_last {
        counts.remove(&id);
    }
    is_last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Function, Part};

    #[test]
    fn l9_a_part_counts_once_however_many_waiting_tasks_need_it() {
        let [shared, own] = [1000, 300].map(|size| Part::new(vec![0; size]));
        let task = |code: &str, parts: &[&Part]| {
            let parts = parts.iter().map(|part| (*part).clone()).collect();
            Task::call(Function::with_parts("f", code.to_owned(), parts), "12")
        };
        let (one, other) = (task("one", &[&shared, &own]), task("other", &[&shared]));
        let (mut counts, mut sizes) = (WaitingCounts::default(), Vec::new());
        assert_eq!((one.weight(), one.weight_in_queue()), (5, 1305));
        for task in [&one, &one, &other] {
            counts.enters(task, TaskState::Queued);
            sizes.push(counts.all().1);
        }
        assert_eq!((one.weight_in_queue(), other.weight_in_queue()), (5, 7));
        for task in [&one, &one, &other] {
            counts.leaves(task, TaskState::Queued);
            sizes.push(counts.all().1);
        }
        assert_eq!(sizes, [1305, 1310, 1317, 1312, 1007, 0]);
        assert_eq!(other.weight_in_queue(), 1007);
    }
}
