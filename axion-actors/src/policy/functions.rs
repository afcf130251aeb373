//! Which functions a worker process has: each is sent to it once, and the process keeps a bounded number (L9).

use std::collections::VecDeque;

use crate::model::{Function, FunctionId};

/// Functions a process keeps at a time.
const MOST: usize = 256;
/// Bytes of code it keeps; a single function may be larger.
const MOST_BYTES: usize = 64 << 20;

/// The functions of one process, the most recently used one last.
#[derive(Debug)]
pub struct KnownFunctions {
    known: VecDeque<(FunctionId, usize)>,
    bytes: usize,
    most: (usize, usize),
}

impl Default for KnownFunctions {
    fn default() -> Self {
        Self::with_limits(MOST, MOST_BYTES)
    }
}

impl KnownFunctions {
    fn with_limits(count: usize, bytes: usize) -> Self {
        Self { known: VecDeque::new(), bytes: 0, most: (count, bytes) }
    }

    /// Notes that a task with this function is about to be sent. Returns whether its code must be sent first, and calls
    /// `forget` with each function that is evicted for it.
    pub fn needs(&mut self, function: &Function, mut forget: impl FnMut(FunctionId)) -> bool {
        let id = function.id();
        if let Some(at) = self.known.iter().rposition(|(known, _)| *known == id) {
            if at + 1 != self.known.len()
                && let Some(found) = self.known.remove(at)
            {
                self.known.push_back(found);
            }
            return false;
        }
        let size = function.code().len();
        while (self.known.len() >= self.most.0 || self.bytes + size > self.most.1)
            && let Some((oldest, freed)) = self.known.pop_front()
        {
            self.bytes -= freed;
            forget(oldest);
        }
        self.known.push_back((id, size));
        self.bytes += size;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_function_that_was_used_longest_ago_goes_first() {
        let mut known = KnownFunctions::default();
        let function = |n: usize| Function::new("f", n.to_le_bytes().to_vec());
        for n in 0..MOST {
            assert!(known.needs(&function(n), |_| panic!("there is room")));
        }
        assert!(!known.needs(&function(0), |_| panic!("it is there")));
        let mut gone = Vec::new();
        assert!(known.needs(&function(MOST), |id| gone.push(id)));
        assert_eq!(gone, [function(1).id()]);
    }

    proptest! {
        #[test]
        fn l9_a_process_has_what_it_is_sent_and_never_too_much(
            uses in proptest::collection::vec((0..40usize, 1..60usize), 0..300)
        ) {
            let (mut known, mut child) = (KnownFunctions::with_limits(8, 200), HashMap::new());
            for (n, size) in uses {
                let function = Function::new("f", vec![u8::try_from(n).expect("small"); size]);
                let mut gone = Vec::new();
                let define = known.needs(&function, |id| gone.push(id));
                for id in gone {
                    prop_assert!(child.remove(&id).is_some(), "it is only told to forget what it has");
                }
                if define {
                    prop_assert!(child.insert(function.id(), size).is_none(), "it is only sent what it has not");
                }
                prop_assert!(child.contains_key(&function.id()));
                prop_assert!(child.len() <= 8 && child.values().sum::<usize>() <= 200);
            }
        }
    }
}
