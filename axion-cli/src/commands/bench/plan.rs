//! What is measured, in which systems, and for how long. Decides only.

use std::time::Duration;

use axion_core::{Config, EngineKind, ScalingPolicy};
use clap::ValueEnum;

/// A bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Throughput,
    Scaling,
    Cpu,
    Io,
    Batch,
    RoundTrip,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Throughput, Self::Scaling, Self::Cpu, Self::Io, Self::Batch, Self::RoundTrip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Scaling => "scaling",
            Self::Cpu => "cpu",
            Self::Io => "io",
            Self::Batch => "batch",
            Self::RoundTrip => "round-trip",
        }
    }

    /// What a reader of the table has to know.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Throughput => "tasks that do nothing, submitted one by one, all results awaited",
            Self::Scaling => "tasks that compute, with more and more workers",
            Self::Cpu => "tasks that compute, on all workers",
            Self::Io => "tasks that wait 20 ms, in one process: 20 at a time as threads, 200 as coroutines",
            Self::Batch => "tasks that do nothing, submitted at once, all results awaited",
            Self::RoundTrip => "one task that does nothing after the other, one worker",
        }
    }

    /// The system that the others are compared with.
    pub(super) fn baseline(self) -> System {
        match self {
            Self::Io => System::Threads,
            _ => System::Processes,
        }
    }
}

/// What runs the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    /// The engine, driven by this program.
    Engine,
    /// The engine, driven by the package in Python.
    Package,
    /// `concurrent.futures.ProcessPoolExecutor`.
    Processes,
    /// `concurrent.futures.ThreadPoolExecutor`.
    Threads,
    /// Calls in one Python process.
    Loop,
    /// A pipe to one Python process, and nothing else.
    Pipe,
}

impl System {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Engine => "axion",
            Self::Package => "axion, from Python",
            Self::Processes => "ProcessPoolExecutor",
            Self::Threads => "ThreadPoolExecutor",
            Self::Loop => "a loop, no pool",
            Self::Pipe => "raw pipe, one process",
        }
    }
}

/// What one task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Nothing,
    Compute,
    Wait,
    /// The same in a coroutine.
    WaitAsync,
}

impl Work {
    /// As `peers.py` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Compute => "compute",
            Self::Wait | Self::WaitAsync => "wait",
        }
    }
}

/// The seconds that a waiting task waits.
pub(super) const WAIT: f64 = 0.02;
/// The threads and the coroutines of one IO worker: the defaults of the engine.
pub(super) const THREADS: u32 = 20;
pub(super) const COROUTINES: u32 = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Tasks per second.
    Rate(Work),
    /// The median and the 99th percentile of single tasks.
    Trips,
    /// The time of a batch of tasks that are submitted at once.
    Batch(u32),
}

/// One thing to measure in one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) system: System,
    pub(super) measure: Measure,
    /// Processes; of `Threads`, threads.
    pub(super) workers: u32,
}

/// What a bench measures in each round, in this order.
pub(super) fn units(kind: Kind, workers: u32, package: bool) -> Vec<Unit> {
    let all = |systems: &[System], measure, workers| {
        let there = systems.iter().filter(|system| package || **system != System::Package);
        there.map(|system| Unit { system: *system, measure, workers }).collect::<Vec<_>>()
    };
    let pools = [System::Engine, System::Package, System::Processes];
    let pools_and_pipe = [System::Engine, System::Package, System::Processes, System::Pipe];
    match kind {
        Kind::Throughput => all(&pools_and_pipe, Measure::Rate(Work::Nothing), workers),
        Kind::RoundTrip => all(&pools_and_pipe, Measure::Trips, 1),
        Kind::Scaling => {
            let pools = [System::Engine, System::Processes];
            counts(workers).into_iter().flat_map(|count| all(&pools, Measure::Rate(Work::Compute), count)).collect()
        }
        Kind::Cpu => {
            let mut units = all(&[System::Loop], Measure::Rate(Work::Compute), 1);
            units.extend(all(&pools, Measure::Rate(Work::Compute), workers));
            units
        }
        Kind::Io => {
            let mut units = all(&[System::Engine], Measure::Rate(Work::Wait), 1);
            units.extend(all(&[System::Engine], Measure::Rate(Work::WaitAsync), 1));
            units.extend(all(&[System::Threads], Measure::Rate(Work::Wait), THREADS));
            units
        }
        Kind::Batch => {
            let counts = [100, 1_000, 10_000];
            counts.into_iter().flat_map(|count| all(&pools, Measure::Batch(count), workers)).collect()
        }
    }
}

/// 1, 2, 4 … and the last.
fn counts(last: u32) -> Vec<u32> {
    let mut counts: Vec<_> =
        std::iter::successors(Some(1u32), |count| count.checked_mul(2)).take_while(|count| *count < last).collect();
    counts.push(last);
    counts
}

/// How often and how long each unit is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) rounds: usize,
    pub(super) unit: Duration,
    /// No round begins that would end later than this.
    limit: Duration,
}

impl Pace {
    /// A median needs three values.
    const ROUNDS: usize = 3;
    /// The time that a bench may take beside the measured one, to start workers.
    const MARGIN: Duration = Duration::from_secs(8);

    pub(super) fn of(seconds: Duration, units: usize) -> Self {
        let all = u32::try_from(Self::ROUNDS * units.max(1)).unwrap_or(u32::MAX);
        Self { rounds: Self::ROUNDS, unit: seconds / all, limit: seconds + Self::MARGIN }
    }

    /// Whether there is another round after this one.
    pub(super) fn goes_on(self, done: usize, elapsed: Duration) -> bool {
        let each = elapsed / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
        done < self.rounds && elapsed + each <= self.limit
    }
}

/// The one pool that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    Cpu(u32),
    Io(u32),
}

/// A configuration with this pool alone, which has its number of workers exactly. It keeps how Python is run.
pub(super) fn only(config: Config, pool: Pool) -> Config {
    let (cpu, io) = match pool {
        Pool::Cpu(count) => (count, 0),
        Pool::Io(count) => (0, count),
    };
    Config {
        engine: EngineKind::Parallel,
        autoscaler: ScalingPolicy::Off,
        python: config.python,
        runtime_dir: config.runtime_dir,
        cpu_bound_count: cpu,
        cpu_bound_max: Some(cpu),
        io_bound_count: io,
        io_bound_max: Some(io),
        io_bound_task_limit: THREADS,
        io_bound_async_limit: COROUTINES,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_ends_with_the_asked_number_of_workers() {
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
        assert_eq!(counts(8), [1, 2, 4, 8]);
    }

    #[test]
    fn every_bench_measures_the_engine_beside_its_baseline() {
        for kind in Kind::ALL {
            for package in [false, true] {
                let units = units(kind, 4, package);
                let has = |system| units.iter().any(|unit| unit.system == system);
                assert!(has(System::Engine) && has(kind.baseline()), "{kind:?}");
                assert!(package || !has(System::Package), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_bench_has_three_rounds_unless_starting_workers_takes_too_long() {
        let seconds = Duration::from_secs;
        let pace = Pace::of(seconds(12), 4);
        assert_eq!((pace.rounds, pace.unit), (3, seconds(1)));
        assert!(pace.goes_on(1, seconds(6)) && pace.goes_on(2, seconds(12)));
        assert!(!pace.goes_on(3, seconds(1)), "the last round was taken");
        assert!(!pace.goes_on(1, seconds(11)), "the second would end after 22 s");
    }
}
