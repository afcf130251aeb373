//! `axion flow`: workflows in files.

mod lines;
mod progress;
mod run;
mod summary;
mod view;

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer};
use axion_core::Config;
use axion_core::flow::{DrawingFormat, Flow, FlowError, Overrides, Problem, Problems, draw};

use super::session;
use crate::args::{FlowCheckArguments, FlowFileArguments, FlowGraphArguments, FlowRunArguments, GraphFormat};
use crate::exit::Exit;
use crate::message;
use crate::snippet::{MAX_SNIPPETS, SourceWindow};

/// Says whether a flow is sound.
pub(crate) fn check(FlowCheckArguments { file }: &FlowCheckArguments) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    let steps = flow.spec.steps.len();
    let plural = if steps == 1 { "" } else { "s" };
    print(&format!("{}: {steps} step{plural}, no problems\n", file.flow.display()))
}

/// Draws a flow.
pub(crate) fn graph(FlowGraphArguments { file, format }: &FlowGraphArguments) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    print(&draw(&flow.spec, drawing(*format)))
}

/// Runs a flow.
pub(crate) fn run(run: &FlowRunArguments, config: Config) -> Exit {
    match load(&run.file) {
        Some(flow) => run::execute(run, config, flow),
        None => Exit::Usage,
    }
}

fn drawing(format: GraphFormat) -> DrawingFormat {
    match format {
        GraphFormat::Text => DrawingFormat::Text,
        GraphFormat::Dot => DrawingFormat::Dot,
        GraphFormat::Mermaid => DrawingFormat::Mermaid,
        GraphFormat::Svg => DrawingFormat::Svg,
    }
}

/// Reads a flow, or says everything that is wrong with it.
fn load(file: &FlowFileArguments) -> Option<Flow> {
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
            (Some(span), Some((line, _))) if number < MAX_SNIPPETS => {
                message::line(snippet(problems, problem, (span, line), &renderer));
            }
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

fn snippet(problems: &Problems, problem: &Problem, place: (&Range<usize>, usize), renderer: &Renderer) -> String {
    let lines = SourceWindow::around(&problems.text, place, problem.related.iter().map(|(span, _)| span));
    let related = problem
        .related
        .iter()
        .map(|(span, label)| AnnotationKind::Context.span(lines.place(span)).label(label.as_str()));
    let snippet = lines
        .snippet(&problems.file)
        .annotation(AnnotationKind::Primary.span(lines.place(place.0)).label(problem.label.as_str()))
        .annotations(related);
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
