//! A workflow according to its facts.

use std::collections::HashMap;

use axion_core::TaskId;
use axion_core::workflow::{StepState, WorkflowState};

use crate::plan::agree;

#[derive(Debug, Default)]
pub(crate) struct FlowStory {
    steps: HashMap<TaskId, StepState>,
    /// All changes, in order.
    changes: Vec<(TaskId, StepState)>,
    finished: Option<WorkflowState>,
}

impl FlowStory {
    pub(super) fn changed(&mut self, task: TaskId, state: StepState) -> Result<(), String> {
        self.changes.push((task, state));
        let before = self.steps.insert(task, state).unwrap_or(StepState::Waiting);
        if state <= before {
            return Err(format!("a step became {state}, and was {before}"));
        }
        Ok(())
    }

    pub(super) fn finished(&mut self, state: WorkflowState) {
        self.finished = Some(state);
    }

    /// Whether the record of the workflow tells the same as the events.
    pub(crate) fn check(&self, state: WorkflowState, steps: &HashMap<TaskId, StepState>) -> Result<(), String> {
        agree("L1: its end", &self.finished, &Some(state))?;
        agree("L1: the states after the last events", &self.steps, steps)
    }

    /// The first of these steps that ended, and the steps that became ready after it.
    pub(crate) fn ready_after(&self, halts: impl Fn(TaskId) -> bool) -> Option<(TaskId, Vec<TaskId>)> {
        let halt = self.changes.iter().position(|(task, state)| state.is_final() && halts(*task))?;
        let ready = self.changes[halt..].iter().filter(|(_, state)| *state == StepState::Ready);
        Some((self.changes[halt].0, ready.map(|(task, _)| *task).collect()))
    }

    /// Once one of these steps has ended, nothing begins any more: what has become ready in the same moment never runs.
    /// Returns the steps that ran by then.
    pub(crate) fn check_halt(&self, halts: impl Fn(TaskId) -> bool) -> Result<Vec<TaskId>, String> {
        let halt = self.changes.iter().position(|(task, state)| state.is_final() && halts(*task));
        let Some(halt) = halt else { return Ok(Vec::new()) };
        let (before, after) = self.changes.split_at(halt);
        let ready = |task: TaskId| after.contains(&(task, StepState::Ready));
        let begins = |(task, state): &&(TaskId, StepState)| *state == StepState::Running && ready(*task);
        if let Some((task, _)) = after.iter().find(begins) {
            return Err(format!("{task} began, but {} had stopped the workflow", self.changes[halt].0));
        }
        let ran = before.iter().filter(|(_, state)| *state == StepState::Running).map(|(task, _)| *task);
        Ok(ran.collect())
    }
}
