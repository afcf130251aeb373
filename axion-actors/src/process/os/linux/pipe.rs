//! The engine's ends of pipes and sockets to a child. No call here waits, whatever flags the descriptor has (L8, L11).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustix::fs::OFlags;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::forks::{self, PrivateFd};
use crate::process::os::{SpawnError, setup};

/// One end of a pipe or a socket, known to the runtime of its thread.
#[derive(Debug)]
pub(crate) struct Pipe(AsyncFd<PrivateFd>);

impl Pipe {
    pub(super) fn new(fd: PrivateFd) -> Result<Self, SpawnError> {
        watch(fd).map(Self).map_err(setup("watching a pipe"))
    }

    /// A second handle of the same end, for the other direction of a socket.
    pub(crate) fn duplicate(&self) -> Result<Self, SpawnError> {
        let ([fd], ()) = forks::private(|| Ok::<_, io::Error>(([self.0.as_fd().try_clone_to_owned()?], ())))
            .map_err(setup("the control socket"))?;
        Self::new(fd)
    }

    /// Appends what there is now to `into`, up to the room that is left there. 0 is the end of the pipe.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing, and what the system says.
    pub(crate) fn read_now(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        read_now(self.0.as_fd(), into)
    }

    /// Writes what the pipe takes now.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing, and what the system says.
    pub(crate) fn write_now(&self, data: &[u8]) -> io::Result<usize> {
        write_now(self.0.as_fd(), data)
    }

    /// Appends to `into` once there is something. Calls `before` just before each try to read.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        mut before: impl FnMut(),
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = std::task::ready!(self.0.poll_read_ready(cx))?;
            let room = into.capacity() - into.len();
            let read = guard.try_io(|fd| {
                before();
                read_now(fd.as_fd(), into)
            });
            if let Ok(result) = read {
                if matches!(result, Ok(count) if count < room) {
                    // The pipe is empty: without this, the next call would read it again to find that out.
                    guard.clear_ready();
                }
                return Poll::Ready(result);
            }
        }
    }

    /// Ready when the pipe may take something.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Option<Ready<'_>>> {
        self.0.poll_write_ready(cx).map(|ready| ready.ok().map(Ready))
    }

    /// Waits until there is something, and appends it to `into`; `None` if there was nothing after all.
    pub(crate) async fn read(&self, into: &mut Vec<u8>) -> Option<io::Result<usize>> {
        match self.0.readable().await {
            Ok(mut guard) => guard.try_io(|fd| read_now(fd.as_fd(), into)).ok(),
            Err(error) => Some(Err(error)),
        }
    }
}

/// What the runtime believes of a pipe: that it takes something.
pub(crate) struct Ready<'a>(AsyncFdReadyGuard<'a, PrivateFd>);

impl Ready<'_> {
    /// It was wrong: the next question waits for the pipe.
    pub(crate) fn clear(&mut self) {
        self.0.clear_ready();
    }
}

/// Appends what a pipe or a socket has now to `into`, up to the room that is left there. 0 is its end.
///
/// Never waits: `RWF_NOWAIT` counts for this call alone, so nobody who shares the description can undo it. A kernel
/// that does not know it for pipes (before 6.4) falls back on `O_NONBLOCK`.
///
/// # Errors
/// `WouldBlock` if there is nothing, and what the system says.
#[expect(unsafe_code, reason = "reads into memory that is not initialised")]
fn read_now(fd: BorrowedFd<'_>, into: &mut Vec<u8>) -> io::Result<usize> {
    let room = into.spare_capacity_mut();
    let piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: the call writes at most `room.len()` bytes to `room`.
    let count = unsafe { now(libc::SYS_preadv2, fd, &raw const piece) }?;
    // SAFETY: `count` bytes of the room have been written.
    unsafe { into.set_len(into.len() + count) };
    Ok(count)
}

/// Writes what a pipe or a socket takes now, as [`read_now`] reads.
///
/// # Errors
/// `WouldBlock` if it takes nothing, and what the system says.
#[expect(unsafe_code, reason = "the only call with flags of its own")]
pub(super) fn write_now(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: the call reads at most `data.len()` bytes of `data` and writes none.
    unsafe { now(libc::SYS_pwritev2, fd, &raw const piece) }
}

/// `preadv2` or `pwritev2` of one piece at no position, which must not wait.
///
/// # Safety
/// The piece is valid for what the call does with it.
#[expect(unsafe_code, reason = "the C library has no name for it everywhere")]
unsafe fn now(call: libc::c_long, fd: BorrowedFd<'_>, piece: *const libc::iovec) -> io::Result<usize> {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    loop {
        let flags = if IS_UNKNOWN.load(Ordering::Relaxed) { 0 } else { libc::RWF_NOWAIT };
        // SAFETY: the caller's promise.
        let count =
            unsafe { libc::syscall(call, fd.as_raw_fd(), piece, 1, -1 as libc::c_long, -1 as libc::c_long, flags) };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) if flags != 0 => IS_UNKNOWN.store(true, Ordering::Relaxed),
            _ => return Err(error),
        }
    }
}

/// What owns a descriptor, which stays the same and open until it is dropped.
pub(super) trait Owner: AsRawFd {}

impl Owner for OwnedFd {}

impl Owner for PrivateFd {}

/// Makes a descriptor known to the runtime of the current thread.
#[expect(unsafe_code, reason = "tokio asks for the promise below")]
pub(super) fn watch<T: Owner + std::fmt::Debug + Send + Sync + 'static>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` stays the same open descriptor until it is dropped, and the `AsyncFd`
    // owns it until after it has been taken out of the runtime's poller.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

pub(super) fn set_non_blocking(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fcntl_setfl(fd, rustix::fs::fcntl_getfl(fd)? | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    #[test]
    fn l8_no_flag_of_a_pipe_or_a_socket_makes_a_read_or_a_write_wait() {
        let pipe = rustix::pipe::pipe().expect("a pipe");
        let socket = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None);
        for (reader, writer) in [pipe, socket.expect("two sockets")] {
            let is_nothing = |read: io::Result<usize>| read.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock);
            let mut read = Vec::with_capacity(64 << 10);
            assert!(is_nothing(read_now(reader.as_fd(), &mut read)));
            let piece = [7; 5000];
            while write_now(writer.as_fd(), &piece).is_ok() {}
            assert!(is_nothing(write_now(writer.as_fd(), &piece)));
            while read_now(reader.as_fd(), &mut read).is_ok() {
                assert!(!read.is_empty() && read.iter().all(|byte| *byte == 7));
                read.clear();
            }
            drop(writer);
            assert_eq!(read_now(reader.as_fd(), &mut read).expect("its end"), 0);
        }
    }
}
