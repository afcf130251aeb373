//! Waiting for a future on a plain thread.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Parks the thread until the future is done.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}

/// Parks the thread until the future is done; `None` if that takes longer than `limit`.
pub(crate) fn wait_timeout<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    // A limit beyond the clock's range is none.
    let Some(deadline) = Instant::now().checked_add(limit) else {
        return Some(wait(future));
    };
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_that_is_woken_from_another_thread_is_waited_for() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver), Ok(7));
        assert_eq!(other.join().expect("joined"), Ok(()));
    }

    #[test]
    fn a_future_that_never_ends_is_given_up_after_the_limit() {
        assert_eq!(wait_timeout(std::future::pending::<()>(), Duration::from_millis(5)), None);
        assert_eq!(wait_timeout(std::future::ready(1), Duration::ZERO), Some(1));
        assert_eq!(wait_timeout(std::future::ready(1), Duration::MAX), Some(1));
    }
}
