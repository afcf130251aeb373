//! `axion flow`: workflows in files.

mod lines;
mod run;
mod summary;
mod teller;
mod view;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use axion_core::Config;
use axion_core::flow::{Drawing, Flow, FlowError, Overrides, Problem, Problems, draw};

use super::session;
use crate::args::{FlowCheck, FlowFile, FlowGraph, FlowRun, GraphFormat};
use crate::exit::Exit;
use crate::message;

/// So many problems are shown with a picture; the others get a line each.
const PICTURES: usize = 100;

/// Says whether a flow is sound.
pub(crate) fn check(FlowCheck { file }: &FlowCheck) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    let steps = flow.spec.steps.len();
    let plural = if steps == 1 { "" } else { "s" };
    print(&format!("{}: {steps} step{plural}, no problems\n", file.flow.display()))
}

/// Draws a flow.
pub(crate) fn graph(FlowGraph { file, format }: &FlowGraph) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    print(&draw(&flow.spec, drawing(*format)))
}

/// Runs a flow.
pub(crate) fn run(run: &FlowRun, config: Config) -> Exit {
    match load(&run.file) {
        Some(flow) => run::execute(run, config, flow),
        None => Exit::Usage,
    }
}

fn drawing(format: GraphFormat) -> Drawing {
    match format {
        GraphFormat::Text => Drawing::Text,
        GraphFormat::Dot => Drawing::Dot,
        GraphFormat::Mermaid => Drawing::Mermaid,
        GraphFormat::Svg => Drawing::Svg,
    }
}

/// Reads a flow, or says everything that is wrong with it.
fn load(file: &FlowFile) -> Option<Flow> {
    let overrides = Overrides { params: file.params.clone(), set: file.set.clone() };
    match Flow::load(&file.flow, &overrides) {
        Ok(flow) => return Some(flow),
        Err(FlowError::Problems(problems)) => show(&problems),
        Err(error) => message::error(error),
    }
    None
}

fn show(problems: &Problems) {
    let renderer = Renderer::styled();
    for (number, problem) in problems.all.iter().enumerate() {
        match (&problem.span, problems.place(problem)) {
            (Some(_), Some(_)) if number < PICTURES => message::line(picture(problems, problem, &renderer)),
            (_, Some((line, column))) => {
                message::error(format_args!("{}:{line}:{column}: {}", problems.file, problem.message));
            }
            _ => {
                message::error(&problem.message);
                if let Some(help) = &problem.help {
                    message::line(format_args!("  help: {help}"));
                }
            }
        }
    }
    message::error(problems);
}

fn picture(problems: &Problems, problem: &Problem, renderer: &Renderer) -> String {
    let within = |span: &std::ops::Range<usize>| {
        let end = problems.text.ceil_char_boundary(span.end.min(problems.text.len()));
        problems.text.floor_char_boundary(span.start.min(end))..end
    };
    let place = problem.span.as_ref().map(within).unwrap_or_default();
    let snippet = Snippet::source(problems.text.as_str())
        .path(problems.file.as_str())
        .annotation(AnnotationKind::Primary.span(place).label(problem.label.as_str()))
        .annotations(
            problem
                .related
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(within(span)).label(label.as_str())),
        );
    let mut group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// Writes to standard output.
fn print(text: &str) -> Exit {
    match session::print(text) {
        Ok(()) => Exit::Success,
        Err(error) => session::engine_failed(&format_args!("cannot write the result: {error}")),
    }
}
