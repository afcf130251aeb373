//! Watching the engine's events.

use axion_actors::model::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::park;

/// The engine's events from the subscription on.
#[derive(Debug)]
pub struct EventStream(pub(crate) Receiver<Event>);

/// An item of an [`EventStream`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// The next event.
    Event(Event),
    /// The watcher was too slow: this many events were dropped (L9).
    Lagged(u64),
}

impl EventStream {
    /// Waits for the next event; `None` when the engine has ended.
    pub async fn next(&mut self) -> Option<Watched> {
        match self.0.recv().await {
            Ok(event) => Some(Watched::Event(event)),
            Err(RecvError::Lagged(dropped)) => Some(Watched::Lagged(dropped)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event, if there is one already. When the record of a workflow is there, so are all events of its steps.
    pub fn try_next(&mut self) -> Option<Watched> {
        match self.0.try_recv() {
            Ok(event) => Some(Watched::Event(event)),
            Err(TryRecvError::Lagged(dropped)) => Some(Watched::Lagged(dropped)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// Blocks the thread until the next event; `None` when the engine has ended.
    pub fn wait_next(&mut self) -> Option<Watched> {
        park::wait(self.next())
    }
}
