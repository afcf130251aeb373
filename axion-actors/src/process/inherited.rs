//! What every worker of an engine inherits from the process that started the engine.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::Command;

use crate::config::WorkerConfig;

/// The variable with the seed by which Python hashes texts.
const HASH_SEED: &str = "PYTHONHASHSEED";

/// What every worker of an engine inherits, replacements included. It does not follow later changes of the engine's
/// process, so that all workers are alike.
#[derive(Clone, Debug)]
pub struct Inherited {
    variables: Vec<(OsString, OsString)>,
    /// `None` if the current folder was gone already. Then workers inherit it from the system.
    folder: Option<PathBuf>,
    hash_seed: String,
    /// The interpreter's own arguments.
    pub arguments: Vec<OsString>,
}

impl Inherited {
    /// What this process has now, and no arguments for the interpreter.
    #[must_use]
    pub fn now() -> Self {
        // The standard library seeds its hashes at random. A seed of 0 would mean: none.
        let random = RandomState::new().build_hasher().finish();
        Self {
            variables: std::env::vars_os().collect(),
            folder: std::env::current_dir().ok(),
            hash_seed: (random % u64::from(u32::MAX) + 1).to_string(),
            arguments: Vec::new(),
        }
    }

    /// Sets a worker's environment variables and its folder.
    pub(super) fn prepare(&self, command: &mut Command, settings: &WorkerConfig) {
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value))).envs(&settings.env);
        if let Some(name) = self.hidden(settings) {
            command.env(name, &self.hash_seed);
        }
        let folder = match (&self.folder, &settings.cwd) {
            (Some(own), Some(cwd)) => Some(own.join(cwd)),
            (own, cwd) => cwd.clone().or_else(|| own.clone()),
        };
        if let Some(folder) = folder.filter(|folder| std::env::current_dir().ok().as_ref() != Some(folder)) {
            command.current_dir(folder);
        }
    }

    /// The variable that the engine sets for the interpreter alone: a worker removes it before it runs a task.
    pub(super) fn hidden(&self, settings: &WorkerConfig) -> Option<&'static str> {
        let is_set = settings.env.contains_key(HASH_SEED) || self.variables.iter().any(|(name, _)| name == HASH_SEED);
        (!is_set).then_some(HASH_SEED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_seed(command: &Command) -> Option<String> {
        let value = command.get_envs().find(|(name, _)| *name == HASH_SEED)?.1?;
        Some(value.to_string_lossy().into_owned())
    }

    #[test]
    fn the_seed_is_the_engines_unless_somebody_sets_one() {
        let inherited = Inherited { variables: Vec::new(), ..Inherited::now() };
        let mut settings = WorkerConfig::default();
        for _ in 0..2 {
            let mut command = Command::new("python3");
            inherited.prepare(&mut command, &settings);
            assert_eq!(hash_seed(&command), Some(inherited.hash_seed.clone()));
        }
        assert!(inherited.hidden(&settings).is_some());
        settings.env.insert(HASH_SEED.to_owned(), "7".to_owned());
        let mut command = Command::new("python3");
        inherited.prepare(&mut command, &settings);
        assert_eq!((hash_seed(&command), inherited.hidden(&settings)), (Some("7".to_owned()), None));
    }

    #[test]
    fn a_relative_folder_is_below_the_one_of_the_start() {
        let inherited = Inherited { folder: Some("/start".into()), ..Inherited::now() };
        let settings = WorkerConfig { cwd: Some("there".into()), ..WorkerConfig::default() };
        let mut command = Command::new("python3");
        inherited.prepare(&mut command, &settings);
        assert_eq!(command.get_current_dir(), Some(std::path::Path::new("/start/there")));
        inherited.prepare(&mut command, &WorkerConfig::default());
        assert_eq!(command.get_current_dir(), Some(std::path::Path::new("/start")));
    }
}
