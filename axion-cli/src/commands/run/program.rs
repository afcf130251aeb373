//! Scripts as programs of their own: `axion run SCRIPT -- ARGUMENTS`.
//!
//! A worker starts the program as its child, so that the limits of the task hold for it. The program gets the standard
//! streams of `axion run` themselves: its output is the result, and nothing of it passes through the engine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use axion_core::Task;
use axion_core::own_process::StreamDoor;
use serde_json::json;
use tempfile::TempDir;

use crate::args::{OutputFormat, RunArguments};
use crate::exit::Exit;

/// What runs in the worker.
const RUNNER: &str = include_str!("program.py");

/// The results of a worker that has looked for an entry point, and did not run the script.
pub(super) const HAS_ENTRY: &str = "\"entry\"";
pub(super) const HAS_NO_ENTRY: &str = "\"no entry\"";

/// No program has this exit code.
const UNKNOWN: i32 = i32::MIN;

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Launch {
    /// By its entry point.
    Entry,
    /// As a program.
    Program,
    /// As a program if it has no entry point. A worker looks.
    Ask,
}

impl Launch {
    /// Decides by the options and the text of the script, which is not Python's whole truth.
    pub(super) fn of(run: &RunArguments, text: &[u8]) -> Self {
        if run.is_program {
            Self::Program
        } else if text.split(|byte| *byte == b'\n').any(defines_entry) {
            Self::Entry
        } else {
            Self::Ask
        }
    }
}

/// Whether a line begins the definition of an entry point.
fn defines_entry(line: &[u8]) -> bool {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let line = line.strip_prefix(b"async ").unwrap_or(line);
    let Some(name) = line.strip_prefix(b"def ").or_else(|| line.strip_prefix(b"class ")) else { return false };
    let name = name.trim_ascii_start();
    let rest = name.strip_prefix(b"main").or_else(|| name.strip_prefix(b"module"));
    rest.is_some_and(|rest| matches!(rest.trim_ascii_start().first(), Some(b'(' | b':' | b'[')))
}

/// The streams and the exit code of a program that a worker runs. Its folder, and with it the socket at which the streams are
/// given away, is the user's alone (L17).
#[derive(Debug)]
pub(super) struct Program {
    folder: TempDir,
    code: Arc<AtomicI32>,
}

impl Program {
    /// Waits for the worker on a thread of its own.
    ///
    /// # Errors
    /// If there is no room for a file and a socket.
    pub(super) fn prepare() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("axion-run-").tempdir()?;
        std::fs::write(folder.path().join("program.py"), RUNNER)?;
        let door = StreamDoor::open(&folder.path().join("streams"))?;
        let code = Arc::new(AtomicI32::new(UNKNOWN));
        let kept = code.clone();
        let serve = move || while door.serve_next(|code| kept.store(code, Ordering::Release)).is_ok() {};
        std::thread::Builder::new().name("axion-streams".to_owned()).spawn(serve)?;
        Ok(Self { folder, code })
    }

    /// The task that runs the program, or looks for an entry point first.
    pub(super) fn task(&self, run: &RunArguments, asks: bool) -> Result<Task, String> {
        let text = |word: &std::ffi::OsString| {
            word.to_str().map(str::to_owned).ok_or_else(|| format!("the argument {} is not UTF-8 text", word.display()))
        };
        // The workers may run in another folder.
        let script = match run.workers.cwd {
            Some(_) => std::path::absolute(&run.script).map_err(|error| error.to_string())?,
            None => run.script.clone(),
        };
        let script = text(&script.into_os_string())?;
        let arguments = run.arguments.iter().map(text).collect::<Result<Vec<String>, String>>()?;
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        let params = json!({
            "script": script,
            "arguments": arguments,
            "door": path("streams"),
            "ask": asks,
            "has_params": !run.params.is_empty(),
            "keep_output": run.output == OutputFormat::Json,
        });
        Task::script(path("program.py")).params(&params).map_err(|error| error.to_string())
    }

    /// How the program ended, if it did. A time limit or a lost worker ends it without an exit code of its own.
    pub(super) fn end(&self) -> Option<ProgramEnd> {
        match self.code.load(Ordering::Acquire) {
            UNKNOWN => None,
            code @ ..=-1 => Some(ProgramEnd::Signal(code.unsigned_abs())),
            code => Some(ProgramEnd::Code(code)),
        }
    }

    /// An attempt that came before does not count.
    pub(super) fn forget(&self) {
        self.code.store(UNKNOWN, Ordering::Release);
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramEnd {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(u32),
}

impl ProgramEnd {
    /// As shells pass it on.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Code(code) => Exit::Program(u8::try_from(code & 0xff).unwrap_or(1)),
            Self::Signal(number) => Exit::Program(u8::try_from(128 + (number & 0x7f)).unwrap_or(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_at_the_beginning_of_a_line_is_an_entry_point() {
        for line in
            ["def main(params, context):", "async def main (x):", "def module():", "class module:", "def  main():"]
        {
            assert!(defines_entry(line.as_bytes()), "{line}");
        }
        for line in ["    def main():", "def mainly():", "main()", "# def main():", "def main", "import main"] {
            assert!(!defines_entry(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn an_end_by_a_signal_is_128_and_its_number() {
        let exits = [ProgramEnd::Code(0), ProgramEnd::Code(7), ProgramEnd::Signal(9)].map(|end| end.exit().code());
        assert_eq!(exits, [0, 7, 137]);
    }
}
