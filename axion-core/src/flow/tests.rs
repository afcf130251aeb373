//! Flow files: valid ones, and all mistakes in invalid ones.

use std::path::Path;
use std::time::Duration;

use axion_actors::model::workflow::{Enough, Memory, OnFailure, OnImpossible, Piece, UpstreamKeys};
use axion_actors::model::{Backoff, PoolId};
use proptest::prelude::*;

use super::*;
use crate::params::Params;

/// A folder with some scripts.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["work.py", "extract.py"] {
        std::fs::write(folder.path().join(name), "def main(params, context):\n    return 1\n").expect("written");
    }
    folder
}

fn parse(text: &str, format: Format, overrides: &Overrides) -> Result<Flow, Diagnostics> {
    let folder = folder();
    Flow::parse("flow", text, format, folder.path(), overrides)
}

fn toml(text: &str) -> Result<Flow, Diagnostics> {
    parse(text, Format::Toml, &Overrides::default())
}

/// Every problem as `line:column: message (help)`.
fn problems(text: &str) -> Vec<String> {
    let found = toml(text).expect_err("it is wrong");
    shown(&found)
}

fn shown(found: &Diagnostics) -> Vec<String> {
    let one = |it: &Diagnostic| {
        let place = found.place(it).map_or_else(String::new, |(line, column)| format!("{line}:{column}: "));
        let help = it.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        format!("{place}{}{help}", it.message)
    };
    found.all.iter().map(one).collect()
}

const FULL: &str = r#"
name = "nightly"
description = "everything at once"
on_failure = "stop"
stop_running = true
impossible = "cancel"
upstream = "both"

[limits]
processes = 2
threads = 4
cpu = 150.5
memory = "2G"
machine_memory = 8589934592
added_steps = 7
elements = 9

[params]
input = "a.csv"
many = [1, 2.50]

[[steps]]
name = "extract"
script = "extract.py"
pool = "io"
timeout = "1m"
soft_timeout = 30
ttl = 3600
retries = 3
retry_wait = "1.5s"
max_worker_losses = 0
keep_result = false
rate = { key = "api", limit = "600/m", burst = 5 }
concurrency = { key = "api", max = 2 }
params = { file = { "$param" = "input" }, deep = [{ x = { "$param" = "many" } }] }

[[steps]]
name = "each"
script = "work.py"
dynamic = false
rate = "10/s"
resources = { slots = 2, cpu = 12.6, memory = 34.7 }
map_over = { ref = "extract", path = "rows", as = "row", max_parallel = 4, succeed = 3 }

[[steps]]
name = "end"
script = "work.py"
depends_on = ["each"]
run_if = "all_done"
when = { all = [{ ref = "extract", path = "n", op = ">", value = 10 }, { not = { ref = "each" } }] }
params = { first = { "$ref" = "extract", path = "rows[0].id" } }
"#;

#[test]
fn every_key_reaches_the_workflow() {
    let flow = toml(FULL).unwrap_or_else(|found| panic!("{:#?}", shown(&found)));
    let spec = &flow.spec;
    assert_eq!((spec.name.as_str(), flow.description.as_deref()), ("nightly", Some("everything at once")));
    assert_eq!((spec.on_failure, spec.on_impossible), (OnFailure::StopRunning, OnImpossible::Cancel));
    assert_eq!((spec.upstream, spec.bounds.added, spec.bounds.elements), (UpstreamKeys::Both, 7, 9));
    assert_eq!((spec.capacity.processes, spec.capacity.threads), (Some(2), Some(4)));
    assert_eq!(spec.capacity.memory, Some(Memory::Bytes(2 << 30)));
    assert_eq!(spec.capacity.cpu.map(|it| it.to_string()).as_deref(), Some("150.5"));

    let [extract, each, end] = spec.steps.as_slice() else { panic!("three steps") };
    let options = extract.task().options();
    assert_eq!(extract.task().pool_id(), PoolId::IO);
    let seconds = [options.timeout, options.soft_timeout, options.ttl].map(|it| it.map(|it| it.as_secs()));
    assert_eq!(seconds, [Some(60), Some(30), Some(3600)]);
    assert_eq!((options.max_worker_losses, options.retry.max_retries), (0, 3));
    assert_eq!(options.retry.backoff, Backoff::Fixed(std::time::Duration::from_millis(1500)));
    assert_eq!(&extract.task().params_bytes()[..], br#"{"file":"a.csv","deep":[{"x":[1,2.5]}]}"#);
    let rate = extract.task().limits().and_then(|it| it.rate.as_ref()).expect("a rate");
    assert_eq!((&*rate.key, rate.count, rate.per.as_secs(), rate.burst), ("api", 600, 60, 5));
    assert_eq!(extract.task().limits().and_then(|it| it.concurrency.as_ref()).map(|it| it.max), Some(2));
    assert!(!extract.rules().keep_result);

    let map = each.rules().map_over.as_ref().expect("mapped");
    assert_eq!((map.list.to_string().as_str(), &*map.name), ("extract.rows", "row"));
    assert_eq!((map.max_parallel, map.enough), (Some(4), Enough::AtLeast(3)));
    let limits = each.task().limits().expect("limits");
    assert_eq!((limits.needs.slots, limits.needs.cpu.0), (2, 12_600));
    assert_eq!(limits.rate.as_ref().map(|it| &*it.key), Some("step each"));

    let when = end.rules().when.as_ref().expect("a condition").to_string();
    assert_eq!(when, "all(extract.n > 10, not(each truthy))");
    let names: Vec<String> = end.references().map(ToString::to_string).collect();
    assert_eq!(names, ["extract.rows[0].id", "extract.n", "each"]);
}

#[test]
fn toml_and_json_are_the_same_flow() {
    let value: toml::Table = toml::from_str(FULL).expect("TOML");
    let text = serde_json::to_string_pretty(&value).expect("JSON");
    let json = parse(&text, Format::Json, &Overrides::default()).unwrap_or_else(|found| panic!("{:#?}", shown(&found)));
    let toml = toml(FULL).expect("sound");
    let same = |flow: &Flow| {
        let steps =
            flow.spec.steps.iter().map(|it| format!("{:?} {:?} {:?}", it.name(), it.depends_on(), it.rules().when));
        (steps.collect::<Vec<_>>(), flow.spec.capacity, flow.spec.steps[0].rules().clone())
    };
    assert_eq!(same(&json), same(&toml));
}

#[test]
fn all_problems_come_at_once_each_with_its_place() {
    let text = r#"
nmae = "x"
[[steps]]
name = "extract"
script = "extarct.py"
pool = "GPU"
timeout = "soon"
[[steps]]
name = "load"
script = "work.py"
depends_on = ["extrct", "load"]
params = { a = { "$ref" = "nobody", path = "x[" }, b = { "$param" = "input" } }
retries = -1
[[steps]]
script = "work.py"
when = { ref = "load", op = "<" }
"#;
    let found = problems(text);
    let expected = [
        "2:1: the flow has no key `nmae` (did you mean `name`?)",
        "6:8: invalid pool name \"GPU\": expected 1 to 32 of a-z, 0-9, `_` and `-`, beginning with a letter",
        "7:11: `timeout` must be a time above 0: seconds as a number, or \"500ms\", \"1.5s\", \"10m\", \"2h\"",
        "11:15: load waits for the step `extrct`, and there is none (did you mean `extract`?)",
        "11:25: load waits for itself",
        "12:27: load waits for the step `nobody`, and there is none",
        "12:44: \"x[\" is not a path, at character 3: missing ] after the index; paths look like rows[0].id or [\"odd key\"].x",
        "12:69: the flow has no parameter `input` (add `input` to the flow's `params`)",
        "13:11: `retries` must be a whole number from 0 to 1000000",
        "14:1: a step needs the key `name` (Its name, its own in the flow, also in lower case.)",
        "16:29: `<` needs a `value` to compare with",
    ];
    let script = found.iter().find(|it| it.starts_with("5:10: there is no script at ")).expect("the script");
    assert!(script.ends_with("(did you mean `extract.py`?)"), "{script}");
    let rest: Vec<&String> = found.iter().filter(|it| *it != script).collect();
    assert_eq!(rest, expected);
}

#[test]
fn circles_and_names_that_clash_show_all_their_places() {
    let text = r#"
steps = [
  { name = "a", script = "work.py", depends_on = ["c"] },
  { name = "b", script = "work.py", depends_on = ["a"] },
  { name = "c", script = "work.py", depends_on = ["b"] },
  { name = "B", script = "work.py" },
  { name = "a", script = "work.py" },
]
"#;
    let found = toml(text).expect_err("a circle");
    assert_eq!(
        shown(&found),
        [
            "3:51: 3 steps wait for each other: a → b → c → a",
            "6:12: the steps b and B differ only in upper and lower case: rename one of them",
            "7:12: two steps are called `a`",
        ]
    );
    let related: Vec<&str> = found.all[0].related.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!((found.all[0].label.as_str(), related), ("a waits for c", vec!["b waits for a", "c waits for b"]));
    assert_eq!(&text[found.all[2].related[0].0.clone()], "\"a\"");
}

#[test]
fn a_step_without_a_name_moves_no_other_picture() {
    let text = r#"
steps = [
  { script = "work.py" },
  { name = "first", script = "work.py" },
  { name = "x", script = "work.py", depends_on = ["y"] },
  { name = "y", script = "work.py", depends_on = ["x"] },
  { name = "Y", script = "work.py" },
]
"#;
    let found = toml(text).expect_err("a circle");
    let circle = found.all.iter().find(|it| it.message.contains("wait for each other")).expect("the circle");
    assert_eq!((&text[circle.span.clone().expect("a place")], circle.label.as_str()), ("\"y\"", "x waits for y"));
    assert_eq!((&text[circle.related[0].0.clone()], circle.related[0].1.as_str()), ("\"x\"", "y waits for x"));
    let similar = found.all.iter().find(|it| it.message.contains("differ only in upper")).expect("the name");
    assert_eq!(&text[similar.related[0].0.clone()], "\"y\"");
}

#[test]
fn a_step_is_not_suggested_as_its_own_dependency_and_short_names_must_share_a_letter() {
    let text = r#"
steps = [
  { name = "load", script = "work.py", depends_on = ["loda"] },
  { name = "a", script = "work.py", depends_on = ["b"] },
]
"#;
    let expected = [
        "3:54: load waits for the step `loda`, and there is none",
        "4:51: a waits for the step `b`, and there is none",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn c3_2_needs_beyond_the_limits_are_shown_where_they_stand() {
    let text = r#"
[limits]
processes = 2
cpu = 10
memory = 25
[[steps]]
name = "p3"
script = "work.py"
resources = { slots = 3 }
[[steps]]
name = "p4"
script = "work.py"
resources = { cpu = 12.6, memory = 34.7 }
"#;
    let help = "(lower `resources`, raise the flow's `limits`, or set impossible = \"cancel\")";
    let expected = [
        format!("9:13: p3 can never run: short of 1 process {help}"),
        format!("13:13: p4 can never run: short of 2.6 % CPU and 9.7 % memory {help}"),
    ];
    assert_eq!(problems(text), expected);
    toml(&format!("impossible = \"cancel\"\n{text}")).expect("they are cancelled");
}

#[test]
fn texts_that_are_neither_toml_nor_json_say_where() {
    let found = problems("a = \nb = 1 2\n");
    assert!(found.len() >= 2 && found[0].starts_with("1:") && found[1].starts_with("2:"), "{found:?}");
    for (text, place) in
        [("{\"steps\": [}", "1:12: this is not JSON: expected value"), ("{\n \"ä\" 1}", "2:6: this is not JSON")]
    {
        let found = parse(text, Format::Json, &Overrides::default()).expect_err("not JSON");
        assert!(shown(&found)[0].starts_with(place), "{:?}", shown(&found));
    }
    let twice = parse(r#"{"steps": [], "steps": []}"#, Format::Json, &Overrides::default()).expect_err("twice");
    let words = ["1:11: a workflow needs at least one step", "1:15: the key `steps` stands here twice"];
    assert_eq!(shown(&twice), words);
    let deep = format!("{{\"steps\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    let deep = parse(&deep, Format::Json, &Overrides::default()).expect_err("too deep");
    assert!(shown(&deep).iter().any(|it| it.contains("nested more than 64 deep")), "{:?}", shown(&deep));
}

#[test]
fn an_unreadable_value_hides_no_other_mistake_and_is_reported_once() {
    let text = r#"
limits = { processes = 0 }
[[steps]]
name = "a"
script = "work.py"
resources = { slots = 0, cpu = nan }
depends_on = "b"
map_over = { ref = "c", succeed = 0, max_parallel = 0 }
"#;
    let expected = [
        "2:24: `processes` must be a whole number from 1 to 4294967295",
        "6:23: `slots` must be a whole number from 1 to 4294967295",
        "6:32: this number has no form in JSON",
        "7:14: `depends_on` must be a list, not a text (write [\"b\"])",
        "8:20: a waits for the step `c`, and there is none",
        "8:35: `succeed` must be one of \"all\", \"any\" or a whole number from 1 to 1000000",
        "8:53: `max_parallel` must be a whole number from 1 to 4294967295",
    ];
    assert_eq!(problems(text), expected);
    let help = "(begin each with [[steps]] in TOML, or put them into [] in JSON)";
    assert_eq!(problems("[steps]\nname = \"a\"\n"), [format!("1:1: `steps` must be a list, not a table {help}")]);
    let twice = r#"{"name": "x", "name": "y", "steps": [{"name": "a", "script": "work.py", "depends_on": ["b"]}]}"#;
    let found = parse(twice, Format::Json, &Overrides::default()).expect_err("two mistakes");
    assert_eq!(
        shown(&found),
        ["1:15: the key `name` stands here twice", "1:88: a waits for the step `b`, and there is none"]
    );
}

#[test]
fn keys_without_effect_are_refused() {
    let text = r#"
[[steps]]
name = "a"
script = "work.py"
retry_wait = 2
timeout = "2s"
soft_timeout = 2
[[steps]]
name = "b"
script = "work.py"
when = { any = [{ ref = "a" }, { not = { ref = "a" }, path = "x" }], op = "==", value = 3 }
dynamic = true
map_over = { ref = "a" }
"#;
    let expected = [
        "5:1: `retry_wait` has no effect without `retries`",
        "7:1: `soft_timeout` has no effect together with a `timeout` that is not longer",
        "11:55: `path` has no effect together with `not`: it belongs to a `ref`",
        "11:70: `op` has no effect together with `any`: it belongs to a `ref`",
        "11:81: `value` has no effect together with `any`: it belongs to a `ref`",
        "12:1: `dynamic` has no effect together with `map_over`: instances add no steps",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn sizes_and_counts_are_read_as_the_schema_says() {
    let read = |memory: &str, slots: &str| {
        let step = format!(
            "{{\"name\":\"a\",\"script\":\"work.py\",\"resources\":{{\"slots\":{slots},\"memory\":{memory}}}}}"
        );
        let flow = parse(&format!("{{\"steps\":[{step}]}}"), Format::Json, &Overrides::default()).ok()?;
        let needs = flow.spec.steps[0].task().limits()?.needs;
        let Some(Memory::Bytes(bytes)) = needs.memory else { return None };
        Some((bytes, needs.slots))
    };
    for memory in ["0", "0G", "-5", "5iB", "5KBB", "5KIBIB", "G", ""] {
        assert_eq!(read(&format!("\"{memory}\""), "1"), None, "{memory}");
    }
    for (slots, count) in [("20", Some(20)), ("2.0", Some(2)), ("2.5", None), ("0.0", None), ("2e0", None)] {
        assert_eq!(read("\"1G\"", slots), count.map(|count| (1 << 30, count)), "{slots}");
    }
}

/// Texts that every key for a size or a time accepts.
const SIZES: [(&str, u64); 12] = [
    ("10", 10),
    ("5B", 5),
    ("5 KiB", 5 << 10),
    ("64k", 64 << 10),
    ("2MB", 2 << 20),
    ("200M", 200 << 20),
    ("1.5g", 3 << 29),
    (".5G", 1 << 29),
    ("1.G", 1 << 30),
    ("+1T", 1 << 40),
    ("1e3", 1000),
    (" 5G ", 5 << 30),
];
const TIMES: [(&str, u64); 8] = [
    ("2", 2000),
    ("0.5", 500),
    ("500ms", 500),
    ("1.5s", 1500),
    (" 10m ", 600_000),
    ("2h", 7_200_000),
    ("1h 30m", 5_400_000),
    ("PT90S", 90_000),
];

#[test]
fn sizes_and_times_mean_the_same_in_a_flow_a_configuration_and_an_option() {
    use crate::{ConfigLoader, parse_size, parse_time};
    let config = |key: &str, text: &str| {
        let loaded = ConfigLoader::new().no_file().variables([(key, text)]).load();
        loaded.unwrap_or_else(|error| panic!("{key}={text}: {error}")).config
    };
    let step = |key: &str, value: &str| {
        let text = format!("[[steps]]\nname = \"a\"\nscript = \"work.py\"\n{key} = {value}\n");
        toml(&text).unwrap_or_else(|found| panic!("{key} = {value}: {found:?}")).spec.steps.remove(0)
    };
    for (text, bytes) in SIZES {
        assert_eq!(parse_size(text), Some(bytes), "{text}");
        assert_eq!(
            config("AXION_CPU_BOUND_WORKER_TASK_MEMORY_LIMIT", text).cpu_bound_worker.task_memory_limit,
            Some(bytes)
        );
        let needs = step("resources", &format!("{{ memory = \"{text}\" }}")).task().limits().expect("limits").needs;
        assert_eq!(needs.memory, Some(Memory::Bytes(bytes)), "{text}");
    }
    for (text, millis) in TIMES {
        let time = Duration::from_millis(millis);
        assert_eq!(parse_time(text), Some(time), "{text}");
        assert_eq!(config("AXION_RESULT_TTL", text).result_ttl, Some(time));
        assert_eq!(step("timeout", &format!("\"{text}\"")).task().options().timeout, Some(time), "{text}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped() {
    for (text, format) in [("\u{feff}name = 1", Format::Toml), ("\u{feff}{\"name\": 1}", Format::Json)] {
        let found = parse(text, format, &Overrides::default()).expect_err("no name");
        let column = if format == Format::Toml { 8 } else { 10 };
        let words = format!("1:{column}: `name` must be a text that is not empty");
        assert!(shown(&found).contains(&words), "{:?}", shown(&found));
    }
}

#[test]
fn l9_a_flow_that_is_not_text_or_never_ends_is_refused() {
    let folder = folder();
    let path = folder.path().join("flow.toml");
    std::fs::write(&path, b"name = \"x\"\ndescription = \"\xe9\"\n").expect("written");
    let words = |path: &Path| Flow::load(path, &Overrides::default()).expect_err("no flow").to_string();
    assert!(words(&path).ends_with("is not UTF-8 text: see its line 2, and save it as UTF-8"), "{}", words(&path));
    assert_eq!(words(Path::new("/dev/zero")), "the flow /dev/zero has more than 16777216 bytes, which is the limit");
}

#[test]
fn a_flow_without_steps_and_a_file_without_a_flow_are_refused() {
    assert_eq!(problems("steps = []"), ["1:9: a workflow needs at least one step"]);
    assert_eq!(problems("name = \"x\""), ["1:1: the flow needs the key `steps` (The steps, in any order.)"]);
    let list = parse("[1]", Format::Json, &Overrides::default()).expect_err("a list");
    assert_eq!(shown(&list), ["1:1: the flow must be a table, not a list"]);
}

fn with(params: Option<&str>, set: &[&str]) -> Result<String, Vec<String>> {
    let text = r#"
[params]
input = "a"
[[steps]]
name = "one.two"
script = "work.py"
params = { file = { "$param" = "input" }, list = [1, 2] }
"#;
    let set = set.iter().map(|it| (*it).to_owned()).collect();
    let params = params.map_or_else(Params::default, |text| Params::from_json("--params", text).expect("JSON"));
    match parse(text, Format::Toml, &Overrides { params, set }) {
        Ok(flow) => Ok(String::from_utf8_lossy(flow.spec.steps[0].task().params_bytes()).into_owned()),
        Err(found) => Err(shown(&found)),
    }
}

#[test]
fn parameters_are_replaced_from_outside() {
    assert_eq!(with(None, &[]).as_deref(), Ok(r#"{"file":"a","list":[1,2]}"#));
    let big = r#"{"input": 123456789012345678901234567890}"#;
    assert_eq!(with(Some(big), &[]).as_deref(), Ok(r#"{"file":123456789012345678901234567890,"list":[1,2]}"#));
    let set = ["one.two.file=plain text", "one.two.list[1]={\"x\": null}", "one.two.new.deep=true"];
    assert_eq!(with(None, &set).as_deref(), Ok(r#"{"file":"plain text","list":[1,{"x":null}],"new":{"deep":true}}"#));
}

#[test]
fn l9_a_large_parameter_of_the_flow_is_there_once_however_many_steps_take_it() {
    let steps: String = (0..100)
        .map(|n| {
            format!("[[steps]]\nname = \"s{n}\"\nscript = \"work.py\"\nparams = {{ x = {{ \"$param\" = \"big\" }} }}\n")
        })
        .collect();
    let text = format!("[params]\nbig = [\"{}\", {{ \"$ref\" = \"s0\", pth = 1 }}]\n{steps}", "x".repeat(10_000));
    // Its mistake is reported once, too.
    let found = problems(&text);
    assert_eq!(found.iter().filter(|it| it.contains("a reference has no key `pth`")).count(), 1, "{found:?}");
    let flow = toml(&text.replace(", { \"$ref\" = \"s0\", pth = 1 }", "")).expect("sound");
    let long = |step: &Step| {
        let pieces = step.rules().params.iter().flat_map(|it| it.pieces()).map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Ref(_) => panic!("no reference"),
        });
        pieces.max_by_key(|text| text.len()).expect("a text")
    };
    assert_eq!(long(&flow.spec.steps[0]).len(), 10_004);
    assert_eq!(long(&flow.spec.steps[0]).as_ptr(), long(&flow.spec.steps[99]).as_ptr());
}

#[test]
fn an_override_that_replaces_nothing_is_refused() {
    for (params, set, message) in [
        (Some("[]"), &[][..], "--params must be a JSON object, not a list"),
        (Some("{\"inptu\": 1}"), &[], "--params: the flow has no parameter `inptu` (did you mean `input`?)"),
        (None, &["x"], "--set x: expected STEP.KEY=VALUE"),
        (None, &["x=1"], "--set x=1: expected STEP.KEY=VALUE"),
        (None, &[".x=1"], "--set .x=1: expected STEP.KEY=VALUE"),
        (None, &["one.tow.x=1"], "--set one.tow.x=1: the flow has no step `one`"),
        (
            None,
            &["one.two.file.x=1"],
            "--set one.two.file.x=1: `file` stands for `input`: set the whole of it, or use -p",
        ),
        (None, &["one.two.x={\"y\":1,\"y\":2}"], "--set one.two.x={\"y\":1,\"y\":2}: the key `y` stands here twice"),
        (None, &["one.two.list.x=1"], "--set one.two.list.x=1: `list.x` leads nowhere: it ends at a list"),
    ] {
        assert_eq!(with(params, set), Err(vec![message.to_owned()]));
    }
    let moved = with(Some(r#"{"input": {"$ref": "nobody"}}"#), &[]).expect_err("unknown");
    assert_eq!(moved, ["3:9: one.two waits for the step `nobody`, and there is none"]);
}

#[test]
fn a_parameter_by_key_replaces_one_of_the_flow_as_the_text_does() {
    let text = "[params]\nrows = 1\n[[steps]]\nname = \"a\"\nscript = \"work.py\"\nparams = { x = { \"$param\" = \"rows\" } }\n";
    let mut params = Params::from_json("file.json", r#"{"rows": 2}"#).expect("JSON");
    params.set("rows", "3").expect("set");
    let flow = parse(text, Format::Toml, &Overrides { params: params.clone(), set: Vec::new() }).expect("sound");
    assert_eq!(&flow.spec.steps[0].task().params_bytes()[..], br#"{"x":3}"#);
    params.set_text("row", "1.10").expect("set");
    let set = vec!["a.version=1.10".to_owned(), "a.dry=True".to_owned()];
    let found = shown(&parse(text, Format::Toml, &Overrides { params, set }).expect_err("unknown"));
    assert_eq!(
        found,
        [
            "-s row=1.10: the flow has no parameter `row` (did you mean `rows`?)",
            "--set a.version=1.10: this number would lose its last zero (write --set a.version=1.1 for the value, \
             or --set 'a.version=\"1.10\"' for the text)",
            "--set a.dry=True: True is Python, and would be a text (write --set a.dry=true for the value, or --set \
             'a.dry=\"True\"' for the text)",
        ]
    );
}

#[test]
fn a_key_that_is_nearly_one_of_a_reference_is_refused_and_other_dollars_are_data() {
    let with = |params: &str| format!("[[steps]]\nname = \"a\"\nscript = \"work.py\"\nparams = {{ x = {params} }}\n");
    for (params, meant) in [
        (r#"{ "$params" = "a" }"#, "$param"),
        (r#"[{ "$Ref" = "a" }]"#, "$ref"),
        (r#"{ y = { "$parm" = 1 } }"#, "$param"),
    ] {
        let found = problems(&with(params));
        assert!(found.len() == 1 && found[0].ends_with(&format!("(did you mean `{meant}`?)")), "{found:?}");
    }
    assert!(toml(&with(r#"{ "$schema" = "a", "$set" = 1, "$eq" = 2, "$gt" = 3 }"#)).is_ok());
    let rules = step_rules(r#"{"params": {"x": {"$rfe": "a"}}}"#).expect_err("misspelt");
    assert_eq!(shown(&rules), ["1:19: `$rfe` makes no reference (did you mean `$ref`?)"]);
}

#[test]
fn a_reference_may_have_a_default_with_parameters_of_the_flow_and_without_references() {
    let flow = |params: &str, rest: &str| {
        format!(
            "[params]\nn = 12345678901234567890\n[[steps]]\nname = \"a\"\nscript = \"work.py\"\n[[steps]]\nname = \"b\"\nscript \
             = \"work.py\"\nrun_if = \"all_done\"\nparams = {{ x = {params} }}\n{rest}"
        )
    };
    let params = r#"{ "$ref" = "a", path = "p", default = { n = { "$param" = "n" }, "$schema" = [1.5] } }"#;
    let rest = "when = { ref = \"a\", default = false }\nmap_over = { ref = \"a\", path = \"rows\", default = [] }\n";
    let sound = toml(&flow(params, rest)).unwrap_or_else(|found| panic!("{:#?}", shown(&found)));
    let defaults: Vec<_> = sound.spec.steps[1].references().map(|it| it.default.as_deref()).collect();
    let first = r#"{"n":12345678901234567890,"$schema":[1.5]}"#;
    assert_eq!(defaults, [Some(first), Some("false"), Some("[]")]);

    let words = "the default of a reference cannot contain a reference";
    let found = problems(&flow(r#"{ "$ref" = "a", default = [{ "$ref" = "nobody" }] }"#, ""));
    assert_eq!(found, [format!("10:42: {words}")]);
    let found = problems(&flow(r#"{ "$ref" = "a", defualt = 1 }"#, ""));
    assert_eq!(found, ["10:32: a reference has no key `defualt` (did you mean `default`?)"]);
}

#[test]
fn a_part_of_a_flow_is_the_named_steps_and_all_that_they_wait_for() {
    let step = |name: &str, more: &str| format!("[[steps]]\nname = \"{name}\"\nscript = \"work.py\"\n{more}\n");
    let text = [
        step("report", "params = { x = { \"$ref\" = \"clean\", path = \"n\" }, y = 1 }"),
        step("load", ""),
        step("other", "depends_on = [\"load\"]"),
        step("clean", "depends_on = [\"load\"]\npool = \"gpu\"\ntimeout = 5\nretries = 2\ntotal_timeout = \"1m\""),
        step("last", "when = { ref = \"other\" }"),
    ]
    .concat();
    let names = |flow: &Flow| flow.spec.steps.iter().map(Step::title).collect::<Vec<_>>();
    let mut flow = toml(&text).expect("sound");
    flow.only(&["report".to_owned()]).expect("known");
    assert_eq!(names(&flow), ["report", "load", "clean"]);
    let plan = "  1  load    work.py\n       params {}\n  2  clean   work.py  after load; gpu\n       params {}\n       timeout 5 s, \
                total timeout 1 min, retries 2\n  3  report  work.py  after clean\n       params \
                {\"x\":{\"$ref\":\"clean\",\"path\":\"n\"},\"y\":1}\n";
    assert_eq!(super::plan(&flow.spec), plan);
    // A mistake that is found later is still at its place.
    let found = flow.check_pools(&Config::default()).expect_err("no such pool");
    assert_eq!(
        found.place(&found.all[0]).map(|it| it.0),
        Some(text[..text.find("gpu").expect("there")].lines().count())
    );
    let wrong = flow.only(&["reprot".to_owned()]).expect_err("unknown");
    assert_eq!(
        (wrong.message.as_str(), wrong.help.as_deref()),
        ("the flow has no step `reprot`", Some("did you mean `report`?"))
    );
}

#[test]
fn yaml_gets_one_sentence_whatever_the_file_is_called() {
    let yaml = "# the flow\nname: etl\nsteps:\n  - name: a\n    script: work.py\n";
    let words = "YAML is not read: write the flow as TOML, or as JSON in a file whose name ends in .json";
    for (text, place) in [(yaml, "2:1"), ("---\nx", "1:1"), ("- name: a\n  script: b\n", "1:1"), ("steps:\n- a", "1:1")]
    {
        for format in [Format::Toml, Format::Json] {
            let found = parse(text, format, &Overrides::default()).expect_err("YAML");
            assert_eq!(shown(&found), [format!("{place}: {words}")]);
        }
    }
    let folder = folder();
    let path = folder.path().join("etl.YML");
    std::fs::write(&path, yaml).expect("written");
    let refused = Flow::load(&path, &Overrides::default()).expect_err("YAML").to_string();
    assert_eq!(refused, format!("cannot read the flow {}: {words}", path.display()));
}

#[test]
fn dollar_braces_get_one_answer_with_the_right_form() {
    let flow = |params: &str| {
        format!(
            "[params]\nrows = 1\n[[steps]]\nname = \"load\"\nscript = \"work.py\"\n[[steps]]\nname = \"b\"\nscript = \
             \"work.py\"\nparams = {{ x = {params} }}\n"
        )
    };
    let both = "write { \"$param\" = \"NAME\" } for a parameter of the flow, { \"$ref\" = \"STEP\", path = \"PATH\" } for a \
                part of a step's result";
    for (params, help) in [
        ("\"${rows}\"", "write { \"$param\" = \"rows\" }"),
        ("\"${{ params.rows }}\"", "write { \"$param\" = \"rows\" }"),
        ("\"n-${load.items[0].id}\"", "write { \"$ref\" = \"load\", path = \"items[0].id\" }"),
        ("\"${steps.load}\"", "write { \"$ref\" = \"load\" }"),
        ("\"${load}\", y = \"${load}\"", "write { \"$ref\" = \"load\" }"),
        ("\"${HOME}\"", both),
        ("${rows}", both),
    ] {
        let found = problems(&flow(params));
        let words = "is no reference in a flow: a reference is a table, in the place of a whole value";
        let is_right = found.len() == 1 && found[0].contains(words) && found[0].ends_with(&format!("({help})"));
        assert!(is_right, "{params}: {found:?}");
    }
    // For a shell.
    assert!(toml(&flow("\"echo ${HOME} ${\"")).is_ok());
    let json = r#"{"steps": [{"name": "a", "script": "work.py", "params": {"x": "${a.b}"}}]}"#;
    let found = shown(&parse(json, Format::Json, &Overrides::default()).expect_err("no reference"));
    assert!(found[0].ends_with(r#"(write {"$ref": "a", "path": "b"})"#), "{found:?}");
}

#[test]
fn a_dynamic_step_names_further_steps_in_its_result() {
    let folder = folder();
    let result = r#"{"n": 2, "steps": [{"name": "x", "script": "work.py", "depends_on": ["plan"]}]}"#;
    let steps = added_steps(result, folder.path()).expect("sound");
    assert_eq!((steps.len(), steps[0].title().as_str()), (1, "x"));
    assert!(added_steps(r#"{"n": 2}"#, folder.path()).expect("none").is_empty());
    let wrong = r#"{"steps": [{"name": "x", "scirpt": "y"}, 7]}"#;
    let found = shown(&added_steps(wrong, folder.path()).expect_err("wrong"));
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[1], "1:26: a step has no key `scirpt` (did you mean `script`?)");
}

#[test]
fn a_flow_without_a_name_has_that_of_its_file() {
    let folder = folder();
    let path = folder.path().join("nightly.toml");
    std::fs::write(&path, "steps = [{ name = \"a\", script = \"work.py\" }]").expect("written");
    let flow = Flow::load(&path, &Overrides::default()).expect("sound");
    assert_eq!(flow.spec.name, "nightly");
}

#[test]
fn ten_thousand_steps_and_ten_thousand_mistakes_take_no_square_of_time() {
    let steps = |dependency: fn(usize) -> usize| {
        let one =
            |n: usize| format!("{{\"name\":\"s{n}\",\"script\":\"work.py\",\"depends_on\":[\"s{}\"]}}", dependency(n));
        let first = "{\"name\":\"s0\",\"script\":\"work.py\"}".to_owned();
        let all: Vec<String> = std::iter::once(first).chain((1..10_000).map(one)).collect();
        parse(&format!("{{\"steps\":[{}]}}", all.join(",")), Format::Json, &Overrides::default())
    };
    assert_eq!(steps(|n| n - 1).expect("a chain").spec.steps.len(), 10_000);
    let found = steps(|n| n + 100_000).expect_err("nobody");
    assert_eq!(found.all.len(), 9_999);
    assert!(found.all.iter().all(|problem| found.place(problem).is_some()));
    let names: Vec<String> = (0..10_000).map(|n| format!("\"nobody {n}\"")).collect();
    let one = format!("steps = [{{ name = \"s\", script = \"work.py\", depends_on = [{}] }}]", names.join(","));
    assert_eq!(toml(&one).expect_err("nobody").all.len(), 10_000);
    // Each guess at a script reads its folder.
    let scripts: String = (0..200).map(|n| format!("[[steps]]\nname = \"s{n}\"\nscript = \"wrok.py\"\n")).collect();
    let found = toml(&scripts).expect_err("no such script").all;
    assert!(found[0].help.is_some() && found[199].help.is_none());
}

#[test]
fn a_folder_in_place_of_a_script_is_not_suggested() {
    let folder = folder();
    for name in ["here", "her"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    let text = "[[steps]]\nname = \"s\"\nscript = \"here\"\n";
    let found = Flow::parse("flow", text, Format::Toml, folder.path(), &Overrides::default()).expect_err("a folder");
    assert!(found.all[0].message.ends_with("it is not a file") && found.all[0].help.is_none(), "{:?}", found.all);
}

#[test]
fn the_schema_in_the_documentation_is_that_of_the_reader() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/flow.schema.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&schema()).expect("JSON"));
    // Without the prefix of settings, which other tests check.
    if std::env::var_os("WRITE_FLOW_SCHEMA").is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "run this test with WRITE_FLOW_SCHEMA=1 and commit {}", path.display());
}

#[test]
fn the_documentation_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/flows.md");
    let text = std::fs::read_to_string(path).expect("read");
    let mut left = vec![schema()];
    while let Some(table) = left.pop() {
        for key in table["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(text.contains(&format!("`{key}`")), "docs/guides/flows.md does not name `{key}`");
        }
        left.extend(table["$defs"].as_object().into_iter().flatten().map(|(_, table)| table.clone()));
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>(), json in any::<bool>()) {
        let format = if json { Format::Json } else { Format::Toml };
        let _ = Flow::parse("x", &text, format, Path::new(""), &Overrides::default());
    }

    /// A valid flow with one part replaced.
    #[test]
    fn no_damaged_flow_makes_the_reader_panic(at in 0..FULL.len(), cut in 0..40usize, new in "[\\[\\]{}\"=a-z0-9.\n$]{0,6}") {
        let (from, to) = (FULL.floor_char_boundary(at), FULL.ceil_char_boundary((at + cut).min(FULL.len())));
        let text = format!("{}{new}{}", &FULL[..from], &FULL[to..]);
        if let Err(found) = Flow::parse("x", &text, Format::Toml, Path::new(""), &Overrides::default()) {
            prop_assert!(!found.all.is_empty());
            for problem in &found.all {
                if let Some(span) = &problem.span {
                    prop_assert!(text.get(span.clone()).is_some(), "{problem:?}");
                }
            }
        }
    }
}
