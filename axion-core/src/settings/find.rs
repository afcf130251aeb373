//! Which file is read.

use std::path::{Path, PathBuf};

/// The name of the file that is looked for.
pub const CONFIG_FILE: &str = "axion.toml";

/// The nearest one in a folder or above it. A folder with a `.git` in it is the last one looked at: a
/// project does not take settings from outside.
pub(super) fn upwards(folder: &Path) -> Option<PathBuf> {
    for folder in folder.ancestors() {
        let file = folder.join(CONFIG_FILE);
        if file.is_file() {
            return Some(file);
        }
        if folder.join(".git").exists() {
            return None;
        }
    }
    None
}
