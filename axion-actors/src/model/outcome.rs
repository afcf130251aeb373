//! How a task ends.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::postmortem::{PostMortem, ProcessExit};
use super::value::{Data, Json, Pickle};

/// The one end of a task (L1).
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script's entry point, or the function, returned; its value.
    Succeeded(Data),
    /// The task ran and failed, or could not be run.
    Failed(Box<TaskError>),
    /// It reached its time limit.
    TimedOut(Box<TaskError>),
    /// It was ended on request before it could finish.
    Cancelled(Box<TaskError>),
    /// It had not started in time.
    Expired(Box<TaskError>),
    /// Its workers died while it ran, as often as it may be run again.
    Lost(Box<TaskError>),
}

impl Outcome {
    /// The outcome that an error makes.
    #[must_use]
    pub fn of_error(error: Box<TaskError>) -> Self {
        match error.kind {
            ErrorKind::SoftTimeout | ErrorKind::Timeout => Self::TimedOut(error),
            ErrorKind::Cancelled
            | ErrorKind::Shutdown
            | ErrorKind::Skipped
            | ErrorKind::NeedsImpossible
            | ErrorKind::WorkflowStopped
            | ErrorKind::WorkflowCancelled => Self::Cancelled(error),
            ErrorKind::Expired => Self::Expired(error),
            ErrorKind::WorkerLost => Self::Lost(error),
            _ => Self::Failed(error),
        }
    }

    /// Whether the task did what it should.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }

    /// The result, of a script that succeeded, or of a step's function if it is plain data.
    #[must_use]
    pub fn data(&self) -> Option<&Json> {
        match self {
            Self::Succeeded(Data::Json(data)) => Some(data),
            _ => None,
        }
    }

    /// The result, of any other function that succeeded.
    #[must_use]
    pub fn pickle(&self) -> Option<&Pickle> {
        match self {
            Self::Succeeded(Data::Pickle(data)) => Some(data),
            _ => None,
        }
    }

    /// The bytes of the result; 0 of anything but a success.
    #[must_use]
    pub fn data_size(&self) -> usize {
        match self {
            Self::Succeeded(data) => data.bytes().len(),
            _ => 0,
        }
    }

    /// The error, of anything else.
    #[must_use]
    pub fn error(&self) -> Option<&TaskError> {
        match self {
            Self::Succeeded(_) => None,
            Self::Failed(error)
            | Self::TimedOut(error)
            | Self::Cancelled(error)
            | Self::Expired(error)
            | Self::Lost(error) => Some(error),
        }
    }

    /// The word for it in records, logs and events.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed_out",
            Self::Cancelled(_) => "cancelled",
            Self::Expired(_) => "expired",
            Self::Lost(_) => "lost",
        }
    }
}

/// Why a task did not succeed. The `snake_case` names are stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The script raised an exception.
    Exception,
    /// There is no file at the script's path.
    ScriptNotFound,
    /// The script's file cannot be read.
    ScriptUnreadable,
    /// The script is not valid Python.
    ScriptSyntax,
    /// The script has neither `main` nor `module`.
    EntryMissing,
    /// The script called `sys.exit` or raised `SystemExit`.
    SystemExit,
    /// A `KeyboardInterrupt` was raised in the task.
    KeyboardInterrupt,
    /// The interpreter ran out of memory.
    MemoryError,
    /// The interpreter's recursion limit was reached.
    RecursionError,
    /// The result has no JSON form.
    ResultNotSerializable,
    /// The result does not fit into a frame.
    ResultTooLarge,
    /// The parameters cannot be read by this interpreter.
    ParamsInvalid,
    /// A step's parameters, with what other steps returned, do not fit into a frame.
    ParamsTooLarge,
    /// The function cannot be loaded by this interpreter.
    FunctionNotLoadable,
    /// What was to prepare the worker for functions failed.
    InitializerFailed,
    /// The soft time limit raised its exception in the task, which did not catch it.
    SoftTimeout,
    /// The task was still running at its time limit and was killed.
    Timeout,
    /// The task's process held more memory than a task may, and was killed.
    MemoryLimit,
    /// The task was cancelled.
    Cancelled,
    /// The task had not started when its time to live was over.
    Expired,
    /// The engine was shut down before the task ended.
    Shutdown,
    /// The worker process died while it ran the task.
    WorkerLost,
    /// No worker of the task's pool could be started.
    WorkerStartFailed,
    /// A step's condition was not met, or it waited for a step that was skipped.
    Skipped,
    /// A step waited for others that did not succeed.
    DependencyFailed,
    /// A step's reference to a result leads nowhere.
    ReferenceUnresolved,
    /// A step's condition compares what has no order.
    ConditionUndecidable,
    /// A step is mapped over something that is not a list.
    MapNotAList,
    /// A step is mapped over too long a list.
    MapTooLong,
    /// Too few instances of a mapped step succeeded.
    MapNotEnough,
    /// A step reads a result that has no JSON form.
    ResultNotPlain,
    /// The steps that a step returned cannot be added.
    StepsNotAdded,
    /// A step's needs can never be met.
    NeedsImpossible,
    /// The step's workflow stops at a failure.
    WorkflowStopped,
    /// The step's workflow was cancelled.
    WorkflowCancelled,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An exception that stood behind another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The exception's type.
    pub exception: String,
    /// Its text.
    pub message: String,
}

/// What is known about a task that did not succeed: text first, so that an exception whose class
/// nobody else can import hides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct TaskError {
    /// The stable code.
    pub kind: ErrorKind,
    /// What happened, where, and what to do about it.
    pub message: String,
    /// The exception's type, if there was one.
    pub exception: Option<String>,
    /// Python's traceback, without the runtime's own frames.
    pub traceback: Option<String>,
    /// The exceptions behind it, nearest first.
    pub causes: Vec<Cause>,
    /// The exception of a function, pickled: only Python can read it, and only where its class is known.
    #[serde(with = "super::raw::optional")]
    pub raised: Option<Pickle>,
    /// What is known of the worker process, if it was ended or died.
    pub post_mortem: Option<Box<PostMortem>>,
}

/// A [`TaskError`] in formats for people: without what is absent, and without the pickled exception.
#[derive(Serialize, Deserialize)]
struct TaskErrorReport<'a> {
    kind: ErrorKind,
    message: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exception: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceback: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "<[Cause]>::is_empty")]
    causes: Cow<'a, [Cause]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    post_mortem: Option<Cow<'a, PostMortem>>,
}

impl Serialize for TaskError {
    /// For people as [`TaskErrorReport`]; binary formats get all of it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        let report = TaskErrorReport {
            kind: self.kind,
            message: self.message.as_str().into(),
            exception: self.exception.as_deref().map(Into::into),
            traceback: self.traceback.as_deref().map(Into::into),
            causes: self.causes.as_slice().into(),
            post_mortem: self.post_mortem.as_deref().map(Cow::Borrowed),
        };
        report.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TaskError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let report = TaskErrorReport::deserialize(deserializer)?;
        Ok(Self {
            kind: report.kind,
            message: report.message.into_owned(),
            exception: report.exception.map(Cow::into_owned),
            traceback: report.traceback.map(Cow::into_owned),
            causes: report.causes.into_owned(),
            raised: None,
            post_mortem: report.post_mortem.map(|it| Box::new(it.into_owned())),
        })
    }
}

impl TaskError {
    /// An error that the engine found, without an exception.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            exception: None,
            traceback: None,
            causes: Vec::new(),
            raised: None,
            post_mortem: None,
        }
    }

    /// About how many bytes of memory it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let tails = self
            .post_mortem
            .as_ref()
            .map_or(0, |it| size_of::<PostMortem>() + it.stdout_tail.len() + it.stderr_tail.len() + text(&it.stacks));
        let texts: usize = self.causes.iter().map(|cause| cause.exception.len() + cause.message.len()).sum();
        let causes = size_of_val(&self.causes[..]) + texts;
        let raised = self.raised.as_ref().map_or(0, |it| it.0.len());
        size_of::<Self>() + self.message.len() + text(&self.exception) + text(&self.traceback) + causes + raised + tails
    }

    /// How the worker process ended, if that is why.
    #[must_use]
    pub fn exit(&self) -> Option<ProcessExit> {
        self.post_mortem.as_ref().and_then(|it| it.exit)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.exception {
            Some(exception) if self.message.is_empty() => write!(f, "{}: {exception}", self.kind),
            Some(exception) => write!(f, "{}: {exception}: {}", self.kind, self.message),
            None => write!(f, "{}: {}", self.kind, self.message),
        }
    }
}

impl std::error::Error for TaskError {}
