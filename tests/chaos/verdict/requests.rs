//! Checks the answers to requests about a workflow in flight against its end.

use std::collections::HashMap;

use axion_core::workflow::{StepError, StepRecord, StepState};
use axion_core::{CancelAnswer, ErrorKind, Refusal, TaskId, WaitError};

use tokio::time::Instant;

use super::world::{ResultDigests, World};
use super::{FlowEnd, Wrong};
use crate::plan::agree;
use crate::workflow_run::{Answer, Refused, StepRequest, StepWaiterAnswer};

impl FlowEnd {
    /// Adds the cancellations of its steps by the main loop.
    pub(crate) fn add_requests(&mut self, all: &[(TaskId, Instant, CancelAnswer)]) {
        let places: HashMap<TaskId, (usize, Option<u32>)> =
            self.tasks().map(|(task, at, instance)| (task, (at, instance))).collect();
        let requests = all.iter().filter_map(|(task, when, answer)| {
            let (at, instance) = *places.get(task)?;
            Some(StepRequest { task: *task, at, instance, when: *when, answer: Answer::Cancel(answer.clone()) })
        });
        self.requests.extend(requests);
        self.requests.sort_by_key(|request| request.when);
    }

    /// Whether the engine said that it would end this step, or this instance.
    pub(super) fn has_agreed_to_end(&self, at: usize, instance: Option<u32>) -> bool {
        self.requests.iter().any(|it| it.at == at && it.instance == instance && it.answer.is_taken())
    }

    pub(super) fn check_answers(&self, world: &World<'_>) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        for (number, request) in self.requests.iter().enumerate() {
            let fits = self.check_request(request, &self.requests[..number], world);
            wrong.extend(fits.err().map(|what| (Some(request.task), format!("{what}: {:?}", request.answer))));
        }
        for waiter in &self.waiter_answers {
            let fits = self.check_waiter(waiter, world);
            wrong.extend(fits.err().map(|what| (Some(waiter.task), format!("a waiter got the answer {what}"))));
        }
        wrong
    }

    fn check_request(&self, request: &StepRequest, before: &[StepRequest], world: &World<'_>) -> Result<(), String> {
        let Some(step) = self.find(request.at) else { return Err("it is not in the record".to_owned()) };
        let end_of = world.trace.and_then(|trace| trace.end_of(request.task));
        // Of an instance, the events alone tell.
        let end = if request.instance.is_none() { Some(step.state.outcome_name()) } else { end_of };
        let taken_before = before.iter().any(|it| it.at == request.at && it.answer.is_taken());
        let may_be = match &request.answer {
            Answer::Cancel(CancelAnswer::Removed) | Answer::Withdrawn(true) => {
                end == Some("cancelled") || (request.instance.is_some() && end.is_none())
            }
            Answer::Cancel(CancelAnswer::Requested) => !before
                .iter()
                .any(|it| it.task == request.task && matches!(it.answer, Answer::Cancel(CancelAnswer::Requested))),
            Answer::Cancel(CancelAnswer::AlreadyRequested) => {
                taken_before || self.halted() || request.instance.is_some()
            }
            // The task and the step may end differently: the end of the step depends on the result of its task.
            Answer::Cancel(CancelAnswer::AlreadyFinished(name)) => [end, end_of].contains(&Some(*name)),
            // An instance is known once it is submitted.
            Answer::Cancel(CancelAnswer::Unknown) => request.instance.is_some(),
            // Only a withdrawal is answered so, and tells whether the task was removed.
            Answer::Cancel(CancelAnswer::Started) => false,
            Answer::Withdrawn(false) => true,
        };
        if may_be { Ok(()) } else { Err(format!("it is {} ({end_of:?}), and was answered with", step.state)) }
    }

    fn check_waiter(&self, waiter: &StepWaiterAnswer, world: &World<'_>) -> Result<(), String> {
        let Some(step) = self.find(waiter.at) else { return Err("of a step that is not in the record".to_owned()) };
        let end_of = world.trace.and_then(|trace| trace.end_of(waiter.task));
        match (&waiter.answer, waiter.instance) {
            (Ok((record, _)), Some(_)) => {
                agree("of its end", &Some(record.outcome.name()), &end_of.or(Some(record.outcome.name())))
            }
            (Ok((record, digest)), None) => {
                let not_added = matches!(step.error.as_deref(), Some(StepError::NotAdded(_)));
                if record.outcome.name() == "succeeded" && not_added {
                    return Ok(()); // as its task did
                }
                agree("of its end", &record.outcome.name(), &step.state.outcome_name())?;
                match (world.digests(waiter.task), digest) {
                    (ResultDigests::AnyOf(known), Some(digest))
                        if step.state == StepState::Succeeded && !known.contains(digest) =>
                    {
                        Err(format!("of the result {digest} instead of {known:?}"))
                    }
                    _ => Ok(()),
                }
            }
            (Err(WaitError::Refused(Refusal::UnknownId)), Some(_)) => Ok(()),
            (Err(WaitError::Refused(Refusal::ResultExpired { .. })), _)
                if self.may_have_expired(step, waiter, world) =>
            {
                Ok(())
            }
            (Err(WaitError::EngineStopped), _) if world.drained => Ok(()),
            (Err(error), _) => Err(format!("that {error}")),
        }
    }

    /// Its result was not to be kept, or newer records took the place of its.
    fn may_have_expired(&self, step: &StepRecord, waiter: &StepWaiterAnswer, world: &World<'_>) -> bool {
        let unkept = step.state == StepState::Succeeded && step.data_dropped;
        let after = world.trace.map(|trace| trace.ended_after(waiter.task));
        unkept || after.is_none_or(|after| after.is_some_and(|after| after >= world.keeps))
    }
}

impl Refused {
    /// Whether it may have been refused, and nothing of it was run.
    pub(crate) fn check(&self, world: &World<'_>) -> Vec<Wrong> {
        let why = format!("workflow {} was refused: {}", self.plan.number, self.code);
        let may_be = match self.code {
            "unknown_dependency" => self.early || self.links.iter().any(|link| world.may_be_forgotten(link.task)),
            "shutting_down" | "engine_stopped" => world.drained,
            _ => false,
        };
        let was_run = |task: &&TaskId| world.trace.is_some_and(|trace| !trace.is_unheard_of(**task));
        let run = self.tasks.iter().find(was_run);
        let wrong = (!may_be).then(|| (None, format!("{why}, for {:?}", self.links)));
        wrong.into_iter().chain(run.map(|task| (Some(*task), format!("L1: {why}, but this was run")))).collect()
    }
}

/// The kind of error when this step alone was cancelled.
pub(super) const BY_ITSELF: Option<ErrorKind> = Some(ErrorKind::Cancelled);
