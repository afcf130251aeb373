//! The last output of a worker.

use std::collections::VecDeque;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

/// The maximum number of bytes.
const TAIL: usize = 8 << 10;

impl Tail {
    pub(super) fn push(&mut self, data: &[u8]) {
        let kept = &data[data.len().saturating_sub(TAIL)..];
        let over = (self.0.len() + kept.len()).saturating_sub(TAIL);
        self.0.drain(..over);
        self.0.extend(kept);
    }

    pub(super) fn into_text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.0)).into_owned()
    }
}
