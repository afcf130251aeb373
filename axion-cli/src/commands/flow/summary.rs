//! The summary of a workflow for people, and its results.

use std::collections::HashMap;
use std::sync::Arc;

use axion_core::TaskRecord;
use axion_core::workflow::{StepError, StepRecord, StepState, WorkflowRecord, WorkflowState};
use serde::{Serialize, Serializer};

use crate::commands::session::task_failed;
use crate::message;

/// The number of failed steps that are shown with their tracebacks.
const MAX_FAILURES: usize = 10;

/// The number of names in a list.
const MAX_NAMES: usize = 20;

/// The first failed instance of each mapped step, by the name of the step.
pub(super) type FirstFailed = HashMap<String, Arc<TaskRecord>>;

/// The results of the steps that no other step waits for, by name. Steps that failed or do not keep their results are
/// left out.
#[derive(Debug)]
pub(super) struct LastResults<'a>(pub(super) &'a WorkflowRecord);

impl Serialize for LastResults<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last = self.0.steps.iter().filter(|step| step.last && step.state == StepState::Succeeded);
        serializer.collect_map(last.filter_map(|step| Some((name(step), step.data.as_ref()?))))
    }
}

fn name(step: &StepRecord) -> String {
    step.name.as_ref().map_or_else(|| step.task.to_string(), ToString::to_string)
}

/// Writes what failed and why, and the outcome of the workflow.
pub(super) fn report(record: &WorkflowRecord, first_failed: &FirstFailed) {
    let by_itself: Vec<&StepRecord> = record.steps.iter().filter(|step| failed_by_itself(step)).collect();
    for step in by_itself.iter().take(MAX_FAILURES) {
        report_failure(step, first_failed);
    }
    if let Some(more) = by_itself.len().checked_sub(MAX_FAILURES).filter(|more| *more > 0) {
        message::line(format_args!("and {more} more steps failed; --output json shows all of them"));
    }
    let because = record.steps.iter().filter(|step| step.state == StepState::DependencyFailed);
    list("not run because a dependency failed", because);
    let stopped = |step: &&StepRecord| matches!(step.error.as_deref(), Some(StepError::Stopped(_)));
    list("cancelled because the workflow stops at a failure", record.steps.iter().filter(stopped));
    let cancelled =
        |step: &&StepRecord| step.state == StepState::Cancelled && !failed_by_itself(step) && !stopped(step);
    list("cancelled", record.steps.iter().filter(cancelled));
    let without = |step: &&StepRecord| step.last && step.data_dropped;
    list("succeeded, with results that are not kept", record.steps.iter().filter(without));
    if record.state == WorkflowState::Succeeded {
        message::note(outcome(record));
    } else {
        message::error(outcome(record));
    }
    if !record.critical_path.steps.is_empty() {
        message::note(critical_path(record));
    }
}

/// Whether the step is itself the cause of its failure.
fn failed_by_itself(step: &StepRecord) -> bool {
    match step.state {
        StepState::Failed | StepState::TimedOut | StepState::Lost | StepState::Expired => true,
        StepState::Cancelled => matches!(step.error.as_deref(), Some(StepError::Impossible(_))),
        _ => false,
    }
}

fn report_failure(step: &StepRecord, first_failed: &FirstFailed) {
    let (name, state) = (name(step), words(step.state));
    if let Some(error) = first_failed.get(&name).and_then(|record| record.outcome.error()) {
        task_failed(format_args!("the first failed instance of {name}"), error);
    }
    match step.error.as_deref() {
        Some(StepError::Task(error)) if step.attempts > 1 => {
            task_failed(format_args!("step {name} {state} after {} attempts", step.attempts), error);
        }
        Some(StepError::Task(error)) => task_failed(format_args!("step {name} {state}"), error),
        Some(error) => message::error(format_args!("step {name} {state}: {error}")),
        None => message::error(format_args!("step {name} {state}")),
    }
}

fn words(state: StepState) -> &'static str {
    match state {
        StepState::TimedOut => "timed out",
        StepState::Cancelled => "was cancelled",
        StepState::Lost => "was lost",
        StepState::DependencyFailed => "was not run",
        other => other.name(),
    }
}

fn list<'a>(what: &str, steps: impl Iterator<Item = &'a StepRecord>) {
    let names: Vec<String> = steps.map(name).collect();
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names[..names.len() - more].join(", ");
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    message::line(format_args!("{what}: {shown}{and}"));
}

/// A time for people.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1000.0),
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..100.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.0} s"),
    }
}

/// `etl failed after 1.20 s: 3 succeeded, 1 failed`
fn outcome(record: &WorkflowRecord) -> String {
    let state = match record.state {
        WorkflowState::Running => "is running",
        WorkflowState::Cancelled => "was cancelled",
        other => other.name(),
    };
    let took = record.finished.map_or(0.0, |end| end.duration_since(record.submitted).as_secs_f64());
    let counts = StepState::ALL.map(|state| (record.counts.of(state), state));
    let counts: Vec<String> =
        counts.iter().filter(|it| it.0 > 0).map(|(count, state)| format!("{count} {state}")).collect();
    format!("{} {state} after {}: {}", record.name, time(took), counts.join(", "))
}

/// The first and the last steps of the critical path.
fn critical_path(record: &WorkflowRecord) -> String {
    let steps = &record.critical_path.steps;
    let ends = MAX_NAMES / 4;
    let way = match steps.len().checked_sub(2 * ends).filter(|between| *between > 1) {
        Some(between) => {
            let (first, last) = (&steps[..ends], &steps[steps.len() - ends..]);
            format!("{} -> ({between} more) -> {}", first.join(" -> "), last.join(" -> "))
        }
        None => steps.join(" -> "),
    };
    format!("critical path, {}: {way}", time(record.critical_path.seconds))
}

#[cfg(test)]
mod tests {
    use axion_core::workflow::{CriticalPath, WorkflowId};

    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        assert_eq!([0.0004, 0.25, 2.5, 250.0].map(time), ["0.4 ms", "250 ms", "2.50 s", "250 s"]);
    }

    #[test]
    fn a_long_critical_path_is_shown_by_its_ends() {
        let path = |count: usize| CriticalPath { steps: (1..=count).map(|it| it.to_string()).collect(), seconds: 2.0 };
        let mut record = WorkflowRecord {
            id: WorkflowId::generate(),
            name: String::new(),
            state: WorkflowState::Succeeded,
            submitted: jiff::Timestamp::UNIX_EPOCH,
            finished: None,
            counts: axion_core::workflow::StepCounts::default(),
            steps: Vec::new(),
            critical_path: path(3),
        };
        assert_eq!(critical_path(&record), "critical path, 2.00 s: 1 -> 2 -> 3");
        record.critical_path = path(3000);
        let words = critical_path(&record);
        assert!(words.contains(": 1 -> 2 -> 3 -> 4 -> 5 -> (2990 more) -> 2996 -> "), "{words}");
    }
}
