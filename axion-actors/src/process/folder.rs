//! The private folder through which the runtime's files reach the interpreter.
//!
//! One per engine: mode 0700 and a random name, in the system's folder for temporary files. While
//! the engine lives it holds a lock on a file in it; a folder whose lock is free was left by an
//! engine that crashed together with its guardian, and the next engine removes it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::os::{is_own_folder, make_private_folder, private_permissions};

/// The private folder could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot put the worker runtime into {path}: {source}; the setting `runtime_dir` names another folder")]
pub struct FolderError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

const PREFIX: &str = "axion-";
const LOCK: &str = "lock";
const PACKAGE: &str = "_axion_worker_";

macro_rules! runtime_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../python/axion_worker/", $name)))),*]
    };
}

/// The package `axion_worker`, embedded.
const FILES: [(&str, &str); 30] = runtime_files![
    "__init__.py",
    "channel.py",
    "context.py",
    "control.py",
    "coroutines.py",
    "cpython.py",
    "definitions.py",
    "entry.py",
    "failure.py",
    "functions.py",
    "inline.py",
    "library.py",
    "mirror.py",
    "needs.py",
    "output.py",
    "packing.py",
    "payloads.py",
    "process_state.py",
    "references.py",
    "scripts.py",
    "session.py",
    "spawned.py",
    "specials.py",
    "stamps.py",
    "start.py",
    "surroundings.py",
    "thread_pool.py",
    "threaded.py",
    "values.py",
    "wire.py",
];
const START: (&str, &str) = ("worker.py", include_str!("../../python/worker.py"));

/// The folder, removed when this is dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    folder: TempDir,
    package: String,
    lock: Mutex<File>,
}

impl PrivateFolder {
    /// Removes what crashed engines left, then makes a folder and writes the runtime into it.
    ///
    /// # Errors
    /// If `parent` (or the system's folder for temporary files) cannot be written to.
    pub fn create(parent: Option<&Path>) -> Result<Self, FolderError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        sweep(&parent);
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError { path, source }
        };
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(16)
            .permissions(private_permissions())
            .tempdir_in(&parent)
            .map_err(at(&parent))?;
        let random = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let package = format!("{PACKAGE}{}", random.trim_start_matches(PREFIX));
        let lock = locked(folder.path()).map_err(at(folder.path()))?;
        write(folder.path(), &package).map_err(at(folder.path()))?;
        Ok(Self { folder, package, lock: Mutex::new(lock) })
    }

    /// Writes again what something that cleans folders for temporary files has removed. The running workers do not need
    /// it, but a new one does.
    ///
    /// # Errors
    /// If the folder cannot be written to, or its place was taken by somebody else.
    pub(super) fn restore(&self) -> Result<(), FolderError> {
        let path = self.path();
        let at = |source| FolderError { path: path.to_owned(), source };
        // Held throughout: workers start at the same time.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.join(LOCK).exists() {
            make_private_folder(path).map_err(at)?;
            *lock = locked(path).map_err(at)?;
        }
        let is_whole =
            |(path, text): (PathBuf, &str)| std::fs::metadata(path).is_ok_and(|found| found.len() == text.len() as u64);
        if self.files().all(is_whole) { Ok(()) } else { write(path, &self.package).map_err(at) }
    }

    fn files(&self) -> impl Iterator<Item = (PathBuf, &'static str)> {
        let (folder, inner) = (self.path(), self.path().join(&self.package));
        [(folder.join(START.0), START.1)].into_iter().chain(FILES.map(|(name, text)| (inner.join(name), text)))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What no other engine's folder has in its name.
    #[must_use]
    pub fn mark(&self) -> &str {
        self.package.trim_start_matches(PACKAGE)
    }

    /// The script that starts a worker.
    #[must_use]
    pub fn start_script(&self) -> PathBuf {
        self.folder.path().join(START.0)
    }

    /// The name of the runtime's package.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }
}

/// Makes the lock file under another name first: a folder never shows a lock that is free but fresh.
fn locked(folder: &Path) -> io::Result<File> {
    let fresh = folder.join("lock.new");
    let lock = File::create(&fresh)?;
    lock.lock()?;
    std::fs::rename(fresh, folder.join(LOCK))?;
    Ok(lock)
}

fn write(folder: &Path, package: &str) -> io::Result<()> {
    let inner = folder.join(package);
    std::fs::create_dir_all(&inner)?;
    std::fs::write(folder.join(START.0), START.1)?;
    FILES.iter().try_for_each(|(name, text)| std::fs::write(inner.join(name), text))
}

/// Removes folders of crashed engines. Failures are left for the next one.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|it| is_own_folder(&it));
        let is_stale = || File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok());
        if ours && is_stale() {
            tracing::debug!(folder = %entry.path().display(), "removing what a crashed engine left");
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_private_and_complete_and_goes_away() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = PrivateFolder::create(Some(parent.path())).expect("made");
        let mode = std::fs::metadata(folder.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/axion_worker");
        let python = |path: &Path| {
            let names = std::fs::read_dir(path).expect("listed").flatten().map(|entry| entry.file_name());
            let mut names: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".py")).collect();
            names.sort();
            names
        };
        assert_eq!(python(&folder.path().join(folder.package())), python(&source), "every module is embedded");
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_removed_is_written_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = PrivateFolder::create(Some(parent.path())).expect("made");
        let whole = || folder.files().all(|(path, text)| std::fs::read_to_string(path).is_ok_and(|it| it == text));
        std::fs::write(folder.path().join(folder.package()).join("wire.py"), "").expect("truncated");
        folder.restore().expect("restored");
        assert!(whole());
        std::fs::remove_dir_all(folder.path()).expect("removed");
        folder.restore().expect("restored");
        let mode = std::fs::metadata(folder.path()).expect("there").permissions().mode();
        assert!(whole() && mode & 0o777 == 0o700 && folder.path().join(LOCK).exists());
    }

    #[test]
    fn what_a_crashed_engine_left_is_removed_and_a_living_one_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let living = PrivateFolder::create(Some(parent.path())).expect("made");
        let crashed = parent.path().join("axion-crashed");
        std::fs::create_dir(&crashed).expect("made");
        drop(locked(&crashed).expect("locked"));
        let foreign = parent.path().join("axion-notes");
        std::fs::create_dir(&foreign).expect("made");
        // Not the first one, if a process that another thread is just making has a copy of the lock.
        let is_gone = || PrivateFolder::create(Some(parent.path())).is_ok_and(|_| !crashed.exists());
        assert!((0..1000).any(|_| is_gone()));
        assert!(living.path().exists() && foreign.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_typed_error_that_names_it() {
        let error = PrivateFolder::create(Some(Path::new("/proc"))).expect_err("not writable");
        assert_eq!(error.path, Path::new("/proc"));
        assert!(error.to_string().contains("runtime_dir"), "{error}");
    }
}
