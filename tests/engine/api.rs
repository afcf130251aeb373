//! The interface of the engine, on scripted children.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::time::Duration;

use axion_actors::wire::Up;
use axion_core::workflow::{Step, WorkflowId, WorkflowSpec};
use axion_core::{
    Completions, Engine, Refusal, ShutdownReport, StartError, SubmitError, Task, TaskId, WaitError, WorkflowError,
    WorkflowWaitError,
};
use serde_json::json;

use crate::support::{LIMIT, echoing, ended, exactly, run, scripted, until};

fn noop() -> Task {
    Task::script("/noop.py")
}

#[test]
fn a_task_is_submitted_and_its_record_found_by_handle_and_by_id() {
    let engine = echoing(1, 0);
    let task = noop();
    let id = task.id();
    let handle = engine.submit(task).expect("accepted");
    assert_eq!(handle.id(), id);
    let record = ended(handle);
    assert_eq!(record.outcome.data().expect("a success").as_str(), "1");
    let again = engine.result(id, Duration::ZERO).expect("known").expect("finished");
    assert_eq!(again, record);
}

#[test]
fn a_wait_with_a_limit_gives_up_and_the_task_goes_on() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let mut handle = engine.submit(noop()).expect("accepted");
    assert_eq!(handle.wait_timeout(Duration::ZERO), Ok(None));
    assert_eq!(engine.result(handle.id(), Duration::from_millis(1)), Ok(None));
    let mut child = children.blocking_recv().expect("launched");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        child.ready().await;
        let seq = child.runs().await;
        child.done(seq).await;
    });
    assert!(handle.wait_timeout(LIMIT).expect("known").is_some());
}

#[test]
fn unknown_and_repeated_ids_are_typed_errors() {
    let engine = echoing(1, 0);
    for limit in [Duration::ZERO, LIMIT] {
        assert_eq!(engine.result(TaskId::generate(), limit), Err(WaitError::Refused(Refusal::UnknownId)));
    }
    let task = noop();
    run(&engine, task.clone());
    let again = engine.submit(task).expect("accepted at the door");
    assert_eq!(again.wait(), Err(WaitError::Refused(Refusal::DuplicateId)));
}

#[test]
fn l9_a_result_that_was_dropped_says_so() {
    let config = axion_core::Config { output_queue_size: 3, ..exactly(1, 0) };
    let launcher = || Box::new(axion_actors::testing::FakeLauncher::echo()) as Box<_>;
    let engine = Engine::builder().config(config).start_with(launcher).expect("starts");
    let ids: Vec<TaskId> = (0..5).map(|_| run(&engine, noop()).id).collect();
    let Err(WaitError::Refused(gone)) = engine.result(ids[0], LIMIT) else { panic!("kept") };
    assert!(matches!(gone, Refusal::ResultExpired { why: axion_core::ExpiredBy::Count, .. }));
    assert!(gone.to_string().contains("output_queue_size"), "{gone}");
    assert!(engine.result(ids[4], LIMIT).expect("kept").is_some());
}

#[test]
fn l9_a_full_queue_refuses_and_submit_wait_waits_for_room() {
    let builder = Engine::builder().cpu_workers(1).io_workers(0).input_queue_size(2);
    let (engine, mut children) = scripted(builder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut child = children.blocking_recv().expect("launched");
    let busy = engine.submit(noop()).expect("accepted");
    let first = runtime.block_on(async {
        child.ready().await;
        child.runs().await
    });
    // C4-2: one runs, two wait, the next is refused. The place of the first is free once it runs.
    let waiting = [engine.submit_wait(noop()).expect("waits"), engine.submit_wait(noop()).expect("waits")];
    let refused = engine.submit(noop()).expect_err("full");
    assert_eq!((refused.code(), &refused), ("queue_full", &SubmitError::QueueFull { size: 2 }));
    std::thread::scope(|scope| {
        let late = scope.spawn(|| engine.submit_wait(noop()).expect("room in the end"));
        runtime.block_on(async {
            // Slow ones, so that none is sent ahead.
            let slow = |seq| Up::Done { seq, nanos: 1_000_000_000, data: "1".into() };
            child.says(slow(first)).await;
            for _ in 0..3 {
                let seq = child.runs().await;
                child.says(slow(seq)).await;
            }
        });
        for handle in waiting.into_iter().chain([busy, late.join().expect("joined")]) {
            assert!(ended(handle).outcome.is_success());
        }
    });
}

#[test]
fn l9_the_bytes_that_wait_are_bounded_too() {
    let config = axion_core::Config { input_queue_bytes: 100 << 10, ..exactly(1, 0) };
    let (engine, _children) = scripted(Engine::builder().config(config));
    let large = || noop().params(&"x".repeat(60 << 10)).expect("JSON");
    engine.submit(large()).expect("accepted");
    assert_eq!(engine.submit(large()).expect_err("too much").code(), "queue_bytes_full");
    engine.submit(noop()).expect("a small one still fits");
}

#[test]
fn what_can_never_run_is_refused_at_the_door() {
    let config = axion_core::Config { payload_limit: Some(1 << 20), ..exactly(1, 0) };
    let (engine, _children) = scripted(Engine::builder().config(config));
    let refused = engine.submit(noop().on(axion_core::PoolKind::Io)).expect_err("no IO workers");
    assert_eq!(refused.code(), "pool_disabled");
    assert!(refused.to_string().contains("io_bound_max"), "{refused}");
    let huge = noop().params(&"x".repeat(1 << 20)).expect("JSON");
    assert_eq!(engine.submit(huge).expect_err("too large").code(), "params_too_large");
    assert!(Task::script("a.py").params_json("{\"a\": }").expect_err("not JSON").to_string().contains("column 7"));
}

#[test]
fn an_engine_that_cannot_start_says_why() {
    let missing = Engine::builder().python("/no/such/python").start();
    assert!(matches!(&missing, Err(StartError::Python(error)) if error.to_string().contains("/no/such/python")));
    let none = Engine::builder().cpu_workers(0).io_workers(0).start();
    assert!(matches!(none, Err(StartError::Config(_))));
    let config = axion_core::Config { runtime_dir: Some("/proc".into()), ..Default::default() };
    assert!(matches!(Engine::builder().config(config).start(), Err(StartError::Folder(_))));
}

#[test]
fn shutdown_lets_tasks_end_cancels_the_rest_and_can_be_repeated() {
    let engine = echoing(2, 0);
    let handles: Vec<_> = (0..500).map(|_| engine.submit_wait(noop()).expect("accepted")).collect();
    assert_eq!(engine.shutdown(LIMIT), ShutdownReport { cancelled: 0 });
    assert_eq!(engine.shutdown(LIMIT), ShutdownReport { cancelled: 0 });
    for handle in handles {
        assert!(ended(handle).outcome.is_success());
    }
    assert_eq!(engine.submit(noop()).expect_err("closed").code(), "shutting_down");

    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let stuck = engine.submit(noop()).expect("accepted");
    // Its worker never speaks and never dies: after the limits the engine ends all the same.
    std::thread::scope(|scope| {
        scope.spawn(|| engine.shutdown(Duration::ZERO));
        let record = ended(stuck);
        assert_eq!(record.outcome.name(), "cancelled");
        drop(_children);
    });
}

#[test]
fn a_second_shutdown_without_patience_cuts_the_first_short() {
    let config = axion_core::Config { max_queue_full_retries: 0, ..exactly(1, 0) };
    let (engine, _children) = scripted(Engine::builder().config(config));
    let stuck = engine.submit(noop()).expect("accepted");
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| engine.shutdown(Duration::from_secs(3600)));
        // Once the doors are closed, the patient one is under way.
        until("the doors are closed", || engine.submit(noop()).is_err_and(|error| error.code() == "shutting_down"));
        scope.spawn(|| engine.shutdown(Duration::ZERO));
        assert_eq!(ended(stuck).outcome.name(), "cancelled");
        drop(_children);
        assert!(patient.join().expect("joined").cancelled >= 1);
    });
}

#[test]
fn l1_a_panic_in_the_dispatcher_wakes_everybody_with_a_typed_error() {
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let handles: Vec<_> = (0..10).map(|_| engine.submit(noop()).expect("accepted")).collect();
    engine.panic_for_test();
    for handle in handles {
        assert_eq!(handle.wait(), Err(WaitError::EngineStopped));
    }
    assert_eq!(engine.submit_wait(noop()).expect_err("gone").code(), "engine_stopped");
    assert_eq!(engine.result(TaskId::generate(), LIMIT), Err(WaitError::EngineStopped));
    assert_eq!(engine.shutdown(LIMIT), ShutdownReport::default());
}

/// A waker that calls its function once: on the thread of the engine, at the moment of the wake-up.
struct WhenWoken<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send + 'static> Wake for WhenWoken<F> {
    fn wake(self: Arc<Self>) {
        if let Some(call) = self.0.lock().expect("not poisoned").take() {
            call();
        }
    }
}

#[test]
fn l1_when_a_failed_engine_wakes_its_first_waiter_it_accepts_nothing_more() {
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let engine = Arc::new(engine);
    let mut waits = engine.submit(noop()).expect("accepted");
    let (answers, answered) = std::sync::mpsc::channel();
    let woken = {
        let engine = engine.clone();
        WhenWoken(Mutex::new(Some(move || {
            let completions = Completions::new().expect("a pipe");
            let one = engine.submit_to(noop(), &completions, 1).map(drop);
            let many = engine.submit_many([noop(), noop()]).map(drop);
            answers.send([one, many]).expect("the test waits");
        })))
    };
    assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(&Arc::new(woken).into())).is_pending());
    // When this is answered, the Dispatcher has the task.
    engine.status().expect("it lives");
    engine.panic_for_test();
    let refused = Err(SubmitError::EngineStopped);
    assert_eq!(answered.recv_timeout(LIMIT).expect("woken"), [refused.clone(), refused]);
    // The engine's thread gives its share of the engine back before it ends.
    engine.shutdown(LIMIT);
}

#[test]
fn l1_whatever_is_asked_of_a_failed_engine_gets_a_typed_error() {
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let waits = engine.submit(noop()).expect("accepted");
    let mut events = engine.watch();
    engine.panic_for_test();
    assert_eq!(waits.wait(), Err(WaitError::EngineStopped));
    let (task, workflow) = (TaskId::generate(), WorkflowId::generate());
    assert_eq!(engine.submit(noop()).map(drop), Err(SubmitError::EngineStopped));
    assert_eq!(engine.submit_many([noop()]).map(drop), Err(SubmitError::EngineStopped));
    assert_eq!(engine.handle(task).wait(), Err(WaitError::EngineStopped));
    assert_eq!(engine.cancel(task), Err(WaitError::EngineStopped));
    assert_eq!(engine.withdraw(task), Err(WaitError::EngineStopped));
    assert_eq!(engine.status().map(drop), Err(WaitError::EngineStopped));
    assert_eq!(engine.workflow(workflow), Err(WorkflowWaitError::EngineStopped));
    assert_eq!(engine.workflow_handle(workflow).wait(), Err(WorkflowWaitError::EngineStopped));
    assert_eq!(engine.cancel_workflow(workflow), Err(WorkflowWaitError::EngineStopped));
    let spec = WorkflowSpec::of([Step::new("step", noop())]);
    assert!(matches!(engine.submit_workflow(spec), Err(WorkflowError::EngineStopped)));
    let completions = Completions::new().expect("a pipe");
    let _awaited = engine.follow(task, &completions, 7);
    assert!(matches!(completions.wait(Some(LIMIT))[..], [(7, None)]));
    // The events end, for old and new watchers, although the engine itself is still there.
    while events.wait_next().is_some() {}
    assert_eq!(engine.watch().wait_next(), None);
}

#[test]
fn l1_a_panic_in_the_supervisor_wakes_everybody_with_a_typed_error() {
    struct Explosive;
    impl axion_actors::process::Launcher for Explosive {
        fn launch(&self, _: axion_actors::process::LaunchSpec) -> axion_actors::process::Launched {
            panic!("asked to, by a test");
        }
    }
    let engine = Engine::builder().start_with(|| Box::new(Explosive)).expect("the thread starts");
    if let Ok(handle) = engine.submit(noop()) {
        assert_eq!(handle.wait(), Err(WaitError::EngineStopped));
    }
}

#[test]
fn an_engine_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let engine = echoing(2, 0);
    shared(&engine);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| assert!(run(&engine, noop()).outcome.is_success())));
        }
    });
}

#[test]
fn it_is_awaited_in_tokio_and_in_another_actix_system() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    tokio.block_on(async {
        let engine = echoing(1, 0);
        let handle = engine.submit_async(noop()).await.expect("accepted");
        assert!(handle.await.expect("a record").outcome.is_success());
        tokio::task::spawn_blocking(move || engine.shutdown(LIMIT)).await.expect("joined");
    });
    actix_rt::System::new().block_on(async {
        let engine = echoing(1, 0);
        let params = json!({"from": "another system"});
        let handle = engine.submit(noop().params(&params).expect("JSON")).expect("accepted");
        assert!(handle.await.expect("a record").outcome.is_success());
    });
}
