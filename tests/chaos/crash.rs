//! An engine in a process of its own, which is killed at a random moment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use axion_core::{Engine, PoolKind, Task};
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
/// L7 says one second, in which a busy machine may not give the guardian a processor.
const LIMIT: Duration = Duration::from_secs(5);

/// Kills an engine. Returns what is left of it after a moment, apart from its folder: the next engine removes that.
pub(crate) fn kill_an_engine(seed: u64, folder: &Path) -> Vec<String> {
    let mut rng = Rng::new(seed, 6);
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg("--be-killed").arg(folder).stdout(Stdio::piped());
    let mut engine = command.spawn().expect("this program starts");
    let mut started = String::new();
    BufReader::new(engine.stdout.take().expect("a pipe")).read_line(&mut started).expect("a line");
    std::thread::sleep(rng.millis(0, 600));
    engine.kill().expect("killed");
    engine.wait().expect("reaped");
    let mut left = leftovers::of_killed_engine(folder, LIMIT);
    if started.is_empty() {
        left.push("the engine that was to be killed did not start".to_owned());
    }
    left
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
