//! Measured properties of scripts and functions: the run time of their tasks, which sizes the window of tasks sent
//! ahead, and whether they are coroutines, which need no slot.

use rustc_hash::FxHashMap;

use crate::model::{PartId, ScriptPath, WorkKey};

/// The weight of a new measurement: after four of them, the estimate is two thirds of the way there.
const WEIGHT: f64 = 0.25;
/// The number of scripts, and of functions, remembered (L9). Beyond it all are forgotten and measured again, except
/// coroutines unless they are the majority: a worker reports only once that a script is one.
const MOST: usize = 4096;

/// Profiles of scripts and functions: an exponentially weighted mean of the measured run times, and whether they are
/// coroutines.
#[derive(Debug, Default)]
pub struct Durations {
    scripts: FxHashMap<ScriptPath, WorkProfile>,
    functions: FxHashMap<PartId, WorkProfile>,
}

#[derive(Clone, Copy, Debug, Default)]
struct WorkProfile {
    /// Nanoseconds.
    mean: Option<f64>,
    coroutine: bool,
}

impl Durations {
    /// Adds one measured run time to the mean.
    pub fn record(&mut self, work: WorkKey<'_>, nanos: u64) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let measured = nanos as f64;
        self.update(work, |known| {
            known.mean = Some(known.mean.map_or(measured, |mean| mean + (measured - mean) * WEIGHT));
        });
    }

    /// A worker has loaded the work and reports whether its entry point is a coroutine function. The last report
    /// counts, because a changed script can change it.
    pub fn learn(&mut self, work: WorkKey<'_>, coroutine: bool) {
        self.update(work, |known| known.coroutine = coroutine);
    }

    fn known(&self, work: WorkKey<'_>) -> Option<&WorkProfile> {
        match work {
            WorkKey::Script(path) => self.scripts.get(path),
            WorkKey::Function(id) => self.functions.get(&id),
        }
    }

    fn update(&mut self, work: WorkKey<'_>, change: impl FnOnce(&mut WorkProfile)) {
        match work {
            // A path is only cloned when it is new.
            WorkKey::Script(path) => match self.scripts.get_mut(path) {
                Some(known) => change(known),
                None => change(room(&mut self.scripts).entry(path.clone()).or_default()),
            },
            WorkKey::Function(id) => match self.functions.get_mut(&id) {
                Some(known) => change(known),
                None => change(room(&mut self.functions).entry(id).or_default()),
            },
        }
    }

    /// The expected run time in nanoseconds; `None` for work that never ran.
    #[must_use]
    pub fn estimate(&self, work: WorkKey<'_>) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of u64 values")]
        self.known(work)?.mean.map(|mean| mean as u64)
    }

    /// Whether its tasks are coroutines; false while unknown.
    #[must_use]
    pub fn is_coroutine(&self, work: WorkKey<'_>) -> bool {
        self.known(work).is_some_and(|known| known.coroutine)
    }
}

/// Makes room for one more.
fn room<K>(map: &mut FxHashMap<K, WorkProfile>) -> &mut FxHashMap<K, WorkProfile> {
    if map.len() == MOST {
        map.retain(|_, known| known.coroutine);
        if map.len() > MOST / 2 {
            map.clear();
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_is_measured() {
        let (mut durations, script) = (Durations::default(), ScriptPath::new("/a.py".as_ref()));
        assert_eq!(durations.estimate(WorkKey::Script(&script)), None);
        durations.record(WorkKey::Script(&script), 1000);
        assert_eq!(durations.estimate(WorkKey::Script(&script)), Some(1000));
        durations.record(WorkKey::Script(&script), 2000);
        assert_eq!(durations.estimate(WorkKey::Script(&script)), Some(1250));
    }

    #[test]
    fn a_script_is_no_coroutine_until_a_worker_says_so_and_no_longer_than_that() {
        let (mut durations, script) = (Durations::default(), ScriptPath::new("/a.py".as_ref()));
        assert!(!durations.is_coroutine(WorkKey::Script(&script)));
        durations.learn(WorkKey::Script(&script), true);
        assert!(durations.is_coroutine(WorkKey::Script(&script)));
        assert_eq!(durations.estimate(WorkKey::Script(&script)), None, "it was loaded and has not run");
        durations.record(WorkKey::Script(&script), 1000);
        assert_eq!(
            (durations.estimate(WorkKey::Script(&script)), durations.is_coroutine(WorkKey::Script(&script))),
            (Some(1000), true)
        );
        durations.learn(WorkKey::Script(&script), false);
        assert_eq!(
            (durations.estimate(WorkKey::Script(&script)), durations.is_coroutine(WorkKey::Script(&script))),
            (Some(1000), false)
        );
    }

    #[test]
    fn functions_are_known_each_for_itself() {
        let mut durations = Durations::default();
        let [one, other] = [b"one", b"two"].map(|code| WorkKey::Function(PartId::of(code)));
        durations.record(one, 1000);
        durations.learn(other, true);
        assert_eq!((durations.estimate(one), durations.is_coroutine(one)), (Some(1000), false));
        assert_eq!((durations.estimate(other), durations.is_coroutine(other)), (None, true));
    }

    #[test]
    fn l9_the_number_of_scripts_is_bounded() {
        let mut durations = Durations::default();
        let script = |n: usize| ScriptPath::new(format!("/{n}.py").as_ref());
        durations.learn(WorkKey::Script(&script(0)), true);
        for n in 1..=MOST {
            durations.record(WorkKey::Script(&script(n)), 1);
            durations.record(WorkKey::Function(PartId::of(&n.to_le_bytes())), 1);
        }
        assert_eq!((durations.scripts.len(), durations.functions.len()), (2, MOST));
        assert!(durations.is_coroutine(WorkKey::Script(&script(0))), "no worker would say so again");
        durations.record(WorkKey::Function(PartId::of(b"one more")), 1);
        for n in 0..=MOST {
            durations.learn(WorkKey::Script(&script(n)), true);
        }
        assert_eq!((durations.scripts.len(), durations.functions.len()), (2, 1), "all were forgotten once more");
    }
}
