//! The names and the order of lines. The gate, which owns the lines, and the places where they are parked share them.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use crate::model::Priority;

slotmap::new_key_type! {
    /// A line of the gate.
    pub(super) struct LineKey;
}

/// The order of waiting tasks: by priority, then by arrival.
pub(super) type Rank = (Priority, u64);

/// Lines by the ranks of their heads.
pub(super) type Ordered = BTreeMap<Rank, LineKey>;

/// The first line behind this rank, or the first of all.
pub(super) fn next(lines: &Ordered, after: Option<Rank>) -> Option<(Rank, LineKey)> {
    let from = after.map_or(Unbounded, Excluded);
    lines.range((from, Unbounded)).next().map(|(rank, line)| (*rank, *line))
}
