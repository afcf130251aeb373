//! What users of other tools write in a flow: YAML, and `${…}` in the place of a reference. Each gets one answer, with
//! the form that a flow has.

use std::collections::HashSet;

use axion_actors::model::workflow::JsonPath;

use super::tree::{Node, NodeValue};
use super::{Diagnostic, Format, Span};

/// The number of further places that a report shows.
const SHOWN: usize = 10;

/// What a flow in YAML is told.
pub(super) const YAML: &str = "YAML is not read: write the flow as TOML, or as JSON in a file whose name ends in .json";

/// Replaces the mistakes in a text that is neither TOML nor JSON by what they come from, if that is known.
pub(super) fn explain_syntax(text: &str, format: Format, problems: &mut Vec<Diagnostic>) {
    if let Some(span) = yaml_line(text) {
        *problems = vec![Diagnostic::new(&span, YAML, "this is YAML")];
        return;
    }
    let mut found: Vec<Span> = Vec::new();
    problems.retain(|problem| {
        let Some(at) = problem.span.as_ref().map(|span| text.floor_char_boundary(span.start)) else { return true };
        let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let Some((within, _)) = placeholders(line).next() else { return true };
        let span = start + within.start..start + within.end;
        if !found.contains(&span) {
            found.push(span);
        }
        false
    });
    problems.extend(report(text, &found, &Meaning::Unknown, format));
}

/// The first line that has content, if it is YAML and neither TOML nor JSON.
fn yaml_line(text: &str) -> Option<Span> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let place = start..start + content.len();
        start += line.len();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let is_key = |key: &str| !key.is_empty() && key.chars().all(|it| it.is_alphanumeric() || "_-".contains(it));
        let member = content.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
        let is_yaml = content == "---" || content.starts_with("- ") || member.is_some_and(|(key, _)| is_key(key));
        return is_yaml.then_some(place);
    }
    None
}

/// Reports `${…}` in the texts of a flow. It is left alone if it names nothing of the flow and is only a part of a text:
/// that may be meant for a shell.
pub(super) fn check(text: &str, format: Format, tree: &Node) -> Option<Diagnostic> {
    if !text.contains("${") {
        return None;
    }
    let mut names = FlowNames::default();
    names.params.extend(tree.get("params").map(Node::members).unwrap_or_default().iter().map(|it| it.0.text.as_str()));
    let steps = tree.get("steps").map(Node::list).unwrap_or_default();
    names.steps.extend(steps.iter().filter_map(|step| step.get("name")?.text()));
    let mut found = Vec::new();
    names.collect(tree, &mut found);
    let spans: Vec<Span> = found.iter().map(|(span, _)| span.clone()).collect();
    report(text, &spans, &found.first()?.1, format)
}

/// The names that a `${…}` can mean.
#[derive(Default)]
struct FlowNames<'a> {
    params: HashSet<&'a str>,
    steps: HashSet<&'a str>,
}

/// What a `${…}` stands for.
#[derive(Debug)]
enum Meaning {
    Param(String),
    Step(String, String),
    Unknown,
}

impl FlowNames<'_> {
    /// The depth of trees is bounded, so the recursion is bounded, too.
    fn collect(&self, node: &Node, found: &mut Vec<(Span, Meaning)>) {
        match &node.value {
            NodeValue::Text(text) => {
                let mut all = placeholders(text).map(|(place, content)| (place, self.meaning(content)));
                let reported =
                    all.find(|(place, meaning)| *place == (0..text.len()) || !matches!(meaning, Meaning::Unknown));
                found.extend(reported.map(|(_, meaning)| (node.span.clone(), meaning)));
            }
            NodeValue::List(elements) => elements.iter().for_each(|it| self.collect(it, found)),
            NodeValue::Table(members) => {
                members.iter().filter(|(key, _)| key.text != "description").for_each(|(_, it)| self.collect(it, found));
            }
            _ => {}
        }
    }

    fn meaning(&self, content: &str) -> Meaning {
        let known = |text: &str| {
            let end = text.find(['.', '[']).unwrap_or(text.len());
            let (name, path) = (&text[..end], text[end..].trim_start_matches('.'));
            match (self.params.contains(name), self.steps.contains(name), path.parse::<JsonPath>()) {
                (true, ..) if path.is_empty() => Some(Meaning::Param(name.to_owned())),
                (_, true, Ok(_)) => Some(Meaning::Step(name.to_owned(), path.to_owned())),
                _ => None,
            }
        };
        // Other tools put the kind in front: ${params.rows}, ${steps.load.count}.
        known(content).or_else(|| known(content.split_once('.')?.1)).unwrap_or(Meaning::Unknown)
    }
}

/// The `${…}` and `${{…}}` in a text: their places, and what is between the braces.
fn placeholders(text: &str) -> impl Iterator<Item = (Span, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find("${")?;
        let double = text[start..].starts_with("${{");
        let (open, close) = if double { (3, "}}") } else { (2, "}") };
        let length = text[start + open..].find(close)?;
        from = start + open + length + close.len();
        Some((start..from, text[start + open..start + open + length].trim()))
    })
}

/// One report for all places.
fn report(text: &str, spans: &[Span], meaning: &Meaning, format: Format) -> Option<Diagnostic> {
    let (first, others) = spans.split_first()?;
    let written = text.get(first.clone()).unwrap_or_default().trim_matches('"');
    let words = format!("{written} is no reference in a flow: a reference is a table, in the place of a whole value");
    let mut problem = Diagnostic::new(first, words, "not replaced").help(Some(help(meaning, format)));
    problem.related = others.iter().take(SHOWN).map(|span| (span.clone(), "nor this".to_owned())).collect();
    Some(problem)
}

fn help(meaning: &Meaning, format: Format) -> String {
    let (param, step) = match format {
        Format::Toml => ("{ \"$param\" = \"NAME\" }", "{ \"$ref\" = \"STEP\", path = \"PATH\" }"),
        Format::Json => ("{\"$param\": \"NAME\"}", "{\"$ref\": \"STEP\", \"path\": \"PATH\"}"),
    };
    let whole = step.split_once(',').map_or(step, |(whole, _)| whole);
    match meaning {
        Meaning::Param(name) => format!("write {}", param.replace("NAME", name)),
        Meaning::Step(name, path) if path.is_empty() => {
            let end = if format == Format::Toml { " }" } else { "}" };
            format!("write {}{end}", whole.replace("STEP", name))
        }
        Meaning::Step(name, path) => {
            let path = path.replace('"', "\\\"");
            format!("write {}", step.replace("STEP", name).replace("PATH", &path))
        }
        Meaning::Unknown => format!("write {param} for a parameter of the flow, {step} for a part of a step's result"),
    }
}
