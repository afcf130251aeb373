//! The actors: thin shells that feed events into policies and carry out the actions that come back (L11).
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
mod late_waiters;
mod load;
pub mod messages;
mod supervisor;
mod timer;
mod worker;
mod workflows;

pub use admission::{Admission, AdmissionClosed, NoRoom};
pub use answer::{Answer, Refusal, WorkflowAnswer, WorkflowGone};
pub use autoscaler::Autoscaler;
pub use completions::{
    Awaited, Completed, Completer, Completion, CompletionQueue, CompletionSender, DirectSpin, completions,
};
pub use dispatcher::Dispatcher;
pub use inbox::{Inbox, InboxSender, inbox};
pub use load::{Load, WorkSlot};
pub use supervisor::Supervisor;
pub use timer::TimerDriver;
pub use worker::Worker;
pub use workflows::WorkflowManager;

/// A guard in the actors that the engine cannot do without. A panic in one of them stops the whole system, so every
/// waiter gets an error instead of waiting forever (L1).
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

pub use crate::process::{Doorbell, DoorbellReader, doorbell};
