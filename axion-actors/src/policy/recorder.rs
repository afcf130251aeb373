//! The facts of the present turn, in the order in which they were decided (L13).

use crate::model::{FactKind, Tick};

/// Collects facts until the turn ends. While nobody listens, they are only counted, so that their numbers are right.
#[derive(Debug, Default)]
pub struct Recorder {
    listening: bool,
    turn: Turn,
}

/// The facts of one turn.
#[derive(Debug, Default)]
pub struct Turn {
    /// How many.
    pub count: u64,
    /// The facts, if anybody listened when the turn began.
    pub facts: Vec<(Tick, FactKind)>,
}

impl Turn {
    /// A turn with one fact.
    #[must_use]
    pub fn of(now: Tick, kind: FactKind) -> Self {
        Self { count: 1, facts: vec![(now, kind)] }
    }
}

impl Recorder {
    /// A turn begins. A turn is made whole or not at all, so what was counted before it decides.
    pub fn begin(&mut self, listening: bool) {
        if self.turn.count == 0 {
            self.listening = listening;
        }
    }

    /// Whether facts are made.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.listening
    }

    /// Records a fact.
    #[inline]
    pub fn note(&mut self, now: Tick, kind: impl FnOnce() -> FactKind) {
        self.turn.count += 1;
        if self.listening {
            self.turn.facts.push((now, kind()));
        }
    }

    /// Records a fact with a part that was made before, if somebody listens.
    pub fn note_with<T>(&mut self, now: Tick, part: Option<T>, kind: impl FnOnce(T) -> FactKind) {
        self.turn.count += 1;
        if self.listening
            && let Some(part) = part
        {
            self.turn.facts.push((now, kind(part)));
        }
    }

    /// Counts facts that were not made, because nobody listens.
    pub fn skip(&mut self, count: u64) {
        self.turn.count += count;
    }

    /// Takes the facts of the turn.
    pub fn take(&mut self) -> Turn {
        std::mem::take(&mut self.turn)
    }
}
