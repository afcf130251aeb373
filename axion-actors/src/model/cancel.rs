//! The answer to a cancellation.

/// The effect of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The task had not started and never will. Its outcome is `Cancelled`.
    Removed,
    /// The task is with a worker. The engine takes it back, asks it to stop, or kills it after the grace period. If the
    /// task ends by itself first, that end is its outcome.
    Requested,
    /// The task is with a worker, and the request was only for a waiting task. Nothing changes.
    Started,
    /// An earlier request of the same kind is in progress.
    AlreadyRequested,
    /// The task had already ended with this outcome.
    AlreadyFinished(&'static str),
    /// The engine knows no task with this id.
    Unknown,
}
