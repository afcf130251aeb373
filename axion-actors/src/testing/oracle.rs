//! Checks the laws on facts alone.
//!
//! The oracle folds the facts and adds the rules that the fold does not know. The scheduler's random histories and the
//! chaos test share it.
//!
//! Facts tell of sends and ends. They do not tell when an attempt starts inside its worker, whether a kill hit the
//! right process, or what a result contains, so the oracle does not judge those.

mod expected_queue;
mod law;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::expected_queue::{ExpectedQueue, QueueEnd};
use self::law::{Breach, require};
pub use self::law::{Law, LawBroken};
use crate::model::{
    Attempt, BlockedBy, Fact, FactKind, Generation, Outcome, PoolId, Seq, TaskId, TaskRecord, Tick, WorkerDownReason,
    WorkerId, WorkerRef,
};
use crate::policy::fold::{EngineState, LiveTask, TaskPhase};
#[cfg(test)]
use crate::{
    model::{FactId, Incarnation},
    policy::recorder::Turn,
};

/// Judges the facts of one engine, one after the other.
///
/// The order of a pool (L12) covers the tasks without limits. Tasks with limits wait at a gate, and tasks that rerun in
/// isolation go before all others, so neither has a place in the order. A task that came back from a worker goes before
/// the others of its priority.
#[derive(Debug, Default)]
pub struct Oracle {
    state: EngineState,
    queues: BTreeMap<PoolId, ExpectedQueue>,
    /// The tasks that are with each worker.
    in_flight: BTreeMap<WorkerRef, BTreeSet<TaskId>>,
    /// The last seq that was sent to each worker.
    seqs: BTreeMap<WorkerRef, Seq>,
    /// The order to kill that stands in each worker, and its task.
    kills: BTreeMap<WorkerRef, (Seq, TaskId)>,
    /// The latest generation of each worker that took tasks.
    generations: BTreeMap<WorkerId, Generation>,
    /// How many attempts each worker runs at one time.
    places: BTreeMap<WorkerRef, usize>,
    /// The worker that left last, and how many of its attempts may still prove to have been running.
    left: Option<(WorkerRef, usize)>,
    /// The live task that holds each unique key.
    unique: BTreeMap<Arc<str>, TaskId>,
    /// The admitted tasks of each concurrency key.
    holders: BTreeMap<Arc<str>, BTreeSet<TaskId>>,
    stopped: Option<OracleStopped>,
}

/// The reason why an oracle judges nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OracleStopped {
    /// A law was broken.
    #[error(transparent)]
    Broken(#[from] LawBroken),
    /// Facts are missing.
    #[error("{0} facts were missed; the laws are not checked from there on")]
    FactsMissed(u64),
}

impl Oracle {
    /// Judges the next fact. After facts were missed, every fact passes.
    ///
    /// # Errors
    /// If the fact breaks a law. Every later fact fails with the same error.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), LawBroken> {
        match &self.stopped {
            Some(OracleStopped::Broken(broken)) => return Err(broken.clone()),
            Some(OracleStopped::FactsMissed(_)) => return Ok(()),
            None => {}
        }
        self.check(fact).map_err(|Breach { law, why }| {
            let broken = LawBroken { law, task: fact.kind.task(), fact: fact.id, why };
            self.stopped = Some(broken.clone().into());
            broken
        })
    }

    /// Judges the facts of a turn that have no ids yet. They follow the last fact.
    #[cfg(test)]
    pub(crate) fn observe_turn(&mut self, turn: Turn) {
        assert_eq!(turn.facts.len() as u64, turn.count, "L13: a fact is counted and not made");
        for (now, kind) in turn.facts {
            let first = FactId { incarnation: Incarnation(1), number: 0 };
            let last = self.state.last.unwrap_or(first);
            let fact = Fact::new(FactId { number: last.number + 1, ..last }, jiff::Timestamp::UNIX_EPOCH, now, kind);
            self.observe(&fact).unwrap_or_else(|broken| panic!("{broken}: {fact:?}"));
        }
    }

    /// Stops, because facts are missing.
    pub fn missed(&mut self, count: u64) {
        self.stopped.get_or_insert(OracleStopped::FactsMissed(count));
    }

    /// The tasks that have no outcome.
    ///
    /// # Errors
    /// If the oracle stopped before the last fact.
    pub fn finish(&self) -> Result<Vec<TaskId>, OracleStopped> {
        self.stopped.clone().map_or_else(|| Ok(self.state.tasks.keys().copied().collect()), Err)
    }

    /// The state to which the facts fold.
    #[must_use]
    pub fn state(&self) -> &EngineState {
        &self.state
    }

    fn check(&mut self, fact: &Fact) -> Result<(), Breach> {
        let before = fact.kind.task().and_then(|task| Some((task, Before::of(self.state.tasks.get(&task)?))));
        self.state.apply(fact).map_err(|error| Breach::of_fold(&error, &fact.kind))?;
        match (&fact.kind, before) {
            (FactKind::TaskAccepted { task }, _) => {
                self.enqueue(task.id(), QueueEnd::Back);
                let Some(key) = &task.options().unique else { return Ok(()) };
                let holder = self.unique.insert(key.clone(), task.id());
                require(holder.is_none(), Law::Unique, || format!("task {holder:?} holds the unique key `{key}`"))
            }
            // The task may have its outcome.
            (FactKind::KillSpared { task, worker, seq }, _) => {
                let ordered = self.kills.remove(worker);
                require(ordered == Some((*seq, *task)), Law::L6, || {
                    format!("worker {worker} spared attempt {} of task {task}; ordered: {ordered:?}", seq.0)
                })
            }
            (kind, Some((task, before))) => self.check_task(kind, fact.tick, task, before),
            (kind, None) => self.check_rest(kind),
        }
    }

    /// A fact about a task that was live before it.
    fn check_task(&mut self, kind: &FactKind, now: Tick, task: TaskId, before: Before) -> Result<(), Breach> {
        match kind {
            FactKind::TaskHeld { until, wait_seconds, .. } => {
                self.dequeue(task, before);
                return states_wait(now, *until, *wait_seconds);
            }
            FactKind::TaskDue { .. } => {
                self.enqueue(task, QueueEnd::Back);
                let until = before.waits_until().unwrap_or(now);
                return require(until <= now, Law::Wait, || format!("the wait ends at {}, not {}", now.0, until.0));
            }
            FactKind::TaskAdmitted { .. } => return self.admitted(task),
            FactKind::TaskSent { worker, seq, .. } => {
                before.may_run_again()?;
                return self.sent(task, before, *worker, *seq);
            }
            FactKind::TaskReturned { .. } => {
                self.leave_worker(task, before);
                self.enqueue(task, QueueEnd::Front);
            }
            FactKind::TaskRetrying { ended, until, wait_seconds, .. } => {
                self.leave_worker(task, before);
                self.was_running(before)?;
                before.is_attempt(ended.attempt)?;
                before.may_run_again()?;
                return states_wait(now, *until, *wait_seconds);
            }
            FactKind::TaskRerun { ended, counted, .. } => {
                self.leave_worker(task, before);
                self.enqueue(task, QueueEnd::Front);
                self.was_running(before)?;
                before.is_attempt(ended.attempt)?;
                before.may_run_again()?;
                return before.may_rerun(*counted);
            }
            FactKind::TaskFinished { record } => {
                self.leave_worker(task, before);
                self.dequeue(task, before);
                self.unique.retain(|_, holder| *holder != task);
                self.was_running(before)?;
                return before.ends_as(record);
            }
            FactKind::TaskBlocked { by, .. } => return self.states_cause(by),
            FactKind::InterruptOrdered { seq, .. } => return before.has_seq(*seq),
            FactKind::KillOrdered { worker, seq, .. } => {
                before.has_seq(*seq)?;
                let standing = self.kills.insert(*worker, (*seq, task));
                return require(standing.is_none(), Law::L6, || format!("a kill already stands in worker {worker}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A fact about no live task.
    fn check_rest(&mut self, kind: &FactKind) -> Result<(), Breach> {
        match kind {
            FactKind::WorkerJoined { worker, slots, coroutines } => {
                self.places.insert(*worker, slots.saturating_add(*coroutines));
                let last = self.generations.insert(worker.id, worker.generation);
                let is_next = last.is_none_or(|last| last < worker.generation);
                require(is_next, Law::L3, || format!("worker {worker} joined after a later generation"))
            }
            FactKind::WorkerLeft { worker } => {
                self.left = self.places.remove(worker).map(|places| (*worker, places));
                self.kills.remove(worker);
                self.seqs.remove(worker);
                Ok(())
            }
            // What it says counts no more: all that it was sent may have run (L8).
            FactKind::WorkerDown { worker, reason: WorkerDownReason::Protocol { .. } } => {
                let left = self.left.as_mut().filter(|(left, _)| left == worker).map(|(_, places)| places);
                if let Some(places) = left.or_else(|| self.places.get_mut(worker)) {
                    *places = usize::MAX;
                }
                Ok(())
            }
            FactKind::WorkerDown { worker, reason: WorkerDownReason::Killed(_) } => {
                let is_ordered = self.kills.contains_key(worker);
                require(is_ordered, Law::L13, || format!("worker {worker} was killed without an order"))
            }
            _ => Ok(()),
        }
    }

    /// A reason names tasks that hold what it states (L15).
    fn states_cause(&self, by: &BlockedBy) -> Result<(), Breach> {
        let holds = |task: &TaskId, key: &str| {
            let live = self.state.tasks.get(task).filter(|live| live.admitted);
            let limits = live.and_then(|live| live.task.limits());
            limits.and_then(|limits| limits.concurrency.as_ref()).is_some_and(|limit| &*limit.key == key)
        };
        match by {
            BlockedBy::Concurrency { key, max, running, holders } => {
                let named = (*running as usize).min(BlockedBy::MAX_HOLDERS);
                require(running >= max && holders.len() == named, Law::L15, || {
                    format!("{running} tasks hold `{key}` of {max}, {} are named", holders.len())
                })?;
                let other = holders.iter().find(|task| !holds(task, key));
                other.map_or(Ok(()), |other| {
                    Err(Breach { law: Law::L15, why: format!("task {other} does not hold `{key}`") })
                })
            }
            BlockedBy::Reserved { by: Some(first) } => {
                let waits = self.state.tasks.get(first).is_some_and(|live| live.phase == TaskPhase::Queued);
                require(waits, Law::L15, || format!("task {first} does not wait for what is reserved for it"))
            }
            _ => Ok(()),
        }
    }

    /// A key of concurrency has at most as many holders as the task allows.
    fn admitted(&mut self, task: TaskId) -> Result<(), Breach> {
        let limits = self.state.tasks.get(&task).and_then(|live| live.task.limits());
        let Some(limit) = limits.and_then(|limits| limits.concurrency.as_ref()) else { return Ok(()) };
        let holders = self.holders.entry(limit.key.clone()).or_default();
        holders.retain(|holder| self.state.tasks.get(holder).is_some_and(|live| live.admitted));
        holders.insert(task);
        require(holders.len() <= limit.max.max(1) as usize, Law::Concurrency, || {
            format!("{} tasks hold `{}`, of which the task allows {}", holders.len(), limit.key, limit.max)
        })
    }

    /// An attempt that was with a worker counts as started. When a worker has left, at most as many of its attempts do as
    /// it runs at one time: the others had not started (L5).
    fn was_running(&mut self, before: Before) -> Result<(), Breach> {
        let (Some((worker, _)), Some((left, places))) = (before.with(), &mut self.left) else { return Ok(()) };
        if worker != *left {
            return Ok(());
        }
        let room = places.checked_sub(1);
        *places = room.unwrap_or(0);
        require(room.is_some(), Law::L5, || format!("more attempts of worker {worker} ended with it than it can run"))
    }

    fn sent(&mut self, task: TaskId, before: Before, worker: WorkerRef, seq: Seq) -> Result<(), Breach> {
        let overtaken = self.dequeue(task, before);
        let others = self.in_flight.entry(worker).or_default();
        let isolated = others.iter().any(|other| self.state.tasks.get(other).is_some_and(|it| it.isolated));
        let shares = isolated || (before.isolated && !others.is_empty());
        others.insert(task);
        let last = self.seqs.insert(worker, seq);
        require(worker.id.pool == before.pool, Law::Pool, || {
            format!("the task is of pool `{}` and was sent to worker {worker}", before.pool)
        })?;
        require(last.is_none_or(|last| last < seq), Law::L3, || {
            format!("seq {} of worker {worker} follows a later one", seq.0)
        })?;
        require(!shares, Law::Isolation, || format!("a task in isolation shares worker {worker}"))?;
        let in_order = |other: TaskId| format!("task {other} was before it in the queue");
        overtaken.map_or(Ok(()), |other| Err(Breach { law: Law::L12, why: in_order(other) }))
    }

    /// Puts a queued task into the queue of its pool, if it has a place there.
    fn enqueue(&mut self, task: TaskId, end: QueueEnd) {
        if let Some(LiveTask { task: known, isolated: false, .. }) = self.state.tasks.get(&task)
            && known.limits().is_none()
        {
            self.queues.entry(known.pool_id()).or_default().push(task, known.options().priority, end);
        }
    }

    /// Removes a task from its queue. Returns the first task of the queue if that is another one.
    fn dequeue(&mut self, task: TaskId, before: Before) -> Option<TaskId> {
        self.queues.get_mut(&before.pool)?.remove(task)
    }

    fn leave_worker(&mut self, task: TaskId, before: Before) {
        if let Some((worker, _)) = before.with()
            && let Some(tasks) = self.in_flight.get_mut(&worker)
        {
            tasks.remove(&task);
            if tasks.is_empty() {
                self.in_flight.remove(&worker);
            }
        }
    }
}

/// The length of a wait fits its end, to a microsecond.
fn states_wait(now: Tick, until: Tick, seconds: f64) -> Result<(), Breach> {
    let length = until.since(now).as_secs_f64();
    require((length - seconds).abs() < 1e-6, Law::Wait, || format!("a wait of {seconds} s ends after {length} s"))
}

/// A task before a fact.
#[derive(Clone, Copy, Debug)]
struct Before {
    pool: PoolId,
    phase: TaskPhase,
    attempts: u32,
    retries: u32,
    losses: u32,
    max_losses: u32,
    cancelled: bool,
    isolated: bool,
}

impl Before {
    fn of(live: &LiveTask) -> Self {
        Self {
            pool: live.task.pool_id(),
            phase: live.phase,
            attempts: live.attempts,
            retries: live.retries,
            losses: live.losses,
            max_losses: live.task.options().max_worker_losses,
            cancelled: live.cancelled,
            isolated: live.isolated,
        }
    }

    /// The worker that had it, and its seq there.
    fn with(&self) -> Option<(WorkerRef, Seq)> {
        match self.phase {
            TaskPhase::Sent { worker, seq, .. } => Some((worker, seq)),
            TaskPhase::Queued | TaskPhase::Waiting { .. } => None,
        }
    }

    fn waits_until(&self) -> Option<Tick> {
        match self.phase {
            TaskPhase::Waiting { until } => Some(until),
            TaskPhase::Queued | TaskPhase::Sent { .. } => None,
        }
    }

    /// An order names its seq.
    fn has_seq(&self, seq: Seq) -> Result<(), Breach> {
        let own = self.with().map(|(_, seq)| seq);
        require(own == Some(seq), Law::L6, || format!("the order names seq {} instead of {own:?}", seq.0))
    }

    /// The end of an attempt names the present one.
    fn is_attempt(&self, attempt: Attempt) -> Result<(), Breach> {
        let own = self.attempts;
        require(attempt.0 == own, Law::L3, || format!("attempt {} ended in attempt {own}", attempt.0))
    }

    /// A task whose cancellation was asked for gets no further attempt.
    fn may_run_again(&self) -> Result<(), Breach> {
        require(!self.cancelled, Law::Cancel, || "the task was to be cancelled, and gets another attempt".to_owned())
    }

    fn may_rerun(&self, counted: bool) -> Result<(), Breach> {
        let (losses, most) = (self.losses + u32::from(counted), self.max_losses);
        require(most > 0 && losses <= most, Law::Losses, || {
            format!("the task reruns after {losses} counted losses; it allows {most}")
        })
    }

    /// The record states what the facts before it state.
    fn ends_as(&self, record: &TaskRecord) -> Result<(), Breach> {
        let worker = self.with().map(|(worker, _)| worker);
        require(record.worker == worker, Law::L3, || {
            format!("it ended in worker {:?}, and was with {worker:?}", record.worker)
        })?;
        let attempts = record.attempt.map_or(0, |attempt| attempt.0);
        require(attempts == self.attempts, Law::L5, || {
            format!("the record counts {attempts} attempts instead of {}", self.attempts)
        })?;
        let (found, own) = ((record.retries, record.worker_losses), (self.retries, self.losses));
        require(found == own, Law::L13, || {
            format!("the record counts {found:?} retries and losses instead of {own:?}")
        })?;
        let is_lost = matches!(record.outcome, Outcome::Lost(_));
        require(!is_lost || self.losses == self.max_losses, Law::Losses, || {
            format!("the task is lost after {} counted losses; it allows {}", self.losses, self.max_losses)
        })
    }
}

#[cfg(test)]
mod tests;
