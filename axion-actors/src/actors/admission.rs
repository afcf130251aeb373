//! The bounds on waiting tasks (L9).
//!
//! A task passes the admission on its submitter's thread, so a refusal needs no round trip. The Dispatcher gives the
//! room back when the task has left its queue. The admission keeps counts, not a table: each task has one owner (L4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{AcquireError, Semaphore, TryAcquireError, watch};

use super::load::Load;
use crate::model::RefusalReason;
use crate::policy::overload::Overload;

/// The engine accepts no more tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionClosed;

/// Why a task is not admitted now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoRoom {
    /// The machine is overloaded.
    Overloaded(Overload),
    /// The queue holds its largest number of tasks.
    Full,
    /// The waiting tasks hold their largest number of bytes.
    Heavy,
    /// The engine accepts no more tasks.
    Closed,
}

const REASONS: usize = RefusalReason::ALL.len();

impl From<NoRoom> for RefusalReason {
    fn from(refused: NoRoom) -> Self {
        match refused {
            NoRoom::Overloaded(_) => Self::Overloaded,
            NoRoom::Full => Self::QueueFull,
            NoRoom::Heavy => Self::QueueBytesFull,
            NoRoom::Closed => Self::Closed,
        }
    }
}

/// The number of bytes in a unit. Sizes are rounded down to units, because small tasks are bounded by their number.
const UNIT: usize = 1 << 10;

/// Counts the tasks that wait in the engine, and their bytes.
#[derive(Debug)]
pub struct Admission {
    places: Semaphore,
    units: Semaphore,
    most: (usize, usize),
    /// The present overload, if any. It refuses all tasks.
    overload: watch::Sender<Option<Overload>>,
    /// Whether there is an overload. This flag makes the check cheap.
    overloaded: AtomicBool,
    closed: AtomicBool,
    /// The number of submissions refused so far, by reason, and the number that facts have reported.
    refused: [AtomicU64; REASONS],
    recorded: [AtomicU64; REASONS],
    /// Whether some refusals have not been reported.
    is_unrecorded: AtomicBool,
    load: Arc<Load>,
}

impl Admission {
    /// Admits up to `count` waiting tasks that hold up to `bytes` bytes.
    #[must_use]
    pub fn new(count: usize, bytes: usize) -> Self {
        Self {
            places: Semaphore::new(count),
            units: Semaphore::new(bytes / UNIT),
            most: (count, bytes),
            overload: watch::Sender::new(None),
            overloaded: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            refused: Default::default(),
            recorded: Default::default(),
            is_unrecorded: AtomicBool::new(false),
            load: Arc::default(),
        }
    }

    /// Refuses tasks while there is an overload.
    pub fn set_overload(&self, overload: Option<Overload>) {
        self.overloaded.store(overload.is_some(), Ordering::Release);
        self.overload.send_if_modified(|now| std::mem::replace(now, overload) != overload);
    }

    /// Counts a submission that was refused.
    pub fn count_refusal(&self, reason: RefusalReason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.is_unrecorded.store(true, Ordering::Release);
    }

    /// The number of submissions refused so far for lack of room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let for_room = RefusalReason::ALL.into_iter().filter(|reason| reason.is_for_room());
        for_room.map(|reason| self.refused[reason as usize].load(Ordering::Relaxed)).sum()
    }

    /// The submissions refused since the last call, by reason; `None` if there were none. Only the Dispatcher calls
    /// this.
    pub fn take_refusals(&self) -> Option<BTreeMap<RefusalReason, u64>> {
        // Refusals are rare, and this is called once a turn.
        if !self.is_unrecorded.load(Ordering::Relaxed) || !self.is_unrecorded.swap(false, Ordering::AcqRel) {
            return None;
        }
        let news = RefusalReason::ALL.into_iter().map(|reason| {
            let total = self.refused[reason as usize].load(Ordering::Relaxed);
            (reason, total - self.recorded[reason as usize].swap(total, Ordering::Relaxed))
        });
        Some(news.filter(|(_, count)| *count > 0).collect()).filter(|counts: &BTreeMap<_, _>| !counts.is_empty())
    }

    /// Whether the engine still accepts tasks.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closed.load(Ordering::Acquire)
    }

    /// The number of tasks that wait in the engine. A task that is sent to a worker at once counts briefly, too.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.most.0.saturating_sub(self.places.available_permits())
    }

    /// The load of the engine.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// The largest number of waiting tasks, and of their bytes.
    #[must_use]
    pub fn most(&self) -> (usize, usize) {
        self.most
    }

    /// Whether an empty engine has room for this number of tasks and units. A submitter of more would wait forever, and
    /// delay all later submitters.
    #[must_use]
    pub fn can_ever_take(&self, count: u32, units: u32) -> bool {
        count as usize <= self.most.0 && units as usize <= self.most.1 / UNIT
    }

    /// Takes room for `count` tasks that hold `units` units of bytes.
    ///
    /// # Errors
    /// If there is no room, the machine is overloaded, or the engine is shutting down.
    pub fn try_enter(&self, count: u32, units: u32) -> Result<(), NoRoom> {
        let refused = |error, full| match error {
            TryAcquireError::NoPermits => full,
            TryAcquireError::Closed => NoRoom::Closed,
        };
        if self.overloaded.load(Ordering::Acquire)
            && let Some(overload) = *self.overload.borrow()
        {
            return Err(NoRoom::Overloaded(overload));
        }
        let places = self.places.try_acquire_many(count).map_err(|error| refused(error, NoRoom::Full))?;
        let units = self.units.try_acquire_many(units).map_err(|error| refused(error, NoRoom::Heavy))?;
        places.forget();
        units.forget();
        Ok(())
    }

    /// Waits for room; first come, first served.
    ///
    /// # Errors
    /// If the engine is shutting down, or begins to.
    pub async fn enter(&self, count: u32, units: u32) -> Result<(), AdmissionClosed> {
        let closed = |_: AcquireError| AdmissionClosed;
        if self.overloaded.load(Ordering::Acquire) {
            let mut overload = self.overload.subscribe();
            overload.wait_for(|overload| overload.is_none() || !self.is_open()).await.map_err(|_| AdmissionClosed)?;
        }
        // Dropped early, a permit gives its room back.
        let places = self.places.acquire_many(count).await.map_err(closed)?;
        let units = self.units.acquire_many(units).await.map_err(closed)?;
        places.forget();
        units.forget();
        Ok(())
    }

    /// Gives back the room of `count` tasks and `units` units.
    pub fn leave(&self, count: usize, units: usize) {
        self.places.add_permits(count);
        self.units.add_permits(units);
    }

    /// Refuses every task from now on, and wakes all submitters that wait for room.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.places.close();
        self.units.close();
        // Wakes submitters that wait for the end of an overload.
        self.overload.send_modify(|_| ());
    }

    /// The units of a task, at most the total: a task above the bound is admitted alone.
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
        let enter = |bytes| admission.try_enter(1, admission.units_of(bytes));
        assert_eq!(enter(6 << 10), Ok(()));
        assert_eq!(enter(6 << 10), Err(NoRoom::Heavy));
        assert_eq!(enter(100), Ok(()));
        assert_eq!(enter(4 << 10), Ok(()));
        assert_eq!(enter(100), Err(NoRoom::Full), "a refusal for weight took no place");
        admission.leave(2, 10);
        assert_eq!(admission.try_enter(3, 0), Err(NoRoom::Full), "all of them or none");
        assert_eq!(enter(50 << 10), Ok(()), "one above the bound enters an empty engine");
        admission.close();
        assert_eq!(enter(1), Err(NoRoom::Closed));
        assert!(!admission.is_open());
    }

    #[actix::test]
    async fn while_the_machine_is_too_busy_tasks_are_refused_and_those_who_wait_are_woken() {
        let admission = std::sync::Arc::new(Admission::new(3, 10 << 10));
        let hot = Overload::Cpu { used: 99.0, limit: 90.0 };
        admission.set_overload(Some(hot));
        assert_eq!(admission.try_enter(1, 0), Err(NoRoom::Overloaded(hot)));
        let waiting = {
            let admission = admission.clone();
            actix_rt::spawn(async move { admission.enter(1, 0).await })
        };
        actix_rt::task::yield_now().await;
        assert!(!waiting.is_finished());
        admission.set_overload(None);
        assert_eq!(waiting.await.expect("it ends"), Ok(()));
        assert_eq!(admission.try_enter(1, 0), Ok(()));
        // A shutdown ends the wait, too (L1).
        admission.set_overload(Some(hot));
        let waiting = {
            let admission = admission.clone();
            actix_rt::spawn(async move { admission.enter(1, 0).await })
        };
        actix_rt::task::yield_now().await;
        admission.close();
        assert_eq!(waiting.await.expect("it ends"), Err(AdmissionClosed));
    }
}
