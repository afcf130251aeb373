//! The notes of the tasks themselves: which attempts really ran, in which order and process.

use std::collections::HashMap;
use std::path::Path;

use axion_core::TaskId;

use crate::trace::Trace;

/// One line of the notes.
#[derive(Clone, Copy, Debug)]
struct Note {
    /// Where it stands in the file.
    at: u64,
    begins: bool,
    attempt: u32,
    pid: u32,
}

/// What records and events claim about a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) index: usize,
    pub(crate) task: TaskId,
    pub(crate) attempts: u32,
    pub(crate) retries: u32,
    pub(crate) max_losses: u32,
    pub(crate) succeeded: bool,
    /// The length of the notes when its outcome was known.
    pub(crate) notes_then: u64,
}

/// All notes, by the index of their task.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    by_task: HashMap<usize, Vec<Note>>,
    pub(crate) executions: u64,
}

impl Notes {
    /// Lines that are no notes were written by a garbage task that caught the file.
    pub(crate) fn read(file: &Path) -> Self {
        // No task has run if there is no file; the records then say so, too.
        let text = std::fs::read(file).unwrap_or_default();
        let mut notes = Self::default();
        let mut at = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let begins = parse(line, b"begin");
            if let Some((index, attempt, pid)) = begins.or_else(|| parse(line, b"end")) {
                let note = Note { at, begins: begins.is_some(), attempt, pid };
                notes.executions += u64::from(note.begins);
                notes.by_task.entry(index).or_default().push(note);
            }
            at += line.len() as u64;
        }
        notes
    }

    /// Compares the executions of a task with its claim, and with its events if none was missed.
    pub(crate) fn check(&self, claim: &Claim, trace: Option<&Trace>) -> Result<(), String> {
        let notes = self.by_task.get(&claim.index).map_or(&[][..], Vec::as_slice);
        check_order(notes)?;
        let attempts = claim.attempts;
        if let Some(late) = notes.iter().find(|note| note.at >= claim.notes_then) {
            return Err(format!("attempt {} went on after the task's outcome", late.attempt));
        }
        if let Some(beyond) = notes.iter().find(|note| note.attempt > attempts) {
            return Err(format!("attempt {} ran, but its record says {attempts} attempts", beyond.attempt));
        }
        let begun = notes.iter().filter(|note| note.begins).count();
        if claim.max_losses == 0 && begun > 1 + claim.retries as usize {
            return Err(format!("it must not run twice, but began {begun} times with {} retries", claim.retries));
        }
        let last = |begins| notes.iter().any(|note| note.attempt == attempts && note.begins == begins);
        if claim.succeeded && !(last(true) && last(false)) {
            return Err("it succeeded, but its last attempt did not run to its end".to_owned());
        }
        trace.map_or(Ok(()), |trace| check_place(notes, claim.task, trace))
    }

    /// That a task which was refused has not run.
    pub(crate) fn check_none(&self, index: usize) -> Result<(), String> {
        if self.by_task.contains_key(&index) {
            Err(format!("L1: task {index} was refused, and has run"))
        } else {
            Ok(())
        }
    }

    pub(crate) fn history(&self, index: usize) -> Vec<String> {
        let notes = self.by_task.get(&index).map_or(&[][..], Vec::as_slice);
        let shown = |note: &Note| {
            let what = if note.begins { "begins" } else { "ends" };
            format!("attempt {} {what} in process {}", note.attempt, note.pid)
        };
        notes.iter().map(shown).collect()
    }
}

/// The index of the task, the attempt and the process in a line that begins with this word.
fn parse(line: &[u8], word: &[u8]) -> Option<(usize, u32, u32)> {
    let line = line.strip_prefix(word)?.strip_prefix(b" ")?;
    let mut words = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split(' ');
    let found = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(found)
}

/// Each attempt begins once, and once one has begun nothing is heard of those before.
fn check_order(notes: &[Note]) -> Result<(), String> {
    let (mut present, mut goes_on) = (0, false);
    for note in notes {
        let fits = if note.begins { note.attempt > present } else { note.attempt == present && goes_on };
        if !fits {
            let what = if note.begins { "begins" } else { "ends" };
            return Err(format!("attempt {} {what}, but attempt {present} came last", note.attempt));
        }
        (present, goes_on) = (note.attempt, note.begins);
    }
    Ok(())
}

fn check_place(notes: &[Note], task: TaskId, trace: &Trace) -> Result<(), String> {
    for note in notes {
        let sent = trace.pid_of(task, note.attempt);
        if sent != Some(note.pid) {
            return Err(format!("attempt {} ran in process {}, but was sent to {sent:?}", note.attempt, note.pid));
        }
    }
    Ok(())
}
