//! How the queue and the placement hold up: many queued tasks, many workers, short tasks among long ones.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_actors::testing::{FakeChild, FakeLauncher};
use axion_core::{Config, Engine, PoolKind, ScalingPolicy, Task, TaskHandle, TaskRecord};

use crate::{END, Report, cpu_seconds, engine_seconds, noop, rate, resident, succeeded};

/// Tasks that are queued at one time, and how often that is measured in one round.
const BACKLOGS: [(usize, usize); 3] = [(1_000, 40), (30_000, 3), (1_000_000, 1)];

/// The engine's side of a task out of a short queue and out of a very long one, and what a queued task
/// holds of memory.
pub(crate) fn backlog(_: &Path, report: &mut Report) {
    let (mut times, mut own) = (BACKLOGS.map(|_| Vec::new()), BACKLOGS.map(|_| Vec::new()));
    let mut bytes = Vec::new();
    for _ in 0..report.rounds.min(3) {
        for ((times, own), (count, repeats)) in times.iter_mut().zip(&mut own).zip(BACKLOGS) {
            let measured: Vec<Drained> = (0..repeats).map(|_| drain(count)).collect();
            times.push(measured.iter().map(|it| it.nanos).sum::<f64>() / repeats as f64);
            own.push(measured.iter().map(|it| it.own).sum::<f64>() / repeats as f64);
            if count == 1_000_000 {
                bytes.push(measured[0].held);
            }
        }
    }
    let medians: Vec<f64> = times
        .into_iter()
        .zip(BACKLOGS)
        .map(|(times, (count, _))| report.put(&format!("backlog: a task out of {count} queued ones"), "ns", times))
        .collect();
    report.ratio("backlog: 1,000,000 queued against 1,000", medians[2] / medians[0]);
    for (own, (count, _)) in own.into_iter().zip(BACKLOGS) {
        report.put(&format!("backlog: of that the engine's thread, {count} queued"), "ns", own);
    }
    report.put("backlog: memory of a queued no-op task", "bytes", bytes);
}

/// What each task of a backlog took.
struct Drained {
    /// Nanoseconds from the first worker to the last result.
    nanos: f64,
    /// Nanoseconds of the engine's thread.
    own: f64,
    /// Bytes while it was queued.
    held: f64,
}

/// Queues so many tasks while no worker is there, and lets two fake ones loose on them.
fn drain(count: usize) -> Drained {
    let (launcher, mut children) = FakeLauncher::new();
    let config = Config { input_queue_size: count, autoscaler: ScalingPolicy::Off, ..Config::default() };
    let builder = Engine::builder().config(config).cpu_workers(2).io_workers(0);
    let engine = builder.start_with(move || Box::new(launcher)).expect("starts");
    let before = resident(std::process::id());
    let handles = engine.submit_many_wait((0..count).map(|_| noop())).expect("accepted");
    let last = handles.into_iter().next_back().expect("some");
    let held = (resident(std::process::id()) - before) * f64::from(1 << 20) / count as f64;
    let fakes: Vec<FakeChild> = (0..2).map(|_| children.blocking_recv().expect("launched")).collect();
    let (begun, before) = (Instant::now(), engine_seconds());
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut fakes = fakes.into_iter().map(FakeChild::echo);
            tokio::join!(fakes.next().expect("one"), fakes.next().expect("two"));
        });
    });
    succeeded(last);
    let nanos = begun.elapsed().as_nanos() as f64 / count as f64;
    let own = (engine_seconds() - before) * 1e9 / count as f64;
    engine.shutdown(Duration::from_secs(10));
    worker.join().expect("it ends with the engine");
    Drained { nanos, own, held }
}

/// What one core's worth of dispatcher makes of 64 workers: with the fakes on the engine's thread, and with a thread of
/// their own, where the engine's thread has the dispatcher and the workers' actors to itself. Of that, its processor
/// time is what counts: there may be less than three processors for submitter, engine and fakes.
pub(crate) fn crowd(_: &Path, report: &mut Report) {
    let start = || Box::new(FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().cpu_workers(64).io_workers(0).start_with(start).expect("starts");
    rate(&engine, 60_000);
    let (mut rates, mut used) = (Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        let before = cpu_seconds(std::process::id());
        rates.push(rate(&engine, 240_000));
        used.push((cpu_seconds(std::process::id()) - before) * 1e9 / 240_000.0);
    }
    report.put("crowd: tasks through 64 fake workers", "/s", rates);
    report.put("crowd: processor time of one task, submitter and fakes included", "ns", used);
    drop(engine);

    let (launcher, mut children) = FakeLauncher::new();
    let builder = Engine::builder().cpu_workers(64).io_workers(0);
    let engine = builder.start_with(move || Box::new(launcher)).expect("starts");
    let fakes = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mut living = Vec::new();
            while let Some(fake) = children.recv().await {
                living.push(tokio::task::spawn_local(fake.echo()));
            }
            for fake in living {
                fake.await.expect("it ends with the engine");
            }
        });
    });
    rate(&engine, 60_000);
    let (mut rates, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        let before = engine_seconds();
        rates.push(rate(&engine, 240_000));
        alone.push(240_000.0 / (engine_seconds() - before));
    }
    report.put("crowd: the same, fakes on a thread of their own", "/s", rates);
    report.put("crowd: tasks per second of the engine's thread alone", "/s", alone);
    engine.shutdown(Duration::from_secs(10));
    drop(engine);
    fakes.join().expect("it ends with the engine");
}

const SHORT: f64 = 0.001;
const LONG: f64 = 0.2;
/// Of the tasks' arrivals, so many per second and pool: two servers are then busy for 70 % of the time.
const ARRIVALS: f64 = 128.0;
const MIXED: usize = 2_500;

/// Short tasks among long ones of the same script, in pools of two: how long the short ones wait, against
/// one ideal queue that all servers share, computed from the same arrivals and run times.
pub(crate) fn mixed(python: &Path, report: &mut Report) {
    let config = Config { io_bound_task_limit: 1, python: Some(python.to_owned()), ..Config::default() };
    let engine = Engine::builder().config(config).cpu_workers(2).io_workers(2).start().expect("starts");
    let nap = |pool, seconds: f64| {
        let params = serde_json::json!({"do": "nap", "seconds": seconds});
        Task::script(END).params(&params).expect("JSON").on(pool)
    };
    for pool in PoolKind::ALL {
        (0..20)
            .map(|_| engine.submit(nap(pool, SHORT)).expect("accepted"))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(succeeded);
    }
    let (mut waits, mut ideals) = (Vec::new(), Vec::new());
    for round in 0..report.rounds.min(3) {
        // Every round is another trace, and the same in every run.
        let mut random = fastrand::Rng::with_seed(round as u64);
        let (begun, mut at) = (Instant::now(), 0.0);
        let handles: Vec<(PoolKind, bool, TaskHandle)> = (0..MIXED)
            .map(|_| {
                at += -(1.0 - random.f64()).ln() / (2.0 * ARRIVALS);
                std::thread::sleep(Duration::from_secs_f64(at).saturating_sub(begun.elapsed()));
                let (long, io) = (random.f64() < 0.05, random.f64() < 0.5);
                let pool = if io { PoolKind::Io } else { PoolKind::Cpu };
                let handle = engine.submit_wait(nap(pool, if long { LONG } else { SHORT })).expect("accepted");
                (pool, long, handle)
            })
            .collect();
        let ended: Vec<(PoolKind, bool, Arc<TaskRecord>)> =
            handles.into_iter().map(|(pool, long, handle)| (pool, long, handle.wait().expect("a record"))).collect();
        let (mut real, mut ideal) = (Vec::new(), Vec::new());
        for pool in PoolKind::ALL {
            let mut free = [f64::MIN; 2];
            for (_, long, record) in ended.iter().filter(|(of, ..)| *of == pool) {
                let submitted = record.timings.submitted.as_nanosecond() as f64 / 1e9;
                let server = usize::from(free[1] < free[0]);
                let start = free[server].max(submitted);
                free[server] = start + record.timings.run_seconds();
                if !long {
                    real.push(record.timings.wait_seconds());
                    ideal.push(start - submitted);
                }
            }
        }
        waits.push(p99(real) * 1e3);
        ideals.push(p99(ideal) * 1e3);
    }
    let wait = report.put("mixed: p99 wait of 1 ms tasks among 5 % of 200 ms", "ms", waits);
    let ideal = report.put("mixed: the same in one ideal queue", "ms", ideals);
    report.ratio("mixed: against the ideal", wait / ideal);
}

fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * 99 / 100]
}
