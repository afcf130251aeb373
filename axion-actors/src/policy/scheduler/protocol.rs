//! What goes into the scheduler and what comes out: plain data.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Attempt, CapturedOutput, Data, KillReason, PoolId, PoolKind, PostMortem, RecycleCause, Seq, TaskError, TaskId,
    TaskRecord, Work, WorkName, WorkerDownReason, WorkerRef,
};
use crate::policy::placement::WorkerLoad;
use crate::policy::task_table::WaiterId;

/// What should happen.
#[derive(Debug)]
pub enum Action {
    /// Send these tasks to this worker, in this order.
    Run {
        /// To whom.
        worker: WorkerRef,
        /// What.
        tasks: Vec<RunTask>,
    },
    /// Ask this worker to give back what it has not started.
    Revoke {
        /// Whom.
        worker: WorkerRef,
        /// What.
        seqs: Vec<Seq>,
    },
    /// Raise the soft time limit's exception in this attempt.
    Interrupt {
        /// Where it runs.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
    },
    /// Take this attempt back if it has not started, else ask it to stop.
    Cancel {
        /// Where it is.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
    },
    /// Kill the process of this attempt, unless the attempt has ended (L6).
    Kill {
        /// Where it runs.
        worker: WorkerRef,
        /// Which.
        seq: Seq,
        /// Why.
        reason: KillReason,
    },
    /// Have this worker replaced: its successor is to be ready before it goes.
    Recycle {
        /// Which.
        worker: WorkerRef,
        /// Why.
        reason: RecycleCause,
    },
    /// A task of this pool waits that cannot run with fewer workers than this.
    Call {
        /// Which pool.
        pool: PoolId,
        /// How many workers there have to be; 1, unless the task needs the slots of several.
        workers: usize,
    },
    /// These workers are no longer needed and take nothing more: they are not to be replaced. Answers
    /// [`shrink`](super::Scheduler::shrink), also if there is none.
    Release {
        /// Of this pool.
        pool: PoolId,
        /// Which.
        workers: Vec<WorkerRef>,
    },
    /// Let this worker end: it takes nothing more and has nothing left to do.
    Retire {
        /// Which.
        worker: WorkerRef,
    },
    /// Wake those who wait for this task.
    Finished {
        /// Its record.
        record: Arc<TaskRecord>,
        /// Those who wait for it.
        waiter: Option<WaiterId>,
    },
}

/// What a worker takes: how many tasks it runs at one time, by how they run, and how many are sent ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerCapacity {
    /// In threads of their own, or in the main thread if this is 1.
    pub slots: usize,
    /// As coroutines, beside those.
    pub coroutines: usize,
    /// What may be on the way to it.
    pub link: WorkerLink,
}

impl WorkerCapacity {
    /// Of a worker on this machine.
    #[must_use]
    pub const fn local(slots: usize, coroutines: usize) -> Self {
        Self { slots, coroutines, link: WorkerLink::LOCAL }
    }
}

/// The way to a worker: the longer a message takes, the more has to be sent ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLink {
    /// The work that may be in a worker, per slot, when another task is sent ahead.
    pub window: Duration,
    /// The most tasks sent ahead of those that run.
    pub window_tasks: usize,
    /// The most parameter bytes in a worker when another task is sent ahead.
    pub window_bytes: usize,
    /// How long a task sent ahead waits behind another one before it is taken back.
    pub stall: Duration,
}

impl WorkerLink {
    /// Pipes. What they hold is the bound in bytes, so that sending never waits.
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

/// One task on its way to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTask {
    /// Those who wait for it.
    pub waiter: Option<WaiterId>,
    /// Its name in that worker.
    pub seq: Seq,
    /// Which execution it is.
    pub attempt: Attempt,
    /// The task.
    pub id: TaskId,
    /// What it runs.
    pub work: Work,
    /// What that is called with.
    pub params: Bytes,
    /// After how long it will be killed.
    pub limit: Option<Duration>,
}

/// What a worker says of its tasks.
#[derive(Debug)]
pub enum Report {
    /// An attempt ended.
    Ended {
        /// Which.
        seq: Seq,
        /// How long it ran.
        nanos: u64,
        /// With what.
        result: Result<Data, Box<TaskError>>,
        /// What it wrote.
        output: Option<Box<CapturedOutput>>,
    },
    /// These attempts were taken back and will not run there.
    Revoked {
        /// Which.
        seqs: Vec<Seq>,
    },
    /// The worker has loaded a script or a function.
    Learned {
        /// Which.
        work: WorkName,
        /// Whether its entry point is a coroutine function.
        coroutine: bool,
    },
    /// So many bytes of the worker's memory are resident.
    Measured {
        /// How many.
        resident: u64,
    },
    /// This attempt was to be killed, but had ended, which was reported before, or not started: the
    /// worker goes on.
    Spared {
        /// Which.
        seq: Seq,
    },
}

/// Time limits of the tasks that state none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// For the attempt.
    pub hard: Option<Duration>,
    /// For the exception in it.
    pub soft: Option<Duration>,
}

/// What holds for the tasks and workers of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolRules {
    /// How its workers run their tasks.
    pub kind: PoolKind,
    /// Time limits.
    pub limits: TimeLimits,
    /// Resident bytes above which the task that runs is ended.
    pub task_memory: Option<u64>,
    /// Resident bytes above which a worker is replaced.
    pub worker_memory: Option<u64>,
    /// Tasks after which a worker is replaced.
    pub worker_tasks: Option<u64>,
    /// No task starts while another one runs, also not in the successor of its worker (L12).
    pub one_at_a_time: bool,
}

impl PoolRules {
    /// Why a worker is to be recycled that has ended so many tasks and holds so many bytes.
    pub(super) fn recycle_cause(&self, ended: u64, resident: u64) -> Option<RecycleCause> {
        let tasks = self.worker_tasks.filter(|limit| ended >= *limit).map(|limit| RecycleCause::Tasks { ended, limit });
        let memory = self.worker_memory.filter(|limit| resident > *limit);
        tasks.or_else(|| memory.map(|limit| RecycleCause::Memory { resident, limit }))
    }
}

/// A worker, as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkerView {
    /// Which.
    pub worker: WorkerRef,
    /// What it has to do.
    pub load: WorkerLoad,
    /// Slots that are kept idle for tasks that need several.
    pub reserved: usize,
    /// It takes nothing more and ends when it has nothing left to do.
    pub draining: bool,
    /// Attempts it has ended.
    pub ended: u64,
}

/// How a worker left.
#[derive(Debug)]
pub struct Departure {
    /// Why.
    pub reason: WorkerDownReason,
    /// The attempts that had started and not ended; `None` if that could not be learned.
    pub running: Option<Vec<Seq>>,
    /// What those attempts had written.
    pub outputs: Vec<(Seq, Box<CapturedOutput>)>,
    /// What is known of the end of the process.
    pub post_mortem: Option<PostMortem>,
}
