//! What a user submits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{PoolKind, TaskId};

/// The absolute path of a script. Cheap to clone and, unlike a `Path`, cheap to hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptPath(Arc<OsStr>);

impl ScriptPath {
    /// `path`, made absolute against the current folder; links are not followed.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self(absolute.into_os_string().into())
    }

    /// As a path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// As the bytes that go over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
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

/// Parameters that have no JSON form, or a text that is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the parameters are not valid JSON: {0}")]
pub struct ParamsError(#[from] serde_json::Error);

/// One unit of work: a script, its parameters, and where it should run.
///
/// ```
/// # use axion_actors::model::{PoolKind, Task};
/// let task = Task::script("resize.py").params(&serde_json::json!({"width": 640})).unwrap().on(PoolKind::Io);
/// assert_eq!(task.pool(), PoolKind::Io);
/// ```
#[derive(Clone, Debug)]
pub struct Task {
    id: TaskId,
    pool: PoolKind,
    script: ScriptPath,
    params: Bytes,
}

impl Task {
    /// A task that runs the script at `path` with the parameters `{}` in the CPU pool.
    ///
    /// The script defines `main(params, context)`, or `module()` returning an object with
    /// `run(params)`; either may be `async def`.
    #[must_use]
    pub fn script(path: impl AsRef<Path>) -> Self {
        Self {
            id: TaskId::generate(),
            pool: PoolKind::Cpu,
            script: ScriptPath::new(path.as_ref()),
            params: Bytes::from_static(b"{}"),
        }
    }

    /// Sets the parameters.
    ///
    /// # Errors
    /// If `params` has no JSON form, such as a map with keys that are not text.
    pub fn params<T: Serialize + ?Sized>(mut self, params: &T) -> Result<Self, ParamsError> {
        self.params = serde_json::to_vec(params)?.into();
        Ok(self)
    }

    /// Sets the parameters from JSON text, which reaches the script as it stands: numbers keep all
    /// their digits.
    ///
    /// # Errors
    /// If `text` is not JSON; the error names line and column.
    pub fn params_json(mut self, text: impl Into<Bytes>) -> Result<Self, ParamsError> {
        let text = text.into();
        serde_json::from_slice::<IgnoredAny>(&text)?;
        self.params = text;
        Ok(self)
    }

    /// Chooses the pool.
    #[must_use]
    pub fn on(mut self, pool: PoolKind) -> Self {
        self.pool = pool;
        self
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The pool it runs in.
    #[must_use]
    pub fn pool(&self) -> PoolKind {
        self.pool
    }

    /// The script's absolute path.
    #[must_use]
    pub fn script_path(&self) -> &ScriptPath {
        &self.script
    }

    /// The parameters as JSON text.
    #[must_use]
    pub fn params_text(&self) -> &Bytes {
        &self.params
    }
}
