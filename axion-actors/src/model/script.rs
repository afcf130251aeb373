//! The path of a script.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The absolute path of a script. Cheap to clone and, unlike a `Path`, cheap to hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptPath(Arc<OsStr>);

impl ScriptPath {
    /// Makes `path` absolute against the current folder. Links are not followed.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        if is_plain(path.as_os_str().as_bytes()) {
            return Self(path.as_os_str().into());
        }
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self(absolute.into_os_string().into())
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The bytes of the path, as the wire protocol carries them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether a path is already in the form that making it absolute gives. This check costs far less than the conversion.
fn is_plain(path: &[u8]) -> bool {
    path.first() == Some(&b'/') && path[1..].split(|byte| *byte == b'/').all(|part| !part.is_empty() && part != b".")
}

impl Serialize for ScriptPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.0.to_string_lossy())
        } else {
            serializer.serialize_bytes(self.as_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for ScriptPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Ok(Self(OsStr::from_bytes(&raw).into()))
    }
}
