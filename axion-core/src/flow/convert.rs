//! Builds the workflow from the tree. Invalid values were reported before and are skipped here.

use std::path::Path;

use axion_actors::model::workflow::{
    Capacity, Concurrency, Condition, Enough, Fixed, MapOver, Needs, OnFailure, OnImpossible, Op, Piece, Rate,
    Reference, RunIf, Step, Test, UpstreamKeys, WorkflowBounds, WorkflowSpec,
};
use axion_actors::model::{Backoff, ErrorKind, PoolId, RetryPolicy, Task};
use serde::de::DeserializeOwned;

use super::schema::{read_memory, read_rate, read_size, read_time};
use super::template::{FlowParams, TemplateReader};
use super::tree::{Node, NodeValue};
use super::{Diagnostic, Flow, GUESSES, Span};
use crate::similar::did_you_mean;

/// A workflow, with the places of its parts in the text.
pub(super) struct Converted {
    pub(super) flow: Flow,
    pub(super) places: Vec<StepSpans>,
}

/// The places of the parts of one step.
#[derive(Debug)]
pub(super) struct StepSpans {
    pub(super) name: Span,
    /// The steps that it names, with the places of the names, sorted by name.
    pub(super) uses: Vec<(String, Span)>,
    pub(super) resources: Option<Span>,
    pub(super) pool: Option<Span>,
}

/// The variant of an enum with this name. The check has reported any other name.
fn word<T: DeserializeOwned + Default>(node: &Node, key: &str) -> T {
    let text = node.get(key).and_then(Node::text);
    text.and_then(|text| serde_json::from_value(text.into()).ok()).unwrap_or_default()
}

fn flag(node: &Node, key: &str) -> Option<bool> {
    match node.get(key)?.value {
        NodeValue::Bool(it) => Some(it),
        _ => None,
    }
}

fn count(node: &Node, key: &str) -> Option<u32> {
    node.get(key)?.count().and_then(|it| it.try_into().ok())
}

/// A count above 0. A count of 0 is skipped: the graph reports it.
fn positive(node: &Node, key: &str) -> Option<u32> {
    count(node, key).filter(|it| *it > 0)
}

fn percent(node: &Node, key: &str) -> Option<Fixed> {
    node.get(key)?.number().and_then(Fixed::new)
}

fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.text().map(str::to_owned)
}

/// Builds the workflow.
pub(super) fn flow(tree: &Node, folder: &Path, problems: &mut Vec<Diagnostic>) -> Converted {
    let stop = tree.get("on_failure").and_then(Node::text) == Some("stop");
    let mut spec = WorkflowSpec {
        name: text(tree, "name").unwrap_or_default(),
        on_failure: match (stop, flag(tree, "stop_running").unwrap_or(false)) {
            (false, _) => OnFailure::Continue,
            (true, false) => OnFailure::Stop,
            (true, true) => OnFailure::StopRunning,
        },
        on_impossible: word::<OnImpossible>(tree, "impossible"),
        upstream: if tree.get("upstream").is_some() { word(tree, "upstream") } else { UpstreamKeys::Names },
        ..WorkflowSpec::default()
    };
    if let Some(place) = tree.get("stop_running").filter(|_| !stop) {
        let words = "`stop_running` has no effect without on_failure = \"stop\"";
        problems.push(Diagnostic::new(&place.span, words, "without on_failure = \"stop\""));
    }
    if let Some(limits) = tree.get("limits") {
        (spec.capacity, spec.bounds) = (capacity(limits), bounds(limits));
    }
    let mut own = FlowParams::of(tree.get("params"));
    let (steps, places) = tree.get("steps").map(|it| self::steps(it, &mut own, folder, problems)).unwrap_or_default();
    spec.steps = steps;
    if let Some(steps) = tree.get("steps").filter(|it| matches!(&it.value, NodeValue::List(list) if list.is_empty())) {
        problems.push(Diagnostic::new(&steps.span, "a workflow needs at least one step", "no steps"));
    }
    Converted { flow: Flow { spec, description: text(tree, "description"), source: None }, places }
}

/// Builds the steps of a list, with their places.
pub(super) fn steps(
    list: &Node,
    own: &mut FlowParams<'_>,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<Step>, Vec<StepSpans>) {
    list.list().iter().map(|node| step(node, own, folder, problems)).unzip()
}

fn capacity(limits: &Node) -> Capacity {
    Capacity {
        processes: positive(limits, "processes"),
        threads: positive(limits, "threads"),
        cpu: percent(limits, "cpu"),
        memory: limits.get("memory").and_then(read_memory),
        machine_memory: limits.get("machine_memory").and_then(read_size),
    }
}

fn bounds(limits: &Node) -> WorkflowBounds {
    let size = |key, default| {
        limits.get(key).and_then(Node::count).map_or(default, |it| usize::try_from(it).unwrap_or(default))
    };
    let bounds = WorkflowBounds::default();
    WorkflowBounds { added: size("added_steps", bounds.added), elements: size("elements", bounds.elements), ..bounds }
}

fn step(node: &Node, own: &mut FlowParams<'_>, folder: &Path, problems: &mut Vec<Diagnostic>) -> (Step, StepSpans) {
    let mut uses: Vec<(String, Span)> = Vec::new();
    let mut task = script(node, folder, problems);
    task = options(node, task);
    let mut template = None;
    if let Some(params) = node.get("params").filter(|it| matches!(it.value, NodeValue::Table(_))) {
        let found = TemplateReader::new(own, &mut uses, problems).template(params);
        match found.pieces() {
            [Piece::Text(text)] if found.references().next().is_none() => {
                // The template wrote this text, so it is JSON.
                task = task.clone().params_json(text.clone()).unwrap_or(task);
            }
            _ => template = Some(found),
        }
    }
    check_ineffective_keys(node, problems);
    let name = node.get("name").and_then(Node::text).filter(|name| !name.is_empty());
    let mut step = name.map_or_else(|| Step::unnamed(task.clone()), |name| Step::new(name, task.clone()));
    for dependency in node.get("depends_on").map(Node::list).unwrap_or_default() {
        if let Some(name) = dependency.text().filter(|name| !name.is_empty()) {
            uses.push((name.to_owned(), dependency.span.clone()));
            step = step.after(name);
        }
    }
    if let Some(template) = template {
        step = step.params(template);
    }
    step = rules(node, step, &mut uses, problems);
    step = limits(node, step, name.unwrap_or_default());
    uses.sort_by(|one, other| one.0.cmp(&other.0));
    let places = StepSpans {
        name: node.get("name").map_or_else(|| node.span.clone(), |it| it.span.clone()),
        uses,
        resources: node.get("resources").map(|it| it.span.clone()),
        pool: node.get("pool").map(|it| it.span.clone()),
    };
    (step, places)
}

/// Adds the rules of a step, apart from its task, its parameters and its dependencies.
fn rules(node: &Node, mut step: Step, uses: &mut Vec<(String, Span)>, problems: &mut Vec<Diagnostic>) -> Step {
    step = step.run_if(word::<RunIf>(node, "run_if"));
    if let Some(condition) = node.get("when").and_then(|it| condition(it, uses, problems)) {
        step = step.when(condition);
    }
    if let Some(map) = node.get("map_over").and_then(|it| map_over(it, uses)) {
        step = step.map_over(map);
    }
    if flag(node, "dynamic") == Some(true) {
        step = step.dynamic();
    }
    if flag(node, "keep_result") == Some(false) {
        step = step.forget_result();
    }
    step
}

/// A step without a task, which carries the rules in a table. `params` may contain references.
pub(super) fn bare_step(node: &Node, problems: &mut Vec<Diagnostic>) -> Step {
    let mut uses = Vec::new();
    let mut step = Step::unnamed(Task::script(""));
    if let Some(params) = node.get("params") {
        step = step.params(TemplateReader::new(&mut FlowParams::of(None), &mut uses, problems).template(params));
    }
    rules(node, step, &mut uses, problems)
}

/// Reports keys that have no effect, because they are probably a mistake.
fn check_ineffective_keys(node: &Node, problems: &mut Vec<Diagnostic>) {
    let mut wrong = |key: &str, why: &str| {
        if let Some((place, _)) = node.members().iter().find(|(it, _)| it.text == key) {
            problems.push(Diagnostic::new(&place.span, format!("`{key}` has no effect {why}"), why));
        }
    };
    if node.get("map_over").is_some() && flag(node, "dynamic") == Some(true) {
        wrong("dynamic", "together with `map_over`: instances add no steps");
    }
    if node.get("retries").is_none() {
        wrong("retry_wait", "without `retries`");
    }
    let time = |key| node.get(key).and_then(read_time);
    if time("timeout").is_some_and(|hard| time("soft_timeout").is_some_and(|soft| soft >= hard)) {
        wrong("soft_timeout", "together with a `timeout` that is not longer");
    }
    if let Some(of) = ["all", "any", "not"].into_iter().find(|key| node.get(key).is_some()) {
        for key in ["path", "default", "op", "value"] {
            wrong(key, &format!("together with `{of}`: it belongs to a `ref`"));
        }
    }
}

fn script(node: &Node, folder: &Path, problems: &mut Vec<Diagnostic>) -> Task {
    let Some(place) = node.get("script") else { return Task::script("") };
    let Some(script) = place.text().filter(|it| !it.is_empty()) else { return Task::script("") };
    let path = folder.join(script);
    let wrong = match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => None,
        Ok(_) => Some("it is not a file".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(wrong) = wrong {
        let words = format!("there is no script at {}: {wrong}", path.display());
        // Each guess reads the folder.
        let help = if problems.len() <= GUESSES { neighbour(&path) } else { None };
        problems.push(Diagnostic::new(&place.span, words, "no such script").help(help));
    }
    Task::script(path)
}

/// A file in the same folder with a similar name.
fn neighbour(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = std::fs::read_dir(folder).ok()?.take(1000);
    let file = |it: std::fs::DirEntry| (!it.file_type().ok()?.is_dir()).then(|| it.file_name().into_string().ok())?;
    let word = path.file_name()?.to_str()?;
    let names: Vec<String> = files.filter_map(|it| file(it.ok()?)).filter(|name| name != word).collect();
    did_you_mean(word, names)
}

fn options(node: &Node, mut task: Task) -> Task {
    if let Some(Ok(pool)) = node.get("pool").and_then(Node::text).map(PoolId::named) {
        task = task.on(pool);
    }
    let time = |key| node.get(key).and_then(read_time);
    if let Some(limit) = time("timeout") {
        task = task.timeout(limit);
    }
    if let Some(limit) = time("soft_timeout") {
        task = task.soft_timeout(limit);
    }
    if let Some(limit) = time("total_timeout") {
        task = task.total_timeout(limit);
    }
    if let Some(limit) = time("ttl") {
        task = task.ttl(limit);
    }
    if let Some(losses) = count(node, "max_worker_losses") {
        task = task.max_worker_losses(losses);
    }
    let (retries, wait) = (count(node, "retries"), time("retry_wait"));
    if retries.is_some() || wait.is_some() {
        // As on the command line: retries include time limits.
        let mut policy = RetryPolicy::times(retries.unwrap_or(0));
        policy.on.extend([ErrorKind::Timeout, ErrorKind::SoftTimeout]);
        if let Some(wait) = wait {
            policy.backoff = Backoff::Fixed(wait);
        }
        task = task.retry(policy);
    }
    task
}

fn limits(node: &Node, mut step: Step, name: &str) -> Step {
    if let Some(needs) = node.get("resources") {
        step = step.needs(Needs {
            slots: positive(needs, "slots").unwrap_or(1),
            cpu: percent(needs, "cpu").unwrap_or_default(),
            memory: needs.get("memory").and_then(read_memory),
        });
    }
    if let Some(limit) = node.get("concurrency")
        && let (Some(key), Some(max)) = (text(limit, "key"), positive(limit, "max"))
    {
        step = step.concurrency(Concurrency { key: key.into(), max });
    }
    if let Some(rate) = node.get("rate") {
        let shared = matches!(rate.value, NodeValue::Table(_));
        let read = if shared { rate.get("limit").and_then(read_rate) } else { read_rate(rate) };
        if let Some((count_, per)) = read {
            let key = text(rate, "key").unwrap_or_else(|| format!("step {name}"));
            let burst = positive(rate, "burst").unwrap_or(1);
            step = step.rate(Rate { key: key.into(), count: count_, per, burst });
        }
    }
    step
}

fn reference(node: &Node, uses: &mut Vec<(String, Span)>) -> Option<Reference> {
    let step = node.get("ref")?;
    let name = step.text().filter(|name| !name.is_empty())?;
    uses.push((name.to_owned(), step.span.clone()));
    let reference = Reference::to(name).at(node.get("path").and_then(Node::text).unwrap_or_default()).ok()?;
    Some(match node.get("default") {
        Some(default) => reference.or(&default.to_json()),
        None => reference,
    })
}

fn map_over(node: &Node, uses: &mut Vec<(String, Span)>) -> Option<MapOver> {
    let succeed = node.get("succeed");
    Some(MapOver {
        max_parallel: positive(node, "max_parallel"),
        enough: match (succeed.and_then(Node::text), succeed.and_then(Node::count)) {
            (Some("any"), _) => Enough::Any,
            (_, Some(least @ 1..)) => Enough::AtLeast(usize::try_from(least).unwrap_or(usize::MAX)),
            _ => Enough::All,
        },
        name: text(node, "as").unwrap_or_else(|| "item".to_owned()).into(),
        ..MapOver::new(reference(node, uses)?)
    })
}

/// The depth of trees is bounded, so the recursion is bounded, too.
fn condition(node: &Node, uses: &mut Vec<(String, Span)>, problems: &mut Vec<Diagnostic>) -> Option<Condition> {
    check_ineffective_keys(node, problems);
    let mut parts = |key: &str| {
        let list = node.get(key)?.list();
        Some(list.iter().filter_map(|it| condition(it, uses, problems)).collect())
    };
    if let Some(parts) = parts("all") {
        return Some(Condition::All(parts));
    }
    if let Some(parts) = parts("any") {
        return Some(Condition::Any(parts));
    }
    if let Some(part) = node.get("not") {
        return condition(part, uses, problems).map(|it| Condition::Not(Box::new(it)));
    }
    let of = reference(node, uses)?;
    let op = node
        .get("op")
        .and_then(Node::text)
        .map_or(Some(Op::Truthy), |text| Op::ALL.into_iter().find(|op| op.symbol() == text))?;
    let value = node.get("value");
    match (op.takes_value(), value) {
        (true, None) => {
            let place = node.get("op").unwrap_or(node);
            let words = format!("`{}` needs a `value` to compare with", op.symbol());
            problems.push(Diagnostic::new(&place.span, words, "`value` is missing"));
        }
        (false, Some(value)) => {
            let words = format!("`{}` compares with nothing, so `value` has no effect", op.symbol());
            problems.push(Diagnostic::new(&value.span, words, "not used").help(Some("add an `op`".to_owned())));
        }
        (true, Some(value)) if op == Op::In && !matches!(value.value, NodeValue::List(_)) => {
            problems.push(Diagnostic::new(&value.span, "`in` needs a list to look in", "must be a list"));
        }
        _ => {}
    }
    Some(Condition::Test(Test { of, op, value: value.map(Node::to_json).unwrap_or_default() }))
}
