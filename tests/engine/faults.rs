//! Workers that do not start, die, or have to be replaced, on scripted children.

use std::time::{Duration, Instant};

use axion_actors::model::{ProcessExit, Seq};
use axion_actors::process::EXIT_TOO_OLD;
use axion_actors::testing::{FakeChild, Heard};
use axion_core::{Engine, ErrorKind, FactKind, Task, Watched};

use crate::support::{LIMIT, ended, scripted, until};

/// A task that must not run twice.
fn noop() -> Task {
    Task::script("/noop.py").max_worker_losses(0)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

/// Runs one task to its end on the next child.
async fn serve_one(child: &mut FakeChild) {
    child.ready().await;
    let seq = child.runs().await;
    child.done(seq).await;
}

#[test]
fn a_dead_worker_is_replaced_and_the_next_task_runs_on_the_replacement() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let (doomed, next) = (engine.submit(noop()).expect("accepted"), engine.submit(noop()).expect("accepted"));
    block_on(async {
        let mut first = children.recv().await.expect("launched");
        first.ready().await;
        let seq = first.runs().await;
        first.exits(ProcessExit::Signal(11), &[seq]).await;
        serve_one(&mut children.recv().await.expect("replaced")).await;
    });
    let lost = ended(doomed);
    assert_eq!(lost.outcome.name(), "lost");
    let error = lost.outcome.error().expect("an error");
    assert_eq!((error.kind, error.exit()), (ErrorKind::WorkerLost, Some(ProcessExit::Signal(11))));
    assert!(error.message.contains("SIGSEGV"), "{}", error.message);
    let record = ended(next);
    assert_eq!(record.worker.expect("a worker").generation.0, 2);
}

#[test]
fn l1_l5_a_worker_actor_that_panics_costs_what_it_ran_and_is_replaced() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let first = block_on(async {
        let first = children.recv().await.expect("launched");
        first.traps_next_send();
        first.ready().await;
        first
    });
    let doomed = engine.submit(noop()).expect("accepted");
    assert_eq!(ended(doomed).outcome.name(), "lost");
    drop(first);
    let next = engine.submit(noop()).expect("accepted");
    block_on(async { serve_one(&mut children.recv().await.expect("replaced")).await });
    assert!(ended(next).outcome.is_success());
}

#[test]
fn a_worker_that_cannot_start_fails_its_tasks_with_the_reason_and_heals() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let doomed = engine.submit(noop()).expect("accepted");
    block_on(async { children.recv().await.expect("launched").exits(ProcessExit::Code(EXIT_TOO_OLD), &[]).await });
    let record = ended(doomed);
    let error = record.outcome.error().expect("failed");
    assert_eq!(error.kind, ErrorKind::WorkerStartFailed);
    assert!(error.message.contains("last words"), "{}", error.message);
    // The next start succeeds: the pool takes tasks again.
    let mut events = engine.watch();
    block_on(async {
        let mut child = children.recv().await.expect("tried again");
        child.ready().await;
        while !matches!(events.next().await, Some(Watched::Fact(fact)) if matches!(fact.kind, FactKind::WorkerReady { .. }))
        {
        }
        // The event may arrive before the Dispatcher knows the worker.
        until("its pool has it", || engine.status().expect("it lives").components.process_pool.cpu_bound_workers == 1);
        let healed = engine.submit(noop()).expect("accepted");
        let seq = child.runs().await;
        child.done(seq).await;
        assert!(healed.await.expect("a record").outcome.is_success());
    });
}

#[test]
fn tasks_wait_through_a_start_that_may_yet_succeed() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let patient = engine.submit(noop()).expect("accepted");
    block_on(async {
        children.recv().await.expect("launched").exits(ProcessExit::Code(1), &[]).await;
        serve_one(&mut children.recv().await.expect("tried again")).await;
    });
    assert!(ended(patient).outcome.is_success());
}

#[test]
fn other_workers_keep_a_pool_available() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(2).io_workers(0));
    block_on(async {
        let broken = children.recv().await.expect("launched");
        let mut whole = children.recv().await.expect("launched");
        whole.ready().await;
        broken.exits(ProcessExit::Code(EXIT_TOO_OLD), &[]).await;
        let handle = engine.submit(noop()).expect("accepted");
        let seq = whole.runs().await;
        whole.done(seq).await;
        assert!(handle.await.expect("a record").outcome.is_success());
    });
}

#[test]
fn l3_a_result_of_an_earlier_generation_changes_nothing() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let doomed = engine.submit(noop()).expect("accepted");
    let (old, mut new) = block_on(async {
        let mut old = children.recv().await.expect("launched");
        old.ready().await;
        assert_eq!(old.runs().await, Seq(1));
        old.exits(ProcessExit::Signal(9), &[Seq(1)]).await;
        let new = children.recv().await.expect("replaced");
        new.ready().await;
        (old, new)
    });
    assert_eq!(ended(doomed).outcome.name(), "lost");
    let next = engine.submit(noop()).expect("accepted");
    block_on(async {
        // Both generations name their first attempt 1; the old one's word for it comes late.
        assert_eq!(new.runs().await, Seq(1));
        old.done(Seq(1)).await;
        new.says(axion_actors::wire::Up::Done { seq: Seq(1), nanos: 1, data: "\"new\"".into() }).await;
    });
    assert_eq!(ended(next).outcome.data().expect("a success").as_str(), "\"new\"");
}

#[test]
fn what_was_sent_ahead_of_a_long_task_is_revoked_and_runs_elsewhere() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(2).io_workers(0));
    block_on(async {
        let mut slow = children.recv().await.expect("launched");
        let mut other = children.recv().await.expect("launched");
        slow.ready().await;
        let first = engine.submit(noop()).expect("accepted");
        let seq = slow.runs().await;
        // The script is known as fast now, so that tasks are sent ahead.
        slow.says(axion_actors::wire::Up::Done { seq, nanos: 1000, data: "1".into() }).await;
        assert!(first.await.expect("a record").outcome.is_success());
        // As one batch: tasks that are sent ahead together are revoked together.
        let handles = engine.submit_many([(); 3].map(|()| noop())).expect("accepted");
        let sent = [slow.runs().await, slow.runs().await, slow.runs().await];
        let Some(Heard::Control(axion_actors::wire::ControlDown::Revoke { seqs })) = slow.hears().await else {
            panic!("not revoked");
        };
        assert_eq!(seqs, sent[1..]);
        slow.answers(axion_actors::wire::ControlUp::Revoked { seqs }).await;
        other.ready().await;
        for _ in 0..2 {
            let seq = other.runs().await;
            other.done(seq).await;
        }
        slow.done(sent[0]).await;
        for handle in handles {
            assert_eq!(handle.await.expect("a record").attempt.expect("ran").0, 1, "L5: not charged");
        }
    });
}

#[test]
fn l1_tasks_that_end_within_one_batch_of_requests_all_answer() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let first = engine.submit(noop()).expect("accepted");
    block_on(async { children.recv().await.expect("launched").exits(ProcessExit::Code(EXIT_TOO_OLD), &[]).await });
    assert_eq!(ended(first).outcome.name(), "failed");
    // Each of them ends as it is accepted, and leaves its place in the table to the next one.
    let handles: Vec<_> = (0..500).map(|_| engine.submit_wait(noop()).expect("accepted")).collect();
    for handle in handles {
        assert_eq!(ended(handle).outcome.error().expect("failed").kind, ErrorKind::WorkerStartFailed);
    }
}

#[test]
fn l1_a_worker_that_dies_before_it_starts_anything_is_not_replaced_for_ever() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let handle = engine.submit(noop()).expect("accepted");
    let (mut born, mut lived_long) = (Instant::now(), false);
    let starts = block_on(async {
        let mut starts = 0;
        let mut handle = std::pin::pin!(handle);
        loop {
            tokio::select! {
                // First: the outcome comes before the next start.
                biased;
                record = &mut handle => {
                    let record = record.expect("a record");
                    assert_eq!(record.outcome.error().expect("failed").kind, ErrorKind::WorkerStartFailed);
                    return starts;
                }
                child = children.recv() => {
                    let mut child = child.expect("launched");
                    starts += 1;
                    child.ready().await;
                    child.runs().await;
                    child.exits(ProcessExit::Code(1), &[]).await;
                    // A worker that lives for a second is not one that fails at its start.
                    lived_long |= std::mem::replace(&mut born, Instant::now()).elapsed() >= Duration::from_secs(1);
                }
            }
        }
    });
    assert!(starts == 3 || lived_long, "{starts}: with growing delay, then the task fails with the reason");
}

#[test]
fn l1_what_comes_while_the_engine_ends_is_cancelled_too() {
    let (engine, children) = scripted(Engine::builder().cpu_workers(1).io_workers(0).input_queue_size(100_000));
    std::thread::scope(|scope| {
        let submitting = scope.spawn(|| {
            let mut handles = Vec::new();
            while let Ok(handle) = engine.submit(noop()) {
                handles.push(handle);
            }
            handles
        });
        scope.spawn(|| drop(children));
        engine.shutdown(std::time::Duration::ZERO);
        for handle in submitting.join().expect("joined") {
            match handle.wait() {
                Ok(record) => assert_eq!(record.outcome.name(), "cancelled"),
                Err(error) => panic!("no outcome: {error}"),
            }
        }
    });
}
