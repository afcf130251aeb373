//! Queries of a workflow.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::node::{NEVER, Node};
use super::{Graph, StepKey};
use crate::model::workflow::{
    Capacity, CriticalPath, InstanceCounts, StepCounts, StepError, StepOutcome, StepRecord, StepState, WorkflowId,
    WorkflowRecord, WorkflowState,
};
use crate::model::{Data, Task, TaskId, TaskRecord, Tick};

/// `collect` then reuses the memory of the nodes for the steps of a record.
const _: () = assert!(size_of::<StepRecord>() <= size_of::<Node>());

impl Graph {
    /// The workflow's id.
    #[must_use]
    pub fn id(&self) -> WorkflowId {
        self.id
    }

    /// The limits of its steps that run at the same time.
    #[must_use]
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// The number of steps in each state.
    #[must_use]
    pub fn counts(&self) -> StepCounts {
        self.counts
    }

    /// Whether every step has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    /// The state of a step.
    #[must_use]
    pub fn state_of(&self, step: u32) -> Option<StepState> {
        self.node_of(step).map(|node| node.state)
    }

    /// A step's name, else its task's id.
    #[must_use]
    pub fn title_of(&self, step: u32) -> Option<String> {
        self.node_of(step).map(Node::title)
    }

    /// The id of a step's task, and the number of instances of a mapped step, once its list is known.
    #[must_use]
    pub fn tasks_of(&self, step: u32) -> Option<(TaskId, Option<usize>)> {
        self.node_of(step).map(|node| (node.id, node.mapping.as_ref().map(|mapping| mapping.total)))
    }

    /// A step's task.
    #[must_use]
    pub fn task_of(&self, key: StepKey) -> Option<&Task> {
        self.node_of(key.step).and_then(|node| node.task.as_ref())
    }

    /// The id of the task that a step or an instance runs as.
    #[must_use]
    pub fn id_of(&self, key: StepKey) -> Option<TaskId> {
        let id = self.node_of(key.step)?.id;
        Some(key.instance.map_or(id, |index| id.instance(index)))
    }

    /// The step of this name.
    #[must_use]
    pub fn step_named(&self, name: &str) -> Option<u32> {
        let found = self.directory.by_name(name)?;
        self.node_of(found).filter(|node| node.name.as_deref() == Some(name)).map(|_| found)
    }

    fn node_of(&self, step: u32) -> Option<&Node> {
        self.nodes.get(step as usize).filter(|node| node.is_step())
    }

    /// The state of the workflow.
    #[must_use]
    pub fn state(&self) -> WorkflowState {
        let failed = StepState::ALL.into_iter().filter(|state| state.is_failure()).any(|it| self.counts.of(it) > 0);
        match (self.unfinished, failed) {
            (1.., _) => WorkflowState::Running,
            (0, false) => WorkflowState::Succeeded,
            (0, true) if self.cancelled => WorkflowState::Cancelled,
            (0, true) => WorkflowState::Failed,
        }
    }

    /// The record of the workflow so far. `epoch` is the wall time of tick 0.
    #[must_use]
    pub fn record(&self, epoch: Timestamp) -> WorkflowRecord {
        let mut record = self.record_without_steps(epoch);
        let steps = self.nodes.iter().zip(self.waited_for()).filter_map(|(node, waited_for)| {
            let what = OwnedParts {
                name: node.name.clone(),
                task: node.task.clone()?,
                data: node.result.clone().filter(|_| node.keeps()),
                error: node.error.clone(),
            };
            Some(step_record(node, what, !waited_for, epoch))
        });
        record.steps = steps.collect();
        record
    }

    /// The record of a workflow that has ended. The state moves into the record, whose steps take the keys of the
    /// nodes.
    #[must_use]
    pub fn into_record(mut self, epoch: Timestamp) -> WorkflowRecord {
        let mut record = self.record_without_steps(epoch);
        let waited_for = self.waited_for();
        let nodes = std::mem::take(&mut self.nodes);
        let steps = nodes.into_iter().zip(waited_for).filter_map(|(mut node, waited_for)| {
            let data = node.result.take().filter(|_| node.keeps());
            let what = OwnedParts { name: node.name.take(), task: node.task.take()?, data, error: node.error.take() };
            Some(step_record(&node, what, !waited_for, epoch))
        });
        record.steps = steps.collect();
        record
    }

    fn record_without_steps(&self, epoch: Timestamp) -> WorkflowRecord {
        WorkflowRecord {
            id: self.id,
            name: self.name.clone(),
            state: self.state(),
            submitted: wall(epoch, self.submitted).unwrap_or(epoch),
            finished: wall(epoch, self.finished),
            counts: self.counts,
            steps: Vec::new(),
            critical_path: self.critical_path(),
        }
    }

    /// The record of a step as the record of a task, with the outcome that is reported outside the workflow.
    #[must_use]
    pub fn record_of(&self, step: u32, end: StepOutcome, epoch: Timestamp) -> Option<TaskRecord> {
        let node = self.node_of(step)?;
        let StepOutcome { state, data, error } = end;
        let what = OwnedParts { name: node.name.clone(), task: node.task.clone()?, data, error: error.map(Box::new) };
        let submitted = wall(epoch, self.submitted).unwrap_or(epoch);
        StepRecord { state, ..step_record(node, what, false, epoch) }.into_task_record(submitted)
    }

    /// Whether each node has dependents.
    fn waited_for(&self) -> Vec<bool> {
        let mut waited_for = vec![false; self.nodes.len()];
        for dep in &self.deps {
            waited_for[*dep as usize] = true;
        }
        waited_for
    }

    /// The chain of dependencies with the longest run time, in one pass in topological order.
    fn critical_path(&self) -> CriticalPath {
        let mut longest = vec![(Duration::ZERO, None); self.nodes.len()];
        let mut end = None;
        for at in self.order.iter().map(|at| *at as usize) {
            let node = &self.nodes[at];
            let before =
                self.deps_of(at).iter().map(|dep| (longest[*dep as usize].0, Some(*dep))).max_by_key(|it| it.0);
            let (before, via) = before.unwrap_or_default();
            longest[at] = (before + run_time(node), via.filter(|via| self.nodes[*via as usize].is_step()));
            let best = end.map_or(Duration::ZERO, |end: usize| longest[end].0);
            if node.is_step() && (end.is_none() || longest[at].0 > best) {
                end = Some(at);
            }
        }
        let seconds = end.map_or(0.0, |end| longest[end].0.as_secs_f64());
        let mut steps = Vec::new();
        while let Some(at) = end {
            steps.push(self.nodes[at].title());
            end = longest[at].1.map(|via| via as usize);
        }
        steps.reverse();
        CriticalPath { steps, seconds }
    }
}

fn run_time(node: &Node) -> Duration {
    match (node.is_step(), node.started, node.finished) {
        (true, started, finished) if started != NEVER && finished != NEVER => finished.since(started),
        _ => Duration::ZERO,
    }
}

fn wall(epoch: Timestamp, tick: Tick) -> Option<Timestamp> {
    (tick != NEVER).then(|| epoch.saturating_add(Duration::from_nanos(tick.0)).unwrap_or(Timestamp::MAX))
}

/// The parts of a node that cannot be copied directly.
struct OwnedParts {
    name: Option<Arc<str>>,
    task: Task,
    data: Option<Data>,
    error: Option<Box<StepError>>,
}

fn step_record(
    node: &Node,
    OwnedParts { name, task, data, error }: OwnedParts,
    last: bool,
    epoch: Timestamp,
) -> StepRecord {
    let (data, pickle) = match data {
        Some(Data::Json(json)) => (Some(json), None),
        Some(Data::Pickle(pickle)) => (pickle.json().ok(), Some(Box::new(pickle))),
        None => (None, None),
    };
    StepRecord {
        name,
        task: node.id,
        pool: task.pool_id(),
        work: task.into_work_name(),
        last,
        state: node.state,
        attempts: node.attempts,
        ready: wall(epoch, node.ready),
        started: wall(epoch, node.started),
        finished: wall(epoch, node.finished),
        data,
        pickle,
        data_dropped: node.dropped,
        error,
        instances: node.mapping.as_ref().map(|mapping| {
            Box::new(InstanceCounts {
                total: mapping.total,
                begun: mapping.next,
                succeeded: mapping.succeeded,
                failed: mapping.failed,
            })
        }),
    }
}
