//! The work of a task: a script or a function. The engine never reads a function's code.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::script::ScriptPath;

/// The identity of a function: a hash of its code. A worker that has the function does not receive it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FunctionId(pub [u8; 16]);

/// The namespace of all function hashes. Other uses of the same hash give other ids.
const FUNCTIONS: Uuid = Uuid::from_u128(0x0a71_0f5e_6b0c_4d1e_9c55_35aa_77ef_2b90);

impl FunctionId {
    /// The identity of this code.
    #[must_use]
    pub fn of(code: &[u8]) -> Self {
        Self(*Uuid::new_v5(&FUNCTIONS, code).as_bytes())
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

/// A function: opaque code that a worker can load, and a name for people. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    name: FunctionName,
    code: Bytes,
}

impl Function {
    /// A function with this code. `name` is for people and does not affect the identity.
    #[must_use]
    pub fn new(name: &str, code: impl Into<Bytes>) -> Self {
        let code = code.into();
        Self(Arc::new(Parts { name: FunctionName { id: FunctionId::of(&code), words: name.into() }, code }))
    }

    /// The identity.
    #[must_use]
    pub fn id(&self) -> FunctionId {
        self.0.name.id
    }

    /// The identity and the name.
    #[must_use]
    pub fn name(&self) -> &FunctionName {
        &self.0.name
    }

    /// The code that a worker loads.
    #[must_use]
    pub fn code(&self) -> &Bytes {
        &self.0.code
    }
}

/// The serialized form of a function. Its identity follows from the code.
#[derive(Serialize, Deserialize)]
struct StoredFunction {
    name: String,
    #[serde(with = "super::raw")]
    code: Bytes,
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredFunction { name: self.name().to_string(), code: self.code().clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StoredFunction { name, code } = StoredFunction::deserialize(deserializer)?;
        Ok(Self::new(&name, code))
    }
}

/// The identity and the name of a function, without its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionName {
    id: FunctionId,
    words: Arc<str>,
}

impl FunctionName {
    /// The identity.
    #[must_use]
    pub fn id(&self) -> FunctionId {
        self.id
    }
}

impl PartialEq for FunctionName {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for FunctionName {}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The work of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A file with an entry point. Its parameters and its result are JSON.
    Script(ScriptPath),
    /// A function. Its arguments and its result are opaque to the engine.
    Function(Function),
}

impl Work {
    /// The key for lookups.
    #[must_use]
    pub fn key(&self) -> WorkKey<'_> {
        match self {
            Self::Script(path) => WorkKey::Script(path),
            Self::Function(function) => WorkKey::Function(function.id()),
        }
    }

    /// The name for records: without the function's code.
    #[must_use]
    pub fn name(&self) -> WorkName {
        match self {
            Self::Script(path) => WorkName::Script(path.clone()),
            Self::Function(function) => WorkName::Function(function.name().clone()),
        }
    }

    /// The size in bytes that a waiting task holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Script(path) => path.as_bytes().len(),
            Self::Function(function) => function.code().len(),
        }
    }
}

/// The work of a finished task, as records keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub enum WorkName {
    /// A script.
    Script(ScriptPath),
    /// A function.
    Function(FunctionName),
}

impl WorkName {
    /// The key for lookups.
    #[must_use]
    pub fn key(&self) -> WorkKey<'_> {
        match self {
            Self::Script(path) => WorkKey::Script(path),
            Self::Function(name) => WorkKey::Function(name.id()),
        }
    }
}

impl fmt::Display for WorkName {
    /// The same text as in JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(path) => path.as_path().display().fmt(f),
            Self::Function(name) => name.fmt(f),
        }
    }
}

impl Serialize for WorkName {
    /// The script's path or the function's name. Binary formats also contain the function's identity.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            _ if !serializer.is_human_readable() => Self::serialize(self, serializer),
            Self::Script(path) => path.serialize(serializer),
            Self::Function(name) => serializer.collect_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for WorkName {
    /// A text does not contain a function's identity. So an absolute path is read as a script, and any other text as a
    /// function that equals no other.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        Ok(match text.starts_with('/') {
            true => Self::Script(ScriptPath::new(text.as_ref())),
            false => Self::Function(FunctionName { id: FunctionId::of(text.as_bytes()), words: text.into() }),
        })
    }
}

/// A borrowed key for lookups by work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKey<'a> {
    /// A script.
    Script(&'a ScriptPath),
    /// A function.
    Function(FunctionId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_identity_is_its_code() {
        let function = Function::new("f", &b"code"[..]);
        assert_eq!(function.id(), Function::new("g", &b"code"[..]).id());
        assert_ne!(function.id(), Function::new("f", &b"core"[..]).id());
        assert_eq!(function.id(), FunctionId::of(b"code"));
        assert_eq!(function.name().to_string(), "f");
    }
}
