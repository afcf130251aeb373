//! The Supervisor: owns which workers exist, their generations and their starts.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::dispatcher::Dispatcher;
use super::events::EventBus;
use super::messages::{
    Introduce, PoolUnavailable, Recycle, Retire, StopWorkers, WorkerDown, WorkerJoined, WorkerLeft, WorkerReady,
};
use super::worker::{Neighbours, Settings, Worker};
use crate::config::Config;
use crate::model::{Clock, ErrorKind, Generation, PoolKind, TaskError, WorkerDownReason, WorkerId, WorkerRef};
use crate::policy::restart::{Breaker, Starts};
use crate::process::{LaunchSpec, Launcher};

/// How often a worker's memory is looked at while it works, if somebody set a limit for it.
const MEASURE_EVERY: Duration = Duration::from_millis(100);

/// How many workers there are to be, and what they are told.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    pools: [PoolSettings; 2],
    max_restarts: u32,
    restart_window: Duration,
}

#[derive(Clone, Copy, Debug)]
struct PoolSettings {
    workers: u32,
    slots: u32,
    async_slots: u32,
    worker: Settings,
}

impl From<&Config> for WorkerSettings {
    fn from(config: &Config) -> Self {
        let pool = |pool| PoolSettings {
            workers: config.workers(pool),
            slots: config.slots(pool),
            async_slots: config.async_slots(pool),
            worker: Settings {
                start_timeout: config.start_timeout,
                stop_grace: config.stop_grace,
                output_limit: config.captured_output_limit,
                measure_every: config.worker(pool).measures_memory().then_some(MEASURE_EVERY),
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
    settings: WorkerSettings,
    breakers: [Breaker; 2],
    slots: Vec<Slot>,
    /// The engine is ending: no worker is started any more.
    stopping: bool,
    /// Get the answer when all workers are gone.
    waiting: Vec<oneshot::Sender<()>>,
    _fatal: StopOnPanic,
}

struct Slot {
    id: WorkerId,
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
struct Trouble {
    /// The pool's workers die too often, so that even a slot that could start has to wait.
    breaker_open: bool,
    /// For the pool's tasks and the log.
    words: String,
}

impl Slot {
    fn new(id: WorkerId) -> Self {
        Self {
            id,
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
        self.successor.is_none() && (self.present.is_none() || self.recycling)
    }

    fn is_ready(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.ready)
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
        let ids = PoolKind::ALL
            .into_iter()
            .flat_map(|pool| (0..settings.pools[pool.index()].workers).map(move |index| WorkerId { pool, index }));
        Self {
            launcher,
            dispatcher,
            bus,
            clock,
            breakers: PoolKind::ALL.map(|_| Breaker::new(settings.max_restarts, settings.restart_window)),
            slots: ids.map(Slot::new).collect(),
            settings,
            stopping: false,
            waiting: Vec::new(),
            _fatal: StopOnPanic,
        }
    }

    fn slot(&mut self, id: WorkerId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == id)
    }

    fn start(&mut self, id: WorkerId, ctx: &mut Context<Self>) {
        let settings = self.settings.pools[id.pool.index()];
        let neighbours = Neighbours {
            dispatcher: self.dispatcher.clone().recipient(),
            ready: ctx.address().recipient(),
            down: ctx.address().recipient(),
            bus: self.bus.clone(),
        };
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) else { return };
        if self.stopping || !slot.wants_start() {
            return;
        }
        slot.generation = slot.generation.next();
        let me = WorkerRef { id, generation: slot.generation };
        let launched =
            self.launcher.launch(LaunchSpec { worker: id, slots: settings.slots, async_slots: settings.async_slots });
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

    /// How long to wait before the next start after a worker's end, and what to tell the pool's tasks if
    /// that leaves them without any.
    fn judge(&mut self, down: &WorkerDown) -> (Duration, Option<Trouble>) {
        let now = self.clock.now();
        let by_itself = matches!(
            down.departure.reason,
            WorkerDownReason::Exited(_) | WorkerDownReason::Protocol { .. } | WorkerDownReason::ActorPanicked
        );
        let pause = if by_itself { self.breakers[down.worker.id.pool.index()].died(now) } else { None };
        let Some(slot) = self.slot(down.worker.id) else { return (Duration::ZERO, None) };
        let (delay, failure) = match &down.departure.reason {
            WorkerDownReason::StartFailed { definite, message } => (slot.starts.failed(*definite), message.clone()),
            reason => (slot.starts.ended(down.healthy), format!("it ended before it had run anything: {reason:?}")),
        };
        match pause {
            Some(pause) => {
                let words = format!(
                    "its workers die too often (`max_restarts`, `restart_window`): replacements wait for {pause:?}"
                );
                tracing::warn!(pool = %down.worker.id.pool, "the breaker opens: {words}");
                (pause.max(delay), Some(Trouble { breaker_open: true, words }))
            }
            None if slot.starts.hopeless() => {
                tracing::warn!(worker = %down.worker, ?delay, "a worker could not be started: {failure}");
                let words = format!("no worker can be started: {failure}");
                (delay, Some(Trouble { breaker_open: false, words }))
            }
            None => (delay, None),
        }
    }

    /// Fails the tasks of a pool if none of its workers is ready and none is worth waiting for.
    fn give_up_hope(&self, pool: PoolKind, Trouble { breaker_open, words }: &Trouble) {
        let mut of_pool = self.slots.iter().filter(|slot| slot.id.pool == pool);
        let hopeless =
            |slot: &Slot| !slot.is_ready() && (slot.starts.hopeless() || (*breaker_open && slot.present.is_none()));
        if of_pool.all(hopeless) {
            let error = TaskError::new(ErrorKind::WorkerStartFailed, format!("the {pool} pool is unhealthy: {words}"));
            self.dispatcher.do_send(PoolUnavailable { pool, error });
        }
    }

    fn all_gone(&mut self) {
        if self.slots.iter().all(|slot| slot.all().next().is_none()) {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dispatcher.do_send(Introduce { supervisor: ctx.address().recipient() });
        let ids: Vec<WorkerId> = self.slots.iter().map(|slot| slot.id).collect();
        for id in ids {
            self.start(id, ctx);
        }
    }
}

impl Handler<WorkerReady> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerReady { worker }: WorkerReady, _: &mut Self::Context) {
        let slots = self.settings.pools[worker.id.pool.index()].slots;
        let stopping = self.stopping;
        let Some(slot) = self.slot(worker.id) else { return };
        if !slot.becomes_ready(worker.generation) || stopping {
            return;
        }
        slot.starts.ready();
        if let Some(present) = &slot.present {
            let orders = present.address.clone().recipient();
            self.dispatcher.do_send(WorkerJoined { worker, slots, orders });
        }
    }
}

impl Handler<Recycle> for Supervisor {
    type Result = ();

    fn handle(&mut self, Recycle { worker }: Recycle, ctx: &mut Self::Context) {
        let Some(slot) = self.slot(worker.id) else { return };
        if slot.present.as_ref().is_some_and(|present| present.generation == worker.generation) {
            slot.recycling = true;
            self.start(worker.id, ctx);
        }
    }
}

impl Handler<WorkerDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, down: WorkerDown, ctx: &mut Self::Context) {
        let (delay, trouble) = self.judge(&down);
        let WorkerDown { worker, departure, .. } = down;
        let Some(slot) = self.slot(worker.id) else { return };
        slot.loses(worker.generation);
        // One that never joined is unknown there, and ignored.
        if !matches!(departure.reason, WorkerDownReason::StartFailed { .. }) {
            self.dispatcher.do_send(WorkerLeft { worker, departure });
        }
        if self.stopping {
            self.all_gone();
            return;
        }
        if let Some(trouble) = trouble {
            // After the departure, so that what it gives back fails, too.
            self.give_up_hope(worker.id.pool, &trouble);
        }
        self.start_after(delay, worker.id, ctx);
    }
}

impl Handler<StopWorkers> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopWorkers { reply }: StopWorkers, _: &mut Self::Context) {
        self.stopping = true;
        self.waiting.push(reply);
        for incarnation in self.slots.iter().flat_map(Slot::all) {
            incarnation.address.do_send(Retire);
        }
        self.all_gone();
    }
}
