//! What is known under a task's id.
//!
//! Ids sort by the time at which they were made, and tasks are accepted, end and are forgotten in nearly that order. So
//! the entries stand in one sorted deque: a new id is pushed at the back, the oldest leaves at the front, and a [`Hint`]
//! finds an entry without a search. However long the deque is, the memory that is touched lies together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use crate::model::TaskId;

/// How far from the back an id is inserted that comes out of order: several threads submit, each with ids of its own.
const NEAR: usize = 64;

/// Where an id stood when it came. It may have moved since, so it is only where to look first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint(u64);

/// A map by task id.
#[derive(Debug)]
pub(super) struct TaskIds<V> {
    /// Ascending. `None`: taken out, and the first is not.
    ordered_ids: VecDeque<(TaskId, Option<V>)>,
    /// How many entries have left at the front, for the hints.
    retired: u64,
    /// How many of the line have been taken out.
    removed: usize,
    /// Ids that came too late to be inserted near the back.
    out_of_order: BTreeMap<TaskId, V>,
}

impl<V> Default for TaskIds<V> {
    fn default() -> Self {
        Self { ordered_ids: VecDeque::new(), retired: 0, removed: 0, out_of_order: BTreeMap::new() }
    }
}

impl<V> TaskIds<V> {
    /// Takes an id in; `None` if it is known.
    pub(super) fn insert(&mut self, id: TaskId, value: V) -> Option<Hint> {
        if !self.out_of_order.is_empty() && self.out_of_order.contains_key(&id) {
            return None;
        }
        let mut at = self.ordered_ids.len();
        let end = at.saturating_sub(NEAR);
        while at > end && number(self.ordered_ids[at - 1].0) >= number(id) {
            at -= 1;
        }
        if at == end && at > 0 {
            match self.search(id) {
                Ok(found) => at = found,
                Err(_) => {
                    return match self.out_of_order.entry(id) {
                        Entry::Vacant(entry) => {
                            entry.insert(value);
                            Some(Hint(self.retired))
                        }
                        Entry::Occupied(_) => None,
                    };
                }
            }
        }
        let hint = Hint(self.retired + at as u64);
        match self.ordered_ids.get_mut(at) {
            Some((known, place)) if *known == id => {
                if place.is_some() {
                    return None;
                }
                *place = Some(value);
                self.removed -= 1;
            }
            _ => self.ordered_ids.insert(at, (id, Some(value))),
        }
        Some(hint)
    }

    /// Whether none is known.
    pub(super) fn is_empty(&self) -> bool {
        self.ordered_ids.is_empty() && self.out_of_order.is_empty()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, count: usize) {
        self.ordered_ids.reserve(count);
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TaskId, &V)> {
        let ordered_ids = self.ordered_ids.iter().filter_map(|(id, value)| Some((*id, value.as_ref()?)));
        ordered_ids.chain(self.out_of_order.iter().map(|(id, value)| (*id, value)))
    }

    /// All of them.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (TaskId, V)> {
        self.ordered_ids.into_iter().filter_map(|(id, value)| Some((id, value?))).chain(self.out_of_order)
    }

    /// What is known under an id.
    pub(super) fn get(&self, id: TaskId) -> Option<&V> {
        match self.search(id) {
            Ok(at) => self.ordered_ids[at].1.as_ref(),
            Err(_) => self.out_of_order.get(&id),
        }
    }

    /// The same, to be changed, of an id that stood there.
    pub(super) fn get_mut(&mut self, id: TaskId, hint: Hint) -> Option<&mut V> {
        match self.search_from(id, hint) {
            Some(at) => self.ordered_ids[at].1.as_mut(),
            None => self.out_of_order.get_mut(&id),
        }
    }

    /// Takes an id out that stood there.
    pub(super) fn remove(&mut self, id: TaskId, hint: Hint) -> Option<V> {
        let Some(at) = self.search_from(id, hint) else { return self.out_of_order.remove(&id) };
        let value = self.ordered_ids[at].1.take()?;
        self.removed += 1;
        while self.ordered_ids.pop_front_if(|(_, value)| value.is_none()).is_some() {
            (self.retired, self.removed) = (self.retired + 1, self.removed - 1);
        }
        // An entry that stays at the front does not keep the places of removed ones behind it (L9).
        if self.removed > NEAR && self.removed > self.ordered_ids.len() / 2 {
            self.ordered_ids.retain(|(_, value)| value.is_some());
            self.removed = 0;
        }
        Some(value)
    }

    fn search_from(&self, id: TaskId, Hint(hint): Hint) -> Option<usize> {
        let at = usize::try_from(hint.wrapping_sub(self.retired)).ok();
        match at.filter(|at| self.ordered_ids.get(*at).is_some_and(|(known, _)| *known == id)) {
            Some(at) => Some(at),
            None => self.search(id).ok(),
        }
    }

    fn search(&self, id: TaskId) -> Result<usize, usize> {
        // Most ids that are not known are new.
        match self.ordered_ids.back() {
            Some((last, _)) if number(*last) >= number(id) => {
                self.ordered_ids.binary_search_by_key(&number(id), |(known, _)| number(*known))
            }
            _ => Err(self.ordered_ids.len()),
        }
    }
}

/// Sorts as the id does, and is compared faster than its bytes.
fn number(id: TaskId) -> u128 {
    id.0.as_u128()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> TaskId {
        TaskId(Uuid::from_u128(number))
    }

    #[derive(Clone, Debug)]
    enum IdStep {
        Insert(u128),
        Remove(u128),
        Change(u128),
    }

    fn step() -> impl Strategy<Value = IdStep> {
        prop_oneof![
            4 => (0..400u128).prop_map(IdStep::Insert),
            3 => (0..400u128).prop_map(IdStep::Remove),
            1 => (0..400u128).prop_map(IdStep::Change),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_holds_no_more_than_twice_what_is_in_it(
            // Ids that come in order, and then some in any.
            ordered in 0..300u128,
            steps in proptest::collection::vec(step(), 0..600)
        ) {
            let (mut ids, mut model, mut hints) = (TaskIds::default(), BTreeMap::new(), BTreeMap::new());
            let steps = (0..ordered).map(IdStep::Insert).chain(steps);
            for (value, step) in steps.enumerate() {
                match step {
                    IdStep::Insert(number) => {
                        let hint = ids.insert(id(number), value);
                        prop_assert_eq!(hint.is_none(), model.contains_key(&number));
                        if let Some(hint) = hint {
                            model.insert(number, value);
                            hints.insert(number, hint);
                        }
                    }
                    IdStep::Remove(number) => {
                        let hint = hints.get(&number).copied().unwrap_or(Hint(0));
                        prop_assert_eq!(ids.remove(id(number), hint), model.remove(&number));
                    }
                    IdStep::Change(number) => {
                        let hint = hints.get(&number).copied().unwrap_or(Hint(7));
                        let found = ids.get_mut(id(number), hint).map(|it| std::mem::replace(it, value));
                        prop_assert_eq!(found, model.get_mut(&number).map(|it| std::mem::replace(it, value)));
                    }
                }
                prop_assert_eq!(ids.removed, ids.ordered_ids.iter().filter(|(_, value)| value.is_none()).count());
                prop_assert!(ids.ordered_ids.front().is_none_or(|(_, value)| value.is_some()));
                prop_assert!(ids.ordered_ids.len() + ids.out_of_order.len() <= 2 * model.len() + NEAR + 1, "L9");
                prop_assert!(ids.ordered_ids.iter().is_sorted_by(|one, other| one.0 < other.0));
            }
            for number in 0..400 {
                prop_assert_eq!(ids.get(id(number)), model.get(&number));
            }
        }
    }

    #[test]
    fn l9_one_that_stays_does_not_keep_the_places_of_a_million_that_have_left() {
        let mut ids = TaskIds::default();
        let mut hints: VecDeque<_> = VecDeque::new();
        ids.insert(id(0), ());
        for number in 1..100_000 {
            hints.push_back((number, ids.insert(id(number), ()).expect("new")));
            if hints.len() > 100 {
                let (oldest, hint) = hints.pop_front().expect("some");
                assert_eq!(ids.remove(id(oldest), hint), Some(()));
            }
            assert!(ids.ordered_ids.len() < 400);
        }
        assert_eq!(ids.get(id(0)), Some(&()));
    }

    #[test]
    fn where_an_id_stood_is_where_it_is_found() {
        let mut ids = TaskIds::default();
        let hints: Vec<Hint> = (0..100).map(|n| ids.insert(id(n), n).expect("new")).collect();
        for n in 0..50 {
            ids.remove(id(n), hints[n as usize]);
        }
        for n in 50..100 {
            let Hint(hint) = hints[n as usize];
            assert_eq!(ids.ordered_ids[usize::try_from(hint - ids.retired).expect("it has not retired")].0, id(n));
        }
    }
}
