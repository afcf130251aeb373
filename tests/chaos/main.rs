//! Chaos: thousands of tasks of all kinds, alone, in batches and as steps of workflows that wait for each other, while
//! workers are killed and stopped, tasks, steps and workflows cancelled, and in some rounds the engine itself is shut
//! down in the middle, for another one to follow.
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

mod batches;
mod flight;
mod flows;
mod leftovers;
mod life;
mod notes;
mod options;
mod plan;
mod report;
mod rng;
mod round;
mod saboteur;
mod trace;
mod verdict;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_core::{Config, Engine, ErrorKind, Refusal, TaskId, WaitError};
use leftovers::Held;
use life::{Done, Drain, Ended, Heard, Order, Progress, is_shut_down};
use notes::Notes;
use options::{Options, Wish};
use report::Report;
use trace::{Recorded, Trace, Traits};
use verdict::{FlowEnd, World};

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
    let order = |seed, tasks, until, drain| Order { seed, tasks, until, done: Progress::default(), drain };
    let warm_up = round(order(options.seed, WARM_UP_TASKS, None, None), None);
    if !warm_up.is_clean() {
        return warm_up.fail(WARM_UP_TASKS);
    }
    let base = Held::now();
    for seed in options.seed.. {
        let drain = Drain::of(seed, options.tasks);
        let report = round(order(seed, options.tasks, until, drain), Some(base));
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

/// One engine's life, and that of another one that follows if the first is shut down in the middle.
fn round(mut order: Order, base: Option<Held>) -> Report {
    let begun = Instant::now();
    let folder = tempfile::Builder::new().prefix("chaos-").tempdir().expect("a folder");
    let runtime_dir = folder.path().join("engine");
    prepare(folder.path());
    let config = life::config(order.seed, runtime_dir.clone());
    let mut report = Report::new(order.seed);
    let mut lives = Vec::new();
    loop {
        let (done, recorded, stopped) = live(order, folder.path(), config.clone());
        report.add(&done);
        report.violated_all(None, stopped);
        report.violated_all(None, leftovers::of_engine(folder.path(), &runtime_dir));
        (order.done, order.drain) = (done.progress, None);
        let follows = done.drained.is_some() && done.violations.is_empty();
        lives.push((done, recorded));
        if !follows {
            break;
        }
    }
    report.time = begun.elapsed();
    let notes = Notes::read(&folder.path().join("notes"));
    report.executions = notes.executions;
    for (done, recorded) in &mut lives {
        compare(&mut report, done, recorded, &config, &notes);
    }
    drop((lives, notes));
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
    if !done.violations.is_empty() {
        // Something may hang, and a shutdown wait for it.
        engine.shutdown(Duration::ZERO);
    }
    let cancelled = engine.shutdown(SHUTDOWN).cancelled;
    let hasty = done.drained.is_some_and(|(drain, _)| !drain.is_patient());
    if cancelled > 0 && done.violations.is_empty() && !hasty {
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
fn compare(report: &mut Report, done: &mut Done, recorded: &Recorded, config: &Config, notes: &Notes) {
    let hasty = done.drained.is_some_and(|(drain, _)| !drain.is_patient());
    let asked = std::mem::take(&mut done.asked);
    for flow in &mut done.flows {
        flow.shut_down = hasty;
        flow.was_asked(&asked);
    }
    let mut trace = Trace::new(config, traits(done), done.drained.is_some());
    if recorded.missed == 0 {
        for event in &recorded.events {
            if let Err(violation) = trace.apply(event) {
                report.violated(trace::subject(&event.kind), format!("{violation}: {:?}", event.kind));
            }
        }
    } else {
        println!("chaos: {} events were missed, so the trace is not checked", recorded.missed);
    }
    let mut trace = (recorded.missed == 0).then_some(trace);
    for ended in done.ended.values() {
        let (id, plan) = (Some(ended.record.id), &done.plans[&ended.record.id]);
        report.violated_all(id, trace.as_mut().and_then(|trace| trace.check(&ended.record).err()));
        report.violated_all(id, notes.check(&ended.claim(plan), trace.as_ref()).err());
        report.violated_all(id, check_cancelled(done, ended).err());
    }
    for batch in &done.batches {
        let numbers = batch.refused().iter().map(|task| done.plans[task].index);
        report.violated_all(None, numbers.filter_map(|index| notes.check_none(index).err()));
        report.violated_all(None, trace.as_ref().and_then(|trace| trace.check_order(&batch.tasks).err()));
    }
    for heard in &done.heard {
        report.violated_all(Some(heard.task), check_heard(done, heard, trace.as_ref(), config).err());
    }
    let keeps = config.output_queue_size;
    let world = World::new(&done.flows, done.ended.values(), trace.as_ref(), keeps, done.drained.is_some());
    let flows = done.flows.iter().flat_map(|flow| flow.check(&world, notes));
    for (task, what) in flows.chain(done.refused_flows.iter().flat_map(|refused| refused.check(&world))) {
        report.violated(task, what);
    }
    report.note_results(world.worked_out());
    if done.violations.is_empty() {
        // Of tasks that no record told of, too.
        for task in trace.iter().flat_map(Trace::unfinished) {
            report.violated(Some(task), "L1: it was accepted and never ended".to_owned());
        }
    }
    if let Some(trace) = &trace {
        report.note_trace(recorded.events.len(), trace);
        let unknown = trace.flow_ids().filter(|id| !done.flows.iter().any(|flow| flow.id == *id)).count();
        if unknown > 0 && done.violations.is_empty() {
            report.violated(None, format!("{unknown} workflows were begun that had not been accepted"));
        }
    }
    report.explain(done, recorded, notes);
}

/// What is known of all tasks that were accepted.
fn traits(done: &Done) -> HashMap<TaskId, Traits> {
    let accepted = done.batches.iter().flat_map(|batch| &batch.tasks[..batch.accepted]);
    let alone = accepted.map(|task| (*task, done.plans[task].traits()));
    alone.chain(done.flows.iter().flat_map(FlowEnd::traits)).collect()
}

/// Nothing is cancelled that nobody cancelled, and what was taken back has ended so.
fn check_cancelled(done: &Done, ended: &Ended) -> Result<(), String> {
    let (id, outcome) = (ended.record.id, &ended.record.outcome);
    let by_request = outcome.error().is_some_and(|error| error.kind == ErrorKind::Cancelled);
    let withdrawn = done.withdrawn.contains(&id);
    if by_request && !withdrawn && !done.cancelled.contains(&id) {
        return Err("nobody cancelled it".to_owned());
    }
    if withdrawn && outcome.name() != "cancelled" {
        return Err(format!("it was taken back, and is {}", outcome.name()));
    }
    let hasty = done.drained.is_some_and(|(drain, _)| !drain.is_patient());
    if is_shut_down(outcome) && !hasty { Err("L1: the engine was to wait for it".to_owned()) } else { Ok(()) }
}

/// All who wait for a task are told the same (L1).
fn check_heard(done: &Done, heard: &Heard, trace: Option<&Trace>, config: &Config) -> Result<(), String> {
    let after = |count| trace.is_none_or(|trace| trace.ended_after(heard.task).is_some_and(|after| after >= count));
    let keeps = config.output_queue_size;
    let ended = done.plans.get(&heard.task).and_then(|plan| done.ended.get(&plan.index));
    match (&heard.answer, ended) {
        (Ok((record, digest)), Some(ended)) if *record == ended.record && *digest == ended.digest => Ok(()),
        (Ok((record, _)), ended) => Err(format!("L1: who waited was told {record:?} instead of {ended:?}")),
        (Err(WaitError::Refused(Refusal::ResultExpired { .. })), _) if after(keeps) => Ok(()),
        (Err(WaitError::Refused(Refusal::UnknownId)), _) if after(2 * keeps) => Ok(()),
        (Err(WaitError::EngineStopped), _) if done.drained.is_some() => Ok(()),
        (Err(error), _) => Err(format!("L1: who waited for it was told that {error}")),
    }
}
