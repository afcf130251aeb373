//! Chaos: thousands of tasks of all kinds, alone and as steps of workflows, while workers are killed and stopped and
//! tasks and workflows cancelled.
//!
//! ```text
//! cargo test --test chaos                              # the short one, with a new seed
//! cargo test --release --test chaos -- --seconds 300   # rounds of 20,000 tasks, each with a new engine
//! cargo test --test chaos -- --seed 7 --tasks 2000     # one round, as it was planned before
//! ```
//!
//! What tasks do, and when who is hurt, follows from the seed; how that falls together in time does
//! not. So a seed repeats the plan, and a rare race may take several tries.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, for developers"
)]

mod flows;
mod leftovers;
mod notes;
mod options;
mod plan;
mod report;
mod rng;
mod round;
mod saboteur;
mod trace;
mod verdict;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_core::{Config, Engine};
use leftovers::Held;
use notes::Notes;
use options::{Options, Wish};
use report::Report;
use round::{Done, Order};
use trace::{Recorded, Trace};
use verdict::FlowEnd;

/// Enough to make everything that is made once and kept.
const WARM_UP_TASKS: usize = 60;
/// What the memory of this process may grow by: the allocator gives little back.
const GROWTH: u64 = 96 << 20;
/// How long the engine may take to end; it has nothing to do any more.
const SHUTDOWN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match options::wish(std::env::args().skip(1)) {
        Ok(Wish::Run(options)) => run(&options),
        Ok(Wish::List) => {
            println!("chaos: test");
            ExitCode::SUCCESS
        }
        Ok(Wish::Nothing) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Rounds until the time is over, or until one fails.
fn run(options: &Options) -> ExitCode {
    println!("chaos: seed {}", options.seed);
    let begun = tokio::time::Instant::now();
    let until = options.seconds.map(|seconds| begun + seconds);
    // The first engine makes what stays, such as the pipe on which this thread waits.
    let warm_up = round(Order { seed: options.seed, tasks: WARM_UP_TASKS, until: None }, None);
    if !warm_up.is_clean() {
        return warm_up.fail(WARM_UP_TASKS);
    }
    let base = Held::now();
    for seed in options.seed.. {
        let report = round(Order { seed, tasks: options.tasks, until }, Some(base));
        println!("{report}");
        if !report.is_clean() {
            return report.fail(options.tasks);
        }
        if !options.rounds || until.is_none_or(|until| tokio::time::Instant::now() >= until) {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// One engine's life.
fn round(order: Order, base: Option<Held>) -> Report {
    let begun = Instant::now();
    let folder = tempfile::Builder::new().prefix("chaos-").tempdir().expect("a folder");
    let runtime_dir = folder.path().join("engine");
    prepare(folder.path());
    let config = round::config(order.seed, runtime_dir.clone());
    let (done, recorded, stopped) = live(order, folder.path(), config.clone());
    let mut report = Report::new(order.seed, begun.elapsed(), &done);
    report.violated_all(None, stopped);
    report.violated_all(None, leftovers::of_engine(folder.path(), &runtime_dir));
    compare(&mut report, &done, &recorded, &config, &folder.path().join("notes"));
    drop((done, recorded));
    if let Some(base) = base {
        report.compare_held(base, Held::now(), GROWTH);
    }
    report
}

fn prepare(folder: &Path) {
    let scripts = folder.join("scripts");
    std::fs::create_dir(&scripts).expect("made");
    std::fs::create_dir(folder.join("engine")).expect("made");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chaos/scripts/chaos.py");
    for name in ["quick.py", "slow.py"] {
        std::fs::copy(&source, scripts.join(name)).expect("copied");
    }
}

/// From the engine's start to the end of its last event. Also returns what was wrong with its end.
fn live(order: Order, folder: &Path, config: Config) -> (Done, Recorded, Vec<String>) {
    let engine = Arc::new(Engine::builder().config(config).start().expect("the engine starts"));
    let (watcher, news) = trace::record(&engine);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let done = runtime.block_on(round::run(&engine, folder, news, order));
    drop(runtime);
    let mut wrong = Vec::new();
    let begun = Instant::now();
    let cancelled = engine.shutdown(SHUTDOWN).cancelled;
    if cancelled > 0 && done.violations.is_empty() {
        wrong.push(format!("L1: {cancelled} tasks had not ended at the end"));
    }
    if begun.elapsed() > SHUTDOWN {
        wrong.push(format!("the shutdown took {:?}", begun.elapsed()));
    }
    // The last sender of events.
    drop(engine);
    (done, watcher.join().expect("the watcher ends"), wrong)
}

/// Holds records, events and notes against each other.
fn compare(report: &mut Report, done: &Done, recorded: &Recorded, config: &Config, file: &Path) {
    let once = done.plans.iter().filter(|(_, plan)| plan.max_losses == 0).map(|(id, _)| *id);
    let once = once.chain(done.flows.iter().flat_map(FlowEnd::once));
    let mut trace = Trace::new(config, once.collect());
    if recorded.missed == 0 {
        for event in &recorded.events {
            if let Err(violation) = trace.apply(&event.kind) {
                report.violated(trace::subject(&event.kind), format!("{violation}: {:?}", event.kind));
            }
        }
    } else {
        println!("chaos: {} events were missed, so the trace is not checked", recorded.missed);
    }
    let mut trace = (recorded.missed == 0).then_some(trace);
    let notes = Notes::read(file);
    report.executions = notes.executions;
    for ended in done.ended.values() {
        let (id, plan) = (Some(ended.record.id), &done.plans[&ended.record.id]);
        report.violated_all(id, trace.as_mut().and_then(|trace| trace.check(&ended.record).err()));
        report.violated_all(id, notes.check(&ended.claim(plan), trace.as_ref()).err());
    }
    for flow in &done.flows {
        for (task, what) in flow.check(trace.as_ref(), &notes) {
            report.violated(task, what);
        }
    }
    if done.violations.is_empty() {
        // Of tasks that no record told of, too.
        for task in trace.iter().flat_map(Trace::unfinished) {
            report.violated(Some(task), "L1: it was accepted and never ended".to_owned());
        }
    }
    if let Some(trace) = &trace {
        report.note_trace(recorded.events.len(), trace);
    }
    report.explain(done, recorded, &notes);
}
