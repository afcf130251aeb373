//! The Dispatcher: owns tasks, queues and waiters; decides with [`Scheduler`].

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use rustc_hash::FxHashMap;
use slotmap::SecondaryMap;
use tokio::sync::oneshot;

use super::StopOnPanic;
use super::admission::Admission;
use super::events::EventBus;
use super::inbox::Inbox;
use super::messages::{
    Await, CancelAll, Drain, Order, PoolUnavailable, Refusal, Reply, Reports, Submission, WorkerJoined, WorkerLeft,
};
use crate::model::{Clock, TaskRecord, Tick, WorkerRef};
use crate::policy::scheduler::{Action, Scheduler};
use crate::policy::task_table::{Duplicate, Found, TaskKey};

/// The actor that every task passes through.
pub struct Dispatcher {
    scheduler: Scheduler,
    clock: Clock,
    admission: Arc<Admission>,
    bus: EventBus,
    submissions: Option<Inbox>,
    workers: FxHashMap<WorkerRef, Recipient<Order>>,
    waiters: SecondaryMap<TaskKey, Reply>,
    more_waiters: SecondaryMap<TaskKey, Vec<Reply>>,
    /// Places of the admission that tasks in our queues hold.
    places: usize,
    drains: Vec<oneshot::Sender<()>>,
    /// A timer for the scheduler's next tick is running.
    timed: bool,
    _fatal: StopOnPanic,
}

impl Dispatcher {
    /// A dispatcher that takes `submissions`, each of which has passed `admission`.
    #[must_use]
    pub fn new(
        scheduler: Scheduler,
        clock: Clock,
        admission: Arc<Admission>,
        bus: EventBus,
        submissions: Inbox,
    ) -> Self {
        Self {
            scheduler,
            clock,
            admission,
            bus,
            submissions: Some(submissions),
            workers: FxHashMap::default(),
            waiters: SecondaryMap::new(),
            more_waiters: SecondaryMap::new(),
            places: 0,
            drains: Vec::new(),
            timed: false,
            _fatal: StopOnPanic,
        }
    }

    /// Lets the scheduler handle one event and carries out what it decides.
    fn decide<R>(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Scheduler, Tick) -> R) -> R {
        self.scheduler.table_mut().record_events(self.bus.is_watched());
        let result = event(&mut self.scheduler, self.clock.now());
        self.settle(ctx);
        result
    }

    fn settle(&mut self, ctx: &mut Context<Self>) {
        for event in self.scheduler.table_mut().take_events() {
            self.bus.send(event);
        }
        for action in self.scheduler.take_actions() {
            match action {
                Action::Run { worker, tasks } => self.order(worker, Order::Run(tasks)),
                Action::Revoke { worker, seqs } => self.order(worker, Order::Revoke(seqs)),
                Action::Finished { key, record } => self.deliver(key, &record),
            }
        }
        let queued = self.scheduler.queued();
        if self.places > queued {
            self.admission.leave(self.places - queued);
            self.places = queued;
        }
        if self.scheduler.table().live() == 0 {
            for drained in self.drains.drain(..) {
                let _ = drained.send(());
            }
        }
        self.arm(ctx);
    }

    /// A worker that is gone gets nothing; its departure is on its way and brings the tasks back.
    fn order(&self, worker: WorkerRef, order: Order) {
        if let Some(orders) = self.workers.get(&worker) {
            orders.do_send(order);
        }
    }

    fn deliver(&mut self, key: TaskKey, record: &Arc<TaskRecord>) {
        let more = self.more_waiters.remove(key).unwrap_or_default();
        // Nobody may be waiting any more; the record is kept all the same.
        for reply in self.waiters.remove(key).into_iter().chain(more) {
            let _ = reply.send(Ok(record.clone()));
        }
    }

    /// One timer at a time, and none while nothing is sent ahead (L10).
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(next) = self.scheduler.next_tick().filter(|_| !self.timed) else {
            return;
        };
        self.timed = true;
        let delay = next.since(self.clock.now()).max(Duration::from_millis(1));
        ctx.run_later(delay, |actor, ctx| {
            actor.timed = false;
            actor.decide(ctx, |scheduler, now| scheduler.tick(now));
        });
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.submissions.take().map(Inbox::into_batches) {
            Some(Ok(batches)) => {
                ctx.add_stream(batches);
            }
            Some(Err(error)) => panic!("the runtime cannot watch the inbox: {error}"),
            None => {}
        }
    }
}

impl StreamHandler<Vec<Submission>> for Dispatcher {
    fn handle(&mut self, batch: Vec<Submission>, ctx: &mut Self::Context) {
        self.places += batch.len();
        let mut pools = [None; 2];
        let Self { waiters, .. } = self;
        let waiters = std::mem::take(waiters);
        let waiters = self.decide(ctx, |scheduler, now| {
            let mut waiters = waiters;
            for Submission { task, reply } in batch {
                let pool = task.pool();
                match scheduler.submit(task, now) {
                    Ok(key) => {
                        waiters.insert(key, reply);
                        pools[pool.index()] = Some(pool);
                    }
                    Err(Duplicate) => {
                        let _ = reply.send(Err(Refusal::DuplicateId));
                    }
                }
            }
            for pool in pools.into_iter().flatten() {
                scheduler.place(pool, now);
            }
            waiters
        });
        self.waiters = waiters;
    }

    /// All handles are gone; the shutdown comes as a message.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<WorkerJoined> for Dispatcher {
    type Result = ();

    fn handle(&mut self, joined: WorkerJoined, ctx: &mut Self::Context) {
        self.workers.insert(joined.worker, joined.orders);
        self.decide(ctx, |scheduler, now| scheduler.joined(joined.worker, joined.slots as usize, now));
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

impl Handler<PoolUnavailable> for Dispatcher {
    type Result = ();

    fn handle(&mut self, unavailable: PoolUnavailable, ctx: &mut Self::Context) {
        self.decide(ctx, |scheduler, now| scheduler.unavailable(unavailable.pool, unavailable.error, now));
    }
}

impl Handler<Await> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Await { id, reply }: Await, _: &mut Self::Context) {
        match self.scheduler.table().find(id) {
            Found::Live(key) => match self.more_waiters.get_mut(key) {
                Some(waiters) => {
                    // Waiters that gave up make room for new ones, so that asking again and again
                    // with a time limit does not pile up (L9).
                    waiters.retain(|waiter| !waiter.is_closed());
                    waiters.push(reply);
                }
                None => {
                    self.more_waiters.insert(key, vec![reply]);
                }
            },
            Found::Finished(record) => {
                let _ = reply.send(Ok(record));
            }
            Found::Unknown => {
                let _ = reply.send(Err(Refusal::UnknownId));
            }
        }
    }
}

impl Handler<Drain> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Drain { reply }: Drain, ctx: &mut Self::Context) {
        self.drains.push(reply);
        self.settle(ctx);
    }
}

impl Handler<CancelAll> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, CancelAll { error }: CancelAll, ctx: &mut Self::Context) -> usize {
        let live = self.scheduler.table().live();
        self.decide(ctx, |scheduler, now| scheduler.cancel_all(&error, now));
        live
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Handler<super::messages::Panic> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: super::messages::Panic, _: &mut Self::Context) {
        panic!("asked to, by a test");
    }
}
