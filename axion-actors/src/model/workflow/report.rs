//! The two serialized forms of the ends of steps.
//!
//! Formats for people, such as JSON, get a report with errors as codes and sentences, results as JSON, and no pickles.
//! A report can be read back, without the parts that it leaves out. Binary formats get everything and give back an
//! equal value.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{InstanceCounts, RootCause, RootCauses, StepCounts, StepError, StepRecord, StepState};
use crate::model::{Cause, ErrorKind, Json, PoolId, PostMortem, TaskError, TaskId, WorkName};

impl Serialize for StepError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        if let Self::Task(error) = self {
            return error.serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &self.code())?;
        map.serialize_entry("message", &self.to_string())?;
        if let Self::DependencyFailed(causes) | Self::Stopped(causes) = self {
            map.serialize_entry("causes", &causes.steps)?;
            map.serialize_entry("more_causes", &causes.more)?;
        }
        map.end()
    }
}

/// The reported parts of an error. `causes` are steps or exceptions.
#[derive(Deserialize)]
struct ErrorReport {
    kind: ErrorKind,
    message: String,
    exception: Option<String>,
    traceback: Option<String>,
    causes: Option<Box<RawValue>>,
    more_causes: Option<usize>,
    post_mortem: Option<Box<PostMortem>>,
}

impl<'de> Deserialize<'de> for StepError {
    /// A report contains the root causes of a failure that was passed on. Every other error is read as a task's error,
    /// with its kind and its message.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let report = ErrorReport::deserialize(deserializer)?;
        let causes = report.causes.as_deref().map_or("[]", RawValue::get);
        if let Some(more) = report.more_causes {
            let steps: Vec<RootCause> = serde_json::from_str(causes).map_err(D::Error::custom)?;
            let causes = Arc::new(RootCauses { steps, more });
            return Ok(match report.kind {
                ErrorKind::WorkflowStopped => Self::Stopped(causes),
                _ => Self::DependencyFailed(causes),
            });
        }
        let causes: Vec<Cause> = serde_json::from_str(causes).map_err(D::Error::custom)?;
        Ok(match report.kind {
            ErrorKind::WorkflowCancelled => Self::Cancelled,
            kind => Self::Task(Box::new(TaskError {
                kind,
                message: report.message,
                exception: report.exception,
                traceback: report.traceback,
                causes,
                raised: None,
                post_mortem: report.post_mortem,
            })),
        })
    }
}

/// A [`StepRecord`] in formats for people.
#[derive(Serialize, Deserialize)]
struct StepReport {
    name: Option<Arc<str>>,
    task: TaskId,
    #[serde(rename = "script")]
    work: WorkName,
    pool: PoolId,
    last: bool,
    state: StepState,
    attempts: u32,
    ready: Option<Timestamp>,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    #[serde(deserialize_with = "read_json")]
    data: Option<Json>,
    data_dropped: bool,
    error: Option<Box<StepError>>,
    instances: Option<Box<InstanceCounts>>,
}

fn read_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    let text = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(text.map(|text| Json(Box::<str>::from(text).into_string().into())))
}

impl Serialize for StepRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        // Cheap, because a result shares its bytes.
        let record = self.clone();
        let report = StepReport {
            name: record.name,
            task: record.task,
            work: record.work,
            pool: record.pool,
            last: record.last,
            state: record.state,
            attempts: record.attempts,
            ready: record.ready,
            started: record.started,
            finished: record.finished,
            data: record.data,
            data_dropped: record.data_dropped,
            error: record.error,
            instances: record.instances,
        };
        report.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StepRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let report = StepReport::deserialize(deserializer)?;
        Ok(Self {
            name: report.name,
            task: report.task,
            work: report.work,
            pool: report.pool,
            last: report.last,
            state: report.state,
            attempts: report.attempts,
            ready: report.ready,
            started: report.started,
            finished: report.finished,
            data: report.data,
            pickle: None,
            data_dropped: report.data_dropped,
            error: report.error,
            instances: report.instances,
        })
    }
}

impl Serialize for StepCounts {
    /// The names of the states with the number of steps in each.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(StepState::ALL.map(|state| (state.name(), self.of(state))))
    }
}

impl<'de> Deserialize<'de> for StepCounts {
    /// A state that is missing has no steps.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut counts = Self::default();
        for (name, count) in BTreeMap::<String, usize>::deserialize(deserializer)? {
            let state = StepState::ALL.into_iter().find(|state| state.name() == name);
            let state = state.ok_or_else(|| D::Error::custom(format_args!("unknown step state `{name}`")))?;
            counts.0[state as usize] = count;
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests;
