//! The queue through which tasks enter the engine's thread, and its doorbell.
//!
//! The runtime's own wake-up is an eventfd, after which the kernel likes to wake the sleeping thread
//! on another, idle processor: tens of microseconds in a virtual machine. A write to a pipe tells
//! the kernel that the writer is about to sleep, so the woken thread may take over its processor.
//! So the queue rings by a pipe, and only while the receiver sleeps.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::messages::Submission;
use crate::process;

/// Submissions handled in one turn, before other messages get theirs.
const BATCH: usize = 512;

#[derive(Debug)]
struct Bell {
    pipe: OwnedFd,
    /// The receiver has gone to sleep, or is about to look once more before it does.
    asleep: AtomicBool,
}

/// Where submissions are put in, from any thread.
#[derive(Clone, Debug)]
pub struct InboxSender {
    queue: mpsc::UnboundedSender<Submission>,
    bell: Arc<Bell>,
}

/// Where they come out, before its runtime is known.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::UnboundedReceiver<Submission>,
    bell: Arc<Bell>,
    pipe: OwnedFd,
}

/// Makes an inbox. Its bound is the admission that every sender passes first (L9).
///
/// # Errors
/// If the system has no pipe to give.
pub fn inbox() -> io::Result<(InboxSender, Inbox)> {
    let (out, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (sender, queue) = mpsc::unbounded_channel();
    let bell = Arc::new(Bell { pipe: into, asleep: AtomicBool::new(false) });
    Ok((InboxSender { queue: sender, bell: bell.clone() }, Inbox { queue, bell, pipe: out }))
}

impl InboxSender {
    /// Puts a submission in; gives it back if the receiver is gone.
    ///
    /// # Errors
    /// The submission, if the receiver is gone.
    pub fn send(&self, submission: Submission) -> Result<(), Box<Submission>> {
        self.queue.send(submission).map_err(|refused| Box::new(refused.0))?;
        if self.bell.asleep.load(Ordering::SeqCst) && self.bell.asleep.swap(false, Ordering::SeqCst) {
            // A full pipe has rung already.
            let _ = rustix::io::write(&self.bell.pipe, &[1]);
        }
        Ok(())
    }
}

impl Inbox {
    /// The submissions in batches.
    ///
    /// # Errors
    /// If the runtime of this thread cannot watch the pipe.
    pub(super) fn into_batches(self) -> io::Result<Batches> {
        Ok(Batches { queue: self.queue, bell: self.bell, pipe: process::watch(self.pipe)? })
    }
}

/// A stream of the submissions that have come in since the last look.
pub(super) struct Batches {
    queue: mpsc::UnboundedReceiver<Submission>,
    bell: Arc<Bell>,
    pipe: AsyncFd<OwnedFd>,
}

impl Batches {
    fn take(&mut self) -> Vec<Submission> {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Ok(submission) = self.queue.try_recv()
        {
            batch.push(submission);
        }
        batch
    }
}

impl Stream for Batches {
    type Item = Vec<Submission>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                return Poll::Ready(Some(batch));
            }
            // First the mark, then another look: a submission that came between them is either
            // seen by the look or rings.
            if !self.bell.asleep.swap(true, Ordering::SeqCst) {
                continue;
            }
            let Ok(mut rung) = ready!(self.pipe.poll_read_ready(cx)) else { return Poll::Ready(None) };
            let _ = rung.try_io(|pipe| Ok(rustix::io::read(pipe.get_ref(), &mut [0; 64][..])?));
        }
    }
}
