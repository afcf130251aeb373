//! Results on their way from step to step, and how long they are kept.

use bytes::Bytes;

use super::arguments::Prepared;
use super::json::{ChunkedBytes, Splicer};
use super::node::Node;
use super::{Graph, StepKey};
use crate::model::workflow::{JsonPath, Piece, Reference, StepError, StepState, Template, UpstreamKeys};
use crate::model::{Data, Task, TaskId, Tick};

/// The error of a reference to a value that does not exist.
pub(super) fn unresolved(reference: &Reference, found: &JsonPath, what: String) -> StepError {
    let place = Reference { path: found.clone(), ..reference.clone() }.to_string();
    StepError::Unresolved { reference: Box::new(reference.clone()), place, found: what }
}

impl Graph {
    /// The result of the step that a reference names.
    pub(super) fn result_of(&self, reference: &Reference) -> Result<&Data, StepError> {
        let node = self.directory.find(&reference.step).map(|node| &self.nodes[node as usize]);
        match node.map(|node| (node, &node.result)) {
            Some((_, Some(data))) => Ok(data),
            Some((node, None)) if node.dropped => {
                Err(unresolved(reference, &JsonPath::default(), "a result that is not kept".to_owned()))
            }
            found => {
                let state = found.map_or(StepState::Waiting, |(node, _)| node.state);
                Err(StepError::NoResult { reference: Box::new(reference.clone()), state })
            }
        }
    }

    /// The value of a reference whose step has ended without a result, if it has one for that.
    pub(super) fn default_of(&self, reference: &Reference) -> Option<Bytes> {
        let default = reference.default.as_ref()?;
        let has_none = matches!(self.result_of(reference), Err(StepError::NoResult { .. }));
        has_none.then(|| Bytes::copy_from_slice(default.as_bytes()))
    }

    /// The task of a step that is to run, and the parameters that replace its own. Call it once, as late as possible: a
    /// ready step without room then holds neither of them.
    pub fn hand_over(&mut self, key: StepKey) -> Option<(Task, ChunkedBytes)> {
        let at = key.step as usize;
        let node = self.nodes.get_mut(at)?;
        if !matches!(node.state, StepState::Ready | StepState::Running) {
            return None;
        }
        match (key.instance, &mut node.mapping) {
            (Some(index), Some(mapping)) => {
                let params = mapping.params(index as usize)?;
                let task = node.task.as_ref()?;
                Some((task.instance(node.id.instance(index)), params))
            }
            (None, None) => {
                if node.handed_over {
                    return None;
                }
                let params = self.params(key.step);
                self.release_deps(at);
                let node = &mut self.nodes[at];
                node.handed_over = true;
                Some((node.task.clone()?, params))
            }
            _ => None,
        }
    }

    /// The final parameters of a step that is about to be handed over.
    fn params(&mut self, number: u32) -> ChunkedBytes {
        let at = number as usize;
        let prepared = if self.prepared.is_empty() { None } else { self.prepared.remove(&number) };
        let own = self.nodes[at].task.as_mut().map(Task::take_params).unwrap_or_default();
        let text = match prepared {
            Some(Prepared::CallArguments(call)) => return call.finish(None),
            None if self.nodes[at].deps.count == 0 || self.is_function(at) => return own.into(),
            Some(Prepared::Text(text)) => text,
            None => self.open_params(at, &own),
        };
        let mut text = self.with_upstream(at, text, None);
        text.text(b"}");
        text.finish()
    }

    /// The text of a template, without its closing brace.
    pub(super) fn fill_in(&self, template: &Template) -> Result<Splicer, StepError> {
        let mut text = Splicer::default();
        let last = template.pieces().len().saturating_sub(1);
        for (index, piece) in template.pieces().iter().enumerate() {
            match piece {
                Piece::Text(piece) if index == last => text.shared(&without_brace(piece)),
                Piece::Text(piece) => text.shared(piece),
                Piece::Ref(reference) => text.shared(&self.look_up(reference)?),
            }
        }
        Ok(text)
    }

    /// The parameters of a step's task, without the closing brace.
    pub(super) fn open_params(&self, at: usize, own: &Bytes) -> Splicer {
        let mut text = Splicer::default();
        // Includes memory for short results of dependencies.
        text.reserve(own.len().min(4096) + 32 + 64 * (self.nodes[at].deps.count as usize).min(64));
        text.shared(&without_brace(own));
        text
    }

    /// Adds the results and errors of a step's dependencies, except those of `leave_out`. Leaves out the closing brace.
    pub(super) fn with_upstream(&self, at: usize, mut text: Splicer, leave_out: Option<u32>) -> Splicer {
        if self.nodes[at].deps.count == 0 {
            return text;
        }
        let empty = text.ends_with(b'{');
        text.text(if empty { b"\"upstream_results\":{" } else { b",\"upstream_results\":{" });
        let heard = &self.deps[self.nodes[at].deps.heard()];
        let deps = || heard.iter().filter(|dep| Some(**dep) != leave_out).map(|dep| &self.nodes[*dep as usize]);
        let mut first = true;
        for (dep, data) in deps().filter_map(|dep| dep.result.as_ref().map(|data| (dep, data))) {
            // A step whose result has no JSON form has already failed such dependents.
            let Ok(json) = data.json() else { continue };
            for key in self.keys(dep).into_iter().flatten() {
                text.text(if std::mem::take(&mut first) { b"" } else { b"," });
                key.write(&mut text);
                text.text(b":");
                text.shared(&json.0);
            }
        }
        text.text(b"}");
        if deps().any(|dep| dep.state.is_failure()) {
            text.text(b",\"upstream_errors\":{");
            let mut first = true;
            for dep in deps().filter(|dep| dep.state.is_failure()) {
                let (kind, message) =
                    dep.error.as_ref().map_or_else(Default::default, |error| (error.code(), error.to_string()));
                for key in self.keys(dep).into_iter().flatten() {
                    text.text(if std::mem::take(&mut first) { b"" } else { b"," });
                    key.write(&mut text);
                    text.text(b":{\"state\":");
                    text.string(dep.state.name());
                    text.text(b",\"kind\":");
                    text.string(&kind);
                    text.text(b",\"message\":");
                    text.string(&message);
                    text.text(b"}");
                }
            }
            text.text(b"}");
        }
        text
    }

    /// The keys under which a dependent finds the result of this node.
    fn keys<'a>(&self, dep: &'a Node) -> [Option<UpstreamKey<'a>>; 2] {
        let id = || Some(UpstreamKey::Id(dep.id));
        match (&dep.name, self.upstream) {
            (None, _) | (_, UpstreamKeys::Ids) => [id(), None],
            (Some(name), UpstreamKeys::Names) => [Some(UpstreamKey::Name(name)), None],
            (Some(name), UpstreamKeys::Both) => [id(), Some(UpstreamKey::Name(name))],
        }
    }

    /// A step has read the results of its dependencies.
    pub(super) fn release_deps(&mut self, at: usize) {
        for index in self.nodes[at].deps.heard() {
            let dep = self.deps[index] as usize;
            let node = &mut self.nodes[dep];
            node.readers = node.readers.saturating_sub(1);
            if node.readers == 0 && node.state.is_final() {
                self.release_result(dep);
            }
        }
    }

    /// No step needs this result any more. The record may keep it, within its bound (L9).
    pub(super) fn release_result(&mut self, at: usize) {
        if !self.found.is_empty() {
            self.found.remove(&u32::try_from(at).unwrap_or(u32::MAX));
        }
        let (keeps, node) = (self.nodes[at].keeps(), &mut self.nodes[at]);
        let Some(length) = node.result.as_ref().map(|data| data.bytes().len()) else { return };
        if !keeps {
            (node.result, node.dropped) = (None, true);
        } else if !std::mem::replace(&mut node.listed, true) {
            // The age of results has no limit, so their times do not matter.
            self.kept.push(u32::try_from(at).unwrap_or(u32::MAX), length, Tick::default());
        }
        while self.kept.over_limit().is_some() {
            self.kept.pop(|oldest| {
                let node = &mut self.nodes[oldest as usize];
                node.listed = false;
                let length = node.result.as_ref().map_or(0, |data| data.bytes().len());
                // A step that was added since may need the result; then it is listed again later.
                if node.readers == 0 {
                    (node.result, node.dropped) = (None, true);
                }
                length
            });
        }
    }
}

enum UpstreamKey<'a> {
    Id(TaskId),
    Name(&'a str),
}

impl UpstreamKey<'_> {
    fn write(self, text: &mut Splicer) {
        match self {
            Self::Id(id) => text.id(id),
            Self::Name(name) => text.string(name),
        }
    }
}

/// The text of an object without its closing brace.
fn without_brace(text: &Bytes) -> Bytes {
    let trimmed = text.trim_ascii_end();
    text.slice_ref(trimmed.strip_suffix(b"}").unwrap_or(trimmed).trim_ascii_end())
}
