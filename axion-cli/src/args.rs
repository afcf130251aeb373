//! The command line.

use std::path::PathBuf;

use axion_core::PoolKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Run Python tasks in supervised worker processes.
#[derive(Debug, Parser)]
#[command(name = "axion", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more on standard error: -v for the engine's steps, -vv for everything. The environment
    /// variable AXION_LOG sets the level by name (error, warn, info, debug, trace) and goes first.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
}

const EXIT_CODES: &str = "\
Exit codes:
    0  the task succeeded
    1  the task failed; its traceback is on standard error
    2  wrong usage or input: no such script, bad JSON
    3  the engine could not do its work: no usable Python
  130  interrupted (Ctrl-C); 143 after SIGTERM

Examples:
  axion run double.py --params '{\"value\": 21}'
  axion run double.py -p value=21
  axion run fetch.py --type io --params-file urls.json --output json | jq .run_seconds";

/// Run one script in a worker process and print its result.
///
/// The script defines `main(params, context)`, or `module()` that returns an object with
/// `run(params)`; either may be `async def`. Standard output carries the result as JSON and nothing
/// else; what the script prints goes to standard error.
#[derive(Debug, Args)]
#[command(after_long_help = EXIT_CODES, after_help = EXIT_CODES)]
pub(crate) struct Run {
    /// The Python script.
    pub(crate) script: PathBuf,

    /// The parameters, as JSON.
    #[arg(long, value_name = "JSON", conflicts_with = "params_file")]
    pub(crate) params: Option<String>,

    /// A file with the parameters as JSON; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) params_file: Option<PathBuf>,

    /// One parameter, on top of the others: the value is read as JSON if it is, else taken as text.
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) param: Vec<(String, String)>,

    /// The kind of worker: cpu for work that computes, io for work that waits.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = Pool::Cpu)]
    pub(crate) pool: Pool,

    /// The Python interpreter. Without it: the active virtual environment's, else python3.
    #[arg(long, value_name = "PATH", env = "AXION_PYTHON")]
    pub(crate) python: Option<PathBuf>,

    /// What to print: the result's data, or the whole record with id, outcome, worker and timings.
    #[arg(long, value_enum, default_value_t = Output::Data)]
    pub(crate) output: Output,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pool {
    Cpu,
    Io,
}

impl From<Pool> for PoolKind {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Cpu => Self::Cpu,
            Pool::Io => Self::Io,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Data,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
