//! Stack dumps of a child, taken before an attempt in it is killed.
//!
//! * A dump has a short time limit. The first request is one that cannot harm the process.
//! * The last dump belongs to the kill that ended the process. A dump that arrives too late for its kill is dropped.

use std::time::Duration;

use super::source::{LAST_READS, READ};
use crate::process::link::Link;
use crate::process::os::{self, Pid, Pipe};
use crate::process::real::BOOT_FRAME;
use crate::wire::ControlDown;

/// How long to wait for the first of the stacks: from a thread that has to have the interpreter lock first, which
/// Python hands on every 5 ms, and from the signal handler that does without. And then for more.
const LOCKED: Duration = Duration::from_millis(12);
const FORCED: Duration = Duration::from_millis(20);
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
        link.push(&link.control, &[ControlDown::DumpStacks]);
        let mut text = self.read(LOCKED).await;
        if text.is_empty() && may_force && os::force_stacks(pid) {
            self.forced = true;
            text = self.read(FORCED).await;
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

    async fn read(&mut self, mut patience: Duration) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < MOST {
            text.reserve(READ);
            match tokio::time::timeout(patience, self.pipe.read(&mut text)).await {
                Err(_) | Ok(Some(Ok(0) | Err(_))) => break,
                Ok(Some(Ok(_))) => patience = MORE,
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
    fn stacks_are_those_of_user_code() {
        let stacks = "Current thread 0x1 (most recent call first):\n  File \"/tmp/axion-x/p/control.py\", line 1 in _watch\n\n\
                      Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main\n  \
                      File \"/tmp/axion-x/p/inline.py\", line 9 in serve\n  \
                      File \"<axion>\", line 50 in <module>\n  File \"<string>\", line 6 in <module>\n";
        let shown = without_runtime(stacks, "/tmp/axion-x");
        assert_eq!(shown, "Thread 0x2 (most recent call first):\n  File \"/s/a.py\", line 5 in main");
    }
}
