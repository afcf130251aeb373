//! Where lines are parked, grouped by the condition that must change before a probe can succeed.
//!
//! All lines of one group wait for the same condition, so one probe of the first usually decides for all. Nothing
//! here decides which line may start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use rustc_hash::FxHashMap;
use slotmap::SlotMap;

use super::demand::Demand;
use super::line::{LineKey, Ordered, Rank};
use crate::model::{Concurrency, Rate, Tick};

/// The condition that must change before a line is probed again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum WakeCondition {
    /// The rate allows a start.
    Rate(Rate),
    /// The key is below its limit.
    Concurrency(Concurrency),
}

/// Lines that share one rate, which allows no start yet.
#[derive(Debug)]
struct RateGroup {
    lines: Ordered,
    /// Distinguishes it from other rates that are due at the same tick.
    number: u64,
    /// When its lines are probed next; `None` while a pass probes them.
    due: Option<Tick>,
}

/// Lines whose rate allows no start yet, by rate and by the tick at which it does.
#[derive(Debug, Default)]
pub(super) struct RateWaiters {
    by_rate: FxHashMap<Rate, RateGroup>,
    due: BTreeMap<(Tick, u64), Rate>,
    numbers: u64,
}

impl RateWaiters {
    /// Whether nothing is left, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_rate.is_empty() && self.due.is_empty()
    }

    pub(super) fn insert(&mut self, rate: &Rate, at: Tick, rank: Rank, line: LineKey) {
        if let Some(early) = self.by_rate.get_mut(rate) {
            early.lines.insert(rank, line);
            return;
        }
        let number = self.numbers;
        self.numbers += 1;
        self.due.insert((at, number), rate.clone());
        self.by_rate.insert(rate.clone(), RateGroup { lines: [(rank, line)].into(), number, due: Some(at) });
    }

    pub(super) fn remove(&mut self, rate: &Rate, rank: Rank) {
        let Some(early) = self.by_rate.get_mut(rate) else { return };
        early.lines.remove(&rank);
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

    /// The rate that is due next, and when.
    pub(super) fn first(&self) -> Option<(Tick, &Rate)> {
        self.due.first_key_value().map(|((at, _), rate)| (*at, rate))
    }

    /// Takes the next rate that is due. It is due again only after [`postpone`](Self::postpone).
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<Rate> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let rate = entry.remove();
        if let Some(early) = self.by_rate.get_mut(&rate) {
            early.due = None;
        }
        Some(rate)
    }

    /// Sets when a rate is due next.
    pub(super) fn postpone(&mut self, rate: &Rate, at: Tick) {
        let Some(early) = self.by_rate.get_mut(rate) else { return };
        if let Some(before) = early.due.replace(at) {
            self.due.remove(&(before, early.number));
        }
        self.due.insert((at, early.number), rate.clone());
    }
}

/// Lines whose concurrency key is at its limit, by key and limit.
#[derive(Debug, Default)]
pub(super) struct ConcurrencyWaiters(FxHashMap<std::sync::Arc<str>, BTreeMap<u32, Ordered>>);

impl ConcurrencyWaiters {
    /// Whether nothing is left, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, limit: &Concurrency, rank: Rank, line: LineKey) {
        self.0.entry(limit.key.clone()).or_default().entry(limit.max).or_default().insert(rank, line);
    }

    pub(super) fn remove(&mut self, limit: &Concurrency, rank: Rank) {
        let Some(by_max) = self.0.get_mut(&limit.key) else { return };
        let Some(lines) = by_max.get_mut(&limit.max) else { return };
        lines.remove(&rank);
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

    /// The limits of the lines that wait for this key.
    pub(super) fn maxima(&self, key: &str) -> impl Iterator<Item = u32> {
        self.0.get(key).into_iter().flat_map(|by_max| by_max.keys().copied())
    }
}

slotmap::new_key_type! {
    /// The lines with one demand.
    pub(super) struct GroupKey;
}

/// Lines with one demand for shared capacity.
#[derive(Debug)]
pub(super) struct DemandGroup {
    demand: Demand,
    pub(super) lines: Ordered,
    /// Lines that have been overtaken too often: capacity is reserved for them.
    pub(super) starved: Ordered,
    /// The last pass that visited it.
    visited: u64,
}

/// Lines that wait for shared capacity or for the end of a reservation, by demand.
#[derive(Debug, Default)]
pub(super) struct CapacityWaiters {
    groups: SlotMap<GroupKey, DemandGroup>,
    by_demand: FxHashMap<Demand, GroupKey>,
    /// The demands by the ranks of their first lines.
    order: BTreeMap<Rank, GroupKey>,
}

impl CapacityWaiters {
    /// Whether nothing is left, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.by_demand.is_empty() && self.order.is_empty()
    }

    /// A line for which this pass found too little capacity joins the group with its demand.
    pub(super) fn insert(&mut self, demand: Demand, rank: Rank, line: LineKey, pass: u64) {
        let Self { groups, by_demand, order } = self;
        let group = *by_demand.entry(demand).or_insert_with(|| {
            groups.insert(DemandGroup { demand, lines: Ordered::new(), starved: Ordered::new(), visited: pass })
        });
        let lines = &mut groups[group].lines;
        let first = lines.first_key_value().map(|(rank, _)| *rank);
        lines.insert(rank, line);
        if first.is_none_or(|first| rank < first) {
            if let Some(first) = first {
                order.remove(&first);
            }
            order.insert(rank, group);
        }
    }

    pub(super) fn remove(&mut self, demand: Demand, rank: Rank) {
        let Some(&group) = self.by_demand.get(&demand) else { return };
        let Some(needing) = self.groups.get_mut(group) else { return };
        needing.lines.remove(&rank);
        needing.starved.remove(&rank);
        let first = needing.lines.first_key_value().map(|(rank, _)| *rank);
        if let Some(first) = first.filter(|first| *first < rank) {
            debug_assert!(self.order.contains_key(&first));
            return;
        }
        self.order.remove(&rank);
        if let Some(first) = first {
            self.order.insert(first, group);
        } else {
            self.groups.remove(group);
            self.by_demand.remove(&demand);
        }
    }

    /// A line of the group is starved.
    pub(super) fn reserve(&mut self, demand: Demand, rank: Rank, line: LineKey) {
        if let Some(group) = self.by_demand.get(&demand).and_then(|group| self.groups.get_mut(*group)) {
            group.starved.insert(rank, line);
        }
    }

    pub(super) fn get(&self, group: GroupKey) -> Option<&DemandGroup> {
        self.groups.get(group)
    }

    /// The demand whose first line is the first behind `after` and not behind `to`.
    pub(super) fn next(&self, after: Option<Rank>, to: Option<Rank>) -> Option<(Rank, GroupKey)> {
        let from = after.map_or(Unbounded, Excluded);
        let (rank, group) = self.order.range((from, Unbounded)).next()?;
        to.is_none_or(|to| *rank <= to).then_some((*rank, *group))
    }

    /// The demand of a group, if this pass has not visited it before.
    pub(super) fn visit(&mut self, group: GroupKey, pass: u64) -> Option<Demand> {
        let needing = self.groups.get_mut(group)?;
        (std::mem::replace(&mut needing.visited, pass) != pass).then_some(needing.demand)
    }
}

/// The starved lines that reserve keys, by key.
#[derive(Debug, Default)]
pub(super) struct KeyReservations(FxHashMap<std::sync::Arc<str>, BTreeSet<(Rank, LineKey)>>);

impl KeyReservations {
    /// Whether nothing is left, for tests.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, key: &std::sync::Arc<str>, rank: Rank, line: LineKey) {
        self.0.entry(key.clone()).or_default().insert((rank, line));
    }

    pub(super) fn remove(&mut self, key: &str, rank: Rank, line: LineKey) {
        let Some(holders) = self.0.get_mut(key) else { return };
        holders.remove(&(rank, line));
        if holders.is_empty() {
            self.0.remove(key);
        }
    }

    /// The first line that reserves a key, if its rank is before `before`.
    pub(super) fn first(&self, key: &str, before: Rank) -> Option<(Rank, LineKey)> {
        self.0.get(key)?.first().copied().filter(|(rank, _)| *rank < before)
    }
}
