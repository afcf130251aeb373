//! Tasks with limits: their wait at the gate, and the permits and reservations of their attempts.
//!
//! The whole engine has one gate, because all pools share the machine, the keys and the rates. A task enters the gate
//! when it is the next of its pool and a worker has room (late binding). Once admitted, it goes before its pool's
//! queue. Slots belong to the pools: a task that needs several runs in one of them and *reserves* the others, which
//! stay idle.
//!
//! A permit belongs to an attempt. Only [`release`](Limiter::release) gives it back, and the scheduler calls it
//! wherever an attempt can end.

use rustc_hash::FxHashMap;

use super::pool_workers::SlotReservation;
use crate::model::{BlockedBy, EngineCapacity, PoolId, PoolMap, Shortfall, Task, TaskId, Tick};
use crate::policy::resources::{self, Gate, GateWaiter, Permit};
use crate::policy::task_table::{TaskKey, TaskTable};

/// The state of a task with limits.
#[derive(Debug)]
enum Hold {
    /// The task waits at the gate for a slot of this pool.
    Waits(PoolId, GateWaiter),
    /// The task is admitted in this pool, and may have been sent.
    Has { pool: PoolId, permit: Option<Permit>, reservations: Vec<SlotReservation> },
}

/// The limits shared by the tasks of all pools.
#[derive(Debug)]
pub(super) struct Limiter {
    capacity: EngineCapacity,
    gate: Gate<TaskKey>,
    holds: FxHashMap<TaskKey, Hold>,
    /// The number of live tasks of each pool at the gate.
    waiting: PoolMap<usize>,
    /// Whether a task entered or left, or a permit was given back, since the gate was last opened.
    changed: bool,
}

impl Limiter {
    /// The limits of an engine with this capacity.
    pub(super) fn new(capacity: EngineCapacity) -> Self {
        let waiting = capacity.pools.map(|_, _| 0);
        Self { gate: Gate::new(capacity.shared), capacity, holds: FxHashMap::default(), waiting, changed: false }
    }

    /// The amount by which a task's needs exceed the total capacity, if they do.
    pub(super) fn shortfall(&self, task: &Task) -> Option<Shortfall> {
        let (limits, pool) = (task.limits()?, task.pool_id());
        resources::shortfall(&self.capacity.of_pool(pool)?, self.capacity.kind(pool)?, &limits.needs)
    }

    /// Brings a task to the gate.
    ///
    /// # Errors
    /// If its needs exceed the total capacity, which was not checked when it was accepted.
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

    /// Whether the gate may admit a task now.
    pub(super) fn is_due(&self, now: Tick) -> bool {
        self.changed || self.next().is_some_and(|at| at <= now)
    }

    /// Sets whether wait reasons are collected.
    pub(super) fn listen(&mut self, on: bool) {
        let holders = self.holds.iter().filter_map(|(key, hold)| match hold {
            Hold::Has { permit: Some(permit), .. } => Some((*key, permit)),
            _ => None,
        });
        self.gate.listen(on, holders);
    }

    /// The wait reasons collected since the last call.
    pub(super) fn take_blocked(&mut self, table: &TaskTable) -> Vec<(TaskId, BlockedBy)> {
        let id = |key: &TaskKey| table.task(*key).map(Task::id);
        self.gate.take_blocked(id).into_iter().filter_map(|(key, by)| Some((id(&key)?, by))).collect()
    }

    /// Admits the tasks that may start now, in order.
    pub(super) fn open(&mut self, now: Tick) -> Vec<TaskKey> {
        self.changed = false;
        let through = self.gate.open(now);
        let keys = through.into_iter().map(|(key, permit)| {
            // Only waiting tasks can be admitted.
            if let Some(Hold::Waits(pool, _)) = self.holds.get(&key) {
                let pool = *pool;
                *self.waiting.or_default(pool) -= 1;
                self.holds.insert(key, Hold::Has { pool, permit: Some(permit), reservations: Vec::new() });
            }
            key
        });
        keys.collect()
    }

    /// Records the reservations of a task that needs several slots and has been placed.
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

    /// Gives back the permit of a task whose attempt is over or never began, and returns its reservations.
    pub(super) fn release(&mut self, key: TaskKey) -> Option<(PoolId, Vec<SlotReservation>)> {
        // Most tasks have no limits, so this is usually empty.
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

    /// Removes the tasks that wait for a slot of this pool.
    pub(super) fn evict(&mut self, pool_id: PoolId) -> Vec<TaskKey> {
        if self.waiting(pool_id) == 0 {
            return Vec::new();
        }
        let holds = &self.holds;
        self.gate.remove(|key| matches!(holds.get(key), Some(Hold::Waits(pool, _)) if *pool == pool_id))
    }

    /// The number of live tasks of a pool at the gate.
    pub(super) fn waiting(&self, pool_id: PoolId) -> usize {
        self.waiting.get(pool_id).copied().unwrap_or_default()
    }

    /// The time when a rate allows the next start.
    pub(super) fn next(&self) -> Option<Tick> {
        if self.gate.is_empty() { None } else { self.gate.next() }
    }

    /// The keys of the tasks at the gate, for tests.
    #[cfg(test)]
    pub(super) fn at_gate(&self) -> Vec<TaskKey> {
        self.holds.iter().filter(|(_, hold)| matches!(hold, Hold::Waits(..))).map(|(key, _)| *key).collect()
    }

    /// The number of tasks at the gate, for tests.
    #[cfg(test)]
    pub(super) fn gate_len(&self) -> usize {
        self.gate.len()
    }

    /// The tasks that hold a permit or slots, and the slots, for tests.
    #[cfg(test)]
    pub(super) fn held(&self) -> Vec<(TaskKey, bool, &[SlotReservation])> {
        let held = self.holds.iter().filter_map(|(key, hold)| match hold {
            Hold::Has { permit, reservations, .. } => Some((*key, permit.is_some(), &reservations[..])),
            Hold::Waits(..) => None,
        });
        held.collect()
    }

    /// Whether nothing waits and no permit is out, for tests.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.holds.is_empty() && self.waiting.values().all(|count| *count == 0) && self.gate.is_whole()
    }
}
