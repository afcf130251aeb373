"""The byte format: the golden frames that both sides read and write, and bytes that are no frames."""

import json
import os
import random
import resource
import unittest

import make_golden
from harness import PYTHON_FOLDER, wire
from axion_worker.context import parse_call, parse_run

GOLDEN = os.path.join(os.path.dirname(PYTHON_FOLDER), "golden", "frames.json")
TABLES = {"DOWN": wire.DOWN, "UP": wire.UP, "CONTROL_DOWN": wire.CONTROL_DOWN, "CONTROL_UP": wire.CONTROL_UP}


def frames():
    """The golden frames as (table, name, values as wire.py has them, bytes)."""
    with open(GOLDEN, encoding="utf-8") as file:
        for entry in json.load(file):
            fields = dict(TABLES[entry["table"]])[entry["name"]]
            values = [_read(kind, value) for (_, kind), value in zip(fields, entry["values"])]
            yield entry["table"], entry["name"], values, bytes.fromhex(entry["hex"])


def _read(kind, value):
    if kind in ("bytes", "id"):
        return bytes.fromhex(value)
    if isinstance(kind, tuple):
        return [_read(inner, part) for (_, inner), part in zip(kind, value)]
    return value


class Golden(unittest.TestCase):
    def test_the_file_is_what_was_spelled_by_hand(self):
        with open(GOLDEN, encoding="utf-8") as file:
            self.assertEqual(file.read(), make_golden.document(), "run make_golden.py")

    def test_some_frames_byte_by_byte(self):
        by_name = {(name, repr(values)): data.hex() for _, name, values, data in frames()}
        self.assertEqual(by_name["DumpStacks", "[]"], "04000000" "02000000")
        self.assertEqual(by_name["Ping", "[72623859790382856]"], "0c000000" "03000000" "0807060504030201")
        self.assertEqual(by_name["Revoke", "[[4, 5, 6]]"],
                         "24000000" "01000000" "0300000000000000" "0400000000000000" "0500000000000000" "0600000000000000")
        self.assertEqual(by_name["Done", "[1, 12345, b'null']"],
                         "20000000" "01000000" "0100000000000000" "3930000000000000" "0400000000000000" "6e756c6c")
        self.assertEqual(by_name["Progress", "[3, 0.5, 'hälf']"],
                         "21000000" "04000000" "0300000000000000" "000000000000e03f" "0500000000000000" "68c3a46c66")
        self.assertEqual(by_name["Loaded", "[3, True]"], "0d000000" "06000000" "0300000000000000" "01")

    def test_every_message_has_one(self):
        there = {(table, name) for table, name, _, _ in frames()}
        self.assertEqual(there, {(table, name) for table, known in TABLES.items() for name, _ in known})

    def test_reading(self):
        for table, name, values, data in frames():
            with self.subTest(table=table, name=name, values=values):
                self.assertEqual(int.from_bytes(data[:4], "little"), len(data) - 4)
                self.assertEqual(wire.decode(TABLES[table], data[4:]), (name, values))
                self.assertEqual(wire.decode(TABLES[table], memoryview(data)[4:]), (name, values))

    def test_writing(self):
        for table, name, values, data in frames():
            with self.subTest(table=table, name=name, values=values):
                self.assertEqual(wire.encode(TABLES[table], name, *values), data)

    def test_the_fast_layouts_agree(self):
        runs = [(values, data) for _, name, values, data in frames() if name == "Run"]
        for values, data in runs:
            # In the midst of other frames, as they lie in one read.
            self.assertEqual(list(parse_run(b"before" + data + b"after", 10, 6 + len(data))), values)
        calls = [(values, data) for _, name, values, data in frames() if name == "Call"]
        for values, data in calls:
            self.assertEqual(list(parse_call(b"before" + data + b"after", 10, 6 + len(data))), values)
        done = [(values, data) for _, name, values, data in frames() if name == "Done"]
        for (seq, nanos, result), data in done:
            head = wire.DONE_HEAD.pack(len(result) + wire.DONE_OVERHEAD, wire.DONE_TAG, seq, nanos, len(result))
            self.assertEqual(head + result, data)
        self.assertTrue(runs and calls and done)

    def test_the_fast_reader_refuses_what_the_slow_one_refuses(self):
        for table, name, _, data in frames():
            if table == "DOWN" and name != "Run":
                self.assertRaises(wire.WireError, parse_run, data + bytes(100), 4, len(data))
            if table == "DOWN" and name != "Call":
                self.assertRaises(wire.WireError, parse_call, data + bytes(100), 4, len(data))
            if name == "Call":
                behind = data + bytes(100)
                for end in range(4, 4 + wire.CALL_HEAD.size):
                    self.assertRaises(wire.WireError, parse_call, behind, 4, end)
            if name == "Run":
                behind = data + bytes(100)
                for end in range(4, 4 + wire.RUN_HEAD.size + 8):
                    self.assertRaises(wire.WireError, parse_run, behind, 4, end)


class NoFrames(unittest.TestCase):
    def test_text_that_has_no_utf8_form_is_escaped(self):
        data = wire.encode(wire.UP, "Log", 1, 1, "a\ud800")
        self.assertEqual(wire.decode(wire.UP, data[4:]), ("Log", [1, 1, "a\\ud800"]))

    def test_an_unknown_message_is_not_written(self):
        self.assertRaises(wire.WireError, wire.encode, wire.UP, "Nonsense")

    def test_truncated_frames_are_refused_at_every_byte(self):
        for table, name, values, data in frames():
            for end in range(4, len(data)):
                with self.subTest(name=name, end=end):
                    self.assertRaises(wire.WireError, wire.decode, TABLES[table], data[4:end])
            self.assertRaises(wire.WireError, wire.decode, TABLES[table], data[4:] + b"\0")

    def test_hostile_lengths_and_counts_cost_nothing(self):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        huge = b"\xff" * 8
        for table, body in (
            (wire.CONTROL_DOWN, b"\1\0\0\0" + huge),
            (wire.CONTROL_DOWN, b"\1\0\0\0" + huge + bytes(800)),
            (wire.CONTROL_UP, b"\0\0\0\0" + b"\0\0\0\0\0\1\0\0"),
            (wire.CONTROL_UP, b"\1\0\0\0" + bytes(8) + huge),
            (wire.UP, b"\1\0\0\0" + bytes(16) + huge + b"null"),
            (wire.UP, b"\2\0\0\0" + bytes(16) + bytes(4) + bytes(24) + huge + bytes(1000)),
        ):
            self.assertRaises(wire.WireError, wire.decode, table, body)
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 50_000)

    def test_random_bytes_and_mutated_frames_decode_or_are_refused(self):
        seed = int(os.environ.get("AXION_TEST_SEED", random.randrange(1 << 32)))
        known = list(frames())
        try:
            self._fuzz(random.Random(seed), known)
        except BaseException:
            print("\nthe seed was AXION_TEST_SEED=%d" % seed)
            raise

    def _fuzz(self, chance, known):
        outcomes = {True: 0, False: 0}
        for _ in range(20_000):
            table, _, _, data = chance.choice(known)
            body = bytearray(data[4:] if chance.random() < 0.8 else _random_bytes(chance, 80))
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(body) + 1)
                what = chance.randrange(4)
                if what == 0 and at < len(body):
                    body[at] = chance.choice((0, 1, 0x7f, 0x80, 0xff, chance.randrange(256)))
                elif what == 1:
                    body[at:at] = _random_bytes(chance, 10)
                elif what == 2:
                    del body[at:at + chance.randrange(10)]
                else:
                    body[at:] = b""
            outcomes[self._decodes(TABLES[table], bytes(body))] += 1
            padded = bytes(4) + bytes(body) + bytes(80)
            for parse in parse_run, parse_call:
                try:
                    parse(padded, 4, 4 + len(body))
                except wire.WireError:
                    pass
        self.assertGreater(min(outcomes.values()), 100, "the fuzz is too wild or too tame")

    def _decodes(self, table, body):
        try:
            name, values = wire.decode(table, body)
        except wire.WireError:
            return False
        # What was read says the same when it is written: one form for each message. (NaN is not equal to itself.)
        self.assertEqual(wire.encode(table, name, *values)[4:], body)
        return True


def _random_bytes(chance, limit):
    return bytes(chance.randrange(256) for _ in range(chance.randrange(limit)))


if __name__ == "__main__":
    unittest.main()
