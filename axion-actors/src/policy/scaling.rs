//! How many workers a pool should have.
//!
//! A [`Scaler`] is the Autoscaler without its mailbox and clock: it is shown one pool's load from
//! time to time and says whether the pool should stay, grow or shrink, in which words that is logged,
//! and when it wants to look again. Who carries it out, and which worker goes, is not decided here.
//!
//! What holds for every policy is here: the bounds (L9), and that a pool without any worker gets its
//! first one as soon as a task waits (L1). The policies themselves are in the folder of this name.

mod axion_v3;
mod demand;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::axion_v3::AxionV3;
use self::demand::DemandPolicy;
use crate::config::ScalingPolicy;
pub use crate::config::WorkerBounds;
use crate::model::{PoolId, PoolKind, Tick};

/// One pool's load at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolLoad {
    /// Tasks in the pool's queue: with no worker yet.
    pub waiting: usize,
    /// The workers that take tasks. Those that are being drained are not among them.
    pub workers: Vec<WorkerSample>,
    /// Workers that are wanted and not ready: started, or waiting for their restart.
    pub starting: usize,
    /// How busy the machine (or the container) is, 0 to 1; `None` if it is not measured.
    pub host_cpu: Option<f64>,
    /// Processors that the machine (or the container) has; 0 if unknown.
    pub processors: usize,
    /// Slots of each worker.
    pub slots: usize,
    /// Attempts that the pool's workers have ended since the engine's start, however they ended.
    pub ended: u64,
}

impl Default for PoolLoad {
    /// No worker, no task, nothing measured; one slot for each worker.
    fn default() -> Self {
        Self { waiting: 0, workers: Vec::new(), starting: 0, host_cpu: None, processors: 0, slots: 1, ended: 0 }
    }
}

impl PoolLoad {
    /// Whether there is no worker, and none on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// The workers there are or will be.
    fn total(&self) -> usize {
        self.workers.len() + self.starting
    }
}

/// One worker's load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WorkerSample {
    /// Tasks in its slots.
    pub running: usize,
    /// Tasks sent ahead or kept for it, not started.
    pub queued: usize,
    /// Processor use, 0 to 1 of a core; 0 if it is not measured.
    pub cpu: f64,
}

/// What should become of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ScalingStep {
    /// Nothing.
    #[default]
    Stay,
    /// Start workers.
    Grow {
        /// How many, at least 1.
        by: u32,
        /// Without the patience of a normal step.
        emergency: bool,
        /// Why, as in the log line.
        why: String,
    },
    /// Drain workers: idle ones first, and none loses a task.
    Shrink {
        /// How many, at least 1.
        by: u32,
        /// Why, as in the log line.
        why: String,
    },
}

/// What comes of one look at a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What should become of it.
    pub verdict: ScalingStep,
    /// The line to log, if something should.
    pub line: Option<String>,
    /// When to look again. `None`: there is nothing to look at until a task waits in a pool without
    /// workers; that is worth a look at any time.
    pub look_again: Option<Tick>,
}

/// How many workers may come and go.
#[derive(Clone, Copy, Debug)]
struct Headroom {
    /// Up to the maximum.
    grow: u32,
    /// Down to the minimum, ready ones only.
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
/// Call [`decide`](Self::decide) when its last answer said so. An earlier call does no harm, and one
/// is due when a task waits in a pool that has no worker.
#[derive(Debug)]
pub struct Scaler {
    pool: PoolId,
    bounds: WorkerBounds,
    policy: Policy,
}

impl Scaler {
    /// A scaler of this pool, whose workers are of this kind; without history.
    #[must_use]
    pub fn new(pool: PoolId, kind: PoolKind, policy: ScalingPolicy, bounds: WorkerBounds) -> Self {
        let policy = match policy {
            ScalingPolicy::Off => Policy::Off,
            ScalingPolicy::AxionV3 => Policy::AxionV3(AxionV3::new(kind)),
            ScalingPolicy::Demand => Policy::Demand(DemandPolicy::new(kind)),
        };
        Self { pool, bounds, policy }
    }

    /// Looks at the pool.
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
            ScalingStep::Grow { by, why, .. } => {
                Some(format!("[{pool}] Scale OUT +{by} → {} workers | {why}", total.saturating_add(*by)))
            }
            ScalingStep::Shrink { by, why } => {
                Some(format!("[{pool}] Scale IN -{by} → {} workers | {why}", total.saturating_sub(*by)))
            }
        }
    }
}

/// The first worker of a pool that has none.
fn on_demand(load: &PoolLoad) -> ScalingStep {
    ScalingStep::Grow { by: 1, emergency: false, why: format!("ON DEMAND: no worker (queue={})", load.waiting) }
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
