//! Random numbers that a seed repeats.

use std::time::Duration;

/// A stream of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Rng(fastrand::Rng);

impl Rng {
    /// Streams of one seed with different names are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // The names of streams are small numbers: this spreads them over all bits.
        Self(fastrand::Rng::with_seed(seed ^ fastrand::Rng::with_seed(stream).u64(..)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high)
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.within(low, high))
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.within(1, 100) <= percent
    }

    /// One of these, by their weights.
    pub(crate) fn weighted<T: Copy>(&mut self, choices: &[(T, u64)]) -> T {
        let mut at = self.within(0, choices.iter().map(|(_, weight)| weight).sum::<u64>() - 1);
        for (choice, weight) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        choices[0].0
    }

    /// An index into `count` things.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        self.0.usize(..count)
    }
}
