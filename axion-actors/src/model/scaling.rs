//! The rules of the autoscaler, with the figures by which they decided (L15).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The rule that changed the size of a pool, and its figures. A *load* is the number of tasks that a worker runs or
/// holds. Displays as the log line states it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScalingRule {
    /// A task waits, and the pool has no worker.
    OnDemand {
        /// The number of waiting tasks.
        waiting: usize,
    },
    /// Many tasks wait for each worker (`axion-v3`).
    QueuePressure {
        /// The tasks that wait for each worker.
        pending: f64,
        /// The number of waiting tasks.
        waiting: usize,
    },
    /// A worker of a CPU pool has a high load, and the workers compute (`axion-v3`).
    CpuOverload {
        /// The highest load.
        max: f64,
        /// The mean CPU use of the workers, 0 to 1.
        cpu: f64,
    },
    /// A worker of an IO pool has a high load, or the workers hold many tasks (`axion-v3`).
    IoOverload {
        /// The highest load.
        max: f64,
        /// The tasks that each worker holds and has not started.
        queue: f64,
    },
    /// Tasks wait, and the load rises (`axion-v3`).
    RisingQueue {
        /// The tasks that wait for each worker.
        pending: f64,
        /// The rise of the mean load per second.
        velocity: f64,
    },
    /// The load is high and rises (`axion-v3`).
    RisingLoad {
        /// The mean load.
        mean: f64,
        /// The rise of the mean load per second.
        velocity: f64,
    },
    /// Many workers of a CPU pool have a high load, and the workers compute (`axion-v3`).
    CpuHigh {
        /// The load that a quarter of the workers reaches.
        p75: f64,
        /// The mean CPU use of the workers, 0 to 1.
        cpu: f64,
    },
    /// Some workers of an IO pool have a high load, or the workers hold many tasks (`axion-v3`).
    IoHigh {
        /// The load that a tenth of the workers reaches.
        p90: f64,
        /// The tasks that each worker holds and has not started.
        queue: f64,
    },
    /// The load is high, and tasks wait (`axion-v3`).
    Sustained {
        /// The mean load.
        mean: f64,
        /// The tasks that wait for each worker.
        pending: f64,
    },
    /// The workers of a CPU pool have little to do (`axion-v3`).
    CpuIdle {
        /// The mean load.
        mean: f64,
        /// The mean CPU use of the workers, 0 to 1.
        cpu: f64,
    },
    /// The workers of an IO pool have little to do (`axion-v3`).
    IoIdle {
        /// The mean load.
        mean: f64,
        /// The tasks that each worker holds and has not started.
        queue: f64,
    },
    /// The work of the near future needs more workers (`demand`).
    Demand {
        /// The number of workers needed.
        needed: u32,
        /// The number of tasks that arrive in a second.
        arrival_rate: f64,
        /// The time that a task occupies its slot, in seconds.
        run_seconds: f64,
        /// The number of waiting tasks.
        waiting: usize,
        /// The number of running tasks.
        running: usize,
    },
    /// Fewer workers were enough for some time (`demand`).
    Quiet {
        /// The largest number of workers needed in that time.
        needed: u32,
        /// The length of that time, in seconds.
        window_seconds: f64,
    },
}

impl fmt::Display for ScalingRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OnDemand { waiting } => write!(f, "ON DEMAND: no worker (queue={waiting})"),
            Self::QueuePressure { pending, waiting } => {
                write!(f, "QUEUE PRESSURE: {pending:.0} tasks/worker (queue={waiting})")
            }
            Self::CpuOverload { max, cpu } => write!(f, "OVERLOAD: max={max:.0}, cpu={cpu:.2}"),
            Self::IoOverload { max, queue } => write!(f, "OVERLOAD: max={max:.0}, queue={queue:.1}"),
            Self::RisingQueue { pending, velocity } => {
                write!(f, "RISING QUEUE: {pending:.0} tasks/worker, velocity={velocity:.2}")
            }
            Self::RisingLoad { mean, velocity } => write!(f, "RISING LOAD: avg={mean:.1}, velocity={velocity:.2}"),
            Self::CpuHigh { p75, cpu } => write!(f, "HIGH: p75={p75:.1}, cpu={cpu:.2}"),
            Self::IoHigh { p90, queue } => write!(f, "HIGH: p90={p90:.1}, queue={queue:.1}"),
            Self::Sustained { mean, pending } => write!(f, "SUSTAINED: avg={mean:.1}, {pending:.0} tasks/worker"),
            Self::CpuIdle { mean, cpu } => write!(f, "SCALE IN: avg={mean:.1}, cpu={cpu:.2}"),
            Self::IoIdle { mean, queue } => write!(f, "SCALE IN: avg={mean:.1}, queue={queue:.1}"),
            Self::Demand { needed, arrival_rate, run_seconds, waiting, running } => write!(
                f,
                "DEMAND: {needed} needed for {arrival_rate:.1} tasks/s of {run_seconds:.3} s (queue={waiting}, \
                 running={running})"
            ),
            Self::Quiet { needed, window_seconds } => {
                write!(f, "QUIET: {needed} needed in the last {window_seconds} s")
            }
        }
    }
}
