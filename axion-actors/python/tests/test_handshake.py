"""How a worker comes to life and how it ends."""

import os
import select
import unittest

from base import Case
from harness import LIMIT, INTERPRETER, wait_until, wire


def stderr_of(worker):
    """Everything on the capture pipe of stderr; the process must have ended."""
    os.set_blocking(worker.raw_err, True)
    return worker.raw(worker.raw_err).decode()


class Handshake(Case):
    def test_ready_names_protocol_pid_version_and_executable(self):
        worker = self.worker()
        protocol, pid, python, executable = worker.ready
        self.assertEqual((protocol, pid), (wire.PROTOCOL, worker.process.pid))
        self.assertRegex(python, r"^3\.\d+\.\d+$")
        self.assertEqual(os.path.realpath(executable), os.path.realpath(os.fsencode(INTERPRETER)))

    def refused(self, *values):
        worker = self.worker(configure=False)
        worker.send("Configure", *values)
        self.assertEqual(worker.process.wait(LIMIT), 1)
        self.assertIsNone(worker.receive(), "a worker that refused its engine spoke on the data pipe")
        return stderr_of(worker)

    def test_another_protocol_version_ends_the_process_with_the_reason(self):
        self.assertIn("protocol 8", self.refused(8, "cpu-0", 1, 0, 1 << 26, 1 << 32, False))

    def test_a_configuration_for_another_worker_is_refused(self):
        self.assertIn("cpu-9", self.refused(wire.PROTOCOL, "cpu-9", 1, 0, 1 << 26, 1 << 32, False))

    def test_another_number_of_slots_than_the_process_was_started_for_is_refused(self):
        self.assertIn("with 2 slots", self.refused(wire.PROTOCOL, "cpu-0", 2, 0, 1 << 26, 1 << 32, False))

    def test_a_task_before_the_configuration_is_refused(self):
        worker = self.worker(configure=False)
        worker.submit(self.script("a.py", "def main(p, c): pass"))
        self.assertEqual(worker.process.wait(LIMIT), 1)
        self.assertIn("WireError", stderr_of(worker))

    def test_an_engine_that_goes_before_the_configuration_is_said(self):
        worker = self.worker(configure=False)
        worker.end()
        self.assertNotEqual(worker.process.wait(LIMIT), 0)
        self.assertIn("the engine closed", stderr_of(worker))

    def test_an_engine_that_goes_before_the_pipes_are_sent_is_said(self):
        import socket
        import subprocess

        from harness import PACKAGE, runtime_folder, environment

        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [INTERPRETER, os.path.join(runtime_folder(), "worker.py"), PACKAGE, "cpu-0", "1"],
                stdin=theirs, stderr=subprocess.PIPE, env=environment())
        ours.close()
        with process:
            self.assertIn(b"before the handshake", process.stderr.read())
            self.assertNotEqual(process.wait(LIMIT), 0)

    def test_an_interpreter_that_is_too_old_says_so(self):
        # The check itself, with a version that lies: the real old ones are in `all_pythons`.
        import subprocess

        code = ("import sys; sys.version_info = (3, 7, 9); sys.argv = ['worker.py', 'x', 'y']\n"
                "import runpy; runpy.run_path(%r, run_name='__main__')"
                % os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "worker.py"))
        ended = subprocess.run([INTERPRETER, "-B", "-c", code], stderr=subprocess.PIPE)
        self.assertEqual(ended.returncode, 94)
        self.assertIn(b"Python 3.7 is too old", ended.stderr)


class End(Case):
    def test_the_end_of_the_data_pipe_ends_an_idle_worker(self):
        for slots in (1, 4):
            with self.subTest(slots=slots):
                self.assertEqual(self.worker(slots=slots).finish(), 0)

    def test_what_was_sent_is_finished_first(self):
        script = self.script("sum.py", "def main(p, c): return p['n'] + 1")
        slow = self.script("slow.py", """
            import asyncio
            async def main(p, c):
                await asyncio.sleep(0.05)
                return p["n"] + 1
        """)
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                seqs = worker.submit_together(*[(slow if n % 4 == 0 else script, {"n": n}) for n in range(12)])
                worker.end()
                self.assertEqual(worker.results(*seqs), list(range(1, 13)))
                self.assertIsNone(worker.receive())
                self.assertEqual(worker.process.wait(LIMIT), 0)

    def test_user_code_registered_at_exit_still_runs(self):
        script = self.script("a.py", """
            import atexit
            def main(p, c):
                atexit.register(lambda: open(p["mark"], "w").close())
        """)
        worker = self.worker()
        worker.run(script, {"mark": self.path("mark")})
        self.assertEqual(worker.finish(), 0)
        self.assertTrue(os.path.exists(self.path("mark")))

    def test_garbage_on_the_data_pipe_ends_the_process(self):
        script = os.fsencode(self.script("a.py", "def main(p, c): return 1"))
        run = wire.encode(wire.DOWN, "Run", 1, 1, 0, bytes(16), script, b"{}")
        garbage = {
            "a huge length": b"\xff" * 64,
            "an unknown tag": b"\x08\0\0\0" + b"\x09\0\0\0" + b"abcd",
            "an empty frame": b"\0\0\0\0",
            "an empty frame before a good one": b"\0\0\0\0" + run,
            "text": b"GET / HTTP/1.1\r\n\r\n" * 10,
            "a second Configure": wire.encode(wire.DOWN, "Configure", 1, "cpu-0", 1, 0, 1 << 20, 1 << 20, False),
            "a Run whose script reaches beyond its frame": run[:48] + b"\xff\xff" + run[50:] + run,
            "a Run that is cut short, another behind it": b"\x14\0\0\0" + run[4:24] + run,
        }
        for slots in (1, 4):
            for what, data in garbage.items():
                with self.subTest(what, slots=slots):
                    worker = self.worker(slots=slots)
                    worker.send_raw(data)
                    self.assertNotIn(worker.process.wait(LIMIT), (0, 95))
                    message = worker.receive()
                    while message is not None:
                        self.assertEqual(message[0], "Output", "garbage was taken for a task")
                        message = worker.receive()
                    worker.close()
                    self._cleanups.pop()  # that close

    def test_garbage_on_the_control_socket_ends_the_process(self):
        garbage = (b"\xff" * 64, b"\0\0\0\0", b"\x04\0\0\0\x63\0\0\0", b"\x05\0\0\0\x03\0\0\0\x01",
                   wire.encode(wire.CONTROL_DOWN, "Ping", 1)[:4] + b"\x01" * 12)
        for data in garbage:
            with self.subTest(data=data[:12]):
                worker = self.worker()
                worker.control.sendall(data)
                self.assertNotEqual(worker.process.wait(LIMIT), 0)

    def test_L7_the_end_of_the_control_socket_ends_the_process_while_tasks_run(self):
        script = self.script("hang.py", """
            import time
            def main(p, c):
                print("begun")
                while True:
                    time.sleep(p["each"]) if p["each"] else None
        """)
        for slots in (1, 4):
            for each in (0, 1000):
                with self.subTest(slots=slots, each=each):
                    worker = self.worker(slots=slots)
                    worker.wait_for_line(worker.submit(script, {"each": each}), "begun")
                    worker.control.close()
                    self.assertEqual(worker.process.wait(LIMIT), 95)

    def test_L8_user_code_holds_no_end_of_the_protocol_on_fds_0_to_2(self):
        script = self.script("a.py", """
            import os
            def main(p, c):
                forged = bytes.fromhex(p["frame"])
                os.write(1, forged)
                os.write(2, forged)
                return [os.read(0, 10).decode(), os.path.realpath("/proc/self/fd/0"), os.get_inheritable(0)]
        """)
        forged = wire.encode(wire.UP, "Done", 1, 1, b'"forged"')
        worker = self.worker()
        self.assertEqual(worker.run(script, {"frame": forged.hex()}), ["", "/dev/null", True])
        self.assertEqual(worker.outputs, {(1, 0): forged, (1, 1): forged})

    def test_L8_the_pipes_of_the_protocol_are_not_inherited(self):
        script = self.script("a.py", """
            import subprocess
            def main(p, c):
                return subprocess.run("ls -l /proc/self/fd", shell=True, close_fds=False,
                                      stdout=subprocess.PIPE).stdout.decode()
        """)
        listed = self.worker().run(script)
        self.assertNotRegex(listed, r" [3-9] -> (pipe|socket)|\d\d -> (pipe|socket)")

    def test_L10_an_idle_worker_never_wakes(self):
        script = self.script("a.py", "async def main(p, c): return 1")
        for slots in (1, 4):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                worker.run(script)

                def sleeps_on():
                    before = worker.fall_asleep()
                    select.select([worker.up], [], [], 0.25)
                    return worker.fall_asleep() == before

                # One that looks for work from time to time does so in every span.
                wait_until(sleeps_on, "a span in which an idle worker never wakes")


if __name__ == "__main__":
    unittest.main()
