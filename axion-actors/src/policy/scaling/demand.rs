//! The policy `demand`: as many workers as the work of the near future keeps busy.
//!
//! The policy measures how long a task occupies its slot and how many tasks arrive each second. It computes how many
//! slots would be busy on average over the next `HORIZON` if every task could start at once: the mean of an M/M/∞ queue
//! that starts with the present tasks. For short tasks, this is the arriving load (Little's law) plus the slots that
//! drain the queue within the horizon. For long tasks, it is the number of present tasks. A margin that grows with the
//! square root covers chance.
//!
//! A pool grows as soon as tasks wait, as far as the machine can use more workers. It shrinks when fewer workers were
//! enough for some time.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Headroom, PoolLoad, ScalingStep, WorkerSample, count, on_demand, real, seconds};
use crate::model::{PoolKind, ScalingRule, Tick};

/// The time within which the queue should be empty: one second from a task's arrival to its start, less the delay of a
/// check and the start of a worker.
const HORIZON: f64 = 0.8;
/// The margin over the mean, in square roots of the mean. With 1, about one task in five has to wait in a large pool
/// (Halfin and Whitt).
const MARGIN: f64 = 1.0;
/// The time between two checks of a busy pool: small against the horizon, large against the cost of a check.
const LOOK: Duration = Duration::from_millis(250);
/// The time between two checks of a pool at its minimum without tasks (L10).
const REST: Duration = Duration::from_secs(1);
/// The shortest time between two measurements. An earlier check leaves the last measurement in place.
const TOO_SOON: Duration = Duration::from_millis(50);
/// The number of checks over which the arrival rate is measured: one second. The check with the most arrivals is left
/// out, because tasks that arrive together are already counted in the queue.
const RATES: usize = 4;
/// The part of the measured run time that remains at each check at which a task ran: half of it after three checks. If
/// tasks of 2 s follow tasks of 10 ms, the estimate adapts within about two seconds.
const KEEP: f64 = 0.8;
/// The expected run time before the first measurement, in seconds. It fades like any measurement.
const UNKNOWN: f64 = 0.1;
/// How long fewer workers must have been enough before the pool shrinks. A start costs about 45 ms of a processor; an
/// idle worker costs only memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long tasks must have waited before a CPU pool has more workers than the machine has processors: twice the time
/// between two samples of CPU use.
const EVIDENCE: Duration = Duration::from_secs(2);
/// The part of the machine that must be idle for this growth. Otherwise, more processes only share the same processors.
const IDLE: f64 = 0.2;
/// The least CPU use that is assumed of a worker, in cores. It bounds a division.
const LEAST_CPU: f64 = 0.05;
/// The idle part up to which the machine counts as full.
const FULL: f64 = 0.05;
/// The CPU use of a core above which a worker with many slots counts as full, even with free slots.
const CORE_FULL: f64 = 0.85;
/// The CPU use to which a full worker should come down.
const CORE_GOOD: f64 = 0.7;
/// The number of workers that start at the same time, by processor. A start computes for about 45 ms.
const STARTS_PER_PROCESSOR: usize = 2;
/// The same if the number of processors is unknown. It is also the minimum.
const STARTS: usize = 4;

/// The measurements of one pool.
#[derive(Debug)]
pub(super) struct DemandPolicy {
    kind: PoolKind,
    seen: Option<LoadWindow>,
    /// The slot-seconds that tasks used, and the attempts that ended in them; both fade.
    held: f64,
    ended: f64,
    /// The arrivals and seconds of the last checks.
    rates: [(f64, f64); RATES],
    /// The number of tasks that a full worker was seen to run. Coroutines can exceed its slots.
    capacity: f64,
    waiting_since: Option<Tick>,
    /// The numbers of workers that were needed within [`PATIENCE`], by time. A later number removes the smaller ones
    /// before it, so the first is the largest. There are at most as many as checks (L9).
    needs: VecDeque<(Tick, u32)>,
    /// The time since which the numbers are kept.
    watched: Option<Tick>,
}

/// The last check.
#[derive(Clone, Copy, Debug)]
struct LoadWindow {
    at: Tick,
    again: Tick,
    ended: u64,
    tasks: usize,
    running: usize,
}

impl DemandPolicy {
    pub(super) fn new(kind: PoolKind) -> Self {
        Self {
            kind,
            seen: None,
            held: UNKNOWN,
            ended: 1.0,
            rates: [(0.0, 0.0); RATES],
            capacity: 1.0,
            waiting_since: None,
            needs: VecDeque::new(),
            watched: None,
        }
    }

    /// Starts the first workers of an empty pool: as many as the queue needs.
    pub(super) fn first(&mut self, load: &PoolLoad, room: Headroom, now: Tick) -> (ScalingStep, Option<Tick>) {
        match self.look(load, room, now) {
            (ScalingStep::Stay, again) => (on_demand(load), again),
            grown => grown,
        }
    }

    pub(super) fn look(&mut self, load: &PoolLoad, room: Headroom, now: Tick) -> (ScalingStep, Option<Tick>) {
        if let Some(seen) = self.seen.filter(|seen| now < seen.at.after(TOO_SOON)) {
            return (ScalingStep::Stay, Some(seen.again));
        }
        self.measure(load, now);
        let needed = self.needed(load);
        self.remember(needed, now);
        let verdict = match self.growth(load, needed, room, now) {
            0 => self.shrink(load, room, now),
            by => ScalingStep::Grow { by, emergency: false, rule: self.rule(load, needed) },
        };
        let at_rest = tasks(load) == 0 && room.shrink == 0;
        let again = now.after(if at_rest { REST } else { LOOK });
        self.seen = Some(LoadWindow { at: now, again, ended: load.ended, tasks: tasks(load), running: running(load) });
        (verdict, Some(again))
    }

    /// Updates the measurements with this load.
    fn measure(&mut self, load: &PoolLoad, now: Tick) {
        let running = running(load);
        if let Some(last) = self.seen {
            let span = seconds(now.since(last.at));
            let ended = load.ended.saturating_sub(last.ended);
            if ended > 0 || running > 0 {
                #[expect(clippy::cast_precision_loss, reason = "attempts between two looks")]
                let ended = ended as f64;
                self.held = self.held * KEEP + 0.5 * real(last.running + running) * span;
                self.ended = self.ended * KEEP + ended;
            }
            let came = (tasks(load) as u64).saturating_add(ended).saturating_sub(last.tasks as u64);
            self.rates.rotate_left(1);
            #[expect(clippy::cast_precision_loss, reason = "arrivals between two looks")]
            let came = came as f64;
            self.rates[RATES - 1] = (came, span);
        }
        if load.waiting == 0 {
            self.waiting_since = None;
        } else {
            self.waiting_since.get_or_insert(now);
            // Tasks wait, so the workers are full.
            self.capacity = real(running) / real(load.workers.len().max(1));
        }
    }

    /// The time that a task occupies its slot, in seconds: slot-seconds divided by ends. This is the most likely mean
    /// of the attempts so far, including those that have not ended.
    fn run_time(&self) -> f64 {
        self.held / self.ended.max(0.01)
    }

    /// The number of tasks that arrive in a second.
    fn arrival_rate(&self) -> f64 {
        let most =
            self.rates.iter().fold((0.0, 0.0), |most: (f64, f64), rate| if rate.0 > most.0 { *rate } else { most });
        let (came, span) = self.rates.iter().fold((0.0, 0.0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1));
        if span > most.1 { (came - most.0) / (span - most.1) } else { 0.0 }
    }

    /// The average number of slots that would be busy over the horizon if every task could start at once.
    fn busy_slots(&self, load: &PoolLoad) -> f64 {
        let run_time = self.run_time();
        let ratio = run_time / HORIZON;
        // The part of the horizon for which a present task occupies a slot.
        let held = ratio * (1.0 - (-1.0 / ratio).exp());
        held * real(tasks(load)) + (1.0 - held) * self.arrival_rate() * run_time
    }

    /// The number of workers that the pool should have.
    fn needed(&self, load: &PoolLoad) -> u32 {
        let slots = self.busy_slots(load);
        let by_slots = (slots + MARGIN * slots.sqrt()) / self.capacity.max(real(load.slots.max(1)));
        let by_cpu = if load.slots > 1 { cpu(load) / CORE_GOOD } else { 0.0 };
        whole(by_slots.max(by_cpu).ceil())
    }

    /// The number of workers to start now.
    fn growth(&mut self, load: &PoolLoad, needed: u32, room: Headroom, now: Tick) -> u32 {
        let cores_full = load.slots > 1 && cpu(load) >= CORE_FULL * real(load.workers.len().max(1));
        if load.waiting == 0 && !cores_full {
            return 0;
        }
        let starts = STARTS.max(load.processors.saturating_mul(STARTS_PER_PROCESSOR));
        let launch = count(starts.saturating_sub(load.starting));
        let missing = needed.saturating_sub(count(load.total())).min(room.grow).min(launch);
        let useful = missing.min(self.useful(load, now));
        if useful > 0 && load.total() >= load.processors {
            // The next samples must confirm this step first.
            self.waiting_since = Some(now);
        }
        useful
    }

    /// The number of further workers that the machine can keep busy. A pool may always have one worker for each
    /// processor. Beyond that, a CPU pool grows only while its tasks wait although processors are idle: such tasks do
    /// not compute. An IO pool grows unless its own computing fills the machine.
    fn useful(&self, load: &PoolLoad, now: Tick) -> u32 {
        let below = count(load.processors.saturating_sub(load.total()));
        let (idle, cpu) = (load.host_cpu.map(|cpu| 1.0 - cpu), cpu(load));
        match self.kind {
            _ if load.processors == 0 => u32::MAX,
            PoolKind::Cpu if below > 0 => below,
            PoolKind::Cpu => {
                let evident = self.waiting_since.is_some_and(|since| now >= since.after(EVIDENCE));
                let idle = idle.filter(|idle| evident && *idle >= IDLE).unwrap_or(0.0);
                // Each new worker would compute as much as the present ones.
                let each = (cpu / real(load.workers.len().max(1))).max(LEAST_CPU);
                whole(idle * real(load.processors) / each)
            }
            PoolKind::Io => {
                let full = below == 0 && idle.is_some_and(|idle| idle <= FULL);
                if full && cpu >= 0.5 * real(load.processors) { 0 } else { u32::MAX }
            }
        }
    }

    fn remember(&mut self, needed: u32, now: Tick) {
        self.watched.get_or_insert(now);
        while self.needs.back().is_some_and(|(_, earlier)| *earlier <= needed) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, needed));
        while self.needs.front().is_some_and(|(at, _)| at.after(PATIENCE) < now) {
            self.needs.pop_front();
        }
    }

    /// Shrinks to the largest number that was needed for long enough, while no task waits and no worker starts.
    fn shrink(&self, load: &PoolLoad, room: Headroom, now: Tick) -> ScalingStep {
        let needed = self.needs.front().map_or(0, |(_, needed)| *needed);
        let by = count(load.total()).saturating_sub(needed).min(room.shrink);
        let patient = self.watched.is_some_and(|since| now >= since.after(PATIENCE));
        if by == 0 || !patient || load.waiting > 0 || load.starting > 0 {
            return ScalingStep::Stay;
        }
        ScalingStep::Shrink { by, rule: ScalingRule::Quiet { needed, window_seconds: seconds(PATIENCE) } }
    }

    fn rule(&self, load: &PoolLoad, needed: u32) -> ScalingRule {
        ScalingRule::Demand {
            needed,
            arrival_rate: self.arrival_rate(),
            run_seconds: self.run_time(),
            waiting: load.waiting,
            running: running(load),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, which is meant")]
fn whole(number: f64) -> u32 {
    number as u32
}

/// The number of cores that the workers use together.
fn cpu(load: &PoolLoad) -> f64 {
    load.workers.iter().map(|it| it.cpu).sum()
}

fn running(load: &PoolLoad) -> usize {
    load.workers.iter().map(|it| it.running).sum()
}

/// The number of tasks in the pool, queued or at workers.
fn tasks(load: &PoolLoad) -> usize {
    load.waiting + load.workers.iter().map(|WorkerSample { running, queued, .. }| running + queued).sum::<usize>()
}
