//! Job control: the worker processes stop and go on with the program.

use std::sync::{Arc, Weak};

use axion_actors::process::Guardian;

use super::Engine;

/// Stops and continues the worker processes of an engine with everything in their process groups. Each worker leads a
/// process group of its own, which the terminal does not stop: a program that a shell can stop (Ctrl-Z) does it.
///
/// Time limits go on while the workers are stopped. It does not keep the engine alive; after the engine's end it does
/// nothing.
#[derive(Clone, Debug)]
pub struct JobControl(Weak<Guardian>);

impl JobControl {
    pub(super) fn of(guardian: Option<&Arc<Guardian>>) -> Self {
        Self(guardian.map(Arc::downgrade).unwrap_or_default())
    }

    /// Stops the workers. Stop the program itself next: a worker that starts meanwhile is not stopped.
    pub fn stop(&self) {
        if let Some(guardian) = self.0.upgrade() {
            guardian.stop_all();
        }
    }

    /// Lets the workers go on.
    pub fn resume(&self) {
        if let Some(guardian) = self.0.upgrade() {
            guardian.continue_all();
        }
    }
}

impl Engine {
    /// Stops and continues the worker processes, from any thread.
    #[must_use]
    pub fn job_control(&self) -> JobControl {
        self.job.clone()
    }
}
