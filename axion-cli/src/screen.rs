//! Standard error, and the live lines at its end.
//!
//! All output to standard error goes through [`with_live_hidden`], so that it never mixes with a live line.

use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The live lines, while they are shown.
static LIVE: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// The most live lines, on a terminal of any height.
const MAX_LINES: usize = 16;

/// A narrower terminal gets the numbers without a bar.
const MIN_BAR_COLUMNS: u16 = 50;

/// Hides the live lines while `write` writes to standard error.
pub(crate) fn with_live_hidden<T>(write: impl FnOnce() -> T) -> T {
    let live = LIVE.read().unwrap_or_else(PoisonError::into_inner).clone();
    match live {
        Some(live) => live.suspend(write),
        None => write(),
    }
}

/// Standard error for the engine's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with_live_hidden(|| anstream::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        anstream::stderr().flush()
    }
}

/// Changing lines at the end of a terminal, with a bar below them. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct LiveProgress {
    multi: MultiProgress,
    bar: ProgressBar,
    lines: Vec<ProgressBar>,
    /// The lines and the words of the bar as they are shown.
    shown: (Vec<String>, String),
}

impl LiveProgress {
    /// Starts, if standard error is a terminal whose lines can change.
    pub(crate) fn begin() -> Option<Self> {
        let target = ProgressDrawTarget::stderr();
        if target.is_hidden() {
            return None;
        }
        let multi = MultiProgress::with_draw_target(target);
        let bar = multi.add(ProgressBar::new(1));
        let (_, width) = size();
        bar.set_style(style(if width < MIN_BAR_COLUMNS { "{wide_msg}" } else { "{bar:24.green} {wide_msg}" }));
        *LIVE.write().unwrap_or_else(PoisonError::into_inner) = Some(multi.clone());
        Some(Self { multi, bar, lines: Vec::new(), shown: (Vec::new(), String::new()) })
    }

    /// The number of lines that fit above the bar.
    pub(crate) fn room() -> usize {
        let (height, _) = size();
        usize::from(height).saturating_sub(4).clamp(1, MAX_LINES)
    }

    /// Shows these lines above the bar, and how much of the bar is full.
    pub(crate) fn show(&mut self, lines: Vec<String>, (done, all): (u64, u64), words: String) {
        let frame = (lines, words);
        if frame == self.shown {
            return;
        }
        let (lines, words) = &frame;
        for gone in self.lines.drain(lines.len().min(self.lines.len())..) {
            self.multi.remove(&gone);
        }
        while self.lines.len() < lines.len() {
            let line = self.multi.insert_before(&self.bar, ProgressBar::new(1));
            line.set_style(style("  {wide_msg}"));
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(lines) {
            line.set_message(text.replace(char::is_control, " "));
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
        self.bar.set_message(words.clone());
        self.shown = frame;
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        *LIVE.write().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.multi.clear();
        self.multi.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Rows and columns; 24 and 80 if the terminal does not tell.
fn size() -> (u16, u16) {
    Term::stderr().size_checked().unwrap_or((24, 80))
}

/// The templates are valid; the default style would only look plainer.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}
