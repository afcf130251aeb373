//! What a simulation comes to: figures, a table of them, and a picture in the terminal.

use axion_actors::policy::scaling::ScalingStep;

/// One second of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// The most tasks that waited.
    pub(crate) queue: usize,
    /// Workers at its end.
    pub(crate) workers: usize,
    /// The longest wait of a task that started in it, in nanoseconds.
    pub(crate) wait: u64,
}

/// The figures of one run.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Times of workers from launch to end, together, in nanoseconds.
    pub(crate) worker_nanos: u128,
    /// The most workers at the same time.
    pub(crate) peak: usize,
    /// The longest time for which the queue was never empty, in nanoseconds.
    pub(crate) backlog: u64,
    /// Steps.
    pub(crate) steps: usize,
    /// Changes from growing to shrinking or back.
    pub(crate) turns: usize,
    /// Whether the last step was a growth.
    last: Option<bool>,
    /// From submission to start, by task, in nanoseconds; sorted at the end.
    pub(crate) waits: Vec<u64>,
    pub(crate) seconds: Vec<Second>,
    /// The lines logged, with their time in seconds.
    pub(crate) log: Vec<String>,
    /// Of every start and every step: equal for equal runs.
    pub(crate) digest: u64,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            worker_nanos: 0,
            peak: 0,
            backlog: 0,
            steps: 0,
            turns: 0,
            last: None,
            waits: Vec::new(),
            seconds: Vec::new(),
            log: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for show")]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

impl Outcome {
    /// FNV-1a.
    fn digest(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn started(&mut self, task: usize, worker: usize, at: u64, wait: u64) {
        self.waits.push(wait);
        for number in [task as u64, worker as u64, at] {
            self.digest(number);
        }
    }

    pub(crate) fn decided(&mut self, at: u64, verdict: &ScalingStep, line: Option<String>) {
        let grows = match verdict {
            ScalingStep::Stay => return,
            ScalingStep::Grow { .. } => true,
            ScalingStep::Shrink { .. } => false,
        };
        self.digest(at ^ u64::from(grows));
        self.steps += 1;
        self.turns += usize::from(self.last.replace(grows).is_some_and(|last| last != grows));
        self.log.extend(line.map(|line| format!("{:9.3} s  {line}", seconds(at))));
    }

    pub(crate) fn finish(mut self, length: u64) -> Self {
        self.waits.sort_unstable();
        self.digest(length);
        self
    }

    /// The wait that this part of the tasks did not exceed, in seconds.
    pub(crate) fn wait(&self, percent: usize) -> f64 {
        let at = (self.waits.len() * percent / 100).min(self.waits.len().saturating_sub(1));
        self.waits.get(at).map_or(0.0, |wait| seconds(*wait))
    }

    #[expect(clippy::cast_precision_loss, reason = "for show")]
    pub(crate) fn worker_seconds(&self) -> f64 {
        self.worker_nanos as f64 / 1e9
    }
}

/// The table's heading, in Markdown, so that it can be kept as it is.
pub(crate) const HEADING: &str = "\
| trace | policy | tasks | longest backlog s | worker-s | peak | steps | turns | wait p50 s | p99 s | max s |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// A row of the table.
pub(crate) fn row(trace: &str, policy: &str, outcome: &Outcome) -> String {
    format!(
        "| {trace} | {policy} | {} | {:.1} | {:.0} | {} | {} | {} | {:.3} | {:.3} | {:.3} |",
        outcome.waits.len(),
        seconds(outcome.backlog),
        outcome.worker_seconds(),
        outcome.peak,
        outcome.steps,
        outcome.turns,
        outcome.wait(50),
        outcome.wait(99),
        outcome.wait(100),
    )
}

const WIDTH: usize = 100;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Three lines: queue, workers and longest waits over time, each against its own highest.
pub(crate) fn picture(outcome: &Outcome) -> String {
    let line = |name: &str, unit: &str, of: &dyn Fn(&Second) -> f64| {
        let values: Vec<f64> = buckets(&outcome.seconds, of);
        let most = values.iter().copied().fold(0.0, f64::max);
        let bars: String = values.iter().map(|value| bar(*value, most)).collect();
        format!("  {name:8}{bars}▏ up to {most:.1}{unit}\n")
    };
    #[expect(clippy::cast_precision_loss, reason = "for show")]
    let picture = [
        line("queue", " tasks", &|second| second.queue as f64),
        line("workers", "", &|second| second.workers as f64),
        line("wait", " s", &|second| seconds(second.wait)),
    ];
    picture.concat()
}

/// The highest value of each column.
fn buckets(all: &[Second], of: &dyn Fn(&Second) -> f64) -> Vec<f64> {
    let size = all.len().div_ceil(WIDTH).max(1);
    all.chunks(size).map(|part| part.iter().map(of).fold(0.0, f64::max)).collect()
}

fn bar(value: f64, most: f64) -> char {
    let steps = if most > 0.0 { (value / most * 8.0).ceil() } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let step = steps as usize;
    BARS.get(step).copied().unwrap_or('█')
}
