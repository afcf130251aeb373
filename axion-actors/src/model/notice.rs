//! Notices: ephemeral output, progress and log lines. A notice is not a change of state. The engine may drop notices,
//! and counts those that it drops (L9).

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{TaskId, WorkerRef};

/// A standard stream of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// The level of a task's log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Details for debugging.
    Debug,
    /// Normal progress.
    Info,
    /// Something unexpected that does not stop the task.
    Warning,
    /// The task cannot do its work.
    Error,
}

/// A notice with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The wall time.
    pub at: Timestamp,
    /// The content.
    #[serde(flatten)]
    pub kind: NoticeKind,
}

/// The content of a notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoticeKind {
    /// A task, or a worker outside any task, wrote to a standard stream.
    Output {
        /// The task, if the bytes can be attributed to one.
        task: Option<TaskId>,
        /// The worker.
        worker: WorkerRef,
        /// The stream.
        stream: Stream,
        /// The bytes. In JSON they are text, with invalid UTF-8 replaced.
        #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
        data: Bytes,
    },
    /// A task reported progress.
    Progress {
        /// The task.
        task: TaskId,
        /// The progress, from 0 to 1.
        fraction: f64,
        /// The present activity.
        message: String,
    },
    /// A task wrote to the log.
    Log {
        /// The task.
        task: TaskId,
        /// The severity.
        level: LogLevel,
        /// The line, without a line break.
        message: String,
    },
}

/// How far an attempt is, as its task has reported last.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskProgress {
    /// The progress, from 0 to 1.
    pub fraction: f64,
    /// The present activity, cut to [`TaskProgress::LONGEST`].
    pub message: String,
}

impl TaskProgress {
    /// The longest message that is kept, in bytes (L9).
    pub const LONGEST: usize = 4096;

    /// A report, with its message cut.
    #[must_use]
    pub fn new(fraction: f64, message: &str) -> Self {
        let mut end = message.len().min(Self::LONGEST);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        Self { fraction, message: message[..end].to_owned() }
    }
}

impl Notice {
    /// The size in bytes, for bounded buffers.
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
