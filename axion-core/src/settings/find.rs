//! Finds the configuration file.

use std::path::{Path, PathBuf};

/// The name of the file.
pub const CONFIG_FILE: &str = "axion.toml";

/// The file in this folder, or in the nearest folder above that has one. The search ends at a folder with a `.git`, so
/// a project takes no settings from outside.
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
