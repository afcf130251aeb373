//! Pools by name on real processes: which worker runs a task, what the status says, and what is refused.

use std::time::Duration;

use axion_core::{
    Config, Engine, EngineKind, PoolConfig, PoolId, PoolKind, ScalingPolicy, SubmitError, Task, WorkerRange,
    WorkflowError,
};
use serde_json::json;

use crate::support::{LIMIT, bad_with, ended, entry, exactly, executable, run, scripted, until, value};

fn pool(name: &str) -> PoolId {
    PoolId::named(name).expect("a name")
}

/// One worker in each of `cpu`, `io` and `gpu`.
fn three_pools() -> Config {
    let gpu = PoolConfig { workers: WorkerRange::exactly(1), ..PoolConfig::default() };
    Config { pools: [(pool("gpu"), gpu)].into(), ..exactly(1, 1) }
}

fn on(name: &str, task: Task) -> Task {
    task.pool(name).expect("a name")
}

fn worker_of(engine: &Engine, task: Task) -> String {
    run(engine, task).worker.expect("it ran").id.to_string()
}

#[test]
fn a_task_runs_in_the_pool_of_its_name_and_the_status_has_every_pool() {
    let engine = Engine::builder().config(three_pools()).start().expect("starts");
    for name in ["gpu", "cpu", "io"] {
        assert_eq!(worker_of(&engine, on(name, entry("double", json!({"value": 1})))), format!("{name}-0"));
    }
    let status = engine.status().expect("it lives");
    let json = serde_json::to_value(&status.components.process_pool).expect("JSON");
    let pools = json["pools"].as_object().expect("by name");
    assert_eq!(pools.len(), 3, "{json}");
    for (name, pool) in pools {
        let figures = ["target", "ready", "starting", "waiting"].map(|field| pool[field].as_u64());
        assert_eq!(figures, [Some(1), Some(1), Some(0), Some(0)], "{name}: {pool}");
        assert!(pool["workers"][format!("{name}-0")]["tasks_done"] == 1, "{name}: {pool}");
    }
    // The fields of the first Axion keep their meaning.
    let sums = ["cpu_bound_workers", "io_bound_workers", "total_workers"].map(|field| json[field].as_u64());
    assert_eq!(sums, [Some(1), Some(1), Some(3)]);
    assert!(json["cpu_worker_tasks"]["cpu-0"].is_object() && json["cpu_worker_tasks"].get("gpu-0").is_none());
    let part = engine.component_status("gpu_pool").expect("there is one");
    assert_eq!((part.health.value(), part.metrics["kind"].as_str()), ("healthy", Some("cpu")));
    assert_eq!(engine.health().expect("it lives").components.len(), 6);
}

#[test]
fn a_pool_that_the_engine_does_not_have_is_refused_with_those_that_it_has() {
    let (engine, _children) = scripted(Engine::builder().config(three_pools()));
    let task = || on("gpo", entry("double", json!({"value": 1})));
    let error = engine.submit(task()).expect_err("refused");
    assert_eq!(error.code(), "unknown_pool");
    let words = "unknown pool `gpo`: the engine has the pools cpu, io, gpu; declare others as `[pools.NAME]`";
    assert_eq!(error.to_string(), words);
    let many = engine.submit_many([entry("double", json!({"value": 1})), task()]).expect_err("all or none");
    assert!(matches!(many, SubmitError::UnknownPool { .. }));
    let spec = axion_core::workflow::WorkflowSpec::of([axion_core::workflow::Step::new("first", task())]);
    let refused = engine.submit_workflow(spec).expect_err("refused");
    assert!(matches!(&refused, WorkflowError::Tasks(wrong) if wrong[0].error == error), "{refused}");
    assert_eq!(engine.status().expect("it lives").components.input_queue.total_put, 0);
}

#[test]
fn a_pool_without_workers_says_which_setting_gives_it_some() {
    let off = PoolConfig { workers: WorkerRange::exactly(0), ..PoolConfig::default() };
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).pool(pool("gpu"), off));
    let error = engine.submit(on("gpu", Task::script("/a.py"))).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the gpu pool is disabled: set the maximum of `workers` in [pools.gpu] to at least 1"
    );
}

#[test]
fn slots_are_those_of_the_tasks_own_pool() {
    let wide = PoolConfig { workers: WorkerRange::exactly(1), task_limit: Some(8), ..PoolConfig::default() };
    let (engine, _children) = scripted(Engine::builder().cpu_workers(2).io_workers(0).pool(pool("wide"), wide));
    let needing = |slots| Task::script("/a.py").needs(axion_core::Needs { slots, ..axion_core::Needs::default() });
    assert!(engine.submit(on("wide", needing(8))).is_ok());
    for (name, slots) in [("wide", 9), ("cpu", 3)] {
        let error = engine.submit(on(name, needing(slots))).expect_err("more than there ever are");
        assert!(matches!(&error, SubmitError::NeedsImpossible { shortfall } if shortfall.slots == 1), "{error}");
    }
}

#[test]
fn the_autoscaler_grows_a_named_pool_and_no_other() {
    let gpu = PoolConfig { workers: WorkerRange { min: 0, max: Some(3) }, ..PoolConfig::default() };
    let config = Config { pools: [(pool("gpu"), gpu)].into(), autoscaler: ScalingPolicy::Demand, ..exactly(1, 0) };
    let engine = Engine::builder().config(config).start().expect("starts");
    let tasks = (0..12).map(|_| on("gpu", entry("span", json!({"seconds": 0.5}))));
    let handles = engine.submit_many(tasks).expect("accepted");
    until("the pool has grown", || {
        let pools = &engine.status().expect("it lives").components.process_pool.pools;
        assert!(pools[PoolId::CPU].target <= 1, "it is another pool's work");
        pools[pool("gpu")].ready >= 2
    });
    let workers: std::collections::BTreeSet<String> =
        handles.into_iter().map(|it| ended(it).worker.expect("it ran").id.to_string()).collect();
    assert!(workers.len() >= 2 && workers.iter().all(|worker| worker.starts_with("gpu-")), "{workers:?}");
}

#[test]
fn a_pool_has_its_own_interpreter_environment_and_time_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = folder.path().join("python-of-the-pool");
    executable(&python, "#!/bin/sh\nOWN_INTERPRETER=yes exec python3 \"$@\"\n");
    let mut own = PoolConfig { workers: WorkerRange::exactly(1), python: Some(python), ..PoolConfig::default() };
    own.timeout = Some(Duration::from_millis(300));
    own.worker.env.insert("OWN_VARIABLE".to_owned(), "7".to_owned());
    let engine = Engine::builder().config(exactly(1, 0)).pool(pool("own"), own).start().expect("starts");
    let script = folder.path().join("environment.py");
    let code = "import os\ndef main(params, context):\n    return [os.environ.get('OWN_' + it) for it in ('INTERPRETER', 'VARIABLE')]\n";
    std::fs::write(&script, code).expect("written");
    assert_eq!(value(&run(&engine, on("own", Task::script(&script)))), json!(["yes", "7"]));
    assert_eq!(value(&run(&engine, Task::script(&script))), json!([null, null]));
    let slow = run(&engine, on("own", entry("span", json!({"seconds": 30}))));
    assert_eq!(slow.outcome.name(), "timed_out");

    let missing = PoolConfig { python: Some("/no/such/python".into()), ..PoolConfig::default() };
    let error = Engine::builder().pool(pool("own"), missing).start().expect_err("there is none");
    assert!(error.to_string().contains("`python` in [pools.own]"), "{error}");
}

#[test]
fn a_named_pool_of_the_kind_io_runs_many_tasks_in_one_worker() {
    let web = PoolConfig { kind: PoolKind::Io, workers: WorkerRange::exactly(1), ..PoolConfig::default() };
    let engine = Engine::builder().config(exactly(1, 0)).pool(pool("web"), web).start().expect("starts");
    let tasks = (0..4).map(|_| on("web", entry("span", json!({"seconds": 0.3}))));
    let records: Vec<_> = engine.submit_many(tasks).expect("accepted").into_iter().map(ended).collect();
    let spans: Vec<(u64, u64)> = records.iter().map(|it| serde_json::from_value(value(it)).expect("two")).collect();
    let (last_start, first_end) =
        (spans.iter().map(|it| it.0).max().expect("some"), spans.iter().map(|it| it.1).min().expect("some"));
    assert!(last_start < first_end, "they overlap: {spans:?}");
}

#[test]
fn l12_a_serial_engine_runs_the_tasks_of_all_pools_one_at_a_time_in_its_one_worker() {
    let engine = Engine::builder().config(three_pools()).kind(EngineKind::Serial).start().expect("starts");
    let tasks = (0..30).map(|n| on(["cpu", "gpu", "io"][n % 3], entry("span", json!({}))));
    let records: Vec<_> = engine.submit_many(tasks).expect("accepted").into_iter().map(ended).collect();
    assert!(records.iter().all(|record| record.worker.is_some_and(|it| it.id.to_string() == "cpu-0")));
    let spans: Vec<(u64, u64)> = records.iter().map(|it| serde_json::from_value(value(it)).expect("two")).collect();
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "one at a time, in order: {spans:?}");
    assert!(engine.submit(on("gpo", entry("span", json!({})))).is_err(), "a typing error is one here, too");
}

#[test]
fn the_end_of_a_worker_of_one_pool_leaves_the_others_alone() {
    let engine = Engine::builder().config(three_pools()).start().expect("starts");
    let slow = engine.submit(entry("span", json!({"seconds": 1}))).expect("accepted");
    let lost = run(&engine, on("gpu", bad_with("exit", json!({"code": 3}))).max_worker_losses(0));
    assert_eq!(lost.outcome.name(), "lost", "{lost:?}");
    assert_eq!(worker_of(&engine, on("gpu", entry("double", json!({"value": 1})))), "gpu-0");
    let slow = ended(slow);
    assert_eq!((slow.outcome.name(), slow.attempt.map(|it| it.0)), ("succeeded", Some(1)));
    engine.shutdown(LIMIT);
}

#[test]
fn a_name_has_one_id_however_many_threads_ask_for_it_at_once() {
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| pool("raced-for"))).collect();
    let ids: Vec<PoolId> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]) && ids[0].name() == "raced-for", "{ids:?}");
}
