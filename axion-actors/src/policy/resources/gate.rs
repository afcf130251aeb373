//! The gate: the lines of waiting tasks, and the capacity in use.

mod blocked;
mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use slotmap::SlotMap;

use self::blocked::Watch;
use super::demand::Demand;
use super::line::{LineKey, Ordered, Rank};
use super::rate::Bucket;
use super::waiters::{CapacityWaiters, ConcurrencyWaiters, KeyReservations, RateWaiters, WakeCondition};
use crate::model::{Capacity, Concurrency, Limits, PoolKind, Priority, Rate, Shortfall, Tick};

/// How many later tasks may start before a task that cannot, until resources are reserved for it.
pub const MAX_OVERTAKES: u64 = 32;

/// What a started task uses. Give it [back](Gate::give_back) when the task ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "its resources stay in use until it is given back"]
pub struct Permit {
    demand: Demand,
    key: Option<Arc<str>>,
    /// The arrival of the task that holds it.
    arrival: u64,
}

/// A waiting task's place in the gate, by which it can [leave](Gate::leave).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateWaiter {
    line: LineKey,
    arrival: u64,
}

/// What all tasks of a line have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Class {
    priority: Priority,
    demand: Demand,
    concurrency: Option<Concurrency>,
    rate: Option<Rate>,
}

impl Class {
    fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.concurrency.iter().map(|it| &it.key).chain(self.rate.iter().map(|it| &it.key))
    }
}

/// Where a line is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parked {
    /// Nowhere yet: its head is new.
    Unprobed,
    /// By its rate.
    ByRate,
    /// By its concurrency key.
    ByConcurrency,
    /// By its demand: capacity is short, or reserved for others.
    ByCapacity,
}

#[derive(Debug)]
struct Line<T> {
    class: Arc<Class>,
    /// The waiting tasks, by arrival.
    waiting: BTreeMap<u64, T>,
    /// The rank of its head.
    rank: Rank,
    parked: Parked,
    /// The gate's number of starts when a probe first found that the head cannot start.
    since: Option<u64>,
}

impl<T> Line<T> {
    fn is_starved(&self, starts: u64) -> bool {
        self.since.is_some_and(|since| since.saturating_add(MAX_OVERTAKES) <= starts)
    }
}

/// Why the head of a line cannot start now.
enum WaitReason {
    /// Its rate allows no start before this tick.
    RateLimited(Tick),
    /// Its concurrency key is at its limit.
    AtConcurrencyLimit,
    /// Capacity that it needs is in use.
    InsufficientCapacity,
    /// What it needs is free, but reserved for a line before it.
    Reserved,
}

/// Starts waiting tasks whose limits allow it. `T` names a task.
#[derive(Debug)]
pub struct Gate<T> {
    capacity: Capacity,
    free: Demand,
    /// The kinds of capacity without a limit: no line waits for them.
    unlimited: [bool; Demand::KINDS],
    lines: SlotMap<LineKey, Line<T>>,
    by_class: FxHashMap<Arc<Class>, LineKey>,
    /// Lines with new heads, which have not been probed.
    unprobed: Ordered,
    rate_waiters: RateWaiters,
    concurrency_waiters: ConcurrencyWaiters,
    capacity_waiters: CapacityWaiters,
    /// Conditions that may have changed since lines were parked under them.
    opened: FxHashSet<WakeCondition>,
    /// Lines that wait and are not starved yet, by the number of starts when they began to wait.
    overtake_deadlines: BTreeMap<(u64, Rank), LineKey>,
    reservations: KeyReservations,
    /// The number of waiting tasks.
    waiting: usize,
    /// Running tasks by concurrency key.
    running: FxHashMap<Arc<str>, u32>,
    buckets: FxHashMap<Arc<str>, Bucket>,
    /// When there are this many buckets, full ones are dropped (L9).
    buckets_at: usize,
    arrivals: u64,
    starts: u64,
    passes: u64,
    /// What the reasons of waits need, while somebody listens.
    watch: Option<Watch<T>>,
    /// The number of probes, for tests.
    #[cfg(test)]
    pub(super) probes: u64,
}

impl<T: Clone> Gate<T> {
    /// A gate with this capacity and no waiting task.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        let free = Demand::all(&capacity);
        Self {
            capacity,
            free,
            unlimited: free.0.map(|all| all == u64::MAX),
            lines: SlotMap::with_key(),
            by_class: FxHashMap::default(),
            unprobed: Ordered::new(),
            rate_waiters: RateWaiters::default(),
            concurrency_waiters: ConcurrencyWaiters::default(),
            capacity_waiters: CapacityWaiters::default(),
            opened: FxHashSet::default(),
            overtake_deadlines: BTreeMap::new(),
            reservations: KeyReservations::default(),
            waiting: 0,
            running: FxHashMap::default(),
            buckets: FxHashMap::default(),
            buckets_at: 64,
            arrivals: 0,
            starts: 0,
            passes: 0,
            watch: None,
            #[cfg(test)]
            probes: 0,
        }
    }

    /// Adds a task for a pool of this kind to its line. [`open`](Self::open) returns it when it may start.
    ///
    /// # Errors
    /// Returns the task and what is missing if its needs exceed the capacity.
    pub fn wait(
        &mut self,
        what: T,
        kind: PoolKind,
        priority: Priority,
        limits: &Limits,
    ) -> Result<GateWaiter, (T, Shortfall)> {
        if let Some(shortfall) = super::shortfall(&self.capacity, kind, &limits.needs) {
            return Err((what, shortfall));
        }
        let demand = Demand::of(&self.capacity, kind, &limits.needs);
        let (concurrency, rate) = (limits.concurrency.clone(), limits.rate.clone());
        let class = Class { priority, demand, concurrency, rate };
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.waiting += 1;
        if let Some(&line) = self.by_class.get(&class) {
            self.lines[line].waiting.insert(arrival, what);
            self.note_behind(line, arrival);
            return Ok(GateWaiter { line, arrival });
        }
        let (class, rank) = (Arc::new(class), (priority, arrival));
        let waiting = [(arrival, what)].into();
        let line =
            self.lines.insert(Line { class: class.clone(), waiting, rank, parked: Parked::Unprobed, since: None });
        self.by_class.insert(class, line);
        self.unprobed.insert(rank, line);
        Ok(GateWaiter { line, arrival })
    }

    /// Removes and returns all tasks that may start now, in order. Give each permit [back](Self::give_back) when its
    /// task has ended.
    pub fn open(&mut self, now: Tick) -> Vec<(T, Permit)> {
        let mut started = Vec::new();
        while let Some(rate) = self.rate_waiters.pop_due(now) {
            self.opened.insert(WakeCondition::Rate(rate));
        }
        while self.run_pass(now, &mut started) {}
        // Starts of other lines with the same key may have postponed the rate.
        while let Some((at, rate)) = self.rate_waiters.first() {
            let (allowed, rate) = (self.allowed(rate), rate.clone());
            if allowed <= at {
                break;
            }
            self.rate_waiters.postpone(&rate, allowed);
        }
        started
    }

    fn allowed(&self, rate: &Rate) -> Tick {
        self.buckets.get(&rate.key).copied().unwrap_or_default().allowed(rate)
    }

    fn has_room(&self, limit: &Concurrency) -> bool {
        self.running.get(&limit.key).copied().unwrap_or(0) < limit.max.max(1)
    }

    /// Why the head of a line cannot start while these kinds are reserved for the lines before it; `None` if it can.
    fn probe(&mut self, line: LineKey, reserved_kinds: [bool; Demand::KINDS], now: Tick) -> Option<WaitReason> {
        #[cfg(test)]
        {
            self.probes += 1;
        }
        let Line { class, rank, .. } = &self.lines[line];
        let (class, rank) = (class.clone(), *rank);
        if let Some(allowed) = class.rate.as_ref().map(|rate| self.allowed(rate)).filter(|allowed| *allowed > now) {
            return Some(WaitReason::RateLimited(allowed));
        }
        if class.concurrency.as_ref().is_some_and(|limit| !self.has_room(limit)) {
            return Some(WaitReason::AtConcurrencyLimit);
        }
        if !class.demand.fits(&self.free)
            || class.demand.0.iter().zip(reserved_kinds).any(|(need, reserved_kinds)| reserved_kinds && *need > 0)
        {
            return Some(WaitReason::InsufficientCapacity);
        }
        if class.keys().any(|key| self.is_reserved(key, rank, now)) {
            return Some(WaitReason::Reserved);
        }
        None
    }

    /// Whether a starved line before this rank reserves a key.
    fn is_reserved(&mut self, key: &str, rank: Rank, now: Tick) -> bool {
        while let Some((_, line)) = self.reservations.first(key, rank) {
            let allowed = self.lines[line].class.rate.as_ref().map(|rate| self.allowed(rate));
            // A more urgent start may have postponed its rate: then it reserves nothing.
            let Some(at) = allowed.filter(|allowed| *allowed > now) else { return true };
            self.park_by_rate(line, at);
        }
        false
    }

    /// Reserves the limited kinds of capacity that a line needs.
    fn reserve(&self, line: LineKey, reserved_kinds: &mut [bool; Demand::KINDS]) {
        for ((reserved_kinds, need), unlimited) in
            reserved_kinds.iter_mut().zip(self.lines[line].class.demand.0).zip(self.unlimited)
        {
            *reserved_kinds |= need > 0 && !unlimited;
        }
    }

    /// Parks a line under its rate. It reserves nothing.
    fn park_by_rate(&mut self, line: LineKey, at: Tick) {
        self.detach(line);
        let Line { class, rank, parked, .. } = &mut self.lines[line];
        if let Some(rate) = &class.rate {
            *parked = Parked::ByRate;
            self.rate_waiters.insert(rate, at, *rank, line);
        }
    }

    /// Parks a line under its key or its demand. Returns whether it is starved.
    fn park(&mut self, line: LineKey, parked: Parked) -> bool {
        if self.lines[line].parked != parked {
            self.detach(line);
            let Line { class, rank, parked: own, .. } = &mut self.lines[line];
            *own = parked;
            match &class.concurrency {
                Some(limit) if parked == Parked::ByConcurrency => self.concurrency_waiters.insert(limit, *rank, line),
                _ => self.capacity_waiters.insert(class.demand, *rank, line, self.passes),
            }
            if self.lines[line].is_starved(self.starts) {
                self.mark_starved(line);
            }
        }
        let Line { rank, since, .. } = &mut self.lines[line];
        if since.is_none() {
            *since = Some(self.starts);
            self.overtake_deadlines.insert((self.starts, *rank), line);
        }
        self.lines[line].is_starved(self.starts)
    }

    /// Reserves the keys of a starved line, and its capacity if it waits for capacity. Returns whether it does.
    fn mark_starved(&mut self, line: LineKey) -> bool {
        let Some(Line { class, rank, parked, .. }) = self.lines.get(line) else { return false };
        if matches!(parked, Parked::ByConcurrency | Parked::ByCapacity) {
            for key in class.keys() {
                self.reservations.insert(key, *rank, line);
            }
        }
        if *parked == Parked::ByCapacity {
            self.capacity_waiters.reserve(class.demand, *rank, line);
        }
        *parked == Parked::ByCapacity
    }

    /// Takes a line from where it is parked.
    fn detach(&mut self, line: LineKey) {
        let starts = self.starts;
        let Line { class, rank, parked, .. } = &self.lines[line];
        match (parked, &class.rate, &class.concurrency) {
            (Parked::ByRate, Some(rate), _) => self.rate_waiters.remove(rate, *rank),
            (Parked::ByConcurrency, _, Some(limit)) => self.concurrency_waiters.remove(limit, *rank),
            (Parked::ByCapacity, ..) => self.capacity_waiters.remove(class.demand, *rank),
            _ => {
                self.unprobed.remove(rank);
            }
        }
        if self.lines[line].is_starved(starts) {
            for key in class.keys() {
                self.reservations.remove(key, *rank, line);
            }
        }
    }

    /// Makes the next task of a line its head, or removes the empty line.
    fn replace_head(&mut self, line: LineKey) {
        self.detach(line);
        let head = &mut self.lines[line];
        if let Some(since) = head.since.take() {
            self.overtake_deadlines.remove(&(since, head.rank));
        }
        if let Some((arrival, _)) = head.waiting.first_key_value() {
            head.rank.1 = *arrival;
            head.parked = Parked::Unprobed;
            self.unprobed.insert(head.rank, line);
        } else if let Some(gone) = self.lines.remove(line) {
            self.by_class.remove(&gone.class);
        }
    }

    /// Starts the head of a line. Returns whether that makes a line starved that waits for capacity.
    fn start(&mut self, line: LineKey, now: Tick, started: &mut Vec<(T, Permit)>) -> bool {
        let class = self.lines[line].class.clone();
        let Some((arrival, what)) = self.lines[line].waiting.pop_first() else { return false };
        self.waiting -= 1;
        self.replace_head(line);
        for ((free, need), unlimited) in self.free.0.iter_mut().zip(class.demand.0).zip(self.unlimited) {
            *free -= if unlimited { 0 } else { need };
        }
        let key = class.concurrency.as_ref().map(|limit| limit.key.clone());
        if let Some(key) = &key {
            *self.running.entry(key.clone()).or_default() += 1;
        }
        if let Some(rate) = &class.rate {
            if self.buckets.len() >= self.buckets_at {
                self.buckets.retain(|_, bucket| !bucket.is_full(now));
                self.buckets_at = (2 * self.buckets.len()).max(64);
            }
            self.buckets.entry(rate.key.clone()).or_default().take(rate, now);
        }
        let permit = Permit { demand: class.demand, key, arrival };
        if let Some(watch) = &mut self.watch {
            watch.add_holder(&what, &permit);
        }
        started.push((what, permit));
        self.starts += 1;
        let mut became_starved = false;
        while let Some(entry) = self.overtake_deadlines.first_entry() {
            if entry.key().0.saturating_add(MAX_OVERTAKES) > self.starts {
                break;
            }
            let line = entry.remove();
            became_starved |= self.mark_starved(line);
        }
        became_starved
    }

    /// Frees what an ended task used. Call [`open`](Self::open) next.
    pub fn give_back(&mut self, permit: Permit) {
        for ((free, need), unlimited) in self.free.0.iter_mut().zip(permit.demand.0).zip(self.unlimited) {
            *free += if unlimited { 0 } else { need };
        }
        if let Some(watch) = &mut self.watch {
            watch.remove_holder(&permit);
        }
        let Some(key) = permit.key else { return };
        let Some(count) = self.running.get_mut(&key) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            self.running.remove(&key);
        }
        let open = self.concurrency_waiters.maxima(&key).filter(|max| count < (*max).max(1));
        self.opened.extend(open.map(|max| WakeCondition::Concurrency(Concurrency { key: key.clone(), max })));
    }

    /// Removes a waiting task, for example a cancelled one; `None` if it has started. Call [`open`](Self::open) next:
    /// other tasks may have waited behind it.
    pub fn leave(&mut self, rank: GateWaiter) -> Option<T> {
        let line = self.lines.get_mut(rank.line)?;
        let what = line.waiting.remove(&rank.arrival)?;
        self.waiting -= 1;
        if line.rank.1 == rank.arrival {
            self.replace_head(rank.line);
        }
        Some(what)
    }

    /// Removes and returns all waiting tasks for which `unwanted` is true. It visits every waiting task.
    pub fn remove(&mut self, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        let mut headless = Vec::new();
        for (key, line) in &mut self.lines {
            let gone = line.waiting.extract_if(.., |_, what| unwanted(what));
            let before = removed.len();
            removed.extend(gone.map(|(arrival, what)| ((line.class.priority, arrival), what)));
            if removed[before..].first().is_some_and(|(rank, _)| *rank == line.rank) {
                headless.push(key);
            }
        }
        for line in headless {
            self.replace_head(line);
        }
        self.waiting -= removed.len();
        removed.sort_unstable_by_key(|(rank, _)| *rank);
        removed.into_iter().map(|(_, what)| what).collect()
    }

    /// When a rate next allows a waiting task to start. Call [`open`](Self::open) then.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.rate_waiters.first().map(|(at, _)| at)
    }

    /// The number of waiting tasks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether no task waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether nothing is in use, for tests.
    #[cfg(test)]
    pub(in crate::policy) fn is_whole(&self) -> bool {
        let names_nobody = self.watch.as_ref().is_none_or(Watch::is_empty);
        self.free == Demand::all(&self.capacity) && self.running.is_empty() && names_nobody
    }

    /// Whether nothing is left of removed lines, for tests (L9).
    #[cfg(test)]
    pub(super) fn assert_empty(&self) {
        assert!(self.lines.is_empty() && self.by_class.is_empty() && self.unprobed.is_empty());
        assert!(
            self.rate_waiters.is_empty() && self.concurrency_waiters.is_empty() && self.capacity_waiters.is_empty()
        );
        assert!(self.opened.is_empty() && self.overtake_deadlines.is_empty() && self.reservations.is_empty());
        assert!(self.buckets.len() <= self.buckets_at);
    }
}
