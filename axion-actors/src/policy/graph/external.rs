//! Steps as tasks: queries about a step by the id of its task.

use rustc_hash::FxHashSet;

use super::{Graph, StepKey, StepStatus};
use crate::model::CancelAnswer;
use crate::model::workflow::{StepError, StepState};
use crate::model::{ErrorKind, TaskError, TaskId, Tick};

impl Graph {
    /// Cancels a step on request. A waiting step ends at once; a submitted one ends with its task.
    pub fn cancel_step(&mut self, step: u32, now: Tick) -> CancelAnswer {
        let at = step as usize;
        let Some(node) = self.nodes.get(at).filter(|node| node.is_step()) else { return CancelAnswer::Unknown };
        match (node.state, &node.mapping) {
            (StepState::Waiting, _) => {
                self.end(step, StepState::Cancelled, Some(on_request()), now);
                self.propagate(now);
                CancelAnswer::Removed
            }
            (StepState::Ready | StepState::Running, Some(mapping)) => {
                if mapping.cancelled {
                    return CancelAnswer::AlreadyRequested;
                }
                self.cancel_mapped(at, now);
                self.propagate(now);
                CancelAnswer::Requested
            }
            (StepState::Ready | StepState::Running, None) if node.cancelling => CancelAnswer::AlreadyRequested,
            (StepState::Ready | StepState::Running, None) => {
                self.request_cancel(StepKey::whole(step));
                CancelAnswer::Requested
            }
            (state, _) => CancelAnswer::AlreadyFinished(state.outcome_name()),
        }
    }

    /// The step with this task. Instances of mapped steps are not included.
    #[must_use]
    pub fn step_of(&self, task: TaskId) -> Option<u32> {
        let found = self.may_have(task).then(|| self.directory.ids.get(task).copied()).flatten();
        found.filter(|node| self.nodes[*node as usize].is_step())
    }

    fn may_have(&self, task: TaskId) -> bool {
        (self.span.0..=self.span.1).contains(&task)
    }

    /// The steps among these tasks. The time grows with the smaller number of the two.
    #[must_use]
    pub fn steps_among(&self, tasks: &FxHashSet<TaskId>) -> Vec<(TaskId, u32)> {
        if tasks.len() <= self.nodes.len() {
            tasks.iter().filter_map(|task| Some((*task, self.step_of(*task)?))).collect()
        } else {
            let ids = self.directory.ids.iter().filter(|(id, _)| tasks.contains(id));
            ids.map(|(id, node)| (id, *node)).filter(|(_, node)| self.nodes[*node as usize].is_step()).collect()
        }
    }

    /// The lowest and the highest id of its steps' tasks.
    #[must_use]
    pub fn span(&self) -> (TaskId, TaskId) {
        self.span
    }

    /// The status of a step, for those outside the workflow.
    #[must_use]
    pub fn status(&self, step: u32) -> StepStatus {
        match self.nodes.get(step as usize).filter(|node| node.is_step()) {
            None => StepStatus::Unknown,
            Some(node) if !node.state.is_final() => StepStatus::Live,
            Some(node) if node.state == StepState::Succeeded && node.result.is_none() => StepStatus::ResultDropped,
            Some(node) => StepStatus::Ended(node.outcome()),
        }
    }

    /// Makes the end of a step an [action](super::GraphAction::Ended) with its result, which is kept until then.
    pub fn subscribe(&mut self, step: u32) {
        let node = self.nodes.get_mut(step as usize).filter(|node| node.is_step() && !node.state.is_final());
        if let Some(node) = node
            && !std::mem::replace(&mut node.wanted, true)
        {
            node.readers += 1;
        }
    }
}

/// The error of a step that was cancelled individually.
pub(super) fn on_request() -> StepError {
    StepError::Task(Box::new(TaskError::new(ErrorKind::Cancelled, "the step was cancelled on request")))
}
