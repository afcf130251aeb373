//! Memory that the engine's process and its workers share by a descriptor: sealed memfds.
//!
//! Each side writes its memory once, then seals it against writing, growing and shrinking. So whoever maps it
//! reads the same bytes for ever, and no access to them can fail (L8).

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};

use bytes::Bytes;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::Resource;

use super::forks::{self, PrivateFd};
use crate::model::Payload;

/// Payloads of at least this size travel beside the frames.
pub const SHARE_FROM: usize = 1 << 20;

/// The most descriptors of memories that a process keeps, whatever its limit is.
const MOST_DESCRIPTORS: usize = 1024;
/// A memory of at least this size is freed by a thread of its own, because that takes milliseconds (L11).
const FREED_ELSEWHERE: usize = 4 << 20;

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::WRITE);

/// Mapped memory.
#[derive(Debug)]
struct Mapping {
    address: NonNull<u8>,
    size: usize,
}

#[expect(unsafe_code, reason = "an address says nothing about threads")]
// SAFETY: the memory is read only, or it belongs to the owner of this value alone.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "the same")]
// SAFETY: the same.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps all of a sealed memory.
    #[expect(unsafe_code, reason = "maps memory")]
    fn new(fd: BorrowedFd<'_>, size: usize, protection: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        // SAFETY: the system chooses a place that nothing else uses. The seals keep the bytes there and as they are.
        let address = unsafe { rustix::mm::mmap(std::ptr::null_mut(), size, protection, flags, fd, 0)? };
        let address = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at the address 0"))?;
        Ok(Self { address, size })
    }

    #[expect(unsafe_code, reason = "reads mapped memory")]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `size` bytes are mapped there until `self` is dropped.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.size) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "unmaps memory")]
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and nothing borrows it any more.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.size) };
    }
}

/// The number of descriptors that this process keeps for memories (L9).
static DESCRIPTORS: AtomicUsize = AtomicUsize::new(0);

/// A quarter of what the system allows the process.
static DESCRIPTOR_LIMIT: LazyLock<usize> = LazyLock::new(|| {
    let allowed = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed / 4).unwrap_or(usize::MAX).min(MOST_DESCRIPTORS)
});

/// The right to keep one descriptor.
#[derive(Debug)]
struct Permit(());

impl Permit {
    fn take() -> Option<Self> {
        let more = |count: usize| (count < *DESCRIPTOR_LIMIT).then_some(count + 1);
        DESCRIPTORS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        DESCRIPTORS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The descriptor of a memory. Processes that the program forks close it.
#[derive(Debug)]
struct Descriptor {
    fd: PrivateFd,
    _permit: Permit,
}

/// A sealed memory that the process has mapped for reading.
#[derive(Debug)]
pub(crate) struct SharedMemory(Option<Kept>);

#[derive(Debug)]
struct Kept {
    mapping: Mapping,
    /// `None` if the process keeps too many descriptors. The bytes can then be read but not be passed on.
    descriptor: Option<Descriptor>,
}

impl SharedMemory {
    fn kept(&self) -> Option<&Kept> {
        self.0.as_ref()
    }

    fn payload(mapping: Mapping, descriptor: Option<Descriptor>) -> Payload {
        let memory = Arc::new(Self(Some(Kept { mapping, descriptor })));
        Payload::in_memory(Bytes::from_owner(Owner(memory.clone())), memory)
    }

    /// The descriptor of a payload, if the payload is a whole memory.
    fn descriptor_of(payload: &Payload) -> Option<BorrowedFd<'_>> {
        let kept = payload.memory::<Self>()?.kept()?;
        (kept.mapping.size == payload.len()).then_some(kept.descriptor.as_ref()?.fd.as_fd())
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        if let Some(kept) = self.0.take()
            && kept.mapping.size >= FREED_ELSEWHERE
        {
            free_elsewhere(Box::new(kept));
        }
    }
}

/// The owner of the bytes of a payload.
struct Owner(Arc<SharedMemory>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.kept().map_or(&[], |kept| kept.mapping.bytes())
    }
}

/// Drops a value in a thread of its own, or here if there can be none.
fn free_elsewhere(value: Box<dyn Any + Send>) {
    type Values = mpsc::Sender<Box<dyn Any + Send>>;
    static THREAD: Mutex<Option<Values>> = Mutex::new(None);
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.is_none() {
        let (sender, values) = mpsc::channel();
        let run = move || values.into_iter().for_each(drop);
        *thread = std::thread::Builder::new().name("axion-free".to_owned()).spawn(run).ok().map(|_| sender);
    }
    if let Some(sender) = &*thread {
        let _ = sender.send(value); // an error gives the value back, to be dropped here
    }
}

/// Writes a large payload into shared memory.
#[derive(Debug)]
struct PayloadWriter {
    descriptor: Descriptor,
    size: usize,
}

impl PayloadWriter {
    /// An empty memory. An error if the process keeps too many of them, or the system makes none.
    fn new() -> io::Result<Self> {
        let permit = Permit::take().ok_or_else(|| io::Error::other("too many shared payloads"))?;
        let make = || rustix::fs::memfd_create(c"axion-payload", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
        let ([fd], ()) = forks::private(|| Ok::<_, io::Error>(([make()?], ())))?;
        Ok(Self { descriptor: Descriptor { fd, _permit: permit }, size: 0 })
    }

    /// Appends bytes.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.descriptor.fd, bytes))?;
            self.size += count;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Seals the memory.
    fn finish(self) -> io::Result<Payload> {
        let Self { descriptor, size } = self;
        rustix::fs::fcntl_add_seals(&descriptor.fd, SEALS | SealFlags::SEAL)?;
        let mapping = Mapping::new(descriptor.fd.as_fd(), size, ProtFlags::READ, MapFlags::SHARED)?;
        Ok(SharedMemory::payload(mapping, Some(descriptor)))
    }
}

/// Pieces as one payload, which lies in shared memory if it is large and the system makes one.
#[must_use]
pub fn join(pieces: &[&[u8]]) -> Payload {
    let size: usize = pieces.iter().map(|piece| piece.len()).sum();
    let shared = || {
        let mut writer = PayloadWriter::new()?;
        pieces.iter().try_for_each(|piece| writer.write(piece))?;
        writer.finish()
    };
    match (size >= SHARE_FROM).then(shared) {
        Some(Ok(payload)) => payload,
        Some(Err(_)) | None => pieces.concat().into(),
    }
}

/// A payload that lies in shared memory if it is large and the system makes one.
#[must_use]
pub fn share(payload: Payload) -> Payload {
    let is_done = payload.len() < SHARE_FROM || SharedMemory::descriptor_of(&payload).is_some();
    if is_done { payload } else { join(&[&payload]) }
}

/// A copy of a payload that its owner can write to. The system copies a page at the first write to it.
#[derive(Debug)]
pub struct WritablePayload {
    mapping: Mapping,
    offset: usize,
    size: usize,
}

impl WritablePayload {
    /// A copy of a payload in shared memory. `None` if it lies elsewhere or cannot be mapped again.
    #[must_use]
    pub fn of(payload: &Payload) -> Option<Self> {
        let kept = payload.memory::<SharedMemory>()?.kept()?;
        let fd = kept.descriptor.as_ref()?.fd.as_fd();
        let offset = payload.as_ptr().addr().checked_sub(kept.mapping.address.as_ptr().addr())?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let mapping = Mapping::new(fd, kept.mapping.size, protection, MapFlags::PRIVATE).ok()?;
        Some(Self { mapping, offset, size: payload.len() })
    }

    /// The address of the first byte, which stays the same until the copy is dropped.
    #[must_use]
    pub fn address(&self) -> *mut u8 {
        self.mapping.address.as_ptr().wrapping_add(self.offset)
    }

    /// The size in bytes, which is not 0.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Why a payload of a child is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The child broke the protocol.
    #[error("{0}")]
    Violation(String),
    /// The system refused what it takes.
    #[error("{0}")]
    Refused(io::Error),
}

/// Both ends of a socket on which descriptors of payloads travel, one by one.
pub(super) fn payload_sockets() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// The engine's end of the socket on which descriptors of payloads travel. No call waits.
#[derive(Debug)]
pub(crate) struct PayloadSocket {
    fd: PrivateFd,
    /// Descriptors that are given up to receive one when the process has no other left.
    spares: RefCell<Vec<OwnedFd>>,
}

impl PayloadSocket {
    pub(super) fn new(fd: PrivateFd) -> Self {
        Self { fd, spares: RefCell::new(make_spares()) }
    }

    /// Sends the descriptor of a payload. False if it has none or the socket does not take it now: the payload can then
    /// only travel in frames.
    pub(crate) fn send(&self, payload: &Payload) -> bool {
        let Some(fd) = SharedMemory::descriptor_of(payload) else { return false };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds))
            && rustix::net::sendmsg(
                &self.fd,
                &[IoSlice::new(&[0])],
                &mut ancillary,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            )
            .is_ok()
    }

    /// The payload of this number, which the child has sent. Those before it are dropped.
    ///
    /// # Errors
    /// If there is none, it is not a sealed memory of this size, or there is no descriptor for it.
    pub(crate) fn receive(&self, number: u64, size: usize) -> Result<Payload, ReceiveError> {
        let violation = |what: &dyn Display| ReceiveError::Violation(format!("a payload of {size} bytes: {what}"));
        let fd = loop {
            let (found, fd) = self.front().map_err(|error| violation(&error))?;
            let _ = rustix::net::recv(&self.fd, &mut [0][..], RecvFlags::DONTWAIT);
            // A signal handler of a task can raise between a payload and its message, which then never comes.
            if found == number {
                break fd.ok_or(ReceiveError::Refused(rustix::io::Errno::MFILE.into()))?;
            }
        };
        check(fd.as_fd(), size).map_err(|what| violation(&what))?;
        let mapping = Mapping::new(fd.as_fd(), size, ProtFlags::READ, MapFlags::SHARED);
        let mapping = mapping.map_err(ReceiveError::Refused)?;
        // Without spare ones left, this descriptor is needed for the next payload.
        let permit = if self.spares.borrow().is_empty() { None } else { Permit::take() };
        let descriptor = permit.map(|permit| Descriptor { fd, _permit: permit });
        Ok(SharedMemory::payload(mapping, descriptor))
    }

    /// The number and the descriptor at the front of the socket, which stay there.
    fn front(&self) -> io::Result<(u64, Option<PrivateFd>)> {
        let mut spares = self.spares.borrow_mut();
        if spares.is_empty() {
            *spares = make_spares();
        }
        let front = peek(&self.fd)?;
        if front.1.is_some() {
            return Ok(front);
        }
        spares.clear();
        peek(&self.fd)
    }
}

/// The number at the front of a socket, with a copy of its descriptor; `None` if the process can have no more.
fn peek(socket: &PrivateFd) -> io::Result<(u64, Option<PrivateFd>)> {
    let (mut is_refused, mut number) = (false, [0; 8]);
    let receive = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut number)], &mut ancillary, flags)?;
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        is_refused = fd.is_none() && received.flags.contains(ReturnFlags::CTRUNC);
        fd.map(|fd| ([fd], ())).ok_or_else(|| io::Error::other("no descriptor came with it"))
    };
    match forks::private(receive) {
        Ok(([fd], ())) => Ok((u64::from_le_bytes(number), Some(fd))),
        Err(_) if is_refused => Ok((u64::from_le_bytes(number), None)),
        Err(error) => Err(error),
    }
}

/// Empty memories, whose descriptors can be given up. There are two because another thread can take one of them at once.
fn make_spares() -> Vec<OwnedFd> {
    (0..2).map_while(|_| rustix::fs::memfd_create(c"axion-spare", MemfdFlags::CLOEXEC).ok()).collect()
}

/// Checks that a child cannot change a memory any more, and that all its pages are there (L8): reading a page that was
/// never written would take memory of this process.
fn check(fd: BorrowedFd<'_>, size: usize) -> Result<(), String> {
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|error| format!("it is no memory: {error}"))?;
    if !seals.contains(SEALS) {
        return Err("it is not sealed".to_owned());
    }
    let found = rustix::fs::fstat(fd).map_err(|error| error.to_string())?;
    let actual = u64::try_from(found.st_size).unwrap_or_default();
    if actual != size as u64 {
        return Err(format!("it has {actual} bytes"));
    }
    let written = u64::try_from(found.st_blocks).unwrap_or_default().saturating_mul(512);
    if written < actual {
        return Err("it has holes".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn sockets() -> (PayloadSocket, OwnedFd) {
        let ([ours], theirs) = forks::private(|| {
            let (ours, theirs) = payload_sockets()?;
            Ok::<_, io::Error>(([ours], theirs))
        })
        .expect("two sockets");
        (PayloadSocket::new(ours), theirs)
    }

    /// As a child sends it.
    fn send(socket: &OwnedFd, fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(fds)));
        rustix::net::sendmsg(socket, &[IoSlice::new(&1u64.to_le_bytes())], &mut ancillary, SendFlags::empty())
            .expect("sent");
    }

    fn memory(size: usize, seals: SealFlags) -> OwnedFd {
        let fd = rustix::fs::memfd_create(c"test", MemfdFlags::ALLOW_SEALING).expect("a memory");
        let mut file = std::fs::File::from(fd);
        std::io::Write::write_all(&mut file, &vec![7; size]).expect("written");
        rustix::fs::fcntl_add_seals(&file, seals).expect("sealed");
        file.into()
    }

    #[test]
    fn a_payload_travels_by_its_descriptor_and_copies_of_it_can_be_written_to() {
        let (ours, theirs) = sockets();
        let payload = share(vec![1; SHARE_FROM].into());
        assert!(ours.send(&payload) && ours.send(&payload), "as often as need be");
        assert!(!ours.send(&payload.slice(1..)) && !ours.send(&vec![1; SHARE_FROM].into()), "only a whole memory");
        drop(theirs);
        assert!(!ours.send(&payload), "the child is gone");
        let copy = WritablePayload::of(&payload.slice(5..9)).expect("a copy");
        assert_eq!(copy.size(), 4);
        #[expect(unsafe_code, reason = "writes to the copy")]
        // SAFETY: the copy has four bytes there.
        unsafe {
            assert_eq!(*copy.address(), 1);
            *copy.address().add(3) = 2;
        }
        assert!(payload.iter().all(|byte| *byte == 1), "a copy is not the payload");
        assert!(WritablePayload::of(&vec![1].into()).is_none());
    }

    #[test]
    fn l8_only_a_sealed_and_whole_memory_of_the_stated_size_is_mapped() {
        let (ours, theirs) = sockets();
        let size = 3 * 4096 + 1;
        let refused = |socket: &PayloadSocket| match socket.receive(1, size) {
            Err(ReceiveError::Violation(what)) => what,
            other => panic!("{other:?}"),
        };
        assert!(refused(&ours).contains("unavailable"), "nothing was sent");
        for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
            send(&theirs, &[memory(size, SEALS.difference(missing)).as_fd()]);
            assert!(refused(&ours).contains("not sealed"));
        }
        send(&theirs, &[std::fs::File::open("/dev/null").expect("open").as_fd()]);
        assert!(refused(&ours).contains("no memory"));
        send(&theirs, &[memory(size - 1, SEALS).as_fd()]);
        assert!(refused(&ours).contains("12288 bytes"));
        let sparse = memory(0, SealFlags::empty());
        rustix::fs::ftruncate(&sparse, size as u64).expect("grown");
        rustix::fs::fcntl_add_seals(&sparse, SEALS).expect("sealed");
        send(&theirs, &[sparse.as_fd()]);
        assert!(refused(&ours).contains("holes"));
        send(&theirs, &[memory(size, SEALS).as_fd(), theirs.as_fd()]);
        let payload = ours.receive(1, size).expect("a second descriptor does not matter");
        assert!(payload.len() == size && payload.iter().all(|byte| *byte == 7));
        send(&theirs, &[]);
        assert!(refused(&ours).contains("no descriptor"));
    }

    #[test]
    fn l9_descriptors_are_counted_and_given_back() {
        let payload = share(vec![1; SHARE_FROM].into());
        let number = payload
            .memory::<SharedMemory>()
            .and_then(SharedMemory::kept)
            .map(|kept| kept.descriptor.as_ref().map(|descriptor| descriptor.fd.as_raw_fd()));
        assert!(matches!(number, Some(Some(_))));
        assert!(DESCRIPTORS.load(Ordering::Relaxed) > 0);
        let permits: Vec<Permit> = std::iter::from_fn(Permit::take).take(MOST_DESCRIPTORS + 1).collect();
        assert!(permits.len() <= *DESCRIPTOR_LIMIT);
        let plain = share(vec![1; SHARE_FROM].into());
        assert!(plain.memory::<SharedMemory>().is_none(), "it stays where it is");
        drop(permits);
        assert!(Permit::take().is_some());
    }
}
