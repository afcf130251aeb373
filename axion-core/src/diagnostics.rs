//! Mistakes in a text, with their places.
//!
//! Flows, configurations and parameters report their mistakes as [`Diagnostics`], so that a program shows all of them
//! in the same way.

use std::ops::Range;

/// A part of a text, in bytes.
pub type Span = Range<usize>;

/// One mistake in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic {
    /// The part of the text; `None` if the mistake is elsewhere, such as on the command line.
    pub span: Option<Span>,
    /// The mistake and the allowed values, in one line.
    pub message: String,
    /// A few words to show at the place.
    pub label: String,
    /// Related information.
    pub note: Option<String>,
    /// A suggestion, or the possible values.
    pub help: Option<String>,
    /// Other places that belong to the mistake, each with a label.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// A mistake at a place.
    #[must_use]
    pub fn new(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { span: Some(span.clone()), ..Self::elsewhere(message, label) }
    }

    /// A mistake that is not in the text.
    #[must_use]
    pub fn elsewhere(message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), ..Self::default() }
    }

    /// Adds a suggestion.
    #[must_use]
    pub fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// All mistakes in a text, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} has {} problem{}", .all.len(), if .all.len() == 1 { "" } else { "s" })]
pub struct Diagnostics {
    /// The name of the text: the path of its file.
    pub file: String,
    /// The text.
    pub text: String,
    /// The mistakes.
    pub all: Vec<Diagnostic>,
    /// The offsets at which its lines begin.
    lines: Vec<usize>,
}

impl Diagnostics {
    /// The mistakes in a text, in any order.
    #[must_use]
    pub fn new(file: &str, text: &str, mut all: Vec<Diagnostic>) -> Self {
        all.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(usize::MAX, |span| span.start));
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file: file.to_owned(), text: text.to_owned(), all, lines }
    }

    /// A text that is not JSON.
    #[must_use]
    pub fn not_json(file: &str, text: &str, error: &serde_json::Error) -> Self {
        let message = format!("{file} is not JSON, at line {} column {}", error.line(), error.column());
        let diagnostic = Diagnostic::new(&json_error_span(text, error), message, json_error_words(error));
        Self::new(file, text, vec![diagnostic])
    }

    /// The line and the column of a mistake, counted from 1, columns in characters; `None` if it is not in the text.
    #[must_use]
    pub fn place(&self, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
        let at = self.text.floor_char_boundary(diagnostic.span.as_ref()?.start);
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.checked_sub(1)?)?;
        Some((line, self.text[*start..at].chars().count() + 1))
    }
}

/// The place of a JSON error. `serde_json` counts lines and bytes of a line from 1, and points behind the last byte at
/// the end of the text.
pub(crate) fn json_error_span(text: &str, error: &serde_json::Error) -> Span {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = text.floor_char_boundary((before + error.column().saturating_sub(1)).min(text.len()));
    at..text.ceil_char_boundary((at + 1).min(text.len()))
}

/// A JSON error without its place.
pub(crate) fn json_error_words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.rsplit_once(" at line ").map_or(words.as_str(), |(what, _)| what).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_json(text: &str) -> (Option<Span>, Option<(usize, usize)>, String) {
        let error = serde_json::from_str::<serde::de::IgnoredAny>(text).expect_err("not JSON");
        let found = Diagnostics::not_json("x", text, &error);
        (found.all[0].span.clone(), found.place(&found.all[0]), found.all[0].label.clone())
    }

    #[test]
    fn a_json_error_has_its_place_in_bytes_and_in_characters() {
        assert_eq!(not_json("{\n \"é\": ?}"), (Some(9..10), Some((2, 7)), "expected value".to_owned()));
        assert_eq!(not_json(""), (Some(0..0), Some((1, 1)), "EOF while parsing a value".to_owned()));
        assert_eq!(not_json("[1,\n").1, Some((2, 1)));
    }

    #[test]
    fn mistakes_are_in_the_order_of_the_text_and_those_elsewhere_come_last() {
        let all =
            vec![Diagnostic::elsewhere("c", ""), Diagnostic::new(&(7..8), "b", ""), Diagnostic::new(&(0..1), "a", "")];
        let found = Diagnostics::new("x", "é\n日 b", all);
        let places: Vec<_> = found.all.iter().map(|it| (it.message.as_str(), found.place(it))).collect();
        assert_eq!(places, [("a", Some((1, 1))), ("b", Some((2, 3))), ("c", None)]);
        assert_eq!(found.to_string(), "x has 3 problems");
    }
}
