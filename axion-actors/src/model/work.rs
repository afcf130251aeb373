//! The work of a task: a script or a function. The engine never reads a function's code.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::part::{Part, PartId};
use super::payload::Payload;
use super::script::ScriptPath;

/// A function: opaque code that a worker can load, and a name for people. Cheap to clone.
///
/// A worker has the function's parts before it loads the code. The code lists the ids of the parts, so functions with
/// the same code have the same parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    name: FunctionName,
    code: Part,
    parts: Arc<[Part]>,
}

impl Function {
    /// A function with this code. `name` is for people and does not affect the identity.
    #[must_use]
    pub fn new(name: &str, code: impl Into<Payload>) -> Self {
        Self::with_parts(name, code, Arc::default())
    }

    /// A function whose code needs these parts. Functions that need the same ones share them.
    #[must_use]
    pub fn with_parts(name: &str, code: impl Into<Payload>, parts: Arc<[Part]>) -> Self {
        let code = Part::new(code);
        Self(Arc::new(Inner { name: FunctionName { id: code.id(), words: name.into() }, code, parts }))
    }

    /// The identity: that of the code.
    #[must_use]
    pub fn id(&self) -> PartId {
        self.0.name.id
    }

    /// The identity and the name.
    #[must_use]
    pub fn name(&self) -> &FunctionName {
        &self.0.name
    }

    /// The code that a worker loads.
    #[must_use]
    pub fn code(&self) -> &Part {
        &self.0.code
    }

    /// The parts that the code needs.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0.parts
    }

    /// Everything that a worker must have before it calls the function: its parts, then its code.
    pub fn pieces(&self) -> impl Iterator<Item = &Part> {
        self.parts().iter().chain([self.code()])
    }
}

/// The serialized form of a function. Its identity follows from the code. Secret parts are left out (L17).
#[derive(Serialize, Deserialize)]
struct StoredFunction {
    name: String,
    code: Part,
    parts: Arc<[Part]>,
}

impl Serialize for Function {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Inner { name, code, parts } = &*self.0;
        let parts = parts.iter().filter(|part| !part.is_secret()).cloned().collect();
        StoredFunction { name: name.to_string(), code: code.clone(), parts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Function {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StoredFunction { name, code, parts } = StoredFunction::deserialize(deserializer)?;
        Ok(Self(Arc::new(Inner { name: FunctionName { id: code.id(), words: name.into() }, code, parts })))
    }
}

/// The identity and the name of a function, without its code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FunctionName {
    id: PartId,
    words: Arc<str>,
}

impl FunctionName {
    /// The identity.
    #[must_use]
    pub fn id(&self) -> PartId {
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

    /// The parts of a function.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        match self {
            Self::Script(_) => &[],
            Self::Function(function) => function.parts(),
        }
    }

    /// The size in bytes that a waiting task holds. Parts do not count, because tasks share them.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Script(path) => path.as_bytes().len(),
            Self::Function(function) => function.code().bytes().len(),
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
            false => Self::Function(FunctionName { id: PartId::of(text.as_bytes()), words: text.into() }),
        })
    }
}

/// A borrowed key for lookups by work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKey<'a> {
    /// A script.
    Script(&'a ScriptPath),
    /// A function.
    Function(PartId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_identity_is_its_code() {
        let function = Function::new("f", &b"code"[..]);
        assert_eq!(function.id(), Function::new("g", &b"code"[..]).id());
        assert_ne!(function.id(), Function::new("f", &b"core"[..]).id());
        assert_eq!(function.id(), PartId::of(b"code"));
        assert_eq!(function.name().to_string(), "f");
    }

    #[test]
    fn a_stored_function_keeps_its_parts() {
        let parts = [Part::new(&b"\xffone"[..]), Part::new(&b"two"[..])];
        let function = Function::with_parts("f", &b"code"[..], parts.clone().into());
        let stored = serde_json::to_string(&function).expect("it can be stored");
        let read: Function = serde_json::from_str(&stored).expect("it can be read");
        assert_eq!((read.id(), read.name().to_string(), read.parts()), (function.id(), "f".to_owned(), &parts[..]));
        assert!(read.pieces().eq(parts.iter().chain([function.code()])));
    }

    #[test]
    fn l17_a_stored_function_has_no_secret_parts() {
        let parts = [Part::new(&b"one"[..]), Part::secret(&b"hush"[..])];
        let function = Function::with_parts("f", &b"code"[..], parts.clone().into());
        assert!(function.pieces().eq(parts.iter().chain([function.code()])), "a worker gets them");
        let stored = serde_json::to_string(&function).expect("it can be stored");
        let read: Function = serde_json::from_str(&stored).expect("it can be read");
        assert_eq!(read.parts(), &parts[..1]);
        assert_eq!(read.id(), function.id());
    }
}
