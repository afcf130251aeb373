//! Every message between actors, grouped by receiver.

use std::sync::Arc;

use actix::{Message, MessageResponse, Recipient};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::answer::{Answer, WorkflowAnswer};
use super::completions::{Completed, Completer};
use super::late_waiters::GivesUp;
use crate::model::workflow::{GraphError, Step, WorkflowId, WorkflowSpec};
use crate::model::{CancelAnswer, CancelSource, ScalingRule, WorkerProcess};
use crate::model::{
    HostLoad, Json, KillReason, PoolId, PoolMap, PoolStatus, RecycleCause, RefusalReason, Seq, Status, Task, TaskError,
    TaskId, TaskProgress, TaskRecord, WorkerRef,
};
use crate::policy::graph::StepStatus;
use crate::policy::scaling::PoolLoad;
use crate::policy::scheduler::{Departure, Report, RunTask, WorkerCapacity};
use crate::policy::workflows::StepRef;
use crate::process::{ProcessLoad, WallClockSet};

// To the Dispatcher, from outside the engine's thread. All of these travel in one queue, in batches,
// so that they are handled in the order in which they were sent: see `inbox`.

/// A request to the engine.
#[derive(Debug)]
pub enum Request {
    /// Run a task. Its sender has passed the [`Admission`](super::Admission) (L9).
    Submit(Submission),
    /// Run these tasks, in this order.
    SubmitMany(Vec<Submission>),
    /// Add another receiver of a task's record.
    Await {
        /// The task.
        id: TaskId,
        /// Receives the record.
        reply: Reply,
    },
    /// Cancel a task.
    Cancel(CancelTask),
    /// Return the status.
    Status {
        /// Receives the status.
        reply: oneshot::Sender<Arc<Status>>,
    },
    /// Return what a running task has reported last about its progress; `None` if it does not run or has reported none.
    Progress {
        /// The task.
        id: TaskId,
        /// Receives the progress.
        reply: oneshot::Sender<Option<TaskProgress>>,
    },
    /// A request to the WorkflowManager.
    Workflow(WorkflowRequest),
    /// Answer when no task and no workflow is live.
    Drain {
        /// Receives the answer.
        reply: oneshot::Sender<()>,
    },
    /// Cancel every live task.
    CancelAll {
        /// The error of the tasks.
        error: TaskError,
        /// Receives the number of tasks accepted so far.
        reply: oneshot::Sender<usize>,
    },
}

/// A request to the WorkflowManager. It travels in the same queue as requests about tasks, so that it finds the tasks
/// that were submitted before it.
#[derive(Message)]
#[rtype(result = "()")]
pub enum WorkflowRequest {
    /// Run a workflow.
    Submit(Box<WorkflowSubmission>),
    /// Add another receiver of a workflow's record.
    Await {
        /// The workflow.
        id: WorkflowId,
        /// Receives the record.
        reply: Reply<WorkflowAnswer>,
    },
    /// Return the present state of a workflow.
    Look {
        /// The workflow.
        id: WorkflowId,
        /// Receives the record so far.
        reply: oneshot::Sender<WorkflowAnswer>,
    },
    /// Cancel a workflow.
    Cancel {
        /// The workflow.
        id: WorkflowId,
        /// Receives whether the workflow was in flight.
        reply: oneshot::Sender<bool>,
    },
    /// Add a receiver of the record of a task that the Dispatcher does not know: of a step that has not been submitted,
    /// or never was.
    AwaitTask {
        /// The task.
        id: TaskId,
        /// Receives the record.
        reply: Reply,
    },
    /// Cancel such a task.
    CancelTask(CancelTask),
}

/// Cancel a task. The Dispatcher passes the request on to the WorkflowManager if it does not know the task.
#[derive(Debug)]
pub struct CancelTask {
    /// The task.
    pub id: TaskId,
    /// The source of the request. A withdrawal cancels only a task that has not been sent to a worker.
    pub by: CancelSource,
    /// Receives the effect of the cancellation.
    pub reply: oneshot::Sender<CancelAnswer>,
}

impl std::fmt::Debug for WorkflowRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Submit(_) => "Submit",
            Self::Await { .. } => "Await",
            Self::Look { .. } => "Look",
            Self::Cancel { .. } => "Cancel",
            Self::AwaitTask { .. } => "AwaitTask",
            Self::CancelTask(_) => "CancelTask",
        })
    }
}

/// Makes steps from the result of a dynamic step, or returns the errors in it.
pub type Expand = Box<dyn Fn(&Json) -> Result<Vec<Step>, Vec<String>> + Send>;

/// A submitted workflow.
pub struct WorkflowSubmission {
    /// The id.
    pub id: WorkflowId,
    /// The specification.
    pub spec: WorkflowSpec,
    /// Makes steps from the results of its dynamic steps.
    pub expand: Expand,
    /// Receives whether the workflow was accepted, or all errors in it.
    pub accepted: oneshot::Sender<Result<(), WorkflowRefusal>>,
    /// Receives the record.
    pub reply: Reply<WorkflowAnswer>,
}

/// The reason why a workflow was refused. None of its steps runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowRefusal {
    /// The workflow is invalid.
    #[error("the workflow is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Graph(Vec<GraphError>),
    /// The maximum number of workflows is in flight.
    #[error("{most} workflows are in flight: submit later, or raise `input_queue_size`")]
    TooMany {
        /// The maximum.
        most: usize,
    },
    /// The engine shuts down.
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

/// A submitted task.
#[derive(Debug)]
pub struct Submission {
    /// The task.
    pub task: Task,
    /// The units of bytes that the admission gave it.
    pub units: u32,
    /// Receives the record.
    pub reply: Reply,
    /// Receives the id of the accepted task, or of the live task with the same unique key.
    pub accepted: Option<oneshot::Sender<TaskId>>,
}

/// The receiver of a record. It is dropped without an answer only if the engine fails.
#[derive(Debug)]
pub enum Reply<A = Answer> {
    /// A caller that waits for one task or workflow.
    One(oneshot::Sender<A>),
    /// A caller that waits for many.
    Many(Box<Completer>),
}

impl<A: Into<Completed>> Reply<A> {
    /// Sends the answer.
    pub fn send(self, answer: A) {
        match self {
            Self::One(sender) => drop(sender.send(answer)),
            Self::Many(completer) => completer.complete(answer),
        }
    }
}

impl<A> GivesUp for Reply<A> {
    fn gave_up(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Many(completer) => completer.is_given_up(),
        }
    }
}

// To the Dispatcher, from other actors.

/// Run these steps of workflows, which have passed the admission. From the WorkflowManager.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SubmitSteps(pub Vec<(StepRef, Task)>);

/// Cancel the tasks of steps. From the WorkflowManager.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelSteps(pub Vec<TaskId>);

/// Look these tasks up, and report the end of those that are live. From the WorkflowManager.
#[derive(Debug, Message)]
#[rtype(result = "Tasks")]
pub struct LookUp {
    /// The workflow that asks.
    pub workflow: WorkflowId,
    /// The tasks of its steps, which must be new.
    pub own: Vec<TaskId>,
    /// The other tasks that its steps depend on.
    pub others: Vec<TaskId>,
}

/// The answer: the status of each task.
#[derive(Debug, MessageResponse)]
pub struct Tasks(pub FxHashMap<TaskId, StepStatus>);

/// A workflow has ended or was refused. From the WorkflowManager, once for each workflow.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WorkflowClosed;

// To the WorkflowManager, from the Dispatcher.

/// Updates of tasks that workflows wait for, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StepUpdates(pub Vec<StepUpdate>);

/// An update of a task.
#[derive(Clone, Debug)]
pub enum StepUpdate {
    /// The task was sent to a worker.
    Started(StepRef),
    /// The task has ended.
    Ended(StepRef, Arc<TaskRecord>),
    /// The task was refused: a task with the same id is known.
    Refused(StepRef),
    /// A task outside the workflow has ended.
    External(WorkflowId, Arc<TaskRecord>),
}

/// Cancel every workflow, and refuse new ones.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelWorkflows {
    /// Receives the answer when this is done.
    pub reply: oneshot::Sender<()>,
}

/// The Supervisor's mailbox, for replacements. From the Supervisor, as its first message.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterSupervisor {
    /// The mailbox.
    pub supervisor: Recipient<PoolRequest>,
}

/// The WorkflowManager's mailboxes. From the WorkflowManager, as its first message.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RegisterWorkflows {
    /// Receives requests about workflows.
    pub requests: Recipient<WorkflowRequest>,
    /// Receives updates of tasks.
    pub updates: Recipient<StepUpdates>,
    /// Receives the order to cancel all workflows.
    pub cancel: Recipient<CancelWorkflows>,
}

/// A worker takes tasks from now on. From the Supervisor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WorkerJoined {
    /// The worker.
    pub worker: WorkerRef,
    /// The number of tasks that it takes.
    pub capacity: WorkerCapacity,
    /// The process, for the status only.
    pub process: WorkerProcess,
    /// Its mailbox.
    pub commands: Recipient<WorkerCommand>,
}

/// A worker is gone. From the Supervisor, after all reports of the worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerLeft {
    /// The worker.
    pub worker: WorkerRef,
    /// The reason and the attempts that ran.
    pub departure: Departure,
}

/// Reports on tasks. From a worker, many at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reports {
    /// The worker.
    pub worker: WorkerRef,
    /// The reports, in the order of the events.
    pub reports: Vec<Report>,
}

/// The workers of a pool or its target changed. From the Supervisor.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct PoolChanged {
    /// The pool.
    pub pool: PoolId,
    /// The status. The Dispatcher itself adds the ready workers and why none can start.
    pub status: PoolStatus,
}

/// The measured load. From the Autoscaler.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Measured {
    /// The load of the machine or the container.
    pub host: HostLoad,
    /// The load of the workers' processes that still exist.
    pub workers: Vec<(WorkerRef, ProcessLoad)>,
}

/// Return the load of each pool. From the Autoscaler.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Loads")]
pub struct GetLoads;

/// The answer: the load of each pool.
#[derive(Clone, Debug, MessageResponse)]
pub struct Loads {
    /// The load by pool.
    pub pools: PoolMap<PoolLoad>,
}

/// Return the ready workers and their processes on this machine. From the Autoscaler to the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(WorkerRef, u32)>")]
pub struct GetProcesses;

/// No worker of a pool can start at present. From the Supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PoolUnavailable {
    /// The pool.
    pub pool: PoolId,
    /// The error of its tasks.
    pub error: TaskError,
}

/// Choose workers of a pool to drain. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shrink {
    /// The pool.
    pub pool: PoolId,
    /// The number of workers to drain.
    pub count: usize,
}

/// The wall clock was set. From the watch on it.
impl Message for WallClockSet {
    type Result = ();
}

// To a Worker.

/// A command from the Dispatcher.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum WorkerCommand {
    /// Run these tasks, in this order.
    Run(Vec<RunTask>),
    /// Take these attempts back if they have not started.
    Revoke(Vec<Seq>),
    /// Raise the exception of the soft time limit in this attempt.
    Interrupt(Seq),
    /// Take this attempt back if it has not started, otherwise ask it to stop.
    Cancel(Seq),
    /// Kill the process of this attempt, unless the attempt has ended (L6).
    Kill(Seq, KillReason),
    /// Say what this attempt's task has reported last about its progress.
    TellProgress(Seq, oneshot::Sender<Option<TaskProgress>>),
    /// End: the worker drained, or its successor has joined.
    Retire,
}

/// Finish the tasks in flight, then end; after the grace period, the process is killed. From the Supervisor.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

// To the Supervisor.

/// A change of a pool that tasks need. From the Dispatcher.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum PoolRequest {
    /// Recycle this worker: start its successor, and end it when the successor is ready.
    Recycle(WorkerRef, RecycleCause),
    /// Have at least this number of workers in this pool: a waiting task cannot run with fewer.
    Workers(PoolId, usize),
    /// Do not replace these workers of this pool: they drain and end. This answers [`Shrink`], even if the list is
    /// empty.
    Fewer(PoolId, Vec<WorkerRef>),
}

/// Set the target of a pool. From the Autoscaler.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SetTarget {
    /// The pool.
    pub pool: PoolId,
    /// The target, which the Supervisor brings within the pool's bounds.
    pub workers: u32,
    /// The rule and the figures behind the decision.
    pub rule: ScalingRule,
}

/// A worker finished its handshake. From the worker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerReady {
    /// The worker.
    pub worker: WorkerRef,
    /// The process id.
    pub pid: u32,
    /// The version of Python.
    pub python: String,
}

/// A worker is gone. Each launched worker sends this exactly once, after all its reports, even if its actor panics.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WorkerDown {
    /// The worker.
    pub worker: WorkerRef,
    /// The reason and the attempts that ran.
    pub departure: Departure,
    /// Whether the worker lived or worked long enough to be replaced without delay.
    pub healthy: bool,
}

/// Retire every worker and start none. Answer when all are gone. From the engine's shutdown.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct StopWorkers {
    /// Receives the answer.
    pub reply: oneshot::Sender<()>,
}

// To an actor with a timer.

/// The actor's timer was due. From the timer driver.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TimerDue;

/// Panic, so that a test sees how the engine ends. From tests, to the Dispatcher.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Panic;
