//! The engine's events, for whoever wants to watch.

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::model::{Event, EventKind};

/// Events a slow watcher may lag behind before it loses the oldest; it is told how many (L9).
const LAG: usize = 4096;

/// Carries events to any number of watchers; free while there are none.
#[derive(Clone, Debug)]
pub struct EventBus(broadcast::Sender<Event>);

impl Default for EventBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG))
    }
}

/// Subscribes to an [`EventBus`] without keeping it alive: the events end when the actors that send them are gone (L1).
#[derive(Clone, Debug)]
pub struct EventSource(broadcast::WeakSender<Event>);

impl EventSource {
    /// The events from now on. There are none if the bus is gone.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.0.upgrade().map_or_else(|| broadcast::channel(1).1, |bus| bus.subscribe())
    }
}

impl EventBus {
    /// For subscribers outside of the engine's thread.
    #[must_use]
    pub fn source(&self) -> EventSource {
        EventSource(self.0.downgrade())
    }

    /// Whether anyone watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells the watchers, if there are any, of something that happened now.
    pub fn emit(&self, kind: impl FnOnce() -> EventKind) {
        if self.is_watched() {
            self.send(Event { at: Timestamp::now(), kind: kind() });
        }
    }

    /// Tells the watchers.
    pub fn send(&self, event: Event) {
        // An error only means that the last watcher has just left.
        let _ = self.0.send(event);
    }
}
