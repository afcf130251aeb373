use std::time::Duration;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_wincode::SerdeCompat;

use super::super::{
    Capacity, Condition, CriticalPath, Dependency, Enough, MapOver, OnFailure, OnImpossible, Op, Reference, RunIf,
    Shortfall, Step, Template, UpstreamKeys, WorkflowBounds, WorkflowId, WorkflowRecord, WorkflowSpec, WorkflowState,
};
use super::*;
use crate::model::{Backoff, Concurrency, Fixed, Function, Limits, Memory, Needs, Pickle, Priority, Rate, RetryPolicy};
use crate::model::{PoolKind, Task, Usage};

/// The value after a round trip through a binary format that does not describe itself.
fn binary<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = <SerdeCompat<T> as wincode::Serialize>::serialize(value).expect("written");
    <SerdeCompat<T> as wincode::Deserialize<'_>>::deserialize(&bytes).expect("read")
}

fn text<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).expect("written")).expect("read")
}

fn reference() -> impl Strategy<Value = Reference> {
    (name(), "(rows(\\[[0-9]\\])?(\\.id)?)?").prop_map(|(step, path)| Reference::to(step).at(&path).expect("a path"))
}

fn name() -> impl Strategy<Value = String> {
    "[a-zé \"]{1,8}"
}

fn condition() -> impl Strategy<Value = Condition> {
    let test = (reference(), 0..Op::ALL.len()).prop_map(|(of, op)| Condition::test(of, Op::ALL[op], json!([1.5, "x"])));
    test.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| Condition::Not(Box::new(it))),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Condition::All),
            proptest::collection::vec(inner, 0..3).prop_map(Condition::Any),
        ]
    })
}

fn needs() -> impl Strategy<Value = Needs> {
    let memory = prop_oneof![
        Just(None),
        any::<u32>().prop_map(|it| Some(Memory::Percent(Fixed(it.into())))),
        any::<u64>().prop_map(|it| Some(Memory::Bytes(it))),
    ];
    (any::<u32>(), any::<u32>(), memory).prop_map(|(slots, cpu, memory)| Needs {
        slots,
        cpu: Fixed(cpu.into()),
        memory,
    })
}

fn task() -> impl Strategy<Value = Task> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..6);
    let work = prop_oneof![
        name().prop_map(|name| Task::script(format!("/flows/{name}.py")).params(&json!({"é": 1})).expect("JSON")),
        (name(), bytes(), bytes())
            .prop_map(|(name, code, arguments)| Task::call(Function::new(&name, code), arguments)),
    ];
    (work, any::<bool>(), needs(), name(), 0..10u8).prop_map(|(task, plain, needs, key, priority)| {
        if plain {
            return task.on(PoolKind::Io);
        }
        let backoff = Backoff::Exponential { initial: Duration::from_millis(5), factor: 1.5, max: Duration::MAX };
        task.needs(needs)
            .concurrency(Concurrency { key: key.as_str().into(), max: 3 })
            .rate(Rate::per_second(key.as_str(), 7))
            .retry(RetryPolicy { backoff, ..RetryPolicy::times(priority.into()) })
            .priority(Priority::try_from(priority).expect("in range"))
            .timeout(Duration::from_nanos(1_500_000_001))
            .delay(Duration::from_secs(priority.into()))
    })
}

fn step() -> impl Strategy<Value = Step> {
    let map = (reference(), 0..3usize).prop_map(|(list, enough)| MapOver {
        enough: [Enough::All, Enough::Any, Enough::AtLeast(2)][enough],
        max_parallel: Some(4),
        ..MapOver::new(list)
    });
    let template = (reference(), name()).prop_map(|(reference, text)| {
        let (step, path) = (reference.step.to_string(), reference.path.to_string());
        Template::from_json(&json!({"a": {"$ref": step, "path": path}, "b": text})).expect("a template")
    });
    let options = (
        proptest::option::of(condition()),
        proptest::option::of(map),
        proptest::option::of(template),
        proptest::collection::vec(reference(), 0..2),
        any::<bool>(),
    );
    (task(), proptest::option::of(name()), name(), options).prop_map(|(task, name, after, options)| {
        let step = name.map_or_else(|| Step::unnamed(task.clone()), |name| Step::new(name, task.clone()));
        let (when, map_over, params, inputs, dynamic) = options;
        let mut rules = step.rules().clone();
        (rules.when, rules.map_over, rules.params, rules.inputs) = (when, map_over, params.map(Arc::new), inputs);
        (rules.dynamic, rules.keep_result) = (dynamic, !dynamic);
        rules.run_if = if dynamic { RunIf::AnyFailed } else { RunIf::AllDone };
        step.after(&*after).after(task.id()).with_rules(rules)
    })
}

fn spec() -> impl Strategy<Value = WorkflowSpec> {
    (name(), proptest::collection::vec(step(), 0..4), needs()).prop_map(|(name, steps, needs)| WorkflowSpec {
        name,
        steps,
        on_failure: OnFailure::StopRunning,
        on_impossible: OnImpossible::Cancel,
        upstream: UpstreamKeys::Ids,
        capacity: Capacity { processes: Some(needs.slots), memory: needs.memory, ..Capacity::default() },
        bounds: WorkflowBounds { elements: 3, ..WorkflowBounds::default() },
    })
}

fn task_error() -> TaskError {
    TaskError {
        exception: Some("ValueError".to_owned()),
        traceback: Some("Traceback …".to_owned()),
        causes: vec![Cause { exception: "KeyError".to_owned(), message: "'x'".to_owned() }],
        post_mortem: Some(Box::new(PostMortem {
            ended_by: crate::model::EndedBy::OutOfMemory,
            exit: Some(crate::model::ProcessExit::Signal(9)),
            usage: Some(Usage { peak_memory_bytes: 1 << 30, user_seconds: 0.25, system_seconds: 0.5 }),
            worker_age_seconds: 1.5,
            worker_tasks: 3,
            stdout_tail: "out".to_owned(),
            stderr_tail: String::new(),
            stacks: None,
        })),
        ..TaskError::new(ErrorKind::WorkerLost, "it died")
    }
}

/// All errors of a step.
fn errors() -> Vec<StepError> {
    let reference = || Box::new(Reference::to("load").at("rows[0]").expect("a path"));
    let causes = || {
        let steps = vec![RootCause { step: "load".to_owned(), task: TaskId::generate(), state: StepState::TimedOut }];
        Arc::new(RootCauses { steps, more: 2 })
    };
    let shortfall =
        Shortfall { kind: PoolKind::Io, slots: 1, cpu: Fixed(500), memory: Fixed(0), memory_bytes: 1 << 40 };
    vec![
        StepError::Task(Box::new(task_error())),
        StepError::DependencyFailed(causes()),
        StepError::Stopped(causes()),
        StepError::Cancelled,
        StepError::Unresolved { reference: reference(), place: "load.rows".to_owned(), found: "null".to_owned() },
        StepError::NoResult { reference: reference(), state: StepState::Skipped },
        StepError::NotPlain { reference: "load".to_owned(), found: "a lock".to_owned() },
        StepError::Incomparable { test: "load < 1".to_owned(), found: "a text".to_owned() },
        StepError::NotAList { reference: reference(), found: "null".to_owned() },
        StepError::TooManyElements { reference: reference(), count: 3, limit: 2 },
        StepError::NotEnough { succeeded: 1, needed: 2, total: 3, first: "0 (x)".to_owned() },
        StepError::Impossible(shortfall),
        StepError::NotAdded(vec!["no".to_owned()]),
    ]
}

fn step_record(state: StepState, error: Option<StepError>) -> StepRecord {
    StepRecord {
        name: Some("load".into()),
        task: TaskId::generate(),
        work: Task::script("/flows/load.py").work().name(),
        pool: PoolId::IO,
        last: true,
        state,
        attempts: 2,
        ready: Some(Timestamp::UNIX_EPOCH),
        started: None,
        finished: Some(Timestamp::MAX),
        data: Some(Json("{\"a\": 1.50}".into())),
        pickle: None,
        data_dropped: false,
        error: error.map(Box::new),
        instances: Some(Box::new(InstanceCounts { total: 4, begun: 3, succeeded: 2, failed: 1 })),
    }
}

fn record(steps: Vec<StepRecord>) -> WorkflowRecord {
    let mut counts = StepCounts::default();
    steps.iter().for_each(|step| counts.0[step.state as usize] += 1);
    WorkflowRecord {
        id: WorkflowId::generate(),
        name: "etl".to_owned(),
        state: WorkflowState::Failed,
        submitted: Timestamp::UNIX_EPOCH,
        finished: None,
        counts,
        steps,
        critical_path: CriticalPath { steps: vec!["load".to_owned()], seconds: 1.25 },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_specification_comes_back_as_it_was(spec in spec()) {
        prop_assert_eq!(&binary(&spec), &spec);
        prop_assert_eq!(&text(&spec), &spec);
    }
}

#[test]
fn a_record_comes_back_from_a_binary_format_as_it_was() {
    let mut steps: Vec<StepRecord> = StepState::ALL.map(|state| step_record(state, None)).into();
    steps.extend(errors().into_iter().map(|error| step_record(StepState::Failed, Some(error))));
    let function = Task::call(Function::new("pack", &b"code"[..]), "");
    let pickle = Some(Box::new(Pickle(b"\x80\x05".as_slice().into())));
    steps.push(StepRecord { work: function.work().name(), pickle, ..step_record(StepState::Succeeded, None) });
    let raised = TaskError { raised: Some(Pickle("x".into())), ..task_error() };
    steps.push(step_record(StepState::Failed, Some(StepError::Task(Box::new(raised)))));
    let record = record(steps);
    assert_eq!(binary(&record), record);
}

#[test]
fn a_record_comes_back_from_json_with_codes_and_sentences_for_errors() {
    let plain: Vec<StepError> = errors().into_iter().take(4).collect();
    let mut steps: Vec<StepRecord> = StepState::ALL.map(|state| step_record(state, None)).into();
    steps.extend(plain.into_iter().map(|error| step_record(StepState::Failed, Some(error))));
    let record = record(steps);
    assert_eq!(text(&record), record);
    for error in errors() {
        let back = text(&error);
        assert_eq!((back.kind(), back.code()), (error.kind(), error.code()));
        assert!(back.to_string().contains(&error.to_string()), "{back}");
    }
}

#[test]
fn the_json_of_a_record_has_no_pickles() {
    let pickle = Some(Box::new(Pickle(b"\x80\x05".as_slice().into())));
    let step = StepRecord { pickle, ..step_record(StepState::Succeeded, None) };
    let json = serde_json::to_value(&step).expect("JSON");
    assert!(json.get("pickle").is_none() && json["script"] == "/flows/load.py" && json["data"]["a"] == 1.5, "{json}");
}

#[test]
fn an_invalid_report_is_refused() {
    for text in [r#"{"waiting": 1, "napping": 2}"#, r#"{"waiting": -1}"#] {
        assert!(serde_json::from_str::<StepCounts>(text).is_err(), "{text}");
    }
    assert!(serde_json::from_str::<Priority>("10").is_err());
    assert!(serde_json::from_str::<Reference>(r#"{"step": "a", "path": "..."}"#).is_err());
    let limits: Limits = serde_json::from_str(r#"{"needs": {"slots": 1, "cpu": 0, "memory": null}}"#).expect("limits");
    assert_eq!(limits, Limits::default());
    let step: Dependency = serde_json::from_str(r#"{"step": "a"}"#).expect("a dependency");
    assert_eq!(step, "a".into());
}
