//! All kinds of facts, in one list. The macro `facts!` makes the type, the table of kinds, the readers and the writers.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::cause::{
    BlockedBy, CancelSource, EngineEnd, LaunchCause, Placement, RecycleCause, RefusalReason, Resource, RetireCause,
    ReturnCause, RevokeCause, TargetCause, WorkerDownReason,
};
use crate::model::form::{FullAttempt, FullRecord};
use crate::model::ids::{Attempt, Seq, TaskId, WorkerId, WorkerRef};
use crate::model::outcome::TaskError;
use crate::model::pool::PoolId;
use crate::model::postmortem::KillReason;
use crate::model::record::ExpiredBy;
use crate::model::task::Task;
use crate::model::time::Tick;
use crate::model::workflow::{Step, StepState, WorkflowId, WorkflowRecord, WorkflowSpec, WorkflowState};

/// The description of a kind of fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// The number on disk, which never changes.
    pub code: u16,
    /// The version of the fields.
    pub version: u16,
    /// The name in JSON.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The names of its fields in their order, each with its meaning.
    pub fields: &'static [(&'static str, &'static str)],
}

macro_rules! facts {
    ($(
        $(#[doc = $doc:literal])*
        $code:literal $text:literal v $version:literal $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty ),* $(,)?
        }
    )*) => {
        /// The change that a fact states. Codes are grouped: tasks from 1, workers and pools from 40, workflows from
        /// 70, the engine from 90.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "event")]
        #[non_exhaustive]
        pub enum FactKind {
            $(
                $(#[doc = $doc])*
                #[serde(rename = $text)]
                $name { $( $(#[doc = $field_doc])* $field: $type ),* },
            )*
        }

        /// All kinds of facts.
        pub const KIND_TABLE: &[KindInfo] = &[
            $( KindInfo {
                code: $code,
                version: $version,
                name: $text,
                meaning: concat!($( $doc ),*),
                fields: &[$( (stringify!($field), concat!($( $field_doc ),*)) ),*],
            } ),*
        ];

        /// The fields, serialized by name.
        mod named {
            use super::*;

            $(
                #[derive(Deserialize)]
                pub(super) struct $name { $( pub(super) $field: $type ),* }
            )*
        }

        impl FactKind {
            /// The description of the kind.
            #[must_use]
            pub fn info(&self) -> KindInfo {
                match self {
                    $( Self::$name { .. } => KindInfo {
                        code: $code,
                        version: $version,
                        name: $text,
                        meaning: concat!($( $doc ),*),
                        fields: &[$( (stringify!($field), concat!($( $field_doc ),*)) ),*],
                    }, )*
                }
            }

            /// Reads the fields by name.
            pub(super) fn of_fields<'de, D: Deserializer<'de>>(event: &str, fields: D) -> Result<Self, D::Error> {
                match event {
                    $( $text => {
                        let named::$name { $( $field ),* } = Deserialize::deserialize(fields)?;
                        Ok(Self::$name { $( $field ),* })
                    } )*
                    _ => Err(D::Error::custom(format_args!("unknown kind of fact `{event}`"))),
                }
            }

            /// Writes the fields in their order, without names.
            pub(crate) fn write_fields<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$name { $( $field ),* } => ( $( $field, )* ).serialize(serializer), )*
                }
            }

            /// Reads the fields that [`write_fields`](Self::write_fields) wrote for the present version of a kind.
            /// Returns `None` if there is no such kind.
            pub(crate) fn read_fields<'de, D: Deserializer<'de>>(
                code: u16,
                deserializer: D,
            ) -> Option<Result<Self, D::Error>> {
                match code {
                    $( $code => Some(Deserialize::deserialize(deserializer).map(|( $( $field, )* )| {
                        Self::$name { $( $field ),* }
                    })), )*
                    _ => None,
                }
            }
        }
    };
}

facts! {
    /// The engine accepted a task, which waits in the queue of its pool.
    1 "task_accepted" v 1 TaskAccepted {
        /// The whole task: work, parameters, options, pool, limits.
        task: Task,
    }

    /// An accepted task may not start yet. This fact is recorded again if a change of the wall clock moves the end of
    /// the wait.
    2 "task_held" v 1 TaskHeld {
        /// The task.
        task: TaskId,
        /// The end of the wait.
        until: Tick,
        /// The length of the wait, in seconds.
        wait_seconds: f64,
    }

    /// The wait before a start is over. The task is queued.
    3 "task_due" v 1 TaskDue {
        /// The task.
        task: TaskId,
    }

    /// A worker has room for a task, but the task's limits do not allow its start; or the reason why they do not has
    /// changed.
    4 "task_blocked" v 1 TaskBlocked {
        /// The task.
        task: TaskId,
        /// The wait reason.
        by: BlockedBy,
    }

    /// The gate admitted a task. The task holds its permit until its attempt ends.
    5 "task_admitted" v 1 TaskAdmitted {
        /// The task.
        task: TaskId,
    }

    /// Slots stay idle for a task that needs several; the task runs in another slot.
    6 "slots_reserved" v 1 SlotsReserved {
        /// The task.
        task: TaskId,
        /// The number of slots in each worker.
        slots: Vec<(WorkerId, u32)>,
    }

    /// A task was sent to a worker.
    7 "task_sent" v 1 TaskSent {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker process.
        seq: Seq,
        /// The number of the attempt.
        attempt: Attempt,
        /// The reason for the choice of the worker.
        placement: Placement,
    }

    /// A worker gave back a task that it had not started. The task waits again, and the attempt does not count (L5).
    8 "task_returned" v 1 TaskReturned {
        /// The task.
        task: TaskId,
        /// The worker that gave it back.
        worker: WorkerRef,
        /// The reason.
        cause: ReturnCause,
    }

    /// An attempt failed. The task waits for its retry.
    9 "task_retrying" v 1 TaskRetrying {
        /// The task.
        task: TaskId,
        /// The attempt, its error and its times.
        ended: FullAttempt,
        /// The measured run time of the attempt, in seconds.
        run_seconds: Option<f64>,
        /// The earliest start of the next attempt.
        until: Tick,
        /// The length of the wait, in seconds.
        wait_seconds: f64,
    }

    /// The process of an attempt ended during the attempt. The task is queued again.
    10 "task_rerun" v 1 TaskRerun {
        /// The task.
        task: TaskId,
        /// The attempt, its error and its times.
        ended: FullAttempt,
        /// The run time of the attempt by the engine's clock, in seconds.
        run_seconds: Option<f64>,
        /// Whether the loss counts against the task. If it does, the task reruns in isolation. If not, only another
        /// attempt in the same worker had to be killed.
        counted: bool,
    }

    /// A task reached its outcome (L1).
    11 "task_finished" v 1 TaskFinished {
        /// The whole record, with the measured start.
        record: FullRecord,
    }

    /// A cancellation of a task was requested.
    12 "cancel_requested" v 1 CancelRequested {
        /// The task.
        task: TaskId,
        /// The source of the request.
        by: CancelSource,
        /// The time that a task in a worker has to stop by itself, in seconds.
        grace_seconds: Option<f64>,
    }

    /// The engine asks a worker to give back tasks that it has not started.
    13 "revoke_ordered" v 1 RevokeOrdered {
        /// The worker.
        worker: WorkerRef,
        /// The tasks.
        tasks: Vec<TaskId>,
        /// The reason.
        cause: RevokeCause,
    }

    /// The engine orders a worker to raise the exception of the soft time limit in an attempt.
    14 "interrupt_ordered" v 1 InterruptOrdered {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker process.
        seq: Seq,
    }

    /// The engine orders the kill of an attempt, with its worker, unless the attempt ends first (L6).
    15 "kill_ordered" v 1 KillOrdered {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker process.
        seq: Seq,
        /// The reason.
        reason: KillReason,
    }

    /// A kill was not carried out: the attempt had ended or had not started.
    16 "kill_spared" v 1 KillSpared {
        /// The task, which may have its outcome.
        task: TaskId,
        /// The worker, which keeps running.
        worker: WorkerRef,
        /// The attempt's number in that worker process.
        seq: Seq,
    }

    /// The record of a finished task was dropped.
    17 "record_dropped" v 1 RecordDropped {
        /// The task.
        task: TaskId,
        /// The bound that the record would have exceeded.
        by: ExpiredBy,
    }

    /// The engine refused submissions since the previous fact of this kind.
    18 "submissions_refused" v 1 SubmissionsRefused {
        /// The number of refusals by reason.
        counts: BTreeMap<RefusalReason, u64>,
    }

    /// The engine launches a worker.
    40 "worker_launched" v 1 WorkerLaunched {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        cause: LaunchCause,
    }

    /// A worker finished its handshake.
    41 "worker_ready" v 1 WorkerReady {
        /// The worker.
        worker: WorkerRef,
        /// The process id.
        pid: u32,
        /// The version of Python.
        python: String,
    }

    /// A worker takes tasks from now on.
    42 "worker_joined" v 1 WorkerJoined {
        /// The worker.
        worker: WorkerRef,
        /// The number of tasks that it runs at the same time in threads.
        slots: usize,
        /// The number of coroutines that it runs at the same time besides those.
        coroutines: usize,
    }

    /// A worker will be replaced when its successor is ready.
    43 "worker_recycling" v 1 WorkerRecycling {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        cause: RecycleCause,
    }

    /// A worker drains: it takes no more tasks, finishes the running ones, and ends.
    44 "worker_retiring" v 1 WorkerRetiring {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        cause: RetireCause,
    }

    /// A worker's process ended.
    45 "worker_down" v 1 WorkerDown {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        reason: WorkerDownReason,
    }

    /// A worker that had joined is gone. Its tasks have ended, or are queued again.
    46 "worker_left" v 1 WorkerLeft {
        /// The worker.
        worker: WorkerRef,
    }

    /// The target number of workers of a pool changed.
    47 "pool_target" v 1 PoolTarget {
        /// The pool.
        pool: PoolId,
        /// The number of workers.
        workers: u32,
        /// The reason.
        cause: TargetCause,
    }

    /// The workers of a pool crashed too often. The breaker delays replacements.
    48 "breaker_opened" v 1 BreakerOpened {
        /// The pool.
        pool: PoolId,
        /// The number of crashes allowed within the window (`max_restarts`).
        allowed: usize,
        /// The length of the window, in seconds (`restart_window`).
        window_seconds: f64,
        /// The delay of replacements, in seconds.
        pause_seconds: f64,
    }

    /// The breaker of a pool closed. Replacements start without delay again.
    49 "breaker_closed" v 1 BreakerClosed {
        /// The pool.
        pool: PoolId,
        /// The worker that became ready.
        worker: WorkerRef,
    }

    /// No worker of a pool can start. The pool's tasks fail with the error.
    50 "pool_unavailable" v 1 PoolUnavailable {
        /// The pool.
        pool: PoolId,
        /// The error.
        error: Box<TaskError>,
    }

    /// A pool that was unavailable takes tasks again.
    51 "pool_healed" v 1 PoolHealed {
        /// The pool.
        pool: PoolId,
    }

    /// The machine is too busy. The engine refuses submissions.
    52 "overload_started" v 1 OverloadStarted {
        /// The scarce resource.
        resource: Resource,
        /// The part of the resource in use, in per cent.
        used_percent: f64,
        /// The limit, in per cent.
        limit_percent: f64,
    }

    /// The machine is less busy. The engine accepts submissions again.
    53 "overload_ended" v 1 OverloadEnded {}

    /// The engine orders a worker to end: the worker has not joined, or the engine ends.
    54 "worker_stop_ordered" v 1 WorkerStopOrdered {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        cause: RetireCause,
    }

    /// The replacement of a worker that ended is delayed.
    55 "start_delayed" v 1 StartDelayed {
        /// The worker's slot.
        slot: WorkerId,
        /// The delay before the next start, in seconds.
        delay_seconds: f64,
    }

    /// A workflow was accepted: each of its steps waits.
    70 "workflow_accepted" v 1 WorkflowAccepted {
        /// The workflow.
        workflow: WorkflowId,
        /// What it is.
        spec: Box<WorkflowSpec>,
    }

    /// A dynamic step added steps to its workflow: each of them waits.
    71 "steps_added" v 1 StepsAdded {
        /// The workflow.
        workflow: WorkflowId,
        /// The step that added them, by its name or its task's id.
        below: String,
        /// The steps.
        steps: Vec<Step>,
    }

    /// A step of a workflow changed its state.
    72 "step_changed" v 1 StepChanged {
        /// The workflow.
        workflow: WorkflowId,
        /// The step's name, or the id of its task if it has none.
        step: String,
        /// The step's task. The task of a mapped step never runs itself.
        task: TaskId,
        /// The new state.
        state: StepState,
        /// The number of instances, if the step is mapped and its list is known.
        instances: Option<usize>,
    }

    /// All steps of a workflow have ended.
    73 "workflow_finished" v 1 WorkflowFinished {
        /// The workflow.
        workflow: WorkflowId,
        /// The final state.
        state: WorkflowState,
        /// Its record, with how each step ended.
        record: Arc<WorkflowRecord>,
    }

    /// Somebody asked for a workflow's cancellation.
    74 "workflow_cancel_requested" v 1 WorkflowCancelRequested {
        /// The workflow.
        workflow: WorkflowId,
    }

    /// The record of a workflow that has ended was dropped.
    75 "workflow_record_dropped" v 1 WorkflowRecordDropped {
        /// The workflow.
        workflow: WorkflowId,
        /// Which bound it would have broken.
        by: ExpiredBy,
    }

    /// A step of a workflow is ready, but the workflow's own limits do not allow its start; or the reason why they do not
    /// has changed.
    76 "step_blocked" v 1 StepBlocked {
        /// The workflow.
        workflow: WorkflowId,
        /// The step's name, or the id of its task if it has none.
        step: String,
        /// The step's task.
        task: TaskId,
        /// The number of the instance, if the step is mapped.
        instance: Option<u32>,
        /// The wait reason.
        by: Box<BlockedBy>,
    }

    /// The gate of a workflow with limits of its own admitted a step. The step holds its permit until it ends.
    77 "step_admitted" v 1 StepAdmitted {
        /// The workflow.
        workflow: WorkflowId,
        /// The step's name, or the id of its task if it has none.
        step: String,
        /// The step's task.
        task: TaskId,
        /// The number of the instance, if the step is mapped.
        instance: Option<u32>,
    }

    /// The engine has started.
    90 "engine_started" v 1 EngineStarted {
        /// The engine's version.
        version: String,
        /// The process id.
        pid: u32,
        /// The settings by name, without secrets and environment.
        settings: BTreeMap<String, String>,
    }

    /// The engine ended. This is the last fact.
    91 "engine_ended" v 1 EngineEnded {
        /// The reason.
        by: EngineEnd,
    }

    /// The wall clock was set. The wall times of this fact and of later ones are by the new setting.
    92 "wall_clock_set" v 1 WallClockSet {
        /// The wall time of this moment by the old setting.
        from: Timestamp,
        /// The wall time of this moment by the new setting.
        to: Timestamp,
    }
}
