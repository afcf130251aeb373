//! The pools of an engine, with every default worked out.

use std::path::PathBuf;
use std::time::Duration;

use super::{Config, MAX_WORKERS, WorkerConfig, processors};
use crate::model::{Capacity, EngineCapacity, Fixed, Memory, PoolCapacity, PoolId, PoolKind, PoolMap};

/// How many workers a pool can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerBounds {
    /// These are always there.
    pub least: u32,
    /// Never more; 0: the pool is switched off.
    pub most: u32,
}

/// One pool, as the engine runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSettings {
    /// How its workers run their tasks.
    pub kind: PoolKind,
    /// How many workers it can have.
    pub workers: WorkerBounds,
    /// Tasks that run at the same time in one worker.
    pub slots: u32,
    /// Coroutine tasks that run at the same time in one worker, beside those in the slots.
    pub coroutines: u32,
    /// The time limit of a task that states none.
    pub timeout: Option<Duration>,
    /// The soft time limit of a task that states none.
    pub soft_timeout: Option<Duration>,
    /// The interpreter, if it is not the engine's.
    pub python: Option<PathBuf>,
    /// Its processes.
    pub worker: WorkerConfig,
}

impl Config {
    /// The engine's pools.
    #[must_use]
    pub fn pools(&self) -> PoolMap<PoolSettings> {
        [(PoolId::CPU, self.cpu_pool()), (PoolId::IO, self.io_pool())].into_iter().collect()
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
        PoolSettings {
            kind: PoolKind::Io,
            workers: bounds(PoolKind::Io, self.io_bound_count, self.io_bound_max),
            slots: self.io_bound_task_limit,
            // A worker with one slot does one thing at a time.
            coroutines: if self.io_bound_task_limit > 1 { self.io_bound_async_limit } else { 0 },
            timeout: self.io_bound_timeout,
            soft_timeout: self.io_bound_soft_timeout,
            python: None,
            worker: self.io_bound_worker.clone(),
        }
    }

    /// How much there is for the tasks that run at one time, on a machine (or in a container) with this many
    /// bytes of memory.
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
        let pools = self.pools().map(|_, pool| PoolCapacity { kind: pool.kind, slots: slots(pool) });
        EngineCapacity { shared, pools }
    }
}

/// The bounds of a pool whose maximum is `most`, or follows the machine.
fn bounds(kind: PoolKind, least: u32, most: Option<u32>) -> WorkerBounds {
    let processors = u32::try_from(processors()).unwrap_or(MAX_WORKERS);
    let automatic = match kind {
        PoolKind::Cpu => processors.saturating_mul(2).min(16),
        PoolKind::Io => processors.saturating_mul(3).min(24),
    };
    WorkerBounds { least, most: most.unwrap_or_else(|| automatic.max(least)) }
}
