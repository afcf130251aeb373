//! The gate: lines of what waits, and what is in use.

mod pass;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use slotmap::SlotMap;

use super::demand::Demand;
use super::rate::Bucket;
use super::waiters::{CapacityWaiters, ConcurrencyWaiters, KeyReservations, Ordered, RateWaiters, WakeCondition};
use crate::model::{Capacity, Concurrency, Limits, PoolKind, Priority, Rate, Shortfall, Tick};

/// How often others may overtake what does not fit.
pub const MAX_OVERTAKES: u64 = 32;

slotmap::new_key_type! {
    /// A line.
    pub(super) struct LineKey;
}

/// What went through the gate, to give back what it used.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what it used is in use until it is given back"]
pub struct Permit {
    demand: Demand,
    key: Option<Arc<str>>,
}

/// Where something waits, to [take it out](Gate::leave) again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateWaiter {
    line: LineKey,
    arrival: u64,
}

/// The order of all that wait: the more urgent first, and of those that are equally urgent the one that came first.
pub(super) type Rank = (Priority, u64);

/// What stands in one line has all of this in common.
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
    /// What waits, by its arrival.
    waiting: BTreeMap<u64, T>,
    /// The rank of its head.
    rank: Rank,
    parked: Parked,
    /// The number of starts when its head was first found to have to wait.
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

/// Lets through what fits. `T` is what waits.
#[derive(Debug)]
pub struct Gate<T> {
    capacity: Capacity,
    free: Demand,
    /// The kinds of which there is no end: nobody waits for them.
    unlimited: [bool; Demand::KINDS],
    lines: SlotMap<LineKey, Line<T>>,
    by_class: FxHashMap<Arc<Class>, LineKey>,
    /// Lines with new heads.
    unprobed: Ordered,
    rate_waiters: RateWaiters,
    concurrency_waiters: ConcurrencyWaiters,
    capacity_waiters: CapacityWaiters,
    /// What may have changed since it was found to hold lines up.
    opened: FxHashSet<WakeCondition>,
    /// Those that have to wait and have patience, by the starts when they were found to.
    overtake_deadlines: BTreeMap<(u64, Rank), LineKey>,
    reservations: KeyReservations,
    /// How many wait.
    waiting: usize,
    /// How many run with each key.
    running: FxHashMap<Arc<str>, u32>,
    buckets: FxHashMap<Arc<str>, Bucket>,
    /// At so many buckets, the full ones are thrown away (L9).
    buckets_at: usize,
    arrivals: u64,
    starts: u64,
    passes: u64,
    /// How often a line was looked at, for tests.
    #[cfg(test)]
    pub(super) probes: u64,
}

impl<T> Gate<T> {
    /// A gate to so much.
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
            #[cfg(test)]
            probes: 0,
        }
    }

    /// Puts a task of this pool in line. [`open`](Self::open) says when it may start.
    ///
    /// # Errors
    /// If its needs can never be met; it comes back with what is missing.
    pub fn wait(
        &mut self,
        what: T,
        pool: PoolKind,
        priority: Priority,
        limits: &Limits,
    ) -> Result<GateWaiter, (T, Shortfall)> {
        if let Some(shortfall) = super::shortfall(&self.capacity, pool, &limits.needs) {
            return Err((what, shortfall));
        }
        let demand = Demand::of(&self.capacity, pool, &limits.needs);
        let (concurrency, rate) = (limits.concurrency.clone(), limits.rate.clone());
        let class = Class { priority, demand, concurrency, rate };
        let arrival = self.arrivals;
        self.arrivals += 1;
        self.waiting += 1;
        if let Some(&line) = self.by_class.get(&class) {
            self.lines[line].waiting.insert(arrival, what);
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

    /// Takes everything that may start now, in order. Give the permit [back](Self::give_back) when
    /// it has ended.
    pub fn open(&mut self, now: Tick) -> Vec<(T, Permit)> {
        let mut through = Vec::new();
        while let Some(rate) = self.rate_waiters.pop_due(now) {
            self.opened.insert(WakeCondition::Rate(rate));
        }
        while self.run_pass(now, &mut through) {}
        // Starts of others with the same key may have put it off.
        while let Some((at, rate)) = self.rate_waiters.first() {
            let (allowed, rate) = (self.allowed(rate), rate.clone());
            if allowed <= at {
                break;
            }
            self.rate_waiters.postpone(&rate, allowed);
        }
        through
    }

    fn allowed(&self, rate: &Rate) -> Tick {
        self.buckets.get(&rate.key).copied().unwrap_or_default().allowed(rate)
    }

    fn has_room(&self, limit: &Concurrency) -> bool {
        self.running.get(&limit.key).copied().unwrap_or(0) < limit.max.max(1)
    }

    /// Why the head of a line cannot start while these kinds are reserved for the lines before it; `None` if it can.
    fn probe(&mut self, line: LineKey, held: [bool; Demand::KINDS], now: Tick) -> Option<WaitReason> {
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
        if !class.demand.fits(&self.free) || class.demand.0.iter().zip(held).any(|(need, held)| held && *need > 0) {
            return Some(WaitReason::InsufficientCapacity);
        }
        if class.keys().any(|key| self.is_held(key, rank, now)) {
            return Some(WaitReason::Reserved);
        }
        None
    }

    /// Whether a line before this rank holds a key.
    fn is_held(&mut self, key: &str, rank: Rank, now: Tick) -> bool {
        while let Some((_, line)) = self.reservations.first(key, rank) {
            let allowed = self.lines[line].class.rate.as_ref().map(|rate| self.allowed(rate));
            // A more urgent start may have put it off: then it holds nothing.
            let Some(at) = allowed.filter(|allowed| *allowed > now) else { return true };
            self.park_by_rate(line, at);
        }
        false
    }

    /// Holds what a line needs and what there is an end of.
    fn hold(&self, line: LineKey, held: &mut [bool; Demand::KINDS]) {
        for ((held, need), unlimited) in held.iter_mut().zip(self.lines[line].class.demand.0).zip(self.unlimited) {
            *held |= need > 0 && !unlimited;
        }
    }

    /// A line waits for its rate: it holds nothing.
    fn park_by_rate(&mut self, line: LineKey, at: Tick) {
        self.detach(line);
        let Line { class, rank, parked, .. } = &mut self.lines[line];
        if let Some(rate) = &class.rate {
            *parked = Parked::ByRate;
            self.rate_waiters.insert(rate, at, *rank, line);
        }
    }

    /// A line waits for its key or for what all share. Returns whether it has done so for long enough.
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

    /// A line holds its keys, and what it needs of what all share if that is what it waits for. Returns whether it is.
    fn mark_starved(&mut self, line: LineKey) -> bool {
        let Some(Line { class, rank, parked, .. }) = self.lines.get(line) else { return false };
        if matches!(parked, Parked::ByConcurrency | Parked::ByCapacity) {
            for key in class.keys() {
                self.reservations.insert(key, *rank, line);
            }
        }
        if *parked == Parked::ByCapacity {
            self.capacity_waiters.hold(class.demand, *rank, line);
        }
        *parked == Parked::ByCapacity
    }

    /// Takes a line from where it waits.
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

    /// The head of a line has gone.
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

    /// Lets the head of a line through. Returns whether one that waits for what all share has lost patience by that.
    fn start(&mut self, line: LineKey, now: Tick, through: &mut Vec<(T, Permit)>) -> bool {
        let class = self.lines[line].class.clone();
        let Some((_, what)) = self.lines[line].waiting.pop_first() else { return false };
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
        through.push((what, Permit { demand: class.demand, key }));
        self.starts += 1;
        let mut lost = false;
        while let Some(entry) = self.overtake_deadlines.first_entry() {
            if entry.key().0.saturating_add(MAX_OVERTAKES) > self.starts {
                break;
            }
            let line = entry.remove();
            lost |= self.mark_starved(line);
        }
        lost
    }

    /// Something that went through has ended. Call [`open`](Self::open) next.
    pub fn give_back(&mut self, permit: Permit) {
        for ((free, need), unlimited) in self.free.0.iter_mut().zip(permit.demand.0).zip(self.unlimited) {
            *free += if unlimited { 0 } else { need };
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

    /// Takes one out of its line, such as a cancelled task; `None` if it has gone through. Call
    /// [`open`](Self::open) next: others may have waited for it.
    pub fn leave(&mut self, rank: GateWaiter) -> Option<T> {
        let line = self.lines.get_mut(rank.line)?;
        let what = line.waiting.remove(&rank.arrival)?;
        self.waiting -= 1;
        if line.rank.1 == rank.arrival {
            self.replace_head(rank.line);
        }
        Some(what)
    }

    /// Takes all out of the lines for which `unwanted` says so. It asks of everything that waits.
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

    /// When a rate allows the next start of something that waits; call [`open`](Self::open) then.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.rate_waiters.first().map(|(at, _)| at)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether nothing is in use, for tests.
    #[cfg(test)]
    pub(in crate::policy) fn is_whole(&self) -> bool {
        self.free == Demand::all(&self.capacity) && self.running.is_empty()
    }

    /// Nothing is kept of lines that are gone, for tests (L9).
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
