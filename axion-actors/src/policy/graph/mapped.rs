//! Steps with one instance per element of a list.

use super::arguments::Prepared;
use super::external::on_request;
use super::json::{self, Elements};
use super::node::{InstanceState, Mapping};
use super::{Ended, Graph, GraphAction, StepKey};
use crate::model::workflow::{Enough, MapOver, StepError, StepState};
use crate::model::{Outcome, Payload, Task, Tick};

impl Mapping {
    pub(super) fn started(&mut self, index: usize) {
        if let Some(instance @ InstanceState::Handed) = self.instances.get_mut(index) {
            *instance = InstanceState::Running;
        }
    }
}

impl Graph {
    /// Finds the list and submits the first instances.
    pub(super) fn begin_mapped(&mut self, at: usize, number: u32, now: Tick) {
        match self.mapping(at) {
            Ok(mapping) => {
                self.nodes[at].mapping = Some(Box::new(mapping));
                self.nodes[at].ready = now;
                self.enter(at, StepState::Ready);
                self.fill(at, now);
            }
            Err(error) => self.end(number, StepState::Failed, Some(error), now),
        }
    }

    fn mapping(&self, at: usize) -> Result<Mapping, StepError> {
        // `begin` checked this before it called.
        let Some(map) = &self.rules(at).map_over else { return Err(StepError::Cancelled) };
        let (text, limit) = (self.look_up(&map.list)?, self.bounds.elements);
        let reference = || Box::new(map.list.clone());
        let elements = match json::elements(&text, limit) {
            Elements::All(elements) => elements,
            Elements::TooMany(count) => {
                return Err(StepError::TooManyElements { reference: reference(), count, limit });
            }
            Elements::NotAList(found) => return Err(StepError::NotAList { reference: reference(), found }),
        };
        let base = if self.is_function(at) { Prepared::CallArguments(self.call(at)?) } else { self.base(at, map)? };
        Ok(Mapping {
            instances: vec![InstanceState::Pending; elements.len()],
            base,
            parameter: map.name.clone(),
            max_parallel: map.max_parallel.map_or(usize::MAX, |it| it as usize),
            needed: match map.enough {
                Enough::All => elements.len(),
                Enough::Any => 1,
                Enough::AtLeast(count) => count,
            },
            total: elements.len(),
            elements,
            next: 0,
            in_flight: 0,
            succeeded: 0,
            failed: 0,
            closed: false,
            lost: false,
            cancelled: false,
            first: None,
        })
    }

    /// The parameters that all instances of a script share.
    fn base(&self, at: usize, map: &MapOver) -> Result<Prepared, StepError> {
        let list = self.directory.find(&map.list.step);
        let text = match self.prepare(at)? {
            Some(Prepared::Text(text)) => text,
            _ => {
                let own = self.nodes[at].task.as_ref().map(Task::params_bytes);
                self.open_params(at, own.unwrap_or(&Payload::default()))
            }
        };
        let mut base = self.with_upstream(at, text, list);
        base.share();
        Ok(Prepared::Text(base))
    }

    /// Submits instances up to `max_parallel`, and ends the step after the last one.
    fn fill(&mut self, at: usize, now: Tick) {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let Some(mapping) = self.nodes[at].mapping.as_mut() else { return };
        if mapping.is_lost() && self.stop.is_none() && !mapping.cancelled {
            (mapping.closed, mapping.lost) = (true, true);
        }
        let mut new = Vec::new();
        while let Some(next) = mapping.take() {
            new.push(next);
        }
        let over = mapping.is_over();
        for index in new {
            self.actions.push(GraphAction::Submit(StepKey { step: number, instance: Some(index) }));
        }
        if over {
            self.conclude(at, number, now);
        }
    }

    pub(super) fn instance_ended(&mut self, at: usize, index: usize, ended: Ended, now: Tick) {
        let node = &mut self.nodes[at];
        let Some(mapping) = node.mapping.as_mut() else { return };
        // Fenced (L3): an instance ends once.
        let Some(instance @ (InstanceState::Handed | InstanceState::Running)) = mapping.instances.get_mut(index) else {
            return;
        };
        node.attempts = node.attempts.saturating_add(ended.attempts);
        if let Some(started) = ended.started {
            node.started = node.started.min(started);
        }
        mapping.in_flight -= 1;
        match ended.outcome {
            Outcome::Succeeded(data) => {
                *instance = InstanceState::Succeeded(data);
                mapping.succeeded += 1;
            }
            outcome => {
                *instance = InstanceState::Failed;
                mapping.failed += 1;
                let why = outcome.error().map_or_else(String::new, ToString::to_string);
                mapping.first.get_or_insert_with(|| format!("{index} ({why})"));
            }
        }
        if mapping.is_lost() && !mapping.closed {
            (mapping.closed, mapping.lost) = (true, true);
            self.cancel_instances(at, true);
        }
        self.fill(at, now);
        self.propagate(now);
    }

    fn cancel_instances(&mut self, at: usize, running_too: bool) {
        let under_way = self.nodes[at].mapping.as_ref().map(|it| it.under_way(running_too)).unwrap_or_default();
        for index in under_way {
            self.request_cancel(StepKey { step: u32::try_from(at).unwrap_or(u32::MAX), instance: Some(index) });
        }
    }

    /// Stops a mapped step with its workflow: no more instances, and the submitted ones are cancelled.
    pub(super) fn stop_mapped(&mut self, at: usize, running_too: bool, now: Tick) {
        let Some(mapping) = self.nodes[at].mapping.as_mut() else { return };
        mapping.closed = true;
        self.cancel_instances(at, running_too);
        self.fill(at, now);
    }

    /// Cancels a mapped step on request: no more instances, and the submitted ones are cancelled.
    pub(super) fn cancel_mapped(&mut self, at: usize, now: Tick) {
        if let Some(mapping) = self.nodes[at].mapping.as_mut() {
            mapping.cancelled = true;
            self.stop_mapped(at, true, now);
        }
    }

    /// Ends the step after its last instance.
    fn conclude(&mut self, at: usize, number: u32, now: Tick) {
        let Some(mapping) = self.nodes[at].mapping.as_mut() else { return };
        let complete = mapping.succeeded + mapping.failed == mapping.total;
        if complete && mapping.succeeded >= mapping.needed {
            let list = mapping.results();
            mapping.free();
            self.take_result(at, Some(list));
            return self.end(number, StepState::Succeeded, None, now);
        }
        mapping.free();
        let (state, error) = match &self.stop {
            // Its own instances are not the cause.
            Some(stop) if !mapping.lost => (StepState::Cancelled, stop.error()),
            _ if mapping.cancelled && !mapping.lost => (StepState::Cancelled, on_request()),
            _ => {
                let first = mapping.first.take().unwrap_or_else(|| "none: the list is too short".to_owned());
                let (succeeded, needed, total) = (mapping.succeeded, mapping.needed, mapping.total);
                (StepState::Failed, StepError::NotEnough { succeeded, needed, total, first })
            }
        };
        self.end(number, state, Some(error), now);
    }
}
