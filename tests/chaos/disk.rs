//! An engine whose folder is on a full disk, in a process and a mount namespace of its own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use axion_core::{Engine, Task};
use serde_json::json;

use crate::life;
use crate::plan::Kind;
use crate::rng::Rng;

/// Mounts a small file system where the engine keeps its files, if that is allowed here, and runs this program again.
const SCRIPT: &str = r#"mount -t tmpfs -o size="$3" none "$2/engine" || exit 77; exec "$1" --full-disk "$2""#;
const NOT_ALLOWED: i32 = 77;
/// The tasks of this engine have numbers from here on.
const FIRST: usize = 700_000_000;
const TASKS: usize = 12;

/// In a third of the rounds. Returns what was wrong.
pub(crate) fn fill(seed: u64, folder: &Path) -> Option<String> {
    let mut rng = Rng::new(seed, 7);
    let size = rng.weighted(&[(None, 2), (Some("64k"), 1), (Some("4m"), 2)])?;
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(program).arg(folder).arg(size);
    let ended = command.output().ok();
    let failed_early = |code: Option<i32>, text: &str| code == Some(NOT_ALLOWED) || text.contains("unshare");
    match ended {
        Some(ended) if ended.status.success() => {
            println!("chaos: seed {seed}: an engine on a disk of {size} that is full");
            None
        }
        Some(ended) if !failed_early(ended.status.code(), &String::from_utf8_lossy(&ended.stderr)) => {
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            Some(format!("on a full disk of {size}: {}: {told}", ended.status))
        }
        _ => {
            println!("chaos: SKIPPED: the full disk, because no file system can be mounted here");
            None
        }
    }
}

/// Fills the disk, and runs tasks all the same. An engine that finds no room for its files says so.
pub(crate) fn be_full(folder: &Path) -> ExitCode {
    let runtime_dir = folder.join("engine");
    let engine = match Engine::builder().config(life::config(0, runtime_dir.clone())).start() {
        Ok(engine) => engine,
        Err(error) => {
            let left = std::fs::read_dir(&runtime_dir).expect("the folder").count();
            assert!(format!("{error:?}").contains("StorageFull"), "{error:?}");
            assert_eq!(left, 0, "an engine that did not start leaves nothing");
            return ExitCode::SUCCESS;
        }
    };
    let mut filler = std::fs::File::create(runtime_dir.join("filler")).expect("made");
    while filler.write_all(&[b'x'; 4096]).is_ok() {}
    for index in FIRST..FIRST + TASKS {
        let kind = [Kind::Noop, Kind::Print, Kind::Huge, Kind::KillItself][index % 4];
        let params = json!({"do": kind.name(), "i": index, "lines": 3, "size": 2_000_000});
        let task = Task::script(folder.join("scripts/slow.py")).params(&params).expect("JSON").max_worker_losses(1);
        let outcome = engine.submit_wait(task).expect("accepted").wait().expect("it ends").outcome.name();
        assert_eq!(outcome, if kind == Kind::KillItself { "lost" } else { "succeeded" }, "{kind:?}");
    }
    ExitCode::SUCCESS
}
