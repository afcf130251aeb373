//! One workflow from its submission to its end, and what clients do to it meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_core::workflow::{WorkflowRecord, WorkflowSpec};
use axion_core::{
    CancelAnswer, Engine, TaskHandle, TaskId, TaskRecord, WaitError, WorkflowError, WorkflowHandle, WorkflowOptions,
};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use crate::flows::{ClientAction, ClientActionKind, FlowPlan, Link, Outside, name};
use crate::life::digest_of;
use crate::verdict::FlowEnd;

/// Workflows whose step depends on a step of another workflow are numbered from here.
const FOLLOWERS: usize = 50_000;
/// External dependencies are chosen from this many of the most recently accepted tasks.
const RECENT: usize = 150;

/// Tasks that a step of another workflow may depend on.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    steps: Vec<TaskId>,
    pub(crate) tasks: Vec<TaskId>,
}

impl Targets {
    fn find(&self, outside: Outside) -> Option<TaskId> {
        let choose = |tasks: &[TaskId], choice: u64| {
            let recent = &tasks[tasks.len().saturating_sub(RECENT)..];
            recent.get(usize::try_from(choice % recent.len().max(1) as u64).ok()?).copied()
        };
        match outside {
            Outside::Step(choice) => choose(&self.steps, choice),
            Outside::Task(choice) => choose(&self.tasks, choice),
            Outside::Nobody => Some(TaskId::generate()),
        }
    }
}

/// A request about a step or an instance, and the engine's answer.
#[derive(Clone, Debug)]
pub(crate) struct StepRequest {
    pub(crate) task: TaskId,
    pub(crate) at: usize,
    pub(crate) instance: Option<u32>,
    pub(crate) when: Instant,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Cancel(CancelAnswer),
    Withdrawn(bool),
}

impl Answer {
    /// Whether the engine has agreed to end the step.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Cancel(CancelAnswer::Removed | CancelAnswer::Requested) | Self::Withdrawn(true))
    }
}

/// The answer that a waiter of a step got.
#[derive(Clone, Debug)]
pub(crate) struct StepWaiterAnswer {
    pub(crate) task: TaskId,
    pub(crate) at: usize,
    pub(crate) instance: Option<u32>,
    /// With a digest of the result.
    pub(crate) answer: Result<(Arc<TaskRecord>, Option<String>), WaitError>,
}

/// A workflow that was not accepted.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) plan: FlowPlan,
    pub(crate) links: Vec<Link>,
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) code: &'static str,
    /// It named a step that was submitted later.
    pub(crate) early: bool,
}

#[derive(Debug)]
pub(crate) enum FlowOutcome {
    Ended(Box<FlowEnd>),
    Refused(Box<Refused>),
}

/// Everything that submitting a workflow needs.
#[derive(Clone)]
pub(crate) struct FlowContext {
    pub(crate) engine: Arc<Engine>,
    pub(crate) folder: PathBuf,
    pub(crate) targets: Arc<Mutex<Targets>>,
    pub(crate) seed: u64,
}

/// Runs one workflow. For some, two others depend on a step of it: one submitted before that step is known, one after.
pub(crate) async fn run_workflow(context: FlowContext, mut plan: FlowPlan) -> Result<Vec<FlowOutcome>, String> {
    let links = links(&context, &mut plan);
    let spec = plan.spec(&context.scripts(), &links);
    let first = spec.steps.first().map(|step| step.task().id());
    let followed = plan.number.is_multiple_of(8).then_some(first).flatten();
    let mut outcomes = Vec::new();
    if let Some(task) = followed {
        let (follower, links, spec) = follower(&context, plan.number, task);
        outcomes.push(submit_and_follow(&context, follower, links, spec, true).await?);
    }
    let main = submit_and_follow(&context, plan.clone(), links, spec, false);
    let Some(task) = followed else {
        outcomes.push(main.await?);
        return Ok(outcomes);
    };
    let behind = async {
        // The other one is asked for first, so that it is known by then: requests are handled in their order.
        tokio::task::yield_now().await;
        let (follower, links, spec) = follower(&context, plan.number, task);
        submit_and_follow(&context, follower, links, spec, false).await
    };
    let (main, behind) = tokio::join!(biased; main, behind);
    outcomes.extend([main?, behind?]);
    Ok(outcomes)
}

fn follower(context: &FlowContext, number: usize, task: TaskId) -> (FlowPlan, Vec<Link>, WorkflowSpec) {
    let plan = FlowPlan::follower(context.seed, FOLLOWERS + number);
    let links = vec![Link { at: 0, task }];
    let spec = plan.spec(&context.scripts(), &links);
    (plan, links, spec)
}

/// Finds the external tasks that steps depend on.
fn links(context: &FlowContext, plan: &mut FlowPlan) -> Vec<Link> {
    let targets = context.targets.lock().unwrap_or_else(PoisonError::into_inner);
    let mut links = Vec::new();
    for at in 0..plan.steps.len() {
        let Some(outside) = plan.steps[at].outside else { continue };
        match targets.find(outside) {
            Some(task) => links.push(Link { at, task }),
            None => plan.unlink(at),
        }
    }
    links
}

impl FlowContext {
    fn scripts(&self) -> PathBuf {
        self.folder.join("scripts")
    }

    fn notes_now(&self) -> u64 {
        notes_length(&self.folder)
    }
}

pub(crate) fn notes_length(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("notes")).map_or(0, |notes| notes.len())
}

async fn submit_and_follow(
    context: &FlowContext,
    plan: FlowPlan,
    links: Vec<Link>,
    spec: WorkflowSpec,
    early: bool,
) -> Result<FlowOutcome, String> {
    let number = plan.number;
    let tasks: Vec<TaskId> = spec.steps.iter().map(|step| step.task().id()).collect();
    let options = WorkflowOptions { folder: context.scripts(), ..WorkflowOptions::default() };
    let handle = match context.engine.submit_workflow_async(spec, options).await {
        Ok(handle) => handle,
        Err(error @ (WorkflowError::Refused(_) | WorkflowError::EngineStopped)) => {
            let code = error.code();
            return Ok(FlowOutcome::Refused(Box::new(Refused { plan, links, tasks, code, early })));
        }
        Err(error) => return Err(format!("L1: workflow {number} was not accepted: {error}")),
    };
    if early {
        return Err(format!("L1: workflow {number} was accepted before the step that it waits for was known"));
    }
    context.targets.lock().unwrap_or_else(PoisonError::into_inner).steps.extend(&tasks);
    let mut run = WorkflowRun { context, plan, links, tasks, handle, requests: Vec::new(), waiters: JoinSet::new() };
    let known = run.actions().await?;
    run.finish(known).await
}

/// A workflow in flight.
struct WorkflowRun<'a> {
    context: &'a FlowContext,
    plan: FlowPlan,
    links: Vec<Link>,
    /// The tasks of the steps that exist from the start.
    tasks: Vec<TaskId>,
    handle: WorkflowHandle,
    requests: Vec<StepRequest>,
    waiters: JoinSet<Option<StepWaiterAnswer>>,
}

impl WorkflowRun<'_> {
    /// Performs the planned actions and waits for the end of the workflow.
    async fn actions(&mut self) -> Result<WorkflowEnd, String> {
        let begun = Instant::now();
        let end = self.plan.cancel_after;
        let (actions, mut known) = (self.plan.actions.clone(), None);
        for action in actions.iter().filter(|action| end.is_none_or(|end| action.after <= end)) {
            // Actions after its end find it ended.
            if known.is_none() {
                known = self.look(begun + action.after).await?;
            }
            self.perform(*action).await;
        }
        let mut cancelled = false;
        if let (Some(after), None) = (end, &known) {
            known = self.look(begun + after).await?;
            if known.is_none() {
                let (engine, id) = (self.context.engine.clone(), self.handle.id());
                let answer = spawn_blocking(move || engine.cancel_workflow(id)).await.expect("no panic");
                // Another check covers an engine that was drained meanwhile.
                cancelled = answer.unwrap_or(false);
            }
        }
        let (record, notes_then) = match known {
            Some(known) => known,
            None => self.end().await?,
        };
        Ok(WorkflowEnd { record, notes_then, cancelled })
    }

    /// Waits for its end until this moment.
    async fn look(&mut self, until: Instant) -> Result<Option<(Arc<WorkflowRecord>, u64)>, String> {
        timeout_at(until, self.end()).await.ok().transpose()
    }

    /// Its record, and the length of the notes.
    async fn end(&mut self) -> Result<(Arc<WorkflowRecord>, u64), String> {
        let known = (&mut self.handle).await;
        let record = known.map_err(|error| format!("L1: workflow {} has no record: {error}", self.plan.number))?;
        Ok((record, self.context.notes_now()))
    }

    async fn perform(&mut self, action: ClientAction) {
        let count = self.plan.steps.len() as u64;
        let at = usize::try_from(action.choice % count).unwrap_or(0);
        let Some(step) = self.id_of(at).await else { return };
        let instance = (self.plan.steps[at].map.is_some() && (action.choice >> 20).is_multiple_of(2))
            .then_some(u32::try_from((action.choice >> 32) % 6).unwrap_or(0));
        let task = instance.map_or(step, |instance| step.instance(instance));
        let (engine, when) = (self.context.engine.clone(), Instant::now());
        let answer = match action.kind {
            ClientActionKind::Cancel => engine.cancel_async(task).await.map(Answer::Cancel),
            ClientActionKind::Withdraw => {
                spawn_blocking(move || engine.withdraw(task)).await.expect("no panic").map(Answer::Withdrawn)
            }
            ClientActionKind::Wait | ClientActionKind::GiveUp => return self.listen(task, at, instance, action),
        };
        // If the engine has been drained, there is no answer.
        if let Ok(answer) = answer {
            self.requests.push(StepRequest { task, at, instance, when, answer });
        }
    }

    /// Several clients wait for the same task.
    fn listen(&mut self, task: TaskId, at: usize, instance: Option<u32>, action: ClientAction) {
        let patience = (action.kind == ClientActionKind::GiveUp).then_some(Duration::from_millis(action.choice % 50));
        for _ in 0..=(action.choice >> 8) % 3 {
            let handle = self.context.engine.handle(task);
            self.waiters.spawn(async move {
                let answer = wait(handle, patience).await?;
                let with_digest = |record: Arc<TaskRecord>| {
                    let digest = digest_of(&record);
                    (record, digest)
                };
                Some(StepWaiterAnswer { task, at, instance, answer: answer.map(with_digest) })
            });
        }
    }

    async fn id_of(&self, at: usize) -> Option<TaskId> {
        if let Some(first) = self.plan.first().position(|first| first == at) {
            return self.tasks.get(first).copied();
        }
        // A step that another one adds may exist by now.
        let (engine, id, name) = (self.context.engine.clone(), self.handle.id(), name(at));
        let record = spawn_blocking(move || engine.workflow(id)).await.expect("no panic").ok()?;
        record.steps.iter().find(|step| step.name.as_deref() == Some(&*name)).map(|step| step.task)
    }

    async fn finish(self, WorkflowEnd { record, notes_then, cancelled }: WorkflowEnd) -> Result<FlowOutcome, String> {
        let Self { context, plan, links, handle, requests, mut waiters, .. } = self;
        let (id, number) = (handle.id(), plan.number);
        // A later request gets the same record.
        let second = context.engine.workflow_handle(id).await;
        if second.is_ok_and(|second| second != record) {
            return Err(format!("L1: workflow {number} has two records"));
        }
        let mut waiter_answers = Vec::new();
        while let Some(answer) = waiters.join_next().await {
            waiter_answers.extend(answer.expect("no panic"));
        }
        let end =
            FlowEnd { id, plan, links, cancelled, shut_down: false, requests, waiter_answers, record, notes_then };
        Ok(FlowOutcome::Ended(Box::new(end)))
    }
}

/// The answer of a handle, or `None` if the wait is given up first.
pub(crate) async fn wait(handle: TaskHandle, patience: Option<Duration>) -> Option<Result<Arc<TaskRecord>, WaitError>> {
    match patience {
        Some(patience) => timeout(patience, handle).await.ok(),
        None => Some(handle.await),
    }
}

/// How a workflow ended, and the length of the notes then.
struct WorkflowEnd {
    record: Arc<WorkflowRecord>,
    notes_then: u64,
    /// It was cancelled while it was in flight.
    cancelled: bool,
}
