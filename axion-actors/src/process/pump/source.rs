//! What a child writes into one pipe. A pipe that has ended or failed gives nothing any more.

use std::task::{Context, Poll, ready};

use crate::process::os::Pipe;

/// The most that is read at once.
pub(super) const READ: usize = 64 << 10;
/// The most reads from each pipe of a process that has died: more than the pipe holds, and a bound on what an escaped
/// descendant can keep writing.
pub(super) const LAST_READS: usize = 64;

/// One of the pipes from the child; `None` once it has ended.
pub(super) struct Source(Option<Pipe>);

impl Source {
    pub(super) fn new(pipe: Pipe) -> Self {
        Self(Some(pipe))
    }

    /// Appends what there is to `into`, after a call of `before`. An error of the pipe counts as its end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>, before: impl FnMut()) -> Poll<usize> {
        let Some(pipe) = &self.0 else { return Poll::Pending };
        let count = ready!(pipe.poll_read(cx, into, before)).unwrap_or(0);
        if count == 0 {
            self.0 = None;
        }
        Poll::Ready(count)
    }

    /// Appends what there is to `into` without waiting; false when nothing is left.
    pub(super) fn read_now(&mut self, into: &mut Vec<u8>) -> bool {
        self.0.as_ref().is_some_and(|pipe| pipe.read_now(into).is_ok_and(|count| count > 0))
    }

    /// Reads nothing more of it.
    pub(super) fn close(&mut self) {
        self.0 = None;
    }
}
