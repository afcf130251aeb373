//! Which worker is the least loaded, and from which worker an idle one steals.

use std::time::Duration;

use crate::model::PoolKind;

/// The load of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerLoad {
    /// Tasks that run in it.
    pub running: usize,
    /// Tasks that were sent to it and have not started.
    pub queued: usize,
    /// Processor use of its process at the last measurement, in cores: 0 to 1.
    pub cpu: f32,
}

/// The score of a worker: the lowest takes the next task. The weights are those of the first Axion: running tasks
/// count most for a CPU worker, queued tasks for an IO worker.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a few hundred tasks at most")]
pub fn score(pool: PoolKind, load: WorkerLoad) -> f32 {
    let (running, queued) = (load.running as f32, load.queued as f32);
    match pool {
        PoolKind::Cpu => queued * 0.6 + running * 1.2 + load.cpu * 0.05,
        PoolKind::Io => queued * 1.0 + running * 0.8 + load.cpu * 0.02,
    }
}

/// The index of the lowest score, the first of equal ones. A worker with an infinite score takes nothing.
#[must_use]
pub fn least(scores: &[f32]) -> Option<usize> {
    // Two passes, which the compiler vectorizes, for pools of thousands.
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    if least == f32::INFINITY { None } else { scores.iter().position(|score| *score == least) }
}

/// Work that must wait in a worker before an idle one steals part of it. A steal costs the engine and the child one
/// message each, about a tenth of this.
pub const WORTH_STEALING: Duration = Duration::from_millis(1);

/// The tasks that wait in a worker's pipe and could be stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub waiting: usize,
    /// Their estimated run time together, in nanoseconds.
    pub nanos: u64,
}

/// From which worker an idle one steals, and how many tasks: from the longest backlog, at most half of it.
#[must_use]
pub fn steal(backlogs: impl IntoIterator<Item = (usize, Backlog)>) -> Option<(usize, usize)> {
    let worth = |backlog: &Backlog| backlog.waiting > 1 && u128::from(backlog.nanos) >= WORTH_STEALING.as_nanos();
    let (at, most) = backlogs
        .into_iter()
        .filter(|(_, backlog)| worth(backlog))
        .max_by_key(|(at, backlog)| (backlog.nanos, usize::MAX - at))?;
    Some((at, most.waiting / 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(running: usize, queued: usize, percent: f32) -> WorkerLoad {
        WorkerLoad { running, queued, cpu: percent / 100.0 }
    }

    #[test]
    fn c0_8_the_scores_of_the_seed() {
        let cpu = [load(5, 10, 80.0), load(2, 3, 40.0), load(8, 15, 95.0)].map(|load| score(PoolKind::Cpu, load));
        for (score, expected) in cpu.iter().zip([12.04, 4.22, 18.6475]) {
            assert!((score - expected).abs() < 1e-4, "{score} is not {expected}");
        }
        assert_eq!(least(&cpu), Some(1));
        let io = score(PoolKind::Io, load(5, 10, 80.0));
        assert!((io - 14.016).abs() < 1e-4, "{io}");
    }

    #[test]
    fn ties_go_to_the_lowest_index_and_who_takes_nothing_gets_nothing() {
        assert_eq!(least(&[2.0, 1.0, 1.0]), Some(1));
        assert_eq!(least(&[f32::INFINITY; 3]), None);
        assert_eq!(least(&[]), None);
    }

    #[test]
    fn c0_9_half_of_the_longest_queue_is_stolen_and_only_what_is_worth_it() {
        let backlog = |waiting, micros: u64| Backlog { waiting, nanos: micros * 1000 };
        assert_eq!(steal([(0, backlog(50, 50_000)), (2, backlog(9, 9_000))]), Some((0, 25)));
        assert_eq!(steal([(0, backlog(50, 999))]), None, "less than a message is worth");
        assert_eq!(steal([(0, backlog(1, 15_000))]), None, "it is about to start");
        assert_eq!(steal([]), None);
    }

    proptest! {
        #[test]
        fn a_thief_never_takes_more_than_half(backlogs in proptest::collection::vec((0..300usize, 0..5_000_000u64), 0..20)) {
            let backlogs: Vec<_> = backlogs.into_iter().map(|(waiting, nanos)| Backlog { waiting, nanos }).collect();
            if let Some((at, count)) = steal(backlogs.iter().copied().enumerate()) {
                prop_assert!(count >= 1 && count * 2 <= backlogs[at].waiting);
                prop_assert!(backlogs.iter().all(|other| other.waiting < 2 || other.nanos <= backlogs[at].nanos));
            }
        }
    }
}
