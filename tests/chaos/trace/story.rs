//! A task and a worker according to their facts.

use std::time::Duration;

use axion_core::{WorkerDownReason, WorkerRef};

/// The properties of a task that its facts must show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traits {
    pub(crate) delay: Option<Duration>,
    pub(crate) ttl: Option<Duration>,
    /// It may not run twice.
    pub(crate) once: bool,
}

/// How often the task of a step may have rerun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) max_losses: u32,
    pub(crate) max_retries: u32,
    /// A cancellation may have prevented reruns.
    pub(crate) cut_short: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Sent(WorkerRef),
    Waiting,
    Finished(&'static str),
}

/// A task according to its facts.
#[derive(Debug)]
pub(super) struct TaskStory {
    pub(super) traits: Traits,
    /// Its number among the accepted ones, and among those that ended.
    pub(super) accepted: usize,
    pub(super) ended: usize,
    pub(super) state: State,
    /// It has not left the queue since it was accepted, so it takes room.
    pub(super) fresh: bool,
    /// It was held back for its delay.
    pub(super) held: bool,
    pub(super) attempts: u32,
    pub(super) retries: u32,
    pub(super) losses: u32,
    /// Reruns because the engine killed a neighbour.
    pub(super) innocent: u32,
    /// It was sent to a worker that had ended, so it has to come back.
    pub(super) late: bool,
    /// The process of each attempt, from the first on.
    pub(super) pids: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct WorkerStory {
    pub(super) pid: u32,
    pub(super) down: Option<WorkerDownReason>,
    pub(super) in_flight: usize,
}

impl TaskStory {
    /// Checks that a task that was sent to a worker that had ended came back.
    pub(super) fn not_late(&self) -> Result<(), String> {
        if self.late { Err("it was sent to a worker that had ended, and did not come back".to_owned()) } else { Ok(()) }
    }
}

pub(super) fn died_by_itself(reason: &WorkerDownReason) -> bool {
    matches!(reason, WorkerDownReason::Exited(_) | WorkerDownReason::Protocol { .. })
}
