//! The content of a diagram.

use std::collections::{BTreeMap, VecDeque};

use axion_actors::model::PoolId;
use axion_actors::model::Work;
use axion_actors::model::workflow::{Dependency, RunIf, Step, WorkflowSpec};

/// A step in a diagram.
#[derive(Debug)]
pub(super) struct DiagramStep {
    pub(super) title: String,
    /// The script's file name.
    pub(super) script: String,
    /// Notes about the step's rules.
    pub(super) notes: Vec<String>,
    /// The number of steps before it on the longest path.
    pub(super) layer: usize,
}

/// An edge: a step waits for another step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) struct DiagramEdge {
    pub(in crate::flow) from: usize,
    pub(in crate::flow) to: usize,
    /// Whether its condition reads the other step's result.
    pub(super) conditional: bool,
}

/// A workflow in a diagram.
#[derive(Debug)]
pub(super) struct Diagram {
    pub(super) name: String,
    pub(super) steps: Vec<DiagramStep>,
    pub(super) edges: Vec<DiagramEdge>,
    /// The steps. Each comes after all steps that it waits for.
    pub(super) order: Vec<usize>,
}

impl Diagram {
    pub(super) fn of(spec: &WorkflowSpec) -> Self {
        let steps = spec.steps.iter().map(shown).collect();
        let mut diagram = Self { name: spec.name.clone(), steps, edges: edges(spec), order: Vec::new() };
        diagram.sort();
        diagram
    }

    /// Orders the steps and gives each its layer. Steps in a cycle stay in the first layer; a checked workflow has no
    /// cycle.
    fn sort(&mut self) {
        let mut next = vec![Vec::new(); self.steps.len()];
        let mut open = vec![0usize; self.steps.len()];
        for edge in &self.edges {
            next[edge.from].push(edge.to);
            open[edge.to] += 1;
        }
        let mut free: VecDeque<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
        while let Some(at) = free.pop_front() {
            self.order.push(at);
            for to in &next[at] {
                self.steps[*to].layer = self.steps[*to].layer.max(self.steps[at].layer + 1);
                open[*to] -= 1;
                if open[*to] == 0 {
                    free.push_back(*to);
                }
            }
        }
        for at in (0..open.len()).filter(|at| open[*at] > 0) {
            self.steps[at].layer = 0;
            self.order.push(at);
        }
    }
}

fn shown(step: &Step) -> DiagramStep {
    let rules = step.rules();
    let mut notes = Vec::new();
    if step.task().pool_id() != PoolId::CPU {
        notes.push(step.task().pool_id().to_string());
    }
    if let Some(map) = &rules.map_over {
        notes.push(format!("for each {} in {}", map.name, map.list));
    }
    if let Some(condition) = &rules.when {
        notes.push(format!("when {condition}"));
    }
    match rules.run_if {
        RunIf::AllSucceeded => {}
        RunIf::AnySucceeded => notes.push("if any succeeded".to_owned()),
        RunIf::AllDone => notes.push("in any case".to_owned()),
        RunIf::AnyFailed => notes.push("if any failed".to_owned()),
    }
    if rules.dynamic {
        notes.push("adds steps".to_owned());
    }
    let script = match step.task().work() {
        Work::Script(path) => path.as_path().file_name().map(|it| it.to_string_lossy().into_owned()),
        Work::Function(function) => Some(function.name().to_string()),
    };
    let script = script.unwrap_or_default();
    DiagramStep { title: step.title(), script, notes, layer: 0 }
}

/// All dependencies, each once, as indices of the steps in the list.
pub(in crate::flow) fn edges(spec: &WorkflowSpec) -> Vec<DiagramEdge> {
    let places = spec.steps.iter().enumerate();
    let names: BTreeMap<&str, usize> = places.clone().filter_map(|(at, it)| Some((&**it.name()?, at))).collect();
    let ids: BTreeMap<_, usize> = places.clone().map(|(at, it)| (it.task().id(), at)).collect();
    let mut edges = Vec::new();
    for (to, step) in places {
        let named = step.depends_on().iter().filter_map(|dependency| match dependency {
            Dependency::Step(name) => names.get(&**name),
            Dependency::Task(id) => ids.get(id),
        });
        let asked = step.rules().when.iter().flat_map(|it| it.references()).map(|it| &it.step);
        let asked: Vec<usize> = asked.filter_map(|name| names.get(&**name)).copied().collect();
        let referred = step.references().filter_map(|it| names.get(&*it.step));
        let mut from: Vec<usize> = named.chain(referred).copied().filter(|from| *from != to).collect();
        from.sort_unstable();
        from.dedup();
        edges.extend(from.into_iter().map(|from| DiagramEdge { from, to, conditional: asked.contains(&from) }));
    }
    edges
}
