//! The laws, on real Python processes.

use std::time::Duration;

use axion_actors::model::ProcessExit;
use axion_core::{Engine, ErrorKind, Outcome, TaskId, WaitError};
use serde_json::json;

use crate::support::{
    Gate, LIMIT, ended, engine, entry, exactly, executable, is_alone, kill, lives, next_output, on_io, repeat_until,
    run, until_ended, value,
};

#[test]
fn l1_a_killed_child_costs_one_task_which_says_so_and_the_next_one_runs() {
    let engine = engine(1, 0);
    let mut events = engine.watch();
    let doomed = engine.submit(entry("announce_and_wait", json!({})).max_worker_losses(0)).expect("accepted");
    let next = engine.submit(entry("pid", json!({}))).expect("accepted");
    let pid: i32 = next_output(&mut events).trim().parse().expect("a pid");
    kill(pid);
    let record = ended(doomed);
    let Outcome::Lost(error) = &record.outcome else { panic!("{:?}", record.outcome) };
    assert_eq!(error.exit(), Some(ProcessExit::Signal(9)));
    assert!(error.message.contains("signal 9 (SIGKILL)"), "{error}");
    assert_eq!(record.output.as_ref().expect("it printed").stdout.text().trim(), pid.to_string());
    assert_ne!(value(&ended(next)), json!(pid));
}

#[test]
fn l1_every_way_out_of_the_process_is_an_outcome() {
    let engine = engine(1, 0);
    for code in [0, 1, 42] {
        let record = run(&engine, entry("exit", json!({"code": code})).max_worker_losses(0));
        let error = record.outcome.error().expect("lost");
        assert_eq!((error.kind, error.exit()), (ErrorKind::WorkerLost, Some(ProcessExit::Code(code))));
    }
    assert_eq!(engine.result(TaskId::generate(), LIMIT), Err(WaitError::Refused(axion_core::Refusal::UnknownId)));
}

#[test]
fn l2_results_before_a_death_are_kept_and_l5_what_had_not_started_is_not_charged() {
    let engine = engine(1, 0);
    // The engine learns that the script is fast, so it sends the next tasks ahead together.
    for _ in 0..50 {
        run(&engine, entry("pid", json!({})));
    }
    let submit = |task| engine.submit_wait(task).expect("accepted");
    let before: Vec<_> = (0..40).map(|_| submit(entry("pid", json!({})))).collect();
    let deadly = submit(entry("die_after_result_of_another", json!({})).max_worker_losses(0));
    let after: Vec<_> = (0..40).map(|_| submit(entry("pid", json!({})))).collect();
    for handle in before {
        assert!(ended(handle).outcome.is_success(), "L2");
    }
    assert_eq!(ended(deadly).outcome.name(), "lost");
    for handle in after {
        let record = ended(handle);
        assert!(record.outcome.is_success(), "L5: {:?}", record.outcome);
        assert_eq!(record.attempt.expect("ran").0, 1, "L5: its worker's death was not charged to it");
    }
}

#[test]
fn l7_a_shutdown_leaves_no_process_and_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = axion_core::Config { runtime_dir: Some(folder.path().to_owned()), ..exactly(1, 1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let mut events = engine.watch();
    let idle: i32 = value(&run(&engine, on_io(entry("pid", json!({}))))).as_i64().expect("a pid") as i32;
    let stuck = engine.submit(entry("hold_the_lock", json!({}))).expect("accepted");
    let pids = next_output(&mut events);
    let mut pids: Vec<i32> = pids.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    pids.push(idle);
    assert!(pids.iter().all(|pid| lives(*pid)));
    assert_eq!(engine.shutdown(Duration::ZERO).cancelled, 1);
    assert_eq!(ended(stuck).outcome.name(), "cancelled");
    until_ended("a worker", &pids);
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
}

#[test]
fn l8_a_child_that_writes_garbage_everywhere_dies_alone() {
    let engine = engine(2, 0);
    let submit = |task| engine.submit_wait(task).expect("accepted");
    let garbage = submit(entry("garbage", json!({"seed": 7})).max_worker_losses(0));
    let tasks: Vec<_> = (0..1000).map(|n| submit(entry("double", json!({"value": n})))).collect();
    for (n, handle) in tasks.into_iter().enumerate() {
        assert_eq!(value(&ended(handle))["result"], json!(n * 2));
    }
    let record = ended(garbage);
    assert_eq!(record.outcome.error().expect("lost").kind, ErrorKind::WorkerLost, "{:?}", record.outcome);
}

#[test]
fn l10_an_idle_engine_and_its_workers_are_not_woken() {
    if !is_alone("laws::l10_an_idle_engine_and_its_workers_are_not_woken") {
        return;
    }
    let engine = engine(2, 1);
    let mut pids: Vec<i64> = (0..20)
        .map(|n| {
            let task = entry("spin", json!({"seconds": 0.002}));
            engine.submit(if n % 3 == 0 { on_io(task) } else { task }).expect("accepted")
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|handle| value(&ended(handle)).as_i64().expect("a pid"))
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let threads = || -> Vec<(String, u64)> {
        let own = std::fs::read_dir("/proc/self/task").expect("listed").flatten().map(|it| it.path());
        let own =
            own.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|it| it.starts_with("axion-")));
        let workers = pids.iter().flat_map(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/task")).expect("the worker lives").flatten().map(|it| it.path())
        });
        own.chain(workers).map(|task| (task.display().to_string(), switches(&task))).collect()
    };
    // The last timers of the work before run out; then nothing may happen for a while.
    let quiet = || {
        let before = threads();
        let (_never, silence) = std::sync::mpsc::channel::<()>();
        let _ = silence.recv_timeout(Duration::from_millis(300));
        before == threads()
    };
    repeat_until("300 ms without a single wake-up", quiet);
}

#[test]
fn l10_a_thread_that_waits_for_a_task_which_turns_out_long_sleeps() {
    let engine = engine(1, 0);
    let task = |seconds: f64| entry("spin", json!({"seconds": seconds}));
    // So that a task of this script is expected to be short, and the thread has tried to spin.
    for _ in 0..200 {
        value(&ended(engine.submit(task(0.0)).expect("accepted")));
    }
    let before = processor_time();
    value(&ended(engine.submit(task(0.5)).expect("accepted")));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(50), "{used:?} of 500 ms");
}

/// Processor time of this thread so far.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this thread");
    Duration::from_nanos(text.split_whitespace().next().expect("a number").parse().expect("a number"))
}

/// How often a thread went to sleep.
fn switches(task: &std::path::Path) -> u64 {
    let status = std::fs::read_to_string(task.join("status")).expect("the thread lives");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("counted");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn l11_the_engine_answers_while_a_worker_takes_its_time_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let (python, gate) = (folder.path().join("python3"), Gate::new());
    // An interpreter that waits at a gate before it becomes Python.
    executable(&python, &format!("#!/bin/sh\nread -r _ < {}\nexec python3 \"$@\"\n", gate.fifo().display()));
    let engine = Engine::builder().cpu_workers(1).io_workers(0).python(&python).start().expect("starts");
    let mut waiting = engine.submit(entry("double", json!({"value": 1}))).expect("accepted");
    assert_eq!(waiting.wait_timeout(Duration::ZERO), Ok(None));
    // An answer of the Dispatcher, while the start is under way.
    assert!(engine.result(TaskId::generate(), LIMIT).is_err());
    gate.open("\n");
    assert!(ended(waiting).outcome.is_success());
}
