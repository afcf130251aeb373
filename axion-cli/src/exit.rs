//! The exit codes, as `--help` and the README list them.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The task, or the workflow, succeeded.
    Success,
    /// The task, or the workflow, failed.
    TaskFailed,
    /// Wrong usage or input.
    Usage,
    /// The engine could not do its work.
    Engine,
    /// The task, or the workflow, reached its time limit.
    TimedOut,
    /// The task's worker died under it.
    Lost,
    /// Ended by this signal.
    Signal(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::TaskFailed => 1,
            Exit::Usage => 2,
            Exit::Engine => 3,
            Exit::TimedOut => 124,
            Exit::Lost => 125,
            Exit::Signal(number) => 128 + number,
        })
    }
}
