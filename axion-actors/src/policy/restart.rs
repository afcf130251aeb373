//! When a worker slot gets its next process, and when a pool is given up for the moment.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Tick;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Failed starts in a row after which no more hope is put on the next one.
const HOPELESS_AFTER: u32 = 3;

/// The starts of one worker slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Starts {
    failures: u32,
    is_failing: bool,
}

impl Starts {
    /// A worker finished its handshake. Whether the start was worth anything shows at its end.
    pub fn ready(&mut self) {
        self.is_failing = false;
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
        self.is_failing = definite || self.failures >= HOPELESS_AFTER;
        (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY)
    }

    /// Whether tasks should no longer wait for this slot's next start. They are then failed with
    /// the reason of the last one; the starts go on, and the first that succeeds heals the pool.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_failing
    }
}

/// The breaker of one pool: how often its workers die by themselves.
///
/// While it is open, workers that die wait for their replacements. Those that live go on and take the
/// pool's tasks: it is then degraded, and only a pool without any worker refuses its tasks.
#[derive(Clone, Debug)]
pub struct Breaker {
    most: usize,
    window: Duration,
    deaths: VecDeque<Tick>,
    /// How often in a row it has opened.
    opened: u32,
    state: BreakerState,
}

/// What a breaker is at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Workers are replaced when they die.
    #[default]
    Closed,
    /// Replacements wait, or have not become ready since.
    Open {
        /// Since when.
        since: Tick,
        /// When replacements are started again.
        until: Tick,
    },
}

/// The pause when a breaker opens for the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

impl Breaker {
    /// A breaker that opens at more than `most` deaths within `window`.
    #[must_use]
    pub fn new(most: u32, window: Duration) -> Self {
        Self { most: most as usize, window, deaths: VecDeque::new(), opened: 0, state: BreakerState::Closed }
    }

    /// A worker died by itself. If that is one too many, returns how long replacements have to wait:
    /// 1 s, doubled each time it happens again at once, 30 s at most.
    pub fn died(&mut self, now: Tick) -> Option<Duration> {
        let before = self.deaths.len();
        self.deaths.retain(|death| now.since(*death) <= self.window);
        if before > 0 && self.deaths.is_empty() {
            // A quiet window: what comes next is another story.
            self.opened = 0;
        }
        self.deaths.push_back(now);
        if self.deaths.len() <= self.most {
            return None;
        }
        // Half of the allowance is back after the pause.
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

    /// More deaths than this within the window open it.
    #[must_use]
    pub fn rule(&self) -> (usize, Duration) {
        (self.most, self.window)
    }

    /// How long replacements still have to wait; nothing while it is closed.
    #[must_use]
    pub fn pause_left(&self, now: Tick) -> Duration {
        match self.state {
            BreakerState::Open { until, .. } => until.since(now),
            BreakerState::Closed => Duration::ZERO,
        }
    }

    /// A worker became ready: the first one after the pause closes the breaker. Returns whether it did.
    pub fn ready(&mut self, now: Tick) -> bool {
        let closes = self.state != BreakerState::Closed && self.pause_left(now).is_zero();
        if closes {
            self.state = BreakerState::Closed;
        }
        closes
    }

    /// What it is.
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
