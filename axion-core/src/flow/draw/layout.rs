//! Positions of boxes and lines, after Sugiyama: layers by the longest path, an order in each layer that avoids
//! crossings, then coordinates.

use super::diagram::Diagram;

/// The maximum number of points. A line across several layers takes a point in each. Above this number, lines are drawn
/// straight.
const PLACES: usize = 50_000;

/// The number of passes over the layers, forwards and backwards.
const SWEEPS: usize = 8;

/// One item of a layer: a step, or a point on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayoutItem {
    /// The step with this index.
    Step(usize),
    /// A point on the edge with this index.
    Bend(usize),
}

/// The positions, in units of rows and layers.
#[derive(Debug)]
pub(super) struct Layout {
    /// The items of each layer, from top to bottom.
    pub(super) layers: Vec<Vec<LayoutItem>>,
    /// The row of each step.
    pub(super) rows: Vec<usize>,
    /// For each edge, the layers and rows between its ends.
    pub(super) bends: Vec<Vec<(usize, usize)>>,
}

/// Computes the layout of a diagram.
pub(super) fn lay_out(diagram: &Diagram) -> Layout {
    let depth = diagram.steps.iter().map(|step| step.layer + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); depth];
    let mut items: Vec<LayoutItem> = Vec::new();
    let mut neighbours: Vec<[Vec<usize>; 2]> = Vec::new();
    let mut add =
        |item: LayoutItem, layer: usize, items: &mut Vec<LayoutItem>, neighbours: &mut Vec<[Vec<usize>; 2]>| {
            items.push(item);
            neighbours.push(<[Vec<usize>; 2]>::default());
            layers[layer].push(items.len() - 1);
            items.len() - 1
        };
    for (at, step) in diagram.steps.iter().enumerate() {
        add(LayoutItem::Step(at), step.layer, &mut items, &mut neighbours);
    }
    let length = |edge: &super::diagram::DiagramEdge| {
        diagram.steps[edge.to].layer.saturating_sub(diagram.steps[edge.from].layer)
    };
    let bent = diagram.edges.iter().map(|edge| length(edge).saturating_sub(1)).sum::<usize>() <= PLACES;
    for (number, edge) in diagram.edges.iter().enumerate() {
        let mut last = edge.from;
        if bent {
            for layer in diagram.steps[edge.from].layer + 1..diagram.steps[edge.to].layer {
                let here = add(LayoutItem::Bend(number), layer, &mut items, &mut neighbours);
                neighbours[last][1].push(here);
                neighbours[here][0].push(last);
                last = here;
            }
        }
        neighbours[last][1].push(edge.to);
        neighbours[edge.to][0].push(last);
    }
    let mut rows = vec![0usize; items.len()];
    number(&layers, &mut rows);
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 0..depth {
            let layer = if down { step } else { depth - 1 - step };
            order(&mut layers[layer], &neighbours, usize::from(!down), &rows);
            for (row, item) in layers[layer].iter().enumerate() {
                rows[*item] = row;
            }
        }
    }
    let mut bends = vec![Vec::new(); diagram.edges.len()];
    for (layer, members) in layers.iter().enumerate() {
        for item in members {
            if let LayoutItem::Bend(edge) = items[*item] {
                bends[edge].push((layer, rows[*item]));
            }
        }
    }
    let layers = layers.iter().map(|layer| layer.iter().map(|item| items[*item]).collect()).collect();
    Layout { layers, rows: rows[..diagram.steps.len()].to_vec(), bends }
}

fn number(layers: &[Vec<usize>], rows: &mut [usize]) {
    for layer in layers {
        for (row, item) in layer.iter().enumerate() {
            rows[*item] = row;
        }
    }
}

/// Sorts a layer by the mean row of each item's neighbours on one side. Items without neighbours keep their place.
#[expect(clippy::cast_precision_loss, reason = "rows are few")]
fn order(layer: &mut [usize], neighbours: &[[Vec<usize>; 2]], side: usize, rows: &[usize]) {
    let mean = |item: &usize| {
        let near = &neighbours[*item][side];
        match near.len() {
            0 => rows[*item] as f64,
            count => near.iter().map(|it| rows[*it] as f64).sum::<f64>() / count as f64,
        }
    };
    let mut keyed: Vec<(f64, usize)> = layer.iter().map(|item| (mean(item), *item)).collect();
    keyed.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (place, (_, item)) in layer.iter_mut().zip(keyed) {
        *place = item;
    }
}
