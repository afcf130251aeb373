//! What files and paths are like here.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, FlockOperation, Mode, OFlags, access};

use super::forks::{self, PrivateFd};

/// The mode of a folder that only its owner can enter.
const PRIVATE: u32 = 0o700;

/// Whether this user may make a folder the current one.
pub(crate) fn is_enterable(folder: &Path) -> bool {
    access(folder, Access::EXEC_OK).is_ok()
}

/// Whether this process may execute a file.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The path that a child names by its bytes.
pub(crate) fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// Makes a folder that only this user can enter. There must be nothing of that name.
pub(crate) fn make_new_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(PRIVATE).create(path)
}

/// The same, but such a folder may be there already.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    match make_new_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ if is_private(&std::fs::symlink_metadata(path)?) => Ok(()),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Whether these are of a folder that the user of this process alone can enter.
fn is_private(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o777 == PRIVATE
}

/// The lock on a private folder, held until this is dropped. Processes that this one forks do not hold it, too.
#[derive(Debug)]
pub(crate) struct FolderLock(PrivateFd);

impl FolderLock {
    /// Locks a private folder of this user. Does not wait, and does not follow a link.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds the lock, `PermissionDenied` if the folder is not private, and what the
    /// system says.
    pub(crate) fn take(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let ([folder], ()) =
            forks::private(|| Ok::<_, io::Error>(([rustix::fs::open(path, flags, Mode::empty())?], ())))?;
        let metadata = rustix::fs::fstat(&folder)?;
        if metadata.st_uid != rustix::process::geteuid().as_raw() || metadata.st_mode & 0o777 != PRIVATE {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(folder))
    }

    /// Whether the locked folder is the one at this path: it may have been removed, and made anew by somebody else.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let locked = rustix::fs::fstat(&self.0);
        let there = rustix::fs::lstat(path);
        matches!((locked, there), (Ok(locked), Ok(there)) if (locked.st_dev, locked.st_ino) == (there.st_dev, there.st_ino))
    }
}

/// The first bytes of a file of this user, at most `limit`. Does not wait, whatever is there, and does not follow a link.
///
/// # Errors
/// `NotFound` if there is nothing, `PermissionDenied` if it is no file of this user's, and what the system says.
pub(crate) fn read_own_file(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = Vec::new();
    file.take(limit as u64).read_to_end(&mut text)?;
    Ok(text)
}
