//! A rate limit: a token bucket that fills evenly.

use crate::model::{Rate, Tick};

/// A token bucket, stored as the time at which it will be full. This is the generic cell rate algorithm (GCRA): no
/// fraction of a token is lost to rounding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full: u64,
}

/// Nanoseconds until one token is added.
fn interval(rate: &Rate) -> u64 {
    let nanos = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
    nanos.div_ceil(u64::from(rate.count.max(1))).max(1)
}

impl Bucket {
    /// When the next start is allowed. It is allowed now if that is not after `now`.
    pub(super) fn allowed(&self, rate: &Rate) -> Tick {
        let capacity = interval(rate).saturating_mul(u64::from(rate.burst.max(1)) - 1);
        Tick(self.full.saturating_sub(capacity))
    }

    /// Takes a token for a start.
    pub(super) fn take(&mut self, rate: &Rate, now: Tick) {
        self.full = self.full.max(now.0).saturating_add(interval(rate));
    }

    /// Whether it is full, in which case a new bucket behaves the same.
    pub(super) fn is_full(&self, now: Tick) -> bool {
        self.full <= now.0
    }
}
