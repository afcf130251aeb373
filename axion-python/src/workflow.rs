//! Workflows.

use std::path::Path;
use std::sync::Arc;

use axion_core as core;
use axion_core::flow::{self, Flow, FlowError, Overrides};
use axion_core::workflow::{Dependency, PathError, Reference, Step, StepError, StepState, WorkflowSpec};
use axion_core::{Diagnostics, WorkflowOptions};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::completions::{Completions, bytes};
use crate::engine::id_of;
use crate::task::{Options, task};

/// The rules of a step.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Rules(core::workflow::Rules);

#[pymethods]
impl Rules {
    /// Parses JSON text with the keys of a flow's steps, and the values of the placeholders in a function's arguments:
    /// steps, by name or id, paths, and defaults as
    /// JSON text.
    #[new]
    fn new(options: &str, inputs: Vec<(String, String, Option<String>)>) -> PyResult<Self> {
        let rules = flow::step_rules(options).map_err(|problems| PyValueError::new_err(words(&problems)))?;
        let reference = |(step, path, default): &(String, String, Option<String>)| {
            let reference = Reference::to(step.as_str()).at(path)?;
            Ok::<_, PathError>(Reference { default: default.as_deref().map(Into::into), ..reference })
        };
        let inputs = inputs.iter().map(reference).collect::<Result<_, _>>();
        let inputs = inputs.map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self(core::workflow::Rules { inputs, ..rules }))
    }
}

/// All mistakes, in one line.
fn words(problems: &Diagnostics) -> String {
    let one = |problem: &core::Diagnostic| match &problem.help {
        Some(help) => format!("{}: {help}", problem.message),
        None => problem.message.clone(),
    };
    problems.all.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The record of a workflow, at its end or so far.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct WorkflowRecord(pub(crate) Arc<core::workflow::WorkflowRecord>);

#[pymethods]
impl WorkflowRecord {
    /// The workflow's id.
    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    /// `running`, `succeeded`, `failed` or `cancelled`.
    #[getter]
    fn state(&self) -> String {
        self.0.state.to_string()
    }

    /// The retained results of the steps that no other step waits for: name or id, and JSON text or a pickle.
    fn results<'py>(&self, py: Python<'py>) -> Vec<(String, Option<String>, Option<Bound<'py, PyAny>>)> {
        let last = self.0.steps.iter().filter(|step| step.last && (step.data.is_some() || step.pickle.is_some()));
        let result = |step: &core::workflow::StepRecord| match (&step.data, &step.pickle) {
            (_, Some(pickle)) => (title(step), None, Some(bytes(py, &pickle.0))),
            (data, None) => (title(step), data.as_ref().map(|data| data.as_str().to_owned()), None),
        };
        last.map(result).collect()
    }

    /// The first exception of a step that has a pickle, and its traceback.
    fn raised<'py>(&self, py: Python<'py>) -> (Option<Bound<'py, PyBytes>>, Option<&str>) {
        let error = self.0.steps.iter().find_map(|step| match step.error.as_deref()? {
            StepError::Task(error) if error.raised.is_some() => Some(error),
            _ => None,
        });
        let raised = error.and_then(|error| error.raised.as_ref()).map(|it| PyBytes::new(py, &it.0));
        (raised, error.and_then(|error| error.traceback.as_deref()))
    }

    /// The steps that failed by themselves: name or id, state, error code and message. If there are none, because the
    /// failure is in an earlier workflow, the steps that were skipped because of it.
    fn failures(&self) -> Vec<(String, &'static str, String, String)> {
        let tell = |step: &core::workflow::StepRecord| {
            let (code, words) = step.error.as_ref().map(|it| (it.code(), it.to_string())).unwrap_or_default();
            (title(step), step.state.name(), code, words)
        };
        let failed = || self.0.steps.iter().filter(|step| step.state.is_failure());
        let mut own = failed().filter(|step| step.state != StepState::DependencyFailed).peekable();
        if own.peek().is_some() { own.map(tell).collect() } else { failed().map(tell).collect() }
    }

    /// The whole record, as JSON text.
    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&*self.0).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

fn title(step: &core::workflow::StepRecord) -> String {
    step.name.as_ref().map_or_else(|| step.task.to_string(), ToString::to_string)
}

/// An error with a code, a message, and the code and message of each problem.
fn not_accepted(error: &core::WorkflowError) -> PyErr {
    let problems: Vec<(&str, String)> = match error {
        core::WorkflowError::Refused(core::WorkflowRefusal::Graph(problems)) => {
            problems.iter().map(|problem| (problem.code(), problem.to_string())).collect()
        }
        core::WorkflowError::Tasks(wrong) => wrong.iter().map(|it| (it.error.code(), it.to_string())).collect(),
        other => vec![(other.code(), other.to_string())],
    };
    PyRuntimeError::new_err((error.code(), error.to_string(), problems))
}

/// A step from `(id, name, script or function, parameters or arguments, options, rules, dependencies)`.
fn step(given: &Bound<'_, PyTuple>) -> PyResult<Step> {
    let id: String = given.get_item(0)?.extract()?;
    let name: Option<String> = given.get_item(1)?.extract()?;
    let options = given.get_item(4)?;
    let task = task(&given.get_item(2)?, &given.get_item(3)?, options.cast::<Options>()?.get())?.with_id(id_of(&id)?);
    let step = name.map_or_else(|| Step::unnamed(task.clone()), |name| Step::new(name, task.clone()));
    let rules: Option<Bound<'_, Rules>> = given.get_item(5)?.extract()?;
    let step = rules.map_or(step.clone(), |rules| step.with_rules(rules.get().0.clone()));
    let dependencies: Vec<String> = given.get_item(6)?.extract()?;
    Ok(dependencies.into_iter().fold(step, |step, dependency| match dependency.parse::<core::TaskId>() {
        Ok(task) => step.after(task),
        Err(_) => step.after(Dependency::from(&*dependency)),
    }))
}

/// `Engine.submit_workflow`.
pub(crate) fn submit(
    engine: &core::Engine,
    py: Python<'_>,
    steps: &Bound<'_, PyList>,
    settings: &str,
    (completions, number): (&Completions, u64),
) -> PyResult<String> {
    let settings = flow::settings(settings).map_err(|problems| PyValueError::new_err(words(&problems)))?;
    let steps = steps.iter().map(|given| step(given.cast::<PyTuple>()?)).collect::<PyResult<_>>()?;
    let spec = WorkflowSpec { steps, ..settings };
    let submit = || engine.submit_workflow_to(spec, WorkflowOptions::default(), &completions.0, number);
    py.detach(submit).map(|id| id.to_string()).map_err(|error| not_accepted(&error))
}

/// `Engine.submit_flow`.
pub(crate) fn submit_flow(
    engine: &core::Engine,
    py: Python<'_>,
    path: &Path,
    overrides: &Overrides,
    (completions, number): (&Completions, u64),
) -> PyResult<(String, Vec<(String, String)>)> {
    let flow = py.detach(|| Flow::load(path, overrides)).map_err(wrong_flow)?;
    let titles = flow.spec.steps.iter().map(|step| (step.title(), step.task().id().to_string())).collect();
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let options = WorkflowOptions { folder, ..WorkflowOptions::default() };
    let submit = || engine.submit_workflow_to(flow.spec, options, &completions.0, number);
    let id = py.detach(submit).map_err(|error| not_accepted(&error))?;
    Ok((id.to_string(), titles))
}

/// A ValueError with a message, and the place and message of each problem.
fn wrong_flow(error: FlowError) -> PyErr {
    let FlowError::Invalid(problems) = &error else { return PyValueError::new_err(error.to_string()) };
    let place = |problem: &core::Diagnostic| problems.place(problem).unwrap_or_default();
    let all: Vec<_> = problems
        .all
        .iter()
        .map(|problem| {
            let ((line, column), help) = (place(problem), problem.help.clone());
            (line, column, help.map_or_else(|| problem.message.clone(), |help| format!("{}: {help}", problem.message)))
        })
        .collect();
    let lines: Vec<String> = all
        .iter()
        .map(|(line, column, words)| match line {
            0 => format!("{}: {words}", problems.file),
            line => format!("{}:{line}:{column}: {words}", problems.file),
        })
        .collect();
    PyValueError::new_err((lines.join("\n"), all))
}
