//! The messages between engine and child, and their bytes (`docs/internals/wire-protocol.md`); and facts as bytes.
//!
//! The only place that knows the byte format. The Python side of it is `axion_worker/wire.py`; the
//! golden frames in `golden/frames.json` hold the two equal.

mod codec;
mod facts;
mod message;

pub use codec::{FrameReader, WireError, decode, encode, encode_before};
pub use facts::{FACT_HEAD, FactCodecError, decode_fact, encode_fact};
pub use message::{Apart, CONTROL_LIMIT, ControlDown, ControlUp, Down, Failure, FailureKind, MAX_CAUSES, PROTOCOL, Up};
