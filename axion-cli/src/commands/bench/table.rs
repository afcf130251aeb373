//! The reports as a table and as JSON.

use serde_json::{Value, json};

use super::report::{Machine, Report, Row, grouped};

/// The tables, each with its flags below it.
pub(super) fn text(machine: &Machine, reports: &[Report]) -> String {
    let processors = match machine.processors {
        1 => "1 processor".to_owned(),
        processors => format!("{processors} processors"),
    };
    let (python, version) = (&machine.python, &machine.python_version);
    let head = format!("axion {}, Python {version} ({python}), {processors}\n", env!("CARGO_PKG_VERSION"));
    reports.iter().fold(head, |text, report| text + "\n" + &table(report))
}

fn table(report: &Report) -> String {
    let workers = match report.workers {
        1 => "1 worker".to_owned(),
        workers => format!("{workers} workers"),
    };
    let kind = report.kind;
    // The other two say it themselves.
    let workers = match kind {
        super::plan::Kind::RoundTrip | super::plan::Kind::Io => String::new(),
        _ => format!("; {workers}"),
    };
    let mut text = format!("{}: {}{workers}\n", kind.name(), kind.title());
    let rows: Vec<[String; 5]> = report.rows.iter().map(|row| cells(report, row)).collect();
    let per = report.rows.first().map_or("", |row| row.figure.per().name());
    let against = format!("× {}", kind.baseline().name());
    let heads = ["", "", per, "from … to", &against].map(str::to_owned);
    let all: Vec<&[String; 5]> = std::iter::once(&heads).chain(&rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [0, 1, 2, 3, 4].map(width);
    for row in &all {
        let mut line = format!("  {}", left(&row[0], widths[0]));
        if widths[1] > 0 {
            line += &format!("  {}", left(&row[1], widths[1]));
        }
        line +=
            &format!("  {}  {}  {}", right(&row[2], widths[2]), right(&row[3], widths[3]), right(&row[4], widths[4]));
        text += line.trim_end();
        text.push('\n');
    }
    for flag in &report.flags {
        text += &format!("  ! {}: {}; {}\n", flag.code.name(), flag.message, flag.advice);
    }
    text
}

/// System, label, median, range, ratio.
fn cells(report: &Report, row: &Row) -> [String; 5] {
    [
        row.unit.system.name().to_owned(),
        row.label(report.kind),
        grouped(row.median()),
        format!("{} … {}", grouped(row.least()), grouped(row.most())),
        report.ratio(row).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
    ]
}

fn left(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn right(text: &str, width: usize) -> String {
    format!("{text:>width$}")
}

/// One JSON object in one line.
pub(super) fn json(machine: &Machine, reports: &[Report]) -> String {
    let benches: Vec<Value> = reports.iter().map(bench).collect();
    let all = json!({"axion": env!("CARGO_PKG_VERSION"), "machine": machine, "benches": benches});
    format!("{all}\n")
}

fn bench(report: &Report) -> Value {
    let row = |row: &Row| {
        json!({
            "system": row.unit.system.name(),
            "figure": row.label(report.kind),
            "unit": row.figure.per(),
            "median": row.median(),
            "min": row.least(),
            "max": row.most(),
            "rounds": row.rounds,
            "ratio": report.ratio(row),
        })
    };
    json!({
        "bench": report.kind.name(),
        "workers": report.workers,
        "baseline": report.kind.baseline().name(),
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "flags": report.flags,
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Kind, Measure, System, Work};
    use super::super::report::Figure;
    use super::super::report::tests::{machine, unit};
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(Kind::Throughput, 4);
        for (system, rates) in [(System::Engine, [60_000.0, 90_000.0]), (System::Processes, [10_000.0, 10_000.0])] {
            for rate in rates {
                report.note(&unit(system, Measure::Rate(Work::Nothing), 4), Figure::Rate, rate);
            }
        }
        report.finish(&Machine { load: 3.0, ..machine() });
        report
    }

    #[test]
    fn a_table_has_its_baseline_its_ranges_and_its_flags() {
        insta::assert_snapshot!(text(&machine(), &[report()]).replace(env!("CARGO_PKG_VERSION"), "[VERSION]"), @r"
        axion [VERSION], Python 3.12.1 (/usr/bin/python3), 4 processors

        throughput: tasks that do nothing, submitted one by one, all results awaited; 4 workers
                               tasks/s        from … to  × ProcessPoolExecutor
          axion                 75,000  60,000 … 90,000                   7.50
          ProcessPoolExecutor   10,000  10,000 … 10,000
          ! busy-machine: 3.00 programs ran before the bench, on average of a minute; close other programs and measure again
        ");
    }

    #[test]
    fn the_json_has_every_round() {
        let parsed: Value = serde_json::from_str(&json(&machine(), &[report()])).expect("JSON");
        assert_eq!(parsed["machine"]["processors"], 4);
        let bench = &parsed["benches"][0];
        assert_eq!((&bench["bench"], &bench["baseline"]), (&json!("throughput"), &json!("ProcessPoolExecutor")));
        assert_eq!(bench["rows"][0]["rounds"], json!([60_000.0, 90_000.0]));
        assert_eq!((&bench["rows"][0]["ratio"], &bench["rows"][1]["ratio"]), (&json!(7.5), &Value::Null));
        assert_eq!(bench["flags"][0]["code"], "busy-machine");
    }
}
