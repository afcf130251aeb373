//! One subscriber's queue: bounded in bytes (L9), facts and notices apart, the oldest go first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Sequencer;
use crate::model::{Fact, Notice};

/// How many bytes wait for one subscriber. The newest fact and the newest notice are kept whatever they weigh.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// Of facts.
    pub facts: usize,
    /// Of notices.
    pub notices: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self { facts: 32 << 20, notices: 4 << 20 }
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// The next fact.
    Fact(Fact),
    /// A notice. Facts and notices come in the order in which they were made.
    Notice(Notice),
    /// The subscriber was too slow: this many facts before the next one were dropped.
    FactsMissed(u64),
    /// The subscriber was too slow: this many notices were dropped.
    NoticesMissed(u64),
}

#[derive(Debug)]
pub(super) struct Queue {
    bounds: QueueBounds,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    facts: Part<Fact>,
    notices: Part<Notice>,
    /// Orders facts and notices.
    arrivals: u64,
    /// The number that the next fact should have.
    expected: Option<u64>,
    notices_missed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Part<T> {
    items: VecDeque<(u64, usize, T)>,
    bytes: usize,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Part<T> {
    /// Adds one and drops the oldest ones above the bound. Returns how many.
    fn push(&mut self, arrival: u64, weight: usize, item: T, most: usize) -> u64 {
        self.items.push_back((arrival, weight, item));
        self.bytes += weight;
        let mut dropped = 0;
        while self.bytes > most && self.items.len() > 1 {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    fn pop(&mut self) -> Option<T> {
        let (_, weight, item) = self.items.pop_front()?;
        self.bytes -= weight;
        Some(item)
    }

    fn first(&self) -> u64 {
        self.items.front().map_or(u64::MAX, |(arrival, ..)| *arrival)
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Watched> {
        if self.notices_missed > 0 {
            return Some(Watched::NoticesMissed(std::mem::take(&mut self.notices_missed)));
        }
        if self.notices.first() < self.facts.first() {
            return self.notices.pop().map(Watched::Notice);
        }
        let number = self.facts.items.front()?.2.id.number;
        let expected = self.expected.replace(number).unwrap_or(number);
        if expected < number {
            return Some(Watched::FactsMissed(number - expected));
        }
        self.expected = Some(number + 1);
        self.facts.pop().map(Watched::Fact)
    }
}

impl Queue {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self { bounds, waiting: Mutex::default(), wake: Notify::new() }
    }

    /// A panic while the lock was held leaves a whole queue behind.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push_facts(&self, facts: Vec<Fact>) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        for fact in facts {
            // What was dropped shows by the numbers, also if it was before the first that is read.
            waiting.expected.get_or_insert(fact.id.number);
            waiting.arrivals += 1;
            let (arrival, weight) = (waiting.arrivals, fact.weight());
            waiting.facts.push(arrival, weight, fact, self.bounds.facts);
        }
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn push_notice(&self, notice: Notice) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        waiting.arrivals += 1;
        let (arrival, weight) = (waiting.arrivals, notice.weight());
        let dropped = waiting.notices.push(arrival, weight, notice, self.bounds.notices);
        waiting.notices_missed += dropped;
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    fn take(&self) -> Result<Option<Watched>, Closed> {
        let mut waiting = self.lock();
        match waiting.next() {
            None if waiting.closed => Err(Closed),
            next => Ok(next),
        }
    }
}

/// The engine has ended, and everything has been read.
struct Closed;

/// Facts and notices from the moment of the subscription on.
#[derive(Debug)]
pub struct Subscription {
    pub(super) queue: Arc<Queue>,
    pub(super) sequencer: Sequencer,
}

impl Subscription {
    /// The next item; `None` when the engine has ended.
    pub async fn next(&mut self) -> Option<Watched> {
        loop {
            match self.queue.take() {
                Ok(Some(item)) => return Some(item),
                Ok(None) => self.queue.wake.notified().await,
                Err(Closed) => return None,
            }
        }
    }

    /// Ends the subscription from another thread.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer(self.queue.clone())
    }

    /// The next item, if there is one already.
    pub fn try_next(&mut self) -> Option<Watched> {
        self.queue.take().ok().flatten()
    }
}

/// Ends a subscription.
#[derive(Clone, Debug)]
pub struct Closer(Arc<Queue>);

impl Closer {
    /// Has the subscriber read what is there, and then the end.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.sequencer.unsubscribe(&self.queue);
    }
}
