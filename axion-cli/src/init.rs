//! The duties of process 1: in a container without an init, the program is the parent of every orphan.
//!
//! The first process does only that, and the program runs in its child. So the waits of the engine and those for
//! orphans never meet, and the program's signals have their default actions, which process 1 does not have.

use std::time::Duration;

use axion_core::{ProcessExit, own_process};
use tokio::signal::unix::{Signal, SignalKind};

use crate::signals::{listened, next};

/// The signals that are passed on to the program.
const FORWARDED: [SignalKind; 6] = [
    SignalKind::interrupt(),
    SignalKind::terminate(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// The time that the guardian has to end the workers of a program that was killed (L7). The end of process 1 would end the
/// guardian.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// As process 1, runs the program in a child and returns its exit code. `None` in any other process, and where no child can
/// be started.
pub(crate) fn run() -> Option<u8> {
    if !own_process::is_init() {
        return None;
    }
    let runtime = axion_core::tokio_runtime().ok()?;
    runtime.block_on(supervise()).ok()
}

async fn supervise() -> std::io::Result<u8> {
    // Before the program is started, so that no signal and no end is missed.
    let mut ends = tokio::signal::unix::signal(SignalKind::child())?;
    let mut forwarded = listened(FORWARDED)?;
    let program = own_process::start_again()?;
    let exit = loop {
        tokio::select! {
            _ = ends.recv() => if let Some(exit) = reap(program) {
                break exit;
            },
            kind = next(&mut forwarded) => own_process::forward(program, kind.as_raw_value()),
        }
    };
    if matches!(exit, ProcessExit::Signal(_)) {
        let _ = tokio::time::timeout(LAST_WAIT, all_gone(&mut ends)).await;
    }
    Ok(code(exit))
}

/// Reaps every child that has ended. Returns how the program ended, if it is one of them.
fn reap(program: u32) -> Option<ProcessExit> {
    let ended = std::iter::from_fn(own_process::reap_next);
    // All of them, not only those before the program.
    ended.fold(None, |exit, (pid, its)| if pid == program { Some(its) } else { exit })
}

/// Reaps children until there is none.
async fn all_gone(ends: &mut Signal) {
    while own_process::has_children() {
        let _ = ends.recv().await;
        while own_process::reap_next().is_some() {}
    }
}

/// The exit code of the program, as a shell shows it.
fn code(exit: ProcessExit) -> u8 {
    let number = match exit {
        ProcessExit::Code(code) => code,
        ProcessExit::Signal(number) => 128 + number,
        ProcessExit::Unknown => 1,
    };
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_programs_own() {
        let of = |exits: [ProcessExit; 4]| exits.map(code);
        let exits = [ProcessExit::Code(0), ProcessExit::Code(124), ProcessExit::Signal(9), ProcessExit::Unknown];
        assert_eq!(of(exits), [0, 124, 137, 1]);
    }
}
