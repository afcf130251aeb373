//! Holds a workflow's record against its plan: the rules of graphs, read a second time, from the ends of the steps
//! that ran.

use std::collections::HashMap;
use std::sync::Arc;

use axion_core::workflow::{RunIf, StepError, StepRecord, StepState, WorkflowId, WorkflowRecord, WorkflowState};
use axion_core::{ErrorKind, TaskId};
use serde_json::{Map, Value, json};

use crate::flows::{Enough, FlowPlan, StepPlan, name};
use crate::notes::{Claim, Notes};
use crate::plan::{Kind, agree};
use crate::trace::Trace;

/// A workflow that has ended.
#[derive(Debug)]
pub(crate) struct FlowEnd {
    pub(crate) id: WorkflowId,
    pub(crate) plan: FlowPlan,
    /// Somebody asked for its end while it was in flight.
    pub(crate) cancelled: bool,
    pub(crate) record: Arc<WorkflowRecord>,
    /// The length of the notes when its end was known.
    pub(crate) notes_then: u64,
}

/// What is wrong with a step, or with the whole.
type Wrong = (Option<TaskId>, String);

impl FlowEnd {
    /// The tasks that its steps ran, with the place of each step and of the instance.
    fn tasks(&self) -> impl Iterator<Item = (TaskId, usize, Option<u32>)> {
        let places = (0..self.plan.steps.len()).filter_map(|at| Some((at, self.find(at)?)));
        places.flat_map(|(at, step)| {
            let instances = step.instances.as_ref().map_or(0, |instances| u32::try_from(instances.total).unwrap_or(0));
            let of_list = (0..instances).map(move |index| (step.task.instance(index), at, Some(index)));
            let own = self.plan.steps[at].map.is_none().then_some((step.task, at, None));
            own.into_iter().chain(of_list)
        })
    }

    /// Those that must not run twice.
    pub(crate) fn once(&self) -> impl Iterator<Item = TaskId> {
        self.tasks().filter(|(_, at, _)| self.plan.steps[*at].max_losses == 0).map(|(id, ..)| id)
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
        let own_failure = |step: &StepRecord| step.state.is_failure() && step.state != StepState::DependencyFailed;
        self.cancelled || (self.plan.stops && self.record.steps.iter().any(own_failure))
    }

    /// Everything that does not follow from the plan, the rules, the events and the notes.
    pub(crate) fn check(&self, trace: Option<&Trace>, notes: &Notes) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = self.check_whole().err().map(|what| (None, what)).into_iter().collect();
        for (at, plan) in self.plan.steps.iter().enumerate() {
            let found = self.find(at);
            let task = found.map(|step| step.task);
            let checked = match found {
                Some(step) => self.check_step(at, plan, step, trace),
                None => self.check_absent(plan),
            };
            wrong.extend(checked.err().map(|what| (task, format!("step {}: {what}", name(at)))));
        }
        for (task, at, instance) in self.tasks() {
            let checked = trace.map_or(Ok(()), |trace| self.check_task(task, at, instance, trace, notes));
            wrong.extend(checked.err().map(|what| (Some(task), format!("step {}: {what}", name(at)))));
        }
        let known: HashMap<TaskId, StepState> = self.record.steps.iter().map(|it| (it.task, it.state)).collect();
        let told = trace.map_or(Ok(()), |trace| trace.check_flow(self.id, self.record.state, &known));
        wrong.extend(told.err().map(|what| (None, what)));
        wrong.into_iter().map(|(task, what)| (task, format!("workflow {}: {what}", self.plan.number))).collect()
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

    /// What the rules make of a step that does not run, from the ends of those it waits for.
    fn stays(&self, plan: &StepPlan) -> Option<(StepState, Option<ErrorKind>)> {
        let ends: Vec<StepState> = plan.waits_for().iter().filter_map(|dep| self.state(*dep)).collect();
        let any = |state| ends.contains(&state);
        let failed = ends.iter().any(|end| end.is_failure());
        let down = match failed {
            true => (StepState::DependencyFailed, Some(ErrorKind::DependencyFailed)),
            false => (StepState::Skipped, None),
        };
        let stays = match plan.run_if {
            RunIf::AllSucceeded => ends.iter().any(|end| *end != StepState::Succeeded).then_some(down),
            RunIf::AnySucceeded => (!ends.is_empty() && !any(StepState::Succeeded)).then_some(down),
            RunIf::AnyFailed => (!failed).then_some((StepState::Skipped, None)),
            RunIf::AllDone => None,
        };
        // A mapped step's result is a list, which has no such part.
        let leads = |dep: usize| self.state(dep) == Some(StepState::Succeeded) && self.plan.steps[dep].map.is_none();
        let lost = Some((StepState::Failed, Some(ErrorKind::ReferenceUnresolved)));
        match (stays, plan.when) {
            (Some(stays), _) => Some(stays),
            (None, Some((dep, _))) if !leads(dep) => lost,
            (None, Some((_, false))) => Some((StepState::Skipped, None)),
            _ if plan.map.is_some_and(|map| !leads(map.over)) || plan.refers_to.is_some_and(|dep| !leads(dep)) => lost,
            _ => None,
        }
    }

    fn check_step(&self, at: usize, plan: &StepPlan, step: &StepRecord, trace: Option<&Trace>) -> Result<(), String> {
        let kind = step.error.as_deref().map(StepError::kind);
        if plan.added_by.is_some_and(|owner| self.state(owner) != Some(StepState::Succeeded)) {
            return Err("it was added by a step that did not succeed".to_owned());
        }
        if let Some(StepError::DependencyFailed(causes) | StepError::Stopped(causes)) = step.error.as_deref() {
            for blame in &causes.steps {
                let found = self.record.steps.iter().find(|step| step.task == blame.task).map(|step| step.state);
                agree("the state of the step it blames", &found, &Some(blame.state))?;
                if !blame.state.is_failure() || blame.state == StepState::DependencyFailed {
                    return Err(format!("it blames {}, which is {}", blame.step, blame.state));
                }
            }
        }
        if let Some(trace) = trace {
            let attempts = self.tasks().filter(|(_, of, _)| *of == at).map(|(task, ..)| trace.attempts_of(task));
            agree("the attempts by the record", &step.attempts, &attempts.sum())?;
        }
        let halts = [Some(ErrorKind::WorkflowCancelled), Some(ErrorKind::WorkflowStopped)];
        if step.state == StepState::Cancelled && halts.contains(&kind) {
            let by_request = kind == Some(ErrorKind::WorkflowCancelled);
            let may_be = if by_request { self.cancelled } else { self.plan.stops && self.halted() };
            return if may_be { Ok(()) } else { Err(format!("nothing cancelled it: {:?}", step.error)) };
        }
        match self.stays(plan) {
            Some((state, because)) => {
                agree("its state by the rules", &(step.state, kind), &(state, because))?;
                agree("the attempts of a step that does not run", &step.attempts, &0)
            }
            None if plan.map.is_some() => self.check_mapped(at, plan, step, kind, trace),
            None => self.check_run(at, plan, step, kind),
        }
    }

    fn check_run(&self, at: usize, plan: &StepPlan, step: &StepRecord, kind: Option<ErrorKind>) -> Result<(), String> {
        if step.state == StepState::Succeeded {
            if plan.adds_nonsense && !self.halted() {
                return Err("it succeeded with steps that cannot be added".to_owned());
            }
            let data = step.data.as_ref().ok_or("L2: its result is not there")?;
            let value = data.parse().map_err(|error| error.to_string())?;
            return self.check_result(at, &value, None);
        }
        if kind == Some(ErrorKind::StepsNotAdded) && plan.adds_nonsense {
            return agree("its state", &step.state, &StepState::Failed);
        }
        let may_fail = |attempt| !self.plan.succeeds(at, attempt, None);
        let expected = match (step.state, plan.kind) {
            (StepState::Lost, _) => return Ok(()), // which the events say more of
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
        trace: Option<&Trace>,
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
        if let Some(trace) = trace {
            let tasks = || (0..u32::try_from(list.len()).unwrap_or(0)).map(|index| step.task.instance(index));
            let ended_well = tasks().filter(|task| trace.end_of(*task) == Some("succeeded")).count();
            agree("its instances that succeeded", &instances.succeeded, &ended_well)?;
        }
        if instances.succeeded < needed || step.state != StepState::Succeeded {
            let expected = (StepState::Failed, Some(ErrorKind::MapNotEnough));
            agree("its end", &(step.state, kind), &expected)?;
            return if instances.succeeded < needed { Ok(()) } else { Err("enough succeeded".to_owned()) };
        }
        let data = step.data.as_ref().ok_or("L2: its result is not there")?;
        let value: Value = data.parse().map_err(|error| error.to_string())?;
        let results = value.as_array().ok_or("its result is not a list")?;
        agree("the length of its result", &results.len(), &list.len())?;
        agree("its results", &results.iter().filter(|it| !it.is_null()).count(), &instances.succeeded)?;
        let results = results.iter().enumerate().filter(|(_, result)| !result.is_null());
        results.into_iter().try_for_each(|(index, result)| self.check_result(at, result, Some((index, list[index]))))
    }

    /// A result says what the step was given: what those before it returned.
    fn check_result(&self, at: usize, value: &Value, element: Option<(usize, u64)>) -> Result<(), String> {
        let plan = &self.plan.steps[at];
        let (mut saw, mut errors) = (Map::new(), Map::new());
        for dep in plan.hears_of() {
            let Some(step) = self.find(dep) else { return Err(format!("{} is not there", name(dep))) };
            if let (StepState::Succeeded, Some(data)) = (step.state, &step.data) {
                let value = data.parse().map_err(|error| error.to_string())?;
                saw.insert(name(dep), json!(digest(&value)));
            } else if step.state.is_failure() {
                let kind = step.error.as_ref().map(|error| error.kind().to_string());
                errors.insert(name(dep), json!([step.state, kind]));
            }
        }
        let index = plan.index + element.map_or(0, |(index, _)| index);
        let got = plan.refers_to.map(|dep| self.plan.steps[dep].index);
        let (item, place) = element.map(|(index, item)| (item, index)).unzip();
        let attempt = u32::try_from(value["attempt"].as_u64().unwrap_or(0)).unwrap_or(0);
        if !self.plan.succeeds(at, attempt, item) {
            return Err(format!("a {} step cannot succeed in attempt {attempt}", plan.kind.name()));
        }
        for (key, expected) in [
            ("i", json!(index)),
            ("saw", Value::from(saw)),
            ("errors", Value::from(errors)),
            ("got", json!(got)),
            ("item", json!(item)),
            ("place", json!(place)),
            ("list", json!(plan.list)),
        ] {
            agree(&format!("L2: what its result says of {key:?}"), &value[key], &expected)?;
        }
        Ok(())
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
        // The first failure of an instance may end the others.
        let cut_short = self.halted() || instance.is_some();
        let Some(end) = trace.check_step(task, plan.max_losses, plan.max_retries, cut_short)? else {
            // It was never submitted.
            let ran = matches!(step.state, StepState::Succeeded | StepState::TimedOut | StepState::Lost);
            return if ran && instance.is_none() { Err("L1: it never ran".to_owned()) } else { Ok(()) };
        };
        let not_added = matches!(step.error.as_deref(), Some(StepError::NotAdded(_)));
        if instance.is_none() {
            let expected = if not_added { "succeeded" } else { step.state.name() };
            agree("the end of its task", &end, &expected)?;
        } else if end == "cancelled" && !self.halted() && step.state != StepState::Failed {
            return Err("nothing cancelled this instance".to_owned());
        }
        let claim = Claim {
            index: plan.index + instance.unwrap_or(0) as usize,
            task,
            attempts: trace.attempts_of(task),
            retries: trace.retries_of(task),
            max_losses: plan.max_losses,
            succeeded: end == "succeeded",
            notes_then: self.notes_then,
        };
        notes.check(&claim, Some(trace))
    }

    /// What is to be known of it when a task of it is in question.
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
            format!("\nworkflow {}, cancelled: {}\n{}\n{steps}", self.plan.number, self.cancelled, self.plan.json())
        })
    }
}

/// FNV-1a over the JSON text with sorted keys, as the script has it.
fn digest(value: &Value) -> String {
    let text = value.to_string();
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}
