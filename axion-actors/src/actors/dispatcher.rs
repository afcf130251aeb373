//! The Dispatcher: owns tasks, queues and waiters; decides with [`Scheduler`].

mod room;
mod status;
mod waiters;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use self::room::QueuedRoom;
use self::waiters::{Waiter, Waiters};
use self::workflows::WorkflowManagerLink;
use super::StopOnPanic;
use super::admission::Admission;
use super::answer::Refusal;
use super::events::EventBus;
use super::inbox::{Door, Inbox, Requests};
use super::messages::{
    GetLoads, Loads, Measured, PoolChanged, PoolRequest, PoolUnavailable, RegisterSupervisor, Reports, Request, Shrink,
    StepUpdate, Submission, WorkerCommand, WorkerJoined, WorkerLeft, WorkflowRequest,
};
use crate::config::{Config, EngineKind};
use crate::model::{
    CancelAnswer, Clock, HostLoad, PoolMap, PoolStatus, Task, TaskError, TaskId, TaskRecord, Tick, WorkerRef,
};
use crate::policy::overload::Gauge;
use crate::policy::scheduler::{Action, RunTask, Scheduler};
use crate::policy::task_table::{AcceptError, Expired, TaskKey, TaskLookup};
use crate::process::ProcessLoad;

/// The actor that every task passes through.
pub struct Dispatcher {
    /// Dropped before everything that holds a waiter: whoever learns of the engine's end finds its doors closed (L1).
    _door: Door,
    scheduler: Scheduler,
    clock: Clock,
    admission: Arc<Admission>,
    bus: EventBus,
    requests: Option<Requests>,
    workers: FxHashMap<WorkerRef, WorkerHandle>,
    /// What the Supervisor said of the pools.
    pools: PoolMap<PoolStatus>,
    /// The machine, as it was measured last.
    host: HostLoad,
    gauge: Gauge,
    kind: EngineKind,
    /// Slots of each worker, by pool.
    slots: PoolMap<usize>,
    waiters: Waiters,
    workflows: WorkflowManagerLink,
    /// What the tasks in our queues hold of the admission.
    room: QueuedRoom,
    drains: Vec<oneshot::Sender<()>>,
    /// Tasks that the engine's shutdown has cancelled.
    cancelled: usize,
    /// Whom to ask for workers.
    supervisor: Option<Recipient<PoolRequest>>,
    /// How long a cancelled task may take to stop by itself.
    cancel_grace: Duration,
    /// The timer for the scheduler's next tick, and when it is due.
    timer: Option<(Tick, SpawnHandle)>,
    _fatal: StopOnPanic,
}

/// Where a worker is reached, and what its process used when it was measured last.
struct WorkerHandle {
    commands: Recipient<WorkerCommand>,
    pid: u32,
    load: ProcessLoad,
}

impl Dispatcher {
    /// A dispatcher that takes `requests`, whose tasks have passed `admission`.
    #[must_use]
    pub fn new(
        scheduler: Scheduler,
        clock: Clock,
        admission: Arc<Admission>,
        bus: EventBus,
        requests: Inbox,
        config: &Config,
    ) -> Self {
        let pools = config.pool_settings();
        let (door, requests) = requests.open();
        Self {
            _door: door,
            scheduler,
            clock,
            admission,
            bus,
            requests: Some(requests),
            workers: FxHashMap::default(),
            pools: pools.map(|_, pool| PoolStatus { kind: pool.kind, ..PoolStatus::default() }),
            host: HostLoad::default(),
            gauge: Gauge::new(config.max_cpu_percent, config.max_memory_percent),
            kind: config.engine,
            slots: pools.map(|_, pool| pool.slots as usize),
            waiters: Waiters::default(),
            workflows: WorkflowManagerLink::default(),
            room: QueuedRoom::default(),
            drains: Vec::new(),
            cancelled: 0,
            supervisor: None,
            cancel_grace: config.cancel_grace,
            timer: None,
            _fatal: StopOnPanic,
        }
    }

    /// Lets the scheduler handle one event and carries out what it decides.
    fn decide(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Scheduler, Tick)) {
        let now = self.begin();
        event(&mut self.scheduler, now);
        self.settle(ctx);
    }

    /// Before anything happens to a task: events are recorded only while somebody watches.
    fn begin(&mut self) -> Tick {
        self.scheduler.table_mut().record_events(self.bus.is_watched());
        self.clock.now()
    }

    /// All tasks of a batch have been taken in: places them.
    fn place(&mut self, ctx: &mut Context<Self>, now: Tick) {
        self.scheduler.place_all(now);
        self.settle(ctx);
    }

    fn submit(&mut self, Submission { task, reply, accepted }: Submission, now: Tick) {
        let id = task.id();
        let runs = self.take_in(task, Waiter::Handle(reply), now).unwrap_or(id);
        if let Some(accepted) = accepted {
            let _ = accepted.send(runs);
        }
        if self.scheduler.has_actions() {
            self.carry_out();
        }
    }

    /// Takes in a task that has passed the admission. Returns the one that runs instead, if there is one.
    fn take_in(&mut self, task: Task, waiter: Waiter, now: Tick) -> Option<TaskId> {
        self.room.enter(self.admission.units_of(task.weight()));
        match self.scheduler.submit(task, now) {
            Ok(key) => {
                self.waiters.submitted(key, waiter);
                None
            }
            Err(AcceptError::Id) => {
                self.workflows.add_update(waiter.refuse(Refusal::DuplicateId));
                None
            }
            Err(AcceptError::Unique(other)) => {
                self.await_record(other, waiter);
                Some(other)
            }
        }
    }

    fn await_record(&mut self, id: TaskId, waiter: Waiter) {
        let answer = match self.scheduler.table().find(id) {
            TaskLookup::Live(_) => {
                self.waiters.add(id, waiter);
                return;
            }
            TaskLookup::Finished(record) => Ok(record),
            TaskLookup::Expired(Expired { at, why, .. }) => Err(Refusal::ResultExpired { at, why }),
            TaskLookup::Unknown => Err(Refusal::UnknownId),
        };
        match (waiter, answer) {
            // It may be a step's that has not been submitted.
            (Waiter::Handle(reply), Err(Refusal::UnknownId)) => {
                self.workflows.forward(WorkflowRequest::AwaitTask { id, reply })
            }
            (Waiter::Handle(reply), answer) => {
                reply.send(answer);
            }
            (waiter, Ok(record)) => self.workflows.add_update(waiter.resolve(&record)),
            (Waiter::Step(_) | Waiter::Workflow(_), Err(_)) => {}
        }
    }

    fn cancel_all(&mut self, error: &TaskError, reply: oneshot::Sender<usize>, now: Tick) {
        self.cancelled += self.scheduler.table().live();
        self.scheduler.cancel_all(error, now);
        let answer = self.cancelled;
        let Some(is_done) = self.workflows.cancel_all() else {
            let _ = reply.send(answer);
            return;
        };
        // The answer comes when the workflows have ended, too.
        actix_rt::spawn(async move {
            let _ = is_done.await;
            let _ = reply.send(answer);
        });
    }

    fn settle(&mut self, ctx: &mut Context<Self>) {
        for event in self.scheduler.table_mut().take_events() {
            self.bus.send(event);
        }
        self.carry_out();
        self.give_room_back();
        self.workflows.send_updates();
        if self.scheduler.table().live() == 0 && !self.workflows.are_any() {
            for drained in self.drains.drain(..) {
                let _ = drained.send(());
            }
        }
        self.arm(ctx);
    }

    /// Tells workflows that their tasks are with a worker.
    fn note_starts(&mut self, tasks: &[RunTask]) {
        if self.workflows.are_any() {
            for step in tasks.iter().filter_map(|task| self.waiters.step(task.key)) {
                self.workflows.add_update(Some(StepUpdate::Started(step)));
            }
        }
    }

    fn carry_out(&mut self) {
        for action in self.scheduler.take_actions() {
            match action {
                Action::Run { worker, tasks } => {
                    self.note_starts(&tasks);
                    self.command(worker, WorkerCommand::Run(tasks));
                }
                Action::Revoke { worker, seqs } => self.command(worker, WorkerCommand::Revoke(seqs)),
                Action::Interrupt { worker, seq } => self.command(worker, WorkerCommand::Interrupt(seq)),
                Action::Cancel { worker, seq } => self.command(worker, WorkerCommand::Cancel(seq)),
                Action::Kill { worker, seq, reason } => self.command(worker, WorkerCommand::Kill(seq, reason)),
                Action::Recycle { worker, reason } => self.ask_supervisor(PoolRequest::Recycle(worker, reason)),
                Action::Call { pool, workers } => self.ask_supervisor(PoolRequest::Workers(pool, workers)),
                Action::Release { pool, workers } => self.ask_supervisor(PoolRequest::Fewer(pool, workers)),
                Action::Retire { worker } => self.command(worker, WorkerCommand::Retire),
                Action::Finished { key, record } => self.deliver(key, &record),
            }
        }
    }

    /// Tasks that have gone to workers, or ended, give their room back.
    fn give_room_back(&mut self) {
        let (places, units) = self.room.spare(self.scheduler.table().waiting());
        if places > 0 || units > 0 {
            self.admission.leave(places, units);
        }
    }

    fn ask_supervisor(&self, ask_supervisor: PoolRequest) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(ask_supervisor);
        }
    }

    /// A worker that is gone gets nothing; its departure is on its way and brings the tasks back.
    fn command(&self, worker: WorkerRef, command: WorkerCommand) {
        if let Some(desk) = self.workers.get(&worker) {
            desk.commands.do_send(command);
        }
    }

    fn deliver(&mut self, key: TaskKey, record: &Arc<TaskRecord>) {
        for waiter in self.waiters.take(key, record.id, self.workflows.are_any()) {
            self.workflows.add_update(waiter.resolve(record));
        }
    }

    /// One timer at a time, for what is due first, and none while nothing is (L10). A timer that
    /// turns out too early only looks again.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.scheduler.next_tick() else { return };
        match self.timer {
            Some((due, _)) if due <= next => return,
            Some((_, running)) => {
                ctx.cancel_future(running);
            }
            None => {}
        }
        let delay = next.since(self.clock.now());
        let timer = ctx.run_later(delay, |actor, ctx| {
            actor.timer = None;
            actor.decide(ctx, |scheduler, now| scheduler.tick(now));
        });
        self.timer = Some((next, timer));
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.requests.take().map(Requests::into_batches) {
            Some(Ok(batches)) => {
                ctx.add_stream(batches);
            }
            Some(Err(error)) => panic!("the runtime cannot watch the inbox: {error}"),
            None => {}
        }
    }
}

impl StreamHandler<Vec<Request>> for Dispatcher {
    fn handle(&mut self, batch: Vec<Request>, ctx: &mut Self::Context) {
        let now = self.begin();
        // However many ask at a time, they get the same answer: what they ask after is what the batch has
        // come to.
        let mut status_requests = Vec::new();
        for request in batch {
            match request {
                Request::Submit(submission) => self.submit(submission, now),
                Request::SubmitMany(submissions) => {
                    for submission in submissions {
                        self.submit(submission, now);
                    }
                }
                Request::Await { id, reply } => self.await_record(id, Waiter::Handle(reply)),
                Request::Cancel { id, reply } => match self.scheduler.cancel(id, self.cancel_grace, now) {
                    CancelAnswer::Unknown => self.workflows.forward(WorkflowRequest::CancelTask { id, reply }),
                    answer => drop(reply.send(answer)),
                },
                Request::Withdraw { id, reply } => {
                    if self.scheduler.table().has(id) {
                        let _ = reply.send(self.scheduler.withdraw(id, now));
                    } else {
                        self.workflows.forward(WorkflowRequest::WithdrawTask { id, reply });
                    }
                }
                Request::Drain { reply } => self.drains.push(reply),
                Request::Status { reply } => status_requests.push(reply),
                Request::Workflow(request) => self.workflows.forward(request),
                Request::CancelAll { error, reply } => self.cancel_all(&error, reply, now),
            }
            if self.scheduler.has_actions() {
                self.carry_out();
            }
        }
        self.place(ctx, now);
        if !status_requests.is_empty() {
            let status = Arc::new(self.status(now));
            for reply in status_requests {
                let _ = reply.send(status.clone());
            }
        }
    }

    /// All senders are gone: the engine has been dropped and will stop the system.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<RegisterSupervisor> for Dispatcher {
    type Result = ();

    fn handle(&mut self, RegisterSupervisor { supervisor }: RegisterSupervisor, _: &mut Self::Context) {
        self.supervisor = Some(supervisor);
    }
}

impl Handler<WorkerJoined> for Dispatcher {
    type Result = ();

    fn handle(&mut self, joined: WorkerJoined, ctx: &mut Self::Context) {
        let desk = WorkerHandle { commands: joined.commands, pid: joined.pid, load: ProcessLoad::default() };
        self.workers.insert(joined.worker, desk);
        self.decide(ctx, |scheduler, now| scheduler.joined(joined.worker, joined.capacity, now));
    }
}

impl Handler<WorkerLeft> for Dispatcher {
    type Result = ();

    fn handle(&mut self, left: WorkerLeft, ctx: &mut Self::Context) {
        self.workers.remove(&left.worker);
        self.decide(ctx, |scheduler, now| scheduler.left(left.worker, left.departure, now));
    }
}

impl Handler<Reports> for Dispatcher {
    type Result = ();

    fn handle(&mut self, reports: Reports, ctx: &mut Self::Context) {
        self.decide(ctx, |scheduler, now| scheduler.reported(reports.worker, reports.reports, now));
    }
}

impl Handler<Shrink> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Shrink { pool, count }: Shrink, ctx: &mut Self::Context) {
        self.decide(ctx, |scheduler, now| scheduler.shrink(pool, count, now));
    }
}

impl Handler<PoolChanged> for Dispatcher {
    type Result = ();

    fn handle(&mut self, PoolChanged { pool, status }: PoolChanged, ctx: &mut Self::Context) {
        let (target, most) = (status.target, status.most);
        self.pools.insert(pool, status);
        // Whom a waiting task had called for may have been given up before it was there.
        self.decide(ctx, |scheduler, now| scheduler.resized(pool, target, most, now));
    }
}

impl Handler<Measured> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Measured { host, workers }: Measured, _: &mut Self::Context) {
        self.host = host;
        for (worker, load) in workers {
            if let Some(desk) = self.workers.get_mut(&worker) {
                desk.load = load;
                self.scheduler.busy(worker, load.cpu);
            }
        }
        let before = self.gauge.now();
        let overload = self.gauge.read(host);
        match (before, overload) {
            (None, Some(overload)) => tracing::warn!("tasks are refused: {overload}"),
            (Some(_), None) => tracing::info!("tasks are taken again: the machine is less busy"),
            _ => {}
        }
        self.admission.set_overload(overload);
    }
}

impl Handler<GetLoads> for Dispatcher {
    type Result = Loads;

    fn handle(&mut self, _: GetLoads, _: &mut Self::Context) -> Loads {
        self.loads()
    }
}

impl Handler<PoolUnavailable> for Dispatcher {
    type Result = ();

    fn handle(&mut self, unavailable: PoolUnavailable, ctx: &mut Self::Context) {
        self.decide(ctx, |scheduler, now| scheduler.unavailable(unavailable.pool, unavailable.error, now));
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Handler<super::messages::Panic> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: super::messages::Panic, _: &mut Self::Context) {
        panic!("asked to, by a test");
    }
}
