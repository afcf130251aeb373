//! The engine's state from its facts alone (L13).
//!
//! [`EngineState`] is what a journal, a page or a second machine knows of an engine. It is made of facts and nothing
//! else, and refuses a fact that cannot follow the ones before it: so it is also the checker of the laws that speak of
//! what may happen to a task (L1, L3, L5).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::workflow::{Step, StepState, WorkflowId, WorkflowRecord};
use crate::model::{
    BlockedBy, Fact, FactId, FactKind, NotBefore, OutcomeCounts, PoolId, RefusalReason, Seq, Task, TaskId, TaskRecord,
    Tick, WorkerId, WorkerRef,
};

/// Everything that the facts so far tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineState {
    /// The last fact.
    pub last: Option<FactId>,
    /// The tasks that have no outcome yet.
    pub tasks: BTreeMap<TaskId, LiveTask>,
    /// The records that are retained.
    pub records: BTreeMap<TaskId, Arc<TaskRecord>>,
    /// Tasks accepted so far.
    pub accepted: u64,
    /// Outcomes so far.
    pub outcomes: OutcomeCounts,
    /// Submissions refused so far.
    pub refused: BTreeMap<RefusalReason, u64>,
    /// The workers whose process lives, or that have not left.
    pub workers: BTreeMap<WorkerRef, WorkerFacts>,
    /// The pools of which something was told.
    pub pools: BTreeMap<PoolId, PoolFacts>,
    /// The workflows in flight: the states of their steps' tasks.
    pub workflows: BTreeMap<WorkflowId, BTreeMap<TaskId, StepState>>,
    /// What ready steps wait for at the gates of their workflows, by the step's task and the instance.
    pub blocked_steps: BTreeMap<(TaskId, Option<u32>), BlockedBy>,
    /// The records of ended workflows that are retained.
    pub workflow_records: BTreeMap<WorkflowId, Arc<WorkflowRecord>>,
    /// Submissions are refused, because the machine is too busy.
    pub overloaded: bool,
    /// The engine runs.
    pub running: bool,
}

/// A task without an outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveTask {
    /// The task.
    pub task: Task,
    /// When it was accepted.
    pub submitted: Tick,
    /// Where it is.
    pub phase: TaskPhase,
    /// Executions so far, the present one included.
    pub attempts: u32,
    /// Retries after failures.
    pub retries: u32,
    /// Deaths of a worker under it.
    pub losses: u32,
    /// Its cancellation was asked for.
    pub cancelled: bool,
    /// It runs alone next time.
    pub isolated: bool,
    /// It has passed the gate of its limits.
    pub admitted: bool,
    /// What it waits for, if it could be placed otherwise.
    pub blocked: Option<BlockedBy>,
    /// The slots that are kept idle for it.
    pub reserved: Vec<(WorkerId, u32)>,
}

/// Where a task without an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskPhase {
    /// In its pool's queue, or at the gate of its limits.
    Queued,
    /// With a worker.
    Sent {
        /// Which.
        worker: WorkerRef,
        /// Its number there.
        seq: Seq,
        /// Since when.
        at: Tick,
    },
    /// For a time.
    Waiting {
        /// When that is over.
        until: Tick,
    },
}

/// What the facts tell of a worker. The Supervisor tells of its process and the Dispatcher of its duty, which may end
/// some turns later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its process, if that was told.
    pub process: Option<ProcessPhase>,
    /// What the Dispatcher has it do; `None` before it has joined.
    pub duty: Option<Duty>,
}

/// How far a worker's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessPhase {
    /// It has no handshake yet.
    Launched,
    /// It finished its handshake.
    Ready,
    /// It has ended.
    Down,
}

/// Whether a worker takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It takes tasks.
    Joined,
    /// It takes no more tasks, and finishes what it has.
    Retiring,
}

/// What the facts tell of a pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolFacts {
    /// How many workers it is to have, if that was told.
    pub target: Option<u32>,
    /// Its replacements wait.
    pub breaker_open: bool,
    /// Why its tasks fail, if they do.
    pub unavailable: Option<String>,
}

/// A fact that cannot follow the ones before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// Facts are missing.
    #[error("fact {found} follows fact {expected_after}: facts are missing between them")]
    Gap {
        /// The last one.
        expected_after: FactId,
        /// The one that came.
        found: FactId,
    },
    /// It is about a task that has not been accepted, or has ended.
    #[error("`{fact}` of task {task}, which is not live")]
    NotLive {
        /// The kind of the fact.
        fact: &'static str,
        /// The task.
        task: TaskId,
    },
    /// It is about a task that is elsewhere.
    #[error("`{fact}` of task {task}, which is {phase:?}")]
    WrongPhase {
        /// The kind of the fact.
        fact: &'static str,
        /// The task.
        task: TaskId,
        /// Where the task is.
        phase: TaskPhase,
    },
    /// A task was accepted twice (L1).
    #[error("task {task} was accepted twice")]
    AcceptedTwice {
        /// The task.
        task: TaskId,
    },
    /// An attempt has the wrong number (L5).
    #[error("task {task} was sent as attempt {found}, after {attempts} attempts")]
    WrongAttempt {
        /// The task.
        task: TaskId,
        /// The number.
        found: u32,
        /// How many there were.
        attempts: u32,
    },
    /// It is about a worker that is not there (L3).
    #[error("`{fact}` of worker {worker}, which is {found:?}")]
    WrongWorker {
        /// The kind of the fact.
        fact: &'static str,
        /// The worker.
        worker: WorkerRef,
        /// What the facts tell of it.
        found: WorkerFacts,
    },
    /// It is about a workflow or a step that is not in flight, or has not ended (L1, L3).
    #[error("`{fact}` of workflow {workflow} does not fit: step {task:?}")]
    WrongStep {
        /// The kind of the fact.
        fact: &'static str,
        /// The workflow.
        workflow: WorkflowId,
        /// The step's task, if it is about one.
        task: Option<TaskId>,
    },
    /// A record was dropped that is not retained.
    #[error("the record of task {task} was dropped, and is not retained")]
    NoRecord {
        /// The task.
        task: TaskId,
    },
}

impl EngineState {
    /// Takes in the next fact. A fact that is refused changes nothing.
    ///
    /// # Errors
    /// If it cannot follow the ones before it.
    pub fn apply(&mut self, fact: &Fact) -> Result<(), FoldError> {
        if let Some(last) = self.last
            && (last.incarnation, last.number + 1) != (fact.id.incarnation, fact.id.number)
        {
            return Err(FoldError::Gap { expected_after: last, found: fact.id });
        }
        self.apply_kind(fact.tick, &fact.kind)?;
        self.last = Some(fact.id);
        Ok(())
    }

    /// The same without a number.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), apart from gaps.
    pub fn apply_kind(&mut self, now: Tick, kind: &FactKind) -> Result<(), FoldError> {
        let fact = kind.info().name;
        match kind {
            FactKind::TaskAccepted { task } => self.accept(task, now),
            FactKind::TaskFinished { record } => {
                self.live(fact, record.id)?;
                self.tasks.remove(&record.id);
                self.outcomes.count(&record.outcome);
                self.records.insert(record.id, record.0.clone());
                Ok(())
            }
            FactKind::RecordDropped { task, .. } => {
                self.records.remove(task).map(|_| ()).ok_or(FoldError::NoRecord { task: *task })
            }
            FactKind::SubmissionsRefused { counts } => {
                for (reason, count) in counts {
                    let refused = self.refused.entry(*reason).or_default();
                    *refused = refused.saturating_add(*count);
                }
                Ok(())
            }
            // They may be about a task that is not live.
            FactKind::KillSpared { .. }
            | FactKind::StepChanged { .. }
            | FactKind::StepBlocked { .. }
            | FactKind::StepAdmitted { .. } => self.change_rest(fact, kind),
            kind if kind.task().is_some() => self.change_task(fact, kind, now),
            kind => self.change_rest(fact, kind),
        }
    }

    fn accept(&mut self, task: &Task, now: Tick) -> Result<(), FoldError> {
        let id = task.id();
        if self.tasks.contains_key(&id) || self.records.contains_key(&id) {
            return Err(FoldError::AcceptedTwice { task: id });
        }
        self.accepted += 1;
        self.tasks.insert(id, LiveTask::new(task.clone(), now));
        Ok(())
    }

    fn live(&mut self, fact: &'static str, task: TaskId) -> Result<&mut LiveTask, FoldError> {
        self.tasks.get_mut(&task).ok_or(FoldError::NotLive { fact, task })
    }

    /// What happens to a task between its acceptance and its outcome.
    fn change_task(&mut self, fact: &'static str, kind: &FactKind, now: Tick) -> Result<(), FoldError> {
        let Some(id) = kind.task() else { return Ok(()) };
        if let FactKind::TaskSent { worker, .. } = kind {
            self.worker(fact, *worker, |it| it.duty == Some(Duty::Joined))?;
        }
        let task = self.live(fact, id)?;
        match kind {
            FactKind::TaskHeld { until, .. } => {
                if !task.is_held_by_calendar() {
                    task.leave_queue(fact)?;
                }
                task.phase = TaskPhase::Waiting { until: *until };
            }
            FactKind::TaskDue { .. } => {
                task.is_in(fact, |phase| matches!(phase, TaskPhase::Waiting { .. }))?;
                task.phase = TaskPhase::Queued;
            }
            FactKind::TaskBlocked { by, .. } => {
                task.is_in(fact, |phase| phase == TaskPhase::Queued)?;
                task.blocked = Some(by.clone());
            }
            FactKind::TaskAdmitted { .. } => {
                task.leave_queue(fact)?;
                task.admitted = true;
            }
            FactKind::TaskSent { worker, seq, attempt, .. } => {
                task.leave_queue(fact)?;
                if attempt.0 != task.attempts + 1 {
                    return Err(FoldError::WrongAttempt { task: id, found: attempt.0, attempts: task.attempts });
                }
                task.attempts += 1;
                task.phase = TaskPhase::Sent { worker: *worker, seq: *seq, at: now };
            }
            FactKind::SlotsReserved { slots, .. } => task.reserved.clone_from(slots),
            FactKind::TaskReturned { worker, .. } => {
                task.leave_worker(fact, *worker)?;
                task.attempts -= 1;
            }
            FactKind::TaskRetrying { ended, until, .. } => {
                task.leave_worker(fact, ended.worker)?;
                task.retries += 1;
                task.phase = TaskPhase::Waiting { until: *until };
            }
            FactKind::TaskRerun { ended, counted, .. } => {
                task.leave_worker(fact, ended.worker)?;
                task.losses += u32::from(*counted);
                task.isolated |= counted;
            }
            FactKind::CancelRequested { .. } => task.cancelled = true,
            FactKind::InterruptOrdered { worker, .. } | FactKind::KillOrdered { worker, .. } => {
                task.is_in(fact, |phase| phase.is_with(*worker))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What is about no task.
    fn change_rest(&mut self, fact: &'static str, kind: &FactKind) -> Result<(), FoldError> {
        use ProcessPhase::{Down, Launched, Ready};
        match kind {
            FactKind::WorkerLaunched { worker, .. } => {
                self.worker(fact, *worker, |it| *it == WorkerFacts::default())?.process = Some(Launched);
            }
            FactKind::WorkerReady { worker, .. } => {
                // Who listens only now has not heard of its launch.
                let fits = |it: &WorkerFacts| it.process.is_none_or(|phase| phase == Launched);
                self.worker(fact, *worker, fits)?.process = Some(Ready);
            }
            FactKind::WorkerJoined { worker, .. } => {
                self.worker(fact, *worker, |it| it.duty.is_none())?.duty = Some(Duty::Joined);
            }
            FactKind::WorkerRetiring { worker, .. } => {
                self.worker(fact, *worker, |it| it.duty == Some(Duty::Joined))?.duty = Some(Duty::Retiring);
            }
            FactKind::WorkerDown { worker, .. } => {
                self.worker(fact, *worker, |it| it.process != Some(Down))?.process = Some(Down);
                self.forget_if_gone(*worker);
            }
            FactKind::WorkerLeft { worker } => {
                self.worker(fact, *worker, |it| it.duty.is_some())?.duty = None;
                self.forget_if_gone(*worker);
            }
            FactKind::PoolTarget { pool, workers, .. } => self.pool(*pool).target = Some(*workers),
            FactKind::BreakerOpened { pool, .. } => self.pool(*pool).breaker_open = true,
            FactKind::BreakerClosed { pool, .. } => self.pool(*pool).breaker_open = false,
            FactKind::PoolUnavailable { pool, error } => {
                self.pool(*pool).unavailable = Some(error.message.clone());
            }
            FactKind::PoolHealed { pool } => self.pool(*pool).unavailable = None,
            FactKind::OverloadStarted { .. } => self.overloaded = true,
            FactKind::OverloadEnded {} => self.overloaded = false,
            FactKind::WorkflowAccepted { workflow, spec } => {
                if self.workflows.contains_key(workflow) {
                    return Err(FoldError::WrongStep { fact, workflow: *workflow, task: None });
                }
                self.workflows.insert(*workflow, waiting(&spec.steps).collect());
            }
            FactKind::StepsAdded { workflow, steps, .. } => {
                let unknown = FoldError::WrongStep { fact, workflow: *workflow, task: None };
                self.workflows.get_mut(workflow).ok_or(unknown)?.extend(waiting(steps));
            }
            FactKind::StepChanged { workflow, task, state, .. } => {
                *self.step(fact, *workflow, *task)? = *state;
                if state.is_final() {
                    let instances = (*task, None)..=(*task, Some(u32::MAX));
                    self.blocked_steps.extract_if(instances, |_, _| true).for_each(drop);
                }
            }
            FactKind::StepBlocked { workflow, task, instance, by, .. } => {
                self.ready_step(fact, *workflow, *task)?;
                self.blocked_steps.insert((*task, *instance), *by.clone());
            }
            FactKind::StepAdmitted { workflow, task, instance, .. } => {
                self.ready_step(fact, *workflow, *task)?;
                self.blocked_steps.remove(&(*task, *instance));
            }
            FactKind::WorkflowFinished { workflow, record, .. } => {
                let unknown = FoldError::WrongStep { fact, workflow: *workflow, task: None };
                let steps = self.workflows.get(workflow).ok_or(unknown)?;
                if let Some((task, _)) = steps.iter().find(|(_, state)| !state.is_final()) {
                    return Err(FoldError::WrongStep { fact, workflow: *workflow, task: Some(*task) });
                }
                self.workflows.remove(workflow);
                self.workflow_records.insert(*workflow, record.clone());
            }
            FactKind::WorkflowRecordDropped { workflow, .. } => {
                self.workflow_records.remove(workflow);
            }
            FactKind::EngineStarted { .. } => self.running = true,
            FactKind::EngineEnded { .. } => self.running = false,
            _ => {}
        }
        Ok(())
    }

    fn pool(&mut self, pool: PoolId) -> &mut PoolFacts {
        self.pools.entry(pool).or_default()
    }

    /// The state of a step that has not ended.
    fn step(&mut self, fact: &'static str, workflow: WorkflowId, task: TaskId) -> Result<&mut StepState, FoldError> {
        let steps = self.workflows.get_mut(&workflow);
        let step = steps.and_then(|steps| steps.get_mut(&task)).filter(|state| !state.is_final());
        step.ok_or(FoldError::WrongStep { fact, workflow, task: Some(task) })
    }

    /// A step may pass the gate of its workflow: it is ready, or it is mapped and an instance of it runs.
    fn ready_step(&mut self, fact: &'static str, workflow: WorkflowId, task: TaskId) -> Result<(), FoldError> {
        let state = *self.step(fact, workflow, task)?;
        let is_ready = matches!(state, StepState::Ready | StepState::Running);
        is_ready.then_some(()).ok_or(FoldError::WrongStep { fact, workflow, task: Some(task) })
    }

    /// What is known of a worker, to change it, if that fits.
    fn worker(
        &mut self,
        fact: &'static str,
        worker: WorkerRef,
        fits: impl Fn(&WorkerFacts) -> bool,
    ) -> Result<&mut WorkerFacts, FoldError> {
        let found = self.workers.get(&worker).copied().unwrap_or_default();
        if !fits(&found) {
            return Err(FoldError::WrongWorker { fact, worker, found });
        }
        Ok(self.workers.entry(worker).or_default())
    }

    fn forget_if_gone(&mut self, worker: WorkerRef) {
        let is_gone =
            |it: &WorkerFacts| it.duty.is_none() && it.process.is_none_or(|phase| phase == ProcessPhase::Down);
        if self.workers.get(&worker).is_some_and(is_gone) {
            self.workers.remove(&worker);
        }
    }
}

/// Steps that have just been accepted.
fn waiting(steps: &[Step]) -> impl Iterator<Item = (TaskId, StepState)> {
    steps.iter().map(|step| (step.task().id(), StepState::Waiting))
}

impl TaskPhase {
    fn is_with(self, other: WorkerRef) -> bool {
        matches!(self, Self::Sent { worker, .. } if worker == other)
    }
}

impl LiveTask {
    fn new(task: Task, now: Tick) -> Self {
        Self {
            task,
            submitted: now,
            phase: TaskPhase::Queued,
            attempts: 0,
            retries: 0,
            losses: 0,
            cancelled: false,
            isolated: false,
            admitted: false,
            blocked: None,
            reserved: Vec::new(),
        }
    }

    /// Whether the task waits for a calendar time before its first attempt, so that it can be held anew.
    fn is_held_by_calendar(&self) -> bool {
        let until_calendar = matches!(self.task.options().not_before, Some(NotBefore::At(_)));
        until_calendar && self.attempts == 0 && matches!(self.phase, TaskPhase::Waiting { .. })
    }

    fn is_in(&self, fact: &'static str, fits: impl Fn(TaskPhase) -> bool) -> Result<(), FoldError> {
        if fits(self.phase) {
            Ok(())
        } else {
            Err(FoldError::WrongPhase { fact, task: self.task.id(), phase: self.phase })
        }
    }

    /// It is not blocked any more.
    fn leave_queue(&mut self, fact: &'static str) -> Result<(), FoldError> {
        self.is_in(fact, |phase| phase == TaskPhase::Queued)?;
        self.blocked = None;
        Ok(())
    }

    /// Its attempt is over, and so is what that held.
    fn leave_worker(&mut self, fact: &'static str, worker: WorkerRef) -> Result<(), FoldError> {
        self.is_in(fact, |phase| phase.is_with(worker))?;
        self.phase = TaskPhase::Queued;
        self.admitted = false;
        self.reserved.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
