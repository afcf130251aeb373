//! Compares the autoscaler's policies under virtual time.
//!
//! ```text
//! cargo run --release --example simulate_scaling -- --help
//! ```
//!
//! The decisions are the engine's own: its scheduler places the tasks, its scaler changes the number
//! of workers. The machine, the workers and the tasks are modelled, so that ten minutes of thousands of
//! workers take seconds, and the same seed gives the same run. `docs/guides/autoscaling.md` has the results.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, for developers")]

mod chart;
mod machine;
mod outcome;
mod placement;
mod trace;
mod world;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use axion_actors::config::ScalingPolicy;
use axion_actors::model::PoolKind;
use axion_actors::policy::scaling::WorkerBounds;
use clap::{Parser, ValueEnum};

use crate::chart::Run;
use crate::trace::{Pattern, Shape, Trace};
use crate::world::{Setting, World};

const EXAMPLES: &str = "\
Examples:
  simulate_scaling                                  every policy on every trace, 8 processors
  simulate_scaling --trace bursts --log             and what each policy would log
  simulate_scaling --pool io --trace daily          an IO pool on a two-day wave
  simulate_scaling --policy axion-v3,demand --trace step,ramp --svg chart.svg
  simulate_scaling --cores 4096 --workers-max 4096 --trace step --policy demand
  simulate_scaling --file tasks.csv                 recorded arrivals

A recorded file has a line for every task: arrival,service[,cpu share], in seconds, such
as 12.5,0.3 or 12.5,0.3,0.1 for a task that computes a tenth of its time.

Policies: off (always --workers-min), axion-v3 and demand as in docs/guides/autoscaling.md, and
for comparison fixed-most (always --workers-max).

Traces, as parts of what all processors (cpu) or all slots (io) can carry:
  step      a tenth, then seven tenths from 20 s to 60 s, then a tenth until 100 s
  ramp      from a twentieth to nine tenths within 60 s, and back within 40 s
  bursts    a twentieth, and every 15 s to 25 s two seconds' work of the whole machine at once
  sawtooth  from a tenth to nine tenths within 30 s and down at once, four times
  daily     two days of 300 s: a wave between a twentieth and 85 %
  shift     half, by tasks a tenth as long for 30 s, then 20 times as long, then a tenth again
Of 20 tasks, 19 are short and one is ten times as long, each by chance (exponential).

What the columns mean: `longest backlog` is the longest time for which the queue was never
empty; `worker-s` the seconds of all workers together, from launch to end; `peak` the most
of them, those being drained included; `steps` the scaling steps, `turns` how often growing
and shrinking took turns; a wait is the time from submission to start.";

const POLICIES: [&str; 5] = ["off", "axion-v3", "demand", FIXED, "all"];
const TRACES: [&str; 7] = ["step", "ramp", "bursts", "sawtooth", "daily", "shift", "all"];
/// Not a policy of the engine: a pool that always has its maximum.
const FIXED: &str = "fixed-most";

/// Compares the autoscaler's policies under virtual time.
#[derive(Parser, Debug)]
#[command(name = "simulate_scaling", after_help = EXAMPLES)]
struct Args {
    /// Which policies decide, one run each.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "all", value_parser = POLICIES)]
    policy: Vec<String>,
    /// Which patterns the tasks arrive in, one run each.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "all", value_parser = TRACES)]
    trace: Vec<String>,
    /// Recorded arrivals instead of a made trace.
    #[arg(long, value_name = "RECORDED.csv", conflicts_with = "trace")]
    file: Option<PathBuf>,
    /// The kind of pool: its tasks compute (cpu), or wait most of their time (io).
    #[arg(long, value_enum, default_value_t = Kind::Cpu)]
    pool: Kind,
    /// The machine's processors.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=65536))]
    cores: u32,
    /// Workers that are always there.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=65536))]
    workers_min: u32,
    /// Workers at most. Default: as in the engine, 2 × processors up to 16 (cpu), 3 × up to 24 (io).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    workers_max: Option<u32>,
    /// Tasks that one worker runs at the same time. Default: 1 (cpu), 20 (io).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    slots: Option<u32>,
    /// Mean run time of an undisturbed task.
    #[arg(long, value_name = "MS", default_value_t = 100.0, value_parser = positive)]
    service_ms: f64,
    /// The part of its run time in which a task computes. Default: 1 (cpu), 0.02 (io).
    #[arg(long, value_name = "SHARE", value_parser = share)]
    cpu_share: Option<f64>,
    /// Multiplies every trace's arrival rate.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    load: f64,
    /// What a worker's start computes.
    #[arg(long, value_name = "MS", default_value_t = 45.0, value_parser = positive)]
    start_ms: f64,
    /// The same number gives the same tasks and the same run.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Prints what the policies log.
    #[arg(long)]
    log: bool,
    /// Writes a chart.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Writes queue, workers and longest wait of every second.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Cpu,
    Io,
}

fn is_chosen(chosen: &[String], name: &str) -> bool {
    chosen.iter().any(|it| it == "all" || it == name)
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|it: &f64| *it > 0.0 && *it < 1e6).ok_or_else(|| "above 0, below 1000000".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|it| (0.0..=1.0).contains(it)).ok_or_else(|| "0 to 1".to_owned())
}

impl Args {
    fn kind(&self) -> PoolKind {
        match self.pool {
            Kind::Cpu => PoolKind::Cpu,
            Kind::Io => PoolKind::Io,
        }
    }

    fn bounds(&self) -> WorkerBounds {
        let automatic = match self.pool {
            Kind::Cpu => self.cores.saturating_mul(2).min(16),
            Kind::Io => self.cores.saturating_mul(3).min(24),
        };
        WorkerBounds { least: self.workers_min, most: self.workers_max.unwrap_or(automatic).max(self.workers_min) }
    }

    fn setting(&self) -> Setting {
        let slots = self.slots.unwrap_or(match self.pool {
            Kind::Cpu => 1,
            Kind::Io => 20,
        });
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive")]
        let start = (self.start_ms * 1e6) as u64;
        Setting {
            kind: self.kind(),
            policy: ScalingPolicy::Off,
            bounds: self.bounds(),
            cores: self.cores as usize,
            slots: slots as usize,
            start,
            tail: 60_000_000_000,
        }
    }

    fn shape(&self) -> Shape {
        let setting = self.setting();
        let cpu_share = self.cpu_share.unwrap_or(match self.pool {
            Kind::Cpu => 1.0,
            Kind::Io => 0.02,
        });
        let most = f64::from(setting.bounds.most);
        let capacity = match self.pool {
            Kind::Cpu => most.min(f64::from(self.cores)),
            #[expect(clippy::cast_precision_loss, reason = "at most 512")]
            Kind::Io => most * setting.slots as f64,
        };
        Shape { capacity, service: self.service_ms / 1e3, load: self.load, cpu_share }
    }

    fn traces(&self) -> Result<Vec<Trace>, Box<dyn std::error::Error>> {
        let shape = self.shape();
        if let Some(file) = &self.file {
            return Ok(vec![Trace::read(file, shape.cpu_share)?]);
        }
        let chosen = |pattern: &Pattern| is_chosen(&self.trace, pattern.name());
        let patterns = Pattern::ALL.into_iter().filter(chosen);
        Ok(patterns.map(|pattern| Trace::make(pattern, shape, self.seed)).collect())
    }

    /// The policies to run, with their names.
    fn settings(&self) -> Vec<(&'static str, Setting)> {
        let setting = self.setting();
        let most = setting.bounds.most;
        let by_policy = ScalingPolicy::ALL.map(|policy| (policy.name(), Setting { policy, ..setting }));
        let fixed = (FIXED, Setting { bounds: WorkerBounds { least: most, most }, ..setting });
        by_policy.into_iter().chain([fixed]).filter(|(name, _)| is_chosen(&self.policy, name)).collect()
    }
}

fn main() -> ExitCode {
    match simulate(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut runs = Vec::new();
    for trace in args.traces()? {
        for (policy, setting) in args.settings() {
            let began = Instant::now();
            let outcome = World::new(setting, &trace).run();
            println!(
                "{} × {policy}: digest {:016x}, {:.1} s",
                trace.name,
                outcome.digest,
                began.elapsed().as_secs_f64()
            );
            print!("{}", outcome::picture(&outcome));
            if args.log {
                outcome.log.iter().for_each(|line| println!("  {line}"));
            }
            runs.push(Run { trace: trace.name.clone(), policy, outcome });
        }
    }
    println!("\n{}", outcome::HEADING);
    for run in &runs {
        println!("{}", outcome::row(&run.trace, run.policy, &run.outcome));
    }
    for (file, text) in [(&args.svg, chart::svg as fn(&[Run]) -> String), (&args.csv, chart::csv)] {
        if let Some(file) = file {
            std::fs::write(file, text(&runs)).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}
