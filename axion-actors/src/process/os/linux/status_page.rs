//! The page in which a child notes what it runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;

use crate::model::Seq;

/// A status page holds a mark that only the engine writes, then this many sequence numbers of running attempts.
const SLOTS: usize = 512;
/// Then this many of attempts that have ended, each at the place of its number modulo this. A worker is never sent so
/// many more before their results have come, so none takes the place of one that is in flight.
const ENDED: usize = 1024;

const RUNNING_PART: usize = 8 + SLOTS * 8;
const PAGE: usize = RUNNING_PART + ENDED * 8;

const PAGE_MARK: [u8; 8] = *b"axion \0\x02";

/// The page in which a child notes what it runs, readable also after its death.
#[derive(Debug)]
pub(crate) struct StatusPage(OwnedFd);

impl StatusPage {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let page = rustix::fs::memfd_create(c"axion-status", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&page, PAGE as u64)?;
        rustix::io::pwrite(&page, &PAGE_MARK, 0)?;
        Ok(Self(page))
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The attempts that run; `None` if a task truncated or wiped the page, so that an empty one proves nothing.
    pub(crate) fn running(&self) -> Option<Vec<Seq>> {
        self.read::<RUNNING_PART>()
    }

    /// The attempts that run and those that have ended.
    pub(crate) fn started(&self) -> Option<Vec<Seq>> {
        self.read::<PAGE>()
    }

    /// The numbers in the first `LENGTH` bytes.
    fn read<const LENGTH: usize>(&self) -> Option<Vec<Seq>> {
        let mut bytes = [0u8; LENGTH];
        let read = rustix::io::pread(&self.0, &mut bytes[..], 0).ok()?;
        let (mark, numbers) = bytes.as_chunks::<8>().0.split_first()?;
        let whole = read == LENGTH && *mark == PAGE_MARK;
        let numbers = numbers.iter().map(|raw| u64::from_le_bytes(*raw));
        whole.then(|| numbers.filter(|seq| *seq != 0).map(Seq).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_a_page_that_was_wiped_or_cut_short_says_nothing() {
        let page = StatusPage::new().expect("a page");
        assert_eq!(page.running(), Some(Vec::new()));
        rustix::io::pwrite(&page.0, &7u64.to_le_bytes(), (RUNNING_PART - 8) as u64).expect("written");
        rustix::io::pwrite(&page.0, &5u64.to_le_bytes(), (PAGE - 8) as u64).expect("written");
        assert_eq!((page.running(), page.started()), (Some(vec![Seq(7)]), Some(vec![Seq(7), Seq(5)])));
        rustix::fs::ftruncate(&page.0, 4096).expect("cut");
        assert_eq!((page.running(), page.started()), (None, None));
        rustix::fs::ftruncate(&page.0, PAGE as u64).expect("as long as it was");
        assert_eq!((page.running(), page.started()), (Some(Vec::new()), Some(Vec::new())));
        rustix::io::pwrite(&page.0, &[0; PAGE], 0).expect("written");
        assert_eq!(page.running(), None, "nobody but a task writes zeros over all of it");
    }
}
