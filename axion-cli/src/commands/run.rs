//! `axion run`: one script, one worker, one result.

mod program;

use std::path::Path;
use std::sync::Arc;

use axion_core::{
    Backoff, Config, Engine, EngineKind, ErrorKind, EventStream, FactKind, NoticeKind, Outcome, PoolId, RetryPolicy,
    ScalingPolicy, SubmitError, Task, TaskHandle, TaskId, TaskRecord, WaitError, Watched, WorkerRange,
};

use self::program::{Launch, Program, ProgramEnd};
use super::params;
use super::session::{self, apply, engine_failed, host, task_failed};
use crate::args::{OutputFormat, RunArguments};
use crate::exit::Exit;
use crate::message::{self, Reported};
use crate::output::{self, Kind};
use crate::signals::Signals;

/// Runs the command.
pub(crate) fn execute(run: &RunArguments, config: Config) -> Exit {
    let pools = config.pool_settings();
    if !pools.contains(run.pool()) {
        message::error(SubmitError::UnknownPool { pool: run.pool(), known: pools.names() });
        return Exit::Usage;
    }
    let prepared = match prepare(run) {
        Ok(prepared) => prepared,
        Err(Reported) => return Exit::Usage,
    };
    if run.dry_run {
        return session::print(&plan(run, &prepared));
    }
    let program = match prepared.launch {
        Launch::Entry => None,
        Launch::Program | Launch::Ask => match Program::prepare() {
            Ok(program) => Some(program),
            Err(error) => return engine_failed(&format_args!("cannot prepare to run a program: {error}")),
        },
    };
    let Prepared { launch, entry } = prepared;
    host(configured(run, config), async |engine, signals| {
        if let Some(program) = &program {
            let task = match program.task(run, launch == Launch::Ask) {
                Ok(task) => with_options(run, task),
                Err(wrong) => {
                    message::error(wrong);
                    return Exit::Usage;
                }
            };
            if let Some(exit) = follow(run, engine, signals, task, Some(program)).await {
                return exit;
            }
        }
        follow(run, engine, signals, entry, None).await.unwrap_or(Exit::Success)
    })
}

/// A script that can be run.
struct Prepared {
    launch: Launch,
    /// The task that runs it by its entry point.
    entry: Task,
}

/// What would run.
fn plan(run: &RunArguments, Prepared { launch, entry }: &Prepared) -> String {
    let how = match launch {
        Launch::Entry => "by its entry point".to_owned(),
        Launch::Program => format!("as a program with the arguments {:?}", run.arguments),
        Launch::Ask => "as a program, if it has no entry point".to_owned(),
    };
    let lines = axion_core::flow::task_lines(entry).join("\n  ");
    format!("{}, {how}, in the pool {}; nothing runs\n  {lines}\n", run.script.display(), run.pool())
}

/// The text of a script.
fn read(script: &Path) -> Result<Vec<u8>, Reported> {
    let text = match std::fs::metadata(script) {
        Ok(file) if !file.is_file() => Err("it is not a file".to_owned()),
        Ok(_) => std::fs::read(script).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    text.map_err(|wrong| {
        message::error(format_args!("cannot run the script {}: {wrong}", script.display()));
        Reported
    })
}

/// Checks the input before anything starts.
fn prepare(run: &RunArguments) -> Result<Prepared, Reported> {
    let launch = Launch::of(run, &read(&run.script)?);
    if run.is_program && !run.params.is_empty() {
        message::error("a script that runs as a program has no parameters: give it arguments, behind --");
        return Err(Reported);
    }
    session::check(&run.workers)?;
    if let (Some(soft), Some(hard)) = (run.limits.soft_timeout, run.limits.timeout)
        && soft >= hard
    {
        message::error("--soft-timeout must be shorter than --timeout");
        return Err(Reported);
    }
    // Standard input is the program's.
    let params = if run.is_program { "{}".to_owned() } else { params::collect_json(&run.params)? };
    let entry = Task::script(&run.script).params_json(params).map_err(|error| {
        message::error(error);
        Reported
    })?;
    Ok(Prepared { launch, entry: with_options(run, entry) })
}

/// A task with the options of the command line.
fn with_options(run: &RunArguments, task: Task) -> Task {
    let mut task = task.on(run.pool()).retry(retries(run)).max_worker_losses(run.limits.max_worker_losses);
    if let Some(limit) = run.limits.timeout {
        task = task.timeout(limit);
    }
    if let Some(limit) = run.limits.soft_timeout {
        task = task.soft_timeout(limit);
    }
    if let Some(limit) = run.limits.total_timeout {
        task = task.total_timeout(limit);
    }
    task
}

/// Retries from the command line include time limits.
fn retries(run: &RunArguments) -> RetryPolicy {
    let mut policy = RetryPolicy::times(run.limits.retries);
    policy.on.extend([ErrorKind::Timeout, ErrorKind::SoftTimeout]);
    if let Some(wait) = run.limits.retry_wait {
        policy.backoff = Backoff::Fixed(wait);
    }
    policy
}

/// One worker for the one task: the configured pools and engine are for many tasks. The options of the command override
/// the configuration.
fn configured(run: &RunArguments, mut config: Config) -> Config {
    let workers = |pool| u32::from(pool == run.pool());
    config.engine = EngineKind::Parallel;
    config.autoscaler = ScalingPolicy::Off;
    (config.cpu_bound_count, config.cpu_bound_max) = (workers(PoolId::CPU), Some(workers(PoolId::CPU)));
    (config.io_bound_count, config.io_bound_max) = (workers(PoolId::IO), Some(workers(PoolId::IO)));
    for (pool, settings) in &mut config.pools {
        settings.workers = WorkerRange::exactly(workers(*pool));
    }
    let named = config.pools.values_mut().map(|pool| &mut pool.worker);
    for worker in named.chain([&mut config.cpu_bound_worker, &mut config.io_bound_worker]) {
        worker.task_memory_limit = run.limits.memory_limit.or(worker.task_memory_limit);
    }
    apply(&mut config, &run.workers);
    config
}

/// Submits the task and shows its output until it ends. A signal cancels it, and a second one ends it at once. `None`: the
/// script was to be run as a program, and has an entry point.
async fn follow(
    run: &RunArguments,
    engine: &Engine,
    signals: &mut Signals,
    task: Task,
    program: Option<&Program>,
) -> Option<Exit> {
    let mut events = engine.watch();
    let handle = match engine.submit(task) {
        Ok(handle) => handle,
        Err(error @ SubmitError::ParamsTooLarge { .. }) => {
            message::error(error);
            return Some(Exit::Usage);
        }
        Err(error) => return Some(engine_failed(&error)),
    };
    let id = handle.id();
    let mut ended = std::pin::pin!(ended(handle, &mut events, program));
    let number = tokio::select! {
        record = &mut ended => {
            // The reader of the result may be slow.
            return tokio::select! {
                exit = report(run, record, program) => exit,
                number = signals.next() => Some(Exit::Signal(number)),
            };
        }
        number = signals.next() => number,
    };
    let grace = engine.config().cancel_grace.as_secs_f64();
    message::error(format_args!(
        "interrupted; the task has {grace} s to stop. A second signal, 1 s from now or later, ends it at once"
    ));
    // If the engine has stopped, the handle reports it.
    let _ = engine.cancel_async(id).await;
    tokio::select! {
        _ = async { report(run, ended.await, program).await } => Some(Exit::Signal(number)),
        number = signals.next() => {
            message::error("interrupted again; ending everything at once");
            Some(Exit::Signal(number))
        }
    }
}

/// Shows the output of the task until it ends; says how it ended.
async fn ended(
    handle: TaskHandle,
    events: &mut EventStream,
    program: Option<&Program>,
) -> Result<Arc<TaskRecord>, WaitError> {
    show_output(handle.id(), events, program).await;
    handle.await
}

/// Copies the output of the task to standard error until the task ends.
async fn show_output(id: TaskId, events: &mut EventStream, program: Option<&Program>) {
    while let Some(watched) = events.next().await {
        match watched {
            Watched::Notice(notice) => match notice.kind {
                NoticeKind::Output { data, .. } => output::write(Kind::Output, data.into()),
                NoticeKind::Progress { fraction, message, .. } => {
                    message::progress(format_args!("{:3.0} % {message}", fraction * 100.0));
                }
                _ => {}
            },
            Watched::Fact(fact) => match fact.kind {
                FactKind::TaskRetrying { ended, wait_seconds, .. } => {
                    program.inspect(|program| program.forget());
                    message::warning(message::retrying(&ended, wait_seconds));
                }
                FactKind::TaskRerun { ended, .. } => {
                    program.inspect(|program| program.forget());
                    let attempt = ended.attempt;
                    message::warning(format_args!("the worker died during attempt {attempt}; running the task again"));
                }
                FactKind::TaskFinished { record } if record.id == id => return,
                _ => {}
            },
            Watched::NoticesMissed(count) => {
                message::warning(format_args!("output truncated: {count} notices dropped"));
            }
            _ => {}
        }
    }
}

/// Prints the result, and says how the program ends; `None` as [`follow`].
async fn report(
    run: &RunArguments,
    record: Result<Arc<TaskRecord>, WaitError>,
    program: Option<&Program>,
) -> Option<Exit> {
    let record = match record {
        Ok(record) => record,
        Err(error) => return Some(engine_failed(&error)),
    };
    let end = program.and_then(Program::end);
    let answer = program.and_then(|_| record.outcome.data()).map(|data| data.as_str().to_owned());
    match (end, answer.as_deref()) {
        (None, Some(program::HAS_ENTRY)) => return None,
        (None, Some(program::HAS_NO_ENTRY)) => {
            message::error(format_args!(
                "{} defines neither main(params, context) nor module(), so it takes no parameters; as a program it takes \
                 arguments: axion run {0} -- ARGUMENTS",
                run.script.display()
            ));
            return Some(Exit::Usage);
        }
        _ => {}
    }
    let text = match run.output {
        // It has gone to standard output by itself.
        OutputFormat::Data if program.is_some() => Ok(None),
        OutputFormat::Data => Ok(record.outcome.data().map(|data| format!("{}\n", data.as_str()))),
        OutputFormat::Json if program.is_some() => program_record(run, &record).map(|text| Some(text + "\n")),
        OutputFormat::Json => serde_json::to_string(&*record).map(|text| Some(text + "\n")),
    };
    let printed = match text {
        Ok(Some(text)) => output::print_aside(text).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let (Some(end), Ok(()), Outcome::Succeeded(_) | Outcome::Failed(_)) = (end, &printed, &record.outcome) {
        // A program has said itself why it failed, unless it was killed.
        if let ProgramEnd::Signal(number) = end {
            message::error(format_args!("the script was ended by signal {number}"));
        }
        return Some(end.exit());
    }
    if let Some(error) = record.outcome.error() {
        task_failed(format_args!("the task {}", words(&record.outcome)), error);
        if error.kind == ErrorKind::EntryMissing {
            let script = run.script.display();
            message::line(format_args!("  help: to run it as a program: axion run {script} -- ARGUMENTS"));
        }
    }
    Some(match (printed, &record.outcome) {
        (Err(error), _) => engine_failed(&format_args!("cannot write the result: {error}")),
        (Ok(()), Outcome::Succeeded(_)) => Exit::Success,
        (Ok(()), Outcome::Failed(error)) if error.kind == ErrorKind::WorkerStartFailed => Exit::Engine,
        (Ok(()), Outcome::TimedOut(_)) => Exit::TimedOut,
        (Ok(()), Outcome::Lost(_)) => Exit::Lost,
        (Ok(()), _) => Exit::TaskFailed,
    })
}

/// The record of a program: it names the script, not what runs the script in the worker.
fn program_record(run: &RunArguments, record: &TaskRecord) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(record)?;
    let script = std::path::absolute(&run.script).unwrap_or_else(|_| run.script.clone());
    value["script"] = script.to_string_lossy().into();
    serde_json::to_string(&value)
}

fn words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::TimedOut(_) => "timed out",
        Outcome::Cancelled(_) => "was cancelled",
        Outcome::Lost(_) => "was lost",
        other => other.name(),
    }
}
