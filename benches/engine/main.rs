//! The engine's figures, each beside its baseline from the same run.
//!
//! ```text
//! cargo bench --bench engine                   # everything, about three minutes
//! cargo bench --bench engine -- throughput     # what has this word in its name
//! cargo bench --bench engine -- --rounds 1     # fewer rounds than the usual 7
//! cargo bench --bench engine -- --json         # one JSON object at the end, for scripts
//! AXION_BENCH_PYTHON=/usr/bin/python3 cargo bench --bench engine
//! ```
//!
//! Every figure is the median of several rounds, with the smallest and the largest beside it. On a
//! shared machine, trust the ratios. Round trips are measured twice: as the scheduler places the
//! threads, and with everything on one processor, which shows the engine's own work without the cost
//! of waking another processor.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program of its own, for developers")]

mod floods;
mod flows;
#[path = "../../axion-cli/src/commands/bench/raw.rs"]
mod raw;
mod scheduling;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use axion_actors::testing::FakeLauncher;
use axion_core::{Engine, PoolKind, Task};
use hdrhistogram::Histogram;
use raw::RawChild;

const ROUNDS: &str = "7";
const TASKS: usize = 60_000;
const TRIPS: usize = 5_000;

fn main() {
    let (mut json, mut rounds, mut wanted) = (false, ROUNDS.to_owned(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => json = true,
            "--rounds" => rounds = arguments.next().expect("--rounds N"),
            _ => wanted.push(argument),
        }
    }
    let mut report = Report { rounds: rounds.parse().expect("--rounds N"), figures: serde_json::Map::new() };
    let python = interpreter();
    println!("interpreter {}, {} processors\n", python.display(), std::thread::available_parallelism().expect("known"));
    type Section = fn(&Path, &mut Report);
    let sections: [(&str, Section); 15] = [
        // First: what the others leave in memory would be measured too.
        ("idle", idle),
        ("fake", fake),
        ("backlog", scheduling::backlog),
        ("crowd", scheduling::crowd),
        ("throughput", throughput),
        ("round trip", round_trip),
        ("start", start),
        ("ends", ends),
        ("recycling", recycling),
        ("mixed", scheduling::mixed),
        ("floods, latency", floods::latencies),
        ("floods, limits", floods::limits),
        ("workflow, wide", flows::wides),
        ("workflow, chain", flows::chains),
        ("workflow, real", flows::steps),
    ];
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            section(&python, &mut report);
        }
    }
    if json {
        println!("{}", serde_json::Value::Object(report.figures));
    }
}

struct Report {
    /// How often each figure is measured.
    rounds: usize,
    /// Medians by name.
    figures: serde_json::Map<String, serde_json::Value>,
}

impl Report {
    /// Prints a figure and keeps its median.
    fn put(&mut self, name: &str, unit: &str, mut rounds: Vec<f64>) -> f64 {
        rounds.sort_by(f64::total_cmp);
        let median = rounds[rounds.len() / 2];
        let (least, most) = (rounds[0], rounds[rounds.len() - 1]);
        println!("{name:<58} {median:>12.1} {unit:<8} ({least:.1} to {most:.1})");
        self.figures.insert(name.to_owned(), median.into());
        median
    }

    fn ratio(&mut self, name: &str, ratio: f64) {
        println!("{name:<58} {ratio:>12.2} ×");
        self.figures.insert(name.to_owned(), ratio.into());
    }
}

/// The interpreter itself, not a shim in front of it: the baselines must not pay for that.
fn interpreter() -> PathBuf {
    let given = std::env::var_os("AXION_BENCH_PYTHON").map_or_else(|| "python3".into(), PathBuf::from);
    let output = Command::new(&given).args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(output.expect("a Python interpreter").stdout).expect("a path").trim().into()
}

fn noop() -> Task {
    Task::script(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/noop.py"))
}

fn succeeded(handle: axion_core::TaskHandle) {
    let record = handle.wait().expect("a record");
    assert!(record.outcome.is_success(), "{:?}", record.outcome);
}

fn engine(python: &Path, cpu: u32) -> Engine {
    warm(exactly(cpu), python)
}

/// So many CPU workers, always.
fn exactly(cpu: u32) -> axion_core::Config {
    axion_core::Config {
        cpu_bound_count: cpu,
        cpu_bound_max: Some(cpu),
        io_bound_count: 0,
        io_bound_max: Some(0),
        ..Default::default()
    }
}

/// An engine whose workers have started and loaded the no-op.
fn warm(config: axion_core::Config, python: &Path) -> Engine {
    let cpu = config.cpu_bound_count;
    let engine = Engine::builder().config(config).python(python).start().expect("starts");
    let warm = (0..cpu * 200).map(|_| engine.submit_wait(noop()).expect("accepted")).collect::<Vec<_>>();
    for handle in warm {
        succeeded(handle);
    }
    engine
}

/// Tasks submitted one by one and awaited; tasks per second.
fn rate(engine: &Engine, count: usize) -> f64 {
    let begun = Instant::now();
    let handles: Vec<_> = (0..count).map(|_| engine.submit_wait(noop()).expect("accepted")).collect();
    for handle in handles {
        succeeded(handle);
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn fake(_: &Path, report: &mut Report) {
    let start = || Box::new(FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().cpu_workers(2).io_workers(0).start_with(start).expect("starts");
    rate(&engine, TASKS);
    let (mut whole, mut own, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        let before = (engine_seconds(), cpu_seconds(std::process::id()));
        whole.push(1e9 / rate(&engine, TASKS * 4));
        own.push((engine_seconds() - before.0) * 1e9 / (TASKS * 4) as f64);
        used.push((cpu_seconds(std::process::id()) - before.1) * 1e9 / (TASKS * 4) as f64);
    }
    report.put("fake: engine side of one task, 2 fake workers", "ns", whole);
    report.put("fake: processor time of the engine's thread, fakes included", "ns", own);
    report.put("fake: processor time of one task, submitter included", "ns", used);
}

fn throughput(python: &Path, report: &mut Report) {
    let mut child = RawChild::start(python).expect("the interpreter starts");
    child.throughput(TASKS).expect("answers");
    let one = engine(python, 1);
    let two = engine(python, 2);
    let (mut raw, mut single, mut double) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        raw.push(child.throughput(TASKS).expect("answers"));
        single.push(rate(&one, TASKS));
        double.push(rate(&two, TASKS));
    }
    let raw = report.put("throughput: raw pipe to one Python child", "/s", raw);
    let single = report.put("throughput: no-op script tasks, 1 worker", "/s", single);
    report.put("throughput: no-op script tasks, 2 workers", "/s", double);
    report.ratio("throughput: 1 worker against the raw pipe", single / raw);
}

fn round_trip(python: &Path, report: &mut Report) {
    trips("round trip", axion_core::Config::default().wait_spin, python, report);
    trips("round trip with wait_spin 0", Duration::ZERO, python, report);
    let everywhere = rustix::thread::sched_getaffinity(None).expect("known");
    let mut one = rustix::thread::CpuSet::new();
    one.set((0..rustix::thread::CpuSet::MAX_CPU).find(|it| everywhere.is_set(*it)).expect("a processor"));
    rustix::thread::sched_setaffinity(None, &one).expect("pinned");
    trips("round trip on one processor", axion_core::Config::default().wait_spin, python, report);
    rustix::thread::sched_setaffinity(None, &everywhere).expect("released");
}

fn trips(name: &str, wait_spin: Duration, python: &Path, report: &mut Report) {
    let mut child = RawChild::start(python).expect("the interpreter starts");
    let engine = warm(axion_core::Config { wait_spin, ..exactly(1) }, python);
    let (mut raw, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        raw.push(quantiles(|| child.round_trip().expect("answers")).0);
        let (half, most) = quantiles(|| {
            let begun = Instant::now();
            engine.submit(noop()).expect("accepted").wait().expect("a record");
            begun.elapsed()
        });
        p50.push(half);
        p99.push(most);
    }
    report.put(&format!("{name}: raw pipe, p50"), "µs", raw);
    report.put(&format!("{name}: engine, p50"), "µs", p50);
    report.put(&format!("{name}: engine, p99"), "µs", p99);
}

/// p50 and p99 in microseconds.
fn quantiles(mut trip: impl FnMut() -> Duration) -> (f64, f64) {
    let mut times = histogram();
    for _ in 0..TRIPS {
        times.record(u64::try_from(trip().as_nanos()).expect("short")).expect("in range");
    }
    (times.value_at_quantile(0.5) as f64 / 1e3, times.value_at_quantile(0.99) as f64 / 1e3)
}

fn start(python: &Path, report: &mut Report) {
    let bare = || {
        let begun = Instant::now();
        assert!(Command::new(python).args(["-c", "pass"]).status().expect("runs").success());
        begun.elapsed().as_secs_f64() * 1e3
    };
    let whole = || {
        let begun = Instant::now();
        let engine = Engine::builder().cpu_workers(1).io_workers(0).python(python).start().expect("starts");
        engine.submit(noop()).expect("accepted").wait().expect("a record");
        let first = begun.elapsed().as_secs_f64() * 1e3;
        // A second worker of the same engine: the runtime is compiled by now.
        (first, replacement(&engine))
    };
    bare();
    let (mut bares, mut firsts, mut replacements) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.rounds * 3 {
        bares.push(bare());
        let (first, second) = whole();
        firsts.push(first);
        replacements.push(second);
    }
    let bare = report.put("start: a bare python -c pass", "ms", bares);
    let first = report.put("start: engine start to first result", "ms", firsts);
    let again = report.put("start: worker replacement to its first result", "ms", replacements);
    report.ratio("start: engine start to first result, in bare Pythons", first / bare);
    report.ratio("start: worker replacement, in bare Pythons", again / bare);
}

/// Kills the engine's only worker and measures until its replacement has answered a task.
fn replacement(engine: &Engine) -> f64 {
    let record = engine.submit(Task::script(PID).on(PoolKind::Cpu)).expect("accepted").wait().expect("a record");
    let pid: i32 = record.outcome.data().expect("a pid").parse().expect("a number");
    let begun = Instant::now();
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    // The first task may still have been sent to the dying worker; the next one is not.
    while !engine.submit(noop()).expect("accepted").wait().expect("a record").outcome.is_success() {}
    begun.elapsed().as_secs_f64() * 1e3
}

/// How exact time limits are, and how soon a dead worker's task runs again.
fn ends(python: &Path, report: &mut Report) {
    let config = axion_core::Config { max_restarts: u32::MAX, python: Some(python.to_owned()), ..exactly(1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let limit = Duration::from_millis(30);
    let (mut late, mut again) = (Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        let (mut lateness, mut restarts) = (histogram(), histogram());
        for _ in 0..25 {
            engine.submit(noop()).expect("accepted").wait().expect("a record");
            let task = Task::script(END).params(&serde_json::json!({"do": "sleep"})).expect("JSON").timeout(limit);
            let begun = Instant::now();
            let record = engine.submit(task).expect("accepted").wait().expect("a record");
            assert_eq!(record.outcome.name(), "timed_out");
            // The record comes after the process has been reaped.
            lateness.record(micros(begun.elapsed().saturating_sub(limit))).expect("in range");
            restarts.record(second_start(&engine)).expect("in range");
        }
        late.push(lateness.value_at_quantile(0.99) as f64 / 1e3);
        again.push(restarts.value_at_quantile(0.99) as f64 / 1e3);
    }
    report.put("ends: deadline to reaped process group, p99", "ms", late);
    report.put("ends: worker death to its task's next start, p99", "ms", again);
}

/// From the death of a worker to the next start of the task that ran in it, in microseconds.
fn second_start(engine: &Engine) -> u64 {
    let folder = std::env::temp_dir().join(format!("axion-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    let mark = folder.join("died");
    let params = serde_json::json!({"do": "die_once", "mark": mark});
    let task = Task::script(END).params(&params).expect("JSON");
    let record = engine.submit(task).expect("accepted").wait().expect("a record");
    std::fs::remove_dir_all(&folder).expect("removed");
    let seconds: f64 = record.outcome.data().expect("it ran again").parse().expect("a number");
    micros(Duration::from_secs_f64(seconds))
}

const END: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/end.py");

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).expect("short").max(1)
}

/// What a new worker for every 100 tasks of a millisecond costs.
fn recycling(python: &Path, report: &mut Report) {
    let start = |most| {
        let worker = axion_core::WorkerConfig { max_tasks_per_worker: most, ..Default::default() };
        let config = axion_core::Config { cpu_bound_worker: worker, python: Some(python.to_owned()), ..exactly(2) };
        Engine::builder().config(config).start().expect("starts")
    };
    let (never, often) = (start(None), start(Some(100)));
    let millisecond = |engine: &Engine| {
        let begun = Instant::now();
        let task = || Task::script(END).params(&serde_json::json!({"do": "work"})).expect("JSON");
        let handles: Vec<_> = (0..2000).map(|_| engine.submit_wait(task()).expect("accepted")).collect();
        handles.into_iter().for_each(succeeded);
        2000.0 / begun.elapsed().as_secs_f64()
    };
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        without.push(millisecond(&never));
        with.push(millisecond(&often));
    }
    let without = report.put("recycling: tasks of 1 ms, never", "/s", without);
    let with = report.put("recycling: tasks of 1 ms, every 100", "/s", with);
    report.ratio("recycling: every 100 tasks against never", with / without);
}

const PID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/pid.py");

fn idle(python: &Path, report: &mut Report) {
    let engine = engine(python, 4);
    let handles: Vec<_> = (0..64).map(|_| engine.submit_wait(Task::script(PID)).expect("accepted")).collect();
    let mut workers: Vec<u32> = handles
        .into_iter()
        .map(|it| it.wait().expect("a record").outcome.data().expect("a pid").parse().expect("pid"))
        .collect();
    workers.sort_unstable();
    workers.dedup();
    let processes: Vec<u32> = workers.iter().copied().chain([std::process::id()]).collect();
    let measured = Duration::from_secs(5);
    let used: f64 = processes.iter().map(|pid| cpu_seconds(*pid)).sum();
    std::thread::sleep(measured);
    let used = processes.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>() - used;
    report.put("idle: engine and 4 workers", "% core", vec![used / measured.as_secs_f64() * 100.0]);
    report.put("idle: resident, engine", "MiB", vec![resident(std::process::id())]);
    report.put("idle: resident, each worker", "MiB", workers.iter().map(|pid| resident(*pid)).collect());
    let bare = Command::new(python)
        .args(["-c", "print([l for l in open('/proc/self/status') if l.startswith('VmRSS')][0].split()[1])"])
        .output();
    let bare = String::from_utf8(bare.expect("runs").stdout).expect("a number").trim().parse::<f64>().expect("KiB");
    report.put("idle: resident, a bare Python", "MiB", vec![bare / 1024.0]);
}

/// Processor time of a process so far, from its scheduler statistics (nanoseconds).
fn cpu_seconds(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten();
    threads.filter_map(|thread| thread_seconds(&thread.path())).sum::<f64>()
}

/// Processor time of this process's engine threads that live. There is one, mostly.
fn engine_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("the process lives").flatten();
    let is_engine = |path: &Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|it| it == "axion-engine\n");
    threads.map(|it| it.path()).filter(|it| is_engine(it)).filter_map(|it| thread_seconds(&it)).sum()
}

fn thread_seconds(thread: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(text.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("resident size");
    line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("KiB") / 1024.0
}
