//! The workers of a pool as the scheduler sees them, and who has room for a task.

use std::collections::VecDeque;
use std::time::Duration;

use super::protocol::{Capacity, PoolRules, RunTask, TimeLimits, WorkerView};
use crate::model::{KillReason, PoolKind, Priority, Seq, Task, TaskError, Tick, WorkerRef};
use crate::policy::placement::{self, Hoard, WorkerLoad};
use crate::policy::resources::PATIENCE;
use crate::policy::run_queue::RunQueue;
use crate::policy::task_table::{TaskKey, TaskTable};
use crate::policy::timers::{TimerId, Timers};

/// The work that may be in a worker, per slot, when another task is sent ahead.
pub const AHEAD: Duration = Duration::from_millis(2);
/// How long a task sent ahead waits behind another one before it is taken back.
pub const STALL: Duration = Duration::from_millis(20);
/// The most tasks sent ahead of those that run.
const AHEAD_TASKS: usize = 128;
/// The most parameter bytes in a worker when another task is sent ahead: what a pipe holds, so that
/// sending never waits.
const AHEAD_BYTES: usize = 48 << 10;

/// How a task runs in its worker: what it takes a place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// One of the slots: a thread, or the whole of a one-slot worker.
    Slot,
    /// The event loop. Nothing is sent ahead on this lane: a coroutine starts as soon as it is read.
    Coroutine,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: Seq,
    pub(super) key: TaskKey,
    pub(super) bytes: usize,
    /// Expected nanoseconds; more than a window's worth when unknown.
    pub(super) estimate: u64,
    pub(super) lane: Lane,
    /// Since when it has had a place in its lane, so it runs or is about to.
    pub(super) since: Option<Tick>,
    pub(super) soft: Option<TimerId>,
    pub(super) hard: Option<TimerId>,
    pub(super) grace: Option<TimerId>,
    /// It is to be killed.
    pub(super) kill: Option<KillReason>,
}

impl InFlight {
    pub(super) fn started(&self) -> bool {
        self.since.is_some()
    }

    /// Nanoseconds from its start, as far as that is known here: one that was sent ahead may have begun unseen.
    pub(super) fn ran(&self, now: Tick) -> u64 {
        self.since.map_or(0, |since| now.0.saturating_sub(since.0))
    }

    pub(super) fn stop_timers(&self, timers: &mut Timers<Due>) {
        for timer in [self.soft, self.hard, self.grace].into_iter().flatten() {
            timers.stop(timer);
        }
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Soft(WorkerRef, Seq),
    Hard(WorkerRef, Seq),
    Grace(WorkerRef, Seq),
    /// A wait before a start is over: a retry's, or the one that the task asked for.
    Start(TaskKey),
    Expiry(TaskKey),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) worker: WorkerRef,
    capacity: Capacity,
    pub(super) next: Seq,
    pub(super) in_flight: VecDeque<InFlight>,
    /// How many of `in_flight` have started, by lane; the others were sent ahead.
    running: [usize; 2],
    /// Sums over `in_flight`.
    pub(super) load: u64,
    pub(super) bytes: usize,
    /// When a task last left a slot, or came while none was taken: since then, what was sent ahead has waited
    /// behind the same tasks.
    pub(super) front_since: Tick,
    /// The front turned out long: nothing is sent ahead until it ended.
    pub(super) stalled: bool,
    /// Some of what was sent ahead has been asked back, and the answer is not there.
    pub(super) revoking: bool,
    /// It gave nothing back when it was asked: what it has, it has begun. It is not asked again until one of
    /// its slots was free (L10).
    pub(super) refusing: bool,
    /// It takes nothing more: one of its attempts is being killed.
    pub(super) condemned: bool,
    /// It takes nothing more until it is empty: what it runs, or will run next, runs alone.
    pub(super) alone: bool,
    /// What runs alone in it is a suspect; else it is only kept from taking more, for one.
    suspect: bool,
    /// Attempts it has ended.
    pub(super) ended: u64,
    /// Slots that are kept idle for tasks that need several.
    claimed: usize,
    /// Its replacement has been asked for.
    pub(super) recycling: bool,
    /// How busy its process was when it was last measured, in cores.
    pub(super) cpu: f32,
    pub(super) outbox: Vec<RunTask>,
}

pub(super) const AHEAD_NANOS: u64 = AHEAD.as_nanos() as u64;
pub(super) const UNKNOWN: u64 = AHEAD_NANOS + 1;

impl Member {
    pub(super) fn new(worker: WorkerRef, capacity: Capacity, now: Tick) -> Self {
        Self {
            worker,
            capacity,
            next: Seq::FIRST,
            in_flight: VecDeque::new(),
            running: [0; 2],
            load: 0,
            bytes: 0,
            front_since: now,
            stalled: false,
            revoking: false,
            refusing: false,
            condemned: false,
            alone: false,
            suspect: false,
            ended: 0,
            claimed: 0,
            recycling: false,
            cpu: 0.0,
            outbox: Vec::new(),
        }
    }

    fn places(&self, lane: Lane) -> usize {
        match lane {
            Lane::Slot => self.capacity.slots.saturating_sub(self.claimed),
            Lane::Coroutine => self.capacity.coroutines,
        }
    }

    fn takes(&self) -> bool {
        !self.condemned && !self.alone
    }

    /// Whether it has anything to offer at all.
    fn may_take(&self) -> bool {
        self.takes() && (self.claimed == 0 || self.places(Lane::Slot) + self.capacity.coroutines > 0)
    }

    fn score(&self, kind: PoolKind) -> f32 {
        placement::score(kind, self.load())
    }

    /// Whether it could do something.
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.claimed == 0
    }

    pub(super) fn running(&self) -> usize {
        self.running[0] + self.running[1]
    }

    /// How many were sent ahead of those that run.
    pub(super) fn ahead(&self) -> usize {
        self.in_flight.len() - self.running()
    }

    pub(super) fn has_free_place(&self, lane: Lane) -> bool {
        self.takes() && self.has_place(lane)
    }

    /// Slots that a task may claim. Behind what was sent ahead there are none.
    fn free_slots(&self) -> usize {
        if self.takes() && self.ahead() == 0 {
            self.places(Lane::Slot).saturating_sub(self.running[Lane::Slot as usize])
        } else {
            0
        }
    }

    pub(super) fn has_room(&self, lane: Lane, estimate: u64, bytes: usize, now: Tick) -> bool {
        self.has_free_place(lane)
            || (lane == Lane::Slot
                && self.takes()
                && !self.stalled
                // The process knows nothing of claims: what is sent ahead there would start in them.
                && self.claimed == 0
                && now < self.front_since.after(STALL)
                && estimate <= AHEAD_NANOS
                && self.ahead() < AHEAD_TASKS
                && self.load + estimate <= AHEAD_NANOS * self.capacity.slots as u64
                && self.bytes + bytes <= AHEAD_BYTES)
    }

    pub(super) fn push(&mut self, task: InFlight, now: Tick) {
        if task.lane == Lane::Slot && self.running[Lane::Slot as usize] == 0 {
            self.front_since = now;
        }
        self.load += task.estimate;
        self.bytes += task.bytes;
        self.in_flight.push_back(task);
    }

    pub(super) fn position(&self, seq: Seq) -> Option<usize> {
        // Mostly it is the first.
        if self.in_flight.front().is_some_and(|task| task.seq == seq) {
            return Some(0);
        }
        self.in_flight.binary_search_by_key(&seq, |task| task.seq).ok()
    }

    pub(super) fn take(&mut self, seq: Seq) -> Option<InFlight> {
        let at = self.position(seq)?;
        let task = self.in_flight.remove(at)?;
        self.load -= task.estimate;
        self.bytes -= task.bytes;
        self.running[task.lane as usize] -= usize::from(task.started());
        if self.in_flight.is_empty() {
            (self.alone, self.suspect) = (false, false);
        }
        Some(task)
    }

    /// When tasks sent ahead will have waited too long.
    pub(super) fn stalls_at(&self) -> Option<Tick> {
        (!self.stalled && self.ahead() > 0).then(|| self.front_since.after(STALL))
    }

    /// Up to `count` of the tasks sent ahead, the last ones, in their order.
    pub(super) fn last_ahead(&self, count: usize) -> Vec<Seq> {
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        ahead.skip(self.ahead().saturating_sub(count)).map(|task| task.seq).collect()
    }

    fn hoard(&self, now: Tick) -> Hoard {
        if self.revoking || self.refusing {
            return Hoard { waiting: 0, nanos: 0 };
        }
        let ahead = self.in_flight.iter().filter(|task| !task.started());
        // The task in front may take longer than was expected of it.
        let waited = u64::try_from(now.since(self.front_since).as_nanos()).unwrap_or(u64::MAX);
        Hoard { waiting: self.ahead(), nanos: ahead.map(|task| task.estimate).sum::<u64>().max(waited) }
    }

    /// What its process does.
    pub(super) fn load(&self) -> WorkerLoad {
        WorkerLoad { running: self.running(), queued: self.ahead(), cpu: self.cpu }
    }

    pub(super) fn view(&self, leaving: bool) -> WorkerView {
        WorkerView { worker: self.worker, load: self.load(), claimed: self.claimed, leaving, ended: self.ended }
    }

    /// Lets the tasks sent ahead come into the slots that are free, in their order. A coroutine has its place
    /// from the first, so all that waits here waits for a slot.
    pub(super) fn fill_places(&mut self, table: &TaskTable, timers: &mut Timers<Due>, limits: TimeLimits, now: Tick) {
        let mut at = 0;
        while self.ahead() > 0 && self.has_place(Lane::Slot) && at < self.in_flight.len() {
            if !self.in_flight[at].started() {
                self.start(at, table, timers, limits, now);
            }
            at += 1;
        }
    }

    fn has_place(&self, lane: Lane) -> bool {
        self.running[lane as usize] < self.places(lane)
    }

    /// A task has come into a place: its clocks start.
    fn start(&mut self, at: usize, table: &TaskTable, timers: &mut Timers<Due>, limits: TimeLimits, now: Tick) {
        let (worker, task) = (self.worker, &mut self.in_flight[at]);
        task.since = Some(now);
        self.running[task.lane as usize] += 1;
        let Some(known) = table.task(task.key) else { return };
        let limits = limits_of(known, limits);
        task.soft = limits.soft.map(|limit| timers.start(now.after(limit), Due::Soft(worker, task.seq)));
        task.hard = limits.hard.map(|limit| timers.start(now.after(limit), Due::Hard(worker, task.seq)));
    }

    /// A task of this lane has left: the next one starts. What was sent ahead waits for slots alone.
    pub(super) fn advance(
        &mut self,
        lane: Lane,
        table: &TaskTable,
        timers: &mut Timers<Due>,
        limits: TimeLimits,
        now: Tick,
    ) {
        if lane == Lane::Slot {
            (self.stalled, self.refusing) = (false, false);
            self.front_since = now;
        }
        self.ended += 1;
        self.fill_places(table, timers, limits, now);
    }
}

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
            member.revoking = true;
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
                    (member.stalled, member.revoking) = (true, true);
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

/// Tasks that need several slots, when they are the next of their pool. One whose slots are not free may be overtaken
/// [`PATIENCE`] times; from then on nothing that is not more urgent starts in the pool until it fits.
#[derive(Debug, Default)]
pub(super) struct Large {
    pub(super) queue: RunQueue,
    /// The first of them.
    pub(super) first: Option<First>,
}

/// The first of the tasks that need several slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) key: TaskKey,
    pub(super) priority: Priority,
    pub(super) slots: usize,
    /// How often, since it is the first.
    pub(super) overtaken: u64,
    /// The workers that are here have so many slots. While they have not, it gains nothing if others wait, and more
    /// workers are called for.
    pub(super) can_fit: bool,
}

impl First {
    /// Whether a task of this priority may be placed before this one.
    pub(super) fn lets_pass(&self, priority: Priority) -> bool {
        self.overtaken < PATIENCE || priority < self.priority || !self.can_fit
    }

    /// A task of this priority has been placed. One that is more urgent goes before it anyway.
    pub(super) fn is_overtaken_by(&mut self, priority: Priority) {
        self.overtaken += u64::from(priority >= self.priority);
    }
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) rules: PoolRules,
    pub(super) members: Members,
    /// Workers that have been replaced or are no longer needed: they take nothing more and end when
    /// they are empty.
    pub(super) leaving: Vec<Member>,
    /// Keys of tasks that were cancelled meanwhile may be among them.
    pub(super) queue: RunQueue,
    /// Tasks that have to run alone; they go first.
    pub(super) suspects: VecDeque<TaskKey>,
    /// Tasks that have passed the gate of their limits and need one slot; they go before the queue.
    pub(super) cleared: VecDeque<TaskKey>,
    /// Tasks that need several slots.
    pub(super) large: Large,
    /// So many workers were asked for, because a task waits that cannot run with fewer.
    pub(super) called: usize,
    /// Why no task of this pool can run at present.
    pub(super) unavailable: Option<TaskError>,
    /// Attempts that its workers have ended.
    pub(super) ended: u64,
}

impl Pool {
    pub(super) fn new(kind: PoolKind, rules: PoolRules) -> Self {
        Self {
            rules,
            members: Members::new(kind),
            leaving: Vec::new(),
            queue: RunQueue::default(),
            suspects: VecDeque::new(),
            cleared: VecDeque::new(),
            large: Large::default(),
            called: 0,
            unavailable: None,
            ended: 0,
        }
    }

    /// Whether nothing waits for a worker.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.suspects.is_empty() && self.cleared.is_empty() && self.large.queue.is_empty()
    }

    /// How many keys wait, with those of ended tasks.
    pub(super) fn keys(&self) -> usize {
        self.queue.len() + self.suspects.len() + self.cleared.len() + self.large.queue.len()
    }

    /// Drops the keys that `keep` does not want.
    pub(super) fn retain(&mut self, keep: impl Fn(TaskKey) -> bool) {
        self.queue.retain(&keep);
        self.large.queue.retain(&keep);
        self.suspects.retain(|key| keep(*key));
        self.cleared.retain(|key| keep(*key));
    }

    /// Takes everything that waits, the next one first.
    pub(super) fn drain(&mut self) -> Vec<TaskKey> {
        let first = std::mem::take(&mut self.suspects).into_iter().chain(std::mem::take(&mut self.cleared));
        let mut large = std::mem::take(&mut self.large).queue;
        first.chain(large.drain()).chain(self.queue.drain()).collect()
    }

    /// Only one task may run at a time, and a worker that has been replaced has not finished its last.
    pub(super) fn is_finishing(&self) -> bool {
        self.rules.one_at_a_time && self.leaving.iter().any(|member| !member.in_flight.is_empty())
    }

    /// Changes a worker, also one that is leaving; `None` if there is no such worker.
    pub(super) fn change<T>(&mut self, worker: WorkerRef, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let index = worker.id.index as usize;
        let is_present = self.members.list.get(index).and_then(Option::as_ref).is_some_and(|it| it.worker == worker);
        if is_present {
            return self.members.change(index, change);
        }
        self.leaving.iter_mut().find(|member| member.worker == worker).map(change)
    }

    /// A worker that is here or leaving.
    pub(super) fn member(&self, worker: WorkerRef) -> Option<&Member> {
        let present = self.members.list.get(worker.id.index as usize).and_then(Option::as_ref);
        present.into_iter().chain(&self.leaving).find(|member| member.worker == worker)
    }

    /// Takes a worker out that is gone.
    pub(super) fn remove(&mut self, worker: WorkerRef) -> Option<Member> {
        if let Some(at) = self.leaving.iter().position(|member| member.worker == worker) {
            return Some(self.leaving.swap_remove(at));
        }
        self.members.remove(worker)
    }
}

/// Puts a task into a worker's outbox.
pub(super) fn dispatch(
    table: &mut TaskTable,
    timers: &mut Timers<Due>,
    member: &mut Member,
    key: TaskKey,
    (lane, estimate): (Lane, u64),
    limits: TimeLimits,
    now: Tick,
) {
    let seq = member.next;
    let Some(attempt) = table.send(key, member.worker, seq, now) else { return };
    if let Some(timer) = table.take_expiry(key) {
        timers.stop(timer);
    }
    let Some(task) = table.task(key) else { return };
    member.next = seq.next();
    let (id, work, params) = (task.id(), task.work().clone(), task.params_bytes().clone());
    let (limit, bytes) = (limits_of(task, limits).hard, task.weight());
    let sent =
        InFlight { seq, key, bytes, estimate, lane, since: None, soft: None, hard: None, grace: None, kill: None };
    member.push(sent, now);
    member.outbox.push(RunTask { key, seq, attempt, id, work, params, limit });
    // Whoever was sent before it on a lane with a free place has one.
    if member.has_place(lane) {
        member.start(member.in_flight.len() - 1, table, timers, limits, now);
    }
}

pub(super) fn limits_of(task: &Task, defaults: TimeLimits) -> TimeLimits {
    let options = task.options();
    TimeLimits { hard: options.timeout.or(defaults.hard), soft: options.soft_timeout.or(defaults.soft) }
}
