//! When the memory of a worker is measured, and which attempts a measurement is about.

use std::time::Duration;

use crate::model::{Seq, Tick};

/// The measurements of one worker's memory, one at a time.
#[derive(Debug)]
pub struct Measuring {
    /// The interval between the end of one and the begin of the next; `None`: there are none.
    every: Option<Duration>,
    last: Tick,
    /// The attempts that ran when the measurement that is under way began.
    under_way: Option<Vec<Seq>>,
}

impl Measuring {
    /// Of a worker that has just been started.
    #[must_use]
    pub fn new(every: Option<Duration>, now: Tick) -> Self {
        Self { every, last: now, under_way: None }
    }

    /// Whether one is to begin.
    #[must_use]
    pub fn is_due(&self, now: Tick) -> bool {
        self.next(true).is_some_and(|at| at <= now)
    }

    /// The time of the next one for a worker that has tasks. An idle one is not measured (L10).
    #[must_use]
    pub fn next(&self, has_tasks: bool) -> Option<Tick> {
        self.every.filter(|_| has_tasks && self.under_way.is_none()).map(|every| self.last.after(every))
    }

    /// One begins, while these attempts run.
    pub fn began(&mut self, running: Vec<Seq>) {
        self.under_way = Some(running);
    }

    /// It has ended. Returns the attempts that ran when it began: what it found is no fact about any other (L15).
    pub fn ended(&mut self, now: Tick) -> Vec<Seq> {
        self.last = now;
        self.under_way.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l10_one_measurement_at_a_time_with_a_rest_between_two_and_none_while_idle() {
        let (start, every) = (Tick(0), Duration::from_secs(1));
        let mut measuring = Measuring::new(Some(every), start);
        assert_eq!((measuring.next(false), measuring.next(true)), (None, Some(start.after(every))));
        let begin = start.after(every);
        assert!(!measuring.is_due(start) && measuring.is_due(begin));
        measuring.began(vec![Seq(1)]);
        let end = begin.after(every * 5);
        assert!(!measuring.is_due(end) && measuring.next(true).is_none());
        assert_eq!(measuring.ended(end), [Seq(1)]);
        assert_eq!(measuring.next(true), Some(end.after(every)));
        assert!(!Measuring::new(None, start).is_due(end), "without a limit there are none");
    }
}
