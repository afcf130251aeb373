//! The restart policy: when a worker slot gets its next process, and when a pool becomes unavailable.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Tick;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// The number of failed starts in a row after which tasks no longer wait for the next start.
const HOPELESS_AFTER: u32 = 3;

/// The starts of one worker slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Starts {
    failures: u32,
    is_failing: bool,
}

impl Starts {
    /// A worker finished its handshake. Its end shows whether the start was healthy.
    pub fn ready(&mut self) {
        self.is_failing = false;
    }

    /// A worker that had been ready ended. Returns the delay before the next start: zero if the worker lived or worked
    /// for a while, otherwise the delay of a failed start.
    pub fn ended(&mut self, healthy: bool) -> Duration {
        if healthy {
            *self = Self::default();
            return Duration::ZERO;
        }
        self.failed(false)
    }

    /// A start failed; `definite` if another one can only fail in the same way. Returns the delay before the next
    /// start: 100 ms, doubled each time, at most 30 s.
    pub fn failed(&mut self, definite: bool) -> Duration {
        let doublings = self.failures.min(16);
        self.failures += 1;
        self.is_failing = definite || self.failures >= HOPELESS_AFTER;
        (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY)
    }

    /// Whether tasks should no longer wait for this slot's next start. The tasks then fail with the error of the last
    /// start. The starts continue, and the first success makes the pool available again.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }
}

/// The breaker of one pool, which counts the crashes of its workers.
///
/// While the breaker is open, the replacements of crashed workers are delayed. The remaining workers run the pool's
/// tasks. Only a pool without workers refuses its tasks.
#[derive(Clone, Debug)]
pub struct Breaker {
    most: usize,
    window: Duration,
    deaths: VecDeque<Tick>,
    /// The number of times that the breaker opened in a row.
    opened: u32,
    state: BreakerState,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Crashed workers are replaced without delay.
    #[default]
    Closed,
    /// Replacements are delayed, or have not become ready since.
    Open {
        /// The time when the breaker opened.
        since: Tick,
        /// The time when replacements start again.
        until: Tick,
    },
}

/// The delay when a breaker opens for the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

impl Breaker {
    /// A breaker that opens at more than `most` crashes within `window`.
    #[must_use]
    pub fn new(most: u32, window: Duration) -> Self {
        Self { most: most as usize, window, deaths: VecDeque::new(), opened: 0, state: BreakerState::Closed }
    }

    /// A worker crashed. If this opens the breaker, returns the delay of replacements: 1 s, doubled each time the
    /// breaker opens again at once, at most 30 s.
    pub fn died(&mut self, now: Tick) -> Option<Duration> {
        let before = self.deaths.len();
        self.deaths.retain(|death| now.since(*death) <= self.window);
        if before > 0 && self.deaths.is_empty() {
            // After a quiet window, the delays start again from the first.
            self.opened = 0;
        }
        self.deaths.push_back(now);
        if self.deaths.len() <= self.most {
            return None;
        }
        // The pause gives half of the allowed crashes back.
        self.deaths.drain(..self.deaths.len().div_ceil(2));
        let pause = (FIRST_PAUSE * 2u32.pow(self.opened.min(8))).min(LONGEST_DELAY);
        self.opened += 1;
        let since = match self.state {
            BreakerState::Open { since, .. } => since,
            BreakerState::Closed => now,
        };
        self.state = BreakerState::Open { since, until: now.after(pause) };
        Some(pause)
    }

    /// The maximum number of crashes, and the window.
    #[must_use]
    pub fn rule(&self) -> (usize, Duration) {
        (self.most, self.window)
    }

    /// The remaining delay of replacements; zero while the breaker is closed.
    #[must_use]
    pub fn pause_left(&self, now: Tick) -> Duration {
        match self.state {
            BreakerState::Open { until, .. } => until.since(now),
            BreakerState::Closed => Duration::ZERO,
        }
    }

    /// A worker became ready. The first one after the pause closes the breaker. Returns whether it did.
    pub fn ready(&mut self, now: Tick) -> bool {
        let closes = self.state != BreakerState::Closed && self.pause_left(now).is_zero();
        if closes {
            self.state = BreakerState::Closed;
        }
        closes
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
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
    fn the_breaker_opens_at_one_death_too_many_and_waits_longer_each_time() {
        let mut breaker = Breaker::new(4, Duration::from_secs(10));
        let second = |n: u64| Tick(n * 1_000_000_000);
        let pauses: Vec<_> = (0..13).map(|n| breaker.died(second(0).after(Duration::from_millis(n)))).collect();
        let opened: Vec<(usize, u64)> =
            pauses.iter().enumerate().filter_map(|(at, pause)| Some((at, pause.as_ref()?.as_secs()))).collect();
        assert_eq!(opened, [(4, 1), (7, 2), (10, 4)]);
        // Spread out, the same number of deaths is no reason; and a quiet window forgets.
        assert!((2..20).all(|n| breaker.died(second(n * 11)).is_none()));
        let pauses: Vec<_> =
            (0..5).filter_map(|n| breaker.died(second(1000).after(Duration::from_millis(n)))).collect();
        assert_eq!(pauses, [Duration::from_secs(1)]);
    }

    #[test]
    fn an_open_breaker_says_since_when_and_the_first_that_is_ready_after_the_pause_closes_it() {
        let mut breaker = Breaker::new(1, Duration::from_secs(10));
        let at = |millis| Tick(0).after(Duration::from_millis(millis));
        assert_eq!((breaker.died(at(0)), breaker.state()), (None, BreakerState::Closed));
        assert!(!breaker.ready(at(1)), "it is closed");
        assert_eq!(breaker.died(at(10)), Some(FIRST_PAUSE));
        assert_eq!(breaker.state(), BreakerState::Open { since: at(10), until: at(1010) });
        assert_eq!(breaker.pause_left(at(510)), Duration::from_millis(500));
        assert!(!breaker.ready(at(1009)), "one that was started before it opened");
        // Another death while it is open makes the pause longer, not the story younger.
        assert_eq!(breaker.died(at(1010)), Some(2 * FIRST_PAUSE));
        assert_eq!(breaker.state(), BreakerState::Open { since: at(10), until: at(3010) });
        assert!(breaker.ready(at(3010)));
        assert_eq!((breaker.state(), breaker.pause_left(at(3010))), (BreakerState::Closed, Duration::ZERO));
    }

    #[test]
    fn a_slot_is_hopeless_after_three_failures_or_one_definite_one() {
        let mut starts = Starts::default();
        starts.failed(false);
        starts.failed(false);
        assert!(!starts.is_failing());
        starts.failed(false);
        assert!(starts.is_failing());
        starts.ready();
        assert!(!starts.is_failing());
        starts.failed(true);
        assert!(starts.is_failing());
    }
}
