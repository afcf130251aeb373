//! Checks that an engine leaves no process, file, descriptor or memory behind.

use std::path::Path;
use std::time::{Duration, Instant};

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

/// The guardian of the engine of this folder, which this process has started.
pub(crate) fn guardian_of(folder: &Path) -> Option<u32> {
    let is_guardian = |(_, command): &(u32, String)| command.contains("axion-guardian");
    processes_with(folder).into_iter().find(is_guardian).map(|(pid, _)| pid)
}

/// How long a process may outlive its worker: the engine looks for it when it has reaped the worker.
const SWEEP: Duration = Duration::from_secs(5);

/// Processes that workers have started which are gone. Their marks are those of no living worker.
pub(crate) async fn of_dead_workers(folder: &Path, living: Vec<u32>) -> Vec<String> {
    let marks: Vec<Vec<u8>> = living.into_iter().filter_map(mark).collect();
    let begun = Instant::now();
    loop {
        let mut started = processes_with(folder);
        // Only what the tasks start has this in its arguments. A worker without a mark has overwritten its environment,
        // and starts nothing.
        started.retain(|(_, command)| command.contains("sleep 1000"));
        started.retain(|(pid, _)| mark(*pid).is_some_and(|mark| !marks.contains(&mark)));
        if started.is_empty() || begun.elapsed() >= SWEEP {
            let told = |(pid, command)| format!("L7: process {pid} has outlived its worker: {command}");
            return started.into_iter().map(told).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The variable by which the engine finds what a worker has started.
fn mark(pid: u32) -> Option<Vec<u8>> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find(|variable| variable.starts_with(b"AXION_WORKER=")).map(<[u8]>::to_vec)
}

/// What still runs of an engine that was killed, as far as `counts` says of a command that it must not. Waits until nothing
/// does, up to `limit`.
pub(crate) fn of_killed_engine(folder: &Path, limit: Duration, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let mut left = bearers_of(folder);
        left.retain(|(_, command)| counts(command));
        if left.is_empty() || begun.elapsed() >= limit {
            let told = |(pid, command): (u32, String)| {
                format!("L7: process {pid} is left of a killed engine: {}: {}", state(pid), one_line(&command))
            };
            return left.into_iter().map(told).collect();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a process does: its state, its parent, its group, and where in the kernel it waits.
fn state(pid: u32) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let known: Vec<&str> = stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().take(3).collect());
    format!("{}, waits in {:?}, system call {}", known.join(" "), read("wchan"), read("syscall").trim())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Kills a process that may be gone.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Other processes that have the folder in their arguments or in their environment.
fn bearers_of(folder: &Path) -> Vec<(u32, String)> {
    let name = folder.as_os_str().as_encoded_bytes();
    let bears = |pid: u32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| text.windows(name.len()).any(|part| part == name))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| *pid != std::process::id());
    let found = others.filter(|pid| bears(*pid, "cmdline") || bears(*pid, "environ"));
    found.filter_map(|pid| Some((pid, command(pid)?))).collect()
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
