//! What keeps the descendants of workers together, so that no kill misses one (L6, L7).

use std::path::Path;

use super::os::{self, EngineGroup, Pid, WorkerGroup};
use crate::model::ContainmentKind;

/// What an engine holds the descendants of its workers with, from its start to its end.
///
/// The process group of a worker always counts. A descendant can leave it. Then a control group still holds it, where the
/// system allows the engine one. Otherwise the engine finds it by its parents or by its mark (`os::kill_escaped`).
#[derive(Debug)]
pub struct Containment {
    group: Option<EngineGroup>,
}

impl Containment {
    /// The strongest one that the system allows, for the engine with this private folder.
    #[must_use]
    pub fn strongest(folder: &Path) -> Self {
        let name = folder.file_name().and_then(|name| name.to_str());
        Self { group: name.and_then(EngineGroup::make) }
    }

    /// The one without control groups.
    #[must_use]
    pub fn marks() -> Self {
        Self { group: None }
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

    /// Holds a process that has just started. `name` is not used twice. `limit` is the lowest one of its memory.
    pub(super) fn hold(&self, name: &str, pid: Pid, mark: String, limit: Option<u64>) -> Held {
        let group = self.group.as_ref().and_then(|group| {
            let held = group.hold(name, pid);
            held.inspect_err(|error| tracing::warn!(%error, "a worker has no control group: what leaves its process group may escape")).ok()
        });
        Held { group, mark, limit }
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
        match &self.group {
            Some(group) => group.kill(),
            // While it is stopped, its children can be found whatever they did to themselves.
            None => os::kill_tree(leader),
        }
    }

    /// Kills what is left after the end of a worker. Blocks, until what is in its control group has ended.
    pub(super) fn end(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
        // Also where there is a control group: who may change it can leave it.
        os::kill_escaped(&self.mark);
    }
}
