//! The graph against a second, much shorter implementation of its rules.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::CancelAnswer;
use crate::model::workflow::{Condition, Enough, MapOver, OnFailure, Op, Reference, UpstreamKeys};

/// A random step.
#[derive(Clone, Debug)]
struct Made {
    deps: Vec<usize>,
    rule: RunIf,
    /// The dependency whose result its condition reads, and the value with which the condition holds.
    when: Option<(usize, bool)>,
    /// How the step ends if it runs.
    end: PlannedEnd,
    /// The step whose result adds it; `None`: it exists from the start.
    added_by: Option<usize>,
    /// Whether its result names an invalid step. Then no step is added, and it fails.
    adds_nonsense: bool,
}

/// How a task ends, without details. The death of a worker is one way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PlannedEnd {
    Succeeds,
    Fails,
    TimesOut,
    /// The task expired before its start.
    Expires,
    /// Its worker keeps dying; the third death exceeds the limit.
    WorkerDies(u8),
}

fn steps() -> impl Strategy<Value = Vec<Made>> {
    let rule = prop_oneof![
        4 => Just(RunIf::AllSucceeded),
        1 => Just(RunIf::AnySucceeded),
        1 => Just(RunIf::AllDone),
        1 => Just(RunIf::AnyFailed)
    ];
    let end = prop_oneof![
        6 => Just(PlannedEnd::Succeeds),
        1 => Just(PlannedEnd::Fails),
        1 => Just(PlannedEnd::TimesOut),
        1 => Just(PlannedEnd::Expires),
        2 => (1..4u8).prop_map(PlannedEnd::WorkerDies)
    ];
    let one = (proptest::collection::vec(any::<u16>(), 0..4), rule, any::<Option<bool>>(), end, 0..12u8);
    let first = proptest::collection::vec(one.clone(), 1..24);
    let added = proptest::collection::vec((any::<u16>(), one), 0..12);
    (first, added).prop_map(|(first, added)| {
        let mut steps: Vec<Made> = Vec::new();
        for raw in first {
            let made = make(&steps, None, raw);
            steps.push(made);
        }
        for (owner, raw) in added {
            // Any step may add steps, including added ones.
            let made = make(&steps, Some(usize::from(owner) % steps.len()), raw);
            steps.push(made);
        }
        steps
    })
}

type StepDraw = (Vec<u16>, RunIf, Option<bool>, PlannedEnd, u8);

fn make(before: &[Made], added_by: Option<usize>, (deps, rule, when, end, nonsense): StepDraw) -> Made {
    let known: Vec<usize> = (0..before.len()).filter(|at| is_there(before, *at, added_by)).collect();
    let picked = deps.iter().filter(|_| !known.is_empty()).map(|it| known[usize::from(*it) % known.len().max(1)]);
    let mut deps: Vec<usize> = picked.filter(|dep| Some(*dep) != added_by).collect();
    deps.sort_unstable();
    deps.dedup();
    let when = when.and_then(|holds| deps.first().map(|dep| (*dep, holds)));
    let rule = if deps.is_empty() && added_by.is_none() { RunIf::AllSucceeded } else { rule };
    Made { deps, rule, when, end, added_by, adds_nonsense: nonsense == 0 }
}

/// Whether a step certainly exists when the steps of this owner are added: it exists from the start, or was added with
/// them or with their owner.
fn is_there(steps: &[Made], at: usize, mut owner: Option<usize>) -> bool {
    loop {
        match owner {
            _ if steps[at].added_by == owner => return true,
            Some(above) => owner = steps[above].added_by,
            None => return false,
        }
    }
}

/// The steps that this step adds.
fn added_below(steps: &[Made], owner: usize) -> Vec<usize> {
    (0..steps.len()).filter(|at| steps[*at].added_by == Some(owner)).collect()
}

fn is_dynamic(steps: &[Made], at: usize) -> bool {
    steps[at].adds_nonsense || !added_below(steps, at).is_empty()
}

/// The end of each step, computed from the rules in the order of the list, without events; `None` for a step that is
/// never added. Some steps were cancelled before their start.
fn interpret(steps: &[Made], cancelled: &[bool]) -> Vec<Option<StepState>> {
    let mut states: Vec<Option<StepState>> = Vec::new();
    for (step, cancelled) in steps.iter().zip(cancelled) {
        if step.added_by.is_some_and(|owner| states[owner] != Some(StepState::Succeeded)) {
            states.push(None);
            continue;
        }
        if *cancelled {
            states.push(Some(StepState::Cancelled));
            continue;
        }
        let ends: Vec<StepState> = step.deps.iter().chain(&step.added_by).filter_map(|dep| states[*dep]).collect();
        let any = |state: StepState| ends.contains(&state);
        let failed = ends.iter().any(|it| !matches!(it, StepState::Succeeded | StepState::Skipped));
        let fails = if failed { StepState::DependencyFailed } else { StepState::Skipped };
        let stays = match step.rule {
            RunIf::AllSucceeded => ends.iter().any(|it| *it != StepState::Succeeded).then_some(fails),
            RunIf::AnySucceeded => (!any(StepState::Succeeded)).then_some(fails),
            RunIf::AnyFailed => (!failed).then_some(StepState::Skipped),
            RunIf::AllDone => None,
        };
        let asked = step.when.map(|(dep, holds)| (states[dep] == Some(StepState::Succeeded), holds));
        states.push(Some(match (stays, asked, step.end) {
            (Some(state), ..) => state,
            (None, Some((false, _)), _) => StepState::Failed,
            (None, Some((true, false)), _) => StepState::Skipped,
            (_, _, PlannedEnd::Succeeds | PlannedEnd::WorkerDies(..3)) if step.adds_nonsense => StepState::Failed,
            (_, _, PlannedEnd::Succeeds | PlannedEnd::WorkerDies(..3)) => StepState::Succeeded,
            (_, _, PlannedEnd::Fails) => StepState::Failed,
            (_, _, PlannedEnd::TimesOut) => StepState::TimedOut,
            (_, _, PlannedEnd::Expires) => StepState::Expired,
            (_, _, PlannedEnd::WorkerDies(_)) => StepState::Lost,
        }));
    }
    states
}

fn name(at: usize) -> String {
    format!("s{at}")
}

fn built(made: &[Made], at: usize) -> Step {
    let start = step(&name(at)).run_if(made[at].rule);
    let start = match made[at].when {
        Some((dep, holds)) => start.when(Condition::test(Reference::to(name(dep)), Op::Eq, i32::from(!holds))),
        None => start,
    };
    let start = if is_dynamic(made, at) { start.dynamic() } else { start };
    made[at].deps.iter().fold(start, |it, dep| it.after(&*name(*dep)))
}

fn spec(made: &[Made], order: &[usize]) -> WorkflowSpec {
    WorkflowSpec::of(order.iter().map(|at| built(made, *at)))
}

/// The steps that exist from the start.
fn first(made: &[Made]) -> Vec<usize> {
    (0..made.len()).filter(|at| made[*at].added_by.is_none()).collect()
}

fn error(kind: ErrorKind) -> Box<TaskError> {
    Box::new(TaskError::new(kind, "no"))
}

/// Advances one running task: it starts, or its worker dies and it starts again, or it ends.
fn go_on(run: &mut Run, made: &[Made], deaths: &mut [u8], choice: usize) -> Result<(), TestCaseError> {
    let choice = choice % run.running.len();
    let (name, key, _) = run.running[choice].clone();
    let at = number(&name);
    if made[at].end != PlannedEnd::Expires {
        run.graph.started(key, run.now);
    }
    if let PlannedEnd::WorkerDies(times) = made[at].end
        && deaths[at] < times.min(2)
    {
        deaths[at] += 1;
        return Ok(());
    }
    let outcome = match made[at].end {
        PlannedEnd::Succeeds | PlannedEnd::WorkerDies(..3) => ok(json!(0)),
        PlannedEnd::Fails => failed("no"),
        PlannedEnd::TimesOut => Outcome::TimedOut(error(ErrorKind::Timeout)),
        PlannedEnd::Expires => Outcome::Expired(error(ErrorKind::Expired)),
        PlannedEnd::WorkerDies(_) => Outcome::Lost(error(ErrorKind::WorkerLost)),
    };
    if outcome.is_success() && is_dynamic(made, at) {
        grow(run, made, at, key);
    } else {
        run.end(&name, outcome);
    }
    // A late event changes nothing (L3).
    run.graph.ended(key, failed("late").into(), run.now);
    prop_assert!(run.graph.add_below(key, vec![step("late")], &outside(), run.now).is_ok());
    run.act();
    Ok(())
}

/// A dynamic step succeeds, and the steps in its result are added, or are invalid.
fn grow(run: &mut Run, made: &[Made], at: usize, key: StepKey) {
    run.now = Tick(run.now.0 + 1_000_000_000);
    run.running.retain(|running| running.1 != key);
    // The order is not the order of their dependencies.
    let mut steps: Vec<Step> = added_below(made, at).into_iter().rev().map(|below| built(made, below)).collect();
    if made[at].adds_nonsense {
        steps.push(step(&name(at)));
    }
    match run.graph.add_below(key, steps, &outside(), run.now) {
        Ok(()) => run.graph.ended(key, ok(json!(0)).into(), run.now),
        Err(problems) => {
            let problems = problems.iter().map(ToString::to_string).collect();
            run.graph.not_added(key, problems, &ok(json!(0)).into(), run.now);
        }
    }
    run.act();
}

fn number(name: &str) -> usize {
    name[1..].parse().expect("a number")
}

/// Cancels one step, if it exists by now, and checks the answer.
fn cancel_one(run: &mut Run, at: usize, cancelled: &mut [bool]) -> Result<(), TestCaseError> {
    let Some(step) = run.graph.step_named(&name(at)) else { return Ok(()) };
    let before = run.graph.state_of(step).expect("a step");
    let asked = run.told_to_end.contains(&name(at));
    let expected = match before {
        StepState::Waiting => CancelAnswer::Removed,
        StepState::Ready | StepState::Running if asked => CancelAnswer::AlreadyRequested,
        StepState::Ready | StepState::Running => CancelAnswer::Requested,
        ended => CancelAnswer::AlreadyFinished(ended.outcome_name()),
    };
    let answer = run.graph.cancel_step(step, run.now);
    run.act();
    cancelled[at] |= answer == CancelAnswer::Removed;
    prop_assert_eq!(answer, expected, "s{} was {}", at, before);
    Ok(())
}

fn states(run: &Run) -> BTreeMap<String, StepState> {
    let named = |step: StepRecord| Some((step.name?.to_string(), step.state));
    run.record().steps.into_iter().filter_map(named).collect()
}

fn check_finished(run: &Run) -> Result<(), TestCaseError> {
    let record = run.record();
    prop_assert!(run.graph.is_finished() && record.finished.is_some());
    prop_assert!(record.steps.iter().all(|step| step.state.is_final()));
    for state in StepState::ALL {
        let counted = record.steps.iter().filter(|step| step.state == state).count();
        prop_assert_eq!(record.counts.of(state), counted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn l1_every_step_ends_once_and_as_the_rules_say_whatever_the_order_of_events(
        made in steps(), shuffle in any::<u64>(), choices in proptest::collection::vec(any::<u16>(), 200)
    ) {
        let mut order = first(&made);
        order.sort_by_key(|at| (*at as u64).wrapping_add(1).wrapping_mul(shuffle | 1));
        let mut run = Run::of(spec(&made, &order));
        let mut deaths = vec![0; made.len()];
        let mut choices = choices.into_iter().cycle();
        while !run.running.is_empty() {
            go_on(&mut run, &made, &mut deaths, usize::from(choices.next().unwrap_or_default()))?;
        }
        check_finished(&run)?;
        let (states, none) = (states(&run), vec![false; made.len()]);
        for (at, state) in interpret(&made, &none).into_iter().enumerate() {
            prop_assert_eq!(states.get(&name(at)).copied(), state, "s{}", at);
        }
        prop_assert_eq!(states.len(), interpret(&made, &none).iter().flatten().count());
        let record = run.record();
        prop_assert_eq!(run.graph.into_record(jiff::Timestamp::UNIX_EPOCH), record);
    }

    /// Single steps are cancelled in any state. A waiting step never runs. A running step is cancelled unless it ends
    /// by itself first. The ends of all dependents follow.
    #[test]
    fn l1_every_step_ends_once_when_single_steps_are_cancelled(
        made in steps(), cancels in proptest::collection::vec((0..30usize, any::<u16>()), 1..8),
        choices in proptest::collection::vec(any::<u16>(), 200)
    ) {
        let mut run = Run::of(spec(&made, &first(&made)));
        let (mut deaths, mut cancelled_by) = (vec![0; made.len()], vec![false; made.len()]);
        let mut choices = choices.into_iter().cycle();
        for round in 0.. {
            for (_, which) in cancels.iter().filter(|(at, _)| *at == round) {
                cancel_one(&mut run, usize::from(*which) % made.len(), &mut cancelled_by)?;
            }
            if run.running.is_empty() {
                break;
            }
            let choice = usize::from(choices.next().unwrap_or_default());
            let chosen = run.running[choice % run.running.len()].0.clone();
            // Some steps end before the cancellation reaches them.
            if run.told_to_end.contains(&chosen) && !choice.is_multiple_of(3) {
                cancelled_by[number(&chosen)] = true;
                run.end(&chosen, cancelled());
            } else {
                go_on(&mut run, &made, &mut deaths, choice)?;
            }
        }
        check_finished(&run)?;
        let (states, expected) = (states(&run), interpret(&made, &cancelled_by));
        for (at, state) in expected.iter().enumerate() {
            prop_assert_eq!(states.get(&name(at)).copied(), *state, "s{}", at);
        }
        prop_assert_eq!(states.len(), expected.iter().flatten().count());
    }

    /// With a rule that stops the workflow, and with a cancellation in the middle: steps that had started end as the
    /// rules say, the others are cancelled or fail, and no step starts afterwards.
    #[test]
    fn l1_every_step_ends_once_when_the_workflow_is_stopped_in_the_middle(
        made in steps(), rule in prop_oneof![Just(OnFailure::Stop), Just(OnFailure::StopRunning)],
        cancel_after in proptest::option::of(0..20usize), choices in proptest::collection::vec(any::<u16>(), 200)
    ) {
        let mut run = Run::of(WorkflowSpec { on_failure: rule, ..spec(&made, &first(&made)) });
        let mut deaths = vec![0; made.len()];
        let mut choices = choices.into_iter().cycle();
        let mut stopped = false;
        let free = interpret(&made, &vec![false; made.len()]);
        for round in 0.. {
            if Some(round) == cancel_after {
                run.graph.cancel(run.now);
                run.act();
                stopped = true;
            }
            if run.running.is_empty() {
                break;
            }
            let before = run.running.len();
            let choice = usize::from(choices.next().unwrap_or_default());
            let chosen = run.running[choice % before].0.clone();
            if run.told_to_end.contains(&chosen) {
                run.end(&chosen, cancelled());
            } else {
                go_on(&mut run, &made, &mut deaths, choice)?;
            }
            prop_assert!(!stopped || run.running.len() <= before, "something began after the end");
            stopped |= run.record().steps.iter().any(|step| {
                step.state.is_failure() && !matches!(step.state, StepState::DependencyFailed)
            });
        }
        check_finished(&run)?;
        let states = states(&run);
        for (at, free) in free.into_iter().enumerate() {
            let state = states.get(&name(at)).copied();
            let stopped = matches!(state, Some(StepState::Cancelled | StepState::DependencyFailed));
            // A step that was not added before the end is never added, nor looked up.
            let unseen = made[at].adds_nonsense && state == Some(StepState::Succeeded);
            let unknown = made[at].added_by.is_some() && state.is_none();
            let allowed = state == free || stopped || unseen || unknown;
            prop_assert!(allowed, "s{} is {:?} and would be {:?}", at, state, free);
        }
        let record = run.record();
        prop_assert_eq!(run.graph.into_record(jiff::Timestamp::UNIX_EPOCH), record);
    }
}

proptest! {
    /// A mapped step with instances that end in any way and any order: it never exceeds its limit, its end follows from
    /// the rule, and its results have the order of the list.
    #[test]
    fn a_mapped_step_keeps_its_bound_and_its_rule(
        ends in proptest::collection::vec(any::<bool>(), 0..30), least in 0..12usize, parallel in 1..6u32,
        choices in proptest::collection::vec(any::<u16>(), 60)
    ) {
        let enough = match least {
            0 => Enough::All,
            1 => Enough::Any,
            least => Enough::AtLeast(least),
        };
        let needed = if least == 0 { ends.len() } else { least };
        let map = MapOver { max_parallel: Some(parallel), enough, ..MapOver::new(Reference::to("list")) };
        let spec = WorkflowSpec::of([step("list"), step("each").map_over(map), step("sum").after("each")]);
        let mut run = Run::of(WorkflowSpec { upstream: UpstreamKeys::Names, ..spec });
        run.end("list", ok(json!(ends)));
        let mut choices = choices.into_iter().cycle();
        while run.running.iter().any(|it| it.0.starts_with("each")) {
            prop_assert!(run.running.len() <= parallel as usize);
            let chosen = usize::from(choices.next().unwrap_or_default()) % run.running.len();
            let (name, key, params) = run.running[chosen].clone();
            let index = key.instance.expect("an instance") as usize;
            prop_assert_eq!((&params["item"], &params["item_index"]), (&json!(ends[index]), &json!(index)));
            let outcome = match ends[index] {
                _ if run.told_to_end.contains(&name) => cancelled(),
                true => ok(json!(index)),
                false => failed("no"),
            };
            run.end(&name, outcome);
        }
        let succeeds = ends.iter().filter(|end| **end).count() >= needed;
        prop_assert_eq!(run.state("each") == StepState::Succeeded, succeeds);
        prop_assert_eq!(run.state("sum") == StepState::DependencyFailed, !succeeds);
        if succeeds {
            let expected = ends.iter().enumerate().map(|(at, end)| if *end { json!(at) } else { Value::Null });
            prop_assert_eq!(&run.params("sum")["upstream_results"]["each"], &expected.collect::<Value>());
        }
    }
}
