//! `axion config`: shows, checks and creates configurations.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use axion_core::{Config, ConfigLoader, LoadedConfig, config_template};

use crate::args::{ConfigCommand, ConfigOutput};
use crate::exit::Exit;
use crate::message::{self, Reported};
use crate::output;

/// Reads the configuration for a command. `file` comes from the command line.
pub(crate) fn load(file: Option<&Path>) -> Result<LoadedConfig, Reported> {
    let loader = ConfigLoader::new();
    read(&file.map_or(loader.clone(), |file| loader.file(file)))
}

/// The configuration for a command that can do without: there is none if no file is named or found, and what is wrong
/// in one that was only found is not this command's business.
pub(crate) fn load_if_any(file: Option<&Path>) -> Result<Option<Config>, Reported> {
    match file {
        Some(_) => load(file).map(|loaded| Some(loaded.config)),
        None => Ok(ConfigLoader::new().load().ok().filter(|loaded| loaded.file.is_some()).map(|loaded| loaded.config)),
    }
}

fn read(loader: &ConfigLoader) -> Result<LoadedConfig, Reported> {
    let loaded = loader.load().map_err(|error| {
        message::config_error(&error);
        Reported
    })?;
    loaded.warnings.iter().for_each(message::warning);
    Ok(loaded)
}

/// Runs the command.
pub(crate) fn execute(command: &ConfigCommand, file: Option<&Path>) -> Exit {
    let done = match command {
        ConfigCommand::Show { output, origin } => show(*output, *origin, file),
        ConfigCommand::Check { file: None } => load(file).map(|loaded| report_ok(&loaded)),
        ConfigCommand::Check { file: Some(alone) } => {
            let nothing: [(&str, &str); 0] = [];
            read(&ConfigLoader::new().file(alone).variables(nothing)).map(|loaded| report_ok(&loaded))
        }
        ConfigCommand::Init { file, .. } if file.as_os_str() == "-" => print(&config_template()),
        ConfigCommand::Init { file, force } => init(file, *force),
    };
    match done {
        Ok(()) => Exit::Success,
        Err(Reported) => Exit::Usage,
    }
}

fn show(output: ConfigOutput, origin: bool, file: Option<&Path>) -> Result<(), Reported> {
    let loaded = load(file)?;
    match output {
        ConfigOutput::Toml => print(&loaded.to_toml(origin)),
        ConfigOutput::Json => print(&format!("{:#}\n", loaded.to_json(origin))),
    }
}

fn report_ok(loaded: &LoadedConfig) {
    match &loaded.file {
        Some(path) => message::line(format_args!("{}: no mistakes", path.display())),
        None => message::line("no mistakes; there is no axion.toml in this folder or above"),
    }
}

fn init(path: &Path, force: bool) -> Result<(), Reported> {
    let mut options = OpenOptions::new();
    // `create_new` also keeps a file that another program creates at the same moment.
    options.write(true).create_new(!force).create(force).truncate(force);
    let written = options.open(path).and_then(|mut file| file.write_all(config_template().as_bytes()));
    match written {
        Ok(()) => message::line(format_args!("wrote {}", path.display())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            message::error(format_args!("{} already exists; use --force to replace it", path.display()));
            return Err(Reported);
        }
        Err(error) => {
            message::error(format_args!("cannot write {}: {error}", path.display()));
            return Err(Reported);
        }
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Reported> {
    output::print(text).map_err(|error| {
        message::error(format_args!("cannot write to standard output: {error}"));
        Reported
    })
}
