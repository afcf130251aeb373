//! The inputs and outputs of the scheduler: plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Attempt, CapturedOutput, Data, KillReason, Payload, PoolId, PoolKind, PostMortem, RecycleCause, Seq, TaskError,
    TaskId, TaskRecord, Work, WorkName, WorkerDownReason, WorkerRef,
};
use crate::policy::placement::WorkerLoad;
use crate::policy::task_table::WaiterId;

/// An action for the Dispatcher to carry out.
#[derive(Debug)]
pub enum Action {
    /// Send these tasks to a worker, in this order.
    Run {
        /// The worker.
        worker: WorkerRef,
        /// The tasks.
        tasks: Vec<RunTask>,
    },
    /// Ask a worker to give back attempts that it has not started.
    Revoke {
        /// The worker.
        worker: WorkerRef,
        /// The attempts.
        seqs: Vec<Seq>,
    },
    /// Raise the exception of the soft time limit in an attempt.
    Interrupt {
        /// The worker.
        worker: WorkerRef,
        /// The attempt.
        seq: Seq,
    },
    /// Take an attempt back if it has not started, otherwise ask it to stop.
    Cancel {
        /// The worker.
        worker: WorkerRef,
        /// The attempt.
        seq: Seq,
    },
    /// Kill the process of an attempt, unless the attempt has ended (L6).
    Kill {
        /// The worker.
        worker: WorkerRef,
        /// The attempt.
        seq: Seq,
        /// The reason.
        reason: KillReason,
    },
    /// Recycle a worker: start its successor, and drain the worker when the successor is ready.
    Recycle {
        /// The worker.
        worker: WorkerRef,
        /// The reason.
        reason: RecycleCause,
    },
    /// Start more workers of a pool: a waiting task cannot run with fewer.
    Call {
        /// The pool.
        pool: PoolId,
        /// The number of workers needed; 1 unless the task needs the slots of several.
        workers: usize,
    },
    /// Do not replace these workers: they drain because they are no longer needed. This answers
    /// [`shrink`](super::Scheduler::shrink), even if the list is empty.
    Release {
        /// The pool.
        pool: PoolId,
        /// The workers.
        workers: Vec<WorkerRef>,
    },
    /// Let a worker end: it drains and is empty.
    Retire {
        /// The worker.
        worker: WorkerRef,
    },
    /// Wake the callers that wait for a task.
    Finished {
        /// The task's record.
        record: Arc<TaskRecord>,
        /// The waiting callers.
        waiter: Option<WaiterId>,
    },
}

/// The room in a worker: the number of tasks that it runs at the same time, and the size of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerCapacity {
    /// In threads, or in the main thread if this is 1.
    pub slots: usize,
    /// As coroutines, in addition to the slots.
    pub coroutines: usize,
    /// The bounds of the window.
    pub link: WorkerLink,
}

impl WorkerCapacity {
    /// The capacity of a worker on this machine.
    #[must_use]
    pub const fn local(slots: usize, coroutines: usize) -> Self {
        Self { slots, coroutines, link: WorkerLink::LOCAL }
    }
}

/// The bounds of a worker's window. The longer a message to the worker takes, the larger the window has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLink {
    /// The expected work per slot up to which a worker receives another task into its window.
    pub window: Duration,
    /// The maximum number of tasks in the window.
    pub window_tasks: usize,
    /// The parameter bytes in a worker up to which it receives another task into its window.
    pub window_bytes: usize,
    /// The time after which a task in the window is taken back.
    pub stall: Duration,
}

impl WorkerLink {
    /// A worker behind pipes. The bytes are less than a pipe holds, so a send does not block.
    pub const LOCAL: Self = Self {
        window: Duration::from_millis(2),
        window_tasks: 128,
        window_bytes: 48 << 10,
        stall: Duration::from_millis(20),
    };

    /// The window in nanoseconds.
    pub(super) fn window_nanos(&self) -> u64 {
        u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A task to send to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTask {
    /// The callers that wait for it.
    pub waiter: Option<WaiterId>,
    /// The attempt's number in that worker process.
    pub seq: Seq,
    /// The number of the attempt.
    pub attempt: Attempt,
    /// The task.
    pub id: TaskId,
    /// The script or function.
    pub work: Work,
    /// The parameters or arguments.
    pub params: Payload,
    /// The time after which it is killed.
    pub limit: Option<Duration>,
}

/// A worker's report on its tasks.
#[derive(Debug)]
pub enum Report {
    /// An attempt ended.
    Ended {
        /// The attempt.
        seq: Seq,
        /// The run time in nanoseconds.
        nanos: u64,
        /// The result or the error.
        result: Result<Data, Box<TaskError>>,
        /// The output.
        output: Option<Box<CapturedOutput>>,
    },
    /// The worker gave these attempts back and will not run them.
    Revoked {
        /// The attempts.
        seqs: Vec<Seq>,
    },
    /// The worker has loaded a script or a function.
    Learned {
        /// The script or function.
        work: WorkName,
        /// Whether its entry point is a coroutine function.
        coroutine: bool,
    },
    /// The worker's memory was measured.
    Measured {
        /// The resident memory of the worker and its descendants, in bytes.
        resident: u64,
        /// The attempts that ran when the measurement began.
        running: Vec<Seq>,
    },
    /// An attempt that was to be killed had ended, which an earlier report says, or had not started. The worker keeps
    /// running.
    Spared {
        /// The attempt.
        seq: Seq,
    },
}

/// The time limits of tasks without their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// The time after which an attempt is killed.
    pub hard: Option<Duration>,
    /// The time after which an exception is raised in an attempt.
    pub soft: Option<Duration>,
}

/// The rules for the tasks and workers of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolRules {
    /// The kind of the pool.
    pub kind: PoolKind,
    /// The default time limits.
    pub limits: TimeLimits,
    /// The resident memory in bytes above which a running task is killed.
    pub task_memory: Option<u64>,
    /// The resident memory in bytes above which a worker is recycled.
    pub worker_memory: Option<u64>,
    /// The number of tasks that a worker takes, at most. Then it is recycled.
    pub worker_tasks: Option<u64>,
    /// The number of reruns after a worker's death, at most, whatever the task allows.
    pub worker_losses: Option<u32>,
}

/// A successor is started this long before its predecessor has taken all its tasks: an interpreter needs 30 to 100 ms
/// to start.
const START_TIME: Duration = Duration::from_millis(100);

impl PoolRules {
    /// The reason to start the successor of a worker that has taken this number of tasks, takes the rest of its budget
    /// in the time `lasts`, and has this resident memory, if there is a reason.
    pub(super) fn recycle_cause(&self, taken: u64, lasts: Option<Duration>, resident: u64) -> Option<RecycleCause> {
        let due = self.worker_tasks.filter(|limit| taken >= *limit || lasts.is_some_and(|time| time <= START_TIME));
        let tasks = due.map(|limit| RecycleCause::Tasks { taken, limit });
        let memory = self.worker_memory.filter(|limit| resident > *limit);
        tasks.or_else(|| memory.map(|limit| RecycleCause::Memory { resident, limit }))
    }
}

/// A worker as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerRef,
    /// The load.
    pub load: WorkerLoad,
    /// The number of slots reserved for tasks that need several.
    pub reserved: usize,
    /// Whether it drains: it takes no more tasks and ends when it is empty.
    pub draining: bool,
    /// Whether it waits until its predecessor has taken all its tasks.
    pub stands_by: bool,
    /// The number of attempts that it has ended.
    pub ended: u64,
}

impl WorkerView {
    /// Whether it has a place in its pool and takes tasks.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !self.draining && !self.stands_by
    }
}

/// The end of a worker.
#[derive(Debug)]
pub struct Departure {
    /// The reason.
    pub reason: WorkerDownReason,
    /// The attempts that had started and whose end is not known; `None` if unknown.
    pub started: Option<Vec<Seq>>,
    /// The output of those attempts.
    pub outputs: Vec<(Seq, Box<CapturedOutput>)>,
    /// The post-mortem of the process.
    pub post_mortem: Option<PostMortem>,
}
