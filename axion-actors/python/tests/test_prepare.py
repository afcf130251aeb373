"""A worker is prepared, then serves: copies of one prepared process serve engines of their own."""

import array
import os
import socket
import subprocess
import unittest

from base import Case, Gate
from harness import INTERPRETER, PACKAGE, Worker, environment, runtime_folder, wait_until

from axion_worker.failure import FailureKind

_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fork_server.py")


class Copy:
    """A process that is a child of the fork server: what the harness needs of a `Popen`."""

    def __init__(self, pid):
        self.pid = pid

    def wait(self, timeout):
        wait_until(lambda: not os.path.exists("/proc/%d" % self.pid), "the end of a copy", timeout)


class ForkServer:
    """Starts workers for `harness.Worker` by forking one prepared process."""

    def __init__(self, worker_id, slots):
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [INTERPRETER, "-B", _SERVER, runtime_folder(), PACKAGE, worker_id, str(slots)], stdin=theirs,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())

    def spawn(self, _command, stdin, stdout, stderr, **_options):
        fds = array.array("i", [stdin.fileno(), stdout, stderr])
        self._socket.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        return Copy(int(self._socket.makefile().readline()))

    def close(self):
        """Ends it; returns what it printed."""
        self._socket.close()
        with self.process:
            return self.process.stdout.read()


class Prepared(Case):
    def setUp(self):
        super().setUp()
        self.server = ForkServer("cpu-0", self.slots)
        self.addCleanup(lambda: self.server and self.server.close())

    def copy(self):
        worker = Worker(slots=self.slots, spawn=self.server.spawn)
        self.addCleanup(worker.close)
        return worker

    def test_copies_serve_their_own_engines_at_the_same_time(self):
        source = """
            import os
            def main(params, context):
                print("from", params)
                return [params, os.getpid()]
        """
        script = self.script("a.py", source)
        workers = [self.copy() for _ in range(3)]
        seqs = [worker.submit(script, number) for number, worker in enumerate(workers)]
        for number, (worker, seq) in enumerate(zip(workers, seqs)):
            self.assertEqual(worker.result(seq), [number, worker.process.pid])
            self.assertEqual(worker.ready[1], worker.process.pid)
            self.assertEqual(worker.output(seq), "from %d\n" % number)
            worker.finish()

    def test_a_soft_limit_a_cancel_and_a_stack_dump_reach_the_task_of_a_copy(self):
        worker, gate = self.copy(), self.gate()
        script = self.script("waits.py", Gate.SOURCE + """
def main(params, context):
    print("begun")
    gate(params)
    return context.cancelled
""")
        seq = worker.submit(script, gate.path)
        worker.wait_for_line(seq, "begun")
        worker.tell("Cancel", seq)
        self.assertIn("waits.py", worker.dump())  # answered after it
        if self.slots == 1:
            worker.tell("Interrupt", seq)
            self.assertEqual(worker.failure(seq).kind, FailureKind.SOFT_TIMEOUT)
        else:
            gate.open()
            self.assertIs(worker.result(seq), True)
        asynchronous = self.script("b.py", "async def main(p, c): return 'async'")
        self.assertEqual(worker.run(asynchronous), "async")
        worker.finish()

    def test_a_process_that_user_code_forks_in_a_copy_does_not_speak_for_it(self):
        script = self.script("a.py", """
            import os
            def main(params, context):
                pid = os.fork()
                if pid == 0:
                    print("in the forked process")
                    return "forked"
                return os.waitpid(pid, 0)[1]
        """)
        worker = self.copy()
        seq = worker.submit(script)
        self.assertEqual(worker.result(seq), 0)
        wait_until(lambda: "in the forked process" in worker.output(seq) or worker.raw(worker.raw_out), "its print")
        worker.finish()

    def test_the_prepared_process_has_one_thread_and_prints_to_its_own_stdout(self):
        self.copy().finish()
        tasks = os.listdir("/proc/%d/task" % self.server.process.pid)
        self.assertEqual(len(tasks), 1)
        server, self.server = self.server, None
        self.assertEqual(server.close(), b"printed by what was prepared\n")


class PreparedThreaded(Prepared):
    slots = 4


if __name__ == "__main__":
    unittest.main()
