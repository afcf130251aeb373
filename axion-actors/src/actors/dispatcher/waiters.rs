//! The waiters for the ends of tasks. Each is answered once (L1).
//!
//! A task keeps the place of its waiters in the table, and its end brings the place back. So an answer belongs to one
//! task and no other, however long it waits for the facts of the turn to be recorded (L13).

use std::num::NonZeroU32;
use std::sync::Arc;

use super::super::answer::Refusal;
use super::super::late_waiters::{GivesUp, LateWaiters};
use super::super::messages::{Reply, StepUpdate};
use crate::model::TaskRecord;
use crate::model::workflow::WorkflowId;
use crate::policy::task_table::WaiterId;
use crate::policy::workflows::StepRef;

/// A waiter for the end of a task.
#[derive(Debug)]
pub(super) enum Waiter {
    /// The caller that submitted it, or asked for it.
    Handle(Reply),
    /// The workflow of which it is a step.
    Step(StepRef),
    /// A workflow with steps that depend on it.
    Workflow(WorkflowId),
}

impl GivesUp for Waiter {
    fn gave_up(&self) -> bool {
        matches!(self, Self::Handle(reply) if reply.gave_up())
    }
}

impl Waiter {
    /// Answers with the record of the task, which has ended. Returns the update that a workflow gets instead.
    pub(super) fn resolve(self, record: &Arc<TaskRecord>) -> Option<StepUpdate> {
        match self {
            // The handle may be gone by now; the record is retained all the same.
            Self::Handle(reply) => {
                reply.send(Ok(record.clone()));
                None
            }
            Self::Step(step) => Some(StepUpdate::Ended(step, record.clone())),
            Self::Workflow(id) => Some(StepUpdate::External(id, record.clone())),
        }
    }

    /// Answers that there is no such task. Returns the update that a workflow gets instead.
    pub(super) fn refuse(self, refusal: Refusal) -> Option<StepUpdate> {
        match self {
            Self::Handle(reply) => {
                reply.send(Err(refusal));
                None
            }
            Self::Step(step) => Some(StepUpdate::Refused(step)),
            Self::Workflow(_) => None,
        }
    }
}

enum Place {
    Taken(Waiter),
    /// The next free one.
    Free(Option<WaiterId>),
}

/// The waiters for live tasks.
#[derive(Default)]
pub(super) struct Waiters {
    /// The first waiter of each task.
    places: Vec<Place>,
    free: Option<WaiterId>,
    later: LateWaiters<WaiterId, Waiter>,
}

fn index(id: WaiterId) -> usize {
    id.0.get() as usize - 1
}

impl Waiters {
    /// Gives the first waiter of a task a place.
    pub(super) fn insert(&mut self, waiter: Waiter) -> WaiterId {
        if let Some(id) = self.free {
            if let Place::Free(next) = std::mem::replace(&mut self.places[index(id)], Place::Taken(waiter)) {
                self.free = next;
            }
            return id;
        }
        self.places.push(Place::Taken(waiter));
        // The memory is full long before there are so many tasks.
        let number = u32::try_from(self.places.len()).ok().and_then(NonZeroU32::new);
        WaiterId(number.unwrap_or(NonZeroU32::MAX))
    }

    /// One more waits for a live task.
    pub(super) fn add(&mut self, id: WaiterId, waiter: Waiter) {
        self.later.add(id, waiter);
    }

    /// The step that a live task is.
    pub(super) fn step(&self, id: WaiterId) -> Option<StepRef> {
        match self.places.get(index(id)) {
            Some(Place::Taken(Waiter::Step(step))) => Some(*step),
            _ => None,
        }
    }

    /// Takes the first waiter of a task, and frees its place.
    pub(super) fn take_first(&mut self, id: WaiterId) -> Option<Waiter> {
        match std::mem::replace(self.places.get_mut(index(id))?, Place::Free(self.free)) {
            Place::Taken(waiter) => {
                self.free = Some(id);
                Some(waiter)
            }
            // It was free before.
            Place::Free(next) => {
                self.places[index(id)] = Place::Free(next);
                None
            }
        }
    }

    /// Takes all waiters of a task that has ended.
    pub(super) fn take(&mut self, id: WaiterId) -> impl Iterator<Item = Waiter> + use<> {
        let later = self.later.take(&id);
        self.take_first(id).into_iter().chain(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow() -> Waiter {
        Waiter::Workflow(WorkflowId::generate())
    }

    #[test]
    fn l1_a_place_is_used_again_only_after_its_waiters_were_taken() {
        let mut waiters = Waiters::default();
        let [one, two] = [(), ()].map(|()| waiters.insert(workflow()));
        waiters.add(one, workflow());
        assert_ne!(one, two);
        assert_eq!(waiters.take(one).count(), 2);
        assert_eq!(waiters.take(one).count(), 0, "each is answered once");
        let three = waiters.insert(workflow());
        assert_eq!(three, one);
        assert_ne!(waiters.insert(workflow()), two);
        assert_eq!((waiters.take(three).count(), waiters.take(two).count()), (1, 1));
    }
}
