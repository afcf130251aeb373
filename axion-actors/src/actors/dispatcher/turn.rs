//! A turn of the Dispatcher: requests are decided, the facts of the decisions are recorded, and only then anything
//! leaves the engine's thread (L13).
//!
//! Whatever tells a worker, the Supervisor or a caller of a decision needs the [`Recorded`] of its turn.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::super::answer::Answer;
use super::super::messages::{PoolRequest, StepUpdate, WorkerCommand};
use super::Dispatcher;
use super::waiters::Waiter;
use crate::model::{CancelAnswer, FactKind, Status, TaskId, TaskRecord, Tick, WorkerRef};
use crate::policy::scheduler::{Action, RunTask, Scheduler};
use crate::policy::task_table::WaiterId;
use crate::sequencer::Recorded;

/// Expected run times are published while no more tasks than this are live. Among more, no thread spins.
const FEW: usize = 64;

/// An answer that waits for the facts of the present turn.
pub(super) enum PendingAnswer {
    /// Which task runs.
    Accepted(oneshot::Sender<TaskId>, TaskId),
    /// What becomes of a cancellation.
    Cancel(oneshot::Sender<CancelAnswer>, CancelAnswer),
    /// A record that was there already, or the reason why there is none.
    Record(Waiter, Answer),
    /// How many tasks the shutdown cancelled; with the workflows' end, if there are any.
    CancelAll(oneshot::Sender<usize>, usize, Option<oneshot::Receiver<()>>),
    /// How everything is.
    Status(Vec<oneshot::Sender<Arc<Status>>>, Arc<Status>),
}

impl Dispatcher {
    /// Lets the scheduler handle one event and carries out what it decides.
    pub(super) fn decide(&mut self, ctx: &mut Context<Self>, event: impl FnOnce(&mut Scheduler, Tick)) {
        let now = self.begin();
        event(&mut self.scheduler, now);
        self.settle(ctx);
    }

    /// A turn begins. Its facts are made only if somebody listens.
    pub(super) fn begin(&mut self) -> Tick {
        self.scheduler.table_mut().recorder().begin(self.sequencer.is_subscribed());
        self.clock.now()
    }

    /// A turn ends.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) {
        let recorded = self.record();
        self.publish_load();
        self.carry_out(&recorded);
        self.answer(&recorded);
        self.give_room_back(&recorded);
        self.workflows.send_updates();
        if self.scheduler.table().live() == 0 && !self.workflows.are_any() {
            for drained in self.drains.drain(..) {
                let _ = drained.send(());
            }
        }
        self.arm(ctx);
    }

    /// Records the facts of the turn so far.
    pub(super) fn record(&mut self) -> Recorded {
        let recorder = self.scheduler.table_mut().recorder();
        if let Some(counts) = self.admission.take_refusals() {
            recorder.note(self.clock.now(), || FactKind::SubmissionsRefused { counts });
        }
        self.sequencer.record(recorder.take())
    }

    fn carry_out(&mut self, recorded: &Recorded) {
        for action in self.scheduler.take_actions() {
            match action {
                Action::Run { worker, tasks } => {
                    self.note_starts(&tasks);
                    self.command(worker, WorkerCommand::Run(tasks), recorded);
                }
                Action::Revoke { worker, seqs } => self.command(worker, WorkerCommand::Revoke(seqs), recorded),
                Action::Interrupt { worker, seq } => self.command(worker, WorkerCommand::Interrupt(seq), recorded),
                Action::Cancel { worker, seq } => self.command(worker, WorkerCommand::Cancel(seq), recorded),
                Action::Kill { worker, seq, reason } => {
                    self.command(worker, WorkerCommand::Kill(seq, reason), recorded);
                }
                Action::Recycle { worker, reason } => {
                    self.ask_supervisor(PoolRequest::Recycle(worker, reason), recorded);
                }
                Action::Call { pool, workers } => self.ask_supervisor(PoolRequest::Workers(pool, workers), recorded),
                Action::Release { pool, workers } => self.ask_supervisor(PoolRequest::Fewer(pool, workers), recorded),
                Action::Retire { worker } => self.command(worker, WorkerCommand::Retire, recorded),
                Action::Finished { record, waiter } => {
                    if let Some(waiter) = waiter {
                        self.resolve(waiter, &record);
                    }
                }
            }
        }
    }

    fn resolve(&mut self, waiter: WaiterId, record: &Arc<TaskRecord>) {
        for waiter in self.waiters.take(waiter) {
            if matches!(waiter, Waiter::Handle(_)) {
                self.publish_expected_run_time(record);
            }
            self.workflows.add_update(waiter.resolve(record));
        }
    }

    /// Called before waiters are woken: they may submit the next task at once.
    fn publish_load(&self) {
        let table = self.scheduler.table();
        self.admission.load().set_running(table.live().saturating_sub(table.waiting().0));
    }

    /// Called before the caller is woken: it may submit the same work again at once.
    fn publish_expected_run_time(&self, record: &TaskRecord) {
        if self.scheduler.table().live() <= FEW
            && let Some(nanos) = self.scheduler.expected_run_time(record.work.key())
        {
            self.admission.load().set_expected(record.work.key(), nanos);
        }
    }

    /// Tells workflows that their tasks are with a worker.
    fn note_starts(&mut self, tasks: &[RunTask]) {
        if self.workflows.are_any() {
            for step in tasks.iter().filter_map(|task| self.waiters.step(task.waiter?)) {
                self.workflows.add_update(Some(StepUpdate::Started(step)));
            }
        }
    }

    fn answer(&mut self, _: &Recorded) {
        for answer in std::mem::take(&mut self.answers) {
            match answer {
                PendingAnswer::Accepted(reply, id) => drop(reply.send(id)),
                PendingAnswer::Cancel(reply, answer) => drop(reply.send(answer)),
                PendingAnswer::Record(waiter, Ok(record)) => self.workflows.add_update(waiter.resolve(&record)),
                PendingAnswer::Record(waiter, Err(refusal)) => self.workflows.add_update(waiter.refuse(refusal)),
                PendingAnswer::Status(replies, status) => {
                    for reply in replies {
                        let _ = reply.send(status.clone());
                    }
                }
                PendingAnswer::CancelAll(reply, count, None) => drop(reply.send(count)),
                PendingAnswer::CancelAll(reply, count, Some(workflows_end)) => {
                    actix_rt::spawn(async move {
                        let _ = workflows_end.await;
                        let _ = reply.send(count);
                    });
                }
            }
        }
    }

    /// Gives back the room of tasks that have gone to workers, or ended.
    fn give_room_back(&mut self, _: &Recorded) {
        let (places, units) = self.room.spare(self.scheduler.table().waiting());
        if places > 0 || units > 0 {
            self.admission.leave(places, units);
        }
    }

    fn ask_supervisor(&self, request: PoolRequest, _: &Recorded) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(request);
        }
    }

    /// A worker that is gone gets nothing; its departure is on its way and brings the tasks back.
    fn command(&self, worker: WorkerRef, command: WorkerCommand, _: &Recorded) {
        if let Some(handle) = self.workers.get(&worker) {
            handle.commands.do_send(command);
        }
    }
}
