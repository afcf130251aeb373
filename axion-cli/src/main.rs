//! The `axion` program: arguments, output and exit codes. The engine is in `axion-core`.

mod args;
mod commands;
mod exit;
mod message;
mod screen;

use std::process::ExitCode;

use args::{Arguments, Command, Flow};
use axion_core::LogFilter;
use clap::Parser;
use exit::Exit;
use message::Told;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let file = arguments.config.as_deref();
    let end = match &arguments.command {
        Command::Run(run) => match commands::config::load(file) {
            Ok(loaded) => {
                start_logging(arguments.verbose, loaded.config.log_level);
                commands::run::execute(run, loaded.config)
            }
            Err(Told) => Exit::Usage,
        },
        Command::Config(config) => commands::config::execute(&config.command, file),
        Command::Flow(Flow::Run(run)) => match commands::config::load(file) {
            Ok(loaded) => {
                start_logging(arguments.verbose, loaded.config.log_level);
                commands::flow::run(run, loaded.config)
            }
            Err(Told) => Exit::Usage,
        },
        Command::Flow(Flow::Check(check)) => commands::flow::check(check),
        Command::Flow(Flow::Graph(graph)) => commands::flow::graph(graph),
    };
    end.into()
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
    let filter = named.and_then(|it| EnvFilter::try_new(it).ok()).unwrap_or_else(|| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| screen::Log).with_target(false).init();
}
