//! Workflows in files: `FLOW.toml` or `FLOW.json`, with one schema and every problem at its place.
//!
//! ```no_run
//! use axion_core::flow::{Flow, FlowError, Overrides};
//!
//! match Flow::load("etl.toml".as_ref(), &Overrides::default()) {
//!     Ok(flow) => println!("{} steps", flow.spec.steps.len()),
//!     Err(FlowError::Invalid(problems)) => {
//!         for problem in &problems.all {
//!             let (line, column) = problems.place(problem).unwrap_or((0, 0));
//!             eprintln!("{}:{line}:{column}: {}", problems.file, problem.message);
//!         }
//!     }
//!     Err(error) => eprintln!("{error}"),
//! }
//! ```
//!
//! Tables (`shape`) define the keys and their values. The reader checks a file against them, and the JSON Schema in
//! `docs/reference/flow.schema.json` is made from them, so the two cannot differ. Relations between steps are checked
//! by the code that runs them, `policy/graph`.

mod convert;
mod draw;
mod foreign;
mod graph;
mod overrides;
mod schema;
mod select;
mod template;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_actors::actors::messages::WorkflowRefusal;
use axion_actors::config::Config;
use axion_actors::model::workflow::{Rules, Step, WorkflowSpec};

pub use self::draw::{DrawingFormat, draw, plan, task_lines};
pub use self::overrides::Overrides;
pub use self::schema::schema;
use self::tree::Node;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::error::SubmitError;
use crate::similar::did_you_mean;
use crate::workflows::WorkflowError;

/// The maximum size of a file.
pub const SIZE_LIMIT: u64 = 16 << 20;

/// The number of problems that get a suggestion. Each suggestion compares all names.
const GUESSES: usize = 100;

/// The format of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// JSON for names that end in `.json`, else TOML.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(end) if end.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Toml,
        }
    }
}

/// A workflow from a file.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The workflow.
    pub spec: WorkflowSpec,
    /// The description.
    pub description: Option<String>,
    source: Option<Arc<FlowSource>>,
}

/// The text that a flow was read from.
#[derive(Debug)]
struct FlowSource {
    file: String,
    text: String,
    places: Vec<convert::StepSpans>,
    /// The names of the steps.
    names: Vec<Option<String>>,
}

/// A flow cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// The file cannot be read.
    #[error("cannot read the flow {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the flow {} has more than {SIZE_LIMIT} bytes, which is the limit", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("the flow {} is not UTF-8 text: see its line {line}, and save it as UTF-8", .path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the first invalid byte.
        line: usize,
    },
    /// The file is YAML.
    #[error("cannot read the flow {}: {}", .path.display(), foreign::YAML)]
    Yaml {
        /// The file.
        path: PathBuf,
    },
    /// The content is invalid.
    #[error(transparent)]
    Invalid(Box<Diagnostics>),
}

impl Flow {
    /// Reads a file. Paths of scripts are relative to its folder.
    ///
    /// # Errors
    /// If the file cannot be read, or with all mistakes in it.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, FlowError> {
        let failed = |source| FlowError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // A pipe or a device does not report its size (L9).
        File::open(path).map_err(failed)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(FlowError::TooLarge { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = sound.iter().filter(|byte| **byte == b'\n').count() + 1;
            FlowError::NotText { path: path.to_owned(), line }
        })?;
        if path.extension().is_some_and(|it| ["yaml", "yml"].iter().any(|yaml| it.eq_ignore_ascii_case(yaml))) {
            return Err(FlowError::Yaml { path: path.to_owned() });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut flow = Self::parse(&path.display().to_string(), &text, Format::of(path), folder, overrides)
            .map_err(|problems| FlowError::Invalid(Box::new(problems)))?;
        if flow.spec.name.is_empty() {
            flow.spec.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        Ok(flow)
    }

    /// Reads a text. Paths of scripts are relative to `folder`.
    ///
    /// # Errors
    /// All mistakes in the text.
    pub fn parse(
        file: &str,
        text: &str,
        format: Format,
        folder: &Path,
        overrides: &Overrides,
    ) -> Result<Self, Diagnostics> {
        // Some editors write a byte order mark before the text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (flow, places) = read(text, format, folder, overrides).map_err(|all| Diagnostics::new(file, text, all))?;
        let names = graph::names_in(&flow.spec);
        let source = FlowSource { file: file.to_owned(), text: text.to_owned(), places, names };
        Ok(Self { source: Some(Arc::new(source)), ..flow })
    }

    /// Checks that an engine of this configuration has the pools that the steps name.
    ///
    /// # Errors
    /// Every step whose pool the configuration does not have, at its place.
    pub fn check_pools(&self, config: &Config) -> Result<(), Diagnostics> {
        let Some(source) = self.source.as_deref() else { return Ok(()) };
        let pools = config.pool_settings();
        let unknown = self.spec.steps.iter().zip(&source.places).filter_map(|(step, place)| {
            let pool = step.task().pool_id();
            let error = SubmitError::UnknownPool { pool, known: pools.names() };
            (!pools.contains(pool)).then(|| wrong_task(place, &format!("step {}: {error}", step.title()), &error))
        });
        let unknown: Vec<Diagnostic> = unknown.collect();
        if unknown.is_empty() { Ok(()) } else { Err(Diagnostics::new(&source.file, &source.text, unknown)) }
    }

    /// The problems that an engine reports about this flow, at their places in the text; `None` if they are not
    /// about its steps.
    #[must_use]
    pub fn explain(&self, refused: &WorkflowError) -> Option<Diagnostics> {
        let source = self.source.as_deref()?;
        let mut problems = Vec::new();
        match refused {
            WorkflowError::Refused(WorkflowRefusal::Graph(errors)) => {
                graph::report(errors, graph::LimitSource::Engine, (&source.places, &source.names), &mut problems);
            }
            WorkflowError::Tasks(wrong) => {
                for wrong in wrong {
                    let place = source.places.get(wrong.at)?;
                    problems.push(wrong_task(place, &wrong.to_string(), &wrong.error));
                }
            }
            _ => return None,
        }
        Some(Diagnostics::new(&source.file, &source.text, problems))
    }
}

/// A step whose task cannot run, at its place.
fn wrong_task(place: &convert::StepSpans, message: &str, error: &SubmitError) -> Diagnostic {
    let pool = place.pool.as_ref().unwrap_or(&place.name);
    match error {
        SubmitError::PoolDisabled { .. } => Diagnostic::new(pool, message, "no workers of this pool"),
        SubmitError::UnknownPool { pool: name, known } => {
            let help = did_you_mean(name.name(), known.iter().map(|pool| pool.name()));
            Diagnostic::new(pool, message, "no such pool").help(help)
        }
        _ => Diagnostic::new(&place.name, message, "this step"),
    }
}

/// The steps in the result of a dynamic step: an object with `steps`, a list in the format of a flow. A result without
/// `steps` names none.
///
/// The graph checks the relations to existing steps.
///
/// # Errors
/// All mistakes in the steps, with their places in `result`.
pub fn added_steps(result: &str, folder: &Path) -> Result<Vec<Step>, Diagnostics> {
    let mut problems = Vec::new();
    let tree = tree::from_json(result, &mut problems);
    let steps = match tree.as_ref().and_then(|tree| tree.get("steps")) {
        Some(steps) => {
            schema::check_steps(steps, &mut problems);
            convert::steps(steps, &mut template::FlowParams::of(None), folder, &mut problems).0
        }
        None => Vec::new(),
    };
    if problems.is_empty() { Ok(steps) } else { Err(Diagnostics::new("the result", result, problems)) }
}

/// The rules of a step, from a JSON object with the keys of a flow's steps: `run_if`, `when`, `map_over`, `dynamic`,
/// `keep_result`, and `params` with references.
///
/// # Errors
/// All mistakes in the object.
pub fn step_rules(text: &str) -> Result<Rules, Diagnostics> {
    part(text, schema::Part::Step, |tree, problems| convert::bare_step(tree, problems).rules().clone())
}

/// A workflow without steps, from a JSON object with the keys of a flow: `name`, `on_failure`, `stop_running`,
/// `impossible`, `upstream`, `limits`.
///
/// # Errors
/// All mistakes in the object.
pub fn settings(text: &str) -> Result<WorkflowSpec, Diagnostics> {
    part(text, schema::Part::Flow, |tree, problems| convert::flow(tree, Path::new(""), problems).flow.spec)
}

fn part<T>(text: &str, part: schema::Part, make: impl Fn(&Node, &mut Vec<Diagnostic>) -> T) -> Result<T, Diagnostics> {
    let mut problems = Vec::new();
    let made = tree::from_json(text, &mut problems).map(|tree| {
        schema::check_part(&tree, part, &mut problems);
        make(&tree, &mut problems)
    });
    match made {
        Some(made) if problems.is_empty() => Ok(made),
        _ => Err(Diagnostics::new("the options", text, problems)),
    }
}

fn read(
    text: &str,
    format: Format,
    folder: &Path,
    overrides: &Overrides,
) -> Result<(Flow, Vec<convert::StepSpans>), Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let tree = match format {
        Format::Toml => tree::from_toml(text, &mut problems),
        Format::Json => tree::from_json(text, &mut problems),
    };
    let Some(mut tree) = tree else {
        foreign::explain_syntax(text, format, &mut problems);
        return Err(problems);
    };
    problems.extend(foreign::check(text, format, &tree));
    let broken: HashSet<Option<Span>> = problems.iter().map(|it| it.span.clone()).collect();
    let mut others = Vec::new();
    schema::check(&tree, &mut others);
    overrides.apply(&mut tree, &mut others);
    let converted = convert::flow(&tree, folder, &mut others);
    graph::check(&converted, &mut others);
    // A value that cannot be read is reported once.
    problems.extend(others.into_iter().filter(|it| !broken.contains(&it.span)));
    if problems.is_empty() { Ok((converted.flow, converted.places)) } else { Err(problems) }
}
