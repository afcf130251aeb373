//! Guards the documentation: every relative link of it leads to a file and, where it names one, to a heading.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, ARCHITECTURE, CHANGELOG, the Python package's README, and every page under `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "axion-python/README.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is listed") {
            let path = entry.expect("the entry is listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The lines of a page outside its code blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The targets of the links `[text](target)` of a page.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'))
        .map(|it| if it == ' ' { '-' } else { it })
        .collect()
}

/// What is wrong with a link of a page, if anything is.
fn problem(page: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { page.to_owned() } else { page.parent().expect("a folder").join(file) };
    if !file.exists() {
        return Some(format!("{}: {target} leads nowhere", page.display()));
    }
    let text = if heading.is_empty() { return None } else { std::fs::read_to_string(&file).expect("a page") };
    let found =
        prose(&text).lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading);
    (!found).then(|| format!("{}: {target} names no heading", page.display()))
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("the page is read");
        let targets = targets(&text);
        checked += targets.len();
        problems.extend(targets.iter().filter_map(|target| problem(&page, target)));
    }
    assert!(checked > 30, "only {checked} links were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/README.md");
    let found = |target: &str| problem(&page, target);
    assert!(found("start/nothing.md").is_some() && found("start/install.md#nothing").is_some());
    assert_eq!(found("start/install.md#install-axion"), None);
    assert_eq!(targets("[a](b.md) and\n```\n[c](d.md)\n```\n[e](f.md#g)"), ["b.md", "f.md#g"]);
}
