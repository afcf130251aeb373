//! What tasks write, as whole lines: pieces of two tasks never share one.

use std::collections::BTreeMap;

/// A line that grows beyond this is told in pieces (L9).
const LONGEST: usize = 8 << 10;

/// The beginnings of lines that have not ended, by who writes them.
#[derive(Debug)]
pub(super) struct Lines<W> {
    open: BTreeMap<W, Open>,
}

#[derive(Debug, Default)]
struct Open {
    text: Vec<u8>,
    /// The last line ended with a carriage return, to which a line feed may still belong.
    returned: bool,
}

impl Open {
    fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl<W: Copy + Ord> Lines<W> {
    pub(super) fn new() -> Self {
        Self { open: BTreeMap::new() }
    }

    /// Takes what was written, and gives the lines that it ends. A carriage return ends a line too, or it
    /// would go back over the name before it.
    pub(super) fn add(&mut self, who: W, bytes: &[u8]) -> Vec<String> {
        let mut open = self.open.remove(&who).unwrap_or_default();
        let mut ended = Vec::new();
        for byte in bytes {
            let returned = std::mem::replace(&mut open.returned, *byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\n' | b'\r' => ended.push(open.take()),
                _ => open.text.push(*byte),
            }
            if open.text.len() >= LONGEST {
                ended.push(open.take());
            }
        }
        if !open.text.is_empty() || open.returned {
            self.open.insert(who, open);
        }
        ended
    }

    /// The line that one of them has not ended and will not.
    pub(super) fn end(&mut self, who: W) -> Option<String> {
        self.open.remove(&who).filter(|open| !open.text.is_empty()).map(|mut open| open.take())
    }

    /// All such lines.
    pub(super) fn end_all(&mut self) -> Vec<(W, String)> {
        let open = std::mem::take(&mut self.open).into_iter().filter(|(_, open)| !open.text.is_empty());
        open.map(|(who, mut open)| (who, open.take())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_writers_do_not_meet() {
        let mut lines = Lines::new();
        assert_eq!(lines.add(1, b"one"), [] as [String; 0]);
        assert_eq!(lines.add(2, b"two\nand"), ["two"]);
        assert_eq!(lines.add(1, b" line\n\n"), ["one line", ""]);
        assert_eq!((lines.end(1), lines.end(2)), (None, Some("and".to_owned())));
        assert_eq!(lines.end(2), None);
        lines.add(3, b"\xff");
        assert_eq!(lines.end_all(), [(3, "\u{fffd}".to_owned())]);
    }

    #[test]
    fn a_carriage_return_ends_a_line_once() {
        let mut lines = Lines::new();
        assert_eq!(lines.add(1, b"10 %\r20 %\r"), ["10 %", "20 %"]);
        assert_eq!(lines.add(1, b"\nend\r\n"), ["end"]);
        assert_eq!(lines.end_all(), []);
    }

    #[test]
    fn l9_a_line_without_an_end_is_told_in_pieces() {
        let mut lines = Lines::new();
        let told: Vec<String> = (0..20).flat_map(|_| lines.add(1, &[b'x'; 1 << 10])).collect();
        assert_eq!(told.iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST]);
        assert_eq!(lines.end(1).map(|it| it.len()), Some(4 << 10));
    }
}
