//! Tests of the whole engine: on scripted children, and on real Python processes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod api;
mod calls;
mod children;
mod documents;
mod ends;
mod facts;
mod faults;
mod fitness;
mod laws;
mod limits;
mod misbehaviour;
mod pools;
mod scheduling;
mod steps;
mod support;
mod workflows;
