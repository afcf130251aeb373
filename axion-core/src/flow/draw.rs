//! Pictures of a workflow: as text, for Graphviz, for Mermaid, and as an SVG of our own layout.
//!
//! The same workflow always gives the same picture, byte for byte.

mod layout;
mod plan;
mod svg;

use std::fmt::Write;

use axion_actors::model::workflow::WorkflowSpec;

use self::plan::Picture;

/// What a picture is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// One line per step, in an order in which each comes after all it waits for.
    Text,
    /// The language of Graphviz.
    Dot,
    /// A Mermaid flowchart.
    Mermaid,
    /// A picture for browsers.
    Svg,
}

/// Draws a workflow. It ends with the end of a line.
#[must_use]
pub fn draw(spec: &WorkflowSpec, drawing: Drawing) -> String {
    let picture = Picture::of(spec);
    match drawing {
        Drawing::Text => text(&picture),
        Drawing::Dot => dot(&picture),
        Drawing::Mermaid => mermaid(&picture),
        Drawing::Svg => svg::svg(&picture),
    }
}

/// Writing into a `String` cannot fail; this says so once.
macro_rules! put {
    ($out:expr, $($rest:tt)*) => {{
        let _ = write!($out, $($rest)*);
    }};
}
use put;

fn text(picture: &Picture) -> String {
    let width = picture.steps.iter().map(|step| step.title.chars().count().min(40)).max().unwrap_or(0);
    let mut out = String::new();
    if !picture.name.is_empty() {
        put!(out, "{}\n", picture.name.replace(char::is_control, " "));
    }
    for at in &picture.order {
        let step = &picture.steps[*at];
        put!(out, "{:3}  {:width$}  {}", step.layer + 1, step.title, step.script);
        let from = picture.edges.iter().filter(|edge| edge.to == *at).map(|edge| picture.steps[edge.from].title.as_str());
        let from: Vec<&str> = from.collect();
        if !from.is_empty() {
            put!(out, "  after {}", from.join(", "));
        }
        for note in &step.notes {
            put!(out, "; {note}");
        }
        out.push('\n');
    }
    out
}

fn dot(picture: &Picture) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{}\"", text.replace(char::is_control, " "))
    };
    let mut out = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n", quoted(&picture.name));
    for (at, step) in picture.steps.iter().enumerate() {
        let label = [step.title.as_str(), step.script.as_str()].into_iter().chain(step.notes.iter().map(String::as_str));
        let label: Vec<String> = label.map(|line| quoted(line).trim_matches('"').to_owned()).collect();
        put!(out, "  s{at} [label=\"{}\"];\n", label.join("\\n"));
    }
    for edge in &picture.edges {
        let style = if edge.conditional { " [style=dashed]" } else { "" };
        put!(out, "  s{} -> s{}{style};\n", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

fn mermaid(picture: &Picture) -> String {
    let quoted = |text: &str| {
        let each = |it: char| match it {
            '"' | '<' | '>' | '&' | '#' | '`' | ';' | '\\' => format!("#{};", u32::from(it)),
            it if it.is_control() => " ".to_owned(),
            it => it.to_string(),
        };
        text.chars().map(each).collect::<String>()
    };
    let mut out = "flowchart LR\n".to_owned();
    for (at, step) in picture.steps.iter().enumerate() {
        let lines = [step.title.as_str(), step.script.as_str()].into_iter().chain(step.notes.iter().map(String::as_str));
        put!(out, "  s{at}[\"{}\"]\n", lines.map(quoted).collect::<Vec<_>>().join("<br>"));
    }
    for edge in &picture.edges {
        put!(out, "  s{} {} s{}\n", edge.from, if edge.conditional { "-.->" } else { "-->" }, edge.to);
    }
    out
}
