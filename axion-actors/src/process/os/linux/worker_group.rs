//! Control groups that hold the workers: nothing leaves them, and the kernel kills all that is in one at once (L6, L7).
//!
//! An engine has a group below its own one, and each worker process has one below that. They limit nothing. They exist
//! where version 2 of the control groups is mounted, the engine may change its own group, and the kernel is 5.14 or newer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use rustix::process::Pid;

use super::cgroups::own_folder;
use super::descendants::Killed;

/// The file by which the kernel kills a group.
const KILL: &str = "cgroup.kill";
const PROCESSES: &str = "cgroup.procs";
/// How long the processes of a killed group may take to end.
const END: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How deep the groups are that an engine inside a task may have made, and one inside its tasks.
const DEPTH: usize = 8;

/// The control group of an engine.
#[derive(Clone, Debug)]
pub(crate) struct EngineGroup(PathBuf);

impl EngineGroup {
    /// Makes a group of this name below the one of this process; `None` where there can be none.
    pub(crate) fn make(name: &str) -> Option<Self> {
        let own = own_folder()?;
        // A process may be moved by who may write to the group that has both groups in it.
        access(own.join(PROCESSES), Access::WRITE_OK).ok()?;
        let group = own.join(name);
        fs::create_dir(&group).ok()?;
        let made = Self(group);
        if made.0.join(KILL).exists() {
            return Some(made);
        }
        made.remove();
        None
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a process into a group of its own, with all that it starts from now on.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(crate) fn hold(&self, name: &str, process: Pid) -> io::Result<WorkerGroup> {
        let group = WorkerGroup(self.0.join(name));
        // The engine's may have been removed by another one, which took it for a left-over: it was empty.
        fs::create_dir_all(&group.0)?;
        fs::write(group.0.join(PROCESSES), process.as_raw_pid().to_string())?;
        Ok(group)
    }

    /// Kills all that is in it, and removes it. Blocks until that has ended, a second at most.
    pub(crate) fn remove(&self) {
        end(&self.0);
    }
}

/// The control group of a worker.
#[derive(Debug)]
pub(crate) struct WorkerGroup(PathBuf);

impl WorkerGroup {
    /// Kills all that is in it.
    pub(crate) fn kill(&self) {
        if let Err(error) = fs::write(self.0.join(KILL), "1") {
            tracing::debug!(group = %self.0.display(), %error, "the control group is gone, or cannot be killed");
        }
    }

    /// The processes in it.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        list(&self.0, DEPTH, &mut found);
        found
    }

    /// Kills all that is in it, and removes it. Blocks until that has ended, a second at most. Returns what it has killed.
    pub(crate) fn remove(&self) -> Killed {
        let killed = Killed::of(self.processes());
        end(&self.0);
        killed
    }
}

/// The processes of a group and of those below it.
fn list(group: &Path, depth: usize, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw));
    if depth > 0 {
        inner_groups(group).for_each(|inner| list(&inner, depth - 1, found));
    }
}

fn inner_groups(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path())
}

/// The group around the outermost one that is an engine's, of those that this process is in.
pub(crate) fn group_around(is_engine: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let own = own_folder()?;
    let engines = own.ancestors().filter(|group| group.file_name().and_then(|it| it.to_str()).is_some_and(&is_engine));
    engines.last()?.parent().map(Path::to_owned)
}

/// Moves a process into a group. It stays where it is if the system refuses that.
pub(super) fn move_to(group: &Path, process: Pid) {
    if let Err(error) = fs::write(group.join(PROCESSES), process.as_raw_pid().to_string()) {
        tracing::debug!(group = %group.display(), %error, "a process is not moved to another control group");
    }
}

/// Kills and removes the groups of engines that have ended, if `is_engine` says that a name is one's. A group that has
/// a living process in it stays, also if no engine started that process.
pub(crate) fn remove_empty_groups(is_engine: impl Fn(&str) -> bool) {
    let groups = own_folder().and_then(|own| fs::read_dir(own).ok()).into_iter().flatten().flatten();
    for group in groups.filter(|group| group.file_name().to_str().is_some_and(&is_engine)) {
        if is_populated(&group.path()) == Some(false) {
            remove(&group.path(), DEPTH);
        }
    }
}

/// Kills and removes what is left of the group of an engine that has ended.
pub(crate) fn remove_group(name: &str) {
    if let Some(own) = own_folder()
        && own.join(name).exists()
    {
        end(&own.join(name));
    }
}

fn end(group: &Path) {
    if fs::write(group.join(KILL), "1").is_err() {
        return;
    }
    wait_empty(group);
    remove(group, DEPTH);
}

/// Waits until nothing lives in a group, which the kernel says by an event on this file.
fn wait_empty(group: &Path) {
    let Ok(events) = fs::File::open(group.join("cgroup.events")) else { return };
    while is_populated(group) == Some(true) {
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&END)) {
            Ok(0) => {
                return tracing::warn!(group = %group.display(), "processes of a worker do not end after their kill");
            }
            Err(error) if error != rustix::io::Errno::INTR => return,
            _ => {}
        }
    }
}

fn is_populated(group: &Path) -> Option<bool> {
    let events = fs::read_to_string(group.join("cgroup.events")).ok()?;
    Some(events.lines().any(|line| line == "populated 1"))
}

/// Removes a group and those below it, which are folders; their files go with them.
fn remove(group: &Path, depth: usize) {
    if depth > 0 {
        inner_groups(group).for_each(|inner| remove(&inner, depth - 1));
    }
    if let Err(error) = fs::remove_dir(group) {
        tracing::debug!(group = %group.display(), %error, "the control group is not removed, or was before");
    }
}
