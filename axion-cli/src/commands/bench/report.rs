//! What the figures of a bench mean: medians of rounds, and ratios to the baseline.

use serde::{Deserialize, Serialize};

use super::flags::{self, Flag};
use super::plan::{Kind, Measure, System, Unit};

/// The machine, as it says itself. `peers.py` gives all but the processors.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Machine {
    pub(super) python: String,
    pub(super) python_version: String,
    /// Those that this process may use: its affinity and its container count.
    #[serde(default)]
    pub(super) processors: u32,
    /// Those of the whole machine.
    pub(super) machine_processors: u32,
    /// Processes that ran or waited for a processor before the bench, over the last minute.
    pub(super) load: f64,
    /// Whether this Python has the package.
    pub(super) package: bool,
    /// How many rounds of a loop take 10 ms: the work of a task that computes.
    pub(super) loops: u64,
}

/// The unit of a figure, and with it, what is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Per {
    #[serde(rename = "tasks/s")]
    Second,
    #[serde(rename = "µs")]
    Micros,
    #[serde(rename = "ms")]
    Millis,
}

impl Per {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Second => "tasks/s",
            Self::Micros => "µs",
            Self::Millis => "ms",
        }
    }

    /// How many times better one figure is than another: above 1 is better, whatever the unit.
    pub(super) fn ratio(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Second => one / other,
            Self::Micros | Self::Millis => other / one,
        }
    }
}

/// Which figure of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Rate,
    Median,
    Percentile99,
    Batch,
}

impl Figure {
    pub(super) fn per(self) -> Per {
        match self {
            Self::Rate => Per::Second,
            Self::Median | Self::Percentile99 => Per::Micros,
            Self::Batch => Per::Millis,
        }
    }
}

/// A figure of one system, measured in some rounds.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) unit: Unit,
    pub(super) figure: Figure,
    pub(super) rounds: Vec<f64>,
}

impl Row {
    /// The median, or the mean of the two in the middle.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        match (sorted.len() / 2, sorted.len() % 2) {
            (_, _) if sorted.is_empty() => f64::NAN,
            (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
            (middle, _) => sorted[middle],
        }
    }

    pub(super) fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn most(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }

    /// What it counts, where a system has several figures in one bench.
    pub(super) fn label(&self, kind: Kind) -> String {
        match (self.figure, self.unit.measure) {
            (Figure::Median, _) => "p50".to_owned(),
            (Figure::Percentile99, _) => "p99".to_owned(),
            (_, Measure::Batch(count)) => format!("{} tasks", grouped(f64::from(count))),
            _ if kind == Kind::Scaling => match self.unit.workers {
                1 => "1 worker".to_owned(),
                workers => format!("{workers} workers"),
            },
            (_, Measure::Rate(super::plan::Work::WaitAsync)) => "coroutines".to_owned(),
            (_, Measure::Rate(super::plan::Work::Wait)) => "threads".to_owned(),
            _ => String::new(),
        }
    }
}

/// All figures of one bench.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) workers: u32,
    pub(super) rows: Vec<Row>,
    pub(super) flags: Vec<Flag>,
}

impl Report {
    pub(super) fn new(kind: Kind, workers: u32) -> Self {
        Self { kind, workers, rows: Vec::new(), flags: Vec::new() }
    }

    /// Adds what one round found.
    pub(super) fn note(&mut self, unit: &Unit, figure: Figure, value: f64) {
        match self.rows.iter_mut().find(|row| row.unit == *unit && row.figure == figure) {
            Some(row) => row.rounds.push(value),
            None => self.rows.push(Row { unit: *unit, figure, rounds: vec![value] }),
        }
    }

    /// Judges what was measured.
    pub(super) fn finish(&mut self, machine: &Machine) {
        self.flags = flags::of(self, machine);
    }

    /// How many times better a row is than the baseline's; `None` for the baseline, and where it has no such figure.
    pub(super) fn ratio(&self, row: &Row) -> Option<f64> {
        let baseline = self.kind.baseline();
        let counterpart = |other: &&Row| {
            other.unit.system == baseline
                && other.figure == row.figure
                && match (self.kind, other.unit.measure, row.unit.measure) {
                    (Kind::Batch, theirs, ours) => theirs == ours,
                    (Kind::Scaling, ..) => other.unit.workers == row.unit.workers,
                    _ => true,
                }
        };
        let other = self.rows.iter().find(counterpart).filter(|_| row.unit.system != baseline)?;
        Some(row.figure.per().ratio(row.median(), other.median()))
    }

    /// The rows of a system.
    pub(super) fn of(&self, system: System) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.unit.system == system)
    }
}

/// The share of the processors that `rate` uses, if `alone` is the rate of one.
pub(super) fn efficiency(rate: f64, alone: f64, processors: u32) -> f64 {
    rate / (alone * f64::from(processors.max(1)))
}

/// A number as people write it: `12,300`, `45.1`, `0.52`.
pub(super) fn grouped(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.2}");
    }
    if number < 100.0 {
        return format!("{number:.1}").trim_end_matches(".0").to_owned();
    }
    let digits = format!("{number:.0}");
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    (!head.is_empty()).then(|| head.to_owned()).into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::plan::Work;
    use super::*;

    pub(in super::super) fn machine() -> Machine {
        Machine {
            python: "/usr/bin/python3".to_owned(),
            python_version: "3.12.1".to_owned(),
            processors: 4,
            machine_processors: 4,
            load: 0.1,
            package: false,
            loops: 1000,
        }
    }

    pub(in super::super) fn unit(system: System, measure: Measure, workers: u32) -> Unit {
        Unit { system, measure, workers }
    }

    #[test]
    fn a_row_is_the_median_of_its_rounds() {
        let row = |rounds: &[f64]| Row {
            unit: unit(System::Engine, Measure::Trips, 1),
            figure: Figure::Median,
            rounds: rounds.to_vec(),
        };
        assert_eq!(row(&[30.0, 10.0, 20.0]).median(), 20.0);
        assert_eq!(row(&[10.0, 20.0]).median(), 15.0);
        assert_eq!((row(&[30.0, 10.0]).least(), row(&[30.0, 10.0]).most()), (10.0, 30.0));
        assert!(row(&[]).median().is_nan());
    }

    #[test]
    fn a_ratio_above_one_is_better_whatever_the_unit() {
        assert_eq!(Per::Second.ratio(200.0, 100.0), 2.0);
        assert_eq!(Per::Micros.ratio(50.0, 100.0), 2.0);
        assert_eq!(Per::Millis.ratio(200.0, 100.0), 0.5);
    }

    #[test]
    fn a_row_is_compared_with_the_same_figure_of_the_baseline() {
        let mut report = Report::new(Kind::Batch, 4);
        for (system, count, millis) in
            [(System::Engine, 100, 2.0), (System::Processes, 100, 8.0), (System::Processes, 1000, 50.0)]
        {
            report.note(&unit(system, Measure::Batch(count), 4), Figure::Batch, millis);
        }
        assert_eq!(report.ratio(&report.rows[0]), Some(4.0));
        assert_eq!(report.ratio(&report.rows[1]), None);

        let mut report = Report::new(Kind::Scaling, 2);
        let rate = Measure::Rate(Work::Compute);
        for (system, workers, value) in
            [(System::Processes, 1, 10.0), (System::Engine, 2, 30.0), (System::Processes, 2, 20.0)]
        {
            report.note(&unit(system, rate, workers), Figure::Rate, value);
        }
        assert_eq!(report.ratio(&report.rows[1]), Some(1.5));
    }

    #[test]
    fn rounds_of_a_unit_are_one_row() {
        let mut report = Report::new(Kind::RoundTrip, 1);
        for value in [1.0, 2.0] {
            report.note(&unit(System::Pipe, Measure::Trips, 1), Figure::Median, value);
            report.note(&unit(System::Pipe, Measure::Trips, 1), Figure::Percentile99, value * 10.0);
        }
        assert_eq!(report.rows.len(), 2);
        assert_eq!(report.rows[1].rounds, [10.0, 20.0]);
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let written = [0.517, 9.99, 12.0, 45.14, 123.4, 1234.0, 123_456.7, 1_234_567.0].map(grouped);
        assert_eq!(written, ["0.52", "9.99", "12", "45.1", "123", "1,234", "123,457", "1,234,567"]);
        assert_eq!(efficiency(150.0, 100.0, 2), 0.75);
    }
}
