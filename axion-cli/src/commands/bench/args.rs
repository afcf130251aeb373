//! The arguments of `axion bench`.

use std::path::PathBuf;

use clap::Args;

use super::plan::Kind;

const EXAMPLES: &str = "\
Benches:
  throughput  tasks that do nothing, submitted one by one: what a task costs
  scaling     tasks that compute, on 1, 2, 4 … workers: what more workers bring
  cpu         tasks that compute, on all workers, against a plain loop
  io          tasks that wait, as threads and as coroutines of one worker
  batch       100, 1,000 and 10,000 tasks at once: how long until all have ended
  round-trip  one task after the other: how long a caller waits

Baselines run in the same rounds: ProcessPoolExecutor or ThreadPoolExecutor of the same Python, a
raw pipe to one Python process, a plain loop. If that Python has the package, Axion is driven from
it, too.

The page docs/guides/benchmark.md says how to read the figures and the flags below them.

Exit codes: 0; 1 if a task of the bench failed; 2 for wrong usage; 3 if the engine failed; 130 after
Ctrl-C.

Examples:
  axion bench                        # all of them, up to 20 s each
  axion bench throughput round-trip
  axion bench scaling --workers 8
  axion bench cpu --json | jq .benches[0].flags";

/// Measure Axion on this machine, beside baselines.
///
/// Each bench takes up to 20 s. The table goes to standard output, progress to standard error. Close other programs
/// first.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = EXAMPLES)]
pub(crate) struct BenchArguments {
    /// What to measure [default: all].
    #[arg(value_name = "BENCH", value_enum)]
    benches: Vec<Kind>,

    /// The number of workers, of Axion and of the pools beside it [default: the processors].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) workers: Option<u32>,

    /// Measure each bench for about this many seconds, 0.1 to 60. Starting the workers takes time beside it.
    #[arg(long, value_name = "SECONDS", default_value = "12", value_parser = seconds)]
    pub(super) seconds: f64,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub(super) json: bool,

    /// The Python interpreter [default: the setting `python`, else that of the active virtual
    /// environment, else python3].
    #[arg(long, value_name = "PATH")]
    pub(super) python: Option<PathBuf>,
}

impl BenchArguments {
    /// Each bench once, in the order in which they were named.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let named = if self.benches.is_empty() { &Kind::ALL[..] } else { &self.benches };
        let is_first = |(at, kind): &(usize, &Kind)| !named[..*at].contains(*kind);
        named.iter().enumerate().filter(is_first).map(|(_, kind)| *kind).collect()
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.1 to 60".to_owned()),
    }
}
