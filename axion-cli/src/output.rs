//! The output of the program.
//!
//! What goes to standard error (the log, the output of tasks, progress, messages) leaves by one bounded queue and a
//! thread of its own (L9, L11). So a reader that does not read, such as a terminal that was stopped, delays neither the
//! engine nor a time limit. Text that finds the queue full is dropped, and the number of dropped lines is reported as
//! soon as there is room, at the latest at the end. A result is never dropped: its printer waits.

mod sinks;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use axion_core::StandardStream;
use jiff::Timestamp;
use tokio::sync::oneshot;

use self::sinks::Sinks;
pub(crate) use self::sinks::{Destinations, choose, is_quiet};
use crate::screen::{Frame, Screen};

/// The bytes of output and log lines that wait for standard error.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The same when the program's own messages are counted, too, so that output does not displace them.
const MAX_BYTES: usize = 16 << 20;

/// How much a text matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The output of tasks, and progress, of which there may be any amount.
    Output,
    /// The log, of which there may be any amount. Its lines have their times.
    Log,
    /// What the program says of success.
    Note,
    /// What the program itself says otherwise.
    Message,
}

impl Kind {
    /// Whether standard error gets it also under --quiet.
    fn is_heard_when_quiet(self) -> bool {
        matches!(self, Self::Log | Self::Message)
    }
}

/// A text on its way.
#[derive(Debug)]
struct Text {
    kind: Kind,
    bytes: Vec<u8>,
    at: Timestamp,
}

/// A change of the live lines.
#[derive(Debug)]
enum LiveChange {
    Show(Frame),
    Remove,
}

/// Text and live lines that wait for the writer.
#[derive(Debug, Default)]
struct Waiting {
    texts: VecDeque<Text>,
    /// The bytes of `texts`, and of those that the writer is about to write.
    bytes: usize,
    /// Only the newest one: a frame replaces the one before.
    live: Option<LiveChange>,
    /// Lines that were dropped since the last text that was taken.
    dropped: u64,
    /// Those who wait until everything is written.
    drained: Vec<oneshot::Sender<()>>,
}

impl Waiting {
    /// Takes a text, or counts its lines as dropped. A text alone is taken whatever its size.
    fn push(&mut self, kind: Kind, text: Vec<u8>) {
        let most = match kind {
            Kind::Output | Kind::Log => MAX_OUTPUT_BYTES,
            Kind::Note | Kind::Message => MAX_BYTES,
        };
        if self.bytes > 0 && self.bytes + text.len() > most {
            self.dropped += lines_of(&text);
            return;
        }
        self.report_dropped();
        self.add(kind, text);
    }

    fn report_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let words = crate::message::render_warning(format_args!("output truncated: {dropped} lines dropped"));
            self.add(Kind::Message, words);
        }
    }

    fn add(&mut self, kind: Kind, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.texts.push_back(Text { kind, bytes, at: Timestamp::now() });
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.live.is_none()
    }
}

fn lines_of(text: &[u8]) -> u64 {
    let whole = text.iter().filter(|byte| **byte == b'\n').count();
    (whole + usize::from(!text.ends_with(b"\n"))) as u64
}

/// The queue, and its writer's thread, which is started with the first text.
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// `None`: there is no thread, so the caller writes its text itself.
static QUEUE: OnceLock<Option<&'static Queue>> = OnceLock::new();

fn queue() -> Option<&'static Queue> {
    *QUEUE.get_or_init(|| {
        let queue: &'static Queue = Box::leak(Box::new(Queue { waiting: Mutex::default(), more: Condvar::new() }));
        let writer = std::thread::Builder::new().name("axion-output".to_owned());
        writer.spawn(|| queue.write()).is_ok().then_some(queue)
    })
}

impl Queue {
    /// A panic while the lock was held leaves a whole queue behind.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.lock());
        self.more.notify_one();
    }

    /// Writes whatever comes, for the life of the process.
    fn write(&self) {
        let mut screen = Screen::default();
        let mut sinks = Sinks::default();
        let mut waiting = self.lock();
        loop {
            if waiting.is_empty() {
                waiting.report_dropped();
            }
            if waiting.is_empty() {
                for drained in waiting.drained.drain(..) {
                    let _ = drained.send(());
                }
                waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (texts, live, bytes) = (std::mem::take(&mut waiting.texts), waiting.live.take(), waiting.bytes);
            drop(waiting);
            if let Some(LiveChange::Remove) = live {
                screen.clear();
            }
            screen.write(sinks.take(&texts));
            if let Some(LiveChange::Show(frame)) = live {
                screen.show(&frame);
            }
            waiting = self.lock();
            waiting.bytes -= bytes;
        }
    }
}

/// Writes to standard error, after all that came before. Never waits.
pub(crate) fn write(kind: Kind, text: Vec<u8>) {
    if text.is_empty() {
        return;
    }
    match queue() {
        Some(queue) => queue.change(|waiting| waiting.push(kind, text)),
        // If standard error is closed, there is nobody to tell.
        None => drop(StandardStream::Error.write_all(&text)),
    }
}

/// Shows these live lines below all text.
pub(crate) fn show_live(frame: Frame) {
    if let Some(queue) = queue() {
        queue.change(|waiting| waiting.live = Some(LiveChange::Show(frame)));
    }
}

/// Removes the live lines.
pub(crate) fn remove_live() {
    if let Some(queue) = queue() {
        queue.change(|waiting| waiting.live = Some(LiveChange::Remove));
    }
}

/// Resolves when everything so far has been written, or could not be.
pub(crate) async fn drained() {
    let Some(Some(queue)) = QUEUE.get() else { return };
    let (sender, receiver) = oneshot::channel();
    queue.change(|waiting| waiting.drained.push(sender));
    let _ = receiver.await;
}

/// As [`drained`], for a command without a runtime.
pub(crate) fn wait_drained() {
    let Some(Some(queue)) = QUEUE.get() else { return };
    let (sender, receiver) = oneshot::channel();
    queue.change(|waiting| waiting.drained.push(sender));
    let _ = receiver.blocking_recv();
}

/// Writes the engine's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write(Kind::Log, crate::message::adapt(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a result to standard output. Waits for the reader. A closed pipe is not an error.
///
/// # Errors
/// What the system says.
pub(crate) fn print(text: &str) -> io::Result<()> {
    match StandardStream::Output.write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// As [`print`], on a thread of its own: the command goes on, and can be ended by a signal.
///
/// # Errors
/// The same.
pub(crate) async fn print_aside(text: String) -> io::Result<()> {
    let (sender, printed) = oneshot::channel();
    std::thread::Builder::new().name("axion-result".to_owned()).spawn(move || sender.send(print(&text)))?;
    printed.await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(waiting: &Waiting) -> Vec<String> {
        waiting.texts.iter().map(|text| String::from_utf8_lossy(&text.bytes).into_owned()).collect()
    }

    #[test]
    fn l9_output_above_the_bound_is_dropped_and_its_lines_are_counted() {
        let mut waiting = Waiting::default();
        let line = vec![b'x'; MAX_OUTPUT_BYTES / 4];
        for _ in 0..6 {
            waiting.push(Kind::Output, line.clone());
        }
        waiting.push(Kind::Output, b"one\ntwo\nthree".to_vec());
        assert_eq!((waiting.texts.len(), waiting.dropped), (4, 2 + 3));
        // The program's own messages are still taken, after the report.
        waiting.push(Kind::Message, b"error: last".to_vec());
        assert_eq!(texts(&waiting)[4..], ["warning: output truncated: 5 lines dropped\n", "error: last"]);
        assert_eq!(waiting.dropped, 0);
        assert_eq!(waiting.bytes, waiting.texts.iter().map(|text| text.bytes.len()).sum::<usize>());
    }

    #[test]
    fn l9_also_messages_are_bounded_and_one_text_alone_is_taken() {
        let mut waiting = Waiting::default();
        waiting.push(Kind::Output, vec![b'x'; MAX_BYTES + 1]);
        assert_eq!((waiting.texts.len(), waiting.dropped), (1, 0));
        waiting.push(Kind::Message, b"error: one\n".to_vec());
        assert_eq!((waiting.texts.len(), waiting.dropped), (1, 1));
    }
}
