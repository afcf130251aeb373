//! An engine in a process of its own, which is killed at a random moment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use axion_core::{Config, Engine, PoolKind, Task};
use serde_json::json;

use crate::leftovers;
use crate::life;
use crate::plan::Kind;
use crate::rng::Rng;

/// What its tasks do while it is killed: some cannot hear of it, and some have started processes.
const KINDS: [Kind; 5] = [Kind::HoldGil, Kind::Subprocess, Kind::CatchAll, Kind::Noop, Kind::AsyncNap];
/// Tasks that wait for a worker.
const TASKS: usize = 40;
/// The tasks of this engine have numbers from here on.
const FIRST: usize = 500_000_000;
/// After this number of kills, a long series says how far it is.
const SHOWN: usize = 100;
/// What L7 says.
const PROMISED: Duration = Duration::from_secs(1);
/// How long a test waits. A busy machine may not give the guardian a processor within that second. A worker that was just
/// starting when the guardian was killed, too, ends by itself, when its interpreter has started.
const LIMIT: Duration = Duration::from_secs(30);

/// Kills an engine. Returns what is left of it after a moment, apart from its folder: the next engine removes that.
pub(crate) fn kill_an_engine(seed: u64, folder: &Path) -> Vec<String> {
    let mut rng = Rng::new(seed, 6);
    let mut engine = start(folder);
    let started = wait_started(&mut engine);
    std::thread::sleep(rng.millis(0, 600));
    engine.kill().expect("killed");
    engine.wait().expect("reaped");
    let mut left = leftovers::of_killed_engine(folder, LIMIT, |_| true);
    if !started {
        left.push("the engine that was to be killed did not start".to_owned());
    }
    left
}

/// Kills engines at random moments, from the start of their processes on: after each kill, no process is left,
/// and no folder after the next start. Every fourth one is killed together with its guardian.
pub(crate) fn kill_engines(seed: u64, count: u64) -> ExitCode {
    println!("kills: seed {seed}");
    let folder = tempfile::Builder::new().prefix("chaos-").tempdir().expect("a folder");
    crate::prepare(folder.path());
    let (mut times, mut together, mut during_start, mut found) = (Vec::new(), Vec::new(), 0, 0);
    for seed in seed..seed + count {
        let killed = kill_at_a_random_moment(seed, folder.path());
        during_start += u64::from(killed.during_start);
        found += u64::from(killed.left_folder);
        if !killed.left.is_empty() {
            eprintln!("kills: {} violations, seed {seed}", killed.left.len());
            killed.left.iter().for_each(|what| eprintln!("  {what}"));
            let release = if cfg!(debug_assertions) { "" } else { "--release " };
            eprintln!("\nagain: cargo test {release}--test chaos -- --kills 1 --seed {seed}");
            return ExitCode::FAILURE;
        }
        if killed.with_guardian { &mut together } else { &mut times }.push(killed.took);
        if (times.len() + together.len()).is_multiple_of(SHOWN) {
            println!("kills: {} so far", times.len() + together.len());
        }
    }
    println!("kills: {count}, {during_start} of them during the start; {found} folders were left to the next start");
    println!("kills: until nothing ran: {}", in_short(times));
    println!("kills: the same, killed with the guardian: {}", in_short(together));
    ExitCode::SUCCESS
}

/// How long it took until nothing ran.
fn in_short(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let late = times.iter().filter(|took| **took > PROMISED).count();
    let most = times.last().copied().unwrap_or_default();
    format!("p50 {:.0?}, p99 {:.0?}, at most {most:.0?}, {late} of {} above {PROMISED:?}", at(50), at(99), times.len())
}

/// What came of a kill.
struct Killed {
    /// Its guardian was killed, too.
    with_guardian: bool,
    /// The engine had not said that it was ready.
    during_start: bool,
    /// Until no process was left.
    took: Duration,
    /// The guardian did not remove the folder.
    left_folder: bool,
    /// What should not be there.
    left: Vec<String>,
}

fn kill_at_a_random_moment(seed: u64, folder: &Path) -> Killed {
    let mut rng = Rng::new(seed, 8);
    let during_start = rng.chance(30);
    let mut engine = start(folder);
    let mut left = Vec::new();
    if during_start {
        std::thread::sleep(rng.millis(0, 200));
    } else {
        if !wait_started(&mut engine) {
            left.push("the engine that was to be killed did not start".to_owned());
        }
        std::thread::sleep(rng.millis(0, 600));
    }
    let guardian = leftovers::guardian_of(folder).filter(|_| rng.chance(25));
    engine.kill().expect("killed");
    if let Some(guardian) = guardian {
        leftovers::kill(guardian);
    }
    let begun = Instant::now();
    engine.wait().expect("reaped");
    // The kernel ends the workers, but not what has left their groups, which the next engine finds.
    let is_promised = |command: &str| guardian.is_none() || !command.contains("sleep 1000");
    left.extend(leftovers::of_killed_engine(folder, LIMIT, is_promised));
    let took = begun.elapsed();
    let runtime_dir = folder.join("engine");
    let left_folder = std::fs::read_dir(&runtime_dir).is_ok_and(|mut entries| entries.next().is_some());
    let config = Config { cpu_bound_count: 0, io_bound_count: 0, ..life::config(0, runtime_dir.clone()) };
    drop(Engine::builder().config(config).start().expect("the next engine starts"));
    left.extend(leftovers::of_killed_engine(folder, LIMIT, |_| true));
    left.extend(leftovers::of_engine(folder, &runtime_dir));
    Killed { with_guardian: guardian.is_some(), during_start, took, left_folder, left }
}

/// Starts an engine in a process that can be told by its folder, as all that it starts.
fn start(folder: &Path) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg("--be-killed").arg(folder).env("CHAOS_FOLDER", folder).stdout(Stdio::piped());
    command.spawn().expect("this program starts")
}

fn wait_started(engine: &mut Child) -> bool {
    let mut started = String::new();
    BufReader::new(engine.stdout.take().expect("a pipe")).read_line(&mut started).expect("a line");
    !started.is_empty()
}

/// Starts the engine, and works until somebody kills this process.
pub(crate) fn be_killed(folder: &Path) -> ExitCode {
    let config = life::config(0, folder.join("engine"));
    let engine = Engine::builder().config(config).start().expect("the engine starts");
    println!("started");
    for index in (0..TASKS).cycle() {
        let kind = KINDS[index % KINDS.len()];
        let pool = if index % 2 == 0 { PoolKind::Cpu } else { PoolKind::Io };
        let params = json!({"do": kind.name(), "i": FIRST + index, "ms": 5});
        let task = Task::script(folder.join("scripts/slow.py")).params(&params).expect("JSON").on(pool);
        engine.submit_wait(task).expect("accepted");
    }
    ExitCode::FAILURE
}
