//! The report at the end of a round.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use axion_core::workflow::{StepState, WorkflowState};
use axion_core::{Fact, FactKind, TaskId};

use crate::faults::FaultCounts;
use crate::leftovers::Held;
use crate::life::Done;
use crate::notes::Notes;
use crate::plan::Kind;
use crate::trace::{Recorded, Trace};

/// More violations than these tell nothing new.
const SHOWN: usize = 10;
/// Events of one task that are shown.
const EVENTS: usize = 60;
const OUTCOMES: [&str; 6] = ["succeeded", "failed", "timed_out", "cancelled", "expired", "lost"];

#[derive(Debug)]
pub(crate) struct Report {
    seed: u64,
    pub(crate) time: Duration,
    submitted: usize,
    outcomes: BTreeMap<Kind, [u64; OUTCOMES.len()]>,
    faults: FaultCounts,
    cancels: BTreeMap<&'static str, u64>,
    pub(crate) executions: u64,
    /// Summaries of the events and of the resources that this process holds.
    words: Vec<String>,
    violations: Vec<(Option<TaskId>, String)>,
    /// The histories of the tasks in the violations.
    stories: Vec<String>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            time: Duration::ZERO,
            submitted: 0,
            outcomes: BTreeMap::new(),
            faults: FaultCounts::default(),
            cancels: BTreeMap::new(),
            executions: 0,
            words: Vec::new(),
            violations: Vec::new(),
            stories: Vec::new(),
        }
    }

    /// Adds the results of one engine.
    pub(crate) fn add(&mut self, done: &Done) {
        for ended in done.ended.values() {
            let plan = &done.plans[&ended.record.id];
            let counts: &mut [u64; OUTCOMES.len()] = self.outcomes.entry(plan.kind).or_default();
            let name = ended.record.outcome.name();
            counts[OUTCOMES.iter().position(|known| *known == name).expect("a known outcome")] += 1;
        }
        self.submitted += done.plans.len();
        self.faults.add(done.faults);
        for (name, count) in &done.cancels {
            *self.cancels.entry(name).or_default() += count;
        }
        if let Some((drain, report)) = done.drained {
            self.words.push(format!(
                "shut down after {} tasks, with {:?} of patience: {} cancelled",
                drain.after, drain.patience, report.cancelled
            ));
        }
        self.words.push(format!("{} of {} that were asked to stop did", done.stopped, done.asked_to_stop));
        self.words.push(flows(done));
        self.words.push(requests(done));
        self.violations.extend(done.violations.iter().cloned());
    }

    pub(crate) fn note_results(&mut self, (worked_out, unknown): (usize, usize)) {
        self.words.push(format!("results that were not kept: {worked_out} worked out, {unknown} not"));
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn violated(&mut self, task: Option<TaskId>, what: String) {
        self.violations.push((task, what));
    }

    pub(crate) fn violated_all(&mut self, task: Option<TaskId>, what: impl IntoIterator<Item = String>) {
        self.violations.extend(what.into_iter().map(|what| (task, what)));
    }

    pub(crate) fn note_trace(&mut self, events: usize, trace: &Trace) {
        let (ready, down) = trace.workers();
        self.words.push(format!(
            "{events} events: {} reruns counted, {} uncounted, {} given back unstarted ({} had been sent to a worker \
             whose end was not known yet), {} retries, {} lost because of a neighbour; {ready} workers, {down} ended",
            trace.reruns_counted, trace.reruns_uncounted, trace.returned, trace.late, trace.retries, trace.lost_beside
        ));
        let [queued, waiting, sent] = trace.cancelled;
        self.words.push(format!(
            "cancelled: {queued} in a queue, {waiting} waiting for a time, {sent} with a worker; {} held back",
            trace.held
        ));
        self.violated_all(None, trace.check_kills().err());
        let [done, late, spared] = trace.kills_done;
        self.words.push(format!("{done} kills, {late} in the moment of the attempt's end; {spared} spared"));
        if ready != down {
            self.violated(None, format!("{} workers never went down", ready - down));
        }
    }

    pub(crate) fn compare_held(&mut self, base: Held, now: Held, growth: u64) {
        let mib = |bytes: u64| bytes >> 20;
        let (before, after) = (base.resident, now.resident);
        self.words.push(format!(
            "descriptors {} before, {} after; resident memory {} MiB before, {} MiB after",
            base.descriptors,
            now.descriptors,
            mib(before),
            mib(after)
        ));
        if now.descriptors > base.descriptors {
            self.violated(None, format!("{} descriptors are left", now.descriptors - base.descriptors));
        }
        if after > before + growth {
            self.violated(None, format!("L9: memory has grown by {} MiB", mib(after - before)));
        }
    }

    /// Collects the histories of the tasks that are shown.
    pub(crate) fn explain(&mut self, done: &Done, recorded: &Recorded, notes: &Notes) {
        let mut tasks: Vec<TaskId> = self.violations.iter().filter_map(|(task, _)| *task).collect();
        tasks.dedup();
        for task in tasks.into_iter().take(SHOWN) {
            self.stories.extend(done.flows.iter().find_map(|flow| flow.story(task)));
            let Some(plan) = done.plans.get(&task) else {
                self.stories.push(format!("\n{task}:"));
                self.stories.extend(history(task, recorded));
                continue;
            };
            self.stories.push(format!("\n{task}: {plan:?}"));
            if let Some(ended) = done.ended.get(&plan.index) {
                self.stories.push(format!("  {}", cut(&format!("{:?}", ended.record))));
            }
            self.stories.extend(history(task, recorded));
            self.stories.extend(notes.history(plan.index).into_iter().map(|note| format!("  {note}")));
        }
    }

    /// Prints the violations and how to repeat the run.
    pub(crate) fn fail(&self, tasks: usize) -> ExitCode {
        let seed = self.seed;
        eprintln!("chaos: {} violations, seed {seed}", self.violations.len());
        for (task, what) in self.violations.iter().take(SHOWN) {
            match task {
                Some(task) => eprintln!("  task {task}: {}", cut(what)),
                None => eprintln!("  {}", cut(what)),
            }
        }
        for story in &self.stories {
            eprintln!("{story}");
        }
        let release = if cfg!(debug_assertions) { "" } else { "--release " };
        eprintln!("\nagain: cargo test {release}--test chaos -- --seed {seed} --tasks {tasks}");
        ExitCode::FAILURE
    }
}

/// How the workflows and their steps ended.
fn flows(done: &Done) -> String {
    let of = |wanted| done.flows.iter().filter(|flow| flow.record.state == wanted).count();
    let [succeeded, failed, cancelled] =
        [WorkflowState::Succeeded, WorkflowState::Failed, WorkflowState::Cancelled].map(of);
    let count = |state| done.flows.iter().map(|flow| flow.record.counts.of(state)).sum::<usize>();
    let steps = StepState::ALL.into_iter().filter(|state| state.is_final());
    let steps: Vec<String> = steps.map(|state| format!("{} {state}", count(state))).collect();
    format!(
        "{} workflows: {succeeded} succeeded, {failed} failed, {cancelled} cancelled; their steps: {}",
        done.flows.len(),
        steps.join(", ")
    )
}

/// Requests about steps with their answers, batches and refusals.
fn requests(done: &Done) -> String {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for request in done.flows.iter().flat_map(|flow| &flow.requests) {
        *answers.entry(format!("{:?}", request.answer)).or_default() += 1;
    }
    let answers: Vec<String> = answers.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
    let links: usize = done.flows.iter().map(|flow| flow.links.len()).sum();
    let waiters: usize =
        done.waiter_answers.len() + done.flows.iter().map(|flow| flow.waiter_answers.len()).sum::<usize>();
    let refused = done.batches.iter().filter(|batch| !batch.refused().is_empty()).count();
    format!(
        "{} submissions, {refused} refused; {} workflows refused; {links} steps waited for other workflows or tasks; \
         {waiters} answers to other waiters; steps asked to end: {}",
        done.batches.len(),
        done.refused_flows.len(),
        answers.join(", ")
    )
}

/// The events of a task, and the ends of the workers it was sent to.
fn history(task: TaskId, recorded: &Recorded) -> Vec<String> {
    let mut workers = HashSet::new();
    let mut concerns = |event: &&Fact| match &event.kind {
        FactKind::WorkerDown { worker, .. } => workers.contains(worker),
        kind => {
            if let (FactKind::TaskSent { worker, .. }, true) = (kind, kind.task() == Some(task)) {
                workers.insert(*worker);
            }
            kind.task() == Some(task)
        }
    };
    let events = recorded.events.iter().filter(|event| concerns(event)).take(EVENTS);
    events.map(|event| format!("  {} {:?}", event.at, event.kind)).collect()
}

/// The tails of a post-mortem can be long, and anything.
fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        writeln!(f, "seed {}: {} tasks, {} executions, {seconds:.1} s", self.seed, self.submitted, self.executions)?;
        write!(f, "{:>14}", "")?;
        for outcome in OUTCOMES {
            write!(f, "{outcome:>11}")?;
        }
        for (kind, counts) in &self.outcomes {
            write!(f, "\n{:>14}", kind.name())?;
            for count in counts {
                write!(f, "{count:>11}")?;
            }
        }
        let FaultCounts { kills, crashes, stops, guardian_kills, engine_stops } = self.faults;
        write!(f, "\nworkers hit: {kills} by SIGKILL, {crashes} by SIGSEGV, {stops} by SIGSTOP; ")?;
        writeln!(f, "the guardian was killed {guardian_kills} times, the engine stopped {engine_stops} times")?;
        let cancels: Vec<String> = self.cancels.iter().map(|(name, count)| format!("{count} {name}")).collect();
        write!(f, "cancellations: {}", cancels.join(", "))?;
        self.words.iter().try_for_each(|words| write!(f, "\n{words}"))
    }
}
