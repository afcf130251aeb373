//! When a failed task is retried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::ErrorKind;

/// The wait before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// The same wait each time.
    Fixed(Duration),
    /// `initial × factorⁿ` before retry n + 1, but at most `max`.
    Exponential {
        /// The wait before the first retry.
        initial: Duration,
        /// The factor between one wait and the next.
        factor: f64,
        /// The longest wait.
        max: Duration,
    },
}

/// Whether, when and how often a failed task is retried. Off by default: `max_retries` is 0.
///
/// Reruns after a worker's death are counted separately: see
/// [`Task::max_worker_losses`](super::Task::max_worker_losses).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The maximum number of retries. The task runs at most once more than this number.
    pub max_retries: u32,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// The random part of each wait, from 0 (none) to 1. A wait w becomes a wait between `w × (1 − jitter)` and w, so
    /// that tasks that failed together do not retry together.
    pub jitter: f64,
    /// The error kinds that are retried. Time limits are retried only if they are listed here.
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
    /// A policy with at most `max_retries` retries and the default waits: 0.5 s, doubled each time, at most 30 s.
    #[must_use]
    pub fn times(max_retries: u32) -> Self {
        Self { max_retries, ..Self::default() }
    }
}
