//! The program `axion`, which the package contains.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

/// Runs the program without the interpreter lock and returns its exit code. Its signals must have the system's
/// handlers, because Python's handlers would run only at the end.
#[pyfunction]
pub(crate) fn program(py: Python<'_>, arguments: Vec<OsString>, python: Option<PathBuf>) -> u8 {
    py.detach(|| axion_cli::main(arguments, python.as_deref()))
}
