//! Timers as data: what is due when. The caller owns the clock.

use std::collections::BTreeMap;

use crate::model::Tick;

/// A running timer, by which it can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId(Tick, u64);

/// Timers in the order in which they are due. Starting and stopping one costs O(log n). A stopped timer leaves nothing
/// behind (L9).
#[derive(Debug)]
pub struct Timers<T> {
    due: BTreeMap<TimerId, T>,
    next: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), next: 0 }
    }
}

impl TimerId {
    /// When the timer is due.
    #[must_use]
    pub fn due(self) -> Tick {
        self.0
    }
}

impl<T> Timers<T> {
    /// Starts a timer. Timers of one tick are due in the order in which they were started.
    pub fn start(&mut self, at: Tick, what: T) -> TimerId {
        let id = TimerId(at, self.next);
        self.next += 1;
        self.due.insert(id, what);
        id
    }

    /// Stops a timer. A timer that was due already is gone.
    pub fn stop(&mut self, id: TimerId) {
        self.due.remove(&id);
    }

    /// Whether a timer is running.
    #[must_use]
    pub fn is_running(&self, id: TimerId) -> bool {
        self.due.contains_key(&id)
    }

    /// Removes and returns the first timer that is due.
    pub fn pop(&mut self, now: Tick) -> Option<T> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the first timer is due.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.due.first_key_value().map(|(id, _)| id.0)
    }

    /// The number of running timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no timer runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_and_a_stopped_one_never() {
        let mut timers = Timers::default();
        let late = timers.start(Tick(30), "late");
        timers.start(Tick(10), "first");
        timers.start(Tick(10), "second");
        timers.start(Tick(20), "third");
        timers.stop(late);
        assert_eq!((timers.next(), timers.len()), (Some(Tick(10)), 3));
        assert_eq!(timers.pop(Tick(9)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop(Tick(100))).collect();
        assert_eq!(due, ["first", "second", "third"]);
        assert!(timers.is_empty());
        timers.stop(late);
    }
}
