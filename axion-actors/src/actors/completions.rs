//! Where the records of many tasks come together, for one reader that waits for all of them at a time.
//!
//! A waiter of its own for each task costs two wake-ups a task. Here a reader is rung once, by a pipe that it
//! can also watch beside other descriptors, and takes whatever has come until then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;

use super::messages::Answer;

/// What a reader takes: the number it gave the task, and its record, or `None` if the engine failed.
pub type Completion = (u64, Option<Answer>);

#[derive(Debug)]
struct Shared {
    /// As many at most as there are tasks whose reader has not looked yet (L9).
    done: Mutex<Vec<Completion>>,
    /// The reader has gone to sleep, or is about to look once more before it does.
    asleep: AtomicBool,
    bell: OwnedFd,
}

/// The reader's end.
#[derive(Debug)]
pub struct Completions {
    shared: Arc<Shared>,
    pipe: OwnedFd,
}

/// One task's place. Dropped without an answer, it says that there will be none (L1).
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    number: u64,
    open: bool,
}

impl Completions {
    /// A reader's end with nothing in it.
    ///
    /// # Errors
    /// If the system has no pipe to give.
    pub fn new() -> io::Result<Self> {
        let (pipe, bell) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let shared = Shared { done: Mutex::default(), asleep: AtomicBool::new(false), bell };
        Ok(Self { shared: Arc::new(shared), pipe })
    }

    /// A place for a task; the number comes back with its record.
    #[must_use]
    pub fn ticket(&self, number: u64) -> Ticket {
        Ticket { shared: self.shared.clone(), number, open: true }
    }

    /// What has come since the last look. Until [`arm`](Self::arm) is called, nothing rings.
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        std::mem::take(&mut *self.shared.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has the next completion ring: the descriptor becomes readable. True if there is something already.
    #[must_use]
    pub fn arm(&self) -> bool {
        while rustix::io::read(&self.pipe, &mut [0; 64][..]).is_ok_and(|count| count > 0) {}
        // First the mark, then the look: what comes between them is seen or rings.
        self.shared.asleep.store(true, Ordering::SeqCst);
        !self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Blocks the thread until something has come, somebody calls [`ring`](Self::ring), or `limit` has passed.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> Vec<Completion> {
        if !self.arm() {
            let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
            let _ = rustix::event::poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], limit.as_ref());
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
        self.take()
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        // A full pipe has rung already.
        let _ = rustix::io::write(&self.shared.bell, &[1]);
    }
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Ticket {
    /// Hands the answer in.
    pub fn answer(mut self, answer: Answer) {
        self.open = false;
        self.push(Some(answer));
    }

    fn push(&self, answer: Option<Answer>) {
        self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).push((self.number, answer));
        if self.shared.asleep.load(Ordering::SeqCst) && self.shared.asleep.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.shared.bell, &[1]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::messages::Refusal;

    fn numbers(completions: &[Completion]) -> Vec<u64> {
        completions.iter().map(|it| it.0).collect()
    }

    #[test]
    fn what_has_come_is_taken_in_its_order_and_once() {
        let completions = Completions::new().expect("a pipe");
        for number in [3, 1, 2] {
            completions.ticket(number).answer(Err(Refusal::UnknownId));
        }
        assert_eq!(numbers(&completions.wait(None)), [3, 1, 2]);
        assert_eq!(numbers(&completions.wait(Some(Duration::ZERO))), [0; 0]);
    }

    #[test]
    fn l1_a_ticket_that_is_dropped_says_that_there_will_be_no_record() {
        let completions = Completions::new().expect("a pipe");
        drop(completions.ticket(7));
        let taken = completions.take();
        assert!(matches!(taken[..], [(7, None)]), "{taken:?}");
    }

    #[test]
    fn a_reader_that_sleeps_is_woken_from_another_thread() {
        let completions = Completions::new().expect("a pipe");
        std::thread::scope(|scope| {
            for round in 0..200 {
                let ticket = completions.ticket(round);
                scope.spawn(|| ticket.answer(Err(Refusal::UnknownId)));
                assert_eq!(numbers(&completions.wait(Some(Duration::from_secs(10)))), [round]);
            }
        });
    }

    #[test]
    fn a_reader_can_be_woken_without_a_completion() {
        let completions = Completions::new().expect("a pipe");
        completions.ring();
        std::thread::scope(|scope| {
            scope.spawn(|| completions.ring());
            assert!(completions.wait(Some(Duration::from_secs(10))).is_empty());
        });
    }
}
