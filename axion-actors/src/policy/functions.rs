//! Which functions a worker process has, with their parts. Each piece is sent to it once, and the process keeps a
//! bounded number and a bounded size of them (L9).

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::model::{Function, Part, PartId};

/// What a process keeps at most. The functions of attempts in flight may exceed it.
#[derive(Clone, Copy, Debug)]
struct Limits {
    functions: usize,
    /// The code of functions and their parts.
    pieces: usize,
    bytes: usize,
}

const LIMITS: Limits = Limits { functions: 256, pieces: 4096, bytes: 64 << 20 };

/// The functions of one process.
#[derive(Debug)]
pub struct KnownFunctions {
    /// The most recently used one is last.
    known: VecDeque<Known>,
    pieces: FxHashMap<PartId, Piece>,
    /// The size of all pieces.
    bytes: usize,
    limits: Limits,
}

#[derive(Debug)]
struct Known {
    id: PartId,
    pieces: Box<[PartId]>,
    /// The attempts that were sent and have not ended. The process keeps what they need.
    in_flight: usize,
}

#[derive(Debug)]
struct Piece {
    size: usize,
    /// The number of known functions that have it.
    functions: usize,
}

/// What a process must be told before the call of a function.
#[derive(Debug, PartialEq, Eq)]
pub enum Order<'a> {
    /// It may drop this piece.
    Forget(PartId),
    /// It does not have this piece.
    Define(&'a Part),
}

impl Default for KnownFunctions {
    fn default() -> Self {
        Self::with_limits(LIMITS)
    }
}

impl KnownFunctions {
    fn with_limits(limits: Limits) -> Self {
        Self { known: VecDeque::new(), pieces: FxHashMap::default(), bytes: 0, limits }
    }

    /// Notes that an attempt of this function is about to be sent. Calls `tell` with each order that precedes it.
    pub fn sent<'a>(&mut self, function: &'a Function, mut tell: impl FnMut(Order<'a>)) {
        if let Some(at) = self.position(function.id()) {
            self.known[at].in_flight += 1;
            if at + 1 != self.known.len()
                && let Some(found) = self.known.remove(at)
            {
                self.known.push_back(found);
            }
            // Attempts that were in flight may have exceeded the limits.
            return self.evict(|id| tell(Order::Forget(id)));
        }
        // Before the eviction, so that it spares what this function needs.
        let missing: Vec<&Part> = function.pieces().filter(|piece| self.add(piece)).collect();
        let pieces = function.pieces().map(Part::id).collect();
        self.known.push_back(Known { id: function.id(), pieces, in_flight: 1 });
        self.evict(|id| tell(Order::Forget(id)));
        missing.into_iter().for_each(|piece| tell(Order::Define(piece)));
    }

    /// Notes that an attempt of this function has ended, or was given back.
    pub fn ended(&mut self, function: PartId) {
        if let Some(at) = self.position(function) {
            self.known[at].in_flight -= 1;
        }
    }

    fn position(&self, function: PartId) -> Option<usize> {
        self.known.iter().rposition(|known| known.id == function)
    }

    /// Adds a piece of a function. Returns whether the process does not have it yet.
    fn add(&mut self, part: &Part) -> bool {
        let size = part.bytes().len();
        let piece = self.pieces.entry(part.id()).or_insert(Piece { size, functions: 0 });
        piece.functions += 1;
        let is_missing = piece.functions == 1;
        self.bytes += if is_missing { size } else { 0 };
        is_missing
    }

    /// Keeps the limits. The functions that were used longest ago go first.
    fn evict(&mut self, mut forget: impl FnMut(PartId)) {
        while self.is_over()
            && let Some(at) = self.known.iter().position(|known| known.in_flight == 0)
            && let Some(gone) = self.known.remove(at)
        {
            for id in gone.pieces {
                if self.remove(id) {
                    forget(id);
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let Limits { functions, pieces, bytes } = self.limits;
        self.known.len() > functions || self.pieces.len() > pieces || self.bytes > bytes
    }

    /// Removes a piece of a function. Returns whether no other function has it.
    fn remove(&mut self, id: PartId) -> bool {
        let Some(piece) = self.pieces.get_mut(&id) else { return false };
        piece.functions -= 1;
        if piece.functions > 0 {
            return false;
        }
        self.bytes -= piece.size;
        self.pieces.remove(&id);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn function(code: &[u8], parts: &[&Part]) -> Function {
        let parts = parts.iter().map(|part| (*part).clone()).collect();
        Function::with_parts("f", code.to_vec(), parts)
    }

    fn sent<'a>(known: &mut KnownFunctions, function: &'a Function) -> Vec<Order<'a>> {
        let mut orders = Vec::new();
        known.sent(function, |order| orders.push(order));
        orders
    }

    #[test]
    fn the_function_that_was_used_longest_ago_goes_first() {
        let mut known = KnownFunctions::default();
        let functions: Vec<Function> = (0..=LIMITS.functions).map(|n| function(&n.to_le_bytes(), &[])).collect();
        for function in &functions[..LIMITS.functions] {
            assert_eq!(sent(&mut known, function), [Order::Define(function.code())]);
            known.ended(function.id());
        }
        assert_eq!(sent(&mut known, &functions[0]), [], "it is there");
        known.ended(functions[0].id());
        let last = &functions[LIMITS.functions];
        assert_eq!(sent(&mut known, last), [Order::Forget(functions[1].id()), Order::Define(last.code())]);
    }

    #[test]
    fn a_part_is_sent_once_for_all_functions_and_forgotten_with_the_last_of_them() {
        let limits = Limits { functions: 2, ..LIMITS };
        let mut known = KnownFunctions::with_limits(limits);
        let [shared, own] = [Part::new("shared"), Part::new("own")];
        let [f, g, h] = [function(b"f", &[&shared, &own]), function(b"g", &[&shared]), function(b"h", &[&shared])];
        let defined: Vec<Order<'_>> = f.pieces().map(Order::Define).collect();
        assert_eq!(sent(&mut known, &f), defined, "parts before the code");
        assert_eq!(sent(&mut known, &g), [Order::Define(g.code())]);
        known.ended(f.id());
        let orders = [Order::Forget(own.id()), Order::Forget(f.id()), Order::Define(h.code())];
        assert_eq!(sent(&mut known, &h), orders);
    }

    #[test]
    fn what_an_attempt_in_flight_needs_is_not_forgotten() {
        let limits = Limits { functions: 1, ..LIMITS };
        let mut known = KnownFunctions::with_limits(limits);
        let [f, g, h] = [b"f", b"g", b"h"].map(|code| function(code, &[]));
        assert_eq!(sent(&mut known, &f), [Order::Define(f.code())]);
        assert_eq!(sent(&mut known, &f), []);
        known.ended(f.id());
        assert_eq!(sent(&mut known, &g), [Order::Define(g.code())], "one attempt of `f` has not ended");
        known.ended(f.id());
        assert_eq!(sent(&mut known, &h), [Order::Forget(f.id()), Order::Define(h.code())]);
    }

    proptest! {
        #[test]
        fn l9_a_process_has_what_it_is_sent_and_never_too_much(
            uses in proptest::collection::vec((0..40u8, proptest::collection::vec(0..12u8, 0..4), 0..3usize), 0..300)
        ) {
            let limits = Limits { functions: 8, pieces: 20, bytes: 400 };
            let (mut known, mut child) = (KnownFunctions::with_limits(limits), HashMap::new());
            let mut in_flight: VecDeque<Function> = VecDeque::new();
            let parts: Vec<Part> = (0..12u8).map(|n| Part::new(vec![n; usize::from(n) * 10])).collect();
            for (code, needs, end) in uses {
                let needs: Vec<&Part> = needs.iter().map(|n| &parts[usize::from(*n)]).collect();
                // The code lists the parts.
                let ids: Vec<u8> = [code, u8::MAX].into_iter().chain(needs.iter().flat_map(|it| it.id().0)).collect();
                let function = function(&ids, &needs);
                for order in sent(&mut known, &function) {
                    match order {
                        Order::Forget(id) => {
                            prop_assert!(child.remove(&id).is_some(), "it is only told to forget what it has");
                        }
                        Order::Define(part) => {
                            let earlier = child.insert(part.id(), part.bytes().len());
                            prop_assert!(earlier.is_none(), "it is only sent what it has not");
                        }
                    }
                }
                in_flight.push_back(function);
                let needed: HashMap<PartId, usize> = in_flight
                    .iter()
                    .flat_map(|it| it.pieces().map(|piece| (piece.id(), piece.bytes().len())))
                    .collect();
                prop_assert!(needed.keys().all(|id| child.contains_key(id)), "it has all that attempts in flight need");
                prop_assert!(child.len() <= limits.pieces.max(needed.len()));
                prop_assert!(child.values().sum::<usize>() <= limits.bytes.max(needed.values().sum()));
                for function in in_flight.drain(..end.min(in_flight.len())) {
                    known.ended(function.id());
                }
            }
        }
    }
}
