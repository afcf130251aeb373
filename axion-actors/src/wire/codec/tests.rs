//! Golden frames, agreement of encode and decode, the way out of bincode, and hostile bytes.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::{Attempt, Cause, LogLevel, PartId, ScriptPath, Seq, Stream};
use crate::wire::{Apart, ControlDown, ControlUp, Down, Failure, FailureKind, MAX_CAUSES, Up};

const LIMIT: usize = 64 << 20;

fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(message, LIMIT, &mut out).expect("fits");
    out
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// The frame's message, written again: equal bytes mean that nothing was lost in reading.
fn rewritten<T: Serialize + for<'de> Deserialize<'de> + std::fmt::Debug>(bytes: &[u8]) -> (Vec<u8>, String) {
    let mut reader = FrameReader::new(LIMIT);
    reader.room(bytes.len()).expect("memory").extend_from_slice(bytes);
    let mut messages: Vec<T> = Vec::new();
    reader.drain(&mut messages).expect("a golden frame decodes");
    assert_eq!(messages.len(), 1);
    (frame(&messages[0]), format!("{:?}", messages[0]))
}

#[test]
fn golden_frames_are_read_and_written_as_they_stand() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/frames.json");
    let frames: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("the golden frames")).expect("JSON");
    let mut seen = std::collections::BTreeSet::new();
    for golden in &frames {
        let (table, name) = (golden["table"].as_str().expect("table"), golden["name"].as_str().expect("name"));
        let bytes = hex(golden["hex"].as_str().expect("hex"));
        let (written, shown) = match table {
            "DOWN" => rewritten::<Down>(&bytes),
            "UP" => rewritten::<Up>(&bytes),
            "CONTROL_DOWN" => rewritten::<ControlDown>(&bytes),
            "CONTROL_UP" => rewritten::<ControlUp>(&bytes),
            other => panic!("no table {other}"),
        };
        assert_eq!(written, bytes, "{table} {name}");
        assert!(shown.starts_with(name), "{name} was read as {shown}");
        for text in golden["values"].as_array().expect("values").iter().filter_map(Value::as_str) {
            // Text fields show as they are; bytes and ids are hex in the file.
            let as_bytes = shown.contains(&format!("{text:?}")) || hex_shown(&shown, text);
            assert!(as_bytes, "{name}: {text} is missing from {shown}");
        }
        seen.insert((table.to_owned(), name.to_owned()));
    }
    assert_eq!(seen.len(), 9 + 9 + 5 + 2, "every message of every table has a golden frame: {seen:?}");
}

proptest! {
    #[test]
    fn a_large_payload_that_follows_its_head_makes_the_same_frame(message in down(), extra in 0..3usize) {
        let mut message = message;
        if let Down::Run { params: payload, .. }
        | Down::Define { code: payload, .. }
        | Down::Call { arguments: payload, .. } = &mut message
        {
            *payload = vec![b'x'; extra * (64 << 10)].into();
        }
        let whole = frame(&message);
        let Some(payload) = message.large_payload() else {
            prop_assert!(whole.len() < 64 << 10);
            return Ok(());
        };
        let head = message.head();
        let mut parts = vec![7];
        encode_before(&head, payload.len(), LIMIT, &mut parts).expect("fits");
        parts.extend_from_slice(payload);
        prop_assert_eq!(&parts[1..], &whole[..]);
        let mut none = vec![7];
        let refused = encode_before(&head, payload.len(), payload.len(), &mut none);
        let is_refused = matches!(refused, Err(WireError::TooLarge { .. })) && none == [7];
        prop_assert!(is_refused, "{refused:?}");
    }
}

#[test]
fn large_results_are_read_as_small_ones_are_wherever_the_stream_is_cut() {
    let done = |seq, size| Up::Done { seq: Seq(seq), nanos: 5, data: vec![b'r'; size].into() };
    let log = Up::Log { seq: Seq(2), level: LogLevel::Info, message: "x".repeat(2 << 20) };
    let messages = [done(1, 3), done(2, 3 << 20), log, done(3, 0), done(4, 1 << 20), done(5, 7)];
    let bytes: Vec<u8> = messages.iter().flat_map(frame).collect();
    for step in [bytes.len(), 1 << 20, 70_000] {
        let (mut reader, mut read) = (FrameReader::new(LIMIT), Vec::new());
        for piece in bytes.chunks(step) {
            reader.room(piece.len()).expect("memory").extend_from_slice(piece);
            reader.drain_up(&mut read, usize::MAX).expect("frames");
        }
        assert!(read == messages, "cut into pieces of {step}");
    }
    let mut wrong = frame(&done(1, 2 << 20));
    wrong[4 + 20] ^= 1; // the length of its data
    let (mut reader, mut read) = (FrameReader::new(LIMIT), Vec::new());
    reader.room(wrong.len()).expect("memory").extend_from_slice(&wrong);
    assert!(matches!(reader.drain_up(&mut read, usize::MAX), Err(WireError::Malformed { .. })), "{}", read.len());
}

fn hex_shown(shown: &str, text: &str) -> bool {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    let bytes = hex(text);
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&bytes);
    shown.contains(&format!("{:?}", Bytes::from(bytes.clone())))
        || shown.contains(&format!("{bytes:?}"))
        || shown.contains(&format!("{path:?}"))
}

fn text() -> impl Strategy<Value = String> {
    ".{0,40}"
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u64>().prop_map(Seq)
}

fn down() -> impl Strategy<Value = Down> {
    prop_oneof![
        (any::<u32>(), text(), any::<u32>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
            |(protocol, worker, slots, async_slots, frame_limit, payload_limit, restore)| Down::Configure {
                protocol,
                worker,
                slots,
                async_slots,
                frame_limit,
                payload_limit,
                restore,
            }
        ),
        (seq(), any::<u32>(), any::<u64>(), any::<[u8; 16]>(), "/[a-z/é ]{0,60}", payload()).prop_map(
            |(seq, attempt, limit, task, script, params)| Down::Run {
                seq,
                attempt: Attempt(attempt),
                limit,
                task,
                script: ScriptPath::new(script.as_ref()),
                params: params.into(),
            }
        ),
        (any::<[u8; 16]>(), payload()).prop_map(|(id, code)| Down::Define { part: PartId(id), code: code.into() }),
        any::<[u8; 16]>().prop_map(|id| Down::Forget { part: PartId(id) }),
        (seq(), any::<u32>(), any::<u64>(), any::<[u8; 16]>(), any::<[u8; 16]>(), payload()).prop_map(
            |(seq, attempt, limit, task, function, arguments)| Down::Call {
                seq,
                attempt: Attempt(attempt),
                limit,
                task,
                function: PartId(function),
                arguments: arguments.into(),
            }
        ),
        payload().prop_map(|data| Down::Piece { data }),
    ]
    .prop_flat_map(|message| {
        let apart = any::<bool>().prop_map({
            let message = message.clone();
            move |shared| message.apart(shared)
        });
        prop_oneof![Just(message), apart]
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let cause = (text(), text()).prop_map(|(exception, message)| Cause { exception, message });
    let kind = prop_oneof![Just(FailureKind::Exception), Just(FailureKind::Cancelled), Just(FailureKind::SystemExit)];
    (kind, text(), text(), text(), proptest::collection::vec(cause, 0..4), payload()).prop_map(
        |(kind, exception, message, traceback, causes, raised)| Failure {
            kind,
            exception,
            message,
            traceback,
            causes,
            raised,
        },
    )
}

fn up() -> impl Strategy<Value = Up> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let level = prop_oneof![Just(LogLevel::Debug), Just(LogLevel::Error)];
    prop_oneof![
        (any::<u32>(), any::<u32>(), text(), payload()).prop_map(|(protocol, pid, python, executable)| Up::Ready {
            protocol,
            pid,
            python,
            executable
        }),
        (seq(), any::<u64>(), payload()).prop_map(|(seq, nanos, data)| Up::Done { seq, nanos, data: data.into() }),
        (seq(), any::<u64>(), failure()).prop_map(|(seq, nanos, failure)| Up::Failed { seq, nanos, failure }),
        (seq(), stream, payload()).prop_map(|(seq, stream, data)| Up::Output { seq, stream, data }),
        (seq(), -1e9..1e9, text()).prop_map(|(seq, fraction, message)| Up::Progress { seq, fraction, message }),
        (seq(), level, text()).prop_map(|(seq, level, message)| Up::Log { seq, level, message }),
        (seq(), any::<bool>()).prop_map(|(seq, coroutine)| Up::Loaded { seq, coroutine }),
        payload().prop_map(|data| Up::Piece { data }),
        (seq(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(seq, nanos, size, shared)| Up::LargeDone {
            seq,
            nanos,
            data: Apart { size, shared }
        }),
    ]
}

fn control() -> impl Strategy<Value = (ControlDown, ControlUp)> {
    let seqs = proptest::collection::vec(seq(), 0..20);
    (seqs, any::<u64>(), 0..5u8).prop_map(|(seqs, number, which)| match which {
        0 => (ControlDown::Cancel { seq: Seq(number) }, ControlUp::Pong { nonce: number }),
        1 => (ControlDown::Revoke { seqs: seqs.clone() }, ControlUp::Revoked { seqs }),
        2 => (ControlDown::DumpStacks, ControlUp::Pong { nonce: number }),
        3 => (ControlDown::Ping { nonce: number }, ControlUp::Pong { nonce: number }),
        _ => (ControlDown::Interrupt { seq: Seq(number) }, ControlUp::Pong { nonce: number }),
    })
}

/// Encode and decode agree, and `wincode` writes the same bytes: it can take bincode's place.
fn agrees<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = frame(message);
    let (length, body) = bytes.split_at(4);
    assert_eq!(u32::from_le_bytes(length.try_into().expect("four bytes")) as usize, body.len());
    assert_eq!(&decode::<T>(body).expect("decodes"), message);
    let wincode = <serde_wincode::SerdeCompat<T> as wincode::Serialize>::serialize(message);
    assert_eq!(wincode.expect("wincode writes it"), body);
}

proptest! {
    #[test]
    fn encode_and_decode_agree_with_each_other_and_with_wincode(
        down in down(), up in up(), (control_down, control_up) in control()
    ) {
        agrees(&down);
        agrees(&up);
        agrees(&control_down);
        agrees(&control_up);
    }

    #[test]
    fn l8_no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode::<Up>(&bytes);
        let _ = decode::<ControlUp>(&bytes);
        let _ = decode::<Down>(&bytes);
    }

    #[test]
    fn l8_a_spoiled_message_is_refused_or_read_but_never_panics(
        up in up(), at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = frame(&up)[4..].to_vec();
        let spot = at.index(bytes.len());
        bytes[spot] = value;
        let _ = decode::<Up>(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode::<Up>(&bytes);
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages(
        messages in proptest::collection::vec(up(), 1..8), cuts in proptest::collection::vec(1..50usize, 1..40)
    ) {
        let stream: Vec<u8> = messages.iter().flat_map(frame).collect();
        let mut reader = FrameReader::new(LIMIT);
        let (mut found, mut rest, mut turn) = (Vec::<Up>::new(), &stream[..], 0);
        while !rest.is_empty() {
            let size = cuts[turn % cuts.len()].min(rest.len());
            reader.room(size).expect("memory").extend_from_slice(&rest[..size]);
            reader.drain(&mut found).expect("whole messages");
            rest = &rest[size..];
            turn += 1;
        }
        prop_assert_eq!(found, messages);
    }
}

#[test]
fn l8_a_stated_length_is_not_believed() {
    // A text of 2^63 bytes, a list of 2^40 numbers, a frame of 4 GiB: none may allocate what it states.
    let huge_text = [&3u32.to_le_bytes()[..], &1u64.to_le_bytes(), &0u32.to_le_bytes(), &(1u64 << 63).to_le_bytes()];
    assert!(decode::<Up>(&huge_text.concat()).is_err());
    let huge_list = [&0u32.to_le_bytes()[..], &(1u64 << 40).to_le_bytes()].concat();
    assert!(decode::<ControlUp>(&huge_list).is_err());

    let mut reader = FrameReader::new(1 << 20);
    reader.room(4).expect("memory").extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(reader.next_frame(), Err(WireError::TooLarge { size, .. }) if size == u32::MAX as usize));

    let mut reader = FrameReader::new(LIMIT);
    reader.room(4).expect("memory").extend_from_slice(&(60u32 << 20).to_le_bytes());
    assert!(matches!(reader.next_frame(), Ok(None)));
    assert!(reader.room(1 << 16).expect("memory").capacity() < 1 << 18, "60 MiB were only announced");
}

#[test]
fn l9_a_failure_with_very_many_empty_causes_is_refused() {
    let cause = Cause { exception: String::new(), message: String::new() };
    let failed = |causes| {
        let failure = Failure {
            kind: FailureKind::Exception,
            exception: String::new(),
            message: String::new(),
            traceback: String::new(),
            causes: vec![cause.clone(); causes],
            raised: Bytes::new(),
        };
        frame(&Up::Failed { seq: Seq(1), nanos: 0, failure })
    };
    assert!(decode::<Up>(&failed(MAX_CAUSES)[4..]).is_ok());
    for causes in [MAX_CAUSES + 1, 2_000_000] {
        let error = decode::<Up>(&failed(causes)[4..]).expect_err("refused");
        assert!(error.to_string().contains("more than 64 causes"), "{error}");
    }
}

#[test]
fn l9_a_count_that_the_bytes_do_not_bear_out_allocates_nothing() {
    // The count of a list, and the lengths of a text and of bytes, at their places in a message.
    let messages: [(&[u8], usize); 3] = [
        (&frame(&ControlUp::Revoked { seqs: vec![Seq(1), Seq(2)] }), 8),
        (&frame(&Up::Log { seq: Seq(1), level: LogLevel::Info, message: "text".into() }), 4 + 4 + 8 + 4),
        (&frame(&Up::Done { seq: Seq(1), nanos: 1, data: "bytes".into() }), 4 + 4 + 8 + 8),
    ];
    for (message, at) in messages {
        for count in [1 << 20, 1 << 32, 1 << 40, u64::MAX] {
            let mut message = message.to_vec();
            message[at..at + 8].copy_from_slice(&u64::to_le_bytes(count));
            assert!(decode::<Up>(&message[4..]).is_err() && decode::<ControlUp>(&message[4..]).is_err());
        }
    }
}

#[test]
fn l9_a_frame_that_finds_no_memory_is_a_typed_error() {
    let mut reader = FrameReader::new(LIMIT);
    assert!(matches!(reader.room(isize::MAX as usize), Err(WireError::NoMemory { .. })));
    assert!(reader.room(1).is_ok(), "and the reader goes on");
}

#[test]
fn a_message_above_the_limit_is_refused_and_leaves_the_buffer_as_it_was() {
    let message = Up::Done { seq: Seq(1), nanos: 0, data: vec![b'1'; 1000].into() };
    let mut out = b"before".to_vec();
    assert!(matches!(encode(&message, 500, &mut out), Err(WireError::TooLarge { limit: 500, .. })));
    assert_eq!(out, b"before");
}
