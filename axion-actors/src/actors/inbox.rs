//! The queue through which requests enter the engine's thread, and its doorbell.
//!
//! One queue for all requests keeps their order: a request about a task, sent after the task, finds the task.
//! The queue stays bounded (L9): a task passes the admission first, and the sender of any other request
//! waits for its answer.
//!
//! The queue is a vector behind a lock, so that closing it is one step (L1): a request is either refused, or in the
//! queue when its reader is dropped, and dropped with it. Tokio's channel gives no such promise. Its receiver, when
//! dropped, leaves behind what a sender has reserved a place for and not written yet, and everything behind that
//! place, until the last sender is gone. The lock is held for one push or one swap.
//!
//! The queue wakes the engine's thread by a [`Doorbell`], and only while that sleeps.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::io::unix::AsyncFd;

use super::doorbell::{Doorbell, DoorbellReader, doorbell};
use super::messages::Request;
use crate::process;

/// Requests handled in one turn, before other messages get theirs; each task of a batch counts.
const BATCH: usize = 512;
/// An empty queue keeps room for this many requests, whatever it has held before (L9).
const KEPT_CAPACITY: usize = 4 * BATCH;

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Request>,
    /// The reader has found the queue empty and sleeps until the doorbell notifies it.
    asleep: bool,
    /// The reader is gone.
    closed: bool,
}

/// What the two ends share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    doorbell: Doorbell,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses every request from now on and drops those that nobody has read.
    fn close(&self) {
        let unread = {
            let mut queue = self.queue();
            queue.closed = true;
            std::mem::take(&mut queue.requests)
        };
        // Without the lock: a waiter that this wakes may send at once.
        drop(unread);
    }
}

/// The sending end, for any thread.
#[derive(Clone, Debug)]
pub struct InboxSender(Arc<Shared>);

/// The receiving end, not yet bound to a runtime. Dropped, it is closed.
#[derive(Debug)]
pub struct Inbox {
    reader: CloseOnDrop,
    doorbell: DoorbellReader,
}

/// Closes an inbox when it is dropped.
#[derive(Debug)]
pub(super) struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Makes an inbox.
///
/// # Errors
/// If the system has no more descriptors.
pub fn inbox() -> io::Result<(InboxSender, Inbox)> {
    let (doorbell, reader) = doorbell()?;
    let shared = Arc::new(Shared { queue: Mutex::default(), doorbell });
    Ok((InboxSender(shared.clone()), Inbox { reader: CloseOnDrop(shared), doorbell: reader }))
}

impl InboxSender {
    /// Sends a request. When the reader goes, it drops the request unanswered.
    ///
    /// # Errors
    /// The request, if the reader is gone.
    pub fn send(&self, request: Request) -> Result<(), Box<Request>> {
        let must_notify = {
            let mut queue = self.0.queue();
            if queue.closed {
                return Err(Box::new(request));
            }
            queue.requests.push_back(request);
            std::mem::take(&mut queue.asleep)
        };
        if must_notify {
            self.0.doorbell.notify();
        }
        Ok(())
    }
}

impl Inbox {
    /// What closes the inbox before its reader is dropped.
    pub(super) fn close_on_drop(&self) -> CloseOnDrop {
        CloseOnDrop(self.reader.0.clone())
    }

    /// The requests in batches.
    ///
    /// # Errors
    /// If the runtime of this thread cannot watch the doorbell.
    pub(super) fn into_batches(self) -> io::Result<Batches> {
        let doorbell = process::watch(self.doorbell.into_fd())?;
        Ok(Batches { reader: self.reader, read: VecDeque::new(), doorbell })
    }
}

/// A stream of the requests that have come in since the last batch.
pub(super) struct Batches {
    reader: CloseOnDrop,
    /// Taken out of the queue, and not yet part of a batch.
    read: VecDeque<Request>,
    doorbell: AsyncFd<OwnedFd>,
}

impl Batches {
    /// The next batch; if that is empty, the next request notifies.
    fn take(&mut self) -> Vec<Request> {
        if self.read.is_empty() {
            self.read.shrink_to(KEPT_CAPACITY);
            let mut queue = self.reader.0.queue();
            std::mem::swap(&mut self.read, &mut queue.requests);
            queue.asleep = self.read.is_empty();
        }
        let (mut count, mut weight) = (0, 0);
        while weight < BATCH
            && let Some(request) = self.read.get(count)
        {
            count += 1;
            weight += match request {
                Request::SubmitMany(submissions) => submissions.len().max(1),
                _ => 1,
            };
        }
        self.read.drain(..count).collect()
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
            let Ok(mut notified) = ready!(self.doorbell.poll_read_ready(cx)) else { return Poll::Ready(None) };
            let _ = notified.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0; 64][..])?));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use futures_util::StreamExt;
    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::super::messages::Submission;
    use super::*;
    use crate::actors::messages::Reply;
    use crate::model::Task;

    #[actix::test]
    async fn a_batch_is_bounded_by_tasks_however_they_travel() {
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

    #[actix::test]
    async fn a_request_wakes_a_reader_that_sleeps() {
        let (sender, inbox) = inbox().expect("a pipe");
        let mut batches = inbox.into_batches().expect("watched");
        let reader = actix_rt::spawn(async move {
            for _ in 0..100 {
                assert_eq!(batches.next().await.map(|batch| batch.len()), Some(1));
            }
        });
        let sending = std::thread::spawn(move || {
            for _ in 0..100 {
                let (reply, answer) = oneshot::channel();
                sender.send(Request::Drain { reply }).expect("it is there");
                // Dropped when it has been read.
                let _ = answer.blocking_recv();
            }
        });
        reader.await.expect("it has read all of them");
        sending.join().expect("all of them were dropped");
    }

    /// Sends until it is refused, and returns what the answers will come by.
    fn send_until_refused(sender: &InboxSender) -> Vec<oneshot::Receiver<()>> {
        let mut answers = Vec::new();
        loop {
            let (reply, answer) = oneshot::channel();
            if sender.send(Request::Drain { reply }).is_err() {
                return answers;
            }
            answers.push(answer);
        }
    }

    #[test]
    fn l1_a_request_sent_while_the_reader_goes_is_refused_or_dropped() {
        // With a queue that is not closed in one step, requests were left behind in 15 of 100 rounds.
        for round in 0..200 {
            let (sender, inbox) = inbox().expect("a pipe");
            let start = Barrier::new(4);
            let answers: Vec<_> = std::thread::scope(|scope| {
                let send = || {
                    start.wait();
                    send_until_refused(&sender)
                };
                let senders = [scope.spawn(send), scope.spawn(send), scope.spawn(send)];
                start.wait();
                (0..100).for_each(|_| std::hint::spin_loop());
                drop(inbox);
                senders.into_iter().flat_map(|sender| sender.join().expect("joined")).collect()
            });
            for (at, mut answer) in answers.into_iter().enumerate() {
                assert_eq!(answer.try_recv(), Err(TryRecvError::Closed), "round {round}, request {at}");
            }
        }
    }

    #[test]
    fn l1_what_the_close_wakes_cannot_send_any_more() {
        let (sender, inbox) = inbox().expect("a pipe");
        let (reply, answer) = oneshot::channel();
        sender.send(Request::Drain { reply }).expect("it is there");
        let close = inbox.close_on_drop();
        drop(close);
        let (reply, _) = oneshot::channel();
        assert!(sender.send(Request::Drain { reply }).is_err());
        assert!(answer.blocking_recv().is_err());
        drop(inbox);
    }
}
