//! The complete serialized forms of records.
//!
//! The JSON form of `TaskRecord` and `AttemptRecord` is for users and leaves out pickles and generations. A fact needs
//! all fields, so [`FullRecord`] and [`FullAttempt`] mirror them field by field. Their JSON leaves out only the pickled
//! exception of an error.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{Attempt, TaskId, WorkerRef};
use super::outcome::{Outcome, TaskError};
use super::payload::Payload;
use super::pool::PoolId;
use super::record::{AttemptRecord, CapturedOutput, OutputPart, TaskRecord, Timings};
use super::script::ScriptPath;
use super::value::{Data, Json, Pickle};
use super::work::{FunctionName, WorkName};

/// A wall time: RFC 3339 in human-readable formats, seconds and nanoseconds in binary ones. For `#[serde(with)]`.
pub(crate) mod instant {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            time.serialize(serializer)
        } else {
            (time.as_second(), time.subsec_nanosecond()).serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            return Timestamp::deserialize(deserializer);
        }
        let (seconds, nanos) = Deserialize::deserialize(deserializer)?;
        Timestamp::new(seconds, nanos).map_err(serde::de::Error::custom)
    }
}

/// The same for an optional time.
pub(crate) mod instant_or_none {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp, instant};

    #[derive(Serialize, Deserialize)]
    struct Time(#[serde(with = "instant")] Timestamp);

    pub(crate) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(|Time(time)| time))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DataForm {
    Json(#[serde(with = "super::raw")] Bytes),
    Pickle(Payload),
}

impl From<&Data> for DataForm {
    fn from(data: &Data) -> Self {
        match data {
            Data::Json(Json(bytes)) => Self::Json(bytes.clone()),
            Data::Pickle(Pickle(bytes)) => Self::Pickle(bytes.clone()),
        }
    }
}

impl From<DataForm> for Data {
    fn from(form: DataForm) -> Self {
        match form {
            DataForm::Json(bytes) => Self::Json(Json(bytes)),
            DataForm::Pickle(bytes) => Self::Pickle(Pickle(bytes)),
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DataForm::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DataForm::deserialize(deserializer).map(Self::from)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeForm {
    Succeeded(DataForm),
    Failed(Box<TaskError>),
    TimedOut(Box<TaskError>),
    Cancelled(Box<TaskError>),
    Expired(Box<TaskError>),
    Lost(Box<TaskError>),
}

impl From<&Outcome> for OutcomeForm {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded(data) => Self::Succeeded(data.into()),
            Outcome::Failed(error) => Self::Failed(error.clone()),
            Outcome::TimedOut(error) => Self::TimedOut(error.clone()),
            Outcome::Cancelled(error) => Self::Cancelled(error.clone()),
            Outcome::Expired(error) => Self::Expired(error.clone()),
            Outcome::Lost(error) => Self::Lost(error.clone()),
        }
    }
}

impl From<OutcomeForm> for Outcome {
    fn from(form: OutcomeForm) -> Self {
        match form {
            OutcomeForm::Succeeded(data) => Self::Succeeded(data.into()),
            OutcomeForm::Failed(error) => Self::Failed(error),
            OutcomeForm::TimedOut(error) => Self::TimedOut(error),
            OutcomeForm::Cancelled(error) => Self::Cancelled(error),
            OutcomeForm::Expired(error) => Self::Expired(error),
            OutcomeForm::Lost(error) => Self::Lost(error),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        OutcomeForm::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        OutcomeForm::deserialize(deserializer).map(Self::from)
    }
}

#[derive(Serialize, Deserialize)]
struct AttemptForm {
    attempt: Attempt,
    worker: WorkerRef,
    #[serde(with = "instant")]
    sent: Timestamp,
    #[serde(with = "instant")]
    ended: Timestamp,
    error: TaskError,
    output: Option<OutputForm>,
}

impl From<&AttemptRecord> for AttemptForm {
    fn from(record: &AttemptRecord) -> Self {
        let AttemptRecord { attempt, worker, sent, ended, error, output } = record;
        let output = output.as_deref().map(OutputForm::from);
        Self { attempt: *attempt, worker: *worker, sent: *sent, ended: *ended, error: error.clone(), output }
    }
}

impl From<AttemptForm> for AttemptRecord {
    fn from(form: AttemptForm) -> Self {
        let AttemptForm { attempt, worker, sent, ended, error, output } = form;
        Self { attempt, worker, sent, ended, error, output: output.map(|it| Box::new(it.into())) }
    }
}

/// An attempt that was followed by another one, with all fields. Dereferences to the record.
#[derive(Clone, Debug, PartialEq)]
pub struct FullAttempt(pub Box<AttemptRecord>);

impl Deref for FullAttempt {
    type Target = AttemptRecord;

    fn deref(&self) -> &AttemptRecord {
        &self.0
    }
}

impl Serialize for FullAttempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AttemptForm::from(&**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FullAttempt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AttemptForm::deserialize(deserializer).map(|form| Self(Box::new(form.into())))
    }
}

/// The name of a task's work, with the identity of a function.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WorkNameForm {
    Script(ScriptPath),
    Function(FunctionName),
}

impl From<&WorkName> for WorkNameForm {
    fn from(work: &WorkName) -> Self {
        match work {
            WorkName::Script(path) => Self::Script(path.clone()),
            WorkName::Function(name) => Self::Function(name.clone()),
        }
    }
}

impl From<WorkNameForm> for WorkName {
    fn from(form: WorkNameForm) -> Self {
        match form {
            WorkNameForm::Script(path) => Self::Script(path),
            WorkNameForm::Function(name) => Self::Function(name),
        }
    }
}

/// The record of a finished task, with all fields. Dereferences to the record.
#[derive(Clone, Debug, PartialEq)]
pub struct FullRecord(pub Arc<TaskRecord>);

impl Deref for FullRecord {
    type Target = TaskRecord;

    fn deref(&self) -> &TaskRecord {
        &self.0
    }
}

#[derive(Serialize, Deserialize)]
struct OutputForm {
    stdout: PartForm,
    stderr: PartForm,
}

/// The kept output of one stream: the beginning, the end, and the number of bytes left out between them.
#[derive(Serialize, Deserialize)]
struct PartForm {
    #[serde(with = "super::raw")]
    head: Bytes,
    #[serde(with = "super::raw")]
    tail: Bytes,
    dropped_bytes: u64,
}

impl From<&OutputPart> for PartForm {
    fn from(part: &OutputPart) -> Self {
        let (head, tail) = part.ends();
        Self { head: head.into(), tail: tail.into(), dropped_bytes: part.dropped }
    }
}

impl From<PartForm> for OutputPart {
    fn from(PartForm { head, tail, dropped_bytes }: PartForm) -> Self {
        Self::from_ends(&head, &tail, dropped_bytes)
    }
}

impl From<&CapturedOutput> for OutputForm {
    fn from(output: &CapturedOutput) -> Self {
        Self { stdout: (&output.stdout).into(), stderr: (&output.stderr).into() }
    }
}

impl From<OutputForm> for CapturedOutput {
    fn from(form: OutputForm) -> Self {
        Self { stdout: form.stdout.into(), stderr: form.stderr.into() }
    }
}

#[derive(Serialize, Deserialize)]
struct RecordForm {
    id: TaskId,
    work: WorkNameForm,
    pool: PoolId,
    outcome: OutcomeForm,
    attempt: Option<Attempt>,
    worker: Option<WorkerRef>,
    #[serde(with = "instant")]
    submitted: Timestamp,
    #[serde(with = "instant_or_none")]
    started: Option<Timestamp>,
    #[serde(with = "instant")]
    finished: Timestamp,
    output: Option<OutputForm>,
    retries: u32,
    worker_losses: u32,
    earlier: Vec<AttemptForm>,
    earlier_left_out: u32,
}

impl Serialize for FullRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = &*self.0;
        let Timings { submitted, started, finished } = record.timings;
        RecordForm {
            id: record.id,
            work: (&record.work).into(),
            pool: record.pool,
            outcome: (&record.outcome).into(),
            attempt: record.attempt,
            worker: record.worker,
            submitted,
            started,
            finished,
            output: record.output.as_deref().map(OutputForm::from),
            retries: record.retries,
            worker_losses: record.worker_losses,
            earlier: record.earlier.iter().map(AttemptForm::from).collect(),
            earlier_left_out: record.earlier_left_out,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FullRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = RecordForm::deserialize(deserializer)?;
        let RecordForm { submitted, started, finished, .. } = form;
        Ok(Self(Arc::new(TaskRecord {
            id: form.id,
            work: form.work.into(),
            pool: form.pool,
            outcome: form.outcome.into(),
            attempt: form.attempt,
            worker: form.worker,
            timings: Timings { submitted, started, finished },
            output: form.output.map(|output| Box::new(output.into())),
            retries: form.retries,
            worker_losses: form.worker_losses,
            earlier: form.earlier.into_iter().map(AttemptRecord::from).collect(),
            earlier_left_out: form.earlier_left_out,
        })))
    }
}
