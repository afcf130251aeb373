//! The command line.

use std::path::PathBuf;
use std::time::Duration;

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
    #[command(subcommand)]
    Flow(Flow),
}

const EXIT_CODES: &str = "\
Exit codes:
    0  the task succeeded
    1  the task failed; its traceback is on standard error
    2  wrong usage or input: no such script, bad JSON
    3  the engine could not do its work: no usable Python
  124  the task reached its time limit
  125  the task's worker died under it, as often as it may be run again
  130  interrupted (Ctrl-C); 143 after SIGTERM

Examples:
  axion run double.py --params '{\"value\": 21}'
  axion run double.py -p value=21
  axion run train.py --timeout 10m --retries 3 --retry-wait 5s
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

    /// Kill the task, with everything it started, when it has run so long: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) timeout: Option<Duration>,

    /// Raise a TimeoutError in the task when it has run so long.
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) soft_timeout: Option<Duration>,

    /// Run the task again after an exception or a time limit, so many times at most.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) retries: u32,

    /// Always wait so long before a retry, instead of 0.5 s, doubled each time, 30 s at most.
    #[arg(long, value_name = "TIME", value_parser = span, requires = "retries")]
    pub(crate) retry_wait: Option<Duration>,

    /// End the task when its process holds more memory: a number of bytes, or 200M, 1.5G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory_limit: Option<u64>,

    /// What to print: the result's data, or the whole record with id, outcome, worker and timings.
    #[arg(long, value_enum, default_value_t = Output::Data)]
    pub(crate) output: Output,
}

/// Work with workflows in files (FLOW.toml, FLOW.json).
#[derive(Debug, Subcommand)]
pub(crate) enum Flow {
    Check(FlowCheck),
    Graph(FlowGraph),
}

/// A flow and what is changed in it.
#[derive(Debug, Args)]
pub(crate) struct FlowFile {
    /// The flow: JSON if its name ends in .json, else TOML. Scripts are looked for in its folder.
    pub(crate) flow: PathBuf,

    /// The flow's own parameters, as a JSON object: its members take the place of those in the file.
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,

    /// One parameter of one step: the value is read as JSON if it is, else taken as text.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Check a flow and show everything that is wrong with it, each with its place.
///
/// Nothing is run. The exit code is 0 if the flow is sound and 2 if it is not.
#[derive(Debug, Args)]
pub(crate) struct FlowCheck {
    #[command(flatten)]
    pub(crate) file: FlowFile,
}

/// Draw a flow on standard output.
#[derive(Debug, Args)]
pub(crate) struct FlowGraph {
    #[command(flatten)]
    pub(crate) file: FlowFile,

    /// text for the terminal, dot for Graphviz, mermaid for Markdown, svg for browsers.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Text,
    Dot,
    Mermaid,
    Svg,
}

/// A time with a unit, or a number of seconds.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time: use a number of seconds, or 500ms, 1.5s, 10m, 2h");
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => text.parse::<jiff::SignedDuration>().ok().and_then(|it| it.try_into().ok()).ok_or_else(wrong)?,
    };
    if span.is_zero() { Err("must be longer than 0".to_owned()) } else { Ok(span) }
}

/// A number of bytes, with a unit of 1024 steps if there is one.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: use a number of bytes, or 500K, 200M, 1.5G");
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(wrong()),
    };
    let bytes = digits.parse::<f64>().map_err(|_| wrong())? * f64::from(1 << unit);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    if (1.0..1e18).contains(&bytes) { Ok(bytes as u64) } else { Err(wrong()) }
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

    #[test]
    fn times_are_read_with_and_without_units() {
        for (text, millis) in
            [("2", 2000), ("0.5", 500), ("500ms", 500), ("1.5s", 1500), ("10m", 600_000), ("1h 30m", 5_400_000)]
        {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, bytes) in [("100", 100), ("1K", 1024), ("200M", 200 << 20), ("1.5GiB", 3 << 29), ("2 kb", 2048)] {
            assert_eq!(size(&text.replace(' ', "")), Ok(bytes), "{text}");
        }
        assert!(["", "x", "-1", "0", "5T", "1e99", "NaN"].iter().all(|text| size(text).is_err()));
        for text in ["", "x", "-1", "-5s", "0", "0s", "1e400", "NaN", "5 parsecs"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
