//! The graph with a gate behind it, as in an engine.

use proptest::prelude::*;

use super::*;
use crate::model::workflow::{Fixed, Needs};
use crate::model::{PoolId, PoolKind};
use crate::policy::resources::{Gate, Permit};

/// A workflow whose steps run when the gate admits them.
struct Gated {
    graph: Graph,
    gate: Gate<(String, StepKey, Value, Needs)>,
    running: Vec<(String, StepKey, Value, Needs, Permit)>,
    /// The names, in the order of their starts.
    started: Vec<String>,
}

impl Gated {
    fn of(spec: WorkflowSpec) -> Self {
        let graph = Graph::check(WorkflowId::generate(), spec, &outside(), Tick(0)).expect("sound");
        let gate = Gate::new(*graph.capacity());
        let mut gated = Self { graph, gate, running: Vec::new(), started: Vec::new() };
        gated.graph.start(Tick(0));
        gated.act();
        gated
    }

    fn act(&mut self) {
        for action in self.graph.take_actions() {
            if let GraphAction::Submit(key) = action {
                let (task, params) = self.graph.hand_over(key).expect("it is to run");
                let name = self.graph.title_of(key.step).expect("a step");
                let limits = task.limits().cloned().unwrap_or_default();
                let params = serde_json::from_slice(&params.into_bytes()).expect("JSON");
                let priority = task.options().priority;
                self.gate
                    .wait(
                        (name, key, params, limits.needs),
                        if task.pool_id() == PoolId::IO { PoolKind::Io } else { PoolKind::Cpu },
                        priority,
                        &limits,
                    )
                    .expect("checked before");
            }
        }
        for ((name, key, params, needs), permit) in self.gate.open(Tick(0)) {
            self.graph.started(key, Tick(0));
            self.started.push(name.clone());
            self.running.push((name, key, params, needs, permit));
        }
        self.graph.take_actions();
    }

    fn end(&mut self, name: &str, outcome: Outcome) -> Value {
        let at = self.running.iter().position(|it| it.0 == name).unwrap_or_else(|| panic!("{name} does not run"));
        let (_, key, params, _, permit) = self.running.remove(at);
        self.gate.give_back(permit);
        self.graph.ended(key, outcome.into(), Tick(1));
        self.act();
        params
    }

    fn names(&self) -> Vec<&str> {
        self.running.iter().map(|it| it.0.as_str()).collect()
    }
}

#[test]
fn c3_1_two_processes_run_at_a_time_and_each_thread_after_its_process() {
    let thread = |name: &str| Step::new(name, task().on(PoolKind::Io));
    let mut spec = WorkflowSpec::of(["p1", "p2", "p3"].map(step));
    spec.capacity = Capacity { processes: Some(2), threads: Some(2), ..Capacity::default() };
    for n in 1..=3 {
        spec.steps.push(thread(&format!("t{n}")).after(&*format!("p{n}")));
    }
    spec.steps.push(step("p4").after("t1").after("t2").after("t3"));
    spec.steps.push(thread("t4").after("p4"));
    let mut run = Gated::of(spec);
    assert_eq!(run.names(), ["p1", "p2"], "p3 waits for a process");
    run.end("p2", ok(json!(15)));
    assert_eq!(run.names(), ["p1", "p3", "t2"]);
    run.end("p1", ok(json!(6)));
    run.end("p3", ok(json!(24)));
    assert_eq!(run.names(), ["t2", "t1"], "t3 waits for a thread");
    run.end("t2", ok(json!(15)));
    run.end("t1", ok(json!(6)));
    run.end("t3", ok(json!(24)));
    let results = run.end("p4", ok(json!(45)))["upstream_results"].clone();
    assert_eq!(["t1", "t2", "t3"].map(|t| results[t].as_i64()), [Some(6), Some(15), Some(24)]);
    run.end("t4", ok(json!(45)));
    assert!(run.graph.is_finished() && run.running.is_empty() && run.gate.is_empty());
}

proptest! {
    /// Random needs on a random graph: the limits hold at every moment, and every step runs.
    #[test]
    fn l1_every_step_runs_within_the_limits(
        steps in proptest::collection::vec((proptest::collection::vec(any::<u16>(), 0..3), 1..=2u32, 0..=1000u64), 1..30),
        choices in proptest::collection::vec(any::<u16>(), 60)
    ) {
        let capacity = Capacity { processes: Some(2), cpu: Some(Fixed(1000)), ..Capacity::default() };
        let mut spec = WorkflowSpec { capacity, ..WorkflowSpec::default() };
        for (at, (deps, slots, cpu)) in steps.iter().enumerate() {
            let start = step(&format!("s{at}")).needs(Needs { slots: *slots, cpu: Fixed(*cpu), memory: None });
            let deps = deps.iter().filter(|_| at > 0).map(|dep| usize::from(*dep) % at.max(1));
            spec.steps.push(deps.fold(start, |it, dep| it.after(&*format!("s{dep}"))));
        }
        let mut run = Gated::of(spec);
        let mut choices = choices.into_iter().cycle();
        while !run.running.is_empty() {
            let needs = run.running.iter().map(|it| it.3);
            let (slots, cpu) = needs.fold((0, 0), |sum, needs| (sum.0 + needs.slots, sum.1 + needs.cpu.0));
            prop_assert!(slots <= 2 && cpu <= 1000, "{} slots, {} of the processors", slots, cpu);
            let chosen = usize::from(choices.next().unwrap_or_default()) % run.running.len();
            let name = run.running[chosen].0.clone();
            run.end(&name, ok(json!(1)));
        }
        prop_assert_eq!(run.graph.counts().of(StepState::Succeeded), steps.len());
        prop_assert_eq!(run.started.len(), steps.len());
    }
}
