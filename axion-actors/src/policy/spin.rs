//! Whether a thread that waits for a short task spins before it sleeps (L10).
//!
//! A thread that sleeps frees its processor, and waking it again can cost more than a short task takes: in a virtual
//! machine, an idle processor leaves its sleep only by way of the host. A thread that spins keeps its processor. It
//! saves that cost, and it may take a processor from the engine or the worker that it waits for. Which of the two is
//! faster depends on the machine and on where the kernel places the threads, so a [`SpinChooser`] measures both.

use std::time::Duration;

use crate::config::MAX_SPIN;

/// What a thread knows when it begins to wait for a task.
#[derive(Clone, Copy, Debug)]
pub struct SpinInput {
    /// The expected run time of the task; `None` if nothing like it has run yet.
    pub expected: Option<Duration>,
    /// Tasks at workers. The task that the thread waits for may be one of them already.
    pub running: usize,
    /// Other threads that spin.
    pub spinning: usize,
    /// Processors of the machine or the container.
    pub processors: usize,
}

impl SpinInput {
    /// The longest time for which the thread may spin, within `limit`. Zero unless the task is expected to be shorter
    /// than the spin, and a processor is left beside one for each running task and each spinning thread.
    #[must_use]
    pub fn longest_spin(&self, limit: Duration) -> Duration {
        let limit = limit.min(MAX_SPIN);
        let is_short = self.expected.is_some_and(|expected| expected < limit);
        if is_short && self.leaves_a_processor() { limit } else { Duration::ZERO }
    }

    /// Whether fewer threads of ours are runnable than there are processors. The task that the thread waits for counts
    /// also when it is not at a worker yet.
    #[must_use]
    pub fn leaves_a_processor(&self) -> bool {
        self.running.max(1).saturating_add(self.spinning) < self.processors
    }
}

/// Waits in one trial.
const TRIAL: u32 = 16;
/// The first waits of a trial are not measured: the threads still move between processors.
const SETTLING: u32 = 4;
/// Waits between two trials, at first and at last. The interval doubles each time a trial changes nothing.
const FIRST_INTERVAL: u32 = 64;
const LAST_INTERVAL: u32 = 4096;
/// Spinning has to be faster by this factor, because it costs processor time.
const WORTH: f64 = 0.85;
/// The most waits that do not spin after a spin that kept another thread from its processor.
const LONGEST_PAUSE: u32 = 4096;

/// Chooses for one thread, before each wait for a short task, whether it spins: what was faster in the last trials.
#[derive(Debug)]
pub struct SpinChooser {
    sleeping: Typical,
    spinning: Typical,
    /// Whether spinning was faster.
    spins: bool,
    /// A trial of the other way is in progress.
    in_trial: bool,
    /// Waits left of the trial, or until the next one.
    left: u32,
    interval: u32,
    /// Waits left that do not spin, and the length of the next such pause.
    pause: u32,
    next_pause: u32,
}

impl Default for SpinChooser {
    fn default() -> Self {
        Self {
            sleeping: Typical::default(),
            spinning: Typical::default(),
            spins: false,
            in_trial: false,
            left: TRIAL,
            interval: FIRST_INTERVAL,
            pause: 0,
            next_pause: 1,
        }
    }
}

impl SpinChooser {
    /// Whether the next wait spins first.
    #[must_use]
    pub fn spins(&self) -> bool {
        self.pause == 0 && self.spins != self.in_trial
    }

    /// A wait took this time; it spun if [`spins`](Self::spins) said so.
    pub fn waited(&mut self, took: Duration) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        if !self.in_trial || self.left <= TRIAL - SETTLING {
            let typical = if self.spins() { &mut self.spinning } else { &mut self.sleeping };
            typical.record(took);
        }
        self.left -= 1;
        if self.left == 0 {
            self.next_phase();
        }
    }

    /// A spin kept another thread from its processor: the next waits do not spin, more of them each time in a row.
    pub fn was_in_the_way(&mut self) {
        self.pause = self.next_pause;
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
    }

    /// A spin was in nobody's way.
    pub fn was_alone(&mut self) {
        self.next_pause = 1;
    }

    fn next_phase(&mut self) {
        if !self.in_trial {
            (self.in_trial, self.left) = (true, TRIAL);
            return;
        }
        let better = self.spinning.is_below(&self.sleeping, WORTH);
        self.interval = if better == self.spins { (self.interval * 2).min(LAST_INTERVAL) } else { FIRST_INTERVAL };
        (self.spins, self.in_trial, self.left) = (better, false, self.interval);
    }
}

/// A typical value: follows what is measured by steps of bounded size, so that no outlier counts for more than another.
#[derive(Debug, Default)]
struct Typical(Option<f64>);

impl Typical {
    fn record(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(self.0.map_or(took, |typical| typical + (took - typical).clamp(-typical / 8.0, typical / 8.0)));
    }

    fn is_below(&self, other: &Self, factor: f64) -> bool {
        matches!((self.0, other.0), (Some(own), Some(other)) if own < other * factor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn input(expected: Option<Duration>, running: usize, spinning: usize, processors: usize) -> SpinInput {
        SpinInput { expected, running, spinning, processors }
    }

    #[test]
    fn l10_a_thread_spins_for_a_short_task_where_a_processor_is_left() {
        let longest = |input: SpinInput| input.longest_spin(MAX_SPIN);
        assert_eq!(longest(input(Some(5 * US), 1, 0, 2)), MAX_SPIN);
        assert_eq!(longest(input(Some(5 * US), 0, 0, 2)), MAX_SPIN, "its task is not at a worker yet");
        assert_eq!(longest(input(Some(5 * US), 0, 0, 1)), Duration::ZERO, "the task needs the one processor");
        assert_eq!(longest(input(Some(5 * US), 2, 0, 2)), Duration::ZERO, "two tasks run");
        assert_eq!(longest(input(Some(5 * US), 1, 1, 2)), Duration::ZERO, "another thread spins");
        assert_eq!(longest(input(Some(100 * US), 1, 0, 8)), Duration::ZERO, "not shorter than the spin");
        assert_eq!(longest(input(None, 1, 0, 8)), Duration::ZERO, "unknown work");
        assert_eq!(input(Some(5 * US), 1, 0, 8).longest_spin(Duration::ZERO), Duration::ZERO, "switched off");
    }

    /// Lets a chooser make so many waits on a machine where they take these times; returns how many of them spun.
    fn run(chooser: &mut SpinChooser, waits: u32, sleeping: Duration, spinning: Duration) -> u32 {
        let one = |_| {
            let spins = chooser.spins();
            chooser.waited(if spins { spinning } else { sleeping });
            u32::from(spins)
        };
        (0..waits).map(one).sum()
    }

    #[test]
    fn the_faster_way_is_found_and_kept() {
        let mut chooser = SpinChooser::default();
        run(&mut chooser, 2 * TRIAL, 100 * US, 45 * US);
        assert!(chooser.spins());
        assert!(run(&mut chooser, 20_000, 100 * US, 45 * US) > 19_700, "few waits are trials");
        let mut chooser = SpinChooser::default();
        run(&mut chooser, 2 * TRIAL, 30 * US, 45 * US);
        assert!(!chooser.spins());
        assert!(run(&mut chooser, 20_000, 30 * US, 45 * US) < 300, "few waits are trials");
        assert!(run(&mut chooser, 20_000, 30 * US, 29 * US) < 300, "not worth the processor time");
    }

    #[test]
    fn the_choice_follows_the_machine() {
        let mut chooser = SpinChooser::default();
        run(&mut chooser, 10_000, 100 * US, 45 * US);
        run(&mut chooser, 2 * LAST_INTERVAL, 30 * US, 45 * US);
        assert!(run(&mut chooser, 1000, 30 * US, 45 * US) < 100);
        run(&mut chooser, 2 * LAST_INTERVAL, 100 * US, 45 * US);
        assert!(run(&mut chooser, 1000, 100 * US, 45 * US) > 900);
    }

    #[test]
    fn outliers_do_not_change_the_choice() {
        let mut chooser = SpinChooser::default();
        for wait in 0..20_000 {
            let usual = if chooser.spins() { 45 * US } else { 100 * US };
            chooser.waited(if wait % 10 == 3 { 100 * usual } else { usual });
        }
        assert!(run(&mut chooser, 1000, 100 * US, 45 * US) > 900);
    }

    #[test]
    fn spins_that_are_in_the_way_become_rare() {
        let (mut chooser, mut spun) = (SpinChooser::default(), 0);
        run(&mut chooser, 2 * TRIAL, 100 * US, 45 * US);
        for _ in 0..10_000 {
            if chooser.spins() {
                spun += 1;
                chooser.was_in_the_way();
            }
            chooser.waited(45 * US);
        }
        assert!((5..30).contains(&spun), "{spun} spins");
        // As soon as a spin is in nobody's way, the pauses are short again.
        chooser.was_alone();
        chooser.was_in_the_way();
        chooser.waited(45 * US);
        assert_eq!(chooser.pause, 0);
    }

    proptest! {
        #[test]
        fn l10_no_spin_is_longer_than_100_us_and_none_takes_a_processor_that_is_needed(
            expected in proptest::option::of(0u64..300),
            limit in 0u64..1000,
            (running, spinning, processors) in (0usize..6, 0usize..6, 1usize..6),
        ) {
            let (expected, limit) = (expected.map(Duration::from_micros), Duration::from_micros(limit));
            let spin = input(expected, running, spinning, processors).longest_spin(limit);
            prop_assert!(spin <= MAX_SPIN && spin <= limit);
            if !spin.is_zero() {
                prop_assert!(expected.expect("known") < spin);
                prop_assert!(running + spinning < processors && spinning + 1 < processors);
            }
        }

        #[test]
        fn a_chooser_takes_any_times(waits in proptest::collection::vec((0u64..u64::MAX, any::<bool>()), 0..500)) {
            let mut chooser = SpinChooser::default();
            for (nanos, in_the_way) in waits {
                if chooser.spins() {
                    if in_the_way { chooser.was_in_the_way() } else { chooser.was_alone() }
                }
                chooser.waited(Duration::from_nanos(nanos));
            }
        }
    }
}
