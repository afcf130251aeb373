//! The engine's log, on its way to Python's.
//!
//! No thread of Rust's calls Python: lines go into a pipe that a thread of Python's reads. A line is a length
//! (u16, little-endian), one byte with the level of `logging` divided by 10, and text; it is written at once, so
//! that threads need no lock between them. What the pipe does not take is counted and said with the next line.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Once, RwLock};

use axion_core::LogFilter;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::fs::OFlags;
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;

/// The most that a pipe takes as one piece, whoever else writes.
const PIECE: usize = 4096;
const HEAD: usize = 3;
/// Not a level: marks what came before it.
const MARK: u8 = 0;

/// Where lines go, and the process whose they are: one that is forked off opens its own.
static PIPE: RwLock<Option<(u32, PipeWriter)>> = RwLock::new(None);
/// The least of `logging`'s levels, divided by 10, that is written.
static LEAST: AtomicU8 = AtomicU8::new(u8::MAX);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Opens the log of this process; returns the descriptor from which its lines are read. None if there was a
/// copy of a lock at the fork that nobody will let go: then this process goes without.
#[pyfunction]
pub(crate) fn open_log() -> PyResult<Option<i32>> {
    let (reader, writer) = pipe().map_err(|error| PyOSError::new_err(error.to_string()))?;
    let Ok(mut place) = PIPE.try_write() else { return Ok(None) };
    *place = Some((std::process::id(), writer));
    drop(place);
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let lines =
            tracing_subscriber::fmt::layer().with_writer(Lines).without_time().with_level(false).with_target(false);
        let wanted = dynamic_filter_fn(|about, _| {
            rank(*about.level()) >= LEAST.load(Ordering::Relaxed) && about.target().starts_with("axion")
        });
        let log = tracing_subscriber::registry()
            .with(lines.with_ansi(false))
            .with(wanted.with_max_level_hint(LevelFilter::DEBUG));
        // A second one in one process is not ours to replace.
        let _ = log.try_init();
    });
    Ok(Some(reader.into_raw_fd()))
}

/// Has lines written as an engine of these settings asks for; of several, the one that asks for most is heeded.
#[pyfunction]
pub(crate) fn log_as(config: &Config) {
    let least = match config.0.log_level {
        LogFilter::Error => 4,
        LogFilter::Warning => 3,
        LogFilter::Info => 2,
        LogFilter::Debug => 1,
    };
    LEAST.fetch_min(least, Ordering::Relaxed);
}

/// Writes a mark behind all lines so far. False if that cannot be done now.
#[pyfunction]
pub(crate) fn mark_log() -> bool {
    write(MARK, &[])
}

fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    rustix::fs::fcntl_setfl(&writer, OFlags::WRONLY | OFlags::NONBLOCK)?;
    Ok((reader, writer))
}

fn rank(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::ERROR => 4,
        tracing::Level::WARN => 3,
        tracing::Level::INFO => 2,
        _ => 1,
    }
}

/// Writes one line, cut to what goes through in one piece; false if the pipe is full or not there.
fn write(level: u8, text: &[u8]) -> bool {
    let text = &text[..text.len().min(PIECE - HEAD)];
    let Ok(place) = PIPE.try_read() else { return false };
    let Some((_, pipe)) = place.as_ref().filter(|(process, _)| *process == std::process::id()) else { return false };
    let mut piece = Vec::with_capacity(HEAD + text.len());
    piece.extend_from_slice(&u16::try_from(text.len()).unwrap_or_default().to_le_bytes());
    piece.push(level);
    piece.extend_from_slice(text);
    rustix::io::write(pipe, &piece).is_ok()
}

/// Makes writers for lines.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(2)
    }

    fn make_writer_for(&'a self, about: &tracing::Metadata<'_>) -> Line {
        Line(rank(*about.level()))
    }
}

/// Writes a line of this level; the formatter hands it over whole.
struct Line(u8);

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        let told = dropped == 0 || write(3, format!("{dropped} lines of the log were dropped").as_bytes());
        if !told || !write(self.0, text.trim_ascii_end()) {
            DROPPED.fetch_add(1 + if told { 0 } else { dropped }, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
