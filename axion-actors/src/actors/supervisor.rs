//! The Supervisor: owns which workers exist, their generations and their starts.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::dispatcher::Dispatcher;
use super::events::EventBus;
use super::messages::{
    PoolChanged, PoolRequest, PoolUnavailable, RegisterSupervisor, Retire, SetTarget, Shrink, StopWorkers, WorkerDown,
    WorkerJoined, WorkerLeft, WorkerReady,
};
use super::worker::{Neighbours, Settings, Worker};
use crate::config::Config;
use crate::model::{
    Clock, ErrorKind, Generation, PoolKind, PoolStatus, TaskError, WorkerDownReason, WorkerId, WorkerRef,
};
use crate::policy::liveness::Patience;
use crate::policy::restart::{Breaker, BreakerState, Starts};
use crate::policy::scheduler::WorkerCapacity;
use crate::process::{LaunchSpec, Launcher};

/// What an open breaker means.
const TOO_OFTEN: &str = "its workers die too often (`max_restarts`, `restart_window`)";

/// Workers of one slot that have been replaced and may still have something to finish (L9). While there are so
/// many, the present one is not replaced.
const FINISHING: usize = 4;

/// How many workers there are to be, and what they are told.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    pools: [PoolSettings; 2],
    max_restarts: u32,
    restart_window: Duration,
}

#[derive(Clone, Copy, Debug)]
struct PoolSettings {
    least: u32,
    most: u32,
    capacity: WorkerCapacity,
    worker: Settings,
}

impl From<&Config> for WorkerSettings {
    fn from(config: &Config) -> Self {
        let pool = |pool| PoolSettings {
            least: config.workers(pool),
            most: config.most_workers(pool),
            capacity: WorkerCapacity {
                slots: config.slots(pool) as usize,
                coroutines: config.coroutines(pool) as usize,
            },
            worker: Settings {
                start_timeout: config.start_timeout,
                stop_grace: config.stop_grace,
                output_limit: config.captured_output_limit,
                measure_every: config.worker(pool).measures_memory().then_some(config.health_check_interval),
                patience: Patience::default(),
            },
        };
        Self {
            pools: PoolKind::ALL.map(pool),
            max_restarts: config.max_restarts,
            restart_window: config.restart_window,
        }
    }
}

/// The actor that keeps the workers alive.
pub struct Supervisor {
    launcher: Box<dyn Launcher>,
    dispatcher: Addr<Dispatcher>,
    bus: EventBus,
    clock: Clock,
    pools: [Pool; 2],
    /// The engine is ending: no worker is started any more.
    stopping: bool,
    /// Get the answer when all workers are gone.
    waiting: Vec<oneshot::Sender<()>>,
    _fatal: StopOnPanic,
}

/// The workers of one pool.
struct Pool {
    settings: PoolSettings,
    breaker: Breaker,
    /// By index. One that is not wanted keeps its place, and its generation, for later.
    slots: Vec<Slot>,
    /// How many workers there should be.
    target: u32,
    /// The Dispatcher has been asked which workers are to go, and has not answered.
    shrinking: bool,
}

struct Slot {
    id: WorkerId,
    /// There is to be a worker.
    wanted: bool,
    /// Of the worker that was started last.
    generation: Generation,
    starts: Starts,
    /// Takes the slot's tasks, or will.
    present: Option<Incarnation>,
    /// Is on its way to take the present one's place.
    successor: Option<Incarnation>,
    /// Whether the present one is to be replaced.
    recycling: bool,
    /// Have been replaced and finish what they have.
    leaving: Vec<Incarnation>,
}

struct Incarnation {
    generation: Generation,
    address: Addr<Worker>,
    ready: bool,
}

/// Why the next worker of a slot is not to be waited for.
struct StartFailure {
    /// The pool's workers die too often, so that even a slot that could start has to wait.
    breaker_open: bool,
    /// For the pool's tasks and the log.
    words: String,
}

/// A number of places that the configuration bounds.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Pool {
    /// The first place without a worker, which is to have one now.
    fn vacancy(&mut self, kind: PoolKind) -> WorkerId {
        let free = self.slots.iter_mut().find(|slot| !slot.wanted && slot.is_vacant());
        if let Some(slot) = free {
            slot.wanted = true;
            return slot.id;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let id = WorkerId { pool: kind, index };
        self.slots.push(Slot { wanted: true, ..Slot::new(id) });
        id
    }
}

impl Slot {
    fn new(id: WorkerId) -> Self {
        Self {
            id,
            wanted: false,
            generation: Generation(0),
            starts: Starts::default(),
            present: None,
            successor: None,
            recycling: false,
            leaving: Vec::new(),
        }
    }

    /// Whether a start is called for: an empty slot, or one whose worker is to be replaced.
    fn wants_start(&self) -> bool {
        let replaced = self.recycling && self.leaving.len() < FINISHING;
        self.wanted && self.successor.is_none() && (self.present.is_none() || replaced)
    }

    fn is(&self, generation: Generation) -> bool {
        self.present.as_ref().is_some_and(|present| present.generation == generation)
    }

    fn is_ready(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.ready)
    }

    fn is_vacant(&self) -> bool {
        self.all().next().is_none()
    }

    /// There is to be no worker any more: who takes tasks finishes them, who does not yet ends now.
    fn give_up(&mut self) {
        (self.wanted, self.recycling) = (false, false);
        let gone = self.successor.take().into_iter().chain(self.present.take());
        for incarnation in gone {
            if !incarnation.ready {
                incarnation.address.do_send(Retire);
            }
            self.leaving.push(incarnation);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Incarnation> {
        self.present.iter().chain(&self.successor).chain(&self.leaving)
    }

    /// A worker finished its handshake; true if it takes tasks from now on.
    fn becomes_ready(&mut self, generation: Generation) -> bool {
        if let Some(present) = self.present.as_mut().filter(|it| it.generation == generation && !it.ready) {
            present.ready = true;
            return true;
        }
        let Some(mut successor) = self.successor.take_if(|it| it.generation == generation) else { return false };
        successor.ready = true;
        self.leaving.extend(self.present.replace(successor));
        self.recycling = false;
        true
    }

    /// A worker is gone. Its successor, if there is one on its way, takes its place.
    fn loses(&mut self, generation: Generation) {
        self.leaving.retain(|it| it.generation != generation);
        if self.successor.take_if(|it| it.generation == generation).is_none()
            && self.present.take_if(|it| it.generation == generation).is_some()
        {
            self.present = self.successor.take();
            self.recycling = false;
        }
    }
}

impl Supervisor {
    /// A supervisor that starts its workers with `launcher` when it is started itself.
    #[must_use]
    pub fn new(
        launcher: Box<dyn Launcher>,
        dispatcher: Addr<Dispatcher>,
        bus: EventBus,
        clock: Clock,
        settings: WorkerSettings,
    ) -> Self {
        let pools = PoolKind::ALL.map(|kind| {
            let pool = settings.pools[kind.index()];
            Pool {
                settings: pool,
                breaker: Breaker::new(settings.max_restarts, settings.restart_window),
                slots: Vec::new(),
                target: pool.least,
                shrinking: false,
            }
        });
        Self { launcher, dispatcher, bus, clock, pools, stopping: false, waiting: Vec::new(), _fatal: StopOnPanic }
    }

    fn slot(&mut self, id: WorkerId) -> Option<&mut Slot> {
        self.pools[id.pool.index()].slots.get_mut(id.index as usize)
    }

    /// Brings the number of a pool's workers to its target.
    fn adjust(&mut self, kind: PoolKind, ctx: &mut Context<Self>) {
        let pool = &mut self.pools[kind.index()];
        if self.stopping || pool.shrinking {
            return;
        }
        let (wanted, target) = (pool.slots.iter().filter(|slot| slot.wanted).count(), pool.target as usize);
        // Those that finish what they have are processes as well: there may be as many of them again (L9).
        let finishing = pool.slots.iter().filter(|slot| !slot.wanted && !slot.is_vacant()).count();
        let room = (2 * pool.settings.most as usize).saturating_sub(wanted + finishing);
        for _ in 0..target.saturating_sub(wanted).min(room) {
            let id = self.pools[kind.index()].vacancy(kind);
            self.start(id, ctx);
        }
        // Those that are not there yet are the first to go; of the others, the Dispatcher knows which.
        let (pool, mut over) = (&mut self.pools[kind.index()], wanted.saturating_sub(target));
        for slot in pool.slots.iter_mut().rev().filter(|slot| slot.wanted && !slot.is_ready()) {
            if over == 0 {
                break;
            }
            slot.give_up();
            over -= 1;
        }
        if over > 0 {
            pool.shrinking = true;
            self.dispatcher.do_send(Shrink { pool: kind, count: over });
        }
        self.publish(kind);
    }

    fn start(&mut self, id: WorkerId, ctx: &mut Context<Self>) {
        let neighbours = Neighbours {
            dispatcher: self.dispatcher.clone().recipient(),
            ready: ctx.address().recipient(),
            down: ctx.address().recipient(),
            bus: self.bus.clone(),
        };
        let pool = &mut self.pools[id.pool.index()];
        let settings = pool.settings;
        let Some(slot) = pool.slots.get_mut(id.index as usize) else { return };
        if self.stopping || !slot.wants_start() {
            return;
        }
        slot.generation = slot.generation.next();
        let me = WorkerRef { id, generation: slot.generation };
        let WorkerCapacity { slots, coroutines } = settings.capacity;
        let spec = LaunchSpec { worker: id, slots: small(slots), async_slots: small(coroutines) };
        let launched = self.launcher.launch(spec);
        let address = Worker::new(me, launched, settings.worker, neighbours).start();
        let incarnation = Incarnation { generation: slot.generation, address, ready: false };
        let place = if slot.present.is_none() { &mut slot.present } else { &mut slot.successor };
        *place = Some(incarnation);
    }

    fn start_after(&mut self, delay: Duration, id: WorkerId, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            self.start(id, ctx);
        } else {
            ctx.run_later(delay, move |supervisor, ctx| supervisor.start(id, ctx));
        }
    }

    /// Tells the Dispatcher how a pool is.
    fn publish(&self, kind: PoolKind) {
        let pool = &self.pools[kind.index()];
        let status = PoolStatus {
            target: pool.target as usize,
            starting: pool.slots.iter().filter(|slot| slot.wanted && !slot.is_ready()).count(),
            least: pool.settings.least as usize,
            most: pool.settings.most as usize,
            breaker: match pool.breaker.state() {
                BreakerState::Closed => None,
                BreakerState::Open { .. } => Some(TOO_OFTEN.to_owned()),
            },
            ..PoolStatus::default()
        };
        self.dispatcher.do_send(PoolChanged { pool: kind, status });
    }

    /// How long to wait before the next start after a worker's end, and what to tell the pool's tasks if
    /// that leaves them without any.
    fn judge(&mut self, down: &WorkerDown) -> (Duration, Option<StartFailure>) {
        let now = self.clock.now();
        let by_itself = matches!(
            down.departure.reason,
            WorkerDownReason::Exited(_) | WorkerDownReason::Protocol { .. } | WorkerDownReason::ActorPanicked
        );
        let breaker = &mut self.pools[down.worker.id.pool.index()].breaker;
        if by_itself && let Some(pause) = breaker.died(now) {
            tracing::warn!(pool = %down.worker.id.pool, ?pause, "the breaker opens: {TOO_OFTEN}");
        }
        // What the engine itself has ended is no sign of ill health and is replaced at once.
        let pause = Some(breaker.pause_left(now)).filter(|pause| by_itself && !pause.is_zero());
        let Some(slot) = self.slot(down.worker.id) else { return (Duration::ZERO, None) };
        let (delay, failure) = match &down.departure.reason {
            WorkerDownReason::Retired => return (Duration::ZERO, None),
            WorkerDownReason::StartFailed { definite, message } => (slot.starts.failed(*definite), message.clone()),
            reason => (slot.starts.ended(down.healthy), format!("it ended before it had run anything: {reason}")),
        };
        match pause {
            Some(pause) => {
                let words = format!("{TOO_OFTEN}: replacements wait for {pause:?}");
                (pause.max(delay), Some(StartFailure { breaker_open: true, words }))
            }
            None if slot.starts.is_failing() => {
                tracing::warn!(worker = %down.worker, ?delay, "a worker could not be started: {failure}");
                let words = format!("no worker can be started: {failure}");
                (delay, Some(StartFailure { breaker_open: false, words }))
            }
            None => (delay, None),
        }
    }

    /// Fails the tasks of a pool if none of its workers is ready and none is worth waiting for.
    fn fail_pool_if_unavailable(&self, pool: PoolKind, StartFailure { breaker_open, words }: &StartFailure) {
        let mut wanted = self.pools[pool.index()].slots.iter().filter(|slot| slot.wanted).peekable();
        let is_failing =
            |slot: &Slot| !slot.is_ready() && (slot.starts.is_failing() || (*breaker_open && slot.present.is_none()));
        if wanted.peek().is_some() && wanted.all(is_failing) {
            let error = TaskError::new(ErrorKind::WorkerStartFailed, format!("the {pool} pool is unhealthy: {words}"));
            self.dispatcher.do_send(PoolUnavailable { pool, error });
        }
    }

    fn all_gone(&mut self) {
        if self.pools.iter().flat_map(|pool| &pool.slots).all(Slot::is_vacant) {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dispatcher.do_send(RegisterSupervisor { supervisor: ctx.address().recipient() });
        for pool in PoolKind::ALL {
            self.adjust(pool, ctx);
        }
    }
}

impl Handler<WorkerReady> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerReady { worker, pid }: WorkerReady, _: &mut Self::Context) {
        let capacity = self.pools[worker.id.pool.index()].settings.capacity;
        let stopping = self.stopping;
        let Some(slot) = self.slot(worker.id) else { return };
        if !slot.becomes_ready(worker.generation) || stopping {
            return;
        }
        slot.starts.ready();
        if let Some(present) = &slot.present {
            let commands = present.address.clone().recipient();
            self.dispatcher.do_send(WorkerJoined { worker, capacity, pid, commands });
        }
        if self.pools[worker.id.pool.index()].breaker.ready(self.clock.now()) {
            tracing::info!(pool = %worker.id.pool, "the breaker closes: {worker} is ready");
        }
        self.publish(worker.id.pool);
    }
}

impl Handler<PoolRequest> for Supervisor {
    type Result = ();

    fn handle(&mut self, ask_supervisor: PoolRequest, ctx: &mut Self::Context) {
        match ask_supervisor {
            PoolRequest::Recycle(worker) => {
                let Some(slot) = self.slot(worker.id) else { return };
                if slot.is(worker.generation) {
                    slot.recycling = true;
                    self.start(worker.id, ctx);
                }
            }
            PoolRequest::Workers(kind, count) => {
                let pool = &mut self.pools[kind.index()];
                pool.target = pool.target.max(small(count)).min(pool.settings.most);
                self.adjust(kind, ctx);
            }
            PoolRequest::Fewer(kind, workers) => {
                self.pools[kind.index()].shrinking = false;
                for worker in workers {
                    let slot = self.slot(worker.id).filter(|slot| slot.is(worker.generation));
                    if let Some(slot) = slot {
                        slot.give_up();
                    }
                }
                self.adjust(kind, ctx);
            }
        }
    }
}

impl Handler<SetTarget> for Supervisor {
    type Result = ();

    fn handle(&mut self, SetTarget { pool: kind, workers }: SetTarget, ctx: &mut Self::Context) {
        let pool = &mut self.pools[kind.index()];
        pool.target = workers.clamp(pool.settings.least, pool.settings.most);
        self.adjust(kind, ctx);
    }
}

impl Handler<WorkerDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, down: WorkerDown, ctx: &mut Self::Context) {
        let (delay, failure) = self.judge(&down);
        let WorkerDown { worker, departure, .. } = down;
        let Some(slot) = self.slot(worker.id) else { return };
        slot.loses(worker.generation);
        let wanted = slot.wanted;
        // One that never joined is unknown there, and ignored.
        if !matches!(departure.reason, WorkerDownReason::StartFailed { .. }) {
            self.dispatcher.do_send(WorkerLeft { worker, departure });
        }
        if self.stopping {
            self.all_gone();
            return;
        }
        if let Some(failure) = failure {
            // After the departure, so that what it gives back fails, too.
            self.fail_pool_if_unavailable(worker.id.pool, &failure);
        }
        if wanted {
            self.start_after(delay, worker.id, ctx);
        }
        // A worker that was to go may have gone by itself, and one that was finishing makes room.
        self.adjust(worker.id.pool, ctx);
    }
}

impl Handler<StopWorkers> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopWorkers { reply }: StopWorkers, _: &mut Self::Context) {
        self.stopping = true;
        self.waiting.push(reply);
        for incarnation in self.pools.iter().flat_map(|pool| &pool.slots).flat_map(Slot::all) {
            incarnation.address.do_send(Retire);
        }
        self.all_gone();
    }
}

#[cfg(test)]
mod tests;
