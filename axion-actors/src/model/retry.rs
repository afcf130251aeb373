//! When a failed task is run again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::ErrorKind;

/// How long to wait before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Always so long.
    Fixed(Duration),
    /// `initial × factorⁿ` before retry n + 1, and never longer than `max`.
    Exponential {
        /// Before the first retry.
        initial: Duration,
        /// What each wait is multiplied by to give the next.
        factor: f64,
        /// The longest.
        max: Duration,
    },
}

/// Whether, when and how often a failed task is run again. Off by default: `max_retries` is 0.
///
/// Runs again after a worker's death are counted apart: see
/// [`Task::max_worker_losses`](super::Task::max_worker_losses).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// At most so many retries, so one execution more.
    pub max_retries: u32,
    /// The waits between.
    pub backoff: Backoff,
    /// How much of each wait is left to chance, from 0 (none) to 1: a wait w becomes one between
    /// `w × (1 − jitter)` and w, so that tasks that failed together do not come back together.
    pub jitter: f64,
    /// The failures that are worth it. Time limits are only if they are named here.
    pub on: Vec<ErrorKind>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 0,
            backoff: Backoff::Exponential {
                initial: Duration::from_millis(500),
                factor: 2.0,
                max: Duration::from_secs(30),
            },
            jitter: 0.0,
            on: vec![ErrorKind::Exception, ErrorKind::SystemExit, ErrorKind::MemoryError],
        }
    }
}

impl RetryPolicy {
    /// At most `max_retries` retries, with the default waits: 0.5 s, doubled each time, 30 s at most.
    #[must_use]
    pub fn times(max_retries: u32) -> Self {
        Self { max_retries, ..Self::default() }
    }
}
