//! Time limits, cancellation, retries and worker losses, on real Python processes.

use std::time::{Duration, Instant};

use axion_core::{Backoff, CancelAnswer, EndedBy, Engine, ErrorKind, RetryPolicy, Task, TaskId};
use serde_json::json;

use crate::support::{
    Gate, LIMIT, bad, bad_with, ended, engine, entry, exactly, executable, lives, next_output, on_io, post_mortem,
    repeat_until, run, script, signal, until_ended, value, with_growing_limits,
};

const SOON: Duration = Duration::from_millis(150);

#[test]
fn l6_a_timeout_ends_the_attempt_whatever_it_does_and_everything_it_started() {
    let engine = engine(1, 1);
    for action in ["hold_the_lock", "ignore_signals", "catch_everything", "sleep", "compute"] {
        for pool in [axion_core::PoolKind::Cpu, axion_core::PoolKind::Io] {
            // The speed of the machine decides how far the task comes before its limit, and whether the stacks are read
            // before the kill. Some limit is long enough for both.
            let pids = with_growing_limits(|limit| {
                let record = run(&engine, bad(action).on(pool).timeout(limit));
                assert_eq!(record.outcome.name(), "timed_out", "{action}: {:?}", record.outcome);
                assert_eq!(record.outcome.error().expect("an error").kind, ErrorKind::Timeout);
                let found = post_mortem(&record);
                assert_eq!(found.ended_by, EndedBy::Deadline);
                // On a machine that is slow enough, of the look at the stacks of running code; see below.
                assert!(matches!(found.exit.expect("reaped").signal_name(), Some("SIGKILL" | "SIGSEGV")));
                assert!(found.usage.expect("measured").peak_memory_bytes > 1 << 20);
                let printed = record.output.as_ref()?.stdout.text();
                assert!(found.stdout_tail.contains(printed.trim()), "{printed:?}: {}", found.stdout_tail);
                let has_begun = found.stacks.as_ref()?.contains(&format!("in do_{action}"));
                Some(pids_in(&printed)).filter(|pids| has_begun && !pids.is_empty())
            });
            until_ended("everything it started", &pids);
        }
    }
    assert!(run(&engine, entry("pid", json!({}))).outcome.is_success(), "the pools go on");
}

#[test]
fn l6_a_process_that_dies_of_our_look_at_its_stacks_was_ended_by_the_limit() {
    let engine = engine(1, 1);
    for pool in [axion_core::PoolKind::Cpu, axion_core::PoolKind::Io] {
        // A limit that is too short for it to come so far ends it by a kill.
        with_growing_limits(|limit| {
            let record = run(&engine, bad("crash_when_asked_for_stacks").on(pool).timeout(limit));
            assert_eq!(record.outcome.name(), "timed_out", "{:?}", record.outcome);
            let found = post_mortem(&record);
            assert_eq!(found.ended_by, EndedBy::Deadline);
            (found.exit.expect("reaped").signal_name() == Some("SIGSEGV")).then_some(())
        });
    }
}

fn pids_in(printed: &str) -> Vec<i32> {
    printed.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
}

#[test]
fn a_soft_limit_is_an_exception_which_a_task_may_catch_until_the_hard_one() {
    let engine = engine(1, 1);
    let both = [axion_core::PoolKind::Cpu, axion_core::PoolKind::Io];
    let is_soft = |record: &axion_core::TaskRecord| {
        record.outcome.error().is_some_and(|error| error.kind == ErrorKind::SoftTimeout)
    };
    for pool in both {
        let record = run(&engine, bad("compute").on(pool).soft_timeout(SOON));
        assert!(is_soft(&record), "{:?}", record.outcome);
        assert_eq!(record.outcome.name(), "timed_out");
        // Where a limit is so short that the exception comes before the `try`, a longer one is tried.
        let record = with_growing_limits(|limit| {
            let record = run(&engine, bad("clean_up").on(pool).soft_timeout(limit));
            (!is_soft(&record)).then_some(record)
        });
        assert_eq!(value(&record), json!("cleaned up"));
        let record = with_growing_limits(|limit| {
            let record = run(&engine, bad("catch_everything").on(pool).soft_timeout(limit / 3).timeout(limit));
            (!is_soft(&record)).then_some(record)
        });
        assert_eq!(record.outcome.error().expect("late").kind, ErrorKind::Timeout);
    }
    for pool in both {
        let task = Task::script(script("bad_async.py")).on(pool).soft_timeout(SOON);
        let record = run(&engine, task);
        assert!(is_soft(&record), "{:?}", record.outcome);
    }
}

#[test]
fn pools_have_default_limits() {
    let config = axion_core::Config { cpu_bound_timeout: Some(SOON), io_bound_count: 0, ..Default::default() };
    let engine = Engine::builder().config(config).start().expect("starts");
    assert_eq!(run(&engine, bad("sleep")).outcome.name(), "timed_out");
    assert!(run(&engine, entry("spin", json!({"seconds": 0.3})).timeout(LIMIT)).outcome.is_success());
}

#[test]
fn l6_neighbours_of_a_killed_task_run_again_uncounted() {
    let engine = engine(0, 1);
    let gate = Gate::new();
    let mut events = engine.watch();
    let neighbour = engine.submit(on_io(gate.task())).expect("accepted");
    next_output(&mut events);
    let late = engine.submit(on_io(bad("sleep").timeout(SOON))).expect("accepted");
    assert_eq!(ended(late).outcome.name(), "timed_out");
    // Only the second attempt reads: the first reader is dead.
    gate.open("again");
    let record = ended(neighbour);
    assert_eq!(value(&record), json!("again"));
    assert_eq!((record.attempt.expect("ran").0, record.worker_losses, record.retries), (2, 0, 0));
    let earlier = &record.earlier[0].error;
    assert_eq!(earlier.post_mortem.as_ref().expect("examined").ended_by, EndedBy::Neighbour);
}

#[test]
fn a_neighbour_of_a_killed_task_that_must_not_run_twice_is_lost_and_has_run_once() {
    let engine = engine(0, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut events = engine.watch();
    let runs = folder.path().join("runs");
    let once = bad_with("count_and_wait", json!({"file": runs})).max_worker_losses(0);
    let once = engine.submit(on_io(once)).expect("accepted");
    next_output(&mut events);
    let late = engine.submit(on_io(bad("sleep").timeout(SOON))).expect("accepted");
    assert_eq!(ended(late).outcome.name(), "timed_out");
    let record = ended(once);
    assert_eq!((record.outcome.name(), record.attempt.expect("ran").0), ("lost", 1), "{:?}", record.outcome);
    assert_eq!(post_mortem(&record).ended_by, EndedBy::Neighbour);
    let message = &record.outcome.error().expect("lost").message;
    assert!(message.contains("another task") && message.contains("`max_worker_losses` 0"), "{message}");
    assert!(run(&engine, on_io(entry("pid", json!({})))).outcome.is_success());
    assert_eq!(std::fs::read_to_string(&runs).expect("counted"), "x");
}

/// An engine with one worker of each kind and this grace period for cancelled tasks.
fn with_grace(cancel_grace: Duration) -> Engine {
    let config = axion_core::Config { cancel_grace, ..exactly(1, 1) };
    Engine::builder().config(config).start().expect("starts")
}

#[test]
fn a_cancelled_task_that_looks_at_its_context_stops_by_itself() {
    let engine = with_grace(LIMIT);
    let cancel = |id| engine.cancel(id).expect("the engine lives");
    assert_eq!(cancel(TaskId::generate()), CancelAnswer::Unknown);

    // That is its result.
    let mut events = engine.watch();
    let polite = engine.submit(bad("ask_the_context")).expect("accepted");
    next_output(&mut events);
    let behind = engine.submit(entry("pid", json!({}))).expect("accepted");
    assert_eq!(cancel(behind.id()), CancelAnswer::Removed);
    assert_eq!(cancel(polite.id()), CancelAnswer::Requested);
    assert_eq!(value(&ended(polite)), json!("stopped"));
    assert_eq!(ended(behind).outcome.name(), "cancelled");

    let asynchronous = engine.submit(Task::script(script("bad_async.py"))).expect("accepted");
    next_output(&mut events);
    assert_eq!(cancel(asynchronous.id()), CancelAnswer::Requested);
    assert_eq!(ended(asynchronous).outcome.name(), "cancelled");

    let stubborn = engine.submit(bad("hold_the_lock")).expect("accepted");
    next_output(&mut events);
    let id = stubborn.id();
    assert_eq!((cancel(id), cancel(id)), (CancelAnswer::Requested, CancelAnswer::AlreadyRequested));
}

#[test]
fn l6_a_cancelled_task_that_does_not_stop_is_killed_after_the_grace_period_and_only_that() {
    let engine = with_grace(Duration::from_millis(50));
    let cancel = |id| engine.cancel(id).expect("the engine lives");
    let (mut events, gate) = (engine.watch(), Gate::new());
    let other = engine.submit(on_io(gate.task())).expect("accepted");
    next_output(&mut events);
    let stubborn = engine.submit(bad("hold_the_lock")).expect("accepted");
    next_output(&mut events);
    let id = stubborn.id();
    assert_eq!(cancel(id), CancelAnswer::Requested);
    let record = ended(stubborn);
    assert_eq!((record.outcome.name(), post_mortem(&record).ended_by), ("cancelled", EndedBy::Cancel));
    assert_eq!(cancel(id), CancelAnswer::AlreadyFinished("cancelled"));
    gate.open("unhurt");
    let record = ended(other);
    assert_eq!((value(&record), record.attempt.expect("ran").0), (json!("unhurt"), 1));
}

#[test]
fn c4_6_a_failing_task_is_retried_and_keeps_its_history() {
    let engine = engine(1, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let policy = |count| RetryPolicy { backoff: Backoff::Fixed(Duration::from_millis(5)), ..RetryPolicy::times(count) };
    let counter = folder.path().join("runs");
    let task = |succeeds_at| bad_with("fail_until", json!({"file": counter, "attempt": succeeds_at}));
    let record = run(&engine, task(3).retry(policy(5)));
    assert_eq!((value(&record), record.retries), (json!(3), 2));
    let kinds: Vec<ErrorKind> = record.earlier.iter().map(|attempt| attempt.error.kind).collect();
    assert_eq!(kinds, [ErrorKind::Exception; 2]);

    std::fs::remove_file(&counter).expect("removed");
    let record = run(&engine, task(100).retry(policy(5)));
    assert_eq!((record.outcome.name(), record.retries, record.earlier.len()), ("failed", 5, 5));
    assert_eq!(std::fs::read_to_string(&counter).expect("counted").len(), 6, "five retries are six executions");
}

#[test]
fn a_poison_task_convicts_itself_and_19_neighbours_succeed() {
    let engine = engine(0, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut events = engine.watch();
    let neighbours: Vec<_> = (0..19)
        .map(|_| engine.submit(on_io(bad_with("wait_once", json!({"folder": folder.path()})))).expect("accepted"))
        .collect();
    for _ in 0..19 {
        next_output(&mut events);
    }
    let poison = engine.submit(on_io(entry("die_after_result_of_another", json!({})))).expect("accepted");
    let record = ended(poison);
    assert_eq!((record.outcome.name(), record.worker_losses, record.earlier.len()), ("lost", 2, 2));
    for attempt in &record.earlier {
        assert_eq!(attempt.error.post_mortem.as_ref().expect("examined").ended_by, EndedBy::OutsideForce);
    }
    for neighbour in neighbours {
        let record = ended(neighbour);
        assert!(record.outcome.is_success(), "{:?}", record.outcome);
        assert_eq!((record.worker_losses, record.retries), (1, 0));
    }
}

fn with(settings: axion_core::WorkerConfig, cpu: u32, io: u32) -> Engine {
    let config =
        axion_core::Config { cpu_bound_worker: settings.clone(), io_bound_worker: settings, ..exactly(cpu, io) };
    Engine::builder().config(config).start().expect("starts")
}

#[test]
fn a_worker_runs_exactly_as_many_tasks_as_it_may_and_none_is_lost() {
    for limit in [1, 10] {
        let settings = axion_core::WorkerConfig { max_tasks_per_worker: Some(limit), ..Default::default() };
        let engine = with(settings, 1, 0);
        let mut ran = std::collections::BTreeMap::new();
        let mut pids = std::collections::BTreeSet::new();
        let pid = || engine.submit_wait(entry("pid", json!({}))).expect("accepted");
        for handle in (0..5 * limit).map(|_| pid()).collect::<Vec<_>>() {
            let record = ended(handle);
            assert_eq!((record.attempt.expect("ran").0, record.worker_losses), (1, 0));
            pids.insert(i32::try_from(value(&record).as_i64().expect("a number")).expect("a pid"));
            *ran.entry(record.worker.expect("ran").generation).or_insert(0) += 1;
        }
        assert_eq!(ran.values().copied().collect::<Vec<_>>(), vec![limit; 5]);
        let pids: Vec<_> = pids.into_iter().collect();
        assert_eq!(pids.len(), 5);
        until_ended("a worker that ran all its tasks", &pids);
    }
}

#[test]
fn a_worker_that_holds_much_memory_is_recycled_and_a_task_that_does_is_ended() {
    let engine = with(axion_core::WorkerConfig { max_worker_memory: Some(100 << 20), ..Default::default() }, 1, 0);
    let first = value(&run(&engine, bad_with("leak", json!({"megabytes": 150}))));
    repeat_until("it has been replaced", || value(&run(&engine, entry("pid", json!({})))) != first);

    let engine = with(axion_core::WorkerConfig { task_memory_limit: Some(150 << 20), ..Default::default() }, 1, 1);
    let record = run(&engine, bad("allocate"));
    assert_eq!(record.outcome.error().expect("ended").kind, ErrorKind::MemoryLimit, "{:?}", record.outcome);
    let found = post_mortem(&record);
    assert_eq!(found.ended_by, EndedBy::MemoryLimit);
    assert!(found.usage.expect("measured").peak_memory_bytes > 150 << 20);
    // In a worker that runs several, the guilty one is found by running each alone.
    let mut events = engine.watch();
    let folder = tempfile::tempdir().expect("a folder");
    let waits = bad_with("wait_once", json!({"folder": folder.path()}));
    let neighbour = engine.submit(on_io(waits)).expect("accepted");
    next_output(&mut events);
    let record = run(&engine, on_io(bad("allocate")));
    assert_eq!(record.outcome.error().expect("ended").kind, ErrorKind::MemoryLimit, "{:?}", record.outcome);
    let record = ended(neighbour);
    assert_eq!((value(&record), record.worker_losses), (json!("second attempt"), 1));
}

#[test]
fn the_breaker_opens_when_workers_die_too_often_and_heals() {
    let folder = tempfile::tempdir().expect("a folder");
    let (python, held) = (folder.path().join("python"), folder.path().join("held"));
    let gate = Gate::new();
    // Once the file is there, an interpreter waits at the gate before it becomes Python: the pool heals only then.
    let text = format!(
        "#!/bin/sh\nif [ -e {} ]; then read -r _ < {}; fi\nexec python3 \"$@\"\n",
        held.display(),
        gate.fifo().display()
    );
    executable(&python, &text);
    let config = axion_core::Config { max_restarts: 3, restart_window: LIMIT, python: Some(python), ..exactly(1, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let exits = |last: bool| {
        let task = bad_with("touch_and_exit", json!({"file": held, "touches": last})).max_worker_losses(0);
        run(&engine, task).outcome.error().expect("dead").kind
    };
    assert_eq!([false, false, false, true].map(exits), [ErrorKind::WorkerLost; 4]);
    for _ in 0..2 {
        let record = run(&engine, entry("pid", json!({})));
        let error = record.outcome.error().expect("refused");
        assert_eq!(error.kind, ErrorKind::WorkerStartFailed);
        assert!(error.message.contains("max_restarts") && error.message.contains("unhealthy"), "{error}");
    }
    let _wide = gate.open_wide();
    repeat_until("it has healed", || run(&engine, entry("pid", json!({}))).outcome.is_success());
}

#[test]
fn l6_a_descendant_that_left_the_group_goes_with_its_worker() {
    let engine = with_grace(Duration::from_millis(50));
    let mut events = engine.watch();
    let handle = engine.submit(bad_with("escape", json!({"waits": true}))).expect("accepted");
    let pids = pids_in(&next_output(&mut events));
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| lives(*pid)));
    engine.cancel(handle.id()).expect("the engine lives");
    let record = ended(handle);
    assert_eq!((record.outcome.name(), post_mortem(&record).ended_by), ("cancelled", EndedBy::Cancel));
    until_ended("both", &pids);
}

#[test]
fn a_pool_has_its_own_niceness_environment_and_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = axion_core::WorkerConfig {
        // More than this, and what else the machine does holds it up for very long.
        nice: 1,
        env: [("COLOUR".to_owned(), "blue".to_owned())].into(),
        cwd: Some(folder.path().to_owned()),
        ..Default::default()
    };
    let engine = with(settings.clone(), 1, 0);
    // Added to the engine's own, which whoever runs the tests may have lowered or raised.
    let own = rustix::process::getpriority_process(None).expect("told");
    assert_eq!(value(&run(&engine, bad("surroundings"))), json!([(own + 1).min(19), "blue", folder.path()]));
    let config = axion_core::Config {
        cpu_bound_worker: axion_core::WorkerConfig { cwd: Some("/no/such".into()), ..settings },
        ..Default::default()
    };
    let error = Engine::builder().config(config).start().expect_err("no such folder");
    assert!(error.to_string().contains("invalid value /no/such for `cpu_bound_worker.cwd`"), "{error}");
}

#[test]
fn a_busy_task_is_ended_within_6_s_of_its_time_limit_in_the_median() {
    let engine = engine(1, 0);
    let limit = Duration::from_millis(100);
    let mut late: Vec<Duration> = (0..5)
        .map(|_| {
            run(&engine, entry("pid", json!({})));
            let begun = Instant::now();
            let record = run(&engine, bad("compute").timeout(limit));
            assert_eq!(record.outcome.name(), "timed_out");
            begun.elapsed().saturating_sub(limit)
        })
        .collect();
    late.sort_unstable();
    // The benches measure how exact the timer is. This test only tells a timer from none.
    assert!(late[2] < LIMIT / 10, "{late:?}");
}

#[test]
fn l1_a_stopped_worker_without_a_limit_holds_up_its_own_task_alone_and_a_cancel_ends_it() {
    let config = axion_core::Config { cancel_grace: Duration::from_millis(50), ..exactly(2, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let mut events = engine.watch();
    let held_up = engine.submit(entry("announce_and_wait", json!({}))).expect("accepted");
    let pids = pids_in(&next_output(&mut events));
    signal(pids[0], rustix::process::Signal::STOP);
    for number in 0..50 {
        assert!(run(&engine, entry("double", json!({"value": number}))).outcome.is_success());
    }
    assert_eq!(engine.cancel(held_up.id()), Ok(CancelAnswer::Requested));
    let record = ended(held_up);
    assert_eq!((record.outcome.name(), post_mortem(&record).ended_by), ("cancelled", EndedBy::Cancel));
    until_ended("the stopped worker", &pids);
    assert!(run(&engine, entry("double", json!({"value": 1}))).outcome.is_success());
}

#[test]
fn l6_engines_beside_each_other_end_only_what_is_theirs_with_all_that_was_forked() {
    let mut engines: Vec<_> = (0..3)
        .map(|_| {
            let engine = engine(2, 0);
            let mut events = engine.watch();
            // It runs until it is ended, and so does its grandchild, which left its group and its session.
            engine.submit(bad_with("escape", json!({"waits": true}))).expect("accepted");
            let pids = pids_in(&next_output(&mut events));
            (engine, pids)
        })
        .collect();
    while let Some((ends, its_own)) = engines.pop() {
        assert!(its_own.iter().all(|pid| lives(*pid)), "{its_own:?}");
        assert_eq!(ends.shutdown(Duration::ZERO).cancelled, 1);
        until_ended("the worker and its grandchild", &its_own);
        for (other, theirs) in &engines {
            assert!(theirs.iter().all(|pid| lives(*pid)), "{theirs:?}");
            assert!(run(other, entry("double", json!({"value": 1}))).outcome.is_success());
        }
    }
}
