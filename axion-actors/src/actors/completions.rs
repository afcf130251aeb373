//! Where the records of many tasks come together, for one reader that waits for all of them at a time.
//!
//! A waiter of its own for each task costs two wake-ups a task. Here a reader is rung once, by a pipe that it
//! can also watch beside other descriptors, and takes whatever has come until then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rustix::pipe::PipeFlags;

use super::messages::{Answer, WorkflowAnswer};

/// What became of what a reader waits for.
#[derive(Clone, Debug)]
pub enum Completed {
    /// A task's record, or why there is none.
    Task(Answer),
    /// A workflow's.
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

/// What a reader takes: the number it gave the task or workflow, and its record, or `None` if the engine failed.
pub type Completion = (u64, Option<Completed>);

#[derive(Debug)]
struct Bell {
    pipe: OwnedFd,
    /// The reader has gone to sleep, or is about to look once more before it does.
    asleep: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        // A full pipe has rung already.
        let _ = rustix::io::write(&self.pipe, &[1]);
    }
}

/// Gives out places for tasks, from any thread.
#[derive(Clone, Debug)]
pub struct TicketOffice {
    queue: mpsc::Sender<Completion>,
    bell: Arc<Bell>,
}

/// One task's place. Dropped without an answer, it says that there will be none (L1).
#[derive(Debug)]
pub struct Ticket {
    office: TicketOffice,
    number: u64,
    open: bool,
}

/// The reader's end. As many wait in it at most as there are tasks whose reader has not looked yet (L9).
#[derive(Debug)]
pub struct CompletionQueue {
    queue: mpsc::Receiver<Completion>,
    bell: Arc<Bell>,
    pipe: OwnedFd,
}

/// Makes both ends.
///
/// # Errors
/// If the system has no pipe to give.
pub fn completions() -> io::Result<(TicketOffice, CompletionQueue)> {
    let (pipe, into) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let bell = Arc::new(Bell { pipe: into, asleep: AtomicBool::new(false) });
    let (sender, queue) = mpsc::channel();
    Ok((TicketOffice { queue: sender, bell: bell.clone() }, CompletionQueue { queue, bell, pipe }))
}

impl TicketOffice {
    /// A place for a task; the number comes back with its record.
    #[must_use]
    pub fn ticket(&self, number: u64) -> Ticket {
        Ticket { office: self.clone(), number, open: true }
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

impl Ticket {
    /// Hands the answer in.
    pub fn answer(mut self, answer: impl Into<Completed>) {
        self.open = false;
        self.push(Some(answer.into()));
    }

    fn push(&self, answer: Option<Completed>) {
        let TicketOffice { queue, bell } = &self.office;
        // A reader that is gone wants none.
        let _ = queue.send((self.number, answer));
        if bell.asleep.load(Ordering::SeqCst) && bell.asleep.swap(false, Ordering::SeqCst) {
            bell.ring();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.push(None);
        }
    }
}

impl CompletionQueue {
    /// What has come since the last look. Nothing rings until [`arm`](Self::arm) is called.
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        self.queue.try_iter().collect()
    }

    /// Has the next completion ring: the descriptor becomes readable. What had come before is returned.
    #[must_use]
    pub fn arm(&self) -> Vec<Completion> {
        while rustix::io::read(&self.pipe, &mut [0; 64][..]).is_ok_and(|count| count > 0) {}
        // First the mark, then the look: what comes between them is seen or rings.
        self.bell.asleep.store(true, Ordering::SeqCst);
        self.take()
    }
}

impl AsFd for CompletionQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
