//! Decides a step when its dependencies have ended.

use std::sync::Arc;

use super::condition;
use super::{Graph, GraphAction, StepKey};
use crate::model::Tick;
use crate::model::workflow::{RootCauses, RunIf, StepError, StepState};

impl Graph {
    /// Decides a step. All its dependencies have ended, or one failed that decides alone.
    pub(super) fn decide(&mut self, at: usize, now: Tick) {
        let (dependencies, deps) = (self.nodes[at].dependencies, self.nodes[at].deps.count > 0);
        let state = match self.rules(at).run_if {
            RunIf::AllSucceeded if dependencies.failed => Some(StepState::DependencyFailed),
            RunIf::AllSucceeded if dependencies.skipped => Some(StepState::Skipped),
            RunIf::AnySucceeded if dependencies.succeeded || !deps => None,
            RunIf::AnySucceeded if dependencies.failed => Some(StepState::DependencyFailed),
            RunIf::AnySucceeded => Some(StepState::Skipped),
            RunIf::AnyFailed if !dependencies.failed => Some(StepState::Skipped),
            RunIf::AllSucceeded | RunIf::AllDone | RunIf::AnyFailed => None,
        };
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        match state {
            Some(StepState::DependencyFailed) => {
                let error = StepError::DependencyFailed(self.causes(at));
                self.end(number, StepState::DependencyFailed, Some(error), now);
            }
            Some(state) => self.end(number, state, None, now),
            None => self.begin(at, number, now),
        }
    }

    /// The root causes of the failed dependencies.
    fn causes(&self, at: usize) -> Arc<RootCauses> {
        let failed = || {
            let deps = self.deps_of(at).iter().map(|dep| &self.nodes[*dep as usize]);
            deps.filter(|node| node.state.is_failure())
        };
        // The steps of a chain share the causes of the first failure.
        if let (Some(StepError::DependencyFailed(causes)), 1) =
            (failed().next().and_then(|node| node.error.as_deref()), failed().take(2).count())
        {
            return causes.clone();
        }
        let mut all = RootCauses { steps: Vec::new(), more: 0 };
        for node in failed() {
            let passed = match node.error.as_deref() {
                Some(StepError::DependencyFailed(causes)) => Some(causes),
                _ => None,
            };
            all.more = all.more.max(passed.map_or(0, |causes| causes.more));
            for blame in passed.map_or_else(|| vec![node.blame()], |causes| causes.steps.clone()) {
                if all.steps.contains(&blame) {
                    continue;
                }
                if all.steps.len() < RootCauses::NAMED { all.steps.push(blame) } else { all.more += 1 }
            }
        }
        Arc::new(all)
    }

    /// Evaluates the condition of a step and makes it ready.
    fn begin(&mut self, at: usize, number: u32, now: Tick) {
        if let Some(stop) = &self.stop {
            let error = stop.error();
            return self.end(number, StepState::Cancelled, Some(error), now);
        }
        let wanted = match &self.rules(at).when {
            None => Ok(true),
            Some(condition) => condition::holds(condition, &mut |test| self.test(test)),
        };
        match wanted {
            Ok(false) => return self.end(number, StepState::Skipped, None, now),
            Err(error) => return self.end(number, StepState::Failed, Some(error), now),
            Ok(true) => {}
        }
        if self.rules(at).map_over.is_some() {
            return self.begin_mapped(at, number, now);
        }
        // The step fails now if a reference cannot be resolved. Everything else waits until it is handed over.
        match self.prepare(at) {
            Ok(prepared) => {
                self.prepared.extend(prepared.map(|prepared| (number, prepared)));
                self.nodes[at].ready = now;
                self.enter(at, StepState::Ready);
                self.actions.push(GraphAction::Submit(StepKey::whole(number)));
            }
            Err(error) => self.end(number, StepState::Failed, Some(error), now),
        }
    }
}
