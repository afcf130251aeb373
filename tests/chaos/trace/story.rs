//! A task and a worker as their events tell them.

use std::time::Duration;

use axion_core::{PoolId, Priority, WorkerDownReason, WorkerRef};
use jiff::Timestamp;

/// Properties of a task that its events must show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) priority: Priority,
    /// It has limits, so it waits outside of its pool's queue.
    pub(crate) limited: bool,
    pub(crate) delay: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    /// It must not run twice.
    pub(crate) once: bool,
}

/// How often the task of a step may have been run again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) max_losses: u32,
    pub(crate) max_retries: u32,
    /// A cancellation may have kept it from being run again.
    pub(crate) cut_short: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Sent(WorkerRef),
    Waiting(Timestamp),
    Finished(&'static str),
}

/// A task as its events tell it.
#[derive(Debug)]
pub(super) struct TaskStory {
    pub(super) pool: PoolId,
    pub(super) traits: Traits,
    /// Its number among the accepted ones, and among those that ended.
    pub(super) accepted: usize,
    pub(super) ended: usize,
    pub(super) state: State,
    /// It waits since it was accepted, so it has a place in the admission.
    pub(super) fresh: bool,
    /// It was held back, as it asked for.
    pub(super) held: bool,
    pub(super) attempts: u32,
    pub(super) retries: u32,
    pub(super) losses: u32,
    /// Runs again because a neighbour had to be killed.
    pub(super) innocent: u32,
    /// Sent to a worker that was down: it has to come back.
    pub(super) late: bool,
    /// The process of each attempt, from the first on.
    pub(super) pids: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct WorkerStory {
    pub(super) pid: u32,
    pub(super) down: Option<WorkerDownReason>,
    pub(super) in_flight: usize,
    /// A suspect runs alone in it.
    pub(super) alone: bool,
}

impl TaskStory {
    /// A task that was sent to a worker that was already down must have come back.
    pub(super) fn not_late(&self) -> Result<(), String> {
        if self.late { Err("it was sent to a worker that was down and did not come back".to_owned()) } else { Ok(()) }
    }
}

pub(super) fn after(at: Timestamp, seconds: f64) -> Timestamp {
    // The figure is rounded.
    let wait = Duration::from_secs_f64(seconds.max(0.0)).saturating_sub(Duration::from_micros(1));
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

pub(super) fn died_by_itself(reason: &WorkerDownReason) -> bool {
    matches!(reason, WorkerDownReason::Exited(_) | WorkerDownReason::Protocol { .. })
}
