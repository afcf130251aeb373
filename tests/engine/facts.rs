//! Facts of a whole engine: complete, in order, and before their effects.

use std::collections::HashSet;
use std::time::Duration;

use axion_actors::testing::{FakeChild, FakeLauncher, Heard, Oracle};
use axion_actors::wire::{Down, encode_fact};
use axion_core::workflow::{Step, WorkflowSpec};
use axion_core::{
    CancelAnswer, Engine, EngineBuilder, EventStream, Fact, FactKind, Function, Part, Task, TaskId, Watched,
};
use serde_json::json;

use crate::support::{echoing, ended, scripted};

fn task() -> Task {
    Task::script("/facts.py")
}

/// The facts that are there already.
fn facts(events: &mut EventStream) -> Vec<Fact> {
    let fact = |watched| match watched {
        Watched::Fact(fact) => Some(fact),
        Watched::Notice(_) => None,
        other => panic!("missed events: {other:?}"),
    };
    std::iter::from_fn(|| events.try_next()).filter_map(fact).collect()
}

fn kinds_of(facts: &[Fact], task: TaskId) -> Vec<&'static str> {
    facts.iter().filter(|fact| fact.kind.task() == Some(task)).map(|fact| fact.kind.info().name).collect()
}

#[test]
fn l13_a_record_never_comes_before_its_fact() {
    let engine = echoing(2, 0);
    let mut events = engine.watch();
    let mut finished = HashSet::new();
    for _ in 0..500 {
        let record = ended(engine.submit(task()).expect("accepted"));
        finished.extend(facts(&mut events).into_iter().filter_map(|fact| match fact.kind {
            FactKind::TaskFinished { record } => Some(record.id),
            _ => None,
        }));
        assert!(finished.contains(&record.id), "its fact was not there when its waiter was woken");
    }
}

#[test]
fn l13_an_answer_never_comes_before_its_fact() {
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let mut events = engine.watch();
    for _ in 0..100 {
        let id = engine.submit(task()).expect("accepted").id();
        assert_eq!(engine.cancel(id), Ok(CancelAnswer::Removed));
        assert_eq!(kinds_of(&facts(&mut events), id), ["task_accepted", "cancel_requested", "task_finished"]);
        let id = engine.submit(task()).expect("accepted").id();
        assert_eq!(engine.withdraw(id), Ok(true));
        assert_eq!(kinds_of(&facts(&mut events), id), ["task_accepted", "cancel_requested", "task_finished"]);
        let flow = engine.submit_workflow(WorkflowSpec::of([Step::new("a", task())])).expect("accepted");
        let accepted =
            |fact: &Fact| matches!(&fact.kind, FactKind::WorkflowAccepted { workflow, .. } if *workflow == flow.id());
        assert!(facts(&mut events).iter().any(accepted));
    }
}

/// What a worker is told, by a thread of its own, against the facts that are there at that moment.
#[test]
fn l13_no_order_reaches_a_worker_before_its_fact() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let mut events = engine.watch();
    let mut child: FakeChild = children.blocking_recv().expect("launched");
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async move {
            child.ready().await;
            let (mut sent, mut kills) = (HashSet::new(), 0);
            let mut note = |events: &mut EventStream| {
                for fact in facts(events) {
                    match fact.kind {
                        FactKind::TaskSent { seq, .. } => drop(sent.insert(seq)),
                        FactKind::KillOrdered { .. } => kills += 1,
                        _ => {}
                    }
                }
                (sent.clone(), kills)
            };
            let (mut runs, mut killed, mut held) = (0, 0, None);
            while let Some(heard) = child.hears().await {
                let (sent, kills) = note(&mut events);
                match heard {
                    Heard::Data(Down::Run { seq, .. }) => {
                        assert!(sent.contains(&seq), "task {seq} was sent before its fact");
                        runs += 1;
                        if runs % 50 == 0 {
                            held = Some(seq);
                        } else {
                            child.done(seq).await;
                        }
                    }
                    Heard::KillAttempt(seq) => {
                        killed += 1;
                        assert!(kills >= killed, "a kill was ordered before its fact");
                        // Under load, a kill can come for an attempt that has been answered.
                        if held.take_if(|it| *it == seq).is_some() {
                            child.done(seq).await;
                        }
                        child.event(axion_actors::process::ChildEvent::Spared { seq }).await;
                    }
                    Heard::Finish | Heard::Kill => break,
                    _ => {}
                }
            }
            child.exits(axion_core::ProcessExit::Code(0), &[]).await;
            (runs, killed)
        })
    });
    for _ in 0..200 {
        ended(engine.submit(task().timeout(Duration::from_millis(20))).expect("accepted"));
    }
    engine.shutdown(Duration::ZERO);
    let (runs, killed) = worker.join().expect("every order came after its fact");
    assert!(runs >= 200 && killed >= 4, "{runs} tasks, {killed} kills");
}

/// The facts of an engine from its first to its last. They break no law, and every task has its outcome.
fn judged(mut builder: EngineBuilder, work: impl FnOnce(&Engine)) -> (Oracle, Vec<Fact>) {
    let mut events = builder.watch();
    let engine = builder.start_with(|| Box::new(FakeLauncher::echo())).expect("starts");
    work(&engine);
    engine.shutdown(Duration::from_secs(30));
    let (mut oracle, mut all) = (Oracle::default(), Vec::new());
    while let Some(watched) = events.wait_next() {
        match watched {
            Watched::Fact(fact) => {
                oracle.observe(&fact).unwrap_or_else(|broken| panic!("{broken}: {fact:?}"));
                all.push(fact);
            }
            Watched::FactsMissed(count) => oracle.missed(count),
            _ => {}
        }
    }
    assert_eq!(oracle.finish(), Ok(Vec::new()), "L1");
    (oracle, all)
}

#[test]
fn l13_the_facts_of_an_engine_fold_from_its_start_to_its_end() {
    let builder = Engine::builder().cpu_workers(2).io_workers(1);
    let (oracle, all) = judged(builder, |engine| {
        let handles: Vec<_> = (0..300).map(|_| engine.submit_wait(task()).expect("accepted")).collect();
        let flow = WorkflowSpec::of([Step::new("a", task()), Step::new("b", task()).after("a")]);
        engine.submit_workflow(flow).expect("accepted").wait().expect("a record");
        for handle in handles {
            ended(handle);
        }
    });
    let state = oracle.state();
    assert_eq!((state.accepted, state.outcomes.succeeded), (302, 302));
    assert!(state.tasks.is_empty() && state.workflows.is_empty() && state.workers.is_empty(), "{state:?}");
    assert_eq!(state.workflow_records.len(), 1);
    assert!(!state.running);
    assert_eq!(all.first().map(|fact| fact.id.number), Some(1));
    assert_eq!(all.first().map(|fact| fact.kind.info().name), Some("engine_started"));
    assert_eq!(all.last().map(|fact| fact.kind.info().name), Some("engine_ended"));
    let launched = all.iter().filter(|fact| matches!(fact.kind, FactKind::WorkerLaunched { .. })).count();
    assert_eq!(launched, 3);
}

#[test]
fn l17_no_environment_variable_is_in_a_fact() {
    let mut config = axion_core::Config { max_restarts: 77, ..Default::default() };
    config.cpu_bound_worker.env.insert("TOKEN".to_owned(), "s3cret".to_owned());
    let (_, all) = judged(Engine::builder().config(config).cpu_workers(1).io_workers(0), |_| {});
    let FactKind::EngineStarted { settings, .. } = &all[0].kind else { panic!("{:?}", all[0]) };
    assert_eq!(settings.get("max_restarts").map(String::as_str), Some("77"));
    assert!(!json!(all).to_string().contains("s3cret"));
}

#[test]
fn l9_a_refused_submission_is_a_counted_fact() {
    let (engine, _children) = scripted(Engine::builder().cpu_workers(1).io_workers(0).input_queue_size(1));
    let mut events = engine.watch();
    let first = engine.submit(task()).expect("accepted");
    assert!(engine.submit(task()).is_err());
    // Refusals are told of by the next turn.
    engine.cancel(first.id()).expect("it lives");
    let refused = facts(&mut events).into_iter().find_map(|fact| match fact.kind {
        FactKind::SubmissionsRefused { counts } => Some(counts.into_values().sum::<u64>()),
        _ => None,
    });
    assert_eq!(refused, Some(1));
}

/// The table of kinds, as `docs/reference/facts.md` has it.
fn table() -> String {
    let mut text = "| code | event | meaning | fields |\n| --- | --- | --- | --- |\n".to_owned();
    for kind in axion_actors::model::KIND_TABLE {
        let fields = kind.fields.iter().map(|(name, meaning)| format!("`{name}`: {}", meaning.trim()));
        let fields = fields.collect::<Vec<_>>().join("<br>").replace('|', "\\|");
        text += &format!("| {} | `{}` | {} | {fields} |\n", kind.code, kind.name, kind.meaning.trim());
    }
    text
}

/// `AXION_WRITE_GOLDEN=1` writes it anew.
#[test]
fn the_page_of_facts_has_every_kind_with_its_fields() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/facts.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let (before, rest) = page.split_once("<!-- kinds -->\n").expect("the table begins");
    let (inside, after) = rest.split_once("<!-- end of kinds -->").expect("the table ends");
    if std::env::var_os("AXION_WRITE_GOLDEN").is_some() {
        let whole = format!("{before}<!-- kinds -->\n{}<!-- end of kinds -->{after}", table());
        std::fs::write(path, whole).expect("written");
    } else {
        assert_eq!(inside, table(), "docs/reference/facts.md");
    }
}

#[test]
fn l17_no_fact_has_a_secret_part_of_a_function() {
    let (engine, mut children) = scripted(Engine::builder().cpu_workers(1).io_workers(0));
    let mut events = engine.watch();
    let parts = [Part::new(&b"public"[..]), Part::secret(&b"the-authkey"[..])];
    let function = Function::with_parts("f", &b"\x80code"[..], parts.clone().into());
    let first = engine.submit(Task::call(function.clone(), &b"\x80args"[..])).expect("accepted");
    let step = Step::new("a", Task::call(function.clone(), &b"\x80args"[..]));
    engine.submit_workflow(WorkflowSpec::of([step])).expect("accepted");
    let mut child: FakeChild = children.blocking_recv().expect("launched");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let defined = runtime.block_on(async {
        child.ready().await;
        let mut defined = Vec::new();
        while let Some(heard) = child.hears().await {
            match heard {
                Heard::Data(Down::Define { part, .. }) => defined.push(part),
                Heard::Data(Down::Call { seq, .. }) => {
                    child.done(seq).await;
                    break;
                }
                _ => {}
            }
        }
        defined
    });
    assert_eq!(defined, [parts[0].id(), parts[1].id(), function.id()], "the worker has it");
    ended(first);
    let facts = facts(&mut events);
    assert!(facts.iter().any(|fact| matches!(fact.kind, FactKind::TaskAccepted { .. })));
    assert!(facts.iter().any(|fact| matches!(fact.kind, FactKind::WorkflowAccepted { .. })));
    let (mut stored, mut seen) = (Vec::new(), 0);
    for fact in &facts {
        encode_fact(fact, &mut stored).expect("it can be stored");
        let json = serde_json::to_string(fact).expect("it has a JSON form");
        for text in [json, format!("{fact:?}")] {
            assert!(!text.contains("the-authkey"), "{text}");
        }
    }
    for bytes in stored.windows(6) {
        assert_ne!(bytes, b"the-au");
        seen += usize::from(bytes == b"public");
    }
    assert!(seen > 0, "what is not secret is there");
}
