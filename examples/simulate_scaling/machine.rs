//! The machine: processors that all jobs share equally, none with more than one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Work in nanoseconds of a processor, or a time in nanoseconds; ordered.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Nanos(f64);

impl Eq for Nanos {}

impl PartialOrd for Nanos {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Nanos {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Processor sharing. As all jobs advance at the same speed, a job ends when the work done on each
/// since the beginning reaches a number that is known at its start: so a heap is enough.
pub(crate) struct Machine {
    cores: f64,
    jobs: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    started: u64,
    /// Work done so far on a job that was there all the time.
    done: f64,
    /// Processor time used so far, by all.
    used: f64,
    at: u64,
}

#[expect(clippy::cast_precision_loss, reason = "simulated times are far below 2⁵² ns")]
fn real(nanos: u64) -> f64 {
    nanos as f64
}

impl Machine {
    pub(crate) fn new(cores: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of processors")]
        let cores = cores as f64;
        Self { cores, jobs: BinaryHeap::new(), started: 0, done: 0.0, used: 0.0, at: 0 }
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of jobs")]
    fn speed(&self) -> f64 {
        (self.cores / self.jobs.len().max(1) as f64).min(1.0)
    }

    /// Lets the jobs run until `now`.
    pub(crate) fn advance(&mut self, now: u64) {
        let span = real(now - self.at);
        let step = span * self.speed();
        self.done += step;
        #[expect(clippy::cast_precision_loss, reason = "a number of jobs")]
        let jobs = self.jobs.len() as f64;
        self.used += step * jobs;
        self.at = now;
    }

    /// Starts a job of `work` nanoseconds for a worker. Call `advance` first.
    pub(crate) fn start(&mut self, worker: usize, work: u64) {
        self.started += 1;
        self.jobs.push(Reverse((Nanos(self.done + real(work)), self.started, worker)));
    }

    /// When the next job ends.
    pub(crate) fn next(&self) -> Option<u64> {
        let Reverse((end, ..)) = self.jobs.peek()?;
        let left = ((end.0 - self.done) / self.speed()).max(0.0).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative")]
        let left = left as u64;
        Some(self.at + left)
    }

    /// Takes a job that has ended; its worker.
    pub(crate) fn take_ended(&mut self) -> Option<usize> {
        let Reverse((end, ..)) = self.jobs.peek()?;
        // Half a nanosecond: what the rounding of times can leave over.
        if end.0 > self.done + 0.5 {
            return None;
        }
        self.jobs.pop().map(|Reverse((_, _, worker))| worker)
    }

    /// Work done so far on a job that was there all the time, in nanoseconds.
    pub(crate) fn done(&self) -> f64 {
        self.done
    }

    /// Processor time used so far, in nanoseconds.
    pub(crate) fn used(&self) -> f64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_jobs_on_two_processors_run_at_two_thirds_of_the_speed_until_one_has_ended() {
        let mut machine = Machine::new(2);
        for (worker, work) in [(0, 200), (1, 400), (2, 400)] {
            machine.start(worker, work);
        }
        assert_eq!(machine.next(), Some(300));
        machine.advance(300);
        assert_eq!((machine.take_ended(), machine.take_ended()), (Some(0), None));
        assert_eq!(machine.next(), Some(500), "the other two have a processor each");
        machine.advance(500);
        assert_eq!((machine.take_ended(), machine.take_ended(), machine.next()), (Some(1), Some(2), None));
        assert!((machine.used() - 1000.0).abs() < 1.0);
    }
}
