//! `axion demo`: two minutes that show what the engine does, with real tasks.
//!
//! Each scene says what is about to happen, runs it, and shows what came out. A scene that does not go as it says is an
//! error.

mod scenes;

use std::path::PathBuf;
use std::time::Duration;

use axion_core::{Config, Engine, EngineKind, ParamsError, ScalingPolicy, SubmitError, Task, TaskRecord, WaitError};
use clap::Args;

use super::session::{engine_failed, host};
use crate::exit::Exit;
use crate::message;
use crate::output;

const EXAMPLES: &str = "\
Scenes: a crash, a time limit, a retry, a flow, scaling. Each shows the script that it runs.

Exit codes: 0; 1 if a scene does not go as it says; 2 for wrong usage; 3 if the engine failed; 130
after Ctrl-C.

Examples:
  axion demo
  axion demo --fast > demo.txt";

/// Show in two minutes what Axion does: a crash, a time limit, a retry, a flow, scaling.
///
/// The scenes run real tasks in a folder of their own, which is removed at the end.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = EXAMPLES)]
pub(crate) struct DemoArguments {
    /// Do not pause for the reader between the scenes.
    #[arg(long)]
    fast: bool,

    /// The Python interpreter [default: the setting `python`, else that of the active virtual
    /// environment, else python3].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot write the scripts of the demo: {0}")]
    Scripts(std::io::Error),
    #[error("cannot write the text of the demo: {0}")]
    Print(std::io::Error),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error("the flow of the demo was refused: {0}")]
    Flow(String),
    #[error("the demo did not go as it should: {what}; {found}")]
    Unexpected { what: &'static str, found: String },
}

/// Runs the command.
pub(crate) fn execute(arguments: &DemoArguments, config: Config) -> Exit {
    host(configured(config, arguments), async |engine, signals| {
        let show = async {
            let stage = Stage::open(engine, arguments.fast)?;
            scenes::all(&stage).await
        };
        tokio::select! {
            shown = show => match shown {
                Ok(()) => Exit::Success,
                Err(error @ DemoError::Unexpected { .. }) => {
                    message::error(error);
                    Exit::TaskFailed
                }
                Err(error) => engine_failed(&error),
            },
            number = signals.next() => {
                message::error("interrupted; the demo ends here");
                Exit::Signal(number)
            }
        }
    })
}

/// The pool of the scenes, which grows in the last one. Of the configuration it keeps how Python is run here.
fn configured(config: Config, arguments: &DemoArguments) -> Config {
    Config {
        engine: EngineKind::Parallel,
        autoscaler: ScalingPolicy::default(),
        python: arguments.python.clone().or(config.python),
        runtime_dir: config.runtime_dir,
        cpu_bound_count: 1,
        cpu_bound_max: Some(scenes::MOST_WORKERS),
        io_bound_count: 0,
        io_bound_max: Some(0),
        ..Config::default()
    }
}

/// Where the scenes play: the engine, their scripts, and the reader.
struct Stage<'a> {
    engine: &'a Engine,
    scripts: tempfile::TempDir,
    fast: bool,
}

impl<'a> Stage<'a> {
    fn open(engine: &'a Engine, fast: bool) -> Result<Self, DemoError> {
        let scripts = tempfile::Builder::new().prefix("axion-demo-").tempdir().map_err(DemoError::Scripts)?;
        for (name, text) in scenes::SCRIPTS {
            std::fs::write(scripts.path().join(name), text).map_err(DemoError::Scripts)?;
        }
        Ok(Self { engine, scripts, fast })
    }

    /// Prints lines. Waits for the reader.
    async fn say(&self, text: &str) -> Result<(), DemoError> {
        output::print_aside(format!("{text}\n")).await.map_err(DemoError::Print)
    }

    /// The title of a scene, what is about to happen, and the script.
    async fn open_scene(&self, number: usize, title: &str, script: &str, text: &str) -> Result<(), DemoError> {
        let source = scenes::SCRIPTS.iter().find(|(name, _)| *name == script).map_or("", |(_, source)| source);
        let source: String = source.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect();
        self.say(&format!("{number}. {title}\n\n{text}\n\n{source}")).await?;
        self.pause(8).await;
        Ok(())
    }

    /// Waits while the reader reads.
    async fn pause(&self, seconds: u64) {
        if !self.fast {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Prints how a scene ended, and why.
    async fn close_scene(&self, text: &str) -> Result<(), DemoError> {
        self.say(&format!("{text}\n")).await?;
        self.pause(6).await;
        Ok(())
    }

    fn task(&self, script: &str) -> Task {
        Task::script(self.scripts.path().join(script))
    }
}

/// What a scene shows of a record: its result, or its error.
fn shown(record: &TaskRecord) -> String {
    match (record.outcome.data(), record.outcome.error()) {
        (Some(data), _) => format!("succeeded: {}", data.as_str()),
        (None, Some(error)) => format!("{}: {error}", record.outcome.name()),
        (None, None) => record.outcome.name().to_owned(),
    }
}

/// An error if a scene did not go as it says.
fn expect(holds: bool, what: &'static str, record: &TaskRecord) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Unexpected { what, found: shown(record) }) }
}
