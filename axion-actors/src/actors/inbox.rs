//! The queue through which requests enter the engine's thread, and its doorbell.
//!
//! One queue for all requests keeps their order, so a request about a task follows the submit of the task. The queue is
//! bounded (L9): a task passes the admission first, and the sender of any other request waits for its answer.
//!
//! Requests are sent through a [`Door`], which the reader owns. Dropping the door closes the inbox. A sender holds a
//! share of the door only while it sends. With the last share, the whole queue is dropped, with every unread request
//! (L1). Tokio's receiver alone does not do that: its drop leaves a place that a sender has reserved and not written,
//! and everything behind that place, for as long as any sender exists.
//!
//! A [`Doorbell`] wakes the engine's thread, and only while the thread sleeps.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::messages::Request;
use crate::process::{Doorbell, DoorbellReader, WatchedDoorbell, doorbell};

/// The number of requests in one turn, before other messages are handled. Each task of a batch counts.
const BATCH: usize = 512;

/// The state that wakes the reader.
#[derive(Debug)]
struct Wakeup {
    doorbell: Doorbell,
    /// Whether the reader sleeps, or is about to check the queue once more and sleep.
    asleep: AtomicBool,
}

/// Sends requests, from any thread, as long as the reader's `Door` exists.
#[derive(Clone, Debug)]
pub struct InboxSender {
    queue: Weak<mpsc::UnboundedSender<Request>>,
    wakeup: Arc<Wakeup>,
}

/// Admits requests until it is dropped.
#[derive(Debug)]
pub(super) struct Door {
    _queue: Arc<mpsc::UnboundedSender<Request>>,
}

/// The receiving end of the inbox, before its runtime is known.
#[derive(Debug)]
pub struct Inbox {
    door: Door,
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: DoorbellReader,
}

/// The requests, as a runtime reads them.
#[derive(Debug)]
pub(super) struct Requests {
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: DoorbellReader,
}

/// Creates an inbox.
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
    /// Splits the inbox into its door and its requests.
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
        let doorbell = self.doorbell.into_watched()?;
        Ok(Batches { queue: self.queue, wakeup: self.wakeup, doorbell })
    }
}

/// A stream of batches: the requests since the last batch.
pub(super) struct Batches {
    queue: mpsc::UnboundedReceiver<Request>,
    wakeup: Arc<Wakeup>,
    doorbell: WatchedDoorbell,
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
            // The mark is set before the last check. A request between the two is either seen by the check or notifies.
            if !self.wakeup.asleep.swap(true, Ordering::SeqCst) {
                continue;
            }
            if ready!(self.doorbell.poll_notified(cx)).is_err() {
                return Poll::Ready(None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
