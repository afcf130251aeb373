//! One engine and its tasks, from start to end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_core::{CancelAnswer, Engine, ShutdownReport, SubmitError, TaskHandle, TaskId, TaskRecord, WaitError};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use crate::batches::{self, Entered};
use crate::faults::{Consequence, FaultInjector, go_on, stop_engine};
use crate::flows::FlowPlan;
use crate::leftovers;
use crate::life::{Done, Ended, Progress, WaiterAnswer, Workload, digest_of, without_payload};
use crate::plan::{Ending, Kind, Plan, agree};
use crate::rng::Rng;
use crate::trace::TraceUpdate;
use crate::workflow_run::{FlowContext, FlowOutcome, Targets, notes_length, run_workflow, wait};

/// On any machine some task ends within this time. If none does, the rest hangs.
const LIMIT: Duration = Duration::from_secs(90);
/// One workflow is submitted for this many tasks.
const FLOW_EVERY: usize = 25;
/// Workflows in flight at one time. The engine takes no more than its queue has places.
const FLOWS: usize = 16;
/// Faults that are skipped in a row while no task ends.
const MAX_SKIPPED_FAULTS: u32 = 100;

/// A record, and the length of the notes when it came.
type TimedRecord = (Arc<TaskRecord>, u64);

/// Everything in progress, owned by one loop.
struct Round<'a> {
    engine: &'a Arc<Engine>,
    folder: &'a Path,
    workload: Workload,
    ahead: usize,
    submitted: usize,
    /// Submissions that wait for a place in the engine.
    entering: JoinSet<Entered>,
    /// Accepted tasks.
    waiting: JoinSet<(TaskId, Result<TimedRecord, String>)>,
    flows_submitted: usize,
    flows: JoinSet<(usize, Result<Vec<FlowOutcome>, String>)>,
    /// Their numbers.
    flying: BTreeSet<usize>,
    /// When a task was last accepted or last ended.
    moved: Instant,
    targets: Arc<Mutex<Targets>>,
    live: Vec<TaskId>,
    /// Tasks and steps that are with a worker, or wait for a retry.
    active: BTreeSet<TaskId>,
    answers: HashMap<TaskId, CancelAnswer>,
    /// Tasks that the engine was asked to give back.
    withdrawals: HashSet<TaskId>,
    withdrawn: JoinSet<(TaskId, Result<bool, WaitError>)>,
    waiters: JoinSet<Option<WaiterAnswer>>,
    /// Tasks with unique keys, of which some stand for the others.
    unique: JoinSet<Result<(), String>>,
    unique_submitted: usize,
    closing: Option<JoinHandle<ShutdownReport>>,
    /// The queue was filled at the end, which shows that all room was given back.
    filled: bool,
    resumes: JoinSet<()>,
    /// How much had ended at the last fault, and how many faults may be skipped until more ends.
    skippable_faults: (usize, u32),
    next_fault: Instant,
    next_action: Instant,
    rng: Rng,
    fault_injector: FaultInjector,
    done: Done,
}

/// Submits all tasks, injects faults and cancels tasks meanwhile, and waits for all outcomes.
pub(crate) async fn run(
    engine: &Arc<Engine>,
    folder: &Path,
    mut updates: UnboundedReceiver<TraceUpdate>,
    workload: Workload,
) -> Done {
    let mut round = Round::new(engine, folder, workload);
    loop {
        round.submit();
        let goes_on = if round.is_idle() { round.fill_once().await } else { round.handle_next(&mut updates).await };
        if !goes_on {
            return round.finish();
        }
    }
}

async fn ending(closing: &mut Option<JoinHandle<ShutdownReport>>) -> ShutdownReport {
    match closing {
        Some(closing) => closing.await.expect("no panic"),
        None => std::future::pending().await,
    }
}

impl<'a> Round<'a> {
    fn new(engine: &'a Arc<Engine>, folder: &'a Path, workload: Workload) -> Self {
        let life = workload.done.tasks as u64;
        let mut rng = Rng::new(workload.seed ^ life, 2);
        let mut fault_injector = FaultInjector::new(Rng::new(workload.seed ^ life, 3), folder.to_owned());
        Self {
            engine,
            folder,
            workload,
            // With more waiting tasks, the steps of workflows take longer.
            ahead: rng.weighted(&[(40, 2), (200, 2), (600, 1)]),
            submitted: workload.done.tasks,
            entering: JoinSet::new(),
            waiting: JoinSet::new(),
            flows_submitted: workload.done.flows,
            flows: JoinSet::new(),
            flying: BTreeSet::new(),
            moved: Instant::now(),
            targets: Arc::default(),
            live: Vec::new(),
            active: BTreeSet::new(),
            answers: HashMap::new(),
            withdrawals: HashSet::new(),
            withdrawn: JoinSet::new(),
            waiters: JoinSet::new(),
            unique: JoinSet::new(),
            unique_submitted: 0,
            closing: None,
            filled: false,
            resumes: JoinSet::new(),
            skippable_faults: (0, MAX_SKIPPED_FAULTS),
            next_fault: Instant::now() + fault_injector.pause(),
            next_action: Instant::now(),
            rng,
            fault_injector,
            done: Done::default(),
        }
    }

    /// Fills the queue once when everything has ended. Returns false if the round is over.
    async fn fill_once(&mut self) -> bool {
        let is_over = self.done.drained.is_some() || std::mem::replace(&mut self.filled, true);
        if is_over {
            for left in leftovers::of_dead_workers(self.folder, self.fault_injector.pids()).await {
                self.violated(None, left);
            }
        }
        if !is_over {
            self.fill().await;
        }
        !is_over
    }

    /// Waits for the next event and handles it. Returns false if the round is over.
    async fn handle_next(&mut self, updates: &mut UnboundedReceiver<TraceUpdate>) -> bool {
        tokio::select! {
            Some(update) = updates.recv() => {
                if let Some(task) = self.observe(update) {
                    self.cancel(task).await;
                }
            }
            Some(ended) = self.unique.join_next() => self.unique_ended(ended.expect("no panic")),
            Some(entered) = self.entering.join_next() => self.entered(entered.expect("no panic")),
            Some(ended) = self.waiting.join_next() => return self.ended(ended.expect("no panic")),
            Some(ended) = self.flows.join_next() => return self.flow_ended(ended.expect("no panic")),
            Some(answer) = self.waiters.join_next() => self.done.waiter_answers.extend(answer.expect("no panic")),
            Some(withdrawn) = self.withdrawn.join_next() => self.has_withdrawn(withdrawn.expect("no panic")),
            report = ending(&mut self.closing) => self.closed(report),
            () = sleep_until(self.moved + LIMIT) => {
                self.hangs();
                return false;
            }
            () = sleep_until(self.next_fault) => self.inject_fault(),
            () = sleep_until(self.next_action) => {
                self.act_as_client().await;
                self.next_action = Instant::now() + self.rng.millis(3, 40);
            }
        }
        true
    }

    fn inject_fault(&mut self) {
        if self.fault_is_due() {
            match self.fault_injector.inject() {
                Consequence::Nothing => {}
                Consequence::GoOn(stopped, after) => {
                    for process in stopped {
                        self.resumes.spawn(go_on(process, after));
                    }
                }
                Consequence::StopEngine(stopped_for) => {
                    self.resumes.spawn_blocking(move || stop_engine(stopped_for));
                }
            }
        }
        self.next_fault = Instant::now() + self.fault_injector.pause();
    }

    /// Workers that are stopped stay stopped: the shutdown has to cope with them.
    fn finish(mut self) -> Done {
        self.resumes.abort_all();
        self.done.faults = self.fault_injector.counts;
        self.done.progress = Progress { tasks: self.submitted, flows: self.flows_submitted };
        self.done
    }

    /// Returns a task that is to be cancelled now: half of those that stop when they are asked to.
    fn observe(&mut self, update: TraceUpdate) -> Option<TaskId> {
        match update {
            TraceUpdate::Active(task) => {
                self.active.insert(task);
                let is_polite = self.done.plans.get(&task).is_some_and(|plan| plan.kind == Kind::Polite);
                return (is_polite && self.done.drained.is_none() && self.rng.chance(50)).then_some(task);
            }
            TraceUpdate::Inactive(task) => {
                self.active.remove(&task);
            }
            update => self.fault_injector.observe(update),
        }
        None
    }

    fn is_idle(&self) -> bool {
        let tasks = self.entering.is_empty() && self.waiting.is_empty() && self.withdrawn.is_empty();
        let tasks = tasks && self.unique.is_empty();
        tasks && self.flows.is_empty() && self.waiters.is_empty() && self.closing.is_none()
    }

    /// Whether something has ended since the last fault. On a busy machine a worker may need longer to start than the
    /// pause between two faults. After enough skipped faults, one is injected all the same.
    fn fault_is_due(&mut self) -> bool {
        let ended = self.done.ended.len() + self.done.flows.len();
        let (before, skips_left) = self.skippable_faults;
        let due = ended > before || skips_left == 0;
        self.skippable_faults = if due { (ended, MAX_SKIPPED_FAULTS) } else { (before, skips_left - 1) };
        due
    }

    fn submit(&mut self) {
        let in_time = self.workload.until.is_none_or(|until| Instant::now() < until);
        let open = in_time && self.closing.is_none() && self.done.drained.is_none();
        while open && self.submitted < self.workload.tasks && self.entering.len() + self.waiting.len() < self.ahead {
            let count = batches::count(&mut self.rng, self.engine.config().input_queue_size);
            let count = count.min(self.workload.tasks - self.submitted).max(1);
            let plans = (self.submitted..self.submitted + count).map(|index| Plan::new(self.workload.seed, index));
            let plans: Vec<Plan> = plans.collect();
            self.enter(plans);
        }
        let most = FLOWS.min(self.engine.config().input_queue_size / 2 - 1);
        while open && self.flows.len() < most && self.flows_submitted * FLOW_EVERY < self.submitted {
            let plan = FlowPlan::new(self.workload.seed, self.flows_submitted);
            self.flows_submitted += 1;
            let context = FlowContext {
                engine: self.engine.clone(),
                folder: self.folder.to_owned(),
                targets: self.targets.clone(),
                seed: self.workload.seed,
            };
            self.flying.insert(plan.number);
            self.flows.spawn(async move { (plan.number, run_workflow(context, plan).await) });
        }
        let drain = self.workload.drain.filter(|drain| open && self.done.ended.len() >= drain.after);
        if let Some(drain) = drain {
            let engine = self.engine.clone();
            self.closing = Some(spawn_blocking(move || engine.shutdown(drain.patience)));
        }
    }

    /// Submits tasks: one, or a batch.
    fn enter(&mut self, plans: Vec<Plan>) {
        self.submitted += plans.len();
        let scripts = self.folder.join("scripts");
        let tasks: Vec<_> = plans.iter().map(|plan| plan.task(&scripts)).collect();
        let ids = tasks.iter().map(axion_core::Task::id);
        self.done.plans.extend(ids.zip(plans));
        let way = self.rng.next();
        batches::enter(&mut self.entering, self.engine.clone(), tasks, way);
    }

    /// Nothing waits any more: as many tasks as may wait are taken at one time.
    async fn fill(&mut self) {
        // The engine reports the last task's end before it returns the room. It answers this request after both.
        let status = match self.engine.status_async().await {
            Ok(status) => status,
            Err(error) => return self.violated(None, format!("no status is known: {error}")),
        };
        let refused = self.done.batches.iter().filter(|batch| batch.is_counted()).count() as u64;
        let components = &status.components;
        let counted = (components.tasks.live, components.input_queue.size, components.input_queue.total_dropped);
        if let Err(violation) = agree("L9: live, waiting and refused tasks", &counted, &(0, 0, refused)) {
            self.violated(None, violation);
        }
        let count = self.engine.config().input_queue_size;
        // Each engine of a round has its own.
        let first = batches::FILLERS * (1 + usize::from(self.workload.done.tasks > 0));
        let plans: Vec<Plan> = (0..count).map(|at| Plan::plain(first + at)).collect();
        let tasks: Vec<_> = plans.iter().map(|plan| plan.task(&self.folder.join("scripts"))).collect();
        self.done.plans.extend(tasks.iter().map(axion_core::Task::id).zip(plans));
        batches::fill(&mut self.entering, self.engine.clone(), tasks);
    }

    fn entered(&mut self, entered: Entered) {
        let Entered { batch, handles } = entered;
        self.moved = Instant::now();
        for handle in handles {
            let id = handle.id();
            self.live.push(id);
            self.targets.lock().unwrap_or_else(PoisonError::into_inner).tasks.push(id);
            self.waiting.spawn(outcome(handle, self.folder.to_owned()));
        }
        let closing = self.closing.is_some() || self.done.drained.is_some();
        let fits = batch.check(self.engine.config().input_queue_size, closing);
        if let Err(violation) = fits {
            self.violated(batch.tasks.first().copied(), violation);
        }
        self.done.batches.push(batch);
    }

    /// False if there is no use in waiting for the others.
    fn ended(&mut self, (id, known): (TaskId, Result<TimedRecord, String>)) -> bool {
        self.moved = Instant::now();
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
        let was_asked_to_stop = plan.kind == Kind::Polite && answer == Some(&CancelAnswer::Requested);
        let cancelled = answer.is_some_and(|answer| !matches!(answer, CancelAnswer::AlreadyFinished(_)));
        let fits = match answer {
            Some(CancelAnswer::Removed) => agree("a removed task's outcome", &record.outcome.name(), &"cancelled"),
            Some(CancelAnswer::AlreadyFinished(name)) => agree("the outcome", &record.outcome.name(), name),
            _ => Ok(()),
        };
        // Whether it was taken back is known later.
        let cancelled = cancelled || self.withdrawals.contains(&id);
        let ending = Ending { cancelled, shut_down: self.closing.is_some() || self.done.drained.is_some() };
        for violation in [plan.check(&record, ending), fits].into_iter().filter_map(Result::err) {
            self.violated(Some(id), violation);
        }
        if was_asked_to_stop {
            self.done.asked_to_stop += 1;
            self.done.stopped += u64::from(record.outcome.data().is_some_and(|data| data.as_str() == "\"stopped\""));
        }
        let ended = Ended { digest: digest_of(&record), record: without_payload(&record), notes_then };
        self.done.ended.insert(index, ended);
        true
    }

    /// The same for a workflow.
    fn flow_ended(&mut self, (number, outcomes): (usize, Result<Vec<FlowOutcome>, String>)) -> bool {
        self.moved = Instant::now();
        self.flying.remove(&number);
        match outcomes {
            Ok(outcomes) => {
                for outcome in outcomes {
                    match outcome {
                        FlowOutcome::Ended(end) => self.done.flows.push(*end),
                        FlowOutcome::Refused(refused) => self.done.refused_flows.push(*refused),
                    }
                }
                true
            }
            Err(error) => {
                self.violated(None, error);
                false
            }
        }
    }

    /// Nothing ends any more (L1).
    fn hangs(&mut self) {
        let waits = [self.entering.len(), self.waiting.len(), self.flows.len(), self.waiters.len()];
        let what =
            format!("L1: nothing has ended for {LIMIT:?}: {waits:?} submit or wait for tasks, workflows, others");
        self.violated(None, what);
        for task in self.live.clone() {
            self.violated(Some(task), "L1: it has not ended".to_owned());
        }
        for number in self.flying.clone() {
            let plan = FlowPlan::new(self.workload.seed, number);
            self.violated(None, format!("L1: workflow {number} has not ended: {}", plan.json()));
        }
    }

    fn closed(&mut self, report: ShutdownReport) {
        self.closing = None;
        self.done.drained = self.workload.drain.map(|drain| (drain, report));
    }

    /// Cancels a task, takes it back, or waits for it.
    async fn act_as_client(&mut self) {
        if self.done.drained.is_some() {
            return;
        }
        let active = !self.active.is_empty() && self.rng.chance(50);
        let id = match (active, self.live.is_empty()) {
            (true, _) => self.active.iter().nth(self.rng.index(self.active.len())).copied(),
            (false, false) => Some(self.live[self.rng.index(self.live.len())]),
            (false, true) => None,
        };
        let Some(id) = id else { return };
        // Most tasks are to run, also on a busy machine.
        let ended: u64 = self.done.cancels.values().sum::<u64>() * 6;
        let spare = ended > 60 + self.done.ended.len() as u64;
        if self.closing.is_none() && self.rng.chance(5) {
            self.submit_unique();
        }
        match self.rng.within(0, 9) {
            0..6 if spare => {}
            0..6 if !self.done.plans.contains_key(&id) => self.cancel_step(id).await,
            0..5 => self.cancel(id).await,
            5 => {
                let engine = self.engine.clone();
                self.withdrawals.insert(id);
                self.withdrawn.spawn_blocking(move || (id, engine.withdraw(id)));
            }
            _ if self.done.plans.contains_key(&id) => self.listen(id),
            _ => {}
        }
    }

    /// Submits some tasks with one unique key at the same time. At most one of them lives at a time.
    fn submit_unique(&mut self) {
        let key = format!("unique {}", self.rng.within(1, 3));
        for _ in 0..self.rng.within(2, 4) {
            let first = batches::UNIQUE * (1 + usize::from(self.workload.done.tasks > 0));
            let plan = Plan::plain(first + self.unique_submitted);
            self.unique_submitted += 1;
            let task = plan.task(&self.folder.join("scripts")).unique(&key).expect("a short key");
            let (engine, own) = (self.engine.clone(), task.id());
            self.done.unique.push(own);
            self.unique.spawn(async move {
                let handle = match engine.submit_async(task).await {
                    Ok(handle) => handle,
                    Err(SubmitError::ShuttingDown) => return Ok(()),
                    Err(error) => return Err(format!("unique task {own} was refused: {error}")),
                };
                match handle.await {
                    Ok(_) | Err(WaitError::EngineStopped) => Ok(()),
                    Err(error) => Err(format!("L1: unique task {own} came to {error}")),
                }
            });
        }
    }

    /// They are submitted for as long as others wait, so their ends do not show that these go on.
    fn unique_ended(&mut self, ended: Result<(), String>) {
        if let Err(violation) = ended {
            self.violated(None, violation);
        }
    }

    /// One of a workflow that is in flight, or has been.
    async fn cancel_step(&mut self, task: TaskId) {
        let when = Instant::now();
        match self.engine.cancel_async(task).await {
            Ok(answer) => {
                *self.done.cancels.entry("steps").or_default() += 1;
                self.done.step_cancels.push((task, when, answer));
            }
            Err(error) if self.closing.is_none() => {
                self.violated(Some(task), format!("a cancellation was answered with {error}"));
            }
            Err(_) => {}
        }
    }

    /// Several wait for one task, and some of them not to its end.
    fn listen(&mut self, task: TaskId) {
        for _ in 0..self.rng.within(1, 4) {
            let patience = self.rng.chance(20).then(|| self.rng.millis(0, 20));
            let handle = self.engine.handle(task);
            self.waiters.spawn(async move {
                let answer = wait(handle, patience).await?;
                Some(WaiterAnswer { task, answer: answer.map(|record| (without_payload(&record), digest_of(&record))) })
            });
        }
    }

    async fn cancel(&mut self, id: TaskId) {
        let answer = match timeout(LIMIT, self.engine.cancel_async(id)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(WaitError::EngineStopped)) if self.closing.is_some() => return,
            other => return self.violated(Some(id), format!("a cancellation was answered with {other:?}")),
        };
        let before = self.answers.get(&id);
        let (name, fits) = match &answer {
            CancelAnswer::Removed => ("removed", true),
            CancelAnswer::Requested => ("requested", before.is_none()),
            CancelAnswer::AlreadyRequested => ("already requested", before.is_some()),
            // Its record is on the way.
            CancelAnswer::AlreadyFinished(_) => ("already finished", true),
            CancelAnswer::Started | CancelAnswer::Unknown => ("unknown", false),
        };
        *self.done.cancels.entry(name).or_default() += 1;
        if !fits {
            self.violated(Some(id), format!("a cancellation was answered with {answer:?} after {before:?}"));
        }
        if !matches!(answer, CancelAnswer::AlreadyFinished(_)) {
            self.done.cancelled.insert(id);
        }
        self.answers.entry(id).or_insert(answer);
    }

    fn has_withdrawn(&mut self, (id, withdrawn): (TaskId, Result<bool, WaitError>)) {
        if let Ok(true) = withdrawn {
            *self.done.cancels.entry("withdrawn").or_default() += 1;
            self.done.withdrawn.insert(id);
        }
    }

    fn violated(&mut self, task: Option<TaskId>, what: String) {
        self.done.violations.push((task, what));
    }
}

async fn outcome(handle: TaskHandle, folder: PathBuf) -> (TaskId, Result<TimedRecord, String>) {
    let id = handle.id();
    let known = match handle.await {
        Ok(record) => Ok((record, notes_length(&folder))),
        Err(error) => Err(format!("L1: its handle resolved to an error: {error}")),
    };
    (id, known)
}
