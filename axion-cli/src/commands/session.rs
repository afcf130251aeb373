//! What all commands that run tasks share: the engine, signals, and output.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use axion_core::{Config, Engine, TaskError};

use crate::exit::Exit;
use crate::message;
use crate::signals::Signals;

/// Sets the interpreter of all pools to that of the command line, if there is one.
pub(crate) fn use_python(config: &mut Config, python: Option<&Path>) {
    if let Some(python) = python {
        config.python = Some(python.to_owned());
        config.pools.values_mut().for_each(|pool| pool.python = None);
    }
}

/// Starts an engine, runs a job in it, and ends the engine.
pub(crate) fn host(config: Config, job: impl AsyncFnOnce(&Engine, Signals) -> Exit) -> Exit {
    // Before the engine, so that a signal during its start is a request, too. Outside the runtime: a failing `listen` drops
    // a runtime of its own, which must not happen inside another.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return engine_failed(&format_args!("cannot listen for signals: {error}")),
    };
    let engine = match Engine::builder().config(config).start() {
        Ok(engine) => engine,
        Err(error) => return engine_failed(&error),
    };
    signals.control(engine.job_control());
    let exit = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(job(&engine, signals)),
        Err(error) => engine_failed(&format_args!("cannot start the program's own runtime: {error}")),
    };
    // The result is printed by now. After an interrupt there is no grace at all.
    let grace = if matches!(exit, Exit::Signal(_)) { Duration::ZERO } else { Duration::from_secs(1) };
    engine.shutdown(grace);
    exit
}

/// Reports an error of the engine.
pub(crate) fn engine_failed(error: &dyn std::fmt::Display) -> Exit {
    message::error(error);
    Exit::Engine
}

/// Reports the error of a task: its traceback first, its post-mortem last.
pub(crate) fn task_failed(what: impl std::fmt::Display, error: &TaskError) {
    if let Some(traceback) = &error.traceback {
        message::line(traceback.trim_end());
    }
    message::error(format_args!("{what}: {error}"));
    if let Some(post_mortem) = &error.post_mortem {
        message::line(post_mortem);
    }
}

/// Writes to standard output. A closed pipe is not an error.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
