//! The command line, which is also spoken to by `cargo test` and `cargo nextest`.

use std::str::FromStr;
use std::time::Duration;

use crate::rng::fresh_seed;

/// Of the short run: about 15 s in a debug build.
const FEW_TASKS: usize = 2_000;
const SHORT: Duration = Duration::from_secs(20);
/// Of each round of a long one.
const MANY_TASKS: usize = 20_000;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// In each round, if the time allows.
    pub(crate) tasks: usize,
    /// After so long nothing is submitted any more.
    pub(crate) seconds: Option<Duration>,
    /// One round after the other until then.
    pub(crate) rounds: bool,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Run(Options),
    /// The names of the tests, of which there is one.
    List,
    /// Other tests than this one.
    Nothing,
}

/// Reads the arguments. Those of the standard test harness count as far as they choose tests; the
/// others change nothing here.
pub(crate) fn wish(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let (mut seed, mut tasks, mut seconds) = (None, None, None);
    let (mut list, mut ignored, mut exact) = (false, false, false);
    let (mut filters, mut skipped) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (argument, None),
        };
        let mut value = || value.take().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--seed" => seed = Some(number::<u64>(&name, &value()?)?),
            "--tasks" => tasks = Some(number::<usize>(&name, &value()?)?),
            "--seconds" => seconds = Some(Duration::from_secs(number(&name, &value()?)?)),
            "--list" => list = true,
            "--ignored" => ignored = true,
            "--exact" => exact = true,
            "--skip" => skipped.push(value()?),
            "--format" | "--color" | "--test-threads" | "--logfile" | "-Z" => drop(value()?),
            flag if flag.starts_with('-') => {}
            _ => filters.push(name),
        }
    }
    let chosen = |filter: &String| if exact { filter == "chaos" } else { "chaos".contains(filter.as_str()) };
    if ignored || skipped.iter().any(chosen) || !(filters.is_empty() || filters.iter().any(chosen)) {
        return Ok(Wish::Nothing);
    }
    if list {
        return Ok(Wish::List);
    }
    let rounds = seconds.is_some();
    let short = seconds.is_none() && tasks.is_none();
    Ok(Wish::Run(Options {
        seed: seed.unwrap_or_else(fresh_seed),
        tasks: tasks.unwrap_or(if rounds { MANY_TASKS } else { FEW_TASKS }),
        seconds: seconds.or(short.then_some(SHORT)),
        rounds,
    }))
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} needs a number, not {text:?}"))
}
