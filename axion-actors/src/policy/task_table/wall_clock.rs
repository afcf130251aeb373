//! The wall clock is set: which tasks that moves, and which times.

use jiff::Timestamp;

use super::{TaskKey, TaskTable, wall};
use crate::model::{FactKind, Tick};
use crate::policy::timers::TimerId;

/// A task that is held until a calendar time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarHold {
    /// The timer that ends the wait.
    pub timer: TimerId,
    /// The task.
    pub key: TaskKey,
    /// The earliest start.
    pub until: Timestamp,
}

impl TaskTable {
    /// Sets the wall time of tick 0. Returns the tasks that are held until a calendar time, in the order in which they
    /// would have started.
    ///
    /// Later timings use the new time. All times of a record use the same one, so that they never go backwards: those of
    /// the remembered attempts move, and all others are computed from ticks when the task ends.
    pub fn set_epoch(&mut self, epoch: Timestamp, now: Tick) -> Vec<CalendarHold> {
        let (from, to) = (self.wall(now), wall(epoch, now));
        self.recorder.note(now, || FactKind::WallClockSet { from, to });
        let span = epoch.duration_since(self.epoch);
        self.epoch = epoch;
        for history in self.live.values_mut().filter_map(|entry| entry.history.as_mut()) {
            history.shift(span);
        }
        let holds = self.live.iter().filter_map(|(key, entry)| {
            let (timer, until) = entry.calendar_hold()?;
            Some(CalendarHold { timer, key, until })
        });
        let mut holds: Vec<CalendarHold> = holds.collect();
        holds.sort_unstable_by_key(|hold| hold.timer);
        holds
    }
}
