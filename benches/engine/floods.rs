//! Workers that write as fast as they can: what that costs the tasks of others, and how exact a time limit stays.

use std::path::Path;
use std::time::{Duration, Instant};

use axion_core::{Config, Engine, PoolKind, Task};

use crate::{Report, exactly, histogram, micros, noop};

const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/flood.py");

/// Round trips through one worker in one round.
const TRIPS: usize = 300;
/// Time limits in one round.
const LIMITS: usize = 20;

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

/// From the deadline of a task to the last sign of life of its process group: of a quiet task, and of one with 20 threads
/// that flood.
pub(crate) fn limits(python: &Path, report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("axion-bench-floods-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    let beats = folder.join("beats");
    let config = Config { max_restarts: u32::MAX, python: Some(python.to_owned()), ..exactly(1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    for threads in [0, 20] {
        let mut late = Vec::new();
        for _ in 0..report.rounds {
            let mut lateness = histogram();
            for _ in 0..LIMITS {
                lateness.record(micros(stopped_late(&engine, &beats, threads))).expect("in range");
            }
            late.push(lateness.value_at_quantile(0.99) as f64 / 1e3);
        }
        report.put(&format!("floods: deadline to stopped group, {threads} flooding threads, p99"), "ms", late);
    }
    engine.shutdown(Duration::ZERO);
    std::fs::remove_dir_all(&folder).expect("removed");
}

fn stopped_late(engine: &Engine, beats: &Path, threads: u32) -> Duration {
    engine.submit(noop()).expect("accepted").wait().expect("a record");
    std::fs::write(beats, [0; 16]).expect("written");
    let limit = Duration::from_millis(300);
    let params = serde_json::json!({"do": "threads", "threads": threads, "beats": beats});
    let task = Task::script(FLOOD).on(PoolKind::Cpu).params(&params).expect("JSON").timeout(limit);
    let begun = monotonic();
    let record = engine.submit(task).expect("accepted").wait().expect("a record");
    assert_eq!(record.outcome.name(), "timed_out");
    let beats = std::fs::read(beats).expect("read");
    let last = beats.chunks(8).map(|it| u64::from_le_bytes(it.try_into().expect("eight bytes"))).max();
    Duration::from_nanos(last.expect("two beats")).saturating_sub(begun + limit)
}

/// The clock of Python's `time.monotonic_ns`.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().expect("positive"), now.tv_nsec.try_into().expect("positive"))
}
