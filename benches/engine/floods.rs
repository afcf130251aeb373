//! Workers that write as fast as they can: what that costs the tasks of others, and how exact a time limit stays.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axion_core::{Config, Engine, PoolKind, Task};

use crate::{Report, exactly, histogram, micros, noop};

const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/flood.py");

/// Round trips through one worker in one round.
const TRIPS: usize = 300;
/// Time limits in one round, and how long each is.
const LIMITS: usize = 20;
const LIMIT: Duration = Duration::from_millis(300);

fn flood(what: &str) -> Task {
    Task::script(FLOOD).on(PoolKind::Cpu).params(&serde_json::json!({"do": what})).expect("JSON")
}

/// Round trips of no-op tasks through the third worker, while two others flood. The baseline: the two only compute.
pub(crate) fn latencies(python: &Path, report: &mut Report) {
    let mut medians = Vec::new();
    for what in ["compute", "log", "progress", "print", "raw"] {
        let config = Config { python: Some(python.to_owned()), ..exactly(3) };
        let engine = Engine::builder().config(config).start().expect("starts");
        let flooders = [(); 2].map(|()| engine.submit(flood(what)).expect("accepted"));
        // The workers start one after the other, and the first task of each loads its script.
        for _ in 0..20 {
            engine.submit(noop()).expect("accepted").wait().expect("a record");
        }
        let (mut half, mut most) = (Vec::new(), Vec::new());
        for _ in 0..report.rounds {
            let mut times = histogram();
            for _ in 0..TRIPS {
                let begun = Instant::now();
                engine.submit(noop()).expect("accepted").wait().expect("a record");
                times.record(micros(begun.elapsed())).expect("in range");
            }
            half.push(times.value_at_quantile(0.5) as f64 / 1e3);
            most.push(times.value_at_quantile(0.99) as f64 / 1e3);
        }
        let name =
            if what == "compute" { "two that compute (baseline)".to_owned() } else { format!("two that {what}") };
        report.put(&format!("floods: round trip beside {name}, p50"), "ms", half);
        medians.push(report.put(&format!("floods: round trip beside {name}, p99"), "ms", most));
        engine.shutdown(Duration::ZERO);
        drop(flooders);
    }
    let worst = medians[1..].iter().copied().fold(0.0, f64::max);
    report.ratio("floods: the worst p99 against the baseline", worst / medians[0]);
}

/// From the deadline of a task to the last sign of life of its process group: of a quiet task, of one with 20 threads that
/// flood, and of the same in a program whose standard error nobody reads.
pub(crate) fn limits(python: &Path, report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("axion-bench-floods-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    let beats = folder.join("beats");
    let config = Config { max_restarts: u32::MAX, python: Some(python.to_owned()), ..exactly(1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    for threads in [0, 20] {
        let name = format!("floods: deadline to stopped group, {threads} flooding threads");
        lateness(report, &name, || stopped_late(&engine, &beats, threads));
    }
    engine.shutdown(Duration::ZERO);
    match program() {
        Some(program) => {
            let name = "floods: the same of the program, standard error unread";
            lateness(report, name, || stopped_late_unread(&program, &beats, 20));
        }
        None => println!("floods: the program is not built: cargo build --release --package axion-cli"),
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

fn lateness(report: &mut Report, name: &str, mut one: impl FnMut() -> Duration) {
    let (mut half, mut most) = (Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        let mut times = histogram();
        for _ in 0..LIMITS {
            times.record(micros(one())).expect("in range");
        }
        half.push(times.value_at_quantile(0.5) as f64 / 1e3);
        most.push(times.value_at_quantile(0.99) as f64 / 1e3);
    }
    report.put(&format!("{name}, p50"), "ms", half);
    report.put(&format!("{name}, p99"), "ms", most);
}

fn stopped_late(engine: &Engine, beats: &Path, threads: u32) -> Duration {
    engine.submit(noop()).expect("accepted").wait().expect("a record");
    std::fs::write(beats, [0; 24]).expect("written");
    let task = Task::script(FLOOD).on(PoolKind::Cpu).params(&flooding(beats, threads)).expect("JSON").timeout(LIMIT);
    let begun = monotonic();
    let record = engine.submit(task).expect("accepted").wait().expect("a record");
    assert_eq!(record.outcome.name(), "timed_out");
    let [process, threads, _] = times_in(beats);
    process.max(threads).saturating_sub(begun + LIMIT)
}

/// The same of the program, whose standard error nobody reads.
fn stopped_late_unread(program: &Path, beats: &Path, threads: u32) -> Duration {
    std::fs::write(beats, [0; 24]).expect("written");
    let mut command = Command::new(program);
    command.args(["run", FLOOD, "--timeout", "300ms", "--params", &flooding(beats, threads).to_string()]);
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let _unread = running.stderr.take();
    // Its last words wait for a reader, so it is not waited for: the worker has ended when its last beat does not move.
    let ended = || {
        let before = times_in(beats);
        std::thread::sleep(Duration::from_millis(150));
        before[2] > Duration::ZERO && before == times_in(beats)
    };
    while !ended() {}
    let _ = running.kill();
    running.wait().expect("reaped");
    let [process, threads, begun] = times_in(beats);
    process.max(threads).saturating_sub(begun + LIMIT)
}

fn flooding(beats: &Path, threads: u32) -> serde_json::Value {
    serde_json::json!({"do": "threads", "threads": threads, "beats": beats})
}

/// When the process of the group ran last, when the threads did, and when the task began.
fn times_in(beats: &Path) -> [Duration; 3] {
    let beats = std::fs::read(beats).expect("read");
    let time = |at: usize| u64::from_le_bytes(beats[at..at + 8].try_into().expect("eight bytes"));
    [time(0), time(8), time(16)].map(Duration::from_nanos)
}

/// The `axion` program of the same build, if there is one.
fn program() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("axion")).filter(|program| program.exists())
}

/// The clock of Python's `time.monotonic_ns`.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().expect("positive"), now.tv_nsec.try_into().expect("positive"))
}
