//! One tree for TOML and JSON, in which every key and value has its place in the text.

use std::borrow::Cow;

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use crate::diagnostics::{Diagnostic, Span, json_error_span, json_error_words};
use crate::json::{JsonReader, MAX_DEPTH, Member, too_deep};

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: NodeValue,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    /// The number as JSON writes it, with all its digits.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(NodeKey, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeKey {
    pub(super) text: String,
    pub(super) span: Span,
}

impl Node {
    /// The value of a key, if this is a table.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            NodeValue::Table(members) => members.iter().find(|(it, _)| it.text == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            NodeValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub(super) fn number(&self) -> Option<f64> {
        match &self.value {
            NodeValue::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The whole number from 0, if this is one. It may be written as 2.0.
    pub(super) fn count(&self) -> Option<u64> {
        match &self.value {
            NodeValue::Number(text) => text.trim_end_matches('0').strip_suffix('.').unwrap_or(text).parse().ok(),
            _ => None,
        }
    }

    /// The elements, if this is a list.
    pub(super) fn list(&self) -> &[Self] {
        match &self.value {
            NodeValue::List(elements) => elements,
            _ => &[],
        }
    }

    /// The members, if this is a table.
    pub(super) fn members(&self) -> &[(NodeKey, Self)] {
        match &self.value {
            NodeValue::Table(members) => members,
            _ => &[],
        }
    }

    /// A short description of the value.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            NodeValue::Null => "null",
            NodeValue::Bool(_) => "true or false",
            NodeValue::Number(_) => "a number",
            NodeValue::Text(_) => "a text",
            NodeValue::List(_) => "a list",
            NodeValue::Table(_) => "a table",
        }
    }

    /// The value as a `serde_json` value.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            NodeValue::Null => serde_json::Value::Null,
            NodeValue::Bool(it) => (*it).into(),
            NodeValue::Number(text) => serde_json::from_str(text).unwrap_or_default(),
            NodeValue::Text(text) => text.as_str().into(),
            NodeValue::List(elements) => elements.iter().map(Self::to_json).collect(),
            NodeValue::Table(members) => {
                serde_json::Value::Object(members.iter().map(|(key, it)| (key.text.clone(), it.to_json())).collect())
            }
        }
    }
}

/// Reads TOML and reports all syntax errors. Without syntax errors there is a tree, which may contain invalid values.
pub(super) fn from_toml(text: &str, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    problems.extend(errors.iter().map(|error| {
        let words = error.message().trim_end();
        let (first, help) = words.split_once('\n').map_or((words, None), |(first, rest)| (first, Some(rest)));
        let span = error.span().unwrap_or(0..0);
        Diagnostic::new(&span, format!("this is not TOML: {first}"), first).help(help.map(str::to_owned))
    }));
    let span = table.span();
    errors.is_empty().then(|| toml_table(span, table.into_inner(), 1, problems))
}

fn toml_table(span: Span, table: DeTable<'_>, depth: usize, problems: &mut Vec<Diagnostic>) -> Node {
    let mut members: Vec<(NodeKey, Node)> = table
        .into_iter()
        .map(|(key, value)| {
            let (place, at) = (key.span(), value.span());
            let key = NodeKey { text: key.into_inner().into_owned(), span: place };
            (key, toml_value(at, value.into_inner(), depth + 1, problems))
        })
        .collect();
    // A table is sorted by its keys, so the order of the file is restored here.
    members.sort_by_key(|(key, _)| key.span.start);
    Node { span, value: NodeValue::Table(members) }
}

fn toml_value(span: Span, value: DeValue<'_>, depth: usize, problems: &mut Vec<Diagnostic>) -> Node {
    if depth > MAX_DEPTH {
        problems.push(too_deep(&span));
        return Node { span, value: NodeValue::Null };
    }
    let value = match value {
        DeValue::String(text) => NodeValue::Text(Cow::into_owned(text)),
        DeValue::Boolean(it) => NodeValue::Bool(it),
        DeValue::Datetime(it) => NodeValue::Text(it.to_string()),
        DeValue::Integer(it) => match i128::from_str_radix(it.as_str(), it.radix()) {
            Ok(number) => NodeValue::Number(number.to_string()),
            Err(_) => {
                problems.push(Diagnostic::new(&span, "this whole number is too large", "too large"));
                NodeValue::Null
            }
        },
        DeValue::Float(it) => match it.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => NodeValue::Number(number.to_string()),
            None => {
                problems.push(Diagnostic::new(&span, "this number has no form in JSON", "must be finite"));
                NodeValue::Null
            }
        },
        DeValue::Array(elements) => {
            let each = elements.into_iter().map(|it| toml_value(it.span(), it.into_inner(), depth + 1, problems));
            NodeValue::List(each.collect())
        }
        DeValue::Table(table) => return toml_table(span, table, depth, problems),
    };
    Node { span, value }
}

/// Reads JSON. If the syntax is valid, there is a tree, which may contain invalid values.
pub(super) fn from_json(text: &str, problems: &mut Vec<Diagnostic>) -> Option<Node> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(whole) => Some(json_value(&mut JsonReader { text, problems }, whole.get(), 1)),
        Err(error) => {
            problems.push(json_problem(text, &error));
            None
        }
    }
}

fn json_problem(text: &str, error: &serde_json::Error) -> Diagnostic {
    let what = json_error_words(error);
    Diagnostic::new(&json_error_span(text, error), format!("this is not JSON: {what}"), what)
}

fn json_value<'t>(reader: &mut JsonReader<'t, '_>, raw: &'t str, depth: usize) -> Node {
    let span = reader.span(raw);
    if !reader.enters(raw, depth) {
        return Node { span, value: NodeValue::Null };
    }
    let value = match raw.as_bytes().first() {
        Some(b'{') => {
            let members = reader.members(raw);
            let member = |it: Member<'t>| {
                let value = json_value(reader, it.value, depth + 1);
                (NodeKey { text: it.key, span: it.span }, value)
            };
            NodeValue::Table(members.into_iter().map(member).collect())
        }
        Some(b'[') => {
            let elements = reader.elements(raw);
            NodeValue::List(elements.into_iter().map(|it| json_value(reader, it.get(), depth + 1)).collect())
        }
        Some(b'"') => NodeValue::Text(serde_json::from_str(raw).unwrap_or_default()),
        Some(b't') => NodeValue::Bool(true),
        Some(b'f') => NodeValue::Bool(false),
        Some(b'n') => NodeValue::Null,
        _ => {
            reader.number(raw);
            NodeValue::Number(raw.to_owned())
        }
    };
    Node { span, value }
}
