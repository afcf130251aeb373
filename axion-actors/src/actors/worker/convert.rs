//! Conversions between the engine's types and those of the wire and the process.

use crate::model::{Pickle, ProcessExit, TaskError, Work};
use crate::policy::functions::Order;
use crate::policy::scheduler::RunTask;
use crate::policy::worker_lifecycle::{ExitKind, MessageKind};
use crate::process::{EXIT_NO_WORKER, EXIT_TOO_OLD, ExitCause};
use crate::wire::{Down, Failure, Up};

/// The message that sends a task to a child.
pub(super) fn into_message(task: RunTask) -> Down {
    let RunTask { seq, attempt, id, work, params, limit, .. } = task;
    let (task, limit) =
        (*id.0.as_bytes(), limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)));
    match work {
        Work::Script(script) => Down::Run { seq, attempt, limit, task, script, params },
        Work::Function(function) => {
            Down::Call { seq, attempt, limit, task, function: function.id(), arguments: params }
        }
    }
}

/// The message that precedes a task.
pub(super) fn into_order(order: Order<'_>) -> Down {
    match order {
        Order::Forget(part) => Down::Forget { part },
        Order::Define(part) => Down::Define { part: part.id(), code: part.bytes().clone() },
    }
}

/// The engine's error for a failure that the child reports.
pub(super) fn into_error(failure: Failure) -> TaskError {
    let text = |text: String| (!text.is_empty()).then_some(text);
    TaskError {
        exception: text(failure.exception),
        traceback: text(failure.traceback),
        causes: failure.causes,
        raised: (!failure.raised.is_empty()).then_some(Pickle(failure.raised.into())),
        ..TaskError::new(failure.kind.into(), failure.message)
    }
}

/// A short form of a message for an error text: its name and the beginning of its fields.
pub(super) fn shown(message: &Up) -> String {
    format!("{message:?}").chars().take(80).collect()
}

/// The event of a message for the worker's lifecycle.
pub(super) fn kind(message: &Up) -> MessageKind {
    match message {
        Up::Ready { .. } => MessageKind::Handshake,
        Up::Output { .. } => MessageKind::Output,
        _ => MessageKind::Other,
    }
}

/// How a process ended, without the errors of the system calls.
pub(super) fn exit_kind(cause: ExitCause) -> ExitKind {
    match cause {
        ExitCause::NotStarted(error) => {
            ExitKind::NotStarted { definite: error.is_definite(), message: error.to_string() }
        }
        ExitCause::Exit(exit @ ProcessExit::Code(EXIT_TOO_OLD | EXIT_NO_WORKER)) => ExitKind::Unsuitable(exit),
        ExitCause::Exit(exit) => ExitKind::Exited(exit),
        ExitCause::Protocol { violation } => ExitKind::Protocol { violation },
    }
}
