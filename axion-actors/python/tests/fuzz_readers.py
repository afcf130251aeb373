"""Feeds broken bytes to the readers of packed values and frames, in the interpreter that runs this.

    python3 fuzz_readers.py SEED ROUNDS

Each input is valid bytes with random changes. A reader must return or raise its own typed error, and
must not take more memory than a multiple of the input's size (L8, L9). Ends with 1 and the input otherwise.
"""

import os
import random
import sys
import tracemalloc

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from axion_worker import packing, wire  # noqa: E402
from axion_worker.context import parse_call, parse_run  # noqa: E402

FACTOR, CONSTANT = 64, 64 << 10  # bytes of memory for a byte of input, and for none


class Refused(Exception):
    """Raised by the loaders below, as `pickle` and `json` raise their own."""


def loads(raw, buffers=()):
    """In place of `pickle.loads`, which runs code: takes the buffers as that does, one when it is asked for."""
    if len(raw) < 2:
        raise Refused
    return [bytes(raw[:8])] + [len(buffer) for buffer in buffers]


def read_json(raw):
    if raw[:1] not in (b"1", b"["):
        raise Refused
    return raw


class Pickle:
    """In place of the `pickle` module."""

    class Unpickler:
        def __init__(self, file, buffers=()):
            self._file, self._buffers = file, buffers

        def load(self):
            raw = self._file.read()
            number = raw[1] if len(raw) > 1 else 0
            return loads(raw, self._buffers), self.persistent_load(number % 3 - 1)

    loads = staticmethod(loads)


def valid_value(pick, depth=0):
    kind = pick.randrange(5 if depth < 4 else 2)
    if kind == 0:
        return b"[1, 2]" * pick.randrange(1, 4)
    if kind == 1:
        return b"\x80\x05" + pick.randbytes(pick.randrange(20))
    if kind == 2:
        buffers = [pick.randbytes(pick.randrange(9)) for _ in range(pick.randrange(4))]
        return parts(1, [b"\x80\x05N."] + buffers)
    if kind == 3:
        text = pick.choice((None, b"[1]"))
        return packing.add_description(valid_value(pick, depth + 1), text, "a set")
    return parts(3, [valid_value(pick, depth + 1) for _ in range(pick.randrange(4))])


def valid_arguments(pick):
    arguments = valid_value(pick) if pick.random() < 0.5 else b"\x80\x05\x00."
    return parts(4, [arguments] + [valid_value(pick) for _ in range(pick.randrange(1, 4))])


def parts(tag, items):
    return packing._header(tag, items) + b"".join(items)


def valid_fields(pick, kind):
    if kind == "text":
        return pick.choice(("", "a", "°" * 9))
    if kind in ("bytes", "id"):
        return pick.randbytes(16 if kind == "id" else pick.randrange(40))
    if kind == "bool":
        return pick.random() < 0.5
    if kind == "f64":
        return pick.random()
    if isinstance(kind, list):
        return [valid_fields(pick, kind[0]) for _ in range(pick.randrange(5))]
    if isinstance(kind, tuple):
        return [valid_fields(pick, inner) for _, inner in kind]
    return pick.randrange(1 << 8)


def broken(pick, data):
    """The bytes with a few changes of the kinds that a broken writer makes."""
    data = bytearray(data)
    for _ in range(pick.randrange(4)):
        at = pick.randrange(len(data) + 1)
        change = pick.randrange(5)
        if change == 0:
            data[at:at + 1] = pick.randbytes(1)
        elif change == 1:
            del data[at:]
        elif change == 2:
            data[at:at] = pick.randbytes(pick.randrange(9))
        elif change == 3:
            width = pick.choice((4, 8))
            data[at:at + width] = pick.choice((b"\xff" * width, b"\0" * (width - 1) + b"\x80", b"\0" * width))
        else:
            data[at:at + 8] = len(data).to_bytes(8, "little")
    return bytes(data)


def read_value(data):
    packing.unpack(data, loads, read_json)


def read_arguments(data):
    packing.unpack_arguments(data, Pickle, read_json)


def read_run(data):
    parse_run(b"before" + data + b"behind" * 9, 6, 6 + len(data))
    parse_run(data, 0, len(data))


def read_call(data):
    parse_call(b"before" + data + b"behind" * 9, 6, 6 + len(data))
    parse_call(data, 0, len(data))


def cases(pick):
    """A reader, the errors that it may raise, and bytes for it."""
    kind = pick.randrange(5)
    if kind == 0:
        return read_value, (packing.PackingError, Refused), valid_value(pick)
    if kind == 1:
        return read_arguments, (packing.PackingError, Refused, IndexError), valid_arguments(pick)
    table = pick.choice((wire.DOWN, wire.UP, wire.CONTROL_DOWN, wire.CONTROL_UP))
    name, fields = pick.choice(table)
    frame = wire.encode(table, name, *[valid_fields(pick, kind) for _, kind in fields])[4:]
    if name in ("Run", "Call") and len(frame) >= wire.CALL_HEAD.size:
        return (read_run if name == "Run" else read_call), (wire.WireError,), frame
    return (lambda data: wire.decode(table, data)), (wire.WireError,), frame


def check(read, errors, data):
    tracemalloc.clear_traces()
    before = tracemalloc.get_traced_memory()[0]
    try:
        read(data)
    except errors:
        pass
    peak = tracemalloc.get_traced_memory()[1] - before
    if peak > FACTOR * len(data) + CONSTANT:
        raise AssertionError("%d bytes of memory for %d bytes" % (peak, len(data)))


def main(seed, rounds):
    pick = random.Random(seed)
    if not hasattr(pick, "randbytes"):  # before Python 3.9
        pick.randbytes = lambda size: bytes(pick.randrange(256) for _ in range(size))
    tracemalloc.start()
    for number in range(rounds):
        read, errors, data = cases(pick)
        data = broken(pick, data)
        try:
            check(read, errors, data)
        except Exception:
            print("seed %d, round %d, %s: %r" % (seed, number, read.__name__, data))
            raise
    print("seed %d: %d rounds" % (seed, rounds))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
