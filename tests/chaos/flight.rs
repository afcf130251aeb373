//! One workflow from its submission to its end, and what is done to it meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_core::workflow::{WorkflowRecord, WorkflowSpec};
use axion_core::{CancelAnswer, Engine, TaskHandle, TaskId, TaskRecord, WaitError, WorkflowError, WorkflowHandle};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use crate::flows::{Deed, FlowPlan, Link, Outside, What, name};
use crate::life::digest_of;
use crate::verdict::FlowEnd;

/// Of all workflows, those that wait for one of another workflow have numbers from here on.
const FOLLOWERS: usize = 50_000;
/// Out of so many tasks that were accepted last, those are chosen that others wait for.
const RECENT: usize = 150;

/// What a step of another workflow may wait for.
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

/// What was asked of a step, or of an instance, and what the engine said.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
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
    /// Whether the engine has taken it upon itself to end the step.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Cancel(CancelAnswer::Removed | CancelAnswer::Requested) | Self::Withdrawn(true))
    }
}

/// What somebody was told who waited for a step.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
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
    /// It was to wait for a step that was to come later.
    pub(crate) early: bool,
}

#[derive(Debug)]
pub(crate) enum Landed {
    Ended(Box<FlowEnd>),
    Refused(Box<Refused>),
}

/// All that a workflow needs to be submitted.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) engine: Arc<Engine>,
    pub(crate) folder: PathBuf,
    pub(crate) targets: Arc<Mutex<Targets>>,
    pub(crate) seed: u64,
}

/// One workflow, and for some of them one that waits for a step of it: before that is known, and after.
pub(crate) async fn flight(field: Field, mut plan: FlowPlan) -> Result<Vec<Landed>, String> {
    let links = links(&field, &mut plan);
    let spec = plan.spec(&field.scripts(), &links);
    let first = spec.steps.first().map(|step| step.task().id());
    let followed = plan.number.is_multiple_of(8).then_some(first).flatten();
    let mut landed = Vec::new();
    if let Some(task) = followed {
        let (follower, links, spec) = follower(&field, plan.number, task);
        landed.push(fly(&field, follower, links, spec, true).await?);
    }
    let main = fly(&field, plan.clone(), links, spec, false);
    let Some(task) = followed else {
        landed.push(main.await?);
        return Ok(landed);
    };
    let behind = async {
        // The other one is asked for first, so that it is known by then: requests are heard in their order.
        tokio::task::yield_now().await;
        let (follower, links, spec) = follower(&field, plan.number, task);
        fly(&field, follower, links, spec, false).await
    };
    let (main, behind) = tokio::join!(biased; main, behind);
    landed.extend([main?, behind?]);
    Ok(landed)
}

fn follower(field: &Field, number: usize, task: TaskId) -> (FlowPlan, Vec<Link>, WorkflowSpec) {
    let plan = FlowPlan::follower(field.seed, FOLLOWERS + number);
    let links = vec![Link { at: 0, task }];
    let spec = plan.spec(&field.scripts(), &links);
    (plan, links, spec)
}

/// Finds the tasks outside that steps are to wait for.
fn links(field: &Field, plan: &mut FlowPlan) -> Vec<Link> {
    let targets = field.targets.lock().unwrap_or_else(PoisonError::into_inner);
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

impl Field {
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

async fn fly(
    field: &Field,
    plan: FlowPlan,
    links: Vec<Link>,
    spec: WorkflowSpec,
    early: bool,
) -> Result<Landed, String> {
    let number = plan.number;
    let tasks: Vec<TaskId> = spec.steps.iter().map(|step| step.task().id()).collect();
    let handle = match field.engine.submit_workflow_async(spec, &field.scripts()).await {
        Ok(handle) => handle,
        Err(error @ (WorkflowError::Refused(_) | WorkflowError::EngineStopped)) => {
            let code = error.code();
            return Ok(Landed::Refused(Box::new(Refused { plan, links, tasks, code, early })));
        }
        Err(error) => return Err(format!("L1: workflow {number} was not accepted: {error}")),
    };
    if early {
        return Err(format!("L1: workflow {number} was accepted before the step that it waits for was known"));
    }
    field.targets.lock().unwrap_or_else(PoisonError::into_inner).steps.extend(&tasks);
    let mut flight = Flight { field, plan, links, tasks, handle, asked: Vec::new(), heard: JoinSet::new() };
    let known = flight.deeds().await?;
    flight.land(known).await
}

/// A workflow in flight.
struct Flight<'a> {
    field: &'a Field,
    plan: FlowPlan,
    links: Vec<Link>,
    /// Of the steps that are there from the start.
    tasks: Vec<TaskId>,
    handle: WorkflowHandle,
    asked: Vec<Asked>,
    heard: JoinSet<Option<Heard>>,
}

impl Flight<'_> {
    /// Does what is to be done, and sees how the workflow ends.
    async fn deeds(&mut self) -> Result<Known, String> {
        let begun = Instant::now();
        let end = self.plan.cancel_after;
        let (deeds, mut known) = (self.plan.deeds.clone(), None);
        for deed in deeds.iter().filter(|deed| end.is_none_or(|end| deed.after <= end)) {
            // Those that come after its end find it ended.
            if known.is_none() {
                known = self.look(begun + deed.after).await?;
            }
            self.perform(*deed).await;
        }
        let mut cancelled = false;
        if let (Some(after), None) = (end, &known) {
            known = self.look(begun + after).await?;
            if known.is_none() {
                let (engine, id) = (self.field.engine.clone(), self.handle.id());
                let asked = spawn_blocking(move || engine.cancel_workflow(id)).await.expect("no panic");
                // If the engine has been drained meanwhile, that is looked at elsewhere.
                cancelled = asked.unwrap_or(false);
            }
        }
        let (record, notes_then) = match known {
            Some(known) => known,
            None => self.end().await?,
        };
        Ok(Known { record, notes_then, cancelled })
    }

    /// Waits for its end, but not beyond this.
    async fn look(&mut self, until: Instant) -> Result<Option<(Arc<WorkflowRecord>, u64)>, String> {
        timeout_at(until, self.end()).await.ok().transpose()
    }

    /// Its record, and the length of the notes.
    async fn end(&mut self) -> Result<(Arc<WorkflowRecord>, u64), String> {
        let known = (&mut self.handle).await;
        let record = known.map_err(|error| format!("L1: workflow {} has no record: {error}", self.plan.number))?;
        Ok((record, self.field.notes_now()))
    }

    async fn perform(&mut self, deed: Deed) {
        let count = self.plan.steps.len() as u64;
        let at = usize::try_from(deed.choice % count).unwrap_or(0);
        let Some(step) = self.id_of(at).await else { return };
        let instance = (self.plan.steps[at].map.is_some() && (deed.choice >> 20).is_multiple_of(2))
            .then_some(u32::try_from((deed.choice >> 32) % 6).unwrap_or(0));
        let task = instance.map_or(step, |instance| step.instance(instance));
        let (engine, when) = (self.field.engine.clone(), Instant::now());
        let answer = match deed.what {
            What::Cancel => engine.cancel_async(task).await.map(Answer::Cancel),
            What::Withdraw => {
                spawn_blocking(move || engine.withdraw(task)).await.expect("no panic").map(Answer::Withdrawn)
            }
            What::Wait | What::GiveUp => return self.listen(task, at, instance, deed),
        };
        // If the engine has been drained, there is no answer.
        if let Ok(answer) = answer {
            self.asked.push(Asked { task, at, instance, when, answer });
        }
    }

    /// Some wait for the same.
    fn listen(&mut self, task: TaskId, at: usize, instance: Option<u32>, deed: Deed) {
        let patience = (deed.what == What::GiveUp).then_some(Duration::from_millis(deed.choice % 50));
        for _ in 0..=(deed.choice >> 8) % 3 {
            let handle = self.field.engine.handle(task);
            self.heard.spawn(async move {
                let answer = wait(handle, patience).await?;
                let with_digest = |record: Arc<TaskRecord>| {
                    let digest = digest_of(&record);
                    (record, digest)
                };
                Some(Heard { task, at, instance, answer: answer.map(with_digest) })
            });
        }
    }

    async fn id_of(&self, at: usize) -> Option<TaskId> {
        if let Some(first) = self.plan.first().position(|first| first == at) {
            return self.tasks.get(first).copied();
        }
        // One that is added: it may be there by now.
        let (engine, id, name) = (self.field.engine.clone(), self.handle.id(), name(at));
        let record = spawn_blocking(move || engine.workflow(id)).await.expect("no panic").ok()?;
        record.steps.iter().find(|step| step.name.as_deref() == Some(&*name)).map(|step| step.task)
    }

    async fn land(self, Known { record, notes_then, cancelled }: Known) -> Result<Landed, String> {
        let Self { field, plan, links, handle, asked, mut heard, .. } = self;
        let (id, number) = (handle.id(), plan.number);
        // Somebody who asks later hears the same.
        let second = field.engine.workflow_handle(id).await;
        if second.is_ok_and(|second| second != record) {
            return Err(format!("L1: workflow {number} has two records"));
        }
        let mut all = Vec::new();
        while let Some(heard) = heard.join_next().await {
            all.extend(heard.expect("no panic"));
        }
        let end = FlowEnd { id, plan, links, cancelled, shut_down: false, asked, heard: all, record, notes_then };
        Ok(Landed::Ended(Box::new(end)))
    }
}

/// What a handle says, unless whoever waits gives up before.
pub(crate) async fn wait(handle: TaskHandle, patience: Option<Duration>) -> Option<Result<Arc<TaskRecord>, WaitError>> {
    match patience {
        Some(patience) => timeout(patience, handle).await.ok(),
        None => Some(handle.await),
    }
}

/// How a workflow ended, and the length of the notes then.
struct Known {
    record: Arc<WorkflowRecord>,
    notes_then: u64,
    /// Somebody asked for its end while it was in flight.
    cancelled: bool,
}
