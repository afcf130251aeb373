//! What a child writes into one pipe. A pipe that has ended or failed gives nothing any more.

use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use crate::process::StartError;
use crate::process::forks::PrivateFd;
use crate::process::linux::{self, setup};

/// The most that is read at once.
pub(super) const READ: usize = 64 << 10;
/// The most that is read from each pipe of a process that has died: more than the pipe holds, and
/// a bound on what an escaped descendant can keep writing.
pub(super) const LAST_READS: usize = 64;

/// To wait for a pipe.
pub(super) fn watch(fd: PrivateFd) -> Result<AsyncFd<PrivateFd>, StartError> {
    linux::watch(fd).map_err(setup("watching a pipe"))
}

/// One of the pipes from the child.
pub(super) struct Source {
    /// `None` once it has ended.
    fd: Option<AsyncFd<PrivateFd>>,
}

impl Source {
    pub(super) fn new(fd: PrivateFd) -> Result<Self, StartError> {
        Ok(Self { fd: Some(watch(fd)?) })
    }

    /// Appends what there is to `into`, after a call of `before`. An error of the pipe counts as its end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        mut before: impl FnMut(),
    ) -> Poll<usize> {
        let Some(fd) = &self.fd else {
            return Poll::Pending;
        };
        let count = loop {
            let Ok(mut guard) = ready!(fd.poll_read_ready(cx)) else {
                break 0;
            };
            let read = guard.try_io(|fd| {
                before();
                linux::read_now(fd.get_ref().as_fd(), into)
            });
            match read {
                Ok(result) => break result.unwrap_or(0),
                Err(_would_block) => {}
            }
        };
        if count == 0 {
            self.fd = None;
        }
        Poll::Ready(count)
    }

    /// Appends what there is to `into` without waiting; false when nothing is left.
    pub(super) fn read_now(&mut self, into: &mut Vec<u8>) -> bool {
        let Some(fd) = &self.fd else { return false };
        linux::read_now(fd.get_ref().as_fd(), into).is_ok_and(|count| count > 0)
    }

    /// Nothing more of it is read.
    pub(super) fn close(&mut self) {
        self.fd = None;
    }
}
