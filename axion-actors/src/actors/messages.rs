//! Every message between actors, grouped by receiver.

use std::sync::Arc;

use actix::{Message, MessageResponse, Recipient};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::answer::{Answer, WorkflowAnswer};
use super::completions::{Completed, Completer};
use crate::model::workflow::{GraphError, Step, WorkflowId, WorkflowSpec};
use crate::model::{CancelAnswer, WorkerProcess};
use crate::model::{
    HostLoad, Json, KillReason, PoolId, PoolMap, PoolStatus, RecycleCause, RefusalReason, Seq, Status, Task, TaskError,
    TaskId, TaskRecord, WorkerRef,
};
use crate::policy::graph::StepStatus;
use crate::policy::scaling::PoolLoad;
use crate::policy::scheduler::{Departure, Report, RunTask, WorkerCapacity};
use crate::policy::workflows::StepRef;
use crate::process::ProcessLoad;

// To the Dispatcher, from outside the engine's thread. All of these travel in one queue, in batches,
// so that they are handled in the order in which they were sent: see `inbox`.

/// Something that is wanted of the engine.
#[derive(Debug)]
pub enum Request {
    /// Run a task. Its sender has passed the [`Admission`](super::Admission) (L9).
    Submit(Submission),
    /// Run these tasks, in this order.
    SubmitMany(Vec<Submission>),
    /// Someone else wants to wait for a task, too.
    Await {
        /// Which task.
        id: TaskId,
        /// Gets its record.
        reply: Reply,
    },
    /// End a task before its time.
    Cancel {
        /// Which.
        id: TaskId,
        /// Gets what becomes of it.
        reply: oneshot::Sender<CancelAnswer>,
    },
    /// End a task if it has not been sent to a worker.
    Withdraw {
        /// Which.
        id: TaskId,
        /// Gets whether it has been ended.
        reply: oneshot::Sender<bool>,
    },
    /// Say how everything is.
    Status {
        /// Gets the answer.
        reply: oneshot::Sender<Arc<Status>>,
    },
    /// Something about workflows, for the WorkflowManager.
    Workflow(WorkflowRequest),
    /// Answer when no task and no workflow is live any more.
    Drain {
        /// Gets the answer.
        reply: oneshot::Sender<()>,
    },
    /// End every live task as cancelled.
    CancelAll {
        /// The reason, for the tasks.
        error: TaskError,
        /// Gets the number of tasks so far.
        reply: oneshot::Sender<usize>,
    },
}

/// Something that is wanted of the WorkflowManager. It travels in the same queue, so that it finds the tasks
/// that were submitted before it.
#[derive(Message)]
#[rtype(result = "()")]
pub enum WorkflowRequest {
    /// Run a workflow.
    Submit(Box<WorkflowSubmission>),
    /// Someone else wants to wait for a workflow, too.
    Await {
        /// Which.
        id: WorkflowId,
        /// Gets its record.
        reply: Reply<WorkflowAnswer>,
    },
    /// Say where a workflow stands.
    Look {
        /// Which.
        id: WorkflowId,
        /// Gets the record so far.
        reply: oneshot::Sender<WorkflowAnswer>,
    },
    /// End a workflow before its time.
    Cancel {
        /// Which.
        id: WorkflowId,
        /// Gets whether it was in flight.
        reply: oneshot::Sender<bool>,
    },
    /// Someone waits for a task that the Dispatcher does not know: for a step that has not been submitted, or
    /// never was.
    AwaitTask {
        /// Which.
        id: TaskId,
        /// Gets its record.
        reply: Reply,
    },
    /// End such a task before its time.
    CancelTask {
        /// Which.
        id: TaskId,
        /// Gets what becomes of it.
        reply: oneshot::Sender<CancelAnswer>,
    },
    /// End such a task if it has not been sent to a worker.
    WithdrawTask {
        /// Which.
        id: TaskId,
        /// Gets whether it has been ended.
        reply: oneshot::Sender<bool>,
    },
}

impl std::fmt::Debug for WorkflowRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Submit(_) => "Submit",
            Self::Await { .. } => "Await",
            Self::Look { .. } => "Look",
            Self::Cancel { .. } => "Cancel",
            Self::AwaitTask { .. } => "AwaitTask",
            Self::CancelTask { .. } => "CancelTask",
            Self::WithdrawTask { .. } => "WithdrawTask",
        })
    }
}

/// What makes steps of a dynamic step's result, or says what is wrong with it.
pub type Expand = Box<dyn Fn(&Json) -> Result<Vec<Step>, Vec<String>> + Send>;

/// A workflow on its way in.
pub struct WorkflowSubmission {
    /// Its id.
    pub id: WorkflowId,
    /// What it is.
    pub spec: WorkflowSpec,
    /// For its dynamic steps.
    pub expand: Expand,
    /// Gets whether it was accepted, or everything that is wrong with it.
    pub accepted: oneshot::Sender<Result<(), WorkflowRefusal>>,
    /// Gets its record.
    pub reply: Reply<WorkflowAnswer>,
}

/// Why a workflow is not begun; nothing of it will be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowRefusal {
    /// It is wrong in itself.
    #[error("the workflow is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Graph(Vec<GraphError>),
    /// As many workflows as may be are in flight.
    #[error("{most} workflows are in flight: submit later, or raise `input_queue_size`")]
    TooMany {
        /// How many may be.
        most: usize,
    },
    /// The engine takes nothing more.
    #[error("the engine is shutting down and takes no more workflows")]
    ShuttingDown,
}

impl WorkflowRefusal {
    /// The reason, for the count of refusals.
    pub(super) fn reason(&self) -> RefusalReason {
        match self {
            Self::Graph(_) => RefusalReason::InvalidWorkflow,
            Self::TooMany { .. } => RefusalReason::TooManyWorkflows,
            Self::ShuttingDown => RefusalReason::Closed,
        }
    }
}

/// A task on its way in.
#[derive(Debug)]
pub struct Submission {
    /// The task.
    pub task: Task,
    /// Gets its record.
    pub reply: Reply,
    /// Gets the id of the task that runs: another one's, if that is live and has the same unique key.
    pub accepted: Option<oneshot::Sender<TaskId>>,
}

/// Where a record goes. Dropped without an answer only if the engine itself fails.
#[derive(Debug)]
pub enum Reply<A = Answer> {
    /// To somebody who waits for this task or workflow alone.
    One(oneshot::Sender<A>),
    /// To somebody who waits for many.
    Many(Box<Completer>),
}

impl<A: Into<Completed>> Reply<A> {
    /// Hands the answer over.
    pub fn send(self, answer: A) {
        match self {
            Self::One(sender) => drop(sender.send(answer)),
            Self::Many(completer) => completer.complete(answer),
        }
    }

    /// Nobody waits for it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::One(sender) if sender.is_closed())
    }
}

// To the Dispatcher, from other actors.

/// Run these tasks of workflows; they have passed the admission. From the WorkflowManager.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubmitSteps(pub Vec<(StepRef, Task)>);

/// End this task of a workflow before its time. From the WorkflowManager.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CancelStep(pub TaskId);

/// Say what is known of these tasks, and tell of the end of those that are live. From the WorkflowManager.
#[derive(Debug, Message)]
#[rtype(result = "Tasks")]
pub struct LookUp {
    /// For this workflow.
    pub workflow: WorkflowId,
    /// The tasks of its steps, which should not be known.
    pub own: Vec<TaskId>,
    /// Tasks that its steps wait for.
    pub others: Vec<TaskId>,
}

/// The answer: what is known of each.
#[derive(Debug, MessageResponse)]
pub struct Tasks(pub FxHashMap<TaskId, StepStatus>);

/// A workflow has ended, or was not begun. From the WorkflowManager, once for each that it was given.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WorkflowClosed;

// To the WorkflowManager, from the Dispatcher.

/// What became of tasks that workflows wait for, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StepUpdates(pub Vec<StepUpdate>);

/// What became of one.
#[derive(Clone, Debug)]
pub enum StepUpdate {
    /// It is with a worker.
    Started(StepRef),
    /// It has ended.
    Ended(StepRef, Arc<TaskRecord>),
    /// It cannot be run: a task with its id is known.
    Refused(StepRef),
    /// A task outside the workflow has ended.
    External(WorkflowId, Arc<TaskRecord>),
}

/// End every workflow, and begin none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelWorkflows {
    /// Gets the answer when that is done.
    pub reply: oneshot::Sender<()>,
}

/// Whom to ask for replacements. From the Supervisor, first of all.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterSupervisor {
    /// Its mailbox.
    pub supervisor: Recipient<PoolRequest>,
}

/// Whom to tell of workflows' tasks. From the WorkflowManager, first of all.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterWorkflows {
    /// Gets what is asked about workflows.
    pub requests: Recipient<WorkflowRequest>,
    /// Gets what became of their tasks.
    pub updates: Recipient<StepUpdates>,
    /// Gets the end of all of them.
    pub cancel: Recipient<CancelWorkflows>,
}

/// A worker takes tasks from now on. From the Supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WorkerJoined {
    /// Which.
    pub worker: WorkerRef,
    /// How many at a time.
    pub capacity: WorkerCapacity,
    /// What a status shows of its process. Nothing is decided by it.
    pub process: WorkerProcess,
    /// Its mailbox.
    pub commands: Recipient<WorkerCommand>,
}

/// A worker is gone. From the Supervisor, after every report of that worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerLeft {
    /// Which.
    pub worker: WorkerRef,
    /// Why, and what it ran.
    pub departure: Departure,
}

/// What became of tasks. From a worker, many at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reports {
    /// Which worker.
    pub worker: WorkerRef,
    /// In the order in which they happened.
    pub reports: Vec<Report>,
}

/// The workers of a pool have changed, or are to. From the Supervisor.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct PoolChanged {
    /// Which pool.
    pub pool: PoolId,
    /// How it is; who is ready and why none can be started, the Dispatcher knows itself.
    pub status: PoolStatus,
}

/// How busy everything is. From the Autoscaler.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Measured {
    /// The machine, or the container.
    pub host: HostLoad,
    /// The workers' processes, as far as they were still there.
    pub workers: Vec<(WorkerRef, ProcessLoad)>,
}

/// Say what there is to do, and who does it. From the Autoscaler.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Loads")]
pub struct GetLoads;

/// The answer.
#[derive(Clone, Debug, MessageResponse)]
pub struct Loads {
    /// By pool.
    pub pools: PoolMap<PoolLoad>,
}

/// The workers that are ready, and their processes on this machine. From the Autoscaler to the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(WorkerRef, u32)>")]
pub struct GetProcesses;

/// No worker of a pool can be started at present. From the Supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PoolUnavailable {
    /// Which pool.
    pub pool: PoolId,
    /// The reason, for its tasks.
    pub error: TaskError,
}

/// A pool is to do with fewer workers: say which go. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shrink {
    /// Which pool.
    pub pool: PoolId,
    /// How many fewer.
    pub count: usize,
}

// To a Worker.

/// From the Dispatcher.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum WorkerCommand {
    /// Run these, in this order.
    Run(Vec<RunTask>),
    /// Take these back if they have not started.
    Revoke(Vec<Seq>),
    /// Raise the soft time limit's exception in this one.
    Interrupt(Seq),
    /// Take this one back if it has not started, else ask it to stop.
    Cancel(Seq),
    /// Kill the process of this one, unless it has ended (L6).
    Kill(Seq, KillReason),
    /// End: the successor is there.
    Retire,
}

/// Finish what was sent, then end; by force after the grace period. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

// To the Supervisor.

/// What tasks need of the pools. From the Dispatcher.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum PoolRequest {
    /// Start a successor of this worker; it goes when that is ready.
    Recycle(WorkerRef, RecycleCause),
    /// Have so many workers of this pool at least: a task waits that cannot run with fewer.
    Workers(PoolId, usize),
    /// Do not replace these workers of this pool: they go when they have finished what they run. Answers
    /// [`Shrink`], also if there are none.
    Fewer(PoolId, Vec<WorkerRef>),
}

/// A pool should have this number of workers. From the Autoscaler.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SetTarget {
    /// Which pool.
    pub pool: PoolId,
    /// How many; brought within the pool's bounds.
    pub workers: u32,
    /// The figures by which that was decided.
    pub why: String,
}

/// A worker finished its handshake. From the worker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerReady {
    /// Which.
    pub worker: WorkerRef,
    /// Its process.
    pub pid: u32,
    /// Its Python version.
    pub python: String,
}

/// A worker is gone: sent exactly once for every worker that was started, after all its reports,
/// also when its actor panics. From the worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerDown {
    /// Which.
    pub worker: WorkerRef,
    /// Why, and what it ran.
    pub departure: Departure,
    /// Whether it had lived or worked long enough to be worth replacing at once.
    pub healthy: bool,
}

/// Retire every worker and start none; answer when all are gone. From the engine's shutdown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopWorkers {
    /// Gets the answer.
    pub reply: oneshot::Sender<()>,
}

/// Panic, to show what becomes of the engine then. From tests, to the Dispatcher.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Panic;
