//! Shows the progress of a workflow on standard error: live on a terminal, else as plain lines.

use std::fmt::Write;
use std::time::Instant;

use axion_core::workflow::{StepState, WorkflowId};
use axion_core::{Engine, Fact, FactKind, Notice, NoticeKind, Stream, TaskId, Watched};
use console::truncate_str;
use jiff::Timestamp;

use super::lines::LineAssembler;
use super::summary::time;
use super::view::{StepChange, StepView, WorkflowView};
use crate::message;
use crate::screen::{Frame, LiveProgress};

/// The columns of a step's name in a live line, which leave room for its progress.
const MAX_NAME_COLUMNS: usize = 32;

/// After a query of all steps, the next one waits this many times as long as the query took.
const REFRESH_PAUSE_FACTOR: u32 = 20;

/// Shows what happens in one workflow.
#[derive(Debug)]
pub(super) struct ProgressReporter<'a> {
    engine: &'a Engine,
    id: WorkflowId,
    pub(super) view: WorkflowView,
    lines: LineAssembler<(TaskId, bool)>,
    live: Option<LiveProgress>,
    begun: Timestamp,
    /// The number of events that were dropped because they came too fast.
    missed: u64,
    /// The states in the view may be out of date.
    stale: bool,
    /// The earliest time of the next query.
    next_refresh: Option<Instant>,
}

impl<'a> ProgressReporter<'a> {
    pub(super) fn new(engine: &'a Engine, id: WorkflowId, view: WorkflowView) -> Self {
        let (lines, live) = (LineAssembler::new(), LiveProgress::begin());
        Self { engine, id, view, lines, live, begun: Timestamp::now(), missed: 0, stale: false, next_refresh: None }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    pub(super) fn handle(&mut self, watched: Watched) {
        match watched {
            Watched::Fact(fact) => self.apply(fact),
            Watched::Notice(notice) => self.show(notice),
            Watched::FactsMissed(count) | Watched::NoticesMissed(count) => {
                if self.missed == 0 {
                    message::warning("events come too fast: some output lines are left out");
                }
                self.missed += count;
                // Refreshed later: a reader that lags must not wait for an answer with each event.
                self.stale = true;
            }
            _ => {}
        }
    }

    /// Updates the view from the workflow's record so far.
    ///
    /// The record has every step, so that frequent queries would slow the reader and the engine down.
    fn refresh(&mut self) {
        let begun = Instant::now();
        if self.next_refresh.is_some_and(|after| begun < after) {
            return;
        }
        self.stale = false;
        if let Ok(record) = self.engine.workflow(self.id) {
            self.view.update(&record);
        }
        self.next_refresh = Some(Instant::now() + begun.elapsed() * REFRESH_PAUSE_FACTOR);
    }

    fn apply(&mut self, fact: Fact) {
        let at = fact.at;
        match fact.kind {
            FactKind::StepChanged { workflow, step: name, task, state, instances, .. } if workflow == self.id => {
                self.changed(StepChange { name, task, state, instances }, at);
            }
            FactKind::TaskSent { task, attempt, .. } => self.view.sent(task, attempt),
            FactKind::TaskRetrying { task, ended, wait_seconds, .. } => {
                self.end_lines(task);
                self.warn(task, format_args!("{}", message::retrying(&ended, wait_seconds)));
            }
            FactKind::TaskRerun { task, ended, .. } => {
                self.end_lines(task);
                let attempt = ended.attempt;
                self.warn(task, format_args!("the worker died during attempt {attempt}; running it again"));
            }
            FactKind::TaskFinished { record } => {
                self.end_lines(record.id);
                self.view.task_ended(record.id, record.outcome.is_success());
            }
            _ => {}
        }
    }

    fn show(&mut self, notice: Notice) {
        match notice.kind {
            NoticeKind::Output { task: Some(task), stream, data, .. } => {
                let label = self.label(task);
                let lines = self.lines.add((task, stream == Stream::Stderr), &data);
                push_lines(&label, lines);
            }
            NoticeKind::Output { task: None, worker, data, .. } => {
                let text = String::from_utf8_lossy(&data);
                push_lines(&worker.to_string(), text.lines().map(ToOwned::to_owned));
            }
            NoticeKind::Log { task, level, message, .. } => {
                let level = format!("{level:?}").to_lowercase();
                let (label, text) = (self.label(task), format!("{level}: {message}"));
                push_lines(&label, text.lines().map(ToOwned::to_owned));
            }
            NoticeKind::Progress { task, fraction, message } => self.progressed(task, fraction, message),
            _ => {}
        }
    }

    fn changed(&mut self, change: StepChange, at: Timestamp) {
        let state = change.state;
        let Some(step) = self.view.changed(change, at) else { return };
        // On a terminal, the live lines show the rest.
        let shown = match &self.live {
            Some(_) => state.is_failure(),
            None => state == StepState::Running || state.is_final(),
        };
        if shown {
            let words = change_line(step, state, at);
            message::progress(words);
        }
    }

    /// The name of the step, with the index of the instance.
    fn label(&mut self, task: TaskId) -> String {
        if self.view.owner(task).is_none() {
            self.refresh();
        }
        self.view.owner(task).map_or_else(|| task.to_string(), |owner| self.view.label(owner))
    }

    fn progressed(&mut self, task: TaskId, fraction: f64, message: String) {
        if !self.is_live() {
            let (label, text) = (self.label(task), format!("{:3.0} % {message}", fraction * 100.0));
            push_lines(&label, text.lines().map(ToOwned::to_owned));
        }
        self.view.progressed(task, fraction, message);
    }

    /// Warns about a step, not about its instances, of which there can be many.
    fn warn(&mut self, task: TaskId, words: std::fmt::Arguments<'_>) {
        if let Some(owner) = self.view.owner(task).filter(|owner| owner.instance.is_none()) {
            message::warning(format_args!("{}: {words}", self.view.label(owner)));
        }
    }

    /// Writes the last lines of a task, which have no line end.
    fn end_lines(&mut self, task: TaskId) {
        for stream in [false, true] {
            if let Some(line) = self.lines.finish((task, stream)) {
                let label = self.label(task);
                push_lines(&label, [line]);
            }
        }
    }

    /// Draws the live lines again.
    pub(super) fn draw(&mut self) {
        if self.stale {
            self.refresh();
        }
        let Some(live) = &mut self.live else { return };
        let now = Timestamp::now();
        let (running, room) = (self.view.running(), LiveProgress::room());
        // The last line counts the steps that have no line.
        let shown = if running.len() > room { room.saturating_sub(1) } else { room };
        let more = running.len().saturating_sub(shown);
        let mut lines: Vec<String> = running.take(shown).map(|step| status_line(step, now)).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        let (ended, failed, all) = self.view.counts();
        let mut words = format!("{ended}/{all} steps, {:.0} s", seconds(self.begun, now));
        if failed > 0 {
            let _ = write!(words, ", {failed} failed");
        }
        live.show(Frame { lines, bar: (ended as u64, all as u64), words });
    }

    /// Removes the live lines and writes the lines that have not ended.
    pub(super) fn end(mut self) -> WorkflowView {
        self.live = None;
        for ((task, _), line) in self.lines.finish_all() {
            let label = self.label(task);
            push_lines(&label, [line]);
        }
        if self.missed > 0 {
            message::warning(format_args!("output truncated: {} events dropped", self.missed));
        }
        self.view
    }
}

/// Writes lines with a label in front.
fn push_lines(label: &str, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        message::progress(format_args!("{label} | {line}"));
    }
}

/// Describes the start or the end of a step.
fn change_line(step: &StepView, state: StepState, at: Timestamp) -> String {
    let mut words = format!("{}: ", step.name);
    let (instances, _) = step.instances;
    let _ = match (state, step.started) {
        (StepState::Running, _) if instances > 0 => write!(words, "started, {instances} instances"),
        (StepState::Running, _) => write!(words, "started"),
        (_, Some(started)) => write!(words, "{state} after {}", time(seconds(started, at))),
        (_, None) => write!(words, "{state}"),
    };
    if state.is_final() && step.attempts > 1 && !step.mapped {
        let _ = write!(words, ", {} attempts", step.attempts);
    }
    words
}

/// Describes a running step.
fn status_line(step: &StepView, now: Timestamp) -> String {
    let mut words = truncate_str(&step.name, MAX_NAME_COLUMNS, "…").into_owned();
    let (all, ended) = step.instances;
    if all > 0 {
        let _ = write!(words, "  {ended}/{all}");
    }
    let _ = write!(words, "  {:.0} s", step.started.map_or(0.0, |started| seconds(started, now)));
    if let Some((fraction, message)) = &step.progress {
        let _ = write!(words, "  {:.0} % {message}", fraction * 100.0);
    }
    words
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
