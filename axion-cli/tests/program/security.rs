//! The claims of docs/internals/security.md about the program, those about what is not promised included.

use crate::support::{Running, Script, axion, run};

/// The result of a script, with options.
fn result(script: &str, options: &[&str]) -> serde_json::Value {
    let script = Script::new(script);
    let private = tempfile::tempdir().expect("a folder");
    let mut command = axion();
    command.arg("run").arg(script.path()).args(options);
    let ran = run(command.env("SECRET", "of the program").env("TMPDIR", private.path()));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn a_task_is_the_same_user_and_may_signal_the_engine() {
    let found = result(
        "\
import os
def main(params, context):
    os.kill(os.getppid(), 0)
    return os.getuid()
",
        &[],
    );
    assert_eq!(found, rustix::process::getuid().as_raw());
}

#[test]
fn a_task_reaches_the_engines_descriptors_through_proc() {
    let found = result(
        "\
import os
def main(params, context):
    return len(os.listdir('/proc/%d/fd' % os.getppid()))
",
        &[],
    );
    assert!(found.as_u64().is_some_and(|count| count > 3), "{found}");
}

#[test]
fn a_task_sees_the_programs_environment_and_command_line() {
    let found = result(
        "\
import os
def main(params, context):
    line = open('/proc/%d/cmdline' % os.getppid()).read()
    return [os.environ['SECRET'], 'password=swordfish' in line]
",
        &["-p", "password=swordfish"],
    );
    assert_eq!(found, serde_json::json!(["of the program", true]));
}

#[test]
fn a_task_may_write_to_the_runtimes_folder() {
    let found = result(
        "\
import os
def main(params, context):
    (folder,) = [name for name in os.listdir(os.environ['TMPDIR']) if name.startswith('axion-')]
    return os.access(os.path.join(os.environ['TMPDIR'], folder, 'worker.py'), os.W_OK)
",
        &[],
    );
    assert_eq!(found, true);
}

const WAITS: &str = "\
import os, time
def main(params, context):
    print(os.getpid())
    while not context.cancelled:
        time.sleep(0.01)
";

#[test]
fn the_engines_folder_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (private, script) = (tempfile::tempdir().expect("a folder"), Script::new(WAITS));
    let mut running = Running::start(axion().arg("run").arg(script.path()).env("TMPDIR", private.path()));
    running.pids();
    let folders: Vec<_> = std::fs::read_dir(private.path()).expect("listed").flatten().collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    assert_eq!(folders[0].metadata().expect("looked at").permissions().mode() & 0o777, 0o700);
    // `axion-`, 16 random digits and 8 check digits.
    assert_eq!(folders[0].file_name().len(), 30);
}

#[test]
fn the_engine_has_no_socket_with_a_name() {
    let script = Script::new(WAITS);
    let mut running = Running::start(axion().arg("run").arg(script.path()));
    running.pids();
    let own = |pid: i32| -> Vec<String> {
        let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("listed").flatten();
        let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        let sockets =
            targets.filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()));
        sockets.collect()
    };
    let mut all = running.children();
    all.push(running.pid());
    let sockets: Vec<String> = all.into_iter().flat_map(own).collect();
    assert!(!sockets.is_empty(), "the control sockets");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let inode = line.split_whitespace().nth(9).unwrap_or_default();
            assert!(!sockets.iter().any(|it| it == inode), "{table}: {line}");
        }
    }
    let text = std::fs::read_to_string("/proc/net/unix").expect("read");
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words.get(6).is_some_and(|inode| sockets.iter().any(|it| it == inode));
        assert!(!is_ours || words.len() == 7, "it has a name: {line}");
    }
}
