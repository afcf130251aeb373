//! The gate: lines of what waits, and what is in use.

mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use slotmap::SlotMap;

use super::demand::Demand;
use super::parked::{Cause, Earlies, Fulls, Holders, Lacking, Ordered};
use super::rate::Bucket;
use crate::model::{Capacity, Concurrency, Limits, PoolKind, Priority, Rate, Shortfall, Tick};

/// How often others may overtake what does not fit.
pub const PATIENCE: u64 = 32;

slotmap::new_key_type! {
    /// A line.
    pub(super) struct LineKey;
}

/// What went through the gate, to give back what it used.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what it used is in use until it is given back"]
pub struct Ticket {
    demand: Demand,
    key: Option<Arc<str>>,
}

/// Where something waits, to [take it out](Gate::leave) again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    line: LineKey,
    arrival: u64,
}

/// The order of all that wait: the more urgent first, and of those that are equally urgent the one that came first.
pub(super) type Place = (Priority, u64);

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

/// What the head of a line waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    /// To be looked at.
    Fresh,
    /// Its rate.
    Early,
    /// Its key.
    Full,
    /// What all share, or what is held for others.
    Lacking,
}

#[derive(Debug)]
struct Line<T> {
    class: Arc<Class>,
    /// What waits, by its arrival.
    waiting: BTreeMap<u64, T>,
    /// The place of its head.
    place: Place,
    spot: Spot,
    /// The number of starts when its head was first found to have to wait.
    since: Option<u64>,
}

impl<T> Line<T> {
    fn is_impatient(&self, starts: u64) -> bool {
        self.since.is_some_and(|since| since.saturating_add(PATIENCE) <= starts)
    }
}

/// What becomes of the head of a line.
enum Verdict {
    Start,
    /// Its rate allows it then.
    TooEarly(Tick),
    /// As many run as may with its key.
    Full,
    /// What it needs is in use.
    Lacks,
    /// What it needs is free, but held for one before it.
    Barred,
}

/// Lets through what fits. `T` is what waits.
#[derive(Debug)]
pub struct Gate<T> {
    capacity: Capacity,
    free: Demand,
    /// The kinds of which there is no end: nobody waits for them.
    endless: [bool; Demand::KINDS],
    lines: SlotMap<LineKey, Line<T>>,
    by_class: FxHashMap<Arc<Class>, LineKey>,
    /// Lines with new heads.
    fresh: Ordered,
    earlies: Earlies,
    fulls: Fulls,
    lacking: Lacking,
    /// What may have changed since it was found to hold lines up.
    opened: FxHashSet<Cause>,
    /// Those that have to wait and have patience, by the starts when they were found to.
    patience: BTreeMap<(u64, Place), LineKey>,
    holders: Holders,
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
    pub(super) looks: u64,
}

impl<T> Gate<T> {
    /// A gate to so much.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        let free = Demand::all(&capacity);
        Self {
            capacity,
            free,
            endless: free.0.map(|all| all == u64::MAX),
            lines: SlotMap::with_key(),
            by_class: FxHashMap::default(),
            fresh: Ordered::new(),
            earlies: Earlies::default(),
            fulls: Fulls::default(),
            lacking: Lacking::default(),
            opened: FxHashSet::default(),
            patience: BTreeMap::new(),
            holders: Holders::default(),
            waiting: 0,
            running: FxHashMap::default(),
            buckets: FxHashMap::default(),
            buckets_at: 64,
            arrivals: 0,
            starts: 0,
            passes: 0,
            #[cfg(test)]
            looks: 0,
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
    ) -> Result<Waiting, (T, Shortfall)> {
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
            return Ok(Waiting { line, arrival });
        }
        let (class, place) = (Arc::new(class), (priority, arrival));
        let waiting = [(arrival, what)].into();
        let line = self.lines.insert(Line { class: class.clone(), waiting, place, spot: Spot::Fresh, since: None });
        self.by_class.insert(class, line);
        self.fresh.insert(place, line);
        Ok(Waiting { line, arrival })
    }

    /// Takes everything that may start now, in order. Give the ticket [back](Self::give_back) when
    /// it has ended.
    pub fn open(&mut self, now: Tick) -> Vec<(T, Ticket)> {
        let mut through = Vec::new();
        while let Some(rate) = self.earlies.pop_due(now) {
            self.opened.insert(Cause::Early(rate));
        }
        while self.pass(now, &mut through) {}
        // Starts of others with the same key may have put it off.
        while let Some((at, rate)) = self.earlies.first() {
            let (allowed, rate) = (self.allowed(rate), rate.clone());
            if allowed <= at {
                break;
            }
            self.earlies.put_off(&rate, allowed);
        }
        through
    }

    fn allowed(&self, rate: &Rate) -> Tick {
        self.buckets.get(&rate.key).copied().unwrap_or_default().allowed(rate)
    }

    fn has_room(&self, limit: &Concurrency) -> bool {
        self.running.get(&limit.key).copied().unwrap_or(0) < limit.max.max(1)
    }

    /// What becomes of the head of a line while these kinds are held for those before it.
    fn look(&mut self, line: LineKey, held: [bool; Demand::KINDS], now: Tick) -> Verdict {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let Line { class, place, .. } = &self.lines[line];
        let (class, place) = (class.clone(), *place);
        if let Some(allowed) = class.rate.as_ref().map(|rate| self.allowed(rate)).filter(|allowed| *allowed > now) {
            return Verdict::TooEarly(allowed);
        }
        if class.concurrency.as_ref().is_some_and(|limit| !self.has_room(limit)) {
            return Verdict::Full;
        }
        if !class.demand.fits(&self.free) || class.demand.0.iter().zip(held).any(|(need, held)| held && *need > 0) {
            return Verdict::Lacks;
        }
        if class.keys().any(|key| self.is_held(key, place, now)) {
            return Verdict::Barred;
        }
        Verdict::Start
    }

    /// Whether a line before this place holds a key.
    fn is_held(&mut self, key: &str, place: Place, now: Tick) -> bool {
        while let Some((_, line)) = self.holders.first(key, place) {
            let allowed = self.lines[line].class.rate.as_ref().map(|rate| self.allowed(rate));
            // A more urgent start may have put it off: then it holds nothing.
            let Some(at) = allowed.filter(|allowed| *allowed > now) else { return true };
            self.put_early(line, at);
        }
        false
    }

    /// Holds what a line needs and what there is an end of.
    fn hold(&self, line: LineKey, held: &mut [bool; Demand::KINDS]) {
        for ((held, need), endless) in held.iter_mut().zip(self.lines[line].class.demand.0).zip(self.endless) {
            *held |= need > 0 && !endless;
        }
    }

    /// A line waits for its rate: it holds nothing.
    fn put_early(&mut self, line: LineKey, at: Tick) {
        self.detach(line);
        let Line { class, place, spot, .. } = &mut self.lines[line];
        if let Some(rate) = &class.rate {
            *spot = Spot::Early;
            self.earlies.insert(rate, at, *place, line);
        }
    }

    /// A line waits for its key or for what all share. Returns whether it has done so for long enough.
    fn put_waiting(&mut self, line: LineKey, spot: Spot) -> bool {
        if self.lines[line].spot != spot {
            self.detach(line);
            let Line { class, place, spot: own, .. } = &mut self.lines[line];
            *own = spot;
            match &class.concurrency {
                Some(limit) if spot == Spot::Full => self.fulls.insert(limit, *place, line),
                _ => self.lacking.insert(class.demand, *place, line, self.passes),
            }
            if self.lines[line].is_impatient(self.starts) {
                self.lose_patience(line);
            }
        }
        let Line { place, since, .. } = &mut self.lines[line];
        if since.is_none() {
            *since = Some(self.starts);
            self.patience.insert((self.starts, *place), line);
        }
        self.lines[line].is_impatient(self.starts)
    }

    /// A line holds its keys, and what it needs of what all share if that is what it waits for. Returns whether it is.
    fn lose_patience(&mut self, line: LineKey) -> bool {
        let Some(Line { class, place, spot, .. }) = self.lines.get(line) else { return false };
        if matches!(spot, Spot::Full | Spot::Lacking) {
            for key in class.keys() {
                self.holders.insert(key, *place, line);
            }
        }
        if *spot == Spot::Lacking {
            self.lacking.hold(class.demand, *place, line);
        }
        *spot == Spot::Lacking
    }

    /// Takes a line from where it waits.
    fn detach(&mut self, line: LineKey) {
        let starts = self.starts;
        let Line { class, place, spot, .. } = &self.lines[line];
        match (spot, &class.rate, &class.concurrency) {
            (Spot::Early, Some(rate), _) => self.earlies.remove(rate, *place),
            (Spot::Full, _, Some(limit)) => self.fulls.remove(limit, *place),
            (Spot::Lacking, ..) => self.lacking.remove(class.demand, *place),
            _ => {
                self.fresh.remove(place);
            }
        }
        if self.lines[line].is_impatient(starts) {
            for key in class.keys() {
                self.holders.remove(key, *place, line);
            }
        }
    }

    /// The head of a line has gone.
    fn has_new_head(&mut self, line: LineKey) {
        self.detach(line);
        let head = &mut self.lines[line];
        if let Some(since) = head.since.take() {
            self.patience.remove(&(since, head.place));
        }
        if let Some((arrival, _)) = head.waiting.first_key_value() {
            head.place.1 = *arrival;
            head.spot = Spot::Fresh;
            self.fresh.insert(head.place, line);
        } else if let Some(gone) = self.lines.remove(line) {
            self.by_class.remove(&gone.class);
        }
    }

    /// Lets the head of a line through. Returns whether one that waits for what all share has lost patience by that.
    fn start(&mut self, line: LineKey, now: Tick, through: &mut Vec<(T, Ticket)>) -> bool {
        let class = self.lines[line].class.clone();
        let Some((_, what)) = self.lines[line].waiting.pop_first() else { return false };
        self.waiting -= 1;
        self.has_new_head(line);
        for ((free, need), endless) in self.free.0.iter_mut().zip(class.demand.0).zip(self.endless) {
            *free -= if endless { 0 } else { need };
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
        through.push((what, Ticket { demand: class.demand, key }));
        self.starts += 1;
        let mut lost = false;
        while let Some(entry) = self.patience.first_entry() {
            if entry.key().0.saturating_add(PATIENCE) > self.starts {
                break;
            }
            let line = entry.remove();
            lost |= self.lose_patience(line);
        }
        lost
    }

    /// Something that went through has ended. Call [`open`](Self::open) next.
    pub fn give_back(&mut self, ticket: Ticket) {
        for ((free, need), endless) in self.free.0.iter_mut().zip(ticket.demand.0).zip(self.endless) {
            *free += if endless { 0 } else { need };
        }
        let Some(key) = ticket.key else { return };
        let Some(count) = self.running.get_mut(&key) else { return };
        *count -= 1;
        let count = *count;
        if count == 0 {
            self.running.remove(&key);
        }
        let open = self.fulls.maxima(&key).filter(|max| count < (*max).max(1));
        self.opened.extend(open.map(|max| Cause::Full(Concurrency { key: key.clone(), max })));
    }

    /// Takes one out of its line, such as a cancelled task; `None` if it has gone through. Call
    /// [`open`](Self::open) next: others may have waited for it.
    pub fn leave(&mut self, place: Waiting) -> Option<T> {
        let line = self.lines.get_mut(place.line)?;
        let what = line.waiting.remove(&place.arrival)?;
        self.waiting -= 1;
        if line.place.1 == place.arrival {
            self.has_new_head(place.line);
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
            if removed[before..].first().is_some_and(|(place, _)| *place == line.place) {
                headless.push(key);
            }
        }
        for line in headless {
            self.has_new_head(line);
        }
        self.waiting -= removed.len();
        removed.sort_unstable_by_key(|(place, _)| *place);
        removed.into_iter().map(|(_, what)| what).collect()
    }

    /// When a rate allows the next start of something that waits; call [`open`](Self::open) then.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.earlies.first().map(|(at, _)| at)
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
        assert!(self.lines.is_empty() && self.by_class.is_empty() && self.fresh.is_empty());
        assert!(self.earlies.is_empty() && self.fulls.is_empty() && self.lacking.is_empty());
        assert!(self.opened.is_empty() && self.patience.is_empty() && self.holders.is_empty());
        assert!(self.buckets.len() <= self.buckets_at);
    }
}
