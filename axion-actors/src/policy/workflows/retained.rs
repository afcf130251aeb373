//! The records of workflows that have ended, with the records of their steps.

use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::model::workflow::{StepRecord, WorkflowId, WorkflowRecord};
use crate::model::{ExpiredBy, TaskId, Tick};
use crate::policy::graph::StepStatus;
use crate::policy::retention::{RetentionPolicy, RetentionQueue};

/// A workflow that ended.
#[derive(Debug)]
pub(super) struct FinishedWorkflow {
    record: Arc<WorkflowRecord>,
    /// The lowest and the highest id of its steps' tasks, as [`Graph::span`](crate::policy::graph::Graph::span) returns
    /// them.
    span: (TaskId, TaskId),
}

/// Records of workflows that have ended, within bounds (L9). The oldest are dropped first.
#[derive(Debug)]
pub struct RetainedWorkflows {
    pub(super) records: FxHashMap<WorkflowId, FinishedWorkflow>,
    pub(super) queue: RetentionQueue<WorkflowId>,
    /// The dropped records without a fact so far.
    dropped: Vec<(WorkflowId, ExpiredBy)>,
}

impl RetainedWorkflows {
    /// Creates an empty collection.
    #[must_use]
    pub fn new(policy: RetentionPolicy) -> Self {
        Self { records: FxHashMap::default(), queue: RetentionQueue::new(policy), dropped: Vec::new() }
    }

    /// Retains a record. `span` is that of the workflow's [graph](crate::policy::graph::Graph::span).
    pub fn push(&mut self, record: Arc<WorkflowRecord>, span: (TaskId, TaskId), now: Tick) {
        let (id, weight) = (record.id, record.weight());
        self.records.insert(id, FinishedWorkflow { record, span });
        self.queue.push(id, weight, now);
        self.expire_old(now);
    }

    /// A record, if it is still retained.
    pub fn get(&mut self, id: WorkflowId, now: Tick) -> Option<Arc<WorkflowRecord>> {
        self.expire_old(now);
        self.records.get(&id).map(|finished| finished.record.clone())
    }

    /// The record of a step, by its task, and when its workflow was submitted.
    pub fn step(&mut self, task: TaskId, now: Tick) -> Option<(&StepRecord, Timestamp)> {
        self.expire_old(now);
        let may_have = |it: &&FinishedWorkflow| (it.span.0..=it.span.1).contains(&task);
        let find = |it: &'_ FinishedWorkflow| it.record.steps.iter().position(|step| step.task == task);
        let (finished, at) = self.records.values().filter(may_have).find_map(|it| Some((it, find(it)?)))?;
        Some((finished.record.steps.get(at)?, finished.record.submitted))
    }

    /// Corrects the status of the tasks that are steps of retained workflows, in one pass over the records.
    pub fn look_up(&mut self, known: &mut FxHashMap<TaskId, StepStatus>, now: Tick) {
        self.expire_old(now);
        let mut named: Vec<TaskId> =
            known.iter().filter(|(_, status)| **status != StepStatus::Live).map(|(task, _)| *task).collect();
        named.sort_unstable();
        for FinishedWorkflow { record, span: (low, high) } in self.records.values() {
            let from = named.partition_point(|task| task < low);
            if named.get(from).is_none_or(|task| task > high) {
                continue;
            }
            for step in &record.steps {
                if let Some(status) = known.get_mut(&step.task).filter(|status| **status != StepStatus::Live) {
                    status.correct(step.into());
                }
            }
        }
    }

    /// When the oldest record reaches the age limit.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Tick> {
        self.queue.next_expiry()
    }

    /// Drops the records that break a bound.
    pub fn expire_old(&mut self, now: Tick) {
        let overdue = |queue: &RetentionQueue<_>| queue.is_overdue(now).then_some(ExpiredBy::Age);
        while let Some(by) = self.queue.over_limit().or_else(|| overdue(&self.queue)) {
            let (records, dropped) = (&mut self.records, &mut self.dropped);
            self.queue.pop(|id| {
                dropped.push((id, by));
                records.remove(&id).map_or(0, |finished| finished.record.weight())
            });
        }
    }

    /// Takes the records that were dropped since the last call, each with the bound that it would have exceeded.
    pub fn take_dropped(&mut self) -> Vec<(WorkflowId, ExpiredBy)> {
        std::mem::take(&mut self.dropped)
    }
}
