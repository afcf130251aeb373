//! The one place where facts get their numbers, and where they go from there (L13).
//!
//! The actors on the engine's thread decide, and hand over the facts of a turn before anything leaves the thread:
//! [`Sequencer::record`] returns a [`Recorded`], without which the Dispatcher can send nothing. Subscribers get facts
//! and notices through bounded queues. While nobody subscribes, facts are only counted.

mod subscription;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::subscription::Queue;
pub use self::subscription::{Closer, QueueBounds, Subscription, Watched};
use crate::model::{Clock, Fact, FactId, FactKind, Incarnation, Notice, NoticeKind, Tick};
use crate::policy::recorder::{Recorder, Turn};

/// Numbers facts and hands them to subscribers. Clones share the numbers.
#[derive(Clone, Debug)]
pub struct Sequencer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    incarnation: Incarnation,
    clock: Clock,
    /// Of the last fact.
    number: AtomicU64,
    /// How many subscribe, for a look without the lock.
    subscribed: AtomicUsize,
    subscribers: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    queues: Vec<Arc<Queue>>,
    /// Nothing comes any more.
    closed: bool,
}

/// The facts of a turn have been recorded: their effects may leave the engine's thread. Only a [`Sequencer`] makes one.
#[derive(Debug)]
pub struct Recorded(());

impl Sequencer {
    /// A sequencer of an engine with this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            incarnation: Incarnation::random(),
            clock,
            number: AtomicU64::new(0),
            subscribed: AtomicUsize::new(0),
            subscribers: Mutex::default(),
        }))
    }

    /// The engine's one clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// The engine's life.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The number of the last fact; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.number.load(Ordering::Acquire)
    }

    /// Whether anybody subscribes: else the facts of a turn need not be made.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.0.subscribed.load(Ordering::Acquire) > 0
    }

    /// Gives the facts of a turn their numbers and hands them to the subscribers.
    pub fn record(&self, Turn { count, facts }: Turn) -> Recorded {
        if count == 0 {
            return Recorded(());
        }
        let before = self.0.number.fetch_add(count, Ordering::AcqRel);
        if !facts.is_empty() {
            debug_assert_eq!(facts.len() as u64, count, "a turn is made whole or not at all");
            let Shared { incarnation, clock, .. } = &*self.0;
            let numbered = (before + 1..).zip(facts).map(|(number, (tick, kind))| {
                Fact::new(FactId { incarnation: *incarnation, number }, clock.wall(tick), tick, kind)
            });
            self.0.hand_out(numbered.collect());
        }
        Recorded(())
    }

    /// Records one fact, outside a turn with others.
    pub fn record_one(&self, now: Tick, kind: impl FnOnce() -> FactKind) -> Recorded {
        let mut recorder = Recorder::default();
        recorder.begin(self.is_subscribed());
        recorder.note(now, kind);
        self.record(recorder.take())
    }

    /// Hands a notice to the subscribers, if there are any.
    pub fn notify(&self, kind: impl FnOnce() -> NoticeKind) {
        if self.is_subscribed() {
            let notice = Notice { at: self.0.clock.wall(self.0.clock.now()), kind: kind() };
            for queue in &self.0.lock().queues {
                queue.push_notice(notice.clone());
            }
        }
    }

    /// Subscribes to everything from now on.
    #[must_use]
    pub fn subscribe(&self, bounds: QueueBounds) -> Subscription {
        let queue = Arc::new(Queue::new(bounds));
        let mut subscribers = self.0.lock();
        if subscribers.closed {
            queue.close();
        } else {
            subscribers.queues.push(queue.clone());
            self.0.subscribed.store(subscribers.queues.len(), Ordering::Release);
        }
        drop(subscribers);
        Subscription { queue, sequencer: self.clone() }
    }

    fn unsubscribe(&self, queue: &Arc<Queue>) {
        let mut subscribers = self.0.lock();
        subscribers.queues.retain(|it| !Arc::ptr_eq(it, queue));
        self.0.subscribed.store(subscribers.queues.len(), Ordering::Release);
    }

    /// The engine has ended: subscribers get what is on its way to them, and then the end.
    pub fn close(&self) {
        let mut subscribers = self.0.lock();
        subscribers.closed = true;
        for queue in subscribers.queues.drain(..) {
            queue.close();
        }
        self.0.subscribed.store(0, Ordering::Release);
    }
}

impl Shared {
    /// A panic while the lock was held leaves whole queues behind.
    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_out(&self, facts: Vec<Fact>) {
        let subscribers = self.lock();
        let Some((last, others)) = subscribers.queues.split_last() else { return };
        for queue in others {
            queue.push_facts(facts.clone());
        }
        last.push_facts(facts);
    }
}

#[cfg(test)]
mod tests;
