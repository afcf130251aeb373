//! Tasks that are held back until their earliest start.

use jiff::Timestamp;

use super::{Due, Scheduler};
use crate::model::{NotBefore, Tick};
use crate::policy::task_table::TaskKey;

impl Scheduler {
    /// Holds a task back until its earliest start. Returns false if the task may start at once.
    pub(super) fn defer(&mut self, key: TaskKey, now: Tick) -> bool {
        let at = match self.table.task(key).and_then(|task| task.options().not_before) {
            Some(NotBefore::After(time)) => now.after(time),
            Some(NotBefore::At(time)) => self.table.tick(time),
            None => return false,
        };
        if at <= now {
            return false;
        }
        let timer = self.timers.start(at, Due::Start(key));
        self.table.hold(key, timer, at, now)
    }

    /// The wall clock was set: tick 0 has the wall time `epoch` from now on. Tasks that are held until a calendar time
    /// follow it. Queued tasks stay queued, and no duration or time limit moves. Call [`tick`](Self::tick) afterwards.
    pub fn wall_clock_set(&mut self, epoch: Timestamp, now: Tick) {
        for held in self.table.set_epoch(epoch, now) {
            let at = self.table.tick(held.until);
            if at != held.timer.due() {
                self.timers.stop(held.timer);
                let timer = self.timers.start(at, Due::Start(held.key));
                self.table.hold_anew(held.key, timer, at, now);
            }
        }
    }
}
