//! Limits: the resources that tasks use, the keys that they share, and the capacity.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::display::DisplaySize;
use super::pool::{PoolId, PoolKind, PoolMap};

/// A number with three decimal places, so that 60.5 + 39.5 is exactly 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fixed(pub u64);

impl Fixed {
    /// The nearest `Fixed`; `None` if the number is negative, above 10¹² or not a number.
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
    /// Per cent of the machine's memory.
    Percent(Fixed),
    /// Bytes.
    Bytes(u64),
}

/// The resources that a task uses while it runs, as its author estimates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needs {
    /// The slots of its pool. The task runs in one of them. The others stay idle, for the task's own threads and
    /// processes.
    pub slots: u32,
    /// Per cent of the machine's processors.
    pub cpu: Fixed,
    /// The memory.
    pub memory: Option<Memory>,
}

impl Default for Needs {
    fn default() -> Self {
        Self { slots: 1, cpu: Fixed(0), memory: None }
    }
}

/// The resources for the tasks that run at the same time. `None` means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Slots of pools of the kind `cpu`.
    pub processes: Option<u32>,
    /// Slots of pools of the kind `io`.
    pub threads: Option<u32>,
    /// Per cent of the machine's processors.
    pub cpu: Option<Fixed>,
    /// The memory.
    pub memory: Option<Memory>,
    /// The machine's memory in bytes. It converts between per cent and bytes. Without it, a need in one unit does not
    /// count against a limit in the other.
    pub machine_memory: Option<u64>,
}

/// The resources of an engine for the tasks that run at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineCapacity {
    /// The shares of the machine that the tasks of all pools use. It has no slots.
    pub shared: Capacity,
    /// The slots of each pool.
    pub pools: PoolMap<PoolCapacity>,
}

/// The slots of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCapacity {
    /// The pool's kind.
    pub kind: PoolKind,
    /// The slots of all workers that the pool can have.
    pub slots: u32,
}

impl EngineCapacity {
    /// The capacity for the tasks of one pool, or `None` if the engine has no such pool.
    #[must_use]
    pub fn of_pool(&self, pool: PoolId) -> Option<Capacity> {
        let PoolCapacity { kind, slots } = *self.pools.get(pool)?;
        let (processes, threads) = match kind {
            PoolKind::Cpu => (Some(slots), None),
            PoolKind::Io => (None, Some(slots)),
        };
        Some(Capacity { processes, threads, ..self.shared })
    }

    /// The kind of a pool, or `None` if the engine has no such pool.
    #[must_use]
    pub fn kind(&self, pool: PoolId) -> Option<PoolKind> {
        self.pools.get(pool).map(|pool| pool.kind)
    }

    /// The capacity of an engine with the built-in pools and no limits.
    #[must_use]
    pub fn unlimited() -> Self {
        let pool = |kind: PoolKind| (kind.into(), PoolCapacity { kind, slots: u32::MAX });
        Self { shared: Capacity::default(), pools: [PoolKind::Cpu, PoolKind::Io].into_iter().map(pool).collect() }
    }
}

/// The amount by which a task's needs exceed the total capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Shortfall {
    /// The kind of the pool whose slots are short.
    pub kind: PoolKind,
    /// The number of missing slots.
    pub slots: u32,
    /// The missing per cent of processors.
    pub cpu: Fixed,
    /// The missing per cent of memory.
    pub memory: Fixed,
    /// The missing bytes of memory.
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
            parts.push(format!("{} of memory", DisplaySize(self.memory_bytes)));
        }
        let last = parts.pop().unwrap_or_else(|| "nothing".to_owned());
        match parts.as_slice() {
            [] => write!(f, "short of {last}"),
            more => write!(f, "short of {} and {last}", more.join(", ")),
        }
    }
}

/// A limit on the number of tasks that run at the same time with the same key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Concurrency {
    /// The shared key, such as `api.example`.
    pub key: Arc<str>,
    /// The maximum number of tasks, including this one. Each task obeys its own maximum, even if others with the same
    /// key have another one.
    pub max: u32,
}

/// A limit on the number of starts per time with the same key, with bursts of up to `burst`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    /// The shared key.
    pub key: Arc<str>,
    /// The number of starts.
    pub count: u32,
    /// The time in which they may happen.
    pub per: Duration,
    /// The number of starts that may happen at once after a pause.
    pub burst: u32,
}

/// A text that is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a number of starts in a time, such as \"10/s\", \"600/m\" or \"1000/h\", not {0:?}")]
pub struct RateError(pub String);

impl Rate {
    /// Reads a rate with evenly spaced starts, such as `"10/s"`, `"600/m"` or `"1000/h"`.
    ///
    /// # Errors
    /// If `text` is not a rate, or its count is 0.
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

    /// A rate of `count` evenly spaced starts per second.
    #[must_use]
    pub fn per_second(key: impl Into<Arc<str>>, count: u32) -> Self {
        Self { key: key.into(), count, per: Duration::from_secs(1), burst: 1 }
    }
}

/// The conditions under which a task may start: its needs, its concurrency key and its rate. Most tasks have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// The resources that it uses while it runs.
    pub needs: Needs,
    /// The limit on tasks that run at the same time with the same key.
    pub concurrency: Option<Concurrency>,
    /// The limit on starts with the same key.
    pub rate: Option<Rate>,
}

impl Limits {
    /// The name of a number that is 0 but must be at least 1, if there is one.
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

    /// Whether the start depends on other pools or on a clock, and not only on the slots of the task's pool.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let Needs { cpu, memory, .. } = self.needs;
        cpu.0 > 0 || memory.is_some() || self.concurrency.is_some() || self.rate.is_some()
    }
}
