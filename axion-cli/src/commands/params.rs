//! Parameters from the command line: of a script, or of a flow.

use std::io::Read;
use std::path::Path;

use axion_core::{Diagnostic, Params};

use crate::args::ParamArguments;
use crate::diagnostics;
use crate::message::{self, Reported};

/// Reads what the options name.
pub(crate) fn collect(given: &ParamArguments) -> Result<Params, Reported> {
    let mut params = match (&given.params, &given.params_file) {
        (Some(text), _) if text == "-" => {
            message::error("--params is JSON itself; to read standard input, use --params-file -");
            return Err(Reported);
        }
        (Some(text), _) => document("--params", text.clone())?,
        (None, Some(path)) => {
            let source = if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() };
            let text = read(path).map_err(|error| {
                message::error(format_args!("cannot read the parameters from {source}: {error}"));
                Reported
            })?;
            document(&source, text)?
        }
        (None, None) => Params::default(),
    };
    for (key, value) in &given.param {
        params.set(key, value).map_err(|wrong| told(&wrong))?;
    }
    for (key, text) in &given.text {
        params.set_text(key, text).map_err(|wrong| told(&wrong))?;
    }
    Ok(params)
}

/// The parameters of a script, as JSON text.
pub(crate) fn collect_json(given: &ParamArguments) -> Result<String, Reported> {
    collect(given)?.to_json().map_err(|wrong| told(&wrong))
}

fn document(source: &str, text: String) -> Result<Params, Reported> {
    Params::from_json(source, text).map_err(|problems| {
        diagnostics::show(&problems);
        Reported
    })
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read(path: &Path) -> std::io::Result<String> {
    if !is_stdin(path) {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn told(wrong: &Diagnostic) -> Reported {
    diagnostics::show_elsewhere(wrong);
    Reported
}
