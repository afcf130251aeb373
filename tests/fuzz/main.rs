//! Hostile bytes and texts: frames of both directions, facts, and flows. None may panic, and none may make the engine
//! allocate more than what is there justifies (L8, L9).
//!
//! ```text
//! cargo test --test fuzz      # some seconds, with a new seed
//! make fuzz                   # 10 million frames and 1 million flows
//! ```
//!
//! `FUZZ_FRAMES`, `FUZZ_FACTS` and `FUZZ_FLOWS` are the numbers of inputs, and `FUZZ_SEED` repeats a run.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod allocations;
mod facts;
mod flows;
mod frames;
mod mutate;

/// The number of inputs: a few, unless a variable says otherwise.
fn count(variable: &str, few: u64) -> u64 {
    std::env::var(variable).ok().map_or(few, |text| text.parse().expect("a number"))
}

/// A seed for one kind of input, printed so that a failure can be repeated.
fn seeded(what: &str) -> fastrand::Rng {
    let seed = count("FUZZ_SEED", fastrand::u64(..1_000_000_000));
    println!("{what}: FUZZ_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
