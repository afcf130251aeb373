//! The ends of all tasks and steps of one engine, and what dependent steps must have been given of them.

use std::cell::RefCell;
use std::collections::HashMap;

use axion_core::workflow::{StepError, StepOutcome, StepRecord, StepState};
use axion_core::{ErrorKind, TaskId};
use serde_json::{Map, Value, json};

use super::{FlowEnd, digest};
use crate::flows::{StepPlan, name};
use crate::life::Ended;
use crate::plan::{Kind, agree};
use crate::trace::Trace;

/// The ends of all tasks and steps of an engine.
pub(crate) struct World<'a> {
    flows: &'a [FlowEnd],
    steps: HashMap<TaskId, (usize, usize)>,
    tasks: HashMap<TaskId, &'a Ended>,
    pub(super) trace: Option<&'a Trace>,
    /// Records that the engine keeps.
    pub(super) keeps: usize,
    pub(super) drained: bool,
    /// Of results that were not kept, once they have been worked out.
    digests: RefCell<HashMap<TaskId, ResultDigests>>,
}

/// The digests that the result of a step may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ResultDigests {
    /// One of these digests.
    AnyOf(Vec<String>),
    /// The result cannot be worked out.
    Unknown,
}

/// The end of a step or a task, as its dependents are given it.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepEnd {
    pub(super) state: StepState,
    pub(super) kind: Option<ErrorKind>,
}

/// What the result of a step must say.
pub(super) struct Expected {
    fields: Vec<(&'static str, Value)>,
    /// Results by the keys under which the step finds them; an optional one may be gone.
    saw: Vec<(String, ResultDigests, bool)>,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        flows: &'a [FlowEnd],
        ended: impl Iterator<Item = &'a Ended>,
        trace: Option<&'a Trace>,
        keeps: usize,
        drained: bool,
    ) -> Self {
        let mut steps = HashMap::new();
        for (number, flow) in flows.iter().enumerate() {
            steps.extend(flow.found().map(|(at, step)| (step.task, (number, at))));
        }
        let tasks = ended.map(|ended| (ended.record.id, ended)).collect();
        Self { flows, steps, tasks, trace, keeps, drained, digests: RefCell::default() }
    }

    pub(super) fn end_of(&self, task: TaskId) -> Option<StepEnd> {
        if let Some((flow, at)) = self.steps.get(&task) {
            return self.flows[*flow].find(*at).map(StepEnd::of);
        }
        let end = StepOutcome::from(self.tasks.get(&task)?.record.outcome.clone());
        Some(StepEnd { state: end.state, kind: end.error.as_ref().map(StepError::kind) })
    }

    /// Whether the engine may say that it knows nothing of this task any more.
    pub(super) fn may_be_forgotten(&self, task: TaskId) -> bool {
        let record_is_gone =
            || self.trace.is_none_or(|trace| trace.ended_after(task).is_some_and(|it| it >= self.keeps));
        match self.steps.get(&task) {
            Some((flow, at)) => self.flows[*flow].find(*at).is_some_and(|step| step.data_dropped),
            None => !self.tasks.contains_key(&task) || record_is_gone(),
        }
    }

    pub(super) fn digests(&self, task: TaskId) -> ResultDigests {
        if let Some(ended) = self.tasks.get(&task) {
            return ResultDigests::AnyOf(ended.digest.iter().cloned().collect());
        }
        if let Some(known) = self.digests.borrow().get(&task) {
            return known.clone();
        }
        let values = self.steps.get(&task).and_then(|(flow, at)| self.values(&self.flows[*flow], *at));
        let digests =
            values.map_or(ResultDigests::Unknown, |values| ResultDigests::AnyOf(values.iter().map(digest).collect()));
        self.digests.borrow_mut().insert(task, digests.clone());
        digests
    }

    /// How many results that no record has could be worked out, and how many could not.
    pub(crate) fn worked_out(&self) -> (usize, usize) {
        let digests = self.digests.borrow();
        let unknown = digests.values().filter(|known| **known == ResultDigests::Unknown).count();
        (digests.len() - unknown, unknown)
    }

    /// The results that a step may have returned.
    fn values(&self, flow: &FlowEnd, at: usize) -> Option<Vec<Value>> {
        let (step, plan) = (flow.find(at)?, &flow.plan.steps[at]);
        if let Some(data) = &step.data {
            return data.parse().ok().map(|value| vec![value]);
        }
        let Some(map) = plan.map else { return self.one(flow, at, None, step.attempts) };
        let (trace, list) = (self.trace?, &flow.plan.steps[map.over].list);
        let mut results = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let task = step.task.instance(u32::try_from(index).ok()?);
            results.push(match trace.end_of(task) {
                Some("succeeded") => {
                    let mut values = self.one(flow, at, Some((index, *item)), trace.attempts_of(task))?;
                    values.pop().filter(|_| values.is_empty())?
                }
                _ => Value::Null,
            });
        }
        Some(vec![Value::from(results)])
    }

    /// The same of one task.
    fn one(&self, flow: &FlowEnd, at: usize, element: Option<(usize, u64)>, attempt: u32) -> Option<Vec<Value>> {
        let plan = &flow.plan.steps[at];
        let expected = self.expected(flow, at, element).ok()?;
        let mut value: Map<String, Value> =
            expected.fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut saw = Map::new();
        for (key, digests, optional) in expected.saw {
            match digests {
                ResultDigests::AnyOf(digests) if digests.len() == 1 && !optional => saw.insert(key, json!(digests[0])),
                _ => return None,
            };
        }
        value.insert("saw".to_owned(), saw.into());
        value.insert("attempt".to_owned(), json!(attempt));
        if let Some(steps) = flow.plan.grown(at) {
            value.insert("steps".to_owned(), steps);
        }
        let index = plan.index + element.map_or(0, |(index, _)| index);
        let results = match plan.kind {
            Kind::Noop | Kind::Nap | Kind::AsyncNap | Kind::Picky => vec![json!(index)],
            Kind::FailUntil => vec![json!(attempt)],
            Kind::Polite => vec![json!("in time"), json!("stopped")],
            _ => return None,
        };
        let with = |result| {
            let mut value = value.clone();
            value.insert("is".to_owned(), result);
            Value::from(value)
        };
        Some(results.into_iter().map(with).collect())
    }

    /// What the result of a step, or of one of its instances, must say about its input.
    fn expected(&self, flow: &FlowEnd, at: usize, element: Option<(usize, u64)>) -> Result<Expected, String> {
        let plan = &flow.plan.steps[at];
        let (mut saw, mut errors) = (Vec::new(), Map::new());
        let mut add_input = |key: String, task: TaskId, end: StepEnd, optional: bool| {
            if end.state == StepState::Succeeded {
                saw.push((key, self.digests(task), optional));
            } else if end.state.is_failure() {
                errors.insert(key, json!([end.state, end.kind.map(|kind| kind.to_string())]));
            }
        };
        for dep in plan.input_steps() {
            let Some(step) = flow.find(dep) else { return Err(format!("{} is not there", name(dep))) };
            add_input(name(dep), step.task, StepEnd::of(step), flow.may_be_gone(plan, dep));
        }
        for link in flow.links.iter().filter(|link| link.at == at) {
            let end =
                self.end_of(link.task).ok_or_else(|| format!("no record of {}, for which it waited", link.task))?;
            add_input(link.task.to_string(), link.task, end, false);
        }
        let got = plan.refers_to.map(|dep| flow.plan.steps[dep].index);
        let (item, place) = element.map(|(index, item)| (item, index)).unzip();
        let fields = vec![
            ("i", json!(plan.index + place.unwrap_or(0))),
            ("errors", Value::from(errors)),
            ("got", json!(got)),
            ("item", json!(item)),
            ("place", json!(place)),
            ("list", json!(plan.list)),
        ];
        Ok(Expected { fields, saw })
    }

    /// Checks that a result names the input of its step: the results of its dependencies.
    pub(super) fn check_result(
        &self,
        flow: &FlowEnd,
        at: usize,
        value: &Value,
        element: Option<(usize, u64)>,
    ) -> Result<(), String> {
        let kind = flow.plan.steps[at].kind;
        let attempt = u32::try_from(value["attempt"].as_u64().unwrap_or(0)).unwrap_or(0);
        if !flow.plan.succeeds(at, attempt, element.map(|(_, item)| item)) {
            return Err(format!("a {} step cannot succeed in attempt {attempt}", kind.name()));
        }
        let Expected { fields, saw } = self.expected(flow, at, element)?;
        for (key, expected) in fields {
            agree(&format!("L2: what its result says of {key:?}"), &value[key], &expected)?;
        }
        let found = value["saw"].as_object().ok_or("it says nothing of what it saw")?;
        if let Some(key) = found.keys().find(|key| !saw.iter().any(|(known, ..)| known == *key)) {
            return Err(format!("L2: it saw a result of {key}"));
        }
        for (key, digests, optional) in saw {
            match (found.get(&key).and_then(Value::as_str), digests) {
                (None, _) if optional => {}
                (None, _) => return Err(format!("L2: it saw no result of {key}")),
                (Some(digest), ResultDigests::AnyOf(digests)) if !digests.iter().any(|it| it == digest) => {
                    return Err(format!("L2: of {key} it saw {digest} instead of {digests:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl StepEnd {
    fn of(step: &StepRecord) -> Self {
        Self { state: step.state, kind: step.error.as_deref().map(StepError::kind) }
    }
}

impl FlowEnd {
    /// A step that was added later may find a result gone that was not to be kept.
    pub(super) fn may_be_gone(&self, plan: &StepPlan, dep: usize) -> bool {
        let of = &self.plan.steps[dep];
        plan.added_by.is_some() && !of.keep_result && of.added_by != plan.added_by && plan.added_by != Some(dep)
    }
}
