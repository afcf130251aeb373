//! What files and paths are like here.

use std::ffi::OsString;
use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Those of a folder that only its owner can enter.
pub(crate) fn private_permissions() -> Permissions {
    Permissions::from_mode(0o700)
}

/// Whether these are of a folder of the user of this process.
pub(crate) fn is_own_folder(metadata: &Metadata) -> bool {
    metadata.is_dir() && metadata.uid() == rustix::process::getuid().as_raw()
}

/// Whether this process may execute a file.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// The path that a child names by its bytes.
pub(crate) fn path_from_bytes(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// Makes a folder that only this user can read. If it is there already, it must be this user's.
pub(crate) fn make_private_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ if is_own_folder(&std::fs::symlink_metadata(path)?) => Ok(()),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}
