//! The standard streams of the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardStream {
    /// File descriptor 1.
    Output,
    /// File descriptor 2.
    Error,
}

impl StandardStream {
    /// Writes all bytes, without a buffer. Blocks until the reader has taken them, also if the stream does not block
    /// (`O_NONBLOCK`, which another process can set): so never on the engine's thread (L11).
    ///
    /// # Errors
    /// What the system says.
    pub fn write_all(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Output => write_all(io::stdout().as_fd(), bytes),
            Self::Error => write_all(io::stderr().as_fd(), bytes),
        }
    }

    /// Opens the null device in the place of each standard stream that is closed. A descriptor that the process opens
    /// later would take that place otherwise, and get what is written for the user.
    pub fn open_closed() {
        while let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, rustix::fs::Mode::empty()) {
            if std::os::fd::AsRawFd::as_raw_fd(&null) > 2 {
                return;
            }
            // Stays open for the life of the process, as standard streams do.
            std::mem::forget(null);
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(fd)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_stream_that_does_not_block_takes_everything() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        rustix::fs::fcntl_setfl(&writer, OFlags::WRONLY | OFlags::NONBLOCK).expect("set");
        let bytes: Vec<u8> = (0..2 << 20).map(|at| (at % 251) as u8).collect();
        let mut read = Vec::new();
        std::thread::scope(|scope| {
            let written = scope.spawn(|| {
                let written = write_all(writer.as_fd(), &bytes);
                drop(writer);
                written
            });
            reader.read_to_end(&mut read).expect("read");
            written.join().expect("joined").expect("written");
        });
        assert!(read == bytes, "{} of {} bytes came", read.len(), bytes.len());
    }

    #[test]
    fn the_end_of_the_reader_is_an_error() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let error = write_all(writer.as_fd(), b"text").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
