//! Every kind of fact as bytes and as JSON, against the golden file.
//!
//! The golden file belongs to a release: its facts must be readable for ever. After a change of a kind that has not been
//! released, `AXION_WRITE_GOLDEN=1 cargo nextest run -p axion-actors golden_facts` writes it anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::workflow::{
    CriticalPath, Step, StepCounts, StepError, StepRecord, StepState, WorkflowId, WorkflowRecord, WorkflowSpec,
    WorkflowState,
};
use crate::model::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/facts.json");

fn id(number: u128) -> TaskId {
    TaskId(uuid::Uuid::from_u128(number))
}

fn worker() -> WorkerRef {
    WorkerRef { id: "cpu-3".parse().expect("a worker"), generation: Generation(2) }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::new(1_767_225_600 + seconds, 250_000_000).expect("in range")
}

fn error() -> TaskError {
    TaskError {
        exception: Some("ValueError".to_owned()),
        traceback: Some("Traceback (most recent call last): …".to_owned()),
        causes: vec![Cause { exception: "KeyError".to_owned(), message: "'x'".to_owned() }],
        post_mortem: Some(Box::new(PostMortem {
            ended_by: EndedBy::Crash,
            exit: Some(ProcessExit::Signal(11)),
            usage: Some(Usage { peak_memory_bytes: 1 << 20, user_seconds: 0.5, system_seconds: 0.25 }),
            worker_age_seconds: 3.5,
            worker_tasks: 7,
            stdout_tail: "out".to_owned(),
            stderr_tail: String::new(),
            stacks: None,
        })),
        ..TaskError::new(ErrorKind::Exception, "bad value")
    }
}

fn attempt() -> FullAttempt {
    FullAttempt(Box::new(AttemptRecord {
        attempt: Attempt(1),
        worker: worker(),
        sent: time(1),
        ended: time(2),
        error: error(),
        output: Some(output()),
    }))
}

fn task() -> Task {
    let limits = (Concurrency { key: "db".into(), max: 2 }, Rate::per_second("api", 10));
    let task = Task::call(Function::new("resize", &b"\x80code"[..]), &b"\x04\0args\xff"[..]).with_id(id(1));
    let task = task.timeout(Duration::from_millis(1500)).ttl(Duration::from_secs(60)).delay(Duration::from_secs(1));
    let task = task.retry(RetryPolicy::times(3)).concurrency(limits.0).rate(limits.1).unique("nightly").expect("a key");
    task.priority(Priority::HIGHEST).needs(Needs { slots: 2, cpu: Fixed(50_000), memory: Some(Memory::Bytes(1 << 30)) })
}

fn output() -> Box<CapturedOutput> {
    let mut output = CapturedOutput::default();
    output.stdout.push(b"abcdefgh", 6);
    Box::new(output)
}

fn record() -> FullRecord {
    FullRecord(Arc::new(TaskRecord {
        id: id(1),
        work: task().work().name(),
        pool: task().pool_id(),
        outcome: Outcome::Failed(Box::new(error())),
        attempt: Some(Attempt(2)),
        worker: Some(worker()),
        timings: Timings { submitted: time(0), started: Some(time(3)), finished: time(4) },
        output: Some(output()),
        retries: 1,
        worker_losses: 0,
        earlier: vec![*attempt().0],
        earlier_left_out: 2,
    }))
}

fn workflow_record() -> WorkflowRecord {
    WorkflowRecord {
        id: WorkflowId(uuid::Uuid::from_u128(3)),
        name: "nightly".to_owned(),
        state: WorkflowState::Failed,
        submitted: time(0),
        finished: Some(time(4)),
        counts: StepCounts::default(),
        steps: vec![StepRecord {
            name: Some("add".into()),
            task: id(1),
            work: Task::script("/a.py").work().name(),
            pool: task().pool_id(),
            last: true,
            state: StepState::Failed,
            attempts: 1,
            ready: Some(time(0)),
            started: Some(time(1)),
            finished: Some(time(4)),
            data: None,
            pickle: None,
            data_dropped: false,
            error: Some(Box::new(StepError::Task(Box::new(error())))),
            instances: None,
        }],
        critical_path: CriticalPath { steps: vec!["add".to_owned()], seconds: 3.0 },
    }
}

/// One of each kind, in the order of the table.
fn samples() -> Vec<FactKind> {
    let (task_id, worker) = (id(1), worker());
    let (pool, workflow) = (task().pool_id(), WorkflowId(uuid::Uuid::from_u128(3)));
    let step = Step::new("add", task()).after("load");
    vec![
        FactKind::TaskAccepted { task: task() },
        FactKind::TaskHeld { task: task_id, until: Tick(5_000), wait_seconds: 1.5 },
        FactKind::TaskDue { task: task_id },
        FactKind::TaskBlocked {
            task: task_id,
            by: BlockedBy::Concurrency { key: "db".into(), max: 2, running: 2, holders: vec![id(5), id(6)] },
        },
        FactKind::TaskAdmitted { task: task_id },
        FactKind::SlotsReserved { task: task_id, slots: vec![(worker.id, 1)] },
        FactKind::TaskSent {
            task: task_id,
            worker,
            seq: Seq(9),
            attempt: Attempt(1),
            placement: Placement::LeastLoaded { score: 0.25 },
        },
        FactKind::TaskReturned { task: task_id, worker, cause: ReturnCause::Revoked },
        FactKind::TaskRetrying {
            task: task_id,
            ended: attempt(),
            run_seconds: Some(0.5),
            until: Tick(7_000),
            wait_seconds: 2.0,
        },
        FactKind::TaskRerun { task: task_id, ended: attempt(), run_seconds: None, counted: true },
        FactKind::TaskFinished { record: record() },
        FactKind::CancelRequested { task: task_id, by: CancelSource::Caller, grace_seconds: Some(5.0) },
        FactKind::RevokeOrdered { worker, tasks: vec![task_id, id(2)], cause: RevokeCause::Stalled },
        FactKind::InterruptOrdered { task: task_id, worker, seq: Seq(9) },
        FactKind::KillOrdered { task: task_id, worker, seq: Seq(9), reason: KillReason::Deadline },
        FactKind::KillSpared { task: task_id, worker, seq: Seq(9) },
        FactKind::RecordDropped { task: task_id, by: ExpiredBy::Age },
        FactKind::SubmissionsRefused { counts: [(RefusalReason::QueueFull, 3)].into() },
        FactKind::WorkerLaunched { worker, cause: LaunchCause::Replacement { of: Generation(1) } },
        FactKind::WorkerReady { worker, pid: 4711, python: "3.12.4".to_owned() },
        FactKind::WorkerJoined { worker, slots: 1, coroutines: 0 },
        FactKind::WorkerRecycling { worker, cause: RecycleCause::Tasks { taken: 100, limit: 100 } },
        FactKind::WorkerRetiring { worker, cause: RetireCause::Replaced { by: Generation(3) } },
        FactKind::WorkerDown { worker, reason: WorkerDownReason::Exited(ProcessExit::Code(3)) },
        FactKind::WorkerLeft { worker },
        FactKind::PoolTarget {
            pool,
            workers: 4,
            cause: TargetCause::Scaling(ScalingRule::QueuePressure { pending: 6.0, waiting: 12 }),
        },
        FactKind::BreakerOpened { pool, allowed: 10, window_seconds: 60.0, pause_seconds: 1.0 },
        FactKind::BreakerClosed { pool, worker },
        FactKind::PoolUnavailable { pool, error: Box::new(error()) },
        FactKind::PoolHealed { pool },
        FactKind::OverloadStarted { resource: Resource::Cpu, used_percent: 97.5, limit_percent: 90.0 },
        FactKind::OverloadEnded {},
        FactKind::WorkerStopOrdered { worker, cause: RetireCause::Shutdown },
        FactKind::StartDelayed { slot: worker.id, delay_seconds: 0.1 },
        FactKind::WorkflowAccepted { workflow, spec: Box::new(WorkflowSpec::of([step.clone()])) },
        FactKind::StepsAdded { workflow, below: "add".to_owned(), steps: vec![step] },
        FactKind::StepChanged {
            workflow,
            step: "add".to_owned(),
            task: task_id,
            state: StepState::Running,
            instances: Some(4),
        },
        FactKind::WorkflowFinished { workflow, state: WorkflowState::Failed, record: Arc::new(workflow_record()) },
        FactKind::WorkflowCancelRequested { workflow },
        FactKind::WorkflowRecordDropped { workflow, by: ExpiredBy::Count },
        FactKind::StepBlocked {
            workflow,
            step: "add".to_owned(),
            task: task_id,
            instance: Some(3),
            by: Box::new(BlockedBy::Capacity { short_of: vec![Shortage { of: Resource::Slots, needed: 2, free: 1 }] }),
        },
        FactKind::StepAdmitted { workflow, step: "add".to_owned(), task: task_id, instance: None },
        FactKind::EngineStarted {
            version: "0.1.0".to_owned(),
            pid: 4700,
            settings: BTreeMap::from([("cpu_bound_count".to_owned(), "2".to_owned())]),
        },
        FactKind::EngineEnded { by: EngineEnd::Shutdown },
        FactKind::WallClockSet { from: time(0), to: time(3_600) },
    ]
}

fn facts() -> Vec<Fact> {
    let numbered = (1..).zip(samples());
    let fact = |(number, kind)| {
        let id = FactId { incarnation: Incarnation(42), number };
        Fact::new(id, time(0), Tick(number * 1_000), kind)
    };
    numbered.map(fact).collect()
}

fn bytes_of(fact: &Fact) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_fact(fact, &mut bytes).expect("it can be written");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(pair).collect()
}

#[test]
fn every_kind_has_a_sample_and_a_code_of_its_own() {
    let mut infos: Vec<KindInfo> = samples().iter().map(FactKind::info).collect();
    assert_eq!(infos, KIND_TABLE, "one sample of each kind, in the order of the table");
    infos.sort_by_key(|info| info.code);
    infos.dedup_by_key(|info| info.code);
    assert_eq!(infos.len(), KIND_TABLE.len(), "no code is used twice");
}

#[test]
fn golden_facts_are_read_and_written_as_they_stand() {
    if std::env::var_os("AXION_WRITE_GOLDEN").is_some() {
        let golden: Vec<Value> = facts()
            .iter()
            .map(|fact| json!({"release": env!("CARGO_PKG_VERSION"), "json": fact, "hex": hex(&bytes_of(fact))}))
            .collect();
        std::fs::write(GOLDEN, serde_json::to_string_pretty(&golden).expect("JSON") + "\n").expect("written");
    }
    let golden: Vec<Value> = serde_json::from_slice(&std::fs::read(GOLDEN).expect("the golden facts")).expect("JSON");
    assert_eq!(golden.len(), KIND_TABLE.len());
    for (golden, fact) in golden.iter().zip(facts()) {
        let bytes = unhex(golden["hex"].as_str().expect("hex"));
        let name = fact.kind.info().name;
        assert_eq!(decode_fact(&bytes).expect(name), (fact.clone(), bytes.len()));
        assert_eq!(hex(&bytes_of(&fact)), hex(&bytes), "{name}: a change of its fields needs another version");
        assert_eq!(serde_json::to_value(&fact).expect("JSON"), golden["json"], "{name}");
        let read: Fact = serde_json::from_value(golden["json"].clone()).expect(name);
        assert_eq!(read, fact, "{name}: JSON loses nothing");
        let text = serde_json::to_string(&fact).expect("JSON");
        assert_eq!(serde_json::from_str::<Fact>(&text).expect(name), fact);
    }
}

#[test]
fn a_pickled_exception_is_kept_on_disk_and_left_out_for_people() {
    let raised = Some(Pickle(Bytes::from_static(b"\x80\x05N.").into()));
    let error = Box::new(TaskError { raised: raised.clone(), ..error() });
    let fact = Fact { kind: FactKind::PoolUnavailable { pool: task().pool_id(), error }, ..facts().remove(0) };
    assert_eq!(decode_fact(&bytes_of(&fact)).expect("a fact").0, fact);
    let read: Fact = serde_json::from_value(json!(fact)).expect("a fact");
    assert!(matches!(read.kind, FactKind::PoolUnavailable { error, .. } if error.raised.is_none()));
}

#[test]
fn facts_follow_each_other_in_one_stream() {
    let mut stream = Vec::new();
    for fact in facts() {
        encode_fact(&fact, &mut stream).expect("it can be written");
    }
    let (mut rest, mut read) = (&stream[..], Vec::new());
    while !rest.is_empty() {
        let (fact, size) = decode_fact(rest).expect("a fact");
        rest = &rest[size..];
        read.push(fact);
    }
    assert_eq!(read, facts());
}

#[test]
fn what_a_newer_release_wrote_is_refused_by_name() {
    let mut bytes = bytes_of(&facts()[2]);
    bytes[2] = 9;
    let words = decode_fact(&bytes).expect_err("a newer version").to_string();
    assert_eq!(words, "`task_due` has version 9, this release reads versions up to 1: use a newer release");
    bytes[..2].copy_from_slice(&999u16.to_le_bytes());
    assert!(matches!(decode_fact(&bytes), Err(FactCodecError::UnknownKind { code: 999 })));
    let bytes = bytes_of(&facts()[0]);
    let cut = decode_fact(&bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Err(FactCodecError::Truncated { needed, .. }) if needed == bytes.len()));
}

proptest! {
    #[test]
    fn l8_no_bytes_make_the_reader_panic(at in any::<prop::sample::Index>(), wrong: u8, place in any::<prop::sample::Index>()) {
        let facts = facts();
        let mut bytes = bytes_of(&facts[at.index(facts.len())]);
        let place = place.index(bytes.len());
        bytes[place] = wrong;
        let _ = decode_fact(&bytes);
    }
}
