//! Standard error with live lines at its end. Only the writer's thread (`output.rs`) has one, so that text never mixes
//! with a live line.

use axion_core::StandardStream;
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// The most live lines, on a terminal of any height.
const MAX_LINES: usize = 16;

/// A narrower terminal gets the numbers without a bar.
const MIN_BAR_COLUMNS: u16 = 50;

/// The live lines at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Above the bar.
    pub(crate) lines: Vec<String>,
    /// How much of the bar is full, of how much.
    pub(crate) bar: (u64, u64),
    /// Beside the bar.
    pub(crate) words: String,
}

/// The right to show live lines. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct LiveProgress {
    shown: Option<Frame>,
}

impl LiveProgress {
    /// Starts, if standard error is a terminal whose lines can change.
    pub(crate) fn begin() -> Option<Self> {
        (!output::is_quiet() && !ProgressDrawTarget::stderr().is_hidden()).then_some(Self { shown: None })
    }

    /// The number of lines that fit above the bar.
    pub(crate) fn room() -> usize {
        let (height, _) = size();
        usize::from(height).saturating_sub(4).clamp(1, MAX_LINES)
    }

    /// Shows these lines instead of those before.
    pub(crate) fn show(&mut self, frame: Frame) {
        if self.shown.as_ref() != Some(&frame) {
            output::show_live(frame.clone());
            self.shown = Some(frame);
        }
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        output::remove_live();
    }
}

/// Standard error, as its one writer sees it.
#[derive(Default)]
pub(crate) struct Screen(Option<LiveLines>);

impl Screen {
    /// Writes text above the live lines, if there are any.
    pub(crate) fn write(&mut self, text: Vec<u8>) {
        // If standard error is closed, there is nobody to tell.
        let write = || drop(StandardStream::Error.write_all(&text));
        match &self.0 {
            _ if text.is_empty() => {}
            Some(live) => live.multi.suspend(write),
            None => write(),
        }
    }

    pub(crate) fn show(&mut self, frame: &Frame) {
        self.0.get_or_insert_with(LiveLines::new).show(frame);
    }

    /// Removes the live lines.
    pub(crate) fn clear(&mut self) {
        if let Some(live) = self.0.take() {
            let _ = live.multi.clear();
            live.multi.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// Changing lines at the end of a terminal, with a bar below them.
struct LiveLines {
    multi: MultiProgress,
    bar: ProgressBar,
    lines: Vec<ProgressBar>,
}

impl LiveLines {
    fn new() -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = multi.add(ProgressBar::new(1));
        let (_, width) = size();
        bar.set_style(style(if width < MIN_BAR_COLUMNS { "{wide_msg}" } else { "{bar:24.green} {wide_msg}" }));
        Self { multi, bar, lines: Vec::new() }
    }

    fn show(&mut self, Frame { lines, bar: (done, all), words }: &Frame) {
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
        self.bar.set_length(*all);
        self.bar.set_position(*done);
        self.bar.set_message(words.clone());
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
