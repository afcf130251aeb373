//! The Supervisor: owns which workers exist, their generations and their starts.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::dispatcher::Dispatcher;
use super::events::EventBus;
use super::messages::{PoolUnavailable, Retire, StopWorkers, WorkerDown, WorkerJoined, WorkerLeft, WorkerReady};
use super::worker::{Neighbours, Settings, Worker};
use crate::config::Config;
use crate::model::{ErrorKind, Generation, PoolKind, TaskError, WorkerDownReason, WorkerId, WorkerRef};
use crate::policy::restart::Starts;
use crate::process::{LaunchSpec, Launcher};

/// How many workers there are to be, and what they are told.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Workers and slots of each, by pool.
    pools: [(u32, u32); 2],
    worker: Settings,
}

impl From<&Config> for WorkerSettings {
    fn from(config: &Config) -> Self {
        Self {
            pools: PoolKind::ALL.map(|pool| (config.workers(pool), config.slots(pool))),
            worker: Settings {
                start_timeout: config.start_timeout,
                stop_grace: config.stop_grace,
                output_limit: config.captured_output_limit,
            },
        }
    }
}

/// The actor that keeps the workers alive.
pub struct Supervisor {
    launcher: Box<dyn Launcher>,
    dispatcher: Addr<Dispatcher>,
    bus: EventBus,
    settings: WorkerSettings,
    slots: Vec<Slot>,
    /// The engine is ending: no worker is started any more.
    stopping: bool,
    /// Get the answer when all workers are gone.
    waiting: Vec<oneshot::Sender<()>>,
    _fatal: StopOnPanic,
}

struct Slot {
    id: WorkerId,
    /// Of the present worker, or of the last one.
    generation: Generation,
    starts: Starts,
    state: SlotState,
}

enum SlotState {
    Starting(Addr<Worker>),
    Ready(Addr<Worker>),
    /// Between two workers.
    Waiting,
}

impl Supervisor {
    /// A supervisor that starts its workers with `launcher` when it is started itself.
    #[must_use]
    pub fn new(
        launcher: Box<dyn Launcher>,
        dispatcher: Addr<Dispatcher>,
        bus: EventBus,
        settings: WorkerSettings,
    ) -> Self {
        let ids = PoolKind::ALL.into_iter().flat_map(|pool| {
            let (count, _) = settings.pools[pool.index()];
            (0..count).map(move |index| WorkerId { pool, index })
        });
        let slot = |id| Slot { id, generation: Generation(0), starts: Starts::default(), state: SlotState::Waiting };
        let slots = ids.map(slot).collect();
        Self { launcher, dispatcher, bus, settings, slots, stopping: false, waiting: Vec::new(), _fatal: StopOnPanic }
    }

    fn slot(&mut self, worker: WorkerRef) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.id == worker.id && slot.generation == worker.generation)
    }

    fn start(&mut self, id: WorkerId, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) else {
            return;
        };
        slot.generation = slot.generation.next();
        let me = WorkerRef { id, generation: slot.generation };
        let (_, slots) = self.settings.pools[id.pool.index()];
        let launched = self.launcher.launch(LaunchSpec { worker: id, slots });
        let neighbours = Neighbours {
            dispatcher: self.dispatcher.clone().recipient(),
            ready: ctx.address().recipient(),
            down: ctx.address().recipient(),
            bus: self.bus.clone(),
        };
        slot.state = SlotState::Starting(Worker::new(me, launched, self.settings.worker, neighbours).start());
    }

    fn start_after(&mut self, delay: Duration, id: WorkerId, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            self.start(id, ctx);
        } else {
            ctx.run_later(delay, move |supervisor, ctx| supervisor.start(id, ctx));
        }
    }

    /// Fails the tasks of a pool if none of its workers is ready and none is worth waiting for.
    fn give_up_hope(&self, pool: PoolKind, reason: &str) {
        let of_pool = || self.slots.iter().filter(|slot| slot.id.pool == pool);
        // After the departure, so that what it gives back is failed, too.
        let hopeless = |slot: &Slot| slot.starts.hopeless() && !matches!(slot.state, SlotState::Ready(_));
        if of_pool().all(hopeless) {
            let message = format!("no {pool} worker can be started: {reason}");
            let error = TaskError::new(ErrorKind::WorkerStartFailed, message);
            self.dispatcher.do_send(PoolUnavailable { pool, error });
        }
    }

    fn all_gone(&mut self) {
        if self.slots.iter().all(|slot| matches!(slot.state, SlotState::Waiting)) {
            for reply in self.waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let ids: Vec<WorkerId> = self.slots.iter().map(|slot| slot.id).collect();
        for id in ids {
            self.start(id, ctx);
        }
    }
}

impl Handler<WorkerReady> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerReady { worker }: WorkerReady, _: &mut Self::Context) {
        let (_, slots) = self.settings.pools[worker.id.pool.index()];
        let Some(slot) = self.slot(worker) else {
            return;
        };
        let SlotState::Starting(address) = &slot.state else {
            return;
        };
        let address = address.clone();
        slot.starts.ready();
        slot.state = SlotState::Ready(address.clone());
        self.dispatcher.do_send(WorkerJoined { worker, slots, orders: address.recipient() });
    }
}

impl Handler<WorkerDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerDown { worker, departure, healthy }: WorkerDown, ctx: &mut Self::Context) {
        let Some(slot) = self.slot(worker) else {
            return;
        };
        let was = std::mem::replace(&mut slot.state, SlotState::Waiting);
        let (delay, failure) = match &departure.reason {
            WorkerDownReason::StartFailed { definite, message } => (slot.starts.failed(*definite), message.clone()),
            reason => (slot.starts.ended(healthy), format!("it ended before it had run anything: {reason:?}")),
        };
        if slot.starts.hopeless() && !self.stopping {
            tracing::warn!(%worker, ?delay, "a worker could not be started: {failure}");
        }
        if matches!(was, SlotState::Ready(_)) {
            self.dispatcher.do_send(WorkerLeft { worker, departure });
        }
        if !self.stopping {
            self.give_up_hope(worker.id.pool, &failure);
        }
        if self.stopping {
            self.all_gone();
        } else {
            self.start_after(delay, worker.id, ctx);
        }
    }
}

impl Handler<StopWorkers> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopWorkers { reply }: StopWorkers, _: &mut Self::Context) {
        self.stopping = true;
        self.waiting.push(reply);
        for slot in &self.slots {
            if let SlotState::Starting(worker) | SlotState::Ready(worker) = &slot.state {
                worker.do_send(Retire);
            }
        }
        self.all_gone();
    }
}
