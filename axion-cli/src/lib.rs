//! The `axion` program: arguments, output and exit codes. The engine is in `axion-core`.
//!
//! It is a library so that the Python package can ship the program.

mod args;
mod commands;
mod diagnostics;
mod exit;
mod init;
mod message;
mod output;
mod screen;
mod signals;
mod version;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use args::{Arguments, Command, FlowCommand};
use axion_core::{Config, LogFilter, StandardStream};
use clap::Parser;
use exit::Exit;
use message::Reported;
use output::Destinations;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Runs the program; returns its exit code. Takes over the signals that end or stop a program as soon as an
/// engine starts. As process 1 of a container, it runs the program in a child, and reaps.
///
/// `python` is the default interpreter of the workers, if no virtual environment is active; `None` means `python3` on the
/// `PATH`.
pub fn main(arguments: impl IntoIterator<Item = OsString>, python: Option<&Path>) -> u8 {
    if let Some(code) = init::run() {
        return code;
    }
    StandardStream::open_closed();
    let words: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(mut arguments) => {
            if let Command::Run(run) = &mut arguments.command {
                // clap does not tell of a `--` with nothing behind it.
                run.is_program = words.iter().any(|word| word == "--");
            }
            arguments
        }
        Err(error) => {
            // If standard error is closed, there is nobody to tell.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match Destinations::open(arguments.quiet, arguments.timestamps, arguments.log_file.as_deref()) {
        Ok(destinations) => output::choose(destinations),
        Err(error) => {
            let file = arguments.log_file.unwrap_or_default();
            message::error(format_args!("cannot open the log file {}: {error}", file.display()));
            output::wait_drained();
            return Exit::Usage.code();
        }
    }
    let exit = execute(&arguments, python);
    // A signal ends the program also while nobody reads.
    if !matches!(exit, Exit::Signal(_)) {
        output::wait_drained();
    }
    exit.code()
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
        Command::Bench(bench) => with(&|config| commands::bench::execute(bench, config)),
        Command::Demo(demo) => with(&|config| commands::demo::execute(demo, config)),
        Command::Config(config) => commands::config::execute(&config.command, file),
        Command::Flow(FlowCommand::Run(run)) => with(&|config| commands::flow::run(run, config)),
        Command::Flow(FlowCommand::Check(check)) => match commands::config::load_if_any(file) {
            Ok(config) => commands::flow::check(check, config.as_ref()),
            Err(Reported) => Exit::Usage,
        },
        Command::Flow(FlowCommand::Graph(graph)) => commands::flow::graph(graph),
        Command::Completions { shell } => commands::completions::execute(*shell),
        Command::Man(man) => commands::man::execute(man),
    }
}

/// Reads `AXION_LOG`: a level, or levels of modules (`axion_core=debug`).
fn log_filter(text: &str) -> Option<EnvFilter> {
    let is_known = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    let filter = text.split(',').all(is_known).then(|| EnvFilter::try_new(text).ok()).flatten();
    if filter.is_none() {
        message::warning(format_args!(
            "invalid value {text} for AXION_LOG: expected error, warn, info, debug, trace or off"
        ));
    }
    filter
}

/// Sends the log to standard error. `AXION_LOG` overrides `-v`, which overrides the configuration.
fn start_logging(verbose: u8, configured: LogFilter) {
    let level = match (verbose, configured) {
        (0, LogFilter::Critical) => "off",
        (0, LogFilter::Error) => "error",
        (0, LogFilter::Warning) => "warn",
        (0, LogFilter::Info) => "info",
        (0, LogFilter::Debug) | (1, _) => "debug",
        _ => "trace",
    };
    let named = std::env::var("AXION_LOG").ok().filter(|it| !it.is_empty());
    let filter = named.and_then(|it| log_filter(&it)).unwrap_or_else(|| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| output::LogWriter).with_target(false);
    // A program that has set up a log keeps its own.
    let _ = log.try_init();
}
