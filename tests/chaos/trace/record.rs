//! Watches the engine's facts while it runs.

use std::thread::JoinHandle;

use axion_core::{EventStream, Fact, FactKind, TaskId, Watched, WorkerRef};
use tokio::sync::mpsc;

use crate::plan::agree;

/// What the test learns about workers and tasks while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TraceUpdate {
    Ready(WorkerRef, u32),
    Down(WorkerRef),
    /// A task is with a worker, or waits for its retry.
    Active(TaskId),
    /// It is not any more.
    Inactive(TaskId),
}

/// The facts of an engine.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) events: Vec<Fact>,
    pub(crate) missed: u64,
    /// The number of facts before the first missed one.
    before_missed: Option<usize>,
}

impl Recorded {
    /// The facts that have no gap between them, from the first on.
    pub(crate) fn without_gaps(&self) -> &[Fact] {
        &self.events[..self.before_missed.unwrap_or(self.events.len())]
    }
}

/// Reads a stream that nobody has read so far. It has the latest facts, and says how many came before them (L9).
pub(crate) fn check_unread(mut unread: EventStream, recorded: &Recorded) -> Result<(), String> {
    let (mut facts, mut missed, mut last) = (0, 0, None);
    while let Some(watched) = unread.wait_next() {
        match watched {
            Watched::Fact(fact) => {
                facts += 1;
                last = Some(fact.id);
            }
            Watched::FactsMissed(count) => missed += count,
            _ => {}
        }
    }
    let all = recorded.events.len() as u64 + recorded.missed;
    agree("the facts that a late reader gets and misses", &(facts + missed), &all)?;
    agree("the last fact of a late reader", &last, &recorded.events.last().map(|fact| fact.id))
}

/// Watches in a thread of its own, which does nothing else, so that it does not fall behind.
pub(crate) fn record(mut events: EventStream) -> (JoinHandle<Recorded>, mpsc::UnboundedReceiver<TraceUpdate>) {
    let (sender, updates) = mpsc::unbounded_channel();
    // At the end, the receiver is gone.
    let send = move |update| {
        let _ = sender.send(update);
    };
    let thread = std::thread::spawn(move || {
        let mut recorded = Recorded::default();
        while let Some(watched) = events.wait_next() {
            let event = match watched {
                Watched::Fact(fact) => fact,
                Watched::FactsMissed(count) => {
                    recorded.missed += count;
                    recorded.before_missed.get_or_insert(recorded.events.len());
                    continue;
                }
                _ => continue,
            };
            match &event.kind {
                FactKind::WorkerReady { worker, pid, .. } => send(TraceUpdate::Ready(*worker, *pid)),
                FactKind::WorkerDown { worker, .. } => send(TraceUpdate::Down(*worker)),
                FactKind::TaskSent { task, .. } | FactKind::TaskRetrying { task, .. } => {
                    send(TraceUpdate::Active(*task));
                }
                FactKind::TaskReturned { task, .. } | FactKind::TaskRerun { task, .. } | FactKind::TaskDue { task } => {
                    send(TraceUpdate::Inactive(*task));
                }
                FactKind::TaskFinished { record } => send(TraceUpdate::Inactive(record.id)),
                _ => {}
            }
            recorded.events.push(event);
        }
        recorded
    });
    (thread, updates)
}
