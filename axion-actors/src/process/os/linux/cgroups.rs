//! The control groups of this process. Their limits are what the engine has of the machine: what is beyond them is not
//! its own. All groups from its own up to the root count, and the tightest limit decides.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::model::HostLoad;

/// The control groups that this process is in, of version 2, and what they used at the last look.
#[derive(Debug)]
pub(crate) struct ControlGroups {
    groups: Vec<PathBuf>,
    /// Processor time used by each group so far, in microseconds, and when that was read.
    used: Vec<Option<(u64, Instant)>>,
}

impl ControlGroups {
    /// Those of this process; none where it is in none or they cannot be read.
    pub(crate) fn own() -> Self {
        let groups = mount_and_group().map(|(mount, group)| groups_of(&mount, &group)).unwrap_or_default();
        let used = vec![None; groups.len()];
        Self { groups, used }
    }

    /// The bytes of memory that they allow, if they limit it.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.groups.iter().filter_map(|group| limit_of(group)).min()
    }

    /// What each of them uses of its limits. Of processors, since the last call.
    pub(crate) fn loads(&mut self) -> impl Iterator<Item = HostLoad> {
        self.groups.iter().zip(&mut self.used).map(|(group, used)| of_group(group, used))
    }
}

/// The bytes of memory that a group may hold, if that is limited.
fn limit_of(group: &Path) -> Option<u64> {
    fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()
}

/// The folder of our control group of version 2; `None` where that version is not mounted.
pub(super) fn own_folder() -> Option<PathBuf> {
    mount_and_group().map(|(mount, group)| mount.join(group))
}

fn mount_and_group() -> Option<(PathBuf, String)> {
    let group = own_group(&fs::read_to_string("/proc/self/cgroup").ok()?)?.to_owned();
    let mount = mount_of_groups(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    Some((mount, group))
}

/// Where the control groups of version 2 are mounted as a whole, from the text of `/proc/self/mountinfo`.
fn mount_of_groups(text: &str) -> Option<PathBuf> {
    let mut mounts = text.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        // A backslash begins a character that is written as a number: nobody mounts them there.
        (kind.starts_with("cgroup2 ") && root == "/" && !at.contains('\\')).then(|| PathBuf::from(at))
    });
    mounts.next_back()
}

/// Our control group of version 2, from the text of `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

fn groups_of(root: &Path, group: &str) -> Vec<PathBuf> {
    let own = root.join(group);
    own.ancestors().take_while(|path| path.starts_with(root)).map(Path::to_owned).collect()
}

/// What a group uses of what it may; nothing where it has no limit.
fn of_group(group: &Path, used: &mut Option<(u64, Instant)>) -> HostLoad {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let cpu = read("cpu.max").as_deref().and_then(quota).and_then(|processors| {
        let micros = read("cpu.stat").as_deref().and_then(|text| field(text, "usage_usec"))?;
        let now = Instant::now();
        let (before, since) = used.replace((micros, now))?;
        let spent = micros.saturating_sub(before) as f64 / 1e6;
        Some(spent / (now - since).as_secs_f64().max(1e-3) / processors)
    });
    let memory = limit_of(group).and_then(|most| {
        let current: u64 = read("memory.current")?.trim().parse().ok()?;
        // The kernel gives up cached files before it refuses memory.
        let cached = read("memory.stat").as_deref().and_then(|text| field(text, "inactive_file")).unwrap_or(0);
        Some(HostLoad::share(current.saturating_sub(cached), most))
    });
    HostLoad { cpu, memory }
}

/// The processors of a group, from the text of its `cpu.max`; `None` if it may use all.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_control_groups_are_read_from_the_own_one_up() {
        assert_eq!(own_group("1:name=systemd:/x\n0::/a/b\n"), Some("a/b"));
        let mounts = "24 1 0:2 / /sys rw - sysfs sysfs rw\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 \
                      cgroup2 rw\n42 31 0:38 /part /mnt rw - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_of_groups(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_of_groups("24 1 0:2 / /sys rw - sysfs sysfs rw\n"), None);
        assert_eq!(groups_of(Path::new("/r"), "a/b"), ["/r/a/b", "/r/a", "/r"].map(PathBuf::from));
        assert_eq!((quota("150000 100000\n"), quota("max 100000"), quota("")), (Some(1.5), None, None));
        assert_eq!(field("usage_usec 12\nuser_usec 5\n", "user_usec"), Some(5));
    }

    #[test]
    fn a_container_is_full_when_its_own_limit_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        write("memory.max", "1000\n");
        write("memory.current", "900\n");
        write("memory.stat", "anon 5\ninactive_file 400\n");
        write("cpu.max", "200000 100000\n");
        write("cpu.stat", "usage_usec 5000000\n");
        let mut used = None;
        assert_eq!(
            of_group(folder.path(), &mut used),
            HostLoad { cpu: None, memory: Some(0.5) },
            "the first look is the mark"
        );
        write("cpu.stat", "usage_usec 9000000000\n");
        let cpu = of_group(folder.path(), &mut used).cpu.expect("measured");
        assert!(cpu > 1.0, "hours of two processors in no time: {cpu}");
        write("memory.max", "max\n");
        write("cpu.max", "max 100000\n");
        assert_eq!(of_group(folder.path(), &mut used), HostLoad::default());
    }
}
