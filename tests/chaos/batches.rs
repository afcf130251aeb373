//! The ways to submit tasks, and the answers that are allowed.

use std::sync::Arc;

use axion_core::{Engine, Refusal, SubmitError, SubmitManyError, Task, TaskHandle, TaskId, WaitError};
use tokio::task::{JoinSet, spawn_blocking};

use crate::rng::Rng;

/// The tasks that fill the queue at the end have numbers from here on.
pub(crate) const FILLERS: usize = 300_000_000;

/// The tasks with unique keys have numbers from here on.
pub(crate) const UNIQUE: usize = 400_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One task, which waits for room.
    One,
    /// One task, which waits briefly for room.
    OneAtOnce,
    /// All or none.
    ManyAtOnce,
    /// Piece by piece, as there is room.
    Many,
    /// All, into an empty queue.
    Fill,
}

/// Tasks that were submitted together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) tasks: Vec<TaskId>,
    way: Way,
    /// The first ones.
    pub(crate) accepted: usize,
    error: Option<SubmitError>,
    /// The engine knows a task that it refused.
    known: bool,
}

#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) batch: Batch,
    pub(crate) handles: Vec<TaskHandle>,
}

/// How many tasks are submitted together: now and then more than may wait.
pub(crate) fn count(rng: &mut Rng, most: usize) -> usize {
    match rng.within(1, 200) {
        1 => most + 1,
        2..=15 => usize::try_from(rng.within(2, 12)).unwrap_or(2),
        _ => 1,
    }
}

pub(crate) fn enter(entering: &mut JoinSet<Entered>, engine: Arc<Engine>, tasks: Vec<Task>, way: u64) {
    let way = match (tasks.len(), way % 5) {
        (1, 0) => Way::OneAtOnce,
        (1, _) => Way::One,
        (_, 0..3) => Way::ManyAtOnce,
        _ => Way::Many,
    };
    entering.spawn(submit(engine, tasks, way));
}

pub(crate) fn fill(entering: &mut JoinSet<Entered>, engine: Arc<Engine>, tasks: Vec<Task>) {
    entering.spawn(submit(engine, tasks, Way::Fill));
}

async fn submit(engine: Arc<Engine>, tasks: Vec<Task>, way: Way) -> Entered {
    let ids: Vec<TaskId> = tasks.iter().map(Task::id).collect();
    let refused = |error| SubmitManyError { error, accepted: Vec::new() };
    let blocking = engine.clone();
    let submitted = match way {
        Way::One => {
            let mut handles = Vec::new();
            let mut wrong = None;
            for task in tasks {
                match engine.submit_async(task).await {
                    Ok(handle) => handles.push(handle),
                    Err(error) => wrong = Some(error),
                }
            }
            wrong.map_or(Ok(handles), |error| Err(refused(error)))
        }
        Way::Many => engine.submit_many_async(tasks).await,
        Way::OneAtOnce => {
            let submit = move || tasks.into_iter().map(|task| blocking.submit(task)).collect::<Result<Vec<_>, _>>();
            spawn_blocking(submit).await.expect("no panic").map_err(refused)
        }
        Way::ManyAtOnce | Way::Fill => {
            spawn_blocking(move || blocking.submit_many(tasks)).await.expect("no panic").map_err(refused)
        }
    };
    let (handles, error) = match submitted {
        Ok(handles) => (handles, None),
        Err(SubmitManyError { error, accepted }) => (accepted, Some(error)),
    };
    let known = match ids.get(handles.len()) {
        Some(refused) => !matches!(
            engine.handle(*refused).await,
            Err(WaitError::Refused(Refusal::UnknownId) | WaitError::EngineStopped)
        ),
        None => false,
    };
    Entered { batch: Batch { tasks: ids, way, accepted: handles.len(), error, known }, handles }
}

impl Batch {
    /// Whether an engine whose queue holds `most` tasks may have answered like this.
    pub(crate) fn check(&self, most: usize, closing: bool) -> Result<(), String> {
        let (count, accepted) = (self.tasks.len(), self.accepted);
        if self.known {
            return Err("L1: it was refused, but is known".to_owned());
        }
        let fits = match &self.error {
            None => accepted == count && (self.way != Way::ManyAtOnce || count <= most),
            Some(SubmitError::QueueFull { size }) => {
                *size == most && accepted == 0 && matches!(self.way, Way::OneAtOnce | Way::ManyAtOnce)
            }
            Some(SubmitError::ShuttingDown) => closing && (accepted == 0 || self.way == Way::Many),
            Some(_) => false,
        };
        if fits {
            return Ok(());
        }
        Err(format!("L9: of {count} tasks that came by {:?}, {accepted} were accepted: {:?}", self.way, self.error))
    }

    /// Those that were not accepted.
    pub(crate) fn refused(&self) -> &[TaskId] {
        &self.tasks[self.accepted..]
    }

    /// It was counted as refused.
    pub(crate) fn is_counted(&self) -> bool {
        matches!(self.error, Some(SubmitError::QueueFull { .. }))
    }
}
