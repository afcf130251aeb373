"""Processes that tasks start: copies of the worker that must not speak for it."""

import unittest

from base import Case
from harness import LIMIT


class Processes:
    """Run under both kinds of worker."""

    def exactly_one(self, worker, seq):
        """The result of a task, which must be the only message about it."""
        value = worker.result(seq)
        after = worker.run(self.script("after.py", "def main(p, c): return 'after'"))
        self.assertEqual(after, "after")
        self.assertEqual(worker.finish(), 0)
        message = worker.receive()
        while message is not None:
            self.assertEqual(message[0], "Output", message)
            message = worker.receive()
        return value

    def raw(self, worker, seq, stream=0):
        """What came below Python: attributed by the worker, or left in the pipe for the engine."""
        left = worker.raw(worker.raw_err if stream else worker.raw_out)
        return worker.output(seq, stream) + left.decode()

    def test_the_end_flushes_files_and_collects_no_garbage(self):
        path = self.path("written")
        script = self.script("a.py", """
            import atexit, gc, os
            class Writer:
                def __init__(self, path):
                    self.file, self.me = open(path, "a"), self
            class Last:
                write, count = os.write, gc.get_freeze_count
                def __del__(self):
                    self.write(1, b"frozen" if self.count() else b"collected")
            writer = last = None
            def main(p, c):
                global writer, last
                writer, last = Writer(p), Last()
                writer.file.write("by the task, ")
                atexit.register(lambda: writer.file.write("at the exit"))
        """)
        worker = self.worker()
        worker.run(script, path)
        self.assertEqual(worker.finish(), 0)
        with open(path) as file:
            self.assertEqual(file.read(), "by the task, at the exit")
        self.assertEqual(worker.raw(worker.raw_out), b"frozen")

    def test_a_forked_copy_that_returns_into_the_runtime_says_nothing(self):
        script = self.script("a.py", """
            import os
            def main(p, c):
                pid = os.fork()
                if pid == 0:
                    c.progress(0.5)
                    c.log("from the copy")
                    print("printed by the copy")
                    print("unfinished", end="")
                    return "the copy"
                return ["the worker", os.waitpid(pid, 0)[1]]
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), ["the worker", 0])
        self.assertEqual(self.raw(worker, seq), "printed by the copy\nunfinished")

    def test_a_forked_copy_takes_no_task_that_was_sent_ahead(self):
        script = self.script("a.py", """
            import os
            def main(p, c):
                pid = os.fork()
                return [p, pid == 0 or os.waitpid(pid, 0)[1]]
        """)
        worker = self.worker()
        seqs = worker.submit_together(*[(script, n) for n in range(10)])
        self.assertEqual(worker.results(*seqs), [[n, 0] for n in range(10)])
        self.assertEqual(worker.finish(), 0)
        self.assertIsNone(worker.receive())

    def test_a_forked_copy_ends_as_any_python_process_does(self):
        script = self.script("a.py", """
            import os, sys
            def main(p, c):
                pid = os.fork()
                if pid == 0:
                    exec(p["code"])
                status = os.waitpid(pid, 0)[1]
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        """)
        for code, status, words in (("sys.exit(3)", 3, ""), ("sys.exit()", 0, ""), ("sys.exit('sorry')", 1, "sorry\n"),
                                    ("1 / 0", 1, "ZeroDivisionError: division by zero\n"), ("os._exit(5)", 5, "")):
            with self.subTest(code):
                worker = self.worker()
                seq = worker.submit(script, {"code": code})
                self.assertEqual(self.exactly_one(worker, seq), status)
                self.assertTrue(self.raw(worker, seq, 1).endswith(words))

    def test_a_forked_copy_holds_no_pipe_of_the_engine(self):
        # It outlives the worker: the data pipe must end all the same.
        gate = self.gate()
        script = self.script("a.py", """
            import os
            def main(p, c):
                pid = os.fork()
                if pid == 0:
                    open(p["gate"], "rb", 0).read(1)
                    os._exit(0)
                return pid
        """)
        worker = self.worker()
        worker.run(script, {"gate": gate.path})
        self.assertEqual(worker.finish(), 0)
        self.assertIsNone(worker.receive())
        worker.control.settimeout(LIMIT)
        self.assertEqual(worker.control.recv(1), b"")
        gate.open()

    def test_a_fork_in_an_async_task(self):
        script = self.script("a.py", """
            import asyncio, os
            async def main(p, c):
                await asyncio.sleep(0)
                pid = os.fork()
                if pid == 0: return "the copy"
                return ["the worker", os.waitpid(pid, 0)[1]]
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), ["the worker", 0])

    def test_a_fork_while_the_script_is_loaded(self):
        script = self.script("a.py", """
            import os
            pid = os.fork()
            def main(p, c): return os.waitpid(pid, 0)[1] if pid else "the copy"
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), 0)

    def test_multiprocessing_by_fork(self):
        script = self.script("a.py", """
            import multiprocessing
            def double(n):
                print("doubling", n, flush=True)
                return n * 2
            def main(p, c):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    values = pool.map(double, range(4), chunksize=1)
                    pool.close()
                    pool.join()
                return values
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), [0, 2, 4, 6])
        self.assertEqual(sorted(self.raw(worker, seq).splitlines()), ["doubling %d" % n for n in range(4)])

    def test_multiprocessing_by_spawn(self):
        # The function must be importable by the new process: from a helper beside the script.
        self.script("spawned.py", """
            import sys
            def double(n, queue):
                print("doubling")
                queue.put([n * 2, [name for name in sys.modules if "axion" in name]])
        """)
        script = self.script("a.py", """
            import multiprocessing, spawned
            def main(p, c):
                context = multiprocessing.get_context("spawn")
                queue = context.SimpleQueue()
                process = context.Process(target=spawned.double, args=(4, queue))
                process.start()
                value = queue.get()
                process.join()
                return value + [process.exitcode]
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), [8, [], 0])
        self.assertEqual(self.raw(worker, seq), "doubling\n")

    def test_subprocesses_read_nothing(self):
        script = self.script("a.py", """
            import subprocess, sys
            def main(p, c):
                return subprocess.run(["cat"], stdout=subprocess.PIPE).stdout.decode()
        """)
        self.assertEqual(self.worker().run(script), "")


class ProcessesInline(Processes, Case):
    def test_what_a_forked_copy_leaves_on_the_status_page(self):
        script = self.script("a.py", """
            import os
            def main(p, c):
                pid = os.fork()
                if pid: os.waitpid(pid, 0)
                print("the copy is gone") if pid else None
                open(p["gate"], "rb", 0).read(1) if pid else None
        """)
        gate = self.gate()
        worker = self.worker()
        seq = worker.submit(script, {"gate": gate.path})
        worker.wait_for_line(seq, "the copy is gone")
        self.assertEqual(worker.running(), [seq])
        gate.open()
        worker.result(seq)
        self.assertEqual(worker.finish(LIMIT), 0)


class ProcessesThreaded(Processes, Case):
    slots = 4

    def test_a_fork_while_another_thread_has_the_lock_of_the_runtime(self):
        script = self.script("a.py", """
            import gc, os
            def main(p, c):
                lock, = [it._lock for it in gc.get_objects() if type(it).__name__ == "Threaded"]
                lock.acquire()
                pid = os.fork()
                if pid == 0:
                    return "the copy"
                lock.release()
                return ["the worker", os.waitpid(pid, 0)[1]]
        """)
        worker = self.worker()
        seq = worker.submit(script)
        self.assertEqual(self.exactly_one(worker, seq), ["the worker", 0])


if __name__ == "__main__":
    unittest.main()
