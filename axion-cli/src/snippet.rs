//! Pictures of places in files.

use std::ops::Range;

use annotate_snippets::{Annotation, Snippet};

/// So many problems of one file are shown with a picture; the others get a line each.
pub(crate) const MAX_SNIPPETS: usize = 100;

/// The lines of a file that a picture shows: a renderer goes through all that it is given, and files may be large.
#[derive(Debug)]
pub(crate) struct SourceWindow<'a> {
    text: &'a str,
    /// Where they begin in the file.
    start: usize,
    /// The number of the first, counted from 1.
    number: usize,
}

impl<'a> SourceWindow<'a> {
    /// Those from a place, which begins in the line of this number, to the others.
    pub(crate) fn around<'s>(
        file: &'a str,
        (place, line): (&Range<usize>, usize),
        others: impl IntoIterator<Item = &'s Range<usize>>,
    ) -> Self {
        let (mut first, mut end) = (place.start, place.end);
        for other in others {
            (first, end) = (first.min(other.start), end.max(other.end));
        }
        let place = file.floor_char_boundary(place.start);
        let start = file[..file.floor_char_boundary(first)].rfind('\n').map_or(0, |at| at + 1);
        let end = file.ceil_char_boundary(end);
        let end = file[end..].find('\n').map_or(file.len(), |at| end + at + 1);
        let above = file[start..place.max(start)].matches('\n').count();
        Self { text: &file[start..end], start, number: line.saturating_sub(above) }
    }

    /// A place in the file as one in these lines.
    pub(crate) fn place(&self, span: &Range<usize>) -> Range<usize> {
        let within = |at: usize| at.saturating_sub(self.start).min(self.text.len());
        self.text.floor_char_boundary(within(span.start))..self.text.ceil_char_boundary(within(span.end))
    }

    /// The picture, without anything in it.
    pub(crate) fn snippet(&self, path: &'a str) -> Snippet<'a, Annotation<'a>> {
        Snippet::source(self.text).path(path).line_start(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_whole_and_have_their_numbers() {
        let file = "one\ntwo é\n\nfour";
        let lines = |place: Range<usize>, line, other: Range<usize>| {
            let lines = SourceWindow::around(file, (&place, line), [&other]);
            (lines.text, lines.number, lines.place(&place), lines.place(&other))
        };
        assert_eq!(lines(8..10, 2, 8..10), ("two é\n", 2, 4..6, 4..6));
        assert_eq!(lines(9..9, 2, 0..1), ("one\ntwo é\n", 1, 8..10, 0..1));
        assert_eq!(lines(11..11, 3, 13..99), ("\nfour", 3, 0..0, 2..5));
        assert_eq!(lines(16..16, 4, 16..16), ("four", 4, 4..4, 4..4));
    }
}
