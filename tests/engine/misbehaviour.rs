//! The list of bad behaviour: each with the outcome that it must have. Those that have to be
//! killed at a deadline, and descendants that escape, are in `ends`.

use std::time::Duration;

use axion_core::{Config, EndedBy, Engine, ErrorKind, PoolKind};
use serde_json::json;

use crate::support::{bad, bad_with, engine, entry, exactly, is_alone, post_mortem, repeat_until, run};

#[test]
fn l1_every_way_to_die_is_told_apart() {
    let engine = engine(1, 0);
    let cases = [
        ("exit", json!({"code": 7}), EndedBy::OwnExit, "exit code 7"),
        ("abort", json!({}), EndedBy::Crash, "SIGABRT"),
        ("segfault", json!({}), EndedBy::Crash, "SIGSEGV"),
        ("kill_itself", json!({}), EndedBy::OutsideForce, "SIGKILL"),
        ("overflow_the_c_stack", json!({}), EndedBy::Crash, "SIGSEGV"),
        ("close_everything", json!({}), EndedBy::OwnExit, "exit code"),
    ];
    for (action, params, ended_by, words) in cases {
        let dies = || run(&engine, bad_with(action, params.clone()).max_worker_losses(0));
        let mut record = dies();
        if action == "close_everything" {
            // Where the process does not get to its end within a second without its pipes, it is killed.
            repeat_until("it has ended by itself", || {
                let in_time = post_mortem(&record).ended_by != EndedBy::Protocol;
                if !in_time {
                    record = dies();
                }
                in_time
            });
        }
        assert_eq!(record.outcome.name(), "lost", "{action}: {:?}", record.outcome);
        assert_eq!(post_mortem(&record).ended_by, ended_by, "{action}");
        let message = &record.outcome.error().expect("lost").message;
        assert!(message.contains(words), "{action}: {message}");
    }
}

#[test]
fn what_a_bad_task_leaves_behind_does_not_hurt_the_next_one() {
    let engine = engine(1, 0);
    let next = || assert!(run(&engine, entry("double", json!({"value": 1}))).outcome.is_success());
    for action in ["replace_stdout", "leave_threads", "leave_zombies"] {
        let record = run(&engine, bad(action));
        assert_eq!(record.outcome.name(), "succeeded", "{action}: {:?}", record.outcome);
        assert_eq!(record.attempt.expect("ran").0, 1);
        next();
    }
}

#[test]
fn an_exception_that_cannot_be_printed_or_rebuilt_is_told_all_the_same() {
    let engine = engine(1, 1);
    for pool in [PoolKind::Cpu, PoolKind::Io] {
        let cases = [
            ("unprintable_exception", "Unprintable", "__str__ raised RuntimeError"),
            ("unpicklable_exception", "do_unpicklable_exception.<locals>.Local", "only one argument"),
        ];
        for (action, exception, words) in cases {
            let record = run(&engine, bad(action).on(pool));
            let error = record.outcome.error().unwrap_or_else(|| panic!("{action}: {:?}", record.outcome));
            assert_eq!((record.outcome.name(), error.kind), ("failed", ErrorKind::Exception), "{action}: {error}");
            assert!(error.exception.as_deref().is_some_and(|it| it.ends_with(exception)), "{action}: {error}");
            assert!(error.message.contains(words), "{action}: {error}");
            assert!(error.traceback.as_deref().is_some_and(|it| it.contains(&format!("in do_{action}"))), "{error:?}");
        }
    }
}

/// The most memory this process has had resident so far, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("told");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") << 10
}

#[test]
fn l9_a_gigabyte_of_prints_is_counted_and_not_kept() {
    if !is_alone("misbehaviour::l9_a_gigabyte_of_prints_is_counted_and_not_kept") {
        return;
    }
    let engine = engine(1, 0);
    let before = peak_memory();
    // As long as it takes.
    let record = engine.submit(bad_with("print_much", json!({"megabytes": 1024}))).expect("accepted").wait();
    let record = record.expect("the engine lives");
    let output = record.output.as_ref().expect("it wrote");
    assert_eq!(output.stdout.len() as u64 + output.stdout.dropped, 1 << 30);
    assert!(output.stdout.len() <= 64 << 10);
    let grown = peak_memory() - before;
    assert!(grown < 64 << 20, "the engine grew by {grown} bytes");
    assert!(run(&engine, entry("double", json!({"value": 1}))).outcome.is_success());
}

#[test]
fn a_result_of_100_mib_is_refused_by_name_unless_the_payload_limit_lets_it_pass() {
    if !is_alone("misbehaviour::a_result_of_100_mib_is_refused_by_name_unless_the_payload_limit_lets_it_pass") {
        return;
    }
    let size = 100 << 20;
    let big = || entry("big", json!({"size": size}));
    let config = Config { payload_limit: Some(64 << 20), ..exactly(1, 1) };
    let refusing = Engine::builder().config(config).start().expect("starts");
    for pool in [PoolKind::Cpu, PoolKind::Io] {
        let record = run(&refusing, big().on(pool));
        let error = record.outcome.error().expect("refused");
        assert_eq!((record.outcome.name(), error.kind), ("failed", ErrorKind::ResultTooLarge), "{error}");
        // With its quotation marks, and what may be sent.
        for number in [size + 2, 64 << 20] {
            assert!(error.message.contains(&number.to_string()), "{number}: {error}");
        }
    }
    drop(refusing);

    let engine = engine(1, 1);
    let before = peak_memory();
    for pool in [PoolKind::Cpu, PoolKind::Io] {
        let beside = engine.submit(entry("double", json!({"value": 1})).on(pool)).expect("accepted");
        let record = run(&engine, big().on(pool));
        let data = record.outcome.data().unwrap_or_else(|| panic!("{:?}", record.outcome.error()));
        assert_eq!(data.0.len(), size + 2);
        assert!(crate::support::ended(beside).outcome.is_success());
        assert_eq!(record.attempt.expect("ran").0, 1);
        assert!(run(&engine, entry("double", json!({"value": 2})).on(pool)).outcome.is_success(), "the worker goes on");
    }
    // 300 MiB were measured: the two results in their kept records, and the buffer for the next frame.
    let grown = peak_memory() - before;
    assert!(grown < 450 << 20, "two results of 100 MiB took {grown} bytes");
}

#[test]
fn allocating_without_end_under_a_limit_of_the_system_is_a_memory_error() {
    let engine = engine(1, 1);
    for pool in [PoolKind::Cpu, PoolKind::Io] {
        let record = run(&engine, bad("allocate_up_to_a_limit").on(pool));
        let error = record.outcome.error().unwrap_or_else(|| panic!("{:?}", record.outcome));
        assert_eq!((record.outcome.name(), error.kind), ("failed", ErrorKind::MemoryError), "{error:?}");
        assert_eq!(error.exception.as_deref(), Some("MemoryError"));
        assert!(error.post_mortem.is_none(), "the process lives on: {error:?}");
        // It goes on, too: a script that is loaded runs, and lifts the limit for the others.
        let next = run(&engine, bad("lift_the_limit").on(pool));
        assert!(next.outcome.is_success(), "{:?}", next.outcome);
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
    }
}

#[test]
fn l1_a_task_that_writes_over_the_status_page_is_ended_and_charged_all_the_same() {
    let engine = engine(1, 1);
    for (pool, zeros) in [PoolKind::Cpu, PoolKind::Io].into_iter().flat_map(|pool| [(pool, false), (pool, true)]) {
        let dies = bad_with("scribble", json!({"dies": true, "zeros": zeros})).on(pool);
        let record = run(&engine, dies.max_worker_losses(0));
        assert_eq!((record.outcome.name(), record.attempt.expect("ran").0), ("lost", 1), "{:?}", record.outcome);
        let limit = Duration::from_millis(150);
        let stays = bad_with("scribble", json!({"dies": false, "zeros": zeros})).on(pool);
        let record = run(&engine, stays.timeout(limit));
        assert_eq!(record.outcome.name(), "timed_out", "{:?}", record.outcome);
        assert_eq!(post_mortem(&record).ended_by, EndedBy::Deadline);
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
    }
}

#[test]
fn l8_a_task_that_makes_its_pipes_block_blocks_nothing_of_the_engines() {
    for pool in PoolKind::ALL {
        let engine = engine(2, 2);
        let limit = Duration::from_millis(500);
        let stays = bad_with("make_every_pipe_block", json!({"stays": true})).on(pool).timeout(limit);
        let (stays, ends) = (engine.submit(stays), bad_with("make_every_pipe_block", json!({"stays": false})).on(pool));
        let record = run(&engine, ends);
        assert!(record.outcome.is_success(), "{:?}", record.outcome);
        for value in 0..20 {
            assert!(run(&engine, entry("double", json!({"value": value})).on(pool)).outcome.is_success());
        }
        let record = crate::support::ended(stays.expect("accepted"));
        assert_eq!(record.outcome.name(), "timed_out", "{:?}", record.outcome);
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
    }
}

/// What makes a worker's result pipe useless, in each pool.
fn spoils() -> impl Iterator<Item = (PoolKind, &'static str)> {
    let actions = ["write_half_a_frame", "redirect_the_pipes"];
    PoolKind::ALL.into_iter().flat_map(move |pool| actions.map(|action| (pool, action)))
}

#[test]
fn l1_a_task_that_spoils_its_result_pipe_is_ended_by_its_time_limit_and_by_a_cancel() {
    let config = Config { cancel_grace: Duration::from_millis(100), ..exactly(1, 1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    for (pool, action) in spoils() {
        let stays = || bad_with(action, json!({"stays": true})).on(pool);
        let record = run(&engine, stays().timeout(Duration::from_millis(500)));
        assert_eq!(record.outcome.name(), "timed_out", "{action}: {:?}", record.outcome);
        assert_eq!(post_mortem(&record).ended_by, EndedBy::Deadline, "{action}");
        let mut events = engine.watch();
        let handle = engine.submit(stays()).expect("accepted");
        crate::support::next_output(&mut events);
        engine.cancel(handle.id()).expect("the engine lives");
        let record = crate::support::ended(handle);
        assert_eq!(record.outcome.name(), "cancelled", "{action}: {:?}", record.outcome);
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success(), "{action}");
    }
}

#[test]
fn l1_a_task_whose_result_is_lost_in_the_pipe_ends_without_any_limit_and_its_worker_is_replaced() {
    let engine = engine(2, 2);
    let goes = |(pool, action)| {
        let goes = bad_with(action, json!({"stays": false})).on(pool).max_worker_losses(0);
        (action, engine.submit(goes).expect("accepted"))
    };
    for (action, handle) in spoils().map(goes).collect::<Vec<_>>() {
        let record = crate::support::ended(handle);
        assert_eq!(record.outcome.name(), "lost", "{action}: {:?}", record.outcome);
        assert_eq!(post_mortem(&record).ended_by, EndedBy::Protocol, "{action}");
        assert!(record.outcome.error().expect("lost").message.contains("is lost in the worker"), "{record:?}");
    }
    for pool in PoolKind::ALL {
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
    }
}

#[test]
fn l8_a_flood_or_garbage_on_the_control_socket_costs_that_worker_and_delays_nobody() {
    for pool in PoolKind::ALL {
        let engine = engine(2, 2);
        for writes in ["answers", "garbage"] {
            let flood = bad_with("flood_the_control_socket", json!({"writes": writes})).on(pool).max_worker_losses(0);
            let flood = engine.submit(flood).expect("accepted");
            for value in 0..20 {
                let record = run(&engine, entry("double", json!({"value": value})).on(pool));
                assert!(record.outcome.is_success(), "{:?}", record.outcome);
            }
            let record = crate::support::ended(flood);
            assert_eq!(record.outcome.name(), "lost", "{writes}: {:?}", record.outcome);
            assert_eq!(post_mortem(&record).ended_by, EndedBy::Protocol, "{writes}");
        }
        // Nothing follows: there is nothing to be wrong about, and its limit ends it.
        let half = bad_with("flood_the_control_socket", json!({"writes": "half"})).on(pool);
        let half = engine.submit(half.timeout(Duration::from_millis(500))).expect("accepted");
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
        assert_eq!(crate::support::ended(half).outcome.name(), "timed_out");
    }
}

#[test]
fn l6_a_task_that_ran_to_its_end_behind_a_spoilt_pipe_is_lost_and_does_not_run_again() {
    let config = Config { cancel_grace: Duration::ZERO, ..exactly(0, 1) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let (gate, folder) = (crate::support::Gate::new(), tempfile::tempdir().expect("a folder"));
    let (redirected, alone) = (folder.path().join("redirected"), folder.path().join("alone"));
    let mut events = engine.watch();
    let neighbour = engine.submit(gate.task().on(PoolKind::Io).max_worker_losses(0)).expect("accepted");
    crate::support::next_output(&mut events);
    let spoiler = json!({"redirected": redirected, "alone": alone});
    let spoiler = bad_with("redirect_the_pipes_and_wait_until_alone", spoiler).on(PoolKind::Io);
    let spoiler = engine.submit(spoiler).expect("accepted");
    crate::support::until("the pipe is spoilt", || redirected.exists());
    gate.open("go");
    crate::support::until("the neighbour has ended", || alone.exists());
    // Only this task is killed. The status page says that the other one does not run.
    engine.cancel(spoiler.id()).expect("the engine lives");
    let record = crate::support::ended(neighbour);
    assert_eq!((record.outcome.name(), record.attempt.expect("ran").0), ("lost", 1), "{:?}", record.outcome);
    assert_eq!(post_mortem(&record).ended_by, EndedBy::Neighbour);
    assert_eq!(crate::support::ended(spoiler).outcome.name(), "cancelled");
}

#[test]
fn l1_a_task_that_was_eaten_by_another_one_runs_all_the_same_uncharged() {
    let engine = engine(1, 1);
    for pool in PoolKind::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("eaten");
        assert!(run(&engine, bad_with("eat_the_next_task", json!({"mark": mark})).on(pool)).outcome.is_success());
        repeat_until("a task was eaten", || {
            let record = run(&engine, entry("double", json!({"value": 1})).on(pool));
            assert!(record.outcome.is_success(), "{:?}", record.outcome);
            assert_eq!(record.attempt.expect("ran").0, 1, "it had not started");
            mark.exists()
        });
    }
}

#[test]
fn l9_a_failure_with_millions_of_causes_costs_its_worker_and_no_memory() {
    if !is_alone("misbehaviour::l9_a_failure_with_millions_of_causes_costs_its_worker_and_no_memory") {
        return;
    }
    let engine = engine(1, 1);
    let before = peak_memory();
    for pool in PoolKind::ALL {
        let fails = bad_with("fail_with_many_causes", json!({"causes": 2_000_000})).on(pool).max_worker_losses(0);
        let record = run(&engine, fails);
        assert_eq!(record.outcome.name(), "lost", "{:?}", record.outcome);
        assert_eq!(post_mortem(&record).ended_by, EndedBy::Protocol);
        assert!(record.outcome.error().expect("lost").message.contains("causes"), "{:?}", record.outcome);
        assert!(run(&engine, entry("double", json!({"value": 1})).on(pool)).outcome.is_success());
    }
    // The frame of 32 MB itself, and the buffer that grows to hold it.
    let grown = peak_memory() - before;
    assert!(grown < 128 << 20, "the engine grew by {grown} bytes");
}
