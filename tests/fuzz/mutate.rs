//! Changes to known inputs. The decoders see mostly well-formed bytes that are wrong in one place.

use fastrand::Rng;

/// Numbers at which counts, lengths and tags go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    0x7f,
    0xff,
    0xffff,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    u64::MAX >> 1,
    u64::MAX,
];

/// One of these.
pub(crate) fn choose<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[rng.usize(..all.len())]
}

/// A known input with some changes, or noise.
pub(crate) fn bytes(rng: &mut Rng, known: &[Vec<u8>]) -> Vec<u8> {
    if rng.u8(..20) == 0 {
        return noise(rng);
    }
    let mut bytes = choose(rng, known).clone();
    for _ in 0..rng.usize(0..4) {
        change(rng, &mut bytes, known);
    }
    bytes
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let mut noise = vec![0; rng.usize(..200)];
    rng.fill(&mut noise);
    noise
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, known: &[Vec<u8>]) {
    let at = rng.usize(..=bytes.len());
    match rng.u8(..10) {
        0..2 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        2 if at < bytes.len() => bytes[at] = rng.u8(..),
        // A tag, a length or a count.
        3..6 => {
            let near = bytes.len() as u64 + rng.u64(..4);
            let number = if rng.u8(..4) == 0 { near } else { *choose(rng, &NUMBERS) };
            let width = *choose(rng, &[4, 8]);
            for (byte, new) in bytes[at..].iter_mut().zip(number.to_le_bytes()).take(width) {
                *byte = new;
            }
        }
        6 => bytes.truncate(at),
        7 => {
            let inserted = noise(rng);
            bytes.splice(at..at, inserted);
        }
        8 => {
            let end = rng.usize(at..=bytes.len());
            let twice = bytes[at..end].to_vec();
            bytes.splice(at..at, twice);
        }
        _ => {
            let other = choose(rng, known);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
    }
}
