//! Whether a configuration file that was only found may be used. It names the interpreter, so whoever can write to it can
//! run programs as the user. Git asks the same of a repository (`safe.directory`).

use std::fmt;
use std::path::Path;

use axion_actors::process::own::{Ownership, identity};

const WRITABLE_BY_OTHERS: u32 = 0o002;
const WRITABLE_BY_GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// The file, or its folder, belongs to this user.
    Owner(u32),
    /// Every user can write to the file, or replace it in its folder.
    WritableByOthers,
    /// The members of this group can.
    WritableByGroup(u32),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => write!(f, "it or its folder belongs to the user with the id {user}"),
            Self::WritableByOthers => f.write_str("every user can write to it or to its folder"),
            Self::WritableByGroup(group) => write!(f, "the group with the id {group} can write to it or to its folder"),
        }
    }
}

/// The user who runs the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) id: u32,
    pub(super) group: u32,
    /// The user and the group behind `sudo`.
    pub(super) behind: Option<(u32, u32)>,
}

impl User {
    /// Of this process. `variable` reads an environment variable.
    pub(super) fn current(variable: impl Fn(&str) -> Option<u32>) -> Self {
        let (id, group) = identity();
        // Anybody can set the variables; only root gains nothing by it.
        let behind = if id == 0 { variable("SUDO_UID").zip(variable("SUDO_GID")) } else { None };
        Self { id, group, behind }
    }

    /// Whether this user trusts what has this owner and these permissions. Only root and the user may own it. The user's own
    /// group may write to it: many systems give each user one.
    fn trusts(self, found: Ownership, is_folder: bool) -> Result<(), Distrust> {
        let users = [0, self.id, self.behind.map_or(0, |(user, _)| user)];
        let groups = [0, self.group, self.behind.map_or(0, |(_, group)| group)];
        // In a sticky folder, nobody can replace what another user owns.
        let mode = if is_folder && found.mode & STICKY != 0 { 0 } else { found.mode };
        if !users.contains(&found.user) {
            Err(Distrust::Owner(found.user))
        } else if mode & WRITABLE_BY_OTHERS != 0 {
            Err(Distrust::WritableByOthers)
        } else if mode & WRITABLE_BY_GROUP != 0 && !groups.contains(&found.group) {
            Err(Distrust::WritableByGroup(found.group))
        } else {
            Ok(())
        }
    }
}

/// Checks the file, its folder, and where a link leads. What cannot be looked at is reported when it is opened.
pub(super) fn check(path: &Path, user: User) -> Result<(), Distrust> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folders = [path, &target].into_iter().filter_map(Path::parent);
    let folders = folders.map(|it| (if it.as_os_str().is_empty() { Path::new(".") } else { it }, true));
    for (place, is_folder) in folders.chain([(path, false)]) {
        if let Ok(found) = Ownership::of(place) {
            user.trusts(found, is_folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: User = User { id: 1000, group: 1000, behind: None };
    const ROOT: User = User { id: 0, group: 0, behind: None };
    const SUDO: User = User { id: 0, group: 0, behind: Some((1000, 1000)) };

    fn of(user: u32, group: u32, mode: u32) -> Ownership {
        Ownership { user, group, mode }
    }

    #[test]
    fn only_the_user_and_root_may_own_it() {
        for user in [PLAIN, ROOT, SUDO] {
            assert_eq!(user.trusts(of(0, 0, 0o644), false), Ok(()));
            assert_eq!(user.trusts(of(1001, 0, 0o600), false), Err(Distrust::Owner(1001)));
        }
        let own = of(1000, 1000, 0o664);
        assert_eq!(PLAIN.trusts(own, false), Ok(()));
        assert_eq!(ROOT.trusts(own, false), Err(Distrust::Owner(1000)));
        assert_eq!(SUDO.trusts(own, false), Ok(()));
    }

    #[test]
    fn nobody_else_may_write_to_it() {
        for is_folder in [false, true] {
            assert_eq!(PLAIN.trusts(of(1000, 1000, 0o666), is_folder), Err(Distrust::WritableByOthers));
            assert_eq!(PLAIN.trusts(of(1000, 50, 0o664), is_folder), Err(Distrust::WritableByGroup(50)));
            assert_eq!(PLAIN.trusts(of(1000, 50, 0o644), is_folder), Ok(()));
        }
        assert_eq!(PLAIN.trusts(of(0, 0, 0o1777), true), Ok(()));
        assert_eq!(PLAIN.trusts(of(0, 0, 0o1777), false), Err(Distrust::WritableByOthers));
    }
}
