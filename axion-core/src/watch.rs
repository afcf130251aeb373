//! Watching the engine's facts and notices.

pub use axion_actors::sequencer::Closer as WatchCloser;
use axion_actors::sequencer::Subscription;
pub use axion_actors::sequencer::Watched;

use crate::park;

/// The engine's facts and notices from the subscription on.
///
/// The stream holds 32 MiB of facts and 4 MiB of notices for a reader that falls behind; then the oldest go, and the
/// reader learns how many it missed (L9).
#[derive(Debug)]
pub struct EventStream(pub(crate) Subscription);

impl EventStream {
    /// What ends this stream from another thread: a reader that waits gets what is there, and then `None`.
    #[must_use]
    pub fn closer(&self) -> WatchCloser {
        self.0.closer()
    }

    /// Waits for the next fact or notice; `None` when the engine has ended, or the stream was closed.
    pub async fn next(&mut self) -> Option<Watched> {
        self.0.next().await
    }

    /// The next fact or notice, if there is one already. When a record is there, so are the facts that led to it (L13).
    pub fn try_next(&mut self) -> Option<Watched> {
        self.0.try_next()
    }

    /// Blocks the thread until the next fact or notice; `None` when the engine has ended.
    pub fn wait_next(&mut self) -> Option<Watched> {
        park::wait(self.next())
    }
}
