//! Frames of both directions.

use axion_actors::wire::{CONTROL_LIMIT, ControlDown, ControlUp, Down, FrameReader, Up, WireError, encode};
use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::allocations::most_held;
use crate::mutate;

/// Frames of a short run.
const FEW: u64 = 200_000;
/// The bytes that a reader asks for at once.
const READ: usize = 4 << 10;
/// What a stream may take beside: a reader's buffers and a list of messages, both while they grow.
const LEAST: usize = 32 << 10;
/// A byte of a frame takes at most this much memory as a part of a message: an element of a list has some fields.
const EXPANSION: usize = 64;

/// What has been seen.
#[derive(Debug, Default)]
struct Seen {
    frames: u64,
    read: u64,
    refused: u64,
    /// The most bytes that the messages of one stream took, and how many for a byte of it.
    most: usize,
    most_each: usize,
}

/// The bodies of the golden frames of one table.
fn golden(table: &str) -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/axion-actors/golden/frames.json");
    let frames: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("the golden frames")).expect("JSON");
    let of_table = frames.iter().filter(|frame| frame["table"] == table);
    let known: Vec<_> = of_table.map(|frame| unhex(frame["hex"].as_str().expect("hex"))[4..].to_vec()).collect();
    assert!(!known.is_empty(), "no golden frames of {table}");
    known
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// Some frames, one after the other, of which each may state a wrong length.
fn stream(rng: &mut Rng, known: &[Vec<u8>]) -> (Vec<u8>, u64) {
    let (mut bytes, count) = (Vec::new(), rng.u64(1..5));
    for _ in 0..count {
        let body = mutate::bytes(rng, known);
        let length = match rng.u8(..20) {
            0 => rng.u32(..),
            1 => u32::try_from(body.len()).unwrap_or(0).wrapping_add(rng.u32(..3)).wrapping_sub(1),
            _ => u32::try_from(body.len()).unwrap_or(0),
        };
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&body);
    }
    (bytes, count)
}

/// What is read of a stream that arrives in pieces.
fn read<T>(
    rng: &mut Rng,
    bytes: &[u8],
    limit: usize,
    drain: impl Fn(&mut FrameReader, &mut Vec<T>) -> Result<(), WireError>,
) -> (Vec<T>, Result<(), WireError>) {
    let (mut reader, mut messages, mut rest) = (FrameReader::new(limit), Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rng.usize(1..=rest.len()));
        match reader.room(READ) {
            Ok(room) => room.extend_from_slice(piece),
            Err(error) => return (messages, Err(error)),
        }
        if let Err(error) = drain(&mut reader, &mut messages) {
            return (messages, Err(error));
        }
        rest = later;
    }
    (messages, Ok(()))
}

/// What was read can be written, and reads as the same.
fn check_again<T: Serialize + DeserializeOwned + std::fmt::Debug>(message: &T) {
    let mut written = Vec::new();
    encode(message, usize::MAX, &mut written).expect("what was read can be written");
    let again: T = axion_actors::wire::decode(&written[4..]).expect("what was written can be read");
    let mut twice = Vec::new();
    encode(&again, usize::MAX, &mut twice).expect("written");
    assert_eq!(written, twice, "{message:?} was read as {again:?}");
}

fn fuzz<T: Serialize + DeserializeOwned + std::fmt::Debug>(
    rng: &mut Rng,
    table: &str,
    limit: usize,
    count: u64,
    drain: impl Fn(&mut FrameReader, &mut Vec<T>) -> Result<(), WireError>,
) {
    let (known, mut seen) = (golden(table), Seen::default());
    while seen.frames < count {
        let (bytes, frames) = stream(rng, &known);
        let ((messages, end), most) = most_held(|| read(rng, &bytes, limit, &drain));
        seen.frames += frames;
        seen.read += messages.len() as u64;
        seen.refused += u64::from(end.is_err());
        seen.most = seen.most.max(most);
        let each = most.saturating_sub(LEAST) / bytes.len();
        seen.most_each = seen.most_each.max(each);
        assert!(most <= limit && each <= EXPANSION, "L9: {table}: {most} bytes were held for {bytes:02x?}");
        messages.iter().for_each(check_again);
    }
    println!("{table}: {seen:?}");
    assert!(seen.read > seen.frames / 10, "most inputs are read in part: {seen:?}");
    assert!(seen.refused > seen.frames / 100, "many inputs are wrong: {seen:?}");
}

#[test]
fn l8_l9_no_frame_makes_the_engine_panic_or_allocate_more_than_its_limit() {
    let mut rng = crate::seeded("frames");
    let each = crate::count("FUZZ_FRAMES", FEW) / 4;
    // The bound on frames of data is a setting, of 64 MiB unless it is set. These streams are far below.
    let limit = 1 << 20;
    fuzz::<Up>(&mut rng, "UP", limit, 2 * each, |reader, out| reader.drain_up(out, usize::MAX));
    fuzz::<ControlUp>(&mut rng, "CONTROL_UP", CONTROL_LIMIT, each, FrameReader::drain);
    fuzz::<Down>(&mut rng, "DOWN", limit, each / 2, FrameReader::drain);
    fuzz::<ControlDown>(&mut rng, "CONTROL_DOWN", CONTROL_LIMIT, each / 2, FrameReader::drain);
}

#[test]
fn l9_a_list_of_attempts_takes_no_memory_for_what_it_only_states() {
    let mut frame = Vec::new();
    encode(&ControlUp::Revoked { seqs: Vec::new() }, CONTROL_LIMIT, &mut frame).expect("fits");
    let count = frame.len() - size_of::<u64>();
    frame[count..].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let (read, most) = most_held(|| axion_actors::wire::decode::<ControlUp>(&frame[4..]));
    assert!(read.is_err() && most < 1 << 10, "{most} bytes were held");
}
