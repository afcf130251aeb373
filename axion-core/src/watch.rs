//! Watching what happens in the engine.

use axion_actors::model::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::park;

/// The engine's events from the moment of the subscription on.
#[derive(Debug)]
pub struct Events(pub(crate) Receiver<Event>);

/// What a watcher sees.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Watched {
    /// The next event.
    Event(Event),
    /// The watcher was too slow: this many events were dropped (L9).
    Missed(u64),
}

impl Events {
    /// The next event; `None` when the engine has ended.
    pub async fn next(&mut self) -> Option<Watched> {
        match self.0.recv().await {
            Ok(event) => Some(Watched::Event(event)),
            Err(RecvError::Lagged(missed)) => Some(Watched::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event, if there is one already. When the record of a workflow is there, all events of its steps are.
    pub fn try_next(&mut self) -> Option<Watched> {
        match self.0.try_recv() {
            Ok(event) => Some(Watched::Event(event)),
            Err(TryRecvError::Lagged(missed)) => Some(Watched::Missed(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }

    /// The next event, on a plain thread.
    pub fn wait_next(&mut self) -> Option<Watched> {
        park::wait(self.next())
    }
}
