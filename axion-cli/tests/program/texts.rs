//! What people and programs read, as snapshots: help, mistakes, records and drawings.
//!
//! After a change of a text, run the tests with `INSTA_UPDATE=always` and look through the difference.

use insta::assert_snapshot;

use crate::support::{Script, axion, run};

/// The parts of a text that differ from run to run.
const FILTERS: [(&str, &str); 7] = [
    (r"/tmp/[^/\s]+", "[FOLDER]"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[ID]"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[TIME]"),
    (r#"_seconds":[0-9.e-]+"#, r#"_seconds":[SECONDS]"#),
    (r#""seconds":[0-9.e-]+"#, r#""seconds":[SECONDS]"#),
    (r"(after|path,) \d+(\.\d+)? m?s\b", "$1 [DURATION]"),
    (r"axion \d+\.\d+\.\d+", "axion [VERSION]"),
];

/// A flow with three steps, of which the last one fails.
const FLOW: &str = r#"
name = "etl"
[params]
rows = 2
[[steps]]
name = "load"
script = "script.py"
params = { rows = { "$param" = "rows" } }
[[steps]]
name = "each"
script = "script.py"
pool = "io"
map_over = { ref = "load", path = "items" }
[[steps]]
name = "report"
script = "fails.py"
when = { ref = "load", path = "count", op = ">", value = 1 }
depends_on = ["each"]
[[steps]]
name = "send"
script = "script.py"
depends_on = ["report"]
"#;

const SCRIPT: &str = "def main(params, context):\n    return {'items': [1, 2], 'count': params.get('rows', 0)}\n";
const FAILS: &str = "def main(params, context):\n    raise ValueError('no rows')\n";

/// Runs the program in a folder with scripts, a flow, and a configuration with mistakes.
fn in_folder(arguments: &[&str]) -> String {
    let folder = Script::new(SCRIPT);
    let write = |name: &str, text: &str| std::fs::write(folder.folder().join(name), text).expect("written");
    write("fails.py", FAILS);
    write("etl.toml", FLOW);
    write(
        "broken.toml",
        "[[steps]]\nname = \"load\"\nscirpt = \"script.py\"\nscript = \"script.py\"\ntimeout = \"5 parsecs\"\n",
    );
    write(
        "wrong.toml",
        "cpu_bound_cuont = 2\nresult_ttl = \"soon\"\nio_bound_count = -1\ncpu_bound_count = 3\ncpu_bound_max = 2\n",
    );
    let ran = run(axion().current_dir(folder.folder()).env("COLUMNS", "100").args(arguments));
    let exit = ran.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    format!("$ axion {}\nexit code {exit}\n--- stdout\n{}--- stderr\n{}", arguments.join(" "), ran.out, ran.err)
}

/// Compares one snapshot for each command.
fn check(name: &str, commands: &[&[&str]]) {
    let text: Vec<String> = commands.iter().map(|arguments| in_folder(arguments)).collect();
    insta::with_settings!({ filters => FILTERS, omit_expression => true, prepend_module_to_snapshot => false }, {
        assert_snapshot!(name, text.join("\n\n"));
    });
}

#[test]
fn help() {
    let commands: [&[&str]; 14] = [
        &["--help"],
        &["-h"],
        &["completions", "--help"],
        &["man", "--help"],
        &["run", "--help"],
        &["flow", "--help"],
        &["flow", "run", "--help"],
        &["flow", "check", "--help"],
        &["flow", "graph", "--help"],
        &["config", "--help"],
        &["config", "show", "--help"],
        &["config", "init", "--help"],
        &["bench", "--help"],
        &["demo", "--help"],
    ];
    check("help", &commands);
}

#[test]
fn wrong_usage() {
    let commands: [&[&str]; 12] = [
        &["run"],
        &["run", "script.py", "-p", "version=1.10"],
        &["flow", "run", "etl.toml", "-p", "rows=None"],
        &["run", "absent.py"],
        &["run", "script.py", "--params", "{\"rows\": ?}"],
        &["run", "script.py", "--params", "[1]", "-p", "rows=2"],
        &["run", "script.py", "--timeout", "5 parsecs"],
        &["run", "script.py", "--timeout", "0"],
        &["run", "script.py", "--memory-limit", "lots"],
        &["run", "script.py", "--timeout", "1s", "--soft-timeout", "2s"],
        &["run", "script.py", "--params-file", "absent.json"],
        &["run", "script.py", "--config", "absent.toml"],
    ];
    check("wrong_usage", &commands);
}

#[test]
fn mistakes_in_files() {
    let commands: [&[&str]; 5] = [
        &["config", "check", "wrong.toml"],
        &["config", "init", "wrong.toml"],
        &["flow", "check", "broken.toml"],
        &["flow", "check", "etl.toml", "--set", "laod.rows=3", "--params", "{\"rwos\": 1}"],
        &["flow", "check", "absent.toml"],
    ];
    check("mistakes_in_files", &commands);
}

#[test]
fn drawings() {
    let commands: [&[&str]; 5] = [
        &["flow", "check", "etl.toml"],
        &["flow", "graph", "etl.toml"],
        &["flow", "graph", "etl.toml", "--format", "dot"],
        &["flow", "graph", "etl.toml", "--format", "mermaid"],
        &["flow", "graph", "etl.toml", "--format", "svg"],
    ];
    check("drawings", &commands);
}

#[test]
fn records() {
    let commands: [&[&str]; 4] = [
        &["run", "script.py", "-p", "rows=5"],
        &["run", "script.py", "--output", "json"],
        &["run", "fails.py", "--output", "json"],
        &["flow", "run", "etl.toml", "--output", "json"],
    ];
    check("records", &commands);
}
