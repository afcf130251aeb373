//! Every message of the protocol, grouped by pipe and direction. The order of variants and fields
//! is the format: changing it needs a new [`PROTOCOL`] number and new golden frames.

use std::collections::TryReserveError;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Attempt, Cause, ErrorKind, LogLevel, PartId, Payload, ScriptPath, Seq, Stream};

/// The version that both sides state first.
pub const PROTOCOL: u32 = 7;

/// Data pipe, engine to child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Down {
    /// The first message.
    Configure {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The worker's id, as the context shows it.
        worker: String,
        /// Tasks that may run at one time.
        slots: u32,
        /// Coroutines that may run besides.
        async_slots: u32,
        /// The largest frame either side may send.
        frame_limit: u64,
        /// The largest payload either side may send.
        payload_limit: u64,
        /// Whether the worker puts back what functions change of its process.
        restore: bool,
    },
    /// A task to run, after those sent before it.
    Run {
        /// Names this attempt within this process.
        seq: Seq,
        /// Which execution of the task it is.
        attempt: Attempt,
        /// After how many nanoseconds the engine will kill it; 0: never.
        limit: u64,
        /// The task's UUID.
        task: [u8; 16],
        /// The script's path.
        script: ScriptPath,
        /// The parameters, JSON.
        #[serde(with = "payload")]
        params: Payload,
    },
    /// A function's code or a part that it needs, before the first `Call` that needs it.
    Define {
        /// Its name from now on.
        part: PartId,
        /// What the worker keeps under this name.
        #[serde(with = "payload")]
        code: Payload,
    },
    /// No attempt needs this code or part, unless it is defined again.
    Forget {
        /// Which.
        part: PartId,
    },
    /// A function to call, after what was sent before it.
    Call {
        /// Names this attempt within this process.
        seq: Seq,
        /// Which execution of the task it is.
        attempt: Attempt,
        /// After how many nanoseconds the engine will kill it; 0: never.
        limit: u64,
        /// The task's UUID.
        task: [u8; 16],
        /// Which function, of those defined.
        function: PartId,
        /// The arguments, pickled.
        #[serde(with = "payload")]
        arguments: Payload,
    },
    /// A piece of the payload of the next message, which is a large one.
    Piece {
        /// The next bytes.
        #[serde(with = "payload")]
        data: Bytes,
    },
    /// A `Run` whose payload travels apart.
    LargeRun {
        /// As in `Run`.
        seq: Seq,
        /// As in `Run`.
        attempt: Attempt,
        /// As in `Run`.
        limit: u64,
        /// As in `Run`.
        task: [u8; 16],
        /// As in `Run`.
        script: ScriptPath,
        /// The parameters.
        params: Apart,
    },
    /// A `Define` whose payload travels apart.
    LargeDefine {
        /// As in `Define`.
        part: PartId,
        /// The code.
        code: Apart,
    },
    /// A `Call` whose payload travels apart.
    LargeCall {
        /// As in `Call`.
        seq: Seq,
        /// As in `Call`.
        attempt: Attempt,
        /// As in `Call`.
        limit: u64,
        /// As in `Call`.
        task: [u8; 16],
        /// As in `Call`.
        function: PartId,
        /// The arguments.
        arguments: Apart,
    },
}

/// A payload that travels apart from its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Its size in bytes.
    pub size: u64,
    /// It lies in the memory of the next descriptor on the payload socket. Otherwise, the `Piece`s before the message are
    /// the payload.
    pub shared: bool,
}

/// Payloads of at least this size are written without a copy.
const LARGE: usize = 64 << 10;

impl Down {
    /// Its payload, if it can have one.
    fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Run { params: payload, .. }
            | Self::Define { code: payload, .. }
            | Self::Call { arguments: payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// Its payload, if that is large.
    #[must_use]
    pub fn large_payload(&self) -> Option<&Payload> {
        self.payload().filter(|payload| payload.len() >= LARGE)
    }

    /// The message without its payload, which is the last field.
    #[must_use]
    pub fn head(&self) -> Self {
        let mut head = self.clone();
        if let Self::Run { params: payload, .. }
        | Self::Define { code: payload, .. }
        | Self::Call { arguments: payload, .. } = &mut head
        {
            *payload = Payload::default();
        }
        head
    }

    /// The message for the case that its payload travels apart.
    #[must_use]
    pub fn apart(&self, shared: bool) -> Self {
        let apart = |payload: &Payload| Apart { size: payload.len() as u64, shared };
        match self {
            Self::Run { seq, attempt, limit, task, script, params } => {
                let (seq, attempt, limit, task) = (*seq, *attempt, *limit, *task);
                Self::LargeRun { seq, attempt, limit, task, script: script.clone(), params: apart(params) }
            }
            Self::Define { part, code } => Self::LargeDefine { part: *part, code: apart(code) },
            Self::Call { seq, attempt, limit, task, function, arguments } => {
                let (seq, attempt, limit, task, function) = (*seq, *attempt, *limit, *task, *function);
                Self::LargeCall { seq, attempt, limit, task, function, arguments: apart(arguments) }
            }
            other => other.clone(),
        }
    }

    /// The attempt that this message begins, if it does.
    #[must_use]
    pub fn begins(&self) -> Option<Seq> {
        match self {
            Self::Run { seq, .. } | Self::Call { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}

/// Data pipe, child to engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up {
    /// The first message.
    Ready {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The process.
        pid: u32,
        /// The interpreter's version, `3.11.7`.
        #[serde(with = "text")]
        python: String,
        /// The interpreter's own path, for later starts without a detour over shims.
        #[serde(with = "payload")]
        executable: Bytes,
    },
    /// An attempt succeeded.
    Done {
        /// Which.
        seq: Seq,
        /// How long it ran, in nanoseconds.
        nanos: u64,
        /// Its result: JSON of a script, pickled of a function.
        #[serde(with = "payload")]
        data: Payload,
    },
    /// An attempt failed.
    Failed {
        /// Which.
        seq: Seq,
        /// How long it ran, in nanoseconds.
        nanos: u64,
        /// Why.
        failure: Failure,
    },
    /// A task (or, with seq 0, nobody) wrote to a standard stream.
    Output {
        /// Which attempt, or 0.
        seq: Seq,
        /// Where to.
        stream: Stream,
        /// What.
        #[serde(with = "payload")]
        data: Bytes,
    },
    /// A task said how far it is.
    Progress {
        /// Which attempt.
        seq: Seq,
        /// From 0 to 1.
        fraction: f64,
        /// A message for people.
        #[serde(with = "text")]
        message: String,
    },
    /// A task wrote to the log.
    Log {
        /// Which attempt.
        seq: Seq,
        /// The severity.
        level: LogLevel,
        /// The line.
        #[serde(with = "text")]
        message: String,
    },
    /// A script or a function was loaded, before its first result, and again when this changes.
    Loaded {
        /// An attempt of a task of it, which runs.
        seq: Seq,
        /// Whether its entry point is a coroutine function.
        coroutine: bool,
    },
    /// A piece of the payload of the next message, which is a large one.
    Piece {
        /// The next bytes.
        #[serde(with = "payload")]
        data: Bytes,
    },
    /// A `Done` whose payload travels apart.
    LargeDone {
        /// As in `Done`.
        seq: Seq,
        /// As in `Done`.
        nanos: u64,
        /// The result.
        data: Apart,
    },
}

impl Up {
    /// The attempt that this message ends, if it does.
    #[must_use]
    pub fn ends(&self) -> Option<Seq> {
        match self {
            Self::Done { seq, .. } | Self::LargeDone { seq, .. } | Self::Failed { seq, .. } => Some(*seq),
            _ => None,
        }
    }
}

/// The largest frame on the control socket: room for a `Revoke` of 130,000 attempts.
pub const CONTROL_LIMIT: usize = 1 << 20;

/// The causes of a failure that either side may send.
pub const MAX_CAUSES: usize = 64;

/// Control socket, engine to child; answered by the child's control thread while tasks run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlDown {
    /// Asks a running task to stop.
    Cancel {
        /// Which attempt.
        seq: Seq,
    },
    /// Takes back attempts that have not started.
    Revoke {
        /// Which.
        #[serde(deserialize_with = "seqs::deserialize")]
        seqs: Vec<Seq>,
    },
    /// Write where every thread is into the pipe for stacks. Not answered.
    DumpStacks,
    /// Asks for a `Pong`.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Raise the soft time limit's exception in a running task. Not answered.
    Interrupt {
        /// Which attempt.
        seq: Seq,
    },
}

/// Control socket, child to engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlUp {
    /// Answers `Revoke`.
    Revoked {
        /// The attempts that were taken back. They never run here.
        #[serde(deserialize_with = "seqs::deserialize")]
        seqs: Vec<Seq>,
    },
    /// Answers `Ping`.
    Pong {
        /// That of the `Ping`.
        nonce: u64,
    },
}

/// Why an attempt failed, as reported by the child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class of failure.
    pub kind: FailureKind,
    /// The exception's type, or empty.
    #[serde(with = "text")]
    pub exception: String,
    /// Its text.
    #[serde(with = "text")]
    pub message: String,
    /// Python's traceback, or empty.
    #[serde(with = "text")]
    pub traceback: String,
    /// The exceptions behind it, nearest first: [`MAX_CAUSES`] at most.
    #[serde(with = "causes")]
    pub causes: Vec<Cause>,
    /// Of a function: the exception, pickled, or empty if it cannot be or is too large.
    #[serde(with = "payload")]
    pub raised: Bytes,
}

/// The failures a child can find; the numbers are `FailureKind` in `axion_worker/failure.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the ErrorKind of the same name")]
pub enum FailureKind {
    Exception,
    ScriptNotFound,
    ScriptUnreadable,
    ScriptSyntax,
    EntryMissing,
    SystemExit,
    KeyboardInterrupt,
    MemoryError,
    RecursionError,
    ResultNotSerializable,
    ResultTooLarge,
    ParamsInvalid,
    Cancelled,
    SoftTimeout,
    FunctionNotLoadable,
    InitializerFailed,
    ModuleChanged,
}

impl From<FailureKind> for ErrorKind {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Exception => Self::Exception,
            FailureKind::ScriptNotFound => Self::ScriptNotFound,
            FailureKind::ScriptUnreadable => Self::ScriptUnreadable,
            FailureKind::ScriptSyntax => Self::ScriptSyntax,
            FailureKind::EntryMissing => Self::EntryMissing,
            FailureKind::SystemExit => Self::SystemExit,
            FailureKind::KeyboardInterrupt => Self::KeyboardInterrupt,
            FailureKind::MemoryError => Self::MemoryError,
            FailureKind::RecursionError => Self::RecursionError,
            FailureKind::ResultNotSerializable => Self::ResultNotSerializable,
            FailureKind::ResultTooLarge => Self::ResultTooLarge,
            FailureKind::ParamsInvalid => Self::ParamsInvalid,
            FailureKind::Cancelled => Self::Cancelled,
            FailureKind::SoftTimeout => Self::SoftTimeout,
            FailureKind::FunctionNotLoadable => Self::FunctionNotLoadable,
            FailureKind::InitializerFailed => Self::InitializerFailed,
            FailureKind::ModuleChanged => Self::ModuleChanged,
        }
    }
}

/// Opaque bytes. A message owns a copy of them, so that a small result does not keep a whole read buffer alive.
mod payload {
    use bytes::Bytes;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(data)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
        let data = <&[u8]>::deserialize(deserializer)?;
        super::copied(data).map(T::from).map_err(D::Error::custom)
    }
}

/// Text. A message owns a copy of it.
mod text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        owned(<&str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }

    pub(super) fn owned(text: &str) -> Result<String, std::collections::TryReserveError> {
        let mut owned = String::new();
        owned.try_reserve_exact(text.len())?;
        owned.push_str(text);
        Ok(owned)
    }
}

/// A list of causes, each of which takes more memory than bytes on the wire. So their number is bounded (L9).
mod causes {
    use std::fmt;

    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::{Serialize, Serializer};

    use super::{Cause, MAX_CAUSES, text};

    pub(super) fn serialize<S: Serializer>(causes: &[Cause], serializer: S) -> Result<S::Ok, S::Error> {
        causes.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cause>, D::Error> {
        deserializer.deserialize_seq(Causes)
    }

    struct Causes;

    impl<'de> Visitor<'de> for Causes {
        type Value = Vec<Cause>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_CAUSES} causes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Vec<Cause>, A::Error> {
            let mut causes = Vec::new();
            while let Some((exception, message)) = found.next_element::<(&str, &str)>()? {
                if causes.len() == MAX_CAUSES {
                    return Err(A::Error::custom(format!("a failure has more than {MAX_CAUSES} causes")));
                }
                let [exception, message] = [exception, message].map(text::owned);
                let (exception, message) = (exception.map_err(A::Error::custom)?, message.map_err(A::Error::custom)?);
                causes.push(Cause { exception, message });
            }
            Ok(causes)
        }
    }
}

/// A list of attempts. It grows by the numbers that are there: serde would reserve memory for as many as it states (L9).
mod seqs {
    use std::fmt;

    use serde::de::{Deserializer, Error, SeqAccess, Visitor};

    use super::Seq;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Seq>, D::Error> {
        deserializer.deserialize_seq(Seqs)
    }

    struct Seqs;

    impl<'de> Visitor<'de> for Seqs {
        type Value = Vec<Seq>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of attempts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Vec<Seq>, A::Error> {
            let mut seqs = Vec::new();
            while let Some(seq) = found.next_element()? {
                seqs.try_reserve(1).map_err(A::Error::custom)?;
                seqs.push(seq);
            }
            Ok(seqs)
        }
    }
}

/// A copy, or a typed error where there is no memory for it.
fn copied(data: &[u8]) -> Result<Vec<u8>, TryReserveError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(data.len())?;
    copy.extend_from_slice(data);
    Ok(copy)
}
