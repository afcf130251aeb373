//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_actors::testing::{FakeChild, FakeLauncher};
use axion_core::{
    Config, Engine, EngineBuilder, EventKind, Events, PoolKind, PostMortem, Task, TaskHandle, TaskRecord, Watched,
};
use serde_json::{Value, json};

/// Longer than anything that works takes; a test that waits for so long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name)
}

/// A task of `entry.py`.
pub(crate) fn entry(action: &str, params: Value) -> Task {
    let mut params = params;
    params["do"] = json!(action);
    Task::script(script("entry.py")).params(&params).expect("JSON")
}

/// A task of `bad.py`.
pub(crate) fn bad(action: &str) -> Task {
    bad_with(action, json!({}))
}

/// The same, with parameters.
pub(crate) fn bad_with(action: &str, mut params: Value) -> Task {
    params["do"] = json!(action);
    Task::script(script("bad.py")).params(&params).expect("JSON")
}

/// What is known of the end of a task's process, which must have been ended or died.
pub(crate) fn post_mortem(record: &TaskRecord) -> &PostMortem {
    let error = record.outcome.error().unwrap_or_else(|| panic!("{:?}", record.outcome));
    error.post_mortem.as_deref().unwrap_or_else(|| panic!("no post-mortem: {error:?}"))
}

/// So many workers, always.
pub(crate) fn exactly(cpu: u32, io: u32) -> Config {
    Config {
        cpu_bound_count: cpu,
        cpu_bound_max: Some(cpu),
        io_bound_count: io,
        io_bound_max: Some(io),
        ..Config::default()
    }
}

/// An engine with so many workers, on real children.
pub(crate) fn engine(cpu: u32, io: u32) -> Engine {
    Engine::builder().cpu_workers(cpu).io_workers(io).start().expect("the engine starts")
}

/// An engine on scripted children, and where they appear.
pub(crate) fn scripted(builder: EngineBuilder) -> (Engine, tokio::sync::mpsc::UnboundedReceiver<FakeChild>) {
    let (launcher, children) = FakeLauncher::new();
    let engine = builder.start_with(move || Box::new(launcher)).expect("the engine starts");
    (engine, children)
}

/// An engine on children that answer every task with `1`.
pub(crate) fn echoing(cpu: u32, io: u32) -> Engine {
    let builder = Engine::builder().cpu_workers(cpu).io_workers(io);
    builder.start_with(|| Box::new(FakeLauncher::echo())).expect("the engine starts")
}

pub(crate) fn ended(mut handle: TaskHandle) -> Arc<TaskRecord> {
    let record = handle.wait_timeout(LIMIT).expect("the engine lives");
    record.unwrap_or_else(|| panic!("task {} has not ended within {LIMIT:?}", handle.id()))
}

pub(crate) fn run(engine: &Engine, task: Task) -> Arc<TaskRecord> {
    ended(engine.submit_wait(task).expect("accepted"))
}

/// The data of a task that must succeed.
pub(crate) fn value(record: &TaskRecord) -> Value {
    let data = record.outcome.data().unwrap_or_else(|| panic!("{:?}", record.outcome));
    data.parse().expect("JSON")
}

/// The next output of a task.
pub(crate) fn next_output(events: &mut Events) -> String {
    loop {
        match events.wait_next().expect("the engine lives") {
            Watched::Event(event) => {
                if let EventKind::Output { data, task: Some(_), .. } = event.kind {
                    return String::from_utf8(data.to_vec()).expect("text");
                }
            }
            other => panic!("missed events: {other:?}"),
        }
    }
}

/// Waits until a condition holds; panics with `what` when it takes too long.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "still not, after {LIMIT:?}: {what}");
        std::thread::yield_now();
    }
}

/// Whether a process exists and has not ended (a zombie has).
pub(crate) fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').expect("a stat line").1.trim_start().starts_with('Z'))
}

pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

pub(crate) fn on_io(task: Task) -> Task {
    task.on(PoolKind::Io)
}
