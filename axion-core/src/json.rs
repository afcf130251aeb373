//! JSON texts, value by value: each has its place in the text and keeps all its digits.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::diagnostics::{Diagnostic, Diagnostics, Span};

/// The maximum depth of nested values. The code walks values by recursion.
pub(crate) const MAX_DEPTH: usize = 64;

/// The mistakes in a text that is to be JSON: its syntax, keys that stand twice in an object, numbers that are not
/// finite, and values that are nested too deeply.
///
/// # Errors
/// All of them, with their places. `source` is the name of the text.
pub(crate) fn check(source: &str, text: &str) -> Result<(), Diagnostics> {
    let whole = serde_json::from_str::<&RawValue>(text).map_err(|error| Diagnostics::not_json(source, text, &error))?;
    let mut problems = Vec::new();
    JsonReader { text, problems: &mut problems }.check(whole.get(), 1);
    if problems.is_empty() { Ok(()) } else { Err(Diagnostics::new(source, text, problems)) }
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Member<'t> {
    pub(crate) key: String,
    pub(crate) span: Span,
    pub(crate) value: &'t str,
}

/// Walks a valid JSON text by raw values. Each is a slice of the text, which gives its place.
#[derive(Debug)]
pub(crate) struct JsonReader<'t, 'p> {
    pub(crate) text: &'t str,
    pub(crate) problems: &'p mut Vec<Diagnostic>,
}

impl<'t> JsonReader<'t, '_> {
    pub(crate) fn span(&self, part: &str) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        start..start + part.len()
    }

    /// Whether a value at this depth may be walked. Reports one that is too deep.
    pub(crate) fn enters(&mut self, raw: &str, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            self.problems.push(too_deep(&self.span(raw)));
        }
        depth <= MAX_DEPTH
    }

    /// The members of an object, in order. Reports keys that stand twice: which value counts would depend on the reader.
    pub(crate) fn members(&mut self, raw: &'t str) -> Vec<Member<'t>> {
        let members = serde_json::Deserializer::from_str(raw).deserialize_map(Members).unwrap_or_default();
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        let mut found = Vec::with_capacity(members.len());
        for (key, value) in members {
            let span = self.span(key.get());
            let key: String = serde_json::from_str(key.get()).unwrap_or_default();
            if let Some(first) = seen.insert(key.clone(), span.clone()) {
                let mut problem = Diagnostic::new(&span, format!("the key `{key}` stands here twice"), "again");
                problem.related.push((first, "first".to_owned()));
                self.problems.push(problem);
            }
            found.push(Member { key, span, value: value.get() });
        }
        found
    }

    /// The elements of a list.
    pub(crate) fn elements(&self, raw: &'t str) -> Vec<&'t RawValue> {
        serde_json::Deserializer::from_str(raw).deserialize_seq(Elements).unwrap_or_default()
    }

    /// Reports a number that Python would read as infinite.
    pub(crate) fn number(&mut self, raw: &str) {
        let is_whole = !raw.contains(['.', 'e', 'E']);
        if !is_whole && !raw.parse().is_ok_and(f64::is_finite) {
            self.problems.push(Diagnostic::new(&self.span(raw), "this number is too large", "must be finite"));
        }
    }

    fn check(&mut self, raw: &'t str, depth: usize) {
        if !self.enters(raw, depth) {
            return;
        }
        match raw.as_bytes().first() {
            Some(b'{') => self.members(raw).iter().for_each(|member| self.check(member.value, depth + 1)),
            Some(b'[') => self.elements(raw).iter().for_each(|element| self.check(element.get(), depth + 1)),
            Some(b'-' | b'0'..=b'9') => self.number(raw),
            _ => {}
        }
    }
}

pub(crate) fn too_deep(span: &Span) -> Diagnostic {
    Diagnostic::new(span, format!("values are nested more than {MAX_DEPTH} deep"), "too deep")
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}
