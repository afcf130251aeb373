//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use axion_core::PoolKind;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

const FIRST_STEPS: &str = "\
Examples:
  axion run hello.py -p name=World     # hello.py defines main(params, context); prints what it returns
  axion flow run etl.toml              # scripts that wait for each other
  axion config init                    # writes axion.toml, in which every setting is explained

`axion run --help`, `axion flow run --help` and so on say more, with the exit codes.";

/// Run Python tasks in supervised worker processes.
#[derive(Debug, Parser)]
#[command(name = "axion", version, max_term_width = 100, after_help = FIRST_STEPS, after_long_help = FIRST_STEPS)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more on standard error: -v for the engine's steps, -vv for everything. The environment
    /// variable AXION_LOG sets the level by name (error, warn, info, debug, trace) and goes first; without
    /// both, `log_level` of the configuration holds.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The configuration file. Without it: the one that the environment variable AXION_CONFIG names,
    /// else axion.toml in this folder or the nearest one above, up to a folder with .git in it.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Config(ConfigArguments),
    #[command(subcommand)]
    Flow(FlowCommand),
}

const EXIT_CODES: &str = "\
Exit codes:
    0  the task succeeded
    1  the task failed; its traceback is on standard error
    2  wrong usage or input: no such script, bad JSON, a wrong configuration
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
pub(crate) struct RunArguments {
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
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = PoolChoice::Cpu)]
    pub(crate) pool: PoolChoice,

    /// The Python interpreter. Without it: that of the environment variable AXION_PYTHON or of the
    /// configuration, else the active virtual environment's, else python3.
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// Kill the task, with everything it started, when it has run so long: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// Raise a TimeoutError in the task when it has run so long; shorter than --timeout.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) soft_timeout: Option<Duration>,

    /// Run the task again after an exception or a time limit, so many times at most.
    #[arg(long, value_name = "COUNT", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) retries: u32,

    /// Always wait so long before a retry, instead of 0.5 s, doubled each time, 30 s at most.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, requires = "retries", allow_negative_numbers = true)]
    pub(crate) retry_wait: Option<Duration>,

    /// End the task when its process holds more memory: a number of bytes, or 200M, 1.5G.
    #[arg(long, value_name = "SIZE", value_parser = parse_byte_limit, allow_negative_numbers = true)]
    pub(crate) memory_limit: Option<u64>,

    /// What to print: the result's data, or the whole record with id, outcome, worker and timings.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data)]
    pub(crate) output: OutputFormat,
}

/// Work with workflows in files (FLOW.toml, FLOW.json).
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    Run(FlowRunArguments),
    Check(FlowCheckArguments),
    Graph(FlowGraphArguments),
}

/// A flow and what is changed in it.
#[derive(Debug, Args)]
pub(crate) struct FlowFileArguments {
    /// The flow: JSON if its name ends in .json, else TOML. Scripts are looked for in its folder.
    pub(crate) flow: PathBuf,

    /// The flow's own parameters, as a JSON object: its members take the place of those in the file.
    #[arg(long, value_name = "JSON")]
    pub(crate) params: Option<String>,

    /// One parameter of one step: the value is read as JSON if it is, else taken as text.
    #[arg(long, value_name = "STEP.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

const FLOW_RUN: &str = "\
Standard output carries a JSON object with the result of each step that
succeeded and that no other step waits for, by name; with --output json, the
whole record: every step's state, times, attempts, and result or error.

Standard error carries the progress (live on a terminal, else a line when a
step starts and one when it ends), what the steps print, each line after the
step's name, and at the end which steps failed and why.

A signal cancels the workflow: what runs may stop by itself for
`cancel_grace`. A second signal ends it at once.

Exit codes:
    0  every step succeeded or was skipped
    1  the workflow failed
    2  wrong usage or input: a wrong flow, a need that can never be met
    3  the engine could not do its work: no usable Python
  124  the workflow reached --timeout
  130  interrupted (Ctrl-C); 143 after SIGTERM

Examples:
  axion flow run etl.toml
  axion flow run etl.toml --params '{\"rows\": 50}'  # the flow's own parameters
  axion flow run etl.toml --set clean.strict=true   # a parameter of one step
  axion flow run etl.toml | jq .report
  axion flow run etl.toml --output json | jq .critical_path";

/// Run a flow and print the results of its last steps.
///
/// Pools, limits and the autoscaler are as the configuration says.
#[derive(Debug, Args)]
#[command(after_long_help = FLOW_RUN, after_help = FLOW_RUN)]
pub(crate) struct FlowRunArguments {
    #[command(flatten)]
    pub(crate) file: FlowFileArguments,

    /// What to print: the results of the last steps, or the whole record.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data)]
    pub(crate) output: OutputFormat,

    /// Cancel the workflow when it has run so long: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// The Python interpreter. Without it: that of the environment variable AXION_PYTHON or of the
    /// configuration, else the active virtual environment's, else python3.
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
}

const FLOW_CHECK: &str = "\
Examples:
  axion flow check etl.toml
  axion flow check etl.toml --params '{\"rows\": 50}' --set clean.strict=true

Exit codes: 0 if the flow is sound, 2 if it is not or cannot be read.";

/// Check a flow and show everything that is wrong with it, each with its place.
///
/// Nothing is run. The configuration is not looked at: a need that no engine of this configuration can meet is told
/// by `axion flow run`.
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

Exit codes: 0, or 2 if the flow is not sound or cannot be read.";

/// Draw a flow on standard output.
#[derive(Debug, Args)]
#[command(after_long_help = FLOW_GRAPH, after_help = FLOW_GRAPH)]
pub(crate) struct FlowGraphArguments {
    #[command(flatten)]
    pub(crate) file: FlowFileArguments,

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

const CONFIG_EXAMPLES: &str = "\
What holds, from the weakest to the strongest:
  1. the defaults
  2. the file: --config FILE, else the one that AXION_CONFIG names, else axion.toml in this folder
     or the nearest one above, up to a folder with .git in it
  3. environment variables: AXION_ and the key in capitals, such as AXION_CPU_BOUND_COUNT=4 or
     AXION_CPU_BOUND_WORKER_NICE=5; an empty one counts as not set
  4. options of the command

Examples:
  axion config init                    # writes axion.toml: every key, explained, with its default
  axion config check                   # everything that is wrong, with its place
  axion config show --origin           # what holds, and why
  AXION_ENGINE=serial axion config show --output json | jq .engine";

/// Show, check or begin a configuration.
#[derive(Debug, Args)]
#[command(after_long_help = CONFIG_EXAMPLES, after_help = CONFIG_EXAMPLES)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  axion config show --origin
  axion config show > axion.toml       # freezes what holds now, this machine's numbers included
  axion config show --output json --origin | jq '.python.origin'

Exit codes: 0, or 2 if the configuration is wrong.";

const CHECK_EXAMPLES: &str = "\
Examples:
  axion config check                   # what `axion run` would use here, variables included
  axion config check deploy/axion.toml # that file alone

Exit codes: 0 if it is right, 2 if it is wrong or cannot be read.";

const INIT_EXAMPLES: &str = "\
Examples:
  axion config init
  axion config init deploy/axion.toml
  axion config init - | less

Exit codes: 0, or 2 if there is such a file or it cannot be written.";

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration that holds here: defaults, file and environment variables together.
    ///
    /// The output is a configuration file again; as JSON, times are seconds, sizes are bytes, and what
    /// is not set is null.
    #[command(after_help = SHOW_EXAMPLES, after_long_help = SHOW_EXAMPLES)]
    Show {
        /// As a configuration file, or as JSON.
        #[arg(long, value_enum, default_value_t = ConfigOutput::Toml)]
        output: ConfigOutput,

        /// Say where each value is from: the default, a line of the file, or a variable.
        #[arg(long)]
        origin: bool,
    },

    /// Say everything that is wrong with a configuration: unknown keys, wrong values, and values that do
    /// not fit together, each with its place and what is allowed.
    #[command(after_help = CHECK_EXAMPLES, after_long_help = CHECK_EXAMPLES)]
    Check {
        /// Check this file alone, without the environment variables.
        file: Option<PathBuf>,
    },

    /// Write a configuration file that has every key with its meaning and default, commented out.
    #[command(after_help = INIT_EXAMPLES, after_long_help = INIT_EXAMPLES)]
    Init {
        /// Where to; `-` for standard output.
        #[arg(default_value = axion_core::CONFIG_FILE)]
        file: PathBuf,

        /// Replace the file if there is one.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigOutput {
    Toml,
    Json,
}

/// A time that can be a limit.
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
        None => Err(format!("{text:?} is not a parse_byte_limit: use a number of bytes, or 500K, 200M, 1.5G")),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PoolChoice {
    Cpu,
    Io,
}

impl From<PoolChoice> for PoolKind {
    fn from(pool: PoolChoice) -> Self {
        match pool {
            PoolChoice::Cpu => Self::Cpu,
            PoolChoice::Io => Self::Io,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
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
    fn limits_are_not_nothing() {
        assert_eq!((parse_limit("1.5s"), parse_byte_limit("1K")), (Ok(Duration::from_millis(1500)), Ok(1024)));
        for text in ["", "x", "-1", "0", "0s", "5 parsecs"] {
            assert!(parse_limit(text).is_err() && parse_byte_limit(text).is_err(), "{text}");
        }
    }
}
