//! How busy the machine and the workers are.
//!
//! In a container, the limits of its control groups count as 100 %.

use std::sync::LazyLock;

use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

use super::os::ControlGroups;
use super::{Measurement, Meter, ProcessLoad};
use crate::model::HostLoad;

/// The memory of the machine, or of the container if that has less, in bytes; `None` where it cannot be known.
/// Looked up once.
pub fn machine_memory() -> Option<u64> {
    static KNOWN: LazyLock<Option<u64>> = LazyLock::new(|| {
        let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let machine = System::new_with_specifics(ram).ok().map(|system| system.total_memory()).filter(|it| *it > 0);
        machine.into_iter().chain(ControlGroups::own().memory_limit()).min()
    });
    *KNOWN
}

/// Measures real processes. What it says of processors is the mean since it was asked last.
#[derive(Debug)]
pub struct RealMeter {
    system: System,
    groups: ControlGroups,
}

impl RealMeter {
    /// A meter for the machine and the container we are in.
    ///
    /// # Errors
    /// If this kind of system cannot be measured.
    pub fn new() -> std::io::Result<Self> {
        // The first look only sets the mark from which the next one counts.
        let mut system = System::new_with_specifics(RefreshKind::nothing()).map_err(std::io::Error::other)?;
        system.refresh_cpu_usage();
        Ok(Self { system, groups: ControlGroups::own() })
    }

    fn host(&mut self) -> HostLoad {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let total = self.system.total_memory();
        let machine = HostLoad {
            cpu: Some(f64::from(self.system.global_cpu_usage()) / 100.0),
            memory: (total > 0).then(|| HostLoad::share(total - self.system.available_memory().min(total), total)),
        };
        let loads: Vec<HostLoad> = self.groups.loads().chain([machine]).collect();
        let most = |of: fn(&HostLoad) -> Option<f64>| {
            loads.iter().filter_map(of).reduce(f64::max).map(|load| load.clamp(0.0, 1.0))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_measured_and_one_that_is_gone_is_not() {
        let measured = RealMeter::new().expect("Linux").measure(&[std::process::id(), 0x7fff_fff0]);
        let [Some(own), None] = measured.processes[..] else { panic!("{measured:?}") };
        assert!(own.resident > 100_000, "{own:?}");
        let HostLoad { cpu: Some(cpu), memory: Some(memory) } = measured.host else { panic!("{measured:?}") };
        assert!((0.0..=1.0).contains(&cpu) && memory > 0.0 && memory <= 1.0, "{measured:?}");
    }
}
