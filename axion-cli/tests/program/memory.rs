//! A real shortage of memory: the kernel's out-of-memory killer, in a control group of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Script, axion, run};

/// A control group with little memory. Gone when this is dropped.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Makes one below the test's own group, with version 2 of control groups or version 1; an error where
    /// this user or this system cannot.
    fn make(bytes: u64) -> Result<Self, String> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let mut reasons = Vec::new();
        for line in groups.lines() {
            let fields: Vec<&str> = line.splitn(3, ':').collect();
            let (root, limit, with_swap) = match fields[1] {
                "" => ("/sys/fs/cgroup".to_owned(), "memory.max", ("memory.swap.max", 0)),
                "memory" => {
                    let root = "/sys/fs/cgroup/memory".to_owned();
                    (root, "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes))
                }
                _ => continue,
            };
            let parent = Path::new(&format!("{root}{}", fields[2])).to_owned();
            let path = parent.join(format!("axion-test-{}", std::process::id()));
            // Else it is an ordinary folder, in which any file could be made.
            let made = std::fs::metadata(parent.join("cgroup.procs"))
                .and_then(|_| std::fs::create_dir(&path))
                .and_then(|()| {
                    let group = Self(path.clone());
                    std::fs::write(path.join(limit), bytes.to_string())?;
                    // Where there is no swap there is nothing to forbid.
                    let _ = std::fs::write(path.join(with_swap.0), with_swap.1.to_string());
                    Ok(group)
                });
            match made {
                Ok(group) => return Ok(group),
                Err(error) => reasons.push(format!("{}: {error}", path.display())),
            }
        }
        Err(reasons.join("; "))
    }

    /// The command, started inside.
    fn run(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_task_that_the_kernel_kills_for_want_of_memory_is_lost_and_says_so() {
    let group = match MemoryGroup::make(256 << 20) {
        Ok(group) => group,
        Err(reason) => {
            eprintln!("SKIPPED: no control group for memory can be made here: {reason}");
            return;
        }
    };
    let script = Script::new(
        "def main(params, context):\n    kept = []\n    while True:\n        kept.append(b'x' * (8 << 20))\n",
    );
    let ran = run(&mut group.run(axion().arg("run").arg(script.path()).args(["--output", "json"])));
    assert_eq!(ran.code, Some(125), "{}", ran.err);
    let record: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&record["outcome"], &record["worker_losses"]), (&"lost".into(), &2.into()));
    let mut errors: Vec<&serde_json::Value> =
        record["earlier_attempts"].as_array().expect("a list").iter().map(|attempt| &attempt["error"]).collect();
    errors.push(&record["error"]);
    assert_eq!(errors.len(), 3);
    for error in errors {
        let found = &error["post_mortem"];
        assert_eq!(found["ended_by"], "out_of_memory", "{error}");
        assert_eq!(found["exit"]["signal"], 9, "{error}");
        let peak = found["usage"]["peak_memory_bytes"].as_u64().expect("measured");
        assert!(peak > 100 << 20, "{peak}");
    }
    assert!(ran.err.contains("ran out of memory"), "{}", ran.err);
}
