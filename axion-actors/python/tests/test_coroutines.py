"""Coroutine tasks of a threaded worker: they need no thread, and the worker reports which scripts are coroutines."""

import os
import unittest

from base import Case, Gate
from harness import LIMIT, wait_until
from axion_worker.failure import FailureKind

# Ends when `count` of its tasks are in it, and says how many were.
MEETING = """
import asyncio
inside, done = [], None
async def main(p, c):
    global done
    if "warm" in p:
        return
    done = done or asyncio.Event()
    inside.append(c.task_id)
    if len(inside) == p["count"]:
        done.set()
    await done.wait()
    return len(inside)
"""
ASYNC = "async def main(p, c): return 'async'"
PLAIN = "def main(p, c): return 'plain'"


class Held(Case):
    slots = 2

    def held_up(self, worker):
        """Plain tasks in all threads of a worker; a function that lets them end, and gives the results of others."""
        gate = self.gate("held")
        seqs = worker.submit_together(*[(self.gated("held.py"), {"gate": gate.path})] * self.slots)
        for seq in seqs:
            worker.wait_for_line(seq, "begun")

        def let_go(*others):
            gate.open(self.slots)
            return worker.results(*seqs, *others)[self.slots:]

        return let_go

    def known(self, worker, name="known.py", source=ASYNC):
        """A coroutine script that the worker has run."""
        script = self.script(name, source)
        worker.run(script)
        return script


class NoThreads(Held):
    def test_two_hundred_that_wait_for_each_other_finish_in_a_worker_with_two_threads(self):
        script = self.script("meeting.py", MEETING)
        worker = self.worker(async_slots=200)
        seqs = worker.submit_together(*[(script, {"count": 200})] * 200)
        self.assertEqual(worker.results(*seqs), [200] * 200)

    def test_they_run_while_plain_tasks_are_in_all_threads(self):
        for first_seen in (True, False):
            with self.subTest(first_seen=first_seen):
                worker = self.worker(async_slots=200)
                script = self.script("meeting.py", MEETING)
                if not first_seen:
                    worker.run(script, {"warm": True})
                let_go = self.held_up(worker)
                seqs = worker.submit_together(*[(script, {"count": 200})] * 200)
                self.assertEqual(worker.results(*seqs), [200] * 200)
                let_go()
                for file in ("held", "held.py"):
                    os.unlink(self.path(file))

    def test_one_that_has_changed_is_loaded_anew_while_plain_tasks_are_in_all_threads(self):
        worker = self.worker(async_slots=200)
        script = self.known(worker)
        let_go = self.held_up(worker)
        self.script("known.py", ASYNC.replace("async'", "changed'"))
        self.assertEqual(worker.results(*worker.submit_together(*[(script, {})] * 50)), ["changed"] * 50)
        let_go()

    def test_one_that_has_become_plain_waits_its_turn_for_a_thread(self):
        worker = self.worker(async_slots=200)
        script = self.known(worker)
        let_go = self.held_up(worker)
        self.script("known.py", PLAIN)
        loading = self.script("loading.py", ASYNC)
        seqs = worker.submit_together(*[(script, {})] * 3)
        self.assertEqual(worker.run(loading), "async")
        self.assertEqual(worker.ask("Revoke", seqs[1:2]), ("Revoked", [seqs[1:2]]), "it has not started")
        self.assertEqual(let_go(seqs[0], seqs[2]), ["plain"] * 2)
        # By whichever was in a thread first.
        self.assertTrue({(seqs[0], False), (seqs[2], False)} & set(worker.loaded), worker.loaded)


class Told(Case):
    slots = 2

    def test_the_engine_is_told_before_the_first_result_and_when_it_changes(self):
        worker = self.worker(async_slots=9)
        script = self.script("a.py", ASYNC)
        seq = worker.submit(script)
        self.assertEqual(worker.result(seq), "async")
        self.assertEqual(worker.loaded, [(seq, True)])
        worker.run(script)
        self.script("a.py", ASYNC + "  # the same in other words")
        worker.run(script)
        self.assertEqual(worker.loaded, [(seq, True)], "reported twice")
        self.script("a.py", PLAIN)
        seq = worker.submit(script)
        self.assertEqual(worker.result(seq), "plain")
        self.assertEqual(worker.loaded[1:], [(seq, False)])

    def test_every_kind_of_entry_point(self):
        kinds = {
            "def main(p, c): pass": False,
            "async def main(p, c): pass": True,
            "class module:\n    def run(self, p): pass": False,
            "class module:\n    async def run(self, p): pass": True,
            "class It:\n    def run(self, p): pass\ndef module(): return It()": False,
            "class It:\n    async def run(self, p): pass\ndef module(): return It()": True,
            # Its own code runs in the thread, and only that knows what comes of it.
            "async def inner(): pass\ndef main(p, c): return inner()": False,
            "import functools\nasync def inner(a, p, c): pass\nmain = functools.partial(inner, 1)": False,
        }
        worker = self.worker(async_slots=9)
        for number, (source, expected) in enumerate(kinds.items()):
            with self.subTest(source):
                script = self.script("%d.py" % number, source)
                del worker.loaded[:]
                for _ in range(2):
                    self.assertIsNone(worker.run(script))
                self.assertEqual([flag for _, flag in worker.loaded], [expected])

    def test_a_script_that_cannot_be_loaded_is_not_spoken_of(self):
        worker = self.worker(async_slots=9)
        worker.fail(self.script("a.py", "def main(p, c)"))
        self.assertEqual(worker.loaded, [])

    def test_a_worker_of_one_slot_says_nothing(self):
        worker = self.worker(slots=1)
        worker.run(self.script("a.py", ASYNC))
        self.assertEqual(worker.loaded, [])


class Straight(Held):
    """What never saw a thread behaves as what did."""

    def setUp(self):
        super().setUp()
        self.one = self.worker(async_slots=500)

    def straight(self, source, name="straight.py"):
        """A script that the worker knows, all its threads being held up."""
        script = self.script(name, source)
        self.one.run(script, {"warm": True})
        self.let_go = self.held_up(self.one)
        return script

    def test_no_thread_is_made_for_them(self):
        script = self.known(self.one)
        self.held_up(self.one)  # so that no thread is still on its way out of the first task
        tasks = "/proc/%d/task" % self.one.process.pid
        before = len(os.listdir(tasks))
        self.one.results(*self.one.submit_together(*[(script, {})] * 300))
        self.assertEqual(len(os.listdir(tasks)), before)

    def test_cancel(self):
        script = self.straight("""
            import asyncio
            async def main(p, c):
                if "warm" in p: return
                print("begun")
                await asyncio.sleep(1000)
        """)
        seqs = self.one.submit_together(*[(script, {})] * 3)
        for seq in seqs:
            self.one.wait_for_line(seq, "begun")
        self.one.cancel(seqs[1])
        self.assertEqual(self.one.failure(seqs[1]).kind, FailureKind.CANCELLED)
        wait_until(lambda: set(seqs) & set(self.one.running()) == {seqs[0], seqs[2]}, "the page without it")

    def test_soft_limit(self):
        script = self.straight("""
            import asyncio
            async def main(p, c):
                if "warm" in p: return
                print("begun")
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    if p["cleans"]: return "cleaned"
                    raise
        """)
        for cleans in (False, True):
            seq = self.one.submit(script, {"cleans": cleans})
            self.one.wait_for_line(seq, "begun")
            self.one.tell("Interrupt", seq)
            if cleans:
                self.assertEqual(self.one.result(seq), "cleaned")
            else:
                self.assertEqual(self.one.failure(seq).kind, FailureKind.SOFT_TIMEOUT)

    def test_cancel_and_soft_limit_before_the_first_step(self):
        gate = self.gate()
        script = self.straight(Gate.SOURCE + """
async def main(p, c):
    if "gate" in p:
        print("begun")
        gate(p["gate"])
    return "ran"
""")
        holding = self.one.submit(script, {"gate": gate.path})
        self.one.wait_for_line(holding, "begun")
        seqs = self.one.submit_together(*[(script, {})] * 3)
        wait_until(lambda: set(seqs) <= set(self.one.running()), "all on the status page")
        self.one.cancel(seqs[0])
        self.one.tell("Interrupt", seqs[1])
        self.assertEqual(self.one.ask("Revoke", seqs), ("Revoked", [[]]), "they have started")
        gate.open()
        ended = {}
        while len(ended) < 4:
            name, values = self.one.receive()
            ended[values[0]] = values[2][0] if name == "Failed" else name
        self.assertEqual(ended, {holding: "Done", seqs[0]: FailureKind.CANCELLED, seqs[1]: FailureKind.SOFT_TIMEOUT, seqs[2]: "Done"})
        self.assertEqual([key for key in self.one.outputs if key[1] == 1], [], "a warning: never awaited")

    def test_prints_and_contexts_are_their_own(self):
        script = self.straight("""
            import asyncio
            async def main(p, c):
                for n in range(3):
                    print(p.get("n"), n, end=";")
                    await asyncio.sleep(0)
                return [c.worker_id, c.attempt, c.deadline is None, c.cancelled]
        """)
        seqs = self.one.submit_together(*[(script, {"n": n}) for n in range(40)])
        self.assertEqual(self.one.results(*seqs), [["cpu-0", 1, True, False]] * 40)
        for n, seq in enumerate(seqs):
            self.assertEqual(self.one.output(seq), "".join("%d %d;" % (n, at) for at in range(3)))

    def test_they_start_in_the_order_they_were_sent(self):
        script = self.straight("""
            order = []
            async def main(p, c):
                order.append(p.get("n"))
                return order[1:]
        """)
        seqs = self.one.submit_together(*[(script, {"n": n}) for n in range(100)])
        self.assertEqual(self.one.results(*seqs)[-1], list(range(100)))

    def test_failures_are_told_as_ever(self):
        script = self.straight("""
            async def main(p, c):
                if p.get("how") == "raise": raise ValueError("bad")
                if p.get("how") == "exit": raise SystemExit(3)
                if p.get("how") == "object": return object()
        """)
        kinds = {"raise": FailureKind.EXCEPTION, "exit": FailureKind.SYSTEM_EXIT, "object": FailureKind.RESULT_NOT_SERIALIZABLE}
        for how, kind in kinds.items():
            self.assertEqual(self.one.fail(script, {"how": how}).kind, kind)
        seq = self.one.submit(script, raw=b"{")
        self.assertEqual(self.one.failure(seq).kind, FailureKind.PARAMS_INVALID)

    def test_large_parameters(self):
        script = self.straight("async def main(p, c): return len(p.get('text', ''))")
        self.assertEqual(self.one.run(script, {"text": "x" * 1000000}), 1000000)

    def test_small_parameters_do_not_overtake_large_ones(self):
        script = self.straight("""
            order = []
            async def main(p, c):
                order.append(p.get("n"))
                return order[1:]
        """)
        large = {"n": 0, "text": "x" * 10_000_000}
        seqs = self.one.submit_together((script, large), (script, {"n": 1}), (script, {"n": 2}))
        self.assertEqual(self.one.results(*seqs)[-1], [0, 1, 2])

    def test_a_module_that_returns_something_else_at_times(self):
        script = self.script("module.py", """
            class Async:
                async def run(self, p): return "async"
            class Plain:
                def run(self, p): return "plain"
            made = []
            def module():
                made.append(1)
                return Plain() if len(made) % 3 == 0 else Async()
        """)
        self.assertEqual([self.one.run(script) for _ in range(7)], ["async", "async", "plain"] * 2 + ["async"])

    def test_L5_what_a_loader_runs_is_on_the_status_page(self):
        self.held_up(self.one)
        seq = self.one.submit(self.script("kill.py", "import os\nos._exit(1)\nasync def main(p, c): pass"))
        self.assertEqual(self.one.process.wait(LIMIT), 1)
        self.assertIn(seq, self.one.running())

    def test_revoke_while_a_loader_loads_the_script(self):
        let_go = self.held_up(self.one)
        gate = self.gate()
        slow = self.script("slow.py", Gate.SOURCE + "print('loading')\ngate(%r)\n%s" % (gate.path, ASYNC))
        seqs = self.one.submit_together(*[(slow, {})] * 3)
        self.one.wait_for_line(seqs[0], "loading")
        self.assertEqual(self.one.ask("Revoke", seqs[:2]), ("Revoked", [seqs[:2]]))
        gate.open()
        self.assertEqual(self.one.result(seqs[2]), "async")
        let_go()
        self.assertEqual(self.one.run(slow), "async")
        wait_until(lambda: self.one.running() == [], "an empty page")

    def test_a_loader_that_fails_ends_the_task(self):
        self.held_up(self.one)
        failure = self.one.fail(self.script("bad.py", "print('once')\nraise ValueError('at import')"))
        self.assertEqual((failure.kind, failure.message), (FailureKind.EXCEPTION, "at import"))

    def test_the_end_of_the_pipe_waits_for_all(self):
        let_go = self.held_up(self.one)
        script = self.script("a.py", """
            import asyncio
            async def main(p, c):
                await asyncio.sleep(0.02)
                return p
        """)
        seqs = self.one.submit_together(*[(script, n) for n in range(50)])
        self.one.end()
        self.assertEqual(self.one.results(*seqs), list(range(50)))
        let_go()
        self.assertIsNone(self.one.receive())
        self.assertEqual(self.one.process.wait(LIMIT), 0)


if __name__ == "__main__":
    unittest.main()
