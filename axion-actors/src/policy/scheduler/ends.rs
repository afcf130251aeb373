//! The ends of attempts, and their consequences for the tasks.

use std::time::Duration;

use super::Scheduler;
use super::protocol::Action;
use super::worker_slots::{Due, InFlight, Revoking, limits_of};
use crate::model::{
    CapturedOutput, Data, DisplayDuration, DisplaySize, EndedBy, ErrorKind, FactKind, KillReason, Outcome, PostMortem,
    ReturnCause, RevokeCause, Seq, Task, TaskError, TaskId, Tick, WorkerDownReason, WorkerRef,
};
use crate::policy::retry;
use crate::policy::task_table::{AttemptEnd, TaskEnd, TaskKey};

/// The delay before another attempt to kill a task that had not started.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// The end of a worker, as it concerns its running attempts.
pub(super) struct WorkerLoss<'a> {
    pub(super) worker: WorkerRef,
    pub(super) reason: &'a WorkerDownReason,
    pub(super) post_mortem: Option<PostMortem>,
    /// Whether no other task ran in it.
    pub(super) alone: bool,
}

impl Scheduler {
    pub(super) fn ended(
        &mut self,
        worker: WorkerRef,
        seq: Seq,
        nanos: u64,
        result: Result<Data, Box<TaskError>>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let Some(task) = self.leave_slot(worker, seq, now) else { return self.table.ignore() };
        if let Some(known) = self.table.task(task.key) {
            self.durations.record(known.work().key(), nanos);
        }
        match result {
            Ok(data) => {
                let end = TaskEnd { outcome: Outcome::Succeeded(data), nanos: Some(nanos), output };
                self.finish(task.key, Some((worker, seq)), end, now);
            }
            Err(error) => self.failed(task.key, (worker, seq), *error, Some(nanos), output, now),
        }
    }

    /// Removes a task from its worker, where the next one starts.
    pub(super) fn leave_slot(&mut self, worker: WorkerRef, seq: Seq, now: Tick) -> Option<InFlight> {
        let (table, timers) = (&self.table, &mut self.timers);
        let pool = &mut self.pools[worker.id.pool];
        let limits = pool.rules.limits;
        let task = pool.change(worker, |member| {
            let task = member.take(seq)?;
            task.stop_timers(timers);
            member.advance(task.lane, table, timers, limits, now);
            Some(task)
        })??;
        pool.ended += 1;
        self.recycle_if_due(worker, 0, now);
        self.retire_if_empty(worker, now);
        Some(task)
    }

    /// Handles a failed attempt: the policy retries the task, or the failure is its outcome.
    pub(super) fn failed(
        &mut self,
        key: TaskKey,
        by: (WorkerRef, Seq),
        error: TaskError,
        nanos: Option<u64>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let counters = self.table.counters(key);
        let wait = self
            .table
            .task(key)
            .filter(|_| !counters.cancelled)
            .and_then(|task| retry::wait(&task.options().retry, error.kind, counters.retries, task.id()))
            // Also the attempts together have a limit.
            .filter(|wait| self.table.total_deadline(key).is_none_or(|end| now.after(*wait) < end));
        if let Some(wait) = wait {
            let timer = self.timers.start(now.after(wait), Due::Start(key));
            if self.table.retry(key, by, AttemptEnd { error, nanos, output }, (timer, wait), now) {
                self.release(key);
            } else {
                self.timers.stop(timer);
            }
        } else {
            let end = TaskEnd { outcome: Outcome::of_error(Box::new(error)), nanos, output };
            self.finish(key, Some(by), end, now);
        }
    }

    /// Handles an attempt whose process ended.
    pub(super) fn attempt_lost(
        &mut self,
        task: &InFlight,
        WorkerLoss { worker, reason, post_mortem, alone }: WorkerLoss<'_>,
        output: Option<Box<CapturedOutput>>,
        now: Tick,
    ) {
        let (key, by, counters) = (task.key, (worker, task.seq), self.table.counters(task.key));
        let ran = Some(task.ran(now));
        // Why the engine killed the process. `None` if the process ended in another way, even if a kill was ordered.
        let killed = match reason {
            WorkerDownReason::Killed(why) => Some(match (task.kill, why) {
                (Some(KillReason::Deadline), _) => EndedBy::Deadline,
                (Some(KillReason::Cancel), _) => EndedBy::Cancel,
                (_, KillReason::MemoryLimit) => EndedBy::MemoryLimit,
                _ => EndedBy::Neighbour,
            }),
            _ => None,
        };
        let examined = |mut error: TaskError| {
            error.post_mortem =
                post_mortem.clone().map(|it| Box::new(PostMortem { ended_by: killed.unwrap_or(it.ended_by), ..it }));
            error
        };
        let allowed = self.table.task(key).map_or(0, |task| task.options().max_worker_losses);
        let most = self.pools[worker.id.pool].rules.worker_losses.map_or(allowed, |most| most.min(allowed));
        match (task.kill, killed) {
            (Some(KillReason::Deadline), _) => {
                let error = examined(self.timed_out(worker, key, killed.is_some(), now));
                self.failed(key, by, error, ran, output, now);
            }
            _ if counters.cancelled => self.failed(key, by, examined(cancelled()), ran, output, now),
            (Some(KillReason::MemoryLimit), Some(EndedBy::MemoryLimit)) if counters.alone || alone => {
                let limit = self.pools[worker.id.pool].rules.task_memory.unwrap_or_default();
                let words = format!(
                    "worker {} used more than {} of memory (`task_memory_limit`); killed",
                    worker.id,
                    DisplaySize(limit)
                );
                let error = examined(TaskError::new(ErrorKind::MemoryLimit, words));
                self.failed(key, by, error, ran, output, now);
            }
            // A task that must not run twice is lost, even if another task caused the end of the worker.
            (_, Some(ended_by)) if most == 0 => {
                let error = examined(lost_with_a_neighbour(worker, ended_by));
                let end = TaskEnd { outcome: Outcome::Lost(Box::new(error)), nanos: ran, output };
                self.finish(key, Some(by), end, now);
            }
            // When memory ran out, any of the tasks may be the cause, so each reruns in isolation.
            (_, Some(ended_by)) => {
                let suspect = ended_by == EndedBy::MemoryLimit;
                let end = AttemptEnd { error: examined(lost(worker, reason)), nanos: ran, output };
                self.run_again(key, by, end, suspect, now);
            }
            _ if counters.losses < most => {
                let end = AttemptEnd { error: examined(lost(worker, reason)), nanos: ran, output };
                self.run_again(key, by, end, true, now);
            }
            _ => {
                let error = examined(lost(worker, reason));
                let end = TaskEnd { outcome: Outcome::Lost(Box::new(error)), nanos: ran, output };
                self.finish(key, Some(by), end, now);
            }
        }
    }

    pub(super) fn timed_out(&self, worker: WorkerRef, key: TaskKey, killed: bool, now: Tick) -> TaskError {
        let task = self.table.task(key);
        let end = if killed { "killed" } else { "its process ended before it was killed" };
        let (what, limit) = if self.table.total_deadline(key).is_some_and(|end| end <= now) {
            ("the time limit of all its attempts together,", task.and_then(|task| task.options().total_timeout))
        } else {
            let limits = task.map(|task| limits_of(task, self.pools[worker.id.pool].rules.limits));
            ("its time limit of", limits.and_then(|limits| limits.hard))
        };
        let limit = DisplayDuration(limit.unwrap_or_default());
        TaskError::new(ErrorKind::Timeout, format!("still running on {} after {what} {limit}; {end}", worker.id))
    }

    pub(super) fn run_again(&mut self, key: TaskKey, by: (WorkerRef, Seq), end: AttemptEnd, suspect: bool, now: Tick) {
        if self.table.rerun(key, by, end, suspect, now) {
            self.release(key);
            let pool = &mut self.pools[by.0.id.pool];
            if suspect {
                pool.suspects.push_back(key);
            } else if let Some(task) = self.table.task(key) {
                pool.queue.push_front(task.options().priority, key);
            }
        }
    }

    /// A wait is over: the task joins the end of its queue.
    pub(super) fn may_start(&mut self, key: TaskKey, now: Tick) {
        if !self.table.due(key, now) {
            return;
        }
        let Some(pool_id) = self.table.task(key).map(Task::pool_id) else { return };
        let pool = &mut self.pools[pool_id];
        if let Some(error) = pool.unavailable.clone() {
            self.finish(key, None, TaskEnd::without_run(Outcome::Failed(Box::new(error))), now);
            return;
        }
        if self.table.counters(key).alone {
            pool.suspects.push_back(key);
        } else {
            self.enqueue(key);
        }
        self.place(pool_id, now);
    }

    /// The soft time limit of an attempt has passed.
    pub(super) fn interrupt(&mut self, worker: WorkerRef, seq: Seq, now: Tick) {
        let Some(task) = self.task_of(worker, seq) else { return };
        self.table.recorder().note(now, || FactKind::InterruptOrdered { task, worker, seq });
        self.actions.push(Action::Interrupt { worker, seq });
    }

    /// The live task of an attempt. When the engine ends, a task can have its outcome before its attempt is over.
    fn task_of(&self, worker: WorkerRef, seq: Seq) -> Option<TaskId> {
        let member = self.pools[worker.id.pool].member(worker)?;
        self.table.task(member.in_flight[member.position(seq)?].key).map(Task::id)
    }

    /// Orders the kill of an attempt. An attempt whose task has its outcome ends with its worker instead.
    pub(super) fn kill(&mut self, worker: WorkerRef, seq: Seq, reason: KillReason, now: Tick) {
        let Some(task) = self.task_of(worker, seq) else { return };
        let first = self.pools[worker.id.pool].change(worker, |member| {
            let at = member.position(seq)?;
            member.in_flight[at].kill.get_or_insert(reason);
            let first = member.killing.is_none();
            member.killing.get_or_insert((seq, task));
            Some(first)
        });
        // One kill at a time: if the first attempt is spared, the next one follows.
        if first == Some(Some(true)) {
            self.table.recorder().note(now, || FactKind::KillOrdered { task, worker, seq, reason });
            self.actions.push(Action::Kill { worker, seq, reason });
        }
    }

    /// The process of an attempt that was to be killed keeps running. Either the attempt had ended, or it is still in
    /// flight, which means that it had not started because its worker is blocked. In that case the scheduler takes it
    /// back. If it starts in the meantime, it is killed as before.
    pub(super) fn spared(&mut self, worker: WorkerRef, seq: Seq, now: Tick) {
        let (table, timers) = (&self.table, &mut self.timers);
        let pool = &mut self.pools[worker.id.pool];
        let limits = pool.rules.limits;
        let next = pool.change(worker, |member| {
            // A second answer to one order is stale (L3).
            let (_, ordered) = member.killing.take_if(|(ordered, _)| *ordered == seq)?;
            let mut waits = false;
            if let Some(task) = member.position(seq).and_then(|at| member.in_flight.get_mut(at)) {
                // Its time runs from its start, which has not happened.
                let known = table.task(task.key);
                match task.kill.take() {
                    Some(KillReason::Deadline) => {
                        let limit = known.and_then(|known| limits_of(known, limits).hard).unwrap_or(KILL_AGAIN);
                        task.hard = Some(timers.start(now.after(limit), Due::Hard(worker, seq)));
                    }
                    Some(KillReason::Cancel) => {
                        task.grace = Some(timers.start(now.after(KILL_AGAIN), Due::Grace(worker, seq)));
                    }
                    // The next measurement shows whether it is still too large.
                    Some(KillReason::MemoryLimit) | None => {}
                }
                waits = true;
            }
            Some((ordered, waits, member.in_flight.iter().find_map(|task| Some((task.seq, task.kill?)))))
        });
        let Some((task, waits, next)) = next.flatten() else { return self.table.ignore() };
        self.table.recorder().note(now, || FactKind::KillSpared { task, worker, seq });
        if waits {
            self.revoke(worker, vec![seq], RevokeCause::NotStarted, now);
        }
        if let Some((next, reason)) = next {
            self.kill(worker, next, reason, now);
        }
    }

    pub(super) fn in_flight(&mut self, worker: WorkerRef, seq: Seq, change: impl FnOnce(&mut InFlight)) {
        self.pools[worker.id.pool].change(worker, |member| {
            if let Some(at) = member.position(seq) {
                change(&mut member.in_flight[at]);
            }
        });
    }

    pub(super) fn returned(&mut self, worker: WorkerRef, seqs: Vec<Seq>, now: Tick) {
        let (table, timers) = (&self.table, &mut self.timers);
        let pool = &mut self.pools[worker.id.pool];
        let limits = pool.rules.limits;
        let returned = pool.change(worker, |member| {
            let mut tasks: Vec<InFlight> = seqs.into_iter().filter_map(|seq| member.take(seq)).collect();
            member.refusing |= member.revoking != Revoking::Nothing && tasks.is_empty();
            member.revoking = member.revoking.answered();
            tasks.sort_unstable_by_key(|task| task.seq);
            for task in &tasks {
                task.stop_timers(timers);
            }
            member.fill_places(table, timers, limits, now);
            tasks
        });
        let Some(tasks) = returned else { return self.table.ignore() };
        self.requeue(worker, tasks, ReturnCause::Revoked, now);
        self.retire_if_empty(worker, now);
    }

    /// Returns tasks to the front of their queue, in their order (L5, L12). A task with a cancellation is cancelled
    /// instead.
    pub(super) fn requeue(&mut self, worker: WorkerRef, tasks: Vec<InFlight>, cause: ReturnCause, now: Tick) {
        for task in tasks.into_iter().rev() {
            let counters = self.table.counters(task.key);
            if !self.table.give_back(task.key, (worker, task.seq), cause, now) {
                continue;
            }
            self.release(task.key);
            if counters.cancelled {
                self.finish(task.key, None, TaskEnd::without_run(Outcome::Cancelled(Box::new(cancelled()))), now);
                continue;
            }
            let pool = &mut self.pools[worker.id.pool];
            if counters.alone {
                pool.suspects.push_front(task.key);
            } else if let Some(known) = self.table.task(task.key) {
                pool.queue.push_front(known.options().priority, task.key);
            }
            if !self.table.has_run(task.key) {
                self.arm_ttl(task.key);
            }
        }
    }
}

pub(super) fn cancelled() -> TaskError {
    TaskError::new(ErrorKind::Cancelled, "the task was cancelled")
}

pub(super) fn lost(worker: WorkerRef, reason: &WorkerDownReason) -> TaskError {
    let what = match reason {
        WorkerDownReason::Exited(exit) => format!("died while running this task: {exit}"),
        WorkerDownReason::Protocol { violation } => {
            format!("broke the protocol while running this task and was killed: {violation}")
        }
        WorkerDownReason::Killed(_) => "was killed because of another task while running this one".to_owned(),
        WorkerDownReason::ActorPanicked => "failed inside the engine while running this task".to_owned(),
        WorkerDownReason::Retired => "was stopped while running this task".to_owned(),
        WorkerDownReason::StartFailed { message, .. } => format!("did not start: {message}"),
    };
    TaskError::new(ErrorKind::WorkerLost, format!("worker {} {what}", worker.id))
}

/// The error of a task that may not rerun, but whose worker was killed because of another task.
fn lost_with_a_neighbour(worker: WorkerRef, ended_by: EndedBy) -> TaskError {
    let why = match ended_by {
        EndedBy::MemoryLimit => "its tasks together used more memory than one task may",
        _ => "another task in it reached its time limit or was cancelled",
    };
    let words = format!(
        "worker {} was killed while running this task, because {why}; not rerun: `max_worker_losses` 0 forbids it",
        worker.id
    );
    TaskError::new(ErrorKind::WorkerLost, words)
}
