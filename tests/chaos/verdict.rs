//! Compares the record of a workflow with its plan: a second implementation of the rules of graphs, which starts
//! from the ends of the steps that ran.

mod requests;
mod world;

use std::collections::HashMap;
use std::sync::Arc;

use axion_core::workflow::{RunIf, StepError, StepRecord, StepState, WorkflowId, WorkflowRecord, WorkflowState};
use axion_core::{ErrorKind, TaskId};
use serde_json::Value;

use self::requests::BY_ITSELF;
pub(crate) use self::world::World;
use crate::flows::{Enough, FlowPlan, Link, StepPlan, name};
use crate::notes::{Claim, Notes};
use crate::plan::{Kind, agree};
use crate::trace::{Ran, Trace, Traits};
use crate::workflow_run::{StepRequest, StepWaiterAnswer};

/// A workflow that has ended.
#[derive(Debug)]
pub(crate) struct FlowEnd {
    pub(crate) id: WorkflowId,
    pub(crate) plan: FlowPlan,
    pub(crate) links: Vec<Link>,
    /// It was cancelled while it was in flight.
    pub(crate) cancelled: bool,
    /// The engine may have been shut down under it.
    pub(crate) shut_down: bool,
    pub(crate) requests: Vec<StepRequest>,
    pub(crate) waiter_answers: Vec<StepWaiterAnswer>,
    pub(crate) record: Arc<WorkflowRecord>,
    /// The length of the notes when its end was known.
    pub(crate) notes_then: u64,
}

/// The state of a step, and the kind of its error.
type End = (StepState, Option<ErrorKind>);

const SKIPPED: End = (StepState::Skipped, None);
const UNRESOLVED: End = (StepState::Failed, Some(ErrorKind::ReferenceUnresolved));

/// The ends that are allowed for a step that does not run, and whether it may run instead.
struct Unrun {
    ends: Vec<End>,
    may_run: bool,
}

impl Unrun {
    fn certain(end: End) -> Self {
        Self { ends: vec![end], may_run: false }
    }
}

/// A violation of one task, or of the whole workflow.
type Wrong = (Option<TaskId>, String);

impl FlowEnd {
    /// The tasks that its steps ran, with the place of each step and of the instance.
    fn tasks(&self) -> impl Iterator<Item = (TaskId, usize, Option<u32>)> {
        self.found().flat_map(|(at, step)| {
            let instances = step.instances.as_ref().map_or(0, |instances| u32::try_from(instances.total).unwrap_or(0));
            let of_list = (0..instances).map(move |index| (step.task.instance(index), at, Some(index)));
            let own = self.plan.steps[at].map.is_none().then_some((step.task, at, None));
            own.into_iter().chain(of_list)
        })
    }

    /// The steps that are in the record, by their places in the plan.
    fn found(&self) -> impl Iterator<Item = (usize, &StepRecord)> {
        (0..self.plan.steps.len()).filter_map(|at| Some((at, self.find(at)?)))
    }

    /// The traits that the events of its tasks must show.
    pub(crate) fn traits(&self) -> impl Iterator<Item = (TaskId, Traits)> {
        self.tasks().map(|(id, at, _)| (id, self.plan.steps[at].traits()))
    }

    fn find(&self, at: usize) -> Option<&StepRecord> {
        let name = name(at);
        self.record.steps.iter().find(|step| step.name.as_deref() == Some(&*name))
    }

    fn state(&self, at: usize) -> Option<StepState> {
        self.find(at).map(|step| step.state)
    }

    /// Whether anything stopped it in the middle.
    fn halted(&self) -> bool {
        self.cancelled || self.shut_down || (self.plan.stops && self.record.steps.iter().any(fails_by_itself))
    }

    /// Everything that does not follow from the plan, the rules, the events and the notes.
    pub(crate) fn check(&self, world: &World<'_>, notes: &Notes) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = self.check_whole().err().map(|what| (None, what)).into_iter().collect();
        for (at, plan) in self.plan.steps.iter().enumerate() {
            let found = self.find(at);
            let task = found.map(|step| step.task);
            let checked = match found {
                Some(step) => self.check_step(at, plan, step, world),
                None => self.check_absent(plan),
            };
            wrong.extend(checked.err().map(|what| (task, format!("step {}: {what}", name(at)))));
        }
        for (task, at, instance) in self.tasks() {
            let checked = world.trace.map_or(Ok(()), |trace| self.check_task(task, at, instance, trace, notes));
            wrong.extend(checked.err().map(|what| (Some(task), format!("step {}: {what}", name(at)))));
        }
        wrong.extend(self.check_answers(world));
        let fits = world.trace.map_or(Ok(()), |trace| self.check_events(trace));
        wrong.extend(fits.err().map(|what| (None, what)));
        wrong.into_iter().map(|(task, what)| (task, format!("workflow {}: {what}", self.plan.number))).collect()
    }

    fn check_events(&self, trace: &Trace) -> Result<(), String> {
        let known: HashMap<TaskId, StepState> = self.record.steps.iter().map(|it| (it.task, it.state)).collect();
        let story = trace.flow(self.id)?;
        story.check(self.record.state, &known)?;
        let step_of = |task: TaskId| self.record.steps.iter().find(|step| step.task == task);
        let kind_of = |step: &StepRecord| step.error.as_deref().map(StepError::kind);
        let cancelled = Some(ErrorKind::WorkflowCancelled);
        story.check_halt(|task| step_of(task).is_some_and(|step| kind_of(step) == cancelled))?;
        if !self.plan.stops {
            return Ok(());
        }
        let ran = story.check_halt(|task| step_of(task).is_some_and(fails_by_itself))?;
        let at_of =
            |task: TaskId| (0..self.plan.steps.len()).find(|at| self.find(*at).is_some_and(|it| it.task == task));
        if let Some((halt, ready)) = story.ready_after(|task| step_of(task).is_some_and(fails_by_itself)) {
            let waits = |task: &&TaskId| {
                at_of(**task).zip(at_of(halt)).is_some_and(|(at, dep)| self.plan.steps[at].waits_for().contains(&dep))
            };
            if let Some(task) = ready.iter().find(waits) {
                return Err(format!("{task} became ready, but {halt}, for which it waited, had stopped the workflow"));
            }
        }
        let may_go_on = |step: &&StepRecord| !self.plan.stops_running && step.instances.is_none();
        let is_requested = |task: TaskId| self.requests.iter().any(|request| request.task == task);
        let stopped =
            |step: &&StepRecord| kind_of(step) == Some(ErrorKind::WorkflowStopped) && !is_requested(step.task);
        match ran.into_iter().filter_map(step_of).filter(may_go_on).find(stopped) {
            Some(step) => Err(format!("{} ran when the workflow was stopped, and was ended", step.task)),
            None => Ok(()),
        }
    }

    fn check_whole(&self) -> Result<(), String> {
        let steps = &self.record.steps;
        if let Some(step) = steps.iter().find(|step| !step.state.is_final()) {
            return Err(format!("L1: it has ended, but step {:?} is {}", step.name, step.state));
        }
        for state in StepState::ALL {
            let counted = steps.iter().filter(|step| step.state == state).count();
            agree("L1: the count of steps in one state", &self.record.counts.of(state), &counted)?;
        }
        let expected = match steps.iter().all(|step| !step.state.is_failure()) {
            true => WorkflowState::Succeeded,
            false if self.shut_down && self.record.state == WorkflowState::Cancelled => WorkflowState::Cancelled,
            false if self.cancelled => WorkflowState::Cancelled,
            false => WorkflowState::Failed,
        };
        agree("its state", &self.record.state, &expected)?;
        let planned = (0..self.plan.steps.len()).filter(|at| self.find(*at).is_some()).count();
        agree("the steps in its record", &steps.len(), &planned)
    }

    /// A step that was never added.
    fn check_absent(&self, plan: &StepPlan) -> Result<(), String> {
        let owner = plan.added_by.ok_or("L1: it is not in the record")?;
        let added = self.state(owner) == Some(StepState::Succeeded);
        let siblings = self.plan.added_below(owner).any(|at| self.find(at).is_some());
        if siblings || (added && !self.halted()) { Err("it was not added".to_owned()) } else { Ok(()) }
    }

    /// How a step may end without running, by the rules and the ends of the steps that it waits for.
    fn ends_unrun(&self, at: usize, plan: &StepPlan, world: &World<'_>) -> Unrun {
        let links = self.links.iter().filter(|link| link.at == at);
        let outside = links.filter_map(|link| world.end_of(link.task)).map(|end| end.state);
        let own = plan.waits_for().into_iter().filter_map(|dep| self.state(dep));
        let ends: Vec<StepState> = own.chain(outside).collect();
        let any = |state| ends.contains(&state);
        let failed = ends.iter().any(|end| end.is_failure());
        let down = match failed {
            true => (StepState::DependencyFailed, Some(ErrorKind::DependencyFailed)),
            false => SKIPPED,
        };
        let by_rule = match plan.run_if {
            RunIf::AllSucceeded => ends.iter().any(|end| *end != StepState::Succeeded).then_some(down),
            RunIf::AnySucceeded => (!ends.is_empty() && !any(StepState::Succeeded)).then_some(down),
            RunIf::AnyFailed => (!failed).then_some(SKIPPED),
            RunIf::AllDone => None,
        };
        by_rule.map_or_else(|| self.ends_by_reference(plan), Unrun::certain)
    }

    /// The same for a step that its rule lets run. The engine reads the condition first, then the other references.
    fn ends_by_reference(&self, plan: &StepPlan) -> Unrun {
        // A mapped step's result is a list, which has no such part.
        let leads = |dep: usize| self.state(dep) == Some(StepState::Succeeded) && self.plan.steps[dep].map.is_none();
        let may_be_gone = |dep: usize| self.may_be_gone(plan, dep);
        let mut ends = Vec::new();
        if let Some((dep, holds)) = plan.when {
            if !leads(dep) {
                return Unrun::certain(UNRESOLVED);
            }
            ends.extend(may_be_gone(dep).then_some(UNRESOLVED));
            if !holds {
                ends.push(SKIPPED);
                return Unrun { ends, may_run: false };
            }
        }
        let refers = || plan.map.map(|map| map.over).into_iter().chain(plan.refers_to);
        if refers().any(|dep| !leads(dep)) {
            return Unrun::certain(UNRESOLVED);
        }
        ends.extend(refers().any(may_be_gone).then_some(UNRESOLVED));
        Unrun { ends, may_run: true }
    }

    fn check_step(&self, at: usize, plan: &StepPlan, step: &StepRecord, world: &World<'_>) -> Result<(), String> {
        let kind = step.error.as_deref().map(StepError::kind);
        if plan.added_by.is_some_and(|owner| self.state(owner) != Some(StepState::Succeeded)) {
            return Err("it was added by a step that did not succeed".to_owned());
        }
        if let Some(link) = self.links.iter().find(|link| link.at == at && world.end_of(link.task).is_none()) {
            return Err(format!("L1: it was to wait for {}, which nobody knows", link.task));
        }
        if let Some(StepError::DependencyFailed(causes) | StepError::Stopped(causes)) = step.error.as_deref() {
            for blame in &causes.steps {
                let end = world.end_of(blame.task);
                agree("the state of the step it blames", &end.map(|end| end.state), &Some(blame.state))?;
                if !blame.state.is_failure() || blame.state == StepState::DependencyFailed {
                    return Err(format!("it blames {}, which is {}", blame.step, blame.state));
                }
            }
        }
        if let Some(trace) = world.trace {
            let attempts = self.tasks().filter(|(_, of, _)| *of == at).map(|(task, ..)| trace.attempts_of(task));
            agree("the attempts by the record", &step.attempts, &attempts.sum())?;
        }
        let kept = step.state == StepState::Succeeded && plan.keep_result;
        let dropped = step.state == StepState::Succeeded && !plan.keep_result;
        agree(
            "whether its result is kept, or was dropped",
            &(step.data.is_some(), step.data_dropped),
            &(kept, dropped),
        )?;
        if step.state == StepState::Cancelled {
            return self.check_cancelled(at, step, kind);
        }
        let unrun = self.ends_unrun(at, plan, world);
        if unrun.ends.contains(&(step.state, kind)) {
            return agree("the attempts of a step that does not run", &step.attempts, &0);
        }
        if !unrun.may_run {
            return Err(format!("its state by the rules: {:?} instead of {:?}", (step.state, kind), unrun.ends));
        }
        match plan.map {
            Some(_) => self.check_mapped(at, plan, step, kind, world),
            None => self.check_run(at, plan, step, kind, world),
        }
    }

    /// It was cancelled, its workflow was cancelled, or its workflow stops at a failure.
    fn check_cancelled(&self, at: usize, step: &StepRecord, kind: Option<ErrorKind>) -> Result<(), String> {
        let may_be = match kind {
            BY_ITSELF => self.has_agreed_to_end(at, None),
            Some(ErrorKind::WorkflowCancelled) => self.cancelled || self.shut_down,
            Some(ErrorKind::WorkflowStopped) => self.plan.stops && self.halted(),
            Some(ErrorKind::Shutdown) => self.shut_down,
            _ => false,
        };
        if may_be { Ok(()) } else { Err(format!("nothing cancelled it: {:?}", step.error)) }
    }

    fn check_run(
        &self,
        at: usize,
        plan: &StepPlan,
        step: &StepRecord,
        kind: Option<ErrorKind>,
        world: &World<'_>,
    ) -> Result<(), String> {
        if step.state == StepState::Succeeded {
            if plan.adds_nonsense && !self.halted() {
                return Err("it succeeded with steps that cannot be added".to_owned());
            }
            // Another check covers whether it is kept.
            let Some(data) = &step.data else { return Ok(()) };
            let value = data.parse().map_err(|error| error.to_string())?;
            return world.check_result(self, at, &value, None);
        }
        if kind == Some(ErrorKind::StepsNotAdded) && plan.adds_nonsense {
            return agree("its state", &step.state, &StepState::Failed);
        }
        let may_fail = |attempt| !self.plan.succeeds(at, attempt, None);
        let expected = match (step.state, plan.kind) {
            (StepState::Lost, _) => return Ok(()), // which the events say more of
            (StepState::Expired, _) if plan.ttl.is_some() => {
                agree("the attempts of a step that had not started", &step.attempts, &0)?;
                (StepState::Expired, ErrorKind::Expired)
            }
            (_, Kind::Fail) => (StepState::Failed, ErrorKind::Exception),
            (_, Kind::FailUntil) if may_fail(step.attempts) => (StepState::Failed, ErrorKind::Exception),
            (_, Kind::SysExit) => (StepState::Failed, ErrorKind::SystemExit),
            (_, Kind::CatchAll) => (StepState::TimedOut, ErrorKind::Timeout),
            (_, Kind::Soft | Kind::AsyncSoft) => (StepState::TimedOut, ErrorKind::SoftTimeout),
            _ => return Err(format!("it must have run, but is {}: {:?}", step.state, step.error)),
        };
        agree("its end", &(step.state, kind), &(expected.0, Some(expected.1)))
    }

    fn check_mapped(
        &self,
        at: usize,
        plan: &StepPlan,
        step: &StepRecord,
        kind: Option<ErrorKind>,
        world: &World<'_>,
    ) -> Result<(), String> {
        let (Some(map), Some(instances)) = (plan.map, step.instances.as_deref()) else {
            return Err("L1: nothing is known of its instances".to_owned());
        };
        let list = &self.plan.steps[map.over].list;
        agree("the length of its list", &instances.total, &list.len())?;
        let needed = match map.enough {
            Enough::All => list.len(),
            Enough::Any => 1,
            Enough::AtLeast(count) => count,
        };
        if let Some(trace) = world.trace {
            let tasks = || (0..u32::try_from(list.len()).unwrap_or(0)).map(|index| step.task.instance(index));
            let ended_well = tasks().filter(|task| trace.end_of(*task) == Some("succeeded")).count();
            agree("its instances that succeeded", &instances.succeeded, &ended_well)?;
        }
        if instances.succeeded < needed || step.state != StepState::Succeeded {
            let expected = (StepState::Failed, Some(ErrorKind::MapNotEnough));
            agree("its end", &(step.state, kind), &expected)?;
            return if instances.succeeded < needed { Ok(()) } else { Err("enough succeeded".to_owned()) };
        }
        let Some(data) = &step.data else { return Ok(()) };
        let value: Value = data.parse().map_err(|error| error.to_string())?;
        let results = value.as_array().ok_or("its result is not a list")?;
        agree("the length of its result", &results.len(), &list.len())?;
        agree("its results", &results.iter().filter(|it| !it.is_null()).count(), &instances.succeeded)?;
        let mut results = results.iter().enumerate().filter(|(_, result)| !result.is_null());
        results.try_for_each(|(index, result)| world.check_result(self, at, result, Some((index, list[index]))))
    }

    /// One task of a step: whether events, notes, and the step's end tell the same.
    fn check_task(
        &self,
        task: TaskId,
        at: usize,
        instance: Option<u32>,
        trace: &Trace,
        notes: &Notes,
    ) -> Result<(), String> {
        let plan = &self.plan.steps[at];
        let Some(step) = self.find(at) else { return Ok(()) };
        let agreed = self.has_agreed_to_end(at, None) || self.has_agreed_to_end(at, instance);
        // The first failure of an instance may end the others.
        let cut_short = self.halted() || agreed || instance.is_some();
        let ran = Ran { max_losses: plan.max_losses, max_retries: plan.max_retries, cut_short };
        let Some(end) = trace.check_step(task, ran)? else {
            // It was never submitted.
            let ran = matches!(step.state, StepState::Succeeded | StepState::TimedOut | StepState::Lost)
                || step.state == StepState::Expired;
            return if ran && instance.is_none() { Err("L1: it never ran".to_owned()) } else { Ok(()) };
        };
        let not_added = matches!(step.error.as_deref(), Some(StepError::NotAdded(_)));
        if instance.is_none() {
            let expected = if not_added { "succeeded" } else { step.state.name() };
            agree("the end of its task", &end, &expected)?;
        } else if end == "cancelled" && !self.halted() && !agreed && step.state != StepState::Failed {
            return Err("nothing cancelled this instance".to_owned());
        }
        let claim = Claim {
            index: plan.index + instance.unwrap_or(0) as usize,
            task,
            attempts: trace.attempts_of(task),
            retries: trace.retries_of(task),
            max_losses: plan.max_losses,
            succeeded: end == "succeeded",
            // An impatient shutdown ends the tasks first and their processes later.
            notes_then: if self.shut_down { u64::MAX } else { self.notes_then },
        };
        notes.check(&claim, Some(trace))
    }

    /// A description of the workflow for a violation of one of its tasks.
    pub(crate) fn story(&self, task: TaskId) -> Option<String> {
        self.tasks().any(|(id, ..)| id == task).then(|| {
            let line = |step: &StepRecord| {
                format!(
                    "  {} {} attempts {} {:?}\n",
                    step.name.as_deref().unwrap_or(""),
                    step.state,
                    step.attempts,
                    step.error
                )
            };
            let steps: String = self.record.steps.iter().map(line).collect();
            let (number, json) = (self.plan.number, self.plan.json());
            let (links, requests) = (&self.links, &self.requests);
            format!("\nworkflow {number}, cancelled: {}\n{json}\n{links:?}\n{requests:?}\n{steps}", self.cancelled)
        })
    }
}

/// Whether a step did not succeed, and not because of another.
fn fails_by_itself(step: &StepRecord) -> bool {
    step.state.is_failure() && step.state != StepState::DependencyFailed
}

/// FNV-1a over the JSON text with sorted keys, as the script has it.
pub(crate) fn digest(value: &Value) -> String {
    let text = value.to_string();
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}
