//! What tasks use while they run, what they share, and how much of it there is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pool::{PoolId, PoolKind, PoolMap};

/// A number with three places behind the point, so that 60.5 + 39.5 is 100 and not a little more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fixed(pub u64);

impl Fixed {
    /// The nearest such number; `None` below 0, above 10¹², and for what is no number.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        (0.0..=1e12).contains(&number).then(|| Self((number * 1000.0).round() as u64))
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        match part {
            0 => write!(f, "{whole}"),
            part => write!(f, "{whole}.{}", format!("{part:03}").trim_end_matches('0')),
        }
    }
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Per cent of the machine's.
    Percent(Fixed),
    /// Bytes.
    Bytes(u64),
}

/// What a task uses while it runs, as its author estimates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// Slots of its pool. It runs in one of them; the others are kept idle for what it does besides.
    pub slots: u32,
    /// Per cent of the machine's processors.
    pub cpu: Fixed,
    /// Memory.
    pub memory: Option<Memory>,
}

impl Default for Needs {
    fn default() -> Self {
        Self { slots: 1, cpu: Fixed(0), memory: None }
    }
}

/// How much there is for what runs at one time; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Slots of pools of the kind `cpu`.
    pub processes: Option<u32>,
    /// Slots of pools of the kind `io`.
    pub threads: Option<u32>,
    /// Per cent of the machine's processors.
    pub cpu: Option<Fixed>,
    /// Memory.
    pub memory: Option<Memory>,
    /// The machine's memory in bytes. Needed to hold needs in bytes against a limit in per cent, and
    /// the other way round; without it, those do not count.
    pub machine_memory: Option<u64>,
}

/// How much an engine has for the tasks that run at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineCapacity {
    /// Shares of the machine, which the tasks of all pools use. It counts no slots.
    pub shared: Capacity,
    /// Each pool's own slots.
    pub pools: PoolMap<PoolCapacity>,
}

/// The slots of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCapacity {
    /// The pool's kind.
    pub kind: PoolKind,
    /// The slots of as many workers as the pool can have.
    pub slots: u32,
}

impl EngineCapacity {
    /// What there is for the tasks of one pool; `None` if the engine has no such pool.
    #[must_use]
    pub fn of_pool(&self, pool: PoolId) -> Option<Capacity> {
        let PoolCapacity { kind, slots } = *self.pools.get(pool)?;
        let (processes, threads) = match kind {
            PoolKind::Cpu => (Some(slots), None),
            PoolKind::Io => (None, Some(slots)),
        };
        Some(Capacity { processes, threads, ..self.shared })
    }

    /// The kind of a pool; `None` if the engine has no such pool.
    #[must_use]
    pub fn kind(&self, pool: PoolId) -> Option<PoolKind> {
        self.pools.get(pool).map(|pool| pool.kind)
    }

    /// The capacity of an engine of which nothing is known but that it has the built-in pools.
    #[must_use]
    pub fn unlimited() -> Self {
        let pool = |kind: PoolKind| (kind.into(), PoolCapacity { kind, slots: u32::MAX });
        Self { shared: Capacity::default(), pools: [PoolKind::Cpu, PoolKind::Io].into_iter().map(pool).collect() }
    }
}

/// By how much a need is more than there can ever be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Shortfall {
    /// The kind of pool whose slots they are.
    pub kind: PoolKind,
    /// Slots that are missing.
    pub slots: u32,
    /// Per cent of processors.
    pub cpu: Fixed,
    /// Per cent of memory.
    pub memory: Fixed,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Shortfall {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.slots == 0 && self.cpu.0 == 0 && self.memory.0 == 0 && self.memory_bytes == 0
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.slots > 0 {
            let word = match (self.kind, self.slots) {
                (PoolKind::Cpu, 1) => "process",
                (PoolKind::Cpu, _) => "processes",
                (PoolKind::Io, 1) => "thread",
                (PoolKind::Io, _) => "threads",
            };
            parts.push(format!("{} {word}", self.slots));
        }
        if self.cpu.0 > 0 {
            parts.push(format!("{} % CPU", self.cpu));
        }
        if self.memory.0 > 0 {
            parts.push(format!("{} % memory", self.memory));
        }
        if self.memory_bytes > 0 {
            parts.push(format!("{} bytes of memory", self.memory_bytes));
        }
        let last = parts.pop().unwrap_or_else(|| "nothing".to_owned());
        match parts.as_slice() {
            [] => write!(f, "short of {last}"),
            more => write!(f, "short of {} and {last}", more.join(", ")),
        }
    }
}

/// At most so many at one time with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Concurrency {
    /// What is shared, such as `api.example`.
    pub key: Arc<str>,
    /// How many, itself included. Tasks that share a key and disagree are each held to their own.
    pub max: u32,
}

/// At most so many starts in a time with the same key, with bursts of `burst`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// What is shared.
    pub key: Arc<str>,
    /// How many starts.
    pub count: u32,
    /// In which time.
    pub per: Duration,
    /// How many starts may come at once after a pause.
    pub burst: u32,
}

/// A rate that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number of starts in a time, such as \"10/s\", \"600/m\" or \"1000/h\", not {0:?}")]
pub struct RateError(pub String);

impl Rate {
    /// So many starts in a time, evenly, as in `"10/s"`, `"600/m"` or `"1000/h"`.
    ///
    /// # Errors
    /// If `text` is none, or allows none.
    pub fn parse(key: impl Into<Arc<str>>, text: &str) -> Result<Self, RateError> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let seconds = match unit.trim() {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            let count = count.trim().parse().ok().filter(|count| *count > 0)?;
            Some((count, Duration::from_secs(seconds)))
        };
        let (count, per) = read().ok_or_else(|| RateError(text.to_owned()))?;
        Ok(Self { key: key.into(), count, per, burst: 1 })
    }

    /// So many a second, evenly.
    #[must_use]
    pub fn per_second(key: impl Into<Arc<str>>, count: u32) -> Self {
        Self { key: key.into(), count, per: Duration::from_secs(1), burst: 1 }
    }
}

/// What holds a task back until there is enough of everything that it uses, and how often it may start. Most tasks
/// have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// What it uses while it runs.
    pub needs: Needs,
    /// At most so many at one time with the same key.
    pub concurrency: Option<Concurrency>,
    /// At most so many starts in a time with the same key.
    pub rate: Option<Rate>,
}

impl Limits {
    /// A number of which there are none, though it must be 1 at least: what it is called.
    #[must_use]
    pub fn zero(&self) -> Option<&'static str> {
        let (concurrency, rate) = (self.concurrency.as_ref(), self.rate.as_ref());
        let zeros = [
            ("the slots", self.needs.slots == 0),
            ("the concurrency's max", concurrency.is_some_and(|it| it.max == 0)),
            ("the rate's count", rate.is_some_and(|it| it.count == 0)),
            ("the rate's burst", rate.is_some_and(|it| it.burst == 0)),
            ("the rate's time", rate.is_some_and(|it| it.per.is_zero())),
        ];
        zeros.into_iter().find(|(_, wrong)| *wrong).map(|(what, _)| what)
    }

    /// Whether tasks of other pools, or a clock, have a say in when it may start: it is limited by more than the
    /// slots of its pool.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let Needs { cpu, memory, .. } = self.needs;
        cpu.0 > 0 || memory.is_some() || self.concurrency.is_some() || self.rate.is_some()
    }
}
