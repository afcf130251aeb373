"""The byte format of docs/internals/wire-protocol.md.

A frame is a `u32` little-endian length and one message: a `u32` tag, then the fields in order, of
fixed width and little-endian. Text and bytes start with a `u64` length, lists with a `u64` count. The
tables below are the whole format. `inline` and `threaded` read `Run` and write `Done` with the
precompiled layouts at the end. The golden frames check that both agree.
"""

from .cpython import Struct, StructError

PROTOCOL = 7

# The status page has PAGE_SLOTS slots for running tasks, then PAGE_ENDED places for tasks that have ended.
PAGE_SLOTS, PAGE_ENDED = 512, 1024

_NUMBERS = {"u8": Struct("<B"), "u32": Struct("<I"), "u64": Struct("<Q"), "f64": Struct("<d")}
_U32, _U64 = _NUMBERS["u32"], _NUMBERS["u64"]

CAUSE = (("exception", "text"), ("message", "text"))
FAILURE = (("kind", "u32"), ("exception", "text"), ("message", "text"), ("traceback", "text"),
           ("causes", [CAUSE]), ("raised", "bytes"))
# A payload that travels apart from its message: its size, and whether it is in shared memory.
APART = (("size", "u64"), ("shared", "bool"))

# Data pipe, engine to child.
DOWN = (
    ("Configure", (("protocol", "u32"), ("worker", "text"), ("slots", "u32"), ("async_slots", "u32"),
                   ("frame_limit", "u64"), ("payload_limit", "u64"), ("restore", "bool"))),
    ("Run", (("seq", "u64"), ("attempt", "u32"), ("limit", "u64"), ("task", "id"), ("script", "bytes"),
             ("params", "bytes"))),
    ("Define", (("part", "id"), ("code", "bytes"))),
    ("Forget", (("part", "id"),)),
    ("Call", (("seq", "u64"), ("attempt", "u32"), ("limit", "u64"), ("task", "id"), ("function", "id"),
              ("arguments", "bytes"))),
    ("Piece", (("data", "bytes"),)),
    ("LargeRun", (("seq", "u64"), ("attempt", "u32"), ("limit", "u64"), ("task", "id"), ("script", "bytes"),
                  ("params", APART))),
    ("LargeDefine", (("part", "id"), ("code", APART))),
    ("LargeCall", (("seq", "u64"), ("attempt", "u32"), ("limit", "u64"), ("task", "id"), ("function", "id"),
                   ("arguments", APART))),
)
# Data pipe, child to engine.
UP = (
    ("Ready", (("protocol", "u32"), ("pid", "u32"), ("python", "text"), ("executable", "bytes"))),
    ("Done", (("seq", "u64"), ("nanos", "u64"), ("data", "bytes"))),
    ("Failed", (("seq", "u64"), ("nanos", "u64"), ("failure", FAILURE))),
    ("Output", (("seq", "u64"), ("stream", "u32"), ("data", "bytes"))),
    ("Progress", (("seq", "u64"), ("fraction", "f64"), ("message", "text"))),
    ("Log", (("seq", "u64"), ("level", "u32"), ("message", "text"))),
    ("Loaded", (("seq", "u64"), ("coroutine", "bool"))),
    ("Piece", (("data", "bytes"),)),
    ("LargeDone", (("seq", "u64"), ("nanos", "u64"), ("data", APART))),
)
# Control socket, engine to child.
CONTROL_DOWN = (
    ("Cancel", (("seq", "u64"),)),
    ("Revoke", (("seqs", ["u64"]),)),
    ("DumpStacks", ()),
    ("Ping", (("nonce", "u64"),)),
    ("Interrupt", (("seq", "u64"),)),
)
# Control socket, child to engine.
CONTROL_UP = (
    ("Revoked", (("seqs", ["u64"]),)),
    ("Pong", (("nonce", "u64"),)),
)


class WireError(Exception):
    """Bytes that are not a message of the protocol."""


def encode(table, name, *values):
    """One message as a whole frame, its length in front."""
    for tag, (message, fields) in enumerate(table):
        if message == name:
            break
    else:
        raise WireError("no message %r" % name)
    parts = [_U32.pack(tag)]
    for (_, kind), value in zip(fields, values):
        _put(parts, kind, value)
    body = b"".join(parts)
    return _U32.pack(len(body)) + body


def decode(table, body):
    """The message in one frame's body: its name and its values in order."""
    try:
        tag = _U32.unpack_from(body, 0)[0]
        name, fields = table[tag]
        at, values = 4, []
        for _, kind in fields:
            value, at = _get(body, at, kind)
            values.append(value)
    except WireError:
        raise
    except Exception as error:
        raise WireError("cannot decode a frame of %d bytes: %s" % (len(body), error))
    if at != len(body):
        raise WireError("%d bytes left over after %s" % (len(body) - at, name))
    return name, values


def _put(parts, kind, value):
    if kind in ("text", "bytes"):
        raw = value.encode("utf-8", "backslashreplace") if kind == "text" else bytes(value)
        parts += (_U64.pack(len(raw)), raw)
    elif kind == "id":
        parts.append(value)
    elif kind == "bool":
        parts.append(b"\1" if value else b"\0")
    elif isinstance(kind, list):
        parts.append(_U64.pack(len(value)))
        for item in value:
            _put(parts, kind[0], item)
    elif isinstance(kind, tuple):
        for (_, inner), item in zip(kind, value):
            _put(parts, inner, item)
    else:
        parts.append(_NUMBERS[kind].pack(value))


def _min_size(kind):
    """The fewest bytes that a value of this kind takes."""
    if isinstance(kind, tuple):
        return sum(_min_size(inner) for _, inner in kind)
    if kind in ("text", "bytes") or isinstance(kind, list):
        return 8
    return {"id": 16, "bool": 1}.get(kind) or _NUMBERS[kind].size


def _get(body, at, kind):
    if kind in ("text", "bytes"):
        size = _U64.unpack_from(body, at)[0]
        at += 8
        raw = bytes(body[at:at + size])
        if len(raw) != size:
            raise WireError("a text of %d bytes ends after %d" % (size, len(raw)))
        return (raw.decode("utf-8") if kind == "text" else raw), at + size
    if kind == "id":
        raw = bytes(body[at:at + 16])
        if len(raw) != 16:
            raise WireError("a task id ends after %d bytes" % len(raw))
        return raw, at + 16
    if kind == "bool":
        if body[at] > 1:
            raise WireError("a bool of value %d" % body[at])
        return body[at] == 1, at + 1
    if isinstance(kind, list):
        count = _U64.unpack_from(body, at)[0]
        at += 8
        # Before the list grows: a count that the bytes cannot hold must not take memory (L9).
        if count * _min_size(kind[0]) > len(body) - at:
            raise WireError("a list of %d items in %d bytes" % (count, len(body) - at))
        items = []
        for _ in range(count):
            item, at = _get(body, at, kind[0])
            items.append(item)
        return items, at
    if isinstance(kind, tuple):
        items = []
        for _, inner in kind:
            item, at = _get(body, at, inner)
            items.append(item)
        return items, at
    number = _NUMBERS[kind]
    return number.unpack_from(body, at)[0], at + number.size


# `Run` from its tag to the length of its script. The script follows, then 8 bytes of length, then the
# parameters, which end the frame.
RUN_TAG, CONFIGURE_TAG = 1, 0
RUN_HEAD = Struct("<IQIQ16sQ")
# `Call` from its tag to its arguments, which end the frame.
CALL_TAG = 4
CALL_HEAD = Struct("<IQIQ16s16sQ")
# `Done` from the frame's length to its data.
DONE_HEAD = Struct("<IIQQQ")
DONE_TAG = 1
DONE_OVERHEAD = DONE_HEAD.size - 4
# `Piece` from the frame's length to its data.
PIECE_HEAD = Struct("<IIQ")
PIECE_TAG = 7
PIECE_OVERHEAD = PIECE_HEAD.size - 4
