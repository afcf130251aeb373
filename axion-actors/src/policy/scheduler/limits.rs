//! Tasks with limits: what they wait for before they may be placed, and what their attempts hold.
//!
//! There is one gate for the whole engine: shares of the machine, keys and rates are common to all
//! pools. A task comes to it when it is the next of its pool and a worker has room (late binding), and
//! goes ahead of its pool's queue when it is through. Slots are the pools' own business: a task that
//! needs several runs in one of them and *reserves* the others, which stay idle for it.
//!
//! What is held belongs to an attempt. There is one place where it is given back,
//! [`release`](Limiter::release), and the scheduler comes by it wherever an attempt can end.

use rustc_hash::FxHashMap;

use super::pool_workers::SlotReservation;
use crate::model::{BlockedBy, EngineCapacity, PoolId, PoolMap, Shortfall, Task, TaskId, Tick};
use crate::policy::resources::{self, Gate, GateWaiter, Permit};
use crate::policy::task_table::{TaskKey, TaskTable};

/// What a task with limits is about.
#[derive(Debug)]
enum Hold {
    /// It waits at the gate, there, for a slot of this pool.
    Waits(PoolId, GateWaiter),
    /// It may be placed in this pool, or has been.
    Has { pool: PoolId, permit: Option<Permit>, reservations: Vec<SlotReservation> },
}

/// The limits that tasks of all pools share.
#[derive(Debug)]
pub(super) struct Limiter {
    capacity: EngineCapacity,
    gate: Gate<TaskKey>,
    holds: FxHashMap<TaskKey, Hold>,
    /// How many live tasks of each pool wait at the gate.
    waiting: PoolMap<usize>,
    /// Something has come, gone or been given back since the gate was opened last.
    changed: bool,
}

impl Limiter {
    /// Limits for an engine with this capacity.
    pub(super) fn new(capacity: EngineCapacity) -> Self {
        let waiting = capacity.pools.map(|_, _| 0);
        Self { gate: Gate::new(capacity.shared), capacity, holds: FxHashMap::default(), waiting, changed: false }
    }

    /// By how much a task needs more than there can ever be.
    pub(super) fn shortfall(&self, task: &Task) -> Option<Shortfall> {
        let (limits, pool) = (task.limits()?, task.pool_id());
        resources::shortfall(&self.capacity.of_pool(pool)?, self.capacity.kind(pool)?, &limits.needs)
    }

    /// A task comes to the gate.
    ///
    /// # Errors
    /// If its needs can never be met: it was not looked at when it was accepted.
    pub(super) fn enter(&mut self, key: TaskKey, task: &Task) -> Result<(), Shortfall> {
        let Some(limits) = task.limits() else { return Ok(()) };
        let pool_id = task.pool_id();
        let kind = self.capacity.kind(pool_id).unwrap_or_default();
        let place = self.gate.wait(key, kind, task.options().priority, limits).map_err(|(_, shortfall)| shortfall)?;
        *self.waiting.or_default(pool_id) += 1;
        self.holds.insert(key, Hold::Waits(pool_id, place));
        self.changed = true;
        Ok(())
    }

    /// Whether opening the gate may let something through.
    pub(super) fn is_due(&self, now: Tick) -> bool {
        self.changed || self.next().is_some_and(|at| at <= now)
    }

    /// Whether the reasons of waits are wanted.
    pub(super) fn listen(&mut self, on: bool) {
        self.gate.listen(on);
    }

    /// What tasks wait for at the gate since the last call.
    pub(super) fn take_blocked(&mut self, table: &TaskTable) -> Vec<(TaskId, BlockedBy)> {
        self.gate.take_blocked(|key| table.task(*key).map(Task::id))
    }

    /// Lets through what may go now, in order.
    pub(super) fn open(&mut self, now: Tick) -> Vec<TaskKey> {
        self.changed = false;
        let through = self.gate.open(now);
        let keys = through.into_iter().map(|(key, permit)| {
            // Only who waits can come through.
            if let Some(Hold::Waits(pool, _)) = self.holds.get(&key) {
                let pool = *pool;
                *self.waiting.or_default(pool) -= 1;
                self.holds.insert(key, Hold::Has { pool, permit: Some(permit), reservations: Vec::new() });
            }
            key
        });
        keys.collect()
    }

    /// A task that needs several slots of a pool has been placed.
    pub(super) fn reserved(&mut self, key: TaskKey, pool: PoolId, new: Vec<SlotReservation>) {
        let hold = self.holds.entry(key).or_insert(Hold::Has { pool, permit: None, reservations: Vec::new() });
        if let Hold::Has { reservations, .. } = hold {
            reservations.extend(new);
        }
    }

    /// Whether a task has passed the gate.
    pub(super) fn has_permit(&self, key: TaskKey) -> bool {
        matches!(self.holds.get(&key), Some(Hold::Has { permit: Some(_), .. }))
    }

    /// The attempt of a task is over, or never began: its permit is given back, and its reservations are to be.
    pub(super) fn release(&mut self, key: TaskKey) -> Option<(PoolId, Vec<SlotReservation>)> {
        // Most tasks have no limits, and mostly none has.
        if self.holds.is_empty() {
            return None;
        }
        match self.holds.remove(&key)? {
            Hold::Waits(pool, place) => {
                self.gate.leave(place);
                *self.waiting.or_default(pool) -= 1;
                self.changed = true;
                None
            }
            Hold::Has { pool, permit, reservations } => {
                if let Some(permit) = permit {
                    self.gate.give_back(permit);
                    self.changed = true;
                }
                Some((pool, reservations))
            }
        }
    }

    /// Takes out what waits for a slot of this pool.
    pub(super) fn evict(&mut self, pool_id: PoolId) -> Vec<TaskKey> {
        if self.waiting(pool_id) == 0 {
            return Vec::new();
        }
        let holds = &self.holds;
        self.gate.remove(|key| matches!(holds.get(key), Some(Hold::Waits(pool, _)) if *pool == pool_id))
    }

    /// How many live tasks of a pool wait at the gate.
    pub(super) fn waiting(&self, pool_id: PoolId) -> usize {
        self.waiting.get(pool_id).copied().unwrap_or_default()
    }

    /// When a rate lets the next one through.
    pub(super) fn next(&self) -> Option<Tick> {
        if self.gate.is_empty() { None } else { self.gate.next() }
    }

    /// The keys of those that stand at the gate, for tests.
    #[cfg(test)]
    pub(super) fn at_gate(&self) -> Vec<TaskKey> {
        self.holds.iter().filter(|(_, hold)| matches!(hold, Hold::Waits(..))).map(|(key, _)| *key).collect()
    }

    /// How many stand at the gate, for tests.
    #[cfg(test)]
    pub(super) fn gate_len(&self) -> usize {
        self.gate.len()
    }

    /// Who holds a permit or slots, and what slots, for tests.
    #[cfg(test)]
    pub(super) fn held(&self) -> Vec<(TaskKey, bool, &[SlotReservation])> {
        let held = self.holds.iter().filter_map(|(key, hold)| match hold {
            Hold::Has { permit, reservations, .. } => Some((*key, permit.is_some(), &reservations[..])),
            Hold::Waits(..) => None,
        });
        held.collect()
    }

    /// Nothing waits and nothing is held, for tests.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.holds.is_empty() && self.waiting.values().all(|count| *count == 0) && self.gate.is_whole()
    }
}
