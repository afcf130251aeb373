//! The engine's own scheduler, as the simulation calls it: the only file that knows its interface.

use std::time::Duration;

use axion_actors::model::{
    EngineCapacity, Generation, Json, PoolId, PoolKind, PoolMap, Seq, Task, Tick, WorkerDownReason, WorkerId, WorkerRef,
};
use axion_actors::policy::retention::RetentionPolicy;
use axion_actors::policy::scheduler::{Action, Departure, PoolRules, Report, Scheduler, WorkerCapacity};
use axion_actors::policy::task_table::TaskTable;
use jiff::Timestamp;

/// What the scheduler wants done.
pub(crate) enum Order {
    /// Run these tasks, by their numbers.
    Run(WorkerRef, Vec<(Seq, usize)>),
    /// Give these back if they have not started.
    Revoke(WorkerRef, Vec<Seq>),
    /// These take nothing more.
    Leave(Vec<WorkerRef>),
    /// This worker was drained and is empty.
    Retire(WorkerRef),
}

/// The scheduler of one pool.
pub(crate) struct Placement {
    scheduler: Scheduler,
    pool: PoolId,
    slots: usize,
}

impl Placement {
    pub(crate) fn new(kind: PoolKind, slots: usize) -> Self {
        let table = TaskTable::new(
            Timestamp::UNIX_EPOCH,
            RetentionPolicy { count: 1, bytes: 1 << 20, each: 1 << 20, age: None },
        );
        let pool = kind.into();
        let rules = PoolMap::from_iter([(pool, PoolRules { kind, ..PoolRules::default() })]);
        let scheduler = Scheduler::new(table, &rules, EngineCapacity::unlimited());
        Self { scheduler, pool, slots }
    }

    pub(crate) fn worker(&self, index: usize, generation: u32) -> WorkerRef {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        WorkerRef { id: WorkerId::local(self.pool, index), generation: Generation(generation) }
    }

    /// Takes a task in; its number is its parameters. `place` ends the batch.
    pub(crate) fn submit(&mut self, number: usize, script: &str, now: Tick) {
        let task = Task::script(script).on(self.pool).params_json(number.to_string());
        // A number is JSON, and every task has an id of its own.
        if let Ok(task) = task {
            let _ = self.scheduler.submit(task, None, now);
        }
    }

    pub(crate) fn place(&mut self, now: Tick) {
        self.scheduler.place(self.pool, now);
    }

    pub(crate) fn joined(&mut self, worker: WorkerRef, now: Tick) {
        self.scheduler.joined(worker, WorkerCapacity::local(self.slots, 0), now);
    }

    pub(crate) fn ended(&mut self, worker: WorkerRef, seq: Seq, ran: Duration, now: Tick) {
        let nanos = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        let result = Ok(Json("null".into()).into());
        self.scheduler.reported(worker, vec![Report::Ended { seq, nanos, result, output: None }], now);
    }

    pub(crate) fn revoked(&mut self, worker: WorkerRef, seqs: Vec<Seq>, now: Tick) {
        self.scheduler.reported(worker, vec![Report::Revoked { seqs }], now);
    }

    /// Lets so many workers finish what they have and take nothing more; `Order::Leave` says which, and
    /// `Order::Retire` follows for each.
    pub(crate) fn shrink(&mut self, count: u32, now: Tick) {
        self.scheduler.shrink(self.pool, count as usize, now);
    }

    /// A worker without tasks is gone.
    pub(crate) fn left(&mut self, worker: WorkerRef, now: Tick) {
        let reason = WorkerDownReason::Retired;
        let departure = Departure { reason, started: Some(Vec::new()), outputs: Vec::new(), post_mortem: None };
        self.scheduler.left(worker, departure, now);
    }

    pub(crate) fn tick(&mut self, now: Tick) {
        self.scheduler.tick(now);
    }

    pub(crate) fn next_tick(&self) -> Option<Tick> {
        self.scheduler.next_tick()
    }

    /// What to do since the last call, in order.
    pub(crate) fn orders(&mut self) -> Vec<Order> {
        self.scheduler.take_actions().into_iter().filter_map(order).collect()
    }
}

fn order(action: Action) -> Option<Order> {
    match action {
        Action::Run { worker, tasks } => {
            let number = |params: &[u8]| std::str::from_utf8(params).ok()?.parse().ok();
            let tasks = tasks.iter().filter_map(|task| Some((task.seq, number(&task.params)?))).collect();
            Some(Order::Run(worker, tasks))
        }
        Action::Revoke { worker, seqs } => Some(Order::Revoke(worker, seqs)),
        Action::Release { workers, .. } => Some(Order::Leave(workers)),
        Action::Retire { worker } => Some(Order::Retire(worker)),
        _ => None,
    }
}
