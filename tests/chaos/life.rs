//! The work of one engine, its settings and its results.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use axion_core::{
    CancelAnswer, Config, ErrorKind, Outcome, ShutdownReport, TaskId, TaskRecord, WaitError, WorkerConfig,
};
use bytes::Bytes;
use tokio::time::Instant;

use crate::batches::Batch;
use crate::faults::FaultCounts;
use crate::notes::Claim;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::verdict::{FlowEnd, digest};
use crate::workflow_run::Refused;

/// How a task ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Without its result, its output and its earlier attempts, which are checked at once.
    pub(crate) record: TaskRecord,
    /// A digest of its result.
    pub(crate) digest: Option<String>,
    /// The length of the notes when its outcome was known.
    pub(crate) notes_then: u64,
}

impl Ended {
    pub(crate) fn claim(&self, plan: &Plan) -> Claim {
        Claim {
            index: plan.index,
            task: self.record.id,
            attempts: self.record.attempt.map_or(0, |attempt| attempt.0),
            retries: self.record.retries,
            max_losses: plan.max_losses,
            succeeded: self.record.outcome.is_success(),
            // An impatient shutdown ends the tasks first and their processes later.
            notes_then: if is_shut_down(&self.record.outcome) { u64::MAX } else { self.notes_then },
        }
    }
}

pub(crate) fn is_shut_down(outcome: &Outcome) -> bool {
    outcome.error().is_some_and(|error| error.kind == ErrorKind::Shutdown)
}

/// The work of one engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) seed: u64,
    pub(crate) tasks: usize,
    /// No task is submitted after this.
    pub(crate) until: Option<Instant>,
    /// What an earlier engine of the round has done.
    pub(crate) done: Progress,
    /// The engine ends in the middle.
    pub(crate) drain: Option<Drain>,
}

/// The tasks and workflows that have been submitted, or tried to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) tasks: usize,
    pub(crate) flows: usize,
}

/// A shutdown in the middle: after this many tasks have ended, with this much time for the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    pub(crate) after: usize,
    pub(crate) patience: Duration,
}

impl Drain {
    /// Longer than any task in flight takes.
    const PATIENCE: Duration = Duration::from_secs(3600);

    pub(crate) fn of(seed: u64, tasks: usize) -> Option<Self> {
        let mut rng = Rng::new(seed, 5);
        let hasty = rng.chance(50);
        let patience = if hasty { rng.millis(0, 400) } else { Self::PATIENCE };
        let after = tasks / 5 + rng.index(tasks / 2 + 1);
        rng.chance(50).then_some(Self { after, patience })
    }

    pub(crate) fn is_patient(self) -> bool {
        self.patience == Self::PATIENCE
    }
}

/// Everything that the test observed of one engine.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) progress: Progress,
    pub(crate) plans: HashMap<TaskId, Plan>,
    pub(crate) ended: BTreeMap<usize, Ended>,
    pub(crate) flows: Vec<FlowEnd>,
    pub(crate) refused_flows: Vec<Refused>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) waiter_answers: Vec<WaiterAnswer>,
    /// Cancellations of steps that ran or waited for a retry, with the answers.
    pub(crate) step_cancels: Vec<(TaskId, Instant, CancelAnswer)>,
    /// The engine was shut down in the middle.
    pub(crate) drained: Option<(Drain, ShutdownReport)>,
    /// Tasks whose cancellation the engine has taken upon itself.
    pub(crate) cancelled: HashSet<TaskId>,
    /// Tasks with unique keys.
    pub(crate) unique: Vec<TaskId>,
    /// Tasks that it gave back.
    pub(crate) withdrawn: HashSet<TaskId>,
    pub(crate) cancels: BTreeMap<&'static str, u64>,
    pub(crate) faults: FaultCounts,
    /// Tasks that were asked to stop while they were with a worker and that stop when they are asked to; and those of them
    /// that did.
    pub(crate) asked_to_stop: u64,
    pub(crate) stopped: u64,
    pub(crate) violations: Vec<(Option<TaskId>, String)>,
}

/// The answer to an additional waiter of a task.
#[derive(Debug)]
pub(crate) struct WaiterAnswer {
    pub(crate) task: TaskId,
    pub(crate) answer: Result<(TaskRecord, Option<String>), WaitError>,
}

/// Settings that provoke events: few slots, short graces.
pub(crate) fn config(seed: u64, runtime_dir: PathBuf) -> Config {
    let mut rng = Rng::new(seed, 1);
    Config {
        // In some rounds the pools grow and shrink.
        cpu_bound_count: rng.weighted(&[(2, 2), (1, 1)]),
        cpu_bound_max: Some(2),
        io_bound_count: rng.weighted(&[(2, 2), (0, 1)]),
        io_bound_max: Some(2),
        io_bound_task_limit: rng.weighted(&[(2, 1), (8, 1), (20, 2)]),
        input_queue_size: rng.weighted(&[(20, 1), (100, 2), (1000, 1)]),
        output_queue_size: 500,
        cancel_grace: Duration::from_millis(100),
        stop_grace: Duration::from_millis(300),
        cpu_bound_worker: recycled(&mut rng),
        io_bound_worker: recycled(&mut rng),
        // Here workers die all the time, and are to be replaced all the same.
        max_restarts: u32::MAX,
        runtime_dir: Some(runtime_dir),
        ..Config::default()
    }
}

/// Half of the pools replace their workers now and then.
fn recycled(rng: &mut Rng) -> WorkerConfig {
    WorkerConfig { max_tasks_per_worker: rng.chance(50).then(|| rng.within(20, 200)), ..WorkerConfig::default() }
}

/// The digest of a result, as a dependent step reports it.
pub(crate) fn digest_of(record: &TaskRecord) -> Option<String> {
    record.outcome.data().and_then(|data| data.parse().ok()).map(|value: serde_json::Value| digest(&value))
}

pub(crate) fn without_payload(record: &TaskRecord) -> TaskRecord {
    let mut record = record.clone();
    if let Outcome::Succeeded(data) = &mut record.outcome {
        *data = axion_core::Json(Bytes::new()).into();
    }
    record.output = None;
    record.earlier = Vec::new();
    record
}
