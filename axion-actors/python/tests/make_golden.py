"""Spells the golden frames out by hand: golden/frames.json holds what this prints.

    python3 make_golden.py > ../../golden/frames.json

It knows nothing of wire.py: each frame is written field by field, from the words of
docs/internals/wire-protocol.md, with four helpers that put bytes in a row. In "values" a field of kind bytes
or id is hex, text is text; a nested failure is a list in field order, causes [exception, message].
"""

import json

U64_MAX = 0xFFFF_FFFF_FFFF_FFFF
U32_MAX = 0xFFFF_FFFF
TASK = "018f3a5e00007abc8def0123456789ab"


def u32(number):
    return number.to_bytes(4, "little")


def u64(number):
    return number.to_bytes(8, "little")


def raw(data):
    return u64(len(data)) + data


def text(words):
    return raw(words.encode("utf-8"))


def frame(*parts):
    body = b"".join(parts)
    return u32(len(body)) + body


# IEEE 754 doubles, least significant byte first.
F64 = {0.0: "0000000000000000", 0.5: "000000000000e03f", 1.0: "000000000000f03f", -2.0: "00000000000000c0"}


def f64(number):
    return bytes.fromhex(F64[number])


def failure(kind, exception, message, traceback, causes, raised):
    return (u32(kind) + text(exception) + text(message) + text(traceback) + u64(len(causes))
            + b"".join(text(name) + text(words) for name, words in causes) + raw(bytes.fromhex(raised)))


_FAILURES = (
    [0, "", "", "", [], ""],
    [0, "ValueError", "bad: ü", "Traceback (most recent call last):\n  File \"/s/a.py\", line 2, in main\n",
     [["KeyError", "'key'"], ["helper.Broken", ""]], b"\x80\x05N.".hex()],
    [12, "asyncio.exceptions.CancelledError", "the task was cancelled", "", [], ""],
    [13, "名", "\0", "\U0001f40d", [["", ""]], b"\0\xff".hex()],
    [14, "", "", "", [], ""],
    [15, "", "", "", [], ""],
)

FRAMES = [
    ("DOWN", "Configure", [7, "cpu-0", 1, 0, 67108864, 2 ** 32, False],
     frame(u32(0), u32(7), text("cpu-0"), u32(1), u32(0), u64(67108864), u64(2 ** 32), b"\0")),
    ("DOWN", "Configure", [7, "io-1", 20, 200, 1048576, 1048576, True],
     frame(u32(0), u32(7), text("io-1"), u32(20), u32(200), u64(1048576), u64(1048576), b"\1")),
    ("DOWN", "Configure", [U32_MAX, "", U32_MAX, U32_MAX, U64_MAX, U64_MAX, True],
     frame(u32(0), u32(U32_MAX), text(""), u32(U32_MAX), u32(U32_MAX), u64(U64_MAX), u64(U64_MAX), b"\1")),
    ("DOWN", "Run", [1, 1, 0, TASK, b"/s/a.py".hex(), b"{}".hex()],
     frame(u32(1), u64(1), u32(1), u64(0), bytes.fromhex(TASK), raw(b"/s/a.py"), raw(b"{}"))),
    ("DOWN", "Run", [0, 0, 1500000000, "00" * 16, "", ""],
     frame(u32(1), u64(0), u32(0), u64(1500000000), bytes(16), raw(b""), raw(b""))),
    ("DOWN", "Run", [U64_MAX, U32_MAX, U64_MAX, "ff" * 16, b"/sp\xc3\xa4\xc3\x9f/\xff.py".hex(), b'{"n": [1, "\xc3\xbc"]}'.hex()],
     frame(u32(1), u64(U64_MAX), u32(U32_MAX), u64(U64_MAX), b"\xff" * 16, raw(b"/sp\xc3\xa4\xc3\x9f/\xff.py"),
           raw(b'{"n": [1, "\xc3\xbc"]}'))),
    ("DOWN", "Define", ["00112233445566778899aabbccddeeff", b"\x80\x05code.".hex()],
     frame(u32(2), bytes.fromhex("00112233445566778899aabbccddeeff"), raw(b"\x80\x05code."))),
    ("DOWN", "Define", ["00" * 16, ""], frame(u32(2), bytes(16), raw(b""))),
    ("DOWN", "Forget", ["00112233445566778899aabbccddeeff"],
     frame(u32(3), bytes.fromhex("00112233445566778899aabbccddeeff"))),
    ("DOWN", "Call", [1, 1, 0, TASK, "00112233445566778899aabbccddeeff", b"\x80\x05).".hex()],
     frame(u32(4), u64(1), u32(1), u64(0), bytes.fromhex(TASK), bytes.fromhex("00112233445566778899aabbccddeeff"),
           raw(b"\x80\x05)."))),
    ("DOWN", "Call", [U64_MAX, U32_MAX, U64_MAX, "ff" * 16, "ff" * 16, ""],
     frame(u32(4), u64(U64_MAX), u32(U32_MAX), u64(U64_MAX), b"\xff" * 16, b"\xff" * 16, raw(b""))),
    ("DOWN", "Piece", [b"\x80\x05piece".hex()], frame(u32(5), raw(b"\x80\x05piece"))),
    ("DOWN", "Piece", [""], frame(u32(5), raw(b""))),
    ("DOWN", "LargeRun", [1, 1, 0, TASK, b"/s/a.py".hex(), [1 << 20, True]],
     frame(u32(6), u64(1), u32(1), u64(0), bytes.fromhex(TASK), raw(b"/s/a.py"), u64(1 << 20), b"\x01")),
    ("DOWN", "LargeDefine", ["00112233445566778899aabbccddeeff", [U64_MAX, False]],
     frame(u32(7), bytes.fromhex("00112233445566778899aabbccddeeff"), u64(U64_MAX), b"\x00")),
    ("DOWN", "LargeCall", [1, 1, 0, TASK, "00112233445566778899aabbccddeeff", [5 << 30, True]],
     frame(u32(8), u64(1), u32(1), u64(0), bytes.fromhex(TASK), bytes.fromhex("00112233445566778899aabbccddeeff"),
           u64(5 << 30), b"\x01")),
    ("UP", "Ready", [7, 4242, "3.11.7", b"/usr/bin/python3".hex()],
     frame(u32(0), u32(7), u32(4242), text("3.11.7"), raw(b"/usr/bin/python3"))),
    ("UP", "Ready", [U32_MAX, U32_MAX, "", ""],
     frame(u32(0), u32(U32_MAX), u32(U32_MAX), text(""), raw(b""))),
    ("UP", "Done", [1, 12345, b"null".hex()],
     frame(u32(1), u64(1), u64(12345), raw(b"null"))),
    ("UP", "Done", [U64_MAX, U64_MAX, ""],
     frame(u32(1), u64(U64_MAX), u64(U64_MAX), raw(b""))),
    ("UP", "Done", [258, 0, b'{"a": "\\ud83d\\ude00"}'.hex()],
     frame(u32(1), u64(258), u64(0), raw(b'{"a": "\\ud83d\\ude00"}'))),
] + [
    ("UP", "Failed", [seq, nanos, fields], frame(u32(2), u64(seq), u64(nanos), failure(*fields)))
    for (seq, nanos), fields in zip([(0, 0), (7, 1000), (8, 2 ** 40), (U64_MAX, U64_MAX), (9, 1), (10, 1)], _FAILURES)
] + [
    ("UP", "Output", [3, 0, b"line\n".hex()], frame(u32(3), u64(3), u32(0), raw(b"line\n"))),
    ("UP", "Output", [0, 1, b"\x00\xff\xc3".hex()], frame(u32(3), u64(0), u32(1), raw(b"\x00\xff\xc3"))),
    ("UP", "Output", [U64_MAX, 0, ""], frame(u32(3), u64(U64_MAX), u32(0), raw(b""))),
    ("UP", "Progress", [3, 0.5, "hälf"], frame(u32(4), u64(3), f64(0.5), text("hälf"))),
    ("UP", "Progress", [0, 0.0, ""], frame(u32(4), u64(0), f64(0.0), text(""))),
    ("UP", "Progress", [U64_MAX, 1.0, "最大"],
     frame(u32(4), u64(U64_MAX), f64(1.0), text("最大"))),
    ("UP", "Progress", [4, -2.0, "1.0"], frame(u32(4), u64(4), f64(-2.0), text("1.0"))),
    ("UP", "Log", [3, 2, "careful"], frame(u32(5), u64(3), u32(2), text("careful"))),
    ("UP", "Log", [U64_MAX, 3, "\U0001f40d\n"], frame(u32(5), u64(U64_MAX), u32(3), text("\U0001f40d\n"))),
    ("UP", "Log", [0, 0, ""], frame(u32(5), u64(0), u32(0), text(""))),
    ("UP", "Loaded", [3, True], frame(u32(6), u64(3), b"\x01")),
    ("UP", "Loaded", [U64_MAX, False], frame(u32(6), u64(U64_MAX), b"\x00")),
    ("UP", "Piece", [b"\x80\x05piece".hex()], frame(u32(7), raw(b"\x80\x05piece"))),
    ("UP", "LargeDone", [1, 12345, [1 << 20, True]], frame(u32(8), u64(1), u64(12345), u64(1 << 20), b"\x01")),
    ("UP", "LargeDone", [U64_MAX, 0, [U64_MAX, False]], frame(u32(8), u64(U64_MAX), u64(0), u64(U64_MAX), b"\x00")),
    ("CONTROL_DOWN", "Cancel", [9], frame(u32(0), u64(9))),
    ("CONTROL_DOWN", "Cancel", [U64_MAX], frame(u32(0), u64(U64_MAX))),
    ("CONTROL_DOWN", "Revoke", [[]], frame(u32(1), u64(0))),
    ("CONTROL_DOWN", "Revoke", [[4, 5, 6]], frame(u32(1), u64(3), u64(4), u64(5), u64(6))),
    ("CONTROL_DOWN", "Revoke", [[U64_MAX, 0]], frame(u32(1), u64(2), u64(U64_MAX), u64(0))),
    ("CONTROL_DOWN", "DumpStacks", [], frame(u32(2))),
    ("CONTROL_DOWN", "Ping", [0], frame(u32(3), u64(0))),
    ("CONTROL_DOWN", "Ping", [0x0102030405060708], frame(u32(3), u64(0x0102030405060708))),
    ("CONTROL_DOWN", "Interrupt", [7], frame(u32(4), u64(7))),
    ("CONTROL_UP", "Revoked", [[]], frame(u32(0), u64(0))),
    ("CONTROL_UP", "Revoked", [[5, U64_MAX]], frame(u32(0), u64(2), u64(5), u64(U64_MAX))),
    ("CONTROL_UP", "Pong", [0], frame(u32(1), u64(0))),
    ("CONTROL_UP", "Pong", [U64_MAX], frame(u32(1), u64(U64_MAX))),
]


def document():
    """The text of golden/frames.json, one frame a line."""
    lines = [json.dumps({"table": table, "name": name, "values": values, "hex": data.hex()}, ensure_ascii=False)
             for table, name, values, data in FRAMES]
    return "[\n  %s\n]\n" % ",\n  ".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.buffer.write(document().encode())
