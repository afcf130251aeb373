//! The same as files: a chart (SVG) and the seconds of every run (CSV).

use std::fmt::Write;

use crate::outcome::{Outcome, Second, seconds};

/// A run with its names.
pub(crate) struct Run {
    pub(crate) trace: String,
    pub(crate) policy: &'static str,
    pub(crate) outcome: Outcome,
}

const HEIGHT: f64 = 90.0;
const WIDTH: f64 = 860.0;
const LEFT: f64 = 70.0;
const GAP: f64 = 34.0;
const COLOURS: [&str; 4] = ["#999999", "#d95f02", "#1b6ca8", "#7fb77e"];

type Of = fn(&Second) -> f64;

#[expect(clippy::cast_precision_loss, reason = "for show")]
const PANELS: [(&str, Of); 3] = [
    ("tasks waiting", |second| second.queue as f64),
    ("workers", |second| second.workers as f64),
    ("longest wait, s", |second| seconds(second.wait)),
];

/// Three panels a trace, one line a policy.
pub(crate) fn svg(runs: &[Run]) -> String {
    let mut traces: Vec<&str> = runs.iter().map(|run| run.trace.as_str()).collect();
    traces.dedup();
    let (mut body, mut top) = (String::new(), 10.0);
    for trace in traces {
        let of_trace: Vec<&Run> = runs.iter().filter(|run| run.trace == trace).collect();
        text(&mut body, LEFT, top + 12.0, trace);
        for (at, run) in of_trace.iter().enumerate() {
            let x = LEFT + 120.0 * (1.0 + real(at));
            let colour = COLOURS[at % COLOURS.len()];
            let _ = writeln!(body, r#"<text x="{x}" y="{}" fill="{colour}">{}</text>"#, top + 12.0, escape(run.policy));
        }
        top += 20.0;
        for (name, of) in PANELS {
            panel(&mut body, &of_trace, top, name, of);
            top += HEIGHT + GAP;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{top:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n",
        LEFT + WIDTH + 20.0
    )
}

fn panel(body: &mut String, runs: &[&Run], top: f64, name: &str, of: Of) {
    let most = runs.iter().flat_map(|run| &run.outcome.seconds).map(of).fold(1e-9, f64::max);
    let length = runs.iter().map(|run| run.outcome.seconds.len()).max().unwrap_or(1).max(1);
    let bottom = top + HEIGHT;
    let _ = writeln!(
        body,
        r##"<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>"##
    );
    text(body, 4.0, top + 10.0, &format!("{most:.1}"));
    text(body, LEFT, bottom + 12.0, &format!("{name}; 0 to {length} s"));
    for (at, run) in runs.iter().enumerate() {
        let point = |(x, second)| {
            format!("{:.1},{:.1}", LEFT + WIDTH * real(x) / real(length), bottom - HEIGHT * of(second) / most)
        };
        let points: Vec<String> = run.outcome.seconds.iter().enumerate().map(point).collect();
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(body, r#"<polyline fill="none" stroke="{colour}" points="{}"/>"#, points.join(" "));
    }
}

fn text(body: &mut String, x: f64, y: f64, words: &str) {
    let _ = writeln!(body, r#"<text x="{x}" y="{y}">{}</text>"#, escape(words));
}

fn escape(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[expect(clippy::cast_precision_loss, reason = "for show")]
fn real(number: usize) -> f64 {
    number as f64
}

/// One line a second of every run.
pub(crate) fn csv(runs: &[Run]) -> String {
    let mut text = String::from("trace,policy,second,queue,workers,longest_wait_s\n");
    for run in runs {
        for (at, second) in run.outcome.seconds.iter().enumerate() {
            let (trace, policy, wait) = (&run.trace, run.policy, seconds(second.wait));
            let _ = writeln!(text, "{trace},{policy},{},{},{},{wait:.6}", at + 1, second.queue, second.workers);
        }
    }
    text
}
