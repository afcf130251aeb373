//! What all commands that run tasks share: the engine, signals, and output.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use axion_core::{Config, Engine, TaskError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit::Exit;
use crate::message;

/// Sets the interpreter of all pools to that of the command line, if there is one.
pub(crate) fn use_python(config: &mut Config, python: Option<&Path>) {
    if let Some(python) = python {
        config.python = Some(python.to_owned());
        config.pools.values_mut().for_each(|pool| pool.python = None);
    }
}

/// Starts an engine, runs a job in it, and ends the engine.
pub(crate) fn host(config: Config, job: impl AsyncFnOnce(&Engine, Signals) -> Exit) -> Exit {
    let engine = match Engine::builder().config(config).start() {
        Ok(engine) => engine,
        Err(error) => return engine_failed(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return engine_failed(&format_args!("cannot start the program's own runtime: {error}")),
    };
    // Outside the runtime: a failing `listen` drops a runtime of its own, which must not happen inside another.
    let exit = match Signals::listen() {
        Ok(signals) => runtime.block_on(job(&engine, signals)),
        Err(error) => engine_failed(&format_args!("cannot listen for signals: {error}")),
    };
    // The result is printed by now. After an interrupt there is no grace at all.
    let grace = if matches!(exit, Exit::Signal(_)) { Duration::ZERO } else { Duration::from_secs(1) };
    engine.shutdown(grace);
    exit
}

/// The signals that end the program: the first asks, the second ends it at once.
#[derive(Debug)]
pub(crate) struct Signals(mpsc::UnboundedReceiver<u8>);

/// The time that the program has to end after the second signal. The third signal ends it at once.
const FINAL_GRACE: Duration = Duration::from_secs(3);

impl Signals {
    /// Listens on a thread of its own, because the command's thread can block on output that nobody reads.
    fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _within = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::Builder::new().name("axion-signals".to_owned()).spawn(move || {
            let number = runtime.block_on(forward_signals(sender, interrupt, terminate));
            // The guardian ends what the engine leaves behind (L7).
            std::process::exit(128 + i32::from(number));
        })?;
        Ok(Self(receiver))
    }

    /// The number of the next signal.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.0.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}

/// Passes signals on. Returns when the program has to end.
async fn forward_signals(sender: mpsc::UnboundedSender<u8>, mut interrupt: Signal, mut terminate: Signal) -> u8 {
    let mut next = async || {
        let number = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        let _ = sender.send(number);
        number
    };
    next().await;
    let second = next().await;
    tokio::time::timeout(FINAL_GRACE, next()).await.unwrap_or(second)
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
