//! Running the program and looking at processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything that works takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The program; another one if the variable names it: the Python package's is to do the same.
pub(crate) fn axion() -> Command {
    let named = std::env::var_os("AXION_TEST_PROGRAM");
    let mut command = Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_axion").into()));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AXION_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

pub(crate) fn example(name: &str) -> PathBuf {
    root().join("examples/scripts").join(name)
}

/// A script in a folder of its own.
pub(crate) struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("script.py"), text).expect("written");
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("script.py")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// What a run gave.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the program runs");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Tries with longer and longer time limits until what has to happen before the limit did.
pub(crate) fn with_growing_limits<T>(mut attempt: impl FnMut(&str) -> Option<T>) -> T {
    let limits = std::iter::successors(Some(Duration::from_millis(200)), |limit| Some(*limit * 2));
    let mut found =
        limits.take_while(|limit| *limit < LIMIT).filter_map(|it| attempt(&format!("{}ms", it.as_millis())));
    found.next().expect("no limit was long enough")
}

/// A started program that is killed when the test ends, however it ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts"))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).expect("signalled");
    }

    /// Sends a signal again and again: only one that comes a second after the first counts. Says the exit code.
    pub(crate) fn signal_until_it_ends(&mut self, signal: rustix::process::Signal) -> Option<i32> {
        let mut status = None;
        until("the program ends", || {
            self.signal(signal);
            status = self.0.try_wait().expect("waited for");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    /// Its children: the workers and the guardian.
    pub(crate) fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Waits for its end; says its exit code and what is on standard output. Reads no standard error.
    pub(crate) fn ends(&mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("the program ends", || {
            status = self.0.try_wait().expect("waited for");
            status.is_some()
        });
        let mut out = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().expect("piped"), &mut out).expect("text");
        (status.and_then(|status| status.code()), out)
    }

    /// The next line on standard error that consists of numbers only.
    pub(crate) fn pids(&mut self) -> Vec<i32> {
        let mut line = Vec::new();
        let err = self.0.stderr.as_mut().expect("piped");
        loop {
            let mut byte = [0];
            assert_eq!(std::io::Read::read(err, &mut byte).expect("read"), 1, "no pids: {line:?}");
            if byte[0] != b'\n' {
                line.push(byte[0]);
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut line)).expect("text");
            let pids: Option<Vec<i32>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
            if let Some(pids) = pids.filter(|pids| !pids.is_empty()) {
                return pids;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The children of all threads of a process; none if it is gone.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<String> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    pids.iter().map(|pid| pid.parse().expect("a pid")).collect()
}

/// The state of a process, as `ps` shows it: R, S, T, Z.
pub(crate) fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Sends a signal to a process that may be gone.
pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), signal);
}

/// Whether a process exists and has not ended.
pub(crate) fn lives(pid: i32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Waits until a condition holds and returns how long that took.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "still not, after {LIMIT:?}: {what}");
        std::thread::yield_now();
    }
    begun.elapsed()
}
