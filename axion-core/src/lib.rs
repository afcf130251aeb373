//! Axion runs Python tasks in supervised child processes.
//!
//! ```no_run
//! use axion_core::{Engine, Task};
//!
//! let engine = Engine::builder().cpu_workers(2).start()?;
//! let handle = engine.submit(Task::script("double.py").params(&serde_json::json!({"value": 21}))?)?;
//! let record = handle.wait()?;
//! match record.outcome.data() {
//!     Some(data) => println!("{}", data.as_str()),
//!     None => eprintln!("{:?}", record.outcome.error()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An [`Engine`] owns a thread with an actor system, and the worker processes. It is `Send + Sync` and needs no async
//! runtime: wait for a handle on a plain thread ([`TaskHandle::wait`]) or await it in any runtime (`handle.await`). A
//! task's failure is data in its [`TaskRecord`]; an `Err` is a failure of the engine itself.
//!
//! Settings come from code, or from a file and the environment: [`EngineBuilder::from_environment`],
//! [`ConfigLoader`].
//!
//! This crate re-exports the public types of `axion-actors`.

mod builder;
mod completions;
mod diagnostics;
mod engine;
mod error;
pub mod flow;
mod handle;
mod json;
mod params;
mod park;
mod runtime;
mod settings;
mod similar;
mod spin;
mod watch;
mod workflows;

pub use axion_actors::actors::messages::WorkflowRefusal;
pub use axion_actors::actors::{Answer, Awaited, Completed, Completion, Refusal, WorkflowGone};
pub use axion_actors::config::{
    Config, ConfigError, EngineKind, LogFilter, PoolConfig, PoolSettings, ScalingPolicy, WorkerConfig, WorkerRange,
    parse_size, parse_time,
};
pub use axion_actors::model::CancelAnswer;
pub use axion_actors::model::workflow;
pub use axion_actors::model::workflow::GraphError;
pub use axion_actors::model::{
    Attempt, AttemptRecord, Backoff, BlockedBy, CancelSource, Capacity, CapturedOutput, Cause, ComponentStatus,
    Components, Concurrency, ContainmentKind, Data, EndedBy, EngineEnd, EngineStatus, ErrorKind, ExpiredBy, Fact,
    FactId, FactKind, Fixed, FullAttempt, FullRecord, Function, FunctionName, Generation, Health, HealthReport,
    HostLoad, Incarnation, InputQueue, Json, JsonError, KillReason, LaunchCause, Limits, LogLevel, Memory, Needs,
    NotBefore, Notice, NoticeKind, Outcome, OutcomeCounts, OutputPart, OutputQueue, ParamsError, Part, PartId, Payload,
    Pickle, Placement, PoolId, PoolKind, PoolMap, PoolNameError, PoolStatus, PostMortem, Priority, PriorityError,
    ProcessExit, ProcessPool, Rate, RateError, RecycleCause, RefusalReason, Resource, RetireCause, RetryPolicy,
    ReturnCause, RevokeCause, ScalingRule, ScriptPath, Seq, Shortage, Shortfall, Status, Stream, TargetCause, Task,
    TaskCounts, TaskError, TaskId, TaskOptions, TaskProgress, TaskRecord, Tick, Timings, UniqueKeyError, Usage, Work,
    WorkName, WorkerDownReason, WorkerId, WorkerRef, WorkerStatus, fingerprint,
};
pub use axion_actors::process::{
    FolderError, GuardianError, PythonNotFound, SHARE_FROM, StandardStream, WritablePayload, join as join_payload,
    own as own_process,
};
pub use builder::EngineBuilder;
pub use completions::{Completions, DirectWait, DirectWaitEnd};
pub use diagnostics::{Diagnostic, Diagnostics, Span};
pub use engine::{Engine, JobControl, ShutdownReport};
pub use error::{ReadyError, StartError, StatusError, SubmitError, SubmitManyError, WaitError};
pub use handle::TaskHandle;
pub use params::Params;
pub use runtime::tokio_runtime;
pub use settings::{
    CONFIG_FILE, ConfigLoader, ConfigPlace, ConfigProblem, ConfigProblemKind, Distrust, InvalidConfig, LoadError,
    LoadedConfig, NamedBy, Origin, RESERVED_VARIABLES, SourceText, config_reference, config_template, nearest_key,
};
pub use watch::{EventStream, WatchCloser, Watched};
pub use workflows::{WorkflowError, WorkflowHandle, WorkflowOptions, WorkflowWaitError, WrongTask};

/// The settings by name: their meanings, their allowed values, and their values in a [`Config`].
pub mod keys {
    pub use axion_actors::config::{Given, InvalidValue, Key, Kind, Value, Wrong};
}
