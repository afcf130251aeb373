//! Checks a tree against the schema and reports every invalid value at its place.

use std::time::Duration;

use axion_actors::config::{parse_size, parse_time};
use axion_actors::model::PoolId;
use axion_actors::model::workflow::{Fixed, JsonPath, Memory, Rate};

use super::keys::{FLOW, STEP};
use super::{Part, Schema, TableSchema};
use crate::flow::Diagnostic;
use crate::flow::tree::{Node, NodeValue};
use crate::similar::did_you_mean;

/// Checks a whole flow.
pub(in crate::flow) fn check(tree: &Node, problems: &mut Vec<Diagnostic>) {
    check_table(tree, &FLOW, "the flow", problems);
}

/// Checks a list of steps.
pub(in crate::flow) fn check_steps(list: &Node, problems: &mut Vec<Diagnostic>) {
    if let Some(steps) = FLOW.fields.iter().find(|field| field.name == "steps") {
        check_value(list, &steps.shape, "steps", problems);
    }
}

/// Checks a table that has only some keys of a step or of the flow.
pub(in crate::flow) fn check_part(node: &Node, of: Part, problems: &mut Vec<Diagnostic>) {
    let (table, what): (&TableSchema, _) = match of {
        Part::Flow => (&FLOW, "a workflow"),
        Part::Step => (&STEP, "a step"),
    };
    for (key, value) in node.members() {
        match table.fields.iter().find(|field| field.name == key.text && of.keys().contains(&field.name)) {
            Some(field) => check_value(value, &field.shape, &key.text, problems),
            None => {
                let words = format!("{what} has no option `{}`", key.text);
                let all = || format!("the options are {}", of.keys().join(", "));
                let help = did_you_mean(&key.text, of.keys().iter().copied()).unwrap_or_else(all);
                problems.push(Diagnostic::new(&key.span, words, "unknown").help(Some(help)));
            }
        }
    }
}

fn check_table(node: &Node, table: &TableSchema, what: &str, problems: &mut Vec<Diagnostic>) {
    let NodeValue::Table(members) = &node.value else {
        let words = format!("{what} must be a table, not {}", node.kind());
        problems.push(Diagnostic::new(&node.span, words, "must be a table"));
        return;
    };
    for (key, value) in members {
        match table.fields.iter().find(|field| field.name == key.text) {
            Some(field) => check_value(value, &field.shape, &key.text, problems),
            None if key.text == "$schema" && std::ptr::eq(table, &FLOW) => {}
            None => {
                let names = || table.fields.iter().map(|field| field.name);
                let words = format!("{what} has no key `{}`", key.text);
                let all = format!("the keys are {}", names().collect::<Vec<_>>().join(", "));
                let help = did_you_mean(&key.text, names()).unwrap_or(all);
                problems.push(Diagnostic::new(&key.span, words, "unknown key").help(Some(help)));
            }
        }
    }
    for field in table.fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
        let words = format!("{what} needs the key `{}`", field.name);
        let place = first_line(node);
        problems.push(
            Diagnostic::new(&place, words, format!("`{}` is missing", field.name)).help(Some(field.about.to_owned())),
        );
    }
    let given: Vec<_> = members.iter().filter(|(key, _)| table.one_of.contains(&key.text.as_str())).collect();
    match given.as_slice() {
        [] if table.one_of.is_empty() => {}
        [_] => {}
        [] => {
            let words = format!("{what} needs one of {}", table.one_of.join(", "));
            problems.push(Diagnostic::new(&node.span, words, "none of them is here"));
        }
        [(first, _), (second, _), ..] => {
            let words = format!("{what} may have only one of {}", table.one_of.join(", "));
            let mut problem = Diagnostic::new(&second.span, words, "and this");
            problem.related.push((first.span.clone(), "this".to_owned()));
            problems.push(problem);
        }
    }
}

/// A short place for a table: the first key of a table with many lines.
fn first_line(node: &Node) -> super::super::Span {
    match &node.value {
        NodeValue::Table(members) => {
            match members.iter().map(|(key, _)| key.span.clone()).min_by_key(|span| span.start) {
                Some(first) if first.start >= node.span.start && first.end <= node.span.end => first,
                _ => node.span.clone(),
            }
        }
        _ => node.span.clone(),
    }
}

fn check_value(node: &Node, shape: &Schema, key: &str, problems: &mut Vec<Diagnostic>) {
    let mut wrong = |must: String, help: Option<String>| {
        let words = format!("`{key}` must be {must}");
        problems.push(Diagnostic::new(&node.span, words, format!("must be {must}")).help(help));
    };
    match shape {
        Schema::Any => {}
        Schema::Params if matches!(node.value, NodeValue::Table(_)) => {}
        Schema::Params => wrong(format!("a table, not {}", node.kind()), None),
        Schema::Table(table) => check_table(node, table, &format!("`{key}`"), problems),
        Schema::List(inner) => match &node.value {
            NodeValue::List(elements) => {
                let each = if key == "steps" { "a step" } else { key };
                for element in elements {
                    match inner {
                        Schema::Table(table) if key == "steps" => check_table(element, table, each, problems),
                        _ => check_value(element, inner, each, problems),
                    }
                }
            }
            _ => wrong(format!("a list, not {}", node.kind()), as_list(node, inner, key)),
        },
        Schema::Either(one, other) => {
            if matches!(other, Schema::Table(_)) && matches!(node.value, NodeValue::Table(_)) {
                check_value(node, other, key, problems);
            } else if !fits(node, one) && !fits(node, other) {
                wrong(format!("{} or {}", words(one), words(other)), None);
            }
        }
        Schema::Choice(choices) if !fits(node, shape) => {
            let help = node.text().and_then(|text| did_you_mean(text, choices.iter().copied()));
            wrong(words(shape), help);
        }
        Schema::Path => match node.text().map(str::parse::<JsonPath>) {
            Some(Ok(_)) => {}
            Some(Err(error)) => problems.push(Diagnostic::new(&node.span, error.to_string(), error.what)),
            None => wrong(words(shape), None),
        },
        Schema::Pool => match node.text().map(PoolId::named) {
            Some(Ok(_)) => {}
            Some(Err(error)) => problems.push(Diagnostic::new(&node.span, error.to_string(), "not the name of a pool")),
            None => wrong(words(shape), None),
        },
        plain if !fits(node, plain) => wrong(words(plain), None),
        _ => {}
    }
}

/// A hint to write a single value as a list.
fn as_list(node: &Node, inner: &Schema, key: &str) -> Option<String> {
    match (&node.value, inner) {
        (NodeValue::Text(text), Schema::Text) => Some(format!("write [\"{text}\"]")),
        (NodeValue::Table(_), Schema::Table(_)) => {
            Some(format!("begin each with [[{key}]] in TOML, or put them into [] in JSON"))
        }
        _ => None,
    }
}

/// Whether a value fits, without its parts.
fn fits(node: &Node, shape: &Schema) -> bool {
    match shape {
        Schema::Text => node.text().is_some_and(|text| !text.is_empty()),
        Schema::Choice(choices) => node.text().is_some_and(|text| choices.contains(&text)),
        Schema::Pool => node.text().is_some_and(|text| PoolId::named(text).is_ok()),
        Schema::Flag => matches!(node.value, NodeValue::Bool(_)),
        Schema::Count(least, most) => node.count().is_some_and(|count| (*least..=*most).contains(&count)),
        Schema::Number(least, most) => node.number().is_some_and(|number| (*least..=*most).contains(&number)),
        Schema::Time => read_time(node).is_some(),
        Schema::Memory => read_memory(node).is_some(),
        Schema::Size => read_size(node).is_some(),
        Schema::Rate => read_rate(node).is_some(),
        Schema::Path => node.text().is_some_and(|text| text.parse::<JsonPath>().is_ok()),
        Schema::Any => true,
        Schema::Params | Schema::Table(_) => matches!(node.value, NodeValue::Table(_)),
        Schema::List(_) => matches!(node.value, NodeValue::List(_)),
        Schema::Either(one, other) => fits(node, one) || fits(node, other),
    }
}

fn words(shape: &Schema) -> String {
    match shape {
        Schema::Text => "a text that is not empty".to_owned(),
        Schema::Choice(choices) => {
            format!("one of {}", choices.iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", "))
        }
        Schema::Pool => "the name of a pool, such as \"io\"".to_owned(),
        Schema::Flag => "true or false".to_owned(),
        Schema::Count(least, most) => format!("a whole number from {least} to {most}"),
        Schema::Number(least, most) => format!("a number from {least} to {most}"),
        Schema::Time => "a time above 0: seconds as a number, or \"500ms\", \"1.5s\", \"10m\", \"2h\"".to_owned(),
        Schema::Memory => "per cent as a number, or bytes as a text such as \"200M\" or \"1.5G\"".to_owned(),
        Schema::Size => "a number of bytes, or a text such as \"200M\" or \"1.5G\"".to_owned(),
        Schema::Rate => "a text such as \"10/s\", \"600/m\" or \"5/h\"".to_owned(),
        Schema::Path => "a path such as rows[0].id".to_owned(),
        Schema::Any => "anything".to_owned(),
        Schema::Params | Schema::Table(_) => "a table".to_owned(),
        Schema::List(_) => "a list".to_owned(),
        Schema::Either(one, other) => format!("{} or {}", words(one), words(other)),
    }
}

/// A time above 0: a number of seconds, or a text as [`parse_time`] reads it.
pub(in crate::flow) fn read_time(node: &Node) -> Option<Duration> {
    let time = match (node.number(), node.text()) {
        (Some(seconds), _) => Duration::try_from_secs_f64(seconds).ok(),
        (None, text) => parse_time(text?),
    };
    time.filter(|time| !time.is_zero())
}

/// A size above 0: a number of bytes, or a text as [`parse_size`] reads it.
pub(in crate::flow) fn read_size(node: &Node) -> Option<u64> {
    let bytes = node.text().map_or_else(|| node.count(), parse_size);
    bytes.filter(|bytes| *bytes > 0)
}

/// An amount of memory: a number in percent, or a size as a text.
pub(in crate::flow) fn read_memory(node: &Node) -> Option<Memory> {
    match node.number() {
        Some(percent) => Fixed::new(percent).map(Memory::Percent),
        None => node.text().and_then(|_| read_size(node)).map(Memory::Bytes),
    }
}

/// A rate: the number of starts, and the period.
pub(in crate::flow) fn read_rate(node: &Node) -> Option<(u32, Duration)> {
    Rate::parse("", node.text()?).ok().map(|rate| (rate.count, rate.per))
}
