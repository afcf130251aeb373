//! The private folder through which the runtime's files reach the interpreter.
//!
//! One per engine, in the system's folder for temporary files, with mode 0700. The engine holds a lock on the folder
//! itself while it lives. That also keeps `systemd-tmpfiles` out of it. A folder whose lock is free was left by an
//! engine that was killed together with its guardian, at whatever point of its life; the next engine removes it
//! ([`leftovers`]). So does the engine in whose task that one ran.

mod leftovers;
mod mark;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(super) use self::leftovers::remove as remove_leftovers;
pub(super) use self::mark::Mark;
use super::byte_code::ByteCode;
use super::os::{FolderLock, make_new_folder, make_private_folder};

/// The private folder could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot put the worker runtime into {path}: {source}; the setting `runtime_dir` names another folder")]
pub struct FolderError {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

const PACKAGE: &str = "_axion_worker_";
/// The file that says what the folder is.
const MARKER: &str = "axion-runtime";
/// How many names are tried. A name is taken only if another engine takes the new folder for a left-over.
const NAMES: usize = 16;

macro_rules! runtime_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../python/axion_worker/", $name)))),*]
    };
}

/// The package `axion_worker`, embedded.
const FILES: [(&str, &str); 31] = runtime_files![
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
    "places.py",
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
    path: PathBuf,
    mark: Mark,
    package: String,
    /// `None` at its end.
    lock: Mutex<Option<FolderLock>>,
    /// The process that made it. A forked copy removes nothing.
    owner: u32,
}

impl PrivateFolder {
    /// Removes what killed engines left, then makes a folder and writes the runtime into it.
    ///
    /// # Errors
    /// If `parent` (or the system's folder for temporary files) cannot be written to.
    pub fn create(parent: Option<&Path>) -> Result<Self, FolderError> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        remove_leftovers(&parent);
        let (path, mark, lock) = make_locked(&parent).map_err(|source| FolderError { path: parent.clone(), source })?;
        let package = format!("{PACKAGE}{mark}");
        // From here on, a failure drops the folder, which removes it.
        let folder = Self { path, mark, package, lock: Mutex::new(Some(lock)), owner: std::process::id() };
        folder.write().map_err(|source| folder.error(source))?;
        Ok(folder)
    }

    /// Writes again what something that cleans folders for temporary files has removed or a full disk has cut short. The
    /// running workers do not need it, but a new one does.
    ///
    /// # Errors
    /// If the folder cannot be written to, or its place was taken by somebody else.
    pub(super) fn restore(&self) -> Result<(), FolderError> {
        // Held throughout: workers start at the same time.
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !lock.as_ref().is_some_and(|lock| lock.is_at(&self.path)) {
            make_private_folder(&self.path)
                .and_then(|()| FolderLock::take(&self.path))
                .map(|new| *lock = Some(new))
                .map_err(|source| self.error(source))?;
        }
        let is_whole = |(path, text): (PathBuf, &str)| std::fs::read(path).is_ok_and(|found| found == text.as_bytes());
        if self.files().all(is_whole) { Ok(()) } else { self.write().map_err(|source| self.error(source)) }
    }

    fn error(&self, source: io::Error) -> FolderError {
        FolderError { path: self.path.clone(), source }
    }

    fn write(&self) -> io::Result<()> {
        // First of all: with it, a start that is cut short here leaves what can be proved to be ours.
        std::fs::write(self.path.join(MARKER), self.mark.marker())?;
        std::fs::create_dir_all(self.path.join(&self.package))?;
        self.files().try_for_each(|(path, text)| std::fs::write(path, text))
    }

    fn files(&self) -> impl Iterator<Item = (PathBuf, &'static str)> {
        let inner = self.path.join(&self.package);
        [(self.path.join(START.0), START.1)].into_iter().chain(FILES.map(|(name, text)| (inner.join(name), text)))
    }

    /// Puts byte code beside the runtime's source. If it is removed later, workers make it again.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn add_byte_code(&self, byte_code: &ByteCode) -> Result<(), FolderError> {
        let path = self.path().join(&self.package).join("__pycache__");
        byte_code.write(&path).map_err(|source| FolderError { path, source })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What no other engine's folder has in its name.
    #[must_use]
    pub fn mark(&self) -> &str {
        self.mark.as_str()
    }

    /// The script that starts a worker.
    #[must_use]
    pub fn start_script(&self) -> PathBuf {
        self.path.join(START.0)
    }

    /// The name of the runtime's package.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        // Where the process has no other descriptor left, the removal takes this one.
        *self.lock.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = remove_with_one_descriptor(&self.path) {
            tracing::debug!(folder = %self.path.display(), %error, "the folder is not removed, or was before");
        }
    }
}

/// Removes a folder of our own with all that is in it. The library's function has each folder open on the way down.
fn remove_with_one_descriptor(folder: &Path) -> io::Result<()> {
    // The list is complete, and its descriptor closed, before anything in it is opened.
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    for entry in entries {
        // A link is no folder.
        if entry.file_type()?.is_dir() {
            remove_with_one_descriptor(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

/// Makes a folder of a new name and locks it. Between the two steps, another engine may take it for a left-over and
/// remove it. Then the next name is tried.
fn make_locked(parent: &Path) -> io::Result<(PathBuf, Mark, FolderLock)> {
    for _ in 0..NAMES {
        let mark = Mark::fresh();
        let path = parent.join(mark.folder());
        match make_new_folder(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        match FolderLock::take(&path) {
            Ok(lock) if lock.is_at(&path) => return Ok((path, mark, lock)),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound) => {
                // An engine that looks for left-overs holds the lock for a moment.
                let _ = std::fs::remove_dir(&path);
            }
            Err(error) => {
                let _ = std::fs::remove_dir(&path);
                return Err(error);
            }
        }
    }
    Err(io::Error::other("each new folder in it is removed or locked by somebody else at once"))
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
        let module = folder.path().join(folder.package()).join("wire.py");
        let zeros = vec![0; std::fs::read(&module).expect("there").len()];
        for damage in [&[][..], &zeros] {
            std::fs::write(&module, damage).expect("damaged");
            folder.restore().expect("restored");
            assert!(whole());
        }
        std::fs::remove_dir_all(folder.path()).expect("removed");
        folder.restore().expect("restored");
        let mode = std::fs::metadata(folder.path()).expect("there").permissions().mode();
        assert!(whole() && mode & 0o777 == 0o700);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_a_typed_error_that_names_it() {
        let error = PrivateFolder::create(Some(Path::new("/proc"))).expect_err("not writable");
        assert_eq!(error.path, Path::new("/proc"));
        assert!(error.to_string().contains("runtime_dir"), "{error}");
    }
}
