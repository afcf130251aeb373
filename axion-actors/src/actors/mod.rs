//! The actors: thin shells that feed events into policies and carry out what comes back (L11).
//!
//! ```text
//!                                    loads                  targets
//!                            ┌──────────────────▶ Autoscaler ─────────┐
//!              submissions   │             join / leave / unavailable ▼
//!   handles ───────────────▶ Dispatcher ◀─────────────────────────── Supervisor
//!      ▲                      │      ▲                                │      ▲
//!      └── records ───────────┘      │ reports               starts   │      │ ready / down
//!                       run / revoke │                                ▼      │
//!                             └──────┴──▶ Worker (one per child) ◀────┴──────┘
//! ```

mod admission;
mod answer;
mod autoscaler;
mod completions;
mod dispatcher;
mod inbox;
mod load;
pub mod messages;
mod supervisor;
mod worker;
mod workflows;

pub use admission::{Admission, AdmissionClosed, NoRoom};
pub use answer::{Answer, Refusal, WorkflowAnswer, WorkflowGone};
pub use autoscaler::Autoscaler;
pub use completions::{Completed, Completer, Completion, CompletionQueue, CompletionSender, DirectSpin, completions};
pub use dispatcher::Dispatcher;
pub use inbox::{Inbox, InboxSender, inbox};
pub use load::{Load, WorkSlot};
pub use supervisor::Supervisor;
pub use worker::Worker;
pub use workflows::WorkflowManager;

/// Held by the actors without which there is no engine: a panic in one of them stops the whole
/// system, so that everybody who waits is told instead of waiting for ever (L1).
struct StopOnPanic;

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(system) = actix::System::try_current()
        {
            tracing::error!("an actor of the engine panicked; stopping the engine");
            system.stop_with_code(1);
        }
    }
}

/// Adds one who waits. Those that gave up make room for new ones, so that asking again and again with a time
/// limit does not pile up (L9); they are looked for when as many have come as there were.
fn add_waiter<W>(waiters: &mut Vec<W>, waiter: W, gave_up: impl Fn(&W) -> bool) {
    if waiters.len() == waiters.capacity() {
        waiters.retain(|waiter| !gave_up(waiter));
        waiters.reserve(waiters.len().max(4));
    }
    waiters.push(waiter);
}

pub use crate::process::{Doorbell, DoorbellReader, doorbell};
