//! Whether and when a failed task is retried.

use std::time::Duration;

use crate::model::{Backoff, ErrorKind, RetryPolicy, TaskId};

/// The wait before the next retry of a task that has been retried `retries` times and failed again; `None` if it is
/// not retried.
///
/// The jitter is a hash of the task's id and the number of the retry: it differs between tasks, and is the same
/// whenever the decision is repeated.
#[must_use]
pub fn wait(policy: &RetryPolicy, kind: ErrorKind, retries: u32, task: TaskId) -> Option<Duration> {
    if retries >= policy.max_retries || !policy.on.contains(&kind) {
        return None;
    }
    let whole = match policy.backoff {
        Backoff::Fixed(wait) => wait,
        Backoff::Exponential { initial, factor, max } => {
            let seconds = initial.as_secs_f64() * factor.powi(i32::try_from(retries).unwrap_or(i32::MAX));
            Duration::try_from_secs_f64(seconds).unwrap_or(max).min(max)
        }
    };
    let jitter = if policy.jitter.is_nan() { 0.0 } else { policy.jitter.clamp(0.0, 1.0) };
    let share = 1.0 - jitter * chance(task, retries);
    Some(whole.mul_f64(share))
}

/// A number from 0 to 1 by the finalizer of splitmix64 (Steele, Lea, Flood 2014).
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "53 bits of a hash")]
fn chance(task: TaskId, retries: u32) -> f64 {
    let id = task.0.as_u128();
    let mut z = (id as u64) ^ ((id >> 64) as u64) ^ u64::from(retries).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c4_6_exponential_waits_double_up_to_their_cap() {
        let policy = RetryPolicy::times(8);
        let waits: Vec<f64> = (0..9)
            .map_while(|n| wait(&policy, ErrorKind::Exception, n, TaskId::generate()))
            .map(|wait| wait.as_secs_f64())
            .collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
    }

    #[test]
    fn c4_6_at_most_five_retries_are_six_executions() {
        let policy = RetryPolicy { backoff: Backoff::Fixed(Duration::ZERO), ..RetryPolicy::times(5) };
        let retries = (0..10).take_while(|n| wait(&policy, ErrorKind::Exception, *n, TaskId::generate()).is_some());
        assert_eq!(retries.count() + 1, 6);
    }

    #[test]
    fn only_the_named_failures_are_retried_and_none_by_default() {
        let (policy, id) = (RetryPolicy::times(1), TaskId::generate());
        assert!(wait(&policy, ErrorKind::Exception, 0, id).is_some());
        for kind in [ErrorKind::Timeout, ErrorKind::SoftTimeout, ErrorKind::ScriptSyntax, ErrorKind::Cancelled] {
            assert_eq!(wait(&policy, kind, 0, id), None, "{kind}");
        }
        let patient = RetryPolicy { on: vec![ErrorKind::Timeout], ..policy };
        assert!(wait(&patient, ErrorKind::Timeout, 0, id).is_some());
        assert_eq!(wait(&RetryPolicy::default(), ErrorKind::Exception, 0, id), None);
    }

    #[test]
    fn numbers_that_are_none_hurt_nobody() {
        let backoff =
            Backoff::Exponential { initial: Duration::from_secs(1), factor: f64::NAN, max: Duration::from_secs(3) };
        let policy = RetryPolicy { jitter: f64::NAN, backoff, ..RetryPolicy::times(5) };
        let waited = wait(&policy, ErrorKind::Exception, 1, TaskId::generate());
        assert_eq!(waited, Some(Duration::from_secs(3)));
    }

    proptest! {
        #[test]
        fn jitter_only_shortens_and_by_its_share_at_most(
            jitter in 0.0..=1.0f64, retries in 0..64u32, factor in 1.0..1e6f64, bits in any::<u128>()
        ) {
            let max = Duration::from_secs(30);
            let backoff = Backoff::Exponential { initial: Duration::from_millis(500), factor, max };
            let policy = RetryPolicy { max_retries: 100, backoff, jitter, ..RetryPolicy::default() };
            let id = TaskId(uuid::Uuid::from_u128(bits));
            let whole = wait(&RetryPolicy { jitter: 0.0, ..policy.clone() }, ErrorKind::Exception, retries, id);
            let shortened = wait(&policy, ErrorKind::Exception, retries, id).expect("retried");
            let whole = whole.expect("retried");
            prop_assert!(whole <= max && shortened <= whole);
            prop_assert!(shortened.as_secs_f64() >= whole.as_secs_f64() * (1.0 - jitter) - 1e-6);
        }
    }
}
