//! What all commands that run tasks share: the engine, signals, and output.

use std::time::Duration;

use axion_core::{Config, Engine, TaskError};

use crate::args::WorkerArguments;
use crate::exit::Exit;
use crate::message::Reported;
use crate::signals::Signals;
use crate::{message, output};

/// Checks what the command line says of the workers.
pub(crate) fn check(workers: &WorkerArguments) -> Result<(), Reported> {
    match &workers.cwd {
        Some(folder) if !folder.is_dir() => {
            message::error(format_args!("--cwd {}: there is no such folder", folder.display()));
            Err(Reported)
        }
        _ => Ok(()),
    }
}

/// Sets the interpreter, the environment and the folder of the workers of all pools to those of the command line.
pub(crate) fn apply(config: &mut Config, workers: &WorkerArguments) {
    if let Some(python) = &workers.python {
        config.python = Some(python.clone());
        config.pools.values_mut().for_each(|pool| pool.python = None);
    }
    let named = config.pools.values_mut().map(|pool| &mut pool.worker);
    for worker in named.chain([&mut config.cpu_bound_worker, &mut config.io_bound_worker]) {
        worker.env.extend(workers.env.iter().cloned());
        worker.cwd = workers.cwd.clone().or_else(|| worker.cwd.take());
    }
}

/// Starts an engine, runs a job in it, and ends the engine.
pub(crate) fn host(config: Config, job: impl AsyncFnOnce(&Engine, &mut Signals) -> Exit) -> Exit {
    // Before the engine, so that a signal during its start is a request, too. Outside the runtime: a failing `listen` drops
    // a runtime of its own, which must not happen inside another.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return engine_failed(&format_args!("cannot listen for signals: {error}")),
    };
    let engine = match Engine::builder().config(config).start() {
        Ok(engine) => engine,
        Err(error) => return engine_failed(&error),
    };
    signals.control(engine.job_control());
    let runtime = match axion_core::tokio_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return engine_failed(&format_args!("cannot start the program's own runtime: {error}")),
    };
    let exit = runtime.block_on(job(&engine, &mut signals));
    // The result is printed by now. After an interrupt there is no grace at all.
    let grace = if matches!(exit, Exit::Signal(_)) { Duration::ZERO } else { Duration::from_secs(1) };
    engine.shutdown(grace);
    runtime.block_on(finish_output(exit, &mut signals))
}

/// The time that the last messages have to be read after a signal.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Waits until the reader of standard error has got everything, or a signal comes. The engine has ended by now, so
/// nothing but the program waits.
async fn finish_output(exit: Exit, signals: &mut Signals) -> Exit {
    let last_words = async {
        match exit {
            Exit::Signal(_) => tokio::time::sleep(LAST_WORDS).await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        () = output::drained() => exit,
        () = last_words => exit,
        number = signals.next() => Exit::Signal(number),
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Exit {
    match output::print(text) {
        Ok(()) => Exit::Success,
        Err(error) => engine_failed(&format_args!("cannot write the result: {error}")),
    }
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
