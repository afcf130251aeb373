//! What keeps the descendants of workers together, so that no kill misses one (L6, L7).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::folder::{Mark, remove_leftovers};
use super::os::{self, EngineGroup, Killed, Pid, WorkerGroup};
use crate::model::ContainmentKind;

/// What an engine holds the descendants of its workers with, from its start to its end.
///
/// The process group of a worker always counts. A descendant can leave it. Then a control group still holds it, where the
/// system allows the engine one. Otherwise the engine finds it by its parents or by its mark (`os::kill_escaped`).
#[derive(Debug)]
pub struct Containment {
    group: Option<EngineGroup>,
    /// The group around that of an engine in whose task this one runs.
    outside: Option<PathBuf>,
    /// Where the engine has its private folder, and an engine inside a task too, unless that was told otherwise.
    parent: Option<PathBuf>,
}

impl Containment {
    /// The strongest one that the system allows, for the engine with this private folder.
    #[must_use]
    pub fn strongest(folder: &Path) -> Self {
        let name = folder.file_name().and_then(|name| name.to_str());
        let outside = os::group_around(|name| Mark::of_folder(name).is_some());
        Self { group: name.and_then(EngineGroup::make), outside, parent: folder.parent().map(Path::to_owned) }
    }

    /// The one without control groups.
    #[must_use]
    pub fn marks() -> Self {
        Self { group: None, outside: None, parent: None }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> ContainmentKind {
        if self.group.is_some() { ContainmentKind::ControlGroup } else { ContainmentKind::Marks }
    }

    /// The folder of the engine's control group, for the guardian.
    pub(super) fn control_group(&self) -> Option<&Path> {
        self.group.as_ref().map(EngineGroup::path)
    }

    /// The control group for the guardian, if it must not stay in that of this process: the end of the task in which the
    /// engine runs kills all that is there, and the guardian is to clean up after it.
    pub(super) fn outside(&self) -> Option<&Path> {
        self.outside.as_deref()
    }

    /// Holds a process that has just started. `name` is not used twice. `limit` is the lowest one of its memory.
    pub(super) fn hold(&self, name: &str, pid: Pid, mark: String, limit: Option<u64>) -> Held {
        let group = self.group.as_ref().and_then(|group| {
            let held = group.hold(name, pid);
            held.inspect_err(|error| tracing::warn!(%error, "a worker has no control group: what leaves its process group may escape")).ok()
        });
        Held { group, mark, limit, parent: self.parent.clone(), killed: Mutex::default() }
    }
}

impl Drop for Containment {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }
}

/// A worker that is held.
#[derive(Debug)]
pub(super) struct Held {
    group: Option<WorkerGroup>,
    mark: String,
    limit: Option<u64>,
    parent: Option<PathBuf>,
    /// The descendants that were killed so far.
    killed: Mutex<Killed>,
}

impl Held {
    /// The resident memory of a worker that has not been reaped, and of its descendants, in bytes (`os::resident`). Blocks.
    pub(super) fn resident(&self, leader: Pid) -> u64 {
        let processes = match &self.group {
            Some(group) => group.processes(),
            None => os::family(leader, &self.mark),
        };
        os::resident(&processes, self.limit.unwrap_or(u64::MAX))
    }

    /// Kills the descendants of a worker that is stopped and will be killed. Blocks.
    pub(super) fn kill_descendants(&self, leader: Pid) {
        // While it is stopped, its children can be found whatever they did to themselves.
        let killed = os::kill_tree(leader);
        self.killed.lock().unwrap_or_else(PoisonError::into_inner).append(killed);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Kills what is left after the end of a worker. Blocks, until what is in its control group has ended.
    pub(super) fn end(&self) {
        let mut killed = std::mem::take(&mut *self.killed.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(group) = &self.group {
            killed.append(group.remove());
        }
        // Also where there is a control group: who may change it can leave it.
        os::kill_escaped(&self.mark);
        if let Some(parent) = self.parent.as_ref().filter(|_| !killed.is_empty()) {
            // Among them may be an engine with its guardian: then nobody else removes its folder, and what left its groups.
            killed.wait_ended();
            remove_leftovers(parent);
        }
    }
}
