//! Red flags: what is suspicious about the figures of a bench, and what to do. `docs/guides/benchmark.md` explains each.

use serde::Serialize;

use super::plan::{COROUTINES, Kind, Measure, System, THREADS, WAIT, Work};
use super::report::{Figure, Machine, Report, Row, efficiency, grouped};

/// The programs of others that run before a bench, in processors: above this share they take part in it.
const BUSY: f64 = 0.5;
/// The largest round of a figure against the smallest.
const UNSTEADY: f64 = 1.5;
/// A baseline that is better by less than this may be so by chance.
const SLOWER: f64 = 0.9;
/// The 99th percentile of a round trip against its median.
const TAIL: f64 = 10.0;
/// The share of the processors that computing tasks should use.
const EFFICIENT: f64 = 0.7;
/// The share of the possible rate that waiting tasks should reach.
const WAITING: f64 = 0.7;

/// What a flag is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Code {
    BusyMachine,
    FewerProcessors,
    TooManyWorkers,
    Unsteady,
    SlowerThanBaseline,
    LongTail,
    MachineDoesNotScale,
    PoorScaling,
    LostProcessorTime,
    SlowWaits,
}

impl Code {
    #[cfg(test)]
    pub(super) const ALL: [Self; 10] = [
        Self::BusyMachine,
        Self::FewerProcessors,
        Self::TooManyWorkers,
        Self::Unsteady,
        Self::SlowerThanBaseline,
        Self::LongTail,
        Self::MachineDoesNotScale,
        Self::PoorScaling,
        Self::LostProcessorTime,
        Self::SlowWaits,
    ];

    /// As the page and the JSON have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BusyMachine => "busy-machine",
            Self::FewerProcessors => "fewer-processors",
            Self::TooManyWorkers => "too-many-workers",
            Self::Unsteady => "unsteady",
            Self::SlowerThanBaseline => "slower-than-baseline",
            Self::LongTail => "long-tail",
            Self::MachineDoesNotScale => "machine-does-not-scale",
            Self::PoorScaling => "poor-scaling",
            Self::LostProcessorTime => "lost-processor-time",
            Self::SlowWaits => "slow-waits",
        }
    }

    /// What to do.
    fn advice(self) -> &'static str {
        match self {
            Self::BusyMachine => "close other programs and measure again",
            Self::FewerProcessors => "the container or the affinity limits the processors; that is what is measured",
            Self::TooManyWorkers => "more workers than processors bring nothing to tasks that compute",
            Self::Unsteady => {
                "trust the ratios, not the figures; measure again on a quiet machine, or with --seconds 60"
            }
            Self::SlowerThanBaseline => "measure again; if it stays, send fewer and longer tasks, or batches",
            Self::LongTail => "something else runs now and then, or the processors sleep deeply",
            Self::MachineDoesNotScale => "the baseline does not scale either: the processors share a core or a quota",
            Self::PoorScaling => "use fewer workers, or longer tasks",
            Self::LostProcessorTime => "send longer tasks, or batches",
            Self::SlowWaits => "the machine is busy, or too few threads are free",
        }
    }
}

/// A suspicion, with its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Flag {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) advice: &'static str,
}

impl Flag {
    fn new(code: Code, message: String) -> Self {
        Self { code, message, advice: code.advice() }
    }
}

/// Everything suspicious about a report.
pub(super) fn of(report: &Report, machine: &Machine) -> Vec<Flag> {
    let mut flags = about_machine(report, machine);
    flags.extend(unsteady(report));
    flags.extend(slower(report));
    flags.extend(match report.kind {
        Kind::RoundTrip => long_tail(report),
        Kind::Scaling => scaling(report, machine),
        Kind::Cpu => lost_processor_time(report, machine),
        Kind::Io => slow_waits(report),
        Kind::Throughput | Kind::Batch => Vec::new(),
    });
    flags
}

fn about_machine(report: &Report, machine: &Machine) -> Vec<Flag> {
    let mut flags = Vec::new();
    let (processors, load) = (machine.processors, machine.load);
    if load > f64::from(machine.machine_processors) * BUSY {
        let message = format!("{} programs ran before the bench, on average of a minute", grouped(load));
        flags.push(Flag::new(Code::BusyMachine, message));
    }
    if processors < machine.machine_processors {
        let message = format!("this process may use {processors} of {} processors", machine.machine_processors);
        flags.push(Flag::new(Code::FewerProcessors, message));
    }
    if matches!(report.kind, Kind::Cpu | Kind::Scaling) && report.workers > processors {
        let message = format!("{} workers share {processors} processors", report.workers);
        flags.push(Flag::new(Code::TooManyWorkers, message));
    }
    flags
}

/// The figure of each system that varies most.
fn unsteady(report: &Report) -> Option<Flag> {
    let spread = |row: &Row| row.most() / row.least();
    // A percentile varies by nature.
    let judged = report.rows.iter().filter(|row| row.figure != Figure::Percentile99);
    let worst = judged.max_by(|one, other| spread(one).total_cmp(&spread(other)))?;
    (spread(worst) > UNSTEADY).then(|| {
        let (system, per) = (worst.unit.system.name(), worst.figure.per().name());
        let range = format!("{} to {} {per}", grouped(worst.least()), grouped(worst.most()));
        Flag::new(Code::Unsteady, format!("{system} varies between rounds: {range}"))
    })
}

/// Where the engine, or the package if it is there, is slower than the baseline that does the same.
fn slower(report: &Report) -> Vec<Flag> {
    let same = |row: &&Row| row.figure != Figure::Percentile99;
    let ours = report.of(System::Engine).chain(report.of(System::Package)).filter(same);
    let behind = ours.filter_map(|row| report.ratio(row).filter(|ratio| *ratio < SLOWER).map(|ratio| (row, ratio)));
    let flag = |(row, ratio): (&Row, f64)| {
        let label = Some(row.label(report.kind)).filter(|it| !it.is_empty()).map(|it| format!(" ({it})"));
        let (who, baseline) = (row.unit.system.name(), report.kind.baseline().name());
        let message = format!("{who}{} reaches {ratio:.2} of {baseline}", label.unwrap_or_default());
        Flag::new(Code::SlowerThanBaseline, message)
    };
    behind.map(flag).collect()
}

fn long_tail(report: &Report) -> Vec<Flag> {
    let median = |figure| report.of(System::Engine).find(|row| row.figure == figure).map(Row::median);
    let found = median(Figure::Median).zip(median(Figure::Percentile99)).filter(|(p50, p99)| *p99 > *p50 * TAIL);
    let message =
        |(p50, p99)| format!("one task of a hundred takes {} µs, half of them {} µs", grouped(p99), grouped(p50));
    found.map(|found| Flag::new(Code::LongTail, message(found))).into_iter().collect()
}

/// The efficiency at the largest number of workers that have a processor each.
fn scaling(report: &Report, machine: &Machine) -> Vec<Flag> {
    let reached = |system| {
        let alone = report.of(system).find(|row| row.unit.workers == 1)?.median();
        let fitting = report.of(system).filter(|row| (2..=machine.processors).contains(&row.unit.workers));
        let row = fitting.max_by_key(|row| row.unit.workers)?;
        Some((row.unit.workers, efficiency(row.median(), alone, row.unit.workers)))
    };
    let (Some((workers, ours)), Some((_, theirs))) = (reached(System::Engine), reached(System::Processes)) else {
        return Vec::new();
    };
    if ours >= EFFICIENT {
        return Vec::new();
    }
    let code = if theirs < EFFICIENT { Code::MachineDoesNotScale } else { Code::PoorScaling };
    let message = format!("{workers} workers do {ours:.2} of {workers} times the work of one");
    vec![Flag::new(code, message)]
}

/// Against a loop on each processor.
fn lost_processor_time(report: &Report, machine: &Machine) -> Vec<Flag> {
    let rate = |system| report.of(system).next().map(Row::median);
    let Some((ours, alone)) = rate(System::Engine).zip(rate(System::Loop)) else { return Vec::new() };
    let used = efficiency(ours, alone, report.workers.min(machine.processors));
    let theirs = rate(System::Processes).map(|it| efficiency(it, alone, report.workers.min(machine.processors)));
    if used >= EFFICIENT {
        return Vec::new();
    }
    let code = match theirs {
        Some(theirs) if theirs < EFFICIENT => Code::MachineDoesNotScale,
        _ => Code::LostProcessorTime,
    };
    vec![Flag::new(code, format!("the workers do {used:.2} of what as many loops could do"))]
}

/// Against what as many threads and coroutines could wait.
fn slow_waits(report: &Report) -> Vec<Flag> {
    let flag = |row: &Row| {
        let places = match row.unit.measure {
            Measure::Rate(Work::WaitAsync) => COROUTINES,
            _ => THREADS,
        };
        let possible = f64::from(places * row.unit.workers) / WAIT;
        let reached = row.median() / possible;
        let label = row.label(report.kind);
        (reached < WAITING).then(|| {
            Flag::new(Code::SlowWaits, format!("the {label} reach {reached:.2} of {} tasks/s", grouped(possible)))
        })
    };
    report.of(System::Engine).filter_map(flag).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{machine, unit};
    use super::*;

    /// A report of these medians, by system and workers.
    fn report(kind: Kind, measure: Measure, figure: Figure, rows: &[(System, u32, f64)]) -> Report {
        let mut report = Report::new(kind, 4);
        for (system, workers, value) in rows {
            report.note(&unit(*system, measure, *workers), figure, *value);
        }
        report
    }

    fn codes(report: &Report, machine: &Machine) -> Vec<&'static str> {
        of(report, machine).into_iter().map(|flag| flag.code.name()).collect()
    }

    const COMPUTE: Measure = Measure::Rate(Work::Compute);
    const NOTHING: Measure = Measure::Rate(Work::Nothing);

    #[test]
    fn good_figures_have_no_flag() {
        let rows = [(System::Engine, 4, 200.0), (System::Processes, 4, 100.0)];
        assert_eq!(codes(&report(Kind::Throughput, NOTHING, Figure::Rate, &rows), &machine()), [""; 0]);
    }

    #[test]
    fn a_busy_machine_and_a_limited_one_are_noticed() {
        let rows = [(System::Engine, 4, 200.0), (System::Processes, 4, 100.0)];
        let report = report(Kind::Throughput, NOTHING, Figure::Rate, &rows);
        assert_eq!(codes(&report, &Machine { load: 2.1, ..machine() }), ["busy-machine"]);
        assert_eq!(codes(&report, &Machine { load: 1.9, ..machine() }), [""; 0]);
        assert_eq!(codes(&report, &Machine { processors: 2, ..machine() }), ["fewer-processors"]);
    }

    #[test]
    fn more_workers_than_processors_matter_to_tasks_that_compute() {
        let rows = [(System::Engine, 4, 400.0), (System::Processes, 4, 400.0), (System::Loop, 1, 100.0)];
        let machine = Machine { processors: 3, machine_processors: 3, ..machine() };
        assert_eq!(codes(&report(Kind::Cpu, COMPUTE, Figure::Rate, &rows), &machine), ["too-many-workers"]);
        assert_eq!(codes(&report(Kind::Throughput, NOTHING, Figure::Rate, &rows), &machine), [""; 0]);
    }

    #[test]
    fn rounds_that_differ_are_noticed_percentiles_apart() {
        let mut report = Report::new(Kind::RoundTrip, 1);
        for value in [10.0, 16.0] {
            report.note(&unit(System::Pipe, Measure::Trips, 1), Figure::Percentile99, value * value);
        }
        assert_eq!(codes(&report, &machine()), [""; 0]);
        for value in [10.0, 16.0] {
            report.note(&unit(System::Pipe, Measure::Trips, 1), Figure::Median, value);
        }
        assert_eq!(codes(&report, &machine()), ["unsteady"]);
    }

    #[test]
    fn a_baseline_that_is_clearly_faster_is_said() {
        let slow = [(System::Engine, 4, 80.0), (System::Package, 4, 95.0), (System::Processes, 4, 100.0)];
        assert_eq!(
            codes(&report(Kind::Throughput, NOTHING, Figure::Rate, &slow), &machine()),
            ["slower-than-baseline"]
        );
        let trips = [(System::Engine, 1, 120.0), (System::Package, 1, 50.0), (System::Processes, 1, 100.0)];
        let report = report(Kind::RoundTrip, Measure::Trips, Figure::Median, &trips);
        assert_eq!(of(&report, &machine())[0].message, "axion (p50) reaches 0.83 of ProcessPoolExecutor");
    }

    #[test]
    fn a_long_tail_is_ten_times_the_median() {
        let mut report = report(Kind::RoundTrip, Measure::Trips, Figure::Median, &[(System::Engine, 1, 50.0)]);
        let engine = unit(System::Engine, Measure::Trips, 1);
        report.note(&engine, Figure::Percentile99, 499.0);
        assert_eq!(codes(&report, &machine()), [""; 0]);
        report.rows[1].rounds = vec![501.0];
        assert_eq!(codes(&report, &machine()), ["long-tail"]);
    }

    #[test]
    fn poor_scaling_is_the_machines_if_the_baseline_has_it_too() {
        let scaled = |ours: f64, theirs: f64| {
            let engine = [(System::Engine, 1, 100.0), (System::Engine, 4, ours), (System::Engine, 8, ours)];
            let peers = [(System::Processes, 1, 100.0), (System::Processes, 4, theirs), (System::Processes, 8, theirs)];
            report(Kind::Scaling, COMPUTE, Figure::Rate, &[engine, peers].concat())
        };
        assert_eq!(codes(&scaled(300.0, 300.0), &machine()), [""; 0]);
        assert_eq!(codes(&scaled(200.0, 190.0), &machine()), ["machine-does-not-scale"]);
        assert_eq!(codes(&scaled(270.0, 290.0), &machine()), ["poor-scaling"]);
        // One processor: there is nothing to scale to.
        let one = Machine { processors: 1, machine_processors: 1, ..machine() };
        assert_eq!(codes(&scaled(100.0, 100.0), &one), ["too-many-workers"]);
    }

    #[test]
    fn processors_that_compute_less_than_loops_are_noticed() {
        let used = |ours, theirs| {
            let rows = [(System::Loop, 1, 100.0), (System::Engine, 4, ours), (System::Processes, 4, theirs)];
            report(Kind::Cpu, COMPUTE, Figure::Rate, &rows)
        };
        assert_eq!(codes(&used(390.0, 390.0), &machine()), [""; 0]);
        assert_eq!(codes(&used(270.0, 290.0), &machine()), ["lost-processor-time"]);
        assert_eq!(codes(&used(200.0, 200.0), &machine()), ["machine-does-not-scale"]);
    }

    #[test]
    fn waits_are_held_against_what_is_possible() {
        let mut report = report(Kind::Io, Measure::Rate(Work::Wait), Figure::Rate, &[(System::Engine, 1, 800.0)]);
        report.note(&unit(System::Engine, Measure::Rate(Work::WaitAsync), 1), Figure::Rate, 6000.0);
        let flags = of(&report, &machine());
        assert_eq!(flags.len(), 1);
        assert_eq!(flags[0].message, "the coroutines reach 0.60 of 10,000 tasks/s");
    }

    #[test]
    fn the_page_explains_each_flag() {
        let page = include_str!("../../../../docs/guides/benchmark.md");
        for code in Code::ALL {
            assert!(page.contains(&format!("| `{}` |", code.name())), "{code:?}");
            assert_eq!(serde_json::to_value(code).expect("JSON"), code.name());
        }
    }
}
