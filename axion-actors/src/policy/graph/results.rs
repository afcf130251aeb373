//! Results on their way from step to step, and how long they are kept.

use super::Graph;
use super::json::{self, Params, Splicer};
use crate::model::workflow::{JsonPath, Piece, Reference, StepError, StepState, UpstreamKeys};
use bytes::Bytes;

/// The error of a reference that leads nowhere.
pub(super) fn unresolved(reference: &Reference, found: &JsonPath, what: String) -> StepError {
    let place = Reference { step: reference.step.clone(), path: found.clone() }.to_string();
    StepError::Unresolved { reference: Box::new(reference.clone()), place, found: what }
}

impl Graph {
    /// The JSON text a reference leads to: a slice of the step's result.
    pub(super) fn look_up(&self, reference: &Reference) -> Result<Bytes, StepError> {
        let node = self.directory.by_name(&reference.step).map(|node| &self.nodes[node as usize]);
        match node.map(|node| (node, &node.result)) {
            Some((_, Some(data))) => json::resolve(&data.0, &reference.path)
                .map_err(|missing| unresolved(reference, &reference.path.first(missing.found), missing.what)),
            Some((node, None)) if node.dropped => {
                Err(unresolved(reference, &JsonPath::default(), "a result that is not kept".to_owned()))
            }
            found => {
                let state = found.map_or(StepState::Waiting, |(node, _)| node.state);
                Err(StepError::NoResult { reference: Box::new(reference.clone()), state })
            }
        }
    }

    /// The parameters of a step that is about to be handed over.
    pub(super) fn params(&self, at: usize) -> Result<Params, StepError> {
        let node = &self.nodes[at];
        match &node.task {
            Some(task) if node.deps.is_empty() && self.rules(at).params.is_none() => {
                Ok(task.params_bytes().clone().into())
            }
            _ => {
                let mut text = self.open_params(at, None)?;
                text.text(b"}");
                Ok(text.finish())
            }
        }
    }

    /// The same without the brace at the end; `leave_out` is a dependency whose result is not
    /// wanted.
    pub(super) fn open_params(&self, at: usize, leave_out: Option<u32>) -> Result<Splicer, StepError> {
        let node = &self.nodes[at];
        let mut text = Splicer::default();
        match (&self.rules(at).params, &node.task) {
            (Some(template), _) => {
                let last = template.pieces().len().saturating_sub(1);
                for (place, piece) in template.pieces().iter().enumerate() {
                    match piece {
                        Piece::Text(piece) if place == last => text.shared(&without_brace(piece)),
                        Piece::Text(piece) => text.shared(piece),
                        Piece::Ref(reference) => text.shared(&self.look_up(reference)?),
                    }
                }
            }
            (None, Some(task)) => text.shared(&without_brace(task.params_bytes())),
            (None, None) => text.text(b"{"),
        }
        if node.deps.is_empty() {
            return Ok(text);
        }
        let empty = text.ends_with(b'{');
        text.text(if empty { b"\"upstream_results\":{" } else { b",\"upstream_results\":{" });
        let deps = || node.deps.iter().filter(|dep| Some(**dep) != leave_out).map(|dep| &self.nodes[*dep as usize]);
        let mut first = true;
        for (dep, data) in deps().filter_map(|dep| dep.result.as_ref().map(|data| (dep, data))) {
            for key in self.keys(dep).into_iter().flatten() {
                text.text(if std::mem::take(&mut first) { b"" } else { b"," });
                text.string(&key);
                text.text(b":");
                text.shared(&data.0);
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
                    text.string(&key);
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
        Ok(text)
    }

    /// Under which names a dependent finds what it got from this node.
    fn keys(&self, dep: &super::node::Node) -> [Option<String>; 2] {
        let id = || Some(dep.id.to_string());
        match (&dep.name, self.upstream) {
            (None, _) | (_, UpstreamKeys::Ids) => [id(), None],
            (Some(name), UpstreamKeys::Names) => [Some(name.to_string()), None],
            (Some(name), UpstreamKeys::Both) => [id(), Some(name.to_string())],
        }
    }

    /// A step has read what it reads of its dependencies.
    pub(super) fn release_deps(&mut self, at: usize) {
        for place in 0..self.nodes[at].deps.len() {
            let dep = self.nodes[at].deps[place] as usize;
            let node = &mut self.nodes[dep];
            node.readers = node.readers.saturating_sub(1);
            if node.readers == 0 && node.state.is_final() {
                self.unread(dep);
            }
        }
    }

    /// No step waits for this result any more: only the record may keep it, within its bound (L9).
    pub(super) fn unread(&mut self, at: usize) {
        let (keeps, node) = (self.nodes[at].keeps(), &mut self.nodes[at]);
        let Some(length) = node.result.as_ref().map(|data| data.0.len()) else { return };
        if !keeps {
            (node.result, node.dropped) = (None, true);
        } else if !std::mem::replace(&mut node.listed, true) {
            self.kept.push_back(u32::try_from(at).unwrap_or(u32::MAX));
            self.kept_bytes += length;
        }
        while self.kept_bytes > self.bounds.kept_bytes
            && let Some(oldest) = self.kept.pop_front()
        {
            let node = &mut self.nodes[oldest as usize];
            node.listed = false;
            self.kept_bytes -= node.result.as_ref().map_or(0, |data| data.0.len());
            // Steps that were added since may wait for it again; they list it anew.
            if node.readers == 0 {
                (node.result, node.dropped) = (None, true);
            }
        }
    }
}

/// An object's text without the brace at its end.
fn without_brace(text: &Bytes) -> Bytes {
    let trimmed = text.trim_ascii_end();
    text.slice_ref(trimmed.strip_suffix(b"}").unwrap_or(trimmed).trim_ascii_end())
}
