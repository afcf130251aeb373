//! Memory: what processes hold, and the kills of the kernel where it runs out.

use std::cell::Cell;
use std::fs;

use rustix::process::Pid;

/// The number of out-of-memory kills in the engine's control group; `None` if it cannot be read.
pub(crate) fn out_of_memory_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let counters = groups.lines().filter_map(counter_of);
    counters.filter_map(|counter| fs::read_to_string(counter).ok()).find_map(|text| kills_in(&text))
}

/// Attributes out-of-memory kills to worker deaths: each kill explains one death at most.
#[derive(Debug, Default)]
pub(crate) struct MemoryKills {
    explained: Cell<u64>,
}

impl MemoryKills {
    /// Whether there is a kill after the first `before` that explains no other death. `None` is an unknown count, and
    /// explains nothing.
    pub(crate) fn explain_one(&self, before: Option<u64>, now: Option<u64>) -> bool {
        let (Some(before), Some(now)) = (before, now) else { return false };
        let known = before.max(self.explained.get());
        if now > known {
            self.explained.set(known + 1);
        }
        now > known
    }
}

/// Where the count is kept by a control group, given a line of `/proc/self/cgroup`.
fn counter_of(line: &str) -> Option<String> {
    let (_, group) = line.split_once(':')?;
    let (controllers, path) = group.split_once(':')?;
    match controllers {
        "" => Some(format!("/sys/fs/cgroup{path}/memory.events")),
        // Of version 1, which some systems and containers still have.
        _ if controllers.split(',').any(|it| it == "memory") => {
            Some(format!("/sys/fs/cgroup/{controllers}{path}/memory.oom_control"))
        }
        _ => None,
    }
}

fn kills_in(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// The resident memory of these processes together, in bytes.
///
/// The plain sum counts a page once for each process that shares it, so it is never too small. Above `exact_above`, each
/// process counts with its share of such a page. That takes the kernel a walk through all their pages, which is
/// milliseconds for each 100 MiB.
pub(crate) fn resident(processes: &[Pid], exact_above: u64) -> u64 {
    let plain = processes.iter().filter_map(|pid| resident_of(*pid)).sum();
    if plain <= exact_above {
        return plain;
    }
    // The shares of a process of another user cannot be read.
    processes.iter().filter_map(|pid| share_of(*pid).or_else(|| resident_of(*pid))).sum()
}

/// The resident memory of a process, in bytes; `None` if it is gone.
fn resident_of(pid: Pid) -> Option<u64> {
    let pages = fs::read_to_string(format!("/proc/{}/statm", pid.as_raw_pid())).ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The same, but of a page that several processes share only its share.
fn share_of(pid: Pid) -> Option<u64> {
    share_in(&fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_pid())).ok()?)
}

fn share_in(rollup: &str) -> Option<u64> {
    let kibibytes = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix(" kB")?;
    Some(kibibytes.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_kill_explains_one_death_and_what_cannot_be_read_none() {
        let kills = MemoryKills::default();
        assert!(!kills.explain_one(Some(3), Some(3)));
        assert!(kills.explain_one(Some(3), Some(5)));
        assert!(kills.explain_one(Some(3), Some(5)), "the second of them");
        assert!(!kills.explain_one(Some(3), Some(5)), "that was another hand");
        assert!(kills.explain_one(Some(2), Some(6)));
        assert!(!kills.explain_one(None, Some(7)), "no descriptor was left for a look");
        assert!(!kills.explain_one(Some(1), None));
    }

    #[test]
    fn l9_shared_pages_count_by_share_once_the_plain_sum_is_above_the_limit() {
        let own = rustix::process::getpid();
        let plain = resident(&[own], u64::MAX);
        assert!(plain > 100_000, "{plain}");
        // Other processes map the same libraries, so the share is smaller.
        let shared = resident(&[own], 0);
        assert!(shared > 0 && shared < 2 * plain, "{shared} of {plain}");
        let gone = Pid::from_raw(0x7fff_fff0).expect("a number");
        assert_eq!(resident(&[gone], 0), 0);
        let rollup =
            "00400000-7fff r--p 00000000 00:00 0 [rollup]\nRss:    1000 kB\nPss:     300 kB\nPss_Dirty: 7 kB\n";
        assert_eq!((share_in(rollup), share_in("Rss: 4 kB\n")), (Some(300 << 10), None));
    }

    #[test]
    fn the_kernels_count_of_memory_kills_is_read() {
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(kills_in(events), Some(2));
        assert_eq!(kills_in("low 0\n"), None);
        assert_eq!(kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), Some(1));
        let files: Vec<_> =
            ["0::/a/b", "4:memory:/c", "1:cpu:/"].into_iter().map(counter_of).map(Option::unwrap_or_default).collect();
        assert_eq!(files, ["/sys/fs/cgroup/a/b/memory.events", "/sys/fs/cgroup/memory/c/memory.oom_control", ""]);
    }
}
