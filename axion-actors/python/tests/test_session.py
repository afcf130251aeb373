"""What a worker leaves to its engine: the signals that end a program. The terminal: `axion-cli/tests/program/terminal.rs`."""

import functools
import os
import signal
import subprocess
import unittest

from base import Case

STATE = """
    import subprocess
    def main(p, c):
        lines = subprocess.run(["cat", "/proc/self/status"], stdout=subprocess.PIPE).stdout.decode().splitlines()
        return {name: int(mask, 16) for name, _, mask in (line.partition(":") for line in lines)
                if name in ("SigBlk", "SigIgn", "SigCgt")}
"""


def bit(number):
    return 1 << (number - 1)


class Session:
    """Run under both kinds of worker."""

    def test_signals_that_end_a_program_end_no_worker(self):
        worker = self.worker()
        script = self.script("a.py", """
            import time
            def main(p, c):
                print("begun")
                while not c.cancelled:
                    time.sleep(0.01)
                return "asked to stop"
        """)
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.process.pid, number)
        seq = worker.submit(script)
        worker.wait_for_line(seq, "begun")
        for number in (signal.SIGTERM, signal.SIGHUP):
            os.kill(worker.process.pid, number)
        worker.cancel(seq)
        self.assertEqual(worker.result(seq), "asked to stop")
        self.assertEqual(worker.finish(), 0)

    def test_they_end_no_worker_that_starts(self):
        def blocked(*args, **options):
            # As the engine starts it. A signal to the group comes before the worker's first line.
            process = subprocess.Popen(*args, preexec_fn=block, **options)
            for number in ENDING:
                os.killpg(process.pid, number)
            return process

        worker = self.worker(spawn=blocked)
        masks = worker.run(self.script("a.py", STATE))
        self.assertEqual(masks["SigBlk"] & sum(map(bit, ENDING)), 0)

    def test_subprocesses_have_the_default_actions(self):
        masks = self.worker().run(self.script("a.py", STATE))
        ours = sum(map(bit, ENDING))
        self.assertEqual((masks["SigBlk"] & ours, masks["SigIgn"] & ours, masks["SigCgt"] & ours), (0, 0, 0))

    def test_what_is_ignored_at_the_start_stays_so(self):
        worker = self.worker(spawn=functools.partial(
            subprocess.Popen, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)))
        masks = worker.run(self.script("a.py", STATE))
        self.assertEqual(masks["SigIgn"] & bit(signal.SIGHUP), bit(signal.SIGHUP))
        self.assertEqual(masks["SigIgn"] & bit(signal.SIGTERM), 0)

    def test_a_forked_copy_ends_by_them(self):
        script = self.script("a.py", """
            import multiprocessing, os, time
            def main(p, c):
                context = multiprocessing.get_context("fork")
                codes = []
                for number in p:
                    process = context.Process(target=time.sleep, args=(1000,))
                    process.start()
                    os.kill(process.pid, number)
                    process.join()
                    codes.append(process.exitcode)
                return codes
        """)
        numbers = [int(signal.SIGTERM), int(signal.SIGHUP)]
        self.assertEqual(self.worker().run(script, numbers), [-number for number in numbers])


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


class SessionInline(Session, Case):
    slots = 1

    def test_a_tasks_own_handler_gets_the_signal(self):
        script = self.script("a.py", """
            import os, signal
            def main(p, c):
                got = []
                before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
                os.kill(os.getpid(), signal.SIGTERM)
                signal.signal(signal.SIGTERM, before)
                os.kill(os.getpid(), signal.SIGTERM)
                return got
        """)
        self.assertEqual(self.worker().run(script), [signal.SIGTERM])


class SessionThreaded(Session, Case):
    slots = 4


if __name__ == "__main__":
    unittest.main()
