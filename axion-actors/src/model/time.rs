//! Time for the policies: a number that the caller passes in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the engine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `span` later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The tick `span` nanoseconds earlier, but not before the engine's start.
    #[must_use]
    pub fn before(self, span: u64) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// The time since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The largest difference between two readings of an unchanged wall clock. Each reading reads two clocks one after the
/// other.
const SAME: Duration = Duration::from_millis(1);

/// The engine's only clock: ticks, and the wall time of tick 0. Clones share that time.
///
/// Ticks count while the machine sleeps if their source does, and they never go back. The wall time of tick 0 changes
/// when the wall clock is set.
#[derive(Clone, Debug)]
pub struct Clock {
    nanos: fn() -> u64,
    wall_now: fn() -> Timestamp,
    start: u64,
    /// The wall time of tick 0, in nanoseconds since the Unix epoch.
    epoch: Arc<AtomicI64>,
}

impl Clock {
    /// Starts a clock whose tick 0 is now. `nanos` is a steady count of nanoseconds.
    #[must_use]
    pub fn start(nanos: fn() -> u64) -> Self {
        Self::start_with(nanos, Timestamp::now)
    }

    /// Starts a clock with another source of wall time.
    #[must_use]
    pub fn start_with(nanos: fn() -> u64, wall_now: fn() -> Timestamp) -> Self {
        let clock = Self { nanos, wall_now, start: nanos(), epoch: Arc::default() };
        clock.epoch.store(epoch_nanos(clock.measure_epoch()), Ordering::Release);
        clock
    }

    /// The current tick.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick((self.nanos)().saturating_sub(self.start))
    }

    /// The wall time of a tick.
    #[must_use]
    pub fn wall(&self, tick: Tick) -> Timestamp {
        let epoch = self.epoch();
        epoch.saturating_add(Duration::from_nanos(tick.0)).unwrap_or(epoch)
    }

    /// The wall time of tick 0.
    #[must_use]
    pub fn epoch(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.epoch.load(Ordering::Acquire).into()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Reads the wall clock again. Returns the new wall time of tick 0 if the wall clock was set.
    #[must_use]
    pub fn follow_wall_clock(&self) -> Option<Timestamp> {
        let epoch = self.measure_epoch();
        if epoch.duration_since(self.epoch()).unsigned_abs() <= SAME {
            return None;
        }
        self.epoch.store(epoch_nanos(epoch), Ordering::Release);
        Some(self.epoch())
    }

    fn measure_epoch(&self) -> Timestamp {
        let since_start = Duration::from_nanos(self.now().0);
        (self.wall_now)().saturating_sub(since_start).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The wall time since the Unix epoch, for ids that sort by their making. No decision reads it.
pub(super) fn wall_since_epoch() -> Duration {
    Timestamp::now().duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default()
}

/// A wall clock beyond the years 1677 to 2262 counts as their end.
fn epoch_nanos(epoch: Timestamp) -> i64 {
    let nanos = epoch.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NANOS: Cell<u64> = const { Cell::new(7_000_000_000) };
        static WALL_SECONDS: Cell<i64> = const { Cell::new(100) };
    }

    fn wall_now() -> Timestamp {
        Timestamp::from_second(WALL_SECONDS.get()).expect("in range")
    }

    #[test]
    fn a_clock_follows_the_wall_clock_and_its_ticks_do_not() {
        let clock = Clock::start_with(|| NANOS.get(), wall_now);
        let other = clock.clone();
        assert_eq!((clock.now(), clock.epoch()), (Tick(0), wall_now()));
        // Both clocks count two seconds.
        NANOS.set(9_000_000_000);
        WALL_SECONDS.set(102);
        assert_eq!((clock.follow_wall_clock(), clock.now()), (None, Tick(2_000_000_000)));
        // The wall clock is set back to a time before the engine's start.
        WALL_SECONDS.set(52);
        let epoch = Timestamp::from_second(50).expect("in range");
        assert_eq!(clock.follow_wall_clock(), Some(epoch));
        assert_eq!((other.epoch(), other.wall(other.now())), (epoch, wall_now()));
        assert_eq!((clock.follow_wall_clock(), clock.now()), (None, Tick(2_000_000_000)));
    }
}
