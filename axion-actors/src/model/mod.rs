//! Plain data of the engine, with serde: no behaviour beyond construction and display.

mod cancel;
mod cause;
mod display;
mod fact;
mod form;
mod fresh;
mod ids;
mod limits;
mod notice;
mod outcome;
mod part;
mod payload;
mod pool;
mod postmortem;
mod raw;
mod record;
mod retry;
mod scaling;
mod script;
mod status;
mod task;
mod time;
mod trim;
pub mod value;
mod work;
pub mod workflow;

pub use cancel::CancelAnswer;
pub use cause::{
    BlockedBy, CancelSource, EngineEnd, LaunchCause, Placement, RecycleCause, RefusalReason, Resource, RetireCause,
    ReturnCause, RevokeCause, Shortage, TargetCause, WorkerDownReason,
};
pub use display::{DisplayDuration, DisplaySize};
pub use fact::{Fact, FactId, FactIdError, FactKind, Incarnation, KIND_TABLE, KindInfo};
pub use form::{FullAttempt, FullRecord};
pub(crate) use fresh::{forked, forks_are_told, fresh_uuid};
pub use ids::{Attempt, Generation, NodeId, Seq, TaskId, WorkerId, WorkerIdError, WorkerRef};
pub use limits::{
    Capacity, Concurrency, EngineCapacity, Fixed, Limits, Memory, Needs, PoolCapacity, Rate, RateError, Shortfall,
};
pub use notice::{LogLevel, Notice, NoticeKind, Stream, TaskProgress};
pub use outcome::{Cause, ErrorKind, Outcome, TaskError};
pub use part::{Part, PartId, fingerprint};
pub use payload::Payload;
pub use pool::{PoolId, PoolKind, PoolMap, PoolNameError};
pub use postmortem::{EndedBy, KillReason, PostMortem, ProcessExit, Usage};
pub use record::{AttemptRecord, CapturedOutput, ExpiredBy, OutputPart, TaskRecord, Timings};
pub use retry::{Backoff, RetryPolicy};
pub use scaling::ScalingRule;
pub use script::ScriptPath;
pub use status::{
    ComponentStatus, Components, ContainmentKind, EngineStatus, Health, HealthReport, HostLoad, InputQueue,
    OutcomeCounts, OutputQueue, PoolStatus, ProcessPool, Status, TaskCounts, WorkerProcess, WorkerStatus,
};
pub use task::{NotBefore, ParamsError, Priority, PriorityError, Task, TaskOptions, UniqueKeyError};
pub use time::{Clock, Tick};
pub use value::{Data, Json, JsonError, Pickle};
pub use work::{Function, FunctionName, Work, WorkKey, WorkName};
