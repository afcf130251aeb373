//! The page in which a child notes what it runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;

use crate::model::Seq;

/// A status page holds this many sequence numbers, behind a mark that only the engine writes.
const SLOTS: usize = 512;

const PAGE: usize = 8 + SLOTS * 8;

const PAGE_MARK: [u8; 8] = *b"axion \0\x01";

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

    /// The attempts that the page names; `None` if a task truncated or wiped it, so that an empty page proves nothing.
    pub(crate) fn running(&self) -> Option<Vec<Seq>> {
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
}
