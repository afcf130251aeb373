//! Waiting until an engine has the workers that it always keeps.

use std::time::{Duration, Instant};

use axion_actors::model::{FactKind, Health};
use axion_actors::policy::health;

use super::Engine;
use crate::error::{ReadyError, WaitError};
use crate::park;
use crate::watch::Watched;

impl Engine {
    /// Blocks the thread until each pool has its minimum of workers, or until `limit` has passed; returns whether they
    /// are there. An engine takes tasks before that, too.
    ///
    /// # Errors
    /// If no worker of a pool can start, or the engine has stopped.
    pub fn wait_ready(&self, limit: Duration) -> Result<bool, ReadyError> {
        let end = Instant::now().checked_add(limit);
        // Watched from before the first look on, so that no change is missed.
        let mut events = self.watch();
        while !self.is_ready()? {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            let news = async {
                loop {
                    match events.next().await {
                        // The Dispatcher records it, and knows of the worker before it answers the next request.
                        Some(Watched::Fact(fact)) if matches!(fact.kind, FactKind::WorkerJoined { .. }) => {
                            return Ok(());
                        }
                        Some(Watched::FactsMissed(_)) => return Ok(()),
                        Some(Watched::Fact(fact)) => {
                            // The Supervisor records this one: the status may learn of it later.
                            if let FactKind::PoolUnavailable { pool, error } = fact.kind {
                                return Err(ReadyError::Unavailable { pool, why: error.to_string() });
                            }
                        }
                        Some(_) => {}
                        None => return Err(WaitError::EngineStopped.into()),
                    }
                }
            };
            match park::wait_timeout(Box::pin(news), left) {
                Some(news) => news?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn is_ready(&self) -> Result<bool, ReadyError> {
        let status = self.status()?;
        for (pool, about) in status.components.process_pool.pools.iter() {
            match (health::pool(about).0, &about.unavailable) {
                (Health::Starting, _) => return Ok(false),
                (_, Some(why)) => return Err(ReadyError::Unavailable { pool, why: why.clone() }),
                // Its breaker is open, so more workers come later.
                _ if about.ready < about.least => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }
}
