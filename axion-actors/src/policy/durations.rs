//! What is known of scripts: how long their tasks take, which sizes the window of tasks sent ahead, and
//! whether they are coroutines, which need no slot of their own.

use rustc_hash::FxHashMap;

use crate::model::ScriptPath;

/// The weight of a new measurement: after four of them, the estimate is two thirds of the way there.
const WEIGHT: f64 = 0.25;
/// Scripts remembered. When there are more, all are forgotten and measured anew (L9), but for the coroutines,
/// unless they are most of them: a worker says only once what a script is.
const MOST: usize = 4096;

/// What is known of scripts: exponentially weighted means of their measured run times, and how they run.
#[derive(Debug, Default)]
pub struct Durations {
    scripts: FxHashMap<ScriptPath, Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Nanoseconds.
    mean: Option<f64>,
    coroutine: bool,
}

impl Durations {
    /// Takes one measured run time into the script's mean.
    pub fn record(&mut self, script: &ScriptPath, nanos: u64) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let measured = nanos as f64;
        self.update(script, |known| {
            known.mean = Some(known.mean.map_or(measured, |mean| mean + (measured - mean) * WEIGHT));
        });
    }

    /// A worker has loaded the script and says whether its entry point is a coroutine function. The last
    /// word counts: a script that changes can change that.
    pub fn learn(&mut self, script: &ScriptPath, coroutine: bool) {
        self.update(script, |known| known.coroutine = coroutine);
    }

    fn update(&mut self, script: &ScriptPath, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.scripts.get_mut(script) {
            return change(known);
        }
        if self.scripts.len() == MOST {
            self.scripts.retain(|_, known| known.coroutine);
            if self.scripts.len() > MOST / 2 {
                self.scripts.clear();
            }
        }
        change(self.scripts.entry(script.clone()).or_default());
    }

    /// The expected run time in nanoseconds; `None` for a script that never ran.
    #[must_use]
    pub fn estimate(&self, script: &ScriptPath) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of u64 values")]
        self.scripts.get(script)?.mean.map(|mean| mean as u64)
    }

    /// Whether the script's tasks are coroutines; false while that is unknown.
    #[must_use]
    pub fn is_coroutine(&self, script: &ScriptPath) -> bool {
        self.scripts.get(script).is_some_and(|known| known.coroutine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_is_measured() {
        let (mut durations, script) = (Durations::default(), ScriptPath::new("/a.py".as_ref()));
        assert_eq!(durations.estimate(&script), None);
        durations.record(&script, 1000);
        assert_eq!(durations.estimate(&script), Some(1000));
        durations.record(&script, 2000);
        assert_eq!(durations.estimate(&script), Some(1250));
    }

    #[test]
    fn a_script_is_no_coroutine_until_a_worker_says_so_and_no_longer_than_that() {
        let (mut durations, script) = (Durations::default(), ScriptPath::new("/a.py".as_ref()));
        assert!(!durations.is_coroutine(&script));
        durations.learn(&script, true);
        assert!(durations.is_coroutine(&script));
        assert_eq!(durations.estimate(&script), None, "it was loaded and has not run");
        durations.record(&script, 1000);
        assert_eq!((durations.estimate(&script), durations.is_coroutine(&script)), (Some(1000), true));
        durations.learn(&script, false);
        assert_eq!((durations.estimate(&script), durations.is_coroutine(&script)), (Some(1000), false));
    }

    #[test]
    fn l9_the_number_of_scripts_is_bounded() {
        let mut durations = Durations::default();
        let script = |n: usize| ScriptPath::new(format!("/{n}.py").as_ref());
        durations.learn(&script(0), true);
        for n in 1..=MOST {
            durations.record(&script(n), 1);
        }
        assert_eq!(durations.scripts.len(), 2);
        assert!(durations.is_coroutine(&script(0)), "no worker would say so again");
        for n in 0..=MOST {
            durations.learn(&script(n), true);
        }
        assert_eq!(durations.scripts.len(), 2, "all were forgotten once more");
    }
}
