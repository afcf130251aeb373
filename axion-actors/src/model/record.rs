//! The record of a finished task.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::ids::{Attempt, TaskId, WorkerRef};
use super::outcome::{Outcome, TaskError};
use super::pool::PoolId;
use super::work::WorkName;

/// The wall times of a task. `started` and `finished` are those of the last attempt. A task that never started has no
/// `started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// The time when the engine accepted the task.
    pub submitted: Timestamp,
    /// The time when the entry point began to run: the end minus the run time that the worker measured. If the attempt
    /// ended with its process, the time when the attempt entered a slot of its worker.
    pub started: Option<Timestamp>,
    /// The time when the outcome was known.
    pub finished: Timestamp,
}

impl Timings {
    /// The run time in seconds; 0 if the task never started.
    #[must_use]
    pub fn run_seconds(&self) -> f64 {
        self.started.map_or(0.0, |started| seconds(started, self.finished))
    }

    /// The seconds from submission to start, or to the end if the task never started.
    #[must_use]
    pub fn wait_seconds(&self) -> f64 {
        seconds(self.submitted, self.started.unwrap_or(self.finished))
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// The output of a task to one stream: the beginning and the end, each up to half of the limit, and the number of bytes
/// between them. The end usually contains the reason of a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputPart {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// The number of bytes between the beginning and the end that were not kept (L9).
    pub dropped: u64,
}

impl OutputPart {
    /// The text, with invalid UTF-8 replaced. A line stands in the place of the dropped bytes.
    #[must_use]
    pub fn text(&self) -> String {
        let (head, tail) = (String::from_utf8_lossy(&self.head), Vec::from(self.tail.clone()));
        let tail = String::from_utf8_lossy(&tail);
        match self.dropped {
            0 => format!("{head}{tail}"),
            dropped => format!("{head}\n... {dropped} bytes left out ...\n{tail}"),
        }
    }

    /// The kept beginning and the kept end.
    pub(super) fn ends(&self) -> (Vec<u8>, Vec<u8>) {
        (self.head.clone(), self.tail.iter().copied().collect())
    }

    /// Restores a part from the result of [`ends`](Self::ends).
    pub(super) fn from_ends(head: &[u8], tail: &[u8], dropped: u64) -> Self {
        Self { head: head.to_vec(), tail: tail.iter().copied().collect(), dropped }
    }

    /// The number of bytes kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether the task wrote nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.dropped == 0
    }

    /// Keeps the bytes that belong to the first or the last half of `limit` bytes, and counts the others.
    pub fn push(&mut self, data: &[u8], limit: usize) {
        let half = limit / 2;
        let (begin, rest) = data.split_at((limit - half).saturating_sub(self.head.len()).min(data.len()));
        self.head.extend_from_slice(begin);
        let kept = &rest[rest.len().saturating_sub(half)..];
        let over = (self.tail.len() + kept.len()).saturating_sub(half);
        self.tail.drain(..over);
        self.tail.extend(kept);
        self.dropped += (rest.len() - kept.len() + over) as u64;
    }

    /// Keeps `limit` bytes, half of them from the beginning and half from the end, and counts the others.
    pub(super) fn shrink(&mut self, limit: usize) {
        if self.len() <= limit {
            return;
        }
        // The bytes dropped earlier are between the two halves, and stay there.
        let mut kept = std::mem::take(&mut self.head);
        kept.extend(self.tail.drain(..));
        let (begin, end) = (limit - limit / 2, kept.len() - limit / 2);
        self.dropped += (end - begin) as u64;
        self.tail = kept[end..].iter().copied().collect();
        kept.truncate(begin);
        kept.shrink_to_fit();
        self.head = kept;
    }
}

impl Serialize for OutputPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut part = serializer.serialize_struct("OutputPart", 2)?;
        part.serialize_field("text", &self.text())?;
        part.serialize_field("dropped_bytes", &self.dropped)?;
        part.end()
    }
}

/// The output of a task: prints, and raw writes to the file descriptors 1 and 2 that could be attributed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapturedOutput {
    /// Standard output.
    pub stdout: OutputPart,
    /// Standard error.
    pub stderr: OutputPart,
}

impl CapturedOutput {
    /// The number of bytes kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }

    /// Whether the task wrote nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// An attempt that was followed by another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// The number of the attempt.
    pub attempt: Attempt,
    /// The worker.
    #[serde(serialize_with = "worker_id")]
    pub worker: WorkerRef,
    /// The time when the attempt was sent to its worker.
    pub sent: Timestamp,
    /// The time when the attempt ended.
    pub ended: Timestamp,
    /// The error.
    pub error: TaskError,
    /// The output of the attempt, or `None` if there was none. Less of it is kept than of the last attempt's.
    pub output: Option<Box<CapturedOutput>>,
}

impl AttemptRecord {
    /// The approximate size in memory, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let output = self.output.as_ref().map_or(0, |it| size_of::<CapturedOutput>() + it.len());
        size_of::<Self>() - size_of::<TaskError>() + self.error.weight() + output
    }
}

fn worker_id<S: Serializer>(worker: &WorkerRef, serializer: S) -> Result<S::Ok, S::Error> {
    worker.id.serialize(serializer)
}

/// A finished task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// The task id.
    pub id: TaskId,
    /// The script or function.
    pub work: WorkName,
    /// The pool.
    pub pool: PoolId,
    /// The outcome.
    pub outcome: Outcome,
    /// The number of the last attempt, or `None` if the task never started.
    pub attempt: Option<Attempt>,
    /// The worker of the last attempt.
    pub worker: Option<WorkerRef>,
    /// The wall times.
    pub timings: Timings,
    /// The output of the last attempt, or `None` if there was none.
    pub output: Option<Box<CapturedOutput>>,
    /// The number of retries after failures.
    pub retries: u32,
    /// The number of worker deaths during the task.
    pub worker_losses: u32,
    /// The attempts before the last one: the latest 16 at most.
    pub earlier: Vec<AttemptRecord>,
    /// The number of other attempts, which were left out because of their number or size (L9).
    pub earlier_left_out: u32,
}

impl TaskRecord {
    /// The approximate size in memory, in bytes, for the bound on retained records (L9).
    #[must_use]
    pub fn weight(&self) -> usize {
        let data = self.outcome.data_size();
        let error = self.outcome.error().map_or(0, TaskError::weight);
        let earlier: usize = self.earlier.iter().map(AttemptRecord::weight).sum();
        let output = self.output.as_ref().map_or(0, |it| it.len());
        size_of::<Self>() + data + error + earlier + output
    }
}

impl Serialize for TaskRecord {
    /// The record of `--output json`: the outcome becomes the fields `outcome` and `data` or `error`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("TaskRecord", 16)?;
        record.serialize_field("id", &self.id)?;
        record.serialize_field("script", &self.work)?;
        record.serialize_field("pool", &self.pool)?;
        record.serialize_field("outcome", self.outcome.name())?;
        record.serialize_field("data", &self.outcome.data())?;
        record.serialize_field("error", &self.outcome.error())?;
        record.serialize_field("attempt", &self.attempt)?;
        record.serialize_field("worker", &self.worker.map(|w| w.id))?;
        record.serialize_field("timings", &self.timings)?;
        record.serialize_field("wait_seconds", &self.timings.wait_seconds())?;
        record.serialize_field("run_seconds", &self.timings.run_seconds())?;
        record.serialize_field("output", &self.output)?;
        record.serialize_field("retries", &self.retries)?;
        record.serialize_field("worker_losses", &self.worker_losses)?;
        record.serialize_field("earlier_attempts", &self.earlier)?;
        record.serialize_field("earlier_left_out", &self.earlier_left_out)?;
        record.end()
    }
}

/// The bound that a dropped record would have exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredBy {
    /// The number of records.
    Count,
    /// The size of all records together.
    Bytes,
    /// The age of a record.
    Age,
    /// The record belongs to a step, and its workflow does not retain it.
    NotRetained,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let mut part = OutputPart::default();
        for piece in ["ab", "cdef", "gh", "ijklmnop", "q"] {
            part.push(piece.as_bytes(), 8);
        }
        assert_eq!(part.text(), "abcd\n... 9 bytes left out ...\nnopq");
    }

    proptest! {
        #[test]
        fn l9_every_byte_is_kept_or_counted(pieces in proptest::collection::vec("[a-z]{0,20}", 0..20), limit in 0..40usize) {
            let (mut part, whole) = (OutputPart::default(), pieces.concat());
            for piece in &pieces {
                part.push(piece.as_bytes(), limit);
            }
            prop_assert_eq!(part.len() as u64 + part.dropped, whole.len() as u64);
            prop_assert!(part.len() <= limit);
            let mut small = part.clone();
            small.shrink(limit / 3);
            prop_assert!(small.len() <= limit / 3);
            prop_assert_eq!(small.len() as u64 + small.dropped, whole.len() as u64);
            prop_assert!(whole.as_bytes().starts_with(&small.head));
            prop_assert!(whole.as_bytes().ends_with(&Vec::from(small.tail)));
            let kept: Vec<u8> = part.head.iter().chain(&part.tail).copied().collect();
            prop_assert!(whole.as_bytes().starts_with(&part.head));
            prop_assert!(part.dropped > 0 || kept == whole.as_bytes());
            let tail = Vec::from(part.tail.clone());
            prop_assert!(whole.as_bytes().ends_with(&tail));
        }
    }
}
