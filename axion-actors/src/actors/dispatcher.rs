//! The Dispatcher: owns tasks, queues and waiters; decides with [`Scheduler`].

mod room;
mod status;
mod turn;
mod waiters;
mod workflows;

use std::sync::Arc;
use std::time::Duration;

use actix::WeakAddr;
use actix::prelude::*;
use futures_util::StreamExt;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use self::room::QueuedRoom;
use self::turn::PendingAnswer;
use self::waiters::{Waiter, Waiters};
use self::workflows::WorkflowManagerLink;
use super::StopOnPanic;
use super::admission::Admission;
use super::answer::Refusal;
use super::inbox::{Door, Inbox, Requests};
use super::messages::{
    GetLoads, Loads, Measured, PoolChanged, PoolRequest, PoolUnavailable, RegisterSupervisor, Reports, Request, Shrink,
    Submission, TimerDue, WorkerCommand, WorkerJoined, WorkerLeft, WorkflowRequest,
};
use super::timer::{ActorTimer, TimerDriver};
use crate::config::{Config, EngineKind};
use crate::model::{
    CancelAnswer, Clock, ContainmentKind, FactKind, HostLoad, PoolMap, PoolStatus, RefusalReason, Task, TaskError,
    TaskId, TaskProgress, Tick, WorkerProcess, WorkerRef,
};
use crate::policy::overload::Gauge;
use crate::policy::scheduler::Scheduler;
use crate::policy::task_table::{AcceptError, Expired, TaskKey, TaskLookup, TaskState};
use crate::process::{ProcessLoad, WallClockSet, WallClockWatch};
use crate::sequencer::Sequencer;

/// The actor that every task passes through.
pub struct Dispatcher {
    /// Dropped before everything that holds a waiter: whoever learns of the engine's end finds its doors closed (L1).
    _door: Door,
    scheduler: Scheduler,
    clock: Clock,
    admission: Arc<Admission>,
    sequencer: Sequencer,
    requests: Option<Requests>,
    workers: FxHashMap<WorkerRef, WorkerHandle>,
    /// What the Supervisor said of the pools.
    pools: PoolMap<PoolStatus>,
    /// The machine, as it was measured last.
    host: HostLoad,
    containment: ContainmentKind,
    gauge: Gauge,
    kind: EngineKind,
    /// Slots of each worker, by pool.
    slots: PoolMap<usize>,
    waiters: Waiters,
    /// Leave when the facts of the turn have been recorded.
    answers: Vec<PendingAnswer>,
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
    /// For the scheduler's next tick.
    timer: ActorTimer,
    _fatal: StopOnPanic,
}

/// Where a worker is reached, and what its process used when it was measured last.
struct WorkerHandle {
    commands: Recipient<WorkerCommand>,
    process: WorkerProcess,
    load: ProcessLoad,
}

impl Dispatcher {
    /// A dispatcher that takes `requests`, whose tasks have passed `admission`.
    #[must_use]
    pub fn new(
        scheduler: Scheduler,
        timers: &TimerDriver,
        admission: Arc<Admission>,
        sequencer: Sequencer,
        requests: Inbox,
        config: &Config,
    ) -> Self {
        let pools = config.pool_settings();
        let (door, requests) = requests.open();
        Self {
            _door: door,
            scheduler,
            clock: timers.clock(),
            admission,
            sequencer,
            requests: Some(requests),
            workers: FxHashMap::default(),
            // Until the Supervisor tells more: a pool without its workers has not started yet.
            pools: pools.map(|_, pool| {
                let (least, most) = (pool.workers.least as usize, pool.workers.most as usize);
                PoolStatus { kind: pool.kind, target: least, least, most, ..PoolStatus::default() }
            }),
            host: HostLoad::default(),
            containment: ContainmentKind::default(),
            gauge: Gauge::new(config.max_cpu_percent, config.max_memory_percent),
            kind: config.engine,
            slots: pools.map(|_, pool| pool.slots as usize),
            waiters: Waiters::default(),
            answers: Vec::new(),
            workflows: WorkflowManagerLink::default(),
            room: QueuedRoom::default(),
            drains: Vec::new(),
            cancelled: 0,
            supervisor: None,
            cancel_grace: config.cancel_grace,
            timer: timers.timer(),
            _fatal: StopOnPanic,
        }
    }

    /// Says in the status what keeps the descendants of the workers together.
    #[must_use]
    pub fn contained_by(self, containment: ContainmentKind) -> Self {
        Self { containment, ..self }
    }

    /// All tasks of a batch have been taken in: places them.
    fn place_all(&mut self, now: Tick) {
        self.scheduler.place_all(now);
    }

    fn submit(&mut self, Submission { task, units, reply, accepted }: Submission, now: Tick) {
        let id = task.id();
        let runs = self.take_in((task, units), Waiter::Handle(reply), now).unwrap_or(id);
        if let Some(accepted) = accepted {
            self.answers.push(PendingAnswer::Accepted(accepted, runs));
        }
    }

    /// Takes in a task that has passed the admission. Returns the one that runs instead, if there is one.
    fn take_in(&mut self, (task, units): (Task, u32), waiter: Waiter, now: Tick) -> Option<TaskId> {
        self.room.enter(units);
        let place = self.waiters.insert(waiter);
        let error = self.scheduler.submit(task, Some(place), now).err()?;
        let waiter = self.waiters.take_first(place)?;
        match error {
            AcceptError::Id => {
                self.admission.count_refusal(RefusalReason::DuplicateId);
                self.answers.push(PendingAnswer::Record(waiter, Err(Refusal::DuplicateId)));
                None
            }
            AcceptError::Unique(other) => {
                self.await_record(other, waiter);
                Some(other)
            }
        }
    }

    /// Has somebody wait for a task that was submitted before.
    fn await_record(&mut self, id: TaskId, waiter: Waiter) {
        let answer = match self.scheduler.table().find(id) {
            TaskLookup::Live(key) => return self.await_live(key, waiter),
            TaskLookup::Finished(record) => Ok(record),
            TaskLookup::Expired(Expired { at, why, .. }) => Err(Refusal::ResultExpired { at, why }),
            TaskLookup::Unknown => Err(Refusal::UnknownId),
        };
        match (waiter, answer) {
            // It may be a step's that has not been submitted.
            (Waiter::Handle(reply), Err(Refusal::UnknownId)) => {
                self.workflows.forward(WorkflowRequest::AwaitTask { id, reply });
            }
            (Waiter::Step(_) | Waiter::Workflow(_), Err(_)) => {}
            (waiter, answer) => self.answers.push(PendingAnswer::Record(waiter, answer)),
        }
    }

    /// Has the worker of a running task say how far it is. Where there is none, the sender is dropped, which says so.
    fn ask_for_progress(&self, id: TaskId, reply: oneshot::Sender<Option<TaskProgress>>) {
        let table = self.scheduler.table();
        let TaskLookup::Live(key) = table.find(id) else { return };
        if let Some(TaskState::Sent { worker, seq, .. }) = table.state(key)
            && let Some(handle) = self.workers.get(&worker)
        {
            handle.commands.do_send(WorkerCommand::TellProgress(seq, reply));
        }
    }

    fn await_live(&mut self, key: TaskKey, waiter: Waiter) {
        match self.scheduler.table().waiter(key) {
            Some(place) => self.waiters.add(place, waiter),
            None => {
                let place = self.waiters.insert(waiter);
                self.scheduler.table_mut().set_waiter(key, place);
            }
        }
    }

    fn cancel_all(&mut self, error: &TaskError, reply: oneshot::Sender<usize>, now: Tick) {
        self.cancelled += self.scheduler.table().live();
        self.scheduler.cancel_all(error, now);
        self.answers.push(PendingAnswer::CancelAll(reply, self.cancelled, self.workflows.cancel_all()));
    }

    /// One timer at a time, for what is due first, and none while nothing is (L10). A timer that
    /// turns out too early only looks again.
    fn arm(&mut self, ctx: &Context<Self>) {
        if let Some(next) = self.scheduler.next_tick() {
            self.timer.set(next, ctx);
        }
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
        match WallClockWatch::new() {
            Ok(watch) => drop(actix_rt::spawn(report_wall_clock(watch, ctx.address().downgrade()))),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the wall clock: `not_before` follows no change of it");
            }
        }
    }
}

/// Reports changes of the wall clock to the Dispatcher. It is not a stream of the Dispatcher's context, because actix
/// polls the whole context for each message.
async fn report_wall_clock(mut watch: WallClockWatch, dispatcher: WeakAddr<Dispatcher>) {
    while let Some(set) = watch.next().await {
        let Some(dispatcher) = dispatcher.upgrade() else { return };
        dispatcher.do_send(set);
    }
    tracing::warn!("the watch on the wall clock has ended: `not_before` follows no change of the clock any more");
}

impl Handler<WallClockSet> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: WallClockSet, ctx: &mut Context<Self>) {
        let epoch = self.clock.follow_wall_clock();
        self.decide(ctx, |scheduler, now| {
            if let Some(epoch) = epoch {
                scheduler.wall_clock_set(epoch, now);
            }
            scheduler.tick(now);
        });
    }
}

impl Handler<TimerDue> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: TimerDue, ctx: &mut Context<Self>) {
        self.decide(ctx, |scheduler, now| scheduler.tick(now));
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
                Request::Cancel(request) => {
                    match self.scheduler.cancel(request.by, request.id, self.cancel_grace, now) {
                        CancelAnswer::Unknown => self.workflows.forward(WorkflowRequest::CancelTask(request)),
                        answer => self.answers.push(PendingAnswer::Cancel(request.reply, answer)),
                    }
                }
                Request::Drain { reply } => self.drains.push(reply),
                Request::Status { reply } => status_requests.push(reply),
                Request::Progress { id, reply } => self.ask_for_progress(id, reply),
                Request::Workflow(request) => self.workflows.forward(request),
                Request::CancelAll { error, reply } => self.cancel_all(&error, reply, now),
            }
        }
        self.place_all(now);
        if !status_requests.is_empty() {
            let status = Arc::new(self.status(now));
            self.answers.push(PendingAnswer::Status(status_requests, status));
        }
        self.settle(ctx);
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
        let desk = WorkerHandle { commands: joined.commands, process: joined.process, load: ProcessLoad::default() };
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
        let now = self.begin();
        let before = self.gauge.now();
        let overload = self.gauge.read(host);
        let recorder = self.scheduler.table_mut().recorder();
        match (before, overload) {
            (None, Some(overload)) => {
                tracing::warn!("tasks are refused: {overload}");
                recorder.note(now, || overload.fact());
            }
            (Some(_), None) => {
                tracing::info!("tasks are taken again: the machine is less busy");
                recorder.note(now, || FactKind::OverloadEnded {});
            }
            _ => {}
        }
        let _recorded = self.record();
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
