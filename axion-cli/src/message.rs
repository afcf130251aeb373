//! Messages to the person at the terminal, on standard error.

use std::fmt::Display;
use std::io::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer};
use anstyle::{AnsiColor, Style};
use axion_core::{ConfigPlace, ConfigProblem, InvalidConfig, LoadError, SourceText};

use crate::screen;
use crate::snippet::{MAX_SNIPPETS, SourceWindow};

/// Something was wrong, and the person has been told what.
#[derive(Debug)]
pub(crate) struct Reported;

/// `error: …`
pub(crate) fn error(text: impl Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    line(format_args!("{style}error{style:#}: {text}"));
}

/// `warning: …`
pub(crate) fn warning(text: impl Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    line(format_args!("{style}warning{style:#}: {text}"));
}

/// A line as it is.
pub(crate) fn line(text: impl Display) {
    // Nobody can be told if standard error itself is gone.
    // In one piece: standard error has no buffer.
    let text = format!("{text}\n");
    let _ = screen::with_live_hidden(|| anstream::stderr().write_all(text.as_bytes()));
}

/// An error in a JSON text, with a picture of the place.
pub(crate) fn json_error(source: &str, text: &str, error: &serde_json::Error) {
    // serde_json counts lines from 1 and bytes within a line from 1; at the end of the text it
    // points behind the last byte.
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (before + error.column().saturating_sub(1)).min(text.len());
    let place = at..(at + 1).min(text.len());
    let lines = SourceWindow::around(text, (&place, error.line()), []);
    let words = error.to_string();
    let what = words.rsplit_once(" at line ").map_or(words.as_str(), |(what, _)| what);
    let annotation = AnnotationKind::Primary.span(lines.place(&place)).label(what);
    let title = format!("{source} is not JSON, at line {} column {}", error.line(), error.column());
    let group = Level::ERROR.primary_title(title.as_str()).element(lines.snippet(source).annotation(annotation));
    line(Renderer::styled().render(&[group]));
}

/// Everything that is wrong with a configuration, with pictures of the places in its file.
pub(crate) fn config_error(error: &LoadError) {
    let LoadError::Invalid(InvalidConfig { problems, source }) = error else { return self::error(error) };
    for (number, problem) in problems.iter().enumerate() {
        match (&problem.place, source) {
            (ConfigPlace::File { span, line, .. }, Some(source)) if number < MAX_SNIPPETS => {
                config_place(problem, (span, *line), source);
            }
            _ => self::error(problem),
        }
    }
    if let [_, _, ..] = problems[..] {
        line(format_args!("{} problems in the configuration", problems.len()));
    }
}

fn config_place(problem: &ConfigProblem, (span, number): (&Range<usize>, usize), source: &SourceText) {
    let path = source.path.display().to_string();
    let span = span.start..span.end.max(span.start + 1);
    let lines = SourceWindow::around(&source.text, (&span, number), []);
    let annotation = AnnotationKind::Primary.span(lines.place(&span)).label(problem.kind.label());
    let snippet = lines.snippet(&path).annotation(annotation);
    let mut group = Level::ERROR.primary_title(problem.kind.title()).element(snippet);
    if let Some(note) = problem.kind.note() {
        group = group.element(Level::NOTE.message(note));
    }
    line(Renderer::styled().render(&[group]));
}
