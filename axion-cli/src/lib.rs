//! The `axion` program: arguments, output and exit codes. The engine is in `axion-core`.
//!
//! It is a library for the Python package, which brings the program along.

mod args;
mod commands;
mod diagnostics;
mod exit;
mod message;
mod screen;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use args::{Arguments, Command, FlowCommand};
use axion_core::{Config, LogFilter};
use clap::Parser;
use exit::Exit;
use message::Reported;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Runs the program; returns its exit code. Takes over SIGINT and SIGTERM as soon as a task runs.
///
/// `python` is the workers' interpreter where nobody names one and no virtual environment is active; without it,
/// that is `python3` on the `PATH`.
pub fn main(arguments: impl IntoIterator<Item = OsString>, python: Option<&Path>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody can be told if standard error itself is gone.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    execute(&arguments, python).code()
}

fn execute(arguments: &Arguments, python: Option<&Path>) -> Exit {
    let file = arguments.config.as_deref();
    let ready = || -> Result<Config, Reported> {
        let mut config = commands::config::load(file)?.config;
        start_logging(arguments.verbose, config.log_level);
        let elsewhere = || std::env::var_os("VIRTUAL_ENV").is_some();
        config.python = config.python.or_else(|| python.map(PathBuf::from).filter(|_| !elsewhere()));
        Ok(config)
    };
    let with = |run: &dyn Fn(Config) -> Exit| ready().map_or_else(|Reported| Exit::Usage, run);
    match &arguments.command {
        Command::Run(run) => with(&|config| commands::run::execute(run, config)),
        Command::Config(config) => commands::config::execute(&config.command, file),
        Command::Flow(FlowCommand::Run(run)) => with(&|config| commands::flow::run(run, config)),
        Command::Flow(FlowCommand::Check(check)) => commands::flow::check(check),
        Command::Flow(FlowCommand::Graph(graph)) => commands::flow::graph(graph),
    }
}

/// What `AXION_LOG` names: a level, or levels of single modules (`axion_core=debug`).
fn log_filter(text: &str) -> Option<EnvFilter> {
    let is_known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    let filter = text.split(',').all(is_known).then(|| EnvFilter::try_new(text).ok()).flatten();
    if filter.is_none() {
        message::warning(format_args!("AXION_LOG={text} names no level: use error, warn, info, debug, trace or off"));
    }
    filter
}

/// Logs go to standard error; `AXION_LOG` goes before `-v`, and that before the configuration.
fn start_logging(verbose: u8, configured: LogFilter) {
    let level = match (verbose, configured) {
        (0, LogFilter::Error) => "error",
        (0, LogFilter::Warning) => "warn",
        (0, LogFilter::Info) => "info",
        (0, LogFilter::Debug) | (1, _) => "debug",
        _ => "trace",
    };
    let named = std::env::var("AXION_LOG").ok().filter(|it| !it.is_empty());
    let filter = named.and_then(|it| log_filter(&it)).unwrap_or_else(|| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| screen::LogWriter).with_target(false);
    // In a program that has set up its log itself, that holds.
    let _ = log.try_init();
}
