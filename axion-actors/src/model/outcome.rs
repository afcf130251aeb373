//! The outcome of a task.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::postmortem::{PostMortem, ProcessExit};
use super::value::{Data, Json, Pickle};

/// The outcome of a task. Each task has exactly one (L1).
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The entry point or the function returned this value.
    Succeeded(Data),
    /// The task ran and failed, or could not be run.
    Failed(Box<TaskError>),
    /// The task reached its time limit.
    TimedOut(Box<TaskError>),
    /// The task was ended on request before it could finish.
    Cancelled(Box<TaskError>),
    /// The task was not started within its ttl.
    Expired(Box<TaskError>),
    /// Workers died during the task more often than the task allows.
    Lost(Box<TaskError>),
}

impl Outcome {
    /// The outcome for an error of this kind.
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

    /// Whether the task succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded(_))
    }

    /// The JSON result of a task that succeeded: of a script, or of a step's function that returned plain data.
    #[must_use]
    pub fn data(&self) -> Option<&Json> {
        match self {
            Self::Succeeded(Data::Json(data)) => Some(data),
            _ => None,
        }
    }

    /// The pickled result of a function that succeeded.
    #[must_use]
    pub fn pickle(&self) -> Option<&Pickle> {
        match self {
            Self::Succeeded(Data::Pickle(data)) => Some(data),
            _ => None,
        }
    }

    /// The size of the result in bytes; 0 without a result.
    #[must_use]
    pub fn data_size(&self) -> usize {
        match self {
            Self::Succeeded(data) => data.bytes().len(),
            _ => 0,
        }
    }

    /// The error of a task that did not succeed.
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

    /// The outcome's name in records, logs and facts.
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

/// The reason why a task did not succeed. The `snake_case` names are stable codes.
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
    /// A step's parameters and the results of other steps in them do not fit into a frame.
    ParamsTooLarge,
    /// The function cannot be loaded by this interpreter.
    FunctionNotLoadable,
    /// The initializer of the workers failed.
    InitializerFailed,
    /// The module of the function is not the one that the caller loaded.
    ModuleChanged,
    /// The soft time limit raised its exception in the task, which did not catch it.
    SoftTimeout,
    /// The task was still running at its time limit and was killed.
    Timeout,
    /// The task's process held more memory than a task may and was killed.
    MemoryLimit,
    /// The task was cancelled.
    Cancelled,
    /// The task was not started within its ttl.
    Expired,
    /// The engine was shut down before the task ended.
    Shutdown,
    /// The worker process died while it ran the task.
    WorkerLost,
    /// No worker of the task's pool could be started.
    WorkerStartFailed,
    /// The condition of a step was not met, or one of its dependencies was skipped.
    Skipped,
    /// A dependency of a step did not succeed.
    DependencyFailed,
    /// A step's reference points to a value that does not exist.
    ReferenceUnresolved,
    /// A step's condition compares values that have no order.
    ConditionUndecidable,
    /// The value that a step is mapped over is not a list.
    MapNotAList,
    /// The list that a step is mapped over is too long.
    MapTooLong,
    /// Too few instances of a mapped step succeeded.
    MapNotEnough,
    /// A step reads a result that has no JSON form.
    ResultNotPlain,
    /// The steps that a step returned cannot be added.
    StepsNotAdded,
    /// The needs of a step exceed the capacity.
    NeedsImpossible,
    /// The step's workflow stopped after a failure.
    WorkflowStopped,
    /// The step's workflow was cancelled.
    WorkflowCancelled,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// An exception that caused another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The type of the exception.
    pub exception: String,
    /// The text of the exception.
    pub message: String,
}

/// The error of a task that did not succeed. Its texts are complete by themselves, because other processes may not be
/// able to import the class of the exception.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct TaskError {
    /// The stable code.
    pub kind: ErrorKind,
    /// What happened, where, and what to do.
    pub message: String,
    /// The type of the exception, if there was one.
    pub exception: Option<String>,
    /// The Python traceback, without the runtime's own frames.
    pub traceback: Option<String>,
    /// The causes of the exception, nearest first.
    pub causes: Vec<Cause>,
    /// The pickled exception of a function. Only Python can read it, if it can import the class.
    #[serde(with = "super::raw::optional")]
    pub raised: Option<Pickle>,
    /// The post-mortem of the worker process, if it was killed or crashed.
    pub post_mortem: Option<Box<PostMortem>>,
}

/// A [`TaskError`] in formats for people: without absent fields, and without the pickled exception.
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
    /// Formats for people get a `TaskErrorReport`, binary formats get all fields.
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

    /// The approximate size in memory, in bytes.
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

    /// The exit of the worker process, if that caused the error.
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
