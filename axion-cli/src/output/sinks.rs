//! Where text goes: to standard error, to a log file, or to both, with or without times.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anstream::adapter::strip_bytes;
use jiff::Timestamp;

use super::{Kind, Text};

/// What the command line says about it.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    quiet: bool,
    timestamps: bool,
    file: Option<(PathBuf, File)>,
}

impl Destinations {
    /// Opens the log file, to add to it.
    ///
    /// # Errors
    /// What the system says about the file.
    pub(crate) fn open(quiet: bool, timestamps: bool, log_file: Option<&Path>) -> io::Result<Self> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path)?;
            Ok::<_, io::Error>((path.to_owned(), file))
        };
        Ok(Self { quiet, timestamps, file: log_file.map(open).transpose()? })
    }
}

static CHOSEN: OnceLock<Destinations> = OnceLock::new();

/// Chooses where text goes, before there is any. Without a choice, all of it goes to standard error.
pub(crate) fn choose(destinations: Destinations) {
    // The program chooses once.
    let _ = CHOSEN.set(destinations);
}

/// Whether standard error gets errors and warnings only.
pub(crate) fn is_quiet() -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen.quiet)
}

/// The writer's view of the destinations.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    screen: Stamper,
    file: Stamper,
    /// The file has failed, which was reported.
    failed: bool,
}

impl Sinks {
    /// Writes texts to the file, and returns what standard error gets of them.
    pub(super) fn take<'a>(&mut self, texts: impl IntoIterator<Item = &'a Text>) -> Vec<u8> {
        let nothing = Destinations::default();
        let chosen = CHOSEN.get().unwrap_or(&nothing);
        let (mut shown, mut kept) = (Vec::new(), Vec::new());
        for text in texts {
            if !chosen.quiet || text.kind.is_heard_when_quiet() {
                self.screen.add(text, &text.bytes, chosen.timestamps, &mut shown);
            }
            if chosen.file.is_some() {
                self.file.add(text, &strip_bytes(&text.bytes).into_vec(), true, &mut kept);
            }
        }
        if let (Some((path, file)), false) = (&chosen.file, self.failed)
            && let Err(error) = (&mut &*file).write_all(&kept)
        {
            self.failed = true;
            let words = format_args!("cannot write to the log file {}: {error}", path.display());
            shown.extend(crate::message::render_warning(words));
        }
        shown
    }
}

/// Puts the time in front of lines, also of those that come in parts.
#[derive(Debug, Default)]
struct Stamper {
    within_line: bool,
}

impl Stamper {
    fn add(&mut self, text: &Text, bytes: &[u8], stamps: bool, out: &mut Vec<u8>) {
        // A line of the log begins with its time.
        if !stamps || text.kind == Kind::Log {
            out.extend_from_slice(bytes);
            self.within_line = bytes.last().map_or(self.within_line, |last| *last != b'\n');
            return;
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within_line {
                out.extend_from_slice(stamp(text.at).as_bytes());
            }
            out.extend_from_slice(line);
            self.within_line = !line.ends_with(b"\n");
        }
    }
}

fn stamp(at: Timestamp) -> String {
    format!("{at:.3} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_time_once_also_if_it_comes_in_parts_and_the_log_has_its_own() {
        let (mut stamper, mut out) = (Stamper::default(), Vec::new());
        let parts: [(Kind, &str); 5] = [
            (Kind::Output, "one\ntw"),
            (Kind::Output, "o\n"),
            (Kind::Log, "T log\n"),
            (Kind::Message, "\n"),
            (Kind::Note, "x"),
        ];
        for (kind, words) in parts {
            let text = Text { kind, bytes: words.into(), at: Timestamp::UNIX_EPOCH };
            stamper.add(&text, &text.bytes, true, &mut out);
        }
        let t = "1970-01-01T00:00:00.000Z ";
        assert_eq!(String::from_utf8_lossy(&out), format!("{t}one\n{t}two\nT log\n{t}\n{t}x"));
    }
}
