"""What a task can do to the runtime in its own process (L8): each attack has a typed outcome, and nothing hangs (L1)."""

import os
import signal
import textwrap
import unittest

from base import Case
from harness import LIMIT

# A result, a failure of the task, or the end of the worker with this exit code.
DONE, FAILED, ENDED = "done", "failed", 1
# The same, when the control thread finds first that its descriptor is gone.
ENGINE_GONE = 95
# What can become of later tasks. Which of them, depends on what the version of Python needs.
FINE, WRECKED = {DONE}, {DONE, FAILED, ENDED}

# The attack; what becomes of the task in a worker with one slot and in one with several; and, for both, what can become
# of the next two tasks there, a plain one and a coroutine.
ATTACKS = [
    # Of the runtime's own state.
    ("""
        for name, module in list(sys.modules.items()):
            if name.startswith("_axion_worker"):
                for key in [key for key in vars(module) if not key.startswith("__")]: setattr(module, key, None)
     """, ENDED, ENDED),
    ("""
        for name, module in list(sys.modules.items()):
            if name.startswith("_axion_worker"):
                for key in [key for key in vars(module) if not key.startswith("__")]: delattr(module, key)
     """, ENDED, ENDED),
    ("os.closerange(3, 4096)", ENDED, ENDED),
    ("os.closerange(0, 4096)", ENDED, ENDED),
    ("page = [it for it in gc.get_objects() if isinstance(it, memoryview) and it.format == 'Q']; page[0][0] = 0",
     DONE, DONE),
    # Of the interpreter.
    ("sys.modules.clear()", DONE, DONE, WRECKED, WRECKED),
    ("sys.meta_path[:] = []; sys.path[:] = []; sys.path_hooks[:] = []", DONE, DONE, WRECKED, WRECKED),
    ("lower_the_recursion_limit()", DONE, DONE, FINE, WRECKED),
    ("sys.settrace(fail); threading.settrace(fail); sys.setprofile(fail)", FAILED, FAILED),
    ("faulthandler.disable()", DONE, DONE),
    ("gc.freeze(); gc.disable()", DONE, DONE),
    ("builtins.print = builtins.open = builtins.len = builtins.isinstance = None", ENDED, ENDED),
    ("threading.Thread.start = threading.Lock = threading.Thread = None", DONE, DONE, WRECKED, WRECKED),
    ("sys.excepthook = threading.excepthook = sys.displayhook = sys.unraisablehook = None", DONE, DONE, FINE, WRECKED),
    ("sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None", DONE, DONE),
    ("sys.stdout = sys.stderr = Stream()", DONE, DONE, FINE, WRECKED),
    ("os.environ = None", DONE, DONE, FINE, WRECKED),
    ("globals()['kept'] = Deleted(); Deleted()", DONE, DONE),
    # Of signals and processes; in a thread, Python refuses to set a handler.
    ("for s in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD): signal.signal(s, fail)", DONE, FAILED),
    ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))", DONE, DONE),
    ("signal.signal(signal.SIGALRM, signal.SIG_DFL); signal.alarm(1)", DONE, FAILED),
    ("os.fork()", DONE, DONE),
    ("os.fork() or fail()", DONE, DONE),
    # Of what becomes the result or the failure.
    ("return Reduced()", FAILED, FAILED),
    ("return Items(a=1)", FAILED, FAILED),
    ("return Number(5)", DONE, DONE),
    ("return Attributes()", FAILED, FAILED),
    ("value = []; value.append(value); return value", FAILED, FAILED),
    ("raise Undescribed", FAILED, FAILED),
    ("raise GeneratorExit", FAILED, FAILED),
]

_SOURCE = """
import atexit, builtins, faulthandler, gc, os, signal, sys, threading, time

class Deleted:
    def __del__(self): raise RuntimeError
class Reduced:
    def __reduce__(self): raise SystemExit(3)
class Items(dict):
    def items(self): raise KeyboardInterrupt
class Number(int):
    def __repr__(self): raise SystemExit
class Attributes:
    def __getattr__(self, name): raise SystemExit(name)
class Stream:
    def __getattr__(self, name): raise SystemExit
    def __eq__(self, other): raise SystemExit
class Undescribed(Exception):
    __cause__ = property(lambda self: 1 / 0)
    def __str__(self): raise SystemExit

def fail(*_):
    raise RuntimeError("by the attack")

def lower_the_recursion_limit():
    limit = 1
    while True:
        try: return sys.setrecursionlimit(limit)
        except RecursionError: limit += 1

def attack():
%s

def main(p, c):
    begun = time.monotonic()
    try:
        return attack()
    finally:
        while time.monotonic() < begun + 0.0002: pass
"""


class Hostile:
    """Run under both kinds of worker."""

    def outcome(self, worker, script):
        worker.submit(script)
        while True:
            message = worker.receive()
            if message is None:
                code = worker.process.wait(LIMIT)
                return ENDED if code == ENGINE_GONE else code
            if message[0] in ("Done", "Failed"):
                return message[0].lower()

    def test_l8_every_attack_of_a_task_on_its_worker_has_a_typed_outcome(self):
        plain = self.script("plain.py", "def main(p, c): print('hello')")
        coroutine = self.script("coroutine.py", """
            import asyncio
            async def main(p, c): await asyncio.sleep(0.001)
        """)
        for number, (attack, inline, threaded, *after) in enumerate(ATTACKS):
            source = _SOURCE % textwrap.indent(textwrap.dedent(attack).strip(), "    ")
            script = self.script("attack%d.py" % number, source)
            with self.subTest(attack):
                worker = self.worker()
                outcomes = [self.outcome(worker, script)]
                for other in (plain, coroutine):
                    if worker.process.poll() is None:
                        outcomes.append(self.outcome(worker, other))
                expected = threaded if self.slots > 1 else inline
                self.assertEqual(outcomes[0], expected, outcomes)
                self.assertLessEqual(set(outcomes[1:]), after[self.slots > 1] if after else FINE, outcomes)
                self.assertIn(worker.finish(), (0, ENDED, ENGINE_GONE, 120))

    def test_l1_threads_and_exits_that_a_task_leaves_do_not_hold_up_the_others(self):
        script = self.script("leaves.py", """
            import atexit, os, threading, time
            def spin():
                while True: pass
            def main(p, c):
                threading.Thread(target=spin, daemon=True).start()
                atexit.register(os._exit, 7)
        """)
        after = self.script("after.py", "def main(p, c): return 'after'")
        worker = self.worker()
        worker.run(script)
        self.assertEqual(worker.run(after), "after")
        self.assertEqual(worker.finish(), 7, "what is registered with `atexit` runs at the orderly end")


class HostileInline(Hostile, Case):
    def test_l1_a_signal_that_raises_between_two_tasks_ends_the_worker(self):
        script = self.script("a.py", """
            import signal, os
            def fail(*_): raise RuntimeError("between two tasks")
            def main(p, c): signal.signal(signal.SIGUSR1, fail)
        """)
        worker = self.worker()
        worker.run(script)
        os.kill(worker.process.pid, signal.SIGUSR1)
        self.assertIsNone(worker.receive())
        self.assertEqual(worker.process.wait(LIMIT), 1)
        self.assertIn(b"between two tasks", worker.raw(worker.raw_err))


class HostileThreaded(Hostile, Case):
    slots = 4


if __name__ == "__main__":
    unittest.main()
