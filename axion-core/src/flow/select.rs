//! A part of a flow: some steps, and those that they need.

use std::sync::Arc;

use super::draw::{DiagramEdge, edges};
use super::{Flow, FlowSource};
use crate::diagnostics::Diagnostic;
use crate::similar::did_you_mean;

impl Flow {
    /// Leaves only the named steps and all steps that they wait for.
    ///
    /// # Errors
    /// If the flow has no step of a name.
    pub fn only(&mut self, names: &[String]) -> Result<(), Box<Diagnostic>> {
        let steps = &self.spec.steps;
        let mut kept = vec![false; steps.len()];
        for name in names {
            let Some(at) = steps.iter().position(|step| step.name().is_some_and(|it| **it == **name)) else {
                let help = did_you_mean(name, steps.iter().filter_map(|step| step.name().map(|it| &**it)));
                let words = format!("the flow has no step `{name}`");
                return Err(Box::new(Diagnostic::elsewhere(words, "unknown").help(help)));
            };
            kept[at] = true;
        }
        keep_needed(&mut kept, &edges(&self.spec));
        retain(&mut self.spec.steps, &kept);
        if let Some(FlowSource { places, names, .. }) = self.source.as_mut().and_then(Arc::get_mut) {
            retain(places, &kept);
            retain(names, &kept);
        }
        Ok(())
    }
}

/// Adds all steps that those which are kept wait for.
fn keep_needed(kept: &mut [bool], edges: &[DiagramEdge]) {
    let mut needs = vec![Vec::new(); kept.len()];
    for edge in edges {
        needs[edge.to].push(edge.from);
    }
    let mut open: Vec<usize> = (0..kept.len()).filter(|at| kept[*at]).collect();
    while let Some(at) = open.pop() {
        for from in &needs[at] {
            if !std::mem::replace(&mut kept[*from], true) {
                open.push(*from);
            }
        }
    }
}

fn retain<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    list.retain(|_| kept.next().copied().unwrap_or(false));
}
