//! Starts in a time, by key: a bucket of tokens that fills evenly.

use crate::model::{Rate, Tick};

/// A bucket. It is kept as the time at which it would be full (the generic cell rate algorithm), so
/// that no fraction of a token is ever lost to rounding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full: u64,
}

/// Nanoseconds for one token to come.
fn interval(rate: &Rate) -> u64 {
    let nanos = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
    nanos.div_ceil(u64::from(rate.count.max(1))).max(1)
}

impl Bucket {
    /// When the next start is allowed; not after `now` if it is now.
    pub(super) fn allowed(&self, rate: &Rate) -> Tick {
        let capacity = interval(rate).saturating_mul(u64::from(rate.burst.max(1)) - 1);
        Tick(self.full.saturating_sub(capacity))
    }

    /// Takes a token for a start.
    pub(super) fn take(&mut self, rate: &Rate, now: Tick) {
        self.full = self.full.max(now.0).saturating_add(interval(rate));
    }

    /// Whether it is full again, so that a new one would be the same.
    pub(super) fn is_full(&self, now: Tick) -> bool {
        self.full <= now.0
    }
}
