//! The bounds on waiting tasks (L9).
//!
//! A task passes here before it enters the engine, on the thread of whoever submits it, so that a
//! refusal needs no round trip; the Dispatcher gives the room back when the task has left its
//! queue. These are counts, not a table: the tasks themselves have one owner (L4).

use tokio::sync::{AcquireError, Semaphore, TryAcquireError};

/// The engine takes no tasks any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionClosed;

/// Why a task cannot enter now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// As many tasks wait as may.
    Full,
    /// The tasks that wait bring as many bytes along as they may.
    Heavy,
    /// The engine takes no tasks any more.
    Closed,
}

/// Bytes are counted in units of this many, rounded down: small tasks are bounded by their number.
const UNIT: usize = 1 << 10;

/// Counts the tasks that wait in the engine, and their bytes.
#[derive(Debug)]
pub struct Admission {
    places: Semaphore,
    units: Semaphore,
    most: (usize, usize),
}

impl Admission {
    /// Lets `count` tasks wait that bring `bytes` bytes along.
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        Self { places: Semaphore::new(count), units: Semaphore::new(bytes / UNIT), most: (count, bytes) }
    }

    /// How many may wait, and their bytes.
    #[must_use]
    pub fn most(&self) -> (usize, usize) {
        self.most
    }

    /// Takes room for a task of `bytes` bytes, or says why not.
    ///
    /// # Errors
    /// If there is none, or the engine is shutting down.
    pub fn try_enter(&self, bytes: usize) -> Result<(), NoRoom> {
        let refused = |error, full| match error {
            TryAcquireError::NoPermits => full,
            TryAcquireError::Closed => NoRoom::Closed,
        };
        let place = self.places.try_acquire().map_err(|error| refused(error, NoRoom::Full))?;
        let units = self.units.try_acquire_many(self.units_of(bytes)).map_err(|error| refused(error, NoRoom::Heavy))?;
        place.forget();
        units.forget();
        Ok(())
    }

    /// Waits for room; first come, first served.
    ///
    /// # Errors
    /// If the engine is or begins shutting down.
    pub async fn enter(&self, bytes: usize) -> Result<(), AdmissionClosed> {
        let closed = |_: AcquireError| AdmissionClosed;
        // Dropped on the way, a permit gives its room back.
        let place = self.places.acquire().await.map_err(closed)?;
        let units = self.units.acquire_many(self.units_of(bytes)).await.map_err(closed)?;
        place.forget();
        units.forget();
        Ok(())
    }

    /// Gives back the room of `count` tasks and `units` units.
    pub fn leave(&self, count: usize, units: usize) {
        self.places.add_permits(count);
        self.units.add_permits(units);
    }

    /// Refuses everything from now on, and wakes whoever waits for room.
    pub fn close(&self) {
        self.places.close();
        self.units.close();
    }

    /// The units of a task: at most all there are, so that a task larger than the bound still enters,
    /// alone.
    #[must_use]
    pub fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from((bytes / UNIT).min(self.most.1 / UNIT)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l9_tasks_are_bounded_by_number_and_by_bytes() {
        let admission = Admission::new(3, 10 << 10);
        assert_eq!(admission.try_enter(6 << 10), Ok(()));
        assert_eq!(admission.try_enter(6 << 10), Err(NoRoom::Heavy));
        assert_eq!(admission.try_enter(100), Ok(()));
        assert_eq!(admission.try_enter(4 << 10), Ok(()));
        assert_eq!(admission.try_enter(100), Err(NoRoom::Full), "a refusal for weight took no place");
        admission.leave(2, 10);
        assert_eq!(admission.try_enter(50 << 10), Ok(()), "one above the bound enters an empty engine");
        admission.close();
        assert_eq!(admission.try_enter(1), Err(NoRoom::Closed));
    }
}
