"""Large payloads: in shared memory, or in pieces where there is none, in both kinds of worker."""

import os
import pickle
import sys
import uuid

from base import Case, OneWorker
from harness import LIMIT
from test_functions import Calls, code, surroundings

LARGE = 3 << 20


class Large(Calls, OneWorker):
    def call_apart(self, name, raw, is_shared=True):
        self.one._seq += 1
        self.one.send_apart(raw, "LargeCall", self.one._seq, 1, 0, uuid.uuid4().bytes, name, is_shared=is_shared)
        return self.one._seq

    def test_arguments_and_results_travel_apart_whether_shared_or_in_pieces(self):
        name, raw = self.define(bytes), pickle.dumps(((b"x" * LARGE,), {}), 5)
        for is_shared in (True, False, True):
            self.assertEqual(self.value(self.call_apart(name, raw, is_shared)), b"x" * LARGE)
        self.assertEqual(self.value(self.call(name, 3)), bytes(3))

    def test_code_travels_apart(self):
        module, folder = self.module("def size(n): return n")
        for is_shared in (True, False):
            part, name = uuid.uuid4().bytes, uuid.uuid4().bytes
            self.one.send("Define", part, surroundings(path=[folder, *sys.path]))
            large = code(module + ":size", part) + b"x" * LARGE  # behind the end of the pickle
            self.one.send_apart(large, "LargeDefine", name, is_shared=is_shared)
            self.assertEqual(self.value(self.call(name, 7)), 7)

    def test_a_script_gets_large_parameters_and_returns_them(self):
        echo, text = self.script("a.py", "def main(params, context): return params"), "x" * LARGE
        for is_shared in (True, False):
            self.one._seq += 1
            raw = b'"' + text.encode() + b'"'
            task = self.one._seq, 1, 0, uuid.uuid4().bytes, os.fsencode(echo)
            self.one.send_apart(raw, "LargeRun", *task, is_shared=is_shared)
            self.assertEqual(self.one.result(self.one._seq), text)

    def test_a_copy_of_a_part_can_be_written_to_and_nobody_else_sees_that(self):
        part = uuid.uuid4().bytes
        self.one.send_apart(bytes(LARGE), "LargeDefine", part)
        module, folder = self.module("""
            import gc, os
            def write(part):
                kept, = [it for it in gc.get_objects() if type(it).__name__ == "Functions"]
                view = kept.parts[part].writable_copy()
                view[5] = 1
                return view.readonly, bytes(view[4:7]), kept.parts[part][4:7], kept.parts[part].writable_copy()[5]
            def count():
                links = ["/proc/self/fd/" + fd for fd in os.listdir("/proc/self/fd")]
                return sum("memfd" in os.readlink(link) for link in links if os.path.lexists(link))
        """)
        name, count = (self.define(module + what, paths=[folder]) for what in (":write", ":count"))
        before = self.value(self.call(count))
        for _ in range(2):
            self.assertEqual(self.value(self.call(name, part)), (False, b"\0\1\0", bytes(3), 0))
        self.one.send("Forget", part)
        self.assertLess(self.value(self.call(count)), before)

    def test_without_a_descriptor_a_result_travels_in_frames(self):
        self.one = self.worker(slots=self.slots, frame_limit=1 << 20)
        module, folder = self.module("""
            import os, resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            held = []
            def make(size, exhaust):
                while held:
                    os.close(held.pop())
                while exhaust:
                    try: held.append(os.dup(0))
                    except OSError: break
                return bytes(size)
        """)
        name = self.define(module + ":make", paths=[folder])
        self.assertEqual(self.value(self.call(name, LARGE, False)), bytes(LARGE))
        for size in (LARGE, *range((1 << 20) - 50, (1 << 20) + 1, 10), 1, LARGE):
            self.assertEqual(self.value(self.call(name, size, True)), bytes(size))
        self.assertGreaterEqual(self.one.pieces, 14)

    def test_l8_a_payload_that_did_not_come_ends_the_worker(self):
        worker = self.worker(slots=self.slots)
        worker.send("Piece", b"12")
        worker.send("LargeDefine", uuid.uuid4().bytes, (3, False))
        self.assertEqual(worker.process.wait(LIMIT), 1)


class InInline(Large, Case):
    one_id = "cpu-0"


class InThreaded(Large, Case):
    slots = 4
    one_id = "cpu-0"
