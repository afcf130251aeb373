//! The physical limit: a pipe to one Python child without an engine.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const FRAME: usize = 80;
const ANSWER: usize = 36;

pub(crate) struct RawChild {
    process: Child,
    tasks: ChildStdin,
    results: ChildStdout,
}

impl RawChild {
    pub(crate) fn start(python: &std::path::Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/raw_child.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let (tasks, results) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let mut child = Self { process, tasks, results };
        child.round_trip();
        child
    }

    /// One frame there, one answer back.
    pub(crate) fn round_trip(&mut self) -> Duration {
        let begun = Instant::now();
        self.tasks.write_all(&[0; FRAME]).expect("the child reads");
        self.results.read_exact(&mut [0; ANSWER]).expect("the child answers");
        begun.elapsed()
    }

    /// `count` frames from one thread, their answers read by another. Returns frames per second.
    pub(crate) fn throughput(&mut self, count: usize) -> f64 {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let tasks = &mut self.tasks;
            scope.spawn(move || {
                let frames = vec![0; FRAME * 64];
                (0..count / 64).for_each(|_| tasks.write_all(&frames).expect("the child reads"));
            });
            let (mut left, mut buffer) = (count / 64 * 64 * ANSWER, vec![0; 1 << 16]);
            while left > 0 {
                left -= self.results.read(&mut buffer).expect("the child answers");
            }
        });
        (count / 64 * 64) as f64 / begun.elapsed().as_secs_f64()
    }
}

impl Drop for RawChild {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
