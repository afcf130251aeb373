//! `axion bench` and `axion demo`, as a user runs them.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Running, axion, run};

/// One unit of work is enough: the figures are the machine's, the form is ours.
const SHORT: [&str; 4] = ["--seconds", "0.1", "--workers", "1"];

fn measures_axion_beside_its_baseline(name: &str) {
    let ran = run(axion().args(["bench", name, "--json"]).args(SHORT));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    let bench = &report["benches"][0];
    assert_eq!(bench["bench"], name);
    let rows = bench["rows"].as_array().expect("rows");
    for system in [&bench["baseline"], &Value::from("axion")] {
        assert!(rows.iter().any(|row| row["system"] == *system), "{bench}");
    }
    for row in rows {
        let number = |key: &str| row[key].as_f64().expect("a number");
        assert!(number("median") > 0.0 && number("min") <= number("median") && number("median") <= number("max"));
    }
    assert!(ran.err.contains(&format!("{name}: round 1 of 3")), "{}", ran.err);
}

macro_rules! benches {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { measures_axion_beside_its_baseline($name); })*
    };
}

benches! {
    bench_throughput: "throughput",
    bench_scaling: "scaling",
    bench_cpu: "cpu",
    bench_io: "io",
    bench_batch: "batch",
    bench_round_trip: "round-trip",
}

#[test]
fn a_bench_prints_a_table() {
    let ran = run(axion().args(["bench", "round-trip"]).args(SHORT));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("axion ") && lines[0].contains(", Python 3."), "{}", ran.out);
    assert!(lines.iter().any(|line| line.trim().starts_with("axion  ") && line.contains("p50")), "{}", ran.out);
    assert!(lines.iter().any(|line| line.trim().starts_with("raw pipe, one process")), "{}", ran.out);
}

#[test]
fn wrong_usage_of_a_bench_is_said() {
    for wrong in [["bench", "speed"], ["bench", "--workers=0"], ["bench", "--seconds=0"], ["bench", "--seconds=soon"]] {
        let ran = run(axion().args(wrong));
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
    }
    let ran = run(axion().args(["bench", "cpu", "--python", "/there/is/none"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
    assert!(ran.err.contains("/there/is/none"), "{}", ran.err);
}

#[test]
fn ctrl_c_ends_a_bench_and_the_demo_and_leaves_nothing() {
    for command in [&["bench", "throughput", "--seconds", "60"][..], &["demo"]] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut program = Running::start(axion().args(command).env("TMPDIR", folder.path()));
        let mut first = [0];
        let begun = if command[0] == "demo" {
            std::io::Read::read(program.0.stdout.as_mut().expect("piped"), &mut first)
        } else {
            std::io::Read::read(program.0.stderr.as_mut().expect("piped"), &mut first)
        };
        assert_eq!(begun.expect("read"), 1, "{command:?} says that it has begun");
        program.signal(Signal::INT);
        assert_eq!(program.ends().0, Some(130), "{command:?}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("read").flatten().map(|it| it.file_name()).collect();
        let ours = left
            .iter()
            .any(|name| ["axion-bench-", "axion-demo-"].iter().any(|it| name.to_string_lossy().starts_with(it)));
        assert!(!ours, "{left:?}");
    }
}

#[test]
fn the_demo_goes_as_it_says_also_into_a_pipe() {
    let ran = run(axion().args(["demo", "--fast"]));
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for part in [
        "1. A crash",
        "signal 11 (SIGSEGV)",
        "succeeded: \"finished by attempt 2\"",
        "the others: 2, 4, 6, 8, 10",
        "2. A time limit",
        "killed by the engine at the deadline",
        ": gone, too",
        "3. A retry",
        "ConnectionError: the server is busy",
        "succeeded: \"the page, by attempt 3\"",
        "4. A flow",
        "total    succeeded 30",
        "5. Scaling",
        "all 60 tasks have ended",
    ] {
        assert!(ran.out.contains(part), "{part} is missing:\n{}", ran.out);
    }
}
