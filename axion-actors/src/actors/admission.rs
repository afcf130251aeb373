//! The bound on waiting tasks (L9).
//!
//! A task passes here before it enters the engine, on the thread of whoever submits it, so that a
//! refusal needs no round trip; the Dispatcher gives the place back when the task has left its
//! queue. This is a count, not a table: the tasks themselves have one owner (L4).

use tokio::sync::Semaphore;

/// The engine takes no tasks any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionClosed;

/// Why a task cannot enter now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// As many tasks wait as may.
    Full,
    /// The engine takes no tasks any more.
    Closed,
}

/// Counts the tasks that wait in the engine.
#[derive(Debug)]
pub struct Admission {
    room: Semaphore,
    size: usize,
}

impl Admission {
    /// Lets `size` tasks wait.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { room: Semaphore::new(size), size }
    }

    /// How many may wait.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes a place, or says why not.
    ///
    /// # Errors
    /// If there is none, or the engine is shutting down.
    pub fn try_enter(&self) -> Result<(), NoRoom> {
        match self.room.try_acquire() {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(tokio::sync::TryAcquireError::NoPermits) => Err(NoRoom::Full),
            Err(tokio::sync::TryAcquireError::Closed) => Err(NoRoom::Closed),
        }
    }

    /// Waits for a place; first come, first served.
    ///
    /// # Errors
    /// If the engine is or begins shutting down.
    pub async fn enter(&self) -> Result<(), AdmissionClosed> {
        let permit = self.room.acquire().await.map_err(|_| AdmissionClosed)?;
        permit.forget();
        Ok(())
    }

    /// Gives places back.
    pub fn leave(&self, count: usize) {
        self.room.add_permits(count);
    }

    /// Refuses everything from now on, and wakes whoever waits for a place.
    pub fn close(&self) {
        self.room.close();
    }
}
