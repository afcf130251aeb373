//! The engine's load, which any thread can read without a request to the engine's thread.
//!
//! The values are estimates for a thread that is about to wait. Only the Dispatcher writes them (L4).

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustc_hash::FxHasher;

use crate::model::WorkKey;

const SLOTS: usize = 256;

/// The number of tasks at workers, and the expected run times of scripts and functions.
#[derive(Debug)]
pub struct Load {
    running: AtomicUsize,
    /// The expected run times in nanoseconds, 0 if unknown. Works with the same hash share a place: the latest counts.
    expected: [AtomicU32; SLOTS],
}

/// The place of a script or function in a [`Load`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkSlot(u8);

impl WorkSlot {
    /// The place of this work.
    #[must_use]
    pub fn of(work: WorkKey<'_>) -> Self {
        let mut hasher = FxHasher::default();
        match work {
            WorkKey::Script(path) => path.hash(&mut hasher),
            WorkKey::Function(id) => id.hash(&mut hasher),
        }
        Self(hasher.finish().to_be_bytes()[0])
    }
}

impl Default for Load {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), expected: [const { AtomicU32::new(0) }; SLOTS] }
    }
}

impl Load {
    /// The number of tasks at workers.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// The expected run time; `None` for work that has not run recently.
    #[must_use]
    pub fn expected(&self, slot: WorkSlot) -> Option<Duration> {
        let nanos = self.expected[usize::from(slot.0)].load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos.into()))
    }

    /// Sets the number of tasks at workers.
    pub fn set_running(&self, count: usize) {
        self.running.store(count, Ordering::Relaxed);
    }

    /// Sets the expected run time of the work, in nanoseconds.
    pub fn set_expected(&self, work: WorkKey<'_>, nanos: u64) {
        let nanos = u32::try_from(nanos).unwrap_or(u32::MAX).max(1);
        self.expected[usize::from(WorkSlot::of(work).0)].store(nanos, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartId, ScriptPath};

    #[test]
    fn expected_run_times_are_found_by_their_work() {
        let (load, script) = (Load::default(), ScriptPath::new("/a.py".as_ref()));
        let (script, function) = (WorkKey::Script(&script), WorkKey::Function(PartId::of(b"code")));
        assert_ne!(WorkSlot::of(script), WorkSlot::of(function));
        assert_eq!(load.expected(WorkSlot::of(script)), None);
        load.set_expected(script, 1500);
        load.set_expected(function, u64::MAX);
        assert_eq!(load.expected(WorkSlot::of(script)), Some(Duration::from_nanos(1500)));
        assert_eq!(load.expected(WorkSlot::of(function)), Some(Duration::from_nanos(u32::MAX.into())));
        load.set_expected(script, 0);
        assert_eq!(load.expected(WorkSlot::of(script)), Some(Duration::from_nanos(1)), "0 says that it is unknown");
    }
}
