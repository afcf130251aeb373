//! The planned workflows: small graphs, which depend only on the seed and their number.

use std::path::Path;
use std::time::Duration;

use axion_core::flow::{Flow, Format, Overrides};
use axion_core::workflow::{RunIf, WorkflowSpec};
use axion_core::{PoolKind, Priority, TaskId};
use serde_json::{Value, json};

use crate::plan::{Kind, priority};
use crate::rng::Rng;
use crate::trace::Traits;

/// Above those of all plain tasks.
const FIRST_INDEX: usize = 1_000_000_000;
/// Of one workflow.
const INDICES: usize = 10_000;
/// Of one step: its instances are numbered from its own on.
const OF_A_STEP: usize = 100;

/// Out of 1000.
const KINDS: [(Kind, u64); 13] = [
    (Kind::Noop, 420),
    (Kind::Nap, 130),
    (Kind::AsyncNap, 130),
    (Kind::Polite, 50),
    (Kind::Fail, 40),
    (Kind::FailUntil, 90),
    (Kind::SysExit, 20),
    (Kind::Soft, 15),
    (Kind::AsyncSoft, 15),
    (Kind::CatchAll, 15),
    (Kind::Exit, 30),
    (Kind::KillItself, 30),
    (Kind::Segfault, 15),
];

/// How many instances of a mapped step must succeed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Enough {
    All,
    Any,
    AtLeast(usize),
}

/// One instance for each element of the list in the result of another step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map {
    pub(crate) over: usize,
    pub(crate) enough: Enough,
    parallel: u64,
}

/// One step. Others are named by their places in the plan.
#[derive(Clone, Debug)]
pub(crate) struct StepPlan {
    pub(crate) index: usize,
    pub(crate) kind: Kind,
    pub(crate) amount: u64,
    pool: PoolKind,
    quick_script: bool,
    depends_on: Vec<usize>,
    pub(crate) run_if: RunIf,
    /// It asks for the index of this step, and whether that is to be right.
    pub(crate) when: Option<(usize, bool)>,
    /// Its parameters have the index of this step.
    pub(crate) refers_to: Option<usize>,
    pub(crate) map: Option<Map>,
    /// The list in its result, which other steps may be mapped over.
    pub(crate) list: Vec<u64>,
    /// The step whose result adds it.
    pub(crate) added_by: Option<usize>,
    /// Its result names a step that cannot be added.
    pub(crate) adds_nonsense: bool,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    pub(crate) max_retries: u32,
    pub(crate) max_losses: u32,
    /// Some wait long enough for their retry to be cancelled meanwhile.
    retry_wait: Duration,
    at_most: Option<u64>,
    pub(crate) keep_result: bool,
    pub(crate) ttl: Option<Duration>,
    priority: Priority,
    /// It waits for some task outside the workflow, too.
    pub(crate) outside: Option<Outside>,
}

/// A task that a step waits for and that is none of its workflow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outside {
    /// A step of a workflow that was accepted before. The number chooses among those.
    Step(u64),
    /// A task that was accepted alone.
    Task(u64),
    /// Of one that is submitted later, if at all.
    Nobody,
}

/// What a client does to a workflow in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAction {
    pub(crate) after: Duration,
    /// Chooses among its steps, and among the instances of a mapped one.
    pub(crate) choice: u64,
    pub(crate) kind: ClientActionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientActionKind {
    Cancel,
    /// Ends the step only if it has not been sent to a worker.
    Withdraw,
    /// Waits for the step.
    Wait,
    /// Waits for the step and gives up before it ends.
    GiveUp,
}

impl StepPlan {
    fn new(rng: &mut Rng, before: &[Self], first_index: usize, added_by: Option<usize>) -> Self {
        let known: Vec<usize> = (0..before.len()).filter(|at| is_there(before, *at, added_by)).collect();
        let one = |rng: &mut Rng| (!known.is_empty()).then(|| known[rng.index(known.len())]);
        let mut depends_on: Vec<usize> = (0..rng.within(0, 3)).filter_map(|_| one(rng)).collect();
        // One in three depends on the step that adds it and gets its result.
        depends_on.extend(added_by.filter(|_| rng.chance(33)));
        depends_on.sort_unstable();
        depends_on.dedup();
        let lists = known.iter().filter(|at| before[**at].map.is_none()).copied().collect::<Vec<_>>();
        let maps = rng.chance(12) && !lists.is_empty();
        let map = maps.then(|| Map {
            over: lists[rng.index(lists.len())],
            enough: rng.weighted(&[(Enough::All, 2), (Enough::Any, 1), (Enough::AtLeast(2), 1)]),
            parallel: rng.within(1, 4),
        });
        let kind = if map.is_some() && rng.chance(40) { Kind::Picky } else { rng.weighted(&KINDS) };
        let retries = if kind == Kind::FailUntil || rng.chance(10) { rng.within(0, 2) } else { 0 };
        let mut step = Self {
            index: first_index + before.len() * OF_A_STEP,
            kind,
            amount: match kind {
                Kind::Nap | Kind::AsyncNap => rng.within(1, 9),
                Kind::Polite => rng.within(5, 60),
                Kind::FailUntil => rng.within(1, 3),
                _ => 0,
            },
            pool: if rng.chance(50) { PoolKind::Cpu } else { PoolKind::Io },
            quick_script: rng.chance(50),
            depends_on,
            run_if: rng.weighted(&[
                (RunIf::AllSucceeded, 6),
                (RunIf::AnySucceeded, 1),
                (RunIf::AllDone, 2),
                (RunIf::AnyFailed, 1),
            ]),
            when: rng.chance(12).then(|| one(rng)).flatten().map(|dep| (dep, rng.chance(70))),
            refers_to: rng.chance(20).then(|| one(rng)).flatten(),
            map,
            list: (0..rng.within(0, 6)).map(|_| rng.within(0, 5)).collect(),
            added_by,
            adds_nonsense: map.is_none() && rng.chance(2),
            timeout: (kind == Kind::CatchAll).then(|| rng.millis(40, 160)),
            soft_timeout: matches!(kind, Kind::Soft | Kind::AsyncSoft).then(|| rng.millis(20, 60)),
            max_retries: u32::try_from(retries).unwrap_or(0),
            max_losses: u32::try_from(rng.within(0, 3)).unwrap_or(0),
            retry_wait: rng.weighted(&[(Duration::from_millis(10), 3), (Duration::from_millis(400), 1)]),
            at_most: rng.chance(8).then(|| rng.within(1, 3)),
            keep_result: !rng.chance(15),
            ttl: rng.chance(10).then(|| rng.millis(5, 600)),
            // The result of a step that adds others has no such thing.
            priority: if added_by.is_none() { priority(rng) } else { Priority::default() },
            outside: (added_by.is_none() && rng.chance(8)).then(|| outside(rng)),
        };
        if step.waits_for().is_empty() && step.outside.is_none() {
            step.run_if = RunIf::AllSucceeded; // another rule would make no sense, or is refused
        }
        step
    }

    /// The traits that the events of its tasks must show.
    pub(crate) fn traits(&self) -> Traits {
        Traits { delay: None, ttl: self.ttl, once: self.max_losses == 0 }
    }

    /// All steps that it waits for.
    pub(crate) fn waits_for(&self) -> Vec<usize> {
        let mut all = self.input_steps();
        all.extend(self.map.map(|map| map.over).into_iter().chain(self.added_by));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The steps whose results or errors it is given.
    pub(crate) fn input_steps(&self) -> Vec<usize> {
        let named = self.depends_on.iter().copied();
        let mut all: Vec<usize> = named.chain(self.when.map(|(dep, _)| dep)).chain(self.refers_to).collect();
        // The instances do not get the list.
        all.retain(|dep| self.map.is_none_or(|map| map.over != *dep));
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn outside(rng: &mut Rng) -> Outside {
    let choice = rng.next();
    // A workflow that depends on an unknown task is refused as a whole.
    rng.weighted(&[(Outside::Step(choice), 24), (Outside::Task(choice), 10), (Outside::Nobody, 1)])
}

/// Whether a step is certain to be there when those of this owner are added: it was from the start, or came with
/// them, or with their owner.
fn is_there(steps: &[StepPlan], at: usize, mut owner: Option<usize>) -> bool {
    loop {
        match owner {
            _ if steps[at].added_by == owner => return true,
            Some(above) => owner = steps[above].added_by,
            None => return false,
        }
    }
}

/// A step waits for a task that is none of its workflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) at: usize,
    pub(crate) task: TaskId,
}

fn actions(rng: &mut Rng) -> Vec<ClientAction> {
    let latest = rng.weighted(&[(50, 1), (500, 2), (4000, 1)]);
    let action = |rng: &mut Rng| ClientAction {
        after: rng.millis(0, latest),
        choice: rng.next(),
        kind: rng.weighted(&[
            (ClientActionKind::Cancel, 4),
            (ClientActionKind::Withdraw, 1),
            (ClientActionKind::Wait, 6),
            (ClientActionKind::GiveUp, 1),
        ]),
    };
    let count = if rng.chance(60) { rng.within(1, 8) } else { 0 };
    let mut actions: Vec<ClientAction> = (0..count).map(|_| action(rng)).collect();
    actions.sort_by_key(|action| action.after);
    actions
}

pub(crate) fn name(at: usize) -> String {
    format!("s{at}")
}

/// One workflow.
#[derive(Clone, Debug)]
pub(crate) struct FlowPlan {
    pub(crate) number: usize,
    pub(crate) steps: Vec<StepPlan>,
    pub(crate) stops: bool,
    pub(crate) stops_running: bool,
    processes: Option<u64>,
    pub(crate) cancel_after: Option<Duration>,
    /// In the order of their times.
    pub(crate) actions: Vec<ClientAction>,
}

impl FlowPlan {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let mut rng = Rng::new(seed, number as u64 + (1 << 40));
        if rng.chance(10) {
            return Self::stopper(&mut rng, number);
        }
        let first_index = FIRST_INDEX + number * INDICES;
        let mut steps: Vec<StepPlan> = Vec::new();
        for _ in 0..rng.within(2, 24) {
            let step = StepPlan::new(&mut rng, &steps, first_index, None);
            steps.push(step);
        }
        let added = if rng.chance(40) { rng.within(1, 6) } else { 0 };
        for _ in 0..added {
            let owners: Vec<usize> = (0..steps.len()).filter(|at| steps[*at].map.is_none()).collect();
            if !owners.is_empty() {
                let owner = Some(owners[rng.index(owners.len())]);
                let step = StepPlan::new(&mut rng, &steps, first_index, owner);
                steps.push(step);
            }
        }
        let stops = rng.chance(20);
        // Before most of it has started, or in the middle.
        let latest = rng.weighted(&[(300, 1), (5000, 1)]);
        let stops_running = stops && rng.chance(50);
        let processes = rng.chance(20).then(|| rng.within(1, 2));
        let cancel_after = rng.chance(15).then(|| rng.millis(0, latest));
        Self { number, steps, stops, stops_running, processes, cancel_after, actions: actions(&mut rng) }
    }

    /// One step that waits for another workflow's, in a workflow of its own.
    pub(crate) fn follower(seed: u64, number: usize) -> Self {
        let mut rng = Rng::new(seed, number as u64 + (1 << 40));
        let mut step = StepPlan::new(&mut rng, &[], FIRST_INDEX + number * INDICES, None);
        step.outside = Some(Outside::Nobody);
        step.run_if = RunIf::AllDone;
        Self::of(number, vec![step])
    }

    /// Steps that never end, and one whose failure has to end them. Or steps that take a while, and one whose failure has
    /// to let them.
    fn stopper(rng: &mut Rng, number: usize) -> Self {
        let (stops_running, late) = (rng.chance(60), rng.chance(50));
        let mut steps: Vec<StepPlan> = Vec::new();
        for at in 0..rng.within(2, 4) {
            let mut step = StepPlan::new(rng, &[], FIRST_INDEX + number * INDICES, None);
            step.index += steps.len() * OF_A_STEP;
            // Coroutines leave the CPU worker to the step that fails.
            let others = if stops_running { Kind::Endless } else { Kind::AsyncNap };
            (step.kind, step.pool) = if at == 0 { (Kind::Fail, PoolKind::Cpu) } else { (others, PoolKind::Io) };
            step.amount = 600;
            if at == 0 && late {
                // The others run by then.
                (step.max_retries, step.retry_wait) = (1, Duration::from_millis(300));
            }
            (step.timeout, step.soft_timeout, step.adds_nonsense) = (None, None, false);
            (step.at_most, step.outside) = (None, None);
            step.run_if = RunIf::AllSucceeded;
            steps.push(step);
        }
        Self { stops: true, stops_running, actions: actions(rng), ..Self::of(number, steps) }
    }

    fn of(number: usize, steps: Vec<StepPlan>) -> Self {
        Self {
            number,
            steps,
            stops: false,
            stops_running: false,
            processes: None,
            cancel_after: None,
            actions: Vec::new(),
        }
    }

    /// There is nothing outside that this step could wait for.
    pub(crate) fn unlink(&mut self, at: usize) {
        let step = &mut self.steps[at];
        step.outside = None;
        if step.waits_for().is_empty() {
            step.run_if = RunIf::AllSucceeded;
        }
    }

    /// The steps that are there from the start, in the order of the file.
    pub(crate) fn first(&self) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(|at| self.steps[*at].added_by.is_none())
    }

    /// The steps that this one adds.
    pub(crate) fn added_below(&self, owner: usize) -> impl Iterator<Item = usize> {
        (0..self.steps.len()).filter(move |at| self.steps[*at].added_by == Some(owner))
    }

    /// The flow as it would stand in a file.
    pub(crate) fn json(&self) -> Value {
        let mut flow = json!({
            "name": format!("workflow {}", self.number),
            "steps": self.first().map(|at| self.step(at)).collect::<Value>(),
        });
        if self.stops {
            flow["on_failure"] = json!("stop");
            flow["stop_running"] = json!(self.stops_running);
        }
        if let Some(processes) = self.processes {
            flow["limits"] = json!({"processes": processes});
        }
        flow
    }

    fn step(&self, at: usize) -> Value {
        let plan = &self.steps[at];
        let mut step = json!({
            "name": name(at),
            "script": if plan.quick_script { "quick.py" } else { "slow.py" },
            "params": self.params(at),
            "pool": plan.pool.name(),
            "depends_on": plan.depends_on.iter().map(|dep| name(*dep)).collect::<Value>(),
            // The file does not name external dependencies.
            "run_if": if plan.waits_for().is_empty() { RunIf::AllSucceeded } else { plan.run_if },
            "max_worker_losses": plan.max_losses,
        });
        if plan.max_retries > 0 {
            step["retries"] = json!(plan.max_retries);
            step["retry_wait"] = json!(plan.retry_wait.as_secs_f64());
        }
        if !plan.keep_result {
            step["keep_result"] = json!(false);
        }
        if let Some((dep, holds)) = plan.when {
            let value = self.steps[dep].index + usize::from(!holds);
            step["when"] = json!({"ref": name(dep), "path": "i", "op": "==", "value": value});
        }
        if let Some(map) = plan.map {
            let succeed = match map.enough {
                Enough::All => json!("all"),
                Enough::Any => json!("any"),
                Enough::AtLeast(count) => json!(count),
            };
            let parallel = map.parallel;
            step["map_over"] =
                json!({"ref": name(map.over), "path": "list", "max_parallel": parallel, "succeed": succeed});
        }
        if self.grown(at).is_some() {
            step["dynamic"] = json!(true);
        }
        for (key, limit) in [("timeout", plan.timeout), ("soft_timeout", plan.soft_timeout), ("ttl", plan.ttl)] {
            if let Some(limit) = limit {
                step[key] = json!(limit.as_secs_f64());
            }
        }
        if let Some(max) = plan.at_most {
            step["concurrency"] = json!({"key": format!("at most {max}"), "max": max});
        }
        step
    }

    fn params(&self, at: usize) -> Value {
        let plan = &self.steps[at];
        let mut params = json!({"do": plan.kind.name(), "i": plan.index, "step": true, "list": plan.list});
        if let Some(amount) = plan.kind.amount() {
            params[amount] = json!(plan.amount);
        }
        if let Some(dep) = plan.refers_to {
            params["got"] = json!({"$ref": name(dep), "path": "i"});
        }
        if let Some(below) = self.grown(at) {
            // As text: the references in it are not this step's own.
            params["grow"] = json!(below.to_string());
        }
        params
    }

    /// The steps that a dynamic step's result names.
    pub(crate) fn grown(&self, at: usize) -> Option<Value> {
        let mut below: Vec<Value> = self.added_below(at).map(|below| self.step(below)).collect();
        if self.steps[at].adds_nonsense {
            below.push(json!({"name": name(at), "script": "quick.py"}));
        }
        (!below.is_empty()).then(|| Value::from(below))
    }

    /// The workflow, with its scripts in `folder`, and for some of its steps a task outside that they wait for.
    pub(crate) fn spec(&self, folder: &Path, links: &[Link]) -> WorkflowSpec {
        let text = self.json().to_string();
        let flow = Flow::parse("chaos", &text, Format::Json, folder, &Overrides::default());
        let mut spec = flow.expect("a sound workflow").spec;
        for (at, step) in self.first().zip(&mut spec.steps) {
            step.set_task(step.task().clone().priority(self.steps[at].priority));
            for link in links.iter().filter(|link| link.at == at) {
                *step = step.clone().after(link.task).run_if(self.steps[at].run_if);
            }
        }
        spec
    }

    /// Whether a step succeeds in this attempt, if its worker lives, nobody cancels it, and its list, if it has one,
    /// has this element.
    pub(crate) fn succeeds(&self, at: usize, attempt: u32, item: Option<u64>) -> bool {
        match self.steps[at].kind {
            Kind::FailUntil => u64::from(attempt) >= self.steps[at].amount,
            Kind::Picky => item != Some(0),
            Kind::Noop | Kind::Nap | Kind::AsyncNap | Kind::Polite => true,
            _ => false,
        }
    }
}
