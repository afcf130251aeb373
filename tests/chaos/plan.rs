//! What each task does, which depends only on the seed and its index, and how it may end.

use std::path::Path;
use std::time::Duration;

use axion_core::{
    Backoff, Concurrency, ErrorKind, Limits, Needs, Outcome, PoolKind, Priority, Rate, RetryPolicy, Task, TaskRecord,
};
use serde_json::{Value, json};

use crate::rng::Rng;
use crate::trace::Traits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Noop,
    Compute,
    Nap,
    AsyncNap,
    Print,
    Big,
    /// Its result travels in shared memory.
    Huge,
    Fail,
    FailUntil,
    SysExit,
    Polite,
    Soft,
    SoftCaught,
    AsyncSoft,
    CatchAll,
    HoldGil,
    Exit,
    KillItself,
    Segfault,
    Abort,
    Garbage,
    /// Does something to the engine's pipes or its own process, and goes on.
    Attack,
    Subprocess,
    /// Of mapped steps only: fails for some elements.
    Picky,
    /// For steps only: runs until it is ended.
    Endless,
}

/// Out of 1000. Kinds that cost a worker are rare: a worker takes longer to start than most tasks run.
const KINDS: [(Kind, u64); 23] = [
    (Kind::Noop, 250),
    (Kind::Compute, 130),
    (Kind::Nap, 110),
    (Kind::AsyncNap, 110),
    (Kind::Print, 90),
    (Kind::Big, 30),
    (Kind::Huge, 10),
    (Kind::Fail, 60),
    (Kind::FailUntil, 90),
    (Kind::SysExit, 25),
    (Kind::Polite, 25),
    (Kind::Soft, 8),
    (Kind::SoftCaught, 8),
    (Kind::AsyncSoft, 8),
    (Kind::CatchAll, 6),
    (Kind::HoldGil, 6),
    (Kind::Exit, 6),
    (Kind::KillItself, 6),
    (Kind::Segfault, 3),
    (Kind::Abort, 3),
    (Kind::Garbage, 3),
    (Kind::Attack, 10),
    (Kind::Subprocess, 3),
];

/// The last of the attacks in the script. It floods what is captured below Python.
const ATTACK_BELOW_PYTHON: u64 = 11;

impl Kind {
    /// Its function in the script is `do_` and this.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Compute => "compute",
            Self::Nap => "nap",
            Self::AsyncNap => "async_nap",
            Self::Print => "print",
            Self::Big | Self::Huge => "big",
            Self::Fail => "fail",
            Self::FailUntil => "fail_until",
            Self::SysExit => "sys_exit",
            Self::Polite => "polite",
            Self::Soft => "soft",
            Self::SoftCaught => "soft_caught",
            Self::AsyncSoft => "async_soft",
            Self::Endless => "endless",
            Self::CatchAll => "catch_all",
            Self::HoldGil => "hold_gil",
            Self::Exit => "exit",
            Self::KillItself => "kill_itself",
            Self::Segfault => "segfault",
            Self::Abort => "abort",
            Self::Garbage => "garbage",
            Self::Attack => "attack",
            Self::Subprocess => "subprocess",
            Self::Picky => "picky",
        }
    }

    /// The parameter that says how much of it, if it takes one.
    pub(crate) fn amount(self) -> Option<&'static str> {
        match self {
            Self::Compute => Some("rounds"),
            Self::Nap | Self::AsyncNap | Self::Polite => Some("ms"),
            Self::Print => Some("lines"),
            Self::Big | Self::Huge => Some("size"),
            Self::FailUntil => Some("until"),
            Self::Attack => Some("how"),
            _ => None,
        }
    }

    /// Always ends its own process.
    fn is_deadly(self) -> bool {
        matches!(self, Self::Exit | Self::KillItself | Self::Segfault | Self::Abort | Self::Garbage)
    }

    /// Usually over in a moment, so that the engine sends it ahead of others.
    fn is_quick(self) -> bool {
        matches!(self, Self::Noop | Self::Compute | Self::Print | Self::Fail | Self::SysExit)
    }
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) index: usize,
    pub(crate) kind: Kind,
    pub(crate) pool: PoolKind,
    quick_script: bool,
    /// Loop rounds, milliseconds, lines, bytes or attempts, as the kind has it.
    amount: u64,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    ttl: Option<Duration>,
    pub(crate) max_retries: u32,
    pub(crate) max_losses: u32,
    backoff: Duration,
    limits: Limits,
    priority: Priority,
    /// It starts no earlier than this after its submission.
    delay: Option<Duration>,
}

/// Why a task may have ended otherwise than by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    /// Its cancellation was asked for.
    pub(crate) cancelled: bool,
    /// Its engine was shut down without patience.
    pub(crate) shut_down: bool,
}

/// Most have the usual one.
pub(crate) fn priority(rng: &mut Rng) -> Priority {
    let level = if rng.chance(20) { rng.within(0, 9) } else { 5 };
    u8::try_from(level).ok().and_then(|level| Priority::try_from(level).ok()).unwrap_or_default()
}

/// The limits that some tasks ask for.
fn limits(rng: &mut Rng, pool: PoolKind) -> Limits {
    // Two CPU workers with one slot each, or two IO workers with two at least.
    let slots = match pool {
        PoolKind::Cpu => 2,
        PoolKind::Io => u32::try_from(rng.within(2, 4)).unwrap_or(2),
    };
    let needs = Needs { slots: if rng.chance(5) { slots } else { 1 }, ..Needs::default() };
    let max = u32::try_from(rng.within(1, 3)).unwrap_or(1);
    let concurrency = rng.chance(8).then(|| Concurrency { key: format!("at most {max}").into(), max });
    Limits { needs, concurrency, rate: rng.chance(3).then(|| Rate::per_second("starts", 200)) }
}

impl Plan {
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        let mut rng = Rng::new(seed, index as u64 + 1000);
        let kind = rng.weighted(&KINDS);
        let (low, high) = match kind {
            Kind::Compute => (100, 10_000),
            Kind::Nap | Kind::AsyncNap => (1, 9),
            Kind::Print => (1, 20),
            Kind::Big => (80_000, 130_000),
            Kind::Huge => (1_000_000, 3_000_000),
            Kind::FailUntil => (1, 4),
            Kind::Polite => (20, 80),
            Kind::Attack => (0, ATTACK_BELOW_PYTHON),
            _ => (0, 0),
        };
        let retries = if kind == Kind::FailUntil || rng.chance(10) { rng.within(0, 3) } else { 0 };
        let pool = if rng.chance(50) { PoolKind::Cpu } else { PoolKind::Io };
        let amount = rng.within(low, high);
        // Where several tasks run, nobody knows whose bytes those are.
        let is_below_python = kind == Kind::Attack && amount == ATTACK_BELOW_PYTHON;
        let pool = if is_below_python { PoolKind::Cpu } else { pool };
        Self {
            index,
            kind,
            pool,
            // Deadly ones are among the quick ones, too, so that workers die with tasks sent ahead.
            quick_script: kind.is_quick() || (kind.is_deadly() && rng.chance(50)),
            amount,
            timeout: matches!(kind, Kind::CatchAll | Kind::HoldGil).then(|| rng.millis(40, 160)),
            soft_timeout: matches!(kind, Kind::Soft | Kind::SoftCaught | Kind::AsyncSoft).then(|| rng.millis(20, 60)),
            max_retries: u32::try_from(retries).unwrap_or(0),
            max_losses: u32::try_from(rng.within(0, 2)).unwrap_or(0),
            backoff: rng.millis(0, 20),
            ttl: rng.chance(10).then(|| rng.millis(10, 400)),
            limits: limits(&mut rng, pool),
            priority: priority(&mut rng),
            delay: rng.chance(8).then(|| rng.millis(1, 300)),
        }
    }

    /// A task that does nothing and has no limits.
    pub(crate) fn plain(index: usize) -> Self {
        Self {
            index,
            kind: Kind::Noop,
            pool: if index.is_multiple_of(2) { PoolKind::Cpu } else { PoolKind::Io },
            quick_script: true,
            amount: 0,
            timeout: None,
            soft_timeout: None,
            ttl: None,
            max_retries: 0,
            max_losses: 2,
            backoff: Duration::ZERO,
            limits: Limits::default(),
            priority: Priority::default(),
            delay: None,
        }
    }

    /// The traits that its events must show.
    pub(crate) fn traits(&self) -> Traits {
        Traits { delay: self.delay, ttl: self.ttl, once: self.max_losses == 0 }
    }

    /// The task, from the copies of the script in `folder`: the engine measures run times by path.
    pub(crate) fn task(&self, folder: &Path) -> Task {
        let script = folder.join(if self.quick_script { "quick.py" } else { "slow.py" });
        let task = Task::script(script).params(&self.params()).expect("JSON").on(self.pool);
        let retry = RetryPolicy { backoff: Backoff::Fixed(self.backoff), ..RetryPolicy::times(self.max_retries) };
        let task = self.limited(task.max_worker_losses(self.max_losses).retry(retry)).priority(self.priority);
        let task = match self.ttl {
            Some(limit) => task.ttl(limit),
            None => task,
        };
        let task = match self.delay {
            Some(time) => task.delay(time),
            None => task,
        };
        match (self.timeout, self.soft_timeout) {
            (Some(limit), _) => task.timeout(limit),
            (None, Some(limit)) => task.soft_timeout(limit),
            (None, None) => task,
        }
    }

    fn limited(&self, task: Task) -> Task {
        let task = if self.limits.needs == Needs::default() { task } else { task.needs(self.limits.needs) };
        let task = match &self.limits.concurrency {
            Some(limit) => task.concurrency(limit.clone()),
            None => task,
        };
        match &self.limits.rate {
            Some(rate) => task.rate(rate.clone()),
            None => task,
        }
    }

    fn params(&self) -> Value {
        let mut params = json!({"do": self.kind.name(), "i": self.index});
        if let Some(amount) = self.kind.amount() {
            params[amount] = json!(self.amount);
        }
        params
    }

    /// Whether the task may have ended like this.
    pub(crate) fn check(&self, record: &TaskRecord, ending: Ending) -> Result<(), String> {
        let cancelled = ending.cancelled;
        if let (Some(delay), Some(started)) = (self.delay, record.timings.started) {
            let waited = started.duration_since(record.timings.submitted);
            // Of the last attempt; none starts sooner.
            if waited < jiff::SignedDuration::try_from(delay).unwrap_or_default() {
                return Err(format!("it started after {waited:?}, which is too soon"));
            }
        }
        match &record.outcome {
            Outcome::Succeeded(_) => {
                let data = record.outcome.data().ok_or("its result is not JSON")?;
                self.check_value(&data.parse().map_err(|error| error.to_string())?, record)?;
                if self.kind == Kind::Print { self.check_output(record) } else { Ok(()) }
            }
            Outcome::Failed(error) => self.check_failure(error.kind, record, cancelled),
            Outcome::TimedOut(error) => {
                let expected = match self.kind {
                    Kind::CatchAll | Kind::HoldGil => ErrorKind::Timeout,
                    Kind::Soft | Kind::SoftCaught | Kind::AsyncSoft => ErrorKind::SoftTimeout,
                    _ => return Err(format!("it has no time limit: {error}")),
                };
                agree("the error", &error.kind, &expected)
            }
            Outcome::Cancelled(error) if ending.shut_down && error.kind == ErrorKind::Shutdown => Ok(()),
            Outcome::Cancelled(error) if cancelled => agree("the error", &error.kind, &ErrorKind::Cancelled),
            Outcome::Cancelled(error) => Err(format!("nobody cancelled it: {error}")),
            Outcome::Expired(error) if self.ttl.is_some() => {
                agree("the error", &error.kind, &ErrorKind::Expired)?;
                agree("the attempts of a task that had not started", &record.attempt, &None)
            }
            Outcome::Expired(error) => Err(format!("it may wait for ever: {error}")),
            Outcome::Lost(_) => agree("the losses of a lost task", &record.worker_losses, &self.max_losses),
        }
    }

    fn check_value(&self, value: &Value, record: &TaskRecord) -> Result<(), String> {
        let expected = match self.kind {
            Kind::Noop | Kind::Nap | Kind::AsyncNap | Kind::Print | Kind::Subprocess | Kind::Attack => {
                json!(self.index)
            }
            Kind::Compute => json!(self.computed()),
            Kind::Big | Kind::Huge => json!(self.big()),
            Kind::Polite if value == "stopped" => return Ok(()),
            Kind::Polite => json!("in time"),
            Kind::SoftCaught => json!("cleaned up"),
            Kind::FailUntil => {
                let attempt = record.attempt.map_or(0, |attempt| attempt.0);
                if u64::from(attempt) < self.amount {
                    return Err(format!("it succeeds from attempt {} on, not at {attempt}", self.amount));
                }
                json!(attempt)
            }
            _ => return Err(format!("it cannot succeed, but returned {}", short(value))),
        };
        if *value == expected {
            return Ok(());
        }
        Err(format!("L2: it returned {} instead of {}", short(value), short(&expected)))
    }

    fn computed(&self) -> u64 {
        (0..self.amount).fold(self.index as u64, |value, _| {
            value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
        })
    }

    fn big(&self) -> String {
        let size = usize::try_from(self.amount).unwrap_or(0);
        let mut text = format!("{},", self.index).repeat(size / 2 + 1);
        text.truncate(size);
        text
    }

    fn check_output(&self, record: &TaskRecord) -> Result<(), String> {
        let lines = (0..self.amount).map(|line| format!("task {} line {line}\n", self.index));
        let found = record.output.as_ref().map(|output| output.stdout.text().to_string()).unwrap_or_default();
        let expected = lines.collect::<String>();
        if found == expected { Ok(()) } else { Err(format!("it printed {found:?} instead of {expected:?}")) }
    }

    fn check_failure(&self, error: ErrorKind, record: &TaskRecord, cancelled: bool) -> Result<(), String> {
        let expected = match self.kind {
            Kind::Fail | Kind::FailUntil => ErrorKind::Exception,
            Kind::SysExit => ErrorKind::SystemExit,
            _ => return Err(format!("it cannot fail: {:?}", record.outcome)),
        };
        agree("the error", &error, &expected)?;
        if cancelled {
            return Ok(()); // which ends the retries
        }
        agree("the retries of a failed task", &record.retries, &self.max_retries)
    }
}

pub(crate) fn agree<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}
