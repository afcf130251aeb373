//! Measures the units of a bench.
//!
//! The engine is measured on the command's thread, in pieces of a second or so between which signals are heard. The
//! baselines run as tasks of an engine that is idle otherwise, so they end with the command, however it ends (L7).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axion_core::{Config, Engine, PoolKind, Task, TaskHandle, TaskId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::BenchError;
use super::plan::{self, COROUTINES, Measure, Pool, System, THREADS, Unit, WAIT, Work};
use super::raw::RawChild;
use super::report::{Figure, Machine};

const PEERS: &str = include_str!("peers.py");
const NOTHING: &str = "def main(params, context):\n    return None\n";
const COMPUTE: &str = "\
def main(params, context):
    total = 0
    for number in range(params['loops']):
        total += number * number
    return total
";
const SLEEP: &str = "import time\n\n\ndef main(params, context):\n    time.sleep(params['seconds'])\n";
const SLEEP_ASYNC: &str =
    "import asyncio\n\n\nasync def main(params, context):\n    await asyncio.sleep(params['seconds'])\n";

/// The most tasks that are in flight at once.
const MOST: usize = 500_000;
/// The round trips that a percentile needs.
const LEAST_TRIPS: usize = 100;
/// Beyond the time that a baseline should take: to start interpreters, and to learn the rate.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where things are measured: the machine, the scripts, and the engine that runs the baselines.
pub(super) struct Lab<'a> {
    attendant: &'a Engine,
    scripts: tempfile::TempDir,
    machine: Machine,
}

impl<'a> Lab<'a> {
    /// Writes the scripts, and asks Python about the machine.
    pub(super) async fn open(attendant: &'a Engine) -> Result<Self, BenchError> {
        let scripts = tempfile::Builder::new().prefix("axion-bench-").tempdir().map_err(BenchError::Scripts)?;
        let files = [
            ("peers.py", PEERS),
            ("nothing.py", NOTHING),
            ("compute.py", COMPUTE),
            ("wait.py", SLEEP),
            ("wait_async.py", SLEEP_ASYNC),
        ];
        for (name, text) in files {
            std::fs::write(scripts.path().join(name), text).map_err(BenchError::Scripts)?;
        }
        let mut machine: Machine =
            ask(attendant, &scripts.path().join("peers.py"), "asking Python about the machine", &json!({}), PATIENCE)
                .await?;
        machine.processors = std::thread::available_parallelism().map_or(1, |it| u32::try_from(it.get()).unwrap_or(1));
        Ok(Self { attendant, scripts, machine })
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Measures one unit once.
    pub(super) async fn measure(&self, unit: &Unit, time: Duration) -> Result<Vec<(Figure, f64)>, BenchError> {
        let values = match unit.system {
            System::Engine => self.engine(unit, time).await?,
            System::Pipe => {
                let python = self.machine.python.clone();
                self.pipe(unit, time).await.map_err(|error| BenchError::Pipe { python, error })?
            }
            _ => self.peer(unit, time).await?,
        };
        let figures: &[Figure] = match unit.measure {
            Measure::Rate(_) => &[Figure::Rate],
            Measure::Trips => &[Figure::Median, Figure::Percentile99],
            Measure::Batch(_) => &[Figure::Batch],
        };
        Ok(figures.iter().copied().zip(values).collect())
    }

    /// Through an engine of its own, whose workers have started and loaded the script.
    async fn engine(&self, unit: &Unit, time: Duration) -> Result<Vec<f64>, BenchError> {
        let (work, pool) = match unit.measure {
            Measure::Rate(work @ (Work::Wait | Work::WaitAsync)) => (work, Pool::Io(unit.workers)),
            Measure::Rate(work) => (work, Pool::Cpu(unit.workers)),
            Measure::Trips | Measure::Batch(_) => (Work::Nothing, Pool::Cpu(unit.workers)),
        };
        let given = Config { python: Some(PathBuf::from(&self.machine.python)), ..self.attendant.config().clone() };
        let config = Config { input_queue_size: MOST * 2, input_queue_bytes: 1 << 30, ..plan::only(given, pool) };
        let engine = Engine::builder().config(config).start()?;
        let task = self.task(work)?;
        let few = match work {
            Work::Nothing => 100,
            Work::Compute => 2,
            Work::Wait => THREADS,
            Work::WaitAsync => COROUTINES,
        } as usize
            * unit.workers as usize;
        one_by_one(&engine, &task, few)?;
        match unit.measure {
            Measure::Rate(_) => Ok(vec![rate(few, time, |count| one_by_one(&engine, &task, count)).await?]),
            Measure::Trips => {
                trips(time, || {
                    let begun = Instant::now();
                    succeeded(engine.submit(again(&task))?)?;
                    Ok(begun.elapsed())
                })
                .await
            }
            Measure::Batch(count) => Ok(vec![batch(&engine, &task, count as usize, time).await?]),
        }
    }

    fn task(&self, work: Work) -> Result<Task, BenchError> {
        let (name, pool, params) = match work {
            Work::Nothing => ("nothing.py", PoolKind::Cpu, json!({})),
            Work::Compute => ("compute.py", PoolKind::Cpu, json!({"loops": self.machine.loops})),
            Work::Wait => ("wait.py", PoolKind::Io, json!({"seconds": WAIT})),
            Work::WaitAsync => ("wait_async.py", PoolKind::Io, json!({"seconds": WAIT})),
        };
        Ok(Task::script(self.scripts.path().join(name)).on(pool).params(&params)?)
    }

    async fn pipe(&self, unit: &Unit, time: Duration) -> std::io::Result<Vec<f64>> {
        let mut child = RawChild::start(Path::new(&self.machine.python))?;
        match unit.measure {
            Measure::Trips => trips(time, || child.round_trip()).await,
            _ => Ok(vec![rate(1_000, time, |count| child.throughput(count)).await?]),
        }
    }

    async fn peer(&self, unit: &Unit, time: Duration) -> Result<Vec<f64>, BenchError> {
        let system = match unit.system {
            System::Package => "package",
            System::Threads => "threads",
            System::Loop => "loop",
            _ => "processes",
        };
        let (what, work, count) = match unit.measure {
            Measure::Rate(work) => ("rate", work, first_count(work) * unit.workers),
            Measure::Trips => ("trips", Work::Nothing, 0),
            Measure::Batch(count) => ("batch", Work::Nothing, count),
        };
        let argument = match work {
            Work::Nothing => Value::Null,
            Work::Compute => json!(self.machine.loops),
            Work::Wait | Work::WaitAsync => json!(WAIT),
        };
        let asked = json!({
            "system": system, "workers": unit.workers, "what": what, "seconds": time.as_secs_f64(),
            "work": work.name(), "argument": argument, "count": count,
        });
        let script = self.scripts.path().join("peers.py");
        let values: Vec<f64> = ask(self.attendant, &script, unit.system.name(), &asked, time + PATIENCE).await?;
        let scale = if matches!(unit.measure, Measure::Batch(_)) { 1e3 } else { 1.0 };
        Ok(values.into_iter().map(|value| value * scale).collect())
    }
}

/// What a pool of Python runs to learn its rate, for each worker.
fn first_count(work: Work) -> u32 {
    if work == Work::Nothing { 200 } else { 2 }
}

/// Runs the baselines' script and reads its answer.
async fn ask<T: DeserializeOwned>(
    engine: &Engine,
    script: &Path,
    what: &str,
    asked: &Value,
    limit: Duration,
) -> Result<T, BenchError> {
    let task = Task::script(script).timeout(limit).max_worker_losses(0).params(asked)?;
    let record = engine.submit(task)?.await?;
    match record.outcome.error() {
        Some(error) => Err(BenchError::Peer { what: what.to_owned(), error: Box::new(error.clone()) }),
        None => serde_json::from_str(record.outcome.data().map_or("null", |data| data.as_str()))
            .map_err(|error| BenchError::Answer { what: what.to_owned(), error }),
    }
}

/// The same task, as another one.
fn again(task: &Task) -> Task {
    task.clone().with_id(TaskId::generate())
}

fn succeeded(handle: TaskHandle) -> Result<(), BenchError> {
    let record = handle.wait()?;
    match record.outcome.error() {
        Some(error) => Err(BenchError::Task(Box::new(error.clone()))),
        None => Ok(()),
    }
}

/// Tasks per second, submitted one by one, all results awaited.
fn one_by_one(engine: &Engine, task: &Task, count: usize) -> Result<f64, BenchError> {
    let begun = Instant::now();
    let handles = (0..count).map(|_| engine.submit_wait(again(task))).collect::<Result<Vec<_>, _>>()?;
    handles.into_iter().try_for_each(succeeded)?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// The longest time in which no signal is heard.
const DEAF: Duration = Duration::from_millis(500);

/// Tasks per second over the time: a few to learn the rate, then as many as fit into each piece of the time.
async fn rate<E>(few: usize, time: Duration, mut measure: impl FnMut(usize) -> Result<f64, E>) -> Result<f64, E> {
    let begun = Instant::now();
    let mut rate = measure(few)?;
    let (mut tasks, mut seconds) = (0.0, 0.0);
    while seconds == 0.0 || begun.elapsed() < time {
        tokio::task::yield_now().await;
        let piece = time.saturating_sub(begun.elapsed()).min(DEAF);
        let count = ((rate * piece.as_secs_f64()) as usize).clamp(few, MOST);
        rate = measure(count)?;
        tasks += count as f64;
        seconds += count as f64 / rate;
    }
    Ok(tasks / seconds)
}

/// The median of the milliseconds of a batch, of as many as fit into the time.
async fn batch(engine: &Engine, task: &Task, count: usize, time: Duration) -> Result<f64, BenchError> {
    let (mut took, begun) = (Vec::new(), Instant::now());
    while took.is_empty() || begun.elapsed() < time {
        let this = Instant::now();
        let tasks = (0..count).map(|_| again(task));
        engine.submit_many(tasks)?.into_iter().try_for_each(succeeded)?;
        took.push(this.elapsed());
        tokio::task::yield_now().await;
    }
    took.sort();
    Ok(took[took.len() / 2].as_secs_f64() * 1e3)
}

/// The median and the 99th percentile of one task after the other, in microseconds.
async fn trips<E>(time: Duration, mut trip: impl FnMut() -> Result<Duration, E>) -> Result<Vec<f64>, E> {
    let (mut took, begun, mut heard) = (Vec::new(), Instant::now(), Instant::now());
    while took.len() < LEAST_TRIPS || begun.elapsed() < time {
        took.push(trip()?);
        if heard.elapsed() > DEAF {
            tokio::task::yield_now().await;
            heard = Instant::now();
        }
    }
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1e6;
    Ok(vec![at(50), at(99)])
}
