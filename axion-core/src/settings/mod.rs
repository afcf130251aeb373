//! The layers of settings: defaults, then a file, then `AXION_*` environment variables. Values that the program sets
//! come last. This module reads the file and the variables, and keeps the origin of each value. The settings themselves
//! are defined in `axion_actors::config`.

mod advice;
mod environment;
mod file;
mod find;
mod origin;
mod problem;
mod text;
mod trust;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use advice::nearest_key;
use axion_actors::config::{Config, Key, POOLS, Value};
use axion_actors::model::PoolId;
pub use environment::RESERVED_VARIABLES;
pub use find::CONFIG_FILE;
pub use origin::{ConfigPlace, Origin};
pub use problem::{ConfigProblem, ConfigProblemKind, InvalidConfig, LoadError, NamedBy, SourceText};
pub use text::{config_reference, config_template};
pub use trust::Distrust;

use crate::builder::EngineBuilder;

/// The variable with the path of the file.
const FILE_VARIABLE: &str = "AXION_CONFIG";

/// Reads the configuration. By default, it reads the file that `AXION_CONFIG` names, otherwise `axion.toml` in the
/// current folder or the nearest folder above, and the `AXION_*` variables of the process.
#[derive(Clone, Debug, Default)]
pub struct ConfigLoader {
    file: FileChoice,
    folder: Option<PathBuf>,
    variables: Option<Vec<(OsString, OsString)>>,
}

#[derive(Clone, Debug, Default)]
enum FileChoice {
    #[default]
    Search,
    Named(PathBuf),
    None,
}

/// A configuration that was read, with the origin of each value.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The settings.
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What was ignored: variables that begin with `AXION_` and set no key.
    pub warnings: Vec<ConfigProblem>,
    origins: BTreeMap<String, Origin>,
}

impl LoadedConfig {
    /// The origin of a key's value.
    #[must_use]
    pub fn origin(&self, key: Key) -> Origin {
        self.origins.get(&key.name()).cloned().unwrap_or_default()
    }

    fn with_warnings_logged(self) -> Self {
        self.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self
    }
}

/// One layer: its values by key, their places, and its mistakes.
#[derive(Debug, Default)]
struct Layer {
    values: Vec<(Key, Value, Origin)>,
    /// The named pools that the layer declares.
    pools: Vec<(PoolId, Origin)>,
    problems: Vec<ConfigProblem>,
    /// Mistakes that are reported and refuse nothing.
    warnings: Vec<ConfigProblem>,
}

impl ConfigLoader {
    /// Creates a loader that reads the file and the variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this file, which must exist.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = FileChoice::Named(path.into());
        self
    }

    /// Reads no file.
    #[must_use]
    pub fn no_file(mut self) -> Self {
        self.file = FileChoice::None;
        self
    }

    /// Searches for the file in this folder and the folders above, instead of the current folder.
    #[must_use]
    pub fn search_from(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Uses these environment variables instead of those of the process.
    #[must_use]
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables = Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Reads and checks all layers.
    ///
    /// # Errors
    /// If a file cannot be read, if one that was only found could have been written by others, or with all mistakes in
    /// the file and the variables.
    pub fn load(&self) -> Result<LoadedConfig, LoadError> {
        let variables = self.variables.clone().unwrap_or_else(|| std::env::vars_os().collect());
        let file = self.find(&variables);
        if let Some((path, NamedBy::Search)) = &file {
            let number = |name: &str| variables.iter().find(|(it, _)| it == name)?.1.to_str()?.parse().ok();
            let untrusted = |distrust| LoadError::Untrusted { path: path.clone(), distrust };
            trust::check(path, trust::User::current(number)).map_err(untrusted)?;
        }
        let source = file.as_ref().map(|(path, named_by)| file::open(path, *named_by)).transpose()?;
        let mut layers = Vec::new();
        if let Some(source) = &source {
            layers.push(file::read(source));
        }
        let declared: Vec<PoolId> = layers.iter().flat_map(|layer| &layer.pools).map(|(pool, _)| *pool).collect();
        layers.push(environment::read(&variables, &declared));
        merge(layers, source)
    }

    fn find(&self, variables: &[(OsString, OsString)]) -> Option<(PathBuf, NamedBy)> {
        match &self.file {
            FileChoice::None => None,
            FileChoice::Named(path) => Some((path.clone(), NamedBy::Caller)),
            FileChoice::Search => {
                let named = variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
                if let Some((_, path)) = named {
                    return Some((path.into(), NamedBy::Variable));
                }
                let folder = self.folder.clone().or_else(|| std::env::current_dir().ok())?;
                find::upwards(&folder).map(|path| (path, NamedBy::Search))
            }
        }
    }
}

/// Merges the layers, the last one on top, and checks the result.
fn merge(layers: Vec<Layer>, source: Option<SourceText>) -> Result<LoadedConfig, LoadError> {
    let path = source.as_ref().map(|it| it.path.clone());
    let mut loaded =
        LoadedConfig { config: Config::default(), file: path, warnings: Vec::new(), origins: BTreeMap::new() };
    let mut problems = Vec::new();
    for layer in layers {
        for (pool, origin) in layer.pools {
            loaded.config.pools.entry(pool).or_default();
            loaded.origins.insert(format!("{POOLS}.{pool}"), origin);
        }
        for (key, value, origin) in layer.values {
            // The key accepts what `Key::read` returned, unless the machine's numbers are too narrow for it.
            if key.set(&mut loaded.config, value.clone()).is_err() {
                problems.push(ConfigProblem::out_of_range(place(&origin, source.as_ref()), key, key.text(&value)));
            }
            loaded.origins.insert(key.name(), origin);
        }
        problems.extend(layer.problems);
        loaded.warnings.extend(layer.warnings);
    }
    for error in loaded.config.problems() {
        let keys: Vec<&str> =
            std::iter::once(error.key.as_str()).chain(error.with.iter().map(String::as_str)).collect();
        // A refused value is not compared with other settings.
        if problems.iter().any(|it| it.kind.key().is_some_and(|key| keys.contains(&key))) {
            continue;
        }
        let origin = keys.iter().find_map(|key| loaded.origins.get(*key)).cloned().unwrap_or_default();
        let others = keys[1..].iter().filter_map(|key| Some((Key::find(key)?, loaded.origins.get(*key)?)));
        let with = others.map(|(key, origin)| {
            format!(
                "{} = {} ({})",
                key.name(),
                key.text(&key.get(&loaded.config)),
                origin.describe(loaded.file.as_deref())
            )
        });
        let kind = ConfigProblemKind::Impossible {
            with: with.collect(),
            key: error.key.clone(),
            value: error.value.clone(),
            allowed: error.allowed.clone(),
        };
        problems.push(ConfigProblem { place: place(&origin, source.as_ref()), kind });
    }
    if problems.is_empty() {
        return Ok(loaded);
    }
    problems.append(&mut loaded.warnings);
    problems.sort_by(|one, other| one.place.cmp(&other.place));
    Err(LoadError::Invalid(InvalidConfig { problems, source }))
}

fn place(origin: &Origin, source: Option<&SourceText>) -> ConfigPlace {
    match (origin, source) {
        (Origin::File { start, end, .. }, Some(source)) => source.place(*start..*end),
        (Origin::Variable(name), _) => ConfigPlace::Variable(name.clone()),
        _ => ConfigPlace::Defaults,
    }
}

impl EngineBuilder {
    /// Reads settings from `axion.toml` and the `AXION_*` variables, as [`ConfigLoader::new`] does. Later calls on the
    /// builder override them.
    ///
    /// # Errors
    /// Those of [`ConfigLoader::load`].
    pub fn from_environment() -> Result<Self, LoadError> {
        Ok(Self::default().config(ConfigLoader::new().load()?.with_warnings_logged().config))
    }

    /// Reads settings from this file and the `AXION_*` variables. Later calls on the builder override them.
    ///
    /// # Errors
    /// Those of [`ConfigLoader::load`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Ok(Self::default().config(ConfigLoader::new().file(path.as_ref()).load()?.with_warnings_logged().config))
    }
}

#[cfg(test)]
mod tests;
