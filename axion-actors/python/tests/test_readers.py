"""The readers of packed values and frames: what the bytes cannot hold is refused before anything grows (L8, L9)."""

import os
import pickle
import random
import struct
import subprocess
import tracemalloc
import unittest

import harness  # first: it makes the runtime importable

from axion_worker import packing, wire

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROUNDS = 20000


def header(tag, *sizes):
    return bytes((tag,)) + struct.pack("<I", len(sizes)) + struct.pack("<%dQ" % len(sizes), *sizes)


FORGED = {
    "nothing": b"",
    "2^32 buffers in 5 bytes": b"\1\xff\xff\xff\xff",
    "2^32 buffers in 6 bytes": b"\1\xff\xff\xff\xff\0",
    "2^32 values in a list": b"\3\xff\xff\xff\xff\0",
    "a header that ends in its count": b"\1\2\0",
    "a header that ends in its sizes": b"\1\1\0\0\0\7\0\0",
    "no pickle": header(1),
    "a part of 2^64 bytes": header(1, 2 ** 64 - 1) + b"\x80",
    "sizes that sum to the rest modulo 2^64": header(1, 2 ** 64 - 1, 3) + b"\x80.",
    "a part that ends behind the value": header(1, 5) + b"\x80.",
    "bytes behind the last part": header(1, 2) + b"\x80\x05N.",
    "an empty value in a list": header(3, 0),
    "a description without its size": b"\2\1\0\0",
    "a description of 2^64 bytes": b"\2\1" + b"\xff" * 8 + b"[]",
    "a description without a value": b"\2\1" + struct.pack("<Q", 2) + b"[]",
    "descriptions within each other": (b"\2\0" + bytes(8)) * 100 + b"\x80\x05N.",
}
WRAPPED = b"\x80\x05N."
for _ in range(100):
    WRAPPED = header(3, len(WRAPPED)) + WRAPPED
FORGED["lists within each other"] = WRAPPED


def read(raw):
    return packing.unpack(raw, pickle.loads, bytes)


class PackedValues(unittest.TestCase):
    def test_forged_values_are_refused(self):
        for name, raw in FORGED.items():
            for form in (raw, memoryview(raw)):
                with self.subTest(name), self.assertRaises(packing.PackingError) as caught:
                    read(form)
                self.assertRegex(str(caught.exception), r"\d", "it says what is wrong, with its figures")

    def test_forged_arguments_are_refused(self):
        pickled = pickle.dumps(((), {}), 5)
        cases = dict(FORGED)
        cases.update({name + ", as a value": header(4, len(pickled), len(raw)) + pickled + raw
                      for name, raw in FORGED.items()})
        cases.update({name + ", as the arguments": header(4, len(raw)) + raw
                      for name, raw in FORGED.items() if raw[:1] == b"\1"})
        cases["2^32 values"] = b"\4\xff\xff\xff\xff\0"
        cases["no arguments"] = header(4)
        for name, raw in cases.items():
            with self.subTest(name), self.assertRaises(packing.PackingError):
                packing.unpack_arguments(raw, pickle, bytes)

    def test_a_count_of_buffers_takes_no_memory_of_its_own(self):
        """The largest count that a megabyte holds: only buffers that the pickle asks for are made."""
        raw = memoryview(header(1, 4, *[0] * (1 << 17)) + b"\x80\x05N.")
        tracemalloc.start()
        try:
            self.assertIsNone(read(raw))
            self.assertLess(tracemalloc.get_traced_memory()[1], 64 << 10)
        finally:
            tracemalloc.stop()

    def test_what_the_engine_nests_is_read(self):
        described = packing.add_description(pickle.dumps({1}, 5), None, "a set")
        values = header(3, len(described), 1) + described + b"7"
        self.assertEqual(read(packing.add_description(values, b"[null, 7]", "")), [{1}, b"7"])


class Frames(unittest.TestCase):
    def test_a_list_of_more_items_than_the_frame_holds_is_refused_at_once(self):
        for count in (2 ** 64 - 1, 2 ** 32, 3):
            revoke = struct.pack("<IQ", 1, count) + bytes(16)
            with self.assertRaisesRegex(wire.WireError, "a list of %d items in 16 bytes" % count):
                wire.decode(wire.CONTROL_DOWN, revoke)
            failed = wire.encode(wire.UP, "Failed", 1, 1, (0, "", "", "", [], b""))[4:]
            failed = failed[:-16] + struct.pack("<Q", count) + bytes(24)
            with self.assertRaisesRegex(wire.WireError, "a list of %d items in 24 bytes" % count):
                wire.decode(wire.UP, failed)

    def test_a_text_longer_than_its_frame_is_refused(self):
        with self.assertRaisesRegex(wire.WireError, "ends after 1"):
            wire.decode(wire.UP, struct.pack("<IQIQ", 5, 1, 0, 2 ** 63) + b"x")


class Fuzz(unittest.TestCase):
    def test_broken_bytes_give_a_value_or_a_typed_error_in_bounded_memory(self):
        seed = os.environ.get("AXION_TEST_SEED") or str(random.randrange(1 << 32))
        command = [harness.INTERPRETER, os.path.join(_HERE, "fuzz_readers.py"), seed, str(_ROUNDS)]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        said = ended.stdout.decode("utf-8", "replace")
        self.assertEqual((ended.returncode, said), (0, "seed %s: %d rounds\n" % (seed, _ROUNDS)))


if __name__ == "__main__":
    unittest.main()
