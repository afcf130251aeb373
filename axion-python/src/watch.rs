//! Watching an engine's facts and notices.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use axion_core::{EventStream, WatchCloser, Watched};
use pyo3::prelude::*;
use serde_json::{Value, json};

/// The most events, and the most bytes, that one call takes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 256 << 10;

/// The events of an engine that pass a filter, from its creation on.
#[pyclass(frozen, module = "axion._axion")]
pub(crate) struct Watch {
    stream: Mutex<EventStream>,
    closer: WatchCloser,
    filter: Filter,
}

/// What a watcher asks for. A part that is absent lets everything through.
pub(crate) struct Filter {
    kinds: Option<HashSet<String>>,
    tasks: Option<HashSet<String>>,
    workflow: Option<String>,
}

impl Filter {
    pub(crate) fn new(
        kinds: Option<HashSet<String>>,
        tasks: Option<HashSet<String>>,
        workflow: Option<String>,
    ) -> Self {
        Self { kinds, tasks, workflow }
    }

    fn passes(&self, event: &Value) -> bool {
        let is_kind = |kinds: &HashSet<String>| event["event"].as_str().is_some_and(|kind| kinds.contains(kind));
        let is_task = |tasks: &HashSet<String>| task_of(event).is_some_and(|task| tasks.contains(task));
        let is_workflow = |workflow: &String| workflow_of(event) == Some(workflow);
        self.kinds.as_ref().is_none_or(is_kind)
            && self.tasks.as_ref().is_none_or(is_task)
            && self.workflow.as_ref().is_none_or(is_workflow)
    }
}

/// The id of the task that an event is about: some carry the whole task or its record.
fn task_of(event: &Value) -> Option<&str> {
    let is_of_workflow = event.get("workflow").is_some() && event.get("task").is_none();
    let whole = || event.get("record").filter(|_| !is_of_workflow).and_then(|record| record["id"].as_str());
    match event.get("task") {
        Some(Value::String(id)) => Some(id),
        Some(task) => task["id"].as_str(),
        None => whole(),
    }
}

fn workflow_of(event: &Value) -> Option<&str> {
    event.get("workflow")?.as_str()
}

impl Watch {
    pub(crate) fn new(stream: EventStream, filter: Filter) -> Self {
        Self { closer: stream.closer(), stream: Mutex::new(stream), filter }
    }

    /// The next batch; `None` at the end.
    fn batch(&self) -> Option<Vec<(String, Option<String>, String)>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.is_empty() {
            let mut next = Some(stream.wait_next()?);
            while let Some(event) = next {
                if let Some(event) = self.read(event) {
                    bytes += event.2.len();
                    batch.push(event);
                }
                next = (batch.len() < BATCH && bytes < BATCH_BYTES).then(|| stream.try_next()).flatten();
            }
        }
        Some(batch)
    }

    /// Kind, task and JSON of an event that passes the filter. What tells of missed events always does.
    fn read(&self, event: Watched) -> Option<(String, Option<String>, String)> {
        let value = match event {
            Watched::Fact(fact) => serde_json::to_value(&fact).ok()?,
            Watched::Notice(notice) => serde_json::to_value(&notice).ok()?,
            Watched::FactsMissed(count) => return missed("facts_missed", count),
            Watched::NoticesMissed(count) => return missed("notices_missed", count),
            _ => return None,
        };
        let kind = value["event"].as_str()?.to_owned();
        self.filter.passes(&value).then(|| (kind, task_of(&value).map(str::to_owned), value.to_string()))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as `read` returns it")]
fn missed(kind: &str, count: u64) -> Option<(String, Option<String>, String)> {
    Some((kind.to_owned(), None, json!({"event": kind, "count": count}).to_string()))
}

#[pymethods]
impl Watch {
    /// Waits without the interpreter lock for events: a list of kind, task and JSON text. None at the end.
    fn wait(&self, py: Python<'_>) -> Option<Vec<(String, Option<String>, String)>> {
        py.detach(|| self.batch())
    }

    /// Ends the watch. A thread in `wait` gets what is there, and then None.
    fn close(&self) {
        self.closer.close();
    }
}
