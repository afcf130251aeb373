//! Which workers exist: their slots and generations, how many a pool should have, when one is started,
//! replaced or given up.
//!
//! A [`PoolSupervisor`] is the Supervisor without its mailbox, clock and processes: one method per event, and
//! what should happen is left in a list of [`SupervisorAction`]s. Each action says its cause.

mod slot;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::slot::MAX_FINISHING;
use self::slot::SupervisedSlot;
use super::restart::{Breaker, BreakerState};
use super::scheduler::Departure;
use super::timers::Timers;
use crate::config::{PoolSettings, WorkerBounds};
use crate::model::{
    DisplayDuration, ErrorKind, FactKind, LaunchCause, PoolId, PoolKind, PoolMap, PoolStatus, RecycleCause,
    RetireCause, ScalingRule, TargetCause, TaskError, Tick, WorkerDownReason, WorkerId, WorkerRef,
};

/// Why an open breaker opened.
pub const TOO_OFTEN: &str = "its workers die too often (`max_restarts`, `restart_window`)";

/// What should happen.
#[derive(Debug)]
pub enum SupervisorAction {
    /// Start the process of this worker.
    Launch {
        /// Which; its generation is new.
        worker: WorkerRef,
        /// Why.
        cause: LaunchCause,
    },
    /// Let this worker finish what it was sent and end.
    Retire {
        /// Which.
        worker: WorkerRef,
        /// Why.
        cause: RetireCause,
    },
    /// The next start of a slot waits. [`tick`](PoolSupervisor::tick) starts it.
    StartDelayed {
        /// Which slot.
        slot: WorkerId,
        /// How long.
        delay: Duration,
    },
    /// This worker takes tasks from now on.
    Joined {
        /// Which.
        worker: WorkerRef,
        /// Its process.
        pid: u32,
    },
    /// A worker that had joined is gone.
    Left {
        /// Which.
        worker: WorkerRef,
        /// Why, and what it ran.
        departure: Departure,
    },
    /// Choose which workers of a pool are to go, and call [`release`](PoolSupervisor::release) with them.
    Shrink {
        /// Which pool.
        pool: PoolId,
        /// How many.
        count: usize,
    },
    /// The number of workers that a pool should have is another one.
    Target {
        /// Which pool.
        pool: PoolId,
        /// The number until now.
        from: u32,
        /// The number from now on.
        to: u32,
        /// Why.
        cause: TargetCause,
    },
    /// A pool has changed.
    Changed {
        /// Which.
        pool: PoolId,
        /// How it is. Who is ready, what waits, and why no task can run is not known here.
        status: PoolStatus,
    },
    /// No worker of a pool can be started: its tasks fail.
    Unavailable {
        /// Which pool.
        pool: PoolId,
        /// With this error.
        error: TaskError,
    },
    /// A worker could not be started.
    StartFailed {
        /// Which.
        worker: WorkerRef,
        /// Why.
        failure: String,
        /// How long its slot waits for the next start.
        delay: Duration,
    },
    /// Too many workers of a pool died: replacements wait.
    BreakerOpened {
        /// Which pool.
        pool: PoolId,
        /// How long.
        pause: Duration,
        /// How many deaths are allowed within the window.
        allowed: usize,
        /// The window.
        window: Duration,
    },
    /// Workers of a pool are replaced at once again.
    BreakerClosed {
        /// The worker that became ready.
        by: WorkerRef,
    },
    /// All workers are gone, as [`stop`](PoolSupervisor::stop) asked.
    Stopped,
}

impl SupervisorAction {
    /// The fact of this decision, if it is one of the Supervisor's own.
    #[must_use]
    pub fn fact(&self) -> Option<FactKind> {
        Some(match self {
            Self::Launch { worker, cause } => FactKind::WorkerLaunched { worker: *worker, cause: *cause },
            Self::Retire { worker, cause } => FactKind::WorkerStopOrdered { worker: *worker, cause: *cause },
            Self::StartDelayed { slot, delay } => {
                FactKind::StartDelayed { slot: *slot, delay_seconds: delay.as_secs_f64() }
            }
            Self::Target { pool, to, cause, .. } => FactKind::PoolTarget { pool: *pool, workers: *to, cause: *cause },
            Self::BreakerOpened { pool, pause, allowed, window } => FactKind::BreakerOpened {
                pool: *pool,
                allowed: *allowed,
                window_seconds: window.as_secs_f64(),
                pause_seconds: pause.as_secs_f64(),
            },
            Self::BreakerClosed { by } => FactKind::BreakerClosed { pool: by.id.pool, worker: *by },
            // The Dispatcher tells of the others when it has heard of them.
            _ => return None,
        })
    }
}

/// The decisions of the Supervisor.
#[derive(Debug)]
pub struct PoolSupervisor {
    pools: PoolMap<SupervisedPool>,
    /// The engine is ending: no worker is started any more.
    stopping: bool,
    /// Starts that are delayed.
    delayed: Timers<WorkerId>,
    actions: Vec<SupervisorAction>,
}

/// The workers of one pool.
#[derive(Debug)]
struct SupervisedPool {
    id: PoolId,
    kind: PoolKind,
    bounds: WorkerBounds,
    breaker: Breaker,
    /// By index. One that is not wanted keeps its place, and its generation, for later.
    slots: Vec<SupervisedSlot>,
    /// How many workers there should be.
    target: u32,
    /// It was asked which workers are to go, and there is no answer yet.
    shrinking: bool,
}

/// Why the next start of a slot is not worth waiting for.
struct StartFailure {
    /// The pool's workers die too often, so that even a slot that could start has to wait.
    breaker_open: bool,
    /// For the pool's tasks.
    message: String,
}

impl SupervisedPool {
    /// The first slot without a worker; it is wanted from now on.
    fn take_vacancy(&mut self) -> &mut SupervisedSlot {
        let free = self.slots.iter().position(|slot| !slot.wanted && slot.is_vacant());
        let at = free.unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(SupervisedSlot::new(WorkerId::local(self.id, index)));
            self.slots.len() - 1
        });
        let slot = &mut self.slots[at];
        (slot.wanted, slot.next_launch) = (true, LaunchCause::BelowTarget);
        slot
    }

    fn wanted(&self) -> usize {
        self.slots.iter().filter(|slot| slot.wanted).count()
    }

    /// How many workers can be started now. Those that finish what they have are processes as well: a pool
    /// has twice its maximum of processes at most (L9).
    fn missing(&self) -> usize {
        let wanted = self.wanted();
        let finishing = self.slots.iter().filter(|slot| !slot.wanted && !slot.is_vacant()).count();
        let room = (2 * self.bounds.most as usize).saturating_sub(wanted + finishing);
        (self.target as usize).saturating_sub(wanted).min(room)
    }

    fn set_target(&mut self, target: u32, cause: TargetCause, actions: &mut Vec<SupervisorAction>) {
        let from = std::mem::replace(&mut self.target, target);
        if from != target {
            actions.push(SupervisorAction::Target { pool: self.id, from, to: target, cause });
        }
    }

    fn status(&self) -> PoolStatus {
        PoolStatus {
            kind: self.kind,
            target: self.target as usize,
            starting: self.slots.iter().filter(|slot| slot.wanted && !slot.is_ready()).count(),
            least: self.bounds.least as usize,
            most: self.bounds.most as usize,
            breaker: match self.breaker.state() {
                BreakerState::Closed => None,
                BreakerState::Open { .. } => Some(TOO_OFTEN.to_owned()),
            },
            ..PoolStatus::default()
        }
    }

    /// Whether no worker is ready and none is worth waiting for.
    fn is_unavailable(&self, breaker_open: bool) -> bool {
        let mut wanted = self.slots.iter().filter(|slot| slot.wanted).peekable();
        let is_failing = |slot: &SupervisedSlot| {
            !slot.is_ready() && (slot.starts.is_failing() || (breaker_open && slot.present.is_none()))
        };
        wanted.peek().is_some() && wanted.all(is_failing)
    }
}

impl PoolSupervisor {
    /// A supervisor of these pools, without workers. More than `max_restarts` deaths within `restart_window` open
    /// a pool's breaker.
    #[must_use]
    pub fn new(pools: &PoolMap<PoolSettings>, max_restarts: u32, restart_window: Duration) -> Self {
        let pools = pools.map(|id, settings| SupervisedPool {
            id,
            kind: settings.kind,
            bounds: settings.workers,
            breaker: Breaker::new(max_restarts, restart_window),
            slots: Vec::new(),
            target: settings.workers.least,
            shrinking: false,
        });
        Self { pools, stopping: false, delayed: Timers::default(), actions: Vec::new() }
    }

    /// Takes what should happen since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<SupervisorAction> {
        std::mem::take(&mut self.actions)
    }

    /// When to call [`tick`](Self::tick), if no event comes before that.
    #[must_use]
    pub fn next_tick(&self) -> Option<Tick> {
        self.delayed.next()
    }

    /// Time has passed: starts the workers whose delay is over.
    pub fn tick(&mut self, now: Tick) {
        while let Some(slot) = self.delayed.pop(now) {
            self.start(slot);
        }
    }

    /// The breaker of a pool.
    #[must_use]
    pub fn breaker(&self, pool: PoolId) -> Option<BreakerState> {
        self.pools.get(pool).map(|pool| pool.breaker.state())
    }

    /// How many workers each pool should have.
    pub fn targets(&self) -> impl Iterator<Item = (PoolId, u32)> {
        self.pools.iter().map(|(id, pool)| (id, pool.target))
    }

    /// The engine begins: every pool gets its workers.
    pub fn begin(&mut self) {
        let pools: Vec<PoolId> = self.pools.ids().collect();
        for pool in pools {
            self.adjust(pool);
        }
    }

    /// Brings the number of a pool's workers to its target.
    fn adjust(&mut self, id: PoolId) {
        let Some(pool) = self.pools.get_mut(id).filter(|pool| !self.stopping && !pool.shrinking) else { return };
        // Those that are not there yet are the first to go; of the others, the Dispatcher knows which.
        let mut above = pool.wanted().saturating_sub(pool.target as usize);
        for _ in 0..pool.missing() {
            pool.take_vacancy().start(&mut self.actions);
        }
        for slot in pool.slots.iter_mut().rev().filter(|slot| slot.wanted && !slot.is_ready()).take(above) {
            slot.give_up(&mut self.actions);
            above -= 1;
        }
        if above > 0 {
            pool.shrinking = true;
            self.actions.push(SupervisorAction::Shrink { pool: id, count: above });
        }
        self.actions.push(SupervisorAction::Changed { pool: id, status: pool.status() });
    }

    /// Starts a worker in a slot, if it needs one.
    fn start(&mut self, id: WorkerId) {
        if !self.stopping
            && let Some(slot) = slot_mut(&mut self.pools, id)
        {
            slot.start(&mut self.actions);
        }
    }

    /// A worker finished its handshake.
    pub fn ready(&mut self, worker: WorkerRef, pid: u32, now: Tick) {
        let Some(pool) = self.pools.get_mut(worker.id.pool) else { return };
        let Some(slot) = pool.slots.get_mut(worker.id.index as usize) else { return };
        if !slot.becomes_ready(worker.generation) || self.stopping {
            return;
        }
        slot.starts.ready();
        self.actions.push(SupervisorAction::Joined { worker, pid });
        if pool.breaker.ready(now) {
            self.actions.push(SupervisorAction::BreakerClosed { by: worker });
        }
        self.actions.push(SupervisorAction::Changed { pool: worker.id.pool, status: pool.status() });
    }

    /// A worker is to be replaced: its successor is started first.
    pub fn recycle(&mut self, worker: WorkerRef, reason: RecycleCause) {
        let slot = slot_mut(&mut self.pools, worker.id).filter(|slot| slot.is(worker.generation));
        if let Some(slot) = slot {
            slot.recycling = Some(reason);
            self.start(worker.id);
        }
    }

    /// A task waits that cannot run with fewer workers of a pool than `count`.
    pub fn require(&mut self, id: PoolId, count: usize) {
        let Some(pool) = self.pools.get_mut(id) else { return };
        let target = pool.target.max(u32::try_from(count).unwrap_or(u32::MAX)).min(pool.bounds.most);
        pool.set_target(target, TargetCause::TaskNeeds { workers: count }, &mut self.actions);
        self.adjust(id);
    }

    /// A pool should have this number of workers, within its bounds.
    pub fn set_target(&mut self, id: PoolId, target: u32, rule: ScalingRule) {
        let Some(pool) = self.pools.get_mut(id) else { return };
        let target = target.clamp(pool.bounds.least, pool.bounds.most);
        pool.set_target(target, TargetCause::Scaling(rule), &mut self.actions);
        self.adjust(id);
    }

    /// The answer to [`Shrink`](SupervisorAction::Shrink): these workers go when they have finished what they run.
    pub fn release(&mut self, id: PoolId, workers: &[WorkerRef]) {
        let Some(pool) = self.pools.get_mut(id) else { return };
        pool.shrinking = false;
        for worker in workers {
            let slot = pool.slots.get_mut(worker.id.index as usize);
            if let Some(slot) = slot.filter(|slot| slot.is(worker.generation)) {
                slot.give_up(&mut self.actions);
            }
        }
        self.adjust(id);
    }

    /// A worker is gone. `healthy`: it had lived or worked long enough to be replaced at once.
    pub fn down(&mut self, worker: WorkerRef, departure: Departure, healthy: bool, now: Tick) {
        let (delay, failure) = self.judge(worker, &departure.reason, healthy, now);
        let Some(slot) = slot_mut(&mut self.pools, worker.id) else { return };
        slot.loses(worker.generation);
        let wanted = slot.wanted;
        // One that never joined is unknown to the Dispatcher.
        if !matches!(departure.reason, WorkerDownReason::StartFailed { .. }) {
            self.actions.push(SupervisorAction::Left { worker, departure });
        }
        if self.stopping {
            self.report_stopped();
            return;
        }
        if let Some(failure) = failure {
            // After the departure, so that what it gives back fails, too.
            self.fail_pool_if_unavailable(worker.id.pool, &failure);
        }
        if wanted {
            self.start_after(delay, worker.id, now);
        }
        // A worker that was to go may have gone by itself, and one that was finishing makes room.
        self.adjust(worker.id.pool);
    }

    fn start_after(&mut self, delay: Duration, slot: WorkerId, now: Tick) {
        if delay.is_zero() {
            self.start(slot);
        } else {
            self.delayed.start(now.after(delay), slot);
            self.actions.push(SupervisorAction::StartDelayed { slot, delay });
        }
    }

    /// How long to wait before the next start after a worker's end, and why the slot's next worker is not worth
    /// waiting for.
    fn judge(
        &mut self,
        worker: WorkerRef,
        reason: &WorkerDownReason,
        healthy: bool,
        now: Tick,
    ) -> (Duration, Option<StartFailure>) {
        let Some(pool) = self.pools.get_mut(worker.id.pool) else { return (Duration::ZERO, None) };
        // What the engine itself has ended is no sign of ill health and is replaced at once.
        let by_itself = matches!(
            reason,
            WorkerDownReason::Exited(_) | WorkerDownReason::Protocol { .. } | WorkerDownReason::ActorPanicked
        );
        if by_itself && let Some(pause) = pool.breaker.died(now) {
            let (allowed, window) = pool.breaker.rule();
            self.actions.push(SupervisorAction::BreakerOpened { pool: worker.id.pool, pause, allowed, window });
        }
        let pause = Some(pool.breaker.pause_left(now)).filter(|pause| by_itself && !pause.is_zero());
        let Some(slot) = pool.slots.get_mut(worker.id.index as usize) else { return (Duration::ZERO, None) };
        let (delay, failure) = match reason {
            WorkerDownReason::Retired => return (Duration::ZERO, None),
            WorkerDownReason::StartFailed { definite, message } => (slot.starts.failed(*definite), message.clone()),
            reason => (slot.starts.ended(healthy), format!("it ended before it had run anything: {reason}")),
        };
        match pause {
            Some(pause) => {
                let message = format!("{TOO_OFTEN}: replacements are delayed by {}", DisplayDuration(pause));
                (pause.max(delay), Some(StartFailure { breaker_open: true, message }))
            }
            None if slot.starts.is_failing() => {
                let message = format!("no worker can be started: {failure}");
                self.actions.push(SupervisorAction::StartFailed { worker, failure, delay });
                (delay, Some(StartFailure { breaker_open: false, message }))
            }
            None => (delay, None),
        }
    }

    /// Fails the tasks of a pool if none of its workers is ready and none is worth waiting for.
    fn fail_pool_if_unavailable(&mut self, id: PoolId, StartFailure { breaker_open, message }: &StartFailure) {
        if self.pools.get(id).is_some_and(|pool| pool.is_unavailable(*breaker_open)) {
            let error = TaskError::new(ErrorKind::WorkerStartFailed, format!("the {id} pool is unhealthy: {message}"));
            self.actions.push(SupervisorAction::Unavailable { pool: id, error });
        }
    }

    /// The engine ends: every worker is retired, and none is started any more.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.delayed = Timers::default();
        for slot in self.pools.values().flat_map(|pool| &pool.slots) {
            for process in slot.all() {
                let worker = WorkerRef { id: slot.id, generation: process.generation };
                self.actions.push(SupervisorAction::Retire { worker, cause: RetireCause::Shutdown });
            }
        }
        self.report_stopped();
    }

    fn report_stopped(&mut self) {
        if self.pools.values().flat_map(|pool| &pool.slots).all(SupervisedSlot::is_vacant) {
            self.actions.push(SupervisorAction::Stopped);
        }
    }
}

fn slot_mut(pools: &mut PoolMap<SupervisedPool>, id: WorkerId) -> Option<&mut SupervisedSlot> {
    pools.get_mut(id.pool)?.slots.get_mut(id.index as usize)
}
