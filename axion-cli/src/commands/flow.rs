//! `axion flow`: workflows in files.

use std::io::{ErrorKind, Write};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use axion_core::flow::{Drawing, Flow, FlowError, Overrides, Problem, Problems, draw};

use crate::args::{Flow as Command, FlowFile, GraphFormat};
use crate::exit::Exit;
use crate::message;

/// So many problems are shown with a picture; the others get a line each.
const PICTURES: usize = 100;

/// Runs the command.
pub(crate) fn execute(command: &Command) -> Exit {
    let (Command::Check(crate::args::FlowCheck { file }) | Command::Graph(crate::args::FlowGraph { file, .. })) =
        command;
    let Some(flow) = load(file) else { return Exit::Usage };
    match command {
        Command::Check(_) => {
            let steps = flow.spec.steps.len();
            let plural = if steps == 1 { "" } else { "s" };
            print(&format!("{}: {steps} step{plural}, no problems\n", file.flow.display()))
        }
        Command::Graph(graph) => print(&draw(&flow.spec, drawing(graph.format))),
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

/// Writes to standard output. A reader that has seen enough is not an error.
fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            message::error(format_args!("cannot write the result: {error}"));
            Exit::Engine
        }
        _ => Exit::Success,
    }
}
