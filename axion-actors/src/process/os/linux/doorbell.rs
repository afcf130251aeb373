//! A pipe by which one thread wakes another.
//!
//! A futex or an eventfd wakes a thread without telling the kernel that the waker is about to sleep, so the kernel
//! likes to start the woken thread on another, idle processor: tens of microseconds in a virtual machine. A write to
//! a pipe does tell it, and the woken thread may take over the processor of its waker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;

use super::pipe::watch;

/// The end that wakes.
#[derive(Debug)]
pub struct Doorbell(OwnedFd);

/// The end that is woken. Its descriptor is readable after a [notification](Doorbell::notify), until it is
/// [drained](Self::drain).
#[derive(Debug)]
pub struct DoorbellReader(OwnedFd);

/// Makes both ends.
///
/// # Errors
/// If the system has no more descriptors.
pub fn doorbell() -> io::Result<(Doorbell, DoorbellReader)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    Ok((Doorbell(writer), DoorbellReader(reader)))
}

impl Doorbell {
    /// Makes the reader's descriptor readable.
    pub fn notify(&self) {
        // A full pipe is readable already.
        let _ = rustix::io::write(&self.0, &[1]);
    }
}

impl DoorbellReader {
    /// Takes all notifications so far.
    pub fn drain(&self) {
        while rustix::io::read(&self.0, &mut [0; 64][..]).is_ok_and(|count| count == 64) {}
    }

    /// Blocks the thread until the doorbell notifies, for up to `limit`. Returns whether it has.
    ///
    /// # Errors
    /// Of kind `Interrupted` if a signal ended the wait.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        // A limit beyond the clock's range is none.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        Ok(rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit.as_ref())? > 0)
    }

    /// For a task on the runtime of this thread.
    ///
    /// # Errors
    /// If the runtime cannot watch it.
    pub(crate) fn into_watched(self) -> io::Result<WatchedDoorbell> {
        watch(self.0).map(WatchedDoorbell)
    }
}

/// The end that is woken, where that is a task.
#[derive(Debug)]
pub(crate) struct WatchedDoorbell(AsyncFd<OwnedFd>);

impl WatchedDoorbell {
    /// Ready after a notification, which it takes. May be ready without one.
    ///
    /// # Errors
    /// If the runtime is gone.
    pub(crate) fn poll_notified(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut notified = ready!(self.0.poll_read_ready(cx))?;
        let read = notified.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0; 64][..])?));
        if matches!(read, Ok(Ok(count)) if count < 64) {
            // The pipe is empty: without this, the next call would read it again to find that out.
            notified.clear_ready();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsFd for DoorbellReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(reader: &DoorbellReader, limit: Option<Duration>) -> bool {
        reader.wait(limit).expect("no signal")
    }

    #[test]
    fn a_notification_stays_until_it_is_drained() {
        let (doorbell, reader) = doorbell().expect("a pipe");
        assert!(!waits(&reader, Some(Duration::ZERO)));
        (0..100_000).for_each(|_| doorbell.notify());
        assert!(waits(&reader, None));
        assert!(waits(&reader, Some(Duration::MAX)));
        reader.drain();
        assert!(!waits(&reader, Some(Duration::ZERO)));
    }
}
