//! A pipe by which one thread wakes another.
//!
//! A futex or an eventfd wakes a thread without telling the kernel that the waker is about to sleep, so the kernel
//! likes to start the woken thread on another, idle processor: tens of microseconds in a virtual machine. A write to
//! a pipe does tell it, and the woken thread may take over the processor of its waker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

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
    /// `INTR` if a signal ended the wait.
    pub fn wait(&self, limit: Option<Duration>) -> rustix::io::Result<bool> {
        wait_readable(self.as_fd(), limit)
    }

    /// The descriptor, for a loop that waits for others beside it.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for DoorbellReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn wait_readable(fd: BorrowedFd<'_>, limit: Option<Duration>) -> rustix::io::Result<bool> {
    // A limit beyond the clock's range is none.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    Ok(rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], limit.as_ref())? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_stays_until_it_is_drained() {
        let (doorbell, reader) = doorbell().expect("a pipe");
        assert_eq!(reader.wait(Some(Duration::ZERO)), Ok(false));
        (0..100_000).for_each(|_| doorbell.notify());
        assert_eq!(reader.wait(None), Ok(true));
        assert_eq!(reader.wait(Some(Duration::MAX)), Ok(true));
        reader.drain();
        assert_eq!(reader.wait(Some(Duration::ZERO)), Ok(false));
    }
}
