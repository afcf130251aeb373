//! Checks that an engine leaves no process, file, descriptor or memory behind.

use std::path::Path;

use rustix::process::{WaitId, WaitIdOptions};

/// The resources that this process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) resident: u64,
}

impl Held {
    pub(crate) fn now() -> Self {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok()).unwrap_or(0);
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            resident: pages * rustix::param::page_size() as u64,
        }
    }
}

/// Everything that is left of an engine: it kept its files in `runtime_dir`, and everything it
/// started has `folder` in its arguments.
pub(crate) fn of_engine(folder: &Path, runtime_dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for (pid, command) in processes_with(folder) {
        left.push(format!("L7: process {pid} is left: {command}"));
    }
    // Also zombies.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if let Ok(child) = rustix::process::waitid(WaitId::All, options) {
        left.push(format!("L7: a child process is left: {child:?}"));
    }
    for entry in std::fs::read_dir(runtime_dir).into_iter().flatten().flatten() {
        left.push(format!("{} is left", entry.path().display()));
    }
    left
}

/// Whether a process was started by the engine of this folder.
pub(crate) fn is_of(pid: u32, folder: &Path) -> bool {
    command(pid).is_some_and(|command| command.contains(&*folder.to_string_lossy()))
}

fn processes_with(folder: &Path) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let folder = folder.to_string_lossy();
    pids.filter_map(|pid| Some((pid, command(pid)?))).filter(|(_, command)| command.contains(&*folder)).collect()
}

fn command(pid: u32) -> Option<String> {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&raw).replace('\0', " ").trim_end().to_owned())
}
