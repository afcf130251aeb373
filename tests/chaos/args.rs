//! The command line, which `cargo test` and `cargo nextest` use, too.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser};

/// Tasks of a short run, which takes about 15 s in a debug build.
const FEW_TASKS: usize = 2_000;
const SHORT: Duration = Duration::from_secs(20);
/// Tasks of each round of a long run.
const MANY_TASKS: usize = 20_000;
/// Engines that a short run kills.
const FEW_KILLS: u64 = 10;

/// The tests of this program.
pub(crate) const TESTS: [&str; 2] = ["chaos", "kills"];

/// Flags and options of the standard test harness that change nothing here.
const HARNESS_FLAGS: [&str; 7] =
    ["include-ignored", "test", "bench", "nocapture", "no-capture", "show-output", "quiet"];
const HARNESS_OPTIONS: [&str; 4] = ["format", "color", "test-threads", "logfile"];

/// Runs tasks and workflows of all kinds while it kills workers, and checks every outcome.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
pub(crate) struct Args {
    /// Repeats the plan of this seed; without it, the seed is a new one
    #[arg(long)]
    seed: Option<u64>,
    /// How many tasks each round submits
    #[arg(long)]
    tasks: Option<usize>,
    /// Starts one round after another for this many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// Only kills this number of engines, each at a random moment
    #[arg(long, conflicts_with_all = ["tasks", "seconds"])]
    kills: Option<u64>,
    /// Starts an engine in this folder that somebody kills
    #[arg(long, hide = true, value_name = "FOLDER")]
    be_killed: Option<PathBuf>,
    /// Starts an engine in this folder, and fills the disk
    #[arg(long, hide = true, value_name = "FOLDER")]
    full_disk: Option<PathBuf>,
    /// Runs only tests with one of these in their names: `chaos`, `kills`
    filters: Vec<String>,
    /// Compares the filters with the whole name
    #[arg(long)]
    exact: bool,
    /// Runs no test with this in its name
    #[arg(long, value_name = "FILTER")]
    skip: Vec<String>,
    /// Runs nothing: no test is ignored
    #[arg(long)]
    ignored: bool,
    /// Lists the tests
    #[arg(long)]
    list: bool,
}

/// What to run of the tests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    /// Of both tests.
    pub(crate) seed: u64,
    pub(crate) chaos: Option<Options>,
    /// How many engines to kill.
    pub(crate) kills: Option<u64>,
}

/// How long to run tasks, and how many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// The tasks of each round, if the time allows.
    pub(crate) tasks: usize,
    /// After this time, nothing is submitted.
    pub(crate) seconds: Option<Duration>,
    /// Whether rounds follow each other until that time.
    pub(crate) rounds: bool,
}

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Run(Chosen),
    /// Start an engine and work until somebody kills this process.
    BeKilled(PathBuf),
    /// Start an engine and fill its disk.
    FullDisk(PathBuf),
    /// Print the names of these tests.
    List(Vec<&'static str>),
}

impl Args {
    /// Reads the arguments, of which the first is the program's name.
    ///
    /// # Errors
    /// If there is an unknown one, or help was asked for.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let flags = HARNESS_FLAGS.map(|flag| Arg::new(flag).long(flag).hide(true).action(ArgAction::SetTrue));
        let options = HARNESS_OPTIONS.map(|option| Arg::new(option).long(option).hide(true));
        let unstable = Arg::new("unstable").short('Z').hide(true).action(ArgAction::Append);
        let command = Self::command().args(flags).args(options).arg(unstable);
        Self::from_arg_matches(&command.mut_arg("quiet", |quiet| quiet.short('q')).try_get_matches_from(arguments)?)
    }

    pub(crate) fn action(self) -> Action {
        if let Some(folder) = self.be_killed {
            return Action::BeKilled(folder);
        }
        if let Some(folder) = self.full_disk {
            return Action::FullDisk(folder);
        }
        let matches =
            |name: &str, filter: &String| if self.exact { filter == name } else { name.contains(filter.as_str()) };
        let is_chosen = |name: &&str| {
            let named = self.filters.is_empty() || self.filters.iter().any(|filter| matches(name, filter));
            named && !self.ignored && !self.skip.iter().any(|filter| matches(name, filter))
        };
        let chosen: Vec<&str> = TESTS.into_iter().filter(is_chosen).collect();
        if self.list {
            return Action::List(chosen);
        }
        let [chaos, kills] = TESTS.map(|test| chosen.contains(&test));
        let (rounds, seconds) = (self.seconds.is_some(), self.seconds.map(Duration::from_secs));
        let short = !rounds && self.tasks.is_none();
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
        let options = Options {
            seed,
            tasks: self.tasks.unwrap_or(if rounds { MANY_TASKS } else { FEW_TASKS }),
            seconds: seconds.or(short.then_some(SHORT)),
            rounds,
        };
        Action::Run(Chosen {
            seed,
            chaos: (chaos && self.kills.is_none()).then_some(options),
            kills: self.kills.or(short.then_some(FEW_KILLS)).filter(|_| kills),
        })
    }
}
