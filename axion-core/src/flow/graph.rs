//! What steps are to each other, checked by the code that will run them.

use std::collections::BTreeSet;

use axion_actors::model::Tick;
use axion_actors::model::workflow::{Capacity, WorkflowId, WorkflowSpec};
use axion_actors::policy::graph::{Graph, GraphError, Known, Outside};

use super::convert::{Converted, Places};
use super::{Problem, Span, did_you_mean};

/// So many places of a circle are shown.
const SHOWN: usize = 10;

/// After so many problems, none gets a guess at what was meant: each looks at all names.
const GUESSES: usize = 100;

/// Adds what is wrong with the graph.
pub(super) fn check(converted: &Converted, problems: &mut Vec<Problem>) {
    if converted.places.is_empty() {
        return;
    }
    let outside = Outside { known: &|_| Known::Unknown, capacity: &Capacity::default() };
    let spec = converted.flow.spec.clone();
    let names = names_in(&spec);
    if let Err(errors) = Graph::check(WorkflowId::generate(), spec, &outside, Tick(0)) {
        tell(&errors, Limits::OfTheFlow, (&converted.places, &names), problems);
    }
}

/// The steps' names, in their order: in a file each has one.
pub(super) fn names_in(spec: &WorkflowSpec) -> Vec<String> {
    spec.steps.iter().filter_map(|it| it.name().map(ToString::to_string)).collect()
}

/// Whose limits a step's needs were held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limits {
    /// Those in the file.
    OfTheFlow,
    /// What an engine has.
    OfTheEngine,
}

/// What is wrong, each once, at its place.
pub(super) fn tell(
    errors: &[GraphError],
    whose: Limits,
    (places, names): (&[Places], &[String]),
    problems: &mut Vec<Problem>,
) {
    let mut said = BTreeSet::new();
    for error in errors {
        // A name that is used twice is reported at both places, by the first error.
        let key = (error.at(), error.to_string());
        if said.insert(key) {
            let guesses = if said.len() > GUESSES { &[] } else { names };
            place((error, whose), places, names, guesses, problems);
        }
    }
}

fn uses<'a>(place: &'a Places, name: &'a str) -> impl Iterator<Item = &'a Span> {
    place.uses.iter().filter(move |(it, _)| it == name).map(|(_, span)| span)
}

fn place(
    (error, whose): (&GraphError, Limits),
    places: &[Places],
    names: &[String],
    guesses: &[String],
    problems: &mut Vec<Problem>,
) {
    let Some((at, here)) = error.at().and_then(|at| places.get(at).map(|place| (at, place))) else {
        problems.push(Problem::elsewhere(error.to_string(), "here"));
        return;
    };
    match error {
        GraphError::UnknownStep { missing, step, .. } => {
            for span in uses(here, missing) {
                let words = format!("{step} waits for the step `{missing}`, and there is none");
                let help = did_you_mean(missing, guesses.iter().map(String::as_str));
                problems.push(Problem::new(span, words, "no such step").help(help));
            }
        }
        GraphError::SelfReference { step, .. } => {
            for span in uses(here, step) {
                problems.push(Problem::new(span, error.to_string(), "this is the step itself"));
            }
        }
        GraphError::DuplicateName { first, .. } => {
            let mut problem = Problem::new(&here.name, error.to_string(), "again");
            problem.message = format!("two steps are called `{}`", names_of(error));
            problem.related.extend(places.get(*first).map(|place| (place.name.clone(), "first".to_owned())));
            problems.push(problem);
        }
        GraphError::SimilarName { other, .. } => {
            let mut problem = Problem::new(&here.name, error.to_string(), "too like the other");
            let first = names.iter().position(|name| name == other).and_then(|at| places.get(at));
            problem.related.extend(first.map(|place| (place.name.clone(), "the other".to_owned())));
            problems.push(problem);
        }
        GraphError::Cycle { path, .. } => problems.push(circle(at, path, places, names, error)),
        GraphError::Impossible { .. } => {
            let span = here.resources.as_ref().unwrap_or(&here.name);
            let (label, help) = match whose {
                Limits::OfTheFlow => (
                    "more than the limits",
                    "lower `resources`, raise the flow's `limits`, or set impossible = \"cancel\"",
                ),
                Limits::OfTheEngine => (
                    "more than the engine has",
                    "lower `resources`, give the engine more workers (`cpu_bound_max`, `io_bound_max`), or set impossible = \"cancel\"",
                ),
            };
            problems.push(Problem::new(span, error.to_string(), label).help(Some(help.to_owned())));
        }
        _ => problems.push(Problem::new(&here.name, error.to_string(), "this step")),
    }
}

fn names_of(error: &GraphError) -> &str {
    match error {
        GraphError::DuplicateName { name, .. } => name,
        _ => "",
    }
}

/// Each step of the path waits for the one before: the places where they say so.
fn circle(at: usize, path: &[String], places: &[Places], names: &[String], error: &GraphError) -> Problem {
    let before = path.iter().cycle().skip(path.len() - 1);
    let mut spots = path.iter().zip(before).filter_map(|(name, before)| {
        let step = names.iter().position(|it| it == name)?;
        let span = uses(places.get(step)?, before).next()?;
        Some((span.clone(), format!("{name} waits for {before}")))
    });
    let (span, label) = spots.next().unwrap_or_else(|| (places[at].name.clone(), "this step".to_owned()));
    let mut problem = Problem::new(&span, error.to_string(), label);
    problem.related.extend(spots.take(SHOWN - 1));
    problem
}
