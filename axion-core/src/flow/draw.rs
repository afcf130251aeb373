//! Diagrams of a workflow: as text, for Graphviz, for Mermaid, and as an SVG with its own layout.
//!
//! The same workflow always gives the same diagram, byte for byte.

mod diagram;
mod layout;
mod svg;

use std::fmt::Write;
use std::time::Duration;

use axion_actors::model::workflow::{Template, WorkflowSpec};
use axion_actors::model::{DisplayDuration, Task, TaskOptions};

use self::diagram::Diagram;
pub(super) use self::diagram::{DiagramEdge, edges};

/// The format of a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawingFormat {
    /// One line for each step. A step comes after all steps that it waits for.
    Text,
    /// The Graphviz language.
    Dot,
    /// A Mermaid flowchart.
    Mermaid,
    /// An SVG for browsers.
    Svg,
}

/// Draws a workflow. The text ends with a line break.
#[must_use]
pub fn draw(spec: &WorkflowSpec, drawing: DrawingFormat) -> String {
    let diagram = Diagram::of(spec);
    match drawing {
        DrawingFormat::Text => text(&diagram),
        DrawingFormat::Dot => dot(&diagram),
        DrawingFormat::Mermaid => mermaid(&diagram),
        DrawingFormat::Svg => svg::svg(&diagram),
    }
}

/// The steps in an order in which they can run, each with its parameters and its limits. References stand in them as they
/// are. The text ends with a line break.
#[must_use]
pub fn plan(spec: &WorkflowSpec) -> String {
    let diagram = Diagram::of(spec);
    let mut out = String::new();
    let lines = text(&diagram);
    let lines: Vec<&str> = lines.lines().collect();
    let (head, steps) = lines.split_at(lines.len() - diagram.order.len());
    for line in head {
        put!(out, "{line}\n");
    }
    for (line, at) in steps.iter().zip(&diagram.order) {
        put!(out, "{line}\n");
        let step = &spec.steps[*at];
        for line in lines_of(step.task(), step.rules().params.as_deref()) {
            put!(out, "       {line}\n");
        }
    }
    out
}

/// The parameters and the limits of a task, for people: one line, or two.
#[must_use]
pub fn task_lines(task: &Task) -> Vec<String> {
    lines_of(task, None)
}

fn lines_of(task: &Task, template: Option<&Template>) -> Vec<String> {
    let own = || String::from_utf8_lossy(task.params_bytes()).into_owned();
    let params = template.map_or_else(own, Template::to_json);
    let limits = limits(task.options());
    let params = format!("params {}", params.replace(char::is_control, " "));
    let limits = (!limits.is_empty()).then(|| limits.join(", "));
    std::iter::once(params).chain(limits).collect()
}

/// The time limits and retries of a task, for people.
fn limits(options: &TaskOptions) -> Vec<String> {
    let time = |what: &str, limit: Option<Duration>| Some(format!("{what} {}", DisplayDuration(limit?)));
    let retries = options.retry.max_retries;
    [
        time("timeout", options.timeout),
        time("soft timeout", options.soft_timeout),
        time("total timeout", options.total_timeout),
        time("ttl", options.ttl),
        (retries > 0).then(|| format!("retries {retries}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Writing into a `String` cannot fail, so the result is ignored here, in one place.
macro_rules! put {
    ($out:expr, $($rest:tt)*) => {{
        let _ = write!($out, $($rest)*);
    }};
}
use put;

/// The approximate number of columns of a text. From Hangul on, most characters take two, except signs and arrows.
fn columns(text: &str) -> usize {
    text.chars().map(|it| 1 + usize::from(('\u{1100}'..'\u{2000}').contains(&it) || it >= '\u{2e80}')).sum()
}

fn text(diagram: &Diagram) -> String {
    let width = diagram.steps.iter().map(|step| columns(&step.title).min(40)).max().unwrap_or(0);
    let plain = |text: &str| text.replace(char::is_control, " ");
    let mut out = String::new();
    if !diagram.name.is_empty() {
        put!(out, "{}\n", plain(&diagram.name));
    }
    let mut from: Vec<Vec<&str>> = vec![Vec::new(); diagram.steps.len()];
    for edge in &diagram.edges {
        from[edge.to].push(&diagram.steps[edge.from].title);
    }
    for at in &diagram.order {
        let step = &diagram.steps[*at];
        let rest = width.saturating_sub(columns(&step.title));
        put!(out, "{:3}  {}{:rest$}  {}", step.layer + 1, plain(&step.title), "", plain(&step.script));
        if !from[*at].is_empty() {
            put!(out, "  after {}", from[*at].join(", "));
        }
        for note in &step.notes {
            put!(out, "; {}", plain(note));
        }
        out.push('\n');
    }
    out
}

fn dot(diagram: &Diagram) -> String {
    let quoted = |text: &str| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        text.replace(char::is_control, " ")
    };
    let mut out = format!(
        "digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
        quoted(&diagram.name)
    );
    for (at, step) in diagram.steps.iter().enumerate() {
        let label =
            [step.title.as_str(), step.script.as_str()].into_iter().chain(step.notes.iter().map(String::as_str));
        let label: Vec<String> = label.map(quoted).collect();
        put!(out, "  s{at} [label=\"{}\"];\n", label.join("\\n"));
    }
    for edge in &diagram.edges {
        let style = if edge.conditional { " [style=dashed]" } else { "" };
        put!(out, "  s{} -> s{}{style};\n", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

fn mermaid(diagram: &Diagram) -> String {
    let quoted = |text: &str| {
        let each = |it: char| match it {
            '"' | '<' | '>' | '&' | '#' | '`' | ';' | '\\' => format!("#{};", u32::from(it)),
            it if it.is_control() => " ".to_owned(),
            it => it.to_string(),
        };
        text.chars().map(each).collect::<String>()
    };
    let mut out = "flowchart LR\n".to_owned();
    for (at, step) in diagram.steps.iter().enumerate() {
        let lines =
            [step.title.as_str(), step.script.as_str()].into_iter().chain(step.notes.iter().map(String::as_str));
        put!(out, "  s{at}[\"{}\"]\n", lines.map(quoted).collect::<Vec<_>>().join("<br>"));
    }
    for edge in &diagram.edges {
        put!(out, "  s{} {} s{}\n", edge.from, if edge.conditional { "-.->" } else { "-->" }, edge.to);
    }
    out
}

#[cfg(test)]
mod tests {
    use axion_actors::model::Task;
    use axion_actors::model::workflow::{MapOver, Reference, Step};
    use proptest::prelude::*;

    use super::layout::{LayoutItem, lay_out};
    use super::*;

    fn step(name: &str) -> Step {
        Step::new(name, Task::script("work.py"))
    }

    #[test]
    fn a_diamond_has_three_layers_and_a_long_line_gets_a_place_of_its_own() {
        let spec = WorkflowSpec::of([
            step("end").after("left").after("right").after("start"),
            step("left").after("start"),
            step("right").after("start"),
            step("start"),
        ]);
        let diagram = Diagram::of(&spec);
        let layers: Vec<usize> = diagram.steps.iter().map(|step| step.layer).collect();
        assert_eq!(layers, [2, 1, 1, 0]);
        let layout = lay_out(&diagram);
        assert_eq!(layout.layers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 3, 1]);
        assert_eq!(layout.bends.iter().filter(|bends| bends.len() == 1).count(), 1);
    }

    #[test]
    fn the_order_in_a_layer_keeps_lines_from_crossing() {
        // In the order of the list, every line would cross every other line.
        let spec = WorkflowSpec::of([
            step("a"),
            step("b"),
            step("c"),
            step("of_c").after("c"),
            step("of_b").after("b"),
            step("of_a").after("a"),
        ]);
        let layout = lay_out(&Diagram::of(&spec));
        for (from, to) in [(0, 5), (1, 4), (2, 3)] {
            assert_eq!(layout.rows[from], layout.rows[to]);
        }
    }

    #[test]
    fn names_cannot_break_out_of_a_picture() {
        let bad = "</text><script>alert(1)</script>\u{1}\"]; x[\"";
        let spec = WorkflowSpec { name: bad.to_owned(), ..WorkflowSpec::of([step(bad)]) };
        let svg = draw(&spec, DrawingFormat::Svg);
        assert!(!svg.contains("<script") && !svg.contains('\u{1}'), "{svg}");
        let mermaid = draw(&spec, DrawingFormat::Mermaid);
        assert_eq!(mermaid.lines().nth(1).map(|line| line.matches('"').count()), Some(2), "{mermaid}");
        let dot = draw(&spec, DrawingFormat::Dot);
        assert!(dot.contains("\\\"]; x[\\\""), "{dot}");
        assert_eq!(dot.lines().count(), 5);
    }

    #[test]
    fn wide_names_keep_their_columns_and_their_boxes_and_a_note_its_line() {
        let list = Reference::to("plain");
        let map = MapOver { name: "a\nb".into(), ..MapOver::new(list) };
        let spec = WorkflowSpec::of([step("plain"), step("日本語").map_over(map)]);
        let text = draw(&spec, DrawingFormat::Text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["  1  plain   work.py", "  2  日本語  work.py  after plain; for each a b in plain"]);
        let svg = draw(&WorkflowSpec::of([step("日本語日本語")]), DrawingFormat::Svg);
        assert!(svg.contains("width=\"120\" height=\"42\""), "{svg}");
    }

    #[test]
    fn a_large_flow_is_drawn_too() {
        let chain = (0..3000).map(|n| step(&format!("s{n}")));
        let spec = WorkflowSpec::builder("").chain(chain).build();
        for drawing in [DrawingFormat::Text, DrawingFormat::Dot, DrawingFormat::Mermaid, DrawingFormat::Svg] {
            assert!(draw(&spec, drawing).lines().count() >= 3000);
        }
    }

    proptest! {
        /// Every step has its own place, to the right of all steps that it waits for.
        #[test]
        fn no_two_steps_share_a_place(edges in proptest::collection::vec((0..20usize, 0..20usize), 0..60)) {
            let mut steps: Vec<Step> = (0..20).map(|n| step(&format!("s{n}"))).collect();
            for (one, other) in edges.iter().filter(|(one, other)| one != other) {
                let (from, to) = (one.min(other), one.max(other));
                steps[*to] = steps[*to].clone().after(&*format!("s{from}"));
            }
            let diagram = Diagram::of(&WorkflowSpec::of(steps));
            let layout = lay_out(&diagram);
            for edge in &diagram.edges {
                prop_assert!(diagram.steps[edge.from].layer < diagram.steps[edge.to].layer);
            }
            for (layer, items) in layout.layers.iter().enumerate() {
                for (row, item) in items.iter().enumerate() {
                    if let LayoutItem::Step(at) = item {
                        prop_assert_eq!((layout.rows[*at], diagram.steps[*at].layer), (row, layer));
                    }
                }
            }
        }
    }
}
