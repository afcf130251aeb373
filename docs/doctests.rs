//! Runs the Rust blocks of README and docs as doctests (`cargo test --doc`). It has no code of its own.

macro_rules! pages {
    ($($page:ident: $path:literal),* $(,)?) => {
        $(#[cfg(doctest)] #[doc = include_str!($path)] mod $page {})*
    };
}

pages! {
    readme: "../README.md",
    rust: "start/rust.md",
    pools: "guides/pools.md",
    facts: "reference/facts.md",
    limits: "guides/limits.md",
}
