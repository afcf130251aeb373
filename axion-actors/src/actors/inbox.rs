//! The queue through which requests enter the engine's thread, and its doorbell.
//!
//! One queue for all of them keeps their order: who asks for a task after submitting it finds it.
//! What bounds it (L9): tasks pass the admission first, and whoever asks for anything else waits
//! for the answer.
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

use super::messages::Request;
use crate::process;

/// Requests handled in one turn, before other messages get theirs; each task of several counts.
const BATCH: usize = 512;

#[derive(Debug)]
struct Bell {
    pipe: OwnedFd,
    /// The receiver has gone to sleep, or is about to look once more before it does.
    asleep: AtomicBool,
}

/// Where requests are put in, from any thread.
#[derive(Clone, Debug)]
pub struct InboxSender {
    queue: mpsc::UnboundedSender<Request>,
    bell: Arc<Bell>,
}

/// Where they come out, before its runtime is known.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::UnboundedReceiver<Request>,
    bell: Arc<Bell>,
    pipe: OwnedFd,
}

/// Makes an inbox.
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
    /// Puts a request in.
    ///
    /// # Errors
    /// The request, if the receiver is gone.
    pub fn send(&self, request: Request) -> Result<(), Box<Request>> {
        self.queue.send(request).map_err(|refused| Box::new(refused.0))?;
        if self.bell.asleep.load(Ordering::SeqCst) && self.bell.asleep.swap(false, Ordering::SeqCst) {
            // A full pipe has rung already.
            let _ = rustix::io::write(&self.bell.pipe, &[1]);
        }
        Ok(())
    }
}

impl Inbox {
    /// The requests in batches.
    ///
    /// # Errors
    /// If the runtime of this thread cannot watch the pipe.
    pub(super) fn into_batches(self) -> io::Result<Batches> {
        Ok(Batches { queue: self.queue, bell: self.bell, pipe: process::watch(self.pipe)? })
    }
}

/// A stream of the requests that have come in since the last look.
pub(super) struct Batches {
    queue: mpsc::UnboundedReceiver<Request>,
    bell: Arc<Bell>,
    pipe: AsyncFd<OwnedFd>,
}

impl Batches {
    fn take(&mut self) -> Vec<Request> {
        let (mut batch, mut weight) = (Vec::with_capacity(self.queue.len().min(BATCH)), 0);
        while weight < BATCH
            && let Ok(request) = self.queue.try_recv()
        {
            weight += match &request {
                Request::SubmitMany(submissions) => submissions.len().max(1),
                _ => 1,
            };
            batch.push(request);
        }
        batch
    }
}

impl Stream for Batches {
    type Item = Vec<Request>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                return Poll::Ready(Some(batch));
            }
            // First the mark, then another look: a request that came between them is either
            // seen by the look or rings.
            if !self.bell.asleep.swap(true, Ordering::SeqCst) {
                continue;
            }
            let Ok(mut rung) = ready!(self.pipe.poll_read_ready(cx)) else { return Poll::Ready(None) };
            let _ = rung.try_io(|pipe| Ok(rustix::io::read(pipe.get_ref(), &mut [0; 64][..])?));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::sync::oneshot;

    use super::super::messages::Submission;
    use super::*;
    use crate::actors::messages::Reply;
    use crate::model::Task;

    #[actix::test]
    async fn one_turn_has_so_many_tasks_however_they_travel() {
        let (sender, inbox) = inbox().expect("a pipe");
        let submission = || {
            let (reply, _) = oneshot::channel();
            Submission { task: Task::script("/a.py"), reply: Reply::One(reply), accepted: None }
        };
        for _ in 0..10 {
            let piece = (0..256).map(|_| submission()).collect();
            sender.send(Request::SubmitMany(piece)).expect("it is there");
        }
        let mut batches = inbox.into_batches().expect("watched");
        for _ in 0..5 {
            assert_eq!(batches.next().await.map(|batch| batch.len()), Some(2));
        }
    }
}
