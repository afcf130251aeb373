//! Messages to the user, on standard error.

use std::fmt::Display;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use axion_core::LoadError;

use crate::{diagnostics, screen};

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
    let style = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    line(format_args!("{style}warning{style:#}: {text}"));
}

/// Writes a line.
pub(crate) fn line(text: impl Display) {
    // In one write, because standard error has no buffer. If standard error is closed, there is nobody to tell.
    let text = format!("{text}\n");
    let _ = screen::with_live_hidden(|| anstream::stderr().write_all(text.as_bytes()));
}

/// Everything that is wrong with a configuration.
pub(crate) fn config_error(error: &LoadError) {
    let LoadError::Invalid(invalid) = error else { return self::error(error) };
    diagnostics::show(&invalid.diagnostics());
    if let [_, _, ..] = invalid.problems[..] {
        line(format_args!("{} problems in the configuration", invalid.problems.len()));
    }
}
