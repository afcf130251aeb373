//! The program `axion`, which the package brings along.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

/// Runs the program without the interpreter lock and returns its exit code. Its signals have to be the system's:
/// Python's handlers would see them only at the end.
#[pyfunction]
pub(crate) fn program(py: Python<'_>, arguments: Vec<OsString>, python: Option<PathBuf>) -> u8 {
    py.detach(|| axion_cli::main(arguments, python.as_deref()))
}
