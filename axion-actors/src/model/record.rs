//! What is kept of a finished task.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::ids::{Attempt, TaskId, WorkerRef};
use super::outcome::{Outcome, TaskError};
use super::pool::PoolId;
use super::work::WorkName;

/// When things happened, in wall time. `started` and `finished` of the last attempt; a task that
/// never started has no `started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// The engine accepted the task.
    pub submitted: Timestamp,
    /// Its entry point began to run, as the worker measured it back from its end; of an attempt that ended with its
    /// process, when it came into a slot of its worker.
    pub started: Option<Timestamp>,
    /// Its outcome was known.
    pub finished: Timestamp,
}

impl Timings {
    /// Seconds the task ran; 0 if it never started.
    #[must_use]
    pub fn run_seconds(&self) -> f64 {
        self.started.map_or(0.0, |started| seconds(started, self.finished))
    }

    /// Seconds from submit to start, or to the end if it never started.
    #[must_use]
    pub fn wait_seconds(&self) -> f64 {
        seconds(self.submitted, self.started.unwrap_or(self.finished))
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// What a task wrote to one of its streams: the beginning and the end, each up to half of the limit,
/// and how many bytes there were between them. The end is where a task says why it stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputPart {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// How many bytes between beginning and end were not kept (L9).
    pub dropped: u64,
}

impl OutputPart {
    /// The text, with invalid UTF-8 replaced and a line in the place of what was dropped.
    #[must_use]
    pub fn text(&self) -> String {
        let (head, tail) = (String::from_utf8_lossy(&self.head), Vec::from(self.tail.clone()));
        let tail = String::from_utf8_lossy(&tail);
        match self.dropped {
            0 => format!("{head}{tail}"),
            dropped => format!("{head}\n... {dropped} bytes left out ...\n{tail}"),
        }
    }

    /// What it holds of the beginning and of the end.
    pub(super) fn ends(&self) -> (Vec<u8>, Vec<u8>) {
        (self.head.clone(), self.tail.iter().copied().collect())
    }

    /// A part as [`ends`](Self::ends) gave it.
    pub(super) fn from_ends(head: &[u8], tail: &[u8], dropped: u64) -> Self {
        Self { head: head.to_vec(), tail: tail.iter().copied().collect(), dropped }
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.dropped == 0
    }

    /// Keeps what belongs to the first or the last half of `limit` bytes and counts the rest.
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

    /// Keeps only `limit` bytes, half of them from the beginning and half from the end, and counts the
    /// rest.
    pub(super) fn shrink(&mut self, limit: usize) {
        if self.len() <= limit {
            return;
        }
        // What was left out before is between the two halves, so it is so still.
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

/// Everything a task wrote: prints, and raw writes to fds 1 and 2 as far as they could be
/// attributed to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CapturedOutput {
    /// Standard output.
    pub stdout: OutputPart,
    /// Standard error.
    pub stderr: OutputPart,
}

/// An attempt that did not bring the task to its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// Which.
    pub attempt: Attempt,
    /// Where.
    #[serde(serialize_with = "worker_id")]
    pub worker: WorkerRef,
    /// When it was sent to its worker.
    pub sent: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub error: TaskError,
}

impl AttemptRecord {
    /// About how many bytes of memory it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() - size_of::<TaskError>() + self.error.weight()
    }
}

fn worker_id<S: Serializer>(worker: &WorkerRef, serializer: S) -> Result<S::Ok, S::Error> {
    worker.id.serialize(serializer)
}

/// A finished task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRecord {
    /// The task.
    pub id: TaskId,
    /// Its script or function.
    pub work: WorkName,
    /// The pool it was for.
    pub pool: PoolId,
    /// How it ended.
    pub outcome: Outcome,
    /// The number of its last attempt; `None` if it was never started.
    pub attempt: Option<Attempt>,
    /// The worker of the last attempt.
    pub worker: Option<WorkerRef>,
    /// When.
    pub timings: Timings,
    /// What its last attempt wrote; `None` if nothing.
    pub output: Option<Box<CapturedOutput>>,
    /// How often it was retried after a failure.
    pub retries: u32,
    /// How often its worker died under it.
    pub worker_losses: u32,
    /// The attempts before the last one, the latest 16 of them at most.
    pub earlier: Vec<AttemptRecord>,
    /// How many more there were, which were left out for their number or their size (L9).
    pub earlier_left_out: u32,
}

impl TaskRecord {
    /// About how many bytes of memory the record holds, for the bound on kept results (L9).
    #[must_use]
    pub fn weight(&self) -> usize {
        let data = self.outcome.data_size();
        let error = self.outcome.error().map_or(0, TaskError::weight);
        let earlier: usize = self.earlier.iter().map(AttemptRecord::weight).sum();
        let output = self.output.as_ref().map_or(0, |it| it.stdout.len() + it.stderr.len());
        size_of::<Self>() + data + error + earlier + output
    }
}

impl Serialize for TaskRecord {
    /// The record of `--output json`: the outcome is flattened into `outcome` and `data` or `error`.
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
    /// Newer records took its place.
    Count,
    /// The records held too many bytes together.
    Bytes,
    /// It had grown too old.
    Age,
    /// It is a step's, whose workflow did not keep it.
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
