//! One engine and its tasks, from start to end.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axion_core::{CancelAnswer, Config, Engine, Outcome, SubmitError, TaskHandle, TaskId, TaskRecord, WorkerConfig};
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::flows::FlowPlan;
use crate::notes::Claim;
use crate::plan::{Plan, agree};
use crate::rng::Rng;
use crate::saboteur::{Saboteur, go_on};
use crate::trace::News;
use crate::verdict::FlowEnd;

/// Longer than any execution takes, with the wait for it in a full queue; a task that takes longer
/// than all it may need hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// The same for a workflow, whose steps wait for each other.
const FLOW_LIMIT: Duration = Duration::from_secs(150);
/// So many tasks to a workflow.
const FLOW_EVERY: usize = 50;
/// So many are in flight at one time; the engine takes no more than its queue has places.
const FLOWS: usize = 16;

/// How a task ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Without what it returned, wrote and went through before, which was checked at once.
    pub(crate) record: TaskRecord,
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
            notes_then: self.notes_then,
        }
    }
}

/// A record, and the length of the notes when it came.
type Known = (Arc<TaskRecord>, u64);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) tasks: usize,
    /// No task is submitted after this.
    pub(crate) until: Option<Instant>,
}

/// What happened, as the chaos saw it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) plans: HashMap<TaskId, Plan>,
    pub(crate) ended: BTreeMap<usize, Ended>,
    pub(crate) flows: Vec<FlowEnd>,
    pub(crate) cancels: BTreeMap<&'static str, u64>,
    pub(crate) blows: [u64; 3],
    pub(crate) violations: Vec<(Option<TaskId>, String)>,
}

/// Settings under which much happens: few places, short patience.
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

/// Everything that goes on at once, owned by one loop.
struct Round<'a> {
    engine: &'a Arc<Engine>,
    folder: &'a Path,
    order: Order,
    ahead: usize,
    submitted: usize,
    /// Waiting for a place in the engine.
    entering: JoinSet<(TaskId, Result<TaskHandle, SubmitError>)>,
    /// Accepted.
    waiting: JoinSet<(TaskId, Result<Known, String>)>,
    flows_submitted: usize,
    flows: JoinSet<Result<FlowEnd, String>>,
    live: Vec<TaskId>,
    answers: HashMap<TaskId, CancelAnswer>,
    resumes: JoinSet<()>,
    rng: Rng,
    saboteur: Saboteur,
    done: Done,
}

/// Submits all tasks, hurts workers and cancels tasks meanwhile, and waits for all outcomes.
pub(crate) async fn run(engine: &Arc<Engine>, folder: &Path, mut news: UnboundedReceiver<News>, order: Order) -> Done {
    let mut rng = Rng::new(order.seed, 2);
    let mut round = Round {
        engine,
        folder,
        order,
        // The more wait, the longer the steps of workflows take.
        ahead: rng.weighted(&[(40, 2), (200, 2), (600, 1)]),
        submitted: 0,
        entering: JoinSet::new(),
        waiting: JoinSet::new(),
        flows_submitted: 0,
        flows: JoinSet::new(),
        live: Vec::new(),
        answers: HashMap::new(),
        resumes: JoinSet::new(),
        rng,
        saboteur: Saboteur::new(Rng::new(order.seed, 3), folder.to_owned()),
        done: Done::default(),
    };
    let (mut blow, mut cancel) = (Instant::now() + round.saboteur.pause(), Instant::now());
    loop {
        round.submit();
        if round.entering.is_empty() && round.waiting.is_empty() && round.flows.is_empty() {
            break;
        }
        tokio::select! {
            Some(news) = news.recv() => round.saboteur.hear(news),
            Some(entered) = round.entering.join_next() => round.entered(entered.expect("no panic")),
            Some(ended) = round.waiting.join_next() => {
                if !round.ended(ended.expect("no panic")) {
                    break;
                }
            }
            Some(ended) = round.flows.join_next() => match ended.expect("no panic") {
                Ok(ended) => round.done.flows.push(ended),
                Err(error) => {
                    round.violated(None, error);
                    break;
                }
            },
            () = sleep_until(blow) => {
                let (stopped, after) = round.saboteur.strike();
                for process in stopped {
                    round.resumes.spawn(go_on(process, after));
                }
                blow = Instant::now() + round.saboteur.pause();
            }
            () = sleep_until(cancel) => {
                round.cancel().await;
                cancel = Instant::now() + round.rng.millis(5, 60);
            }
        }
    }
    // Workers that are stopped at this moment stay so: the shutdown has to deal with them.
    round.resumes.abort_all();
    let saboteur = &round.saboteur;
    round.done.blows = [saboteur.kills, saboteur.crashes, saboteur.stops];
    round.done
}

impl Round<'_> {
    fn submit(&mut self) {
        let in_time = self.order.until.is_none_or(|until| Instant::now() < until);
        while in_time && self.submitted < self.order.tasks && self.entering.len() + self.waiting.len() < self.ahead {
            let plan = Plan::new(self.order.seed, self.submitted);
            let task = plan.task(&self.folder.join("scripts"));
            let id = task.id();
            self.submitted += 1;
            self.done.plans.insert(id, plan);
            let engine = self.engine.clone();
            self.entering.spawn(async move { (id, engine.submit_async(task).await) });
        }
        while in_time && self.flows.len() < FLOWS && self.flows_submitted * FLOW_EVERY < self.submitted {
            let plan = FlowPlan::new(self.order.seed, self.flows_submitted);
            self.flows_submitted += 1;
            self.flows.spawn(workflow(self.engine.clone(), plan, self.folder.to_owned()));
        }
    }

    fn entered(&mut self, (id, handle): (TaskId, Result<TaskHandle, SubmitError>)) {
        match handle {
            Ok(handle) => {
                self.live.push(id);
                let executions = self.done.plans.get(&id).map_or(1, Plan::most_executions);
                self.waiting.spawn(outcome(handle, self.folder.join("notes"), LIMIT * executions));
            }
            Err(error) => self.violated(Some(id), format!("L1: it was not accepted: {error}")),
        }
    }

    /// False if a task hangs: there is no use in waiting for the others.
    fn ended(&mut self, (id, known): (TaskId, Result<Known, String>)) -> bool {
        self.live.retain(|live| *live != id);
        let (record, notes_then) = match known {
            Ok(known) => known,
            Err(error) => {
                self.violated(Some(id), error);
                return false;
            }
        };
        let plan = &self.done.plans[&id];
        let index = plan.index;
        let answer = self.answers.get(&id);
        let cancelled = answer.is_some_and(|answer| !matches!(answer, CancelAnswer::AlreadyFinished(_)));
        let fits = match answer {
            Some(CancelAnswer::Removed) => agree("a removed task's outcome", &record.outcome.name(), &"cancelled"),
            Some(CancelAnswer::AlreadyFinished(name)) => agree("the outcome", &record.outcome.name(), name),
            _ => Ok(()),
        };
        for violation in [plan.check(&record, cancelled), fits].into_iter().filter_map(Result::err) {
            self.violated(Some(id), violation);
        }
        self.done.ended.insert(index, Ended { record: without_payload(&record), notes_then });
        true
    }

    async fn cancel(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let id = self.live[self.rng.index(self.live.len())];
        let answer = match tokio::time::timeout(LIMIT, self.engine.cancel_async(id)).await {
            Ok(Ok(answer)) => answer,
            other => return self.violated(Some(id), format!("a cancellation was answered with {other:?}")),
        };
        let before = self.answers.get(&id);
        let (name, fits) = match &answer {
            CancelAnswer::Removed => ("removed", true),
            CancelAnswer::Requested => ("requested", before.is_none()),
            CancelAnswer::AlreadyRequested => ("already requested", before.is_some()),
            // Its record is on the way.
            CancelAnswer::AlreadyFinished(_) => ("already finished", true),
            CancelAnswer::Unknown => ("unknown", false),
        };
        *self.done.cancels.entry(name).or_default() += 1;
        if !fits {
            self.violated(Some(id), format!("a cancellation was answered with {answer:?} after {before:?}"));
        }
        self.answers.entry(id).or_insert(answer);
    }

    fn violated(&mut self, task: Option<TaskId>, what: String) {
        self.done.violations.push((task, what));
    }
}

/// One workflow from start to end.
async fn workflow(engine: Arc<Engine>, plan: FlowPlan, folder: PathBuf) -> Result<FlowEnd, String> {
    let number = plan.number;
    let scripts = folder.join("scripts");
    let handle = engine.submit_workflow_async(plan.spec(&scripts), &scripts).await;
    let mut handle = handle.map_err(|error| format!("L1: workflow {number} was not accepted: {error}"))?;
    let (id, mut cancelled, mut known) = (handle.id(), false, None);
    if let Some(after) = plan.cancel_after {
        known = tokio::time::timeout(after, &mut handle).await.ok();
        if known.is_none() {
            let asked = tokio::task::spawn_blocking(move || engine.cancel_workflow(id)).await.expect("no panic");
            cancelled = asked.map_err(|error| format!("workflow {number} could not be cancelled: {error}"))?;
        }
    }
    let known = match known {
        Some(known) => known,
        None => tokio::time::timeout(FLOW_LIMIT, handle)
            .await
            .map_err(|_| format!("L1: workflow {number} has not ended within {FLOW_LIMIT:?}: {}", plan.json()))?,
    };
    let record = known.map_err(|error| format!("L1: workflow {number} has no record: {error}"))?;
    let notes_then = std::fs::metadata(folder.join("notes")).map_or(0, |notes| notes.len());
    Ok(FlowEnd { id, plan, cancelled, record, notes_then })
}

async fn outcome(handle: TaskHandle, notes: PathBuf, limit: Duration) -> (TaskId, Result<Known, String>) {
    let id = handle.id();
    let known = match tokio::time::timeout(limit, handle).await {
        Ok(Ok(record)) => Ok((record, std::fs::metadata(notes).map_or(0, |notes| notes.len()))),
        Ok(Err(error)) => Err(format!("L1: its handle resolved to an error: {error}")),
        Err(_) => Err(format!("L1: it has not ended within {limit:?}")),
    };
    (id, known)
}

fn without_payload(record: &TaskRecord) -> TaskRecord {
    let mut record = record.clone();
    if let Outcome::Succeeded(data) = &mut record.outcome {
        *data = axion_core::Json(Bytes::new()).into();
    }
    record.output = None;
    record.earlier = Vec::new();
    record
}
