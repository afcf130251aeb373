//! The engine's settings: typed, described, with defaults and checks. Reads no files.
//!
//! Every setting stands in one of the two lists below, and nowhere else: name, type, default, what it
//! takes, and what it is for. Reading and writing configurations, their checks and their documentation
//! are derived from the descriptions ([`Key`]).

mod check;
mod keys;
mod text;
mod value;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

pub use check::ConfigError;
use keys::settings;
pub use keys::{Key, NotTaken, section};
pub use text::{parse_size, parse_time, size_text, time_text};
pub use value::{Given, Kind, Value, Wrong, can_be_variable};
use value::{LONGEST, names};

use crate::model::{Capacity, Fixed, Memory, PoolKind};

/// The workers a pool may have at most; a larger number is a slip of the keyboard.
const MOST_WORKERS: u32 = 4096;
/// What fits into a worker's status page, see `docs/internals/wire-protocol.md`.
const MOST_SLOTS: u32 = 512;
/// Tasks that may wait, or be kept.
const MOST_TASKS: i128 = 100_000_000;

const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// A number of workers.
const WORKERS: Kind = Kind::Whole { least: 0, most: MOST_WORKERS as i128 };
/// A number of tasks that a worker runs at the same time.
const SLOTS: Kind = Kind::Whole { least: 1, most: MOST_SLOTS as i128 };
/// A number of tasks that the engine holds.
const TASKS: Kind = Kind::Whole { least: 1, most: MOST_TASKS };
/// A time limit: one of no length could not be kept.
const LIMIT: Kind = Kind::Time { least: Duration::from_millis(1), most: LONGEST };
/// A time to wait, or not to.
const WAIT: Kind = Kind::Time { least: Duration::ZERO, most: LONGEST };

/// What decides how many workers a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingPolicy {
    /// Nothing: a pool has its configured count, or up to one worker if that is 0.
    Off,
    /// The rules of the first Axion, which `docs/guides/autoscaling.md` lists.
    AxionV3,
    /// As many workers as the work of the next moment needs, by the formula in `docs/guides/autoscaling.md`.
    #[default]
    Demand,
}

impl ScalingPolicy {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Off, Self::AxionV3, Self::Demand];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::AxionV3 => "axion-v3",
            Self::Demand => "demand",
        }
    }
}

/// How an engine runs its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// Many at a time, in the workers of both pools.
    #[default]
    Parallel,
    /// One at a time, strictly in the order in which they were accepted, in one worker.
    Serial,
}

impl EngineKind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Parallel, Self::Serial];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parallel => "parallel",
            Self::Serial => "serial",
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFilter {
    /// What went wrong.
    Error,
    /// And what is odd.
    Warning,
    /// And what is worth knowing.
    #[default]
    Info,
    /// And what helps to find a fault.
    Debug,
}

impl LogFilter {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warning, Self::Info, Self::Debug];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

settings! {
    /// Settings of an engine.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config, described by CONFIG;

    /// How tasks are run: many at a time in the workers of both pools, or one at a time, strictly in the
    /// order in which they were accepted.
    engine: EngineKind = EngineKind::Parallel, Kind::OneOf(names::<EngineKind>);
    /// How much is logged.
    log_level: LogFilter = LogFilter::Info, Kind::OneOf(names::<LogFilter>);
    /// Workers of the CPU pool that are always there; with 0, the first is started when a task needs it.
    cpu_bound_count: u32 = 1, WORKERS;
    /// Workers of the IO pool that are always there; with 0, the first is started when a task needs it;
    /// "auto": one less than the machine has processors, but at least 1.
    io_bound_count: u32 = automatic_io_workers(), WORKERS, or "auto";
    /// Workers that the CPU pool may grow to; 0 switches the pool off; "auto": 2 for each processor, 16 at
    /// most, and not below `cpu_bound_count`.
    cpu_bound_max: Option<u32> = None, WORKERS, or "auto";
    /// Workers that the IO pool may grow to; 0 switches the pool off; "auto": 3 for each processor, 24 at
    /// most, and not below `io_bound_count`.
    io_bound_max: Option<u32> = None, WORKERS, or "auto";
    /// What decides how many workers there are between the count of a pool and its maximum.
    autoscaler: ScalingPolicy = ScalingPolicy::default(), Kind::OneOf(names::<ScalingPolicy>);
    /// Tasks that run at the same time in one CPU worker.
    cpu_bound_task_limit: u32 = 1, SLOTS;
    /// Tasks that run at the same time in one IO worker.
    io_bound_task_limit: u32 = 20, SLOTS;
    /// Coroutine tasks that run at the same time in one IO worker, beside those of `io_bound_task_limit`;
    /// both together at most 512.
    io_bound_async_limit: u32 = 200, Kind::Whole { least: 0, most: MOST_SLOTS as i128 - 1 };
    /// Tasks that may wait in the engine; what comes on top is refused.
    input_queue_size: usize = 1000, TASKS;
    /// Bytes of parameters that may wait in the engine together.
    input_queue_bytes: usize = 256 * MIB, Kind::Size { least: 1 << 10, most: 1 << 40 };
    /// How often a submission that finds the queue full waits for room before it is refused: 10 ms the
    /// first time, doubled each time.
    max_queue_full_retries: u32 = 3, Kind::Whole { least: 0, most: 1000 };
    /// The longest one of the waits of `max_queue_full_retries`.
    queue_poll_timeout: Duration = Duration::from_secs(1), WAIT;
    /// Tasks are refused while the machine's (or the container's) processors are busier than this, in
    /// percent; "none": however busy they are.
    max_cpu_percent: Option<f64> = None, Kind::Percent, or "none";
    /// Tasks are refused while more of the machine's (or the container's) memory is in use, in percent;
    /// "none": however much is.
    max_memory_percent: Option<f64> = None, Kind::Percent, or "none";
    /// What the tasks that run at one time may need together of the machine's processors, as their needs
    /// estimate it, in percent; "none": any amount.
    max_estimated_cpu_percent: Option<f64> = Some(100.0), Kind::Percent, or "none";
    /// What the tasks that run at one time may need together of the machine's (or the container's) memory,
    /// as their needs estimate it, in percent; "none": any amount.
    max_estimated_memory_percent: Option<f64> = Some(100.0), Kind::Percent, or "none";
    /// Whether processor use and memory are measured, once a second.
    enable_metrics: bool = true, Kind::Flag;
    /// How often the memory of a worker that works is looked at, if it has a limit.
    health_check_interval: Duration = Duration::from_millis(200),
        Kind::Time { least: Duration::from_millis(10), most: LONGEST };
    /// Records of finished tasks that are kept; the oldest go first.
    output_queue_size: usize = 10_000, TASKS;
    /// Bytes that kept records may hold together.
    output_queue_bytes: usize = 256 * MIB, Kind::Size { least: 1, most: i64::MAX as u64 };
    /// Bytes that one record may hold beside its result: what is above goes, earlier attempts first, then
    /// captured output.
    record_limit: usize = 4 * MIB, Kind::Size { least: 0, most: i64::MAX as u64 };
    /// How long a finished task's record is kept; "none": until newer ones take its place.
    result_ttl: Option<Duration> = Some(Duration::from_secs(3600)), WAIT, or "none";
    /// The largest frame on a worker's pipe, in bytes: bounds parameters and results.
    frame_limit: usize = 64 * MIB, Kind::Size { least: MIB as u64, most: GIB };
    /// Bytes kept of each output stream of a task.
    captured_output_limit: usize = 64 << 10, Kind::Size { least: 0, most: GIB };
    /// When more workers of a pool than this die by themselves within `restart_window`, its breaker
    /// opens: replacements wait, longer each time, and while none is ready the pool's tasks fail with
    /// the reason.
    max_restarts: u32 = 100, Kind::Whole { least: 0, most: u32::MAX as i128 };
    /// The time in which the deaths of `max_restarts` are counted.
    restart_window: Duration = Duration::from_secs(60), WAIT;
    /// The interpreter of the workers; "none": that of the active virtual environment, else `python3` on
    /// the `PATH`.
    python: Option<PathBuf> = None, Kind::Program, or "none";
    /// The time limit of a CPU task that states none; "none": no limit.
    cpu_bound_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The time limit of an IO task that states none; "none": no limit.
    io_bound_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The soft time limit of a CPU task that states none, at which an exception is raised in it; "none":
    /// no limit.
    cpu_bound_soft_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The soft time limit of an IO task that states none, at which an exception is raised in it; "none":
    /// no limit.
    io_bound_soft_timeout: Option<Duration> = None, LIMIT, or "none";
    /// How long a thread that waits for a result looks for it before it goes to sleep. It saves the
    /// processor's way out of its sleep, at the price of keeping it busy meanwhile; for callers that
    /// wait for one short task after the other. With 0, a waiter is woken (L10).
    wait_spin: Duration = Duration::ZERO, Kind::Time { least: Duration::ZERO, most: Duration::from_millis(1) };
    /// How long a cancelled task may take to stop by itself before it is killed.
    cancel_grace: Duration = Duration::from_secs(2), WAIT;
    /// How long a worker may take from its launch to its handshake.
    start_timeout: Duration = Duration::from_secs(30), LIMIT;
    /// How long a worker that should end may take before it is killed.
    stop_grace: Duration = Duration::from_secs(2), WAIT;
    /// The folder in which the engine makes its private one; "none": the system's folder for temporary
    /// files.
    runtime_dir: Option<PathBuf> = None, Kind::Path, or "none";

    sections {
        /// The CPU pool's processes.
        cpu_bound_worker: WorkerConfig;
        /// The IO pool's processes.
        io_bound_worker: WorkerConfig;
    }
}

settings! {
    /// Settings of the worker processes of one pool.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WorkerConfig, described by WORKER;

    /// A worker is replaced after so many tasks, between two of them; "none": never.
    max_tasks_per_worker: Option<u64> = None, Kind::Whole { least: 1, most: i64::MAX as i128 }, or "none";
    /// A worker that holds more memory (resident, in bytes) is replaced between two tasks; "none":
    /// however much it holds.
    max_worker_memory: Option<u64> = None, Kind::Size { least: 1, most: i64::MAX as u64 }, or "none";
    /// A task whose worker holds more memory (resident, in bytes) is ended with `memory_limit`; "none":
    /// however much it holds.
    task_memory_limit: Option<u64> = None, Kind::Size { least: 1, most: i64::MAX as u64 }, or "none";
    /// Added to the workers' nice value: above 0, they leave the processor to others.
    nice: i32 = 0, Kind::Whole { least: -20, most: 19 };
    /// Environment variables on top of the engine's own.
    env: BTreeMap<String, String> = BTreeMap::new(), Kind::Variables;
    /// The workers' current folder; "none": the engine's.
    cwd: Option<PathBuf> = None, Kind::Path, or "none";
}

/// Processors that the machine or the container has. Looked up once: asking the system costs a look into files
/// of the control groups, as long as ten tasks.
pub(crate) fn processors() -> usize {
    static KNOWN: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    *KNOWN
}

fn automatic_io_workers() -> u32 {
    u32::try_from(processors().saturating_sub(1)).unwrap_or(MOST_WORKERS).clamp(1, MOST_WORKERS)
}

impl WorkerConfig {
    /// Whether the workers' memory has to be looked at.
    #[must_use]
    pub fn measures_memory(&self) -> bool {
        self.max_worker_memory.is_some() || self.task_memory_limit.is_some()
    }
}

impl Config {
    /// What really holds: a serial engine has one worker for everything.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        if self.engine == EngineKind::Serial {
            (self.cpu_bound_count, self.cpu_bound_max, self.cpu_bound_task_limit) = (1, Some(1), 1);
            (self.io_bound_count, self.io_bound_max) = (0, Some(0));
        }
        self
    }

    /// The most workers of a pool; 0 if it is switched off.
    #[must_use]
    pub fn most_workers(&self, pool: PoolKind) -> u32 {
        let processors = u32::try_from(processors()).unwrap_or(u32::MAX);
        let (given, automatic) = match pool {
            PoolKind::Cpu => (self.cpu_bound_max, processors.saturating_mul(2).min(16)),
            PoolKind::Io => (self.io_bound_max, processors.saturating_mul(3).min(24)),
        };
        given.unwrap_or_else(|| automatic.max(self.workers(pool)))
    }

    /// The most bytes that a task may [weigh](crate::model::Task::weight).
    #[must_use]
    pub fn task_limit(&self) -> usize {
        /// The bytes of a `Run` frame beside script and parameters, rounded up.
        const BESIDE: usize = 256;
        self.frame_limit.saturating_sub(BESIDE)
    }

    /// How much there is for the tasks that run at one time, on a machine (or in a container) with so many
    /// bytes of memory.
    #[must_use]
    pub fn capacity(&self, machine_memory: Option<u64>) -> Capacity {
        let slots = |pool| Some(self.most_workers(pool).saturating_mul(self.slots(pool)));
        Capacity {
            processes: slots(PoolKind::Cpu),
            threads: slots(PoolKind::Io),
            cpu: self.max_estimated_cpu_percent.and_then(Fixed::new),
            memory: self.max_estimated_memory_percent.and_then(Fixed::new).map(Memory::Percent),
            machine_memory,
        }
    }

    /// Workers of a pool that are always there.
    #[must_use]
    pub fn workers(&self, pool: PoolKind) -> u32 {
        match pool {
            PoolKind::Cpu => self.cpu_bound_count,
            PoolKind::Io => self.io_bound_count,
        }
    }

    /// Settings of a pool's processes.
    #[must_use]
    pub fn worker(&self, pool: PoolKind) -> &WorkerConfig {
        match pool {
            PoolKind::Cpu => &self.cpu_bound_worker,
            PoolKind::Io => &self.io_bound_worker,
        }
    }

    /// Coroutine tasks that run at the same time in each worker of a pool, beside its slots.
    #[must_use]
    pub fn coroutines(&self, pool: crate::model::PoolKind) -> u32 {
        match pool {
            // A worker with one slot does one thing at a time.
            crate::model::PoolKind::Io if self.io_bound_task_limit > 1 => self.io_bound_async_limit,
            _ => 0,
        }
    }

    /// Slots of each worker of a pool.
    #[must_use]
    pub fn slots(&self, pool: PoolKind) -> u32 {
        match pool {
            PoolKind::Cpu => self.cpu_bound_task_limit,
            PoolKind::Io => self.io_bound_task_limit,
        }
    }
}

#[cfg(test)]
mod tests;
