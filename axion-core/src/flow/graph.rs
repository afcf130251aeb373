//! Relations between steps, checked by the code that runs them.

use std::collections::{BTreeSet, HashMap};

use axion_actors::model::workflow::{GraphError, WorkflowId, WorkflowSpec};
use axion_actors::model::{EngineCapacity, Tick};
use axion_actors::policy::graph::{EngineView, Graph, StepStatus};

use super::convert::{Converted, StepSpans};
use super::{Diagnostic, GUESSES, Span};
use crate::similar::did_you_mean;

/// The number of places that the report of a cycle shows.
const SHOWN: usize = 10;

/// Adds the mistakes in the graph.
pub(super) fn check(converted: &Converted, problems: &mut Vec<Diagnostic>) {
    if converted.places.is_empty() {
        return;
    }
    let outside = EngineView { status: &|_| StepStatus::Unknown, capacity: &EngineCapacity::unlimited() };
    let spec = converted.flow.spec.clone();
    let names = names_in(&spec);
    if let Err(errors) = Graph::check(WorkflowId::generate(), spec, &outside, Tick(0)) {
        report(&errors, LimitSource::Flow, (&converted.places, &names), problems);
    }
}

/// The names of the steps, in order. A step with an invalid name has none.
pub(super) fn names_in(spec: &WorkflowSpec) -> Vec<Option<String>> {
    spec.steps.iter().map(|it| it.name().map(ToString::to_string)).collect()
}

/// The source of the limits that a step's needs exceed.
#[derive(Clone, Copy, Debug)]
pub(super) enum LimitSource {
    /// The limits in the file.
    Flow,
    /// The capacity of an engine.
    Engine,
}

/// Reports each mistake once, at its place.
pub(super) fn report(
    errors: &[GraphError],
    whose: LimitSource,
    (places, names): (&[StepSpans], &[Option<String>]),
    problems: &mut Vec<Diagnostic>,
) {
    let steps = StepIndex::of(places, names);
    let mut said = BTreeSet::new();
    for error in errors {
        // A name that is used twice is reported at both places, by the first error.
        let key = (error.at(), error.to_string());
        if said.insert(key) {
            place((error, whose), &steps, said.len() <= GUESSES, problems);
        }
    }
}

/// The names and places of the steps. A step with an invalid name has none.
struct StepIndex<'a> {
    places: &'a [StepSpans],
    names: Vec<&'a str>,
    /// The first step with each name.
    named: HashMap<&'a str, usize>,
}

impl<'a> StepIndex<'a> {
    fn of(places: &'a [StepSpans], names: &'a [Option<String>]) -> Self {
        let given = || names.iter().enumerate().filter_map(|(at, name)| Some((name.as_deref()?, at)));
        // In reverse order, so the first step with a name remains.
        let named = given().collect::<Vec<_>>().into_iter().rev().collect();
        Self { places, names: given().map(|(name, _)| name).collect(), named }
    }

    fn named(&self, name: &str) -> Option<&'a StepSpans> {
        self.places.get(*self.named.get(name)?)
    }

    /// A name similar to `wanted` that is not the step's own.
    fn like(&self, wanted: &str, step: &str) -> Option<String> {
        did_you_mean(wanted, self.names.iter().copied().filter(|name| *name != step))
    }
}

fn uses<'a>(place: &'a StepSpans, name: &'a str) -> impl Iterator<Item = &'a Span> {
    let first = place.uses.partition_point(|(it, _)| it.as_str() < name);
    place.uses[first..].iter().take_while(move |(it, _)| it == name).map(|(_, span)| span)
}

fn place(
    (error, whose): (&GraphError, LimitSource),
    steps: &StepIndex<'_>,
    guess: bool,
    problems: &mut Vec<Diagnostic>,
) {
    let Some(here) = error.at().and_then(|at| steps.places.get(at)) else {
        problems.push(Diagnostic::elsewhere(error.to_string(), "here"));
        return;
    };
    match error {
        GraphError::UnknownStep { missing, step, .. } => {
            let help = if guess { steps.like(missing, step) } else { None };
            for span in uses(here, missing) {
                let words = format!("{step} waits for the step `{missing}`, and there is none");
                problems.push(Diagnostic::new(span, words, "no such step").help(help.clone()));
            }
        }
        GraphError::SelfReference { step, .. } => {
            for span in uses(here, step) {
                problems.push(Diagnostic::new(span, error.to_string(), "this is the step itself"));
            }
        }
        GraphError::DuplicateName { first, .. } => {
            let mut problem = Diagnostic::new(&here.name, error.to_string(), "again");
            problem.message = format!("two steps are called `{}`", names_of(error));
            problem.related.extend(steps.places.get(*first).map(|place| (place.name.clone(), "first".to_owned())));
            problems.push(problem);
        }
        GraphError::SimilarName { other, .. } => {
            let mut problem = Diagnostic::new(&here.name, error.to_string(), "too like the other");
            let other = steps.named(other);
            problem.related.extend(other.map(|place| (place.name.clone(), "the other".to_owned())));
            problems.push(problem);
        }
        GraphError::Cycle { path, .. } => problems.push(circle(here, path, steps, error)),
        GraphError::Impossible { .. } => {
            let span = here.resources.as_ref().unwrap_or(&here.name);
            let (label, help) = match whose {
                LimitSource::Flow => (
                    "more than the limits",
                    "lower `resources`, raise the flow's `limits`, or set impossible = \"cancel\"",
                ),
                LimitSource::Engine => (
                    "more than the engine has",
                    "lower `resources`, give the engine more workers (`cpu_bound_max`, `io_bound_max`), or set impossible = \"cancel\"",
                ),
            };
            problems.push(Diagnostic::new(span, error.to_string(), label).help(Some(help.to_owned())));
        }
        _ => problems.push(Diagnostic::new(&here.name, error.to_string(), "this step")),
    }
}

fn names_of(error: &GraphError) -> &str {
    match error {
        GraphError::DuplicateName { name, .. } => name,
        _ => "",
    }
}

/// Reports a cycle: each step of the path waits for the one before it, at these places.
fn circle(here: &StepSpans, path: &[String], steps: &StepIndex<'_>, error: &GraphError) -> Diagnostic {
    let before = path.iter().cycle().skip(path.len() - 1);
    let mut spots = path.iter().zip(before).filter_map(|(name, before)| {
        let span = uses(steps.named(name)?, before).next()?;
        Some((span.clone(), format!("{name} waits for {before}")))
    });
    let (span, label) = spots.next().unwrap_or_else(|| (here.name.clone(), "this step".to_owned()));
    let mut problem = Diagnostic::new(&span, error.to_string(), label);
    problem.related.extend(spots.take(SHOWN - 1));
    problem
}
