//! The name of an engine's folder and of its processes, which proves that they are an engine's.

use std::fmt;

use crate::model::{fingerprint, fresh_uuid};

/// What the name of a folder begins with.
const PREFIX: &str = "axion-";
const RANDOM: usize = 16;
const CHECK: usize = 8;

/// A random number and its check digits, in hexadecimal. No other engine has the same, and a folder that a user has named
/// does not have valid check digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// One that no other engine has, forked copies of this process included.
    pub(super) fn fresh() -> Self {
        let random = format!("{:016x}", fresh_uuid().as_u64_pair().1);
        let check = check_digits(&random);
        Self(random + &check)
    }

    /// That of a folder; `None` if the name is not one that an engine gives.
    pub(in crate::process) fn of_folder(name: &str) -> Option<Self> {
        let mark = name.strip_prefix(PREFIX)?;
        let (random, check) = mark.split_at_checked(RANDOM)?;
        (check == check_digits(random)).then(|| Self(mark.to_owned()))
    }

    /// The name of the folder.
    pub(super) fn folder(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// What the marker file in the folder says.
    pub(super) fn marker(&self) -> String {
        format!("The files of a running Axion engine. The next engine removes them when this one has ended.\n{self}\n")
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check_digits(random: &str) -> String {
    let hash = fingerprint(format!("axion folder {random}").as_bytes());
    format!("{:032x}", u128::from_be_bytes(hash))[..CHECK].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_from_the_name_of_a_folder_and_from_no_other_name() {
        let mark = Mark::fresh();
        assert_eq!(Mark::of_folder(&mark.folder()), Some(mark.clone()));
        let folder = mark.folder();
        let changed = folder.replace(['0', '1', '2', '3'], "4");
        for name in ["axion-results", "axion-", "axion-0123456789abcdef", "axion-äöüäöüäöüäöü", &folder[1..], &changed]
        {
            assert!(name == folder || Mark::of_folder(name).is_none(), "{name}");
        }
    }

    /// The format must not change: an engine removes the folders of earlier versions.
    #[test]
    fn the_check_digits_stay_the_same() {
        let known = "axion-0123456789abcdef";
        assert!(Mark::of_folder(&format!("{known}{}", check_digits("0123456789abcdef"))).is_some());
        assert_eq!(check_digits("0123456789abcdef"), "834ddf0f");
    }
}
