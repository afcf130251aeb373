//! The engine's settings: typed, with defaults and checks. Reads no files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A setting out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} is out of range: {allowed}")]
pub struct ConfigError {
    /// The setting's name.
    pub key: &'static str,
    /// What was given.
    pub value: String,
    /// What may be given.
    pub allowed: &'static str,
}

/// Settings of the worker processes of one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerConfig {
    /// A worker is replaced after so many tasks, between two of them; `None`: never.
    pub max_tasks_per_worker: Option<u64>,
    /// A worker that holds more memory (resident, in bytes) is replaced between two tasks.
    pub max_worker_memory: Option<u64>,
    /// A task whose worker holds more memory (resident, in bytes) is ended with `memory_limit`.
    pub task_memory_limit: Option<u64>,
    /// Added to the workers' nice value, −20 to 19: above 0, they leave the processor to others.
    pub nice: i32,
    /// Environment variables on top of the engine's own.
    pub env: BTreeMap<String, String>,
    /// The workers' current folder; `None`: the engine's.
    pub cwd: Option<PathBuf>,
}

impl WorkerConfig {
    /// Whether the workers' memory has to be looked at.
    #[must_use]
    pub fn measures_memory(&self) -> bool {
        self.max_worker_memory.is_some() || self.task_memory_limit.is_some()
    }
}

/// What decides how many workers a pool has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScalingPolicy {
    /// Nothing: a pool has its configured count, or up to one worker if that is 0.
    Off,
    /// The rules that `docs/autoscaling.md` lists.
    #[default]
    AxionV3,
    /// As many workers as the work of the next moment needs, by the formula in `docs/autoscaling.md`.
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

/// Settings of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How tasks are run. Default parallel.
    pub engine: EngineKind,
    /// How much is logged. Default INFO.
    pub log_level: LogFilter,
    /// Workers of the CPU pool that are always there; with 0, the first is started when a task needs it.
    /// Default 1.
    pub cpu_bound_count: u32,
    /// The same of the IO pool. Default: processors − 1, at least 1.
    pub io_bound_count: u32,
    /// Workers that the CPU pool may grow to; 0 switches the pool off. Default: 2 × processors, 16 at
    /// most, and not below `cpu_bound_count`.
    pub cpu_bound_max: Option<u32>,
    /// The same of the IO pool. Default: 3 × processors, 24 at most, and not below `io_bound_count`.
    pub io_bound_max: Option<u32>,
    /// What decides how many workers there are between those bounds. Default axion-v3.
    pub autoscaler: ScalingPolicy,
    /// Tasks that run at the same time in one CPU worker. Default 1.
    pub cpu_bound_task_limit: u32,
    /// Tasks that run at the same time in one IO worker. Default 20.
    pub io_bound_task_limit: u32,
    /// Coroutine tasks that run at the same time in one IO worker, beside those of
    /// `io_bound_task_limit`. Default 200.
    pub io_bound_async_limit: u32,
    /// Tasks that may wait in the engine; what comes on top is refused. Default 1000.
    pub input_queue_size: usize,
    /// Bytes of parameters that may wait in the engine together. Default 256 MiB.
    pub input_queue_bytes: usize,
    /// How often a submission that finds the queue full waits for room before it is refused: 10 ms the
    /// first time, doubled each time. Default 3.
    pub max_queue_full_retries: u32,
    /// The longest one of those waits. Default 1 s.
    pub queue_poll_timeout: Duration,
    /// Tasks are refused while the machine's (or the container's) processors are busier than this, in
    /// percent; `None`: however busy they are. Default `None`.
    pub max_cpu_percent: Option<f64>,
    /// Tasks are refused while more of the machine's (or the container's) memory is in use, in percent;
    /// `None`: however much is. Default `None`.
    pub max_memory_percent: Option<f64>,
    /// Whether processor use and memory are measured, once a second. Default true.
    pub enable_metrics: bool,
    /// How often the memory of a worker that works is looked at, if it has a limit. Default 0.2 s.
    pub health_check_interval: Duration,
    /// Records of finished tasks that are kept; the oldest go first. Default 10000.
    pub output_queue_size: usize,
    /// Bytes that kept records may hold together. Default 256 MiB.
    pub output_queue_bytes: usize,
    /// Bytes that one record may hold beside its result: what is above goes, earlier attempts first, then
    /// captured output. Default 4 MiB.
    pub record_limit: usize,
    /// How long a finished task's record is kept; `None`: until newer ones take its place. Default 1 h.
    pub result_ttl: Option<Duration>,
    /// The largest frame on a worker's pipe, in bytes: bounds parameters and results. Default 64 MiB.
    pub frame_limit: usize,
    /// Bytes kept of each output stream of a task. Default 64 KiB.
    pub captured_output_limit: usize,
    /// The CPU pool's processes.
    pub cpu_bound_worker: WorkerConfig,
    /// The IO pool's processes.
    pub io_bound_worker: WorkerConfig,
    /// When more workers of a pool than this die by themselves within `restart_window`, its breaker
    /// opens: replacements wait, longer each time, and while none is ready the pool's tasks fail with
    /// the reason. Default 100.
    pub max_restarts: u32,
    /// Default 60 s.
    pub restart_window: Duration,
    /// The interpreter of the workers; `None`: that of the active virtual environment, else
    /// `python3` on the `PATH`.
    pub python: Option<PathBuf>,
    /// The time limit of a CPU task that states none; `None`: no limit. Default `None`.
    pub cpu_bound_timeout: Option<Duration>,
    /// The same of an IO task.
    pub io_bound_timeout: Option<Duration>,
    /// The soft time limit of a CPU task that states none; `None`: no limit. Default `None`.
    pub cpu_bound_soft_timeout: Option<Duration>,
    /// The same of an IO task.
    pub io_bound_soft_timeout: Option<Duration>,
    /// How long a thread that waits for a result looks for it before it goes to sleep. It saves the
    /// processor's way out of its sleep, at the price of keeping it busy meanwhile; for callers that
    /// wait for one short task after the other. Default 0: a waiter is woken (L10). At most 1 ms.
    pub wait_spin: Duration,
    /// How long a cancelled task may take to stop by itself before it is killed. Default 2 s.
    pub cancel_grace: Duration,
    /// How long a worker may take from its launch to its handshake. Default 30 s.
    pub start_timeout: Duration,
    /// How long a worker that should end may take before it is killed. Default 2 s.
    pub stop_grace: Duration,
    /// The folder in which the engine makes its private one; `None`: the system's folder for
    /// temporary files.
    pub runtime_dir: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let processors = processors();
        Self {
            engine: EngineKind::default(),
            log_level: LogFilter::default(),
            cpu_bound_count: 1,
            cpu_bound_max: None,
            io_bound_max: None,
            autoscaler: ScalingPolicy::default(),
            io_bound_count: u32::try_from(processors.saturating_sub(1).max(1)).unwrap_or(1),
            cpu_bound_task_limit: 1,
            io_bound_task_limit: 20,
            io_bound_async_limit: 200,
            input_queue_size: 1000,
            input_queue_bytes: 256 << 20,
            max_queue_full_retries: 3,
            queue_poll_timeout: Duration::from_secs(1),
            max_cpu_percent: None,
            max_memory_percent: None,
            enable_metrics: true,
            health_check_interval: Duration::from_millis(200),
            record_limit: 4 << 20,
            output_queue_size: 10_000,
            output_queue_bytes: 256 << 20,
            result_ttl: Some(Duration::from_secs(3600)),
            frame_limit: 64 << 20,
            captured_output_limit: 64 << 10,
            cpu_bound_timeout: None,
            io_bound_timeout: None,
            cpu_bound_soft_timeout: None,
            io_bound_soft_timeout: None,
            wait_spin: Duration::ZERO,
            cancel_grace: Duration::from_secs(2),
            cpu_bound_worker: WorkerConfig::default(),
            io_bound_worker: WorkerConfig::default(),
            max_restarts: 100,
            restart_window: Duration::from_secs(60),
            python: None,
            start_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(2),
            runtime_dir: None,
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The workers a pool may have at most; a larger number is a slip of the keyboard.
const MOST_WORKERS: usize = 4096;
/// What fits into a worker's status page, see `docs/wire-protocol.md`.
const MOST_SLOTS: usize = 512;
/// Room for the longest failure, log line or piece of output that a child sends.
const SMALLEST_FRAME: usize = 1 << 20;

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is out of its range, with the range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |key, value: usize, range: std::ops::RangeInclusive<usize>, allowed| {
            if range.contains(&value) { Ok(()) } else { Err(ConfigError { key, value: value.to_string(), allowed }) }
        };
        within("cpu_bound_count", self.cpu_bound_count as usize, 0..=MOST_WORKERS, "0 to 4096")?;
        within("io_bound_count", self.io_bound_count as usize, 0..=MOST_WORKERS, "0 to 4096")?;
        for (key, most, least) in [
            ("cpu_bound_max", self.cpu_bound_max, self.cpu_bound_count),
            ("io_bound_max", self.io_bound_max, self.io_bound_count),
        ] {
            if let Some(most) = most {
                let allowed = "the pool's count to 4096";
                within(key, most as usize, least as usize..=MOST_WORKERS, allowed)?;
            }
        }
        if crate::model::PoolKind::ALL.iter().all(|pool| self.most_workers(*pool) == 0) {
            let allowed = "at least 1, or cpu_bound_max at least 1: an engine without workers runs nothing";
            return Err(ConfigError { key: "io_bound_max", value: "0".into(), allowed });
        }
        within("cpu_bound_task_limit", self.cpu_bound_task_limit as usize, 1..=MOST_SLOTS, "1 to 512")?;
        within("io_bound_task_limit", self.io_bound_task_limit as usize, 1..=MOST_SLOTS, "1 to 512")?;
        let room = MOST_SLOTS - self.io_bound_task_limit as usize;
        within("io_bound_async_limit", self.io_bound_async_limit as usize, 0..=room, "0 to 512 - io_bound_task_limit")?;
        within("input_queue_size", self.input_queue_size, 1..=MOST_QUEUED, "1 to 100000000")?;
        within(
            "input_queue_bytes",
            self.input_queue_bytes,
            1 << 10..=1 << 40,
            "1024 (1 KiB) to 1099511627776 (1 TiB)",
        )?;
        within("output_queue_size", self.output_queue_size, 1..=MOST_QUEUED, "1 to 100000000")?;
        within("output_queue_bytes", self.output_queue_bytes, 1..=usize::MAX, "at least 1")?;
        within("frame_limit", self.frame_limit, SMALLEST_FRAME..=1 << 30, "1048576 (1 MiB) to 1073741824 (1 GiB)")?;
        within("captured_output_limit", self.captured_output_limit, 0..=1 << 30, "0 to 1073741824 (1 GiB)")?;
        for (key, percent) in
            [("max_cpu_percent", self.max_cpu_percent), ("max_memory_percent", self.max_memory_percent)]
        {
            if let Some(percent) = percent.filter(|it| !(*it > 0.0 && *it <= 100.0)) {
                return Err(ConfigError { key, value: percent.to_string(), allowed: "above 0, up to 100" });
            }
        }
        if (self.max_cpu_percent.is_some() || self.max_memory_percent.is_some()) && !self.enable_metrics {
            let allowed = "true, when max_cpu_percent or max_memory_percent is set: they need what is measured";
            return Err(ConfigError { key: "enable_metrics", value: "false".into(), allowed });
        }
        if self.health_check_interval < Duration::from_millis(10) {
            let value = format!("{:?}", self.health_check_interval);
            return Err(ConfigError { key: "health_check_interval", value, allowed: "at least 10 ms" });
        }
        within("max_queue_full_retries", self.max_queue_full_retries as usize, 0..=1000, "0 to 1000")?;
        for worker in [&self.cpu_bound_worker, &self.io_bound_worker] {
            let most = usize::MAX;
            let tasks = worker.max_tasks_per_worker.map_or(1, |it| usize::try_from(it).unwrap_or(most));
            within("max_tasks_per_worker", tasks, 1..=most, "at least 1")?;
            if !(-20..=19).contains(&worker.nice) {
                let value = worker.nice.to_string();
                return Err(ConfigError { key: "nice", value, allowed: "-20 to 19" });
            }
        }
        if self.wait_spin > Duration::from_millis(1) {
            let value = format!("{:?}", self.wait_spin);
            return Err(ConfigError { key: "wait_spin", value, allowed: "0 to 1 ms" });
        }
        if self.start_timeout.is_zero() {
            return Err(ConfigError { key: "start_timeout", value: "0 s".into(), allowed: "longer than 0 s" });
        }
        Ok(())
    }

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
    pub fn most_workers(&self, pool: crate::model::PoolKind) -> u32 {
        let processors = u32::try_from(processors()).unwrap_or(u32::MAX);
        let (given, automatic) = match pool {
            crate::model::PoolKind::Cpu => (self.cpu_bound_max, processors.saturating_mul(2).min(16)),
            crate::model::PoolKind::Io => (self.io_bound_max, processors.saturating_mul(3).min(24)),
        };
        given.unwrap_or_else(|| automatic.max(self.workers(pool)))
    }

    /// Workers of a pool that are always there.
    #[must_use]
    pub fn workers(&self, pool: crate::model::PoolKind) -> u32 {
        match pool {
            crate::model::PoolKind::Cpu => self.cpu_bound_count,
            crate::model::PoolKind::Io => self.io_bound_count,
        }
    }

    /// Settings of a pool's processes.
    #[must_use]
    pub fn worker(&self, pool: crate::model::PoolKind) -> &WorkerConfig {
        match pool {
            crate::model::PoolKind::Cpu => &self.cpu_bound_worker,
            crate::model::PoolKind::Io => &self.io_bound_worker,
        }
    }

    /// Slots of each worker of a pool.
    #[must_use]
    pub fn slots(&self, pool: crate::model::PoolKind) -> u32 {
        match pool {
            crate::model::PoolKind::Cpu => self.cpu_bound_task_limit,
            crate::model::PoolKind::Io => self.io_bound_task_limit,
        }
    }
}

const MOST_QUEUED: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_those_of_c0_4() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.cpu_bound_count, config.cpu_bound_task_limit, config.io_bound_task_limit), (1, 1, 20));
        assert_eq!((config.input_queue_size, config.output_queue_size), (1000, 10_000));
        assert!(config.io_bound_count >= 1);
    }

    #[test]
    fn a_setting_out_of_range_is_refused_by_name() {
        type Spoil = fn(&mut Config);
        let cases: [(&str, Spoil); 13] = [
            ("wait_spin", |c| c.wait_spin = Duration::from_secs(1)),
            ("input_queue_size", |c| c.input_queue_size = 0),
            ("output_queue_size", |c| c.output_queue_size = 0),
            ("cpu_bound_task_limit", |c| c.cpu_bound_task_limit = 0),
            ("io_bound_task_limit", |c| c.io_bound_task_limit = 513),
            ("frame_limit", |c| c.frame_limit = 10),
            ("start_timeout", |c| c.start_timeout = Duration::ZERO),
            ("io_bound_max", |c| {
                (c.cpu_bound_count, c.io_bound_count) = (0, 0);
                (c.cpu_bound_max, c.io_bound_max) = (Some(0), Some(0));
            }),
            ("cpu_bound_max", |c| (c.cpu_bound_count, c.cpu_bound_max) = (3, Some(2))),
            ("io_bound_async_limit", |c| (c.io_bound_task_limit, c.io_bound_async_limit) = (400, 113)),
            ("max_cpu_percent", |c| c.max_cpu_percent = Some(f64::NAN)),
            ("enable_metrics", |c| (c.enable_metrics, c.max_memory_percent) = (false, Some(90.0))),
            ("health_check_interval", |c| c.health_check_interval = Duration::ZERO),
        ];
        for (key, spoil) in cases {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.validate().expect_err(key);
            assert_eq!(error.key, key);
            assert!(error.to_string().contains(error.allowed), "{error}");
        }
    }
}
