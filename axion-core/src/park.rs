//! Blocking a plain thread on a future.
//!
//! A waiting thread sleeps on a [`Doorbell`] of its own, which wakes faster than a futex. A doorbell costs descriptors,
//! so only some threads have one; the others park.

use std::cell::OnceCell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use axion_actors::actors::{Doorbell, DoorbellReader, doorbell};

/// The largest number of threads that have a doorbell.
const MAX_DOORBELLS: usize = 32;

/// Parkers that exist now.
static PARKERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PARKER: OnceCell<Parker> = const { OnceCell::new() };
}

/// Puts its thread to sleep. There is one for each thread that has ever waited.
struct Parker {
    waker: Waker,
    /// `None`: the thread parks.
    doorbell: Option<DoorbellReader>,
}

/// Wakes a thread by its doorbell.
struct DoorbellWaker(Doorbell);

impl Wake for DoorbellWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify();
    }
}

/// Wakes a thread that parks.
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Parker {
    fn new() -> Self {
        let ends = (PARKERS.fetch_add(1, Ordering::Relaxed) < MAX_DOORBELLS).then(|| doorbell().ok()).flatten();
        match ends {
            Some((doorbell, reader)) => {
                Self { waker: Arc::new(DoorbellWaker(doorbell)).into(), doorbell: Some(reader) }
            }
            None => Self { waker: Arc::new(ThreadWaker(std::thread::current())).into(), doorbell: None },
        }
    }

    /// Sleeps until woken or for `limit`; may wake early.
    fn sleep(&self, limit: Option<Duration>) {
        match (&self.doorbell, limit) {
            (Some(doorbell), limit) => {
                if doorbell.wait(limit).is_ok_and(|notified| notified) {
                    doorbell.drain();
                }
            }
            (None, Some(limit)) => std::thread::park_timeout(limit),
            (None, None) => std::thread::park(),
        }
    }
}

impl Drop for Parker {
    fn drop(&mut self) {
        PARKERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Blocks the thread until the future is ready.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Without a deadline, it returns only with an output.
        if let Some(output) = sleep_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// The future's output, if it is ready.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Blocks the thread until the future is ready; `None` if that takes longer than `limit`.
pub(crate) fn wait_timeout<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    // A limit beyond the clock's range is no limit.
    let Some(deadline) = Instant::now().checked_add(limit) else { return Some(wait(future)) };
    sleep_until(pin!(future), Some(deadline))
}

fn sleep_until<F: Future>(future: Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    // A task of a tokio runtime that has used up its budget sees every future as pending until it yields. It does not
    // yield here, so it would wait forever.
    let mut future = pin!(tokio::task::unconstrained(future));
    PARKER.with(|parker| {
        let parker = parker.get_or_init(Parker::new);
        let mut context = Context::from_waker(&parker.waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            parker.sleep(left);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken_from_another_thread() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(7));
        assert_eq!(wait(receiver), Ok(7));
        assert_eq!(other.join().expect("joined"), Ok(()));
    }

    #[test]
    fn a_future_that_another_thread_wakes_is_waited_for() {
        woken_from_another_thread();
    }

    #[test]
    fn a_task_that_has_used_up_its_tokio_budget_does_not_hang() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
            (0..1000).for_each(|number| sender.send(number).expect("open"));
            let mut context = Context::from_waker(Waker::noop());
            let received = (0..1000).take_while(|_| events.poll_recv(&mut context).is_ready()).count();
            assert!(received < 1000, "the budget was not used up");
            let (sender, receiver) = tokio::sync::oneshot::channel();
            assert_eq!(sender.send(7), Ok(()));
            assert_eq!(wait_timeout(receiver, Duration::from_secs(5)), Some(Ok(7)));
        });
    }

    #[test]
    fn a_wait_ends_after_its_limit() {
        assert_eq!(wait_timeout(std::future::pending::<()>(), Duration::from_millis(5)), None);
        assert_eq!(wait_timeout(std::future::ready(1), Duration::ZERO), Some(1));
        assert_eq!(wait_timeout(std::future::ready(1), Duration::MAX), Some(1));
    }

    #[test]
    fn threads_without_a_doorbell_park_and_are_woken_too() {
        let all_wait = std::sync::Barrier::new(MAX_DOORBELLS + 8);
        std::thread::scope(|scope| {
            for _ in 0..MAX_DOORBELLS + 8 {
                scope.spawn(|| {
                    assert_eq!(wait_timeout(std::future::pending::<()>(), Duration::from_millis(1)), None);
                    all_wait.wait();
                    woken_from_another_thread();
                });
            }
        });
    }
}
