//! Where lines wait: by what has to change before looking at them again is worth the while.
//!
//! All lines of one place wait for the same thing, so that one look at the first of them mostly tells of
//! all. Nothing here decides who may start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use rustc_hash::FxHashMap;
use slotmap::SlotMap;

use super::demand::Demand;
use super::gate::{LineKey, Place};
use crate::model::{Concurrency, Rate, Tick};

/// Lines by the places of their heads.
pub(super) type Ordered = BTreeMap<Place, LineKey>;

/// The first one behind this place, or the first of all.
pub(super) fn next(lines: &Ordered, after: Option<Place>) -> Option<(Place, LineKey)> {
    let from = after.map_or(Unbounded, Excluded);
    lines.range((from, Unbounded)).next().map(|(place, line)| (*place, *line))
}

/// Why a line is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// Its rate does not allow a start yet.
    Early(Rate),
    /// As many as may run with its key.
    Full(Concurrency),
}

/// Lines with one rate that does not allow a start yet.
#[derive(Debug)]
struct Early {
    lines: Ordered,
    /// Tells it from others that are due at the same time.
    number: u64,
    /// When it is to be looked at, unless it is looked at now.
    due: Option<Tick>,
}

/// The lines whose rates do not allow a start yet, by these rates and their times.
#[derive(Debug, Default)]
pub(super) struct Earlies {
    by_rate: FxHashMap<Rate, Early>,
    due: BTreeMap<(Tick, u64), Rate>,
    numbers: u64,
}

impl Earlies {
    /// Nothing is kept, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_rate.is_empty() && self.due.is_empty()
    }

    pub(super) fn insert(&mut self, rate: &Rate, at: Tick, place: Place, line: LineKey) {
        if let Some(early) = self.by_rate.get_mut(rate) {
            early.lines.insert(place, line);
            return;
        }
        let number = self.numbers;
        self.numbers += 1;
        self.due.insert((at, number), rate.clone());
        self.by_rate.insert(rate.clone(), Early { lines: [(place, line)].into(), number, due: Some(at) });
    }

    pub(super) fn remove(&mut self, rate: &Rate, place: Place) {
        let Some(early) = self.by_rate.get_mut(rate) else { return };
        early.lines.remove(&place);
        if early.lines.is_empty() {
            let (number, due) = (early.number, early.due);
            self.by_rate.remove(rate);
            if let Some(at) = due {
                self.due.remove(&(at, number));
            }
        }
    }

    pub(super) fn lines(&self, rate: &Rate) -> Option<&Ordered> {
        self.by_rate.get(rate).map(|early| &early.lines)
    }

    /// The rate whose time comes next, and that time.
    pub(super) fn first(&self) -> Option<(Tick, &Rate)> {
        self.due.first_key_value().map(|((at, _), rate)| (*at, rate))
    }

    /// Takes the next of the rates whose time has come. It is due no more until it is [put off](Self::put_off).
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<Rate> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let rate = entry.remove();
        if let Some(early) = self.by_rate.get_mut(&rate) {
            early.due = None;
        }
        Some(rate)
    }

    /// A rate allows no start until then.
    pub(super) fn put_off(&mut self, rate: &Rate, at: Tick) {
        let Some(early) = self.by_rate.get_mut(rate) else { return };
        if let Some(before) = early.due.replace(at) {
            self.due.remove(&(before, early.number));
        }
        self.due.insert((at, early.number), rate.clone());
    }
}

/// The lines of keys with which as many run as may, by the key and their number.
#[derive(Debug, Default)]
pub(super) struct Fulls(FxHashMap<std::sync::Arc<str>, BTreeMap<u32, Ordered>>);

impl Fulls {
    /// Nothing is kept, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, limit: &Concurrency, place: Place, line: LineKey) {
        self.0.entry(limit.key.clone()).or_default().entry(limit.max).or_default().insert(place, line);
    }

    pub(super) fn remove(&mut self, limit: &Concurrency, place: Place) {
        let Some(by_max) = self.0.get_mut(&limit.key) else { return };
        let Some(lines) = by_max.get_mut(&limit.max) else { return };
        lines.remove(&place);
        if lines.is_empty() {
            by_max.remove(&limit.max);
            if by_max.is_empty() {
                self.0.remove(&limit.key);
            }
        }
    }

    pub(super) fn lines(&self, limit: &Concurrency) -> Option<&Ordered> {
        self.0.get(&limit.key)?.get(&limit.max)
    }

    /// The numbers of the lines that wait for this key.
    pub(super) fn maxima(&self, key: &str) -> impl Iterator<Item = u32> {
        self.0.get(key).into_iter().flat_map(|by_max| by_max.keys().copied())
    }
}

slotmap::new_key_type! {
    /// The lines with one demand.
    pub(super) struct GroupKey;
}

/// Lines that need the same of what all share.
#[derive(Debug)]
pub(super) struct Needing {
    demand: Demand,
    pub(super) lines: Ordered,
    /// Those that have waited so long that what they use is held for them.
    pub(super) impatient: Ordered,
    /// The pass that came by last.
    visited: u64,
}

/// The lines that wait for what all share, or for what is held for others, by what they need.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    groups: SlotMap<GroupKey, Needing>,
    by_demand: FxHashMap<Demand, GroupKey>,
    /// The demands by the places of their first lines.
    order: BTreeMap<Place, GroupKey>,
}

impl Lacking {
    /// Nothing is kept, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.by_demand.is_empty() && self.order.is_empty()
    }

    /// A line that this pass found to lack something joins those that need the same.
    pub(super) fn insert(&mut self, demand: Demand, place: Place, line: LineKey, pass: u64) {
        let Self { groups, by_demand, order } = self;
        let group = *by_demand.entry(demand).or_insert_with(|| {
            groups.insert(Needing { demand, lines: Ordered::new(), impatient: Ordered::new(), visited: pass })
        });
        let lines = &mut groups[group].lines;
        let first = lines.first_key_value().map(|(place, _)| *place);
        lines.insert(place, line);
        if first.is_none_or(|first| place < first) {
            if let Some(first) = first {
                order.remove(&first);
            }
            order.insert(place, group);
        }
    }

    pub(super) fn remove(&mut self, demand: Demand, place: Place) {
        let Some(&group) = self.by_demand.get(&demand) else { return };
        let Some(needing) = self.groups.get_mut(group) else { return };
        needing.lines.remove(&place);
        needing.impatient.remove(&place);
        let first = needing.lines.first_key_value().map(|(place, _)| *place);
        if let Some(first) = first.filter(|first| *first < place) {
            debug_assert!(self.order.contains_key(&first));
            return;
        }
        self.order.remove(&place);
        if let Some(first) = first {
            self.order.insert(first, group);
        } else {
            self.groups.remove(group);
            self.by_demand.remove(&demand);
        }
    }

    /// One of them has lost patience.
    pub(super) fn hold(&mut self, demand: Demand, place: Place, line: LineKey) {
        if let Some(group) = self.by_demand.get(&demand).and_then(|group| self.groups.get_mut(*group)) {
            group.impatient.insert(place, line);
        }
    }

    pub(super) fn get(&self, group: GroupKey) -> Option<&Needing> {
        self.groups.get(group)
    }

    /// The demand whose first line is the first one behind a place, and not behind another one.
    pub(super) fn next(&self, after: Option<Place>, to: Option<Place>) -> Option<(Place, GroupKey)> {
        let from = after.map_or(Unbounded, Excluded);
        let (place, group) = self.order.range((from, Unbounded)).next()?;
        to.is_none_or(|to| *place <= to).then_some((*place, *group))
    }

    /// What those of a group need, if this pass has not come by before.
    pub(super) fn visit(&mut self, group: GroupKey, pass: u64) -> Option<Demand> {
        let needing = self.groups.get_mut(group)?;
        (std::mem::replace(&mut needing.visited, pass) != pass).then_some(needing.demand)
    }
}

/// Who holds keys, by the key: lines that have waited long enough.
#[derive(Debug, Default)]
pub(super) struct Holders(FxHashMap<std::sync::Arc<str>, BTreeSet<(Place, LineKey)>>);

impl Holders {
    /// Nothing is kept, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, key: &std::sync::Arc<str>, place: Place, line: LineKey) {
        self.0.entry(key.clone()).or_default().insert((place, line));
    }

    pub(super) fn remove(&mut self, key: &str, place: Place, line: LineKey) {
        let Some(holders) = self.0.get_mut(key) else { return };
        holders.remove(&(place, line));
        if holders.is_empty() {
            self.0.remove(key);
        }
    }

    /// The first one that holds a key, if it stands before this place.
    pub(super) fn first(&self, key: &str, before: Place) -> Option<(Place, LineKey)> {
        self.0.get(key)?.first().copied().filter(|(place, _)| *place < before)
    }
}
