//! Texts of flows, as TOML and as JSON.

use std::path::{Path, PathBuf};

use axion_core::flow::{DrawingFormat, Flow, Format, Overrides, added_steps, draw, settings, step_rules};
use fastrand::Rng;

use crate::allocations::most_held;
use crate::mutate::choose;

/// Flows of a short run.
const FEW: u64 = 4_000;
/// The memory of a flow: this much, and this much for each byte of its text.
const LEAST: usize = 4 << 20;
const EXPANSION: usize = 4_000;
/// Brackets within brackets, to see that the depth is bounded.
const DEPTHS: [usize; 5] = [50, 127, 128, 1_000, 50_000];

/// What a text of a flow may consist of.
const TOKENS: [&str; 64] = [
    "[[steps]]\n",
    "[params]\n",
    "[limits]\n",
    "name = ",
    "script = ",
    "function = ",
    "params = ",
    "depends_on = ",
    "when = ",
    "map_over = ",
    "run_if = ",
    "on_failure = ",
    "retries = ",
    "timeout = ",
    "ttl = ",
    "delay = ",
    "priority = ",
    "dynamic = true\n",
    "keep_result = false\n",
    "pool = ",
    "unique = ",
    "needs = ",
    "rate = ",
    "concurrency = ",
    "max_parallel",
    "\"$ref\"",
    "\"$param\"",
    "\"steps\"",
    "\"name\": ",
    "\"script\": ",
    "\"params\": ",
    "\"depends_on\": ",
    "\"when\": ",
    "\"map_over\": ",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "\n",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "true",
    "null",
    "-1",
    "18446744073709551616",
    "1e999",
    "0x10",
    "1970-01-01",
    "\"10s\"",
    "\"1 GiB\"",
    "\"all_done\"",
    "\"stop\"",
    "\"a\"",
    "\"b\"",
    "\u{0}",
    "\u{feff}",
    "\u{202e}ä🦀",
    "\\u0000",
    "\\ud800",
];

/// A flow with most keys, which `examples/flows` do not have.
const RICH: &str = r#"
name = "rich"
description = "most keys"
on_failure = "stop"

[params]
day = "2026-01-01"
list = [1, 2, 3]

[[steps]]
name = "a"
script = "scripts/sum.py"
params = { day = { "$param" = "day" }, list = [1, { deep = [true, 1.5] }] }
retries = 3
timeout = "10s"
dynamic = true

[[steps]]
name = "b"
script = "scripts/sum.py"
depends_on = ["a"]
run_if = "all_done"
when = { ref = "a", path = "ok", op = "==", value = true }
keep_result = false

[[steps]]
name = "c"
script = "scripts/sum.py"
map_over = { ref = "a", path = "items", as = "item", max_parallel = 2 }
params = { x = { "$ref" = "a", path = "x" } }
"#;

/// Where the scripts of the flows are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flows")
}

fn known() -> Vec<(String, Format)> {
    let mut all = vec![(RICH.to_owned(), Format::Toml)];
    let entries = std::fs::read_dir(folder()).expect("the examples").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "toml" || it == "json")).collect();
    paths.sort();
    all.extend(paths.iter().map(|path| (std::fs::read_to_string(path).expect("a text"), Format::of(path))));
    all
}

/// A place between two characters.
fn place(rng: &mut Rng, text: &str) -> usize {
    let at = rng.usize(..=text.len());
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn change(rng: &mut Rng, text: &mut String, known: &[(String, Format)]) {
    let at = place(rng, text);
    let end = place(rng, text);
    let (from, to) = (at.min(end), at.max(end));
    match rng.u8(..12) {
        0..4 => text.insert_str(at, choose::<&str>(rng, &TOKENS)),
        4 => {
            let end = (from..=to.min(from + 12)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(from);
            text.replace_range(from..end, "");
        }
        5 => {
            let short = text[from..to].chars().take(rng.usize(1..40)).count();
            let tail: String = text[from..to].chars().take(short).collect();
            text.insert_str(at, &tail);
        }
        6 => text.truncate(at),
        7 => text.insert(at, char::from_u32(rng.u32(..0x11_0000)).unwrap_or('\u{fffd}')),
        8 => {
            let other = &choose(rng, known).0;
            let from = place(rng, other);
            text.truncate(at);
            text.push_str(&other[from..]);
        }
        // A line goes, or comes twice.
        9 | 10 => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            if !lines.is_empty() {
                let line = rng.usize(..lines.len());
                if rng.bool() {
                    lines.remove(line);
                } else {
                    lines.insert(line, lines[line]);
                }
                *text = lines.concat();
            }
        }
        _ => {
            let depth = if rng.u8(..50) == 0 { *choose(rng, &DEPTHS) } else { rng.usize(..20) };
            let bracket = *choose::<&str>(rng, &["[", "{", "{\"a\":", "[[", "{a="]);
            text.insert_str(at, &bracket.repeat(depth));
        }
    }
}

/// Everything that the program does with a text before it runs the flow.
fn use_text(rng: &mut Rng, text: &str, format: Format, folder: &Path) -> bool {
    match Flow::parse("flow", text, format, folder, &Overrides::default()) {
        Ok(flow) => {
            for drawing in [DrawingFormat::Text, DrawingFormat::Dot, DrawingFormat::Mermaid, DrawingFormat::Svg] {
                std::hint::black_box(draw(&flow.spec, drawing));
            }
            true
        }
        Err(problems) => {
            std::hint::black_box(problems.to_string());
            if matches!(format, Format::Json) && rng.u8(..8) == 0 {
                std::hint::black_box(added_steps(text, folder).is_ok());
                std::hint::black_box(step_rules(text).is_ok());
                std::hint::black_box(settings(text).is_ok());
            }
            false
        }
    }
}

#[test]
fn l9_no_text_of_a_flow_makes_its_reader_panic_or_allocate_beyond_its_size() {
    let mut rng = crate::seeded("flows");
    let (known, folder) = (known(), folder());
    let whole = known.iter().all(|(text, format)| use_text(&mut rng, text, *format, &folder));
    assert!(
        whole,
        "each known flow is valid: {:?}",
        Flow::parse("rich", RICH, Format::Toml, &folder, &Overrides::default())
    );
    let (mut valid, mut most_held_by) = (0u64, 0);
    let count = crate::count("FUZZ_FLOWS", FEW);
    for _ in 0..count {
        let (text, format) = choose(&mut rng, &known);
        let (mut text, format) = (text.clone(), *format);
        for _ in 0..rng.usize(0..4) {
            change(&mut rng, &mut text, &known);
        }
        let (is_valid, most) = most_held(|| use_text(&mut rng, &text, format, &folder));
        valid += u64::from(is_valid);
        most_held_by = most_held_by.max(most);
        assert!(most <= LEAST + EXPANSION * text.len(), "L9: {most} bytes were held for {text:?}");
    }
    println!("flows: {count}, {valid} were valid; the most held for one was {most_held_by} bytes");
    assert!(valid > count / 20 && valid < count, "{valid} of {count} were valid");
}
