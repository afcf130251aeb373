//! One pass over the lines that may be able to start, in rank order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::line::next;
use super::super::waiters::GroupKey;
use super::{Demand, Gate, LineKey, Ordered, Parked, Permit, Rank, WaitReason, WakeCondition};
use crate::model::Tick;

/// A pass probes at most this many unmet demands, the longest-waiting ones first, and at most this many lines
/// that only a reservation holds back. Lines behind them wait until one of these moves.
const MAX_PROBES: usize = 256;

/// Lines that one pass probes, besides the unprobed ones.
enum LineSource {
    /// Lines that wait for this condition, which may have changed.
    Opened(WakeCondition),
    /// Lines with one demand for shared capacity.
    DemandGroup { group: GroupKey, candidates: Candidates, after: Option<Rank> },
}

/// Which of the lines with one demand are worth a probe.
enum Candidates {
    All,
    /// The demand does not fit. Only starved lines matter, because capacity is reserved for them.
    Starved,
    /// All that they need is reserved already.
    None,
}

/// The state of a pass: how far it has come, and what it has reserved for the lines behind it.
struct Pass {
    sources: Vec<LineSource>,
    /// The next line of each source, with the number of the source.
    heads: BinaryHeap<Reverse<((Rank, LineKey), usize)>>,
    /// The kinds of shared capacity that are reserved for lines before.
    reserved_kinds: [bool; Demand::KINDS],
    /// How many demands the pass has added, and the rank of the last one.
    demands: usize,
    last_demand: Option<Rank>,
    /// The last line that was looked at.
    cursor: Option<Rank>,
    /// The number of lines that only a reservation holds back.
    reserved_away: usize,
}

impl<T: Clone> Gate<T> {
    /// Probes the lines that may be able to start, in rank order, and starts what fits. Returns whether a line became
    /// starved on the way, in which case the pass must run again.
    pub(super) fn run_pass(&mut self, now: Tick, started: &mut Vec<(T, Permit)>) -> bool {
        self.passes += 1;
        let mut pass = self.begin_pass(now);
        let mut again = false;
        while pass.reserved_away < MAX_PROBES && !again {
            let Some((rank, line, source)) = self.next_candidate(&pass) else { break };
            if let Some((first, group)) = self.capacity_waiters.next(pass.last_demand, Some(rank)) {
                pass.last_demand = Some(first);
                if !self.add_demand(&mut pass, group, now) {
                    break;
                }
            } else if source.is_none_or(|at| self.is_still_next(&mut pass, at, (rank, line), now)) {
                again = self.apply_verdict(&mut pass, (rank, line), source, now, started);
            }
        }
        for source in pass.sources {
            if let LineSource::Opened(condition) = source {
                self.close(condition, now);
            }
        }
        again
    }

    fn begin_pass(&mut self, now: Tick) -> Pass {
        let sources: Vec<LineSource> = self.opened.drain().map(LineSource::Opened).collect();
        let firsts = sources.iter().enumerate();
        let heads = firsts.filter_map(|(at, it)| Some(Reverse((self.next_of(it, now)?, at)))).collect();
        let reserved_kinds = [false; Demand::KINDS];
        Pass { sources, heads, reserved_kinds, demands: 0, last_demand: None, cursor: None, reserved_away: 0 }
    }

    /// The next line and its source; an unprobed line has no source. If only demands are left that the pass has not
    /// added, the rank of the first of them.
    fn next_candidate(&self, pass: &Pass) -> Option<(Rank, LineKey, Option<usize>)> {
        Some(match (next(&self.unprobed, None), pass.heads.peek()) {
            (Some((rank, line)), None) => (rank, line, None),
            (Some((rank, line)), Some(Reverse(((other, _), _)))) if rank < *other => (rank, line, None),
            (_, Some(Reverse(((rank, line), at)))) => (*rank, *line, Some(*at)),
            (None, None) => (self.capacity_waiters.next(pass.last_demand, None)?.0, LineKey::default(), None),
        })
    }

    /// Adds a demand to the pass: from here on its lines are probed. False if the pass has too many demands.
    fn add_demand(&mut self, pass: &mut Pass, group: GroupKey, now: Tick) -> bool {
        let visited = self.capacity_waiters.visit(group, self.passes);
        let Some(demand) = visited.filter(|demand| !self.is_done(demand, pass.reserved_kinds)) else { return true };
        if pass.demands == MAX_PROBES {
            return false;
        }
        pass.demands += 1;
        let candidates = if demand.fits(&self.free) { Candidates::All } else { Candidates::Starved };
        let source = LineSource::DemandGroup { group, candidates, after: pass.cursor };
        pass.heads.extend(self.next_of(&source, now).map(|next| Reverse((next, pass.sources.len()))));
        pass.sources.push(source);
        true
    }

    /// Takes the first line off the sources and says whether to probe it: an earlier probe of this pass may have parked
    /// it elsewhere.
    fn is_still_next(&self, pass: &mut Pass, at: usize, line: (Rank, LineKey), now: Tick) -> bool {
        pass.heads.pop();
        if let LineSource::DemandGroup { .. } = pass.sources[at]
            && self.is_done(&self.lines[line.1].class.demand, pass.reserved_kinds)
        {
            return false;
        }
        let actual = self.next_of(&pass.sources[at], now);
        if actual != Some(line) {
            pass.heads.extend(actual.map(|actual| Reverse((actual, at))));
        }
        actual == Some(line)
    }

    /// Starts the head of a line, or parks the line. Returns whether the start made another line starved.
    fn apply_verdict(
        &mut self,
        pass: &mut Pass,
        (rank, line): (Rank, LineKey),
        source: Option<usize>,
        now: Tick,
        started: &mut Vec<(T, Permit)>,
    ) -> bool {
        pass.cursor = Some(rank);
        let mut became_starved = false;
        let before = self.lines[line].parked;
        let verdict = self.probe(line, pass.reserved_kinds, now);
        match &verdict {
            None => became_starved = self.start(line, now, started),
            Some(WaitReason::RateLimited(at)) => self.park_by_rate(line, *at),
            Some(WaitReason::AtConcurrencyLimit) => {
                self.park(line, Parked::ByConcurrency);
            }
            Some(reason @ (WaitReason::InsufficientCapacity | WaitReason::Reserved)) => {
                let starved = self.park(line, Parked::ByCapacity);
                if starved {
                    self.reserve(line, &mut pass.reserved_kinds);
                }
                if let Some(LineSource::DemandGroup { candidates, .. }) = source.and_then(|at| pass.sources.get_mut(at))
                {
                    match reason {
                        WaitReason::InsufficientCapacity if starved => *candidates = Candidates::None,
                        WaitReason::InsufficientCapacity => *candidates = Candidates::Starved,
                        _ => pass.reserved_away += 1,
                    }
                }
            }
        }
        if let Some(reason) = &verdict {
            self.note_verdict(line, reason, before);
        }
        if let Some(at) = source {
            if let LineSource::DemandGroup { after, .. } = &mut pass.sources[at] {
                *after = Some(rank);
            }
            pass.heads.extend(self.next_of(&pass.sources[at], now).map(|next| Reverse((next, at))));
        }
        became_starved
    }

    /// Whether no line with this demand can start in this pass, and none can reserve more than is reserved already.
    fn is_done(&self, demand: &Demand, reserved_kinds: [bool; Demand::KINDS]) -> bool {
        let needs = || (0..Demand::KINDS).filter(|kind| demand.0[*kind] > 0 && !self.unlimited[*kind]);
        needs().next().is_some() && needs().all(|kind| reserved_kinds[kind])
    }

    /// The next line of a source. A line probed for an open condition is parked elsewhere afterwards.
    fn next_of(&self, source: &LineSource, now: Tick) -> Option<(Rank, LineKey)> {
        match source {
            LineSource::Opened(condition) if self.is_open(condition, now) => next(self.waiting_for(condition)?, None),
            LineSource::Opened(_) => None,
            LineSource::DemandGroup { group, candidates, after } => {
                let needing = self.capacity_waiters.get(*group)?;
                match candidates {
                    Candidates::All => next(&needing.lines, *after),
                    Candidates::Starved => next(&needing.starved, *after),
                    Candidates::None => None,
                }
            }
        }
    }

    fn waiting_for(&self, condition: &WakeCondition) -> Option<&Ordered> {
        match condition {
            WakeCondition::Rate(rate) => self.rate_waiters.lines(rate),
            WakeCondition::Concurrency(limit) => self.concurrency_waiters.lines(limit),
        }
    }

    fn is_open(&self, condition: &WakeCondition, now: Tick) -> bool {
        match condition {
            WakeCondition::Rate(rate) => self.allowed(rate) <= now,
            WakeCondition::Concurrency(limit) => self.has_room(limit),
        }
    }

    /// Ends the pass for a condition. Lines that still wait for it are probed when it changes, or in the next pass if
    /// this one did not reach them.
    fn close(&mut self, condition: WakeCondition, now: Tick) {
        if self.waiting_for(&condition).is_none() {
            return;
        }
        match &condition {
            _ if self.is_open(&condition, now) => {
                self.opened.insert(condition);
            }
            WakeCondition::Rate(rate) => {
                let at = self.allowed(rate);
                self.rate_waiters.postpone(rate, at);
            }
            WakeCondition::Concurrency(_) => {}
        }
    }
}
