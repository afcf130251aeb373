//! Assembles whole lines from the output of tasks, so that no line mixes two tasks.

use std::collections::BTreeMap;

/// A longer line is passed on in pieces (L9).
const MAX_LINE_BYTES: usize = 8 << 10;

/// The beginnings of lines that have not ended, by writer writes them.
#[derive(Debug)]
pub(super) struct LineAssembler<K> {
    partial: BTreeMap<K, PartialLine>,
}

#[derive(Debug, Default)]
struct PartialLine {
    text: Vec<u8>,
    /// The last line ended with a carriage return, to which a line feed may still belong.
    returned: bool,
}

impl PartialLine {
    fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl<K: Copy + Ord> LineAssembler<K> {
    pub(super) fn new() -> Self {
        Self { partial: BTreeMap::new() }
    }

    /// Adds output and returns the lines that it ends. A carriage return also ends a line, because on a terminal it would
    /// overwrite the name in front.
    pub(super) fn add(&mut self, writer: K, bytes: &[u8]) -> Vec<String> {
        let mut partial = self.partial.remove(&writer).unwrap_or_default();
        let mut ended = Vec::new();
        for byte in bytes {
            let returned = std::mem::replace(&mut partial.returned, *byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\n' | b'\r' => ended.push(partial.take()),
                _ => partial.text.push(*byte),
            }
            if partial.text.len() >= MAX_LINE_BYTES {
                ended.push(partial.take());
            }
        }
        if !partial.text.is_empty() || partial.returned {
            self.partial.insert(writer, partial);
        }
        ended
    }

    /// Ends the unfinished line of a writer.
    pub(super) fn finish(&mut self, writer: K) -> Option<String> {
        self.partial.remove(&writer).filter(|partial| !partial.text.is_empty()).map(|mut partial| partial.take())
    }

    /// Ends all unfinished lines.
    pub(super) fn finish_all(&mut self) -> Vec<(K, String)> {
        let partial = std::mem::take(&mut self.partial).into_iter().filter(|(_, partial)| !partial.text.is_empty());
        partial.map(|(writer, mut partial)| (writer, partial.take())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_and_writers_do_not_meet() {
        let mut lines = LineAssembler::new();
        assert_eq!(lines.add(1, b"one"), [] as [String; 0]);
        assert_eq!(lines.add(2, b"two\nand"), ["two"]);
        assert_eq!(lines.add(1, b" line\n\n"), ["one line", ""]);
        assert_eq!((lines.finish(1), lines.finish(2)), (None, Some("and".to_owned())));
        assert_eq!(lines.finish(2), None);
        lines.add(3, b"\xff");
        assert_eq!(lines.finish_all(), [(3, "\u{fffd}".to_owned())]);
    }

    #[test]
    fn a_carriage_return_ends_a_line_once() {
        let mut lines = LineAssembler::new();
        assert_eq!(lines.add(1, b"10 %\r20 %\r"), ["10 %", "20 %"]);
        assert_eq!(lines.add(1, b"\nend\r\n"), ["end"]);
        assert_eq!(lines.finish_all(), []);
    }

    #[test]
    fn l9_a_line_without_an_end_is_shown_in_pieces() {
        let mut lines = LineAssembler::new();
        let told: Vec<String> = (0..20).flat_map(|_| lines.add(1, &[b'x'; 1 << 10])).collect();
        assert_eq!(told.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE_BYTES, MAX_LINE_BYTES]);
        assert_eq!(lines.finish(1).map(|it| it.len()), Some(4 << 10));
    }
}
