"""The control thread: it answers while tasks run. And the status page, and the context of a task."""

import os
import unittest
import uuid

from base import Case, Gate, OneWorker
from harness import LIMIT, wait_until
from axion_worker.failure import FailureKind

WAITS = """
import asyncio, time
async def in_loop(p, c):
    print("begun")
    await asyncio.sleep(100)
def in_thread(p, c):
    print("begun")
    while not c.cancelled:
        time.sleep(0.001)
    return "saw it"
"""


class Control(OneWorker):
    """Run under both kinds of worker."""

    def started(self, worker, script, params=None):
        seq = worker.submit(script, params)
        worker.wait_for_line(seq, "begun")
        return seq

    def test_ping_is_answered_while_a_task_runs(self):
        gate = self.gate()
        worker = self.one
        seq = self.started(worker, self.gated(), {"gate": gate.path})
        for nonce in (0, 2 ** 64 - 1):
            self.assertEqual(worker.ask("Ping", nonce), ("Pong", [nonce]))
        gate.open()
        worker.result(seq)

    def test_ping_is_answered_while_python_code_is_busy(self):
        worker = self.one
        seq = self.started(worker, self.script("a.py", """
            def main(p, c):
                print("begun")
                while not c.cancelled: pass
        """))
        self.assertEqual(worker.ask("Ping", 1), ("Pong", [1]))
        worker.cancel(seq)
        worker.result(seq)

    def test_many_questions_in_one_write(self):
        from harness import wire

        worker = self.one
        worker.tell_raw(b"".join(wire.encode(wire.CONTROL_DOWN, "Ping", n) for n in range(5000)))
        self.assertEqual([worker.answer() for _ in range(5000)], [("Pong", [n]) for n in range(5000)])

    def test_a_stack_dump_names_the_function_that_runs(self):
        gate = self.gate()
        worker = self.one
        script = self.script("stuck.py", Gate.SOURCE + """
def the_guilty_function(p):
    print("begun")
    gate(p["gate"])
def main(p, c):
    the_guilty_function(p)
""")
        seq = self.started(worker, script, {"gate": gate.path})
        wait_until(lambda: "in gate" in worker.dump(), "a dump that shows the wait")
        text = worker.dump()
        self.assertIn("in the_guilty_function", text)
        self.assertIn(script, text)
        gate.open()
        worker.result(seq)

    def test_a_stack_dump_changes_nothing_about_threads(self):
        worker = self.worker()
        worker.dump()
        script = self.script("a.py", """
            import os, threading
            def main(p, c): return threading.main_thread().native_id == os.getpid()
        """)
        self.assertEqual(worker.run(script), True)

    def test_cancel_sets_the_flag_of_the_context(self):
        worker = self.one
        seq = self.started(worker, self.script("a.py", WAITS + "main = in_thread"))
        worker.cancel(seq)
        self.assertEqual(worker.result(seq), "saw it")

    def test_cancel_ends_an_async_task(self):
        worker = self.one
        seq = self.started(worker, self.script("a.py", WAITS + "main = in_loop"))
        worker.cancel(seq)
        failure = worker.failure(seq)
        self.assertEqual((failure.kind, failure.message), (FailureKind.CANCELLED, "the task was cancelled"))
        self.assertIn("in in_loop", failure.traceback)
        self.assertEqual(worker.run(self.script("b.py", "async def main(p, c): return 'on'")), "on")

    def test_an_async_task_can_clean_up_or_refuse_to_be_cancelled(self):
        worker = self.one
        seq = self.started(worker, self.script("a.py", """
            import asyncio
            async def main(p, c):
                print("begun")
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.01)
                    return ["cleaned", c.cancelled]
        """))
        worker.cancel(seq)
        self.assertEqual(worker.result(seq), ["cleaned", True])

    def test_a_task_that_is_not_running_is_not_cancelled(self):
        worker = self.one
        script = self.script("a.py", "def main(p, c): return c.cancelled")
        seq = worker.submit(script)
        worker.result(seq)
        for other in (seq, seq + 1, 2 ** 64 - 1):
            worker.cancel(other)
        self.assertEqual(worker.run(script), False)

    def test_L6_cancel_hits_the_task_it_names_alone(self):
        gate = self.gate()
        worker = self.one
        script = self.script("a.py", Gate.SOURCE + """
def main(p, c):
    print("begun")
    gate(p["gate"])
    return c.cancelled
""")
        seqs = worker.submit_together(*[(script, {"gate": gate.path})] * 3)
        worker.wait_for_line(seqs[0], "begun")
        worker.cancel(seqs[0])
        gate.open(3)
        self.assertEqual(worker.results(*seqs), [True, False, False])

    def test_revoke_takes_back_what_has_not_started(self):
        gate = self.gate()
        worker = self.worker()
        noting = self.script("noting.py", "def main(p, c): open(p['mark'], 'w').close()")
        busy = worker.submit_together(*[(self.gated(), {"gate": gate.path})] * self.slots)
        for seq in busy:
            worker.wait_for_line(seq, "begun")
        waiting = worker.submit_together(*[(noting, {"mark": self.path("ran-%d" % n)}) for n in range(5)])
        taken = []

        def all_taken():
            # A threaded worker can take back only what its main thread has read.
            taken.extend(worker.ask("Revoke", busy + waiting)[1][0])
            return len(taken) >= 5

        wait_until(all_taken, "all waiting tasks taken back")
        self.assertEqual(sorted(taken), waiting)
        self.assertEqual(worker.ask("Revoke", busy + waiting), ("Revoked", [[]]), "answered twice")
        last = worker.submit(noting, {"mark": self.path("last")})
        gate.open(self.slots)
        worker.results(*busy, last)
        self.assertEqual(worker.finish(), 0)
        self.assertIsNone(worker.receive(), "a revoked task was answered")
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("ran")], [])

    def test_revoke_of_some_leaves_the_others(self):
        gate = self.gate()
        worker = self.one
        script = self.script("a.py", "def main(p, c): return p")
        busy = worker.submit_together(*[(self.gated(), {"gate": gate.path})] * self.slots)
        for seq in busy:
            worker.wait_for_line(seq, "begun")
        waiting = worker.submit_together(*[(script, n) for n in range(6)])
        taken = []
        wait_until(lambda: taken.extend(worker.ask("Revoke", waiting[::2])[1][0]) or len(taken) == 3, "three taken")
        gate.open(self.slots)
        self.assertEqual(worker.results(*busy, *waiting[1::2])[self.slots:], [1, 3, 5])

    def test_revoke_of_finished_and_of_no_tasks(self):
        worker = self.one
        seq = worker.submit(self.script("a.py", "def main(p, c): return 1"))
        worker.result(seq)
        self.assertEqual(worker.ask("Revoke", [seq]), ("Revoked", [[]]))
        self.assertEqual(worker.ask("Revoke", []), ("Revoked", [[]]))

    def test_revokes_and_runs_never_disagree(self):
        # Each task is either answered as revoked or runs, whatever the timing.
        script = self.script("a.py", "def main(p, c): return p")
        worker = self.worker()
        seqs = worker.submit_together(*[(script, n) for n in range(2000)])
        taken = []
        for at in range(2000 - 100, 0, -100):
            taken += worker.ask("Revoke", seqs[at:at + 100])[1][0]
        last = worker.submit(script, "last")
        worker.end()
        ran = []
        message = worker.receive()
        while message is not None:
            self.assertEqual(message[0], "Done")
            ran.append(message[1][0])
            message = worker.receive()
        self.assertEqual(sorted(ran + taken), seqs + [last])
        self.assertEqual(worker.process.wait(LIMIT), 0)


class ControlInline(Control, Case):
    def test_L12_tasks_start_in_the_order_they_were_sent(self):
        script = self.script("a.py", "order = []\ndef main(p, c):\n    order.append(p)\n    return order")
        worker = self.one
        seqs = worker.submit_together(*[(script, n) for n in range(100)])
        self.assertEqual(worker.results(*seqs)[-1], list(range(100)))

    def test_L2_result_is_written_before_the_next_task_starts(self):
        kill = self.script("kill.py", "import os, signal\ndef main(p, c): os.kill(os.getpid(), signal.SIGKILL)")
        fine = self.script("fine.py", "def main(p, c): print('line', end=''); return p")
        worker = self.worker()
        seqs = worker.submit_together(*[(fine, n) for n in range(50)], (kill, {}), (fine, 99))
        self.assertEqual(worker.results(*seqs[:50]), list(range(50)))
        self.assertIsNone(worker.receive())
        self.assertEqual(worker.process.wait(LIMIT), -9)
        self.assertEqual(worker.output(seqs[49]), "line")
        self.assertEqual(worker.running(), [seqs[50]], "L5: only the guilty one had started")

    def test_L2_result_can_be_read_while_the_next_task_runs(self):
        gate = self.gate()
        worker = self.one
        fine = self.script("fine.py", "def main(p, c): return p")
        first, second = worker.submit_together((fine, 1), (self.gated(), {"gate": gate.path}))
        self.assertEqual(worker.result(first), 1)
        worker.wait_for_line(second, "begun")
        gate.open()
        worker.result(second)


class ControlThreaded(Control, Case):
    slots = 4

    def test_L2_results_are_written_while_other_tasks_run(self):
        gate = self.gate()
        worker = self.worker()
        kill = self.script("kill.py", "import os\ndef main(p, c): os._exit(1)")
        fine = self.script("fine.py", "def main(p, c): return p")
        held = worker.submit(self.gated(), {"gate": gate.path})
        worker.wait_for_line(held, "begun")
        self.assertEqual([worker.run(fine, n) for n in range(20)], list(range(20)))
        worker.submit(kill)
        self.assertIsNone(worker.receive())

    def test_cancel_of_one_async_task_leaves_the_others(self):
        worker = self.one
        script = self.script("a.py", WAITS + "main = in_loop")
        seqs = worker.submit_together(*[(script, {})] * 8)
        for seq in seqs:
            worker.wait_for_line(seq, "begun")
        for left in range(7, -1, -1):
            worker.cancel(seqs[left])
            self.assertEqual(worker.failure(seqs[left]).kind, FailureKind.CANCELLED)
            wait_until(lambda: worker.running() == seqs[:left], "the status page without the cancelled one")

    def test_cancel_before_an_async_task_took_its_first_step(self):
        # The loop is held up, so that the second task is still on its way into it.
        gate = self.gate()
        worker = self.one
        holding = self.script("hold.py", Gate.SOURCE + """
async def main(p, c):
    print("begun")
    gate(p["gate"])
""")
        first = worker.submit(holding, {"gate": gate.path})
        worker.wait_for_line(first, "begun")
        second = worker.submit(self.script("a.py", "async def main(p, c): return 'ran'"))
        wait_until(lambda: worker.running() == [first, second], "both on the status page")
        worker.cancel(second)
        gate.open()
        worker.result(first)
        self.assertEqual(worker.failure(second).kind, FailureKind.CANCELLED)
        self.assertEqual(worker.outputs.get((second, 1)), None, "a warning: never awaited")


class StatusPage(Case):
    def test_L5_the_page_holds_the_running_task_and_nothing_else(self):
        gate = self.gate()
        worker = self.worker()
        self.assertEqual(worker.running(), [])
        seqs = worker.submit_together(*[(self.gated(), {"gate": gate.path})] * 3)
        for seq in seqs:
            worker.wait_for_line(seq, "begun")
            self.assertEqual(worker.page[0], seq)
            self.assertEqual(worker.running(), [seq])
            gate.open()
            worker.result(seq)
        wait_until(lambda: worker.page[0] == 0, "an empty page")

    def test_L5_the_page_is_empty_after_a_failure(self):
        worker = self.worker()
        worker.fail(self.script("a.py", "def main(p, c): 1 / 0"))
        wait_until(lambda: worker.page[0] == 0, "an empty page")

    def test_L5_after_a_kill_the_page_names_what_had_started(self):
        gate = self.gate()
        for slots, busy in ((1, 1), (4, 3)):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                seqs = worker.submit_together(*[(self.gated(), {"gate": gate.path})] * busy)
                for seq in seqs:
                    worker.wait_for_line(seq, "begun")
                if slots == 1:
                    worker.submit(self.gated(), {"gate": gate.path})  # sent ahead, not started
                os.kill(worker.process.pid, 9)
                self.assertEqual(worker.process.wait(LIMIT), -9)
                self.assertEqual(worker.running(), seqs)

    def test_L5_the_page_names_what_has_ended_and_not_what_was_revoked(self):
        gate = self.gate()
        for slots in (1, 2):
            with self.subTest(slots=slots):
                worker = self.worker(slots=slots)
                seqs = worker.submit_together(*[(self.gated(), {"gate": gate.path})] * (slots + 1))
                for seq in seqs[:slots]:
                    worker.wait_for_line(seq, "begun")
                self.assertEqual(worker.ask("Revoke", [seqs[-1]]), ("Revoked", [[seqs[-1]]]))
                for seq in seqs[:slots]:
                    gate.open()
                for _ in seqs[:slots]:
                    worker.expect("Done")
                wait_until(lambda: worker.ended() == seqs[:slots], "what has ended")
                self.assertEqual(worker.running(), [])

    def test_L5_async_tasks_have_slots_of_the_page_too(self):
        script = self.script("a.py", WAITS + "main = in_loop")
        worker = self.worker(slots=2)
        seqs = worker.submit_together(*[(script, {})] * 20)
        wait_until(lambda: worker.running() == seqs, "all on the status page")
        for seq in seqs:
            worker.wait_for_line(seq, "begun")
            worker.cancel(seq)
            worker.failure(seq)
        wait_until(lambda: worker.running() == [], "an empty page")

    def test_more_tasks_than_the_page_has_slots(self):
        script = self.script("a.py", WAITS + "main = in_loop")
        worker = self.worker(slots=2)
        seqs = worker.submit_together(*[(script, {})] * 600)
        wait_until(lambda: len(worker.running()) == 512, "a full page")
        for seq in seqs:
            worker.wait_for_line(seq, "begun")
        for seq in seqs:
            worker.cancel(seq)
        for _ in seqs:
            self.assertEqual(worker.expect("Failed")[2][0], FailureKind.CANCELLED)
        wait_until(lambda: worker.running() == [], "an empty page")


class Contexts(Case):
    def test_the_attributes(self):
        script = self.script("a.py", """
            def main(p, c):
                return [c.task_id, c.worker_id, c.attempt, c.cancelled, repr(c)]
        """)
        task = uuid.UUID("018f3a5e-0000-7abc-8def-0123456789ab")
        for slots in (1, 4):
            worker = self.worker(slots=slots, worker_id="io-11")
            seq = worker.submit(script, attempt=3, task=task.bytes)
            self.assertEqual(worker.result(seq), [
                str(task), "io-11", 3, False, "<Context task_id=%s worker_id=io-11 attempt=3>" % task])

    def test_progress_comes_while_the_task_runs(self):
        gate = self.gate()
        worker = self.worker()
        seq = worker.submit(self.script("a.py", Gate.SOURCE + """
def main(p, c):
    c.progress(0.25)
    c.progress(1, "hälf")
    c.progress(-7)
    c.progress(float("inf"))
    try: c.progress(float("nan"))
    except ValueError as error: c.progress(0.5, str(error))
    gate(p["gate"])
"""), {"gate": gate.path})
        self.assertEqual(worker.expect("Progress"), [seq, 0.25, ""])
        self.assertEqual(worker.expect("Progress"), [seq, 1.0, "hälf"])
        self.assertEqual(worker.expect("Progress"), [seq, 0.0, ""])
        self.assertEqual(worker.expect("Progress"), [seq, 1.0, ""])
        self.assertEqual(worker.expect("Progress"), [seq, 0.5, "fraction is not a number"])
        gate.open()
        worker.result(seq)

    def test_log_has_levels(self):
        worker = self.worker()
        seq = worker.submit(self.script("a.py", """
            def main(p, c):
                c.log("plain")
                for level in ("debug", "info", "warning", "error"): c.log(level, level)
                c.log(ValueError("not text"), level="error")
                try: c.log("x", "loud")
                except ValueError as error: return str(error)
        """))
        logged = [worker.expect("Log") for _ in range(6)]
        self.assertEqual(logged, [[seq, 1, "plain"], [seq, 0, "debug"], [seq, 1, "info"], [seq, 2, "warning"],
                                  [seq, 3, "error"], [seq, 3, "not text"]])
        self.assertEqual(worker.result(seq), "unknown level 'loud': use one of debug, info, warning, error")

    def test_L9_a_huge_message_is_cut(self):
        worker = self.worker(frame_limit=1 << 20)
        worker.submit(self.script("a.py", """
            def main(p, c):
                c.log("a" * 5_000_000 + "z")
                c.progress(0.5, "a" * 5_000_000 + "z")
        """))
        for text in (worker.expect("Log")[2], worker.expect("Progress")[2]):
            self.assertLess(len(text), 70_000)
            self.assertIn("left out", text)
            self.assertTrue(text.endswith("z"))

    def test_prints_and_progress_keep_their_order(self):
        worker = self.worker()
        seq = worker.submit(self.script("a.py", """
            def main(p, c):
                print("one")
                c.progress(0.5)
                print("two")
        """))
        self.assertEqual([worker.receive()[0] for _ in range(4)], ["Output", "Progress", "Output", "Done"])
        self.assertEqual(seq, 1)


if __name__ == "__main__":
    unittest.main()
