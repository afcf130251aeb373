//! The arguments of the commands that run tasks or read flows.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use axion_core::PoolId;
use clap::{Args, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
    0  the task succeeded
    1  the task failed; its traceback is on standard error
    2  wrong usage or input: a missing script, invalid JSON, an invalid configuration
    3  the engine failed: it found no usable Python, for example
  124  the task reached --timeout or --total-timeout
  125  the task is lost: its worker crashed each time the task ran
  130  interrupted (Ctrl-C); 143 after SIGTERM, 129 after SIGHUP
A script that runs as a program passes on its own exit code, and 128 + N if signal N ended it.

Examples:
  axion run double.py --params '{\"value\": 21}'
  axion run double.py -p value=21
  axion run release.py -s version=1.10 -p dry_run=true
  axion run train.py --timeout 10m --retries 3 --retry-wait 5s
  axion run train.py --dry-run -p epochs=3      # shows what would run
  axion run fetch.py --type io --params-file urls.json --output json | jq .run_seconds
  axion run report.py -- --year 2026 < data.csv # as `python report.py --year 2026`";

/// Run one script in a worker process and print its result.
///
/// The script defines `main(params, context)`, or `module()` that returns an object with
/// `run(params)`. Both can be `async def`. Axion prints the result to standard output, as JSON. The
/// script's own output goes to standard error. A script that defines neither runs as a program, as it
/// does behind `--`.
#[derive(Debug, Args)]
#[command(after_long_help = EXIT_CODES, after_help = EXIT_CODES)]
pub(crate) struct RunArguments {
    /// The Python script.
    pub(crate) script: PathBuf,

    /// Run the script as `python SCRIPT ARGUMENTS` does: as `__main__`, with these arguments and standard input. Its
    /// output is the result, and its exit code is passed on.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<OsString>,

    /// Whether there was a `--`, with or without arguments behind it.
    #[arg(skip)]
    pub(crate) is_program: bool,

    #[command(flatten)]
    pub(crate) params: ParamArguments,

    /// The kind of work: cpu for a script that computes, io for one that waits. It runs in the pool of this name.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = WorkType::Cpu, help_heading = WHERE)]
    pub(crate) work_type: WorkType,

    /// The pool whose worker runs the script: cpu, io, or one that the configuration declares as [pools.NAME].
    #[arg(long = "pool", value_name = "NAME", conflicts_with = "work_type", help_heading = WHERE)]
    pub(crate) named_pool: Option<PoolId>,

    #[command(flatten)]
    pub(crate) workers: WorkerArguments,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Print the result, or the whole record with id, outcome, worker and timings.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data, help_heading = OUTPUT)]
    pub(crate) output: OutputFormat,

    /// Print what would run, with its parameters and limits. Nothing runs.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) dry_run: bool,
}

const WHERE: &str = "Where it runs";
const OUTPUT: &str = "Output";

/// The workers of a command.
#[derive(Debug, Args)]
#[command(next_help_heading = WHERE)]
pub(crate) struct WorkerArguments {
    /// The Python interpreter [default: the setting `python`, else that of the active virtual
    /// environment, else python3].
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// Set an environment variable of the workers.
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) env: Vec<(String, String)>,

    /// The folder in which the workers run [default: this one]. Paths on the command line are those of this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cwd: Option<PathBuf>,
}

/// The limits of a script's task.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits and retries")]
pub(crate) struct LimitArguments {
    /// Kill an attempt and all its processes after this time: 90, 1.5s, 10m, 2h. Each attempt has it anew.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// Raise a TimeoutError in an attempt after this time, which must be shorter than --timeout.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) soft_timeout: Option<Duration>,

    /// Limit all attempts together, with the waits between them. The attempt that runs then is killed.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) total_timeout: Option<Duration>,

    /// Retry the task up to this many times after an exception or a time limit.
    #[arg(long, value_name = "COUNT", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) retries: u32,

    /// Wait this long before each retry [default: 0.5 s, doubled each time, up to 30 s].
    #[arg(long, value_name = "TIME", value_parser = parse_limit, requires = "retries", allow_negative_numbers = true)]
    pub(crate) retry_wait: Option<Duration>,

    /// Run the task again up to this many times if its worker dies while it runs. With 0, it never runs twice.
    #[arg(long, value_name = "COUNT", default_value_t = 2, allow_negative_numbers = true)]
    pub(crate) max_worker_losses: u32,

    /// Kill the task when its process and those that it has started use more memory than this: 200M, 1.5G, or a number
    /// of bytes.
    #[arg(long, value_name = "SIZE", value_parser = parse_byte_limit, allow_negative_numbers = true)]
    pub(crate) memory_limit: Option<u64>,
}

/// Parameters: of a script, or the flow's own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parameters")]
pub(crate) struct ParamArguments {
    /// Set one parameter. The value is JSON if it reads as JSON, else text: rows=5, tags='["a"]', name=World. A later
    /// value of a key replaces an earlier one.
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) param: Vec<(String, String)>,

    /// Set one parameter to a text, whatever it looks like: version=1.10.
    #[arg(short = 's', long = "text", value_name = "KEY=TEXT", value_parser = key_value)]
    pub(crate) text: Vec<(String, String)>,

    /// Take the parameters from a JSON text. -p and -s replace single ones.
    #[arg(long, value_name = "JSON", conflicts_with = "params_file")]
    pub(crate) params: Option<String>,

    /// Take the parameters from a JSON file. `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) params_file: Option<PathBuf>,
}

/// Run, check and draw workflows from files (FLOW.toml, FLOW.json).
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    Run(FlowRunArguments),
    Check(FlowCheckArguments),
    Graph(FlowGraphArguments),
}

/// A flow file, and changes to it.
#[derive(Debug, Args)]
pub(crate) struct FlowFileArguments {
    /// The flow file: JSON if its name ends in .json, else TOML. Scripts are relative to its folder.
    pub(crate) flow: PathBuf,

    #[command(flatten)]
    pub(crate) params: ParamArguments,

    /// Set one parameter of one step. The value is JSON if it reads as JSON, else text.
    #[arg(long, value_name = "STEP.KEY=VALUE", help_heading = "Parameters")]
    pub(crate) set: Vec<String>,
}

const FLOW_RUN: &str = "\
Standard output is a JSON object: the results of the last steps, by name. A last
step is one that no other step depends on. With --output json it is the whole
record: the state, times, attempts, and result or error of every step.

Standard error shows the progress, the output of the steps with their names in
front, and at the end the steps that failed and why. The progress is live on a
terminal; elsewhere it is a line when a step starts and a line when it ends.

Ctrl-C, SIGTERM or SIGHUP cancels the workflow. Running steps have the time of
the setting `cancel_grace` to stop. A second signal, at least a second later,
ends them at once.

Exit codes:
    0  every step succeeded or was skipped
    1  the workflow failed
    2  wrong usage or input: an invalid flow, a need that can never be met
    3  the engine failed: it found no usable Python, for example
  124  the workflow reached --timeout
  130  interrupted (Ctrl-C); 143 after SIGTERM, 129 after SIGHUP

Examples:
  axion flow run etl.toml
  axion flow run etl.toml -p rows=50              # one of the flow's own parameters
  axion flow run etl.toml --params-file prod.json # all of them
  axion flow run etl.toml --set clean.strict=true # a parameter of one step
  axion flow run etl.toml --only clean --dry-run  # shows what `clean` needs
  axion flow run etl.toml -j 4 --quiet --log-file etl.log
  axion flow run etl.toml | jq .report
  axion flow run etl.toml --output json | jq .critical_path";

/// Run a flow and print the results of its last steps.
///
/// The configuration sets the pools, the limits and the autoscaler.
#[derive(Debug, Args)]
#[command(after_long_help = FLOW_RUN, after_help = FLOW_RUN)]
pub(crate) struct FlowRunArguments {
    #[command(flatten)]
    pub(crate) file: FlowFileArguments,

    /// Run only this step and the steps that it needs. Give it several times for several steps.
    #[arg(long, value_name = "STEP", help_heading = WHAT)]
    pub(crate) only: Vec<String>,

    /// Print the steps in an order in which they can run, with their parameters and limits. Nothing runs.
    #[arg(long, help_heading = WHAT)]
    pub(crate) dry_run: bool,

    /// Run at most this many steps at the same time: in workers that compute, and as many in those that wait [default:
    /// the limits of the flow and the sizes of the pools].
    #[arg(short = 'j', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), help_heading = LIMITS)]
    pub(crate) jobs: Option<u32>,

    /// Cancel the workflow after this time: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true, help_heading = LIMITS)]
    pub(crate) timeout: Option<Duration>,

    /// Run a step again up to this many times if its worker dies while it runs, whatever the flow says, also a step that
    /// another step adds. With 0, no step runs twice [default: the step's own `max_worker_losses`].
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = LIMITS)]
    pub(crate) max_worker_losses: Option<u32>,

    #[command(flatten)]
    pub(crate) workers: WorkerArguments,

    /// Print the results of the last steps, or the whole record.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data, help_heading = OUTPUT)]
    pub(crate) output: OutputFormat,
}

const WHAT: &str = "What runs";
const LIMITS: &str = "Limits";

const FLOW_CHECK: &str = "\
Examples:
  axion flow check etl.toml
  axion flow check etl.toml -p rows=50 --set clean.strict=true

Exit codes: 0 if the flow is valid, 2 if it is not or cannot be read.";

/// Check a flow and show every mistake with its place.
///
/// Nothing runs. If there is a configuration file, the check knows its pools. It ignores everything else in it: `axion
/// flow run` reports a need that the configured engine cannot meet.
#[derive(Debug, Args)]
#[command(after_long_help = FLOW_CHECK, after_help = FLOW_CHECK)]
pub(crate) struct FlowCheckArguments {
    #[command(flatten)]
    pub(crate) file: FlowFileArguments,
}

const FLOW_GRAPH: &str = "\
Examples:
  axion flow graph etl.toml
  axion flow graph etl.toml --format svg > etl.svg
  axion flow graph etl.toml --format dot | dot -Tpng > etl.png

Exit codes: 0, or 2 if the flow is invalid or cannot be read.";

/// Draw a flow on standard output.
#[derive(Debug, Args)]
#[command(after_long_help = FLOW_GRAPH, after_help = FLOW_GRAPH)]
pub(crate) struct FlowGraphArguments {
    #[command(flatten)]
    pub(crate) file: FlowFileArguments,

    /// The format: text for the terminal, dot for Graphviz, mermaid for Markdown, svg for browsers.
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

/// Reads a time limit, which is above 0.
fn parse_limit(text: &str) -> Result<Duration, String> {
    match axion_core::parse_time(text) {
        Some(Duration::ZERO) => Err("must be longer than 0".to_owned()),
        Some(parse_limit) => Ok(parse_limit),
        None => Err(format!("{text:?} is not a time: use a number of seconds, or 500ms, 1.5s, 10m, 2h")),
    }
}

/// A parse_byte_limit that can be a limit.
fn parse_byte_limit(text: &str) -> Result<u64, String> {
    match axion_core::parse_size(text) {
        Some(0) => Err("must be at least 1".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("{text:?} is not a size: use a number of bytes, or 500K, 200M, 1.5G")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

impl ParamArguments {
    /// Whether no parameter was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.param.is_empty() && self.text.is_empty() && self.params.is_none() && self.params_file.is_none()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkType {
    Cpu,
    Io,
}

impl RunArguments {
    /// The pool that the script is to run in.
    pub(crate) fn pool(&self) -> PoolId {
        self.named_pool.unwrap_or(match self.work_type {
            WorkType::Cpu => PoolId::CPU,
            WorkType::Io => PoolId::IO,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Data,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_not_nothing() {
        assert_eq!((parse_limit("1.5s"), parse_byte_limit("1K")), (Ok(Duration::from_millis(1500)), Ok(1024)));
        for text in ["", "x", "-1", "0", "0s", "5 parsecs"] {
            assert!(parse_limit(text).is_err() && parse_byte_limit(text).is_err(), "{text}");
        }
    }
}
