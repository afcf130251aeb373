//! Steps that wait for steps of other workflows.

use super::*;
use crate::model::workflow::WorkflowRecord;

fn id_of(spec: &WorkflowSpec, at: usize) -> TaskId {
    spec.steps[at].task().id()
}

fn failure() -> Ended {
    Outcome::Failed(Box::new(TaskError::new(ErrorKind::Exception, "no"))).into()
}

/// An engine that runs every submitted step until the test ends it.
struct Engine {
    workflows: Workflows,
    kept: RetainedWorkflows,
    running: Vec<(StepRef, TaskId, Vec<u8>)>,
    /// The ends of the steps that had a subscriber.
    told: Vec<(TaskId, StepOutcome)>,
    records: FxHashMap<WorkflowId, Arc<WorkflowRecord>>,
}

impl Engine {
    fn new() -> Self {
        let keep = RetentionPolicy { count: 100, bytes: 1 << 30, each: 0, age: None };
        Self {
            workflows: Workflows::new(room()),
            kept: RetainedWorkflows::new(keep),
            running: Vec::new(),
            told: Vec::new(),
            records: FxHashMap::default(),
        }
    }

    fn try_submit(&mut self, spec: WorkflowSpec) -> Result<WorkflowId, Vec<GraphError>> {
        let (id, mut known) = (WorkflowId::generate(), named(&spec));
        self.kept.look_up(&mut known, Tick(0));
        self.workflows.submit(id, spec, known, Tick(0))?;
        self.act();
        Ok(id)
    }

    fn submit(&mut self, spec: WorkflowSpec) -> WorkflowId {
        self.try_submit(spec).expect("sound")
    }

    fn act(&mut self) {
        loop {
            let actions = self.workflows.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    WorkflowAction::Submit(step) => {
                        let (task, params) = self.workflows.hand_over(step).expect("it has not ended");
                        self.running.push((step, task.id(), params.into_bytes().to_vec()));
                    }
                    WorkflowAction::Cancel { step, .. } => {
                        self.running.retain(|running| running.0 != step);
                        self.workflows.ended(step, cancelled().into(), Tick(1));
                    }
                    WorkflowAction::Ended { task, outcome, .. } => self.told.push((task, *outcome)),
                    WorkflowAction::Finished(id) => {
                        let graph = self.workflows.take(id).expect("L1: it ends once");
                        let span = graph.span();
                        let record = Arc::new(graph.into_record(Timestamp::UNIX_EPOCH));
                        self.kept.push(record.clone(), span, Tick(1));
                        self.records.insert(id, record);
                    }
                }
            }
        }
    }

    fn end(&mut self, task: TaskId, ended: Ended) {
        let at = self.running.iter().position(|running| running.1 == task).expect("it runs");
        let (step, ..) = self.running.remove(at);
        self.workflows.ended(step, ended, Tick(1));
        self.act();
    }

    fn runs(&self, task: TaskId) -> bool {
        self.running.iter().any(|running| running.1 == task)
    }

    fn params(&self, task: TaskId) -> serde_json::Value {
        let found = self.running.iter().find(|running| running.1 == task).expect("it runs");
        serde_json::from_slice(&found.2).expect("JSON")
    }

    fn states(&self, id: WorkflowId) -> Vec<&'static str> {
        self.records[&id].steps.iter().map(|step| step.state.name()).collect()
    }
}

fn waits_for(task: TaskId) -> WorkflowSpec {
    WorkflowSpec::of([step("waits").after(task)])
}

#[test]
fn a_step_that_still_waits_in_another_workflow_counts_and_its_result_is_handed_on() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([step("a"), step("b").after("a").forget_result()]);
    let (a, b) = (id_of(&first, 0), id_of(&first, 1));
    let first = engine.submit(first);
    let second = waits_for(b);
    let waiting = id_of(&second, 0);
    let second = engine.submit(second);
    engine.end(a, success());
    assert!(!engine.runs(waiting));
    engine.end(b, Outcome::Succeeded(Json("7".into()).into()).into());
    // The other workflow has ended, and did not keep the result for its own record.
    assert_eq!((engine.states(first), engine.workflows.len()), (vec!["succeeded"; 2], 1));
    assert_eq!(engine.params(waiting)["upstream_results"][b.to_string()], 7);
    engine.end(waiting, success());
    assert_eq!(engine.states(second), ["succeeded"]);
    assert!(engine.workflows.is_empty() && engine.workflows.subscriptions.is_empty());
}

#[test]
fn a_step_that_never_runs_ends_what_waits_for_it_in_other_workflows() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([
        step("a"),
        step("skipped").when(Condition::test(Reference::to("a"), Op::Eq, 2)),
        step("breaks").after("a"),
        step("below").after("breaks"),
    ]);
    let [a, skipped, breaks, below] = [0, 1, 2, 3].map(|at| id_of(&first, at));
    engine.submit(first);
    let second = engine.submit(waits_for(skipped));
    let third = engine.submit(waits_for(below));
    let fourth = WorkflowSpec::of([step("alarm").after(below).run_if(RunIf::AnyFailed)]);
    let alarm = id_of(&fourth, 0);
    engine.submit(fourth);
    engine.end(a, success());
    assert_eq!(engine.states(second), ["skipped"]);
    engine.end(breaks, failure());
    assert_eq!(engine.states(third), ["dependency_failed"]);
    let error = engine.records[&third].steps[0].error.as_ref().expect("a reason").to_string();
    assert_eq!(error, "not run because a dependency failed: breaks (failed)");
    assert!(engine.params(alarm)["upstream_errors"][below.to_string()]["message"].as_str().is_some());
    // The same holds when its workflow has ended.
    let late = engine.submit(waits_for(skipped));
    assert_eq!(engine.states(late), ["skipped"]);
    let late = engine.submit(waits_for(below));
    assert_eq!(engine.states(late), ["dependency_failed"]);
}

#[test]
fn a_workflow_that_is_cancelled_or_stops_ends_what_waits_for_its_steps() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([step("a"), step("b").after("a")]);
    let (a, b) = (id_of(&first, 0), id_of(&first, 1));
    let first = engine.submit(first);
    let (on_a, on_b) = (engine.submit(waits_for(a)), engine.submit(waits_for(b)));
    let row = {
        let link = waits_for(b);
        let last = id_of(&link, 0);
        engine.submit(link);
        engine.submit(waits_for(last))
    };
    assert!(engine.workflows.cancel(first, Tick(1)));
    engine.act();
    for id in [on_a, on_b, row] {
        assert_eq!(engine.states(id), ["dependency_failed"]);
    }
    assert!(engine.workflows.is_empty() && engine.workflows.subscriptions.is_empty());

    let stops = WorkflowSpec {
        on_failure: OnFailure::Stop,
        ..WorkflowSpec::of([step("breaks"), step("slow"), step("never").after("slow")])
    };
    let [breaks, slow, never] = [0, 1, 2].map(|at| id_of(&stops, at));
    engine.submit(stops);
    engine.running.retain(|running| running.1 != slow);
    let waiting = engine.submit(waits_for(never));
    engine.end(breaks, failure());
    assert_eq!(engine.states(waiting), ["dependency_failed"]);
}

#[test]
fn a_mapped_step_and_one_that_was_added_count_too() {
    let mut engine = Engine::new();
    let map = step("each").map_over(MapOver::new(Reference::to("list")));
    let first = WorkflowSpec::of([step("list"), map, step("adds").dynamic()]);
    let [list, each, adds] = [0, 1, 2].map(|at| id_of(&first, at));
    engine.submit(first);
    let second = waits_for(each);
    let waiting = id_of(&second, 0);
    engine.submit(second);
    engine.end(list, Outcome::Succeeded(Json("[1,2]".into()).into()).into());
    for index in [0, 1] {
        assert!(!engine.runs(waiting));
        engine.end(each.instance(index), success());
    }
    assert_eq!(engine.params(waiting)["upstream_results"][each.to_string()], serde_json::json!([1, 1]));

    let added = step("added");
    let task = added.task().id();
    let key = engine.running.iter().find(|running| running.1 == adds).expect("it runs").0;
    assert!(engine.try_submit(waits_for(task)).is_err(), "it is not there yet");
    engine.running.retain(|running| running.1 != adds);
    engine.workflows.ended_with(key, success(), Ok(vec![added]), &|_| StepStatus::Unknown, Tick(1));
    engine.act();
    let third = waits_for(task);
    let waiting = id_of(&third, 0);
    engine.submit(third);
    engine.end(task, success());
    assert!(engine.runs(waiting));
}

#[test]
fn what_is_not_there_any_more_or_is_there_already_is_refused() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([step("a").forget_result(), step("b").after("a")]);
    let (a, same) = (id_of(&first, 0), first.steps[1].task().clone());
    engine.submit(first);
    engine.end(a, success());
    let refused = engine.try_submit(waits_for(a)).expect_err("its result is gone");
    assert!(matches!(refused[..], [GraphError::UnknownTask { missing, .. }] if missing == a), "{refused:?}");
    let refused = engine.try_submit(WorkflowSpec::of([Step::new("again", same)])).expect_err("it waits already");
    assert!(matches!(refused[..], [GraphError::DuplicateTask { .. }]), "{refused:?}");
}

#[test]
fn what_waits_for_a_step_is_told_how_the_step_ended_and_not_how_its_task_did() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([step("grows").dynamic()]);
    let grows = id_of(&first, 0);
    engine.submit(first);
    // Other workflows know that its task has succeeded.
    let follow = |engine: &mut Engine| {
        let (id, spec) = (WorkflowId::generate(), waits_for(grows));
        let mut known = FxHashMap::from_iter([(grows, StepStatus::Ended(success().outcome.into()))]);
        engine.kept.look_up(&mut known, Tick(0));
        engine.workflows.submit(id, spec, known, Tick(0)).expect("sound");
        engine.act();
        id
    };
    let during = follow(&mut engine);
    let key = engine.running.iter().find(|running| running.1 == grows).expect("it runs").0;
    engine.running.retain(|running| running.1 != grows);
    let cannot_be_added = Err(vec!["no".to_owned()]);
    engine.workflows.ended_with(key, success(), cannot_be_added, &|_| StepStatus::Unknown, Tick(1));
    engine.act();
    let after = follow(&mut engine);
    for id in [during, after] {
        assert_eq!(engine.states(id), ["dependency_failed"]);
    }
}

#[test]
fn one_step_can_be_cancelled_wherever_it_stands() {
    let mut engine = Engine::new();
    let first = WorkflowSpec::of([
        step("a"),
        step("waits").after("a"),
        step("below").after("waits"),
        step("list"),
        step("each").map_over(MapOver::new(Reference::to("list"))),
    ]);
    let [a, waits, _, list, each] = [0, 1, 2, 3, 4].map(|at| id_of(&first, at));
    let first = engine.submit(first);
    let cancel = |engine: &mut Engine, task: TaskId| {
        let step = engine.workflows.step_of(task).expect("in flight");
        engine.workflows.subscribe(step);
        let answer = engine.workflows.cancel_step(step, Tick(1));
        engine.act();
        answer
    };
    assert_eq!(cancel(&mut engine, waits), CancelAnswer::Removed);
    assert_eq!(cancel(&mut engine, waits), CancelAnswer::AlreadyFinished("cancelled"));
    engine.end(list, Outcome::Succeeded(Json("[1,2,3]".into()).into()).into());
    engine.end(each.instance(1), success());
    assert_eq!(cancel(&mut engine, each), CancelAnswer::Requested);
    engine.end(a, success());
    let expected = ["succeeded", "cancelled", "dependency_failed", "succeeded", "cancelled"];
    assert_eq!(engine.states(first), expected);
    let told: Vec<(TaskId, StepState)> = engine.told.iter().map(|(task, end)| (*task, end.state)).collect();
    assert_eq!(told, [waits, each].map(|task| (task, StepState::Cancelled)));
    let (record, at) = engine.kept.step(waits, Tick(2)).expect("kept");
    let record = record.clone().into_task_record(at).expect("an outcome");
    assert_eq!((record.id, record.outcome.name(), record.attempt), (waits, "cancelled", None));

    // The workflow has a gate of its own.
    let capacity = Capacity { processes: Some(1), ..Capacity::default() };
    let gated = WorkflowSpec { capacity, ..WorkflowSpec::of(["runs", "at_the_gate", "next"].map(step)) };
    let [runs, gate, next] = [0, 1, 2].map(|at| id_of(&gated, at));
    let gated = engine.submit(gated);
    assert_eq!(cancel(&mut engine, gate), CancelAnswer::Removed);
    assert_eq!(cancel(&mut engine, runs), CancelAnswer::Requested);
    engine.end(next, success());
    assert_eq!(engine.states(gated), ["cancelled", "cancelled", "succeeded"]);
}

/// What a rule decides about a step with these ends of its dependencies; `None` if it runs.
fn follows(rule: RunIf, ends: &[StepState]) -> Option<StepState> {
    let failed = ends.iter().any(|end| end.is_failure());
    let fails = if failed { StepState::DependencyFailed } else { StepState::Skipped };
    match rule {
        RunIf::AllSucceeded => ends.iter().any(|end| *end != StepState::Succeeded).then_some(fails),
        RunIf::AnySucceeded if ends.is_empty() => None,
        RunIf::AnySucceeded => (!ends.contains(&StepState::Succeeded)).then_some(fails),
        RunIf::AnyFailed => (!failed).then_some(StepState::Skipped),
        RunIf::AllDone => None,
    }
}

#[derive(Clone, Debug)]
struct Linked {
    deps: Vec<u16>,
    rule: RunIf,
    /// It has no dependency with a result, so its condition never holds.
    skipped: bool,
    /// Its end, if it runs.
    end: StepState,
}

fn ended_as(state: StepState) -> Ended {
    let error = |kind| Box::new(TaskError::new(kind, "no"));
    match state {
        StepState::Expired => Ended::without_attempt(Outcome::Expired(error(ErrorKind::Expired))),
        StepState::Failed => failure(),
        _ => success(),
    }
}

fn made() -> impl Strategy<Value = Vec<Vec<Linked>>> {
    let rule = prop_oneof![
        4 => Just(RunIf::AllSucceeded),
        1 => Just(RunIf::AnySucceeded),
        1 => Just(RunIf::AllDone),
        1 => Just(RunIf::AnyFailed)
    ];
    let one = (proptest::collection::vec(any::<u16>(), 0..4), rule, 0..8u8, 0..8u8);
    let one = one.prop_map(|(deps, rule, skipped, fails)| Linked {
        rule: if deps.is_empty() { RunIf::AllSucceeded } else { rule },
        deps,
        skipped: skipped == 0,
        end: [StepState::Failed, StepState::Expired].get(usize::from(fails)).copied().unwrap_or(StepState::Succeeded),
    });
    proptest::collection::vec(proptest::collection::vec(one, 1..6), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Workflows whose steps wait for any earlier steps, of any workflow, waiting, running, ended or gone. They are
    /// submitted, ended and cancelled at random, whole or step by step. Every one ends (L1). No step starts before its
    /// dependencies have ended, and each step ends as its rule says.
    #[test]
    fn l1_steps_that_wait_for_other_workflows_end_as_their_rules_say(
        flows_of in made(), choices in proptest::collection::vec((any::<u16>(), 0..12u8), 300)
    ) {
        let mut engine = Engine::new();
        let mut all: Vec<(TaskId, WorkflowId, Linked, Vec<TaskId>)> = Vec::new();
        let (mut submitted, mut cancelled_flows, mut cancelled_steps) = (Vec::new(), Vec::new(), FxHashSet::default());
        let mut left = flows_of.into_iter();
        let mut choices = choices.into_iter().cycle();
        loop {
            let (pick, what) = choices.next().unwrap_or_default();
            let pick = usize::from(pick);
            if what < 3 && let Some(steps) = left.next() {
                let mut spec = WorkflowSpec::default();
                let first = all.len();
                for (at, made) in steps.into_iter().enumerate() {
                    let mut next = step(&format!("s{at}"));
                    if made.skipped {
                        // It waits through a step of its own that exists only for this.
                        next = next.when(Condition::Not(Box::new(Condition::All(Vec::new()))));
                    }
                    let mut deps: Vec<TaskId> =
                        made.deps.iter().filter(|_| !all.is_empty()).map(|dep| all[usize::from(*dep) % all.len()].0).collect();
                    deps.sort_unstable();
                    deps.dedup();
                    if deps.is_empty() && made.rule == RunIf::AnyFailed {
                        continue;
                    }
                    next = deps.iter().fold(next.run_if(made.rule), |step, dep| step.after(*dep));
                    all.push((next.task().id(), WorkflowId::generate(), made, deps));
                    spec.steps.push(next);
                }
                if !spec.steps.is_empty() {
                    let id = engine.submit(spec);
                    all[first..].iter_mut().for_each(|step| step.1 = id);
                    submitted.push(id);
                }
            } else if what == 3 && !submitted.is_empty() {
                let id = submitted[pick % submitted.len()];
                if engine.workflows.cancel(id, Tick(1)) {
                    cancelled_flows.push(id);
                }
                engine.act();
            } else if what == 4 && !all.is_empty() {
                let task = all[pick % all.len()].0;
                if let Some(step) = engine.workflows.step_of(task) {
                    let answer = engine.workflows.cancel_step(step, Tick(1));
                    engine.act();
                    if matches!(answer, CancelAnswer::Removed | CancelAnswer::Requested) {
                        cancelled_steps.insert(task);
                    }
                }
            } else if let Some((_, task, _)) = engine.running.get(pick % engine.running.len().max(1)).cloned() {
                let (.., made, deps) = all.iter().find(|step| step.0 == task).expect("one of ours");
                for dep in deps {
                    prop_assert!(!engine.runs(*dep), "it runs beside what it waits for");
                }
                let ended = ended_as(made.end);
                engine.end(task, ended);
            } else if left.len() == 0 {
                break;
            }
        }
        prop_assert!(engine.workflows.is_empty(), "L1: {} have not ended", engine.workflows.len());
        prop_assert!(engine.workflows.subscriptions.is_empty() && engine.workflows.external_ends.is_empty());
        let states: FxHashMap<TaskId, StepState> =
            engine.records.values().flat_map(|record| &record.steps).map(|step| (step.task, step.state)).collect();
        for (task, id, made, deps) in all {
            let ends: Vec<StepState> = deps.iter().map(|dep| states[dep]).collect();
            let runs = if made.skipped { StepState::Skipped } else { made.end };
            let by_rule = follows(made.rule, &ends).unwrap_or(runs);
            let expected = if cancelled_steps.contains(&task) { StepState::Cancelled } else { by_rule };
            let state = states[&task];
            let allowed = state == expected || (cancelled_flows.contains(&id) && state == StepState::Cancelled);
            prop_assert!(allowed, "{} is {} and its rule says {}, after {:?}", task, state, expected, ends);
        }
    }
}
