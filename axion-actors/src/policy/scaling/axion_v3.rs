//! The policy `axion-v3`: a table of rules, see `docs/guides/autoscaling.md`.
//!
//! The policy remembers the average loads of its last checks and the times of its last steps. The first row that
//! matches decides. If that row is in its cooldown, nothing happens, and later rows are not considered.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Headroom, PoolLoad, ScalingStep, WorkerSample, on_demand, real, seconds};
use crate::model::{PoolKind, ScalingRule, Tick};

/// The time between two checks, from which the velocity is computed.
const INTERVAL: Duration = Duration::from_secs(2);
/// The time to the next check after an emergency step.
const ALERT: Duration = Duration::from_secs(1);
/// The cooldown between two normal steps, growing or shrinking.
const BETWEEN_STEPS: Duration = Duration::from_secs(8);
/// The cooldown between two emergency steps.
const BETWEEN_EMERGENCIES: Duration = Duration::from_secs(3);
/// The cooldown from a growth step to the next one of any kind, because workers warm up.
const WARM_UP: Duration = Duration::from_secs(3);
/// The number of average loads that are remembered.
const HISTORY: usize = 8;
/// The number of average loads that a velocity needs.
const ENOUGH: usize = 5;
/// The number of average loads at each end whose means give the velocity.
const END: usize = 3;

/// The history of one pool under these rules.
#[derive(Debug)]
pub(super) struct AxionV3 {
    kind: PoolKind,
    history: VecDeque<f64>,
    look_at: Tick,
    stepped: Option<Tick>,
    emergency: Option<Tick>,
    grown: Option<Tick>,
}

/// The step that a row asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepSize {
    /// Two more workers, at once.
    Emergency,
    /// One more worker.
    Out,
    /// One worker fewer.
    In,
}

impl AxionV3 {
    pub(super) fn new(kind: PoolKind) -> Self {
        let history = VecDeque::with_capacity(HISTORY);
        Self { kind, history, look_at: Tick(0), stepped: None, emergency: None, grown: None }
    }

    /// The first worker of an empty pool. It counts as a growth step, so a pool that keeps losing its only worker grows
    /// no faster than others.
    pub(super) fn first(&mut self, load: &PoolLoad, now: Tick) -> (ScalingStep, Option<Tick>) {
        if !is_over(self.grown, WARM_UP, now) {
            return (ScalingStep::Stay, self.grown.map(|at| at.after(WARM_UP)));
        }
        self.grown = Some(now);
        self.look_at = self.look_at.max(now);
        (on_demand(load), Some(self.look_at))
    }

    pub(super) fn look(&mut self, load: &PoolLoad, room: Headroom, now: Tick) -> (ScalingStep, Option<Tick>) {
        if now < self.look_at {
            return (ScalingStep::Stay, Some(self.look_at));
        }
        let figures = Figures::of(load, &mut self.history);
        let verdict = match self.kind {
            PoolKind::Cpu => cpu_row(&figures, room),
            PoolKind::Io => io_row(&figures, room),
        }
        .map_or(ScalingStep::Stay, |(step, rule)| self.take(step, rule, room, now));
        let alert = matches!(verdict, ScalingStep::Grow { emergency: true, .. });
        self.look_at = now.after(if alert { ALERT } else { INTERVAL });
        (verdict, Some(self.look_at))
    }

    /// Takes a step, unless it is in its cooldown or out of bounds.
    fn take(&mut self, step: StepSize, rule: ScalingRule, room: Headroom, now: Tick) -> ScalingStep {
        let rested = match step {
            StepSize::Emergency => is_over(self.emergency, BETWEEN_EMERGENCIES, now),
            StepSize::Out | StepSize::In => is_over(self.stepped, BETWEEN_STEPS, now),
        };
        let warm = step == StepSize::In || is_over(self.grown, WARM_UP, now);
        let by = match step {
            StepSize::Emergency => room.grow.min(2),
            StepSize::Out => room.grow.min(1),
            StepSize::In => room.shrink.min(1),
        };
        if !rested || !warm || by == 0 {
            return ScalingStep::Stay;
        }
        let last = if step == StepSize::Emergency { &mut self.emergency } else { &mut self.stepped };
        *last = Some(now);
        if step == StepSize::In {
            return ScalingStep::Shrink { by, rule };
        }
        self.grown = Some(now);
        ScalingStep::Grow { by, emergency: step == StepSize::Emergency, rule }
    }
}

fn is_over(last: Option<Tick>, cooldown: Duration, now: Tick) -> bool {
    last.is_none_or(|last| now >= last.after(cooldown))
}

/// The figures that the rows compare.
#[derive(Debug)]
struct Figures {
    waiting: usize,
    /// The running and queued tasks of each worker, sorted.
    loads: Vec<usize>,
    mean: f64,
    max: f64,
    mean_queue: f64,
    cpu: f64,
    pending: f64,
    velocity: f64,
}

impl Figures {
    /// Computes the figures of a load and adds its average to the history.
    fn of(load: &PoolLoad, history: &mut VecDeque<f64>) -> Self {
        let PoolLoad { waiting, workers, .. } = load;
        // Without workers, the sums are zero, and the waiting tasks are divided by one.
        let share = real(workers.len().max(1));
        let mut loads: Vec<usize> = workers.iter().map(|it| it.running + it.queued).collect();
        loads.sort_unstable();
        let sum = |of: fn(&WorkerSample) -> f64| workers.iter().map(of).sum::<f64>();
        let queued = sum(|it| real(it.queued));
        let mean = sum(|it| real(it.running + it.queued)) / share;
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(mean);
        Self {
            waiting: *waiting,
            mean,
            max: loads.last().map_or(0.0, |it| real(*it)),
            loads,
            mean_queue: queued / share,
            cpu: sum(|it| it.cpu) / share,
            pending: (0.5 * real(*waiting) + queued) / share,
            velocity: velocity(history),
        }
    }

    /// `sorted[min(int(n × q), n − 1)]`, with q as a fraction so that no rounding moves it.
    fn percentile(&self, percent: usize) -> f64 {
        let n = self.loads.len();
        self.loads.get((n * percent / 100).min(n.saturating_sub(1))).map_or(0.0, |it| real(*it))
    }
}

/// The rise of the average load per second; 0 with too few samples.
pub(super) fn velocity(history: &VecDeque<f64>) -> f64 {
    let n = history.len();
    if n < ENOUGH {
        return 0.0;
    }
    let mean = |part: &mut dyn Iterator<Item = &f64>| part.sum::<f64>() / real(END);
    let (first, last) = (mean(&mut history.iter().take(END)), mean(&mut history.iter().skip(n - END)));
    (last - first) / (real(n - 1) * seconds(INTERVAL))
}

/// The rows of a CPU pool.
fn cpu_row(it: &Figures, room: Headroom) -> Option<(StepSize, ScalingRule)> {
    let Figures { waiting, mean, max, cpu, pending, velocity, .. } = *it;
    let p75 = it.percentile(75);
    if pending >= 100.0 {
        Some((StepSize::Emergency, ScalingRule::QueuePressure { pending, waiting }))
    } else if max >= 10.0 && cpu >= 0.90 {
        Some((StepSize::Emergency, ScalingRule::CpuOverload { max, cpu }))
    } else if pending >= 50.0 && velocity >= 2.5 {
        Some((StepSize::Out, ScalingRule::RisingQueue { pending, velocity }))
    } else if velocity >= 5.0 && mean >= 3.5 {
        Some((StepSize::Out, ScalingRule::RisingLoad { mean, velocity }))
    } else if p75 >= 6.0 && cpu >= 0.75 {
        Some((StepSize::Out, ScalingRule::CpuHigh { p75, cpu }))
    } else if mean >= 3.5 && pending >= 20.0 {
        Some((StepSize::Out, ScalingRule::Sustained { mean, pending }))
    } else if mean < 1.2
        && max < 1.8
        && cpu < 0.25
        && velocity <= 0.0
        && pending < 5.0
        && waiting < 10
        && room.shrink > 0
    {
        Some((StepSize::In, ScalingRule::CpuIdle { mean, cpu }))
    } else {
        None
    }
}

/// The rows of an IO pool.
fn io_row(it: &Figures, room: Headroom) -> Option<(StepSize, ScalingRule)> {
    let Figures { waiting, mean, max, mean_queue: queue, pending, velocity, .. } = *it;
    let p90 = it.percentile(90);
    if pending >= 200.0 {
        Some((StepSize::Emergency, ScalingRule::QueuePressure { pending, waiting }))
    } else if max >= 50.0 || queue >= 40.0 {
        Some((StepSize::Emergency, ScalingRule::IoOverload { max, queue }))
    } else if pending >= 100.0 && velocity >= 2.5 {
        Some((StepSize::Out, ScalingRule::RisingQueue { pending, velocity }))
    } else if velocity >= 5.0 && mean >= 20.0 {
        Some((StepSize::Out, ScalingRule::RisingLoad { mean, velocity }))
    } else if p90 >= 35.0 || queue >= 20.0 {
        Some((StepSize::Out, ScalingRule::IoHigh { p90, queue }))
    } else if mean >= 20.0 && pending >= 50.0 {
        Some((StepSize::Out, ScalingRule::Sustained { mean, pending }))
    } else if mean < 8.0 && queue < 3.0 && velocity <= 0.0 && pending < 10.0 && waiting < 20 && room.shrink > 0 {
        Some((StepSize::In, ScalingRule::IoIdle { mean, queue }))
    } else {
        None
    }
}
