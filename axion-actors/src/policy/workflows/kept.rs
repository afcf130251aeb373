//! What is kept of workflows that have ended, and of their steps.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;

use crate::model::workflow::{StepRecord, WorkflowId, WorkflowRecord};
use crate::model::{TaskId, Tick};
use crate::policy::graph::StepStatus;
use crate::policy::task_table::RetentionPolicy;

#[derive(Debug)]
pub(super) struct Finished {
    record: Arc<WorkflowRecord>,
    /// The lowest and the highest id of its steps' tasks, as a [`Graph::span`].
    span: (TaskId, TaskId),
}

/// Records of workflows that have ended, within bounds (L9): the oldest go first.
#[derive(Debug)]
pub struct RetainedWorkflows {
    pub(super) records: FxHashMap<WorkflowId, Finished>,
    pub(super) order: VecDeque<(WorkflowId, usize, Tick)>,
    pub(super) bytes: usize,
    keep: RetentionPolicy,
}

impl RetainedWorkflows {
    /// No records, to be kept within these bounds.
    #[must_use]
    pub fn new(keep: RetentionPolicy) -> Self {
        Self { records: FxHashMap::default(), order: VecDeque::new(), bytes: 0, keep }
    }

    /// Keeps one more, whose steps' tasks have ids in this [`span`](crate::policy::graph::Graph::span).
    pub fn push(&mut self, record: Arc<WorkflowRecord>, span: (TaskId, TaskId), now: Tick) {
        let (id, weight) = (record.id, record.weight());
        self.records.insert(id, Finished { record, span });
        self.order.push_back((id, weight, now));
        self.bytes += weight;
        while self.order.len() > self.keep.count || self.bytes > self.keep.bytes {
            self.drop_oldest();
        }
        self.drop_old(now);
    }

    /// One of them, if it is still there.
    pub fn get(&mut self, id: WorkflowId, now: Tick) -> Option<Arc<WorkflowRecord>> {
        self.drop_old(now);
        self.records.get(&id).map(|kept| kept.record.clone())
    }

    /// The record of a step, by its task, and when its workflow was submitted.
    pub fn step(&mut self, task: TaskId, now: Tick) -> Option<(&StepRecord, Timestamp)> {
        self.drop_old(now);
        let may_have = |kept: &&Finished| (kept.span.0..=kept.span.1).contains(&task);
        let find = |kept: &'_ Finished| kept.record.steps.iter().position(|step| step.task == task);
        let (kept, at) = self.records.values().filter(may_have).find_map(|kept| Some((kept, find(kept)?)))?;
        Some((kept.record.steps.get(at)?, kept.record.submitted))
    }

    /// Looks for the tasks that others do not know to be in flight among the steps that have ended: in one pass over
    /// the records.
    pub fn look_up(&mut self, known: &mut FxHashMap<TaskId, StepStatus>, now: Tick) {
        self.drop_old(now);
        let mut named: Vec<TaskId> =
            known.iter().filter(|(_, known)| **known != StepStatus::Live).map(|(task, _)| *task).collect();
        named.sort_unstable();
        for Finished { record, span: (low, high) } in self.records.values() {
            let from = named.partition_point(|task| task < low);
            if named.get(from).is_none_or(|task| task > high) {
                continue;
            }
            for step in &record.steps {
                if let Some(known) = known.get_mut(&step.task).filter(|known| **known != StepStatus::Live) {
                    known.correct(step.into());
                }
            }
        }
    }

    /// When the oldest has grown too old.
    #[must_use]
    pub fn next_to_go(&self) -> Option<Tick> {
        Some(self.order.front()?.2.after(self.keep.age?))
    }

    /// Forgets those that have grown too old.
    pub fn drop_old(&mut self, now: Tick) {
        let Some(age) = self.keep.age else { return };
        while self.order.front().is_some_and(|(_, _, at)| at.after(age) <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((id, weight, _)) = self.order.pop_front() {
            self.records.remove(&id);
            self.bytes -= weight;
        }
    }
}
