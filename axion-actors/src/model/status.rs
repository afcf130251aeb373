//! The engine's status: one consistent snapshot, as plain data.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::ids::{Generation, WorkerId};
use super::outcome::Outcome;
use super::pool::{PoolId, PoolKind, PoolMap};

/// The load of the machine, or of the container of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HostLoad {
    /// The used part of all processors, or of the container's share of them, from 0 to 1; `None` if not measured.
    pub cpu: Option<f64>,
    /// The part of the memory that is in use and cannot be reclaimed, from 0 to 1; `None` if not measured.
    pub memory: Option<f64>,
}

impl HostLoad {
    /// One number divided by another; 0 if the other is 0.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(crate) fn share(part: u64, whole: u64) -> f64 {
        if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
    }
}

/// The health of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The component works.
    Healthy,
    /// The component does not have its minimum of workers yet, and they are starting.
    Starting,
    /// The component works with less than it should have, or is about to stop.
    Degraded,
    /// The component does not work.
    Unhealthy,
}

impl Health {
    /// The name.
    #[must_use]
    pub fn value(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Starting => "starting",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What keeps the descendants of workers together beside their process groups, so that no kill misses one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainmentKind {
    /// A control group for each worker. Nothing leaves it without the right to change the engine's control group.
    ControlGroup,
    /// A mark in the environment, and a look at the children of a worker that is killed. A descendant with another
    /// environment, group and parent is missed.
    Marks,
    /// There are no processes, as in tests with fake workers.
    #[default]
    None,
}

impl ContainmentKind {
    /// The name, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlGroup => "control_group",
            Self::Marks => "marks",
            Self::None => "none",
        }
    }
}

/// The status at one moment. The JSON has all fields of `get_status` in Axion 3, and more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The time of the snapshot.
    pub at: Timestamp,
    /// The engine as a whole.
    pub engine: EngineStatus,
    /// The components.
    pub components: Components,
}

/// The engine as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EngineStatus {
    /// Whether it accepts tasks.
    pub is_running: bool,
    /// `parallel` or `serial`.
    pub kind: &'static str,
    /// The time since its start, in seconds.
    pub uptime_seconds: f64,
    /// The last measured load of the machine.
    pub host: HostLoad,
    /// What keeps the descendants of workers together.
    pub containment: ContainmentKind,
}

/// The components of an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Components {
    /// The waiting tasks.
    pub input_queue: InputQueue,
    /// The records of finished tasks.
    pub output_queue: OutputQueue,
    /// The workers.
    pub process_pool: ProcessPool,
    /// The counts of tasks and outcomes.
    pub tasks: TaskCounts,
}

/// The waiting tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputQueue {
    /// The number of tasks that wait for a worker, for a retry, or for their earliest start.
    pub size: usize,
    /// The maximum of `size`.
    pub maxsize: usize,
    /// `size` divided by `maxsize`.
    pub fullness: f64,
    /// The size of the parameters of waiting tasks, in bytes.
    pub bytes: usize,
    /// The maximum of `bytes`.
    pub max_bytes: usize,
    /// The number of waiting tasks that wait for a time.
    pub held_back: usize,
    /// The number of waiting tasks that wait for a worker of the pool `cpu`.
    pub cpu_bound: usize,
    /// The number of waiting tasks that wait for a worker of the pool `io`.
    pub io_bound: usize,
    /// The number of tasks accepted so far.
    pub total_put: u64,
    /// The number of submissions refused so far, because of a full queue or overload.
    pub total_dropped: u64,
    /// The reason why the engine refuses submissions at present, other than a full queue.
    pub overload: Option<String>,
}

/// The records of finished tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputQueue {
    /// The number of retained records.
    pub size: usize,
    /// The maximum of `size`.
    pub maxsize: usize,
    /// `size` divided by `maxsize`.
    pub fullness: f64,
    /// The size of the records, in bytes.
    pub bytes: usize,
    /// The maximum of `bytes`.
    pub max_bytes: usize,
    /// The number of outcomes so far.
    pub total_put: u64,
    /// The number of records dropped because of the bounds.
    pub total_dropped: u64,
    /// The number of records trimmed because of `record_limit`.
    pub total_trimmed: u64,
}

/// The workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessPool {
    /// The number of workers of the pool `cpu` that take tasks.
    pub cpu_bound_workers: usize,
    /// The number of workers of the pool `io` that take tasks.
    pub io_bound_workers: usize,
    /// The number of workers of all pools that take tasks.
    pub total_workers: usize,
    /// The number of running tasks.
    pub active_tasks: usize,
    /// The workers of the pool `cpu`, as in `pools`.
    pub cpu_worker_tasks: BTreeMap<WorkerId, WorkerStatus>,
    /// The workers of the pool `io`, as in `pools`.
    pub io_worker_tasks: BTreeMap<WorkerId, WorkerStatus>,
    /// The pools by name.
    pub pools: PoolMap<PoolStatus>,
}

impl ProcessPool {
    /// Adds the sums over all pools.
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
    /// The number of tasks that run in it.
    pub active_tasks: usize,
    /// The number of tasks in its window.
    pub queue_size: usize,
    /// `active_tasks` plus `queue_size`.
    pub total_load: usize,
    /// The last measured CPU usage of its process, in per cent of one processor.
    pub cpu_usage: f32,
    /// The last measured resident memory of its process, in MiB.
    pub mem_usage: f64,
    /// The process id.
    pub pid: u32,
    /// The generation of the process in this slot.
    pub generation: Generation,
    /// Whether it drains: it takes no more tasks and ends when it has none.
    pub leaving: bool,
    /// The number of tasks that it has ended.
    pub tasks_done: u64,
}

/// One pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PoolStatus {
    /// The kind of the pool.
    pub kind: PoolKind,
    /// The number of tasks that wait for one of its workers.
    pub waiting: usize,
    /// The target number of workers.
    pub target: usize,
    /// The number of workers that take tasks.
    pub ready: usize,
    /// The number of workers that have started and are not ready.
    pub starting: usize,
    /// The minimum number of workers.
    pub least: usize,
    /// The maximum number of workers; 0 if the pool is switched off.
    pub most: usize,
    /// The reason and the length of the delay, if the breaker delays replacements.
    pub breaker: Option<String>,
    /// The reason why none of its tasks can run at present.
    pub unavailable: Option<String>,
    /// The status of each worker, including those that drain.
    pub workers: BTreeMap<WorkerId, WorkerStatus>,
}

/// The counts of tasks and outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// The number of tasks without an outcome.
    pub live: usize,
    /// The counts of outcomes.
    #[serde(flatten)]
    pub outcomes: OutcomeCounts,
    /// The number of late or illegal messages, which changed nothing (L3).
    pub ignored_messages: u64,
}

/// The counts of outcomes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutcomeCounts {
    /// Tasks that returned.
    pub succeeded: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Tasks that reached their time limits.
    pub timed_out: u64,
    /// Tasks that were ended on request.
    pub cancelled: u64,
    /// Tasks that were not started within their ttl.
    pub expired: u64,
    /// Tasks whose workers died during the task.
    pub lost: u64,
}

impl OutcomeCounts {
    /// Counts one more outcome.
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

    /// The total.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out + self.cancelled + self.expired + self.lost
    }
}

/// The health of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentStatus {
    /// `input_queue`, `output_queue`, `process_pool`, or the name of a pool followed by `_pool`.
    pub name: String,
    /// The health.
    pub health: Health,
    /// The reason, if it is not healthy.
    pub why: Option<String>,
    /// The figures.
    pub metrics: serde_json::Value,
}

/// The health of the engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HealthReport {
    /// The worst health of all components.
    pub overall_health: Health,
    /// The number of healthy components.
    pub healthy_count: usize,
    /// The number of other components.
    pub unhealthy_count: usize,
    /// The components by name.
    pub components: BTreeMap<String, ComponentStatus>,
}
