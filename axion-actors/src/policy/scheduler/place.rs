//! Placement: suspects first, then admitted tasks, then the queue.

use super::pool::{HeadOfLine, Pool};
use super::pool_workers::SlotReservation;
use super::protocol::Action;
use super::worker_slots::{Lane, UNKNOWN, dispatch};
use super::{Scheduler, impossible};
use crate::model::{BlockedBy, FactKind, Limits, Placement, PoolId, PoolKind, RevokeCause, Task, Tick};
use crate::policy::durations::Durations;
use crate::policy::task_table::{TaskEnd, TaskKey};

impl Scheduler {
    /// Places the waiting tasks of a pool on the workers that have room.
    pub fn place(&mut self, pool_id: PoolId, now: Tick) {
        self.pools[pool_id].wake(&mut self.woken);
        self.run_placement(now);
    }

    /// Places the waiting tasks of all pools on the workers that have room.
    pub fn place_all(&mut self, now: Tick) {
        for pool in self.pools.values_mut() {
            pool.wake(&mut self.woken);
        }
        self.run_placement(now);
    }

    /// Places the tasks that may start since resources became free or a task left.
    pub(super) fn run_placement(&mut self, now: Tick) {
        loop {
            if self.limiter.is_due(now) {
                self.open_gate(now);
            }
            let Some(pool_id) = self.woken.pop_front() else { return };
            self.pools[pool_id].woken = false;
            self.place_in(pool_id, now);
        }
    }

    fn place_in(&mut self, pool_id: PoolId, now: Tick) {
        if self.place_suspects(pool_id, now) {
            self.place_large(pool_id, now);
            if self.place_cleared(pool_id, now) {
                self.place_queue(pool_id, now);
            }
        }
        self.rebalance(pool_id, now);
        self.flush_outboxes(pool_id, now);
    }

    fn place_queue(&mut self, pool_id: PoolId, now: Tick) {
        loop {
            let Pool { queue, workers, rules, multi_slot, .. } = &mut self.pools[pool_id];
            let Some(key) = queue.front() else { return };
            let Some(task) = self.table.task(key) else {
                queue.pop_front();
                continue;
            };
            if task.limits().is_some() {
                if self.admit_front(pool_id, key, now) {
                    continue;
                }
                return;
            }
            let (lane, estimate) = lane_of(rules.kind, &self.durations, task);
            if let Some(first) = &mut multi_slot.first
                && !first.allows_backfill(task.options().priority)
            {
                return;
            }
            let Some((index, placement)) = workers.choose(lane, estimate, task.weight(), now) else { return };
            if let Some(first) = &mut multi_slot.first {
                first.note_backfill(task.options().priority);
            }
            queue.pop_front();
            self.send(pool_id, index, key, (lane, estimate, placement), now);
        }
    }

    /// Sends a task to a worker of a pool.
    fn send(&mut self, pool_id: PoolId, index: usize, key: TaskKey, how: (Lane, u64, Placement), now: Tick) {
        let Pool { workers, rules, .. } = &mut self.pools[pool_id];
        workers.send(index, |member| {
            dispatch(&mut self.table, &mut self.timers, member, key, how, rules.limits, now);
        });
    }

    /// Brings the next task of a queue to the gate, because it has limits. Returns false if nothing more starts in the
    /// pool at present.
    fn admit_front(&mut self, pool_id: PoolId, key: TaskKey, now: Tick) -> bool {
        let pool = &mut self.pools[pool_id];
        let Some((task, limits)) = self.table.task(key).and_then(|task| Some((task, task.limits()?))) else {
            return true;
        };
        let (priority, slots) = (task.options().priority, limits.needs.slots);
        // Late binding: without room, the task does not enter the gate.
        let has_free = pool.workers.has_free(lane_of(pool.rules.kind, &self.durations, task).0);
        if !has_free || pool.multi_slot.first.is_some_and(|first| !first.allows_backfill(priority)) {
            return false;
        }
        pool.queue.pop_front();
        if limits.is_shared() {
            self.enter_gate(key, now);
        } else if slots > 1 {
            pool.multi_slot.queue.push_back(priority, key);
        } else {
            pool.cleared.push_back(key);
        }
        self.place_large(pool_id, now);
        self.place_cleared(pool_id, now)
    }

    fn enter_gate(&mut self, key: TaskKey, now: Tick) {
        self.limiter.listen(self.table.recorder().is_listening());
        let entered = self.table.task(key).map(|task| self.limiter.enter(key, task));
        if let Some(Err(shortfall)) = entered {
            self.finish(key, None, TaskEnd::without_run(impossible(shortfall)), now);
        }
        self.open_gate(now);
    }

    /// Opens the gate for the tasks that may start.
    fn open_gate(&mut self, now: Tick) {
        let listening = self.table.recorder().is_listening();
        self.limiter.listen(listening);
        let through = self.limiter.open(now);
        for key in through {
            let Some(id) = self.table.task(key).map(Task::id) else { continue };
            self.table.recorder().note(now, || FactKind::TaskAdmitted { task: id });
            let Some(task) = self.table.task(key) else { continue };
            let pool = &mut self.pools[task.pool_id()];
            pool.wake(&mut self.woken);
            if self.table.counters(key).alone {
                pool.suspects.push_front(key);
            } else if slots_of(task) > 1 {
                pool.multi_slot.queue.push_back(task.options().priority, key);
            } else {
                pool.cleared.push_back(key);
            }
        }
        // After the admissions, because the reasons name admitted tasks.
        if listening {
            for (task, by) in self.limiter.take_blocked(&self.table) {
                self.table.recorder().note(now, || FactKind::TaskBlocked { task, by });
            }
        }
    }

    /// Sends admitted tasks. They hold permits, so they go before all others. Returns false if one of them has no room.
    fn place_cleared(&mut self, pool_id: PoolId, now: Tick) -> bool {
        loop {
            let Pool { cleared, workers, rules, multi_slot, .. } = &mut self.pools[pool_id];
            let Some(&key) = cleared.front() else { return true };
            let Some(task) = self.table.task(key) else {
                cleared.pop_front();
                continue;
            };
            let (lane, estimate) = lane_of(rules.kind, &self.durations, task);
            let priority = task.options().priority;
            if multi_slot.first.is_some_and(|first| !first.allows_backfill(priority)) {
                return false;
            }
            // Into a free place, not into a window.
            let Some((index, placement)) = workers.choose(lane, UNKNOWN, task.weight(), now) else { return false };
            if let Some(first) = &mut multi_slot.first {
                first.note_backfill(priority);
            }
            cleared.pop_front();
            self.send(pool_id, index, key, (lane, estimate, placement), now);
        }
    }

    /// Sends the first task that needs several slots, if they are free.
    fn place_large(&mut self, pool_id: PoolId, now: Tick) {
        loop {
            let Pool { workers, rules, multi_slot, .. } = &mut self.pools[pool_id];
            let Some(key) = multi_slot.queue.front() else {
                multi_slot.first = None;
                return;
            };
            let Some(task) = self.table.task(key) else {
                multi_slot.queue.pop_front();
                continue;
            };
            let slots = slots_of(task);
            let overtaken = multi_slot.first.filter(|first| first.key == key).map_or(0, |first| first.overtaken);
            let (priority, can_fit) = (task.options().priority, workers.slots() >= slots);
            let is_new = multi_slot.first.is_none_or(|first| first.key != key);
            multi_slot.first = Some(HeadOfLine { key, priority, slots, overtaken, can_fit });
            let Some((home, reservations)) = workers.reserve(slots, false) else {
                let (task, needed) = (task.id(), u32::try_from(slots).unwrap_or(u32::MAX));
                if is_new {
                    let by = BlockedBy::Slots { needed };
                    self.table.recorder().note(now, || FactKind::TaskBlocked { task, by });
                }
                return;
            };
            let (lane, estimate) = lane_of(rules.kind, &self.durations, task);
            let how = (lane, estimate, Placement::MostFreeSlots);
            multi_slot.queue.pop_front();
            multi_slot.first = None;
            self.send(pool_id, home, key, how, now);
            self.reserve_slots(pool_id, key, reservations, now);
        }
    }

    /// Reserves slots for a task that has been placed and needs several.
    fn reserve_slots(&mut self, pool: PoolId, key: TaskKey, reservations: Vec<SlotReservation>, now: Tick) {
        self.pools[pool].workers.reserve_slots(&reservations);
        if let Some(task) = self.table.task(key).map(Task::id) {
            let slots = |it: &SlotReservation| it.named(pool);
            self.table
                .recorder()
                .note(now, || FactKind::SlotsReserved { task, slots: reservations.iter().map(slots).collect() });
        }
        self.limiter.reserved(key, pool, reservations);
    }

    /// Moves tasks from busy workers to an idle one. If the pool has too few workers for a waiting task, requests more.
    fn rebalance(&mut self, pool_id: PoolId, now: Tick) {
        let pool = &mut self.pools[pool_id];
        if pool.is_idle() {
            if let Some((worker, seqs)) = pool.workers.steal(now) {
                self.revoke(worker, seqs, RevokeCause::Rebalance, now);
            }
            return;
        }
        let alone = pool.suspects.front().and_then(|key| self.table.task(*key)).map(slots_of);
        let slots = alone.into_iter().chain(pool.multi_slot.first.map(|first| first.slots)).max().unwrap_or(1);
        // The number of slots per worker is known once there is a worker.
        let workers = slots.div_ceil(pool.workers.slots_each().max(1));
        let workers = if pool.workers.len() == 0 { 1 } else { workers };
        if pool.workers.len() < workers && pool.called < workers {
            pool.called = workers;
            self.actions.push(Action::Call { pool: pool_id, workers });
        }
    }

    /// Emits the actions that send the outboxes.
    fn flush_outboxes(&mut self, pool_id: PoolId, now: Tick) {
        for (worker, tasks) in self.pools[pool_id].workers.take_outboxes() {
            self.actions.push(Action::Run { worker, tasks });
            self.recycle_if_due(worker, 0, now);
            self.let_standby_in(worker, now);
        }
    }

    /// Places suspects. A suspect waits for an empty worker, and one worker takes no more tasks until it is empty, so
    /// the tasks behind suspects do not starve them. Returns false if nothing else may start in the pool.
    fn place_suspects(&mut self, pool_id: PoolId, now: Tick) -> bool {
        loop {
            let Pool { suspects, workers, rules, .. } = &mut self.pools[pool_id];
            let Some(&key) = suspects.front() else {
                workers.release_kept();
                return true;
            };
            let Some(task) = self.table.task(key) else {
                suspects.pop_front();
                continue;
            };
            if task.limits().is_some_and(Limits::is_shared) && !self.limiter.has_permit(key) {
                suspects.pop_front();
                self.enter_gate(key, now);
                continue;
            }
            let (home, reservations) = match slots_of(task) {
                1 => match workers.first_empty() {
                    Some(empty) => (empty, Vec::new()),
                    None => {
                        workers.reserve_for_isolation();
                        return true;
                    }
                },
                slots => {
                    workers.release_kept();
                    match workers.reserve(slots, true) {
                        Some(reserved) => reserved,
                        // Running tasks end and nothing else starts, so there will be room, if the present workers have
                        // enough slots at all.
                        None => return workers.slots() < slots,
                    }
                }
            };
            suspects.pop_front();
            workers.send_alone(home, |member| {
                let how = (Lane::Slot, UNKNOWN, Placement::Isolated);
                dispatch(&mut self.table, &mut self.timers, member, key, how, rules.limits, now);
            });
            if !reservations.is_empty() {
                self.reserve_slots(pool_id, key, reservations, now);
            }
        }
    }
}

/// The lane of a task in a pool of this kind, and its expected run time in nanoseconds.
fn lane_of(kind: PoolKind, durations: &Durations, task: &Task) -> (Lane, u64) {
    let work = task.work().key();
    // A coroutine does not use up the work that a window may hold. A coroutine that needs several slots takes one of
    // them.
    if kind == PoolKind::Io && durations.is_coroutine(work) && slots_of(task) == 1 {
        (Lane::Coroutine, 0)
    } else {
        (Lane::Slot, durations.estimate(work).unwrap_or(UNKNOWN))
    }
}

fn slots_of(task: &Task) -> usize {
    task.limits().map_or(1, |limits| limits.needs.slots.max(1) as usize)
}
