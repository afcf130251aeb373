//! `axion flow run`: a workflow from a file, its progress, its results.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_core::flow::Flow;
use axion_core::workflow::{StepError, WorkflowRecord, WorkflowSpec, WorkflowState};
use axion_core::{
    Config, Engine, ErrorKind, ScalingPolicy, WorkflowError, WorkflowHandle, WorkflowOptions, WorkflowRefusal,
};
use tokio::time::MissedTickBehavior;

use super::progress::ProgressReporter;
use super::show;
use super::summary::{self, FirstFailed, LastResults};
use super::view::WorkflowView;
use crate::args::{FlowRunArguments, OutputFormat};
use crate::commands::session::{apply, engine_failed, host};
use crate::exit::Exit;
use crate::signals::Signals;
use crate::{message, output};

/// How often the live lines are drawn.
const FRAME: Duration = Duration::from_millis(100);

/// Runs the command.
pub(super) fn execute(run: &FlowRunArguments, mut config: Config, mut flow: Flow) -> Exit {
    apply(&mut config, &run.workers);
    if let Some(jobs) = run.jobs {
        limit_jobs(&mut config, &mut flow.spec, jobs);
    }
    host(config, async |engine, signals| follow(run, engine, signals, flow).await)
}

/// At most this number of steps run at the same time, and there are as many workers for steps that compute.
fn limit_jobs(config: &mut Config, spec: &mut WorkflowSpec, jobs: u32) {
    for limit in [&mut spec.capacity.processes, &mut spec.capacity.threads] {
        *limit = Some(limit.map_or(jobs, |limit| limit.min(jobs)));
    }
    // A disabled pool stays disabled.
    if config.cpu_bound_count > 0 || config.cpu_bound_max.is_some_and(|most| most > 0) {
        let fixed = config.autoscaler == ScalingPolicy::Off;
        config.cpu_bound_count = if fixed { jobs } else { config.cpu_bound_count.min(jobs) };
        config.cpu_bound_max = Some(jobs);
    }
}

async fn follow(run: &FlowRunArguments, engine: &Engine, signals: &mut Signals, mut flow: Flow) -> Exit {
    let view = WorkflowView::of(&flow.spec);
    let folder = run.file.flow.parent().unwrap_or(Path::new("")).to_owned();
    let options = WorkflowOptions { folder, max_worker_losses: run.max_worker_losses };
    let mut events = engine.watch();
    let mut handle = match engine.submit_workflow_async(std::mem::take(&mut flow.spec), options).await {
        Ok(handle) => handle,
        Err(error) => return refused(&flow, &error),
    };
    let mut progress = ProgressReporter::new(engine, handle.id(), view);
    let mut frames = tokio::time::interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limit = tokio::time::sleep(run.timeout.unwrap_or(Duration::MAX));
    tokio::pin!(limit);
    // Why the workflow was cancelled, if it was.
    let mut ended_by = None;
    let record = loop {
        tokio::select! {
            biased;
            number = signals.next() => {
                if matches!(ended_by, Some(Exit::Signal(_))) {
                    drop(progress.end());
                    message::error("interrupted again; ending everything at once");
                    return Exit::Signal(number);
                }
                let grace = engine.config().cancel_grace.as_secs_f64();
                message::error(format_args!(
                    "interrupted; cancelling the workflow. Running steps have {grace} s to stop. A second signal, 1 s from now or later, ends them at once"
                ));
                ended_by = Some(Exit::Signal(number));
                cancel(engine, &handle);
            }
            () = &mut limit, if run.timeout.is_some() && ended_by.is_none() => {
                message::error("the workflow reached its time limit; cancelling it");
                ended_by = Some(Exit::TimedOut);
                cancel(engine, &handle);
            }
            _ = frames.tick(), if progress.is_live() => progress.draw(),
            // Events that came before the record.
            Some(watched) = events.next() => progress.handle(watched),
            record = &mut handle => break record,
        }
    };
    // Events that came between the last look and the record.
    while let Some(watched) = events.try_next() {
        progress.handle(watched);
    }
    let view = progress.end();
    match record {
        Ok(record) => {
            let first_failed = first_failed(engine, &view).await;
            // The reader of the result may be slow.
            tokio::select! {
                exit = report(run, &record, &first_failed, ended_by) => exit,
                number = signals.next() => Exit::Signal(number),
            }
        }
        Err(error) => engine_failed(&error),
    }
}

/// If the engine has stopped, the handle reports it.
fn cancel(engine: &Engine, handle: &WorkflowHandle) {
    let _ = engine.cancel_workflow(handle.id());
}

/// Shows why the engine refused a flow, at the places in its file where possible.
fn refused(flow: &Flow, error: &WorkflowError) -> Exit {
    match (flow.explain(error), error) {
        (Some(problems), _) => show(&problems),
        (None, WorkflowError::Refused(WorkflowRefusal::Graph(_)) | WorkflowError::Tasks(_)) => message::error(error),
        _ => return engine_failed(error),
    }
    Exit::Usage
}

/// The record of a mapped step names the first failure in one line; the task's own record has the traceback.
async fn first_failed(engine: &Engine, view: &WorkflowView) -> FirstFailed {
    let mut records = FirstFailed::new();
    for (step, task) in view.first_failed() {
        if let Ok(record) = engine.handle(task).await {
            records.insert(step.to_owned(), record);
        }
    }
    records
}

async fn report(
    run: &FlowRunArguments,
    record: &Arc<WorkflowRecord>,
    first_failed: &FirstFailed,
    ended_by: Option<Exit>,
) -> Exit {
    let text = match run.output {
        // After an interrupt the results are incomplete.
        OutputFormat::Data if ended_by.is_some() => Ok(String::new()),
        OutputFormat::Data => serde_json::to_string(&LastResults(record)).map(|text| text + "\n"),
        OutputFormat::Json => serde_json::to_string(record).map(|text| text + "\n"),
    };
    let printed = match text {
        Ok(text) => output::print_aside(text).await,
        Err(error) => Err(error.into()),
    };
    summary::report(record, first_failed);
    match (printed, ended_by, record.state) {
        (Err(error), ..) => engine_failed(&format_args!("cannot write the result: {error}")),
        (Ok(()), Some(exit), _) => exit,
        (Ok(()), None, WorkflowState::Succeeded) => Exit::Success,
        (Ok(()), None, _) if no_worker_started(record) => Exit::Engine,
        (Ok(()), None, _) => Exit::TaskFailed,
    }
}

fn no_worker_started(record: &WorkflowRecord) -> bool {
    record
        .steps
        .iter()
        .any(|step| matches!(step.error.as_deref(), Some(StepError::Task(error)) if error.kind == ErrorKind::WorkerStartFailed))
}
