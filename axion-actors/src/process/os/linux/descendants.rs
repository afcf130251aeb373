//! Finds and ends the descendants of workers that have left the process group of their worker (L6, L7).
//!
//! There are three ways to find them. Where the engine has a control group, nothing leaves it
//! ([`worker_group`](super::worker_group)). The children of a process that is stopped are listed by the kernel, whatever
//! they did to themselves. And each worker has a mark in its environment, which its descendants inherit: it also finds
//! those whose parents have ended, unless they were started with another environment.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::signals::wait_ended;

/// The environment variable that marks a worker and its descendants. The mark of an engine that runs inside another one's
/// task is followed by the outer one's, so that a kill of the task finds the inner engine's processes, too.
pub(crate) const MARK: &str = "AXION_WORKER";

/// How often the processes are listed. Those that fork all the time may take several passes.
const PASSES: usize = 1000;
/// How often a process without an environment is looked at: it has none for a moment when it executes a program.
const UNCLEAR_LOOKS: u32 = 3;
/// How long processes that were killed may take to end.
const END: Duration = Duration::from_secs(5);

/// The value of the variable for a worker of an engine whose own environment has the value `outer`.
pub(super) fn nested(mark: &str, outer: Option<&OsStr>) -> OsString {
    let mut value = OsString::from(mark);
    if let Some(outer) = outer.filter(|outer| !outer.is_empty()) {
        value.push(" ");
        value.push(outer);
    }
    value
}

/// A worker that lives, and its descendants that can be found: by their process group, their session, their parents, or
/// the worker's mark.
pub(crate) fn family(leader: Pid, mark: &str) -> Vec<Pid> {
    let Some(first) = stat(leader) else { return Vec::new() };
    let mut family = vec![leader];
    // A descendant has started after the worker.
    let mut others: Vec<(Pid, Stat)> = processes()
        .filter(|pid| *pid != leader)
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .filter(|(_, stat)| stat.started >= first.started && stat.has_memory)
        .collect();
    let leader = leader.as_raw_pid();
    adopt(&mut family, &mut others, |_, stat| stat.group == leader || stat.session == leader);
    adopt(&mut family, &mut others, |pid, _| marked(pid, |it| it == mark.as_bytes()) == Some(true));
    family
}

/// Moves those that belong, and their descendants, from `others` into the family.
fn adopt(family: &mut Vec<Pid>, others: &mut Vec<(Pid, Stat)>, belongs: impl Fn(Pid, &Stat) -> bool) {
    family.extend(others.extract_if(.., |(pid, stat)| belongs(*pid, stat)).map(|(pid, _)| pid));
    loop {
        let before = family.len();
        let is_child = |stat: &Stat| family.iter().any(|parent| parent.as_raw_pid() == stat.parent);
        let children: Vec<Pid> = others.extract_if(.., |(_, stat)| is_child(stat)).map(|(pid, _)| pid).collect();
        family.extend(children);
        if family.len() == before {
            return;
        }
    }
}

/// Kills the descendants of a worker that bear its mark.
pub(crate) fn kill_escaped(worker: &str) {
    sweep(|mark| mark == worker.as_bytes());
}

/// Kills the processes of an engine that has ended: the workers that bear its mark, and their descendants.
pub(crate) fn kill_marked(engine: &str) {
    sweep(|mark| mark.strip_prefix(engine.as_bytes()).is_some_and(|rest| rest.starts_with(b":")));
}

/// Kills what bears one of these marks.
///
/// A daemon may fork and end between a listing and the look at it. So the processes are listed again until there is none
/// that has not been looked at. Then nothing is left: what was looked at and bears the mark was killed before the last
/// listing, and cannot have forked since.
fn sweep(is_ours: impl Fn(&[u8]) -> bool) {
    let mut seen = HashSet::from([rustix::process::getpid()]);
    let mut unclear: HashMap<Pid, u32> = HashMap::new();
    for _ in 0..PASSES {
        let new: Vec<Pid> = processes().filter(|pid| !seen.contains(pid)).collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            // Opened before the look, so the descriptor names that process and no later one.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            match marked(pid, &is_ours) {
                Some(true) => {
                    tracing::debug!(pid = pid.as_raw_pid(), "ending a process that has left its worker's group");
                    let _ = pidfd_send_signal(process, Signal::KILL);
                }
                Some(false) => {}
                // It has no environment, or is about to execute a program.
                None => {
                    let looks = unclear.entry(pid).or_default();
                    *looks += 1;
                    if *looks < UNCLEAR_LOOKS {
                        continue;
                    }
                }
            }
            seen.insert(pid);
        }
    }
    tracing::warn!("processes that leave their worker's group start faster than they can be killed");
}

/// Kills the children of a stopped process and their descendants, whatever group, session or environment they have. Each
/// is stopped before its own children are listed. The process itself stays as it is. Returns those that were killed.
pub(crate) fn kill_tree(root: Pid) -> Killed {
    let Some(mut tree) = Known::now(root).map(|root| vec![root]) else { return Killed::default() };
    for _ in 0..PASSES {
        let before = tree.len();
        let mut at = 0;
        while let Some(parent) = tree.get(at).copied() {
            for child in parent.children() {
                if tree.iter().all(|known| *known != child) && child.signal(Signal::STOP) {
                    tree.push(child);
                }
            }
            at += 1;
        }
        if tree.len() == before {
            break;
        }
    }
    let killed: Vec<Known> = tree.drain(1..).collect();
    for process in &killed {
        process.signal(Signal::KILL);
    }
    Killed(killed)
}

/// Processes that were killed. They may not have ended yet.
#[derive(Debug, Default)]
pub(crate) struct Killed(Vec<Known>);

impl Killed {
    pub(super) fn of(processes: Vec<Pid>) -> Self {
        Self(processes.into_iter().filter_map(Known::now).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    /// Waits until all of them have ended, 5 s at most: a process may hang in the kernel. Blocks.
    pub(crate) fn wait_ended(&self) {
        let begin = Instant::now();
        for process in &self.0 {
            let Some(rest) = END.checked_sub(begin.elapsed()) else { return };
            if Known::now(process.pid) == Some(*process) {
                wait_ended(process.pid, rest);
            }
        }
    }
}

/// A process, by its number and its start: a number is used again. Descriptors would be as many as a task has processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Known {
    pid: Pid,
    /// In clock ticks since the boot.
    started: u64,
}

impl Known {
    fn now(pid: Pid) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    fn signal(self, signal: Signal) -> bool {
        // Opened before the check, so the descriptor names the checked process and no later one.
        let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) else { return false };
        Self::now(self.pid) == Some(self) && pidfd_send_signal(process, signal).is_ok()
    }

    /// The children of all its threads.
    fn children(self) -> Vec<Self> {
        let parent = self.pid.as_raw_pid();
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let parse = |list: String| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>();
        let child = |pid| stat(pid).filter(|it| it.parent == parent).map(|it| Self { pid, started: it.started });
        let children = lists.flat_map(parse).filter_map(Pid::from_raw).filter_map(child).collect();
        // They are its own if nobody else has got its number meanwhile.
        if Self::now(self.pid) == Some(self) { children } else { Vec::new() }
    }
}

/// Whether a process bears such a mark; `None` if its environment is empty.
fn marked(pid: Pid, is_ours: impl Fn(&[u8]) -> bool) -> Option<bool> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).unwrap_or_default();
    if environment.is_empty() && stat(pid).is_some_and(|stat| stat.has_memory) {
        return None;
    }
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    Some(value.is_some_and(|value| value.split(|byte| *byte == b' ').any(is_ours)))
}

fn processes() -> impl Iterator<Item = Pid> {
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
}

struct Stat {
    parent: i32,
    group: i32,
    session: i32,
    /// In clock ticks since the boot.
    started: u64,
    /// False of zombies and of the kernel's threads.
    has_memory: bool,
}

fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name is in parentheses, and may contain anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = text.split_whitespace();
    // The fields 3 to 6, 22 and 23 of proc_pid_stat(5): the state, the parent, the group, the session, the start, the
    // size of the memory.
    let state = fields.next()?;
    let mut number = || fields.next()?.parse().ok();
    let (parent, group, session) = (number()?, number()?, number()?);
    let (started, size) = (fields.nth(15)?.parse().ok()?, fields.next()?);
    Some(Stat { parent, group, session, started, has_memory: !matches!(state, "Z" | "X") && size != "0" })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Kills what it has started, also when a test fails.
    struct Started(Child);

    impl Drop for Started {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let begin = std::time::Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < std::time::Duration::from_secs(10), "{what}");
            std::thread::yield_now();
        }
    }

    fn start(mark: &str, shell: &str) -> Started {
        let mut command = Command::new("sh");
        command.args(["-c", shell]).env(MARK, mark).stdout(Stdio::piped());
        Started(command.spawn().expect("a shell"))
    }

    fn is_running(child: &mut Started) -> bool {
        child.0.try_wait().expect("asked").is_none()
    }

    fn bearers(mark: &str) -> usize {
        processes().filter(|pid| marked(*pid, |it| it == mark.as_bytes()) == Some(true)).count()
    }

    #[test]
    fn l6_a_sweep_hits_what_bears_the_mark_and_what_an_inner_engine_marked() {
        let mut other = start("a:cpu-0:10", "sleep 1000");
        let mut ours = start("a:cpu-0:1", "sleep 1000");
        let inner = nested("b:cpu-3:0", Some(OsStr::new("a:cpu-0:1"))).into_string().expect("text");
        let mut inside = start(&inner, "sleep 1000");
        kill_escaped("a:cpu-0:1");
        for child in [&mut ours, &mut inside] {
            assert!(!child.0.wait().expect("reaped").success());
        }
        assert!(is_running(&mut other));
        kill_marked("a:cpu-0");
        assert!(!other.0.wait().expect("reaped").success(), "an engine's mark ends before a colon");
    }

    #[test]
    fn l6_the_family_of_a_worker_is_found_by_group_parents_and_mark_and_has_no_others() {
        use std::os::unix::process::CommandExt as _;
        let mark = format!("family:{}:0", std::process::id());
        // One in the group, one in a session of its own without the mark, and one that has the mark alone.
        let shell =
            "sleep 1000 & echo $!; env -i setsid sleep 1000 & echo $!; (setsid sleep 1000 & echo $!); echo end; wait";
        let mut command = Command::new("sh");
        command.args(["-c", shell]).env(MARK, &mark).stdout(Stdio::piped()).process_group(0);
        let mut leader = Started(command.spawn().expect("a shell"));
        let mut stranger = start("another:0", "exec sleep 1000");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(leader.0.stdout.take().expect("piped")));
        let mut expected: HashSet<i32> = lines.map_while(Result::ok).map_while(|line| line.parse().ok()).collect();
        assert_eq!(expected.len(), 3);
        expected.insert(Pid::from_child(&leader.0).as_raw_pid());
        let found = || -> HashSet<i32> {
            family(Pid::from_child(&leader.0), &mark).iter().map(|pid| pid.as_raw_pid()).collect()
        };
        // A program that is being executed has no environment for a moment.
        until(&format!("{expected:?}"), || found() == expected);
        assert!(is_running(&mut stranger));
        kill_tree(Pid::from_child(&leader.0));
        kill_escaped(&mark);
    }

    #[test]
    fn l7_a_daemon_that_forks_all_the_time_does_not_escape() {
        // A chain: each one starts the next, in a session of its own, and ends.
        let chain = "hop() { sleep 0.02; (hop &) ; }; hop; echo; sleep 0.1";
        for round in 0..20 {
            let mark = format!("chain:{}:{round}", std::process::id());
            let mut first = start(&mark, chain);
            let _ = std::io::Read::read(first.0.stdout.as_mut().expect("piped"), &mut [0]);
            kill_escaped(&mark);
            // What was killed is on its way out; a daemon that escaped would go on.
            until(&format!("round {round}"), || bearers(&mark) == 0);
        }
    }

    #[test]
    fn l6_the_tree_of_a_stopped_process_is_killed_without_its_environment_and_its_session() {
        let child = "exec env -i setsid sleep 1000";
        let mut root =
            start("tree:a:0", &format!("({child}) & ({child}) & (sh -c '{child} & sleep 1000') & echo; wait"));
        let _ = std::io::Read::read(root.0.stdout.as_mut().expect("piped"), &mut [0]);
        let pid = Pid::from_child(&root.0);
        rustix::process::kill_process(pid, Signal::STOP).expect("stopped");
        super::super::signals::wait_stopped(pid);
        let before = Known::now(pid).expect("there").children();
        assert_eq!(before.len(), 3);
        kill_tree(pid);
        // Their parent is stopped, so they stay as zombies, which have no memory.
        let is_zombie =
            |child: &Known| fs::read(format!("/proc/{}/cmdline", child.pid.as_raw_pid())).is_ok_and(|it| it.is_empty());
        until("all are dead", || before.iter().all(is_zombie));
        assert!(is_running(&mut root));
    }
}
