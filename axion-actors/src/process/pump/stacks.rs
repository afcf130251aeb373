//! Stack dumps of a child, taken before an attempt in it is killed.
//!
//! * All dumps before a kill have one short time limit: until it has passed, what is to be killed runs on. The first request
//!   is one that cannot harm the process.
//! * The last dump belongs to the kill that ended the process. A dump that arrives too late for its kill is dropped.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::source::{LAST_READS, READ};
use crate::process::link::Link;
use crate::process::os::{self, Pid, Pipe};
use crate::process::real::BOOT_FRAME;
use crate::wire::ControlDown;

/// How long a kill may wait for stacks. A process may use all of it: one whose threads never let go of the interpreter lock.
const PATIENCE: Duration = Duration::from_millis(12);
/// How much of it a thread gets that has to have the interpreter lock first, which Python hands on every 5 ms. The rest is
/// for the signal handler that does without.
const LOCKED: Duration = Duration::from_millis(7);
/// How long to wait for more of a dump that has begun.
const MORE: Duration = Duration::from_millis(3);
/// The largest dump that is kept, in bytes.
const MOST: usize = 64 << 10;

/// The pipe of the dumps, and the last dump.
pub(super) struct Stacks {
    pipe: Pipe,
    /// The folder of the runtime's files.
    runtime: String,
    last: Option<String>,
    /// The last dump was forced by a signal, which can end the process.
    forced: bool,
}

impl Stacks {
    pub(super) fn new(pipe: Pipe, runtime: String) -> Self {
        Self { pipe, runtime, last: None, forced: false }
    }

    /// Learns where the child's threads are, if it tells within a short time: also in the middle of a C call, but not
    /// in a system call that cannot be interrupted.
    pub(super) async fn take(&mut self, link: &Link, pid: Pid, may_force: bool) {
        self.drop_late();
        let begun = Instant::now();
        link.push(&link.control, &[ControlDown::DumpStacks]);
        let mut text = self.read(begun + LOCKED, begun + PATIENCE).await;
        if text.is_empty() && may_force && os::force_stacks(pid) {
            self.forced = true;
            text = self.read(begun + PATIENCE, begun + PATIENCE).await;
        }
        self.last = (!text.is_empty()).then(|| without_runtime(&String::from_utf8_lossy(&text), &self.runtime));
    }

    /// Drops the last dump: its kill did not happen.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.forced = false;
    }

    pub(super) fn were_forced(&self) -> bool {
        self.forced
    }

    /// The dump of the last kill.
    pub(super) fn take_last(&mut self) -> Option<String> {
        self.last.take()
    }

    /// Reads a dump that begins until `first` and ends until `last`.
    async fn read(&mut self, first: Instant, last: Instant) -> Vec<u8> {
        let (mut text, mut until) = (Vec::new(), first);
        while text.len() < MOST && !is_whole(&text) {
            text.reserve(READ);
            match timeout_at(until, self.pipe.read(&mut text)).await {
                Err(_) | Ok(Some(Ok(0) | Err(_))) => break,
                Ok(Some(Ok(_))) => until = last.min(Instant::now() + MORE),
                // `drop_late` has read what made it ready.
                Ok(None) => {}
            }
        }
        text
    }

    /// Drops what came too late for an earlier kill.
    fn drop_late(&self) {
        let mut late = Vec::with_capacity(READ);
        for _ in 0..LAST_READS {
            late.clear();
            if !self.pipe.read_now(&mut late).is_ok_and(|count| count > 0) {
                break;
            }
        }
    }
}

/// Whether a dump has come to its end: the main thread is the last one, and its first frame is the last line. Of a stack
/// that is too deep, Python leaves out that frame.
fn is_whole(dump: &[u8]) -> bool {
    dump.strip_suffix(b"\n").is_some_and(|lines| lines.ends_with(BOOT_FRAME.as_bytes()))
}

/// Stacks without the frames of the runtime, whose files are under `runtime`, and without threads
/// that have no others.
fn without_runtime(stacks: &str, runtime: &str) -> String {
    let threads = stacks.split("\n\n").filter_map(|thread| {
        let is_runtime = |line: &str| line.contains(runtime) || line.contains("\"<axion>");
        let mut lines: Vec<&str> = thread.lines().filter(|line| !is_runtime(line)).collect();
        lines.pop_if(|line| line.ends_with(BOOT_FRAME));
        lines.iter().any(|line| line.trim_start().starts_with("File ")).then(|| lines.join("\n"))
    });
    threads.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_whole_with_the_first_frame_of_the_main_thread() {
        let dump = "Thread 0x1 (most recent call first):\n  File \"a.py\", line 5 in f\n\n\
                    Current thread 0x2 (most recent call first):\n  File \"<string>\", line 6 in <module>\n";
        for cut in 0..dump.len() {
            assert!(!is_whole(&dump.as_bytes()[..cut]), "{cut}");
        }
        assert!(is_whole(dump.as_bytes()));
    }

    #[test]
    fn stacks_are_those_of_user_code() {
        let stacks = "Current thread 0x1 (most recent call first):\n  File \"/tmp/axion-x/p/control.py\", line 1 in _watch\n\n\
                      Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main\n  \
                      File \"/tmp/axion-x/p/inline.py\", line 9 in serve\n  \
                      File \"<axion>\", line 50 in <module>\n  File \"<string>\", line 6 in <module>\n";
        let shown = without_runtime(stacks, "/tmp/axion-x");
        assert_eq!(shown, "Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main");
    }
}
