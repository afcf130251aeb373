//! Large results are read once, and not on the engine's thread if the caller can help it.

use super::super::json::tests::READS;
use super::*;
use crate::model::workflow::{Condition, MapOver, Op, Reference, Template};

const READERS: u32 = 1000;

fn large(more: usize) -> Value {
    json!({"rows": vec![1; 100_000 + more], "size": 7, "list": [[1, 2], [3]], "ids": (0..READERS).collect::<Vec<_>>()})
}

fn to(path: &str) -> Reference {
    Reference::to("source").at(path).expect("a path")
}

/// Steps that read the result of the first one in all the ways that there are; every second condition holds.
fn readers() -> Vec<Step> {
    let mut steps = vec![step("source")];
    for number in 0..READERS {
        let condition = match number % 4 {
            0 => Condition::test(to("size"), Op::Eq, 7),
            1 => Condition::test(to("rows"), Op::Eq, json!([1])),
            2 => Condition::truthy(to("rows")),
            _ => Condition::test(to(&format!("ids[{number}]")), Op::Lt, number),
        };
        steps.push(step(&format!("reader{number}")).after("source").when(condition));
    }
    steps.push(step("incomparable").after("source").when(Condition::test(to(""), Op::Lt, 1)));
    steps.push(
        step("missing")
            .after("source")
            .params(Template::from_json(&json!({"it": {"$ref": "source", "path": "size.x"}})).expect("a template")),
    );
    steps.push(step("mapped").after("source").map_over(MapOver::new(to("list"))));
    steps
}

fn graph() -> Graph {
    let mut graph =
        Graph::check(WorkflowId::generate(), WorkflowSpec::of(readers()), &outside(), Tick(0)).expect("sound");
    graph.start(Tick(0));
    graph
}

fn ended(graph: &mut Graph, outcome: Outcome) {
    graph.ended(StepKey::whole(0), Ended { outcome, attempts: 1, started: None }, Tick(1));
}

fn check(graph: &mut Graph) {
    for number in 0..READERS {
        let state = if number % 2 == 0 { StepState::Ready } else { StepState::Skipped };
        assert_eq!(graph.state_of(number + 1), Some(state), "reader{number}");
    }
    let record = graph.record(jiff::Timestamp::UNIX_EPOCH);
    let error = |name: &str| {
        let step = record.steps.iter().find(|step| step.name.as_deref() == Some(name)).expect("there");
        step.error.as_ref().expect("an error").to_string()
    };
    assert_eq!(
        error("incomparable"),
        "the condition source < 1 cannot be decided: there is an object with ids, list, rows, size"
    );
    assert!(error("missing").contains("the number 7"), "{}", error("missing"));
    let instances =
        graph.take_actions().into_iter().filter(|it| matches!(it, GraphAction::Submit(key) if key.instance.is_some()));
    assert_eq!(instances.count(), 2);
}

#[test]
fn l11_any_number_of_steps_read_a_large_result_once() {
    let mut graph = graph();
    let before = READS.get();
    ended(&mut graph, ok(large(0)));
    assert_eq!(READS.get() - before, 1);
    check(&mut graph);
}

#[test]
fn l11_what_was_found_elsewhere_is_not_read_again() {
    let mut graph = graph();
    let outcome = ok(large(1));
    let Outcome::Succeeded(data) = &outcome else { panic!("it succeeded") };
    let lookups = graph.lookups(StepKey::whole(0), data).expect("it is large");
    let found = lookups.run();
    let before = READS.get();
    graph.found(StepKey::whole(0), found);
    ended(&mut graph, outcome);
    assert_eq!(READS.get() - before, 0);
    check(&mut graph);
}

#[test]
fn l9_what_was_found_is_kept_only_while_a_step_needs_it() {
    let spec = WorkflowSpec::of([step("source"), step("one").after("source").when(Condition::truthy(to("rows")))]);
    let mut graph = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect("sound");
    graph.start(Tick(0));
    ended(&mut graph, ok(large(0)));
    assert_eq!(graph.found.len(), 1);
    assert!(graph.hand_over(StepKey::whole(1)).is_some());
    assert!(graph.found.is_empty());
}

#[test]
fn small_results_need_no_lookups() {
    let graph = graph();
    let Outcome::Succeeded(data) = ok(json!({"size": 7})) else { panic!("it succeeded") };
    assert!(graph.lookups(StepKey::whole(0), &data).is_none());
}
