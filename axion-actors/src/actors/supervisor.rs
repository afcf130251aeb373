//! The Supervisor: starts and retires the workers that [`PoolSupervisor`] decides on.

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::dispatcher::Dispatcher;
use super::messages::{
    GetProcesses, PoolChanged, PoolRequest, PoolUnavailable, RegisterSupervisor, Retire, SetTarget, Shrink,
    StopWorkers, TimerDue, WorkerDown, WorkerJoined, WorkerLeft, WorkerReady,
};
use super::timer::{ActorTimer, TimerDriver};
use super::worker::{Neighbours, Settings, Worker};
use crate::config::Config;
use crate::model::{Clock, DisplayDuration, FactKind, PoolMap, TargetCause, Tick, WorkerProcess, WorkerRef};
use crate::policy::liveness::Patience;
use crate::policy::pool_supervisor::{PoolSupervisor, SupervisorAction, TOO_OFTEN};
use crate::policy::recorder::Recorder;
use crate::policy::scheduler::WorkerCapacity;
use crate::process::{LaunchSpec, Launcher};
use crate::sequencer::{Recorded, Sequencer};

/// The settings with which the workers of one pool start.
#[derive(Clone, Copy, Debug)]
struct WorkerStart {
    capacity: WorkerCapacity,
    settings: Settings,
}

/// The actor that keeps the workers alive.
pub struct Supervisor {
    policy: PoolSupervisor,
    launcher: Box<dyn Launcher>,
    dispatcher: Addr<Dispatcher>,
    sequencer: Sequencer,
    recorder: Recorder,
    clock: Clock,
    timers: TimerDriver,
    timer: ActorTimer,
    starts: PoolMap<WorkerStart>,
    /// The workers that are not down.
    workers: FxHashMap<WorkerRef, Addr<Worker>>,
    /// The processes of the ready workers.
    processes: FxHashMap<WorkerRef, u32>,
    /// The replies to send when all workers are gone.
    waiting: Vec<oneshot::Sender<()>>,
    _fatal: StopOnPanic,
}

/// Converts a number that the configuration bounds.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Supervisor {
    /// Creates a supervisor, which starts its workers with `launcher` when it is started itself.
    #[must_use]
    pub fn new(
        launcher: Box<dyn Launcher>,
        dispatcher: Addr<Dispatcher>,
        sequencer: Sequencer,
        timers: TimerDriver,
        config: &Config,
    ) -> Self {
        let pools = config.pool_settings();
        let starts = pools.map(|_, pool| WorkerStart {
            capacity: WorkerCapacity::local(pool.slots as usize, pool.coroutines as usize),
            settings: Settings {
                start_timeout: config.start_timeout,
                stop_grace: config.stop_grace,
                output_limit: config.captured_output_limit,
                measure_every: pool.worker.lowest_memory_limit().map(|_| config.health_check_interval),
                patience: Patience::default(),
            },
        });
        Self {
            policy: PoolSupervisor::new(&pools, config.max_restarts, config.restart_window),
            launcher,
            dispatcher,
            sequencer,
            recorder: Recorder::default(),
            clock: timers.clock(),
            timer: timers.timer(),
            timers,
            starts,
            workers: FxHashMap::default(),
            processes: FxHashMap::default(),
            waiting: Vec::new(),
            _fatal: StopOnPanic,
        }
    }

    /// Lets the policy handle one event and carries out what it decides.
    fn decide(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut PoolSupervisor, Tick)) {
        let now = self.clock.now();
        event(&mut self.policy, now);
        let actions = self.policy.take_actions();
        let recorded = self.record(&actions, now);
        for action in actions {
            self.carry_out(action, &recorded, ctx);
        }
        if let Some(at) = self.policy.next_tick() {
            self.timer.set(at, ctx);
        }
    }

    /// Records the facts of a turn's decisions (L13).
    fn record(&mut self, actions: &[SupervisorAction], now: Tick) -> Recorded {
        self.recorder.begin(self.sequencer.is_subscribed());
        for kind in actions.iter().filter_map(SupervisorAction::fact) {
            self.recorder.note(now, || kind);
        }
        self.sequencer.record(self.recorder.take())
    }

    fn carry_out(&mut self, action: SupervisorAction, _: &Recorded, ctx: &mut Context<Self>) {
        match action {
            SupervisorAction::Launch { worker, .. } => self.launch(worker, ctx),
            SupervisorAction::Retire { worker, .. } => {
                if let Some(address) = self.workers.get(&worker) {
                    address.do_send(Retire);
                }
            }
            SupervisorAction::StartDelayed { slot, delay } => {
                tracing::debug!(%slot, ?delay, "a start waits");
            }
            SupervisorAction::Joined { worker, pid } => self.introduce(worker, pid),
            SupervisorAction::Left { worker, departure } => self.dispatcher.do_send(WorkerLeft { worker, departure }),
            SupervisorAction::Shrink { pool, count } => self.dispatcher.do_send(Shrink { pool, count }),
            SupervisorAction::Changed { pool, status } => self.dispatcher.do_send(PoolChanged { pool, status }),
            SupervisorAction::Unavailable { pool, error } => self.dispatcher.do_send(PoolUnavailable { pool, error }),
            SupervisorAction::Target { pool, from, to, cause } => {
                tracing::debug!(%pool, from, to, %cause, "another number of workers");
            }
            SupervisorAction::StartFailed { worker, failure, delay } => {
                tracing::warn!(%worker, ?delay, "a worker could not be started: {failure}");
            }
            SupervisorAction::BreakerOpened { pool, pause, .. } => {
                tracing::warn!(%pool, pause = %DisplayDuration(pause), "the breaker opens: {TOO_OFTEN}");
            }
            SupervisorAction::BreakerClosed { by } => {
                tracing::info!(pool = %by.id.pool, "the breaker closes: {by} is ready");
            }
            SupervisorAction::Stopped => {
                for reply in self.waiting.drain(..) {
                    let _ = reply.send(());
                }
            }
        }
    }

    fn launch(&mut self, worker: WorkerRef, ctx: &mut Context<Self>) {
        let neighbours = Neighbours {
            dispatcher: self.dispatcher.clone().recipient(),
            ready: ctx.address().recipient(),
            down: ctx.address().recipient(),
            sequencer: self.sequencer.clone(),
            timers: self.timers.clone(),
        };
        let WorkerStart { capacity: WorkerCapacity { slots, coroutines, .. }, settings } = self.starts[worker.id.pool];
        let spec = LaunchSpec { worker: worker.id, slots: narrow(slots), async_slots: narrow(coroutines) };
        let address = Worker::new(worker, self.launcher.launch(spec), settings, neighbours).start();
        self.workers.insert(worker, address);
    }

    /// Makes a worker known to the Dispatcher.
    fn introduce(&self, worker: WorkerRef, pid: u32) {
        if let Some(address) = self.workers.get(&worker) {
            let (capacity, commands) = (self.starts[worker.id.pool].capacity, address.clone().recipient());
            let process = WorkerProcess { pid };
            self.dispatcher.do_send(WorkerJoined { worker, capacity, process, commands });
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dispatcher.do_send(RegisterSupervisor { supervisor: ctx.address().recipient() });
        let now = self.clock.now();
        for (pool, workers) in self.policy.targets() {
            let cause = TargetCause::Configured;
            self.sequencer.record_one(now, || FactKind::PoolTarget { pool, workers, cause });
        }
        self.decide(ctx, |policy, _| policy.begin());
    }
}

impl Handler<WorkerReady> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerReady { worker, pid, python }: WorkerReady, ctx: &mut Self::Context) {
        self.sequencer.record_one(self.clock.now(), || FactKind::WorkerReady { worker, pid, python });
        self.processes.insert(worker, pid);
        self.decide(ctx, |policy, now| policy.ready(worker, pid, now));
    }
}

impl Handler<GetProcesses> for Supervisor {
    type Result = Vec<(WorkerRef, u32)>;

    fn handle(&mut self, _: GetProcesses, _: &mut Self::Context) -> Self::Result {
        self.processes.iter().map(|(worker, pid)| (*worker, *pid)).collect()
    }
}

impl Handler<PoolRequest> for Supervisor {
    type Result = ();

    fn handle(&mut self, request: PoolRequest, ctx: &mut Self::Context) {
        self.decide(ctx, |policy, _| match request {
            PoolRequest::Recycle(worker, reason) => policy.recycle(worker, reason),
            PoolRequest::Workers(pool, count) => policy.require(pool, count),
            PoolRequest::Fewer(pool, workers) => policy.release(pool, &workers),
        });
    }
}

impl Handler<SetTarget> for Supervisor {
    type Result = ();

    fn handle(&mut self, SetTarget { pool, workers, rule }: SetTarget, ctx: &mut Self::Context) {
        self.decide(ctx, |policy, _| policy.set_target(pool, workers, rule));
    }
}

impl Handler<WorkerDown> for Supervisor {
    type Result = ();

    fn handle(&mut self, WorkerDown { worker, departure, healthy }: WorkerDown, ctx: &mut Self::Context) {
        let reason = || departure.reason.clone();
        self.sequencer.record_one(self.clock.now(), || FactKind::WorkerDown { worker, reason: reason() });
        self.workers.remove(&worker);
        self.processes.remove(&worker);
        self.decide(ctx, |policy, now| policy.down(worker, departure, healthy, now));
    }
}

impl Handler<TimerDue> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: TimerDue, ctx: &mut Self::Context) {
        self.decide(ctx, PoolSupervisor::tick);
    }
}

impl Handler<StopWorkers> for Supervisor {
    type Result = ();

    fn handle(&mut self, StopWorkers { reply }: StopWorkers, ctx: &mut Self::Context) {
        self.waiting.push(reply);
        self.decide(ctx, |policy, _| policy.stop());
    }
}

#[cfg(test)]
mod tests;
