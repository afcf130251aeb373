"""The soft time limit, the deadline, and the stacks that a held interpreter lock cannot hide."""

import os
import select
import signal
import unittest

from base import Case, Gate
from harness import LIMIT, wire

SOFT = 13  # failure.FailureKind.SOFT_TIMEOUT


class SoftLimit(Case):
    def interrupted(self, text, slots, asleep=False, **options):
        """A running task of this script, interrupted as soon as it says `ready`, and sleeps if it is to."""
        worker = self.worker(slots=slots)
        seq = worker.submit(self.script("late.py", text), **options)
        while b"ready" not in worker.expect("Output")[2]:
            pass
        if asleep:
            worker.fall_asleep()
        worker.tell("Interrupt", seq)
        return worker, seq

    def test_a_blocking_call_in_the_main_thread_is_interrupted(self):
        worker, seq = self.interrupted("""
            import time
            def main(params, context):
                print("ready")
                time.sleep(1000)
        """, slots=1, asleep=True)
        kind, exception, message, traceback, _, _ = worker.failure(seq)
        self.assertEqual(kind, SOFT)
        self.assertIn("soft time limit", message)
        self.assertIn("time.sleep(1000)", traceback)
        self.assertEqual(exception, "SoftTimeout")  # not by a module whose name is random

    def test_a_signal_that_ends_no_wait_is_sent_again(self):
        # As when it comes just before a system call: here each wait of one C call takes a signal of its own.
        worker = self.worker()
        seq = worker.submit(self.script("waits.py", """
            import ctypes
            libc = ctypes.CDLL(None)
            def main(params, context):
                print("ready")
                libc.qsort((ctypes.c_long * 3)(), 3, 8, ctypes.cast(libc.pause, ctypes.c_void_p))
        """))
        worker.wait_for_line(seq, "ready")
        worker.fall_asleep()
        worker.tell("Interrupt", seq)
        self.assertEqual(worker.failure(seq)[0], SOFT)

    def test_a_loop_in_a_thread_is_interrupted_and_the_thread_goes_on(self):
        worker, seq = self.interrupted("""
            def main(params, context):
                if params.get("done"):
                    return "next"
                print("ready")
                while True:
                    pass
        """, slots=2)
        self.assertEqual(worker.failure(seq)[0], SOFT)
        for _ in range(20):
            self.assertEqual(worker.run(self.path("late.py"), {"done": True}), "next")

    def test_a_coroutine_is_cancelled_and_says_why(self):
        for slots in (1, 2):
            worker, seq = self.interrupted("""
                import asyncio
                async def main(params, context):
                    print("ready")
                    await asyncio.sleep(1000)
            """, slots=slots)
            self.assertEqual(worker.failure(seq)[0], SOFT)

    def test_it_can_be_caught_by_name_and_the_task_goes_on(self):
        for slots in (1, 2):
            worker, seq = self.interrupted("""
                def main(params, context):
                    try:
                        print("ready")
                        while True:
                            pass
                    except context.SoftTimeout as error:
                        assert isinstance(error, TimeoutError)
                        return "cleaned up"
            """, slots=slots)
            self.assertEqual(worker.result(seq), "cleaned up")

    def test_one_for_a_task_that_has_ended_hits_no_task(self):
        script = self.script("quick.py", "def main(params, context): return sum(range(1000))")
        for slots in (1, 2):
            worker = self.worker(slots=slots)
            for _ in range(200):
                seq = worker.submit(script)
                worker.control.sendall(wire.encode(wire.CONTROL_DOWN, "Interrupt", seq - 1))
                self.assertEqual(worker.result(seq), 499500)


class Deadline(Case):
    def test_the_context_knows_its_deadline(self):
        script = self.script("deadline.py", """
            import time
            def main(params, context):
                return context.deadline and context.deadline - time.monotonic()
        """)
        worker = self.worker()
        self.assertIsNone(worker.run(script))
        left = worker.result(worker.submit(script, limit=5000 * 10 ** 9))
        self.assertTrue(0 < left <= 5000, left)


class Stacks(Case):
    def forced(self, worker, expected):
        """Reads what the signal has written, up to where `expected` is."""
        os.kill(worker.process.pid, signal.SIGRTMAX - 2)
        found = b""
        while expected not in found:
            self.assertTrue(select.select([worker.stacks], [], [], LIMIT)[0], found)
            more = os.read(worker.stacks, 1 << 16)
            self.assertTrue(more, "the worker has ended")
            found += more

    def test_they_come_while_a_c_call_holds_the_interpreter_lock(self):
        for slots in (1, 2):
            worker = self.worker(slots=slots)
            worker.submit(self.script("held.py", """
                import ctypes
                def stuck_in_c():
                    ctypes.PyDLL(None).system(b"echo begun; exec sleep 1000")
                def main(params, context):
                    stuck_in_c()
            """))
            self.assertTrue(select.select([worker.raw_out], [], [], LIMIT)[0])
            worker.tell("DumpStacks")
            self.assertFalse(select.select([worker.stacks], [], [], 0)[0], "the lock is held")
            self.forced(worker, b"stuck_in_c")

    def test_they_are_taken_from_running_code_without_harm(self):
        # By the signal, some hundreds would end the process: it reads frames that are just changing.
        script = self.script("busy.py", """
            def count(depth):
                return count(depth - 1) + 1 if depth else 0
            def main(params, context):
                print("ready")
                while not context.cancelled:
                    count(30)
                    exec("def inner(): return [each for each in range(3)]\\ninner()", {})
                return "through"
        """)
        for slots in (1, 2):
            worker = self.worker(slots=slots)
            seq = worker.submit(script)
            worker.wait_for_line(seq, "ready")
            for _ in range(100):
                self.assertIn("busy.py", worker.dump())
            worker.cancel(seq)
            self.assertEqual(worker.result(seq), "through")

    def test_the_task_does_not_notice(self):
        # This C call is ended by any signal that its thread handles, and tells so by -1.
        script = self.script("undisturbed.py", """
            import ctypes, os, struct
            def main(params, context):
                gate = os.open(params["gate"], os.O_RDONLY)
                print("ready")
                return ctypes.CDLL(None).poll(struct.pack("ihh", gate, 1, 0), 1, -1)
        """)
        gate = self.gate()
        for slots in (1, 2):
            worker = self.worker(slots=slots)
            seq = worker.submit(script, {"gate": gate.path})
            worker.wait_for_line(seq, "ready")
            worker.fall_asleep()
            for _ in range(5):
                self.forced(worker, b"undisturbed.py")
                worker.fall_asleep()
            gate.open()
            self.assertEqual(worker.result(seq), 1)
            gate.drain()


class Wedged(Case):
    """What user code can do to the runtime's own locks and threads."""

    def test_a_signal_handler_that_prints_while_a_print_is_under_way(self):
        worker = self.worker()
        script = self.script("handler.py", """
            import signal
            printing = fired = False
            ticks = during = 0
            def handle(number, frame):
                global fired, ticks, during
                fired = True
                ticks += 1
                during += printing
                print("from the handler")
            def main(params, context):
                global printing, fired, ticks, during
                signal.signal(signal.SIGALRM, handle)
                fired, ticks, during, turns = True, 0, 0, 0
                while during < 20:  # however fast the machine prints
                    if fired:  # one at a time: a slow machine would do nothing else
                        fired = False
                        signal.setitimer(signal.ITIMER_REAL, 0.0005)
                    turns += 1
                    printing = True
                    print("x" * params["size"])
                    printing = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                return [turns, ticks]
        """)
        for size in (50, 300_000):
            seq = worker.submit(script, {"size": size})
            turns, ticks = worker.result(seq)
            self.assertEqual(worker.output(seq).count("from the handler\n"), ticks)
            self.assertEqual(worker.output(seq).count("x"), size * turns)

    def test_a_signal_handler_that_raises_in_the_middle_of_a_large_frame(self):
        # The pipe holds less than one print, so that most of the signals come while it is being written.
        worker = self.worker()
        seq = worker.submit(self.script("raising.py", """
            import signal
            class Tick(Exception):
                pass
            def handle(number, frame):
                raise Tick
            def main(params, context):
                signal.signal(signal.SIGALRM, handle)
                ticks, turn, text = 0, 0, "0123456789abcdef" * 8000
                while ticks < 60:  # however fast the machine prints
                    turn += 1
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.00002 + turn % 30 * 0.00002)
                        print(text)
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    except Tick:
                        ticks += 1
                return ticks
        """))
        self.assertEqual(worker.result(seq), 60)
        lines = worker.output(seq).replace("\n", "")
        self.assertEqual(lines, "0123456789abcdef" * (len(lines) // 16))
        self.assertGreater(len(lines), 0)
        self.assertEqual(len(lines) % 128_000, 0, "a print came in part")

    def test_a_soft_limit_in_the_middle_of_large_frames_in_a_thread(self):
        script = self.script("large.py", """
            def main(params, context):
                try:
                    print("ready")
                    while True:
                        print("0123456789abcdef" * 8000)
                except context.SoftTimeout:
                    return "stopped"
        """)
        for slots in (1, 2):
            worker = self.worker(slots=slots)
            for _ in range(10):
                seq = worker.submit(script)
                worker.wait_for_line(seq, "ready")
                worker.tell("Interrupt", seq)
                self.assertEqual(worker.result(seq), "stopped")
                lines = worker.output(seq).replace("ready", "").replace("\n", "")
                self.assertEqual(len(lines) % 128_000, 0, "a print came in part")

    def test_a_coroutine_that_another_task_cancels_before_its_first_step_ends(self):
        script = self.script("cleaner.py", """
            import asyncio
            async def main(params, context):
                for task in asyncio.all_tasks():
                    if task is not asyncio.current_task():
                        task.cancel()
                await asyncio.sleep(0.001)
                return "done"
        """)
        worker = self.worker(slots=10)
        seqs = set(worker.submit_together(*[(script, {})] * 30))
        while seqs:
            name, values = worker.receive()
            if name != "Output":
                self.assertIn(name, ("Done", "Failed"))
                seqs.remove(values[0])

    def test_an_exception_outside_any_task_ends_the_process_at_once(self):
        gate = self.gate()
        worker = self.worker()
        worker.run(self.script("late_alarm.py", Gate.SOURCE + """
import signal, threading
def handle(number, frame):
    raise RuntimeError("too late for the task")
def later(path):
    gate(path)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
    threading.Event().wait()
def main(params, context):
    signal.signal(signal.SIGALRM, handle)
    threading.Thread(target=later, args=(params["gate"],)).start()
"""), {"gate": gate.path})
        worker.fall_asleep()
        gate.open()
        self.assertEqual(worker.process.wait(LIMIT), 1)
        self.assertIn(b"too late for the task", worker.raw(worker.raw_err))

    def test_a_signal_that_user_code_waits_for_is_taken_by_no_thread_of_the_runtime(self):
        # The default action of this one is the end of the process.
        self.assertEqual(self.worker().run(self.script("waits.py", """
            import os, signal
            def main(params, context):
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
                os.kill(os.getpid(), signal.SIGUSR1)
                return signal.sigwait([signal.SIGUSR1])
        """)), signal.SIGUSR1)

    def test_a_script_that_takes_long_to_load_holds_up_only_its_own_tasks(self):
        gate = self.gate()
        slow = self.script("slow.py", gate.SOURCE + "gate(%r)\ndef main(params, context): return 'slow'" % gate.path)
        quick = self.script("quick.py", "def main(params, context): return 'quick'")
        worker = self.worker(slots=4)
        first = worker.submit(slow)
        self.assertEqual(worker.run(quick), "quick")
        gate.open()
        self.assertEqual(worker.result(first), "slow")

    def test_L9_a_new_script_for_every_task_does_not_fill_the_worker(self):
        worker = self.worker()
        count = "import sys\ndef main(p, c): return sum('@' in name for name in sys.modules), len(sys.path)"
        for number in range(300):
            folder = self.path("job%d" % number)
            os.mkdir(folder)
            modules, entries = worker.run(self.script("job%d/job.py" % number, count))
        self.assertLessEqual(modules, 257)
        self.assertLess(entries, 270)


if __name__ == "__main__":
    unittest.main()
