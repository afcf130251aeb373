//! Functions as steps: the arguments of their calls, and how other steps see their results.

use bytes::Bytes;

use super::*;
use crate::model::workflow::{Condition, MapOver, Op, Reference, Template};
use crate::model::{Data, Function};
use crate::model::{Pickle, value};

fn call(name: &str) -> Step {
    Step::new(name, Task::call(Function::new(name, name.as_bytes().to_vec()), &b"\x80own"[..]))
}

fn to(step: &str, path: &str) -> Reference {
    Reference::to(step).at(path).expect("a path")
}

/// A result that is not plain data.
fn pickled(json: Result<&str, &str>) -> Outcome {
    let json = json.map(|text| Json(Bytes::copy_from_slice(text.as_bytes())));
    Outcome::Succeeded(
        Pickle::described(json.as_ref().map_err(|words| *words), &Bytes::from_static(b"\x80whole")).into(),
    )
}

fn graph(steps: impl IntoIterator<Item = Step>) -> Graph {
    let mut graph = Graph::check(WorkflowId::generate(), WorkflowSpec::of(steps), &outside(), Tick(0)).expect("sound");
    graph.start(Tick(0));
    graph
}

fn key(step: u32) -> StepKey {
    StepKey::whole(step)
}

fn instance(step: u32, index: u32) -> StepKey {
    StepKey { step, instance: Some(index) }
}

fn arguments(graph: &mut Graph, key: StepKey) -> Bytes {
    graph.hand_over(key).expect("it is to run").1.into_bytes()
}

fn filled(parts: &[&'static [u8]]) -> Bytes {
    let parts: Vec<_> = parts.iter().map(|part| Bytes::from_static(part)).collect();
    let mut whole = value::filled(&parts);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole.into()
}

fn error(graph: &Graph, step: usize) -> String {
    let record = graph.record(jiff::Timestamp::UNIX_EPOCH);
    let error = record.steps[step].error.as_ref().expect("an error");
    format!("{}: {error}", error.code())
}

#[test]
fn the_holes_of_a_function_are_filled_with_results_as_they_are_and_with_parts_as_json() {
    let steps =
        [step("s"), call("f"), call("g").inputs(vec![to("s", "a[1]"), to("f", ""), to("s", ""), to("f", "[0]")])];
    let mut graph = graph(steps);
    assert_eq!(&arguments(&mut graph, key(1))[..], b"\x80own", "what has no holes goes as it is");
    graph.ended(key(0), ok(json!({"a": [1, 2]})).into(), Tick(1));
    graph.ended(key(1), pickled(Ok("[7]")).into(), Tick(1));
    let expected = filled(&[b"\x80own", b"2", b"\x80whole", b"{\"a\":[1,2]}", b"7"]);
    assert_eq!(arguments(&mut graph, key(2)), expected);
}

#[test]
fn a_hole_for_a_step_without_a_result_is_filled_with_the_default() {
    let inputs = vec![to("s", "a").or(&json!([1])), to("s", "").or(&json!(null))];
    let steps = [
        step("s").when(Condition::Any(Vec::new())),
        call("g").inputs(inputs).run_if(crate::model::workflow::RunIf::AllDone),
    ];
    let mut graph = graph(steps);
    assert_eq!(arguments(&mut graph, key(1)), filled(&[b"\x80own", b"[1]", b"null"]));
}

#[test]
fn a_function_that_only_waits_is_called_with_its_own_arguments() {
    let mut graph = graph([step("s"), call("f"), call("g").after("s").after("f")]);
    graph.ended(key(0), ok(json!(1)).into(), Tick(1));
    graph.ended(key(1), pickled(Err("a lock")).into(), Tick(1));
    assert_eq!(&arguments(&mut graph, key(2))[..], b"\x80own");
}

#[test]
fn a_script_reads_the_json_form_of_what_a_function_returned() {
    let params = Template::from_json(&json!({"it": {"$ref": "f", "path": "[0]"}})).expect("a template");
    let spec = WorkflowSpec::of([call("f"), step("s").params(params)]);
    let mut graph = graph(spec.steps);
    graph.ended(key(0), pickled(Ok("[7]")).into(), Tick(1));
    let text: Value = serde_json::from_slice(&arguments(&mut graph, key(1))).expect("JSON");
    assert_eq!((&text["it"], &text["upstream_results"]["f"]), (&json!(7), &json!([7])));
}

#[test]
fn what_has_no_json_form_fails_who_reads_it_and_names_what_it_is() {
    let test = |op| Condition::test(Reference::to("f"), op, json!(1));
    let over = |reference| call("x").map_over(MapOver::new(reference));
    let template = Template::from_json(&json!({"it": {"$ref": "f", "path": "x"}})).expect("a template");
    for (reader, what) in [
        (step("x").after("f"), "f"),
        (step("x").params(template), "f"),
        (call("x").inputs(vec![to("f", "rows")]), "f.rows"),
        (call("x").when(test(Op::Truthy)), "f"),
        (call("x").when(test(Op::Exists)), "f"),
        (over(to("f", "")), "f"),
        (over(to("f", "a")), "f.a"),
        (step("x").after("f").map_over(MapOver::new(to("list", ""))), "f"),
    ] {
        let mut graph = graph([call("f"), step("list"), reader]);
        graph.ended(key(1), ok(json!([1])).into(), Tick(1));
        graph.ended(key(0), pickled(Err("a pandas.DataFrame")).into(), Tick(1));
        assert_eq!(
            error(&graph, 2),
            format!(
                "result_not_plain: {what} cannot be read: the result is a pandas.DataFrame, which only a function can \
                 take, and only whole"
            )
        );
        assert!(graph.is_finished());
    }
}

#[test]
fn an_instance_of_a_mapped_function_gets_its_element_last() {
    let mut graph =
        graph([step("list"), call("f").inputs(vec![to("list", "")]).map_over(MapOver::new(to("list", "")))]);
    graph.ended(key(0), ok(json!([5, "x"])).into(), Tick(1));
    for (index, element) in [(0, &b"5"[..]), (1, b"\"x\"")] {
        assert_eq!(arguments(&mut graph, instance(1, index)), filled(&[b"\x80own", b"[5,\"x\"]", element]));
    }
}

#[test]
fn the_results_of_instances_are_a_list_that_is_json_as_far_as_they_are() {
    let of = |outcomes: [Outcome; 2]| {
        let steps =
            [step("list"), call("f").map_over(MapOver::new(to("list", ""))), call("g").inputs(vec![to("f", "")])];
        let mut graph = graph(steps);
        graph.ended(key(0), ok(json!([1, 2])).into(), Tick(1));
        for (index, outcome) in (0..).zip(outcomes) {
            graph.hand_over(instance(1, index)).expect("it is to run");
            graph.ended(instance(1, index), outcome.into(), Tick(1));
        }
        let record = graph.record(jiff::Timestamp::UNIX_EPOCH).steps.swap_remove(1);
        (record, arguments(&mut graph, key(2)))
    };
    let (plain, given) = of([ok(json!(1)), ok(json!([2]))]);
    assert_eq!(
        (plain.data, plain.pickle, given),
        (Some(Json("[1,[2]]".into())), None, filled(&[b"\x80own", b"[1,[2]]"]))
    );
    let list =
        |values: &[&'static [u8]]| value::list(&values.iter().map(|it| Bytes::from_static(it)).collect::<Vec<_>>());
    let (both, given) = of([ok(json!(1)), pickled(Ok("[2]"))]);
    assert_eq!((both.data, both.pickle.is_some()), (Some(Json("[1,[2]]".into())), true));
    assert!(given.ends_with(&list(&[b"1", b"\x80whole"])), "{given:?}");
    let (opaque, given) = of([pickled(Err("a lock")), ok(json!(1))]);
    assert_eq!(opaque.data, None);
    assert!(given.ends_with(&list(&[b"\x80whole", b"1"])), "{given:?}");
    let words = opaque.pickle.expect("a pickle").json().expect_err("no JSON");
    assert_eq!(words, "a list with a lock at [0]");
}

#[test]
fn a_large_result_is_handed_to_all_functions_without_a_copy() {
    let large = Bytes::from(vec![0x80; 1 << 20]);
    let dependents = (0..100).map(|n| call(&format!("d{n}")).inputs(vec![to("a", "")]));
    let mut graph = graph(std::iter::once(call("a")).chain(dependents));
    graph.take_actions();
    let result = Pickle::described(Err("an array"), &large);
    let whole = result.packed();
    graph.ended(key(0), Outcome::Succeeded(result.into()).into(), Tick(1));
    for step in 1..=100 {
        let (_, params) = graph.hand_over(key(step)).expect("it is to run");
        assert!(params.parts().any(|part| part.as_ptr() == whole.as_ptr()));
    }
}

#[test]
fn a_step_is_referred_to_by_the_id_of_its_task_too_also_by_one_of_another_workflow() {
    let (here, elsewhere) = (call("f"), TaskId::generate());
    let inputs = [here.task().id(), elsewhere].map(|id| Reference::to(id.to_string())).to_vec();
    let ended = StepOutcome::from(pickled(Err("a lock")));
    let known = |id| if id == elsewhere { StepStatus::Ended(ended.clone()) } else { StepStatus::Unknown };
    let outside = EngineView { status: &known, capacity: &NO_LIMIT };
    let spec = WorkflowSpec::of([call("g").inputs(inputs), here]);
    let mut graph = Graph::check(WorkflowId::generate(), spec, &outside, Tick(0)).expect("sound");
    graph.start(Tick(0));
    graph.ended(key(1), Outcome::Succeeded(Data::of_function("1".into())).into(), Tick(1));
    assert_eq!(arguments(&mut graph, key(0)), filled(&[b"\x80own", b"1", b"\x80whole"]));
    let unknown = call("g").inputs(vec![Reference::to(TaskId::generate().to_string())]);
    let wrong = Graph::check(WorkflowId::generate(), WorkflowSpec::of([unknown]), &super::outside(), Tick(0));
    assert_eq!(wrong.expect_err("nobody knows it")[0].code(), "unknown_dependency");
}

#[test]
fn parameters_for_a_script_are_not_for_a_function() {
    let wrong = call("f").params(Template::of_text("{}"));
    let found = Graph::check(WorkflowId::generate(), WorkflowSpec::of([wrong]), &outside(), Tick(0));
    assert_eq!(found.expect_err("not JSON")[0].code(), "params_not_an_object");
}
