//! `axion flow`: workflows in files.

mod lines;
mod progress;
mod run;
mod summary;
mod view;

use axion_core::flow::{DrawingFormat, Flow, FlowError, Overrides, draw, plan};
use axion_core::{Config, Diagnostic, Diagnostics};

use super::params;
use super::session::{self, print};
use crate::args::{FlowCheckArguments, FlowFileArguments, FlowGraphArguments, FlowRunArguments, GraphFormat};
use crate::exit::Exit;
use crate::{diagnostics, message};

/// Checks a flow. If there is a configuration, the steps can name its pools only.
pub(crate) fn check(FlowCheckArguments { file }: &FlowCheckArguments, config: Option<&Config>) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    if let Some(Err(problems)) = config.map(|config| flow.check_pools(config)) {
        show(&problems);
        return Exit::Usage;
    }
    let steps = flow.spec.steps.len();
    let plural = if steps == 1 { "" } else { "s" };
    print(&format!("{}: {steps} step{plural}, no problems\n", file.flow.display()))
}

/// Draws a flow.
pub(crate) fn graph(FlowGraphArguments { file, format }: &FlowGraphArguments) -> Exit {
    let Some(flow) = load(file) else { return Exit::Usage };
    print(&draw(&flow.spec, drawing(*format)))
}

/// Runs a flow.
pub(crate) fn run(run: &FlowRunArguments, config: Config) -> Exit {
    if session::check(&run.workers).is_err() {
        return Exit::Usage;
    }
    let Some(mut flow) = load(&run.file) else { return Exit::Usage };
    if !run.only.is_empty()
        && let Err(wrong) = flow.only(&run.only)
    {
        diagnostics::show_elsewhere(&Diagnostic { message: format!("--only: {}", wrong.message), ..*wrong });
        return Exit::Usage;
    }
    if !run.dry_run {
        return run::execute(run, config, flow);
    }
    match flow.check_pools(&config) {
        Ok(()) => print(&plan(&flow.spec)),
        Err(problems) => {
            show(&problems);
            Exit::Usage
        }
    }
}

fn drawing(format: GraphFormat) -> DrawingFormat {
    match format {
        GraphFormat::Text => DrawingFormat::Text,
        GraphFormat::Dot => DrawingFormat::Dot,
        GraphFormat::Mermaid => DrawingFormat::Mermaid,
        GraphFormat::Svg => DrawingFormat::Svg,
    }
}

/// Reads a flow, or shows its mistakes.
fn load(file: &FlowFileArguments) -> Option<Flow> {
    let params = params::collect(&file.params).ok()?;
    let overrides = Overrides { params, set: file.set.clone() };
    match Flow::load(&file.flow, &overrides) {
        Ok(flow) => return Some(flow),
        Err(FlowError::Invalid(problems)) => show(&problems),
        Err(error) => message::error(error),
    }
    None
}

fn show(problems: &Diagnostics) {
    diagnostics::show(problems);
    message::error(problems);
}
