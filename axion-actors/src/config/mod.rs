//! The engine's settings: typed, described, with defaults and checks. Reads no files.
//!
//! Each setting stands in one of the lists below, and nowhere else, with its name, type, default, allowed values and
//! meaning. Reading and writing configurations, their checks and their documentation are derived from these
//! descriptions ([`Key`]).

mod check;
mod keys;
mod pools;
mod text;
mod value;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

pub use check::ConfigError;
use keys::settings;
pub use keys::{BUILT_IN_SECTIONS, InvalidValue, Key, POOLS, worker_section};
pub use pools::{PoolSettings, WorkerBounds, WorkerRange};
pub use text::{parse_size, parse_time, size_text, time_text};
pub use value::{Given, Kind, Value, Wrong, can_be_variable};
use value::{LONGEST, names};

use crate::model::{PoolId, PoolKind};

/// The maximum number of workers of a pool. A larger number is a typing mistake.
const MAX_WORKERS: u32 = 4096;
/// The number of attempts that fit into a worker's status page, see `docs/internals/wire-protocol.md`.
const MAX_SLOTS: u32 = 512;
/// The maximum number of waiting tasks, or of kept records.
const MAX_TASKS: i128 = 100_000_000;

const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// A number of workers.
const WORKERS: Kind = Kind::Whole { least: 0, most: MAX_WORKERS as i128 };
/// A number of tasks that a worker runs at the same time.
const SLOTS: Kind = Kind::Whole { least: 1, most: MAX_SLOTS as i128 };
/// A number of tasks that the engine holds.
const TASKS: Kind = Kind::Whole { least: 1, most: MAX_TASKS };
/// A time limit. It is above 0, because no task could meet a limit of 0.
const LIMIT: Kind = Kind::Time { least: Duration::from_millis(1), most: LONGEST };
/// A time to wait, which may be zero.
const WAIT: Kind = Kind::Time { least: Duration::ZERO, most: LONGEST };

/// The policy that decides how many workers a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingPolicy {
    /// No scaling: a pool has its configured number of workers, or at most one if that number is 0.
    Off,
    /// The rules of the first Axion, which `docs/guides/autoscaling.md` lists.
    AxionV3,
    /// As many workers as the work of the near future needs, by the formula in `docs/guides/autoscaling.md`.
    #[default]
    Demand,
}

impl ScalingPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Off, Self::AxionV3, Self::Demand];

    /// The name in the configuration.
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
    /// Many tasks at a time, in the workers of all pools.
    #[default]
    Parallel,
    /// One task at a time in one worker, strictly in the order in which the tasks were accepted.
    Serial,
}

impl EngineKind {
    /// All kinds of engine.
    pub const ALL: [Self; 2] = [Self::Parallel, Self::Serial];

    /// The name in the configuration.
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
    /// Nothing: the engine's gravest messages are errors.
    Critical,
    /// Errors.
    Error,
    /// Errors and warnings.
    Warning,
    /// Errors, warnings and useful information.
    #[default]
    Info,
    /// All messages, for debugging.
    Debug,
}

impl LogFilter {
    /// All levels.
    pub const ALL: [Self; 5] = [Self::Critical, Self::Error, Self::Warning, Self::Info, Self::Debug];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "CRITICAL",
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

    /// How tasks run: many at a time in the workers of all pools, or one at a time, strictly in the order
    /// in which they were accepted.
    engine: EngineKind = EngineKind::Parallel, Kind::OneOf(names::<EngineKind>);
    /// The lowest level of messages that the engine logs.
    log_level: LogFilter = LogFilter::Info, Kind::OneOf(names::<LogFilter>);
    /// The minimum number of CPU workers. With 0, the first worker starts when a task needs it; "auto": the
    /// number of processors.
    cpu_bound_count: u32 = 1, WORKERS, or "auto" as automatic_cpu_workers();
    /// The minimum number of IO workers. With 0, the first worker starts when a task needs it; "auto": the
    /// number of processors minus one, but at least 1.
    io_bound_count: u32 = automatic_io_workers(), WORKERS, or "auto";
    /// The maximum number of CPU workers; 0 disables the pool; "auto": twice the number of processors, at
    /// most 16, and not below `cpu_bound_count`.
    cpu_bound_max: Option<u32> = None, WORKERS, or "auto";
    /// The maximum number of IO workers; 0 disables the pool; "auto": three times the number of processors,
    /// at most 24, and not below `io_bound_count`.
    io_bound_max: Option<u32> = None, WORKERS, or "auto";
    /// The policy that chooses the number of workers between a pool's minimum and its maximum.
    autoscaler: ScalingPolicy = ScalingPolicy::default(), Kind::OneOf(names::<ScalingPolicy>);
    /// The number of tasks that one CPU worker runs at the same time.
    cpu_bound_task_limit: u32 = 1, SLOTS;
    /// The number of tasks that one IO worker runs at the same time in threads.
    io_bound_task_limit: u32 = 20, SLOTS;
    /// The number of coroutines that one IO worker runs at the same time, in addition to
    /// `io_bound_task_limit`. The sum is at most 512.
    io_bound_async_limit: u32 = 200, Kind::Whole { least: 0, most: MAX_SLOTS as i128 - 1 };
    /// The number of tasks that may wait in the engine. Further tasks are refused.
    input_queue_size: usize = 1000, TASKS;
    /// The total size of the parameters of waiting tasks.
    input_queue_bytes: usize = 256 * MIB, Kind::Size { least: 1 << 10, most: 1 << 40 };
    /// How many times a submit that finds the queue full waits for room before it is refused. The first
    /// wait is 10 ms; each further wait is twice as long.
    max_queue_full_retries: u32 = 3, Kind::Whole { least: 0, most: 1000 };
    /// The longest of the waits that `max_queue_full_retries` counts.
    queue_poll_timeout: Duration = Duration::from_secs(1), WAIT;
    /// Tasks are refused while CPU use of the machine or container is above this, in percent; "none":
    /// never.
    max_cpu_percent: Option<f64> = None, Kind::Percent, or "none";
    /// Tasks are refused while memory use of the machine or container is above this, in percent; "none":
    /// never.
    max_memory_percent: Option<f64> = None, Kind::Percent, or "none";
    /// The sum of CPU estimates (`cpu`) of running tasks, in percent of the machine or container; "none":
    /// no limit.
    max_estimated_cpu_percent: Option<f64> = Some(100.0), Kind::Percent, or "none";
    /// The sum of memory estimates (`memory`) of running tasks, in percent of the machine or container;
    /// "none": no limit.
    max_estimated_memory_percent: Option<f64> = Some(100.0), Kind::Percent, or "none";
    /// Whether CPU and memory use are measured once a second.
    enable_metrics: bool = true, Kind::Flag;
    /// How often the memory of a busy worker is measured, if it has a memory limit.
    health_check_interval: Duration = Duration::from_millis(200),
        Kind::Time { least: Duration::from_millis(10), most: LONGEST };
    /// The number of records of finished tasks that are kept. The oldest are dropped first.
    output_queue_size: usize = 10_000, TASKS;
    /// The total size of the kept records.
    output_queue_bytes: usize = 256 * MIB, Kind::Size { least: 1, most: i64::MAX as u64 };
    /// The size of one record without its result. A larger record loses its earlier attempts first, then
    /// captured output.
    record_limit: usize = 4 * MIB, Kind::Size { least: 0, most: i64::MAX as u64 };
    /// How long the record of a finished task is kept; "none": until newer records replace it.
    result_ttl: Option<Duration> = Some(Duration::from_secs(3600)), WAIT, or "none";
    /// The maximum size of a frame on a worker's pipe. Larger parameters and results travel in shared memory
    /// or in several frames.
    frame_limit: usize = 64 * MIB, Kind::Size { least: MIB as u64, most: GIB };
    /// The maximum size of the parameters or the result of a task, and of a value that a function needs;
    /// "auto": a quarter of the memory of the machine or container.
    payload_limit: Option<usize> = None, Kind::Size { least: MIB as u64, most: 1 << 40 }, or "auto";
    /// The number of bytes that are kept of each output stream of a task.
    captured_output_limit: usize = 64 << 10, Kind::Size { least: 0, most: GIB };
    /// If more workers of a pool than this crash within `restart_window`, the pool's breaker opens:
    /// replacements are delayed, longer each time. While no worker is ready, the pool's tasks fail with the
    /// reason.
    max_restarts: u32 = 100, Kind::Whole { least: 0, most: u32::MAX as i128 };
    /// The period in which `max_restarts` counts crashes.
    restart_window: Duration = Duration::from_secs(60), WAIT;
    /// The interpreter of the workers; "none": that of the active virtual environment, otherwise `python3`
    /// on the `PATH`.
    python: Option<PathBuf> = None, Kind::Program, or "none";
    /// The time limit of CPU tasks that set none; "none": no limit.
    cpu_bound_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The time limit of IO tasks that set none; "none": no limit.
    io_bound_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The soft time limit of CPU tasks that set none, which raises an exception in the task; "none": no
    /// limit.
    cpu_bound_soft_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The soft time limit of IO tasks that set none, which raises an exception in the task; "none": no
    /// limit.
    io_bound_soft_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The longest time for which a thread that waits for a result spins before it sleeps. A thread spins only for
    /// a task that is expected to run for less than this time, while a processor would otherwise be idle, and if
    /// that has made its waits shorter. Values above 100us count as 100us. "0s": every thread sleeps at once.
    wait_spin: Duration = MAX_SPIN, Kind::Time { least: Duration::ZERO, most: Duration::from_millis(1) };
    /// How long a cancelled task may run on before it is killed.
    cancel_grace: Duration = Duration::from_secs(2), WAIT;
    /// How long a worker may take to start.
    start_timeout: Duration = Duration::from_secs(30), LIMIT;
    /// How long a worker that is asked to end may take before it is killed.
    stop_grace: Duration = Duration::from_secs(2), WAIT;
    /// The folder in which the engine creates its private folder; "none": the system's folder for temporary
    /// files.
    runtime_dir: Option<PathBuf> = None, Kind::Path, or "none";

    sections {
        /// Settings of the CPU pool's processes.
        cpu_bound_worker: WorkerConfig;
        /// Settings of the IO pool's processes.
        io_bound_worker: WorkerConfig;
        /// The pools beside `cpu` and `io`, by their names.
        pools: BTreeMap<PoolId, PoolConfig>;
    }
}

settings! {
    /// Settings of a named pool.
    #[derive(Clone, Debug, PartialEq)]
    pub struct PoolConfig, described by POOL;

    /// How the workers run their tasks: "cpu" is for tasks that compute, one at a time in each worker by
    /// default; "io" is for tasks that wait, many at a time as threads or coroutines.
    kind: PoolKind = PoolKind::Cpu, Kind::OneOf(names::<PoolKind>);
    /// The number of workers, or its bounds. With a minimum of 0, the first worker starts when a task needs it.
    /// Without a maximum, the pool can grow as far as the built-in pool of its kind does by default.
    workers: WorkerRange = WorkerRange::default(), Kind::Workers;
    /// The number of tasks that one worker runs at the same time; "auto": 1 in a pool of the kind "cpu", 20 in one
    /// of the kind "io".
    task_limit: Option<u32> = None, SLOTS, or "auto";
    /// The number of coroutines that one worker of a pool of the kind "io" runs at the same time, in addition to
    /// `task_limit`. The sum is at most 512; "auto": 200, or as many as the sum allows.
    async_limit: Option<u32> = None, Kind::Whole { least: 0, most: MAX_SLOTS as i128 - 1 }, or "auto";
    /// The time limit of tasks that set none; "none": no limit.
    timeout: Option<Duration> = None, LIMIT, or "none";
    /// The soft time limit of tasks that set none, which raises an exception in the task; "none": no limit.
    soft_timeout: Option<Duration> = None, LIMIT, or "none";
    /// The interpreter of the workers; "none": that of the other pools.
    python: Option<PathBuf> = None, Kind::Program, or "none";

    sections {
        /// Settings of its processes.
        worker: WorkerConfig;
    }
}

settings! {
    /// Settings of the worker processes of one pool.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WorkerConfig, described by WORKER;

    /// The number of tasks that a worker runs, at most, before another one takes its place; "none": no limit.
    max_tasks_per_worker: Option<u64> = None, Kind::Whole { least: 1, most: i64::MAX as i128 }, or "none";
    /// A worker that has more resident memory than this, together with the processes that its tasks have started, is
    /// replaced between two tasks; "none": never.
    max_worker_memory: Option<u64> = None, Kind::Size { least: 1, most: i64::MAX as u64 }, or "none";
    /// A task is killed with `memory_limit` when its worker has more resident memory than this, together with the processes
    /// that its tasks have started; "none": never.
    task_memory_limit: Option<u64> = None, Kind::Size { least: 1, most: i64::MAX as u64 }, or "none";
    /// How often a task runs again, at most, after its worker died while it ran, whatever the task allows; with 0, no
    /// task runs twice; "none": as the task says.
    max_worker_losses: Option<u32> = None, Kind::Whole { least: 0, most: u32::MAX as i128 }, or "none";
    /// The number that is added to the workers' nice value. Above 0, workers yield the processor to other
    /// programs.
    nice: i32 = 0, Kind::Whole { least: -20, most: 19 };
    /// Environment variables of the workers, in addition to the engine's own.
    env: BTreeMap<String, String> = BTreeMap::new(), Kind::Variables;
    /// The workers' working directory; "none": the engine's.
    cwd: Option<PathBuf> = None, Kind::Path, or "none";
    /// Whether the working folder, the umask, `os.environ`, the recursion limit and the alarm are put back after functions,
    /// too, as after tasks of scripts: after each one that ran for 100 µs or longer, in workers with one slot.
    restore: bool = false, Kind::Flag;
}

/// The longest spin of a waiting thread that L10 allows.
pub const MAX_SPIN: Duration = Duration::from_micros(100);

/// The number of processors of the machine or container. It is determined once: the system reads files of the control
/// groups for it, which takes as long as ten tasks.
#[must_use]
pub fn processors() -> usize {
    static KNOWN: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    *KNOWN
}

fn automatic_cpu_workers() -> u32 {
    u32::try_from(processors()).unwrap_or(MAX_WORKERS).clamp(1, MAX_WORKERS)
}

fn automatic_io_workers() -> u32 {
    u32::try_from(processors().saturating_sub(1)).unwrap_or(MAX_WORKERS).clamp(1, MAX_WORKERS)
}

impl WorkerConfig {
    /// The lower one of the limits of the workers' memory, in bytes. Without any, the memory is not measured.
    #[must_use]
    pub fn lowest_memory_limit(&self) -> Option<u64> {
        self.max_worker_memory.into_iter().chain(self.task_memory_limit).min()
    }
}

impl Config {
    /// The effective configuration: a serial engine has one worker, of the pool `cpu`, for the tasks of all pools.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        if self.engine == EngineKind::Serial {
            (self.cpu_bound_count, self.cpu_bound_max, self.cpu_bound_task_limit) = (1, Some(1), 1);
            (self.io_bound_count, self.io_bound_max) = (0, Some(0));
            for pool in self.pools.values_mut() {
                pool.workers = WorkerRange::exactly(0);
            }
        }
        self
    }

    /// The maximum [weight](crate::model::Task::weight) of a task, and the maximum size of a result and of a part of a
    /// function, in bytes. `memory` is the memory of the machine, if it is known.
    #[must_use]
    pub fn payload_limit(&self, memory: Option<u64>) -> usize {
        let share = |memory: u64| usize::try_from(memory / 4).unwrap_or(usize::MAX).max(MIB);
        self.payload_limit.unwrap_or_else(|| memory.map_or(GIB as usize, share))
    }
}

#[cfg(test)]
mod tests;
