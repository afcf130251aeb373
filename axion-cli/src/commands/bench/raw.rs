//! The physical limit: a pipe to one Python process, and no engine. The benches for developers use it, too.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What the process runs.
const SOURCE: &str = include_str!("raw_child.py");
/// Bytes of a task and of its answer, about those of a task that does nothing.
const FRAME: usize = 80;
const ANSWER: usize = 36;
/// Frames in one write.
const TOGETHER: usize = 64;

/// The process. Dropping it ends it.
pub(crate) struct RawChild {
    process: Child,
    tasks: ChildStdin,
    results: ChildStdout,
}

impl RawChild {
    /// Starts the process; returns when it answers.
    pub(crate) fn start(python: &Path) -> io::Result<Self> {
        let command = ["-c", SOURCE];
        let mut process = Command::new(python).args(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ends = process.stdin.take().zip(process.stdout.take());
        let (tasks, results) = ends.ok_or(io::ErrorKind::BrokenPipe)?;
        let mut child = Self { process, tasks, results };
        child.round_trip()?;
        Ok(child)
    }

    /// One frame there, one answer back.
    pub(crate) fn round_trip(&mut self) -> io::Result<Duration> {
        let begun = Instant::now();
        self.tasks.write_all(&[0; FRAME])?;
        self.results.read_exact(&mut [0; ANSWER])?;
        Ok(begun.elapsed())
    }

    /// `count` frames from one thread, their answers read by another. Returns frames per second.
    pub(crate) fn throughput(&mut self, count: usize) -> io::Result<f64> {
        let (writes, begun) = (count.div_ceil(TOGETHER), Instant::now());
        std::thread::scope(|scope| {
            let tasks = &mut self.tasks;
            let writer = scope.spawn(move || {
                let frames = vec![0; FRAME * TOGETHER];
                (0..writes).try_for_each(|_| tasks.write_all(&frames))
            });
            let (mut left, mut buffer) = (writes * TOGETHER * ANSWER, vec![0; 1 << 16]);
            while left > 0 {
                match self.results.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => left -= read,
                }
            }
            writer.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        })?;
        Ok((writes * TOGETHER) as f64 / begun.elapsed().as_secs_f64())
    }
}

impl Drop for RawChild {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
