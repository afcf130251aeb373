//! What has ended, for Python to take.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use axion_core as core;
use axion_core::Completed;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyTuple};

use crate::record::Record;
use crate::workflow::WorkflowRecord;

/// Results above this size are handed over in memory that may be written to.
const LARGE: usize = 64 << 10;

/// Where the records of many tasks come together.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Completions(pub(crate) Arc<core::Completions>);

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        let inner = core::Completions::new().map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self(Arc::new(inner)))
    }

    /// The descriptor that becomes readable, once armed, when something has come.
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// Has the next completion make the descriptor readable; what has come before is returned as by `take`.
    fn arm<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        into_list(py, self.0.arm())
    }

    /// What has come: a list of `(number, data, record)`. `data` is a function's pickled result or None;
    /// `record` is a task's or a workflow's, text if there is none, and None if the engine has failed.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        into_list(py, self.0.take())
    }

    /// Waits, without the interpreter lock, until something has come, `ring` is called or `limit` seconds
    /// have passed (None: however long it takes), and takes it.
    #[pyo3(signature = (limit=None))]
    fn wait<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let mut taken = self.0.take();
        if taken.is_empty() {
            let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
            taken = py.detach(|| self.0.wait(limit));
        }
        into_list(py, taken)
    }

    /// Waits for this one alone, in place of a thread that sleeps in `wait`, and calls `deliver(data, record)`.
    /// False if it did not come in this way, or `deliver` was not true: then that thread has it, or will.
    ///
    /// `awaited()` is called in between, once this thread has that place: what that thread has delivered before it
    /// slept will not come again.
    #[pyo3(signature = (number, awaited, deliver, limit=None))]
    fn wait_for(
        &self,
        py: Python<'_>,
        number: u64,
        awaited: &Bound<'_, PyAny>,
        deliver: &Bound<'_, PyAny>,
        limit: Option<f64>,
    ) -> PyResult<bool> {
        let Some(place) = self.0.stand_in(number) else { return Ok(false) };
        if !awaited.call0()?.is_truthy()? {
            return Ok(false);
        }
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        match py.detach(|| place.wait(limit)) {
            core::Waited::Come(completion) => {
                let delivered = deliver_to(py, deliver, completion.clone());
                if !matches!(delivered, Ok(true)) {
                    // Also if a signal's handler has raised in the middle of it (L1).
                    self.0.give_back(completion);
                }
                delivered
            }
            core::Waited::Interrupted => py.check_signals().map(|()| false),
            core::Waited::Not => Ok(false),
        }
    }

    /// Ends a `wait_for` of this number.
    fn dismiss(&self, number: u64) {
        self.0.dismiss(number);
    }

    /// Wakes whoever waits.
    fn ring(&self) {
        self.0.ring();
    }
}

fn deliver_to(py: Python<'_>, deliver: &Bound<'_, PyAny>, (number, answer): core::Completion) -> PyResult<bool> {
    let completion = into_tuple(py, number, answer)?;
    deliver.call1((completion.get_item(1)?, completion.get_item(2)?))?.is_truthy()
}

fn into_list(py: Python<'_>, taken: Vec<core::Completion>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for (number, answer) in taken {
        list.append(into_tuple(py, number, answer)?)?;
    }
    Ok(list)
}

fn into_tuple(py: Python<'_>, number: u64, answer: Option<core::Completed>) -> PyResult<Bound<'_, PyTuple>> {
    match answer {
        Some(Completed::Task(Ok(record))) => {
            let data = record.outcome.pickle().map(|it| bytes(py, &it.0));
            (number, data, Record(record)).into_pyobject(py)
        }
        Some(Completed::Task(Err(refusal))) => (number, py.None(), refusal.to_string()).into_pyobject(py),
        Some(Completed::Workflow(Ok(record))) => (number, py.None(), WorkflowRecord(record)).into_pyobject(py),
        Some(Completed::Workflow(Err(gone))) => (number, py.None(), gone.to_string()).into_pyobject(py),
        None => (number, py.None(), py.None()).into_pyobject(py),
    }
}

/// Bytes for Python; large ones with arrays in them, which their owner may want to change.
pub(crate) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyAny> {
    if data.len() < LARGE { PyBytes::new(py, data).into_any() } else { PyByteArray::new(py, data).into_any() }
}
