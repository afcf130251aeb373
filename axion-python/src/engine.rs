//! The engine.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axion_core as core;
use axion_core::Params;
use axion_core::flow::Overrides;
use axion_core::workflow::WorkflowId;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyList, PyString};

use crate::completions::{Awaited, Completions};
use crate::config::Config;
use crate::record::Record;
use crate::task::{Options, task};
use crate::watch::{Filter, Watch};
use crate::workflow::{self, WorkflowRecord};

/// A new task id.
#[pyfunction]
pub(crate) fn new_task_id() -> String {
    core::TaskId::generate().to_string()
}

/// How long a thread that waits for room sleeps between two checks for signals such as Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(100);

/// A running engine.
///
/// A refusal raises a `ValueError` or `RuntimeError` with two arguments: a stable code and a message.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Engine {
    inner: Mutex<Option<Arc<core::Engine>>>,
    /// A process that was forked from this one has no engine, because the threads do not exist there.
    home: u32,
}

impl Engine {
    fn here(&self) -> bool {
        std::process::id() == self.home
    }

    fn get(&self) -> PyResult<Arc<core::Engine>> {
        if !self.here() {
            return Err(refused((
                "forked",
                "this process was forked off the one that has the engine: make another one",
            )));
        }
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| refused(("shutting_down", "the engine has been shut down")))
    }
}

fn refused(words: (&'static str, impl Into<String>)) -> PyErr {
    PyRuntimeError::new_err((words.0, words.1.into()))
}

fn not_accepted(error: core::SubmitError) -> PyErr {
    refused((error.code(), error.to_string()))
}

fn stopped(error: core::WaitError) -> PyErr {
    refused(("engine_stopped", error.to_string()))
}

pub(crate) fn id_of(text: &str) -> PyResult<core::TaskId> {
    text.parse().map_err(|_| refused(("id_invalid", format!("{text:?} is no id: ids are UUIDs"))))
}

#[pymethods]
impl Engine {
    #[new]
    fn new(
        py: Python<'_>,
        config: &Config,
        arguments: Vec<String>,
        byte_code: Vec<(String, PyBackedBytes)>,
    ) -> PyResult<Self> {
        let builder = core::Engine::builder().config(config.0.clone()).inherit().python_arguments(arguments);
        let builder = builder.byte_code(byte_code.into_iter().map(|(name, bytes)| (name, bytes.to_vec())));
        let engine = py.detach(|| builder.start()).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self { inner: Mutex::new(Some(Arc::new(engine))), home: std::process::id() })
    }

    /// Waits until each pool has its minimum of workers, or `limit` seconds (None: no limit). Returns whether they are
    /// there.
    #[pyo3(signature = (limit=None))]
    fn wait_ready(&self, py: Python<'_>, limit: Option<f64>) -> PyResult<bool> {
        let engine = self.get()?;
        let limit = limit.map(|limit| Duration::try_from_secs_f64(limit).unwrap_or_default());
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        loop {
            let left = end.map_or(SIGNALS, |end| end.saturating_duration_since(Instant::now()).min(SIGNALS));
            let ready = py.detach(|| engine.wait_ready(left));
            if ready.map_err(|error| refused(("not_ready", error.to_string())))? {
                return Ok(true);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    /// The events from now on of these kinds, tasks and this workflow; None: all.
    #[pyo3(signature = (kinds=None, tasks=None, workflow=None))]
    fn watch(
        &self,
        kinds: Option<HashSet<String>>,
        tasks: Option<HashSet<String>>,
        workflow: Option<String>,
    ) -> PyResult<Watch> {
        Ok(Watch::new(self.get()?.watch(), Filter::new(kinds, tasks, workflow)))
    }

    /// What a running task has reported last about its progress, 0 to 1, and its message.
    fn progress(&self, py: Python<'_>, id: &str) -> PyResult<Option<(f64, String)>> {
        let (engine, id) = (self.get()?, id_of(id)?);
        Ok(py.detach(|| engine.progress(id)).map(|progress| (progress.fraction, progress.message)))
    }

    /// Submits a task. `work` is a `Function` with packed arguments, or a script's path with JSON. Its record goes to
    /// `completions` under `number`.
    ///
    /// `wait` says what happens if the queue is full: 0 refuses, 1 refuses after a short wait, 2 waits for room.
    /// Returns the id, which is `id` if it is given.
    #[pyo3(signature = (work, payload, options, completions, number, wait, id=None))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's")]
    fn submit(
        &self,
        py: Python<'_>,
        work: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
        options: &Options,
        completions: &Completions,
        number: u64,
        wait: u8,
        id: Option<&str>,
    ) -> PyResult<String> {
        let engine = self.get()?;
        let mut task = task(work, payload, options)?;
        if let Some(id) = id {
            task = task.with_id(id_of(id)?);
        }
        // While there is room, the interpreter lock is not released.
        let first = engine.submit_to_wait(task.clone(), &completions.0, number, Duration::ZERO);
        if let Some(id) = first.map_err(not_accepted)? {
            return Ok(id.to_string());
        }
        if wait == 0 {
            return Err(refused(("queue_full", "there is no room for another task at this moment")));
        }
        if wait == 1 {
            let patient = || engine.submit_to(task, &completions.0, number);
            let id = py.detach(patient).map_err(not_accepted)?;
            return Ok(id.to_string());
        }
        loop {
            let task = task.clone();
            let entered = py.detach(|| engine.submit_to_wait(task, &completions.0, number, SIGNALS));
            if let Some(id) = entered.map_err(not_accepted)? {
                return Ok(id.to_string());
            }
            py.check_signals()?;
        }
    }

    /// Sends the record of a task that was submitted before to `completions`, too, while the returned object lives.
    fn follow(&self, id: &str, completions: &Completions, number: u64) -> PyResult<Awaited> {
        Ok(self.get()?.follow(id_of(id)?, &completions.0, number).into())
    }

    /// The record of a task that has ended, a text that says why there is none, or None if the task has not ended.
    fn ended<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (engine, id) = (self.get()?, id_of(id)?);
        match py.detach(|| engine.result(id, Duration::ZERO)) {
            Ok(record) => record.map(|record| Ok(Bound::new(py, Record(record))?.into_any())).transpose(),
            Err(core::WaitError::Refused(refusal)) => Ok(Some(PyString::new(py, &refusal.to_string()).into_any())),
            Err(error) => Err(stopped(error)),
        }
    }

    /// Cancels a task, by force if necessary. Returns whether the task had not ended.
    fn cancel(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (engine, id) = (self.get()?, id_of(id)?);
        let answer = py.detach(|| engine.cancel(id)).map_err(stopped)?;
        Ok(!matches!(answer, core::CancelAnswer::AlreadyFinished(_) | core::CancelAnswer::Unknown))
    }

    /// Cancels a task if it waits in the engine. Returns whether it was cancelled.
    fn withdraw(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (engine, id) = (self.get()?, id_of(id)?);
        py.detach(|| engine.withdraw(id)).map_err(stopped)
    }

    /// Submits a workflow. `settings` is JSON text with the keys of a flow. Each step is a tuple of id, name, script or
    /// `Function`, parameters or arguments, options, rules and dependencies (ids and names). The record goes to
    /// `completions` under `number`. Returns the workflow's id.
    fn submit_workflow(
        &self,
        py: Python<'_>,
        steps: &Bound<'_, PyList>,
        settings: &str,
        completions: &Completions,
        number: u64,
    ) -> PyResult<String> {
        let engine = self.get()?;
        workflow::submit(&engine, py, steps, settings, (completions, number))
    }

    /// Submits a workflow from a file. A JSON object replaces its parameters, and `STEP.KEY=VALUE` those of steps.
    /// Returns the workflow's id, and the name and the id of each step.
    fn submit_flow(
        &self,
        py: Python<'_>,
        path: PathBuf,
        params: Option<String>,
        changes: Vec<String>,
        completions: &Completions,
        number: u64,
    ) -> PyResult<(String, Vec<(String, String)>)> {
        let params = params.map_or_else(|| Ok(Params::default()), |text| Params::from_json("params", text));
        let params = params.map_err(|problems| PyValueError::new_err(problems.to_string()))?;
        let (engine, overrides) = (self.get()?, Overrides { params, set: changes });
        workflow::submit_flow(&engine, py, &path, &overrides, (completions, number))
    }

    /// The record of a workflow so far; None if it is unknown.
    fn workflow(&self, py: Python<'_>, id: &str) -> PyResult<Option<WorkflowRecord>> {
        let (engine, id) = (self.get()?, WorkflowId(id_of(id)?.0));
        match py.detach(|| engine.workflow(id)) {
            Ok(record) => Ok(Some(WorkflowRecord(record))),
            Err(core::WorkflowWaitError::Gone(_)) => Ok(None),
            Err(error) => Err(refused(("engine_stopped", error.to_string()))),
        }
    }

    /// Cancels a workflow. Returns whether it was in flight.
    fn cancel_workflow(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (engine, id) = (self.get()?, WorkflowId(id_of(id)?.0));
        let answer = py.detach(|| engine.cancel_workflow(id));
        answer.map_err(|error| refused(("engine_stopped", error.to_string())))
    }

    /// The status of the engine, as JSON text.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        let engine = self.get()?;
        let status = py.detach(|| engine.status()).map_err(stopped)?;
        serde_json::to_string(&*status).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// The health of the engine, as JSON text.
    fn health(&self, py: Python<'_>) -> PyResult<String> {
        let engine = self.get()?;
        let report = py.detach(|| engine.health()).map_err(stopped)?;
        serde_json::to_string(&report).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Shuts the engine down: accepts no more tasks, waits up to `limit` seconds for the accepted ones, cancels the
    /// rest, and ends the workers. Returns the number of cancelled tasks.
    fn shutdown(&self, py: Python<'_>, limit: f64) -> usize {
        if !self.here() {
            return 0;
        }
        let engine = self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let limit = Duration::try_from_secs_f64(limit).unwrap_or(Duration::MAX);
        engine.map_or(0, |engine| py.detach(|| engine.shutdown(limit).cancelled))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let engine = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if !self.here() {
            // The threads belong to another process.
            std::mem::forget(engine);
        } else if engine.is_some() {
            Python::attach(|py| py.detach(|| drop(engine)));
        }
    }
}
