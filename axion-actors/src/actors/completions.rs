//! Where the records of many tasks come together, for one reader that waits for all of them at a time.
//!
//! A waiter of its own for each task costs two wake-ups a task. Here a reader is rung once, by a pipe that it
//! can also watch beside other descriptors, and takes whatever has come until then. A thread that waits for one
//! task alone may stand in for a reader that sleeps: it is rung in its place, which spares the second wake-up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
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

/// Whom the next completion rings.
const NOBODY: u8 = 0;
const READER: u8 = 1;
const STAND_IN: u8 = 2;

#[derive(Debug)]
struct Bells {
    /// One who has gone to sleep, or is about to look once more before it does.
    next: AtomicU8,
    reader: OwnedFd,
    stand_in: OwnedFd,
}

impl Bells {
    fn ring_next(&self) {
        if self.next.load(Ordering::SeqCst) != NOBODY {
            match self.next.swap(NOBODY, Ordering::SeqCst) {
                READER => ring(&self.reader),
                STAND_IN => ring(&self.stand_in),
                _ => {}
            }
        }
    }
}

fn ring(pipe: &OwnedFd) {
    // A full pipe has rung already.
    let _ = rustix::io::write(pipe, &[1]);
}

fn silence(pipe: &OwnedFd) {
    while rustix::io::read(pipe, &mut [0; 64][..]).is_ok_and(|count| count > 0) {}
}

/// Gives out places for tasks, from any thread.
#[derive(Clone, Debug)]
pub struct TicketOffice {
    queue: mpsc::Sender<Completion>,
    bells: Arc<Bells>,
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
    bells: Arc<Bells>,
    pipe: OwnedFd,
    stand_in_pipe: OwnedFd,
}

/// Makes both ends.
///
/// # Errors
/// If the system has no pipes to give.
pub fn completions() -> io::Result<(TicketOffice, CompletionQueue)> {
    let (pipe, reader) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (stand_in_pipe, stand_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let bells = Arc::new(Bells { next: AtomicU8::new(NOBODY), reader, stand_in });
    let (sender, queue) = mpsc::channel();
    let office = TicketOffice { queue: sender, bells: bells.clone() };
    Ok((office, CompletionQueue { queue, bells, pipe, stand_in_pipe }))
}

impl TicketOffice {
    /// A place for a task; the number comes back with its record.
    #[must_use]
    pub fn ticket(&self, number: u64) -> Ticket {
        Ticket { office: self.clone(), number, open: true }
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        ring(&self.bells.reader);
    }

    /// Wakes who stands in for it.
    pub fn ring_stand_in(&self) {
        ring(&self.bells.stand_in);
    }
}

impl Ticket {
    /// Hands the answer in.
    pub fn answer(mut self, answer: impl Into<Completed>) {
        self.open = false;
        self.push(Some(answer.into()));
    }

    fn push(&self, answer: Option<Completed>) {
        let TicketOffice { queue, bells } = &self.office;
        // A reader that is gone wants none.
        let _ = queue.send((self.number, answer));
        bells.ring_next();
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
        self.silence();
        // First the mark, then the look: what comes between them is seen or rings.
        self.bells.next.store(READER, Ordering::SeqCst);
        self.take()
    }

    /// Makes the descriptor unreadable, whoever is rung next.
    pub fn silence(&self) {
        silence(&self.pipe);
    }

    /// As [`arm`](Self::arm), for who stands in for the reader: `stand_in_pipe` becomes readable.
    #[must_use]
    pub fn arm_stand_in(&self) -> Vec<Completion> {
        silence(&self.stand_in_pipe);
        self.bells.next.store(STAND_IN, Ordering::SeqCst);
        self.take()
    }

    /// Ends the standing in: the reader is rung again. What has come before is returned.
    #[must_use]
    pub fn disarm_stand_in(&self) -> Vec<Completion> {
        // In this order, too: what the reader is not rung for is seen.
        self.bells.next.store(READER, Ordering::SeqCst);
        self.take()
    }

    /// What becomes readable for who stands in.
    #[must_use]
    pub fn stand_in_pipe(&self) -> BorrowedFd<'_> {
        self.stand_in_pipe.as_fd()
    }
}

impl AsFd for CompletionQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
