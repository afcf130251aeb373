//! A task's parameters from the command line.

use std::collections::BTreeMap;
use std::io::Read;

use axion_core::Diagnostics;
use serde_json::value::RawValue;

use crate::args::RunArguments;
use crate::diagnostics;
use crate::message::{self, Reported};

/// The parameters as JSON text. Values that do not change are not parsed, so numbers keep all their digits.
pub(crate) fn collect(run: &RunArguments) -> Result<String, Reported> {
    let (source, text) = given(run)?;
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        diagnostics::show(&Diagnostics::not_json(&source, &text, &error));
        return Err(Reported);
    }
    if run.param.is_empty() {
        return Ok(text);
    }
    let Ok(mut params) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text) else {
        message::error(format_args!("{source} is not a JSON object, so -p cannot add a parameter"));
        return Err(Reported);
    };
    for (key, value) in &run.param {
        params.insert(key.clone(), value_of(value)?);
    }
    serde_json::to_string(&params).map_err(told)
}

fn given(run: &RunArguments) -> Result<(String, String), Reported> {
    if let Some(text) = &run.params {
        return Ok(("--params".to_owned(), text.clone()));
    }
    let Some(path) = &run.params_file else { return Ok(("the parameters".to_owned(), "{}".to_owned())) };
    let (source, read) = if path.as_os_str() == "-" {
        let mut text = String::new();
        ("standard input".to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    match read {
        // Some editors begin a file with a byte order mark, which is not JSON.
        Ok(text) => Ok((source, text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
        Err(error) => {
            message::error(format_args!("cannot read the parameters from {source}: {error}"));
            Err(Reported)
        }
    }
}

/// The value as JSON, or as text if it is not JSON.
fn value_of(text: &str) -> Result<Box<RawValue>, Reported> {
    match RawValue::from_string(text.to_owned()) {
        Ok(value) => Ok(value),
        Err(_) => serde_json::value::to_raw_value(text).map_err(told),
    }
}

fn told(error: serde_json::Error) -> Reported {
    message::error(error);
    Reported
}
