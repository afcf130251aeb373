//! Invalid workflows are refused as a whole, with all mistakes.

use petgraph::algo::is_cyclic_directed;
use petgraph::graph::DiGraph;
use proptest::prelude::*;

use super::*;
use crate::model::workflow::{Condition, GraphError, MapOver, Reference, WorkflowBounds};

fn refused(spec: WorkflowSpec) -> Vec<String> {
    let errors = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect_err("unsound");
    errors.iter().map(ToString::to_string).collect()
}

fn circle(length: usize) -> WorkflowSpec {
    let name = |n: usize| format!("s{}", n % length);
    WorkflowSpec::of((0..length).map(|n| step(&name(n)).after(&*name(n + length - 1))))
}

#[test]
fn circles_of_one_two_and_a_thousand_are_named_with_their_path() {
    assert_eq!(refused(circle(1)), ["s0 waits for itself"]);
    assert_eq!(refused(circle(2)), ["2 steps wait for each other: s0 → s1 → s0"]);
    let words = refused(circle(1000)).remove(0);
    let path: Vec<String> = (0..1000).map(|n| format!("s{n}")).collect();
    assert_eq!(words, format!("1000 steps wait for each other: {} → s0", path.join(" → ")));
}

#[test]
fn every_circle_is_named_and_what_only_hangs_on_one_is_not() {
    let spec = WorkflowSpec::of([
        step("a").after("b"),
        step("b").after("a"),
        step("c").after("d"),
        step("d").after("c").after("a"),
        step("e").after("d"),
    ]);
    assert_eq!(refused(spec), ["2 steps wait for each other: a → b → a", "2 steps wait for each other: c → d → c"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let (known, missing) = (task(), TaskId::generate());
    let id = known.id();
    let deep = (0..40).fold(Condition::truthy(Reference::to("a")), |it, _| Condition::Not(Box::new(it)));
    let spec = WorkflowSpec::of([
        step("a"),
        step("A"),
        step("a"),
        step(""),
        step("b").after("Nobody").after("a").after("Nobody").after("B"),
        step("c").after(missing).when(deep),
        Step::new("d", known.clone()),
        Step::new("e", known),
        Step::new("f", task().params(&[1]).expect("JSON")).after("a"),
        step("g").run_if(RunIf::AnyFailed),
        step("h").map_over(MapOver { max_parallel: Some(0), ..MapOver::new(Reference::to("a")) }),
    ]);
    let words = refused(spec);
    for expected in [
        "the steps a and A differ only in upper and lower case: rename one of them",
        "two steps are called a: rename one of them",
        "step 3 has the invalid name \"\": expected 1 to 200 characters, without control characters",
        "b waits for the step Nobody, and there is none",
        "b waits for the step B, and there is none; did you mean b?",
        &format!("c waits for the task {missing}, which the engine does not know"),
        "the condition of c is nested 41 levels deep, and the limit is 32",
        &format!("the task {id} of step e is already known: create a new task"),
        "the parameters of f must be an object, so that results can be added to them",
        "g runs only if a dependency fails, but it has no dependency",
        "max_parallel of h must be at least 1",
    ] {
        assert!(words.iter().any(|it| it == expected), "{expected}\nis not among {words:#?}");
    }
    assert_eq!(words.len(), 11, "{words:#?}");
}

#[test]
fn an_empty_list_and_one_beyond_a_bound_are_refused() {
    assert_eq!(refused(WorkflowSpec::default()), ["a workflow needs at least one step"]);
    let bounds = WorkflowBounds { steps: 3, edges: 2, ..WorkflowBounds::default() };
    let spec = WorkflowSpec { bounds, ..WorkflowSpec::of(["a", "b", "c", "d"].map(step)) };
    assert_eq!(refused(spec), ["4 steps are more than the 3 a workflow may have"]);
    let wide = WorkflowSpec::of([step("a"), step("b"), step("c").after("a").after("b").after("a")]);
    Graph::check(WorkflowId::generate(), WorkflowSpec { bounds, ..wide.clone() }, &outside(), Tick(0)).expect("two");
    let bounds = WorkflowBounds { edges: 1, ..bounds };
    assert_eq!(refused(WorkflowSpec { bounds, ..wide }), ["2 dependencies are more than the 1 a workflow may have"]);
}

#[test]
fn a_task_the_engine_knows_cannot_be_a_step_again() {
    let spec = WorkflowSpec::of([step("a")]);
    let id = spec.steps[0].task().id();
    let known = |_| StepStatus::Live;
    let outside = EngineView { status: &known, capacity: &NO_LIMIT };
    let errors = Graph::check(WorkflowId::generate(), spec, &outside, Tick(0)).expect_err("known");
    assert_eq!(errors, [GraphError::DuplicateTask { at: 0, step: "a".to_owned(), task: id }]);
}

#[test]
fn a_chain_of_a_hundred_thousand_neither_recurses_nor_slows_down() {
    // A test's thread has 2 MiB of stack: recursion would overflow it, and quadratic time would not end.
    let chain = |outcome: fn() -> Outcome| {
        let steps = (0..100_000).map(|n| step(&format!("s{n}")));
        let mut run = Run::of(WorkflowSpec::builder("").chain(steps).build());
        while let Some((name, key, _)) = run.running.pop_front() {
            assert!(name.starts_with('s'));
            run.graph.ended(key, outcome().into(), Tick(1));
            run.act();
        }
        run.record()
    };
    let done = chain(|| ok(json!(1)));
    assert_eq!((done.state, done.critical_path.steps.len()), (WorkflowState::Succeeded, 1));
    let failed = chain(|| failed("no"));
    assert_eq!(failed.counts.of(StepState::DependencyFailed), 99_999);
}

proptest! {
    /// Every refusal names a mistake that exists, and every workflow without mistakes is accepted.
    #[test]
    fn a_graph_is_refused_exactly_if_something_waits_for_itself_or_for_nobody(
        edges in proptest::collection::vec((0..12usize, 0..13usize), 0..16)
    ) {
        let mut steps: Vec<Step> = (0..12).map(|n| step(&format!("s{n}"))).collect();
        for (to, from) in &edges {
            steps[*to] = steps[*to].clone().after(&*format!("s{from}"));
        }
        let real: Vec<(u32, u32)> = edges.iter().filter(|it| it.1 < 12).map(|it| (it.1 as u32, it.0 as u32)).collect();
        let sound = real.len() == edges.len() && !is_cyclic_directed(&DiGraph::<(), ()>::from_edges(&real));
        let found = Graph::check(WorkflowId::generate(), WorkflowSpec::of(steps), &outside(), Tick(0));
        prop_assert_eq!(found.is_ok(), sound);
        let number = |name: &str| name[1..].parse::<u32>().expect("a number");
        for error in found.err().into_iter().flatten() {
            match error {
                GraphError::Cycle { path, .. } => {
                    let before = path.iter().cycle().skip(path.len() - 1);
                    for (name, before) in path.iter().zip(before) {
                        prop_assert!(real.contains(&(number(before), number(name))), "{before} → {name}");
                    }
                }
                GraphError::SelfReference { at, .. } => prop_assert!(edges.contains(&(at, at))),
                GraphError::UnknownStep { at, .. } => prop_assert!(edges.contains(&(at, 12))),
                other => prop_assert!(false, "{other}"),
            }
        }
    }
}
