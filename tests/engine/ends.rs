//! Time limits, cancellation, retries and worker losses, on real Python processes.

use std::time::{Duration, Instant};

use axion_core::{Backoff, CancelAnswer, EndedBy, Engine, ErrorKind, RetryPolicy, Task, TaskId};
use serde_json::json;

use crate::support::{
    LIMIT, bad, bad_with, ended, engine, entry, exactly, lives, next_output, on_io, post_mortem, run, script, until,
    value,
};

const SOON: Duration = Duration::from_millis(150);

#[test]
fn l6_a_timeout_ends_the_attempt_whatever_it_does_and_everything_it_started() {
    let engine = engine(1, 1);
    let mut with_stacks = 0;
    for action in ["hold_the_lock", "ignore_signals", "catch_everything", "sleep", "compute"] {
        for pool in [axion_core::PoolKind::Cpu, axion_core::PoolKind::Io] {
            let mut events = engine.watch();
            let handle = engine.submit(bad(action).on(pool).timeout(SOON * 3)).expect("accepted");
            let pids: Vec<i32> =
                next_output(&mut events).split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
            let record = ended(handle);
            assert_eq!(record.outcome.name(), "timed_out", "{action}: {:?}", record.outcome);
            assert_eq!(record.outcome.error().expect("an error").kind, ErrorKind::Timeout);
            let found = post_mortem(&record);
            assert_eq!(
                (found.ended_by, found.exit.expect("reaped").signal_name()),
                (EndedBy::Deadline, Some("SIGKILL"))
            );
            assert!(found.usage.expect("measured").peak_memory_bytes > 1 << 20);
            // On a machine that is too busy there is no time for them before the kill.
            if let Some(stacks) = &found.stacks {
                assert!(stacks.contains(&format!("in do_{action}")), "{action}: {stacks}");
                with_stacks += 1;
            }
            assert!(found.stdout_tail.contains(&pids[0].to_string()));
            until("everything it started is gone", || pids.iter().all(|pid| !lives(*pid)));
        }
    }
    assert!(with_stacks >= 5, "{with_stacks} of 10");
    assert!(run(&engine, entry("pid", json!({}))).outcome.is_success(), "the pools go on");
}

#[test]
fn a_soft_limit_is_an_exception_which_a_task_may_catch_until_the_hard_one() {
    let engine = engine(1, 1);
    let both = [axion_core::PoolKind::Cpu, axion_core::PoolKind::Io];
    for pool in both {
        let record = run(&engine, bad("compute").on(pool).soft_timeout(SOON));
        assert_eq!(record.outcome.error().expect("late").kind, ErrorKind::SoftTimeout, "{:?}", record.outcome);
        assert_eq!(record.outcome.name(), "timed_out");
        let record = run(&engine, bad("clean_up").on(pool).soft_timeout(SOON));
        assert_eq!(value(&record), json!("cleaned up"));
        let record = run(&engine, bad("catch_everything").on(pool).soft_timeout(SOON / 3).timeout(SOON));
        assert_eq!(record.outcome.error().expect("late").kind, ErrorKind::Timeout);
    }
    for pool in both {
        let task = Task::script(script("bad_async.py")).on(pool).soft_timeout(SOON);
        let record = run(&engine, task);
        assert_eq!(record.outcome.error().expect("late").kind, ErrorKind::SoftTimeout, "{:?}", record.outcome);
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
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("gate");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("runs").success());
    let neighbour = engine.submit(on_io(entry("wait_for_file", json!({"fifo": fifo})))).expect("accepted");
    let late = engine.submit(on_io(bad("sleep").timeout(SOON))).expect("accepted");
    assert_eq!(ended(late).outcome.name(), "timed_out");
    // Opens only when the second attempt reads: the first reader is dead.
    std::fs::write(&fifo, "again").expect("written");
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

#[test]
fn cancelling_ends_exactly_that_attempt() {
    let config = axion_core::Config { cancel_grace: Duration::from_millis(50), ..exactly(1, 1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let cancel = |id| engine.cancel(id).expect("the engine lives");
    assert_eq!(cancel(TaskId::generate()), CancelAnswer::Unknown);

    // It looks at its context and stops by itself: that is its result.
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

    // It does not stop: after the grace period its process goes, and only that.
    let other = engine.submit(on_io(bad("ask_the_context"))).expect("accepted");
    next_output(&mut events);
    let stubborn = engine.submit(bad("hold_the_lock")).expect("accepted");
    next_output(&mut events);
    let id = stubborn.id();
    assert_eq!((cancel(id), cancel(id)), (CancelAnswer::Requested, CancelAnswer::AlreadyRequested));
    let record = ended(stubborn);
    assert_eq!((record.outcome.name(), post_mortem(&record).ended_by), ("cancelled", EndedBy::Cancel));
    assert_eq!(cancel(id), CancelAnswer::AlreadyFinished("cancelled"));
    assert_eq!(cancel(other.id()), CancelAnswer::Requested);
    assert_eq!(value(&ended(other)), json!("stopped"));
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
    let fifo = folder.path().join("gate");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("runs").success());
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
fn workers_are_recycled_after_so_many_tasks_and_none_is_lost() {
    let engine = with(axion_core::WorkerConfig { max_tasks_per_worker: Some(10), ..Default::default() }, 1, 0);
    let mut pids: Vec<i64> = Vec::new();
    // How long a successor takes to be ready is the machine's business: tasks come until two of them have been.
    for _ in 0..200 {
        let spin = || engine.submit_wait(entry("spin", json!({"seconds": 0.002}))).expect("accepted");
        for handle in (0..50).map(|_| spin()).collect::<Vec<_>>() {
            let record = ended(handle);
            assert_eq!((record.attempt.expect("ran").0, record.worker_losses), (1, 0));
            pids.push(value(&record).as_i64().expect("a pid"));
        }
        pids.dedup();
        if pids.len() > 2 {
            break;
        }
    }
    assert!(pids.len() > 2, "it was replaced: {pids:?}");
    until("the replaced ones are gone", || pids.iter().filter(|pid| lives(**pid as i32)).count() <= 2);
}

#[test]
fn a_worker_that_holds_much_memory_is_recycled_and_a_task_that_does_is_ended() {
    let engine = with(axion_core::WorkerConfig { max_worker_memory: Some(100 << 20), ..Default::default() }, 1, 0);
    let first = value(&run(&engine, bad_with("leak", json!({"megabytes": 150}))));
    until("it has been replaced", || value(&run(&engine, entry("pid", json!({})))) != first);

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
    let config = axion_core::Config { max_restarts: 3, restart_window: LIMIT, ..exactly(1, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let kinds: Vec<ErrorKind> = (0..5)
        .map(|_| {
            let record = run(&engine, entry("exit", json!({"code": 1})).max_worker_losses(0));
            record.outcome.error().expect("dead").kind
        })
        .collect();
    let lost = ErrorKind::WorkerLost;
    assert_eq!(kinds, [lost, lost, lost, lost, ErrorKind::WorkerStartFailed]);
    let record = run(&engine, entry("pid", json!({})));
    let message = &record.outcome.error().expect("refused").message;
    assert!(message.contains("max_restarts") && message.contains("unhealthy"), "{message}");
    until("it has healed", || run(&engine, entry("pid", json!({}))).outcome.is_success());
}

#[test]
fn l6_a_descendant_that_left_the_group_goes_with_its_worker() {
    let engine = engine(1, 0);
    let mut events = engine.watch();
    let handle = engine.submit(bad_with("escape", json!({"waits": true})).timeout(SOON * 3)).expect("accepted");
    let pids: Vec<i32> = next_output(&mut events).split_whitespace().map(|pid| pid.parse().expect("a pid")).collect();
    assert_eq!(pids.len(), 2);
    assert!(lives(pids[1]));
    assert_eq!(ended(handle).outcome.name(), "timed_out");
    until("both are gone", || pids.iter().all(|pid| !lives(*pid)));
}

#[test]
fn a_pool_has_its_own_niceness_environment_and_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = axion_core::WorkerConfig {
        nice: 5,
        env: [("COLOUR".to_owned(), "blue".to_owned())].into(),
        cwd: Some(folder.path().to_owned()),
        ..Default::default()
    };
    let engine = with(settings.clone(), 1, 0);
    // Added to the engine's own, which whoever runs the tests may have lowered or raised.
    let own = rustix::process::getpriority_process(None).expect("told");
    assert_eq!(value(&run(&engine, bad("surroundings"))), json!([(own + 5).min(19), "blue", folder.path()]));
    let config = axion_core::Config {
        cpu_bound_worker: axion_core::WorkerConfig { cwd: Some("/no/such".into()), ..settings },
        ..Default::default()
    };
    let error = Engine::builder().config(config).start().expect_err("no such folder");
    assert!(error.to_string().contains("cwd = /no/such"), "{error}");
}

#[test]
fn a_deadline_is_kept_within_50_ms_in_the_median() {
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
    // Speed belongs into benches; this only tells a timer from none.
    assert!(late[2] < LIMIT / 10, "{late:?}");
}
