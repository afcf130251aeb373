//! The answer to a cancellation.

/// What becomes of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// It had not started and never will: its outcome is Cancelled.
    Removed,
    /// It was sent to a worker: it is taken back, asked to stop, or killed after the grace period.
    /// If it ends by itself first, that is its outcome.
    Requested,
    /// The same was asked before and is under way.
    AlreadyRequested,
    /// It had ended, with this outcome.
    AlreadyFinished(&'static str),
    /// No task with this id is known.
    Unknown,
}
