//! Functions as steps, on real children: their code and arguments are pickles made by hand.

use axion_core::workflow::{Condition, MapOver, Op, Reference, RunIf, Step, StepState, WorkflowRecord, WorkflowSpec};
use axion_core::{Config, Engine, Function, Json, Part, SubmitError, Task};
use serde_json::{Value, json};

use crate::support::{LIMIT, engine, entry};

/// The step that calls a function of `builtins` with one argument, which another step's result is.
fn call(name: &str, function: &str, input: Reference) -> Step {
    let named = format!("cbuiltins\n{function}\n.");
    let mut code = b"\x80\x03((K\x03K\x08tNK\x03NNC".to_vec();
    code.push(u8::try_from(named.len()).expect("short"));
    code.extend_from_slice(named.as_bytes());
    code.extend_from_slice(b"t.");
    let arguments = b"\x80\x02(K\x00Q\x85}t.";
    Step::new(name, Task::call(Function::new(function, code), &arguments[..])).inputs(vec![input])
}

fn to(step: &str) -> Reference {
    Reference::to(step)
}

fn run(engine: &Engine, steps: impl IntoIterator<Item = Step>) -> std::sync::Arc<WorkflowRecord> {
    let mut handle = engine.submit_workflow(WorkflowSpec::of(steps)).expect("accepted");
    handle.wait_timeout(LIMIT).expect("the engine lives").expect("it has ended")
}

fn values(record: &WorkflowRecord) -> Vec<Option<Value>> {
    record.steps.iter().map(|step| step.data.as_ref().map(|data: &Json| data.parse().expect("JSON"))).collect()
}

fn codes(record: &WorkflowRecord) -> Vec<Option<String>> {
    record.steps.iter().map(|step| step.error.as_ref().map(|error| error.code())).collect()
}

#[test]
fn scripts_and_functions_take_each_others_results() {
    let list = Step::new("list", entry("value", json!({"value": [3, 1, 2]})));
    let first = Condition::test(to("sorted").at("[0]").expect("a path"), Op::Eq, json!(1));
    let steps = [
        list,
        call("sorted", "sorted", to("list")),
        call("set", "set", to("sorted")),
        call("size", "len", to("set")).when(first),
        call("pair", "tuple", to("size")).map_over(MapOver::new(to("sorted"))),
        call("each", "float", to("size")).map_over(MapOver::new(to("sorted"))),
        Step::new("told", entry("params", json!({}))).after("sorted").after("each"),
    ];
    let record = run(&engine(2, 0), steps);
    let told = &values(&record)[6].clone().expect("a result")["upstream_results"];
    assert_eq!((&told["sorted"], &told["each"]), (&json!([1, 2, 3]), &json!([3.0, 3.0, 3.0])));
    assert_eq!(values(&record)[1..4], [Some(json!([1, 2, 3])), None, Some(json!(3))]);
    assert!(record.steps[2].pickle.is_some() && !record.steps[2].data_dropped);
    assert_eq!(record.steps[4].state, StepState::Failed, "an int is no iterable: {:?}", record.steps[4]);
}

#[test]
fn what_has_no_json_form_fails_the_script_that_would_read_it() {
    let steps = [
        Step::new("text", entry("value", json!({"value": "text"}))),
        call("set", "set", to("text")),
        Step::new("script", entry("params", json!({}))).after("set"),
        call("whole", "len", to("set")),
    ];
    let record = run(&engine(1, 0), steps);
    assert_eq!(codes(&record), [None, None, Some("result_not_plain".to_owned()), None]);
    assert!(record.steps[2].error.as_ref().is_some_and(|error| error.to_string().contains("a set")));
    assert_eq!(values(&record)[3], Some(json!(3)));
}

#[test]
fn l9_results_above_the_payload_limit_fail_the_step_that_takes_them_and_cost_no_worker() {
    let config = Config { payload_limit: Some(1 << 20), ..Config::default() };
    let engine = Engine::builder().config(config).cpu_workers(1).io_workers(0).start().expect("the engine starts");
    let large = |name| Step::new(name, entry("value", json!({"value": "x".repeat(300 << 10)})));
    let both = Step::new("both", entry("params", json!({}))).after("one").after("two");
    let (pid, after) = (entry("pid", json!({})), entry("pid", json!({})));
    let mapped = call("mapped", "len", to("one")).map_over(MapOver::new(to("list"))).after("two");
    let steps = [
        Step::new("before", pid),
        large("one").after("before"),
        large("two").after("before"),
        both,
        Step::new("after", after).after("both").run_if(RunIf::AnyFailed),
        Step::new("list", entry("value", json!({"value": [1, 2]}))),
        mapped,
    ];
    let record = run(&engine, steps);
    let mut expected = vec![None; 7];
    expected[3] = Some("params_too_large".to_owned());
    assert_eq!(codes(&record), expected);
    assert_eq!(values(&record)[6], Some(json!([300 << 10, 300 << 10])));
    let found = values(&record);
    assert_eq!(found[0], found[4], "the same worker");
}

#[test]
fn l9_a_part_above_the_payload_limit_is_refused_with_its_name() {
    let config = Config { payload_limit: Some(1 << 20), cpu_bound_count: 1, ..Config::default() };
    let engine = Engine::builder().config(config).start().expect("it starts");
    let parts = [Part::new("small"), Part::new(vec![0; 2 << 20])];
    let task = Task::call(Function::with_parts("resize", "code", parts.clone().into()), "");
    let refused = engine.submit(task).expect_err("too large");
    assert_eq!(refused.code(), "part_too_large");
    let SubmitError::PartTooLarge { part, size, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((*part, *size), (parts[1].id(), 2 << 20));
    assert!(refused.to_string().contains("resize"), "{refused}");
}

#[test]
fn l9_a_part_counts_once_in_the_queue_however_many_tasks_need_it() {
    let config = Config { input_queue_bytes: 32 << 20, ..Config::default() };
    let engine = Engine::builder().config(config).start().expect("it starts");
    let submit = |part: &Part| {
        let code = part.id().to_string();
        let function = Function::with_parts("resize", code, [part.clone()].into());
        engine.submit(Task::call(function, "").delay(LIMIT)).map(drop)
    };
    let parts: Vec<Part> = (0..4).map(|n| Part::new(vec![n; 10 << 20])).collect();
    for _ in 0..400 {
        submit(&parts[0]).expect("it is there");
    }
    submit(&parts[1]).and_then(|()| submit(&parts[2])).expect("there is room for three");
    assert_eq!(submit(&parts[3]).expect_err("a fourth").code(), "queue_bytes_full");
    submit(&parts[2]).expect("it is there");
}
