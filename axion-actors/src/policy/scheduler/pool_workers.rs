//! The workers of a pool that take tasks: their free slots, their reservations and their windows.

use super::protocol::RunTask;
use super::worker_slots::{Isolation, Lane, Revoking, WorkerSlots};
use crate::model::{Placement, PoolId, PoolKind, Seq, Tick, WorkerId, WorkerRef};
use crate::policy::placement;

/// Slots of one worker that stay idle for a task. The task runs in another worker, or in another slot of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotReservation {
    /// The index of the worker. A reservation outlives a worker that dies and applies to its successor.
    pub(super) index: usize,
    /// The number of slots.
    pub(super) slots: usize,
}

impl SlotReservation {
    /// The worker and the number of its slots, for a fact.
    pub(super) fn named(&self, pool: PoolId) -> (WorkerId, u32) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        (WorkerId::local(pool, number(self.index)), number(self.slots))
    }
}

/// The part of a member that counts in the sums of its pool.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    free: [bool; 2],
    ahead: bool,
    idle: bool,
}

/// The workers of a pool that take tasks, and sums over them. With the sums, the queries of each task do not visit
/// every worker.
#[derive(Debug)]
pub(super) struct PoolWorkers {
    kind: PoolKind,
    /// The members by worker index; `None` while this place has no worker that takes tasks.
    list: Vec<Option<WorkerSlots>>,
    /// The scores by worker index; infinite for a worker that takes no task.
    scores: Vec<f32>,
    shares: Vec<Share>,
    /// The reserved slots by worker index, including places without a worker.
    reservations: Vec<usize>,
    count: usize,
    /// The number of workers with room, by lane.
    free: [usize; 2],
    /// The number of workers with tasks in their window.
    ahead: usize,
    /// The number of idle workers.
    idle: usize,
    /// The widest window of any worker so far, in nanoseconds.
    widest_window: u64,
    /// Whether a worker may be kept free for a task in isolation.
    kept: bool,
    /// The workers with messages to send.
    dirty_outboxes: Vec<usize>,
}

impl PoolWorkers {
    pub(super) fn new(kind: PoolKind) -> Self {
        Self {
            kind,
            list: Vec::new(),
            scores: Vec::new(),
            shares: Vec::new(),
            reservations: Vec::new(),
            count: 0,
            free: [0; 2],
            ahead: 0,
            idle: 0,
            widest_window: 0,
            kept: false,
            dirty_outboxes: Vec::new(),
        }
    }

    /// The member with this id, if it is in the pool.
    pub(super) fn get(&self, worker: WorkerRef) -> Option<&WorkerSlots> {
        let member = self.list.get(worker.id.index as usize)?.as_ref();
        member.filter(|member| member.worker == worker)
    }

    /// The member in this place.
    pub(super) fn at(&self, index: u32) -> Option<&WorkerSlots> {
        self.list.get(index as usize)?.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkerSlots> {
        self.list.iter().flatten()
    }

    pub(super) fn insert(&mut self, mut member: WorkerSlots) -> Option<WorkerSlots> {
        let index = member.worker.id.index as usize;
        if self.list.len() <= index {
            self.list.resize_with(index + 1, || None);
            self.scores.resize(index + 1, f32::INFINITY);
            self.shares.resize(index + 1, Share::default());
            self.reservations.resize(index + 1, 0);
        }
        member.reserved = self.reservations[index];
        self.widest_window = self.widest_window.max(member.capacity.link.window_nanos());
        let predecessor = self.list[index].replace(member);
        self.count += usize::from(predecessor.is_none());
        self.refresh(index);
        predecessor
    }

    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<WorkerSlots> {
        let index = worker.id.index as usize;
        let member = self.list.get_mut(index)?.take_if(|member| member.worker == worker)?;
        self.count -= 1;
        self.refresh(index);
        Some(member)
    }

    fn refresh(&mut self, index: usize) {
        let member = self.list[index].as_ref();
        let taking = member.filter(|member| member.takes());
        self.scores[index] = member.filter(|member| member.may_take()).map_or(f32::INFINITY, |it| it.score(self.kind));
        let share =
            taking.map_or(Share { ahead: member.is_some_and(|it| it.ahead() > 0), ..Share::default() }, |it| Share {
                free: [it.has_free_place(Lane::Slot), it.has_free_place(Lane::Coroutine)],
                ahead: it.ahead() > 0,
                idle: it.is_idle(),
            });
        let old = std::mem::replace(&mut self.shares[index], share);
        let shift = |sum: &mut usize, old: bool, new: bool| *sum = *sum + usize::from(new) - usize::from(old);
        for lane in 0..2 {
            shift(&mut self.free[lane], old.free[lane], share.free[lane]);
        }
        shift(&mut self.ahead, old.ahead, share.ahead);
        shift(&mut self.idle, old.idle, share.idle);
    }

    /// Checks that the sums match the workers.
    #[cfg(test)]
    pub(super) fn assert_sums(&self) {
        let count = |is: fn(&WorkerSlots) -> bool| self.iter().filter(|member| is(member)).count();
        assert_eq!(self.count, count(|_| true));
        assert_eq!(self.ahead, count(|member| member.ahead() > 0));
        assert_eq!(self.idle, count(|member| member.takes() && member.is_idle()));
        assert_eq!(self.free[0], count(|member| member.has_free_place(Lane::Slot)));
        assert_eq!(self.free[1], count(|member| member.has_free_place(Lane::Coroutine)));
        let ahead = self.iter().flat_map(|member| &member.in_flight).filter(|task| !task.started());
        assert!(ahead.into_iter().all(|task| task.lane == Lane::Slot), "no coroutine is sent ahead");
        for (member, score) in self.list.iter().zip(&self.scores) {
            let taking = member.as_ref().filter(|member| member.may_take());
            assert_eq!(*score, taking.map_or(f32::INFINITY, |member| member.score(self.kind)));
            let running = member.as_ref().map_or(0, |it| it.in_flight.iter().filter(|task| task.started()).count());
            assert_eq!(running, member.as_ref().map_or(0, WorkerSlots::running));
        }
        for member in self.iter() {
            assert_eq!(member.reserved, self.reservations[member.worker.id.index as usize]);
            assert!(member.reserved == 0 || member.ahead() == 0, "nothing may start in reserved slots");
        }
    }

    /// Changes a member and updates the sums.
    pub(super) fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut WorkerSlots) -> T) -> Option<T> {
        let changed = change(self.list.get_mut(index)?.as_mut()?);
        self.refresh(index);
        Some(changed)
    }

    /// Gives a member a message to send.
    pub(super) fn send(&mut self, index: usize, dispatch: impl FnOnce(&mut WorkerSlots)) {
        self.change(index, dispatch);
        self.dirty_outboxes.push(index);
    }

    /// Takes the messages to send, by worker.
    pub(super) fn take_outboxes(&mut self) -> Vec<(WorkerRef, Vec<RunTask>)> {
        let mut outboxes = Vec::with_capacity(self.dirty_outboxes.len().min(self.count));
        for index in self.dirty_outboxes.drain(..) {
            if let Some(member) = self.list[index].as_mut().filter(|member| !member.outbox.is_empty()) {
                outboxes.push((member.worker, std::mem::take(&mut member.outbox)));
            }
        }
        outboxes
    }

    /// Calls `change` for every member, and updates the sums of those for which it returns true.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut WorkerSlots) -> bool) {
        for index in 0..self.list.len() {
            if self.list[index].as_mut().is_some_and(&mut change) {
                self.refresh(index);
            }
        }
    }

    /// The least loaded worker with room, and its score. Ties go to the lowest index.
    pub(super) fn choose(&self, lane: Lane, estimate: u64, bytes: usize, now: Tick) -> Option<(usize, Placement)> {
        if self.free[lane as usize] == 0 && (lane == Lane::Coroutine || estimate > self.widest_window) {
            return None;
        }
        let has_room =
            |index: usize| self.list[index].as_ref().is_some_and(|member| member.has_room(lane, estimate, bytes, now));
        let chosen = |index: usize| (index, Placement::LeastLoaded { score: self.scores[index] });
        let first = placement::least(&self.scores)?;
        if has_room(first) {
            return Some(chosen(first));
        }
        // The least loaded worker has no room for this task; another one may have room.
        let with_room = (0..self.list.len()).filter(|index| has_room(*index));
        with_room.min_by(|one, other| self.scores[*one].total_cmp(&self.scores[*other])).map(chosen)
    }

    /// Whether any worker has room.
    pub(super) fn has_free(&self, lane: Lane) -> bool {
        self.free[lane as usize] > 0
    }

    /// The number of slots of all workers.
    pub(super) fn slots(&self) -> usize {
        self.iter().map(|member| member.capacity.slots).sum()
    }

    /// The largest number of slots of one worker.
    pub(super) fn slots_each(&self) -> usize {
        self.iter().map(|member| member.capacity.slots).max().unwrap_or(0)
    }

    /// The worker for a task that takes `slots`, and the slots that the task reserves beside its own, in as few workers
    /// as possible. With `alone`, nothing else runs in its own worker.
    pub(super) fn reserve(&self, slots: usize, alone: bool) -> Option<(usize, Vec<SlotReservation>)> {
        let offers = self.list.iter().enumerate().filter_map(|(at, member)| Some((member.as_ref()?.free_slots(), at)));
        let mut offers: Vec<(usize, usize)> = offers.filter(|(free, _)| *free > 0).collect();
        if alone {
            let empty = self.first_empty()?;
            // The worker may be kept free for this task.
            let own = self.list[empty].as_ref().map_or(0, |member| member.places(Lane::Slot));
            offers.retain(|(_, at)| *at != empty);
            offers.push((own, empty));
        }
        if offers.iter().map(|(free, _)| free).sum::<usize>() < slots {
            return None;
        }
        let last = offers.len().saturating_sub(usize::from(alone));
        offers[..last].sort_by(|(free, at), (other, than)| {
            other.cmp(free).then(self.scores[*at].total_cmp(&self.scores[*than])).then(at.cmp(than))
        });
        if alone {
            offers.rotate_right(1);
        }
        let home = offers.first()?.1;
        let (mut left, mut reservations) = (slots, Vec::new());
        for (free, index) in offers {
            let taken = free.min(left);
            left -= taken;
            let reserved = taken - usize::from(index == home);
            if reserved > 0 {
                reservations.push(SlotReservation { index, slots: reserved });
            }
        }
        Some((home, reservations))
    }

    /// Reserves slots.
    pub(super) fn reserve_slots(&mut self, reservations: &[SlotReservation]) {
        self.change_reservations(reservations, |reserved, slots| reserved + slots);
    }

    /// Releases reserved slots.
    pub(super) fn release_slots(&mut self, reservations: &[SlotReservation]) {
        self.change_reservations(reservations, usize::saturating_sub);
    }

    fn change_reservations(&mut self, reservations: &[SlotReservation], change: fn(usize, usize) -> usize) {
        for SlotReservation { index, slots } in reservations {
            let reserved = change(self.reservations[*index], *slots);
            self.reservations[*index] = reserved;
            self.change(*index, |member| member.reserved = reserved);
        }
    }

    /// The first member without a task, whether or not it is kept free.
    pub(super) fn first_empty(&self) -> Option<usize> {
        let is_empty =
            |member: &WorkerSlots| member.is_open() && member.in_flight.is_empty() && member.places(Lane::Slot) > 0;
        self.list.iter().position(|member| member.as_ref().is_some_and(is_empty))
    }

    /// Sends a member a task in isolation.
    pub(super) fn send_alone(&mut self, index: usize, dispatch: impl FnOnce(&mut WorkerSlots)) {
        self.send(index, |member| {
            member.isolation = Isolation::Suspect;
            dispatch(member);
        });
        self.kept = true;
    }

    /// Keeps one member free of new tasks, unless one is kept free already: the member that will be empty first. If
    /// workers run several tasks at a time, suspects get at most half of the workers, and at least one, so the others
    /// keep working. If every worker has one slot, suspects may get all workers.
    pub(super) fn reserve_for_isolation(&mut self) {
        let usable = || self.iter().filter(|member| member.is_open() && member.places(Lane::Slot) > 0);
        if usable().any(|member| member.isolation == Isolation::Reserved) {
            return;
        }
        let (count, trying) = (usable().count(), usable().filter(|member| member.isolation != Isolation::None).count());
        let others = usable().filter(|member| member.isolation == Isolation::None);
        let most = if self.slots_each() > 1 { (count / 2).max(1) } else { count };
        let first = others.min_by_key(|member| member.in_flight.len()).filter(|_| trying < most);
        if let Some(first) = first.map(|member| member.worker) {
            self.change(first.id.index as usize, |member| member.isolation = Isolation::Reserved);
            self.kept = true;
        }
    }

    /// Lets a member take tasks again if the task that it was kept free for is gone.
    pub(super) fn release_kept(&mut self) {
        if std::mem::take(&mut self.kept) {
            self.change_all(|member| {
                let is_free = match member.isolation {
                    Isolation::None => false,
                    Isolation::Reserved => true,
                    Isolation::Suspect => member.in_flight.is_empty(),
                };
                if is_free {
                    member.isolation = Isolation::None;
                }
                is_free
            });
        }
    }

    /// The revocation for an idle worker: the worker that gives tasks back, and the tasks.
    pub(super) fn steal(&mut self, now: Tick) -> Option<(WorkerRef, Vec<Seq>)> {
        if self.idle == 0 || self.ahead == 0 {
            return None;
        }
        let backlogs = self.list.iter().enumerate();
        let backlogs = backlogs.filter_map(|(at, member)| Some((at, member.as_ref()?.backlog(now))));
        let (victim, count) = placement::steal(backlogs)?;
        self.change(victim, |member| {
            member.revoking = Revoking::Part;
            (member.worker, member.last_ahead(count))
        })
    }

    /// The workers whose window has waited too long, each with the tasks to revoke.
    pub(super) fn stalled(&mut self, now: Tick) -> Vec<(WorkerRef, Vec<Seq>)> {
        let mut stalled = Vec::new();
        if self.ahead > 0 {
            self.change_all(|member| {
                let now_stalled = member.stalls_at().is_some_and(|at| at <= now);
                if now_stalled {
                    (member.stalled, member.revoking) = (true, member.revoking.all());
                    stalled.push((member.worker, member.last_ahead(usize::MAX)));
                }
                now_stalled
            });
        }
        stalled
    }

    /// The time at which the next window has waited too long.
    pub(super) fn next_stall(&self) -> Option<Tick> {
        if self.ahead == 0 { None } else { self.iter().filter_map(WorkerSlots::stalls_at).min() }
    }

    /// The worker to drain: an idle one, otherwise the least loaded; of several, the one with the highest index.
    pub(super) fn expendable(&self) -> Option<WorkerRef> {
        let order = |member: &&WorkerSlots| {
            let busy = member.in_flight.len() + member.reserved;
            (member.recycling.is_some(), busy, std::cmp::Reverse(member.worker.id.index))
        };
        self.iter().min_by_key(order).map(|member| member.worker)
    }
}
