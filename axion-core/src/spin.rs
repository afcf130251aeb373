//! Spinning for the end of a short task (L10): [`axion_actors::policy::spin`] decides, this module acts.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axion_actors::actors::{Load, WorkSlot};
use axion_actors::config::processors;
use axion_actors::policy::spin::{SpinChooser, SpinInput};

/// A thread whose processor was taken for this long while it spun was in the way of another thread.
const IN_THE_WAY: Duration = Duration::from_micros(20);

/// Threads of this process that spin.
static SPINNING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static CHOOSER: RefCell<SpinChooser> = RefCell::default();
}

/// What a thread needs to know of a task to decide whether it spins for it.
#[derive(Clone, Debug)]
pub(crate) struct SpinHint {
    load: Arc<Load>,
    work: WorkSlot,
    /// The longest spin (`wait_spin`).
    limit: Duration,
}

impl SpinHint {
    pub(crate) fn new(load: Arc<Load>, work: WorkSlot, limit: Duration) -> Self {
        Self { load, work, limit }
    }

    fn input(&self, spinning: usize) -> SpinInput {
        SpinInput {
            expected: self.load.expected(self.work),
            running: self.load.running(),
            spinning,
            processors: processors(),
        }
    }
}

/// A wait for a task that is expected to be short.
#[derive(Debug)]
pub(crate) struct ShortWait {
    hint: SpinHint,
    limit: Duration,
    begun: Instant,
}

impl ShortWait {
    /// Begins a wait; `None` if the task is not expected to be short, or no processor is left to spin on.
    pub(crate) fn begin(hint: SpinHint) -> Option<Self> {
        let limit = hint.input(SPINNING.load(Ordering::Relaxed)).longest_spin(hint.limit);
        (!limit.is_zero()).then(|| Self { hint, limit, begun: Instant::now() })
    }

    /// Calls `poll` over and over until it returns something, the time is over, or the processor is needed. Not at all
    /// if sleeping has been faster for this thread.
    pub(crate) fn spin<T>(&self, poll: impl FnMut() -> Option<T>) -> Option<T> {
        if !CHOOSER.with_borrow(SpinChooser::spins) {
            return None;
        }
        let spinner = Spinner::start();
        let (found, was_alone) = self.poll_until(poll, &spinner);
        CHOOSER.with_borrow_mut(|it| if was_alone { it.was_alone() } else { it.was_in_the_way() });
        found
    }

    /// Also returns whether no other thread needed the processor meanwhile.
    fn poll_until<T>(&self, mut poll: impl FnMut() -> Option<T>, spinner: &Spinner) -> (Option<T>, bool) {
        let mut now = Instant::now();
        loop {
            if let Some(found) = poll() {
                return (Some(found), true);
            }
            if now.duration_since(self.begun) >= self.limit {
                return (None, true);
            }
            // Lets any other thread have the processor, the engine's and the worker's among them.
            std::thread::yield_now();
            let before = std::mem::replace(&mut now, Instant::now());
            if now.duration_since(before) >= IN_THE_WAY || !self.hint.input(spinner.others()).leaves_a_processor() {
                return (poll(), false);
            }
        }
    }

    /// The task has ended.
    pub(crate) fn ended(self) {
        CHOOSER.with_borrow_mut(|it| it.waited(self.begun.elapsed()));
    }
}

/// A thread that spins, counted until it is dropped.
struct Spinner;

impl Spinner {
    fn start() -> Self {
        SPINNING.fetch_add(1, Ordering::Relaxed);
        Self
    }

    #[expect(clippy::unused_self, reason = "there is one at least")]
    fn others(&self) -> usize {
        SPINNING.load(Ordering::Relaxed).saturating_sub(1)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        SPINNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use axion_actors::config::MAX_SPIN;
    use axion_actors::model::ScriptPath;

    use super::*;
    use crate::Task;

    /// A hint for a task that is expected to run for this long.
    fn hint(expected: Duration, limit: Duration) -> SpinHint {
        let (load, script) = (Arc::new(Load::default()), Task::script("/a.py"));
        load.set_expected(script.work().key(), u64::try_from(expected.as_nanos()).expect("short"));
        SpinHint::new(load, WorkSlot::of(script.work().key()), limit)
    }

    fn short() -> SpinHint {
        hint(Duration::from_micros(5), MAX_SPIN)
    }

    /// Lets this thread make waits until it tries to spin.
    fn until_it_spins() {
        while !CHOOSER.with_borrow(SpinChooser::spins) {
            ShortWait::begin(short()).expect("two processors").ended();
        }
    }

    /// Held while a test spins, so that no other one does. `None` on a machine with one processor, where none can.
    fn alone() -> Option<MutexGuard<'static, ()>> {
        static ALONE: Mutex<()> = Mutex::new(());
        (processors() > 1).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[test]
    fn l10_no_thread_spins_for_a_task_that_is_not_expected_to_be_short() {
        let alone = alone();
        assert_eq!(ShortWait::begin(short()).is_some(), alone.is_some());
        assert!(ShortWait::begin(hint(MAX_SPIN, MAX_SPIN)).is_none());
        assert!(ShortWait::begin(hint(Duration::from_micros(5), Duration::ZERO)).is_none(), "switched off");
        let unknown = WorkSlot::of(axion_actors::model::WorkKey::Script(&ScriptPath::new("/b.py".as_ref())));
        assert!(ShortWait::begin(SpinHint { work: unknown, ..short() }).is_none());
    }

    #[test]
    fn l10_a_spin_ends_when_every_processor_has_a_task() {
        let Some(_alone) = alone() else { return };
        until_it_spins();
        let hint = short();
        let (load, mut polls) = (hint.load.clone(), 0);
        let wait = ShortWait::begin(hint).expect("one processor is left");
        let found = wait.spin(|| {
            polls += 1;
            load.set_running(processors());
            None::<()>
        });
        assert_eq!((found, polls), (None, 2));
        assert!(ShortWait::begin(SpinHint { load, ..short() }).is_none());
        assert!(!CHOOSER.with_borrow(SpinChooser::spins), "the next wait does not try again");
    }

    #[test]
    fn l10_a_spin_ends_when_another_thread_needs_the_processor() {
        let Some(_alone) = alone() else { return };
        until_it_spins();
        let wait = ShortWait::begin(short()).expect("one processor is left");
        let mut polls = 0;
        let found = wait.spin(|| {
            polls += 1;
            // As long as this is away, another thread might have had the processor.
            std::thread::sleep(IN_THE_WAY);
            None::<()>
        });
        assert_eq!((found, polls), (None, 2));
    }

    #[test]
    fn l10_a_spin_ends_after_its_time() {
        let Some(_alone) = alone() else { return };
        until_it_spins();
        let wait = ShortWait::begin(short()).expect("one processor is left");
        assert_eq!(wait.spin(|| None::<()>), None, "or this test hangs");
        assert_eq!(SPINNING.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_spin_finds_what_comes_meanwhile() {
        let Some(_alone) = alone() else { return };
        until_it_spins();
        let mut polls = 0;
        let found = ShortWait::begin(short()).expect("one processor is left").spin(|| {
            polls += 1;
            (polls == 2).then_some(7)
        });
        assert_eq!(found, Some(7));
    }
}
