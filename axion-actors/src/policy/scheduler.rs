//! The scheduler: places tasks on workers, and decides how their attempts end.
//!
//! The scheduler is the Dispatcher without its mailbox. It has one method per event, and it collects its decisions in a
//! list of [`Action`]s. It owns the task table and the pools' queues (L4).
//!
//! Tasks bind late. They wait in their pool's queue, by priority and then in order (L12), until a worker has room. The
//! least loaded worker takes the next task ([`placement`](super::placement)). A worker has room for one task per slot,
//! and also for a *window* of tasks that it receives before it can start them. With a window, a fast worker does not
//! wait for the engine between two tasks. The scheduler sizes the window by the measured run times of the tasks: it
//! holds at most [`WorkerLink::window`] of work per slot, and nothing while a run time is unknown. If tasks in the window still wait
//! after [`WorkerLink::stall`], the scheduler revokes them and places them elsewhere. For an idle worker, it revokes half of
//! another worker's window. Coroutines do not need slots: they have places of their own and start at once.
//!
//! The time limits of an attempt run from its start. A worker starts its tasks in the order in which they were sent, so
//! the first tasks of a worker are the running ones. Killing an attempt also kills its worker, and the other tasks of
//! that worker rerun without counting a loss. When a worker dies by itself, each of its running tasks is a suspect and
//! reruns in isolation. A task that kills its worker again in isolation is the cause.
//!
//! The whole engine has one gate for tasks with limits ([`resources`](super::resources)). A task enters the gate when
//! it is the next of its pool and a worker has room. Such a task never waits in a window, so only running tasks hold
//! permits. A task that needs several slots waits until they are free at the same time. Tasks behind it may overtake it
//! [`MAX_OVERTAKES`](super::resources::MAX_OVERTAKES) times.

mod ends;
mod hold;
mod limits;
mod place;
mod pool;
mod pool_workers;
mod protocol;
mod worker_slots;

use std::collections::VecDeque;
use std::time::Duration;

use self::ends::{WorkerLoss, cancelled};
use self::limits::Limiter;
use self::pool::Pool;
pub use self::protocol::{
    Action, Departure, PoolRules, Report, RunTask, TimeLimits, WorkerCapacity, WorkerLink, WorkerView,
};
use self::worker_slots::{Due, InFlight, Lane, WorkerSlots};
use super::durations::Durations;
use super::task_table::{AcceptError, Finished, TaskEnd, TaskKey, TaskLookup, TaskState, TaskTable, WaiterId};
use super::timers::Timers;
use crate::model::{
    CancelAnswer, CancelSource, DisplayDuration, EngineCapacity, ErrorKind, FactKind, KillReason, Outcome, PoolId,
    PoolMap, RetireCause, ReturnCause, RevokeCause, Seq, Task, TaskError, TaskId, Tick, WorkKey, WorkerRef,
};

/// The decisions of the Dispatcher.
#[derive(Debug)]
pub struct Scheduler {
    table: TaskTable,
    pools: PoolMap<Pool>,
    durations: Durations,
    timers: Timers<Due>,
    actions: Vec<Action>,
    limiter: Limiter,
    /// Pools in which a task may be placed now that could not be placed before.
    woken: VecDeque<PoolId>,
    /// The error of all tasks, once the engine ends.
    closing: Option<TaskError>,
}

impl Scheduler {
    /// A scheduler without workers. `rules` holds the rules of each pool, `capacity` the resources of the engine.
    #[must_use]
    pub fn new(table: TaskTable, rules: &PoolMap<PoolRules>, capacity: EngineCapacity) -> Self {
        Self {
            table,
            pools: rules.map(|pool_id, rules| Pool::new(pool_id, *rules)),
            durations: Durations::default(),
            timers: Timers::default(),
            actions: Vec::new(),
            limiter: Limiter::new(capacity),
            woken: VecDeque::new(),
            closing: None,
        }
    }

    /// The task table, for lookups.
    #[must_use]
    pub fn table(&self) -> &TaskTable {
        &self.table
    }

    /// The expected run time of a script or function in nanoseconds; `None` if it never ran.
    #[must_use]
    pub fn expected_run_time(&self, work: WorkKey<'_>) -> Option<u64> {
        self.durations.estimate(work)
    }

    /// The task table, for its waiters and the facts of the present turn.
    pub fn table_mut(&mut self) -> &mut TaskTable {
        &mut self.table
    }

    /// Whether there are actions to carry out.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Takes the actions since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Accepts a task; `waiter` waits for its outcome. Call [`place`](Self::place) after the last task of a batch.
    ///
    /// # Errors
    /// If the id is known or the unique key is taken.
    pub fn submit(&mut self, task: Task, waiter: Option<WaiterId>, now: Tick) -> Result<TaskKey, AcceptError> {
        let (pool_id, shortfall) = (task.pool_id(), self.limiter.shortfall(&task));
        let key = self.table.accept(task, waiter, now)?;
        if let Some(error) = self.closing.clone() {
            self.finish(key, None, TaskEnd::without_run(Outcome::Cancelled(Box::new(error))), now);
        } else if !self.pools.contains(pool_id) {
            let words = format!("the engine has no pool `{pool_id}`");
            self.finish(key, None, TaskEnd::without_run(impossible(words)), now);
        } else if let Some(error) = self.pools[pool_id].unavailable.clone() {
            self.finish(key, None, TaskEnd::without_run(Outcome::Failed(Box::new(error))), now);
        } else if let Some(shortfall) = shortfall {
            self.finish(key, None, TaskEnd::without_run(impossible(shortfall)), now);
        } else {
            if !self.defer(key, now) {
                self.enqueue(key);
            }
            self.arm_ttl(key);
        }
        Ok(key)
    }

    /// Puts a task at the end of its queue.
    fn enqueue(&mut self, key: TaskKey) {
        if let Some(task) = self.table.task(key) {
            self.pools[task.pool_id()].queue.push_back(task.options().priority, key);
        }
    }

    /// Starts the ttl of a task, if it has one and has not started.
    fn arm_ttl(&mut self, key: TaskKey) {
        let limit = self.table.task(key).and_then(|task| task.options().ttl);
        if let (Some(limit), Some(submitted)) = (limit, self.table.submitted(key)) {
            let timer = self.timers.start(submitted.after(limit), Due::Expiry(key));
            self.table.set_expiry(key, timer);
        }
    }

    fn expired(&mut self, key: TaskKey, now: Tick) {
        self.table.take_expiry(key);
        // Sending a task takes its timer away.
        match self.table.state(key) {
            Some(TaskState::Waiting { timer }) => self.timers.stop(timer),
            Some(TaskState::Queued) => {}
            Some(TaskState::Sent { .. }) | None => return,
        }
        let pool = self.pool_of(key);
        let limit = self.table.task(key).and_then(|task| task.options().ttl).unwrap_or_default();
        let words = format!("not started within its ttl of {}", DisplayDuration(limit));
        let error = Box::new(TaskError::new(ErrorKind::Expired, words));
        self.finish(key, None, TaskEnd::without_run(Outcome::Expired(error)), now);
        self.sweep(pool);
    }

    /// A worker takes tasks from now on.
    pub fn joined(&mut self, worker: WorkerRef, capacity: WorkerCapacity, now: Tick) {
        let WorkerCapacity { slots, coroutines, .. } = capacity;
        self.table.recorder().note(now, || FactKind::WorkerJoined { worker, slots, coroutines });
        self.heal(worker.id.pool, now);
        let pool = &mut self.pools[worker.id.pool];
        pool.called = 0;
        let member = WorkerSlots::new(worker, capacity, pool.rules.worker_tasks, now);
        if pool.workers.at(worker.id.index).is_some_and(|predecessor| predecessor.is_replaced_when_used_up()) {
            pool.standby.push(member);
            return;
        }
        self.enter_place(member, now);
        self.place(worker.id.pool, now);
    }

    /// Gives a place to a worker. A predecessor that is still there has been recycled: it finishes what it has.
    fn enter_place(&mut self, member: WorkerSlots, now: Tick) {
        let (worker, slots) = (member.worker, member.capacity.slots);
        if let Some(predecessor) = self.pools[worker.id.pool].workers.insert(member) {
            self.begin_drain(predecessor, RetireCause::Replaced { by: worker.generation }, now);
        }
        let pool = &mut self.pools[worker.id.pool];
        if slots == 1 && pool.is_finishing(worker.id.index) {
            pool.workers.change(worker.id.index as usize, |member| member.follows = true);
        }
    }

    /// Gives the place of a worker that is gone, or has taken all its tasks, to the successor that stands by.
    fn let_standby_in(&mut self, worker: WorkerRef, now: Tick) {
        let pool = &mut self.pools[worker.id.pool];
        if pool.standby.is_empty() || pool.workers.at(worker.id.index).is_some_and(WorkerSlots::has_budget) {
            return;
        }
        if let Some(successor) = pool.take_standby(worker.id.index) {
            self.enter_place(successor, now);
        }
    }

    /// Drains a worker: it takes no more tasks, gives its window back, and ends when it is empty.
    fn begin_drain(&mut self, member: WorkerSlots, cause: RetireCause, now: Tick) {
        // What a worker may take, it keeps: otherwise it would end before it has run as many tasks as it may.
        let keeps = matches!(cause, RetireCause::Replaced { .. }) && !member.has_budget();
        let (worker, seqs) = (member.worker, member.last_ahead(if keeps { 0 } else { usize::MAX }));
        self.table.recorder().note(now, || FactKind::WorkerRetiring { worker, cause });
        self.pools[worker.id.pool].draining.push(member);
        if !seqs.is_empty() {
            self.revoke(worker, seqs, RevokeCause::Draining, now);
        }
        self.retire_if_empty(worker, now);
    }

    /// Asks a worker to give back attempts that it has not started.
    fn revoke(&mut self, worker: WorkerRef, seqs: Vec<Seq>, cause: RevokeCause, now: Tick) {
        let Self { table, pools, actions, .. } = self;
        let member = pools[worker.id.pool].member(worker);
        let tasks = if table.recorder().is_listening() { member.map(|it| it.tasks(&seqs, table)) } else { None };
        table.recorder().note(now, || FactKind::RevokeOrdered { worker, tasks: tasks.unwrap_or_default(), cause });
        actions.push(Action::Revoke { worker, seqs });
    }

    /// Makes a pool available again whose tasks failed.
    fn heal(&mut self, pool: PoolId, now: Tick) {
        if self.pools[pool].unavailable.take().is_some() {
            self.table.recorder().note(now, || FactKind::PoolHealed { pool });
        }
    }

    /// Drains `count` workers of a pool, idle ones first. They finish their running tasks.
    pub fn shrink(&mut self, pool_id: PoolId, count: usize, now: Tick) {
        let mut gone = Vec::new();
        for _ in 0..count {
            let workers = &mut self.pools[pool_id].workers;
            let Some(member) = workers.expendable().and_then(|worker| workers.remove(worker)) else { break };
            // The place belongs to the successor that stands by, if there is one.
            let successor = self.pools[pool_id].take_standby(member.worker.id.index);
            gone.push(successor.as_ref().unwrap_or(&member).worker);
            for member in std::iter::once(member).chain(successor) {
                self.begin_drain(member, RetireCause::AboveTarget, now);
            }
        }
        self.actions.push(Action::Release { pool: pool_id, workers: gone });
        // A task that needs more workers than remain has to request them again (L1).
        self.pools[pool_id].called = 0;
        self.place(pool_id, now);
    }

    /// Sets the target of a pool, including workers that start, and its maximum. If a waiting task had requested more
    /// workers than the target, it requests them again. If the target is 0, a later start shows again whether workers
    /// can start (L1).
    pub fn resized(&mut self, pool_id: PoolId, target: usize, most: usize, now: Tick) {
        let pool = &mut self.pools[pool_id];
        if most == 0 || target >= pool.called.min(most).max(1) {
            return;
        }
        pool.called = 0;
        if target == 0 {
            self.heal(pool_id, now);
        }
        self.place(pool_id, now);
    }

    /// Records the CPU usage of a worker's process, in cores.
    pub fn busy(&mut self, worker: WorkerRef, cpu: f32) {
        self.pools[worker.id.pool].change(worker, |member| member.cpu = cpu);
    }

    /// The workers of a pool: first those that take tasks, then those that stand by, then those that drain.
    pub fn workers(&self, pool_id: PoolId) -> impl Iterator<Item = WorkerView> {
        let pool = &self.pools[pool_id];
        let present = pool.workers.iter().map(WorkerSlots::view);
        let standby = pool.standby.iter().map(|member| WorkerView { stands_by: true, ..member.view() });
        present.chain(standby).chain(pool.draining.iter().map(|member| WorkerView { draining: true, ..member.view() }))
    }

    /// The number of attempts that the workers of a pool have ended.
    #[must_use]
    pub fn attempts_ended(&self, pool_id: PoolId) -> u64 {
        self.pools[pool_id].ended
    }

    /// The reason why no task of a pool can run at present.
    #[must_use]
    pub fn why_unavailable(&self, pool_id: PoolId) -> Option<&TaskError> {
        self.pools[pool_id].unavailable.as_ref()
    }

    /// Whether the engine accepts tasks.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closing.is_none()
    }

    fn retire_if_empty(&mut self, worker: WorkerRef, now: Tick) {
        let pool = &mut self.pools[worker.id.pool];
        if pool.workers.get(worker).is_some_and(WorkerSlots::is_used_up)
            && let Some(member) = pool.workers.remove(worker)
        {
            return self.begin_drain(member, RetireCause::UsedUp, now);
        }
        if pool.draining.iter().any(|member| member.worker == worker && member.in_flight.is_empty()) {
            pool.let_successor_take(worker.id.index);
            self.actions.push(Action::Retire { worker });
        }
    }

    /// Requests the replacement of a worker that reached its limit of tasks or memory.
    fn recycle_if_due(&mut self, worker: WorkerRef, resident: u64, now: Tick) {
        let pool = &mut self.pools[worker.id.pool];
        let rules = pool.rules;
        if rules.worker_tasks.is_none() && rules.worker_memory.is_none() {
            return;
        }
        // A draining worker is not replaced twice.
        let cause = pool.workers.change(worker.id.index as usize, |member| {
            let cause = rules.recycle_cause(member.taken(), member.budget_lasts(now), resident)?;
            if member.worker != worker || member.recycling.is_some() {
                return None;
            }
            member.recycling = Some(cause);
            Some(cause)
        });
        if let Some(cause) = cause.flatten() {
            self.table.recorder().note(now, || FactKind::WorkerRecycling { worker, cause });
            self.actions.push(Action::Recycle { worker, reason: cause });
        }
    }

    /// Handles the measured memory of a worker. Above the limit of a task, the worker is killed, and each of its running
    /// tasks is a suspect. If none of those that ran when the measurement began is left, nobody is to blame (L6).
    fn measured(&mut self, worker: WorkerRef, resident: u64, running: &[Seq], now: Tick) {
        let pool = &self.pools[worker.id.pool];
        let too_much = pool.rules.task_memory.is_some_and(|most| resident > most);
        let of = |member: &WorkerSlots| member.in_flight.iter().map(|task| task.seq).find(|seq| running.contains(seq));
        let first = pool.member(worker).and_then(of);
        match first {
            Some(seq) if too_much => self.kill(worker, seq, KillReason::MemoryLimit, now),
            _ => self.recycle_if_due(worker, resident, now),
        }
    }

    /// A worker has loaded a script or function. If the tasks were sent as coroutines but are not coroutines, they wait
    /// for slots in this worker while slots elsewhere may be free. So the scheduler revokes those that have not
    /// started.
    fn learned(&mut self, worker: WorkerRef, work: WorkKey<'_>, coroutine: bool, now: Tick) {
        self.durations.learn(work, coroutine);
        let Some(member) = self.pools[worker.id.pool].member(worker).filter(|_| !coroutine) else { return };
        let waits = |task: &&InFlight| {
            task.lane == Lane::Coroutine && self.table.task(task.key).is_some_and(|it| it.work().key() == work)
        };
        let seqs: Vec<Seq> = member.in_flight.iter().filter(waits).map(|task| task.seq).collect();
        if !seqs.is_empty() {
            self.revoke(worker, seqs, RevokeCause::NotCoroutine, now);
        }
    }

    /// Handles the reports of a worker.
    pub fn reported(&mut self, worker: WorkerRef, reports: Vec<Report>, now: Tick) {
        for report in reports {
            match report {
                Report::Ended { seq, nanos, result, output } => self.ended(worker, seq, nanos, result, output, now),
                Report::Revoked { seqs } => self.returned(worker, seqs, now),
                Report::Spared { seq } => self.spared(worker, seq, now),
                Report::Learned { work, coroutine } => self.learned(worker, work.key(), coroutine, now),
                Report::Measured { resident, running } => self.measured(worker, resident, &running, now),
            }
        }
        self.place(worker.id.pool, now);
    }

    /// Handles the end of a worker. Its tasks that had not started return to the front of the queue (L5). Its running
    /// tasks time out, are cancelled, rerun, or are lost.
    pub fn left(&mut self, worker: WorkerRef, departure: Departure, now: Tick) {
        let pool = &mut self.pools[worker.id.pool];
        let Some(member) = pool.remove(worker) else { return self.table.ignore() };
        pool.let_successor_take(worker.id.index);
        self.table.recorder().note(now, || FactKind::WorkerLeft { worker });
        let Departure { reason, started, mut outputs, post_mortem } = departure;
        let started = |task: &InFlight| started.as_ref().map_or(task.started(), |seqs| seqs.contains(&task.seq));
        let count = member.in_flight.iter().filter(|task| started(task)).count();
        let mut unstarted = Vec::new();
        for task in member.in_flight {
            task.stop_timers(&mut self.timers);
            if started(&task) {
                let found = outputs.iter().position(|(seq, _)| *seq == task.seq);
                let output = found.map(|at| outputs.swap_remove(at).1);
                let end = WorkerLoss { worker, reason: &reason, post_mortem: post_mortem.clone(), alone: count == 1 };
                self.attempt_lost(&task, end, output, now);
            } else {
                unstarted.push(task);
            }
        }
        self.requeue(worker, unstarted, ReturnCause::WorkerLeft, now);
        self.let_standby_in(worker, now);
        self.place(worker.id.pool, now);
    }

    /// Cancels a task for this source. A running task has `grace` to stop by itself; a withdrawal leaves it alone.
    pub fn cancel(&mut self, by: CancelSource, id: TaskId, grace: Duration, now: Tick) -> CancelAnswer {
        let key = match self.table.find(id) {
            TaskLookup::Live(key) => key,
            TaskLookup::Finished(record) => return CancelAnswer::AlreadyFinished(record.outcome.name()),
            TaskLookup::Expired(expired) => return CancelAnswer::AlreadyFinished(expired.outcome),
            TaskLookup::Unknown => return CancelAnswer::Unknown,
        };
        match self.table.state(key) {
            Some(TaskState::Sent { .. }) if by == CancelSource::Withdrawal => CancelAnswer::Started,
            Some(TaskState::Sent { worker, seq, .. }) => {
                if !self.table.cancel(key) {
                    return CancelAnswer::AlreadyRequested;
                }
                self.table.note_cancel(key, by, Some(grace), now);
                self.actions.push(Action::Cancel { worker, seq });
                let timer = self.timers.start(now.after(grace), Due::Grace(worker, seq));
                self.in_flight(worker, seq, |task| task.grace = Some(timer));
                CancelAnswer::Requested
            }
            state => {
                if let Some(TaskState::Waiting { timer }) = state {
                    self.timers.stop(timer);
                }
                let pool = self.pool_of(key);
                self.table.note_cancel(key, by, None, now);
                self.finish(key, None, TaskEnd::without_run(Outcome::Cancelled(Box::new(cancelled()))), now);
                self.sweep(pool);
                self.run_placement(now);
                CancelAnswer::Removed
            }
        }
    }

    /// No worker of a pool can start. Its tasks fail with `error` until a worker joins.
    pub fn unavailable(&mut self, pool_id: PoolId, error: TaskError, now: Tick) {
        let reason = || Box::new(error.clone());
        self.table.recorder().note(now, || FactKind::PoolUnavailable { pool: pool_id, error: reason() });
        let waiting = self.pools[pool_id].drain();
        for key in waiting.into_iter().chain(self.limiter.evict(pool_id)) {
            if self.table.task(key).is_some() {
                self.finish(key, None, TaskEnd::without_run(Outcome::Failed(Box::new(error.clone()))), now);
            }
        }
        self.pools[pool_id].unavailable = Some(error);
        self.run_placement(now);
    }

    /// Cancels every live task, and every task submitted later.
    pub fn cancel_all(&mut self, error: &TaskError, now: Tick) {
        for pool in self.pools.values_mut() {
            pool.drain();
            self.limiter.evict(pool.id);
        }
        self.timers = Timers::default();
        self.closing = Some(error.clone());
        let keys: Vec<TaskKey> = self.table.keys().collect();
        for key in keys {
            self.table.note_cancel(key, CancelSource::Shutdown, None, now);
            self.finish(key, None, TaskEnd::without_run(Outcome::Cancelled(Box::new(error.clone()))), now);
        }
    }

    /// Handles everything that is due: time limits, retries, and tasks that stalled in a window.
    pub fn tick(&mut self, now: Tick) {
        self.table.expire_old(now);
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Soft(worker, seq) => self.interrupt(worker, seq, now),
                Due::Hard(worker, seq) => self.kill(worker, seq, KillReason::Deadline, now),
                Due::Grace(worker, seq) => self.kill(worker, seq, KillReason::Cancel, now),
                Due::Start(key) => self.may_start(key, now),
                Due::Expiry(key) => self.expired(key, now),
            }
        }
        let stalled: Vec<_> = self.pools.values_mut().flat_map(|pool| pool.workers.stalled(now)).collect();
        for (worker, seqs) in stalled {
            self.revoke(worker, seqs, RevokeCause::Stalled, now);
        }
        self.run_placement(now);
    }

    /// The time of the next [`tick`](Self::tick), or `None` if nothing is limited, retried, held back, in a window or
    /// retained (L10).
    #[must_use]
    pub fn next_tick(&self) -> Option<Tick> {
        let stalls = self.pools.values().filter_map(|pool| pool.workers.next_stall());
        stalls.chain(self.timers.next()).chain(self.table.next_expiry()).chain(self.limiter.next()).min()
    }

    fn pool_of(&self, key: TaskKey) -> Option<PoolId> {
        self.table.task(key).map(Task::pool_id)
    }

    /// Removes the keys of cancelled tasks from a queue when they are the majority (L9). Then places again, because
    /// other tasks may have waited behind one of them.
    fn sweep(&mut self, pool_id: Option<PoolId>) {
        let Some(pool_id) = pool_id else { return };
        let pool = &mut self.pools[pool_id];
        if pool.keys() > 2 * self.table.waiting().0 + 64 {
            let table = &self.table;
            pool.retain(|key| table.task(key).is_some());
        }
        let firsts = [pool.multi_slot.first.map(|first| first.key), pool.suspects.front().copied()];
        if firsts.into_iter().flatten().any(|key| self.table.task(key).is_none()) {
            pool.wake(&mut self.woken);
        }
    }

    /// The number of queued tasks of a pool whose limits hold them back; more workers would not start them earlier.
    #[must_use]
    pub fn held_by_limits(&self, pool_id: PoolId) -> usize {
        self.limiter.waiting(pool_id)
    }

    /// Gives back the permit and the reservations of a task whose attempt is over.
    fn release(&mut self, key: TaskKey) {
        if let Some((pool_id, reservations)) = self.limiter.release(key) {
            let pool = &mut self.pools[pool_id];
            pool.workers.release_slots(&reservations);
            pool.wake(&mut self.woken);
        }
    }

    fn finish(&mut self, key: TaskKey, by: Option<(WorkerRef, Seq)>, end: TaskEnd, now: Tick) {
        if let Some(timer) = self.table.take_expiry(key) {
            self.timers.stop(timer);
        }
        if let Some(Finished { record, waiter }) = self.table.finish(key, by, end, now) {
            self.release(key);
            self.actions.push(Action::Finished { record, waiter });
        }
    }

    /// The attempts in a worker that have not ended, for tests.
    #[cfg(test)]
    fn sent_to(&self, worker: WorkerRef) -> Vec<(TaskKey, Seq)> {
        let sent = |key| match self.table.state(key) {
            Some(TaskState::Sent { worker: with, seq, .. }) if with == worker => Some((key, seq)),
            _ => None,
        };
        let mut sent: Vec<_> = self.table.keys().filter_map(sent).collect();
        sent.sort_unstable_by_key(|(_, seq)| *seq);
        sent
    }
}

/// The outcome of a task or step whose needs exceed the capacity, if that was not checked before the submission.
pub(super) fn impossible(why: impl std::fmt::Display) -> Outcome {
    Outcome::Cancelled(Box::new(TaskError::new(ErrorKind::Cancelled, format!("it can never run: {why}"))))
}

#[cfg(test)]
mod tests;
