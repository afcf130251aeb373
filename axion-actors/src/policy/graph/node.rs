//! The state of one step.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::arguments::Prepared;
use super::json::ChunkedBytes;
use crate::model::workflow::{RootCause, Rules, Step, StepError, StepOutcome, StepState};
use crate::model::{Data, Json, Task, TaskId, Tick};
use crate::model::{Pickle, value};

/// The absence of a time. An `Option` would take twice the memory, three times in every step.
pub(super) const NEVER: Tick = Tick(u64::MAX);

/// The ends of a step's dependencies so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DependencyOutcomes {
    pub(super) succeeded: bool,
    pub(super) failed: bool,
    pub(super) skipped: bool,
}

impl DependencyOutcomes {
    pub(super) fn note(&mut self, state: StepState) {
        match state {
            StepState::Succeeded => self.succeeded = true,
            StepState::Skipped => self.skipped = true,
            _ => self.failed = true,
        }
    }
}

/// The dependencies of one step, as a range in the list of all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DependencyRange {
    pub(super) start: u32,
    pub(super) count: u32,
    /// The last dependency passes no result on.
    pub(super) last_is_silent: bool,
}

impl DependencyRange {
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.count) as usize
    }

    /// The dependencies that pass their results on.
    pub(super) fn heard(self) -> Range<usize> {
        let all = self.range();
        all.start..all.end - usize::from(self.last_is_silent)
    }
}

/// A step, or an external task that steps depend on.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Option<Arc<str>>,
    pub(super) id: TaskId,
    /// `None` for an external task.
    pub(super) task: Option<Task>,
    /// Whether its task was handed over, with the results that it reads.
    pub(super) handed_over: bool,
    pub(super) rules: Option<Box<Rules>>,
    /// The dependencies, each once, in the order in which the step names them.
    pub(super) deps: DependencyRange,
    /// The number of dependencies that have not ended.
    pub(super) open: u32,
    /// The number of steps that may still read its result.
    pub(super) readers: u32,
    pub(super) dependencies: DependencyOutcomes,
    pub(super) state: StepState,
    /// Whether its cancellation was requested.
    pub(super) cancelling: bool,
    /// Whether somebody outside the workflow [subscribed](super::Graph::subscribe) to its end.
    pub(super) wanted: bool,
    /// Whether it had a result that was dropped.
    pub(super) dropped: bool,
    /// Whether its result counts towards the bound on kept bytes.
    pub(super) listed: bool,
    pub(super) result: Option<Data>,
    pub(super) error: Option<Box<StepError>>,
    pub(super) mapping: Option<Box<Mapping>>,
    pub(super) attempts: u32,
    pub(super) ready: Tick,
    pub(super) started: Tick,
    pub(super) finished: Tick,
}

impl Node {
    /// A step with the dependencies `deps`, none of which has ended.
    pub(super) fn step(step: Step, deps: DependencyRange, readers: u32) -> Self {
        let (name, task, rules) = step.into_parts();
        let id = task.id();
        Self { name, task: Some(task), rules, deps, open: deps.count, ..Self::outside(id, readers) }
    }

    /// An external task.
    pub(super) fn outside(id: TaskId, readers: u32) -> Self {
        Self {
            name: None,
            id,
            task: None,
            handed_over: false,
            rules: None,
            deps: DependencyRange::default(),
            open: 0,
            readers,
            dependencies: DependencyOutcomes::default(),
            state: StepState::Waiting,
            cancelling: false,
            wanted: false,
            dropped: false,
            listed: false,
            result: None,
            error: None,
            mapping: None,
            attempts: 0,
            ready: NEVER,
            started: NEVER,
            finished: NEVER,
        }
    }

    /// Whether it is a step of the workflow.
    pub(super) fn is_step(&self) -> bool {
        self.task.is_some()
    }

    pub(super) fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.to_string(), ToString::to_string)
    }

    pub(super) fn blame(&self) -> RootCause {
        RootCause { step: self.title(), task: self.id, state: self.state }
    }

    /// How it ended, with its result if that is retained.
    pub(super) fn outcome(&self) -> StepOutcome {
        StepOutcome { state: self.state, data: self.result.clone(), error: self.error.as_deref().cloned() }
    }

    /// Whether the record keeps its result.
    pub(super) fn keeps(&self) -> bool {
        self.is_step() && self.rules.as_ref().is_none_or(|rules| rules.keep_result)
    }
}

/// The state of an instance of a mapped step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InstanceState {
    Pending,
    Handed,
    Running,
    Succeeded(Data),
    Failed,
}

/// The value of an instance without a result.
const NULL: Bytes = Bytes::from_static(b"null");

/// The instances of a mapped step.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) elements: Vec<Bytes>,
    pub(super) instances: Vec<InstanceState>,
    /// The parameters that all instances share.
    pub(super) base: Prepared,
    pub(super) parameter: Arc<str>,
    pub(super) max_parallel: usize,
    pub(super) total: usize,
    pub(super) needed: usize,
    /// The first instance that was not handed over.
    pub(super) next: usize,
    pub(super) in_flight: usize,
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// Whether no more instances are handed over.
    pub(super) closed: bool,
    /// Whether too many instances failed.
    pub(super) lost: bool,
    /// Whether the step was cancelled on request.
    pub(super) cancelled: bool,
    /// The first failed instance and its error, for the message.
    pub(super) first: Option<String>,
}

impl Mapping {
    /// Takes the next instance to run, if one more may run.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.closed || self.in_flight >= self.max_parallel || self.next >= self.elements.len() {
            return None;
        }
        let index = self.next;
        (self.next, self.in_flight) = (index + 1, self.in_flight + 1);
        self.instances[index] = InstanceState::Handed;
        // Lists are bounded far below 2³².
        Some(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The parameters of an instance that is handed over.
    pub(super) fn params(&mut self, index: usize) -> Option<ChunkedBytes> {
        if self.instances.get(index) != Some(&InstanceState::Handed) {
            return None;
        }
        let element = std::mem::take(&mut self.elements[index]);
        let mut text = match self.base.clone() {
            Prepared::CallArguments(call) => return Some(call.finish(Some(element))),
            Prepared::Text(text) => text,
        };
        text.text(b",");
        text.string(&self.parameter);
        text.text(b":");
        text.shared(&element);
        text.text(b",");
        text.string(&format!("{}_index", self.parameter));
        text.text(format!(":{index}}}").as_bytes());
        Some(text.finish())
    }

    /// Whether too many instances failed for the step to succeed.
    pub(super) fn is_lost(&self) -> bool {
        self.total - self.failed < self.needed
    }

    /// Whether no instance runs or will run.
    pub(super) fn is_over(&self) -> bool {
        self.in_flight == 0 && (self.closed || self.next == self.total)
    }

    /// The submitted instances, which can be cancelled.
    pub(super) fn under_way(&self, running_too: bool) -> Vec<u32> {
        let told = |it: &InstanceState| *it == InstanceState::Handed || running_too && *it == InstanceState::Running;
        (0u32..).zip(&self.instances).filter(|(_, instance)| told(instance)).map(|(index, _)| index).collect()
    }

    /// Frees the memory that only running instances need.
    pub(super) fn free(&mut self) {
        (self.elements, self.instances, self.base) = (Vec::new(), Vec::new(), Prepared::default());
    }

    /// The results in the order of the elements, with `null` for a failed instance: JSON if all of them are, else a
    /// pickle of a list.
    pub(super) fn results(&self) -> Data {
        let is_plain = |instance: &InstanceState| !matches!(instance, InstanceState::Succeeded(Data::Pickle(_)));
        let json = self.json_results();
        if self.instances.iter().all(is_plain)
            && let Ok(json) = json
        {
            return Data::Json(json);
        }
        let value = |instance: &InstanceState| match instance {
            InstanceState::Succeeded(data) => data.whole(),
            _ => NULL,
        };
        let list = value::list(&self.instances.iter().map(value).collect::<Vec<_>>());
        Pickle::described(json.as_ref().map_err(String::as_str), &list).into()
    }

    fn json_results(&self) -> Result<Json, String> {
        let result = |(index, instance): (usize, &InstanceState)| match instance {
            InstanceState::Succeeded(data) => {
                data.json().map(|it| it.0).map_err(|it| format!("a list with {it} at [{index}]"))
            }
            _ => Ok(NULL),
        };
        let results = self.instances.iter().enumerate().map(result).collect::<Result<Vec<_>, _>>()?;
        let mut list = Vec::with_capacity(results.iter().map(|result| result.len() + 1).sum::<usize>() + 2);
        for result in &results {
            list.push(if list.is_empty() { b'[' } else { b',' });
            list.extend_from_slice(result);
        }
        list.extend_from_slice(if list.is_empty() { b"[]" } else { b"]" });
        Ok(Json(list.into()))
    }
}
