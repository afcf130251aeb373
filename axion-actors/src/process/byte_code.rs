//! Byte code of the runtime that the program has already.

use std::path::Path;
use std::{fmt, fs, io};

/// Byte code of the runtime's modules, as the names and contents of files. With it, no worker compiles the runtime, which
/// takes almost as long as the start of an interpreter. A worker uses only what its version of Python has made of the
/// very source that it has.
#[derive(Clone, Default)]
pub struct ByteCode(Vec<(String, Vec<u8>)>);

impl ByteCode {
    /// Makes the folder, with these files in it.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        self.0.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
    }
}

impl FromIterator<(String, Vec<u8>)> for ByteCode {
    /// Leaves out names that lead to another folder.
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(files: I) -> Self {
        let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|plain| plain == name);
        Self(files.into_iter().filter(|(name, _)| is_plain(name)).collect())
    }
}

impl fmt::Debug for ByteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteCode({} files)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_itself_are_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("__pycache__");
        let names = ["wire.cpython-311.pyc", "../outside.pyc", "/tmp/outside.pyc", "..", ""];
        let code: ByteCode = names.map(|name| (name.to_owned(), vec![1])).into_iter().collect();
        code.write(&inner).expect("written");
        let listed = |path: &Path| fs::read_dir(path).expect("listed").flatten().map(|entry| entry.file_name());
        assert_eq!(listed(&inner).collect::<Vec<_>>(), [names[0]]);
        assert_eq!(listed(folder.path()).collect::<Vec<_>>(), ["__pycache__"]);
    }
}
