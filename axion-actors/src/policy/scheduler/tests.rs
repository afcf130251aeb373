//! What the scheduler decides, case by case and over random histories; here what the cases share.

mod attempts;
mod ends;
mod histories;
mod limits;
mod order;
mod pools;
mod wall_clock;
mod windows;

use std::sync::Arc;

use jiff::Timestamp;

use super::*;

use crate::model::{
    Attempt, ErrorKind, Generation, Json, PoolKind, Priority, ProcessExit, ScriptPath, TaskRecord, WorkKey,
    WorkerDownReason, WorkerId,
};
use crate::policy::retention::RetentionPolicy;

const MS: u64 = 1_000_000;

fn scheduler() -> Scheduler {
    let mut table = TaskTable::new(
        Timestamp::UNIX_EPOCH,
        RetentionPolicy { count: 1 << 20, bytes: 1 << 30, each: 1 << 20, age: None },
    );
    table.recorder().begin(true);
    Scheduler::new(table, &in_every_pool(PoolRules::default()), EngineCapacity::default())
}

/// The named pool of the tests; it is of the kind `cpu`.
fn gpu() -> PoolId {
    PoolId::named("gpu").expect("a name")
}

/// Three pools under the same rules.
fn in_every_pool(rules: PoolRules) -> PoolMap<PoolRules> {
    let kinds = [(PoolId::CPU, PoolKind::Cpu), (PoolId::IO, PoolKind::Io), (gpu(), PoolKind::Cpu)];
    kinds.into_iter().map(|(pool, kind)| (pool, PoolRules { kind, ..rules })).collect()
}

fn slots(slots: usize) -> WorkerCapacity {
    WorkerCapacity::local(slots, 0)
}

fn worker(index: u32, generation: u32) -> WorkerRef {
    WorkerRef { id: WorkerId::local(PoolId::CPU, index), generation: Generation(generation) }
}

fn submit(scheduler: &mut Scheduler, count: usize, now: Tick) -> Vec<TaskId> {
    submit_as(scheduler, count, now, |task| task)
}

fn submit_as(scheduler: &mut Scheduler, count: usize, now: Tick, shape: impl Fn(Task) -> Task) -> Vec<TaskId> {
    let ids = (0..count)
        .map(|_| {
            let task = shape(Task::script("/a.py"));
            let id = task.id();
            scheduler.submit(task, None, now).expect("new");
            id
        })
        .collect();
    scheduler.place_all(now);
    ids
}

fn done(seq: Seq, nanos: u64) -> Report {
    Report::Ended { seq, nanos, result: Ok(Json("1".into()).into()), output: None }
}

/// A measurement of the memory, which began while these attempts ran.
fn measured(resident: u64, running: &[u64]) -> Report {
    Report::Measured { resident, running: running.iter().copied().map(Seq).collect() }
}

fn killed(running: &[u64]) -> Departure {
    Departure {
        reason: WorkerDownReason::Exited(ProcessExit::Signal(9)),
        started: Some(running.iter().copied().map(Seq).collect()),
        outputs: Vec::new(),
        post_mortem: None,
    }
}

/// The seqs sent to a worker by the actions so far.
fn sent(scheduler: &mut Scheduler, to: WorkerRef) -> Vec<u64> {
    let actions = scheduler.take_actions();
    let runs = actions.into_iter().filter_map(|action| match action {
        Action::Run { worker, tasks } if worker == to => Some(tasks),
        _ => None,
    });
    runs.flatten().map(|task| task.seq.0).collect()
}

fn failing(seq: Seq, kind: ErrorKind) -> Report {
    Report::Ended { seq, nanos: MS, result: Err(Box::new(TaskError::new(kind, "bad"))), output: None }
}

fn finished(actions: Vec<Action>) -> Vec<Arc<TaskRecord>> {
    let records = actions.into_iter().filter_map(|action| match action {
        Action::Finished { record, .. } => Some(record),
        _ => None,
    });
    records.collect()
}

fn killed_by(reason: KillReason, running: &[u64]) -> Departure {
    Departure { reason: WorkerDownReason::Killed(reason), ..killed(running) }
}

fn after(now: u64) -> Tick {
    Tick(now * MS)
}

fn ruled(rules: PoolRules) -> Scheduler {
    let table =
        TaskTable::new(Timestamp::UNIX_EPOCH, RetentionPolicy { count: 100, bytes: 1 << 20, each: 1 << 20, age: None });
    Scheduler::new(table, &in_every_pool(rules), EngineCapacity::default())
}

/// The facts since the last call.
fn facts(scheduler: &mut Scheduler) -> Vec<FactKind> {
    scheduler.table_mut().recorder().take().facts.into_iter().map(|(_, kind)| kind).collect()
}

fn ids_sent(actions: &[Action]) -> Vec<TaskId> {
    let runs = actions.iter().filter_map(|action| match action {
        Action::Run { tasks, .. } => Some(tasks),
        _ => None,
    });
    runs.flatten().map(|task| task.id).collect()
}
