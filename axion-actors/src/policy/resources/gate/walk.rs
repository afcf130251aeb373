//! One walk along the lines whose turn may have come, in their order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::parked::{GroupKey, next};
use super::{Cause, Demand, Gate, LineKey, Ordered, Place, Spot, Ticket, Verdict};
use crate::model::Tick;

/// So many different demands that cannot be met are looked at, the longest-waiting ones first, and as many lines
/// that could have what they need if it were not held for others; what is behind them has to wait until one of
/// these moves.
const LOOKS: usize = 256;

/// Lines that are looked at in one pass, beside the fresh ones.
enum Source {
    /// They wait for this, and it may have changed.
    Opened(Cause),
    /// They need this of what all share.
    Needing { group: GroupKey, wanted: Wanted, after: Option<Place> },
}

/// Which of the lines with one demand are worth a look.
enum Wanted {
    All,
    /// None can have what it needs: only who has lost patience matters, since that is held for it.
    Impatient,
    /// All that they need is held already.
    None,
}

/// How far a pass has come, and what is held for those it has passed by.
struct Walk {
    sources: Vec<Source>,
    /// The next line of each source, with the number of the source.
    nexts: BinaryHeap<Reverse<((Place, LineKey), usize)>>,
    /// The kinds of what all share that are held for lines before.
    held: [bool; Demand::KINDS],
    /// How many demands have joined in, and the place of the last one.
    demands: usize,
    joined: Option<Place>,
    /// The last line that was looked at.
    cursor: Option<Place>,
    /// How many could have what they need if it were not held for others.
    stayed: usize,
}

impl<T> Gate<T> {
    /// Looks in their order at the lines whose turn may have come, and lets through what fits. Returns whether
    /// somebody has lost patience on the way, so that it has to look again.
    pub(super) fn pass(&mut self, now: Tick, through: &mut Vec<(T, Ticket)>) -> bool {
        self.passes += 1;
        let mut walk = self.set_out(now);
        let mut again = false;
        while walk.stayed < LOOKS && !again {
            let Some((place, line, source)) = self.nearest(&walk) else { break };
            if let Some((first, group)) = self.lacking.next(walk.joined, Some(place)) {
                walk.joined = Some(first);
                if !self.join_in(&mut walk, group, now) {
                    break;
                }
            } else if source.is_none_or(|at| self.is_still_next(&mut walk, at, (place, line), now)) {
                again = self.settle(&mut walk, (place, line), source, now, through);
            }
        }
        for source in walk.sources {
            if let Source::Opened(cause) = source {
                self.close(cause, now);
            }
        }
        again
    }

    fn set_out(&mut self, now: Tick) -> Walk {
        let sources: Vec<Source> = self.opened.drain().map(Source::Opened).collect();
        let firsts = sources.iter().enumerate();
        let nexts = firsts.filter_map(|(at, it)| Some(Reverse((self.next_of(it, now)?, at)))).collect();
        let held = [false; Demand::KINDS];
        Walk { sources, nexts, held, demands: 0, joined: None, cursor: None, stayed: 0 }
    }

    /// The next line, and the source it is from; a fresh one is from none. If only demands are left that have not joined
    /// in, the place of the first of them.
    fn nearest(&self, walk: &Walk) -> Option<(Place, LineKey, Option<usize>)> {
        Some(match (next(&self.fresh, None), walk.nexts.peek()) {
            (Some((place, line)), None) => (place, line, None),
            (Some((place, line)), Some(Reverse(((other, _), _)))) if place < *other => (place, line, None),
            (_, Some(Reverse(((place, line), at)))) => (*place, *line, Some(*at)),
            (None, None) => (self.lacking.next(walk.joined, None)?.0, LineKey::default(), None),
        })
    }

    /// The turn of a demand has come: from here on the lines that have it are looked at. False if there are too many.
    fn join_in(&mut self, walk: &mut Walk, group: GroupKey, now: Tick) -> bool {
        let visited = self.lacking.visit(group, self.passes);
        let Some(demand) = visited.filter(|demand| !self.is_done(demand, walk.held)) else { return true };
        if walk.demands == LOOKS {
            return false;
        }
        walk.demands += 1;
        let wanted = if demand.fits(&self.free) { Wanted::All } else { Wanted::Impatient };
        let source = Source::Needing { group, wanted, after: walk.cursor };
        walk.nexts.extend(self.next_of(&source, now).map(|next| Reverse((next, walk.sources.len()))));
        walk.sources.push(source);
        true
    }

    /// Takes the first line off the sources, and says whether it is to be looked at: meanwhile it may have been found to
    /// wait for something else.
    fn is_still_next(&self, walk: &mut Walk, at: usize, line: (Place, LineKey), now: Tick) -> bool {
        walk.nexts.pop();
        if let Source::Needing { .. } = walk.sources[at]
            && self.is_done(&self.lines[line.1].class.demand, walk.held)
        {
            return false;
        }
        let actual = self.next_of(&walk.sources[at], now);
        if actual != Some(line) {
            walk.nexts.extend(actual.map(|actual| Reverse((actual, at))));
        }
        actual == Some(line)
    }

    /// Lets the head of a line through, or puts the line where it waits. Returns whether somebody has lost patience by
    /// that start.
    fn settle(
        &mut self,
        walk: &mut Walk,
        (place, line): (Place, LineKey),
        source: Option<usize>,
        now: Tick,
        through: &mut Vec<(T, Ticket)>,
    ) -> bool {
        walk.cursor = Some(place);
        let mut lost = false;
        let verdict = self.look(line, walk.held, now);
        match verdict {
            Verdict::Start => lost = self.start(line, now, through),
            Verdict::TooEarly(at) => self.put_early(line, at),
            Verdict::Full => {
                self.put_waiting(line, Spot::Full);
            }
            Verdict::Lacks | Verdict::Barred => {
                let impatient = self.put_waiting(line, Spot::Lacking);
                if impatient {
                    self.hold(line, &mut walk.held);
                }
                if let Some(Source::Needing { wanted, .. }) = source.and_then(|at| walk.sources.get_mut(at)) {
                    match verdict {
                        Verdict::Lacks if impatient => *wanted = Wanted::None,
                        Verdict::Lacks => *wanted = Wanted::Impatient,
                        _ => walk.stayed += 1,
                    }
                }
            }
        }
        if let Some(at) = source {
            if let Source::Needing { after, .. } = &mut walk.sources[at] {
                *after = Some(place);
            }
            walk.nexts.extend(self.next_of(&walk.sources[at], now).map(|next| Reverse((next, at))));
        }
        lost
    }

    /// Whether nothing with this demand may start any more, and nothing is held for it that is not held already.
    fn is_done(&self, demand: &Demand, held: [bool; Demand::KINDS]) -> bool {
        let needs = || (0..Demand::KINDS).filter(|kind| demand.0[*kind] > 0 && !self.endless[*kind]);
        needs().next().is_some() && needs().all(|kind| held[kind])
    }

    /// The line of a source that is next. All that are looked at for an open cause find another place.
    fn next_of(&self, source: &Source, now: Tick) -> Option<(Place, LineKey)> {
        match source {
            Source::Opened(cause) if self.is_open(cause, now) => next(self.waiting_for(cause)?, None),
            Source::Opened(_) => None,
            Source::Needing { group, wanted, after } => {
                let needing = self.lacking.get(*group)?;
                match wanted {
                    Wanted::All => next(&needing.lines, *after),
                    Wanted::Impatient => next(&needing.impatient, *after),
                    Wanted::None => None,
                }
            }
        }
    }

    fn waiting_for(&self, cause: &Cause) -> Option<&Ordered> {
        match cause {
            Cause::Early(rate) => self.earlies.lines(rate),
            Cause::Full(limit) => self.fulls.lines(limit),
        }
    }

    fn is_open(&self, cause: &Cause, now: Tick) -> bool {
        match cause {
            Cause::Early(rate) => self.allowed(rate) <= now,
            Cause::Full(limit) => self.has_room(limit),
        }
    }

    /// A pass is over: who still waits for this is looked at when it changes, or in the next pass if there was no
    /// time for it.
    fn close(&mut self, cause: Cause, now: Tick) {
        if self.waiting_for(&cause).is_none() {
            return;
        }
        match &cause {
            _ if self.is_open(&cause, now) => {
                self.opened.insert(cause);
            }
            Cause::Early(rate) => {
                let at = self.allowed(rate);
                self.earlies.put_off(rate, at);
            }
            Cause::Full(_) => {}
        }
    }
}
