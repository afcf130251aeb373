//! Tasks on real Python processes.

use std::process::Command;
use std::sync::{Arc, Mutex};

use axion_core::{Config, Engine, ErrorKind, Notice, NoticeKind, PoolKind, Task, Watched};
use serde_json::json;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    Gate, ended, engine, entry, exactly, executable, is_alone, on_io, repeat_until, run, script, until, value,
};

#[test]
fn c0_1_a_script_with_main_gets_its_parameters_and_returns_its_data() {
    let engine = engine(1, 1);
    for task in [entry("double", json!({"value": 42})), on_io(entry("double", json!({"value": 42})))] {
        let record = run(&engine, task);
        assert_eq!(value(&record), json!({"result": 84, "status": "success"}));
        assert!(record.timings.run_seconds() > 0.0);
        assert!(record.timings.submitted <= record.timings.finished);
    }
}

#[test]
fn c1_1_a_script_with_module_works_too() {
    let engine = engine(1, 0);
    let task = Task::script(script("module_entry.py")).params(&json!({"value": 10})).expect("JSON");
    assert_eq!(value(&run(&engine, task)), json!({"result": 20, "status": "ok"}));
}

#[test]
fn c0_2_the_context_names_task_worker_and_attempt() {
    let engine = engine(1, 1);
    for (task, worker) in [(entry("context", json!({})), "cpu-0"), (on_io(entry("context", json!({}))), "io-0")] {
        let id = task.id().to_string();
        let record = run(&engine, task);
        assert_eq!(value(&record), json!([id, worker, 1]));
        assert_eq!(record.worker.expect("ran").id.to_string(), worker);
    }
}

#[test]
fn c0_3_every_failure_is_typed_and_says_what_and_where() {
    let engine = engine(1, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        Task::script(path)
    };
    let cases = [
        (file("empty.py", ""), ErrorKind::EntryMissing, "main(params, context)"),
        (file("syntax.py", "def main(:\n"), ErrorKind::ScriptSyntax, "syntax.py"),
        (Task::script(folder.path().join("missing.py")), ErrorKind::ScriptNotFound, "missing.py"),
        (entry("raise", json!({})), ErrorKind::Exception, "the value is bad"),
        (entry("sys_exit", json!({})), ErrorKind::SystemExit, "3"),
        (entry("not_json", json!({})), ErrorKind::ResultNotSerializable, "result['rows'][1]['when'] is of type set"),
    ];
    for (task, kind, words) in cases {
        let record = run(&engine, task);
        let error = record.outcome.error().unwrap_or_else(|| panic!("{kind}: {:?}", record.outcome));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{kind}: {}", error.message);
    }
    let record = run(&engine, entry("raise", json!({})));
    let error = record.outcome.error().expect("failed");
    assert_eq!(error.exception.as_deref(), Some("ValueError"));
    assert_eq!(error.causes[0].exception, "KeyError");
    let traceback = error.traceback.as_deref().expect("a traceback");
    assert!(traceback.contains("raise ValueError(\"the value is bad\") from error"), "{traceback}");
    assert!(!traceback.contains("_axion_worker"), "no frames of the runtime: {traceback}");
}

#[test]
fn c4_4_coroutines_of_one_worker_run_at_the_same_time() {
    let engine = engine(0, 1);
    let meet = |me, other| {
        let params = json!({"me": me, "other": other});
        engine.submit(on_io(Task::script(script("meeting.py")).params(&params).expect("JSON"))).expect("accepted")
    };
    let both = [meet("a", "b"), meet("b", "a")];
    assert_eq!(both.map(|handle| value(&ended(handle))), [json!("a"), json!("b")]);
}

#[test]
fn what_is_written_below_python_belongs_to_the_task_that_runs_while_it_is_read() {
    let engine = engine(1, 1);
    for pool in [PoolKind::Cpu, PoolKind::Io] {
        let (mut events, gate) = (engine.watch(), Gate::new());
        let task = entry("write_and_wait", json!({"fifo": gate.fifo()})).on(pool);
        let id = task.id();
        let handle = engine.submit(task).expect("accepted");
        let mut heard = [String::new(), String::new()];
        while heard.iter().any(|it| !it.ends_with('\n')) {
            match events.wait_next().expect("the engine lives") {
                Watched::Notice(Notice { kind: NoticeKind::Output { task, stream, data, .. }, .. }) => {
                    assert_eq!(task, Some(id), "{stream:?}: {data:?}");
                    heard[stream as usize].push_str(std::str::from_utf8(&data).expect("text"));
                }
                Watched::Fact(_) | Watched::Notice(_) => {}
                other => panic!("missed events: {other:?}"),
            }
        }
        assert_eq!(heard, ["below on 1\n", "below on 2\n"]);
        gate.open("");
        let record = ended(handle);
        let output = record.output.as_ref().expect("it wrote");
        assert_eq!((output.stdout.text(), output.stderr.text()), ("below on 1\n".into(), "below on 2\n".into()));
    }
}

#[test]
fn output_of_every_kind_stays_with_its_task_also_when_tasks_are_sent_ahead() {
    let engine = engine(1, 0);
    let submit = |mark: usize| {
        let params = json!({"mark": mark, "subprocess": mark.is_multiple_of(50)});
        engine.submit_wait(entry("write_everywhere", params)).expect("accepted")
    };
    // Output that arrives between the end of one task and the start of the next belongs to neither. How often that
    // happens depends on the machine: in some batch, nearly all output is attributed.
    repeat_until("95 % of what 200 tasks write below Python is attributed", || {
        let handles: Vec<_> = (0..200).map(submit).collect();
        let (mut told, mut written) = (0, 0);
        for (mark, handle) in handles.into_iter().enumerate() {
            let record = ended(handle);
            let output = record.output.as_ref().expect("it wrote");
            let (out, err) = (output.stdout.text(), output.stderr.text());
            let raw = [("fd1", true), ("subprocess", mark % 50 == 0), ("fd2", true)];
            let raw: Vec<String> = raw.into_iter().filter(|it| it.1).map(|(who, _)| format!("{who} {mark}")).collect();
            let lines: Vec<&str> = out.lines().chain(err.lines()).collect();
            assert_eq!(lines.iter().filter(|line| **line == format!("print {mark}")).count(), 1, "{lines:?}");
            let of_raw = lines.iter().filter(|line| raw.iter().any(|it| it == *line)).count();
            assert_eq!(of_raw + 1, lines.len(), "of another task, or twice: {lines:?}");
            (told, written) = (told + of_raw, written + raw.len());
        }
        told * 100 >= written * 95
    });
}

#[test]
fn large_parameters_and_results_pass_and_larger_ones_are_refused_by_name() {
    let config = Config { payload_limit: Some(256 << 20), ..exactly(1, 0) };
    let engine = Engine::builder().config(config).start().expect("it starts");
    let text = "x".repeat(20 << 20);
    let record = run(&engine, entry("double", json!({"value": text})));
    assert_eq!(value(&record)["result"].as_str().expect("text").len(), 40 << 20);
    let record = run(&engine, entry("big", json!({"size": 200 << 20})));
    assert_eq!(record.outcome.data().expect("a success").0.len(), (200 << 20) + 2);
    let record = run(&engine, entry("big", json!({"size": 257 << 20})));
    assert_eq!(record.outcome.error().expect("refused").kind, ErrorKind::ResultTooLarge);
    assert!(run(&engine, entry("double", json!({"value": 1}))).outcome.is_success(), "the worker goes on");
}

#[test]
fn numbers_keep_all_their_digits() {
    let engine = engine(1, 0);
    let text = r#"{"do": "double", "value": 123456789012345678901234567890}"#;
    let record = run(&engine, Task::script(script("entry.py")).params_json(text).expect("JSON"));
    let data = record.outcome.data().expect("a success").as_str();
    assert!(data.contains("246913578024691357802469135780"), "{data}");
    assert!(serde_json::to_string(&*record).expect("a record").contains("246913578024691357802469135780"));
}

#[test]
fn a_worker_that_does_not_come_up_says_why_and_is_not_tried_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = folder.path().join("python3");
    executable(&python, "#!/bin/sh\necho 'this Python is broken' >&2\nexit 7\n");
    let engine = Engine::builder().cpu_workers(1).io_workers(0).python(&python).start().expect("starts");
    let record = run(&engine, entry("pid", json!({})));
    let error = record.outcome.error().expect("failed");
    assert_eq!(error.kind, ErrorKind::WorkerStartFailed);
    assert!(error.message.contains("exit code 7") && error.message.contains("this Python is broken"), "{error}");
    drop(engine);

    executable(&python, "not a program");
    let engine = Engine::builder().cpu_workers(1).io_workers(0).python(&python).start().expect("starts");
    let record = run(&engine, entry("pid", json!({})));
    let error = record.outcome.error().expect("failed");
    assert!(error.message.contains(&python.display().to_string()), "{error}");
}

#[test]
fn a_named_interpreter_is_started_as_it_is_every_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = folder.path().join("wrapper");
    executable(&python, "#!/bin/sh\nexport FROM_WRAPPER=yes\nexec python3 \"$@\"\n");
    let engine = Engine::builder().cpu_workers(1).io_workers(0).python(&python).start().expect("starts");
    for _ in 0..2 {
        assert_eq!(value(&run(&engine, entry("environment", json!({"name": "FROM_WRAPPER"})))), json!("yes"));
        run(&engine, entry("exit", json!({"code": 1})).max_worker_losses(0));
    }
}

#[test]
fn l1_with_few_descriptors_an_engine_starts_or_says_why_and_leaves_nothing() {
    if !is_alone("children::l1_with_few_descriptors_an_engine_starts_or_says_why_and_leaves_nothing") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("listed").count();
    let most = getrlimit(Resource::Nofile);
    let limit = |current| setrlimit(Resource::Nofile, Rlimit { current, ..most }).expect("set");
    let attempt = || {
        let config = Config { runtime_dir: Some(folder.path().to_owned()), ..exactly(1, 0) };
        match Engine::builder().config(config).start() {
            Err(error) => error.to_string(),
            Ok(engine) => match &run(&engine, entry("double", json!({"value": 1}))).outcome {
                outcome if outcome.is_success() => String::new(),
                outcome => outcome.error().expect("failed").message.clone(),
            },
        }
    };
    assert_eq!(attempt(), "");
    let before = descriptors();
    let (mut refused, mut ran) = (0, 0);
    for count in (before as u64..before as u64 + 64).step_by(6) {
        limit(Some(count));
        let said = attempt();
        limit(most.current);
        assert!(said.is_empty() || said.contains("Too many open files"), "{count}: {said}");
        *(if said.is_empty() { &mut ran } else { &mut refused }) += 1;
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0, "{count}: {said}");
        until("its descriptors are closed", || descriptors() == before);
    }
    assert!(refused > 0 && ran > 0, "{refused} {ran}");
}

/// What is logged on this thread while an engine starts.
fn log_of_a_start() -> String {
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("whole").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_writer(move || Lines(writer.clone())).with_ansi(false).finish();
    drop(tracing::subscriber::with_default(log, || engine(1, 0)));
    let text = lines.lock().expect("whole").clone();
    String::from_utf8(text).expect("text")
}

#[test]
fn an_engine_that_adopts_orphans_warns_that_it_reaps_none() {
    const NAME: &str = "children::an_engine_that_adopts_orphans_warns_that_it_reaps_none";
    if std::process::id() == 1 {
        let log = log_of_a_start();
        return assert!(log.contains("process 1 of its container") && log.contains("--init"), "{log}");
    }
    if is_alone(NAME) {
        assert!(!log_of_a_start().contains("reaps"), "an ordinary process does not adopt any");
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("set");
        let log = log_of_a_start();
        return assert!(log.contains("a subreaper (PR_SET_CHILD_SUBREAPER)"), "{log}");
    }
    let in_namespace = |program: &std::ffi::OsStr| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program);
        command
    };
    if !in_namespace("true".as_ref()).output().is_ok_and(|made| made.status.success()) {
        eprintln!("SKIPPED: this system makes no PID namespace");
        return;
    }
    let program = std::env::current_exe().expect("known");
    let ran = in_namespace(program.as_os_str()).args(["--exact", NAME, "--nocapture"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && shown.contains("1 passed"), "{shown}");
}
