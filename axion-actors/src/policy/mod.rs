//! Every decision of the engine, as plain structs and functions.
//!
//! Nothing here knows an actor, a clock, a process or a lock: `now` is an argument, and what should
//! happen comes back as data. `fitness` in the workspace's tests holds this.

pub mod durations;
pub mod fold;
pub mod functions;
pub mod graph;
pub mod health;
pub mod liveness;
pub mod measuring;
pub mod overload;
pub mod placement;
pub mod pool_supervisor;
pub mod process_deadline;
pub mod recorder;
pub mod resources;
pub mod restart;
pub mod retention;
pub mod retry;
pub mod run_queue;
pub mod scaling;
pub mod scheduler;
pub mod spin;
mod task_ids;
pub mod task_table;
pub mod timers;
pub mod worker_lifecycle;
pub mod workflows;
