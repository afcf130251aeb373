//! What shells and `man` get: completions, pages, and the version.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{axion, run};

#[test]
fn each_shell_has_completions_that_name_the_options() {
    for (shell, part) in [
        ("bash", "_axion()"),
        ("zsh", "#compdef axion"),
        ("fish", "complete -c axion"),
        ("elvish", "axion"),
        ("powershell", "axion"),
    ] {
        let ran = run(axion().args(["completions", shell]));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        assert!(ran.out.contains(part) && ran.out.contains("params-file"), "{shell}: {}", ran.out);
    }
    assert_eq!(run(axion().args(["completions", "csh"])).code, Some(2));
}

#[test]
fn bash_completes_what_the_program_prints() {
    let script = run(axion().args(["completions", "bash"])).out;
    let asks = "COMP_WORDS=(axion flow ru); COMP_CWORD=2; _axion axion ru flow; echo \"${COMPREPLY[*]}\"";
    let bash = Command::new("bash").arg("--norc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut bash) = bash else { return eprintln!("SKIPPED: there is no bash") };
    write!(bash.stdin.take().expect("piped"), "{script}\n{asks}\n").expect("written");
    let out = bash.wait_with_output().expect("ended").stdout;
    assert_eq!(String::from_utf8_lossy(&out).trim(), "run");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let page = run(axion().arg("man"));
    assert!(
        page.code == Some(0) && page.out.contains(".TH axion 1") && page.out.contains("axion\\-flow"),
        "{}",
        page.out
    );
    let page = run(axion().args(["man", "flow", "run"])).out;
    assert!(page.contains(".TH axion-flow-run 1") && page.contains("Exit codes:"), "{page}");
    let unknown = run(axion().args(["man", "flow", "rum"]));
    assert!(unknown.code == Some(2) && unknown.err.contains("known here: run, check, graph"), "{}", unknown.err);
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(axion().args(["man", "--folder"]).arg(folder.path().join("man1")));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for page in ["axion.1", "axion-run.1", "axion-flow-run.1", "axion-config-show.1"] {
        assert!(folder.path().join("man1").join(page).is_file(), "{page}");
    }
}

#[test]
fn the_version_has_the_facts_of_the_build() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(axion().arg("-V")).out, format!("axion {version}\n"));
    let long = run(axion().arg("--version")).out;
    assert!(long.starts_with(&format!("axion {version}\ncommit:   ")), "{long}");
    for part in
        ["\nrustc:    rustc 1.", "\nprofile:  ", "\nfeatures: ", &format!("\ntarget:   {}", std::env::consts::ARCH)]
    {
        assert!(long.contains(part), "{part} is not in {long}");
    }
}
