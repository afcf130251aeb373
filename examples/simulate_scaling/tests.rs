//! The simulation keeps its promises: it repeats itself, loses nothing, and tells policies apart.

use std::collections::BTreeSet;

use axion_actors::config::ScalingPolicy;
use axion_actors::model::PoolKind;
use axion_actors::policy::scaling::WorkerBounds;
use clap::CommandFactory;

use crate::Args;
use crate::chart::{self, Run};
use crate::outcome::{Outcome, picture, row};
use crate::trace::{Arrival, Pattern, Shape, Trace};
use crate::world::{Setting, World};

const SECOND: u64 = 1_000_000_000;

fn setting(policy: ScalingPolicy) -> Setting {
    let bounds = WorkerBounds { least: 1, most: 16 };
    let start = 45_000_000;
    Setting { kind: PoolKind::Cpu, policy, bounds, cores: 8, slots: 1, start, tail: 60 * SECOND }
}

fn made(pattern: Pattern, seed: u64) -> Trace {
    Trace::make(pattern, Shape { capacity: 8.0, service: 0.1, load: 1.0, cpu_share: 1.0 }, seed)
}

fn run(policy: ScalingPolicy, trace: &Trace) -> Outcome {
    World::new(setting(policy), trace).run()
}

/// Tasks that arrive at `at` and compute for the times in `tasks`, all in milliseconds.
fn at_once(at: u64, tasks: &[u64]) -> Trace {
    let task = |cpu: &u64| Arrival { at: at * 1_000_000, cpu: cpu * 1_000_000, pause: 0, long: false };
    Trace { name: "at once".into(), arrivals: tasks.iter().map(task).collect(), length: at * 1_000_000 }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    for policy in [ScalingPolicy::AxionV3, ScalingPolicy::Demand] {
        let digests = [7, 7, 8].map(|seed| run(policy, &made(Pattern::Sawtooth, seed)).digest);
        assert_eq!(digests[0], digests[1], "{policy:?}");
        assert_ne!(digests[0], digests[2], "{policy:?}");
    }
}

#[test]
fn l1_every_task_of_every_trace_starts_exactly_once_also_while_workers_come_and_go() {
    for pattern in Pattern::ALL {
        let trace = made(pattern, 3);
        for policy in ScalingPolicy::ALL {
            assert_eq!(run(policy, &trace).waits.len(), trace.arrivals.len(), "{pattern:?}, {policy:?}");
        }
    }
}

#[test]
fn one_worker_runs_its_tasks_one_after_the_other() {
    let outcome = run(ScalingPolicy::Off, &at_once(1000, &[100, 200, 300]));
    assert_eq!(outcome.waits, [0, 100_000_000, 300_000_000]);
    assert_eq!(outcome.backlog, 300_000_000);
    assert_eq!(outcome.worker_nanos, u128::from(61 * SECOND), "one worker, to the end of the tail");
}

#[test]
fn a_pool_without_workers_starts_its_first_when_a_task_comes() {
    let bounds = WorkerBounds { least: 0, most: 4 };
    for policy in ScalingPolicy::ALL {
        let outcome = World::new(Setting { bounds, ..setting(policy) }, &at_once(10_500, &[100])).run();
        assert_eq!(outcome.waits, [45_000_000], "{policy:?}: nothing but the start");
    }
}

#[test]
fn more_workers_than_processors_share_them() {
    let bounds = WorkerBounds { least: 16, most: 16 };
    let trace = at_once(0, &[100; 32]);
    let outcome = World::new(Setting { bounds, ..setting(ScalingPolicy::Off) }, &trace).run();
    let starts: BTreeSet<u64> = outcome.waits.iter().map(|wait| wait / 1_000_000).collect();
    assert_eq!(starts, BTreeSet::from([0, 200]), "16 at half the speed, then the other 16");
}

#[test]
fn threads_of_one_io_worker_pause_together_but_compute_in_turn() {
    let arrival = Arrival { at: 0, cpu: 10_000_000, pause: 90_000_000, long: false };
    let trace = Trace { name: "threads".into(), arrivals: vec![arrival; 5], length: 0 };
    let io = Setting { kind: PoolKind::Io, slots: 4, ..setting(ScalingPolicy::Off) };
    // The fifth starts when the first of the four has paused and computed.
    assert_eq!(World::new(io, &trace).run().waits, [0, 0, 0, 0, 100_000_000]);
}

#[test]
fn demand_waits_less_than_axion_v3_and_never_has_more_cpu_workers_than_processors() {
    for pattern in Pattern::ALL {
        let trace = made(pattern, 1);
        let (old, new) = (run(ScalingPolicy::AxionV3, &trace), run(ScalingPolicy::Demand, &trace));
        assert!(new.wait(99) < old.wait(99) / 4.0, "{pattern:?}: {} s and {} s", new.wait(99), old.wait(99));
        assert!(new.backlog < old.backlog / 4, "{pattern:?}: {} and {} ns", new.backlog, old.backlog);
        assert!(new.peak <= 8, "{pattern:?}: {}", new.peak);
    }
}

#[test]
fn what_is_printed_and_written_shows_every_run() {
    let trace = made(Pattern::Bursts, 1);
    let runs = [ScalingPolicy::Off, ScalingPolicy::Demand].map(|policy| Run {
        trace: "bursts".into(),
        policy: policy.name(),
        outcome: run(policy, &trace),
    });
    let svg = chart::svg(&runs);
    assert_eq!(svg.matches("<polyline").count(), 6, "three panels, two lines each");
    let seconds: usize = runs.iter().map(|run| run.outcome.seconds.len()).sum();
    assert_eq!(chart::csv(&runs).lines().count(), 1 + seconds);
    let Run { outcome, .. } = &runs[1];
    assert!(row("bursts", "demand", outcome).starts_with(&format!("| bursts | demand | {} |", trace.arrivals.len())));
    assert_eq!(picture(outcome).lines().count(), 3);
    assert!(outcome.log.iter().any(|line| line.contains("[CPU] Scale OUT +")), "{:?}", outcome.log);
}

#[test]
fn the_arguments_are_sound() {
    Args::command().debug_assert();
}
