//! Needs and capacities on one scale.

use crate::model::{Capacity, Fixed, Memory, Needs, PoolKind, Shortfall};

/// A task's needs in the units of the capacity: slots by kind of pool, thousandths of a percent of the processors and
/// of the memory, and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Demand(pub(super) [u64; Self::KINDS]);

impl Demand {
    /// The number of kinds of capacity.
    pub(super) const KINDS: usize = 5;

    /// The demand of a task with these needs in a pool of this kind.
    #[must_use]
    pub fn of(capacity: &Capacity, kind: PoolKind, needs: &Needs) -> Self {
        let slots = |of| if of == kind { u64::from(needs.slots) } else { 0 };
        let memory = needs.memory.map_or([0, 0], |memory| both(memory, capacity.machine_memory));
        Self([slots(PoolKind::Cpu), slots(PoolKind::Io), needs.cpu.0, memory[0], memory[1]])
    }

    /// Whether `free` covers this demand.
    pub(super) fn fits(&self, free: &Self) -> bool {
        self.0.iter().zip(free.0).all(|(need, free)| *need <= free)
    }

    /// The whole capacity, with `u64::MAX` where there is no limit.
    pub(super) fn all(capacity: &Capacity) -> Self {
        let slots = |count: Option<u32>| count.map_or(u64::MAX, u64::from);
        let (percent, bytes) = match capacity.memory {
            None => (u64::MAX, u64::MAX),
            Some(Memory::Percent(percent)) => (percent.0, u64::MAX),
            Some(Memory::Bytes(bytes)) => (u64::MAX, bytes),
        };
        let cpu = capacity.cpu.map_or(u64::MAX, |cpu| cpu.0);
        Self([slots(capacity.processes), slots(capacity.threads), cpu, percent, bytes])
    }
}

/// Thousandths of a percent, and bytes; 0 for the one that cannot be computed.
fn both(memory: Memory, machine: Option<u64>) -> [u64; 2] {
    let scale = |amount: u64, by: u64, to: u64| {
        let exact = u128::from(amount) * u128::from(to);
        u64::try_from(exact.div_ceil(u128::from(by.max(1)))).unwrap_or(u64::MAX)
    };
    const WHOLE: u64 = 100_000;
    match memory {
        Memory::Percent(percent) => [percent.0, machine.map_or(0, |machine| scale(percent.0, WHOLE, machine))],
        Memory::Bytes(bytes) => [machine.map_or(0, |machine| scale(bytes, machine, WHOLE)), bytes],
    }
}

/// By how much a task's needs exceed the capacity; `None` if they can be met.
#[must_use]
pub fn shortfall(capacity: &Capacity, kind: PoolKind, needs: &Needs) -> Option<Shortfall> {
    let (needed, there) = (Demand::of(capacity, kind, needs).0, Demand::all(capacity).0);
    let missing = |kind: usize| needed[kind].saturating_sub(there[kind]);
    let found = Shortfall {
        kind,
        slots: u32::try_from(missing(0) + missing(1)).unwrap_or(u32::MAX),
        cpu: Fixed(missing(2)),
        memory: Fixed(missing(3)),
        memory_bytes: missing(4),
    };
    (!found.is_none()).then_some(found)
}

/// The larger of two shortfalls, kind by kind.
#[must_use]
pub fn worse(one: Shortfall, other: Shortfall) -> Shortfall {
    Shortfall {
        kind: one.kind,
        slots: one.slots.max(other.slots),
        cpu: one.cpu.max(other.cpu),
        memory: one.memory.max(other.memory),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
    }
}
