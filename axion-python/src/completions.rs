//! Completions of tasks and workflows, for Python to take.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use axion_core as core;
use axion_core::Completed;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyTuple};

use crate::record::Record;
use crate::workflow::WorkflowRecord;

/// Results above this many bytes become a `bytearray`, which their owner may write to.
const LARGE: usize = 64 << 10;

/// Collects the records of many tasks.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Completions(pub(crate) Arc<core::Completions>);

/// A number that is awaited. Dropping it gives up.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Awaited {
    _awaited: core::Awaited,
}

impl From<core::Awaited> for Awaited {
    fn from(awaited: core::Awaited) -> Self {
        Self { _awaited: awaited }
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        let inner = core::Completions::new().map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self(Arc::new(inner)))
    }

    /// The descriptor that becomes readable at the next completion after `arm`.
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// Makes the next completion turn the descriptor readable. Returns the earlier completions, as `take` does.
    fn arm<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        into_list(py, self.0.arm())
    }

    /// The completions so far: a list of `(number, data, record)`. `data` is a function's pickled result or None.
    /// `record` is the record of a task or workflow, a text that says why there is none, or None if the engine failed.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        into_list(py, self.0.take())
    }

    /// Waits without the interpreter lock for a completion, a `notify`, or `limit` seconds (None: no limit), and
    /// takes the completions.
    #[pyo3(signature = (limit=None))]
    fn wait<'py>(&self, py: Python<'py>, limit: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let mut taken = self.0.take();
        if taken.is_empty() {
            let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
            taken = py.detach(|| self.0.wait(limit));
        }
        into_list(py, taken)
    }

    /// Waits for this number alone in place of the thread that sleeps in `wait`, and calls `deliver(data, record)`.
    /// Returns whether `deliver` was called and returned true. Otherwise, the sleeping thread has the completion or
    /// gets it.
    ///
    /// `awaited()` is called before the wait, when this thread has taken that place. A number that the sleeping thread
    /// has delivered before does not come again.
    #[pyo3(signature = (number, awaited, deliver, limit=None))]
    fn wait_for(
        &self,
        py: Python<'_>,
        number: u64,
        awaited: &Bound<'_, PyAny>,
        deliver: &Bound<'_, PyAny>,
        limit: Option<f64>,
    ) -> PyResult<bool> {
        let Some(mut wait) = self.0.direct_wait(number) else { return Ok(false) };
        if !awaited.call0()?.is_truthy()? {
            return Ok(false);
        }
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        let end = if py.detach(|| wait.spin()) {
            wait.wait(limit)
        } else {
            // A signal during the spin does not end the sleep.
            py.check_signals()?;
            py.detach(|| wait.wait(limit))
        };
        match end {
            core::DirectWaitEnd::Completed(completion) => {
                let delivered = deliver_to(py, deliver, completion.clone());
                if !matches!(delivered, Ok(true)) {
                    // This also runs when a signal handler raises during the delivery (L1).
                    self.0.return_to_reader(completion);
                }
                delivered
            }
            core::DirectWaitEnd::Interrupted => py.check_signals().map(|()| false),
            core::DirectWaitEnd::Released => Ok(false),
        }
    }

    /// Ends a `wait_for` of this number early.
    fn release(&self, number: u64) {
        self.0.release(number);
    }

    /// Wakes the thread in `wait`.
    fn notify(&self) {
        self.0.notify();
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

/// Bytes for Python. Large results become writable, because they may contain arrays.
pub(crate) fn bytes<'py>(py: Python<'py>, data: &core::Payload) -> Bound<'py, PyAny> {
    if data.len() < LARGE {
        return PyBytes::new(py, data).into_any();
    }
    let copy = core::WritablePayload::of(data).and_then(|copy| Bound::new(py, Buffer(copy)).ok());
    match copy.and_then(|copy| PyMemoryView::from(copy.as_any()).ok()) {
        Some(view) => view.into_any(),
        None => PyByteArray::new(py, data).into_any(),
    }
}

/// A large result in shared memory, as a buffer that its owner may write to.
#[pyclass(frozen, module = "axion._axion")]
struct Buffer(core::WritablePayload);

#[pymethods]
impl Buffer {
    #[expect(unsafe_code, reason = "Python's interface for buffers has no other")]
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let copy = &slf.get().0;
        let size = isize::try_from(copy.size())?;
        // SAFETY: Python passes a view to fill in. It keeps `slf` alive, and with it the memory, as long as the view.
        let result = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), copy.address().cast(), size, 0, flags) };
        if result == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
