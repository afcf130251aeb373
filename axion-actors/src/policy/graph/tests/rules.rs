//! Each rule once.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::model::WorkName;
use crate::model::workflow::{
    Condition, Enough, MapOver, Needs, OnFailure, OnImpossible, Op, Reference, Template, UpstreamKeys, WorkflowBounds,
    WorkflowState,
};

fn reference(step: &str, path: &str) -> Reference {
    Reference::to(step).at(path).expect("a path")
}

#[test]
fn a_reference_is_replaced_by_the_part_it_names_and_makes_the_edge() {
    let params = json!({"id": {"$ref": "a", "path": "rows[1].id"}, "list": [{"$ref": "a"}, 1], "x": {}});
    let spec = WorkflowSpec::of([step("b").params(Template::from_json(&params).expect("a template")), step("a")]);
    let mut run = Run::of(WorkflowSpec { upstream: UpstreamKeys::Names, ..spec });
    assert_eq!(run.names(), ["a"]);
    let result = json!({"rows": [{"id": 1}, {"id": "two"}]});
    run.end("a", ok(result.clone()));
    let expected = json!({"id": "two", "list": [result, 1], "x": {}, "upstream_results": {"a": result}});
    assert_eq!(run.params("b"), &expected);
}

#[test]
fn a_reference_that_leads_nowhere_fails_its_step_with_the_path_and_what_was_there() {
    let params = Template::from_json(&json!({"id": {"$ref": "a", "path": "rows[0].id"}})).expect("a template");
    let mut run = Run::of(WorkflowSpec::of([step("a"), step("b").params(params.clone()), step("c").after("b")]));
    run.end("a", ok(json!({"rows": []})));
    assert_eq!(run.state("b"), StepState::Failed);
    assert_eq!(run.error("b"), "a.rows[0].id cannot be resolved: a.rows is an empty list");
    assert_eq!(run.error("c"), "not run because a dependency failed: b (failed)");

    let late = step("b").params(params).run_if(RunIf::AllDone);
    let mut run = Run::of(WorkflowSpec::of([step("a"), late]));
    run.end("a", failed("no"));
    assert_eq!(run.error("b"), "a.rows[0].id cannot be resolved: the step ended as failed and has no result");
}

#[test]
fn a_reference_to_a_step_that_ended_without_a_result_has_its_default() {
    let params = json!({
        "n": {"$ref": "a", "path": "rows[0]", "default": [1]},
        "m": {"$ref": "b", "default": null},
    });
    let never = Condition::Any(Vec::new());
    let join = || step("join").params(Template::from_json(&params).expect("a template")).run_if(RunIf::AnySucceeded);
    let mut run = Run::of(WorkflowSpec::of([step("a").when(never.clone()), step("b"), join()]));
    run.end("b", ok(json!(7)));
    assert_eq!(
        (run.state("a"), &run.params("join")["n"], &run.params("join")["m"]),
        (StepState::Skipped, &json!([1]), &json!(7))
    );

    let late = join().run_if(RunIf::AllDone);
    let mut run = Run::of(WorkflowSpec::of([step("a"), step("b"), late]));
    run.end("a", ok(json!({"rows": [2]})));
    run.end("b", failed("no"));
    assert_eq!((&run.params("join")["n"], &run.params("join")["m"]), (&json!(2), &json!(null)));

    // A path that leads nowhere in a result is a mistake all the same.
    let mut run = Run::of(WorkflowSpec::of([step("a"), step("b"), join()]));
    run.end("a", ok(json!({"rows": []})));
    run.end("b", ok(json!(7)));
    assert_eq!(run.error("join"), "a.rows[0] cannot be resolved: a.rows is an empty list");

    let missing = || Reference::to("a").or(&json!([3, 4]));
    let asks = step("asks").when(Condition::test(missing(), Op::Eq, json!([3, 4]))).run_if(RunIf::AllDone);
    let maps = step("maps").map_over(MapOver::new(missing())).run_if(RunIf::AllDone);
    let run = Run::of(WorkflowSpec::of([step("a").when(never), asks, maps]));
    assert_eq!((run.state("asks"), run.state("maps")), (StepState::Ready, StepState::Ready));
}

#[test]
fn a_template_without_references_is_all_that_a_step_gets_that_waits_for_none() {
    let run = Run::of(WorkflowSpec::of([step("a").params(Template::of_text("{\"x\": 1 } "))]));
    assert_eq!(run.params("a"), &json!({"x": 1}));
}

#[test]
fn upstream_results_have_the_keys_that_were_asked_for() {
    let of = |upstream| {
        let spec = WorkflowSpec::builder("").chain(["a", "b"].map(step)).upstream(upstream).build();
        let id = spec.steps[0].task().id().to_string();
        let mut run = Run::of(spec);
        run.end("a", ok(json!(1)));
        (id, run.params("b")["upstream_results"].clone())
    };
    let (id, both) = of(UpstreamKeys::Both);
    assert_eq!(both, json!({"a": 1, id: 1}));
    assert_eq!(of(UpstreamKeys::Names).1, json!({"a": 1}));
    let (id, ids) = of(UpstreamKeys::Ids);
    assert_eq!(ids, json!({id: 1}));
}

#[test]
fn a_large_result_is_handed_to_all_its_dependents_without_a_copy() {
    let large = Bytes::from(serde_json::to_vec(&vec![7; 50_000]).expect("JSON"));
    let dependents = (0..100).map(|n| step(&format!("d{n}")).after("a"));
    let spec = WorkflowSpec::of(std::iter::once(step("a")).chain(dependents));
    let spec = WorkflowSpec { upstream: UpstreamKeys::Names, ..spec };
    let mut graph = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect("sound");
    graph.start(Tick(0));
    graph.take_actions();
    let key = StepKey::whole(0);
    graph.ended(key, Outcome::Succeeded(Json(large.clone()).into()).into(), Tick(1));
    let mut own = 0;
    for action in graph.take_actions() {
        if let GraphAction::Submit(key) = action {
            let (_, params) = graph.hand_over(key).expect("it is to run");
            assert!(params.parts().any(|part| part.as_ptr() == large.as_ptr()));
            own += params.len() - large.len();
        }
    }
    assert!(own > 0 && own < 100 * 64, "{own} bytes of their own");
}

#[test]
fn l9_a_step_that_ends_before_it_is_handed_over_lets_go_of_what_it_would_have_read() {
    let params = Template::from_json(&json!({"a": {"$ref": "a"}})).expect("a template");
    let spec = WorkflowSpec::of([step("a").forget_result(), step("b").after("a"), step("c").params(params)]);
    let mut graph = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect("sound");
    let key = |step| StepKey::whole(step);
    graph.start(Tick(0));
    assert!(graph.hand_over(key(0)).is_some() && graph.hand_over(key(1)).is_none(), "one is due, the other not");
    graph.ended(key(0), ok(json!(1)).into(), Tick(1));
    let dropped = |graph: &Graph| graph.record(jiff::Timestamp::UNIX_EPOCH).steps[0].data_dropped;
    for late in [1, 2] {
        assert!(!dropped(&graph), "step {late} may still be handed over");
        graph.ended(key(late), cancelled().into(), Tick(2));
        assert!(graph.hand_over(key(late)).is_none());
    }
    assert!(dropped(&graph) && graph.is_finished());
}

#[test]
fn a_result_nobody_keeps_is_freed_when_the_last_dependent_has_it() {
    let spec = WorkflowSpec::of([step("a").forget_result(), step("b").after("a"), step("c").after("a").after("b")]);
    let mut run = Run::of(spec);
    run.end("a", ok(json!(1)));
    assert!(!run.of_step("a").data_dropped);
    run.end("b", ok(json!(2)));
    assert_eq!(run.params("c")["upstream_results"]["a"], 1);
    let a = run.of_step("a");
    assert_eq!((a.data_dropped, a.data), (true, None));
}

#[test]
fn a_result_is_freed_too_when_those_that_waited_for_it_never_run() {
    let spec = WorkflowSpec::of([step("a").forget_result(), step("b"), step("c").after("a").after("b")]);
    let mut run = Run::of(spec);
    run.end("a", ok(json!(1)));
    assert!(!run.of_step("a").data_dropped);
    run.end("b", failed("no"));
    assert!(run.of_step("a").data_dropped);
}

#[test]
fn l9_kept_results_are_bounded_by_bytes_and_the_oldest_go_first() {
    let spec = WorkflowSpec::of(["a", "b", "c"].map(step));
    let mut run =
        Run::of(WorkflowSpec { bounds: WorkflowBounds { kept_bytes: 10, ..WorkflowBounds::default() }, ..spec });
    for name in ["b", "a", "c"] {
        run.end(name, ok(json!(12345)));
    }
    let kept = ["a", "b", "c"].map(|name| (run.of_step(name).data.is_some(), run.of_step(name).data_dropped));
    assert_eq!(kept, [(true, false), (false, true), (true, false)]);
}

#[test]
fn run_if_decides_by_the_ends_of_all_dependencies() {
    use StepState::{DependencyFailed, Ready, Skipped};
    let rules = [RunIf::AllSucceeded, RunIf::AnySucceeded, RunIf::AllDone, RunIf::AnyFailed];
    // The ends of a and b, and what each rule decides about a step that depends on both.
    for (ends, expected) in [
        (["ok", "ok"], [Ready, Ready, Ready, Skipped]),
        (["ok", "no"], [DependencyFailed, Ready, Ready, Ready]),
        (["no", "no"], [DependencyFailed, DependencyFailed, Ready, Ready]),
        (["ok", "skip"], [Skipped, Ready, Ready, Skipped]),
        (["skip", "skip"], [Skipped, Skipped, Ready, Skipped]),
        (["skip", "no"], [DependencyFailed, DependencyFailed, Ready, Ready]),
    ] {
        for (rule, expected) in rules.into_iter().zip(expected) {
            let never = Condition::test(Reference::to("base"), Op::Eq, 0);
            let make = |name: &str, end: &str| match end {
                "skip" => step(name).when(never.clone()),
                _ => step(name).after("base"),
            };
            let spec = WorkflowSpec::of([
                step("base"),
                make("a", ends[0]),
                make("b", ends[1]),
                step("c").after("a").after("b").run_if(rule),
            ]);
            let mut run = Run::of(spec);
            run.end("base", ok(json!(1)));
            for (name, end) in ["a", "b"].into_iter().zip(ends) {
                match end {
                    "ok" => run.end(name, ok(json!(1))),
                    "no" => run.end(name, failed("no")),
                    _ => {}
                }
            }
            assert_eq!(run.state("c"), expected, "{ends:?} {rule:?}");
        }
    }
}

#[test]
fn a_handler_of_failures_sees_what_failed_and_why() {
    let mut run =
        Run::of(WorkflowSpec::of([step("a"), step("b"), step("h").after("a").after("b").run_if(RunIf::AnyFailed)]));
    run.end("a", failed("boom"));
    assert_eq!(run.names(), ["b"], "it waits for all to end");
    run.end("b", ok(json!(1)));
    let params = run.params("h");
    assert_eq!(params["upstream_errors"]["a"]["kind"], "exception");
    assert!(params["upstream_errors"]["a"]["message"].as_str().is_some_and(|it| it.contains("boom")));
    assert_eq!(params["upstream_results"]["b"], 1);
    assert!(params["upstream_results"].get("a").is_none());
}

#[test]
fn a_diamond_with_a_branch_takes_one_side_and_joins() {
    let big = Condition::test(reference("size", "n"), Op::Gt, 10);
    let spec = WorkflowSpec::of([
        step("size"),
        step("large").when(big.clone()),
        step("small").when(Condition::Not(Box::new(big))),
        step("after_large").after("large"),
        step("join").after("after_large").after("small").run_if(RunIf::AnySucceeded),
    ]);
    let mut run = Run::of(spec);
    run.end("size", ok(json!({"n": 3})));
    assert_eq!(run.names(), ["small"]);
    assert_eq!((run.state("large"), run.state("after_large")), (StepState::Skipped, StepState::Skipped));
    run.end("small", ok(json!("s")));
    run.end("join", ok(json!(null)));
    assert_eq!(run.record().state, WorkflowState::Succeeded);
}

#[test]
fn causes_are_the_steps_that_failed_by_themselves_each_named_once() {
    let mut steps: Vec<Step> = (0..12).map(|n| step(&format!("s{n}"))).collect();
    let all = |name: &str, from: &str| (0..12).fold(step(name), |it, n| it.after(&*format!("{from}{n}")));
    steps.extend((0..12).map(|n| step(&format!("t{n}")).after(&*format!("s{n}"))));
    steps.push(all("end", "t").run_if(RunIf::AnySucceeded));
    let mut run = Run::of(WorkflowSpec::of(steps));
    for n in 0..12 {
        run.end(&format!("s{n}"), failed("no"));
    }
    let error = run.of_step("end").error.expect("not run");
    let StepError::DependencyFailed(causes) = *error else { panic!("no causes: {error}") };
    assert_eq!((causes.steps.len(), causes.more), (8, 4));
    assert!(causes.to_string().ends_with("s7 (failed) and 4 more"), "{causes}");
}

#[test]
fn what_can_never_run_and_what_others_have_ended_stop_no_workflow() {
    let elsewhere = TaskId::generate();
    let known = |id| if id == elsewhere { StepStatus::Ended(failed("elsewhere").into()) } else { StepStatus::Unknown };
    let spec = WorkflowSpec::of([
        step("huge").needs(Needs { slots: 9, ..Needs::default() }),
        step("below").after("huge"),
        step("because").after(elsewhere),
        step("other"),
        step("later").after("other"),
    ]);
    let capacity = Capacity { processes: Some(2), ..Capacity::default() };
    let spec =
        WorkflowSpec { on_failure: OnFailure::StopRunning, on_impossible: OnImpossible::Cancel, capacity, ..spec };
    let mut run = Run::beside(spec, &EngineView { status: &known, capacity: &NO_LIMIT });
    assert_eq!((run.state("huge"), run.state("below")), (StepState::Cancelled, StepState::DependencyFailed));
    assert_eq!(run.state("because"), StepState::DependencyFailed);
    run.end("other", ok(json!(1)));
    run.end("later", ok(json!(2)));
    assert_eq!(run.state("later"), StepState::Succeeded);
}

#[test]
fn stop_cancels_what_has_not_started_and_if_asked_what_runs() {
    for rule in [OnFailure::Continue, OnFailure::Stop, OnFailure::StopRunning] {
        let spec = WorkflowSpec::of([
            step("bad"),
            step("started"),
            step("handed"),
            step("below").after("bad"),
            step("deep").after("below"),
            step("later").after("started"),
        ]);
        let mut run = Run::of(WorkflowSpec { on_failure: rule, ..spec });
        run.start("started");
        run.end("bad", failed("no"));
        assert_eq!(run.error("below"), "not run because a dependency failed: bad (failed)");
        assert_eq!(run.error("deep"), "not run because a dependency failed: bad (failed)");
        let (told, later): (&[&str], _) = match rule {
            OnFailure::Continue => (&[], StepState::Waiting),
            OnFailure::Stop => (&["handed"], StepState::Cancelled),
            OnFailure::StopRunning => (&["started", "handed"], StepState::Cancelled),
        };
        assert!(run.told_to_end.iter().eq(told), "{:?}", run.told_to_end);
        assert_eq!(run.state("later"), later);
        if rule == OnFailure::StopRunning {
            run.end("started", cancelled());
            run.end("handed", ok(json!("was faster")));
            assert_eq!(run.error("started"), "cancelled because the workflow stops at a failure: bad (failed)");
            assert_eq!(run.record().state, WorkflowState::Failed);
        }
    }
}

#[test]
fn a_cancelled_workflow_ends_when_what_ran_has_ended() {
    let mut run = Run::of(WorkflowSpec::of([step("a"), step("b").after("a")]));
    run.start("a");
    run.graph.cancel(Tick(5));
    run.graph.cancel(Tick(6));
    run.act();
    assert_eq!((run.told_to_end.as_slice(), run.state("b")), (&["a".to_owned()][..], StepState::Cancelled));
    assert_eq!(run.record().state, WorkflowState::Running);
    run.end("a", cancelled());
    assert_eq!(run.record().state, WorkflowState::Cancelled);
    assert_eq!(run.error("a"), "the workflow was cancelled");
}

#[test]
fn a_dependency_that_is_cancelled_while_others_wait_fails_them_at_once() {
    let mut run = Run::of(WorkflowSpec::of([step("a"), step("b"), step("c").after("a").after("b")]));
    run.end("a", cancelled());
    assert_eq!((run.state("c"), run.names()), (StepState::DependencyFailed, vec!["b"]));
}

#[test]
fn l3_what_comes_late_or_twice_changes_nothing() {
    let mut run = Run::of(WorkflowSpec::builder("").chain(["a", "b"].map(step)).build());
    let key = run.running[0].1;
    run.end("a", ok(json!(1)));
    let before = run.record();
    run.graph.ended(key, failed("late").into(), Tick(9));
    run.graph.started(key, Tick(9));
    run.graph.ended(StepKey::whole(77), failed("who").into(), Tick(9));
    run.graph.ended(StepKey { step: 1, instance: Some(0) }, failed("no instance").into(), Tick(9));
    run.act();
    assert_eq!(run.record(), before);
}

#[test]
fn a_dependency_outside_the_workflow_counts_whether_it_runs_or_has_ended() {
    let (done, live, bad) = (TaskId::generate(), TaskId::generate(), TaskId::generate());
    let known = |id| match id {
        id if id == done => StepStatus::Ended(ok(json!("old")).into()),
        id if id == bad => StepStatus::Ended(failed("old").into()),
        id if id == live => StepStatus::Live,
        _ => StepStatus::Unknown,
    };
    let spec = WorkflowSpec::of([
        step("a").after(done),
        step("b").after(live).after(done),
        step("c").after(bad),
        step("d").after(bad).run_if(RunIf::AllDone),
    ]);
    let mut run = Run::beside(spec, &EngineView { status: &known, capacity: &NO_LIMIT });
    assert_eq!(run.names(), ["a", "d"]);
    assert_eq!(run.params("a")["upstream_results"][done.to_string()], "old");
    assert_eq!(run.error("c"), format!("not run because a dependency failed: {bad} (failed)"));
    assert_eq!(run.graph.externals().collect::<Vec<_>>(), [live]);
    run.graph.external_ended(live, ok(json!("new")).into(), Tick(1));
    run.graph.external_ended(live, failed("late").into(), Tick(1));
    run.act();
    assert_eq!(run.params("b")["upstream_results"], json!({live.to_string(): "new", done.to_string(): "old"}));
    assert_eq!(run.record().steps.len(), 4);
}

fn mapped(enough: Enough, max_parallel: Option<u32>) -> WorkflowSpec {
    let map = MapOver { max_parallel, enough, name: "row".into(), ..MapOver::new(reference("split", "rows")) };
    let spec = WorkflowSpec::of([
        step("split"),
        step("extra"),
        step("each").after("extra").map_over(map),
        step("sum").after("each"),
    ]);
    let mut spec = WorkflowSpec { upstream: UpstreamKeys::Names, ..spec };
    spec.bounds.elements = 1000;
    spec
}

fn split(run: &mut Run, rows: &Value) {
    run.end("extra", ok(json!("x")));
    run.end("split", ok(json!({"rows": rows})));
}

#[test]
fn a_mapped_step_runs_once_per_element_and_gives_the_results_in_order() {
    let mut run = Run::of(mapped(Enough::All, Some(2)));
    split(&mut run, &json!(["a", {"b": 1}, 3, 4]));
    assert_eq!(run.names(), ["each[0]", "each[1]"]);
    let expected = json!({"upstream_results": {"extra": "x"}, "row": {"b": 1}, "row_index": 1});
    assert_eq!(run.params("each[1]"), &expected);
    run.end("each[1]", ok(json!("second")));
    assert_eq!(run.names(), ["each[0]", "each[2]"]);
    run.end("each[2]", ok(json!("third")));
    run.end("each[3]", ok(json!("fourth")));
    run.end("each[0]", ok(json!("first")));
    let results = json!(["first", "second", "third", "fourth"]);
    assert_eq!(run.params("sum")["upstream_results"], json!({"each": results}));
    let instances = run.of_step("each").instances.expect("mapped");
    assert_eq!((instances.total, instances.succeeded, instances.failed), (4, 4, 0));
}

#[test]
fn how_many_instances_must_succeed_is_the_steps_own_rule() {
    // The rule, the ends of three instances, and whether the step succeeds.
    for (enough, ends, succeeds) in [
        (Enough::All, "+++", true),
        (Enough::Any, "-+-", true),
        (Enough::Any, "---", false),
        (Enough::AtLeast(2), "+-+", true),
        (Enough::AtLeast(2), "-+-", false),
        (Enough::AtLeast(4), "", false),
        (Enough::All, "-", false),
    ] {
        let mut run = Run::of(mapped(enough, None));
        split(&mut run, &json!([1, 2, 3]));
        for (index, end) in ends.chars().enumerate() {
            let outcome = if end == '+' { ok(json!(index)) } else { failed("no") };
            run.end(&format!("each[{index}]"), outcome);
        }
        if ends == "-" {
            assert_eq!(run.told_to_end, ["each[1]", "each[2]"]);
            run.end("each[1]", cancelled());
            run.end("each[2]", cancelled());
        }
        let expected = if succeeds { StepState::Succeeded } else { StepState::Failed };
        assert_eq!(run.state("each"), expected, "{enough:?} {ends}");
        if ends == "+-+" {
            assert_eq!(run.params("sum")["upstream_results"]["each"], json!([0, null, 2]));
        }
        if ends == "-+-" && !succeeds {
            let words = "1 of 3 instances succeeded, but 2 must succeed; the first failure is 0 (exception: no)";
            assert_eq!(run.error("each"), words);
        }
    }
}

#[test]
fn an_empty_list_is_enough_for_all_and_not_for_any() {
    for (enough, state) in [(Enough::All, StepState::Succeeded), (Enough::Any, StepState::Failed)] {
        let mut run = Run::of(mapped(enough, None));
        split(&mut run, &json!([]));
        assert_eq!(run.state("each"), state);
    }
}

#[test]
fn a_list_that_is_none_or_too_long_fails_the_step_before_anything_of_it_runs() {
    for (rows, error) in [
        (json!(5), "map_over needs a list, but split.rows is the number 5"),
        (json!({"a": 1}), "map_over needs a list, but split.rows is an object with a"),
        (
            json!(vec![0; 1_000_000]),
            "map_over takes lists of up to 1000 elements, but split.rows has 1000000: map over larger pieces, or raise \
             `limits.elements` of the workflow (`WorkflowBounds::elements` in Rust)",
        ),
    ] {
        let mut run = Run::of(mapped(Enough::All, None));
        split(&mut run, &rows);
        assert_eq!((run.error("each").as_str(), run.running.len()), (error, 0));
        assert_eq!(run.state("sum"), StepState::DependencyFailed);
    }
}

#[test]
fn a_mapped_step_ends_with_its_workflow() {
    let mut run = Run::of(mapped(Enough::Any, Some(2)));
    split(&mut run, &json!([1, 2, 3, 4]));
    run.start("each[0]");
    run.graph.cancel(Tick(1));
    run.act();
    assert_eq!(run.told_to_end, ["each[0]", "each[1]"]);
    run.end("each[0]", cancelled());
    run.end("each[1]", cancelled());
    assert_eq!((run.state("each"), run.record().state), (StepState::Cancelled, WorkflowState::Cancelled));
}

#[test]
fn instances_have_ids_of_their_own_that_are_always_the_same() {
    let step = TaskId::generate();
    let mut ids: Vec<TaskId> = (0..10_000).map(|index| step.instance(index)).collect();
    assert_eq!(step.instance(7), ids[7]);
    assert!(ids.iter().all(|id| id.0.get_version_num() == 7 && id.0.get_variant() == uuid::Variant::RFC4122));
    ids.push(step);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10_001);
}

#[test]
fn a_dynamic_step_adds_steps_below_itself() {
    let mut run = Run::of(WorkflowSpec::of([step("plan").dynamic(), step("other")]));
    let key = run.running[0].1;
    let new = vec![step("x"), step("y").after("x").after("other")];
    run.graph.add_below(key, new, &outside(), Tick(1)).expect("sound");
    run.act();
    assert_eq!(run.names(), ["plan", "other"], "they wait for it");
    run.end("plan", ok(json!({"n": 1})));
    assert_eq!(run.params("x")["upstream_results"], json!({}), "it does not name it");
    run.end("x", ok(json!(2)));
    run.end("other", ok(json!(3)));
    assert_eq!(run.params("y")["upstream_results"]["other"], 3);
    run.end("y", ok(json!(4)));
    assert_eq!((run.record().steps.len(), run.record().state), (4, WorkflowState::Succeeded));
}

#[test]
fn an_added_step_gets_the_result_of_the_one_that_added_it_only_if_it_names_it() {
    let spec = WorkflowSpec::of([step("plan").dynamic().forget_result()]);
    let mut run = Run::of(WorkflowSpec { upstream: UpstreamKeys::Names, ..spec });
    let (key, id) = (run.running[0].1, run.of_step("plan").task);
    let new = vec![
        step("by name").after("plan"),
        step("by id").after(id),
        step("by reference").params(Template::from_json(&json!({"n": {"$ref": "plan", "path": "n"}})).expect("sound")),
        step("by condition").when(Condition::truthy(reference("plan", "n"))),
        step("not"),
        step("each").map_over(MapOver::new(reference("plan", "list"))),
    ];
    run.graph.add_below(key, new, &outside(), Tick(1)).expect("sound");
    run.end("plan", ok(json!({"n": 1, "list": [7]})));
    for name in ["by name", "by id", "by reference", "by condition"] {
        assert_eq!(run.params(name)["upstream_results"]["plan"]["n"], 1, "{name}");
    }
    assert_eq!(run.params("by reference")["n"], 1);
    assert_eq!(run.params("not")["upstream_results"], json!({}));
    assert_eq!((&run.params("each[0]")["upstream_results"], &run.params("each[0]")["item"]), (&json!({}), &json!(7)));
    run.end("each[0]", ok(json!(8)));
    assert!(run.of_step("plan").data_dropped, "those that named it have it, and the other one holds nothing");
}

/// The result of the dynamic step names all of the new steps, so each would carry it.
#[test]
fn l9_what_added_steps_carry_grows_with_their_number_and_not_with_its_square() {
    let carried = |count: usize| {
        let mut run = Run::of(WorkflowSpec::of([step("plan").dynamic()]));
        let key = run.running[0].1;
        let names: Vec<String> = (0..count).map(|at| format!("added {at}")).collect();
        run.graph.add_below(key, names.iter().map(|name| step(name)).collect(), &outside(), Tick(1)).expect("sound");
        run.end("plan", ok(json!({"steps": names})));
        names.iter().map(|name| run.params(name).to_string().len()).sum::<usize>()
    };
    assert_eq!(carried(400), 10 * carried(40));
}

#[test]
fn steps_that_cannot_be_added_fail_the_one_that_returned_them_and_leave_nothing() {
    let spec = WorkflowSpec::of([step("plan").dynamic(), step("plain"), step("after").after("plan")]);
    let mut run = Run::of(WorkflowSpec { bounds: WorkflowBounds { added: 2, ..WorkflowBounds::default() }, ..spec });
    let key = run.running[0].1;
    for steps in [
        vec![step("x").after("nobody")],
        vec![step("plan")],
        vec![step("x").after("y"), step("y").after("x")],
        vec![step("x"), step("y"), step("z")],
    ] {
        run.graph.add_below(key, steps, &outside(), Tick(1)).expect_err("unsound");
    }
    let ended = Ended::from(ok(json!(1)));
    run.graph.not_added(key, vec!["x waits for nobody".to_owned()], &ended, Tick(2));
    run.running.pop_front();
    run.act();
    assert_eq!(run.error("plan"), "the steps it returned cannot be added: x waits for nobody");
    assert_eq!((run.record().steps.len(), run.state("after")), (3, StepState::DependencyFailed));
    let plain = run.running[0].1;
    run.graph.add_below(plain, vec![step("x")], &outside(), Tick(1)).expect("ignored");
    assert_eq!(run.record().steps.len(), 3);
}

#[test]
fn c2_1_a_linear_flow_keeps_its_order() {
    let names: Vec<String> = (0..200).map(|n| format!("s{n}")).collect();
    let mut run = Run::of(WorkflowSpec::builder("").chain(names.iter().map(|name| step(name))).build());
    for name in &names {
        assert_eq!(run.names(), [name]);
        run.end(name, ok(json!(null)));
    }
}

#[test]
fn l12_dependents_start_in_the_order_of_the_list() {
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    let mut run =
        Run::of(WorkflowSpec::builder("").step(step("a")).then().group(names.iter().map(|it| step(it))).build());
    run.end("a", ok(json!(1)));
    assert_eq!(run.names(), names);
}

#[test]
fn steps_in_a_row_that_run_the_same_hold_one_copy_of_its_name() {
    let other = Step::new("other", Task::script("/other.py"));
    let steps = [step("one"), step("two"), other.after("two"), step("three")];
    let record = Run::of(WorkflowSpec::of(steps)).record();
    let path = |at: usize| match &record.steps[at].work {
        WorkName::Script(path) => path.as_bytes(),
        WorkName::Function(_) => panic!("a script"),
    };
    assert_eq!(path(0).as_ptr(), path(1).as_ptr());
    assert_eq!([path(0), path(2), path(3)], [b"/work.py".as_slice(), b"/other.py", b"/work.py"]);
}
