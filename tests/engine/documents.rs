//! Guards the documentation: every relative link leads to a file and, where it names one, to a heading. The files and
//! types that ARCHITECTURE.md names exist.

use std::path::{Path, PathBuf};

use axion_actors::model::KIND_TABLE;

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

/// The folders from which ARCHITECTURE.md names files.
const PATHS_FROM: [&str; 3] = ["", "axion-actors/src", "axion-actors/python/axion_worker"];

/// What stands between backquotes outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    prose(text).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn is_path(quoted: &str) -> bool {
    let file = [".rs", ".py", ".md", ".toml", ".json"].iter().any(|ending| quoted.ends_with(ending));
    let plain = quoted.chars().all(|it| it.is_alphanumeric() || "/._-".contains(it));
    plain && (file || quoted.contains('/')) && !quoted.starts_with(['/', '.'])
}

/// The file or folder that ARCHITECTURE.md names so.
fn named(path: &str) -> Option<PathBuf> {
    PATHS_FROM.iter().map(|from| root().join(from).join(path)).find(|it| it.exists())
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page is read");
    let paths: Vec<_> = quoted(&text).into_iter().filter(|it| is_path(it)).collect();
    assert!(paths.len() > 50, "only {} paths were found", paths.len());
    let missing: Vec<_> = paths.iter().filter(|path| named(path).is_none()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");
    assert!(named("policy/nothing.rs").is_none() && is_path("policy/nothing.rs"));
}

#[test]
fn the_documentation_names_every_kind_of_fact() {
    let text = std::fs::read_to_string(root().join("docs/reference/facts.md")).expect("the page is read");
    let missing: Vec<_> =
        KIND_TABLE.iter().map(|kind| kind.name).filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/facts.md does not name {missing:?}");
}

/// Rows of the dictionary say `Name` in `path`.
#[test]
fn every_name_of_the_dictionary_is_in_its_file() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page is read");
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let mut checked = 0;
    let mut missing = Vec::new();
    for cell in rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next()) {
        let parts = quoted(cell);
        let [name, path] = parts.as_slice() else { continue };
        if !cell.contains("` in `") {
            continue;
        }
        checked += 1;
        let file = named(path).map(|file| std::fs::read_to_string(file).expect("the file is read"));
        let word = |text: String| text.split(|it: char| !it.is_alphanumeric() && it != '_').any(|it| it == name);
        if !file.is_some_and(word) {
            missing.push(format!("{name} in {path}"));
        }
    }
    assert!(checked > 30, "only {checked} rows were found");
    assert!(missing.is_empty(), "the dictionary of ARCHITECTURE.md is out of date: {missing:?}");
}

/// The sources of all tests: Rust and Python.
fn sources_of_tests() -> String {
    let mut text = String::new();
    let folders =
        ["tests", "axion-actors/src", "axion-actors/python/tests", "axion-core/src", "axion-cli", "axion-python/tests"];
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is listed") {
            let path = entry.expect("the entry is listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs" || it == "py") {
                text.push_str(&std::fs::read_to_string(&path).expect("a source is read"));
            }
        }
    }
    text
}

#[test]
fn each_claim_about_security_names_tests_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/internals/security.md")).expect("the page is read");
    let sources = sources_of_tests();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.contains(" test |") && !line.contains("---"));
    let mut named = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for test in tests.split('`').skip(1).step_by(2) {
            named += 1;
            let defined = ["fn", "def"].iter().any(|word| sources.contains(&format!("{word} {test}(")));
            assert!(defined, "no test has the name {test}: {row}");
        }
    }
    assert!(named > 20, "the table is read: {named}");
}
