//! The chaos test runs thousands of tasks: alone, in batches, and as steps of workflows that depend on each other.
//! Meanwhile it kills and stops workers and cancels tasks, steps and workflows. In some rounds it also shuts the engine
//! down in the middle and starts another one.
//!
//! ```text
//! cargo test --test chaos                              # a short run with a new seed
//! cargo test --release --test chaos -- --seconds 300   # rounds of 20,000 tasks, each with a new engine
//! cargo test --test chaos -- --seed 7 --tasks 2000     # one round of a known seed
//! cargo test --release --test chaos -- --kills 1000    # only kills engines, each at a random moment
//! ```
//!
//! The seed decides what each task does and when a fault is injected. It does not decide the timing between threads and
//! processes. A seed repeats the plan, and a rare race may need several runs.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own, for developers"
)]

mod args;
mod batches;
mod crash;
mod disk;
mod faults;
mod flows;
mod leftovers;
mod life;
mod notes;
mod plan;
mod report;
mod rng;
mod round;
mod trace;
mod verdict;
mod workflow_run;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use args::{Action, Args, Chosen, Options};
use axion_actors::testing::Oracle;
use axion_core::{Config, Engine, ErrorKind, Refusal, TaskId, WaitError};
use leftovers::Held;
use life::{Done, Drain, Ended, Progress, WaiterAnswer, Workload, is_shut_down};
use notes::Notes;
use report::Report;
use trace::{Recorded, Trace, Traits};
use verdict::{FlowEnd, World};

/// Enough tasks to create everything that a process creates once and keeps.
const WARM_UP_TASKS: usize = 60;
/// The memory of this process may grow by this much: the allocator returns little to the system.
const GROWTH: u64 = 96 << 20;
/// If so many tasks were asked to stop, some of them had the time to.
const ENOUGH_ASKED: u64 = 20;
/// The engine ends within this time once it has no tasks.
const SHUTDOWN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match args.action() {
        Action::Run(chosen) => run_tests(&chosen),
        Action::BeKilled(folder) => crash::be_killed(&folder),
        Action::FullDisk(folder) => disk::be_full(&folder),
        Action::List(tests) => {
            tests.iter().for_each(|test| println!("{test}: test"));
            ExitCode::SUCCESS
        }
    }
}

fn run_tests(chosen: &Chosen) -> ExitCode {
    let chaos = chosen.chaos.as_ref().map_or(ExitCode::SUCCESS, run);
    let kills = chosen.kills.map_or(ExitCode::SUCCESS, |count| crash::kill_engines(chosen.seed, count));
    if chaos == ExitCode::SUCCESS { kills } else { chaos }
}

/// Runs rounds until the time is over or one fails.
fn run(options: &Options) -> ExitCode {
    println!("chaos: seed {}", options.seed);
    let begun = tokio::time::Instant::now();
    let until = options.seconds.map(|seconds| begun + seconds);
    // The first engine creates what the process keeps, such as the pipe on which this thread waits.
    let workload = |seed, tasks, until, drain| Workload { seed, tasks, until, done: Progress::default(), drain };
    let warm_up = round(workload(options.seed, WARM_UP_TASKS, None, None), None);
    if !warm_up.is_clean() {
        return warm_up.fail(WARM_UP_TASKS);
    }
    let base = Held::now();
    for seed in options.seed.. {
        let drain = Drain::of(seed, options.tasks);
        let report = round(workload(seed, options.tasks, until, drain), Some(base));
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

/// Runs one engine, and a second one if the first is shut down in the middle.
fn round(mut workload: Workload, base: Option<Held>) -> Report {
    let begun = Instant::now();
    let folder = tempfile::Builder::new().prefix("chaos-").tempdir().expect("a folder");
    let runtime_dir = folder.path().join("engine");
    prepare(folder.path());
    let config = life::config(workload.seed, runtime_dir.clone());
    let mut report = Report::new(workload.seed);
    if base.is_some() {
        report.violated_all(None, disk::fill(workload.seed, folder.path()));
        report.violated_all(None, crash::kill_an_engine(workload.seed, folder.path()));
    }
    let mut lives = Vec::new();
    loop {
        let (done, recorded, stopped) = live(workload, folder.path(), config.clone());
        report.add(&done);
        report.violated_all(None, stopped);
        report.violated_all(None, leftovers::of_engine(folder.path(), &runtime_dir));
        (workload.done, workload.drain) = (done.progress, None);
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

/// Runs an engine from its start to its last event. Also returns what was wrong with its end.
fn live(workload: Workload, folder: &Path, config: Config) -> (Done, Recorded, Vec<String>) {
    let mut builder = Engine::builder().config(config);
    let (watcher, updates) = trace::record(builder.watch());
    // Nobody reads these before the end.
    let unread = builder.watch();
    let engine = Arc::new(builder.start().expect("the engine starts"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let done = runtime.block_on(round::run(&engine, folder, updates, workload));
    drop(runtime);
    let mut wrong = Vec::new();
    if done.asked_to_stop >= ENOUGH_ASKED && done.stopped == 0 {
        wrong.push(format!("none of {} tasks that were asked to stop did", done.asked_to_stop));
    }
    let begun = Instant::now();
    if !done.violations.is_empty() {
        // A task may hang, and a patient shutdown would wait for it.
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
    let recorded = watcher.join().expect("the watcher ends");
    wrong.extend(trace::check_unread(unread, &recorded).err());
    (done, recorded, wrong)
}

/// Checks the laws on the facts alone, and has the trace compare each fact with the plan. Returns no trace if the oracle
/// stopped before the last fact: the trace would only tell of the consequences.
fn judge(report: &mut Report, done: &Done, recorded: &Recorded, config: &Config) -> Option<Trace> {
    let mut too_many = false;
    let (mut oracle, mut trace) = (Oracle::default(), Trace::new(config, traits(done), done.drained.is_some()));
    for fact in recorded.without_gaps() {
        if let Err(broken) = oracle.observe(fact) {
            report.violated(broken.task, format!("{broken}: {:?}", fact.kind));
            return None;
        }
        if let Err(violation) = trace.apply(fact) {
            report.violated(fact.kind.task(), format!("{violation}: {:?}", fact.kind));
        }
        // The fact of an end comes before that of the record which makes room.
        if oracle.state().records.len() > config.output_queue_size + 1 && !std::mem::replace(&mut too_many, true) {
            report.violated(None, format!("L9: {} records are kept", oracle.state().records.len()));
        }
    }
    if recorded.missed > 0 {
        oracle.missed(recorded.missed);
    }
    match oracle.finish() {
        Ok(unended) if done.violations.is_empty() => {
            // Also tasks without a record.
            for task in unended {
                report.violated(Some(task), "L1: it was accepted and never ended".to_owned());
            }
        }
        Ok(_) => {}
        Err(stopped) => {
            println!("chaos: {stopped}");
            return None;
        }
    }
    Some(trace)
}

/// Compares records, facts and notes with each other.
fn compare(report: &mut Report, done: &mut Done, recorded: &Recorded, config: &Config, notes: &Notes) {
    let hasty = done.drained.is_some_and(|(drain, _)| !drain.is_patient());
    let step_cancels = std::mem::take(&mut done.step_cancels);
    for flow in &mut done.flows {
        flow.shut_down = hasty;
        flow.add_requests(&step_cancels);
    }
    let mut trace = judge(report, done, recorded, config);
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
    for waiter in &done.waiter_answers {
        report.violated_all(Some(waiter.task), check_waiter(done, waiter, trace.as_ref(), config).err());
    }
    let keeps = config.output_queue_size;
    let world = World::new(&done.flows, done.ended.values(), trace.as_ref(), keeps, done.drained.is_some());
    let flows = done.flows.iter().flat_map(|flow| flow.check(&world, notes));
    for (task, what) in flows.chain(done.refused_flows.iter().flat_map(|refused| refused.check(&world))) {
        report.violated(task, what);
    }
    report.note_results(world.worked_out());
    if let Some(trace) = &trace {
        report.note_trace(recorded.events.len(), trace);
        let unknown = trace.flow_ids().filter(|id| !done.flows.iter().any(|flow| flow.id == *id)).count();
        if unknown > 0 && done.violations.is_empty() {
            report.violated(None, format!("{unknown} workflows were begun that had not been accepted"));
        }
    }
    report.explain(done, recorded, notes);
}

/// The traits of every accepted task.
fn traits(done: &Done) -> HashMap<TaskId, Traits> {
    let accepted = done.batches.iter().flat_map(|batch| &batch.tasks[..batch.accepted]);
    let alone = accepted.map(|task| (*task, done.plans[task].traits()));
    let unique = done.unique.iter().map(|task| (*task, Traits::default()));
    alone.chain(unique).chain(done.flows.iter().flat_map(FlowEnd::traits)).collect()
}

/// A task is cancelled only on request, and a withdrawn task always is.
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

/// Everyone who waits for a task gets the same record (L1).
fn check_waiter(done: &Done, waiter: &WaiterAnswer, trace: Option<&Trace>, config: &Config) -> Result<(), String> {
    let after = |count| trace.is_none_or(|trace| trace.ended_after(waiter.task).is_some_and(|after| after >= count));
    let keeps = config.output_queue_size;
    let ended = done.plans.get(&waiter.task).and_then(|plan| done.ended.get(&plan.index));
    match (&waiter.answer, ended) {
        (Ok((record, digest)), Some(ended)) if *record == ended.record && *digest == ended.digest => Ok(()),
        (Ok((record, _)), ended) => Err(format!("L1: a waiter got {record:?} instead of {ended:?}")),
        (Err(WaitError::Refused(Refusal::ResultExpired { .. })), _) if after(keeps) => Ok(()),
        (Err(WaitError::Refused(Refusal::UnknownId)), _) if after(2 * keeps) => Ok(()),
        (Err(WaitError::EngineStopped), _) if done.drained.is_some() => Ok(()),
        (Err(error), _) => Err(format!("L1: a waiter got the error: {error}")),
    }
}
