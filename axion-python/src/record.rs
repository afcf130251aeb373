//! The record of a finished task.

use std::sync::Arc;

use axion_core as core;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// How a task ended.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Record(pub(crate) Arc<core::TaskRecord>);

impl Record {
    fn error(&self) -> Option<&core::TaskError> {
        self.0.outcome.error()
    }
}

#[pymethods]
impl Record {
    /// The task's id.
    #[getter]
    fn task_id(&self) -> String {
        self.0.id.to_string()
    }

    /// `succeeded`, `failed`, `timed_out`, `cancelled`, `expired` or `lost`.
    #[getter]
    fn outcome(&self) -> &'static str {
        self.0.outcome.name()
    }

    /// The result of a script, or of a step's function that returned plain data, as JSON text.
    #[getter]
    fn json(&self) -> Option<&str> {
        self.0.outcome.data().map(core::Json::as_str)
    }

    /// The result of any other function, pickled.
    #[getter]
    fn pickle<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.0.outcome.pickle().map(|it| crate::completions::bytes(py, &it.0))
    }

    /// The run time of the last attempt, in seconds.
    #[getter]
    fn duration(&self) -> f64 {
        self.0.timings.run_seconds()
    }

    /// The number of the last attempt.
    #[getter]
    fn attempt(&self) -> Option<u32> {
        self.0.attempt.map(|it| it.0)
    }

    /// The worker of the last attempt.
    #[getter]
    fn worker_id(&self) -> Option<String> {
        self.0.worker.map(|it| it.id.to_string())
    }

    /// The error's stable code.
    #[getter]
    fn code(&self) -> Option<String> {
        self.error().map(|it| it.kind.to_string())
    }

    /// The error's message.
    #[getter]
    fn message(&self) -> Option<&str> {
        self.error().map(|it| it.message.as_str())
    }

    /// The type of the exception.
    #[getter]
    fn exception(&self) -> Option<&str> {
        self.error()?.exception.as_deref()
    }

    /// The traceback, as text.
    #[getter]
    fn traceback(&self) -> Option<&str> {
        self.error()?.traceback.as_deref()
    }

    /// The causes of the exception: type and text, nearest first.
    #[getter]
    fn causes(&self) -> Vec<(String, String)> {
        self.error().map_or_else(Vec::new, |it| {
            it.causes.iter().map(|cause| (cause.exception.clone(), cause.message.clone())).collect()
        })
    }

    /// The exception itself, pickled.
    #[getter]
    fn raised<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.error()?.raised.as_ref().map(|it| PyBytes::new(py, &it.0))
    }

    /// The post-mortem of the worker, as text.
    #[getter]
    fn post_mortem(&self) -> Option<String> {
        self.error()?.post_mortem.as_ref().map(ToString::to_string)
    }

    /// The standard output of the last attempt.
    #[getter]
    fn stdout(&self) -> String {
        self.0.output.as_ref().map(|it| it.stdout.text()).unwrap_or_default()
    }

    /// The standard error of the last attempt.
    #[getter]
    fn stderr(&self) -> String {
        self.0.output.as_ref().map(|it| it.stderr.text()).unwrap_or_default()
    }

    /// Whether the last attempt printed anything. Cheaper than the texts: the reader of results asks for each one.
    #[getter]
    fn has_output(&self) -> bool {
        self.0.output.as_ref().is_some_and(|it| !(it.stdout.is_empty() && it.stderr.is_empty()))
    }

    /// The whole record, as JSON text.
    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&*self.0).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
    }
}
