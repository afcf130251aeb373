//! Plain data of the engine, with serde: no behaviour beyond construction and display.

mod cancel;
mod event;
mod ids;
mod limits;
mod outcome;
mod pool;
mod postmortem;
mod raw;
mod record;
mod retry;
mod script;
mod status;
mod task;
mod time;
mod trim;
pub mod value;
mod work;
pub mod workflow;

pub use cancel::CancelAnswer;
pub use event::{Event, EventKind, LogLevel, Stream, WorkerDownReason};
pub use ids::{Attempt, Generation, Seq, TaskId, WorkerId, WorkerIdError, WorkerRef};
pub use limits::{
    Capacity, Concurrency, EngineCapacity, Fixed, Limits, Memory, Needs, PoolCapacity, Rate, RateError, Shortfall,
};
pub use outcome::{Cause, ErrorKind, Outcome, TaskError};
pub use pool::{PoolId, PoolKind, PoolMap, PoolNameError};
pub use postmortem::{EndedBy, KillReason, PostMortem, ProcessExit, Usage};
pub use record::{AttemptRecord, CapturedOutput, ExpiredBy, OutputPart, TaskRecord, Timings};
pub use retry::{Backoff, RetryPolicy};
pub use script::ScriptPath;
pub use status::{
    ComponentStatus, Components, EngineStatus, Health, HealthReport, HostLoad, InputQueue, OutcomeCounts, OutputQueue,
    PoolStatus, ProcessPool, Status, TaskCounts, WorkerStatus,
};
pub use task::{NotBefore, ParamsError, Priority, PriorityError, Task, TaskOptions, UniqueKeyError};
pub use time::{Clock, Tick};
pub use value::{Data, Json, JsonError, Pickle};
pub use work::{Function, FunctionId, FunctionName, Work, WorkKey, WorkName};
