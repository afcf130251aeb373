//! What `axion --version` says.

/// The version, and the facts of the build.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit:   ",
    env!("BUILD_COMMIT"),
    "\nrustc:    ",
    env!("BUILD_RUSTC"),
    "\nprofile:  ",
    env!("BUILD_PROFILE"),
    "\nfeatures: ",
    env!("BUILD_FEATURES"),
    "\ntarget:   ",
    env!("BUILD_TARGET"),
);
