//! The scenes of the demo.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_core::workflow::{MapOver, Reference, Step, Template, WorkflowRecord, WorkflowSpec};
use axion_core::{Backoff, FactKind, RetryPolicy, TaskRecord, Watched};
use serde_json::json;

use super::{DemoError, Stage, expect, shown};

/// The workers that the last scene may start.
pub(super) const MOST_WORKERS: u32 = 4;

/// The scripts, as the reader sees them.
pub(super) const SCRIPTS: [(&str, &str); 7] = [
    ("crash.py", include_str!("scripts/crash.py")),
    ("double.py", include_str!("scripts/double.py")),
    ("hang.py", include_str!("scripts/hang.py")),
    ("alive.py", include_str!("scripts/alive.py")),
    ("flaky.py", include_str!("scripts/flaky.py")),
    ("flow.py", include_str!("scripts/flow.py")),
    ("nap.py", include_str!("scripts/nap.py")),
];

/// All scenes, one after the other.
pub(super) async fn all(stage: &Stage<'_>) -> Result<(), DemoError> {
    stage
        .say(
            "This is Axion. Python tasks run in worker processes; an engine outside of them owns every task, timer and\n\
             process. Five scenes show what that is good for.\n",
        )
        .await?;
    stage.pause(5).await;
    crash(stage).await?;
    time_limit(stage).await?;
    retry(stage).await?;
    flow(stage).await?;
    scaling(stage).await?;
    stage.say("That was the demo. `axion run --help` and `axion flow run --help` are the next step; `axion bench` measures.").await
}

async fn crash(stage: &Stage<'_>) -> Result<(), DemoError> {
    let text = "A task kills its own process with SIGSEGV. Five other tasks wait behind it.";
    stage.open_scene(1, "A crash", "crash.py", text).await?;
    let crashing = stage.engine.submit(stage.task("crash.py"))?;
    let mut others = Vec::new();
    for value in 1..=5 {
        others.push(stage.engine.submit(stage.task("double.py").params(&json!({"value": value}))?)?);
    }
    let mut doubled = Vec::new();
    for other in others {
        let record = other.await?;
        expect(record.outcome.is_success(), "a task beside the crash should succeed", &record)?;
        doubled.push(record.outcome.data().map_or("", |data| data.as_str()).to_owned());
    }
    let record = crashing.await?;
    expect(record.outcome.is_success() && record.worker_losses == 1, "the task should survive one crash", &record)?;
    let text = attempts(&record) + &format!("the others: {}\n", doubled.join(", "));
    stage.say(&text).await?;
    stage
        .close_scene(
            "The first attempt took its worker along, and nothing else. A new worker ran the task again, alone, so that a\n\
             task that crashes each time convicts itself. After two losses the task would have ended as `lost`, with the\n\
             evidence of each attempt. A task that must not run twice says max_worker_losses = 0.",
        )
        .await
}

async fn time_limit(stage: &Stage<'_>) -> Result<(), DemoError> {
    let limit = Duration::from_secs(1);
    let text = "A task starts a process of its own and then runs for ever. Its time limit is 1 s.";
    stage.open_scene(2, "A time limit", "hang.py", text).await?;
    let begun = Instant::now();
    let record = stage.engine.submit(stage.task("hang.py").timeout(limit))?.await?;
    let took = begun.elapsed().as_secs_f64();
    expect(record.outcome.name() == "timed_out", "the task should reach its limit", &record)?;
    let post_mortem = record.outcome.error().and_then(|error| error.post_mortem.as_ref());
    let pid = record.output.as_ref().and_then(|output| output.stdout.text().trim().parse::<u32>().ok());
    let alive = stage.engine.submit(stage.task("alive.py").params(&json!({"pid": pid.unwrap_or_default()}))?)?.await?;
    let gone = alive.outcome.data().is_some_and(|data| data.as_str() == "false");
    expect(pid.is_some() && gone, "the process of the task should be gone", &alive)?;
    let mut text = format!("{} after {took:.2} s\n", shown(&record));
    if let Some(post_mortem) = post_mortem {
        text += &indented(&post_mortem.to_string());
    }
    text += &format!("its process {}: gone, too\n", pid.unwrap_or_default());
    stage.say(&text).await?;
    stage
        .close_scene(
            "The limit is a timer of the engine, not a signal handler in the task. At the deadline the engine took the\n\
             stacks, then killed the process with everything that it had started. No thread of yours has to cooperate.",
        )
        .await
}

async fn retry(stage: &Stage<'_>) -> Result<(), DemoError> {
    let text = "A task fails twice, as a server does that is busy. It may be retried 3 times, 0.5 s apart.";
    stage.open_scene(3, "A retry", "flaky.py", text).await?;
    let mut policy = RetryPolicy::times(3);
    policy.backoff = Backoff::Fixed(Duration::from_millis(500));
    let record = stage.engine.submit(stage.task("flaky.py").retry(policy))?.await?;
    expect(record.outcome.is_success() && record.retries == 2, "the third attempt should succeed", &record)?;
    stage.say(&attempts(&record)).await?;
    stage
        .close_scene(
            "Retries are off unless you ask for them. The wait can grow, and a policy can name the errors that it is for.\n\
             The record keeps what each attempt printed and raised.",
        )
        .await
}

async fn flow(stage: &Stage<'_>) -> Result<(), DemoError> {
    let text = "Three steps: `load` returns a list, `square` runs once for each of its elements, `total` adds them up.";
    stage.open_scene(4, "A flow", "flow.py", text).await?;
    let numbers = Template::from_json(&json!({"numbers": {"$ref": "square"}}));
    let numbers = numbers.map_err(|error| DemoError::Flow(error.to_string()))?;
    let each = MapOver { name: "number".into(), ..MapOver::new(Reference::to("load")) };
    let script = || stage.task("flow.py");
    let spec = WorkflowSpec::of([
        Step::new("load", script()),
        Step::new("square", script()).after("load").map_over(each),
        Step::new("total", script()).after("square").params(numbers),
    ]);
    let handle = stage.engine.submit_workflow(spec).map_err(|error| DemoError::Flow(error.to_string()))?;
    let record = handle.await.map_err(|error| DemoError::Flow(error.to_string()))?;
    let total = record.steps.last().and_then(|step| step.data.as_ref()).map_or("", |data| data.as_str());
    if total != "30" {
        return Err(DemoError::Unexpected { what: "the flow should end with 30", found: steps(&record) });
    }
    stage.say(&steps(&record)).await?;
    stage
        .close_scene(
            "A step starts when the steps that it depends on have succeeded. A flow can branch, survive failures and add\n\
             steps while it runs. `axion flow run` reads flows from files, and `axion flow graph` draws them.",
        )
        .await
}

async fn scaling(stage: &Stage<'_>) -> Result<(), DemoError> {
    let (count, seconds) = if stage.fast { (60, 0.05) } else { (60, 0.4) };
    let text = format!(
        "{count} tasks of {seconds} s meet a pool of one worker that may grow to {MOST_WORKERS}. One worker alone would \
         take {:.0} s.",
        f64::from(count) * seconds
    );
    stage.open_scene(5, "Scaling", "nap.py", &text).await?;
    let mut events = stage.engine.watch();
    let begun = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..count {
        handles.push(stage.engine.submit(stage.task("nap.py").params(&json!({"seconds": seconds}))?)?);
    }
    for handle in handles {
        let record = handle.await?;
        expect(record.outcome.is_success(), "a nap should succeed", &record)?;
    }
    let took = begun.elapsed().as_secs_f64();
    let mut text = String::new();
    while let Some(event) = events.try_next() {
        if let Watched::Fact(fact) = event
            && let FactKind::PoolTarget { workers, cause, .. } = &fact.kind
        {
            text += &format!("the pool gets {workers} workers: {cause}\n");
        }
    }
    stage.say(&format!("{text}all {count} tasks have ended after {took:.1} s\n")).await?;
    stage
        .close_scene(
            "The engine measures how long tasks take and how many wait, and starts workers if that pays. Idle workers end\n\
             again after a while. You set the bounds; several policies can be chosen.",
        )
        .await
}

/// How each attempt of a task ended.
fn attempts(record: &TaskRecord) -> String {
    let mut text = String::new();
    for earlier in &record.earlier {
        let error = earlier.error.to_string();
        text += &format!("attempt {} on {}: {}\n", earlier.attempt, earlier.worker, error.lines().next().unwrap_or(""));
    }
    if let (Some(attempt), Some(worker)) = (record.attempt, record.worker) {
        text += &format!("attempt {attempt} on {worker}: {}\n", shown(record));
    }
    text
}

/// How each step of a flow ended.
fn steps(record: &Arc<WorkflowRecord>) -> String {
    let mut text = String::new();
    for step in &record.steps {
        let data = step.data.as_ref().map_or("", |data| data.as_str());
        text += &format!("{:<8} {} {data}\n", step.name.as_deref().unwrap_or(""), step.state.name());
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
