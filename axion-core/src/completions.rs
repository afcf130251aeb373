//! Waiting for many tasks at a time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_actors::actors::{
    Awaited, Completer, Completion, CompletionQueue, CompletionSender, DoorbellReader, completions,
};

use crate::spin::{ShortWait, SpinHint};

/// Collects the records of tasks that were submitted with [`Engine::submit_to`](crate::Engine::submit_to), each under
/// its number.
///
/// One thread, the reader, waits for all of them by [`wait`](Self::wait). An event loop watches the descriptor instead:
/// it calls [`arm`](Self::arm), and again each time the descriptor is readable. While the reader sleeps, another thread
/// can [wait directly](Self::direct_wait) for the one completion that it needs.
#[derive(Debug)]
pub struct Completions {
    sender: CompletionSender,
    /// Held by readers only, never by the engine's thread.
    reading: Mutex<Reading>,
    reader: Arc<DoorbellReader>,
    direct: Arc<DoorbellReader>,
    /// The task that was submitted last, for a thread that waits directly.
    last: Mutex<Option<(u64, SpinHint)>>,
}

#[derive(Debug)]
struct Reading {
    queue: CompletionQueue,
    /// Completions for the reader that a direct waiter took out of the queue.
    left_over: Vec<Completion>,
    /// The reader sleeps in [`Completions::wait`] and holds no completion.
    asleep: bool,
    /// The number of the direct wait. While there is one, only that waiter takes from the queue.
    direct: Option<u64>,
    /// The direct waiter's doorbell may have been notified.
    direct_notified: bool,
    /// The reader was notified without a completion, and has not seen it yet.
    notified: bool,
}

impl Reading {
    fn take(&mut self) -> Vec<Completion> {
        let mut taken = std::mem::take(&mut self.left_over);
        if self.direct.is_none() {
            taken.extend(self.queue.take());
        }
        taken
    }

    fn arm(&mut self) -> Vec<Completion> {
        let mut taken = std::mem::take(&mut self.left_over);
        match self.direct {
            None => taken.extend(self.queue.arm()),
            // The direct waiter owns the queue, and notifies the reader of all that is not its own.
            Some(_) => self.queue.drain_doorbell(),
        }
        taken
    }
}

impl Completions {
    /// An empty collection.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let (sender, queue) = completions()?;
        let (reader, direct) = (queue.reader_doorbell(), queue.direct_doorbell());
        let reading = Reading {
            queue,
            left_over: Vec::new(),
            asleep: false,
            direct: None,
            direct_notified: false,
            notified: false,
        };
        Ok(Self { sender, reading: Mutex::new(reading), reader, direct, last: Mutex::default() })
    }

    pub(crate) fn completer(&self, number: u64) -> Completer {
        self.sender.completer(number)
    }

    pub(crate) fn completer_while_awaited(&self, number: u64) -> (Completer, Awaited) {
        self.sender.completer_while_awaited(number)
    }

    /// A task is submitted under this number.
    pub(crate) fn submitting(&self, number: u64, spin: Option<SpinHint>) {
        if let Some(hint) = spin {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, hint));
        }
    }

    fn spin_hint(&self, number: u64) -> Option<SpinHint> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.filter(|(last, _)| *last == number).map(|(_, hint)| hint)
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The completions since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Completion> {
        self.reading().take()
    }

    /// Makes the next completion turn the descriptor readable. Returns the completions that came before.
    #[must_use]
    pub fn arm(&self) -> Vec<Completion> {
        self.reading().arm()
    }

    /// Blocks the thread until a completion comes, a thread calls [`notify`](Self::notify), or `limit` has passed.
    #[must_use]
    pub fn wait(&self, limit: Option<Duration>) -> Vec<Completion> {
        {
            let mut reading = self.reading();
            let before = reading.arm();
            if !before.is_empty() || std::mem::take(&mut reading.notified) {
                return before;
            }
            reading.asleep = true;
        }
        let _ = self.reader.wait(limit);
        let mut reading = self.reading();
        (reading.asleep, reading.notified) = (false, false);
        reading.take()
    }

    /// Wakes the reader. One that is about to sleep does not.
    pub fn notify(&self) {
        self.reading().notified = true;
        self.sender.notify_reader();
    }

    /// Takes the place of a reader that sleeps in [`wait`](Self::wait), to wait for this number alone. `None` if the
    /// reader does not sleep, another direct wait is in progress, or the reader has completions to handle first.
    ///
    /// The number may have been delivered to the reader before this call. It is not delivered to the reader after it.
    /// So check after this call that the number is still awaited, and only then [wait](DirectWait::wait).
    #[must_use]
    pub fn direct_wait(&self, number: u64) -> Option<DirectWait<'_>> {
        let mut reading = self.reading();
        if !reading.asleep || reading.direct.is_some() || !reading.left_over.is_empty() {
            return None;
        }
        if std::mem::take(&mut reading.direct_notified) {
            self.direct.drain();
        }
        let before = reading.queue.arm_direct();
        if before.is_empty() {
            reading.direct = Some(number);
            return Some(DirectWait { completions: self, number, active: true, completed: false, short: None });
        }
        let meanwhile = reading.queue.disarm_direct();
        self.leave_to_reader(&mut reading, before.into_iter().chain(meanwhile));
        None
    }

    /// Ends the direct wait for this number early, if there is one.
    pub fn release(&self, number: u64) {
        let mut reading = self.reading();
        if reading.direct == Some(number) {
            reading.direct_notified = true;
            self.sender.notify_direct_waiter();
        }
    }

    /// Hands a completion back that a direct waiter has taken and does not handle: the reader gets it.
    pub fn return_to_reader(&self, completion: Completion) {
        self.leave_to_reader(&mut self.reading(), std::iter::once(completion));
    }

    fn leave_to_reader(&self, reading: &mut Reading, completions: impl Iterator<Item = Completion>) {
        reading.left_over.extend(completions);
        if !reading.left_over.is_empty() {
            self.sender.notify_reader();
        }
    }
}

/// The place of a sleeping reader, held by a thread that waits for one number alone. Dropped, the reader has it again.
#[derive(Debug)]
pub struct DirectWait<'a> {
    completions: &'a Completions,
    number: u64,
    active: bool,
    /// A completion came while this thread spun.
    completed: bool,
    /// The task is expected to be short.
    short: Option<ShortWait>,
}

/// How a direct wait has ended.
#[derive(Debug)]
pub enum DirectWaitEnd {
    /// With the completion. It is here and nowhere else (L1).
    Completed(Completion),
    /// With a signal.
    Interrupted,
    /// Without the completion: the limit has passed, another completion came, or [`Completions::release`] was called.
    Released,
}

impl DirectWait<'_> {
    /// Spins for a completion, for at most 100 µs, if the task is expected to be short and that is likely to be faster
    /// than to sleep at once. Returns whether one came: then [`wait`](Self::wait) does not block.
    pub fn spin(&mut self) -> bool {
        self.short = self.completions.spin_hint(self.number).and_then(ShortWait::begin);
        if let Some(wait) = &self.short {
            let spin = self.completions.reading().queue.spin_direct();
            let _ = wait.spin(|| spin.is_over().then_some(()));
            self.completed = spin.end();
        }
        self.completed
    }

    /// Blocks the thread until the number is completed, or `limit` has passed. Any other completion ends the wait too
    /// and goes to the reader: a waiter that went on would be woken for each task of other threads.
    #[must_use]
    pub fn wait(mut self, limit: Option<Duration>) -> DirectWaitEnd {
        let slept = if self.completed { Ok(true) } else { self.completions.direct.wait(limit) };
        match (self.leave(), slept) {
            (Some(completion), _) => {
                self.short.take().into_iter().for_each(ShortWait::ended);
                DirectWaitEnd::Completed(completion)
            }
            (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => DirectWaitEnd::Interrupted,
            (None, _) => DirectWaitEnd::Released,
        }
    }

    fn leave(&mut self) -> Option<Completion> {
        if !std::mem::take(&mut self.active) {
            return None;
        }
        let mut reading = self.completions.reading();
        reading.direct = None;
        reading.direct_notified |= !self.completed;
        let mut taken = reading.queue.disarm_direct();
        let own = taken.iter().position(|it| it.0 == self.number).map(|at| taken.remove(at));
        self.completions.leave_to_reader(&mut reading, taken.into_iter());
        own
    }
}

impl Drop for DirectWait<'_> {
    fn drop(&mut self) {
        if let Some(completion) = self.leave() {
            self.completions.return_to_reader(completion);
        }
    }
}

impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
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

    fn complete(completer: Completer) {
        completer.complete(Answer::Err(Refusal::UnknownId));
    }

    /// A reader, and the numbers that it got.
    #[derive(Default)]
    struct Reader {
        delivered: Mutex<HashSet<u64>>,
        more: Condvar,
    }

    impl Reader {
        /// Reads until `END` comes.
        fn run(&self, completions: &Completions) {
            loop {
                let taken = numbers(&completions.wait(None));
                for number in &taken {
                    assert!(self.delivered.lock().expect("lives").insert(*number), "{number} was delivered twice");
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
            assert!(waited.expect("lives").0.contains(&number), "{number} was not delivered");
        }
    }

    /// Runs `act` beside a reader.
    fn with_reader(act: impl FnOnce(&Completions, &Reader)) {
        let (completions, reader) = (Completions::new().expect("a pipe"), Reader::default());
        std::thread::scope(|scope| {
            scope.spawn(|| reader.run(&completions));
            // Dropped also when `act` panics, so that the test ends.
            let _end = completions.completer(END);
            act(&completions, &reader);
        });
    }

    fn direct_wait(completions: &Completions, number: u64) -> DirectWait<'_> {
        let begun = Instant::now();
        loop {
            if let Some(wait) = completions.direct_wait(number) {
                return wait;
            }
            assert!(begun.elapsed() < LONG, "the reader does not go to sleep");
            std::thread::yield_now();
        }
    }

    #[test]
    fn no_direct_wait_while_the_reader_is_awake() {
        let completions = Completions::new().expect("a pipe");
        assert!(completions.direct_wait(1).is_none());
    }

    #[test]
    fn a_direct_waiter_gets_its_completion() {
        with_reader(|completions, reader| {
            let completer = completions.completer(1);
            let wait = direct_wait(completions, 1);
            assert!(completions.direct_wait(2).is_none(), "one at a time");
            // A reader that wakes up meanwhile takes nothing.
            completions.notify();
            complete(completer);
            completions.notify();
            assert!(matches!(wait.wait(Some(LONG)), DirectWaitEnd::Completed((1, Some(_)))));
            assert!(!reader.has(1));
        });
    }

    #[test]
    fn l1_a_direct_waiter_is_woken_if_there_will_be_no_record() {
        with_reader(|completions, _| {
            let completer = completions.completer(1);
            let wait = direct_wait(completions, 1);
            std::thread::scope(|scope| {
                scope.spawn(|| drop(completer));
                assert!(matches!(wait.wait(Some(LONG)), DirectWaitEnd::Completed((1, None))));
            });
        });
    }

    #[test]
    fn another_completion_goes_to_the_reader_and_ends_the_direct_wait() {
        with_reader(|completions, reader| {
            let (mine, others) = (completions.completer(1), completions.completer(2));
            let wait = direct_wait(completions, 1);
            complete(others);
            let begun = Instant::now();
            assert!(matches!(wait.wait(Some(LONG)), DirectWaitEnd::Released));
            assert!(begun.elapsed() < LONG);
            reader.await_one(2);
            complete(mine);
            reader.await_one(1);
        });
    }

    #[test]
    fn after_a_direct_wait_the_reader_gets_the_completions_again() {
        with_reader(|completions, reader| {
            let completer = completions.completer(1);
            assert!(matches!(
                direct_wait(completions, 1).wait(Some(Duration::from_millis(1))),
                DirectWaitEnd::Released
            ));
            complete(completer);
            reader.await_one(1);

            let completer = completions.completer(2);
            let left = direct_wait(completions, 2);
            complete(completer);
            drop(left);
            reader.await_one(2);

            let completer = completions.completer(3);
            let released = direct_wait(completions, 3);
            completions.release(1);
            completions.release(3);
            let begun = Instant::now();
            assert!(matches!(released.wait(Some(LONG)), DirectWaitEnd::Released));
            assert!(begun.elapsed() < LONG);
            complete(completer);
            reader.await_one(3);

            let completer = completions.completer(4);
            let wait = direct_wait(completions, 4);
            complete(completer);
            let DirectWaitEnd::Completed(completion) = wait.wait(Some(LONG)) else { panic!("it was completed") };
            completions.return_to_reader(completion);
            reader.await_one(4);
        });
    }

    #[test]
    fn l1_each_completion_comes_once_to_the_direct_waiter_or_to_the_reader() {
        const ROUNDS: u64 = 1000;
        with_reader(|completions, reader| {
            let (engine, tasks) = mpsc::channel::<(u64, Completer)>();
            let mut direct = 0;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for (delay, completer) in tasks {
                        (0..delay).for_each(|_| std::hint::spin_loop());
                        complete(completer);
                    }
                });
                let begun = Instant::now();
                // Whether the reader sleeps at that moment is up to the scheduler: in some round it does.
                let mut rounds = 0..;
                while let Some(round) = rounds.next().filter(|it| *it < ROUNDS || direct == 0 && begun.elapsed() < LONG)
                {
                    let (mine, others) = (2 * round, 2 * round + 1);
                    if round % 3 == 0 {
                        engine.send((0, completions.completer(others))).expect("lives");
                    }
                    engine.send((round * 37 % 400, completions.completer(mine))).expect("lives");
                    (0..round * 53 % 4000).for_each(|_| std::hint::spin_loop());
                    let begun = Instant::now();
                    let direct_end = match completions.direct_wait(mine) {
                        // The check after `direct_wait`: the reader may have had it already.
                        Some(wait) if !reader.has(mine) => matches!(wait.wait(Some(LONG)), DirectWaitEnd::Completed(_)),
                        _ => false,
                    };
                    assert!(begun.elapsed() < LONG, "the wait for {mine} hung");
                    if direct_end {
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
            assert!(direct > 0, "no direct wait took place");
        });
    }

    fn numbers(completions: &[Completion]) -> Vec<u64> {
        completions.iter().map(|it| it.0).collect()
    }

    #[test]
    fn completions_are_taken_in_their_order_and_once() {
        let completions = Completions::new().expect("a pipe");
        for number in [3, 1, 2] {
            completions.completer(number).complete(Answer::Err(Refusal::UnknownId));
        }
        assert_eq!(numbers(&completions.wait(None)), [3, 1, 2]);
        assert_eq!(numbers(&completions.wait(Some(Duration::ZERO))), [0; 0]);
    }

    #[test]
    fn l1_a_dropped_completer_says_that_there_will_be_no_record() {
        let completions = Completions::new().expect("a pipe");
        drop(completions.completer(7));
        let taken = completions.take();
        assert!(matches!(taken[..], [(7, None)]), "{taken:?}");
    }

    #[test]
    fn a_sleeping_reader_is_woken_from_another_thread() {
        let completions = Completions::new().expect("a pipe");
        std::thread::scope(|scope| {
            for round in 0..200 {
                let completer = completions.completer(round);
                scope.spawn(|| completer.complete(Answer::Err(Refusal::UnknownId)));
                assert_eq!(numbers(&completions.wait(Some(Duration::from_secs(10)))), [round]);
            }
        });
    }

    #[test]
    fn a_notified_reader_does_not_sleep() {
        let completions = Completions::new().expect("a pipe");
        completions.notify();
        let begun = Instant::now();
        assert!(completions.wait(Some(LONG)).is_empty());
        assert!(begun.elapsed() < LONG);
        assert!(completions.wait(Some(Duration::ZERO)).is_empty());
    }

    #[test]
    fn a_reader_is_woken_without_a_completion() {
        let completions = Completions::new().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(|| completions.notify());
            assert!(completions.wait(Some(Duration::from_secs(10))).is_empty());
        });
    }
}
