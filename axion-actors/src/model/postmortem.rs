//! The known facts about an attempt whose process was killed or crashed. No guess is stated as a fact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessExit {
    /// The process exited with this code.
    Code(i32),
    /// This signal ended the process.
    Signal(i32),
    /// The system did not tell: the program ignores SIGCHLD, or something else reaped the process.
    Unknown,
}

impl ProcessExit {
    /// The name of the signal, if it has one.
    #[must_use]
    pub fn signal_name(self) -> Option<&'static str> {
        let Self::Signal(number) = self else {
            return None;
        };
        SIGNALS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }
}

/// The signals that end processes, as numbered on Linux for x86 and ARM.
const SIGNALS: [(i32, &str); 18] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (10, "SIGUSR1"),
    (11, "SIGSEGV"),
    (12, "SIGUSR2"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
    (25, "SIGXFSZ"),
    (31, "SIGSYS"),
];

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.signal_name()) {
            (Self::Code(code), _) => write!(f, "exit code {code}"),
            (Self::Signal(number), Some(name)) => write!(f, "signal {number} ({name})"),
            (Self::Signal(number), None) => write!(f, "signal {number}"),
            (Self::Unknown, _) => {
                f.write_str("unknown exit (the program ignores SIGCHLD, or something else reaped the process)")
            }
        }
    }
}

/// The reason why the engine kills the process of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillReason {
    /// The attempt reached its time limit.
    Deadline,
    /// The attempt was cancelled and did not stop within the grace period.
    Cancel,
    /// The process held more memory than a task may.
    MemoryLimit,
}

/// The party that ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The engine, because of the attempt's time limit.
    Deadline,
    /// The engine, because the attempt was cancelled.
    Cancel,
    /// The engine, because its process held more memory than a task may.
    MemoryLimit,
    /// The engine, because another attempt in the same process had to be killed.
    Neighbour,
    /// The engine, because the process broke the protocol.
    Protocol,
    /// The process itself, by an exit code.
    OwnExit,
    /// A signal that the processor or the process raises against itself: a crash or an abort.
    Crash,
    /// A SIGKILL that the engine did not send, while the kernel counted an out-of-memory kill in the engine's control
    /// group.
    OutOfMemory,
    /// A signal from outside the engine: from a person, a service manager or the kernel. The engine cannot know the
    /// sender.
    OutsideForce,
    /// The cause is unknown.
    Unknown,
}

impl EndedBy {
    /// The party that ends a process with this exit, if it was not the engine.
    #[must_use]
    pub fn from_exit(exit: ProcessExit) -> Self {
        match exit {
            ProcessExit::Code(_) => Self::OwnExit,
            ProcessExit::Unknown => Self::Unknown,
            // SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
            ProcessExit::Signal(4..=8 | 11 | 31) => Self::Crash,
            ProcessExit::Signal(_) => Self::OutsideForce,
        }
    }
}

/// The resources that a process used, from the wait call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The peak resident memory, in bytes.
    pub peak_memory_bytes: u64,
    /// Processor time in user code, in seconds.
    pub user_seconds: f64,
    /// Processor time in the kernel, in seconds.
    pub system_seconds: f64,
}

/// The known facts about the end of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostMortem {
    /// The party that ended it.
    pub ended_by: EndedBy,
    /// The exit code or the signal.
    pub exit: Option<ProcessExit>,
    /// The resources used.
    pub usage: Option<Usage>,
    /// The age of the process, in seconds.
    pub worker_age_seconds: f64,
    /// The number of attempts that it had ended before.
    pub worker_tasks: u64,
    /// The last 8 KiB of standard output.
    pub stdout_tail: String,
    /// The last 8 KiB of standard error.
    pub stderr_tail: String,
    /// The stacks of its threads, taken just before the kill.
    pub stacks: Option<String>,
}

impl fmt::Display for PostMortem {
    /// The text for people, on several lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.ended_by {
            EndedBy::Deadline => "killed by the engine at the deadline",
            EndedBy::Cancel => "killed by the engine after the cancel's grace period",
            EndedBy::MemoryLimit => "killed by the engine for holding too much memory",
            EndedBy::Neighbour => "killed by the engine because of another task in the same worker",
            EndedBy::Protocol => "killed by the engine for breaking the protocol",
            EndedBy::OwnExit => "exited by itself",
            EndedBy::Crash => "crashed",
            EndedBy::OutOfMemory => "killed from outside the engine, while the kernel ran out of memory for it",
            EndedBy::OutsideForce => "killed from outside the engine",
            EndedBy::Unknown => "unknown",
        };
        write!(f, "ended by   {who}")?;
        if let Some(exit) = self.exit {
            write!(f, ", {exit}")?;
        }
        write!(f, "\nworker     {:.1} s old, {} tasks before", self.worker_age_seconds, self.worker_tasks)?;
        if let Some(usage) = &self.usage {
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let memory = usage.peak_memory_bytes as f64 / f64::from(1 << 20);
            let (user, system) = (usage.user_seconds, usage.system_seconds);
            write!(
                f,
                "\nused       {memory:.1} MiB at most, {user:.2} s of processor time and {system:.2} s in the kernel"
            )?;
        }
        for (name, text) in [("stdout", &self.stdout_tail), ("stderr", &self.stderr_tail)] {
            if !text.trim().is_empty() {
                write!(f, "\nlast {name}\n{}", indented(text))?;
            }
        }
        if let Some(stacks) = &self.stacks {
            write!(f, "\nstacks\n{}", indented(stacks))?;
        }
        Ok(())
    }
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
