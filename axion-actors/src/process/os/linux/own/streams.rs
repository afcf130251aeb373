//! The standard streams of this process, for a program that another process starts in its place.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A socket at which this process gives its standard streams away. Its folder decides who may come.
#[derive(Debug)]
pub struct StreamDoor(UnixListener);

impl StreamDoor {
    /// Opens the socket.
    ///
    /// # Errors
    /// If there is something at the path, or it is too long for a socket.
    pub fn open(path: &Path) -> io::Result<Self> {
        UnixListener::bind(path).map(Self)
    }

    /// Waits for the next one who comes, gives it the descriptors of the three streams, and waits for its answer: the exit
    /// code of the program, or the negative number of the signal that ended it. `keep` gets the answer before the other
    /// side learns that it has arrived. Whoever leaves without an answer has none.
    ///
    /// # Errors
    /// If the socket is broken.
    pub fn serve_next(&self, keep: impl FnOnce(i32)) -> io::Result<()> {
        let (mut stream, _) = self.0.accept()?;
        let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
        let streams = [input.as_fd(), output.as_fd(), error.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        attached.push(SendAncillaryMessage::ScmRights(&streams));
        let mut answer = [0; 4];
        let is_sent = sendmsg(&stream, &[IoSlice::new(b"s")], &mut attached, SendFlags::NOSIGNAL).is_ok();
        if is_sent && stream.read_exact(&mut answer).is_ok() {
            keep(i32::from_le_bytes(answer));
            // If the other side has left, it needs no word.
            let _ = stream.write_all(b"k");
        }
        Ok(())
    }
}
