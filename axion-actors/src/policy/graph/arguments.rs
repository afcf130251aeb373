//! The arguments of a step's function, and the values that fill the placeholders in them.

use bytes::Bytes;

use super::Graph;
use super::json::{ChunkedBytes, Splicer};
use crate::model::workflow::{Reference, StepError};
use crate::model::{Data, Work, value};

/// Arguments and values, which share their bytes with the results.
#[derive(Clone, Debug)]
pub(super) struct CallArguments {
    /// The arguments, then the values of the placeholders.
    parts: Vec<Bytes>,
}

impl CallArguments {
    /// The bytes of the call. The element of a mapped step is the last value.
    pub(super) fn finish(mut self, element: Option<Bytes>) -> ChunkedBytes {
        self.parts.extend(element);
        let mut whole = Splicer::default();
        whole.text(&value::filled(&self.parts));
        self.parts.iter().for_each(|part| whole.shared(part));
        whole.finish()
    }
}

/// The input of a step before it is handed over.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    /// A script's parameters, without the closing brace.
    Text(Splicer),
    /// A function's arguments.
    CallArguments(CallArguments),
}

impl Default for Prepared {
    fn default() -> Self {
        Self::Text(Splicer::default())
    }
}

impl Graph {
    /// Resolves the references of a step, if it has any.
    pub(super) fn prepare(&self, at: usize) -> Result<Option<Prepared>, StepError> {
        let rules = self.rules(at);
        if !self.is_function(at) {
            self.readable(at)?;
            return rules.params.as_ref().map(|template| self.fill_in(template).map(Prepared::Text)).transpose();
        }
        if rules.inputs.is_empty() { Ok(None) } else { self.call(at).map(Prepared::CallArguments).map(Some) }
    }

    /// The arguments of a function.
    pub(super) fn call(&self, at: usize) -> Result<CallArguments, StepError> {
        let own = self.nodes[at].task.iter().map(|task| Ok(task.params_bytes().clone().into_bytes()));
        let parts = own.chain(self.rules(at).inputs.iter().map(|input| self.value(input))).collect::<Result<_, _>>()?;
        Ok(CallArguments { parts })
    }

    /// The value of a reference in a call: a whole result unchanged, or a part of one as JSON.
    fn value(&self, reference: &Reference) -> Result<Bytes, StepError> {
        if let Some(default) = self.default_of(reference) {
            return Ok(default);
        }
        if reference.path.segments().is_empty() {
            return self.result_of(reference).map(Data::whole);
        }
        self.look_up(reference)
    }

    /// Checks that the dependencies of a script have JSON results. The result of an external task without a description
    /// is not passed on.
    fn readable(&self, at: usize) -> Result<(), StepError> {
        if !self.has_pickles {
            return Ok(());
        }
        for dep in &self.deps[self.nodes[at].deps.heard()] {
            let node = &self.nodes[*dep as usize];
            if let Some(Data::Pickle(pickle)) = &node.result
                && pickle.is_described()
                && let Err(found) = pickle.json()
            {
                return Err(StepError::NotPlain { reference: node.title(), found });
            }
        }
        Ok(())
    }

    pub(super) fn is_function(&self, at: usize) -> bool {
        let task = self.nodes[at].task.as_ref();
        task.is_some_and(|task| matches!(task.work(), Work::Function(_)))
    }
}
