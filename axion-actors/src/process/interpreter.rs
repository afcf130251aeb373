//! Which Python runs the workers.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::StartError;
use super::os::{SpawnError, is_executable, path_from_bytes};
use crate::config::PoolSettings;
use crate::model::{PoolId, PoolMap};

/// There is no interpreter where one was looked for.
#[derive(Debug, thiserror::Error)]
#[error("no Python interpreter found: looked at {}; name one by the setting {}", list(.searched), setting(*.pool))]
pub struct PythonNotFound {
    /// Where it was looked for.
    pub searched: Vec<PathBuf>,
    /// The pool that names it; `None`: the engine does, or nobody.
    pub pool: Option<PoolId>,
}

fn setting(pool: Option<PoolId>) -> String {
    pool.map_or_else(|| "`python` (`--python PATH`)".to_owned(), |pool| format!("`python` in [pools.{pool}]"))
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "an empty PATH".to_owned() } else { shown.join(", ") }
}

/// Finds the interpreter: the configured one (a path, or a name on the `PATH`), else that of the
/// active virtual environment, else `python3` on the `PATH`.
///
/// # Errors
/// If no executable file is found; the error says where it was looked for.
pub fn find_python(configured: Option<&Path>) -> Result<PathBuf, PythonNotFound> {
    find(configured, std::env::var_os("VIRTUAL_ENV").map(PathBuf::from), std::env::var_os("PATH"))
}

/// Finds the interpreters of the pools that name one of their own and can have workers.
///
/// # Errors
/// If there is none where a pool says.
pub fn find_pool_pythons(pools: &PoolMap<PoolSettings>) -> Result<PoolMap<PathBuf>, PythonNotFound> {
    let named = pools
        .iter()
        .filter(|(_, pool)| pool.workers.most > 0)
        .filter_map(|(id, pool)| Some((id, pool.python.as_deref()?)));
    let found = named.map(|(id, path)| match find_python(Some(path)) {
        Ok(found) => Ok((id, found)),
        Err(PythonNotFound { searched, .. }) => Err(PythonNotFound { searched, pool: Some(id) }),
    });
    found.collect()
}

fn find(
    configured: Option<&Path>,
    environment: Option<PathBuf>,
    path: Option<OsString>,
) -> Result<PathBuf, PythonNotFound> {
    let on_path = |name: &Path| -> Vec<PathBuf> {
        path.iter().flat_map(std::env::split_paths).map(|folder| folder.join(name)).collect()
    };
    let candidates = match (configured, environment) {
        (Some(given), _) if given.components().count() > 1 => vec![given.to_owned()],
        (Some(name), _) => on_path(name),
        (None, Some(environment)) => vec![environment.join("bin/python3"), environment.join("bin/python")],
        (None, None) => on_path(Path::new("python3")),
    };
    let found = candidates.iter().find(|path| is_executable(path));
    // Absolute, but with links left alone: a virtual environment is known by its link's place.
    let absolute = found.and_then(|path| std::path::absolute(path).ok());
    absolute.ok_or(PythonNotFound { searched: candidates, pool: None })
}

/// Which interpreter to start.
pub(super) struct Interpreter {
    configured: PathBuf,
    /// Whether a shim in front of it may be left out: not if somebody named it, who may want it for
    /// what it does besides.
    may_learn: bool,
    /// The path the interpreter gave for itself, which spares later starts the detour.
    learned: RefCell<Option<PathBuf>>,
}

impl Interpreter {
    /// The configuration names `configured`, or it was found.
    pub(super) fn new(configured: PathBuf, is_named: bool) -> Self {
        Self { configured, may_learn: !is_named, learned: RefCell::default() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.learned.borrow().as_ref().unwrap_or(&self.configured).clone()
    }

    pub(super) fn learn(&self, executable: &[u8]) {
        if self.may_learn && !executable.is_empty() {
            *self.learned.borrow_mut() = Some(path_from_bytes(executable));
        }
    }

    /// It could not be executed: it may have been replaced by an upgrade.
    pub(super) fn unlearn(&self, error: &StartError) {
        if matches!(error, StartError::Spawn(SpawnError::Execute { .. })) {
            self.learned.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn executable(path: PathBuf) -> PathBuf {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, "").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        path
    }

    #[test]
    fn the_configured_one_goes_before_the_environment_before_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let on_path = executable(folder.path().join("bin/python3"));
        let in_environment = executable(folder.path().join("venv/bin/python"));
        let own = executable(folder.path().join("own/python9"));
        let path = Some(folder.path().join("bin").into_os_string());
        let environment = Some(folder.path().join("venv"));
        assert_eq!(find(None, None, path.clone()).expect("found"), on_path);
        assert_eq!(find(None, environment.clone(), path.clone()).expect("found"), in_environment);
        assert_eq!(find(Some(&own), environment, path.clone()).expect("found"), own);
        assert_eq!(find(Some(Path::new("python3")), None, path).expect("by name"), on_path);
    }

    #[test]
    fn what_is_not_executable_is_not_an_interpreter_and_the_error_says_where_it_looked() {
        let folder = tempfile::tempdir().expect("a folder");
        let plain = folder.path().join("python3");
        std::fs::write(&plain, "").expect("written");
        let error = find(None, None, Some(folder.path().as_os_str().to_owned())).expect_err("not executable");
        assert!(error.to_string().contains(&plain.display().to_string()), "{error}");
        assert!(find(Some(folder.path()), None, None).is_err(), "a folder");
    }
}
