//! What every worker of an engine inherits from the process that started the engine.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::Command;

use super::os::is_enterable;
use crate::config::WorkerConfig;

/// The variable with the seed by which Python hashes texts.
const HASH_SEED: &str = "PYTHONHASHSEED";
/// The argument by which Python leaves the script's folder out of the path, and the variable that means the same. Only
/// Python 3.11 and newer know them: older ones refuse the argument and ignore the variable.
const SAFE_PATH: (&str, &str) = ("-P", "PYTHONSAFEPATH");
/// The argument by which Python ignores such variables.
const NO_VARIABLES: &str = "-E";

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

    /// The arguments for an interpreter, and the variables instead of those that it may not know.
    ///
    /// `is_of_pool`, `is_named`: the setting of a pool, or of the engine, names the interpreter. Then it may be older than
    /// Python 3.11. If the arguments of the engine's interpreter have both [`NO_VARIABLES`] and
    /// [`SAFE_PATH`], the caller knows that it is not.
    pub(super) fn flags_for(&self, is_of_pool: bool, is_named: bool) -> (Vec<OsString>, &'static [&'static str]) {
        let has = |name| self.arguments.iter().any(|argument| argument == name);
        let ignores_variables = has(NO_VARIABLES);
        if !has(SAFE_PATH.0) || !is_of_pool && (!is_named || ignores_variables) {
            return (self.arguments.clone(), &[]);
        }
        let arguments = self.arguments.iter().filter(|argument| *argument != SAFE_PATH.0).cloned().collect();
        (arguments, if ignores_variables { &[] } else { &[SAFE_PATH.1] })
    }

    /// Sets a worker's environment variables and its folder. `flags`: variables that are set for the interpreter.
    pub(super) fn prepare(&self, command: &mut Command, settings: &WorkerConfig, flags: &[&'static str]) {
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value))).envs(&settings.env);
        for name in self.hidden(settings, flags) {
            command.env(name, if name == HASH_SEED { &self.hash_seed } else { "1" });
        }
        let folder = match (&self.folder, &settings.cwd) {
            (Some(own), Some(cwd)) => Some(own.join(cwd)),
            (own, cwd) => cwd.clone().or_else(|| own.clone()),
        };
        // A worker inherits the current folder if its user may not enter it. Otherwise the engine sets the folder, because
        // the program may change its own at any moment.
        let is_kept = |folder: &PathBuf| std::env::current_dir().ok().as_ref() == Some(folder) && !is_enterable(folder);
        if let Some(folder) = folder.filter(|folder| !is_kept(folder)) {
            command.current_dir(folder);
        }
    }

    /// A variable of the engine's process.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        let mut variables = self.variables.iter();
        variables.find(|(own, _)| own == name).map(|(_, value)| value.as_os_str())
    }

    /// The variables that the engine sets for the interpreter alone: a worker removes them before it runs a task.
    pub(super) fn hidden(&self, settings: &WorkerConfig, flags: &[&'static str]) -> Vec<&'static str> {
        let is_set = |name: &str| settings.env.contains_key(name) || self.variables.iter().any(|(it, _)| it == name);
        [HASH_SEED].iter().chain(flags).copied().filter(|name| !is_set(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_seed(command: &Command) -> Option<String> {
        variable(command, HASH_SEED)
    }

    fn variable(command: &Command, name: &str) -> Option<String> {
        let value = command.get_envs().find(|(it, _)| *it == name)?.1?;
        Some(value.to_string_lossy().into_owned())
    }

    #[test]
    fn the_seed_is_the_engines_unless_somebody_sets_one() {
        let inherited = Inherited { variables: Vec::new(), ..Inherited::now() };
        let mut settings = WorkerConfig::default();
        for _ in 0..2 {
            let mut command = Command::new("python3");
            inherited.prepare(&mut command, &settings, &[]);
            assert_eq!(hash_seed(&command), Some(inherited.hash_seed.clone()));
        }
        assert_eq!(inherited.hidden(&settings, &[]), [HASH_SEED]);
        settings.env.insert(HASH_SEED.to_owned(), "7".to_owned());
        let mut command = Command::new("python3");
        inherited.prepare(&mut command, &settings, &[]);
        assert_eq!((hash_seed(&command), inherited.hidden(&settings, &[])), (Some("7".to_owned()), Vec::new()));
    }

    #[test]
    fn an_interpreter_that_may_be_older_gets_a_variable_for_an_argument_that_it_may_not_know() {
        let with = |arguments: &[&str]| Inherited {
            variables: Vec::new(),
            arguments: arguments.iter().map(Into::into).collect(),
            ..Inherited::now()
        };
        let inherited = with(&["-O", "-P", "-Xdev"]);
        let (arguments, flags) = inherited.flags_for(true, false);
        assert_eq!((arguments, flags), (vec!["-O".into(), "-Xdev".into()], &["PYTHONSAFEPATH"][..]));
        assert_eq!(inherited.flags_for(false, true).1, flags);
        assert_eq!(inherited.flags_for(false, false), (inherited.arguments.clone(), &[][..]), "the one that was found");
        let mut settings = WorkerConfig::default();
        let mut command = Command::new("python3");
        inherited.prepare(&mut command, &settings, flags);
        assert_eq!(variable(&command, "PYTHONSAFEPATH"), Some("1".to_owned()));
        assert_eq!(inherited.hidden(&settings, flags), [HASH_SEED, "PYTHONSAFEPATH"]);
        settings.env.insert("PYTHONSAFEPATH".to_owned(), String::new());
        assert_eq!(inherited.hidden(&settings, flags), [HASH_SEED], "the user's own is left alone");
        let ignoring = with(&["-E", "-P"]);
        assert_eq!(ignoring.flags_for(true, true), (vec!["-E".into()], &[][..]), "the variable would be ignored");
        assert_eq!(ignoring.flags_for(false, true).0, ignoring.arguments);
        assert_eq!(with(&["-O"]).flags_for(true, true), (vec!["-O".into()], &[][..]));
    }

    #[test]
    fn a_relative_folder_is_below_the_one_of_the_start() {
        let inherited = Inherited { folder: Some("/start".into()), ..Inherited::now() };
        let settings = WorkerConfig { cwd: Some("there".into()), ..WorkerConfig::default() };
        let mut command = Command::new("python3");
        inherited.prepare(&mut command, &settings, &[]);
        assert_eq!(command.get_current_dir(), Some(std::path::Path::new("/start/there")));
        inherited.prepare(&mut command, &WorkerConfig::default(), &[]);
        assert_eq!(command.get_current_dir(), Some(std::path::Path::new("/start")));
    }
}
