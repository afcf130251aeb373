//! `axion bench`: what the engine does on this machine, beside baselines that do the same.
//!
//! `plan` decides what is measured, `report` what a figure means, `flags` what is suspicious about it. `measure` and
//! `peers.py` measure.

mod args;
mod flags;
mod measure;
mod plan;
mod raw;
mod report;
mod table;

use std::time::{Duration, Instant};

use axion_core::{Config, Engine, ParamsError, StartError, SubmitError, TaskError, WaitError};

pub(crate) use self::args::BenchArguments;
use self::measure::Lab;
use self::plan::{Kind, Pace};
use self::report::{Machine, Report};
use super::session::{engine_failed, host, task_failed};
use crate::exit::Exit;
use crate::message;
use crate::output;
use crate::screen::{Frame, LiveProgress};

/// Why a bench ended without figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("cannot write the scripts of the bench: {0}")]
    Scripts(std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error("a task of the bench failed: {0}")]
    Task(Box<TaskError>),
    #[error("{what} failed: {error}")]
    Peer { what: String, error: Box<TaskError> },
    #[error("{what} gave an answer that cannot be read: {error}")]
    Answer { what: String, error: serde_json::Error },
    #[error("the raw pipe to {python}: {error}")]
    Pipe { python: String, error: std::io::Error },
}

/// Runs the command.
pub(crate) fn execute(arguments: &BenchArguments, config: Config) -> Exit {
    host(attendant(config, arguments), async |engine, signals| {
        tokio::select! {
            exit = bench(arguments, engine) => exit,
            number = signals.next() => {
                message::error("interrupted; the bench has no result");
                Exit::Signal(number)
            }
        }
    })
}

/// The engine that runs the baselines. It is idle while another engine is measured. Of the configuration it keeps what
/// says how to run Python here; the pools are those of the bench.
fn attendant(config: Config, arguments: &BenchArguments) -> Config {
    let python = arguments.python.clone().or(config.python.clone());
    Config { python, ..plan::only(config, plan::Pool::Cpu(1)) }
}

async fn bench(arguments: &BenchArguments, engine: &Engine) -> Exit {
    let measured = async {
        let lab = Lab::open(engine).await?;
        let mut reports = Vec::new();
        for kind in arguments.kinds() {
            reports.push(one(kind, arguments, &lab).await?);
        }
        Ok((lab.machine().clone(), reports))
    };
    match measured.await {
        Ok((machine, reports)) => show(arguments, &machine, &reports).await,
        Err(BenchError::Peer { what, error }) => {
            task_failed(format_args!("{what} failed"), &error);
            Exit::TaskFailed
        }
        Err(BenchError::Task(error)) => {
            task_failed("a task of the bench failed", &error);
            Exit::TaskFailed
        }
        Err(error) => engine_failed(&error),
    }
}

/// Measures in rounds: each takes everything once, so that whatever else the machine does hits all of it.
async fn one(kind: Kind, arguments: &BenchArguments, lab: &Lab<'_>) -> Result<Report, BenchError> {
    let workers = arguments.workers.unwrap_or(lab.machine().processors);
    let units = plan::units(kind, workers, lab.machine().package);
    let pace = Pace::of(Duration::from_secs_f64(arguments.seconds), units.len());
    let mut report = Report::new(kind, workers);
    let mut progress = Progress::begin(kind, pace.rounds * units.len());
    let begun = Instant::now();
    for round in 1..=pace.rounds {
        progress.round(round, pace.rounds);
        for unit in &units {
            progress.unit(unit.system.name());
            for (figure, value) in lab.measure(unit, pace.unit).await? {
                report.note(unit, figure, value);
            }
        }
        if !pace.goes_on(round, begun.elapsed()) {
            break;
        }
    }
    report.finish(lab.machine());
    Ok(report)
}

async fn show(arguments: &BenchArguments, machine: &Machine, reports: &[Report]) -> Exit {
    let text = if arguments.json { table::json(machine, reports) } else { table::text(machine, reports) };
    match output::print_aside(text).await {
        Ok(()) => Exit::Success,
        Err(error) => engine_failed(&format_args!("cannot write the result: {error}")),
    }
}

/// What the user sees meanwhile: a bar on a terminal, elsewhere a line for each round.
struct Progress {
    live: Option<LiveProgress>,
    kind: Kind,
    done: u64,
    all: u64,
}

impl Progress {
    fn begin(kind: Kind, all: usize) -> Self {
        Self { live: LiveProgress::begin(), kind, done: 0, all: all as u64 }
    }

    fn round(&self, round: usize, of: usize) {
        if self.live.is_none() {
            message::progress(format_args!("{}: round {round} of {of}", self.kind.name()));
        }
    }

    fn unit(&mut self, system: &str) {
        let (done, all) = (self.done, self.all);
        self.done += 1;
        if let Some(live) = &mut self.live {
            live.show(Frame { lines: Vec::new(), bar: (done, all), words: format!("{}: {system}", self.kind.name()) });
        }
    }
}
