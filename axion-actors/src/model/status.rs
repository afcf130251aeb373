//! What the engine says about itself: one consistent snapshot, as plain data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::ids::{Generation, WorkerId};
use super::outcome::Outcome;
use super::pool::{PoolId, PoolKind, PoolMap};

/// How busy the machine is, or the container the engine lives in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HostLoad {
    /// Of all processors together, or of the container's share of them: 0 to 1; `None`: not measured.
    pub cpu: Option<f64>,
    /// Memory in use that could not be given up: 0 to 1; `None`: not measured.
    pub memory: Option<f64>,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It does its work.
    Healthy,
    /// It does its work with less than it should have, or is about to stop.
    Degraded,
    /// It does not do its work.
    Unhealthy,
}

impl Health {
    /// Its name.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Everything at one moment. Its JSON has the fields that the older Axion's `get_status` had, and more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// When.
    pub at: Timestamp,
    /// The engine as a whole.
    pub engine: EngineStatus,
    /// Its parts.
    pub components: Components,
}

/// The engine as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineStatus {
    /// It takes tasks.
    pub is_running: bool,
    /// `parallel` or `serial`.
    pub kind: &'static str,
    /// Seconds since it was started.
    pub uptime_seconds: f64,
    /// The machine, as it was measured last.
    pub host: HostLoad,
}

/// The parts of an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Components {
    /// Tasks that wait.
    pub input_queue: InputQueue,
    /// Records of finished tasks.
    pub output_queue: OutputQueue,
    /// The workers.
    pub process_pool: ProcessPool,
    /// What the tasks came to.
    pub tasks: TaskCounts,
}

/// Tasks that wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputQueue {
    /// How many wait: for a worker, a retry, or the time before which they may not start.
    pub size: usize,
    /// How many may.
    pub maxsize: usize,
    /// `size` by `maxsize`.
    pub fullness: f64,
    /// Bytes of parameters that wait.
    pub bytes: usize,
    /// How many may.
    pub max_bytes: usize,
    /// Of those that wait, how many wait for a time.
    pub held_back: usize,
    /// Of those that wait, how many wait for a worker of the pool `cpu`.
    pub cpu_bound: usize,
    /// Of those that wait, how many wait for a worker of the pool `io`.
    pub io_bound: usize,
    /// Tasks accepted so far.
    pub total_put: u64,
    /// Submissions refused so far: queue full, overload.
    pub total_dropped: u64,
    /// Why submissions are refused at present, beside a full queue.
    pub overload: Option<String>,
}

/// Records of finished tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputQueue {
    /// How many are kept.
    pub size: usize,
    /// How many may be.
    pub maxsize: usize,
    /// `size` by `maxsize`.
    pub fullness: f64,
    /// Bytes they hold.
    pub bytes: usize,
    /// How many bytes they may.
    pub max_bytes: usize,
    /// Outcomes so far.
    pub total_put: u64,
    /// Records dropped to keep the bounds.
    pub total_dropped: u64,
    /// Records cut to keep `record_limit`.
    pub total_trimmed: u64,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessPool {
    /// Workers of the pool `cpu` that take tasks.
    pub cpu_bound_workers: usize,
    /// Workers of the pool `io` that take tasks.
    pub io_bound_workers: usize,
    /// Workers of all pools that take tasks.
    pub total_workers: usize,
    /// Tasks that run.
    pub active_tasks: usize,
    /// The workers of the pool `cpu`, as in `pools`.
    pub cpu_worker_tasks: BTreeMap<WorkerId, WorkerStatus>,
    /// The workers of the pool `io`, as in `pools`.
    pub io_worker_tasks: BTreeMap<WorkerId, WorkerStatus>,
    /// Every pool, by its name.
    pub pools: PoolMap<PoolStatus>,
}

impl ProcessPool {
    /// The pools, with the sums over them.
    #[must_use]
    pub fn new(pools: PoolMap<PoolStatus>, active_tasks: usize) -> Self {
        let ready = |pool| pools.get(pool).map_or(0, |pool: &PoolStatus| pool.ready);
        let workers = |pool| pools.get(pool).map(|pool: &PoolStatus| pool.workers.clone()).unwrap_or_default();
        Self {
            cpu_bound_workers: ready(PoolId::CPU),
            io_bound_workers: ready(PoolId::IO),
            total_workers: pools.values().map(|pool| pool.ready).sum(),
            active_tasks,
            cpu_worker_tasks: workers(PoolId::CPU),
            io_worker_tasks: workers(PoolId::IO),
            pools,
        }
    }
}

/// What is shown of a worker's process. It means something on the worker's machine only, so nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerProcess {
    /// Its process id.
    pub pid: u32,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Tasks that run in it.
    pub active_tasks: usize,
    /// Tasks that were sent ahead to it.
    pub queue_size: usize,
    /// Both.
    pub total_load: usize,
    /// How busy its process is, in percent of a processor, as measured last.
    pub cpu_usage: f32,
    /// Its resident memory in MiB, as measured last.
    pub mem_usage: f64,
    /// Its process.
    pub pid: u32,
    /// Which process of this slot it is.
    pub generation: Generation,
    /// It takes no more tasks and ends when it has none.
    pub leaving: bool,
    /// Tasks it has ended.
    pub tasks_done: u64,
}

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PoolStatus {
    /// How its workers run their tasks.
    pub kind: PoolKind,
    /// Tasks that wait for one of its workers.
    pub waiting: usize,
    /// Workers there should be.
    pub target: usize,
    /// Workers that take tasks.
    pub ready: usize,
    /// Workers that have been started and are not ready.
    pub starting: usize,
    /// The least there may be.
    pub least: usize,
    /// The most; 0: the pool is switched off.
    pub most: usize,
    /// Its workers die too often, so that their replacements wait: why, for how long.
    pub breaker: Option<String>,
    /// Why none of its tasks can run at present.
    pub unavailable: Option<String>,
    /// What each of its workers does, those that are leaving included.
    pub workers: BTreeMap<WorkerId, WorkerStatus>,
}

/// What the tasks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// Have not reached their outcome.
    pub live: usize,
    /// Have.
    #[serde(flatten)]
    pub outcomes: OutcomeCounts,
    /// Late or illegal messages that changed nothing (L3).
    pub ignored_messages: u64,
}

/// Outcomes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// Returned.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Reached their time limits.
    pub timed_out: u64,
    /// Were ended on request.
    pub cancelled: u64,
    /// Had not started in time.
    pub expired: u64,
    /// Lost their workers.
    pub lost: u64,
}

impl OutcomeCounts {
    /// One more.
    pub fn count(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Succeeded(_) => &mut self.succeeded,
            Outcome::Failed(_) => &mut self.failed,
            Outcome::TimedOut(_) => &mut self.timed_out,
            Outcome::Cancelled(_) => &mut self.cancelled,
            Outcome::Expired(_) => &mut self.expired,
            Outcome::Lost(_) => &mut self.lost,
        } += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out + self.cancelled + self.expired + self.lost
    }
}

/// A part of the engine, and how well it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentStatus {
    /// `input_queue`, `output_queue`, `process_pool`, or a pool's name with `_pool` behind it.
    pub name: String,
    /// How well it is.
    pub health: Health,
    /// Why it is not healthy.
    pub why: Option<String>,
    /// Its figures.
    pub metrics: serde_json::Value,
}

/// How well the engine is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthReport {
    /// The worst of the components.
    pub overall_health: Health,
    /// Components that are healthy.
    pub healthy_count: usize,
    /// Components that are not.
    pub unhealthy_count: usize,
    /// Each of them.
    pub components: BTreeMap<String, ComponentStatus>,
}
