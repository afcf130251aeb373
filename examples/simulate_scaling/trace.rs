//! What arrives: made by formula and chance, or recorded.

use std::path::Path;

/// A pattern of arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// A tenth of the capacity, then seven tenths for 40 s, then a tenth again.
    Step,
    /// From almost nothing to nine tenths of the capacity in 60 s, and back in 40 s.
    Ramp,
    /// Two seconds' work of the whole machine at once, every 15 to 25 s.
    Bursts,
    /// From a tenth to nine tenths in 30 s, then down at once; four times.
    Sawtooth,
    /// Two days of 300 s each: a wave between a twentieth and 85 % of the capacity.
    Daily,
    /// Half the capacity for 90 s, by tasks a tenth as long for 30 s, then 20 times as long, then again
    /// a tenth.
    Shift,
}

impl Pattern {
    pub(crate) const ALL: [Self; 6] = [Self::Step, Self::Ramp, Self::Bursts, Self::Sawtooth, Self::Daily, Self::Shift];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Ramp => "ramp",
            Self::Bursts => "bursts",
            Self::Sawtooth => "sawtooth",
            Self::Daily => "daily",
            Self::Shift => "shift",
        }
    }

    /// How long tasks arrive, in seconds.
    fn seconds(self) -> f64 {
        match self {
            Self::Step | Self::Ramp => 100.0,
            Self::Bursts | Self::Sawtooth => 120.0,
            Self::Daily => 600.0,
            Self::Shift => 90.0,
        }
    }

    /// The load that arrives steadily, as a part of the capacity.
    fn level(self, at: f64) -> f64 {
        match self {
            Self::Step if (20.0..60.0).contains(&at) => 0.7,
            Self::Step => 0.1,
            Self::Ramp if at < 60.0 => 0.05 + 0.85 * at / 60.0,
            Self::Ramp => 0.9 - 0.85 * (at - 60.0) / 40.0,
            Self::Bursts => 0.05,
            Self::Sawtooth => 0.1 + 0.8 * (at % 30.0) / 30.0,
            Self::Daily => 0.45 - 0.4 * (at / 300.0 * std::f64::consts::TAU).cos(),
            Self::Shift => 0.5,
        }
    }

    /// How long the tasks are, as a multiple of the usual.
    fn stretch(self, at: f64) -> f64 {
        match self {
            Self::Shift if (30.0..60.0).contains(&at) => 20.0,
            Self::Shift => SHORTEST,
            _ => 1.0,
        }
    }
}

/// One task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// When, in nanoseconds.
    pub(crate) at: u64,
    /// What it computes, in nanoseconds of a processor.
    pub(crate) cpu: u64,
    /// What it waits for before, in nanoseconds.
    pub(crate) pause: u64,
    /// It comes from the script whose tasks are long.
    pub(crate) long: bool,
}

/// All tasks of a run, in order.
pub(crate) struct Trace {
    pub(crate) name: String,
    pub(crate) arrivals: Vec<Arrival>,
    /// When the last one can come, in nanoseconds.
    pub(crate) length: u64,
}

/// What the tasks of a made trace are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Tasks that can run at the same time when all is in use.
    pub(crate) capacity: f64,
    /// Mean run time of an undisturbed task, in seconds.
    pub(crate) service: f64,
    /// All levels are multiplied by this.
    pub(crate) load: f64,
    /// The part of its run time in which a task computes.
    pub(crate) cpu_share: f64,
}

const SECOND: f64 = 1e9;
/// What the shifting pattern begins with, when tasks come fastest.
const SHORTEST: f64 = 0.1;
/// Of 20 tasks, 19 are short; the others are ten times as long on average.
const LONG_TASKS: f64 = 0.05;
const LONG_FACTOR: f64 = 10.0;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
fn nanos(seconds: f64) -> u64 {
    (seconds * SECOND) as u64
}

/// A random number whose mean is `mean`, exponentially distributed.
fn exponential(rng: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

impl Trace {
    /// Makes a trace: arrivals by chance (Poisson) at the pattern's rate.
    pub(crate) fn make(pattern: Pattern, shape: Shape, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rate = shape.load * shape.capacity / shape.service;
        let mut arrivals = Vec::new();
        let mut at = 0.0;
        loop {
            // The highest rate, thinned down to the present one.
            at += exponential(&mut rng, pattern.stretch(0.0) / rate);
            if at >= pattern.seconds() {
                break;
            }
            let stretch = pattern.stretch(at);
            if rng.f64() < pattern.level(at) * pattern.stretch(0.0) / stretch {
                let service = shape.service * stretch;
                arrivals.push(Shape { service, ..shape }.task(&mut rng, at));
            }
        }
        if pattern == Pattern::Bursts {
            let mut at = 10.0;
            while at < pattern.seconds() {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
                let size = (2.0 * rate).round() as usize;
                arrivals.extend((0..size).map(|_| shape.task(&mut rng, at)));
                at += 15.0 + 10.0 * rng.f64();
            }
        }
        arrivals.sort_by_key(|task| task.at);
        Self { name: pattern.name().to_owned(), arrivals, length: nanos(pattern.seconds()) }
    }

    /// Reads a recorded trace: lines of `arrival,service[,cpu share]` in seconds; a first line without
    /// numbers is a heading.
    pub(crate) fn read(path: &Path, cpu_share: f64) -> Result<Self, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut arrivals = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let heading = at == 0 && !line.starts_with(|first: char| first.is_ascii_digit() || first == '.');
            if line.trim().is_empty() || line.starts_with('#') || heading {
                continue;
            }
            let task = parse(line, cpu_share).ok_or_else(|| {
                format!(
                    "{}:{}: `{line}` is not `arrival,service[,cpu share]`: seconds from 0 up, and a share from 0 to 1",
                    path.display(),
                    at + 1
                )
            })?;
            arrivals.push(task);
        }
        arrivals.sort_by_key(|task| task.at);
        let length = arrivals.last().map_or(0, |task| task.at);
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self { name, arrivals, length })
    }
}

fn parse(line: &str, cpu_share: f64) -> Option<Arrival> {
    let mut numbers = line.split(',').map(|part| part.trim().parse::<f64>().ok().filter(|it| *it >= 0.0 && *it < 1e9));
    let (at, service) = (numbers.next()??, numbers.next()??);
    let share = numbers.next().map_or(Some(cpu_share), |given| given.filter(|it| *it <= 1.0))?;
    Some(split(at, service, share, false))
}

fn split(at: f64, service: f64, share: f64, long: bool) -> Arrival {
    Arrival { at: nanos(at), cpu: nanos(service * share).max(1), pause: nanos(service * (1.0 - share)), long }
}

impl Shape {
    fn task(self, rng: &mut fastrand::Rng, at: f64) -> Arrival {
        let long = rng.f64() < LONG_TASKS;
        let mean = self.service / (1.0 - LONG_TASKS + LONG_TASKS * LONG_FACTOR);
        let service = exponential(rng, if long { mean * LONG_FACTOR } else { mean });
        split(at, service, self.cpu_share, long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { capacity: 8.0, service: 0.1, load: 1.0, cpu_share: 1.0 };

    #[test]
    fn a_step_carries_the_load_it_promises_and_the_same_seed_makes_the_same_tasks() {
        let trace = Trace::make(Pattern::Step, SHAPE, 7);
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
        let work = trace.arrivals.iter().map(|task| task.cpu as f64 / SECOND).sum::<f64>();
        let promised = 8.0 * (0.7 * 40.0 + 0.1 * 60.0);
        assert!((work / promised - 1.0).abs() < 0.1, "{work} s of work, {promised} s promised");
        assert_eq!(trace.arrivals, Trace::make(Pattern::Step, SHAPE, 7).arrivals);
        assert_ne!(trace.arrivals, Trace::make(Pattern::Step, SHAPE, 8).arrivals);
    }

    #[test]
    fn a_recorded_line_has_an_arrival_a_run_time_and_perhaps_a_share() {
        assert_eq!(
            parse("1.5, 0.2", 1.0),
            Some(Arrival { at: 1_500_000_000, cpu: 200_000_000, pause: 0, long: false })
        );
        assert_eq!(parse("0,1,0.25", 1.0).map(|it| (it.cpu, it.pause)), Some((250_000_000, 750_000_000)));
        for wrong in ["", "1", "a,1", "1,-2", "1,2,3", "nan,1"] {
            assert_eq!(parse(wrong, 1.0), None, "{wrong}");
        }
    }
}
