//! How long the tasks of a script take: what the window of tasks sent ahead is sized by.

use rustc_hash::FxHashMap;

use crate::model::ScriptPath;

/// The weight of a new measurement: after four of them, the estimate is two thirds of the way there.
const WEIGHT: f64 = 0.25;
/// Scripts remembered. When there are more, all are forgotten and measured anew (L9).
const MOST: usize = 4096;

/// Exponentially weighted means of measured run times, by script.
#[derive(Debug, Default)]
pub struct Durations {
    means: FxHashMap<ScriptPath, f64>,
}

impl Durations {
    /// Takes one measured run time into the script's mean.
    pub fn record(&mut self, script: &ScriptPath, nanos: u64) {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let measured = nanos as f64;
        if let Some(mean) = self.means.get_mut(script) {
            *mean += (measured - *mean) * WEIGHT;
            return;
        }
        if self.means.len() == MOST {
            self.means.clear();
        }
        self.means.insert(script.clone(), measured);
    }

    /// The expected run time in nanoseconds; `None` for a script that never ran.
    #[must_use]
    pub fn estimate(&self, script: &ScriptPath) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of u64 values")]
        self.means.get(script).map(|mean| *mean as u64)
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
    fn l9_the_number_of_scripts_is_bounded() {
        let mut durations = Durations::default();
        for n in 0..=MOST {
            durations.record(&ScriptPath::new(format!("/{n}.py").as_ref()), 1);
        }
        assert_eq!(durations.means.len(), 1);
    }
}
