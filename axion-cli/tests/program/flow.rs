//! `axion flow check` and `axion flow graph`: what they print and how they end.

use crate::support::{axion, root, run};

fn flow(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("work.py"), "def main(params, context):\n    return 1\n").expect("written");
    std::fs::write(folder.path().join("flow.toml"), text).expect("written");
    folder
}

const SOUND: &str = r#"
name = "<pair> & \"more\""
[params]
limit = 3
[[steps]]
name = "first"
script = "work.py"
params = { limit = { "$param" = "limit" } }
[[steps]]
name = "second"
script = "work.py"
pool = "io"
when = { ref = "first", op = ">", value = 0 }
"#;

#[test]
fn a_sound_flow_is_said_to_be_one() {
    let folder = flow(SOUND);
    let path = folder.path().join("flow.toml");
    let ran = run(axion().args(["flow", "check"]).arg(&path));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, format!("{}: 2 steps, no problems\n", path.display()));
    let ran =
        run(axion().args(["flow", "check"]).arg(&path).args(["--params", r#"{"limit": 5}"#, "--set", "second.x=1"]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn every_problem_is_shown_with_file_line_column_and_a_picture() {
    let text = "[[steps]]\nname = \"alpha\"\nscirpt = \"work.py\"\nscript = \"wrok.py\"\n\n[[steps]]\nname = \"b\"\n\
                script = \"work.py\"\ndepends_on = [\"b\", \"alpah\"]\n";
    let folder = flow(text);
    let ran = run(axion().current_dir(folder.path()).args(["flow", "check", "flow.toml"]));
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    for part in [
        "error: a step has no key `scirpt`",
        "flow.toml:3:1",
        "3 | scirpt = \"work.py\"",
        "did you mean `script`?",
        "flow.toml:4:10",
        "did you mean `work.py`?",
        "flow.toml:9:15",
        "b waits for itself",
        "flow.toml:9:20",
        "did you mean `alpha`?",
        "error: flow.toml has 4 problems",
    ] {
        assert!(ran.err.contains(part), "{part:?} is not in\n{}", ran.err);
    }
    assert!(!ran.err.contains('\u{1b}'), "no colours for a file");
}

#[test]
fn mistakes_in_options_are_reported_without_a_place() {
    let folder = flow(SOUND);
    let mut command = axion();
    command.args(["flow", "check"]).arg(folder.path().join("flow.toml"));
    let ran = run(command.args(["--params", r#"{"limt": 5}"#, "--set", "thrid.x=1"]));
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("error: --params: the flow has no parameter `limt`\n  help: did you mean `limit`?"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("error: --set thrid.x=1: the flow has no step `thrid`"), "{}", ran.err);
    let ran = run(axion().args(["flow", "check", "/nowhere/flow.toml"]));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("cannot read the flow /nowhere/flow.toml"), "{}", ran.err);
}

fn drawn(format: &str) -> String {
    let folder = flow(SOUND);
    let ran = run(axion().args(["flow", "graph"]).arg(folder.path().join("flow.toml")).args(["--format", format]));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    ran.out
}

#[test]
fn a_flow_is_drawn_in_four_ways() {
    let text = "<pair> & \"more\"\n  1  first   work.py\n  2  second  work.py  after first; io; when first > 0\n";
    assert_eq!(drawn("text"), text);
    let dot = drawn("dot");
    assert!(dot.starts_with("digraph \"<pair> & \\\"more\\\"\" {\n") && dot.ends_with("}\n"), "{dot}");
    assert!(
        dot.contains("  s1 [label=\"second\\nwork.py\\nio\\nwhen first > 0\"];\n  s0 -> s1 [style=dashed];\n"),
        "{dot}"
    );
    let mermaid = drawn("mermaid");
    assert!(mermaid.starts_with("flowchart LR\n  s0[\"first<br>work.py\"]\n"), "{mermaid}");
    assert!(mermaid.contains("when first #62; 0\"]\n  s0 -.-> s1\n"), "{mermaid}");
    let svg = drawn("svg");
    assert!(svg.contains("<title>&lt;pair&gt; &amp; &quot;more&quot;</title>"), "{svg}");
    assert_eq!((svg.matches("<rect ").count(), svg.matches("<path class=\"edge").count()), (2, 1));
}

#[test]
fn every_example_flow_is_sound_and_can_be_drawn() {
    let folder = root().join("examples/flows");
    let mut flows = 0;
    for entry in std::fs::read_dir(folder).expect("examples") {
        let path = entry.expect("listed").path();
        if !path.extension().is_some_and(|it| it == "toml" || it == "json") {
            continue;
        }
        flows += 1;
        let ran = run(axion().args(["flow", "check"]).arg(&path));
        assert_eq!(ran.code, Some(0), "{}: {}", path.display(), ran.err);
        let ran = run(axion().args(["flow", "graph", "--format", "svg"]).arg(&path));
        assert!(ran.out.ends_with("</svg>\n"), "{}", path.display());
    }
    assert!(flows >= 5, "{flows} flows");
}

#[test]
fn the_scripts_of_the_example_flows_return_the_documented_results() {
    let mut python = std::process::Command::new("python3");
    let ran = run(python.arg("-B").arg(root().join("examples/flows/test_scripts.py")));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
}

#[test]
fn a_flow_that_is_drawn_twice_is_the_same_to_the_byte() {
    for format in ["text", "dot", "mermaid", "svg"] {
        assert_eq!(drawn(format), drawn(format));
    }
}
