//! Time for the policies: a number that the caller passes in.

use std::time::{Duration, Instant};

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

/// The engine's only clock: monotonic ticks, and the wall time of tick 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    epoch: Timestamp,
}

impl Clock {
    /// Starts a clock whose tick 0 is now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), epoch: Timestamp::now() }
    }

    /// The current tick.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(nanos(self.start.elapsed()))
    }

    /// The wall time of a tick.
    #[must_use]
    pub fn wall(&self, tick: Tick) -> Timestamp {
        self.epoch.saturating_add(Duration::from_nanos(tick.0)).unwrap_or(self.epoch)
    }

    /// The wall time of tick 0.
    #[must_use]
    pub fn epoch(&self) -> Timestamp {
        self.epoch
    }
}
