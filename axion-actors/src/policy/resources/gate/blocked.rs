//! Why what waits at the gate waits there: taken down while somebody listens, by the verdicts that decide it (L15).

use super::{Gate, LineKey, Parked, WaitReason};
use crate::model::{BlockedBy, Resource, Shortage, TaskId};
use crate::policy::resources::demand::Demand;

/// The kinds of a [`Demand`], in its order.
const KINDS: [Resource; Demand::KINDS] =
    [Resource::Slots, Resource::Slots, Resource::Cpu, Resource::MemoryShare, Resource::MemoryBytes];

/// Something that has to wait, where it waits, and for what.
#[derive(Debug)]
pub(super) struct Verdict {
    line: LineKey,
    arrival: u64,
    by: BlockedBy,
    /// The line that reserves what it needs.
    reserved_for: Option<LineKey>,
}

impl<T> Gate<T> {
    /// Whether the reasons of waits are taken down from now on.
    pub fn listen(&mut self, on: bool) {
        if on != self.verdicts.is_some() {
            self.verdicts = on.then(Vec::new);
        }
    }

    /// Takes the reasons since the last call, in their order: of what still waits, if it has a name.
    pub fn take_blocked(&mut self, name: impl Fn(&T) -> Option<TaskId>) -> Vec<(TaskId, BlockedBy)> {
        let verdicts = self.verdicts.as_mut().map(std::mem::take).unwrap_or_default();
        let named = verdicts.into_iter().filter_map(|Verdict { line, arrival, by, reserved_for }| {
            let task = name(self.lines.get(line)?.waiting.get(&arrival)?)?;
            let holder = reserved_for.and_then(|line| self.lines.get(line)?.waiting.first_key_value());
            let by = match holder {
                Some((_, holder)) => BlockedBy::Reserved { by: name(holder) },
                None => by,
            };
            Some((task, by))
        });
        named.collect()
    }

    /// Something stands behind another in its line.
    pub(super) fn note_behind(&mut self, line: LineKey, arrival: u64) {
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.push(Verdict { line, arrival, by: BlockedBy::SameLimits, reserved_for: None });
        }
    }

    /// The head of a line waits now, and was not parked there before.
    pub(super) fn note_verdict(&mut self, line: LineKey, reason: &WaitReason, before: Parked) {
        let Some(head) = self.lines.get(line).filter(|it| it.parked != before) else { return };
        if self.verdicts.is_none() {
            return;
        }
        let (class, rank) = (&head.class, head.rank);
        let holder = |key| self.reservations.first(key, rank).map(|(_, line)| line);
        let (mut by, mut reserved_for) = (BlockedBy::Reserved { by: None }, None);
        match (reason, &class.rate, &class.concurrency) {
            (WaitReason::RateLimited(at), Some(rate), _) => {
                by = BlockedBy::Rate { key: rate.key.clone(), allowed_at: *at };
            }
            (WaitReason::AtConcurrencyLimit, _, Some(limit)) => {
                let running = self.running.get(&limit.key).copied().unwrap_or(0);
                by = BlockedBy::Concurrency { key: limit.key.clone(), max: limit.max, running };
            }
            (WaitReason::InsufficientCapacity, ..) => {
                let short_of = self.shortages(&class.demand);
                if !short_of.is_empty() {
                    by = BlockedBy::Capacity { short_of };
                }
            }
            _ => reserved_for = class.keys().find_map(|key| holder(key)),
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.push(Verdict { line, arrival: rank.1, by, reserved_for });
        }
    }

    fn shortages(&self, demand: &Demand) -> Vec<Shortage> {
        let needs = KINDS.into_iter().zip(demand.0).zip(self.free.0);
        let short = needs.filter(|((_, needed), free)| needed > free);
        short.map(|((of, needed), free)| Shortage { of, needed, free }).collect()
    }
}
