//! What Linux has to give for a child process. The only file with system calls of one platform.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::unix::AsyncFd;

use super::StartError;
use super::forks::{self, PrivateFd};
use super::guardian::Guardian;
use crate::config::WorkerConfig;
use crate::model::{ProcessExit, Seq, Usage};

/// A status page holds this many sequence numbers, behind a mark that only the engine writes.
const SLOTS: usize = 512;
const PAGE: usize = 8 + SLOTS * 8;
const PAGE_MARK: [u8; 8] = *b"axion \0\x01";
/// Room for results while the engine is busy elsewhere.
const PIPE_SIZE: usize = 256 << 10;

/// A started process and the engine's ends of its pipes. The process has none of their open file descriptions, so
/// it cannot change how the engine's reads and writes behave (L8).
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) exit: OwnedFd,
    pub(super) data_in: PrivateFd,
    pub(super) data_out: PrivateFd,
    pub(super) raw_out: PrivateFd,
    pub(super) raw_err: PrivateFd,
    pub(super) control: PrivateFd,
    pub(super) stacks: PrivateFd,
    pub(super) page: StatusPage,
}

/// Starts `program` as the leader of its own process group, under guard, with its pipes.
///
/// There is no hook between fork and exec, so that the standard library can use `posix_spawn`: fd 0
/// is one end of the control socket, and the other pipes travel over it.
pub(super) fn spawn(
    program: &Path,
    arguments: &[&std::ffi::OsStr],
    mark: &str,
    settings: &WorkerConfig,
    guardian: &Guardian,
) -> Result<Process, StartError> {
    let ([data_in, data_out, raw_out, raw_err, control, stacks], theirs) = forks::private(pipes)?;
    let [data_in_theirs, data_out_theirs, raw_out_theirs, raw_err_theirs, control_theirs, stacks_theirs] = theirs;
    let page = StatusPage::new().map_err(setup("the status page"))?;
    for ours in [&data_in, &data_out, &raw_out, &raw_err, &control, &stacks] {
        set_non_blocking(ours.as_fd()).map_err(setup("a pipe"))?;
    }
    for data in [&data_in, &data_out] {
        // Only faster; a user who is at the system's limit for pipes keeps the small ones.
        let _ = rustix::pipe::fcntl_setpipe_size(data, PIPE_SIZE);
    }
    // A worker with one slot empties its capture pipes itself. It reads them by descriptions of its own.
    let [raw_out_reader, raw_err_reader] = [reopened(&raw_out)?, reopened(&raw_err)?];
    let travelling = [
        data_in_theirs.as_fd(),
        data_out_theirs.as_fd(),
        page.0.as_fd(),
        raw_out_reader.as_fd(),
        raw_err_reader.as_fd(),
        stacks_theirs.as_fd(),
    ];
    send_fds(control.as_fd(), &travelling).map_err(setup("the control socket"))?;

    let mut command = Command::new(program);
    if let Some(folder) = &settings.cwd {
        command.current_dir(folder);
    }
    let child = command
        .args(arguments)
        .envs(&settings.env)
        .env(MARK, mark)
        .stdin(Stdio::from(control_theirs))
        .stdout(Stdio::from(raw_out_theirs))
        .stderr(Stdio::from(raw_err_theirs))
        .process_group(0)
        .spawn()
        .map_err(|source| StartError::Execute { program: program.display().to_string(), source })?;
    let pid = Pid::from_child(&child);
    let under_guard = guardian.guard(pid).map_err(StartError::from).and_then(|()| {
        if settings.nice == 0 {
            return Ok(());
        }
        add_nice(pid, settings.nice).map_err(setup("the nice value (setting `nice`)"))
    });
    let exit = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(setup("a process descriptor"));
    match (under_guard, exit) {
        (Ok(()), Ok(exit)) => Ok(Process { pid, exit, data_in, data_out, raw_out, raw_err, control, stacks, page }),
        (Err(error), _) | (_, Err(error)) => {
            kill_group(pid);
            guardian.forget(pid);
            let _ = reap(pid);
            Err(error)
        }
    }
}

/// Adds to what a process has got from the engine; the system cuts off what is out of its range.
fn add_nice(pid: Pid, more: i32) -> rustix::io::Result<()> {
    let own = rustix::process::getpriority_process(Some(pid))?;
    rustix::process::setpriority_process(Some(pid), own.saturating_add(more))
}

/// The engine's ends of a process's pipes, and the other ones: tasks, results, fd 1, fd 2, control, stacks.
fn pipes() -> Result<([OwnedFd; 6], [OwnedFd; 6]), StartError> {
    let (data_in_theirs, data_in) = pipe("the task pipe")?;
    let (data_out, data_out_theirs) = pipe("the result pipe")?;
    let (raw_out, raw_out_theirs) = pipe("the pipe for standard output")?;
    let (raw_err, raw_err_theirs) = pipe("the pipe for standard error")?;
    let (control, control_theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(setup("the control socket"))?;
    // Its writing end never waits either: who writes may hold the interpreter lock.
    let (stacks, stacks_theirs) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(setup("the pipe for stacks"))?;
    let ours = [data_in, data_out, raw_out, raw_err, control, stacks];
    let theirs = [data_in_theirs, data_out_theirs, raw_out_theirs, raw_err_theirs, control_theirs, stacks_theirs];
    Ok((ours, theirs))
}

fn pipe(what: &'static str) -> Result<(OwnedFd, OwnedFd), StartError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(setup(what))
}

/// Opens the reading end of a pipe again: the result is another open file description, with flags of its own. A
/// duplicate, or a copy that travels over a socket, would share them.
fn reopened(pipe: &PrivateFd) -> Result<OwnedFd, StartError> {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(setup("a second reading end of a capture pipe"))
}

/// Appends what a pipe or a socket has now to `into`, up to the room that is left there. 0 is its end.
///
/// Never waits: `RWF_NOWAIT` counts for this call alone, so nobody who shares the description can undo it. A kernel
/// that does not know it for pipes (before 6.4) falls back on `O_NONBLOCK`.
///
/// # Errors
/// `WouldBlock` if there is nothing, and what the system says.
#[expect(unsafe_code, reason = "reads into memory that is not initialised")]
pub(super) fn read_now(fd: BorrowedFd<'_>, into: &mut Vec<u8>) -> io::Result<usize> {
    let room = into.spare_capacity_mut();
    let piece = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: the call writes at most `room.len()` bytes to `room`.
    let count = unsafe { now(libc::SYS_preadv2, fd, &raw const piece) }?;
    // SAFETY: `count` bytes of the room have been written.
    unsafe { into.set_len(into.len() + count) };
    Ok(count)
}

/// Writes what a pipe or a socket takes now, as [`read_now`] reads.
///
/// # Errors
/// `WouldBlock` if it takes nothing, and what the system says.
#[expect(unsafe_code, reason = "the only call with flags of its own")]
pub(super) fn write_now(fd: BorrowedFd<'_>, data: &[u8]) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: the call reads at most `data.len()` bytes of `data` and writes none.
    unsafe { now(libc::SYS_pwritev2, fd, &raw const piece) }
}

/// `preadv2` or `pwritev2` of one piece at no position, which must not wait.
///
/// # Safety
/// The piece is valid for what the call does with it.
#[expect(unsafe_code, reason = "the C library has no name for it everywhere")]
unsafe fn now(call: libc::c_long, fd: BorrowedFd<'_>, piece: *const libc::iovec) -> io::Result<usize> {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    loop {
        let flags = if IS_UNKNOWN.load(Ordering::Relaxed) { 0 } else { libc::RWF_NOWAIT };
        // SAFETY: the caller's promise.
        let count =
            unsafe { libc::syscall(call, fd.as_raw_fd(), piece, 1, -1 as libc::c_long, -1 as libc::c_long, flags) };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) if flags != 0 => IS_UNKNOWN.store(true, Ordering::Relaxed),
            _ => return Err(error),
        }
    }
}

/// What owns a descriptor, which stays the same and open until it is dropped.
pub(crate) trait Owner: AsRawFd {}

impl Owner for OwnedFd {}
impl Owner for PrivateFd {}

/// Makes a descriptor known to the runtime of the current thread.
#[expect(unsafe_code, reason = "tokio asks for the promise below")]
pub(crate) fn watch<T: Owner + std::fmt::Debug + Send + Sync + 'static>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: an `Owner` stays the same open descriptor until it is dropped, and the `AsyncFd`
    // owns it until after it has been taken out of the runtime's poller.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

pub(super) fn setup<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> StartError {
    move |source| StartError::Setup { what, source: source.into() }
}

fn set_non_blocking(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fcntl_setfl(fd, rustix::fs::fcntl_getfl(fd)? | OFlags::NONBLOCK)
}

fn send_fds(socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::NOBUFS);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Kills every process of a group. The caller makes sure that the leader has not been reaped, so
/// that the number still names this group and no other (L6).
pub(super) fn kill_group(leader: Pid) {
    // By its own number too: it may have moved itself into another group.
    let _ = rustix::process::kill_process(leader, Signal::KILL);
    if let Err(error) = rustix::process::kill_process_group(leader, Signal::KILL) {
        tracing::debug!(pid = leader.as_raw_pid(), %error, "the process group is gone already");
    }
}

/// Reaps a process that has ended, or waits until it has. Says how it ended and what it used.
#[expect(unsafe_code, reason = "the only wait call that tells what a process used")]
pub(super) fn reap(pid: Pid) -> io::Result<(ProcessExit, Usage)> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    loop {
        // SAFETY: both pointers are valid for writing for the time of the call.
        let reaped = unsafe { libc::wait4(pid.as_raw_pid(), &raw mut status, 0, usage.as_mut_ptr()) };
        if reaped == pid.as_raw_pid() {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: every field of an rusage is a number, for which zeroed memory is a value; the call has
    // filled it in since.
    let usage = unsafe { usage.assume_init() };
    let exit = match std::process::ExitStatus::from_raw(status) {
        status if status.signal().is_some() => ProcessExit::Signal(status.signal().unwrap_or_default()),
        status => ProcessExit::Code(status.code().unwrap_or(-1)),
    };
    Ok((exit, used(&usage)))
}

#[expect(clippy::cast_precision_loss, reason = "seconds and microseconds of processor time")]
fn used(usage: &libc::rusage) -> Usage {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        peak_memory_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        user_seconds: seconds(usage.ru_utime),
        system_seconds: seconds(usage.ru_stime),
    }
}

/// Stops every process of a group. [`wait_stopped`] tells when its leader has stopped.
pub(super) fn stop_group(leader: Pid) {
    let _ = rustix::process::kill_process_group(leader, Signal::STOP);
}

/// Waits until a process has stopped or ended; reaps nothing. Blocks, and sends no signal: it may
/// still be waiting when nobody wants to know any more.
pub(super) fn wait_stopped(leader: Pid) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let _ = rustix::process::waitid(WaitId::Pid(leader), options);
}

/// Whether a child has ended; reaps nothing.
pub(super) fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Waits until a child has ended, for `limit` at most; reaps nothing. Blocks.
pub(super) fn wait_ended(pid: Pid, limit: Duration) -> bool {
    let Ok(exit) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let Ok(limit) = Timespec::try_from(limit) else { return false };
    let mut watched = [PollFd::new(&exit, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut watched, Some(&limit)) {
            Err(rustix::io::Errno::INTR) => {}
            found => return found == Ok(1),
        }
    }
}

/// Lets a stopped group go on.
pub(super) fn continue_group(leader: Pid) {
    let _ = rustix::process::kill_process_group(leader, Signal::CONT);
}

/// Has the runtime in a child write down where its threads are. Its handler is in C and needs no
/// interpreter lock; the number is the one in `axion_worker/control.py`. It may read a frame that is
/// just changing, and end the process.
#[expect(unsafe_code, reason = "a real-time signal, which the safe interface does not send")]
pub(super) fn force_stacks(pid: Pid) -> bool {
    // SAFETY: sends a signal and touches no memory.
    unsafe { libc::kill(pid.as_raw_pid(), libc::SIGRTMAX() - 2) == 0 }
}

/// How many processes of the engine's control group the kernel has killed for want of memory; `None`
/// where that cannot be read.
pub(super) fn out_of_memory_kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let counters = groups.lines().filter_map(counter_of);
    counters.filter_map(|counter| std::fs::read_to_string(counter).ok()).find_map(|text| kills_in(&text))
}

/// Which deaths of workers the kernel's count of memory kills explains: each kill one of them at most.
/// Without that, one kill would explain the death of every worker that had been alive then.
#[derive(Debug, Default)]
pub(super) struct MemoryKills {
    explained: Cell<u64>,
}

impl MemoryKills {
    /// Whether the kernel has killed a process since there were `before`, for which no other worker's
    /// death stands; `None` where it could not be read says nothing.
    pub(super) fn explain_one(&self, before: Option<u64>, now: Option<u64>) -> bool {
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

/// The resident memory of a process, in bytes; `None` if it is gone.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Kills what a worker has started and what has left its process group since, by the mark that its
/// environment still bears. Whatever starts with another environment is not found.
pub(super) fn kill_escaped(mark: &str) {
    let marked = format!("{MARK}={mark}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // Opened before the look: the descriptor names the process that was looked at and no later one.
        let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == marked.as_bytes()) {
            tracing::debug!(pid = pid.as_raw_pid(), "ending a process that had left its worker's group");
            let _ = rustix::process::pidfd_send_signal(descriptor, Signal::KILL);
        }
    }
}

/// The environment variable that marks a worker and its descendants.
pub(super) const MARK: &str = "AXION_WORKER";

/// The page in which a child notes what it runs, readable also after its death.
#[derive(Debug)]
pub(super) struct StatusPage(OwnedFd);

impl StatusPage {
    fn new() -> rustix::io::Result<Self> {
        let page = rustix::fs::memfd_create(c"axion-status", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&page, PAGE as u64)?;
        rustix::io::pwrite(&page, &PAGE_MARK, 0)?;
        Ok(Self(page))
    }

    /// The sequence numbers in the page; `None` if a child has cut the file short or wiped it: then an
    /// empty page does not say that nothing runs.
    pub(super) fn running(&self) -> Option<Vec<Seq>> {
        let mut bytes = [0u8; PAGE];
        let read = rustix::io::pread(&self.0, &mut bytes[..], 0).ok()?;
        let (mark, numbers) = bytes.as_chunks::<8>().0.split_first()?;
        let whole = read == PAGE && *mark == PAGE_MARK;
        let numbers = numbers.iter().map(|raw| u64::from_le_bytes(*raw));
        whole.then(|| numbers.filter(|seq| *seq != 0).map(Seq).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_no_flag_of_a_pipe_or_a_socket_makes_a_read_or_a_write_wait() {
        let pipe = rustix::pipe::pipe().expect("a pipe");
        let socket = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None);
        for (reader, writer) in [pipe, socket.expect("two sockets")] {
            let is_nothing = |read: io::Result<usize>| read.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock);
            let mut read = Vec::with_capacity(64 << 10);
            assert!(is_nothing(read_now(reader.as_fd(), &mut read)));
            let piece = [7; 5000];
            while write_now(writer.as_fd(), &piece).is_ok() {}
            assert!(is_nothing(write_now(writer.as_fd(), &piece)));
            while read_now(reader.as_fd(), &mut read).is_ok() {
                assert!(!read.is_empty() && read.iter().all(|byte| *byte == 7));
                read.clear();
            }
            drop(writer);
            assert_eq!(read_now(reader.as_fd(), &mut read).expect("its end"), 0);
        }
    }

    #[test]
    fn l8_a_pipe_that_is_opened_again_has_flags_of_its_own() {
        let ([ours], _writer) =
            forks::private(|| pipe("a pipe").map(|(reader, writer)| ([reader], writer))).expect("a pipe");
        set_non_blocking(ours.as_fd()).expect("set");
        let theirs = reopened(&ours).expect("opened");
        rustix::fs::fcntl_setfl(&theirs, OFlags::empty()).expect("cleared");
        let is_non_blocking = |fd| rustix::fs::fcntl_getfl(fd).expect("asked").contains(OFlags::NONBLOCK);
        assert!(is_non_blocking(ours.as_fd()) && !is_non_blocking(theirs.as_fd()));
    }

    #[test]
    fn l5_a_page_that_was_wiped_or_cut_short_says_nothing() {
        let page = StatusPage::new().expect("a page");
        assert_eq!(page.running(), Some(Vec::new()));
        rustix::io::pwrite(&page.0, &7u64.to_le_bytes(), (PAGE - 8) as u64).expect("written");
        assert_eq!(page.running(), Some(vec![Seq(7)]));
        rustix::fs::ftruncate(&page.0, 4096).expect("cut");
        assert_eq!(page.running(), None);
        rustix::fs::ftruncate(&page.0, PAGE as u64).expect("as long as it was");
        assert_eq!(page.running(), Some(Vec::new()));
        rustix::io::pwrite(&page.0, &[0; PAGE], 0).expect("written");
        assert_eq!(page.running(), None, "nobody but a task writes zeros over all of it");
    }

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
