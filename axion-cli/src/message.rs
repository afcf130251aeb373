//! Messages to the user, on standard error.

use std::fmt::Display;
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use axion_core::{AttemptRecord, LoadError};
use console::truncate_str;

use crate::diagnostics;
use crate::output::{self, Kind};

/// An error that was reported to the user.
#[derive(Debug)]
pub(crate) struct Reported;

/// `error: …`
pub(crate) fn error(text: impl Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    line(format_args!("{style}error{style:#}: {text}"));
}

/// `warning: …`
pub(crate) fn warning(text: impl Display) {
    output::write(Kind::Message, render_warning(text));
}

/// The bytes of a warning.
pub(crate) fn render_warning(text: impl Display) -> Vec<u8> {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    adapt(format!("{style}warning{style:#}: {text}\n").as_bytes())
}

/// Why an attempt failed that another one follows: the first line of its error.
pub(crate) fn retrying(ended: &AttemptRecord, wait_seconds: f64) -> String {
    let error = ended.error.to_string();
    let reason = truncate_str(error.lines().next().unwrap_or_default(), MAX_REASON, "…");
    // Ten milliseconds are not "0.0 s".
    let wait =
        if wait_seconds < 0.1 { format!("{:.0} ms", wait_seconds * 1e3) } else { format!("{wait_seconds:.1} s") };
    format!("attempt {} failed: {reason}; the next one in {wait}", ended.attempt)
}

/// Columns.
const MAX_REASON: usize = 300;

/// Writes a line.
pub(crate) fn line(text: impl Display) {
    output::write(Kind::Message, adapt(format!("{text}\n").as_bytes()));
}

/// Writes a line about success.
pub(crate) fn note(text: impl Display) {
    output::write(Kind::Note, adapt(format!("{text}\n").as_bytes()));
}

/// Writes a line of which there may be any number.
pub(crate) fn progress(text: impl Display) {
    output::write(Kind::Output, adapt(format!("{text}\n").as_bytes()));
}

/// Leaves out the styles that standard error does not show.
pub(crate) fn adapt(text: &[u8]) -> Vec<u8> {
    static PLAIN: OnceLock<bool> = OnceLock::new();
    let plain = *PLAIN.get_or_init(|| anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never);
    if plain { anstream::adapter::strip_bytes(text).into_vec() } else { text.to_vec() }
}

/// Everything that is wrong with a configuration.
pub(crate) fn config_error(error: &LoadError) {
    let LoadError::Invalid(invalid) = error else { return self::error(error) };
    diagnostics::show(&invalid.diagnostics());
    if let [_, _, ..] = invalid.problems[..] {
        line(format_args!("{} problems in the configuration", invalid.problems.len()));
    }
}
