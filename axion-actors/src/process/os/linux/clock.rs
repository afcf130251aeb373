//! The clock that the engine counts by, a timer on that clock, and a watch on the wall clock.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, Secs, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::pipe::watch;

/// Nanoseconds since the machine's start. The count includes the time for which the machine slept.
#[must_use]
pub fn nanos_since_boot() -> u64 {
    let since_boot = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since_boot.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(since_boot.tv_nsec).unwrap_or_default())
}

/// A timer that counts as [`nanos_since_boot`] does, also while the machine sleeps.
#[derive(Debug)]
pub struct KernelTimer(AsyncFd<OwnedFd>);

impl KernelTimer {
    /// A timer on the runtime of this thread. It is not set.
    ///
    /// # Errors
    /// If the system has no descriptor for it or the runtime cannot watch it.
    pub fn new() -> io::Result<Self> {
        watch(timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?).map(Self)
    }

    /// Sets the timer anew: it is due after this time.
    pub(crate) fn set(&self, after: Duration) {
        // Zero would stop the timer.
        let after = after.max(Duration::from_nanos(1));
        let tv_sec = Secs::try_from(after.as_secs()).unwrap_or(Secs::MAX);
        let due = Timespec { tv_sec, tv_nsec: after.subsec_nanos().into() };
        let due = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: due };
        let set = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &due);
        debug_assert!(set.is_ok(), "the kernel refuses only other times and other descriptors: {set:?}");
    }

    /// Waits until the timer is due.
    ///
    /// # Errors
    /// If the timer cannot be read.
    pub(crate) async fn expired(&self) -> io::Result<()> {
        loop {
            let mut readable = self.0.readable().await?;
            // A timer that was set anew meanwhile is not due.
            if let Ok(read) = readable.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8][..])?)) {
                return read.map(drop);
            }
        }
    }
}

/// The wall clock was set, or the machine resumed from sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WallClockSet;

/// A stream with one item each time that the wall clock is set or the machine resumes from sleep. Several of these
/// between two polls give one item.
#[derive(Debug)]
pub(crate) struct WallClockWatch(AsyncFd<OwnedFd>);

impl WallClockWatch {
    /// A watch on the runtime of this thread.
    ///
    /// # Errors
    /// If the system has no such timer or the runtime cannot watch it.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // The timer is never due. The kernel cancels it when the difference between the wall clock and the clock that
        // stops in sleep changes.
        let never = Timespec { tv_sec: Secs::MAX, tv_nsec: 0 };
        let due = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &due)?;
        watch(timer).map(Self)
    }
}

impl Stream for WallClockWatch {
    type Item = WallClockSet;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WallClockSet>> {
        loop {
            let Ok(mut readable) = ready!(self.0.poll_read_ready(cx)) else { return Poll::Ready(None) };
            // The timer remains set after the read that reports the cancellation.
            match readable.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8][..])?)) {
                Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {
                    return Poll::Ready(Some(WallClockSet));
                }
                Ok(Err(_)) => return Poll::Ready(None),
                Ok(Ok(_)) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures_util::FutureExt;
    use futures_util::stream::StreamExt;

    use super::*;

    #[test]
    fn the_clock_counts_at_the_pace_of_the_monotonic_one() {
        let (nanos, instant) = (nanos_since_boot(), Instant::now());
        while instant.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        assert!(nanos_since_boot() - nanos >= 5_000_000);
    }

    #[tokio::test]
    async fn a_watch_is_silent_while_nobody_sets_the_clock() {
        let mut watch = WallClockWatch::new().expect("a timer");
        assert_eq!(watch.next().now_or_never(), None);
    }
}
