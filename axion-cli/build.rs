//! The facts of the build, for `axion --version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    let rustc = output(Command::new(variable("RUSTC")).arg("--version"));
    let features: Vec<String> = std::env::vars()
        .filter_map(|(name, _)| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-")))
        .collect();
    let profile = variable("PROFILE");
    // Not under AXION_: cargo hands these variables to tests, and the program takes that prefix for settings.
    for (name, value) in [
        ("COMMIT", commit(&profile)),
        ("RUSTC", rustc.unwrap_or_else(|| "unknown".to_owned())),
        ("PROFILE", profile),
        ("TARGET", variable("TARGET")),
        ("FEATURES", if features.is_empty() { "none".to_owned() } else { features.join(", ") }),
    ] {
        println!("cargo::rustc-env=BUILD_{name}={value}");
    }
}

/// The commit of a release build, if the source is in a repository. A debug build would be built anew with each commit.
fn commit(profile: &str) -> String {
    let git = |arguments: &[&str]| output(Command::new("git").args(arguments));
    // Not that of another project, in whose repository this one lies.
    if profile != "release" || git(&["ls-files", "--error-unmatch", "Cargo.toml"]).is_none() {
        return "unknown".to_owned();
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| std::path::Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
