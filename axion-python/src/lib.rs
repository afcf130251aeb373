//! `axion._axion`: the native part of the Python package. It converts and forwards. The user's interface is the Python
//! code beside it (`python/axion/`).
//!
//! No Rust thread enters the interpreter. Completions wait in `completions`. A descriptor wakes a Python thread or the
//! event loop, which takes them.

mod completions;
mod config;
mod engine;
mod log;
mod program;
mod record;
mod task;
mod watch;
mod workflow;

/// The module.
#[pyo3::pymodule]
mod _axion {
    #[pymodule_export]
    use crate::completions::{Awaited, Completions};
    #[pymodule_export]
    use crate::config::{Config, config_keys};
    #[pymodule_export]
    use crate::engine::{Engine, new_task_id};
    #[pymodule_export]
    use crate::log::{dropped_log_lines, log_as, mark_log, open_log};
    #[pymodule_export]
    use crate::program::program;
    #[pymodule_export]
    use crate::record::Record;
    #[pymodule_export]
    use crate::task::{Function, Options, Part, fingerprint};
    #[pymodule_export]
    use crate::watch::Watch;
    #[pymodule_export]
    use crate::workflow::{Rules, WorkflowRecord};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
