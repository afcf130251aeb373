//! Waiting for many tasks at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_actors::actors::{Completion, CompletionQueue, Ticket, TicketOffice, completions};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Where the records of tasks come together that were submitted with
/// [`Engine::submit_to`](crate::Engine::submit_to): each under the number it was given.
///
/// One thread waits for all of them by [`wait`](Self::wait), or an event loop watches the descriptor: it calls
/// [`arm`](Self::arm), and when the descriptor is readable, again. While that one thread sleeps, another one may
/// [stand in](Self::stand_in) for it to be woken at once by the one completion it waits for.
#[derive(Debug)]
pub struct Completions {
    office: TicketOffice,
    /// Only who reads meets here; the engine's thread does not.
    reading: Mutex<Reading>,
    pipe: OwnedFd,
    stand_in_pipe: OwnedFd,
}

#[derive(Debug)]
struct Reading {
    queue: CompletionQueue,
    /// What is the reader's, taken out of the queue by who stood in for it.
    left: Vec<Completion>,
    /// The reader sleeps in [`Completions::wait`], with nothing in its hands.
    asleep: bool,
    /// The number that somebody waits for in the reader's place. As long, nobody else takes from the queue.
    stood_in_for: Option<u64>,
    /// The reader was woken without a completion, and has not seen it yet.
    rung: bool,
}

impl Reading {
    fn take(&mut self) -> Vec<Completion> {
        let mut taken = std::mem::take(&mut self.left);
        if self.stood_in_for.is_none() {
            taken.extend(self.queue.take());
        }
        taken
    }

    fn arm(&mut self) -> Vec<Completion> {
        let mut taken = std::mem::take(&mut self.left);
        match self.stood_in_for {
            None => taken.extend(self.queue.arm()),
            // The queue is the other's; what is not for that one, it will ring for.
            Some(_) => self.queue.silence(),
        }
        taken
    }
}

impl Completions {
    /// Nothing yet.
    ///
    /// # Errors
    /// If the system has no descriptors to give.
    pub fn new() -> io::Result<Self> {
        let (office, queue) = completions()?;
        let (pipe, stand_in_pipe) = (queue.as_fd().try_clone_to_owned()?, queue.stand_in_pipe().try_clone_to_owned()?);
        let reading = Reading { queue, left: Vec::new(), asleep: false, stood_in_for: None, rung: false };
        Ok(Self { office, reading: Mutex::new(reading), pipe, stand_in_pipe })
    }

    pub(crate) fn ticket(&self, number: u64) -> Ticket {
        self.office.ticket(number)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come since the last look.
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        self.reading().take()
    }

    /// Has the next completion make the descriptor readable. Returns what has come before.
    #[must_use]
    pub fn arm(&self) -> Vec<Completion> {
        self.reading().arm()
    }

    /// Blocks the thread until something has come, somebody calls [`ring`](Self::ring), or `limit` has passed.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> Vec<Completion> {
        {
            let mut reading = self.reading();
            let before = reading.arm();
            if !before.is_empty() || std::mem::take(&mut reading.rung) {
                return before;
            }
            reading.asleep = true;
        }
        let _ = sleep(&self.pipe, limit);
        let mut reading = self.reading();
        (reading.asleep, reading.rung) = (false, false);
        reading.take()
    }

    /// Wakes the reader, also one that is only about to sleep.
    pub fn ring(&self) {
        self.reading().rung = true;
        self.office.ring();
    }

    /// Takes the place of a reader that sleeps in [`wait`](Self::wait), for who waits for this number alone. `None`
    /// if it does not sleep, somebody else stands in for it, or something has come that it will see to.
    ///
    /// The number may have come before, and the reader have gone to sleep again. From now on it can not: so look
    /// whether it is still awaited, and only then [wait](StandIn::wait).
    #[must_use]
    pub fn stand_in(&self, number: u64) -> Option<StandIn<'_>> {
        let mut reading = self.reading();
        if !reading.asleep || reading.stood_in_for.is_some() || !reading.left.is_empty() {
            return None;
        }
        let come = reading.queue.arm_stand_in();
        if come.is_empty() {
            reading.stood_in_for = Some(number);
            return Some(StandIn { completions: self, number, stands: true });
        }
        let also = reading.queue.disarm_stand_in();
        self.leave_to_reader(&mut reading, come.into_iter().chain(also));
        None
    }

    /// Has who stands in for the reader because of this number go, as if its time were over.
    pub fn dismiss(&self, number: u64) {
        if self.reading().stood_in_for == Some(number) {
            self.office.ring_stand_in();
        }
    }

    /// Has the reader get what somebody who stood in for it has taken and will not see to.
    pub fn give_back(&self, completion: Completion) {
        self.leave_to_reader(&mut self.reading(), std::iter::once(completion));
    }

    fn leave_to_reader(&self, reading: &mut Reading, completions: impl Iterator<Item = Completion>) {
        reading.left.extend(completions);
        if !reading.left.is_empty() {
            self.office.ring();
        }
    }
}

/// The place of a sleeping reader, taken by who waits for one number alone. Dropped, it is left.
#[derive(Debug)]
pub struct StandIn<'a> {
    completions: &'a Completions,
    number: u64,
    stands: bool,
}

/// How a wait in the reader's place has ended.
#[derive(Debug)]
pub enum Waited {
    /// With what was waited for. It is here and nowhere else (L1).
    Come(Completion),
    /// With a signal.
    Interrupted,
    /// Because the time was over, something else came or [`Completions::dismiss`] was called.
    Not,
}

impl StandIn<'_> {
    /// Blocks the thread until the number has come, or `limit` has passed. What else comes ends the wait, too, and
    /// is left to the reader: a thread that went on would be woken once more for each task of all the others.
    #[must_use]
    pub fn wait(mut self, limit: Option<Duration>) -> Waited {
        let slept = sleep(&self.completions.stand_in_pipe, limit);
        match (self.leave(), slept) {
            (Some(completion), _) => Waited::Come(completion),
            (None, Err(Errno::INTR)) => Waited::Interrupted,
            (None, _) => Waited::Not,
        }
    }

    fn leave(&mut self) -> Option<Completion> {
        if !std::mem::take(&mut self.stands) {
            return None;
        }
        let mut reading = self.completions.reading();
        reading.stood_in_for = None;
        let mut come = reading.queue.disarm_stand_in();
        let mine = come.iter().position(|it| it.0 == self.number).map(|at| come.remove(at));
        self.completions.leave_to_reader(&mut reading, come.into_iter());
        mine
    }
}

impl Drop for StandIn<'_> {
    fn drop(&mut self) {
        if let Some(completion) = self.leave() {
            self.completions.give_back(completion);
        }
    }
}

fn sleep(pipe: &OwnedFd, limit: Option<Duration>) -> rustix::io::Result<usize> {
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    rustix::event::poll(&mut [PollFd::new(pipe, PollFlags::IN)], limit.as_ref())
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Condvar, mpsc};
    use std::time::Instant;

    use super::*;
    use crate::{Answer, Refusal};

    const LONG: Duration = Duration::from_secs(10);
    const END: u64 = u64::MAX;

    fn answer(ticket: Ticket) {
        ticket.answer(Answer::Err(Refusal::UnknownId));
    }

    /// A reader, and what it has delivered.
    #[derive(Default)]
    struct Reader {
        delivered: Mutex<HashSet<u64>>,
        more: Condvar,
    }

    impl Reader {
        /// Until it gets `END`.
        fn run(&self, completions: &Completions) {
            loop {
                let taken = numbers(&completions.wait(None));
                for number in &taken {
                    assert!(self.delivered.lock().expect("lives").insert(*number), "{number} has come twice");
                }
                self.more.notify_all();
                if taken.contains(&END) {
                    return;
                }
            }
        }

        fn has(&self, number: u64) -> bool {
            self.delivered.lock().expect("lives").contains(&number)
        }

        fn await_one(&self, number: u64) {
            let delivered = self.delivered.lock().expect("lives");
            let waited = self.more.wait_timeout_while(delivered, LONG, |it| !it.contains(&number));
            assert!(waited.expect("lives").0.contains(&number), "{number} has not come to the reader");
        }
    }

    /// Runs `act` beside a reader.
    fn beside_a_reader(act: impl FnOnce(&Completions, &Reader)) {
        let (completions, reader) = (Completions::new().expect("a pipe"), Reader::default());
        std::thread::scope(|scope| {
            scope.spawn(|| reader.run(&completions));
            // Dropped also if `act` panics, so that the test ends.
            let _end = completions.ticket(END);
            act(&completions, &reader);
        });
    }

    fn place(completions: &Completions, number: u64) -> StandIn<'_> {
        let begun = Instant::now();
        loop {
            if let Some(place) = completions.stand_in(number) {
                return place;
            }
            assert!(begun.elapsed() < LONG, "the reader does not go to sleep");
            std::thread::yield_now();
        }
    }

    #[test]
    fn nobody_stands_in_for_a_reader_that_is_awake() {
        let completions = Completions::new().expect("a pipe");
        assert!(completions.stand_in(1).is_none());
    }

    #[test]
    fn who_stands_in_gets_its_own() {
        beside_a_reader(|completions, reader| {
            let ticket = completions.ticket(1);
            let place = place(completions, 1);
            assert!(completions.stand_in(2).is_none(), "only one does");
            // A reader that wakes up meanwhile takes nothing that is not its own.
            completions.ring();
            answer(ticket);
            completions.ring();
            assert!(matches!(place.wait(Some(LONG)), Waited::Come((1, Some(_)))));
            assert!(!reader.has(1));
        });
    }

    #[test]
    fn l1_who_stands_in_is_woken_if_there_will_be_no_record() {
        beside_a_reader(|completions, _| {
            let ticket = completions.ticket(1);
            let place = place(completions, 1);
            std::thread::scope(|scope| {
                scope.spawn(|| drop(ticket));
                assert!(matches!(place.wait(Some(LONG)), Waited::Come((1, None))));
            });
        });
    }

    #[test]
    fn what_else_comes_is_left_to_the_reader_and_ends_the_wait() {
        beside_a_reader(|completions, reader| {
            let (mine, others) = (completions.ticket(1), completions.ticket(2));
            let place = place(completions, 1);
            answer(others);
            let begun = Instant::now();
            assert!(matches!(place.wait(Some(LONG)), Waited::Not));
            assert!(begun.elapsed() < LONG);
            reader.await_one(2);
            answer(mine);
            reader.await_one(1);
        });
    }

    #[test]
    fn a_place_that_is_left_in_any_way_is_the_readers_again() {
        beside_a_reader(|completions, reader| {
            let ticket = completions.ticket(1);
            assert!(matches!(place(completions, 1).wait(Some(Duration::from_millis(1))), Waited::Not));
            answer(ticket);
            reader.await_one(1);

            let ticket = completions.ticket(2);
            let left = place(completions, 2);
            answer(ticket);
            drop(left);
            reader.await_one(2);

            let ticket = completions.ticket(3);
            let dismissed = place(completions, 3);
            completions.dismiss(1);
            completions.dismiss(3);
            let begun = Instant::now();
            assert!(matches!(dismissed.wait(Some(LONG)), Waited::Not));
            assert!(begun.elapsed() < LONG);
            answer(ticket);
            reader.await_one(3);

            let ticket = completions.ticket(4);
            let place = place(completions, 4);
            answer(ticket);
            let Waited::Come(completion) = place.wait(Some(LONG)) else { panic!("it has come") };
            completions.give_back(completion);
            reader.await_one(4);
        });
    }

    #[test]
    fn l1_each_comes_once_to_who_stands_in_or_to_the_reader_in_every_order() {
        const ROUNDS: u64 = 1000;
        beside_a_reader(|completions, reader| {
            let (engine, tasks) = mpsc::channel::<(u64, Ticket)>();
            let mut direct = 0;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for (delay, ticket) in tasks {
                        (0..delay).for_each(|_| std::hint::spin_loop());
                        answer(ticket);
                    }
                });
                let begun = Instant::now();
                // Whether the reader sleeps when somebody comes is its own business: in some round it does.
                let mut rounds = 0..;
                while let Some(round) = rounds.next().filter(|it| *it < ROUNDS || direct == 0 && begun.elapsed() < LONG)
                {
                    let (mine, others) = (2 * round, 2 * round + 1);
                    if round % 3 == 0 {
                        engine.send((0, completions.ticket(others))).expect("lives");
                    }
                    engine.send((round * 37 % 400, completions.ticket(mine))).expect("lives");
                    (0..round * 53 % 4000).for_each(|_| std::hint::spin_loop());
                    let begun = Instant::now();
                    let come = match completions.stand_in(mine) {
                        // The second look: without it, what the reader has had would be waited for.
                        Some(place) if !reader.has(mine) => matches!(place.wait(Some(LONG)), Waited::Come(_)),
                        _ => false,
                    };
                    assert!(begun.elapsed() < LONG, "{mine} was waited for in vain");
                    if come {
                        assert!(!reader.has(mine));
                        direct += 1;
                    } else {
                        reader.await_one(mine);
                    }
                    if round % 3 == 0 {
                        reader.await_one(others);
                    }
                }
                drop(engine);
            });
            assert!(direct > 0, "nobody has stood in");
        });
    }

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
    fn a_reader_that_is_woken_before_it_sleeps_does_not_sleep() {
        let completions = Completions::new().expect("a pipe");
        completions.ring();
        let begun = Instant::now();
        assert!(completions.wait(Some(LONG)).is_empty());
        assert!(begun.elapsed() < LONG);
        assert!(completions.wait(Some(Duration::ZERO)).is_empty());
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
