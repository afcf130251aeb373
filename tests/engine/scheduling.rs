//! Order and placement of tasks, refusals, and the status of the engine.

use std::sync::Arc;
use std::time::Duration;

use axion_actors::testing::FakeLauncher;
use axion_core::workflow::{Step, WorkflowSpec};
use axion_core::{
    Config, Engine, EngineKind, Health, PoolKind, Priority, ScalingPolicy, StatusError, SubmitError, Task, TaskRecord,
    WorkflowError, WorkflowOptions,
};
use serde_json::{Value, json};

use crate::support::{
    Gate, LIMIT, ended, engine, entry, is_alone, next_output, repeat_until, run, script, scripted, until, value,
};

fn noop() -> Task {
    Task::script("/noop.py")
}

/// An engine whose only child never starts, so that all tasks wait, with room for `room` tasks.
fn full_after(
    room: usize,
    config: Config,
) -> (Engine, tokio::sync::mpsc::UnboundedReceiver<axion_actors::testing::FakeChild>) {
    scripted(Engine::builder().config(Config { input_queue_size: room, ..config }).cpu_workers(1).io_workers(0))
}

#[test]
fn l12_c2_1_a_serial_engine_runs_one_task_at_a_time_in_their_order() {
    let engine = Engine::builder().kind(EngineKind::Serial).io_workers(3).start().expect("starts");
    let kinds = [PoolKind::Cpu, PoolKind::Io, PoolKind::Io, PoolKind::Cpu];
    let tasks = (0..40).map(|n| entry("span", json!({})).on(kinds[n % 4]));
    let handles = engine.submit_many(tasks).expect("accepted");
    let records: Vec<_> = handles.into_iter().map(ended).collect();
    let on_the_one = |record: &Arc<TaskRecord>| record.worker.is_some_and(|it| it.id.to_string() == "cpu-0");
    assert!(records.iter().all(on_the_one));
    let spans: Vec<(u64, u64)> =
        records.iter().map(|it| serde_json::from_value(value(it)).expect("two numbers")).collect();
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "one at a time, in order: {spans:?}");
    let status = engine.status().expect("it lives");
    assert_eq!((status.engine.kind, status.components.process_pool.total_workers), ("serial", 1));
}

#[test]
fn l12_a_serial_engine_runs_one_task_at_a_time_also_while_its_worker_is_replaced() {
    let mut config = Config::default();
    config.cpu_bound_worker.max_tasks_per_worker = Some(2);
    let engine = Engine::builder().config(config).kind(EngineKind::Serial).start().expect("starts");
    let mut generations = std::collections::BTreeSet::new();
    // The speed of the machine decides when a successor is ready: tasks are submitted until there were two.
    repeat_until("its worker has been replaced twice", || {
        let tasks = (0..12).map(|_| entry("span", json!({"seconds": 0.05})));
        let records: Vec<_> = engine.submit_many(tasks).expect("accepted").into_iter().map(ended).collect();
        let spans: Vec<(u64, u64)> =
            records.iter().map(|it| serde_json::from_value(value(it)).expect("two numbers")).collect();
        assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "one at a time, in order: {spans:?}");
        generations.extend(records.iter().filter_map(|it| it.worker).map(|it| it.generation));
        generations.len() > 2
    });
}

#[test]
fn c4_7_the_higher_priority_goes_first_and_a_delay_holds_a_task_back() {
    let engine = engine(1, 0);
    let (mut events, gate) = (engine.watch(), Gate::new());
    // Nothing is known of its script yet, so nothing is sent ahead to wait behind it.
    let blocker = engine.submit(gate.task()).expect("accepted");
    next_output(&mut events);
    let with = |level| entry("double", json!({"value": 1})).priority(Priority::try_from(level).expect("in range"));
    let late = engine.submit(with(0).delay(Duration::from_millis(350))).expect("accepted");
    let handles: Vec<_> = [9, 5, 0, 5].map(|level| engine.submit(with(level)).expect("accepted")).into();
    gate.open("");
    let started = |record: &TaskRecord| record.timings.started.expect("it ran");
    let times: Vec<_> = handles.into_iter().map(|handle| started(&ended(handle))).collect();
    assert!(times[2] < times[1] && times[1] < times[3] && times[3] < times[0], "{times:?}");
    let late = ended(late);
    assert!(late.timings.wait_seconds() >= 0.35, "{late:?}");
    ended(blocker);
}

#[test]
fn a_task_with_a_unique_key_that_is_live_is_the_same_task() {
    let (engine, _children) = full_after(10, Config::default());
    let nightly = || noop().unique("nightly").expect("a key");
    let first = engine.submit(nightly()).expect("accepted");
    let (again, other) = (engine.submit(nightly()).expect("accepted"), engine.submit(noop()).expect("accepted"));
    assert_eq!(again.id(), first.id());
    assert_ne!(other.id(), first.id());
    let many = engine.submit_many([nightly(), noop()]).expect("accepted");
    assert_eq!(many[0].id(), first.id());
    assert_eq!(engine.status().expect("it lives").components.input_queue.size, 3, "L9: they hold no place");
    engine.cancel(first.id()).expect("it lives");
    assert_eq!(ended(again).outcome.name(), "cancelled", "both are told");
    assert_ne!(engine.submit(nightly()).expect("accepted").id(), first.id());
    assert!(noop().unique("").is_err() && noop().unique(&"x".repeat(513)).is_err());
}

#[test]
fn l9_many_may_wait_for_one_unique_task_and_each_costs_the_same() {
    if !is_alone("scheduling::l9_many_may_wait_for_one_unique_task_and_each_costs_the_same") {
        return;
    }
    let (engine, _children) = full_after(1000, Config::default());
    let begun = processor_time();
    let handles = engine.submit_many_wait((0..60_000).map(|_| noop().unique("nightly").expect("a key")));
    let handles = handles.expect("accepted");
    assert!(handles.iter().all(|handle| handle.id() == handles[0].id()));
    engine.cancel(handles[0].id()).expect("it lives");
    assert!(handles.into_iter().map(ended).all(|record| record.outcome.name() == "cancelled"));
    let took = processor_time() - begun;
    assert!(took < LIMIT / 3, "{took:?}");
}

/// The processor time of this process so far.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("read");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a stat line").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|it| it.parse::<u64>().expect("a number")).sum();
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("few")
}

#[test]
fn l9_a_batch_with_more_bytes_than_may_ever_wait_is_refused_at_once_and_holds_nobody_up() {
    let config = Config { input_queue_bytes: 8 << 10, queue_poll_timeout: LIMIT, ..Config::default() };
    let config = Config { max_queue_full_retries: 20, ..config };
    let (engine, _children) = full_after(10, config);
    let heavy = || noop().params(&"x".repeat(5 << 10)).expect("JSON");
    let begun = std::time::Instant::now();
    let refused = engine.submit_many([heavy(), heavy()]).expect_err("together too heavy");
    assert_eq!(refused.code(), "queue_bytes_full");
    assert!(begun.elapsed() < LIMIT / 3, "no wait makes room for it");
    engine.submit(heavy()).expect("one fits");
}

#[test]
fn c4_2_c0_5_a_full_queue_refuses_after_its_waits_and_counts_it() {
    let config = Config { max_queue_full_retries: 2, ..Config::default() };
    let (engine, _children) = full_after(2, config);
    let begun = std::time::Instant::now();
    let _waiting = engine.submit_many([noop(), noop()]).expect("accepted");
    let refused = engine.submit(noop()).expect_err("full");
    assert_eq!((refused.code(), refused), ("queue_full", SubmitError::QueueFull { size: 2 }));
    assert!(begun.elapsed() >= Duration::from_millis(30), "10 ms and 20 ms");
    let many = engine.submit_many([noop(), noop(), noop()]).expect_err("never");
    assert_eq!(many.code(), "queue_full");
    let flow = WorkflowSpec::of([Step::unnamed(noop())]);
    let refused = engine.submit_workflow(flow).expect_err("full for workflows, too");
    assert_eq!((refused.code(), refused), ("queue_full", WorkflowError::NoRoom(SubmitError::QueueFull { size: 2 })));
    let queue = engine.status().expect("it lives").components.input_queue.clone();
    assert_eq!((queue.size, queue.maxsize, queue.total_put, queue.total_dropped), (2, 2, 2, 3));
    let health = engine.health().expect("it lives");
    assert_eq!(health.components["input_queue"].health, Health::Unhealthy);
}

#[test]
fn a_batch_is_accepted_whole_or_not_at_all_and_one_that_waits_may_be_larger_than_the_queue() {
    let config = Config { max_queue_full_retries: 0, ..Config::default() };
    let (engine, _children) = full_after(3, config.clone());
    let _one = engine.submit(noop()).expect("accepted");
    assert_eq!(engine.submit_many([noop(), noop(), noop()]).expect_err("one too many").code(), "queue_full");
    assert_eq!(engine.status().expect("it lives").components.input_queue.size, 1);
    assert!(engine.submit_many([]).expect("nothing is always accepted").is_empty());
    let bad = engine.submit_many([noop(), noop().on(PoolKind::Io)]).expect_err("there is no such pool");
    assert_eq!(bad.code(), "pool_disabled");

    let launcher = || Box::new(FakeLauncher::echo()) as Box<_>;
    let config = Config { input_queue_size: 7, ..config };
    let engine = Engine::builder().config(config).cpu_workers(2).io_workers(0).start_with(launcher).expect("starts");
    let handles = engine.submit_many_wait((0..5000).map(|_| noop())).expect("accepted");
    assert_eq!(handles.len(), 5000);
    assert!(handles.into_iter().map(ended).all(|record| record.outcome.is_success()));
    let stopped = engine.submit_many_wait((0..9).map(|n| noop().on(if n == 5 { PoolKind::Io } else { PoolKind::Cpu })));
    let stopped = stopped.expect_err("one has no pool");
    assert_eq!((stopped.error.code(), stopped.accepted.len()), ("pool_disabled", 5));
}

#[test]
fn c0_11_unread_results_are_all_there() {
    let launcher = || Box::new(FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().cpu_workers(2).io_workers(0).start_with(launcher).expect("starts");
    let handles = engine.submit_many_wait((0..5000).map(|_| noop())).expect("accepted");
    let ids: Vec<_> = handles.iter().map(|handle| handle.id()).collect();
    drop(handles);
    for id in ids {
        let record = engine.result(id, LIMIT).expect("known").expect("finished");
        assert!(record.outcome.is_success());
    }
}

#[test]
fn c0_5_a_machine_that_is_too_busy_takes_no_tasks_and_those_who_wait_are_woken() {
    // Some memory is in use on every machine.
    let config = Config { max_memory_percent: Some(0.001), ..Config::default() };
    let (engine, children) = full_after(10, config);
    until("the memory has been measured", || {
        engine.status().expect("it lives").components.input_queue.overload.is_some()
    });
    let refused = engine.submit(noop()).expect_err("refused");
    assert_eq!(refused.code(), "overloaded");
    assert!(refused.to_string().contains("max_memory_percent"), "{refused}");
    let status = engine.status().expect("it lives");
    assert!(status.engine.host.memory.is_some() && status.components.input_queue.total_dropped == 1);
    let flow = || WorkflowSpec::of([Step::unnamed(noop())]);
    assert_eq!(engine.submit_workflow(flow()).expect_err("refused, too").code(), "overloaded");
    assert_eq!(engine.health().expect("it lives").overall_health, Health::Unhealthy);
    drop(children);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| engine.submit_wait(noop()).map(|_| ()));
        let waiting_flow = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(engine.submit_workflow_async(flow(), WorkflowOptions::default())).map(|_| ())
        });
        engine.shutdown(Duration::ZERO);
        assert_eq!(waiting.join().expect("joined"), Err(SubmitError::ShuttingDown));
        assert_eq!(waiting_flow.join().expect("joined").map_err(|error| error.code()), Err("shutting_down"));
    });
}

#[test]
fn c9_an_engine_is_starting_until_it_has_its_workers() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    assert_eq!(engine.wait_ready(Duration::ZERO), Ok(false));
    assert_eq!(engine.health().expect("it lives").overall_health, Health::Starting);
    let child = children.blocking_recv().expect("launched");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| engine.wait_ready(LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(child.ready());
        assert_eq!(waiting.join().expect("joined"), Ok(true));
    });
    assert_eq!(engine.wait_ready(Duration::ZERO), Ok(true));
    assert_eq!(engine.health().expect("it lives").overall_health, Health::Healthy);
}

#[test]
fn a_pool_of_no_workers_starts_its_first_when_a_task_needs_it() {
    let builder = Engine::builder().cpu_workers_between(0, 2).io_workers_between(0, 1);
    let (engine, mut children) = scripted(builder.autoscaler(ScalingPolicy::Off));
    assert!(children.try_recv().is_err(), "none was asked for");
    let handle = engine.submit(noop()).expect("accepted");
    let mut child = children.blocking_recv().expect("launched");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        child.ready().await;
        let seq = child.runs().await;
        child.done(seq).await;
    });
    assert_eq!(ended(handle).worker.expect("a worker").id.to_string(), "cpu-0");
    assert!(children.try_recv().is_err(), "one, and none of the other pool");
}

#[test]
fn the_autoscaler_starts_workers_under_pressure() {
    let builder = Engine::builder().cpu_workers_between(1, 3).io_workers(0);
    let engine = builder.autoscaler(ScalingPolicy::AxionV3).start().expect("starts");
    let naps = (0..400).map(|_| entry("sleep", json!({"seconds": 0.05})));
    let handles = engine.submit_many(naps).expect("accepted");
    until("there are three workers", || {
        engine.status().expect("it lives").components.process_pool.cpu_bound_workers == 3
    });
    drop(handles);
}

#[test]
fn c0_10_c1_3_the_status_has_the_fields_of_the_older_engine() {
    let engine = engine(1, 1);
    run(&engine, entry("double", json!({"value": 1})));
    run(&engine, entry("double", json!({"value": 1})).on(PoolKind::Io));
    let status: Value = serde_json::to_value(&*engine.status().expect("it lives")).expect("JSON");
    assert_eq!(status["engine"]["is_running"], true);
    let parts = &status["components"];
    for name in ["input_queue", "output_queue"] {
        for field in ["size", "maxsize", "fullness", "total_put", "total_dropped"] {
            assert!(parts[name][field].is_number(), "{name}.{field}: {parts}");
        }
    }
    assert_eq!(parts["input_queue"]["total_put"], 2);
    assert_eq!(parts["tasks"]["succeeded"], 2);
    let pool = &parts["process_pool"];
    let counts = ["cpu_bound_workers", "io_bound_workers", "total_workers", "active_tasks"].map(|field| &pool[field]);
    assert_eq!(counts, [&json!(1), &json!(1), &json!(2), &json!(0)]);
    for (tasks, worker) in [("cpu_worker_tasks", "cpu-0"), ("io_worker_tasks", "io-0")] {
        for field in ["active_tasks", "queue_size", "total_load", "cpu_usage", "mem_usage"] {
            assert!(pool[tasks][worker][field].is_number(), "{tasks}.{worker}.{field}: {pool}");
        }
    }
    // Measured once a second, by pid.
    until("its memory has been measured", || {
        let status = engine.status().expect("it lives");
        status.components.process_pool.cpu_worker_tasks.values().all(|worker| worker.mem_usage > 1.0)
    });
    let health = engine.health().expect("it lives");
    assert_eq!((health.overall_health.value(), health.unhealthy_count), ("healthy", 0));
    let part = engine.component_status("process_pool").expect("there is one");
    assert_eq!(
        (part.name, part.health.value(), &part.metrics["total_workers"]),
        ("process_pool".to_owned(), "healthy", &json!(2))
    );
    let unknown = engine.component_status("pool").expect_err("there is none");
    assert!(matches!(unknown, StatusError::UnknownComponent { .. }) && unknown.to_string().contains("process_pool"));
    engine.shutdown(LIMIT);
    assert!(engine.status().is_err());
}

#[test]
fn coroutines_do_not_take_the_places_of_threads() {
    let config = Config { io_bound_task_limit: 2, ..Config::default() };
    let engine = Engine::builder().config(config).cpu_workers(0).io_workers(1).start().expect("starts");
    let gather = |group: &str, count: usize| {
        let params = json!({"group": group, "count": count});
        Task::script(script("gathering.py")).params(&params).expect("JSON").on(PoolKind::Io)
    };
    // In its first run, the engine learns that the script is a coroutine.
    assert_eq!(value(&run(&engine, gather("one", 1))), 1);
    let handles = engine.submit_many((0..200).map(|_| gather("many", 200))).expect("accepted");
    assert!(handles.into_iter().map(ended).all(|record| value(&record) == 200), "all were there at one time");
}
