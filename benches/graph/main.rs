//! The graph and the gate by themselves: no actors, no children, no Python.
//!
//! ```text
//! cargo bench --bench graph
//! ```
//!
//! Steps a second from the check of the specification to the record, at several sizes: the figure
//! must not fall with the size. Each is the median of several rounds. Memory is the growth of the
//! resident size while a workflow waits, by step, its tasks included.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program of its own, for developers")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axion_actors::model::workflow::{
    Capacity, Fixed, MapOver, Needs, Reference, Step, StepState, WorkflowId, WorkflowSpec, WorkflowState,
};
use axion_actors::model::{Concurrency, EngineCapacity, Json, Limits, Outcome, PoolKind, Priority, Rate, Task, Tick};
use axion_actors::policy::graph::{EngineView, Graph, GraphAction, StepKey, StepStatus};
use axion_actors::policy::resources::Gate;
use bytes::Bytes;

const ROUNDS: usize = 7;

fn step(name: String) -> Step {
    Step::new(name, Task::script("/work.py"))
}

fn chain(count: usize) -> WorkflowSpec {
    WorkflowSpec::builder("chain").chain((0..count).map(|n| step(format!("s{n}")))).build()
}

fn wide(count: usize) -> WorkflowSpec {
    let middle = (0..count).map(|n| step(format!("s{n}")));
    WorkflowSpec::builder("wide").step(step("first".into())).then().chord(middle, step("last".into())).build()
}

fn layers(count: usize) -> WorkflowSpec {
    let width = 100;
    let name = |n: usize| format!("s{n}");
    WorkflowSpec::of((0..count).map(|n| {
        let above = (n / width).checked_sub(1).map(|layer| layer * width);
        let from = above.into_iter().flat_map(|above| [above + n % width, above + (n * 7 + 3) % width]);
        from.fold(step(name(n)), |it, dep| it.after(&*name(dep)))
    }))
}

fn check(spec: WorkflowSpec) -> Graph {
    let outside = EngineView { status: &|_| StepStatus::Unknown, capacity: &EngineCapacity::unlimited() };
    Graph::check(WorkflowId::generate(), spec, &outside, Tick(0)).expect("sound")
}

/// Runs a workflow on an engine that takes no time; returns how many tasks it ran.
fn run(graph: &mut Graph, data: &dyn Fn(StepKey) -> Bytes) -> usize {
    let (mut running, mut count, mut finished) = (VecDeque::new(), 0, false);
    graph.start(Tick(0));
    loop {
        for action in graph.take_actions() {
            match action {
                GraphAction::Submit(key) => running.push_back(key),
                GraphAction::Finished => finished = true,
                GraphAction::Changed { .. } | GraphAction::Cancel(_) | GraphAction::Ended { .. } => {}
            }
        }
        let Some(key) = running.pop_front() else { break };
        let (_task, params) = graph.hand_over(key).expect("it is to run");
        let _text = params.into_bytes();
        count += 1;
        graph.started(key, Tick(count));
        graph.ended(key, Outcome::Succeeded(Json(data(key)).into()).into(), Tick(count + 1));
    }
    assert!(finished && graph.state() == WorkflowState::Succeeded);
    usize::try_from(count).expect("small")
}

fn per_second(count: usize, mut once: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| once()).collect();
    seconds.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let count = count as f64;
    count / seconds[ROUNDS / 2]
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("read");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

fn memory(name: &str, make: fn(usize) -> WorkflowSpec) {
    let count = 100_000;
    let before = resident();
    let graph = check(make(count));
    let waiting = resident().saturating_sub(before) / count;
    println!("{name:8} {waiting:6} bytes a step while it waits, its task and name included");
    assert_eq!(graph.counts().of(StepState::Running), 0);
}

fn main() {
    // First: what the others leave in memory would be measured too.
    memory("chain", chain);
    memory("wide", wide);
    println!();
    for (name, make) in [("chain", chain as fn(usize) -> WorkflowSpec), ("wide", wide), ("layers", layers)] {
        for count in [1_000, 10_000, 100_000] {
            let figure = per_second(count, || {
                let spec = make(count);
                let begun = Instant::now();
                let mut graph = check(spec);
                run(&mut graph, &|_| Bytes::from_static(b"1"));
                let record = graph.into_record(Default::default());
                let seconds = begun.elapsed().as_secs_f64();
                assert!(record.finished.is_some());
                seconds
            });
            println!("{name:8} {count:7} steps: {figure:12.0} steps/s, check to record");
        }
    }
    mapped();
    gate();
    gate_of_hosts();
}

/// One step mapped over a list, and a step that takes the list of results.
fn mapped() {
    let count = 100_000;
    let list = serde_json::to_vec(&(0..count).collect::<Vec<_>>()).expect("JSON");
    let list = Bytes::from(list);
    let figure = per_second(count, || {
        let each = step("each".into()).map_over(MapOver::new(Reference::to("list")));
        let spec = WorkflowSpec::of([step("list".into()), each, step("sum".into()).after("each")]);
        let begun = Instant::now();
        let mut graph = check(spec);
        let done = run(&mut graph, &|key| if key.step == 0 { list.clone() } else { Bytes::from_static(b"1") });
        assert_eq!(done, count + 2);
        begun.elapsed().as_secs_f64()
    });
    println!("mapped   {count:7} elements: {figure:9.0} instances/s");
}

/// Tasks of a few kinds through a gate that is always full.
fn gate() {
    let count = 100_000usize;
    let percent = |number: u32| Fixed::new(f64::from(number)).expect("a percentage");
    let figure = per_second(count, || {
        let mut gate = Gate::new(Capacity { processes: Some(8), cpu: Some(percent(100)), ..Capacity::default() });
        let begun = Instant::now();
        for n in 0..u32::try_from(count).expect("small") {
            let needs = Needs { slots: 1 + n % 3, cpu: percent(n % 20), memory: None };
            let limits = Limits { needs, ..Limits::default() };
            gate.wait(n, PoolKind::Cpu, Priority::default(), &limits).expect("can be met");
        }
        let (mut running, mut done) = (VecDeque::new(), 0);
        loop {
            running.extend(gate.open(Tick(0)));
            let Some((_, permit)) = running.pop_front() else { break };
            gate.give_back(permit);
            done += 1;
        }
        assert_eq!(done, count);
        begun.elapsed().as_secs_f64()
    });
    println!("gate     {count:7} tasks of 60 kinds: {figure:9.0} tasks/s");
}

/// Tasks with ten thousand keys, of which one may run at a time with each, or start in a second.
fn gate_of_hosts() {
    let (hosts, each) = (10_000u32, 10u32);
    let keys: Vec<Arc<str>> = (0..hosts).map(|host| format!("host{host}").into()).collect();
    let concurrency = |host: usize| Limits {
        concurrency: Some(Concurrency { key: keys[host].clone(), max: 1 }),
        ..Limits::default()
    };
    let rate = |host: usize| Limits { rate: Some(Rate::per_second(keys[host].clone(), 1)), ..Limits::default() };
    for (name, limits) in [("keys", &concurrency as &dyn Fn(usize) -> Limits), ("rates", &rate)] {
        let count = (hosts * each) as usize;
        let figure = per_second(count, || {
            let mut gate = Gate::new(Capacity::default());
            let begun = Instant::now();
            for n in 0..count {
                gate.wait(n, PoolKind::Io, Priority::default(), &limits(n % keys.len())).expect("can be met");
            }
            let (mut running, mut done, mut now) = (VecDeque::new(), 0, Tick(0));
            while done < count {
                running.extend(gate.open(now));
                match running.pop_front() {
                    Some((_, permit)) => {
                        gate.give_back(permit);
                        done += 1;
                    }
                    None => now = gate.next().expect("the next one's time"),
                }
            }
            begun.elapsed().as_secs_f64()
        });
        println!("gate     {count:7} tasks with {hosts} {name}: {figure:9.0} tasks/s");
    }
}
