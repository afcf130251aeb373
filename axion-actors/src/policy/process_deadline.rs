//! Deadlines for what a process owes the engine: a handshake, an answer, its end.

use std::time::Duration;

use crate::model::Tick;

/// A deadline that is noticed this much late may have passed while nothing ran. A shorter delay is ordinary.
const HELD_UP: Duration = Duration::from_millis(100);

/// A deadline for an action of a process.
///
/// Ticks count the time for which the machine sleeps, and a process can do nothing meanwhile. So a deadline that is
/// noticed late, by more than a quarter of its length, proves nothing: it starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessDeadline {
    length: Duration,
    due: Tick,
}

impl ProcessDeadline {
    /// A deadline `length` from now.
    #[must_use]
    pub fn start(length: Duration, now: Tick) -> Self {
        Self { length, due: now.after(length) }
    }

    /// When the deadline is due.
    #[must_use]
    pub fn due(self) -> Tick {
        self.due
    }

    /// The time from the start to the deadline.
    #[must_use]
    pub fn length(self) -> Duration {
        self.length
    }

    /// Whether the process is too late. Starts the deadline anew if it is noticed late.
    #[must_use]
    pub fn has_passed(&mut self, now: Tick) -> bool {
        let late = now.since(self.due) > HELD_UP.max(self.length / 4);
        if late {
            *self = Self::start(self.length, now);
        }
        !late && self.due <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_once_it_is_due() {
        let mut deadline = ProcessDeadline::start(Duration::from_secs(2), Tick(5));
        assert!(!deadline.has_passed(Tick(2_000_000_004)));
        assert!(deadline.has_passed(Tick(2_000_000_005)));
        assert_eq!(deadline.due(), Tick(2_000_000_005));
    }

    #[test]
    fn a_deadline_that_is_noticed_after_sleep_starts_anew() {
        let hour = Tick::default().after(Duration::from_secs(3600));
        for millis in [2, 2000] {
            let length = Duration::from_millis(millis);
            let mut deadline = ProcessDeadline::start(length, Tick(0));
            assert!(!deadline.has_passed(hour), "{length:?}");
            assert_eq!(deadline.due(), hour.after(length));
            assert!(deadline.has_passed(deadline.due()));
        }
    }
}
