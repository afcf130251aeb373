//! A layout as SVG.

use std::fmt::Write;

use super::diagram::Diagram;
use super::layout::{Layout, LayoutItem, lay_out};
use super::{columns, put};

const MARGIN: usize = 20;
const BOX_HEIGHT: usize = 42;
const ROW: usize = 62;
const GAP: usize = 60;
const CHARACTER: usize = 8;
/// The number of characters that fit into the widest box.
const SHOWN: usize = 30;

fn shortened(text: &str, most: usize) -> String {
    let long = text.chars().count() > most;
    text.chars().take(if long { most - 1 } else { most }).chain(long.then_some('…')).collect()
}

/// Text for XML: escaped, without characters that XML forbids, and shortened.
fn escaped(text: &str, most: usize) -> String {
    let each = |it: char| match it {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => "\u{fffd}".to_owned(),
        it => it.to_string(),
    };
    shortened(text, most).chars().map(each).collect()
}

/// The position and width of each layer, and the total height.
struct Grid {
    layers: Vec<(usize, usize)>,
    heights: Vec<usize>,
    width: usize,
    height: usize,
}

fn grid(diagram: &Diagram, layout: &Layout) -> Grid {
    let length = |text: &str| columns(&shortened(text, SHOWN));
    let width = |item: &LayoutItem| match item {
        LayoutItem::Step(at) => {
            let step = &diagram.steps[*at];
            length(&step.title).max(length(&second_line(step))) * CHARACTER + 24
        }
        LayoutItem::Bend(_) => 0,
    };
    let mut layers = Vec::new();
    let mut x = MARGIN;
    for layer in &layout.layers {
        let wide = layer.iter().map(width).max().unwrap_or(0);
        layers.push((x, wide));
        x += wide + GAP;
    }
    let rows = layout.layers.iter().map(Vec::len).max().unwrap_or(0);
    let height = rows * ROW - if rows > 0 { ROW - BOX_HEIGHT } else { 0 } + 2 * MARGIN;
    // Each layer is centred.
    let heights = layout.layers.iter().map(|layer| MARGIN + (rows - layer.len()) * ROW / 2).collect();
    Grid { layers, heights, width: x.saturating_sub(GAP) + MARGIN, height }
}

fn second_line(step: &super::diagram::DiagramStep) -> String {
    let lines = std::iter::once(step.script.as_str()).chain(step.notes.iter().map(String::as_str));
    lines.filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// Draws the diagram.
pub(super) fn svg(diagram: &Diagram) -> String {
    let layout = lay_out(diagram);
    let grid = grid(diagram, &layout);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"13\">\n<title>{2}</title>\n{STYLE}",
        grid.width,
        grid.height,
        escaped(&diagram.name, 200),
    );
    for (number, edge) in diagram.edges.iter().enumerate() {
        let (from, to) = (diagram.steps[edge.from].layer, diagram.steps[edge.to].layer);
        let middle = |layer: usize, row: usize| grid.heights[layer] + row * ROW + BOX_HEIGHT / 2;
        let (x, wide) = grid.layers[from];
        put!(
            out,
            "<path class=\"edge{}\" d=\"M{} {}",
            if edge.conditional { " asks" } else { "" },
            x + wide,
            middle(from, layout.rows[edge.from])
        );
        for (layer, row) in &layout.bends[number] {
            let ((x, wide), y) = (grid.layers[*layer], middle(*layer, *row));
            put!(out, " L{x} {y} L{} {y}", x + wide);
        }
        put!(out, " L{} {}\"/>\n", grid.layers[to].0.saturating_sub(2), middle(to, layout.rows[edge.to]));
    }
    for (at, step) in diagram.steps.iter().enumerate() {
        let (x, wide) = grid.layers[step.layer];
        let y = grid.heights[step.layer] + layout.rows[at] * ROW;
        let second = second_line(step);
        put!(out, "<g><title>{}</title>", escaped(&format!("{}: {second}", step.title), 500));
        put!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{BOX_HEIGHT}\" rx=\"6\"/>");
        put!(out, "<text x=\"{}\" y=\"{}\">{}</text>", x + 12, y + 18, escaped(&step.title, SHOWN));
        put!(out, "<text class=\"small\" x=\"{}\" y=\"{}\">{}</text></g>\n", x + 12, y + 34, escaped(&second, SHOWN));
    }
    out.push_str("</svg>\n");
    out
}

const STYLE: &str = "<defs><marker id=\"end\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 L8 4 L0 8 z\" fill=\"#667\"/></marker></defs>\n\
<style>rect{fill:#eef2f8;stroke:#456;stroke-width:1.2}text{fill:#123}.small{fill:#567;font-size:11px}\
.edge{fill:none;stroke:#667;stroke-width:1.3;marker-end:url(#end)}.asks{stroke-dasharray:5 4}</style>\n";
