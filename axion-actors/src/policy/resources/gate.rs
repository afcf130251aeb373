//! The gate: lines of what waits, and what is in use.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::demand::Demand;
use super::rate::Bucket;
use crate::model::{Capacity, Concurrency, Limits, PoolKind, Priority, Rate, Shortfall, Tick};

/// How often others may overtake what does not fit.
pub const PATIENCE: u64 = 32;

/// So many lines are looked at, the longest-waiting ones first; those behind them have to wait until
/// one of these moves.
const LINES: usize = 256;

/// What went through the gate, to give back what it used.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what it used is in use until it is given back"]
pub struct Ticket {
    demand: Demand,
    key: Option<Arc<str>>,
}

/// The order of all that wait: the more urgent first, and of those that are equally urgent the one that came first.
type Place = (Priority, u64);

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

#[derive(Debug)]
struct Line<T> {
    /// The place of each in the order of all that wait, and what it is.
    waiting: VecDeque<(Place, T)>,
    /// The number of starts when its head was first found to have to wait.
    since: Option<u64>,
}

/// What becomes of the head of a line.
enum Verdict {
    Start,
    Wait,
    /// Its rate allows it then.
    TooEarly(Tick),
}

/// What is held for those who have waited long enough.
#[derive(Default)]
struct Held {
    kinds: [bool; Demand::KINDS],
    keys: Vec<Arc<str>>,
}

impl Held {
    fn add(&mut self, class: &Class) {
        for (held, need) in self.kinds.iter_mut().zip(class.demand.0) {
            *held |= need > 0;
        }
        self.keys.extend(class.keys().cloned());
    }

    fn bars(&self, class: &Class) -> bool {
        class.demand.0.iter().zip(self.kinds).any(|(need, held)| held && *need > 0)
            || class.keys().any(|key| self.keys.contains(key))
    }
}

/// Lets through what fits. `T` is what waits.
#[derive(Debug)]
pub struct Gate<T> {
    capacity: Capacity,
    free: Demand,
    lines: FxHashMap<Arc<Class>, Line<T>>,
    /// The lines by the places of their heads.
    order: BTreeMap<Place, Arc<Class>>,
    /// How many wait.
    waiting: usize,
    /// How many run with each key.
    running: FxHashMap<Arc<str>, u32>,
    buckets: FxHashMap<Arc<str>, Bucket>,
    /// At so many buckets, the full ones are thrown away (L9).
    buckets_at: usize,
    arrivals: u64,
    starts: u64,
    next: Option<Tick>,
}

impl<T> Gate<T> {
    /// A gate to so much.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            free: Demand::all(&capacity),
            capacity,
            lines: FxHashMap::default(),
            order: BTreeMap::new(),
            waiting: 0,
            running: FxHashMap::default(),
            buckets: FxHashMap::default(),
            buckets_at: 64,
            arrivals: 0,
            starts: 0,
            next: None,
        }
    }

    /// Puts a task of this pool in line. [`open`](Self::open) says when it may start.
    ///
    /// # Errors
    /// If its needs can never be met; it comes back with what is missing.
    pub fn wait(&mut self, what: T, pool: PoolKind, priority: Priority, limits: &Limits) -> Result<(), (T, Shortfall)> {
        if let Some(shortfall) = super::shortfall(&self.capacity, pool, &limits.needs) {
            return Err((what, shortfall));
        }
        let demand = Demand::of(&self.capacity, pool, &limits.needs);
        let (concurrency, rate) = (limits.concurrency.clone(), limits.rate.clone());
        let class = Arc::new(Class { priority, demand, concurrency, rate });
        let place = (priority, self.arrivals);
        self.arrivals += 1;
        self.waiting += 1;
        let line = self.lines.entry(class.clone()).or_insert_with(|| Line { waiting: VecDeque::new(), since: None });
        if line.waiting.is_empty() {
            self.order.insert(place, class);
        }
        line.waiting.push_back((place, what));
        Ok(())
    }

    /// Takes everything that may start now, in order. Give the ticket [back](Self::give_back) when
    /// it has ended.
    pub fn open(&mut self, now: Tick) -> Vec<(T, Ticket)> {
        self.open_to(|_| true, now)
    }

    /// The same, and drops the heads of lines that are not `wanted` any more.
    pub fn open_to(&mut self, wanted: impl Fn(&T) -> bool, now: Tick) -> Vec<(T, Ticket)> {
        let mut through = Vec::new();
        while self.pass(&wanted, now, &mut through) {}
        through
    }

    /// Looks at the heads of the lines in their order and lets through what fits. Returns whether somebody
    /// has lost patience on the way, so that it has to look again.
    fn pass(&mut self, wanted: &impl Fn(&T) -> bool, now: Tick, through: &mut Vec<(T, Ticket)>) -> bool {
        self.next = None;
        let mut held = Held::default();
        let mut patience = u64::MAX;
        let (mut after, mut waiting) = (Bound::Unbounded, 0);
        while waiting < LINES {
            let Some((place, class)) = self.order.range((after, Bound::Unbounded)).next() else { break };
            let (place, class) = (*place, class.clone());
            after = Bound::Excluded(place);
            // The next one of its line stands behind this place.
            if self.drop_unwanted(&class, place, wanted) {
                continue;
            }
            match self.verdict(&class, &held, now) {
                Verdict::Start => {
                    self.start(&class, place, now, through);
                    if self.starts >= patience {
                        return true;
                    }
                }
                Verdict::TooEarly(at) => {
                    self.next = Some(self.next.map_or(at, |next| next.min(at)));
                    waiting += 1;
                }
                Verdict::Wait => {
                    let Some(line) = self.lines.get_mut(&class) else { continue };
                    let end = line.since.get_or_insert(self.starts).saturating_add(PATIENCE);
                    if end <= self.starts {
                        held.add(&class);
                    } else {
                        patience = patience.min(end);
                    }
                    waiting += 1;
                }
            }
        }
        false
    }

    fn verdict(&self, class: &Class, held: &Held, now: Tick) -> Verdict {
        if let Some(rate) = &class.rate {
            let allowed = self.buckets.get(&rate.key).copied().unwrap_or_default().allowed(rate);
            if allowed > now {
                return Verdict::TooEarly(allowed);
            }
        }
        let fits = class.demand.0.iter().zip(self.free.0).all(|(need, free)| *need <= free);
        let running = |limit: &Concurrency| self.running.get(&limit.key).copied().unwrap_or(0);
        let room = class.concurrency.as_ref().is_none_or(|limit| running(limit) < limit.max.max(1));
        if fits && room && !held.bars(class) { Verdict::Start } else { Verdict::Wait }
    }

    /// Lets the head of a line go if it is not wanted any more, with those like it behind it.
    fn drop_unwanted(&mut self, class: &Arc<Class>, place: Place, wanted: &impl Fn(&T) -> bool) -> bool {
        let Some(line) = self.lines.get_mut(class) else { return false };
        let before = line.waiting.len();
        while line.waiting.front().is_some_and(|(_, what)| !wanted(what)) {
            line.waiting.pop_front();
        }
        let dropped = before - line.waiting.len();
        if dropped > 0 {
            self.waiting -= dropped;
            self.has_new_head(class, place);
        }
        dropped > 0
    }

    /// The head of a line, which stood at this place, has gone.
    fn has_new_head(&mut self, class: &Arc<Class>, place: Place) {
        self.order.remove(&place);
        let Some(line) = self.lines.get_mut(class) else { return };
        line.since = None;
        match line.waiting.front() {
            Some((place, _)) => {
                self.order.insert(*place, class.clone());
            }
            None => {
                self.lines.remove(class);
            }
        }
    }

    /// Lets the head of a line through.
    fn start(&mut self, class: &Arc<Class>, place: Place, now: Tick, through: &mut Vec<(T, Ticket)>) {
        let Some((_, what)) = self.lines.get_mut(class).and_then(|line| line.waiting.pop_front()) else { return };
        self.waiting -= 1;
        self.has_new_head(class, place);
        self.starts += 1;
        for (free, need) in self.free.0.iter_mut().zip(class.demand.0).filter(|(free, _)| **free != u64::MAX) {
            *free -= need;
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
    }

    /// Something that went through has ended. Call [`open`](Self::open) next.
    pub fn give_back(&mut self, ticket: Ticket) {
        let all = Demand::all(&self.capacity);
        for ((free, need), all) in self.free.0.iter_mut().zip(ticket.demand.0).zip(all.0) {
            if all != u64::MAX {
                *free += need;
            }
        }
        if let Some(key) = ticket.key
            && let Some(count) = self.running.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&key);
            }
        }
    }

    /// Takes out of the lines what `unwanted` says, such as cancelled tasks.
    pub fn remove(&mut self, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        let mut headless = Vec::new();
        for (class, line) in &mut self.lines {
            let head = line.waiting.front().map(|(place, _)| *place);
            let mut kept = VecDeque::with_capacity(line.waiting.len());
            for (place, what) in line.waiting.drain(..) {
                if unwanted(&what) { removed.push((place, what)) } else { kept.push_back((place, what)) }
            }
            line.waiting = kept;
            if let Some(head) = head.filter(|head| line.waiting.front().is_none_or(|(place, _)| place != head)) {
                headless.push((class.clone(), head));
            }
        }
        for (class, head) in headless {
            self.has_new_head(&class, head);
        }
        self.waiting -= removed.len();
        removed.sort_unstable_by_key(|(place, _)| *place);
        removed.into_iter().map(|(_, what)| what).collect()
    }

    /// When a rate allows the next start of something that waits; call [`open`](Self::open) then.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.next
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
}
