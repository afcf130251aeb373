//! One worker slot of a pool, such as `cpu-0`: the processes that have it, one after the other.

use super::{LaunchCause, RetireCause, SupervisorAction};
use crate::model::RecycleCause;
use crate::model::{Generation, WorkerId, WorkerRef};
use crate::policy::restart::Starts;

/// Processes of one slot that have been replaced and can still have something to finish (L9). With this many, the
/// present one is not replaced.
pub const MAX_FINISHING: usize = 4;

#[derive(Debug)]
pub(super) struct SupervisedSlot {
    pub(super) id: WorkerId,
    /// There is to be a worker.
    pub(super) wanted: bool,
    /// Of the worker that was started last.
    generation: Generation,
    pub(super) starts: Starts,
    /// Why the next worker of an empty slot is started.
    pub(super) next_launch: LaunchCause,
    /// Takes the slot's tasks, or will.
    pub(super) present: Option<SlotWorker>,
    /// Is on its way to take the present one's place.
    successor: Option<SlotWorker>,
    /// Why the present one is to be replaced, if it is.
    pub(super) recycling: Option<RecycleCause>,
    /// Have been replaced and finish what they have.
    leaving: Vec<SlotWorker>,
}

/// One process of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotWorker {
    pub(super) generation: Generation,
    ready: bool,
}

impl SupervisedSlot {
    pub(super) fn new(id: WorkerId) -> Self {
        Self {
            id,
            wanted: false,
            generation: Generation(0),
            starts: Starts::default(),
            next_launch: LaunchCause::BelowTarget,
            present: None,
            successor: None,
            recycling: None,
            leaving: Vec::new(),
        }
    }

    /// Why a worker is to be started here now: the slot is empty, or its worker is to be replaced.
    fn launch_cause(&self) -> Option<LaunchCause> {
        if !self.wanted || self.successor.is_some() {
            return None;
        }
        match (self.present, self.recycling) {
            (None, _) => Some(self.next_launch),
            (Some(_), Some(reason)) if self.leaving.len() < MAX_FINISHING => Some(LaunchCause::Recycling(reason)),
            (Some(_), _) => None,
        }
    }

    /// Starts a worker, if there is a cause.
    pub(super) fn start(&mut self, actions: &mut Vec<SupervisorAction>) {
        let Some(cause) = self.launch_cause() else { return };
        self.generation = self.generation.next();
        let place = if self.present.is_none() { &mut self.present } else { &mut self.successor };
        *place = Some(SlotWorker { generation: self.generation, ready: false });
        let worker = WorkerRef { id: self.id, generation: self.generation };
        actions.push(SupervisorAction::Launch { worker, cause });
    }

    pub(super) fn is(&self, generation: Generation) -> bool {
        self.present.is_some_and(|present| present.generation == generation)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.present.is_some_and(|present| present.ready)
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.all().next().is_none()
    }

    /// There is to be no worker any more: one that takes tasks finishes them, one that does not yet ends now.
    pub(super) fn give_up(&mut self, actions: &mut Vec<SupervisorAction>) {
        (self.wanted, self.recycling) = (false, None);
        for process in self.successor.take().into_iter().chain(self.present.take()) {
            if !process.ready {
                let worker = WorkerRef { id: self.id, generation: process.generation };
                actions.push(SupervisorAction::Retire { worker, cause: RetireCause::AboveTarget });
            }
            self.leaving.push(process);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &SlotWorker> {
        self.present.iter().chain(&self.successor).chain(&self.leaving)
    }

    /// A worker finished its handshake; true if it takes tasks from now on.
    pub(super) fn becomes_ready(&mut self, generation: Generation) -> bool {
        if let Some(present) = self.present.as_mut().filter(|it| it.generation == generation && !it.ready) {
            present.ready = true;
            return true;
        }
        let Some(mut successor) = self.successor.take_if(|it| it.generation == generation) else { return false };
        successor.ready = true;
        self.leaving.extend(self.present.replace(successor));
        self.recycling = None;
        true
    }

    /// A worker is gone. Its successor, if there is one on its way, takes its place.
    pub(super) fn loses(&mut self, generation: Generation) {
        self.leaving.retain(|it| it.generation != generation);
        if self.successor.take_if(|it| it.generation == generation).is_none()
            && self.present.take_if(|it| it.generation == generation).is_some()
        {
            self.present = self.successor.take();
            self.recycling = None;
            self.next_launch = LaunchCause::Replacement { of: generation };
        }
    }
}
