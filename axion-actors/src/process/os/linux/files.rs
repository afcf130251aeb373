//! What files and paths are like here.

use std::ffi::OsString;
use std::fs::{Metadata, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
