//! Workflows through the whole engine: wide ones and chains, on fake children and on real ones.

use std::path::Path;
use std::time::Instant;

use axion_actors::testing::FakeLauncher;
use axion_core::Engine;
use axion_core::workflow::{Step, StepState, UpstreamKeys, WorkflowSpec};

use crate::{Report, engine, engine_seconds, noop, rate};

/// Steps of the graphs on fake children.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// One step, many that wait for it, and one that waits for all of them.
fn wide(middle: usize) -> WorkflowSpec {
    let steps = (0..middle).map(|_| Step::unnamed(noop()));
    // By id alone: a name of its own for each would be measured too.
    let spec = WorkflowSpec::builder("wide").step(Step::new("split", noop())).then();
    WorkflowSpec { upstream: UpstreamKeys::Ids, ..spec.chord(steps, Step::new("join", noop())).build() }
}

fn chain(steps: usize) -> WorkflowSpec {
    WorkflowSpec::builder("chain").chain((0..steps).map(|_| Step::unnamed(noop()))).build()
}

/// Steps per second, from the submission to the record.
fn steps_rate(engine: &Engine, spec: WorkflowSpec) -> f64 {
    let (count, begun) = (spec.steps.len(), Instant::now());
    let record = engine.submit_workflow(spec).expect("accepted").wait().expect("a record");
    assert_eq!(record.counts.of(StepState::Succeeded), count);
    count as f64 / begun.elapsed().as_secs_f64()
}

pub(crate) fn wides(_: &Path, report: &mut Report) {
    on_fakes("wide", wide, report);
}

pub(crate) fn chains(_: &Path, report: &mut Report) {
    on_fakes("chain", chain, report);
}

fn on_fakes(name: &str, spec: fn(usize) -> WorkflowSpec, report: &mut Report) {
    let start = || Box::new(FakeLauncher::echo()) as Box<_>;
    let fake = Engine::builder().cpu_workers(2).io_workers(0).start_with(start).expect("starts");
    rate(&fake, 20_000);
    for size in SIZES {
        let (mut rounds, mut used) = (Vec::new(), Vec::new());
        for _ in 0..report.rounds {
            let before = engine_seconds();
            rounds.push(steps_rate(&fake, spec(size)));
            used.push((engine_seconds() - before) * 1e9 / size as f64);
        }
        report.put(&format!("workflow: {name} of {size} steps, fake workers"), "/s", rounds);
        report.put(&format!("workflow: {name} of {size} steps, engine's thread, a step"), "ns", used);
    }
}

/// Steps through real workers, beside plain tasks.
pub(crate) fn steps(python: &Path, report: &mut Report) {
    let real = engine(python, 2);
    let (mut chains, mut fans, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..report.rounds {
        chains.push(steps_rate(&real, chain(3_000)));
        plain.push(rate(&real, 10_002));
        fans.push(steps_rate(&real, wide(10_000)));
    }
    report.put("workflow: chain of 3,000 no-op steps", "/s", chains);
    let fan = report.put("workflow: 1 to 10,000 to 1 no-op steps", "/s", fans);
    let plain = report.put("workflow: as many plain no-op tasks", "/s", plain);
    report.ratio("workflow: steps against plain tasks", fan / plain);
}
