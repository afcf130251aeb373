//! Helpers of the tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_actors::testing::{FakeChild, FakeLauncher};
use axion_core::{
    Config, Engine, EngineBuilder, EventStream, NoticeKind, PoolKind, PostMortem, Task, TaskHandle, TaskRecord, Watched,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

/// No test that passes waits this long for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

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

/// The post-mortem of a task, which must have one.
pub(crate) fn post_mortem(record: &TaskRecord) -> &PostMortem {
    let error = record.outcome.error().unwrap_or_else(|| panic!("{:?}", record.outcome));
    error.post_mortem.as_deref().unwrap_or_else(|| panic!("no post-mortem: {error:?}"))
}

/// A fixed number of workers.
pub(crate) fn exactly(cpu: u32, io: u32) -> Config {
    Config {
        cpu_bound_count: cpu,
        cpu_bound_max: Some(cpu),
        io_bound_count: io,
        io_bound_max: Some(io),
        ..Config::default()
    }
}

/// An engine with this many workers, on real children.
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
pub(crate) fn next_output(events: &mut EventStream) -> String {
    loop {
        match events.wait_next().expect("the engine lives") {
            Watched::Fact(_) => {}
            Watched::Notice(notice) => {
                if let NoticeKind::Output { data, task: Some(_), .. } = notice.kind {
                    return String::from_utf8(data.to_vec()).expect("text");
                }
            }
            other => panic!("missed events: {other:?}"),
        }
    }
}

/// Waits until a condition holds that nothing announces; panics with `what` after [`LIMIT`]. The thread sleeps between
/// two checks and takes no processor time from what it waits for.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "still not, after {LIMIT:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Repeats something that takes its time until it succeeds; panics with `what` after [`LIMIT`].
pub(crate) fn repeat_until(what: &str, mut succeeds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !succeeds() {
        assert!(begun.elapsed() < LIMIT, "still not, after {LIMIT:?}: {what}");
    }
}

/// Waits until these processes have ended; panics with `what` after [`LIMIT`].
pub(crate) fn until_ended(what: &str, pids: &[i32]) {
    for pid in pids.iter().filter(|pid| lives(**pid)) {
        // Without a descriptor, it has ended since.
        let pid = rustix::process::Pid::from_raw(*pid).expect("a pid");
        let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { continue };
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        let limit = Timespec::try_from(LIMIT).expect("in range");
        assert_eq!(poll(&mut watched, Some(&limit)), Ok(1), "process {pid:?} lives after {LIMIT:?}: {what}");
    }
}

/// Whether a process exists and has not ended (a zombie has).
pub(crate) fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').expect("a stat line").1.trim_start().starts_with('Z'))
}

pub(crate) fn kill(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

pub(crate) fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it lives");
}

/// Tries longer and longer time limits, until one leaves the machine enough time for what must happen before it.
pub(crate) fn with_growing_limits<T>(mut attempt: impl FnMut(Duration) -> Option<T>) -> T {
    let limits = std::iter::successors(Some(Duration::from_millis(150)), |limit| Some(*limit * 2));
    let mut found = limits.take_while(|limit| *limit < LIMIT).filter_map(&mut attempt);
    found.next().expect("no limit was long enough")
}

/// Where tasks wait until the test lets them go on, one at a time.
pub(crate) struct Gate(tempfile::TempDir);

impl Gate {
    pub(crate) fn new() -> Self {
        let gate = Self(tempfile::tempdir().expect("a folder"));
        assert!(std::process::Command::new("mkfifo").arg(gate.fifo()).status().expect("mkfifo runs").success());
        gate
    }

    pub(crate) fn fifo(&self) -> PathBuf {
        self.0.path().join("gate")
    }

    /// A task that prints its pid and waits at the gate. Its result is the word that opened the gate.
    pub(crate) fn task(&self) -> Task {
        entry("wait_for_file", json!({"fifo": self.fifo()}))
    }

    /// While this is open, no task waits at the gate.
    pub(crate) fn open_wide(&self) -> std::fs::File {
        let mut both_ends = std::fs::OpenOptions::new().read(true).write(true).open(self.fifo()).expect("opened");
        std::io::Write::write_all(&mut both_ends, &[b'\n'; 1000]).expect("written");
        both_ends
    }

    /// Lets the task go on that waits there, or will.
    pub(crate) fn open(&self, word: &str) {
        std::fs::write(self.fifo(), word).expect("written");
    }
}

/// Makes an executable of a script. Another process writes the file: the system refuses to execute a file that is open
/// for writing, and a child that another thread starts meanwhile would inherit the descriptor.
pub(crate) fn executable(path: &Path, text: &str) {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path).arg(text);
    assert!(shell.status().expect("sh runs").success());
}

/// Runs the test with this path again, in a process of its own, without the threads, memory and children of other
/// tests. Returns true in that process.
pub(crate) fn is_alone(name: &str) -> bool {
    if std::env::var_os("AXION_TEST_ALONE").is_some() {
        return true;
    }
    let mut alone = std::process::Command::new(std::env::current_exe().expect("known"));
    alone.args(["--exact", name, "--nocapture"]).env("AXION_TEST_ALONE", "1");
    let output = alone.output().expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
    false
}

pub(crate) fn on_io(task: Task) -> Task {
    task.on(PoolKind::Io)
}
