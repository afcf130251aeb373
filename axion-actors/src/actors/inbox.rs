//! The queue through which requests enter the engine's thread, and its doorbell.
//!
//! One queue for all requests keeps their order: a request about a task, sent after the task, finds the task.
//! The queue stays bounded (L9): a task passes the admission first, and the sender of any other request
//! waits for its answer.
//!
//! Requests are sent through a [`Door`], which the reader owns. Dropping the door closes the inbox: who sends, holds a
//! share of it for that moment only. With the last share, the whole queue is dropped, and with it every request that
//! nobody has read (L1). Tokio's receiver alone does not do that. When it is dropped, it leaves behind what a sender
//! has reserved a place for and not written yet, and everything behind that place, for as long as any sender exists.
//!
//! The queue wakes the engine's thread by a [`Doorbell`], and only while that sleeps.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::doorbell::{Doorbell, DoorbellReader, doorbell};
use super::messages::Request;
use crate::process;

/// Requests handled in one turn, before other messages get theirs; each task of a batch counts.
const BATCH: usize = 512;

/// What wakes the reader.
#[derive(Debug)]
struct Wakeup {
    doorbell: Doorbell,
    /// The reader sleeps, or is about to look once more before it does.
    asleep: AtomicBool,
}

/// Sends requests, from any thread, as long as the [`Door`] exists.
#[derive(Clone, Debug)]
pub struct InboxSender {
    queue: Weak<mpsc::UnboundedSender<Request>>,
    wakeup: Arc<Wakeup>,
}

/// Lets requests in until it is dropped.
#[derive(Debug)]
pub(super) struct Door {
    _queue: Arc<mpsc::UnboundedSender<Request>>,
}

/// The end at which requests come out, before its runtime is known.
#[derive(Debug)]
pub struct Inbox {
    door: Door,
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: DoorbellReader,
}

/// The requests, once they are read in a runtime.
#[derive(Debug)]
pub(super) struct Requests {
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: DoorbellReader,
}

/// Makes an inbox.
///
/// # Errors
/// If the system has no more descriptors.
pub fn inbox() -> io::Result<(InboxSender, Inbox)> {
    let (doorbell, reader) = doorbell()?;
    let (sender, queue) = mpsc::unbounded_channel();
    let (sender, wakeup) = (Arc::new(sender), Arc::new(Wakeup { doorbell, asleep: AtomicBool::new(false) }));
    let inbox_sender = InboxSender { queue: Arc::downgrade(&sender), wakeup: wakeup.clone() };
    Ok((inbox_sender, Inbox { door: Door { _queue: sender }, queue, wakeup, doorbell: reader }))
}

impl InboxSender {
    /// Sends a request. When the reader goes, it drops the request unanswered.
    ///
    /// # Errors
    /// The request, if the reader is gone.
    pub fn send(&self, request: Request) -> Result<(), Box<Request>> {
        let Some(queue) = self.queue.upgrade() else { return Err(Box::new(request)) };
        queue.send(request).map_err(|refused| Box::new(refused.0))?;
        let asleep = &self.wakeup.asleep;
        if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
            self.wakeup.doorbell.notify();
        }
        Ok(())
    }
}

impl Inbox {
    /// The door, and what comes in through it.
    pub(super) fn open(self) -> (Door, Requests) {
        (self.door, Requests { queue: self.queue, wakeup: self.wakeup, doorbell: self.doorbell })
    }
}

impl Requests {
    /// The requests in batches.
    ///
    /// # Errors
    /// If the runtime of this thread cannot watch the doorbell.
    pub(super) fn into_batches(self) -> io::Result<Batches> {
        let doorbell = process::watch(self.doorbell.into_fd())?;
        Ok(Batches { queue: self.queue, wakeup: self.wakeup, doorbell })
    }
}

/// A stream of the requests that have come in since the last batch.
pub(super) struct Batches {
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: AsyncFd<OwnedFd>,
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
            // seen by the look or notifies.
            if !self.wakeup.asleep.swap(true, Ordering::SeqCst) {
                continue;
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
        let (_door, requests) = inbox.open();
        let mut batches = requests.into_batches().expect("watched");
        for _ in 0..5 {
            assert_eq!(batches.next().await.map(|batch| batch.len()), Some(2));
        }
    }

    #[actix::test]
    async fn a_request_wakes_a_reader_that_sleeps() {
        let (sender, inbox) = inbox().expect("a pipe");
        let (_door, requests) = inbox.open();
        let mut batches = requests.into_batches().expect("watched");
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
        // Without the door, requests were left behind in 15 of 100 rounds.
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
    fn l1_once_the_door_is_dropped_nothing_is_sent_and_what_was_is_dropped_with_its_reader() {
        let (sender, inbox) = inbox().expect("a pipe");
        let (reply, mut answer) = oneshot::channel();
        sender.send(Request::Drain { reply }).expect("it is there");
        let (door, requests) = inbox.open();
        drop(door);
        let (reply, _) = oneshot::channel();
        assert!(sender.send(Request::Drain { reply }).is_err());
        assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
        drop(requests);
        assert_eq!(answer.try_recv(), Err(TryRecvError::Closed));
    }
}
