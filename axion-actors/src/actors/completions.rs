//! The records of many tasks, for one reader that waits for all of them.
//!
//! A waiter for each task costs two wake-ups for each task. Here a doorbell wakes the reader once, and the reader takes
//! all completions so far. A thread that waits for a single task can take the place of a sleeping reader (a *direct
//! wait*). Then its own doorbell is notified instead, which saves the second wake-up.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};

use super::answer::{Answer, WorkflowAnswer};
use crate::process::{Doorbell, DoorbellReader, doorbell};

/// How a task or workflow has ended.
#[derive(Clone, Debug)]
pub enum Completed {
    /// A task's record, or why there is none.
    Task(Answer),
    /// A workflow's record, or that there is none.
    Workflow(WorkflowAnswer),
}

impl From<Answer> for Completed {
    fn from(answer: Answer) -> Self {
        Self::Task(answer)
    }
}

impl From<WorkflowAnswer> for Completed {
    fn from(answer: WorkflowAnswer) -> Self {
        Self::Workflow(answer)
    }
}

/// The number that the reader gave the task or workflow, and its record, or `None` if the engine failed.
pub type Completion = (u64, Option<Completed>);

/// The doorbell that the next completion notifies.
const NONE: u8 = 0;
const READER: u8 = 1;
const DIRECT: u8 = 2;
/// No doorbell: the direct waiter spins and checks this state.
const SPINNING: u8 = 3;

#[derive(Debug)]
struct Doorbells {
    /// One of the constants above. A waiter sets it before it checks the queue for the last time and sleeps.
    armed: AtomicU8,
    reader: Doorbell,
    direct: Doorbell,
}

impl Doorbells {
    fn notify_armed(&self) {
        if self.armed.load(Ordering::SeqCst) != NONE {
            match self.armed.swap(NONE, Ordering::SeqCst) {
                READER => self.reader.notify(),
                DIRECT => self.direct.notify(),
                _ => {}
            }
        }
    }
}

/// Creates completers, on any thread.
#[derive(Clone, Debug)]
pub struct CompletionSender {
    queue: mpsc::Sender<Completion>,
    doorbells: Arc<Doorbells>,
}

/// The right to complete one task or workflow. A drop without use sends `None`: there will be no record (L1).
#[derive(Debug)]
pub struct Completer {
    sender: CompletionSender,
    number: u64,
    open: bool,
    /// Gone when the number is no longer awaited; `None` if it always is.
    awaited: Option<Weak<()>>,
}

/// Says that a number is awaited. Dropping it gives up: the number may then never be completed (L9).
#[derive(Clone, Debug)]
#[must_use = "dropping it gives up"]
pub struct Awaited {
    /// Lives as long as somebody awaits the number.
    _alive: Arc<()>,
}

/// The reader's end. It holds at most one completion for each completer (L9).
#[derive(Debug)]
pub struct CompletionQueue {
    queue: mpsc::Receiver<Completion>,
    doorbells: Arc<Doorbells>,
    reader: Arc<DoorbellReader>,
    direct: Arc<DoorbellReader>,
}

/// Creates both ends.
///
/// # Errors
/// If the system has no more descriptors.
pub fn completions() -> io::Result<(CompletionSender, CompletionQueue)> {
    let ((reader, reader_out), (direct, direct_out)) = (doorbell()?, doorbell()?);
    let doorbells = Arc::new(Doorbells { armed: AtomicU8::new(NONE), reader, direct });
    let (sender, queue) = mpsc::channel();
    let sender = CompletionSender { queue: sender, doorbells: doorbells.clone() };
    let (reader, direct) = (Arc::new(reader_out), Arc::new(direct_out));
    Ok((sender, CompletionQueue { queue, doorbells, reader, direct }))
}

impl CompletionSender {
    /// A completer that sends its record under `number`.
    #[must_use]
    pub fn completer(&self, number: u64) -> Completer {
        Completer { sender: self.clone(), number, open: true, awaited: None }
    }

    /// As [`completer`](Self::completer), for a number that is awaited only for a time.
    pub fn completer_while_awaited(&self, number: u64) -> (Completer, Awaited) {
        let alive = Arc::new(());
        let mut completer = self.completer(number);
        completer.awaited = Some(Arc::downgrade(&alive));
        (completer, Awaited { _alive: alive })
    }

    /// Wakes the reader.
    pub fn notify_reader(&self) {
        self.doorbells.reader.notify();
    }

    /// Wakes the direct waiter.
    pub fn notify_direct_waiter(&self) {
        self.doorbells.direct.notify();
    }
}

impl Completer {
    /// Sends the answer.
    pub fn complete(mut self, answer: impl Into<Completed>) {
        self.open = false;
        self.push(Some(answer.into()));
    }

    /// Whether nobody awaits the number any more.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.awaited.as_ref().is_some_and(|alive| alive.strong_count() == 0)
    }

    fn push(&self, answer: Option<Completed>) {
        let CompletionSender { queue, doorbells } = &self.sender;
        // The reader may be gone.
        let _ = queue.send((self.number, answer));
        doorbells.notify_armed();
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if self.open && !self.is_given_up() {
            self.push(None);
        }
    }
}

/// A direct waiter spins.
#[derive(Debug)]
pub struct DirectSpin(Arc<Doorbells>);

impl DirectSpin {
    /// Whether a completion came.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.armed.load(Ordering::SeqCst) != SPINNING
    }

    /// Arms the direct waiter's doorbell again, unless a completion came: then returns true.
    #[must_use]
    pub fn end(self) -> bool {
        self.0.armed.compare_exchange(SPINNING, DIRECT, Ordering::SeqCst, Ordering::SeqCst).is_err()
    }
}

impl CompletionQueue {
    /// The completions since the last call. No doorbell is notified before the next call of [`arm`](Self::arm).
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        self.queue.try_iter().collect()
    }

    /// Makes the next completion notify the reader's doorbell. Returns the completions before that.
    #[must_use]
    pub fn arm(&self) -> Vec<Completion> {
        self.drain_doorbell();
        // Armed before the last check, so a completion between the two is seen or notifies.
        self.doorbells.armed.store(READER, Ordering::SeqCst);
        self.take()
    }

    /// Makes the reader's descriptor unreadable, without arming its doorbell.
    pub fn drain_doorbell(&self) {
        self.reader.drain();
    }

    /// Arms the [direct waiter's doorbell](Self::direct_doorbell) as [`arm`](Self::arm) does, without draining it.
    #[must_use]
    pub fn arm_direct(&self) -> Vec<Completion> {
        self.doorbells.armed.store(DIRECT, Ordering::SeqCst);
        self.take()
    }

    /// Disarms the direct waiter's doorbell while that thread spins.
    #[must_use]
    pub fn spin_direct(&self) -> DirectSpin {
        let doorbells = self.doorbells.clone();
        let _ = doorbells.armed.compare_exchange(DIRECT, SPINNING, Ordering::SeqCst, Ordering::SeqCst);
        DirectSpin(doorbells)
    }

    /// Ends a direct wait and arms the reader's doorbell again. Returns the completions before that.
    #[must_use]
    pub fn disarm_direct(&self) -> Vec<Completion> {
        // Armed before the last check, as in `arm`: the reader is notified of all later completions.
        self.doorbells.armed.store(READER, Ordering::SeqCst);
        self.take()
    }

    /// The doorbell of the reader.
    #[must_use]
    pub fn reader_doorbell(&self) -> Arc<DoorbellReader> {
        self.reader.clone()
    }

    /// The doorbell of the direct waiter.
    #[must_use]
    pub fn direct_doorbell(&self) -> Arc<DoorbellReader> {
        self.direct.clone()
    }
}
