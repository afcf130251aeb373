//! How busy the machine and the workers are.
//!
//! In a container, the limits of its control groups count as 100 %: what the machine has beyond them
//! is not ours. All groups from our own up to the root are looked at, and the tightest one counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

use super::{Measurement, Meter, ProcessLoad};
use crate::model::HostLoad;

const GROUPS: &str = "/sys/fs/cgroup";

/// The memory of the machine, or of the container if that has less, in bytes; `None` where it cannot be known.
/// Looked up once.
pub fn machine_memory() -> Option<u64> {
    static KNOWN: LazyLock<Option<u64>> = LazyLock::new(|| {
        let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let machine = System::new_with_specifics(ram).ok().map(|system| system.total_memory()).filter(|it| *it > 0);
        let own = fs::read_to_string("/proc/self/cgroup").ok();
        let groups =
            own.as_deref().and_then(own_group).map(|group| groups_of(Path::new(GROUPS), group)).unwrap_or_default();
        machine.into_iter().chain(groups.iter().filter_map(|group| limit_of(group))).min()
    });
    *KNOWN
}

/// The bytes of memory that a group may hold, if that is limited.
fn limit_of(group: &Path) -> Option<u64> {
    fs::read_to_string(group.join("memory.max")).ok()?.trim().parse().ok()
}

/// Measures real processes. What it says of processors is the mean since it was asked last.
#[derive(Debug)]
pub struct RealMeter {
    system: System,
    groups: Vec<PathBuf>,
    /// Processor time used by each group so far, in microseconds, and when that was read.
    used: Vec<Option<(u64, Instant)>>,
}

impl RealMeter {
    /// A meter for the machine and the container we are in.
    ///
    /// # Errors
    /// If this kind of system cannot be measured.
    pub fn new() -> std::io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok();
        let groups =
            own.as_deref().and_then(own_group).map(|group| groups_of(Path::new(GROUPS), group)).unwrap_or_default();
        let used = vec![None; groups.len()];
        // The first look only sets the mark from which the next one counts.
        let mut system = System::new_with_specifics(RefreshKind::nothing()).map_err(std::io::Error::other)?;
        system.refresh_cpu_usage();
        Ok(Self { system, groups, used })
    }

    fn host(&mut self) -> HostLoad {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = self.system.total_memory();
        let machine = HostLoad {
            cpu: Some(f64::from(self.system.global_cpu_usage()) / 100.0),
            memory: (total > 0).then(|| share(total - self.system.available_memory().min(total), total)),
        };
        let containers: Vec<HostLoad> =
            self.groups.iter().zip(&mut self.used).map(|(group, used)| of_group(group, used)).collect();
        let most = |of: fn(&HostLoad) -> Option<f64>| {
            containers.iter().chain([&machine]).filter_map(of).reduce(f64::max).map(|load| load.clamp(0.0, 1.0))
        };
        HostLoad { cpu: most(|load| load.cpu), memory: most(|load| load.memory) }
    }
}

impl Meter for RealMeter {
    fn measure(&mut self, pids: &[u32]) -> Measurement {
        let host = self.host();
        let pids: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, what);
        let of_process = |pid: &Pid| {
            let process = self.system.process(*pid)?;
            Some(ProcessLoad { cpu: process.cpu_usage() / 100.0, resident: process.memory() })
        };
        Measurement { host, processes: pids.iter().map(of_process).collect() }
    }
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
        Some(share(current.saturating_sub(cached), most))
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

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_control_groups_are_read_from_the_own_one_up() {
        assert_eq!(own_group("1:name=systemd:/x\n0::/a/b\n"), Some("a/b"));
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

    #[test]
    fn our_own_process_is_measured_and_one_that_is_gone_is_not() {
        let measured = RealMeter::new().expect("Linux").measure(&[std::process::id(), 0x7fff_fff0]);
        let [Some(own), None] = measured.processes[..] else { panic!("{measured:?}") };
        assert!(own.resident > 100_000, "{own:?}");
        let HostLoad { cpu: Some(cpu), memory: Some(memory) } = measured.host else { panic!("{measured:?}") };
        assert!((0.0..=1.0).contains(&cpu) && memory > 0.0 && memory <= 1.0, "{measured:?}");
    }
}
