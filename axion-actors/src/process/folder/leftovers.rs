//! What killed engines left: their folders and control groups, and processes that bear their mark.
//!
//! Only what is proved to be an engine's is touched. The proof is the folder's name with its check digits
//! ([`Mark`]), its owner and mode, the free lock, and its content: either the marker says the same name, or there is
//! nothing in it but what an engine writes. A folder that something else is in stays.

use std::io;
use std::path::Path;

use super::{MARKER, Mark, PACKAGE, START};
use crate::process::os::{self, FolderLock};

/// Removes what killed engines left in a folder. What fails is left for the next engine.
pub(in crate::process) fn remove(parent: &Path) {
    os::remove_empty_groups(|name| Mark::of_folder(name).is_some());
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let Some(mark) = entry.file_name().to_str().and_then(Mark::of_folder) else { continue };
        if let Err(error) = remove_one(&entry.path(), &mark) {
            tracing::debug!(folder = %entry.path().display(), %error, "left alone what looks like a killed engine's");
        }
    }
}

fn remove_one(path: &Path, mark: &Mark) -> io::Result<()> {
    // Refuses what is no folder, is another user's, or can be entered by others. A living engine holds the lock.
    let _lock = FolderLock::take(path)?;
    if !is_proved(path, mark)? {
        return Err(io::Error::other("something else is in it"));
    }
    tracing::debug!(folder = %path.display(), "removing what a killed engine left");
    os::kill_marked(mark.as_str());
    os::remove_group(&mark.folder());
    std::fs::remove_dir_all(path)
}

/// Whether the content is an engine's. A start that is cut short leaves nothing, a part of the marker, or some of the
/// files.
fn is_proved(path: &Path, mark: &Mark) -> io::Result<bool> {
    let expected = mark.marker();
    let marker = match os::read_own_file(&path.join(MARKER), expected.len() + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    if marker == expected.as_bytes() {
        return Ok(true);
    }
    let package = format!("{PACKAGE}{mark}");
    let ours = [MARKER, START.0, &package];
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        if !ours.iter().any(|it| name == *it) {
            return Ok(false);
        }
    }
    Ok(expected.as_bytes().starts_with(&marker))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::super::{PrivateFolder, make_locked};
    use super::*;

    /// What a killed engine leaves: the folder is there, and nobody holds its lock.
    fn left(parent: &Path) -> (PathBuf, Mark) {
        let (path, mark, _lock) = make_locked(parent).expect("made");
        (path, mark)
    }

    /// Not the first one, if a process that another thread is just making has a copy of the lock.
    fn is_removed(path: &Path) -> bool {
        let parent = path.parent().expect("a parent");
        (0..1000).any(|_| {
            remove(parent);
            !path.exists()
        })
    }

    #[test]
    fn l7_what_a_killed_engine_left_is_removed_and_a_living_one_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let living = PrivateFolder::create(Some(parent.path())).expect("made");
        let killed = PrivateFolder::create(Some(parent.path())).expect("made");
        let path = killed.path().to_owned();
        // Its lock is let go of, and the folder is not removed.
        let PrivateFolder { lock, .. } = &*std::mem::ManuallyDrop::new(killed);
        *lock.lock().expect("whole") = Some(make_locked(elsewhere.path()).expect("made").2);
        fs::write(path.join("dump"), "of a task").expect("written");
        assert!(is_removed(&path));
        assert!(living.path().exists());
    }

    #[test]
    fn l7_a_start_that_was_cut_short_at_any_point_leaves_nothing() {
        let parent = tempfile::tempdir().expect("a folder");
        let (empty, _) = left(parent.path());
        assert!(is_removed(&empty));
        let (path, mark) = left(parent.path());
        let marker = mark.marker();
        for length in [0, 1, marker.len() / 2, marker.len()] {
            fs::create_dir_all(&path).expect("made");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
            fs::write(path.join(MARKER), &marker[..length]).expect("written");
            assert!(is_removed(&path), "{length} bytes of the marker");
        }
        // Something that cleans folders for temporary files has taken the marker.
        let (path, mark) = left(parent.path());
        fs::create_dir(path.join(format!("{PACKAGE}{mark}"))).expect("made");
        fs::write(path.join(START.0), "").expect("written");
        assert!(is_removed(&path));
    }

    #[test]
    fn what_is_not_proved_to_be_an_engines_is_left_alone_and_nothing_waits_for_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let inside = |name: &str| parent.path().join(name);
        fs::create_dir(inside("axion-results")).expect("made");
        fs::write(inside("axion-results").join("lock"), "").expect("written");
        // A number of the right form, which no engine has given.
        fs::create_dir(inside("axion-0123456789abcdef01234567")).expect("made");
        let mut kept = vec![inside("axion-results/lock"), inside("axion-0123456789abcdef01234567")];
        // With the name of an engine's folder, and a user's file in it.
        let (path, _) = left(parent.path());
        fs::write(path.join("results.csv"), "1").expect("written");
        kept.push(path.join("results.csv"));
        // A marker that says something else, one that is no file, one that leads elsewhere.
        let (path, _) = left(parent.path());
        fs::write(path.join(MARKER), "notes").expect("written");
        kept.push(path.join(MARKER));
        let (path, _) = left(parent.path());
        rustix::fs::mkfifoat(rustix::fs::CWD, path.join(MARKER), rustix::fs::Mode::RUSR).expect("made");
        kept.push(path.join(MARKER));
        let (path, mark) = left(parent.path());
        fs::write(inside("elsewhere"), mark.marker()).expect("written");
        symlink(inside("elsewhere"), path.join(MARKER)).expect("made");
        kept.push(path);
        // A link of that name, a file, and a folder that others can enter.
        let link = inside(&Mark::fresh().folder());
        fs::create_dir(inside("of-a-user")).expect("made");
        symlink(inside("of-a-user"), &link).expect("made");
        kept.extend([link, inside("of-a-user")]);
        let file = inside(&Mark::fresh().folder());
        fs::write(&file, "").expect("written");
        kept.push(file);
        let (path, _) = left(parent.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        kept.push(path);
        remove(parent.path());
        for path in kept {
            assert!(path.symlink_metadata().is_ok(), "{}", path.display());
        }
    }
}
