//! Shows what is wrong with a text: the one renderer for flows, configurations and parameters.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet};
use axion_core::{Diagnostic, Diagnostics};

use crate::message;

/// The number of mistakes of one text that are shown with their lines. The others get one line each.
const MAX_SNIPPETS: usize = 100;

/// Shows all mistakes on standard error.
pub(crate) fn show(diagnostics: &Diagnostics) {
    for (number, diagnostic) in diagnostics.all.iter().enumerate() {
        match (&diagnostic.span, diagnostics.place(diagnostic)) {
            (Some(span), Some((line, _))) if number < MAX_SNIPPETS => {
                message::line(render(diagnostics, diagnostic, (span, line)));
            }
            (_, Some((line, column))) => {
                message::error(format_args!("{}:{line}:{column}: {}", diagnostics.file, diagnostic.message));
            }
            _ => show_elsewhere(diagnostic),
        }
    }
}

/// Shows a mistake that has no place in a text.
pub(crate) fn show_elsewhere(diagnostic: &Diagnostic) {
    message::error(&diagnostic.message);
    if let Some(help) = &diagnostic.help {
        message::line(format_args!("  help: {help}"));
    }
}

fn render(diagnostics: &Diagnostics, diagnostic: &Diagnostic, place: (&Range<usize>, usize)) -> String {
    let window = SourceWindow::around(&diagnostics.text, place, diagnostic.related.iter().map(|(span, _)| span));
    let related = diagnostic
        .related
        .iter()
        .map(|(span, label)| AnnotationKind::Context.span(window.place(span)).label(label.as_str()));
    let snippet = window
        .snippet(&diagnostics.file)
        .annotation(AnnotationKind::Primary.span(window.place(place.0)).label(diagnostic.label.as_str()))
        .annotations(related);
    let mut group = Level::ERROR.primary_title(diagnostic.message.as_str()).element(snippet);
    if let Some(note) = &diagnostic.note {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::styled().render(&[group])
}

/// The lines of a text that a snippet shows. The renderer goes through all the text that it gets, and files can be large.
#[derive(Debug)]
struct SourceWindow<'a> {
    text: &'a str,
    /// Where they begin in the file.
    start: usize,
    /// The number of the first, counted from 1.
    number: usize,
}

impl<'a> SourceWindow<'a> {
    /// Those from a place, which begins in the line of this number, to the others.
    fn around<'s>(
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
    fn place(&self, span: &Range<usize>) -> Range<usize> {
        let within = |at: usize| at.saturating_sub(self.start).min(self.text.len());
        self.text.floor_char_boundary(within(span.start))..self.text.ceil_char_boundary(within(span.end))
    }

    /// The picture, without anything in it.
    fn snippet(&self, path: &'a str) -> Snippet<'a, Annotation<'a>> {
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
