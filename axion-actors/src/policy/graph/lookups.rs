//! What the steps of a workflow read of one large result.
//!
//! A large JSON text takes long to read, and any number of steps may read it. So all that they read is looked up
//! together, once, when the result arrives. The caller can do that on another thread (L11): it asks the graph for the
//! [`Lookups`], and gives it what was [`Found`] before the end of the step.

use bytes::Bytes;
use petgraph::graph::NodeIndex;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::condition;
use super::json::{self, Missing};
use super::{Graph, StepKey, results};
use crate::model::Data;
use crate::model::workflow::{JsonPath, Reference, StepError, Test};

/// A shorter text is read wherever it is needed.
const LARGE: usize = 64 << 10;

/// Paths into a large result, and tests of the values there.
#[derive(Debug)]
pub struct Lookups {
    text: Bytes,
    paths: FxHashMap<JsonPath, FxHashMap<String, Test>>,
}

/// The outcome of [`Lookups`].
#[derive(Debug)]
pub struct Found {
    parts: FxHashMap<JsonPath, Result<Bytes, Missing>>,
    /// Whether tests of large values hold, by the tests' texts.
    tests: FxHashMap<String, Result<bool, StepError>>,
}

impl Lookups {
    fn add(&mut self, path: &JsonPath) -> &mut FxHashMap<String, Test> {
        if !self.paths.contains_key(path) {
            self.paths.insert(path.clone(), FxHashMap::default());
        }
        self.paths.entry(path.clone()).or_default()
    }

    /// Looks everything up. Takes time in proportion to the result.
    #[must_use]
    pub fn run(self) -> Found {
        let (paths, tests): (Vec<JsonPath>, Vec<_>) = self.paths.into_iter().unzip();
        let parts = json::resolve_all(&self.text, &paths.iter().collect::<Vec<_>>());
        let mut decided = FxHashMap::default();
        for (tests, part) in tests.into_iter().zip(&parts) {
            let Ok(text) = part else { continue };
            // One parsed value at a time: it takes a multiple of its text's memory.
            if tests.is_empty() || text.len() < LARGE {
                continue;
            }
            let value = serde_json::from_slice::<Value>(text);
            for (key, test) in tests {
                let value = value.as_ref().map_err(|error| not_json(&test, error));
                decided.insert(key, condition::decide(&test, value));
            }
        }
        Found { parts: paths.into_iter().zip(parts).collect(), tests: decided }
    }
}

fn not_json(test: &Test, error: &serde_json::Error) -> StepError {
    results::unresolved(&test.of, &test.of.path, format!("not JSON ({error})"))
}

impl Graph {
    /// What the steps that depend on this one will read of its result, if that is large. `None` also for an instance of
    /// a mapped step, whose result is only a part, and for a dynamic step, which may get more dependents.
    #[must_use]
    pub fn lookups(&self, key: StepKey, data: &Data) -> Option<Lookups> {
        let rules = self.rules_of(key)?;
        if key.instance.is_some() || rules.dynamic { None } else { self.lookups_into(key.step as usize, data) }
    }

    /// Takes what was found in the result of a step that is about to end. If the step has ended otherwise, nobody reads
    /// it.
    pub fn found(&mut self, key: StepKey, found: Found) {
        if self.nodes.get(key.step as usize).is_some_and(|node| !node.state.is_final()) {
            self.found.insert(key.step, found);
        }
    }

    fn lookups_into(&self, at: usize, data: &Data) -> Option<Lookups> {
        if data.bytes().len() < LARGE {
            return None;
        }
        let text = data.json().ok()?.0;
        let mut lookups = Lookups { text, paths: FxHashMap::default() };
        for dependent in self.edges.neighbors(NodeIndex::new(at)) {
            let node = &self.nodes[dependent.index()];
            if node.state.is_final() || node.rules.is_none() {
                continue;
            }
            let rules = self.rules(dependent.index());
            let is_here = |of: &Reference| self.directory.find(&of.step).is_some_and(|node| node as usize == at);
            for test in rules.when.iter().flat_map(|condition| condition.tests()).filter(|test| is_here(&test.of)) {
                lookups.add(&test.of.path).entry(test.to_string()).or_insert_with(|| test.clone());
            }
            let params = rules.params.iter().flat_map(|template| template.references());
            let references = params.chain(&rules.inputs).chain(rules.map_over.iter().map(|map| &map.list));
            for reference in references.filter(|of| is_here(of)) {
                lookups.add(&reference.path);
            }
        }
        (!lookups.paths.is_empty()).then_some(lookups)
    }

    /// Looks up here and now what has not been looked up elsewhere.
    pub(super) fn look_up_here(&mut self, at: usize, again: bool) {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        if self.found.contains_key(&number) && !again {
            return;
        }
        let lookups = self.nodes[at].result.as_ref().and_then(|data| self.lookups_into(at, data));
        if let Some(lookups) = lookups {
            self.found.insert(number, lookups.run());
        }
    }

    /// The JSON text that a reference names: a slice of the step's result, or its default.
    pub(super) fn look_up(&self, reference: &Reference) -> Result<Bytes, StepError> {
        if let Some(default) = self.default_of(reference) {
            return Ok(default);
        }
        let json = self.result_of(reference)?.json();
        let json = json.map_err(|found| StepError::NotPlain { reference: reference.to_string(), found })?;
        let part = match self.found_in(reference).and_then(|found| found.parts.get(&reference.path)) {
            Some(part) => part.clone(),
            None => json::resolve(&json.0, &reference.path),
        };
        part.map_err(|missing| results::unresolved(reference, &reference.path.first(missing.found), missing.what))
    }

    /// Whether a test holds.
    pub(super) fn test(&self, test: &Test) -> Result<bool, StepError> {
        if let Some(found) = self.found_in(&test.of).filter(|found| !found.tests.is_empty())
            && let Some(decided) = found.tests.get(&test.to_string())
        {
            return decided.clone();
        }
        let value = self.look_up(&test.of);
        let value =
            value.and_then(|text| serde_json::from_slice::<Value>(&text).map_err(|error| not_json(test, &error)));
        condition::decide(test, value.as_ref().map_err(Clone::clone))
    }

    fn found_in(&self, reference: &Reference) -> Option<&Found> {
        if self.found.is_empty() {
            return None;
        }
        self.found.get(&self.directory.find(&reference.step)?)
    }
}
