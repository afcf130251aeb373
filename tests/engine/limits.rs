//! Limits on what runs at one time: needs, keys and rates, for tasks and for steps.

use std::sync::Arc;
use std::time::Duration;

use axion_core::workflow::{Step, WorkflowSpec, WorkflowState};
use axion_core::{
    Concurrency, Config, Engine, Fixed, Memory, Needs, PoolKind, Rate, RetryPolicy, Task, TaskHandle, TaskRecord,
};
use serde_json::json;

use crate::support::{Gate, LIMIT, bad_with, ended, engine, entry, exactly, next_output, run, script, until, value};

type Span = (u64, u64);

/// When they ran.
fn spans(records: &[Arc<TaskRecord>]) -> Vec<Span> {
    records.iter().map(|record| serde_json::from_value(value(record)).expect("two numbers")).collect()
}

fn all(handles: Vec<TaskHandle>) -> Vec<Arc<TaskRecord>> {
    handles.into_iter().map(ended).collect()
}

/// The most that ran at one moment, each with its weight.
fn most_at_once(spans: &[(Span, u64)]) -> u64 {
    let at = |moment: u64| {
        let running = spans.iter().filter(|((from, to), _)| *from <= moment && moment < *to);
        running.map(|(_, weight)| weight).sum()
    };
    spans.iter().map(|((from, _), _)| at(*from)).max().unwrap_or(0)
}

fn span() -> Task {
    entry("span", json!({"seconds": 0.05}))
}

fn slots(slots: u32) -> Needs {
    Needs { slots, ..Needs::default() }
}

fn percent(number: f64) -> Fixed {
    Fixed::new(number).expect("a percentage")
}

#[test]
fn a_key_holds_in_both_pools_and_in_workflows() {
    let engine = engine(3, 1);
    let limit = Concurrency { key: "api".into(), max: 2 };
    let tasks: Vec<Task> = (0..8)
        .map(|n| span().on(if n % 2 == 0 { PoolKind::Cpu } else { PoolKind::Io }).concurrency(limit.clone()))
        .collect();
    let steps: Vec<Task> = (0..4).map(|_| span().concurrency(limit.clone())).collect();
    let ids: Vec<_> = steps.iter().map(Task::id).collect();
    let handles = engine.submit_many(tasks).expect("accepted");
    let flow = engine.submit_workflow(WorkflowSpec::of(steps.into_iter().map(Step::unnamed))).expect("accepted");
    assert_eq!(flow.wait().expect("the engine lives").state, WorkflowState::Succeeded);
    let mut records = all(handles);
    records.extend(ids.into_iter().map(|id| engine.result(id, LIMIT).expect("known").expect("ended")));
    let weighed: Vec<(Span, u64)> = spans(&records).into_iter().map(|span| (span, 1)).collect();
    assert!(weighed.len() == 12 && most_at_once(&weighed) <= 2, "{weighed:?}");
    // Two do run at one time: these can only end together.
    let meet = |me: &str, other: &str| {
        let task = Task::script(script("meeting.py")).params(&json!({"me": me, "other": other})).expect("JSON");
        task.on(PoolKind::Io).concurrency(limit.clone())
    };
    let both = all(engine.submit_many([meet("a", "b"), meet("b", "a")]).expect("accepted"));
    assert!(both.iter().all(|record| record.outcome.is_success()), "{both:?}");
}

#[test]
fn c3_4_estimates_of_the_machine_are_never_exceeded() {
    let config = Config { max_estimated_cpu_percent: Some(90.0), ..exactly(4, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let needs = |cpu: f64| Needs { cpu: percent(cpu), memory: Some(Memory::Percent(percent(1.0))), slots: 1 };
    let estimates = [60.5, 60.5, 45.0, 45.0, 20.0, 10.0, 89.0, 30.0, 60.5];
    let tasks = estimates.map(|cpu| span().needs(needs(cpu)));
    let records = all(engine.submit_many(tasks).expect("accepted"));
    let tenths = estimates.map(|cpu| percent(cpu).0);
    let weighed: Vec<(Span, u64)> = spans(&records).into_iter().zip(tenths).collect();
    assert!(most_at_once(&weighed) <= 90_000, "{weighed:?}");
}

#[test]
fn a_task_of_several_slots_has_them_for_itself() {
    let engine = Engine::builder().config(exactly(3, 0)).start().expect("starts");
    let wanted = [1, 2, 1, 3, 1, 2, 1, 1, 3, 1];
    let records = all(engine.submit_many(wanted.map(|n| span().needs(slots(n)))).expect("accepted"));
    let weighed: Vec<(Span, u64)> = spans(&records).into_iter().zip(wanted.map(u64::from)).collect();
    assert!(most_at_once(&weighed) <= 3, "{weighed:?}");
}

#[test]
fn l1_a_pool_grows_for_a_task_that_needs_more_workers_than_there_are() {
    for least in [0, 1] {
        let config = Config { cpu_bound_count: least, cpu_bound_max: Some(3), ..exactly(0, 0) };
        let engine = Engine::builder().config(config).start().expect("starts");
        let (mut events, gate) = (engine.watch(), Gate::new());
        let tasks = [span().needs(slots(1)), gate.task().needs(slots(3)), span().needs(slots(1))];
        let handles = engine.submit_many(tasks).expect("accepted");
        next_output(&mut events);
        assert_eq!(engine.status().expect("it lives").components.process_pool.cpu_bound_workers, 3);
        gate.open("");
        assert!(all(handles).iter().all(|record| record.outcome.is_success()));
    }
}

#[test]
fn so_many_start_in_a_time() {
    let engine = engine(2, 0);
    let (_, before) = spans(&[run(&engine, span())])[0];
    let tasks = (0..5).map(|_| entry("span", json!({"seconds": 0})).rate(Rate::per_second("api", 20)));
    let mut starts: Vec<u64> =
        spans(&all(engine.submit_many(tasks).expect("accepted"))).into_iter().map(|span| span.0).collect();
    starts.sort_unstable();
    // How long the way to its start takes is each one's own; none is before its turn.
    let passed: Vec<_> = starts.iter().map(|start| Duration::from_nanos(start - before)).collect();
    let in_turn = (0..5u32).all(|n| passed[n as usize] >= Duration::from_millis(50) * n);
    assert!(in_turn, "{passed:?} for five at 20 a second");
}

#[test]
fn c3_2_a_need_that_can_never_be_met_is_refused_with_what_is_missing() {
    let engine = Engine::builder().config(exactly(2, 0)).start().expect("starts");
    let needs = Needs { cpu: percent(112.6), memory: Some(Memory::Percent(percent(109.7))), slots: 3 };
    let refused = engine.submit(span().needs(needs)).expect_err("too much");
    assert_eq!(refused.code(), "needs_impossible");
    let words = refused.to_string();
    assert!(words.contains("short of 1 process, 12.6 % CPU and 9.7 % memory"), "{words}");
    assert!(words.contains("`cpu_bound_max`"), "it says what to do: {words}");
    let zero = Concurrency { key: "api".into(), max: 0 };
    let refused = engine.submit(span().concurrency(zero)).expect_err("none may ever run");
    assert_eq!((refused.code(), engine.status().expect("it lives").components.tasks.live), ("limits_invalid", 0));
    // In a batch, those before it have been accepted.
    let many = engine.submit_many_wait([slots(2), slots(3), slots(1)].map(|needs| span().needs(needs)));
    let partly = many.expect_err("the second one can never run");
    assert_eq!((partly.error.code(), partly.accepted.len()), ("needs_impossible", 1));
}

#[test]
fn l1_what_ends_by_force_gives_back_what_it_held() {
    let engine = Engine::builder().config(exactly(2, 0)).start().expect("starts");
    let held = |task: Task| {
        let needs = Needs { cpu: percent(100.0), memory: None, slots: 2 };
        task.needs(needs).concurrency(Concurrency { key: "one".into(), max: 1 })
    };
    let killed = run(&engine, held(entry("sleep", json!({"seconds": 30}))).timeout(Duration::from_millis(50)));
    assert_eq!(killed.outcome.name(), "timed_out");
    let lost = run(&engine, held(bad_with("exit", json!({"code": 3}))).max_worker_losses(1));
    assert_eq!((lost.outcome.name(), lost.attempt.map(|it| it.0)), ("lost", Some(2)));
    let handle = engine.submit(held(entry("sleep", json!({"seconds": 30})))).expect("accepted");
    let waits = engine.submit(held(span())).expect("accepted");
    until("it runs", || engine.status().expect("it lives").components.process_pool.active_tasks == 1);
    engine.cancel(handle.id()).expect("the engine lives");
    assert_eq!(ended(handle).outcome.name(), "cancelled");
    assert!(ended(waits).outcome.is_success());
    let retried = run(&engine, held(entry("raise", json!({}))).retry(RetryPolicy::times(1)));
    assert_eq!((retried.outcome.name(), retried.retries), ("failed", 1));
    assert!(run(&engine, held(span())).outcome.is_success());
}
