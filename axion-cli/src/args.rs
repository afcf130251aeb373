//! The command line.

mod tasks;

use std::path::PathBuf;

use crate::commands::bench::BenchArguments;
use crate::commands::demo::DemoArguments;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use self::tasks::{
    FlowCheckArguments, FlowCommand, FlowFileArguments, FlowGraphArguments, FlowRunArguments, GraphFormat,
    OutputFormat, ParamArguments, RunArguments, WorkerArguments,
};
use crate::version;

const FIRST_STEPS: &str = "\
Examples:
  axion run hello.py -p name=World     # calls main(params, context) and prints the result
  axion run report.py -- --year 2026   # runs any script as a program, with its arguments
  axion flow run etl.toml              # runs scripts that depend on each other
  axion flow run etl.toml --dry-run    # shows what would run
  axion config init                    # writes axion.toml, which explains every setting
  axion demo                           # shows what Axion does, in two minutes

Exit codes: 0 for success, 1 if the task failed, 2 for wrong usage, 3 if the engine failed, 124 for a time limit.
For details and all exit codes, see `axion run --help`, `axion flow run --help` and so on.";

/// Run Python tasks in supervised worker processes.
#[derive(Debug, Parser)]
#[command(name = "axion", version, long_version = version::LONG, max_term_width = 100, after_help = FIRST_STEPS, after_long_help = FIRST_STEPS)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Log more to standard error: -v logs what the engine does, -vv logs everything. The environment
    /// variable AXION_LOG (error, warn, info, debug, trace) overrides -v, and both override the setting
    /// `log_level`.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL)]
    pub(crate) verbose: u8,

    /// Write only errors, warnings and the log to standard error: no progress, and nothing that tasks print.
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,

    /// Put the time (UTC) in front of each line on standard error.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) timestamps: bool,

    /// Add to this file all that goes to standard error, and what --quiet leaves out, each line with its time.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) log_file: Option<PathBuf>,

    /// The configuration file [default: the file that the environment variable AXION_CONFIG names, else
    /// axion.toml in this folder or the nearest folder above, up to a folder that contains .git].
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub(crate) config: Option<PathBuf>,
}

const GLOBAL: &str = "Log and configuration";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    #[command(subcommand)]
    Flow(FlowCommand),
    Config(ConfigArguments),
    Bench(BenchArguments),
    Demo(DemoArguments),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
