//! Plain data of the engine, with serde: no behaviour beyond construction and display.

mod event;
mod ids;
mod outcome;
mod record;
mod task;
mod time;

pub use event::{Event, EventKind, LogLevel, Stream, WorkerDownReason};
pub use ids::{Attempt, Generation, PoolKind, Seq, TaskId, WorkerId, WorkerRef};
pub use outcome::{Cause, ErrorKind, Json, JsonError, Outcome, ProcessExit, TaskError};
pub use record::{CapturedOutput, OutputPart, TaskRecord, Timings};
pub use task::{ParamsError, ScriptPath, Task};
pub use time::{Clock, Tick};
