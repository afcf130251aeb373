//! Waiting for a future on a plain thread.
//!
//! A waiting thread sleeps in the read of a pipe of its own rather than on a futex: when the engine
//! writes to the pipe, the kernel knows that the writer is about to sleep and may let the waiter
//! take over its processor. On a virtual machine that spares tens of microseconds a round trip.
//! Pipes cost descriptors, so only so many threads get one; the others park.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

/// The most threads that wait on a pipe.
const MOST_PIPES: usize = 32;

static PIPES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static BED: OnceCell<Bed> = const { OnceCell::new() };
}

/// Where a thread sleeps.
struct Bed {
    waker: Waker,
    pipe: Option<OwnedFd>,
}

struct Ring(OwnedFd);

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A full pipe wakes as well as one more byte would.
        let _ = rustix::io::write(&self.0, &[1]);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Bed {
    fn make() -> Self {
        let pipe = (PIPES.fetch_add(1, Ordering::Relaxed) < MOST_PIPES)
            .then(|| rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok())
            .flatten();
        match pipe {
            Some((out, into)) => Self { waker: Arc::new(Ring(into)).into(), pipe: Some(out) },
            None => Self { waker: Arc::new(Unpark(std::thread::current())).into(), pipe: None },
        }
    }

    /// Sleeps until woken or for `limit`; may wake early.
    fn sleep(&self, limit: Option<Duration>) {
        match (&self.pipe, limit) {
            (Some(pipe), limit) => {
                let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
                let mut watched = [PollFd::new(pipe, PollFlags::IN)];
                if rustix::event::poll(&mut watched, limit.as_ref()) == Ok(1) {
                    let _ = rustix::io::read(pipe, &mut [0; 64][..]);
                }
            }
            (None, Some(limit)) => std::thread::park_timeout(limit),
            (None, None) => std::thread::park(),
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Blocks the thread until the future is done.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Without a deadline there is always an answer.
        if let Some(output) = sleep_until(future.as_mut(), None) {
            return output;
        }
    }
}

/// Looks for the future's output for `spin`, if that is not zero, before anybody goes to sleep for it.
pub(crate) fn look<F: Future + Unpin>(future: &mut F, spin: Duration) -> Option<F::Output> {
    if spin.is_zero() {
        return None;
    }
    let begun = Instant::now();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = std::pin::Pin::new(&mut *future).poll(&mut context) {
            return Some(output);
        }
        if begun.elapsed() >= spin {
            return None;
        }
        std::hint::spin_loop();
    }
}

/// Blocks the thread until the future is done; `None` if that takes longer than `limit`.
pub(crate) fn wait_timeout<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    // A limit beyond the clock's range is none.
    let Some(deadline) = Instant::now().checked_add(limit) else { return Some(wait(future)) };
    sleep_until(pin!(future), Some(deadline))
}

fn sleep_until<F: Future>(future: std::pin::Pin<&mut F>, deadline: Option<Instant>) -> Option<F::Output> {
    // Within a task of a tokio runtime that has used up its budget, everything would be pending, to be woken when
    // the task yields: which it does not while it waits here, so it would wait for ever.
    let mut future = pin!(tokio::task::unconstrained(future));
    BED.with(|bed| {
        let bed = bed.get_or_init(Bed::make);
        let mut context = Context::from_waker(&bed.waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return Some(output);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            bed.sleep(left);
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
    fn a_future_that_is_woken_from_another_thread_is_waited_for() {
        woken_from_another_thread();
    }

    #[test]
    fn a_task_that_has_used_up_its_budget_in_tokio_waits_no_longer_than_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
            (0..1000).for_each(|number| sender.send(number).expect("open"));
            let mut context = Context::from_waker(Waker::noop());
            let heard = (0..1000).take_while(|_| events.poll_recv(&mut context).is_ready()).count();
            assert!(heard < 1000, "the budget was not used up");
            let (sender, receiver) = tokio::sync::oneshot::channel();
            assert_eq!(sender.send(7), Ok(()));
            assert_eq!(wait_timeout(receiver, Duration::from_secs(5)), Some(Ok(7)));
        });
    }

    #[test]
    fn a_future_that_never_ends_is_given_up_after_the_limit() {
        assert_eq!(wait_timeout(std::future::pending::<()>(), Duration::from_millis(5)), None);
        assert_eq!(wait_timeout(std::future::ready(1), Duration::ZERO), Some(1));
        assert_eq!(wait_timeout(std::future::ready(1), Duration::MAX), Some(1));
    }

    #[test]
    fn a_look_finds_what_is_there_and_gives_up_after_its_time() {
        assert_eq!(look(&mut std::future::ready(1), Duration::from_micros(1)), Some(1));
        assert_eq!(look(&mut std::future::pending::<()>(), Duration::from_micros(50)), None);
        assert_eq!(look(&mut std::future::ready(1), Duration::ZERO), None, "L10: not even a look");
    }

    #[test]
    fn threads_beyond_the_number_of_pipes_park_and_are_woken_too() {
        let all_wait = std::sync::Barrier::new(MOST_PIPES + 8);
        std::thread::scope(|scope| {
            for _ in 0..MOST_PIPES + 8 {
                scope.spawn(|| {
                    assert_eq!(wait_timeout(std::future::pending::<()>(), Duration::from_millis(1)), None);
                    all_wait.wait();
                    woken_from_another_thread();
                });
            }
        });
    }
}
