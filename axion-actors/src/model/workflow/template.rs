//! Templates: parameters with references, which the results of other steps replace.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::path::{JsonPath, PathError};
use crate::model::TaskId;

/// A step's result, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The step's name, or the id of a task: of a step, or of any other task that the step depends on.
    pub step: Arc<str>,
    /// The part of the result. The empty path means the whole.
    pub path: JsonPath,
    /// The value, as JSON text, if the step has ended without a result: it was skipped, for example. A path that leads
    /// nowhere in a result is a mistake all the same.
    pub default: Option<Arc<str>>,
}

impl Reference {
    /// A reference to the whole result of a step.
    #[must_use]
    pub fn to(step: impl Into<Arc<str>>) -> Self {
        Self { step: step.into(), path: JsonPath::default(), default: None }
    }

    /// Narrows the reference to a part: `Reference::to("extract").at("rows[0].id")`.
    ///
    /// # Errors
    /// If `path` is not a valid path.
    pub fn at(mut self, path: &str) -> Result<Self, PathError> {
        self.path = path.parse()?;
        Ok(self)
    }

    /// Sets the value for a step that has ended without a result: `Reference::to("estimate").or(&json!(null))`.
    #[must_use]
    pub fn or(mut self, value: &Value) -> Self {
        self.default = Some(value.to_string().into());
        self
    }

    /// The object that stands for the reference in JSON.
    fn to_json(&self) -> String {
        let mut text = format!("{{\"$ref\":{}", Value::from(&*self.step));
        if !self.path.segments().is_empty() {
            text.push_str(&format!(",\"path\":{}", Value::from(self.path.to_string())));
        }
        if let Some(default) = &self.default {
            text.push_str(&format!(",\"default\":{default}"));
        }
        text + "}"
    }

    /// The task id, if the reference names its step by id.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        self.step.parse().ok()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = matches!(self.path.segments().first(), Some(super::path::Segment::Key(_)))
            && !self.path.to_string().starts_with('[');
        write!(f, "{}{}{}", self.step, if dot { "." } else { "" }, self.path)
    }
}

/// Shorter texts are copied, because a separate piece costs more.
const SHARE_FROM: usize = 512;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Literal JSON text.
    Text(#[serde(with = "crate::model::raw")] Bytes),
    /// A reference, which a step's result replaces.
    Ref(Reference),
}

/// A JSON text with references in the place of values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// Parameters that are not a valid template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The path of a reference is invalid.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An object has `$ref` but is not a reference.
    #[error(
        "{found} is not a reference: it needs {{\"$ref\": \"STEP\"}}, and may have \"path\": \"rows[0].id\" and \
         \"default\": VALUE"
    )]
    Shape {
        /// The object.
        found: String,
    },
}

impl Template {
    /// A template of JSON text without references.
    #[must_use]
    pub fn of_text(text: impl Into<Bytes>) -> Self {
        Self { pieces: vec![Piece::Text(text.into())] }
    }

    /// Reads a template. Every `{"$ref": "extract", "path": "rows[0].id"}` in `params` becomes a reference.
    ///
    /// # Errors
    /// If an object has `$ref` but is not a valid reference.
    pub fn from_json(params: &Value) -> Result<Self, TemplateError> {
        let mut writer = TemplateWriter::default();
        writer.value(params)?;
        Ok(writer.finish())
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The JSON text, in which each reference is its object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(&String::from_utf8_lossy(piece)),
                Piece::Ref(reference) => text.push_str(&reference.to_json()),
            }
        }
        text
    }

    /// The references.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Ref(reference) => Some(reference),
            Piece::Text(_) => None,
        })
    }
}

/// Builds a template from its beginning to its end.
#[derive(Debug, Default)]
pub struct TemplateWriter {
    done: Vec<Piece>,
    text: String,
}

impl TemplateWriter {
    /// Adds JSON text.
    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds another template. Its long texts are shared, not copied.
    pub fn template(&mut self, other: &Template) {
        for piece in &other.pieces {
            match piece {
                Piece::Text(text) if text.len() < SHARE_FROM => self.text.push_str(&String::from_utf8_lossy(text)),
                piece => {
                    self.flush();
                    self.done.push(piece.clone());
                }
            }
        }
    }

    /// Adds a reference.
    pub fn reference(&mut self, reference: Reference) {
        self.flush();
        self.done.push(Piece::Ref(reference));
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.done.push(Piece::Text(std::mem::take(&mut self.text).into()));
        }
    }

    /// Returns the template.
    #[must_use]
    pub fn finish(mut self) -> Template {
        self.flush();
        Template { pieces: self.done }
    }

    fn value(&mut self, value: &Value) -> Result<(), TemplateError> {
        match value {
            Value::Object(members) if members.contains_key("$ref") => self.reference(read(value, members)?),
            Value::Object(members) => {
                for (place, (key, member)) in members.iter().enumerate() {
                    self.text(if place == 0 { "{" } else { "," });
                    self.text(&Value::from(key.as_str()).to_string());
                    self.text(":");
                    self.value(member)?;
                }
                self.text(if members.is_empty() { "{}" } else { "}" });
            }
            Value::Array(elements) => {
                for (place, element) in elements.iter().enumerate() {
                    self.text(if place == 0 { "[" } else { "," });
                    self.value(element)?;
                }
                self.text(if elements.is_empty() { "[]" } else { "]" });
            }
            plain => self.text(&plain.to_string()),
        }
        Ok(())
    }
}

fn read(value: &Value, members: &serde_json::Map<String, Value>) -> Result<Reference, TemplateError> {
    let shape = || TemplateError::Shape { found: value.to_string() };
    if members.keys().any(|key| !["$ref", "path", "default"].contains(&key.as_str())) {
        return Err(shape());
    }
    let reference = match (members.get("$ref"), members.get("path")) {
        (Some(Value::String(step)), None) => Reference::to(step.as_str()),
        (Some(Value::String(step)), Some(Value::String(path))) => Reference::to(step.as_str()).at(path)?,
        _ => return Err(shape()),
    };
    Ok(match members.get("default") {
        Some(default) => reference.or(default),
        None => reference,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_at_any_depth() {
        let params = json!({"a": [1, {"$ref": "x", "path": "rows[0]"}], "b": {}, "c": {"$ref": "y"}});
        let template = Template::from_json(&params).expect("a template");
        let names: Vec<String> = template.references().map(ToString::to_string).collect();
        assert_eq!(names, ["x.rows[0]", "y"]);
        assert_eq!(template.pieces()[0], Piece::Text(r#"{"a":[1,"#.into()));
        assert_eq!(template.pieces()[2], Piece::Text(r#"],"b":{},"c":"#.into()));
    }

    #[test]
    fn a_reference_may_have_a_default_and_null_is_one() {
        let params = json!([{"$ref": "x", "default": null}, {"$ref": "y", "path": "a", "default": {"n": [1]}}]);
        let template = Template::from_json(&params).expect("a template");
        let defaults: Vec<_> = template.references().map(|it| it.default.as_deref()).collect();
        assert_eq!(defaults, [Some("null"), Some(r#"{"n":[1]}"#)]);
        let again: Value = serde_json::from_str(&template.to_json()).expect("JSON");
        assert_eq!(again, params);
    }

    #[test]
    fn an_invalid_reference_is_refused() {
        for params in [json!({"$ref": 1}), json!({"$ref": "x", "paht": "a"}), json!([{"$ref": "x", "path": ".a"}])] {
            assert!(Template::from_json(&params).is_err(), "{params}");
        }
    }
}
