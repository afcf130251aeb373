//! The pools of an engine, with all defaults resolved.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Config, MAX_SLOTS, MAX_WORKERS, PoolConfig, WorkerConfig, processors};
use crate::model::{Capacity, EngineCapacity, Fixed, Memory, PoolCapacity, PoolId, PoolKind, PoolMap};

/// The number of workers of a pool, as the configuration states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerRange {
    /// The number of workers that the pool always has.
    pub min: u32,
    /// The maximum; `None`: the default maximum of the built-in pool of the same kind.
    pub max: Option<u32>,
}

impl WorkerRange {
    /// A fixed number of workers.
    #[must_use]
    pub fn exactly(count: u32) -> Self {
        Self { min: count, max: Some(count) }
    }

    /// Parses `2`, `0-4` or `1-auto`.
    ///
    /// Returns `None` if the text is none of these.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse().ok();
        match text.split_once('-') {
            None => number(text).map(Self::exactly),
            Some((min, max)) if max.trim().eq_ignore_ascii_case("auto") => Some(Self { min: number(min)?, max: None }),
            Some((min, max)) => Some(Self { min: number(min)?, max: Some(number(max)?) }),
        }
    }

    /// Whether both numbers are allowed.
    pub(super) fn is_valid(self) -> bool {
        self.min <= MAX_WORKERS && self.max.is_none_or(|max| (self.min..=MAX_WORKERS).contains(&max))
    }
}

impl fmt::Display for WorkerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            Some(max) if max == self.min => self.min.fmt(f),
            Some(max) => write!(f, "{}-{max}", self.min),
            None => write!(f, "{}-auto", self.min),
        }
    }
}

/// The bounds on the number of workers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerBounds {
    /// The number of workers that the pool always has.
    pub least: u32,
    /// The maximum; 0 disables the pool.
    pub most: u32,
}

/// One pool, as the engine runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// How its workers run their tasks.
    pub kind: PoolKind,
    /// The bounds on its workers.
    pub workers: WorkerBounds,
    /// The number of tasks that one worker runs at the same time.
    pub slots: u32,
    /// The number of coroutines that one worker runs at the same time, in addition to its slots.
    pub coroutines: u32,
    /// The time limit of tasks that set none.
    pub timeout: Option<Duration>,
    /// The soft time limit of tasks that set none.
    pub soft_timeout: Option<Duration>,
    /// The interpreter, if it differs from the engine's.
    pub python: Option<PathBuf>,
    /// The settings of its processes.
    pub worker: WorkerConfig,
}

impl Config {
    /// The engine's pools, with all defaults resolved.
    #[must_use]
    pub fn pool_settings(&self) -> PoolMap<PoolSettings> {
        let built_in = [(PoolId::CPU, self.cpu_pool()), (PoolId::IO, self.io_pool())];
        let named = self.pools.iter().filter(|(pool, _)| !PoolId::BUILT_IN.contains(pool));
        built_in.into_iter().chain(named.map(|(pool, config)| (*pool, named_pool(config)))).collect()
    }

    fn cpu_pool(&self) -> PoolSettings {
        PoolSettings {
            kind: PoolKind::Cpu,
            workers: bounds(PoolKind::Cpu, self.cpu_bound_count, self.cpu_bound_max),
            slots: self.cpu_bound_task_limit,
            coroutines: 0,
            timeout: self.cpu_bound_timeout,
            soft_timeout: self.cpu_bound_soft_timeout,
            python: None,
            worker: self.cpu_bound_worker.clone(),
        }
    }

    fn io_pool(&self) -> PoolSettings {
        let (slots, coroutines) = io_places(Some(self.io_bound_task_limit), Some(self.io_bound_async_limit));
        PoolSettings {
            kind: PoolKind::Io,
            workers: bounds(PoolKind::Io, self.io_bound_count, self.io_bound_max),
            slots,
            coroutines,
            timeout: self.io_bound_timeout,
            soft_timeout: self.io_bound_soft_timeout,
            python: None,
            worker: self.io_bound_worker.clone(),
        }
    }

    /// The capacity for running tasks on a machine or in a container with this many bytes of memory.
    #[must_use]
    pub fn capacity(&self, machine_memory: Option<u64>) -> EngineCapacity {
        let shared = Capacity {
            processes: None,
            threads: None,
            cpu: self.max_estimated_cpu_percent.and_then(Fixed::new),
            memory: self.max_estimated_memory_percent.and_then(Fixed::new).map(Memory::Percent),
            machine_memory,
        };
        let slots = |pool: &PoolSettings| pool.workers.most.saturating_mul(pool.slots);
        let pools = self.pool_settings().map(|_, pool| PoolCapacity { kind: pool.kind, slots: slots(pool) });
        EngineCapacity { shared, pools }
    }
}

fn named_pool(config: &PoolConfig) -> PoolSettings {
    let PoolConfig { kind, workers, timeout, soft_timeout, .. } = *config;
    let (slots, coroutines) = match kind {
        PoolKind::Cpu => (config.task_limit.unwrap_or(1), 0),
        PoolKind::Io => io_places(config.task_limit, config.async_limit),
    };
    PoolSettings {
        kind,
        workers: bounds(kind, workers.min, workers.max),
        slots,
        coroutines,
        timeout,
        soft_timeout,
        python: config.python.clone(),
        worker: config.worker.clone(),
    }
}

/// The slots of an `io` worker, and its room for coroutines.
fn io_places(task_limit: Option<u32>, async_limit: Option<u32>) -> (u32, u32) {
    const SLOTS: u32 = 20;
    const COROUTINES: u32 = 200;
    let slots = task_limit.unwrap_or(SLOTS);
    let room = MAX_SLOTS.saturating_sub(slots);
    // A worker with one slot runs one task at a time.
    (slots, if slots > 1 { async_limit.unwrap_or(COROUTINES.min(room)) } else { 0 })
}

/// The bounds of a pool with the maximum `most`; `None`: the maximum depends on the machine.
fn bounds(kind: PoolKind, least: u32, most: Option<u32>) -> WorkerBounds {
    let processors = u32::try_from(processors()).unwrap_or(MAX_WORKERS);
    let automatic = match kind {
        PoolKind::Cpu => processors.saturating_mul(2).min(16),
        PoolKind::Io => processors.saturating_mul(3).min(24),
    };
    WorkerBounds { least, most: most.unwrap_or_else(|| automatic.max(least)) }
}
