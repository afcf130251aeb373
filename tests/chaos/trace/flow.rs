//! A workflow as its events tell it.

use std::collections::HashMap;

use axion_core::TaskId;
use axion_core::workflow::{StepState, WorkflowState};

use crate::plan::agree;

#[derive(Debug, Default)]
pub(crate) struct FlowStory {
    steps: HashMap<TaskId, StepState>,
    /// In their order.
    changes: Vec<(TaskId, StepState)>,
    finished: Option<WorkflowState>,
}

impl FlowStory {
    pub(super) fn changed(&mut self, task: TaskId, state: StepState) -> Result<(), String> {
        if self.finished.is_some() {
            return Err(format!("L1: a step became {state} after its workflow had finished"));
        }
        self.changes.push((task, state));
        let before = self.steps.insert(task, state).unwrap_or(StepState::Waiting);
        if before.is_final() || state <= before {
            return Err(format!("L1: a step became {state}, and was {before}"));
        }
        Ok(())
    }

    pub(super) fn finished(&mut self, state: WorkflowState) -> Result<(), String> {
        let before = self.finished.replace(state);
        before.map_or(Ok(()), |before| Err(format!("L1: a workflow finished twice, {before:?} and {state:?}")))
    }

    /// Whether the record of the workflow tells the same as the events.
    pub(crate) fn check(&self, state: WorkflowState, steps: &HashMap<TaskId, StepState>) -> Result<(), String> {
        agree("L1: its end", &self.finished, &Some(state))?;
        agree("L1: the states after the last events", &self.steps, steps)
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
