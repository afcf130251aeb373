//! Overload: when the machine is too busy to accept tasks.

use std::fmt;

use serde::Serialize;

use crate::model::{FactKind, HostLoad, Resource};

/// Hysteresis: tasks are accepted again at this many percentage points below a limit, or at half of the limit if that
/// is closer. A machine that hovers about its limit does not refuse every other task.
const BACK: f64 = 5.0;

/// The limit that the machine exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "resource", rename_all = "lowercase")]
pub enum Overload {
    /// Processor use.
    Cpu {
        /// In use, in percent.
        used: f64,
        /// `max_cpu_percent`.
        limit: f64,
    },
    /// Memory use.
    Memory {
        /// In use, in percent.
        used: f64,
        /// `max_memory_percent`.
        limit: f64,
    },
}

impl Overload {
    /// The fact that it has begun.
    #[must_use]
    pub fn fact(&self) -> FactKind {
        let (resource, used_percent, limit_percent) = match *self {
            Self::Cpu { used, limit } => (Resource::Cpu, used, limit),
            Self::Memory { used, limit } => (Resource::MemoryShare, used, limit),
        };
        FactKind::OverloadStarted { resource, used_percent, limit_percent }
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { used, limit } => {
                write!(f, "the processors are {used:.0} % busy, `max_cpu_percent` is {limit}")
            }
            Self::Memory { used, limit } => {
                write!(f, "{used:.0} % of the memory are in use, `max_memory_percent` is {limit}")
            }
        }
    }
}

/// Compares measurements with the limits.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// In percent; `None` means no limit.
    cpu: Option<f64>,
    memory: Option<f64>,
    now: Option<Overload>,
}

impl Gauge {
    /// A gauge with these limits in percent; `None` means no limit.
    #[must_use]
    pub fn new(cpu: Option<f64>, memory: Option<f64>) -> Self {
        Self { cpu, memory, now: None }
    }

    /// Takes a measurement and returns the limit that is exceeded. A value that could not be measured exceeds none.
    pub fn read(&mut self, host: HostLoad) -> Option<Overload> {
        let over = |used: Option<f64>, limit: Option<f64>, already: bool| {
            let (used, limit) = (used? * 100.0, limit?);
            (used > if already { limit - BACK.min(limit / 2.0) } else { limit }).then_some((used, limit))
        };
        let cpu_already = matches!(self.now, Some(Overload::Cpu { .. }));
        let memory_already = matches!(self.now, Some(Overload::Memory { .. }));
        let cpu = over(host.cpu, self.cpu, cpu_already).map(|(used, limit)| Overload::Cpu { used, limit });
        let memory = over(host.memory, self.memory, memory_already);
        let memory = memory.map(|(used, limit)| Overload::Memory { used, limit });
        // The reason stays the same until its lower threshold is reached.
        self.now = if memory_already { memory.or(cpu) } else { cpu.or(memory) };
        self.now
    }

    /// The limit that the machine exceeds.
    #[must_use]
    pub fn now(&self) -> Option<Overload> {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(cpu: f64, memory: f64) -> HostLoad {
        HostLoad { cpu: Some(cpu / 100.0), memory: Some(memory / 100.0) }
    }

    #[test]
    fn c0_5_above_a_limit_is_too_much_until_well_below_it() {
        let mut gauge = Gauge::new(Some(90.0), Some(80.0));
        let verdicts =
            [(89.0, 10.0), (91.0, 10.0), (86.0, 10.0), (84.0, 10.0), (89.0, 81.0), (89.0, 76.0), (0.0, 74.0)];
        let verdicts = verdicts.map(|(cpu, memory)| match gauge.read(host(cpu, memory)) {
            None => "",
            Some(Overload::Cpu { .. }) => "cpu",
            Some(Overload::Memory { .. }) => "memory",
        });
        assert_eq!(verdicts, ["", "cpu", "cpu", "", "memory", "memory", ""]);
        let words = Overload::Cpu { used: 97.4, limit: 90.0 }.to_string();
        assert_eq!(words, "the processors are 97 % busy, `max_cpu_percent` is 90");
    }

    #[test]
    fn a_limit_below_the_margin_lets_go_too() {
        let mut gauge = Gauge::new(Some(4.0), None);
        let refuses = [5.0, 3.0, 1.9, 3.0].map(|cpu| gauge.read(host(cpu, 50.0)).is_some());
        assert_eq!(refuses, [true, true, false, false]);
    }

    #[test]
    fn without_a_limit_or_a_measurement_nothing_is_too_much() {
        assert_eq!(Gauge::new(None, None).read(host(100.0, 100.0)), None);
        assert_eq!(Gauge::new(Some(1.0), Some(1.0)).read(HostLoad::default()), None);
    }

    proptest! {
        #[test]
        fn nothing_below_both_thresholds_is_refused(loads in proptest::collection::vec((0.0..100.0f64, 0.0..100.0f64), 1..50)) {
            let mut gauge = Gauge::new(Some(90.0), Some(80.0));
            for (cpu, memory) in loads {
                let verdict = gauge.read(host(cpu, memory));
                if cpu > 90.1 || memory > 80.1 {
                    prop_assert!(verdict.is_some());
                }
                if cpu < 84.9 && memory < 74.9 {
                    prop_assert!(verdict.is_none());
                }
                prop_assert_eq!(verdict, gauge.now());
            }
        }
    }
}
