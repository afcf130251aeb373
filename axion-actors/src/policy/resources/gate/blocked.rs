//! The reasons why tasks wait at the gate. The gate notes them as it decides, and only while somebody listens (L15).

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Gate, LineKey, Parked, Permit, WaitReason};
use crate::model::{BlockedBy, Concurrency, Resource, Shortage, TaskId};
use crate::policy::resources::demand::Demand;

/// The kinds of a [`Demand`], in its order.
const KINDS: [Resource; Demand::KINDS] =
    [Resource::Slots, Resource::Slots, Resource::Cpu, Resource::MemoryShare, Resource::MemoryBytes];

/// What the gate keeps while somebody listens.
#[derive(Debug)]
pub(super) struct Watch<T> {
    verdicts: Vec<Verdict<T>>,
    /// The tasks that hold a concurrency key, by arrival.
    holders: FxHashMap<Arc<str>, BTreeMap<u64, T>>,
}

impl<T: Clone> Watch<T> {
    fn new<'a>(running: impl Iterator<Item = (T, &'a Permit)>) -> Self {
        let mut watch = Self { verdicts: Vec::new(), holders: FxHashMap::default() };
        running.for_each(|(what, permit)| watch.add_holder(&what, permit));
        watch
    }

    pub(super) fn add_holder(&mut self, what: &T, permit: &Permit) {
        if let Some(key) = &permit.key {
            self.holders.entry(key.clone()).or_default().insert(permit.arrival, what.clone());
        }
    }

    pub(super) fn remove_holder(&mut self, permit: &Permit) {
        let Some(key) = &permit.key else { return };
        let Some(holders) = self.holders.get_mut(key) else { return };
        holders.remove(&permit.arrival);
        if holders.is_empty() {
            self.holders.remove(key);
        }
    }

    /// The first holders of a key, as many as a reason names.
    fn first_holders(&self, key: &str) -> Vec<T> {
        let holders = self.holders.get(key).into_iter().flat_map(BTreeMap::values);
        holders.take(BlockedBy::MAX_HOLDERS).cloned().collect()
    }

    /// Whether it names no holder, for tests (L9).
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

/// A waiting task and the reason of its wait.
#[derive(Debug)]
struct Verdict<T> {
    line: LineKey,
    arrival: u64,
    reason: Reason<T>,
}

/// A reason whose tasks have no id yet.
#[derive(Debug)]
enum Reason<T> {
    /// A reason that names no task.
    Plain(BlockedBy),
    /// The key is at its limit.
    Key { limit: Concurrency, running: u32, holders: Vec<T> },
    /// A key that it needs is reserved for the head of this line.
    ReservedFor(LineKey),
}

impl<T: Clone> Gate<T> {
    /// Whether the reasons of waits are noted from now on. `running` has all tasks that hold a permit; it is read when
    /// the noting begins.
    pub fn listen<'a>(&mut self, on: bool, running: impl Iterator<Item = (T, &'a Permit)>) {
        if on != self.watch.is_some() {
            self.watch = on.then(|| Watch::new(running));
        }
    }

    /// Takes the reasons since the last call, in their order, of the tasks that still wait. `id` has the id of a task.
    pub fn take_blocked(&mut self, id: impl Fn(&T) -> Option<TaskId>) -> Vec<(T, BlockedBy)> {
        let verdicts = self.watch.as_mut().map(|watch| std::mem::take(&mut watch.verdicts)).unwrap_or_default();
        let waits = verdicts.into_iter().filter_map(|Verdict { line, arrival, reason }| {
            let what = self.lines.get(line)?.waiting.get(&arrival)?.clone();
            let by = match reason {
                Reason::Plain(by) => by,
                Reason::Key { limit: Concurrency { key, max }, running, holders } => {
                    BlockedBy::Concurrency { key, max, running, holders: holders.iter().filter_map(&id).collect() }
                }
                Reason::ReservedFor(line) => {
                    let head = self.lines.get(line).and_then(|line| line.waiting.values().next());
                    BlockedBy::Reserved { by: head.and_then(&id) }
                }
            };
            Some((what, by))
        });
        waits.collect()
    }

    /// Notes that a task stands behind another one in its line.
    pub(super) fn note_behind(&mut self, line: LineKey, arrival: u64) {
        if let Some(watch) = &mut self.watch {
            watch.verdicts.push(Verdict { line, arrival, reason: Reason::Plain(BlockedBy::SameLimits) });
        }
    }

    /// Notes why the head of a line waits, unless it was parked there before.
    pub(super) fn note_verdict(&mut self, line: LineKey, reason: &WaitReason, before: Parked) {
        let Some(head) = self.lines.get(line).filter(|it| it.parked != before) else { return };
        let Some(watch) = &self.watch else { return };
        let (class, rank) = (&head.class, head.rank);
        let reserved = || {
            let first = class.keys().find_map(|key| self.reservations.first(key, rank));
            first.map_or(Reason::Plain(BlockedBy::Reserved { by: None }), |(_, line)| Reason::ReservedFor(line))
        };
        let reason = match (reason, &class.rate, &class.concurrency) {
            (WaitReason::RateLimited(at), Some(rate), _) => {
                Reason::Plain(BlockedBy::Rate { key: rate.key.clone(), allowed_at: *at })
            }
            (WaitReason::AtConcurrencyLimit, _, Some(limit)) => Reason::Key {
                limit: limit.clone(),
                running: self.running.get(&limit.key).copied().unwrap_or(0),
                holders: watch.first_holders(&limit.key),
            },
            (WaitReason::InsufficientCapacity, ..) => {
                let short_of = self.shortages(&class.demand);
                let is_reserved = short_of.is_empty();
                Reason::Plain(if is_reserved {
                    BlockedBy::Reserved { by: None }
                } else {
                    BlockedBy::Capacity { short_of }
                })
            }
            _ => reserved(),
        };
        if let Some(watch) = &mut self.watch {
            watch.verdicts.push(Verdict { line, arrival: rank.1, reason });
        }
    }

    fn shortages(&self, demand: &Demand) -> Vec<Shortage> {
        let needs = KINDS.into_iter().zip(demand.0).zip(self.free.0);
        let short = needs.filter(|((_, needed), free)| needed > free);
        short.map(|((of, needed), free)| Shortage { of, needed, free }).collect()
    }
}
