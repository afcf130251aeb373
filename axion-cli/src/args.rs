//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use axion_core::PoolId;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::version;

const FIRST_STEPS: &str = "\
Examples:
  axion run hello.py -p name=World   # calls main(params, context) and prints the result
  axion flow run etl.toml            # runs scripts that depend on each other
  axion config init                  # writes axion.toml, which explains every setting

For details and exit codes, see `axion run --help`, `axion flow run --help` and so on.";

/// Run Python tasks in supervised worker processes.
#[derive(Debug, Parser)]
#[command(name = "axion", version, long_version = version::LONG, max_term_width = 100, after_help = FIRST_STEPS, after_long_help = FIRST_STEPS)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log more to standard error: -v logs what the engine does, -vv logs everything. The environment
    /// variable AXION_LOG (error, warn, info, debug, trace) overrides -v, and both override the setting
    /// `log_level`.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The configuration file [default: the file that the environment variable AXION_CONFIG names, else
    /// axion.toml in this folder or the nearest folder above, up to a folder that contains .git].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Config(ConfigArguments),
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Print the completions of a shell.
    #[command(after_help = COMPLETIONS, after_long_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    Man(ManArguments),
}

const COMPLETIONS: &str = "\
Examples:
  source <(axion completions bash)                                  # for this bash
  axion completions bash > ~/.local/share/bash-completion/completions/axion
  axion completions zsh > ~/.zfunc/_axion                           # a folder of $fpath
  axion completions fish > ~/.config/fish/completions/axion.fish";

const MAN: &str = "\
Examples:
  axion man | man -l -
  axion man flow run | man -l -
  axion man --folder ~/.local/share/man/man1   # from then on: man axion-flow-run";

/// Print the manual, in the format of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN, after_long_help = MAN)]
pub(crate) struct ManArguments {
    /// The command whose page is printed, such as `flow run`. Without one, it is the page of `axion`.
    pub(crate) command: Vec<String>,

    /// Write the pages of all commands to this folder.
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub(crate) folder: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  the task succeeded
    1  the task failed; its traceback is on standard error
    2  wrong usage or input: a missing script, invalid JSON, an invalid configuration
    3  the engine failed: it found no usable Python, for example
  124  the task reached its time limit
  125  the task is lost: its worker crashed each time the task ran
  130  interrupted (Ctrl-C); 143 after SIGTERM, 129 after SIGHUP

Examples:
  axion run double.py --params '{\"value\": 21}'
  axion run double.py -p value=21
  axion run release.py -s version=1.10 -p dry_run=true
  axion run train.py --timeout 10m --retries 3 --retry-wait 5s
  axion run fetch.py --type io --params-file urls.json --output json | jq .run_seconds";

/// Run one script in a worker process and print its result.
///
/// The script defines `main(params, context)`, or `module()` that returns an object with
/// `run(params)`. Both can be `async def`. Axion prints the result to standard output, as JSON. The
/// script's own output goes to standard error.
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
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = WorkType::Cpu)]
    pub(crate) work_type: WorkType,

    /// The pool whose worker runs the script: cpu, io, or one that the configuration declares as [pools.NAME].
    #[arg(long = "pool", value_name = "NAME", conflicts_with = "work_type")]
    pub(crate) named_pool: Option<PoolId>,

    /// The Python interpreter [default: the setting `python`, else that of the active virtual
    /// environment, else python3].
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,

    /// Kill the task and all its processes after this time: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// Raise a TimeoutError in the task after this time, which must be shorter than --timeout.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) soft_timeout: Option<Duration>,

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

    /// Print the result, or the whole record with id, outcome, worker and timings.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data)]
    pub(crate) output: OutputFormat,
}

/// Parameters: of a script, or the flow's own.
#[derive(Debug, Args)]
pub(crate) struct ParamArguments {
    /// Set one parameter. The value is JSON if it reads as JSON, else text: rows=5, tags='["a"]', name=World. A later
    /// value of a key replaces an earlier one.
    #[arg(short = 'p', long = "param", value_name = "KEY=VALUE", value_parser = key_value, help_heading = "Parameters")]
    pub(crate) param: Vec<(String, String)>,

    /// Set one parameter to a text, whatever it looks like: version=1.10.
    #[arg(short = 's', long = "text", value_name = "KEY=TEXT", value_parser = key_value, help_heading = "Parameters")]
    pub(crate) text: Vec<(String, String)>,

    /// Take the parameters from a JSON text. -p and -s replace single ones.
    #[arg(long, value_name = "JSON", conflicts_with = "params_file", help_heading = "Parameters")]
    pub(crate) params: Option<String>,

    /// Take the parameters from a JSON file. `-` reads standard input.
    #[arg(long, value_name = "FILE", help_heading = "Parameters")]
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

    /// Print the results of the last steps, or the whole record.
    #[arg(long, value_enum, default_value_t = OutputFormat::Data)]
    pub(crate) output: OutputFormat,

    /// Cancel the workflow after this time: 90, 1.5s, 10m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_limit, allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,

    /// Run a step again up to this many times if its worker dies while it runs, whatever the flow says, also a step that
    /// another step adds. With 0, no step runs twice [default: the step's own `max_worker_losses`].
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub(crate) max_worker_losses: Option<u32>,

    /// The Python interpreter [default: the setting `python`, else that of the active virtual
    /// environment, else python3].
    #[arg(long, value_name = "PATH")]
    pub(crate) python: Option<PathBuf>,
}

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

const CONFIG_EXAMPLES: &str = "\
Settings come from these places; a later one overrides an earlier one:
  1. the defaults
  2. the file: --config FILE, else the one that AXION_CONFIG names, else axion.toml in this folder
     or the nearest folder above, up to a folder that contains .git
  3. environment variables: AXION_ and the key in capitals, such as AXION_CPU_BOUND_COUNT=4 or
     AXION_CPU_BOUND_WORKER_NICE=5; an empty variable counts as not set
  4. options of the command

Examples:
  axion config init                    # writes axion.toml: every key, explained, with its default
  axion config check                   # shows every mistake with its place
  axion config show --origin           # shows every setting and where it comes from
  AXION_ENGINE=serial axion config show --output json | jq .engine";

/// Show, check or create a configuration.
#[derive(Debug, Args)]
#[command(after_long_help = CONFIG_EXAMPLES, after_help = CONFIG_EXAMPLES)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  axion config show --origin
  axion config show > axion.toml       # keeps the current settings, with the numbers of this machine
  axion config show --output json --origin | jq '.python.origin'

Exit codes: 0, or 2 if the configuration is invalid.";

const CHECK_EXAMPLES: &str = "\
Examples:
  axion config check                   # the settings that `axion run` uses here, with variables
  axion config check deploy/axion.toml # this file alone

Exit codes: 0 if the configuration is valid, 2 if it is not or cannot be read.";

const INIT_EXAMPLES: &str = "\
Examples:
  axion config init
  axion config init deploy/axion.toml
  axion config init - | less

Exit codes: 0, or 2 if the file exists or cannot be written.";

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration in effect: defaults, file and environment variables together.
    ///
    /// The output is a configuration file. In JSON, times are seconds, sizes are bytes, and a setting
    /// without a value is null.
    #[command(after_help = SHOW_EXAMPLES, after_long_help = SHOW_EXAMPLES)]
    Show {
        /// Print a configuration file, or JSON.
        #[arg(long, value_enum, default_value_t = ConfigOutput::Toml)]
        output: ConfigOutput,

        /// Show where each value comes from: the default, a line of the file, or a variable.
        #[arg(long)]
        origin: bool,
    },

    /// Show every mistake in a configuration with its place: unknown keys, invalid values, and values
    /// that conflict.
    #[command(after_help = CHECK_EXAMPLES, after_long_help = CHECK_EXAMPLES)]
    Check {
        /// Check only this file, without the environment variables.
        file: Option<PathBuf>,
    },

    /// Write a configuration file with every key, its meaning and its default, commented out.
    #[command(after_help = INIT_EXAMPLES, after_long_help = INIT_EXAMPLES)]
    Init {
        /// The file to write. `-` writes to standard output.
        #[arg(default_value = axion_core::CONFIG_FILE)]
        file: PathBuf,

        /// Replace an existing file.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigOutput {
    Toml,
    Json,
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
