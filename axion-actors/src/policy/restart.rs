//! When a worker slot gets its next process, and when a pool is given up for the moment.

use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Failed starts in a row after which no more hope is put on the next one.
const HOPELESS_AFTER: u32 = 3;

/// The starts of one worker slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Starts {
    failures: u32,
    hopeless: bool,
}

impl Starts {
    /// A worker finished its handshake. Whether the start was worth anything shows at its end.
    pub fn ready(&mut self) {
        self.hopeless = false;
    }

    /// A worker that had been ready ended. Returns how long to wait before the next start: nothing
    /// if it lived or worked for a while, else as after a failed start.
    pub fn ended(&mut self, healthy: bool) -> Duration {
        if healthy {
            *self = Self::default();
            return Duration::ZERO;
        }
        self.failed(false)
    }

    /// A start failed; `definite` if another one can only fail the same way. Returns how long to
    /// wait before the next: 100 ms, doubled each time, 30 s at most, so that nothing spins.
    pub fn failed(&mut self, definite: bool) -> Duration {
        let doublings = self.failures.min(16);
        self.failures += 1;
        self.hopeless = definite || self.failures >= HOPELESS_AFTER;
        (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY)
    }

    /// Whether tasks should no longer wait for this slot's next start. They are then failed with
    /// the reason of the last one; the starts go on, and the first that succeeds heals the pool.
    #[must_use]
    pub fn hopeless(&self) -> bool {
        self.hopeless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_cap_and_a_healthy_worker_resets_it() {
        let mut starts = Starts::default();
        let delays: Vec<u128> = (0..11).map(|_| starts.failed(false).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        starts.ready();
        assert_eq!(starts.ended(false), LONGEST_DELAY, "it died as soon as it was ready");
        assert_eq!(starts.ended(true), Duration::ZERO);
        assert_eq!(starts.failed(false), FIRST_DELAY);
    }

    #[test]
    fn a_slot_is_hopeless_after_three_failures_or_one_definite_one() {
        let mut starts = Starts::default();
        starts.failed(false);
        starts.failed(false);
        assert!(!starts.hopeless());
        starts.failed(false);
        assert!(starts.hopeless());
        starts.ready();
        assert!(!starts.hopeless());
        starts.failed(true);
        assert!(starts.hopeless());
    }
}
