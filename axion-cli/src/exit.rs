//! The exit codes, as `--help` and the README list them.

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The task, or the workflow, succeeded.
    Success,
    /// The task, or the workflow, failed.
    TaskFailed,
    /// Wrong usage or input.
    Usage,
    /// The engine failed.
    Engine,
    /// The task, or the workflow, reached its time limit.
    TimedOut,
    /// The task is lost: its worker crashed.
    Lost,
    /// Ended by this signal.
    Signal(u8),
    /// The script ran as a program, with this exit code.
    Program(u8),
}

impl Exit {
    /// The program's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::TaskFailed => 1,
            Self::Usage => 2,
            Self::Engine => 3,
            Self::TimedOut => 124,
            Self::Lost => 125,
            Self::Signal(number) => 128 + number,
            Self::Program(code) => code,
        }
    }
}
