"""Prints: whole, in order, and under the number of the task that made them."""

import fcntl
import os
import select
import threading
import types
import unittest

from base import Case, Gate, OneWorker
from harness import LIMIT, wait_until
from axion_worker import output

F_GETPIPE_SZ = 1032  # of Linux; `fcntl` names it from Python 3.10 on


class Prints(OneWorker):
    """Run under both kinds of worker."""

    def printed(self, source, stream=0, params=None):
        worker = self.one
        worker.outputs.clear()
        seq = worker.submit(self.script("a.py", source), params)
        worker.result(seq)
        self.assertEqual({key[0] for key in worker.outputs}, {seq})
        return worker.output(seq, stream)

    def test_lines_come_as_they_are_printed(self):
        gate = self.gate()
        worker = self.one
        seq = worker.submit(self.gated(), {"gate": gate.path})
        worker.wait_for_line(seq, "begun\n")
        gate.open()
        worker.result(seq)

    def test_a_print_without_newline_comes_before_the_result(self):
        self.assertEqual(self.printed("def main(p, c): print('a\\nb', end='')"), "a\nb")

    def test_a_print_without_newline_comes_before_a_failure(self):
        worker = self.one
        seq = worker.submit(self.script("a.py", "def main(p, c):\n    print('a', end='')\n    raise ValueError"))
        worker.failure(seq)
        self.assertEqual(worker.output(seq), "a")

    def test_flush_sends_an_unfinished_line_at_once(self):
        gate = self.gate()
        worker = self.one
        seq = worker.submit(self.script("a.py", Gate.SOURCE + """
def main(params, context):
    print("50 %", end="", flush=True)
    gate(params["gate"])
    print(", 100 %")
"""), {"gate": gate.path})
        worker.wait_for_line(seq, "50 %")
        gate.open()
        worker.result(seq)
        self.assertEqual(worker.output(seq), "50 %, 100 %\n")

    def test_stderr_is_a_stream_of_its_own(self):
        source = """
            import sys
            def main(p, c):
                print("to stdout")
                print("to stderr", file=sys.stderr)
                sys.stderr.write("unfinished")
        """
        self.assertEqual(self.printed(source, 1), "to stderr\nunfinished")
        self.assertEqual(self.printed(source, 0), "to stdout\n")

    def test_bytes_keep_their_place_among_the_text(self):
        self.assertEqual(self.printed("""
            import array, sys
            def main(p, c):
                print("text", end="")
                assert sys.stdout.buffer.write(b"bytes\\n") == 6
                assert sys.stdout.buffer.write(memoryview(b"view ")) == 5
                assert sys.stdout.buffer.write(array.array("i", [0x0a414141])) == 4
                try: sys.stdout.buffer.write(5)
                except TypeError: print("not a number")
                try: sys.stdout.buffer.write("text")
                except TypeError: print("not text")
                print("end")
        """), "textbytes\nview AAA\nnot a number\nnot text\nend\n")

    def test_a_large_print(self):
        text = self.printed("def main(p, c): print('0123456789abcdef' * 65536)")
        self.assertEqual(text, "0123456789abcdef" * 65536 + "\n")

    def test_text_that_has_no_utf8_form(self):
        self.assertEqual(self.printed("def main(p, c): print('a\\ud800b ü')"), "a\\ud800b ü\n")

    def test_what_is_not_text_is_refused_as_by_any_stream(self):
        self.assertEqual(self.printed("""
            import sys
            def main(p, c):
                try: sys.stdout.write(b"x")
                except TypeError as error: print("refused")
        """), "refused\n")

    def test_the_streams_look_like_text_streams(self):
        self.assertEqual(self.printed("""
            import io, sys
            def main(p, c):
                out = sys.stdout
                assert isinstance(out, io.TextIOBase) and out.writable() and not out.readable() and not out.isatty()
                assert (out.encoding, out.name, out.fileno(), out.closed) == ("utf-8", "<stdout>", 1, False)
                assert sys.stderr.fileno() == 2 and sys.stderr.name == "<stderr>"
                out.reconfigure(encoding="latin-1", line_buffering=True)
                out.writelines(["a", "b\\n"])
                assert sys.__stdout__ is out and sys.__stderr__ is sys.stderr
                print("end")
        """), "ab\nend\n")

    def test_a_wrapper_around_the_buffer_again_and_again(self):
        # `sys.stdout = TextIOWrapper(sys.stdout.buffer)`: a wrapper that is dropped closes its buffer.
        script = self.script("a.py", """
            import io, sys
            def main(p, c):
                sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
                print("task", p["n"])
                sys.stdout.flush()
        """)
        worker = self.worker()
        for n in range(3):
            seq = worker.submit(script, {"n": n})
            worker.result(seq)
            self.assertEqual(worker.output(seq), "task %d\n" % n)

    def test_closing_stdout_affects_no_later_task(self):
        worker = self.worker()
        worker.run(self.script("a.py", "import sys\ndef main(p, c): sys.stdout.close(); sys.stderr.close()"))
        seq = worker.submit(self.script("b.py", "def main(p, c): print('on', flush=True)"))
        worker.result(seq)
        self.assertEqual(worker.output(seq), "on\n")
        self.assertEqual(worker.finish(), 0)

    def test_redirected_prints_stay_with_the_task(self):
        worker = self.one
        script = self.script("a.py", """
            import contextlib, io
            def main(p, c):
                with contextlib.redirect_stdout(io.StringIO()) as text:
                    print("kept")
                print("sent")
                return text.getvalue()
        """)
        seq = worker.submit(script)
        self.assertEqual(worker.result(seq), "kept\n")
        self.assertEqual(worker.output(seq), "sent\n")

    def test_lines_of_a_tasks_own_threads_are_whole(self):
        text = self.printed("""
            import contextvars, sys, threading
            def lines(name):
                for n in range(200):
                    print(name, "says", n)
                print(name, "ends")
            def main(p, c):
                before = sys.getswitchinterval()
                sys.setswitchinterval(1e-6)
                threads = [threading.Thread(target=contextvars.copy_context().run, args=(lines, name))
                           for name in ("one", "two", "three")]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                last = threading.Thread(target=contextvars.copy_context().run, args=(sys.stdout.write, "unfinished"))
                last.start()
                last.join()
                sys.setswitchinterval(before)
        """)
        for name in ("one", "two", "three"):
            lines = [line for line in text.splitlines() if line.startswith(name + " says")]
            self.assertEqual(lines, ["%s says %d" % (name, n) for n in range(200)])
            self.assertEqual(text.count(name + " ends\n"), 1)
        self.assertTrue(text.endswith("\nunfinished"))

    def test_logging_goes_where_it_belongs(self):
        worker = self.one
        script = self.script("a.py", """
            import logging
            def main(p, c): logging.warning("careful %d", p["n"])
        """)
        for n in range(2):
            seq = worker.submit(script, {"n": n})
            worker.result(seq)
            self.assertEqual(worker.output(seq, 1), "WARNING:root:careful %d\n" % n)


class PrintsInline(Prints, Case):
    def test_many_tasks_sent_ahead_each_get_exactly_their_own(self):
        script = self.script("a.py", """
            import os, subprocess
            def main(p, c):
                n = p["n"]
                print("print %d" % n)
                os.write(1, b"raw %d\\n" % n)
                os.write(2, b"raw error %d\\n" % n)
                subprocess.run(["echo", "subprocess %d" % n])
                print("unfinished %d" % n, end="")
        """)
        worker = self.one
        seqs = worker.submit_together(*[(script, {"n": n}) for n in range(30)])
        worker.results(*seqs)
        for n, seq in enumerate(seqs):
            lines = worker.output(seq).replace("unfinished %d" % n, "").splitlines()
            self.assertEqual(sorted(lines), sorted(["print %d" % n, "raw %d" % n, "subprocess %d" % n]))
            self.assertEqual(worker.output(seq).count("unfinished %d" % n), 1)
            self.assertEqual(worker.output(seq, 1), "raw error %d\n" % n)
        self.assertEqual(len(worker.outputs), 60)

    def test_silent_tasks_between_printing_ones(self):
        loud = self.script("loud.py", "import os\ndef main(p, c): print('p', p); os.write(1, b'raw\\n')")
        silent = self.script("silent.py", "def main(p, c): return p")
        worker = self.one
        seqs = worker.submit_together(*[(loud if n % 10 == 0 else silent, n) for n in range(300)])
        worker.results(*seqs)
        self.assertEqual({seq: worker.output(seq) for seq, _ in worker.outputs},
                         {seq: "raw\np %d\n" % n if worker.output(seq).startswith("raw") else "p %d\nraw\n" % n
                          for n, seq in enumerate(seqs) if n % 10 == 0})

    def test_raw_output_larger_than_the_pipe_blocks_until_the_engine_takes_it(self):
        worker = self.one
        script = self.script("a.py", """
            import os
            def main(p, c):
                data, at = b"x" * p["size"], 0
                while at < len(data): at += os.write(1, data[at:])
        """)
        capacity = fcntl.fcntl(worker.raw_out, F_GETPIPE_SZ)
        size = 5 * capacity
        seq = worker.submit(script, {"size": size})
        taken = []

        def taken_enough():
            taken.append(worker.raw(worker.raw_out))
            return sum(map(len, taken)) >= size - capacity

        wait_until(taken_enough, "raw output")
        worker.result(seq)
        # What the engine did not take came as frames: nothing twice, nothing lost.
        total = b"".join(taken) + worker.raw(worker.raw_out) + worker.outputs.get((seq, 0), b"")
        self.assertEqual((len(total), total.count(b"x")), (size, size))

    def test_a_task_that_replaced_stdout_for_good_keeps_no_later_prints(self):
        for how in ("io.StringIO()", "open(os.devnull, 'w')", "None", "closed"):
            with self.subTest(how):
                script = self.script("a.py", """
                    import io, os, sys
                    def main(p, c):
                        closed = open(os.devnull, "w")
                        closed.close()
                        print("before", end="")
                        sys.stdout = sys.stderr = %s
                """ % how)
                worker = self.worker()
                seqs = worker.submit_together((script, {}), (self.script("b.py", "def main(p, c): print('mine')"), {}))
                worker.results(*seqs)
                self.assertEqual([worker.output(seq) for seq in seqs], ["before", "mine\n"])

    def test_what_lies_in_a_replaced_stdout_comes_before_the_result(self):
        script = self.script("a.py", """
            import io, sys
            def main(p, c):
                sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
                print("task", p["n"])
        """)
        worker = self.worker()
        seqs = worker.submit_together(*[(script, {"n": n}) for n in range(3)])
        worker.results(*seqs)
        self.assertEqual([worker.output(seq) for seq in seqs], ["task %d\n" % n for n in range(3)])


class PrintsThreaded(Prints, Case):
    slots = 4

    def test_tasks_that_print_at_once_are_told_apart(self):
        script = self.script("a.py", """
            import threading
            barrier = threading.Barrier(4)
            def main(p, c):
                for n in range(50):
                    print(p["name"], end=" ")
                    if n % 10 == 0: barrier.wait()
                    print("line", end=" ")
                    print(n)
        """)
        worker = self.one
        names = ["a", "b", "c", "d"]
        seqs = worker.submit_together(*[(script, {"name": name}) for name in names])
        worker.results(*seqs)
        for seq, name in zip(seqs, names):
            self.assertEqual(worker.output(seq), "".join("%s line %d\n" % (name, n) for n in range(50)))

    def test_async_tasks_that_print_at_once_are_told_apart(self):
        script = self.script("a.py", """
            import asyncio
            async def inner(name, n):
                await asyncio.sleep(0)
                print(name, end=" ")
                await asyncio.sleep(0)
                print(n)
            async def main(p, c):
                for n in range(20):
                    await asyncio.ensure_future(inner(p["name"], n))
                await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        """)
        worker = self.one
        names = list("abcdefgh")
        seqs = worker.submit_together(*[(script, {"name": name}) for name in names])
        worker.results(*seqs)
        for seq, name in zip(seqs, names):
            self.assertEqual(worker.output(seq), "".join("%s %d\n" % (name, n) for n in range(20)))

    def test_raw_output_is_left_to_the_engine(self):
        worker = self.one
        seq = worker.submit(self.script("a.py", "import os\ndef main(p, c): os.write(1, b'raw')"))
        worker.result(seq)
        self.assertEqual(worker.outputs, {})
        self.assertEqual(worker.raw(worker.raw_out), b"raw")


class Nobodys(Case):
    def test_prints_outside_of_tasks_are_the_workers(self):
        worker = self.worker(slots=4)
        script = self.script("a.py", """
            import threading
            def main(p, c):
                thread = threading.Thread(target=print, args=("from a thread without a task",))
                thread.start()
                thread.join()
        """)
        worker.run(script)
        self.assertEqual(worker.outputs, {(0, 0): b"from a thread without a task\n"})

    def test_prints_at_exit_are_the_workers(self):
        worker = self.worker()
        worker.run(self.script("a.py", """
            import atexit
            def main(p, c): atexit.register(lambda: print("good", end="bye"))
        """))
        self.assertEqual(worker.finish(), 0)
        found = b""
        message = worker.receive(LIMIT)
        while message:
            self.assertEqual(message[0:1] + tuple(message[1][:2]), ("Output", 0, 0))
            found += message[1][2]
            message = worker.receive(LIMIT)
        self.assertEqual(found, b"goodbye")


class Captured(unittest.TestCase):
    def test_l8_a_capture_pipe_that_a_task_made_block_holds_up_nothing(self):
        """The engine has read the pipe between the poll and the read, and a task has cleared its flag."""
        reader, writer = os.pipe()
        try:
            channel = types.SimpleNamespace(raw_out=reader, raw_err=-1)
            found = []
            read = threading.Thread(
                target=lambda: found.append(output.read_captured(channel, 1, [(reader, select.POLLIN)])), daemon=True)
            read.start()
            read.join(LIMIT)
            self.assertEqual(found, [b""])
        finally:
            os.close(writer)
            read.join(LIMIT)
            os.close(reader)


if __name__ == "__main__":
    unittest.main()
