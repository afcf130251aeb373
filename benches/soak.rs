//! Soaks: does memory stay flat over very many tasks, and over very many waiters that give up?
//!
//! ```text
//! cargo bench --bench soak -- tasks 5000000    # through two real workers, about two minutes
//! cargo bench --bench soak -- polls 1000000    # of queued, ended and unknown tasks, with a limit of 0 and of 1 µs
//! ```
//!
//! Prints the resident memory after each twentieth. Ends with exit code 1 if it grew by more than 5 MiB after the first
//! fifth, in which pools, tables and records reach their size.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program of its own, for developers")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use axion_actors::testing::FakeLauncher;
use axion_core::{Config, Engine, Task, TaskId, WaitError};

/// What it may grow, in MiB.
const MOST: f64 = 5.0;
const PARTS: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let grown = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tasks", count] => tasks(count.parse().expect("a number")),
        ["polls", count] => polls(count.parse().expect("a number")),
        _ => {
            println!("usage: cargo bench --bench soak -- tasks|polls COUNT");
            return ExitCode::SUCCESS;
        }
    };
    println!("grown by {grown:.1} MiB after the first fifth, {MOST} MiB are allowed");
    if grown <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all parts of a soak. Returns the growth of memory in MiB, from the largest value in the first fifth to the largest
/// one after it.
fn soak(count: usize, mut run: impl FnMut(usize)) -> f64 {
    let (mut first, mut later) = (0.0, 0.0);
    let begun = Instant::now();
    for part in 1..=PARTS {
        run(count / PARTS);
        let memory = resident();
        let most: &mut f64 = if part <= PARTS / 5 { &mut first } else { &mut later };
        *most = most.max(memory);
        println!("{:>10}  {:>7.1} s  {memory:>8.1} MiB", count / PARTS * part, begun.elapsed().as_secs_f64());
    }
    later - first
}

fn tasks(count: usize) -> f64 {
    let config = Config { cpu_bound_count: 2, cpu_bound_max: Some(2), io_bound_count: 0, ..Config::default() };
    let engine = Engine::builder().config(config).start().expect("starts");
    let noop = || Task::script(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/noop.py"));
    soak(count, |part| {
        let mut left = part;
        while left > 0 {
            let batch = left.min(500);
            for handle in engine.submit_many_wait((0..batch).map(|_| noop())).expect("accepted") {
                assert!(handle.wait().expect("a record").outcome.is_success());
            }
            left -= batch;
        }
    })
}

fn polls(count: usize) -> f64 {
    const QUEUED: usize = 80_000;
    let config = Config { input_queue_size: QUEUED + 1000, ..Config::default() };
    let (silent, _children) = FakeLauncher::new();
    let builder = Engine::builder().config(config).cpu_workers(1).io_workers(0);
    let busy = builder.start_with(move || Box::new(silent)).expect("starts");
    let task = || Task::script("/work.py");
    let handles = busy.submit_many_wait((0..QUEUED).map(|_| task())).expect("accepted");
    let queued: Vec<TaskId> = handles.iter().map(axion_core::TaskHandle::id).collect();
    let builder = Engine::builder().cpu_workers(1).io_workers(0);
    let idle = builder.start_with(|| Box::new(FakeLauncher::echo()) as Box<_>).expect("starts");
    let ended: Vec<TaskId> =
        (0..1000).map(|_| idle.submit_wait(task()).expect("accepted").wait().expect("a record").id).collect();
    let mut next = 0;
    soak(count, |part| {
        for _ in 0..part {
            next += 1;
            let limit = if next % 2 == 0 { Duration::ZERO } else { Duration::from_micros(1) };
            match next % 4 {
                0 | 1 => assert_eq!(busy.result(queued[next % QUEUED], limit), Ok(None)),
                2 => assert!(idle.result(ended[next % ended.len()], limit).is_ok_and(|it| it.is_some())),
                _ => {
                    let unknown = idle.result(TaskId::generate(), limit);
                    assert!(matches!(unknown, Err(WaitError::Refused(_))), "{unknown:?}");
                }
            }
        }
    })
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("resident size");
    line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("KiB") / 1024.0
}
