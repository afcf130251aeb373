//! Decides how many workers a pool should have.
//!
//! A [`Scaler`] is the Autoscaler without its mailbox and clock. It is given the load of one pool from time to time. It
//! answers whether the pool should stay, grow or shrink, with the line to log and the time of the next check. The
//! caller carries out the decision and chooses the workers to drain.
//!
//! This file has the rules that all policies share: the bounds (L9), and the first worker of an empty pool, which
//! starts as soon as a task waits (L1). The policies are in the folder of the same name.

mod axion_v3;
mod demand;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::axion_v3::AxionV3;
use self::demand::DemandPolicy;
use crate::config::ScalingPolicy;
pub use crate::config::WorkerBounds;
use crate::model::{PoolId, PoolKind, ScalingRule, Tick};

/// The load of one pool at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLoad {
    /// The number of tasks in the pool's queue, which are not at a worker yet.
    pub waiting: usize,
    /// The workers that take tasks. Draining workers are not among them.
    pub workers: Vec<WorkerSample>,
    /// The number of workers that are starting or wait for their restart.
    pub starting: usize,
    /// CPU use of the machine or container, 0 to 1; `None` if it is not measured.
    pub host_cpu: Option<f64>,
    /// The number of processors of the machine or container; 0 if unknown.
    pub processors: usize,
    /// The number of slots of each worker.
    pub slots: usize,
    /// The number of attempts that the pool's workers have ended since the engine's start, with any outcome.
    pub ended: u64,
}

impl Default for PoolLoad {
    /// An empty pool without measurements, with one slot for each worker.
    fn default() -> Self {
        Self { waiting: 0, workers: Vec::new(), starting: 0, host_cpu: None, processors: 0, slots: 1, ended: 0 }
    }
}

impl PoolLoad {
    /// Whether the pool has no worker, neither ready nor starting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// The number of workers, ready or starting.
    fn total(&self) -> usize {
        self.workers.len() + self.starting
    }
}

/// The load of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerSample {
    /// The number of tasks in its slots.
    pub running: usize,
    /// The number of tasks that were sent ahead or are held for it, and have not started.
    pub queued: usize,
    /// CPU use, 0 to 1 of a core; 0 if it is not measured.
    pub cpu: f64,
}

/// The step to take with a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ScalingStep {
    /// Keep the workers.
    #[default]
    Stay,
    /// Start workers.
    Grow {
        /// The number of workers, at least 1.
        by: u32,
        /// Whether the step skips the cooldown of normal steps.
        emergency: bool,
        /// The reason.
        rule: ScalingRule,
    },
    /// Drain workers: idle ones first, and none loses a task.
    Shrink {
        /// The number of workers, at least 1.
        by: u32,
        /// The reason.
        rule: ScalingRule,
    },
}

/// The result of one check of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The step to take.
    pub verdict: ScalingStep,
    /// The line to log, if a step is taken.
    pub line: Option<String>,
    /// The time of the next check. `None`: no check is needed until a task waits in a pool without workers. Such a task
    /// is a reason to check at any time.
    pub look_again: Option<Tick>,
}

/// How many workers may start, and how many may drain.
#[derive(Clone, Copy, Debug)]
struct Headroom {
    /// The number of workers below the maximum.
    grow: u32,
    /// The number of ready workers above the minimum.
    shrink: u32,
}

#[derive(Debug)]
enum Policy {
    Off,
    AxionV3(AxionV3),
    Demand(DemandPolicy),
}

/// Decides how many workers one pool has.
///
/// Call [`decide`](Self::decide) at the time that its last answer named, and when a task waits in a pool without
/// workers. Earlier calls do no harm.
#[derive(Debug)]
pub struct Scaler {
    pool: PoolId,
    bounds: WorkerBounds,
    policy: Policy,
}

impl Scaler {
    /// A scaler without history, for a pool of this kind.
    #[must_use]
    pub fn new(pool: PoolId, kind: PoolKind, policy: ScalingPolicy, bounds: WorkerBounds) -> Self {
        let policy = match policy {
            ScalingPolicy::Off => Policy::Off,
            ScalingPolicy::AxionV3 => Policy::AxionV3(AxionV3::new(kind)),
            ScalingPolicy::Demand => Policy::Demand(DemandPolicy::new(kind)),
        };
        Self { pool, bounds, policy }
    }

    /// Decides the step for this load.
    pub fn decide(&mut self, load: &PoolLoad, now: Tick) -> Decision {
        let (total, ready) = (count(load.total()), count(load.workers.len()));
        let WorkerBounds { least, most } = self.bounds;
        let room = Headroom { grow: most.saturating_sub(total), shrink: ready.saturating_sub(least) };
        let first = total == 0 && load.waiting > 0 && room.grow > 0;
        let (verdict, look_again) = match &mut self.policy {
            Policy::Off if first => (on_demand(load), None),
            Policy::Off => (ScalingStep::Stay, None),
            Policy::AxionV3(policy) if first => policy.first(load, now),
            Policy::AxionV3(policy) => policy.look(load, room, now),
            Policy::Demand(policy) if first => policy.first(load, room, now),
            Policy::Demand(policy) => policy.look(load, room, now),
        };
        let line = self.line(&verdict, total);
        Decision { verdict, line, look_again }
    }

    fn line(&self, verdict: &ScalingStep, total: u32) -> Option<String> {
        let pool = self.pool.name().to_uppercase();
        match verdict {
            ScalingStep::Stay => None,
            ScalingStep::Grow { by, rule, .. } => {
                Some(format!("[{pool}] Scale OUT +{by} → {} workers | {rule}", total.saturating_add(*by)))
            }
            ScalingStep::Shrink { by, rule } => {
                Some(format!("[{pool}] Scale IN -{by} → {} workers | {rule}", total.saturating_sub(*by)))
            }
        }
    }
}

/// Starts the first worker of an empty pool.
fn on_demand(load: &PoolLoad) -> ScalingStep {
    ScalingStep::Grow { by: 1, emergency: false, rule: ScalingRule::OnDemand { waiting: load.waiting } }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2⁵²")]
fn real(number: usize) -> f64 {
    number as f64
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}
