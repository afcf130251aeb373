//! The policy `demand`: as many workers as the work of the next moment keeps busy.
//!
//! It measures how long a task holds its slot and how many tasks come a second, and asks how many
//! slots would be busy on average over the next `HORIZON` if every task could start at once: the
//! mean of an M/M/∞ queue that starts with what is here now. For short tasks that is the arriving load
//! (Little's law) and what drains the queue within the horizon; for long ones it is the number of
//! tasks here. A margin that grows with the square root covers chance. It grows when tasks wait, at
//! once and as far as the machine can use it, and shrinks when fewer workers were enough for a while.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Headroom, PoolLoad, ScalingStep, WorkerSample, count, on_demand, real, seconds};
use crate::model::{PoolKind, Tick};

/// Within this the queue should be gone: a second from a task's arrival to its start, less a look's
/// delay and a worker's start.
const HORIZON: f64 = 0.8;
/// The margin over the mean, in its square roots. Halfin and Whitt: with 1, about one task in five has
/// to wait at all in a large pool.
const MARGIN: f64 = 1.0;
/// Between two looks at a pool that works: small against the horizon, large against a look's cost.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at a pool at its minimum with no task (L10).
const REST: Duration = Duration::from_secs(1);
/// Looks closer than this tell too little: the earlier one stands.
const TOO_SOON: Duration = Duration::from_millis(50);
/// Looks that the arrival rate is measured over: a second. The one with the most arrivals is left out:
/// tasks that came at once are in the queue, where they are counted already.
const RATES: usize = 4;
/// What is kept of the measured run time at each look at which something ran: half of it after three
/// looks. When tasks of 10 ms are followed by tasks of 2 s, that is noticed within some two seconds.
const KEEP: f64 = 0.8;
/// The run time expected before anything ran, in seconds. It is forgotten like any measurement.
const UNKNOWN: f64 = 0.1;
/// For so long fewer workers must have been enough before some go. A start costs some 45 ms of a
/// processor, an idle worker nothing but memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tasks must have waited for so long, twice the time between two samples of processor use, before a
/// CPU pool has more workers than the machine has processors.
const EVIDENCE: Duration = Duration::from_secs(2);
/// And the machine must be idle to this part at least, or more processes only share what there is.
const IDLE: f64 = 0.2;
/// What a worker is taken to use of a core at least, or one division could ask for any number.
const LEAST_CPU: f64 = 0.05;
/// A machine that is idle to no more than this part is full.
const FULL: f64 = 0.05;
/// A worker with many slots whose process uses this much of its core is full, whatever its slots say.
const CORE_FULL: f64 = 0.85;
/// What a full one should come down to.
const CORE_GOOD: f64 = 0.7;
/// Workers starting at the same time, by processor: a start is some 45 ms of computing.
const STARTS_PER_PROCESSOR: usize = 2;
/// The same where the number of processors is not known, and the least.
const STARTS: usize = 4;

/// What is known of one pool.
#[derive(Debug)]
pub(super) struct DemandPolicy {
    kind: PoolKind,
    seen: Option<LoadWindow>,
    /// Slot-seconds that tasks held, and the attempts that ended in them; both fade.
    held: f64,
    ended: f64,
    /// Arrivals and seconds of the last looks.
    rates: [(f64, f64); RATES],
    /// Tasks that one worker was seen to run when it was full: coroutines go beyond its slots.
    capacity: f64,
    waiting_since: Option<Tick>,
    /// Workers that were needed within [`PATIENCE`], by time: of an earlier and smaller number nothing
    /// is left, so the first is the largest, and there are at most as many as looks (L9).
    needs: VecDeque<(Tick, u32)>,
    /// Since when they are kept.
    watched: Option<Tick>,
}

/// The last look.
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

    /// The first workers of an empty pool: as many as the queue needs.
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
            by => ScalingStep::Grow { by, emergency: false, why: self.words(load, needed) },
        };
        let at_rest = tasks(load) == 0 && room.shrink == 0;
        let again = now.after(if at_rest { REST } else { LOOK });
        self.seen = Some(LoadWindow { at: now, again, ended: load.ended, tasks: tasks(load), running: running(load) });
        (verdict, Some(again))
    }

    /// Takes in what happened since the last look.
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
            // Tasks wait, so the workers are as full as they get.
            self.capacity = real(running) / real(load.workers.len().max(1));
        }
    }

    /// How long a task holds its slot, in seconds: slot-seconds over ends, which is the likeliest mean
    /// of what has run so far, counting those that have not ended.
    fn run_time(&self) -> f64 {
        self.held / self.ended.max(0.01)
    }

    /// Tasks that come in a second.
    fn arrival_rate(&self) -> f64 {
        let most =
            self.rates.iter().fold((0.0, 0.0), |most: (f64, f64), rate| if rate.0 > most.0 { *rate } else { most });
        let (came, span) = self.rates.iter().fold((0.0, 0.0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1));
        if span > most.1 { (came - most.0) / (span - most.1) } else { 0.0 }
    }

    /// Slots that would be busy over the horizon, on average, if every task could start at once.
    fn busy_slots(&self, load: &PoolLoad) -> f64 {
        let run_time = self.run_time();
        let ratio = run_time / HORIZON;
        // The part of the horizon for which a task that is here now holds a slot.
        let held = ratio * (1.0 - (-1.0 / ratio).exp());
        held * real(tasks(load)) + (1.0 - held) * self.arrival_rate() * run_time
    }

    /// Workers that should be there.
    fn needed(&self, load: &PoolLoad) -> u32 {
        let slots = self.busy_slots(load);
        let by_slots = (slots + MARGIN * slots.sqrt()) / self.capacity.max(real(load.slots.max(1)));
        let by_cpu = if load.slots > 1 { cpu(load) / CORE_GOOD } else { 0.0 };
        whole(by_slots.max(by_cpu).ceil())
    }

    /// How many workers to start now.
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
            // The next samples have to show that it was right.
            self.waiting_since = Some(now);
        }
        useful
    }

    /// How many more workers the machine can keep busy. Up to its processors, a pool may always have.
    /// Above, a CPU pool only while its tasks wait although processors are idle: then they do not
    /// compute; and an IO pool unless its own computing is what fills the machine.
    fn useful(&self, load: &PoolLoad, now: Tick) -> u32 {
        let below = count(load.processors.saturating_sub(load.total()));
        let (idle, cpu) = (load.host_cpu.map(|cpu| 1.0 - cpu), cpu(load));
        match self.kind {
            _ if load.processors == 0 => u32::MAX,
            PoolKind::Cpu if below > 0 => below,
            PoolKind::Cpu => {
                let evident = self.waiting_since.is_some_and(|since| now >= since.after(EVIDENCE));
                let idle = idle.filter(|idle| evident && *idle >= IDLE).unwrap_or(0.0);
                // Each would compute as much as those that are there.
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

    /// Shrinks to the most that was needed for long enough, while nothing waits or starts.
    fn shrink(&self, load: &PoolLoad, room: Headroom, now: Tick) -> ScalingStep {
        let needed = self.needs.front().map_or(0, |(_, needed)| *needed);
        let by = count(load.total()).saturating_sub(needed).min(room.shrink);
        let patient = self.watched.is_some_and(|since| now >= since.after(PATIENCE));
        if by == 0 || !patient || load.waiting > 0 || load.starting > 0 {
            return ScalingStep::Stay;
        }
        ScalingStep::Shrink { by, why: format!("QUIET: {needed} needed in the last {} s", PATIENCE.as_secs()) }
    }

    fn words(&self, load: &PoolLoad, needed: u32) -> String {
        format!(
            "DEMAND: {needed} needed for {:.1} tasks/s of {:.3} s (queue={}, running={})",
            self.arrival_rate(),
            self.run_time(),
            load.waiting,
            running(load)
        )
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, which is meant")]
fn whole(number: f64) -> u32 {
    number as u32
}

/// Cores that the workers use together.
fn cpu(load: &PoolLoad) -> f64 {
    load.workers.iter().map(|it| it.cpu).sum()
}

fn running(load: &PoolLoad) -> usize {
    load.workers.iter().map(|it| it.running).sum()
}

/// Tasks in the pool, wherever they are.
fn tasks(load: &PoolLoad) -> usize {
    load.waiting + load.workers.iter().map(|WorkerSample { running, queued, .. }| running + queued).sum::<usize>()
}
