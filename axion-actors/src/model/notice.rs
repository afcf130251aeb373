//! Notices: what passes by and is not kept. A notice is no change of state, and may be dropped, counted (L9).

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{TaskId, WorkerRef};

/// A standard stream of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// fd 1.
    Stdout,
    /// fd 2.
    Stderr,
}

/// The level that a task gave its log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For debugging.
    Debug,
    /// For the record.
    Info,
    /// Unexpected, but the task goes on.
    Warning,
    /// The task cannot do its work.
    Error,
}

/// Something ephemeral, and when it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Wall time.
    pub at: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub kind: NoticeKind,
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoticeKind {
    /// A task, or a worker outside any task, wrote to a standard stream.
    Output {
        /// The task, if the bytes could be attributed.
        task: Option<TaskId>,
        /// The worker.
        worker: WorkerRef,
        /// Which stream.
        stream: Stream,
        /// The bytes. JSON has them as text; what is not UTF-8 is replaced.
        #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
        data: Bytes,
    },
    /// A task reported its progress.
    Progress {
        /// The task.
        task: TaskId,
        /// From 0 to 1.
        fraction: f64,
        /// What it is at.
        message: String,
    },
    /// A task wrote to the log.
    Log {
        /// The task.
        task: TaskId,
        /// How severe.
        level: LogLevel,
        /// The line.
        message: String,
    },
}

impl Notice {
    /// The bytes that it holds, for the bounds of those that keep it.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + match &self.kind {
                NoticeKind::Output { data, .. } => data.len(),
                NoticeKind::Progress { message, .. } | NoticeKind::Log { message, .. } => message.len(),
            }
    }
}

fn as_text<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(data))
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    String::deserialize(deserializer).map(Bytes::from)
}
