//! Standard error, and the live lines at its end.
//!
//! Everything that is written there goes through [`with_live_hidden`], so that no line is ever mixed into a live one.

use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The live lines, while there are some.
static LIVE: RwLock<Option<MultiProgress>> = RwLock::new(None);

/// So many lines at most, however high the terminal is.
const MAX_LINES: usize = 16;

/// Narrower terminals get no bar, only the numbers.
const MIN_BAR_COLUMNS: u16 = 50;

/// Writes to standard error while the live lines are out of the way.
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

/// Lines at the end of a terminal that change, and a bar below them. They are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct LiveProgress {
    multi: MultiProgress,
    bar: ProgressBar,
    lines: Vec<ProgressBar>,
    /// What is shown.
    shown: (Vec<String>, String),
}

impl LiveProgress {
    /// Begins, if standard error is a terminal on which lines can change.
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

    /// How many lines there is room for above the bar.
    pub(crate) fn room() -> usize {
        let (height, _) = size();
        usize::from(height).saturating_sub(4).clamp(1, MAX_LINES)
    }

    /// Shows these lines above the bar, which is so full.
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

/// Rows and columns; a terminal that does not know is an old one.
fn size() -> (u16, u16) {
    Term::stderr().size_checked().unwrap_or((24, 80))
}

/// A template of ours cannot be wrong; if it were, the lines would look plainer.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}
