//! The waiters that came later than the task, step or workflow that they wait for.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The number of waiters below which nobody looks for those that gave up.
const FEW: usize = 256;

/// A waiter that can give up before its answer comes.
pub(super) trait GivesUp {
    /// Whether nobody waits for the answer any more.
    fn gave_up(&self) -> bool;
}

/// Waiters by what they wait for. Those that gave up are removed whenever the number of waiters has doubled, so repeated
/// waits with a time limit do not accumulate (L9), whatever they wait for, and a waiter costs amortised constant time.
#[derive(Debug)]
pub(super) struct LateWaiters<K, W> {
    waiters: FxHashMap<K, Vec<W>>,
    count: usize,
    /// The count at which those that gave up are removed.
    sweep_at: usize,
}

impl<K, W> Default for LateWaiters<K, W> {
    fn default() -> Self {
        Self { waiters: FxHashMap::default(), count: 0, sweep_at: FEW }
    }
}

impl<K: Eq + Hash, W: GivesUp> LateWaiters<K, W> {
    pub(super) fn add(&mut self, key: K, waiter: W) {
        if self.count >= self.sweep_at {
            self.sweep();
        }
        self.count += 1;
        self.waiters.entry(key).or_insert_with(|| Vec::with_capacity(1)).push(waiter);
    }

    fn sweep(&mut self) {
        self.waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.gave_up());
            !waiters.is_empty()
        });
        self.count = self.waiters.values().map(Vec::len).sum();
        self.sweep_at = FEW.max(self.count * 2);
        // The map of many waiters that gave up must not stay as large as it was for them.
        self.waiters.shrink_to(self.sweep_at);
    }

    /// Takes all waiters for this.
    pub(super) fn take(&mut self, key: &K) -> Vec<W> {
        if self.waiters.is_empty() {
            return Vec::new();
        }
        let waiters = self.waiters.remove(key).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    impl GivesUp for Rc<Cell<bool>> {
        fn gave_up(&self) -> bool {
            self.get()
        }
    }

    #[test]
    fn l9_waiters_that_gave_up_are_removed_whatever_they_waited_for() {
        let mut waiters = LateWaiters::<usize, Rc<Cell<bool>>>::default();
        let patient: Vec<_> = (0..10).map(|_| Rc::new(Cell::new(false))).collect();
        for waiter in &patient {
            waiters.add(7, waiter.clone());
        }
        for key in 0..100_000 {
            waiters.add(key, Rc::new(Cell::new(true)));
            assert!(waiters.count <= FEW, "{} waiters are kept", waiters.count);
        }
        assert!(waiters.waiters.capacity() <= 4 * FEW, "the map stays small");
        assert_eq!(waiters.take(&7).iter().filter(|it| !it.get()).count(), patient.len(), "the patient are all there");
        assert!(waiters.take(&7).is_empty(), "each is taken once");
    }

    #[test]
    fn patient_waiters_are_looked_at_amortised_constant_times() {
        let mut waiters = LateWaiters::<usize, Rc<Cell<bool>>>::default();
        let patient = Rc::new(Cell::new(false));
        let sweeps = (0..100_000).filter(|key| {
            let before = waiters.sweep_at;
            waiters.add(*key, patient.clone());
            waiters.sweep_at != before
        });
        assert!(sweeps.count() <= 10, "a sweep for each doubling");
        assert_eq!((waiters.count, waiters.take(&99_999).len(), waiters.count), (100_000, 1, 99_999));
    }
}
