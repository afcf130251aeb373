//! Changes that the command line makes to a flow before it is read.

use axion_actors::model::workflow::{JsonPath, Segment};

use super::tree::{Node, NodeKey, NodeValue, from_json};
use super::{Diagnostic, Span};
use crate::params::{GivenParam, Params, ParamsText, json_text, read_value};
use crate::similar::did_you_mean;

/// Changes to a flow's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// They replace the flow's own parameters of the same names.
    pub params: Params,
    /// Parameters of steps, each as `STEP.KEY=VALUE`. A value that is not JSON is used as text.
    pub set: Vec<String>,
}

impl Overrides {
    /// Changes the tree. A change that is not possible is a mistake without a place.
    pub(super) fn apply(&self, tree: &mut Node, problems: &mut Vec<Diagnostic>) {
        if let Some(ParamsText { source, text }) = self.params.document() {
            match from_json(text, &mut Vec::new()) {
                Some(Node { value: NodeValue::Table(members), .. }) => {
                    for (key, value) in members {
                        replace(tree, source, &key.text, value, problems);
                    }
                }
                other => {
                    let kind = other.as_ref().map_or("this", Node::kind);
                    let words = format!("{source} must be a JSON object, not {kind}");
                    problems.push(Diagnostic::elsewhere(words, "must be an object"));
                }
            }
        }
        for GivenParam { source, key, json, .. } in self.params.values() {
            if let Some(value) = from_json(json, &mut Vec::new()) {
                replace(tree, source, key, value, problems);
            }
        }
        for set in &self.set {
            if let Err(mut problem) = set_one(tree, set) {
                problem.message = format!("--set {set}: {}", problem.message);
                problems.push(*problem);
            }
        }
    }
}

/// Gives a value from the command line the place of the value that it replaces.
fn moved(mut node: Node, span: &Span) -> Node {
    node.span = span.clone();
    node.value = match node.value {
        NodeValue::List(elements) => NodeValue::List(elements.into_iter().map(|it| moved(it, span)).collect()),
        NodeValue::Table(members) => {
            let each = |(key, it): (NodeKey, Node)| (NodeKey { span: span.clone(), ..key }, moved(it, span));
            NodeValue::Table(members.into_iter().map(each).collect())
        }
        plain => plain,
    };
    node
}

/// Replaces a parameter of the flow.
fn replace(tree: &mut Node, source: &str, key: &str, value: Node, problems: &mut Vec<Diagnostic>) {
    let mut none = Vec::new();
    let own = members_mut(tree).and_then(|members| members.iter_mut().find(|(key, _)| key.text == "params"));
    let own = own.and_then(|(_, node)| members_mut(node)).unwrap_or(&mut none);
    match own.iter_mut().find(|(it, _)| it.text == key) {
        Some((_, node)) => *node = moved(value, &node.span.clone()),
        None => {
            let help = did_you_mean(key, own.iter().map(|(it, _)| it.text.as_str())).unwrap_or_else(|| {
                "the flow's `params` name what may be given; --set changes those of a step".to_owned()
            });
            let words = format!("{source}: the flow has no parameter `{key}`");
            problems.push(Diagnostic::elsewhere(words, "unknown").help(Some(help)));
        }
    }
}

fn members_mut(node: &mut Node) -> Option<&mut Vec<(NodeKey, Node)>> {
    match &mut node.value {
        NodeValue::Table(members) => Some(members),
        _ => None,
    }
}

fn set_one(tree: &mut Node, set: &str) -> Result<(), Box<Diagnostic>> {
    let wrong = |words: String| Box::new(Diagnostic::elsewhere(words, "not set"));
    let expected = || wrong("expected STEP.KEY=VALUE".to_owned());
    let Some((target, value)) = set.split_once('=').filter(|(target, _)| target.trim_start_matches('.').contains('.'))
    else {
        return Err(expected());
    };
    let names: Vec<String> = steps(tree).filter_map(|it| it.get("name")?.text().map(str::to_owned)).collect();
    // A step's name may contain dots: the longest name that fits is used.
    let split = target.match_indices('.').map(|(at, _)| (&target[..at], &target[at + 1..]));
    let Some((name, key)) = split.rev().find(|(name, _)| names.iter().any(|it| it == name)) else {
        let name = target.split('.').next().unwrap_or_default();
        let help = did_you_mean(name, names.iter().map(String::as_str));
        let mut unknown = wrong(format!("the flow has no step `{name}`"));
        unknown.help = help;
        return Err(unknown);
    };
    let path: JsonPath = key.parse().map_err(|error| wrong(format!("{error}")))?;
    if path.segments().is_empty() {
        return Err(expected());
    }
    let name = name.to_owned();
    let step = members_mut(tree).and_then(|members| members.iter_mut().find(|(key, _)| key.text == "steps")).and_then(
        |(_, node)| match &mut node.value {
            NodeValue::List(steps) => steps.iter_mut().find(|it| it.get("name").and_then(Node::text) == Some(&name)),
            _ => None,
        },
    );
    let Some(step) = step else { return Err(wrong(format!("the flow has no step `{name}`"))) };
    let span = step.get("name").map_or_else(|| step.span.clone(), |it| it.span.clone());
    let json = read_value(value).map_err(|wrong| {
        let text = format!("--set '{target}={}'", json_text(value));
        wrong.diagnostic("", &text, |json| format!("--set {target}={json}"))
    })?;
    // A value by key is valid.
    let value = from_json(&json, &mut Vec::new()).ok_or_else(expected)?;
    let value = moved(value, &span);
    let mut here = member_or_new(step, "params", &span).ok_or_else(|| wrong("`params` is not a table".to_owned()))?;
    for (depth, segment) in path.segments().iter().enumerate() {
        // A reference has no value yet, so no part of it can be set.
        if let Some(stands_for) = here.get("$param").or_else(|| here.get("$ref")).and_then(Node::text) {
            let place = path.first(depth);
            return Err(wrong(format!("`{place}` stands for `{stands_for}`: set the whole of it, or use -p")));
        }
        let kind = here.kind();
        let next = match segment {
            Segment::Key(key) => member_or_new(here, key, &span),
            Segment::Index(index) => match &mut here.value {
                NodeValue::List(elements) => elements.get_mut(*index),
                _ => None,
            },
        };
        here = next.ok_or_else(|| wrong(format!("`{path}` leads nowhere: it ends at {kind}")))?;
    }
    *here = value;
    Ok(())
}

fn steps(tree: &Node) -> impl Iterator<Item = &Node> {
    tree.get("steps").map(Node::list).unwrap_or_default().iter()
}

fn member_or_new<'a>(node: &'a mut Node, key: &str, span: &Span) -> Option<&'a mut Node> {
    let members = members_mut(node)?;
    let at = members.iter().position(|(it, _)| it.text == key).unwrap_or_else(|| {
        let value = Node { span: span.clone(), value: NodeValue::Table(Vec::new()) };
        members.push((NodeKey { text: key.to_owned(), span: span.clone() }, value));
        members.len() - 1
    });
    members.get_mut(at).map(|(_, node)| node)
}
