//! Plain data of the engine, with serde: no behaviour beyond construction and display.

mod event;
mod ids;
mod limits;
mod outcome;
pub mod packed;
mod postmortem;
mod record;
mod retry;
mod status;
mod task;
mod time;
mod trim;
mod work;
pub mod workflow;

pub use event::{Event, EventKind, LogLevel, Stream, WorkerDownReason};
pub use ids::{Attempt, Generation, PoolKind, Seq, TaskId, WorkerId, WorkerRef};
pub use limits::{Capacity, Concurrency, Fixed, Limits, Memory, Needs, Rate, RateError, Shortfall};
pub use outcome::{Cause, Data, ErrorKind, Json, JsonError, Outcome, TaskError};
pub use packed::Pickle;
pub use postmortem::{EndedBy, KillReason, PostMortem, ProcessExit, Usage};
pub use record::{AttemptRecord, CapturedOutput, OutputPart, TaskRecord, Timings};
pub use retry::{Backoff, RetryPolicy};
pub use status::{
    ComponentStatus, Components, EngineStatus, Health, HealthReport, HostLoad, InputQueue, OutcomeCounts, OutputQueue,
    PoolStatus, ProcessPool, Status, TaskCounts, WorkerStatus,
};
pub use task::{NotBefore, ParamsError, Priority, PriorityError, ScriptPath, Task, TaskOptions, UniqueKeyError};
pub use time::{Clock, Tick};
pub use work::{Function, FunctionId, FunctionName, Work, WorkKey, WorkName};
