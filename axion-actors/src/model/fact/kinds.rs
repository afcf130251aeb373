//! Every kind of fact, in one list: `facts!` makes the type, the table of kinds, and the readers and writers of it.

use std::collections::BTreeMap;

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
use crate::model::workflow::{StepState, WorkflowId, WorkflowState};

/// What is known of a kind of fact without one at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// Its number on disk, which never changes.
    pub code: u16,
    /// The version of its fields.
    pub version: u16,
    /// Its name in JSON.
    pub name: &'static str,
    /// The names of its fields, in their order.
    pub fields: &'static [&'static str],
}

macro_rules! facts {
    ($(
        $(#[$doc:meta])*
        $code:literal $text:literal v $version:literal $name:ident {
            $( $(#[$field_doc:meta])* $field:ident : $type:ty ),* $(,)?
        }
    )*) => {
        /// What changed. The codes group them: tasks from 1, workers and pools from 40, workflows from 70, the engine
        /// from 90.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "event")]
        #[non_exhaustive]
        pub enum FactKind {
            $(
                $(#[$doc])*
                #[serde(rename = $text)]
                $name { $( $(#[$field_doc])* $field: $type ),* },
            )*
        }

        /// Every kind of fact.
        pub const KIND_TABLE: &[KindInfo] = &[
            $( KindInfo { code: $code, version: $version, name: $text, fields: &[$( stringify!($field) ),*] } ),*
        ];

        /// The fields by name.
        mod named {
            use super::*;

            $(
                #[derive(Deserialize)]
                pub(super) struct $name { $( pub(super) $field: $type ),* }
            )*
        }

        impl FactKind {
            /// What is known of its kind.
            #[must_use]
            pub fn info(&self) -> KindInfo {
                match self {
                    $( Self::$name { .. } => {
                        KindInfo { code: $code, version: $version, name: $text, fields: &[$( stringify!($field) ),*] }
                    } )*
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

            /// Reads what [`write_fields`](Self::write_fields) wrote, of the present version of a kind; `None` if there
            /// is no such kind.
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
    /// A task was accepted and waits in its pool's queue.
    1 "task_accepted" v 1 TaskAccepted {
        /// The whole task: work, parameters, options, pool, limits.
        task: Task,
    }

    /// A task that was accepted is not to start yet.
    2 "task_held" v 1 TaskHeld {
        /// The task.
        task: TaskId,
        /// When the wait is over.
        until: Tick,
        /// How long that is, in seconds.
        wait_seconds: f64,
    }

    /// A wait before a start is over: the task is queued.
    3 "task_due" v 1 TaskDue {
        /// The task.
        task: TaskId,
    }

    /// A task could be placed, but has to wait for its limits, or waits for something else than before.
    4 "task_blocked" v 1 TaskBlocked {
        /// The task.
        task: TaskId,
        /// What it waits for.
        by: BlockedBy,
    }

    /// A task passed the gate of its limits. It holds its part of them until its attempt is over.
    5 "task_admitted" v 1 TaskAdmitted {
        /// The task.
        task: TaskId,
    }

    /// Slots are kept idle for a task that needs several and runs in another one.
    6 "slots_reserved" v 1 SlotsReserved {
        /// The task.
        task: TaskId,
        /// How many slots of which workers.
        slots: Vec<(WorkerId, u32)>,
    }

    /// A task was sent to a worker.
    7 "task_sent" v 1 TaskSent {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker.
        seq: Seq,
        /// Which execution this will be.
        attempt: Attempt,
        /// Why it was sent there.
        placement: Placement,
    }

    /// A task that had not started came back from a worker and waits again, uncounted (L5).
    8 "task_returned" v 1 TaskReturned {
        /// The task.
        task: TaskId,
        /// The worker that it came back from.
        worker: WorkerRef,
        /// Why.
        cause: ReturnCause,
    }

    /// An attempt failed and the task waits for its retry.
    9 "task_retrying" v 1 TaskRetrying {
        /// The task.
        task: TaskId,
        /// The attempt, its error and its times.
        ended: FullAttempt,
        /// How long the attempt ran, as it was measured, in seconds.
        run_seconds: Option<f64>,
        /// When the next one may start.
        until: Tick,
        /// How long that is, in seconds.
        wait_seconds: f64,
    }

    /// An attempt's process ended under it and the task is queued again.
    10 "task_rerun" v 1 TaskRerun {
        /// The task.
        task: TaskId,
        /// The attempt, its error and its times.
        ended: FullAttempt,
        /// How long the attempt ran by the engine's reckoning, in seconds.
        run_seconds: Option<f64>,
        /// Whether the loss counts against the task, which then runs alone. Else only its neighbour had to be killed.
        counted: bool,
    }

    /// A task reached its outcome (L1).
    11 "task_finished" v 1 TaskFinished {
        /// Its whole record, with the measured start.
        record: FullRecord,
    }

    /// Somebody asked for a task's cancellation.
    12 "cancel_requested" v 1 CancelRequested {
        /// The task.
        task: TaskId,
        /// Who.
        by: CancelSource,
        /// How long it has to stop by itself, in seconds, if it is with a worker.
        grace_seconds: Option<f64>,
    }

    /// A worker is asked to give back tasks that it has not started.
    13 "revoke_ordered" v 1 RevokeOrdered {
        /// The worker.
        worker: WorkerRef,
        /// The tasks.
        tasks: Vec<TaskId>,
        /// Why.
        cause: RevokeCause,
    }

    /// The exception of the soft time limit is to be raised in an attempt.
    14 "interrupt_ordered" v 1 InterruptOrdered {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker.
        seq: Seq,
    }

    /// An attempt is to be killed, with its worker, if it has not ended by then (L6).
    15 "kill_ordered" v 1 KillOrdered {
        /// The task.
        task: TaskId,
        /// The worker.
        worker: WorkerRef,
        /// The attempt's number in that worker.
        seq: Seq,
        /// Why.
        reason: KillReason,
    }

    /// A kill was not carried out: the attempt had ended, or not started.
    16 "kill_spared" v 1 KillSpared {
        /// The worker, which goes on.
        worker: WorkerRef,
        /// The attempt's number in that worker.
        seq: Seq,
    }

    /// The record of a finished task was dropped.
    17 "record_dropped" v 1 RecordDropped {
        /// The task.
        task: TaskId,
        /// Which bound it would have broken.
        by: ExpiredBy,
    }

    /// Submissions were refused since the last such fact.
    18 "submissions_refused" v 1 SubmissionsRefused {
        /// How many, by reason.
        counts: BTreeMap<RefusalReason, u64>,
    }

    /// A worker is launched.
    40 "worker_launched" v 1 WorkerLaunched {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        cause: LaunchCause,
    }

    /// A worker finished its handshake.
    41 "worker_ready" v 1 WorkerReady {
        /// The worker.
        worker: WorkerRef,
        /// Its process.
        pid: u32,
        /// Its Python version.
        python: String,
    }

    /// A worker takes tasks from now on.
    42 "worker_joined" v 1 WorkerJoined {
        /// The worker.
        worker: WorkerRef,
        /// How many tasks it runs at one time in threads.
        slots: usize,
        /// How many it runs beside those as coroutines.
        coroutines: usize,
    }

    /// A worker is to be replaced when its successor is ready.
    43 "worker_recycling" v 1 WorkerRecycling {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        cause: RecycleCause,
    }

    /// A worker takes no more tasks, finishes what it runs, and ends.
    44 "worker_retiring" v 1 WorkerRetiring {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        cause: RetireCause,
    }

    /// A worker's process ended.
    45 "worker_down" v 1 WorkerDown {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        reason: WorkerDownReason,
    }

    /// A worker that had joined is gone: what it had is ended, queued again or lost.
    46 "worker_left" v 1 WorkerLeft {
        /// The worker.
        worker: WorkerRef,
    }

    /// A pool is to have another number of workers.
    47 "pool_target" v 1 PoolTarget {
        /// The pool.
        pool: PoolId,
        /// How many.
        workers: u32,
        /// Why.
        cause: TargetCause,
    }

    /// The workers of a pool died too often: replacements wait.
    48 "breaker_opened" v 1 BreakerOpened {
        /// The pool.
        pool: PoolId,
        /// How many deaths are allowed within the window (`max_restarts`).
        allowed: usize,
        /// The window, in seconds (`restart_window`).
        window_seconds: f64,
        /// How long replacements wait, in seconds.
        pause_seconds: f64,
    }

    /// A pool's replacements start at once again.
    49 "breaker_closed" v 1 BreakerClosed {
        /// The pool.
        pool: PoolId,
        /// The worker that became ready.
        worker: WorkerRef,
    }

    /// No worker of a pool can be started: its tasks fail with the reason.
    50 "pool_unavailable" v 1 PoolUnavailable {
        /// The pool.
        pool: PoolId,
        /// The reason.
        error: Box<TaskError>,
    }

    /// A pool whose tasks failed takes tasks again.
    51 "pool_healed" v 1 PoolHealed {
        /// The pool.
        pool: PoolId,
    }

    /// The machine is too busy: submissions are refused.
    52 "overload_started" v 1 OverloadStarted {
        /// What there is too little of.
        resource: Resource,
        /// How much of it is in use, in per cent.
        used_percent: f64,
        /// The limit, in per cent.
        limit_percent: f64,
    }

    /// The machine is less busy: submissions are taken again.
    53 "overload_ended" v 1 OverloadEnded {}

    /// A worker is told to end: it has not joined, or the engine ends.
    54 "worker_stop_ordered" v 1 WorkerStopOrdered {
        /// The worker.
        worker: WorkerRef,
        /// Why.
        cause: RetireCause,
    }

    /// A worker that ended is not replaced at once.
    55 "start_delayed" v 1 StartDelayed {
        /// The worker's slot.
        slot: WorkerId,
        /// How long the next start waits, in seconds.
        delay_seconds: f64,
    }

    /// A step of a workflow is in another state.
    72 "step_changed" v 1 StepChanged {
        /// The workflow.
        workflow: WorkflowId,
        /// The step's name, else its task's id.
        step: String,
        /// Its task. The task of a mapped step never runs itself.
        task: TaskId,
        /// Its state.
        state: StepState,
        /// How many instances it has, if it is mapped and its list is known.
        instances: Option<usize>,
    }

    /// Every step of a workflow has ended.
    73 "workflow_finished" v 1 WorkflowFinished {
        /// The workflow.
        workflow: WorkflowId,
        /// How it ended.
        state: WorkflowState,
    }

    /// The engine has started.
    90 "engine_started" v 1 EngineStarted {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
        /// Its settings by name, without secrets and environment.
        settings: BTreeMap<String, String>,
    }

    /// The engine has ended. It is the last fact.
    91 "engine_ended" v 1 EngineEnded {
        /// How.
        by: EngineEnd,
    }
}
