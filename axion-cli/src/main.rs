//! The `axion` program: arguments, output and exit codes. The engine is in `axion-core`.

mod args;
mod commands;
mod exit;
mod message;

use std::process::ExitCode;

use args::{Arguments, Command};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.verbose);
    let end = match arguments.command {
        Command::Run(run) => commands::run::execute(&run),
        Command::Flow(flow) => commands::flow::execute(&flow),
    };
    end.into()
}

/// Logs go to standard error; `AXION_LOG` goes before `-v`.
fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("AXION_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(anstream::stderr).with_target(false).init();
}
