//! Facts as bytes, and states that fold them.

use axion_actors::policy::fold::EngineState;
use axion_actors::testing::Oracle;
use axion_actors::wire::{decode_fact, encode_fact};
use serde_json::Value;

use crate::allocations::most_held;
use crate::frames::unhex;
use crate::mutate;

/// Facts of a short run.
const FEW: u64 = 100_000;
/// The memory of a decoded fact for each of its bytes: an element of a list has some fields.
const EXPANSION: usize = 200;
/// What a fact may take beside: serde reserves up to 1 MiB for a list that states more elements, at each depth of lists in
/// lists, before it has read one.
const LEAST: usize = 4 << 20;

#[test]
fn l8_l9_no_fact_makes_its_reader_panic_or_allocate_more_than_is_there() {
    let mut rng = crate::seeded("facts");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/axion-actors/golden/facts.json");
    let golden: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("the golden facts")).expect("JSON");
    let known: Vec<_> = golden.iter().map(|fact| unhex(fact["hex"].as_str().expect("hex"))).collect();
    let (mut state, mut read, mut fits, mut most_held_by) = (EngineState::default(), 0u64, 0u64, 0);
    let count = crate::count("FUZZ_FACTS", FEW);
    for number in 0..count {
        let mut bytes = mutate::bytes(&mut rng, &known);
        if rng.u8(..4) > 0 && bytes.len() >= 8 {
            let length = u32::try_from(bytes.len() - 8).expect("short");
            bytes[4..8].copy_from_slice(&length.to_le_bytes());
        }
        let (decoded, most) = most_held(|| decode_fact(&bytes));
        most_held_by = most_held_by.max(most);
        assert!(most <= LEAST + EXPANSION * bytes.len(), "L9: {most} bytes were held for {bytes:02x?}");
        let Ok((fact, size)) = decoded else { continue };
        assert!(size <= bytes.len(), "{size} of {}", bytes.len());
        read += 1;
        let mut written = Vec::new();
        encode_fact(&fact, &mut written).expect("what was read can be written");
        let (again, _) = decode_fact(&written).expect("what was written can be read");
        let mut twice = Vec::new();
        encode_fact(&again, &mut twice).expect("written");
        assert_eq!(written, twice, "{fact:?} was read as {again:?}");
        // Whatever it tells, it is taken in or refused.
        fits += u64::from(state.apply_kind(fact.tick, &fact.kind).is_ok());
        let _ = Oracle::default().observe(&fact);
        if number % 1000 == 0 {
            state = EngineState::default();
        }
    }
    println!("facts: {count}, {read} were read, {fits} fit; the most held for one was {most_held_by} bytes");
    assert!(read > count / 20 && read < count, "{read} of {count} were read");
}
