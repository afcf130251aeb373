//! Parameters in a flow: JSON text with references.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use axion_actors::model::workflow::{Piece, Reference, Template, TemplateWriter};
use serde_json::Value as Json;

use super::tree::{Node, NodeKey, NodeValue};
use super::{Diagnostic, GUESSES, Span};
use crate::similar::{did_you_mean, nearest};

/// The flow's own parameters. Each is rendered once, because many steps may use the same one, and it may be large.
pub(super) struct FlowParams<'a> {
    members: &'a [(NodeKey, Node)],
    places: HashMap<&'a str, usize>,
    written: HashMap<usize, Rc<RenderedParam>>,
}

/// One parameter as a template, with the steps that it references.
#[derive(Default)]
struct RenderedParam {
    template: Template,
    references: Vec<(String, Span)>,
}

impl<'a> FlowParams<'a> {
    pub(super) fn of(params: Option<&'a Node>) -> Self {
        let members = params.map(Node::members).unwrap_or_default();
        let places = members.iter().enumerate().map(|(at, (key, _))| (key.text.as_str(), at)).collect();
        Self { members, places, written: HashMap::new() }
    }

    /// Renders a parameter. Its mistakes are reported once.
    fn get(&mut self, name: &str, problems: &mut Vec<Diagnostic>) -> Option<Rc<RenderedParam>> {
        let at = *self.places.get(name)?;
        if let Some(written) = self.written.get(&at) {
            return Some(written.clone());
        }
        let mut references = Vec::new();
        let mut none = FlowParams::of(None);
        let mut inside = TemplateReader { own: &mut none, references: &mut references, problems, inside: true };
        let template = inside.template(&self.members.get(at)?.1);
        let written = Rc::new(RenderedParam { template, references });
        self.written.insert(at, written.clone());
        Some(written)
    }
}

/// Reads parameters and collects the steps that they reference.
pub(super) struct TemplateReader<'a, 'o> {
    /// The flow's own parameters.
    own: &'a mut FlowParams<'o>,
    /// All references, with their places.
    references: &'a mut Vec<(String, Span)>,
    problems: &'a mut Vec<Diagnostic>,
    /// Whether the reader is inside the flow's own parameters.
    inside: bool,
}

impl<'a, 'o> TemplateReader<'a, 'o> {
    pub(super) fn new(
        own: &'a mut FlowParams<'o>,
        references: &'a mut Vec<(String, Span)>,
        problems: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self { own, references, problems, inside: false }
    }

    /// The template for a table of parameters.
    pub(super) fn template(&mut self, node: &Node) -> Template {
        let mut writer = TemplateWriter::default();
        self.write(node, &mut writer);
        writer.finish()
    }

    /// The depth of trees is bounded, so the recursion is bounded, too.
    fn write(&mut self, node: &Node, writer: &mut TemplateWriter) {
        match &node.value {
            NodeValue::Null => writer.text("null"),
            NodeValue::Bool(it) => writer.text(if *it { "true" } else { "false" }),
            NodeValue::Number(text) => writer.text(text),
            NodeValue::Text(text) => writer.text(&Json::from(text.as_str()).to_string()),
            NodeValue::List(elements) => {
                writer.text("[");
                for (place, element) in elements.iter().enumerate() {
                    writer.text(if place == 0 { "" } else { "," });
                    self.write(element, writer);
                }
                writer.text("]");
            }
            NodeValue::Table(_) if node.get("$ref").is_some() => match self.reference(node) {
                Some(reference) => writer.reference(reference),
                None => writer.text("null"),
            },
            NodeValue::Table(_) if node.get("$param").is_some() => self.param(node, writer),
            NodeValue::Table(members) => {
                self.check_keys(members);
                writer.text("{");
                for (place, (key, member)) in members.iter().enumerate() {
                    writer.text(if place == 0 { "" } else { "," });
                    writer.text(&Json::from(key.text.as_str()).to_string());
                    writer.text(":");
                    self.write(member, writer);
                }
                writer.text("}");
            }
        }
    }

    /// A key that is nearly one of a reference would pass as data. Keys such as `$schema` and `$set` are data.
    fn check_keys(&mut self, members: &[(NodeKey, Node)]) {
        for (key, _) in members.iter().filter(|(key, _)| key.text.starts_with('$')) {
            if let Some(meant) = nearest(&key.text, ["$ref", "$param"]) {
                let words = format!("`{}` makes no reference", key.text);
                let help = format!("did you mean `{meant}`?");
                self.problems.push(Diagnostic::new(&key.span, words, "no such reference").help(Some(help)));
            }
        }
    }

    fn reference(&mut self, node: &Node) -> Option<Reference> {
        const KEYS: [&str; 3] = ["$ref", "path", "default"];
        for (key, _) in node.members().iter().filter(|(key, _)| !KEYS.contains(&key.text.as_str())) {
            let words = format!("a reference has no key `{}`", key.text);
            let help = did_you_mean(&key.text, KEYS);
            self.problems.push(Diagnostic::new(&key.span, words, "unknown key").help(help));
        }
        let step = node.get("$ref")?;
        let Some(name) = step.text() else {
            self.problems.push(Diagnostic::new(&step.span, "`$ref` must be the name of a step", "must be a text"));
            return None;
        };
        self.references.push((name.to_owned(), step.span.clone()));
        let mut reference = Reference::to(name);
        if let Some(path) = node.get("path") {
            match path.text().map(|text| reference.clone().at(text)) {
                Some(Ok(narrowed)) => reference = narrowed,
                // The path is invalid, but the step is still looked up.
                Some(Err(error)) => self.problems.push(Diagnostic::new(&path.span, error.to_string(), error.what)),
                None => self.problems.push(Diagnostic::new(&path.span, "`path` must be a text", "must be a text")),
            }
        }
        reference.default = node.get("default").and_then(|it| self.default(it));
        Some(reference)
    }

    /// The default of a reference as JSON text. It may contain the flow's own parameters, but no reference.
    pub(super) fn default(&mut self, node: &Node) -> Option<Arc<str>> {
        let known = self.references.len();
        let template = self.template(node);
        if self.references.len() > known {
            self.references.truncate(known);
            let words = "the default of a reference cannot contain a reference";
            self.problems.push(Diagnostic::new(&node.span, words, "must be a value"));
            return None;
        }
        let texts = template.pieces().iter().map(|piece| match piece {
            Piece::Text(text) => String::from_utf8_lossy(text),
            Piece::Ref(_) => "null".into(),
        });
        Some(texts.collect::<String>().into())
    }

    fn param(&mut self, node: &Node, writer: &mut TemplateWriter) {
        let wanted = node.get("$param").unwrap_or(node);
        let guess = self.problems.len() <= GUESSES;
        let Some(name) = wanted.text().filter(|_| node.members().len() == 1 && !self.inside) else {
            let words = if self.inside {
                "the flow's own parameters cannot refer to each other".to_owned()
            } else {
                "{\"$param\": \"NAME\"} needs the name of a parameter of the flow, and nothing else".to_owned()
            };
            self.problems.push(Diagnostic::new(&wanted.span, words, "not a parameter of the flow"));
            return writer.text("null");
        };
        match self.own.get(name, self.problems) {
            Some(written) => {
                writer.template(&written.template);
                self.references.extend(written.references.iter().cloned());
            }
            None => {
                let own = if guess { self.own.members } else { &[] };
                let names = own.iter().map(|(key, _)| key.text.as_str());
                let help = did_you_mean(name, names).unwrap_or_else(|| format!("add `{name}` to the flow's `params`"));
                let problem = Diagnostic::new(
                    &wanted.span,
                    format!("the flow has no parameter `{name}`"),
                    "not a parameter of the flow",
                );
                self.problems.push(problem.help(Some(help)));
                writer.text("null");
            }
        }
    }
}
