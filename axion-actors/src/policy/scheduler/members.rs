//! The workers of a pool that take tasks: who has room, whose slots are claimed, who gives back.

use super::member::{AHEAD_NANOS, Lane, Member, Revoking};
use super::protocol::RunTask;
use crate::model::{PoolKind, Seq, Tick, WorkerRef};
use crate::policy::placement;

/// Slots of one worker that are kept idle for a task that runs elsewhere, or in another slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The worker's place. A claim outlives a worker that dies, and holds for its successor.
    pub(super) index: usize,
    /// How many slots.
    pub(super) slots: usize,
}

/// What of a member goes into the sums of its pool.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    free: [bool; 2],
    ahead: bool,
    idle: bool,
}

/// The workers of a pool that take tasks, and sums over them, so that what is asked for every task does
/// not look at every worker.
#[derive(Debug)]
pub(super) struct Members {
    kind: PoolKind,
    /// By worker index; `None` while the slot has no worker that takes tasks.
    list: Vec<Option<Member>>,
    /// By worker index; infinite for one that takes nothing.
    scores: Vec<f32>,
    shares: Vec<Share>,
    /// By worker index, also where there is no worker: its slots that are claimed.
    claims: Vec<usize>,
    count: usize,
    /// Members with a free place, by lane.
    free: [usize; 2],
    /// Members that have been sent tasks ahead.
    ahead: usize,
    /// Members that have nothing to do.
    idle: usize,
    /// One may be kept free for a task that has to run alone.
    kept: bool,
    /// Whose outboxes hold something.
    posting: Vec<usize>,
}

impl Members {
    pub(super) fn new(kind: PoolKind) -> Self {
        Self {
            kind,
            list: Vec::new(),
            scores: Vec::new(),
            shares: Vec::new(),
            claims: Vec::new(),
            count: 0,
            free: [0; 2],
            ahead: 0,
            idle: 0,
            kept: false,
            posting: Vec::new(),
        }
    }

    /// This very worker, if it is here.
    pub(super) fn get(&self, worker: WorkerRef) -> Option<&Member> {
        let member = self.list.get(worker.id.index as usize)?.as_ref();
        member.filter(|member| member.worker == worker)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter().flatten()
    }

    pub(super) fn insert(&mut self, mut member: Member) -> Option<Member> {
        let index = member.worker.id.index as usize;
        if self.list.len() <= index {
            self.list.resize_with(index + 1, || None);
            self.scores.resize(index + 1, f32::INFINITY);
            self.shares.resize(index + 1, Share::default());
            self.claims.resize(index + 1, 0);
        }
        member.claimed = self.claims[index];
        let predecessor = self.list[index].replace(member);
        self.count += usize::from(predecessor.is_none());
        self.refresh(index);
        predecessor
    }

    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<Member> {
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

    /// The sums are those of the members.
    #[cfg(test)]
    pub(super) fn assert_sums(&self) {
        let count = |is: fn(&Member) -> bool| self.iter().filter(|member| is(member)).count();
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
            assert_eq!(running, member.as_ref().map_or(0, Member::running));
        }
        for member in self.iter() {
            assert_eq!(member.claimed, self.claims[member.worker.id.index as usize]);
            assert!(member.claimed == 0 || member.ahead() == 0, "nothing may start in claimed slots");
        }
    }

    /// Changes a member, and the sums with it.
    pub(super) fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let changed = change(self.list.get_mut(index)?.as_mut()?);
        self.refresh(index);
        Some(changed)
    }

    /// Gives a member something to send.
    pub(super) fn send(&mut self, index: usize, dispatch: impl FnOnce(&mut Member)) {
        self.change(index, dispatch);
        self.posting.push(index);
    }

    /// What is to be sent, by worker.
    pub(super) fn take_outboxes(&mut self) -> Vec<(WorkerRef, Vec<RunTask>)> {
        let mut outboxes = Vec::with_capacity(self.posting.len().min(self.count));
        for index in self.posting.drain(..) {
            if let Some(member) = self.list[index].as_mut().filter(|member| !member.outbox.is_empty()) {
                outboxes.push((member.worker, std::mem::take(&mut member.outbox)));
            }
        }
        outboxes
    }

    /// Changes every member for which `change` says so.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut Member) -> bool) {
        for index in 0..self.list.len() {
            if self.list[index].as_mut().is_some_and(&mut change) {
                self.refresh(index);
            }
        }
    }

    /// The worker with room that is the least loaded; ties go to the lowest index.
    pub(super) fn choose(&self, lane: Lane, estimate: u64, bytes: usize, now: Tick) -> Option<usize> {
        if self.free[lane as usize] == 0 && (lane == Lane::Coroutine || estimate > AHEAD_NANOS) {
            return None;
        }
        let has_room =
            |index: usize| self.list[index].as_ref().is_some_and(|member| member.has_room(lane, estimate, bytes, now));
        let first = placement::least(&self.scores)?;
        if has_room(first) {
            return Some(first);
        }
        // The least loaded one has no room for this very task; another one may.
        let with_room = (0..self.list.len()).filter(|index| has_room(*index));
        with_room.min_by(|one, other| self.scores[*one].total_cmp(&self.scores[*other]))
    }

    /// Whether somebody has a free place.
    pub(super) fn has_free(&self, lane: Lane) -> bool {
        self.free[lane as usize] > 0
    }

    /// All slots of the members.
    pub(super) fn slots(&self) -> usize {
        self.iter().map(|member| member.capacity.slots).sum()
    }

    /// The most slots that one of the members has.
    pub(super) fn slots_each(&self) -> usize {
        self.iter().map(|member| member.capacity.slots).max().unwrap_or(0)
    }

    /// Where a task that takes so many slots runs, and the slots that it claims beside its own, in as few
    /// workers as possible. `alone`: nothing else runs in its own worker.
    pub(super) fn reserve(&self, slots: usize, alone: bool) -> Option<(usize, Vec<Claim>)> {
        let offers = self.list.iter().enumerate().filter_map(|(at, member)| Some((member.as_ref()?.free_slots(), at)));
        let mut offers: Vec<(usize, usize)> = offers.filter(|(free, _)| *free > 0).collect();
        if alone {
            let empty = self.first_empty()?;
            // It may be kept free for this very task.
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
        let (mut left, mut claims) = (slots, Vec::new());
        for (free, index) in offers {
            let taken = free.min(left);
            left -= taken;
            let claimed = taken - usize::from(index == home);
            if claimed > 0 {
                claims.push(Claim { index, slots: claimed });
            }
        }
        Some((home, claims))
    }

    /// Keeps slots idle.
    pub(super) fn claim(&mut self, claims: &[Claim]) {
        self.change_claims(claims, |claimed, slots| claimed + slots);
    }

    /// Gives slots back to those that come.
    pub(super) fn unclaim(&mut self, claims: &[Claim]) {
        self.change_claims(claims, usize::saturating_sub);
    }

    fn change_claims(&mut self, claims: &[Claim], change: fn(usize, usize) -> usize) {
        for Claim { index, slots } in claims {
            let claimed = change(self.claims[*index], *slots);
            self.claims[*index] = claimed;
            self.change(*index, |member| member.claimed = claimed);
        }
    }

    /// The first member without a task, whether or not it is kept free.
    pub(super) fn first_empty(&self) -> Option<usize> {
        let is_empty =
            |member: &Member| !member.condemned && member.in_flight.is_empty() && member.places(Lane::Slot) > 0;
        self.list.iter().position(|member| member.as_ref().is_some_and(is_empty))
    }

    /// Sends a member a task that has to run alone.
    pub(super) fn send_alone(&mut self, index: usize, dispatch: impl FnOnce(&mut Member)) {
        self.send(index, |member| {
            (member.alone, member.suspect) = (true, true);
            dispatch(member);
        });
        self.kept = true;
    }

    /// Keeps one member from taking more, the one that will be empty first, unless one is kept already. Where
    /// a worker runs many tasks at a time, suspects get half of the workers at most, one at least: what they
    /// would keep idle is left to the others. A worker with one slot they take from nobody.
    pub(super) fn keep_one_free(&mut self) {
        let usable = || self.iter().filter(|member| !member.condemned && member.places(Lane::Slot) > 0);
        if usable().any(|member| member.alone && !member.suspect) {
            return;
        }
        let (count, trying) = (usable().count(), usable().filter(|member| member.alone).count());
        let others = usable().filter(|member| !member.alone);
        let most = if self.slots_each() > 1 { (count / 2).max(1) } else { count };
        let first = others.min_by_key(|member| member.in_flight.len()).filter(|_| trying < most);
        if let Some(first) = first.map(|member| member.worker) {
            self.change(first.id.index as usize, |member| member.alone = true);
            self.kept = true;
        }
    }

    /// A member that was kept free for a task that is gone takes tasks again.
    pub(super) fn release_kept(&mut self) {
        if std::mem::take(&mut self.kept) {
            self.change_all(|member| {
                (!member.suspect || member.in_flight.is_empty()) && std::mem::take(&mut member.alone)
            });
        }
    }

    /// Which worker gives what back, because another one has nothing to do.
    pub(super) fn steal(&mut self, now: Tick) -> Option<(WorkerRef, Vec<Seq>)> {
        if self.idle == 0 || self.ahead == 0 {
            return None;
        }
        let hoards = self.list.iter().enumerate();
        let hoards = hoards.filter_map(|(at, member)| Some((at, member.as_ref()?.hoard(now))));
        let (victim, count) = placement::steal(hoards)?;
        self.change(victim, |member| {
            member.revoking = Revoking::Part;
            (member.worker, member.last_ahead(count))
        })
    }

    /// Workers in which what was sent ahead has waited too long, each with what it is to give back.
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

    /// When the next one stalls.
    pub(super) fn next_stall(&self) -> Option<Tick> {
        if self.ahead == 0 { None } else { self.iter().filter_map(Member::stalls_at).min() }
    }

    /// Which worker the pool can do without: one that is idle, else the least loaded; of several the one
    /// with the highest index.
    pub(super) fn expendable(&self) -> Option<WorkerRef> {
        let order = |member: &&Member| {
            let busy = member.in_flight.len() + member.claimed;
            (member.recycling, busy, std::cmp::Reverse(member.worker.id.index))
        };
        self.iter().min_by_key(order).map(|member| member.worker)
    }
}
