//! Waiting for many tasks at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_actors::actors::{Completion, CompletionQueue, Ticket, TicketOffice, completions};
use rustix::event::{PollFd, PollFlags, Timespec};

/// Where the records of tasks come together that were submitted with
/// [`Engine::submit_to`](crate::Engine::submit_to): each under the number it was given.
///
/// One thread waits for all of them by [`wait`](Self::wait), or an event loop watches the descriptor: it calls
/// [`arm`](Self::arm), and when the descriptor is readable, again.
#[derive(Debug)]
pub struct Completions {
    office: TicketOffice,
    /// Only readers meet here; the engine's thread does not.
    queue: Mutex<CompletionQueue>,
    pipe: std::os::fd::OwnedFd,
}

impl Completions {
    /// Nothing yet.
    ///
    /// # Errors
    /// If the system has no descriptors to give.
    pub fn new() -> io::Result<Self> {
        let (office, queue) = completions()?;
        let pipe = queue.as_fd().try_clone_to_owned()?;
        Ok(Self { office, queue: Mutex::new(queue), pipe })
    }

    pub(crate) fn ticket(&self, number: u64) -> Ticket {
        self.office.ticket(number)
    }

    fn queue(&self) -> MutexGuard<'_, CompletionQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come since the last look.
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        self.queue().take()
    }

    /// Has the next completion make the descriptor readable. Returns what has come before.
    #[must_use]
    pub fn arm(&self) -> Vec<Completion> {
        self.queue().arm()
    }

    /// Blocks the thread until something has come, somebody calls [`ring`](Self::ring), or `limit` has passed.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> Vec<Completion> {
        let before = self.arm();
        if !before.is_empty() {
            return before;
        }
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let _ = rustix::event::poll(&mut [PollFd::new(&self.pipe, PollFlags::IN)], limit.as_ref());
        self.take()
    }

    /// Wakes the reader.
    pub fn ring(&self) {
        self.office.ring();
    }
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Refusal};

    fn numbers(completions: &[Completion]) -> Vec<u64> {
        completions.iter().map(|it| it.0).collect()
    }

    #[test]
    fn what_has_come_is_taken_in_its_order_and_once() {
        let completions = Completions::new().expect("a pipe");
        for number in [3, 1, 2] {
            completions.ticket(number).answer(Answer::Err(Refusal::UnknownId));
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
                scope.spawn(|| ticket.answer(Answer::Err(Refusal::UnknownId)));
                assert_eq!(numbers(&completions.wait(Some(Duration::from_secs(10)))), [round]);
            }
        });
    }

    #[test]
    fn a_reader_can_be_woken_without_a_completion() {
        let completions = Completions::new().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(|| completions.ring());
            assert!(completions.wait(Some(Duration::from_secs(10))).is_empty());
        });
    }
}
