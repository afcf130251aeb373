//! Forwards the engine's log to Python's `logging`.
//!
//! No Rust thread calls Python: lines go into a pipe that a Python thread reads. A line is a length (u16,
//! little-endian), one byte with the level of `logging` divided by 10, and text. Each line is written in one call, so
//! threads need no lock between them. Lines that do not fit into the pipe are counted, and the next line reports their
//! number.

use std::io::{self, IoSlice, PipeReader, PipeWriter, Write};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Once, RwLock};

use axion_core::LogFilter;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags};
use tracing_subscriber::filter::{LevelFilter, dynamic_filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Config;

/// The maximum length of a write that stays in one piece when several threads write.
const PIECE: usize = 4096;
const HEAD: usize = 3;
/// A value that is not a level. It marks the end of the lines before it.
const MARK: u8 = 0;

/// The pipe for lines, and the id of its process. A forked process opens its own pipe.
static PIPE: RwLock<Option<(u32, PipeWriter)>> = RwLock::new(None);
/// The lowest level of `logging` that is written, divided by 10.
static LEAST: AtomicU8 = AtomicU8::new(u8::MAX);
/// The lines that were dropped since the last one that was written, and since the start.
static DROPPED: AtomicUsize = AtomicUsize::new(0);
static DROPPED_EVER: AtomicUsize = AtomicUsize::new(0);

/// Opens the log of this process and returns the descriptor from which its lines are read. Returns None if the process
/// was forked while another thread held the lock: such a process has no log.
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
        // Another subscriber in this process is not replaced.
        let _ = log.try_init();
    });
    Ok(Some(reader.into_raw_fd()))
}

/// Sets the log level for an engine with these settings. With several engines, the most detailed level applies.
#[pyfunction]
pub(crate) fn log_as(config: &Config) {
    let least = match config.0.log_level {
        LogFilter::Critical => 5,
        LogFilter::Error => 4,
        LogFilter::Warning => 3,
        LogFilter::Info => 2,
        LogFilter::Debug => 1,
    };
    LEAST.fetch_min(least, Ordering::Relaxed);
}

/// The lines of the log that were dropped, because nobody read them in time (L9).
#[pyfunction]
pub(crate) fn dropped_log_lines() -> usize {
    DROPPED_EVER.load(Ordering::Relaxed)
}

/// Writes a mark after all lines so far. Returns false if that is not possible now.
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

/// Writes one line, cut to the maximum length. Returns false if the pipe is full or absent.
fn write(level: u8, text: &[u8]) -> bool {
    let text = &text[..text.len().min(PIECE - HEAD)];
    let Ok(place) = PIPE.try_read() else { return false };
    let Some((_, pipe)) = place.as_ref().filter(|(process, _)| *process == std::process::id()) else { return false };
    let mut piece = Vec::with_capacity(HEAD + text.len());
    piece.extend_from_slice(&u16::try_from(text.len()).unwrap_or_default().to_le_bytes());
    piece.push(level);
    piece.extend_from_slice(text);
    write_now(pipe, &piece).is_ok()
}

/// Writes a piece, or nothing if the pipe is full. Never waits, not even if another process that shares the pipe has
/// taken its `O_NONBLOCK` away (L11): this flag counts for one call. A kernel that does not know it for pipes (before
/// 6.4) relies on `O_NONBLOCK`.
fn write_now(pipe: &PipeWriter, piece: &[u8]) -> rustix::io::Result<usize> {
    const NO_POSITION: u64 = u64::MAX;
    match rustix::io::pwritev2(pipe, &[IoSlice::new(piece)], NO_POSITION, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => rustix::io::write(pipe, piece),
        written => written,
    }
}

/// Creates writers for lines.
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

/// A writer for a line of this level. The formatter writes the line in one call.
struct Line(u8);

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        let told = dropped == 0 || write(3, format!("{dropped} lines of the log were dropped").as_bytes());
        if !told || !write(self.0, text.trim_ascii_end()) {
            DROPPED.fetch_add(1 + if told { 0 } else { dropped }, Ordering::Relaxed);
            DROPPED_EVER.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
