"""Plays the engine to one worker process: starts it as `process/real.rs` does and speaks the wire.

The harness runs on the Python that runs the tests; the workers run on the one in AXION_TEST_PYTHON.
Nothing here sleeps to let things happen: every wait is for a message or a condition, with a deadline.
"""

import array
import atexit
import collections
import fcntl
import json
import mmap
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

PYTHON_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INTERPRETER = os.environ.get("AXION_TEST_PYTHON", sys.executable)
LIMIT = float(os.environ.get("AXION_TEST_LIMIT", "60"))  # seconds any single wait may take

sys.dont_write_bytecode = True  # the runtime's folder is embedded in the engine: leave nothing in it
sys.path.insert(0, PYTHON_FOLDER)
from axion_worker import wire  # noqa: E402

# Workers start with what the engine gives them, whatever this process was started with.
signal.pthread_sigmask(signal.SIG_SETMASK, ())
for _number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1):
    signal.signal(_number, signal.SIG_DFL)

PACKAGE = "_axion_worker_test"
# Every process of this run carries it, so that what is left of the run can be found.
MARK = "AXION_TEST_RUN"
RUN = uuid.uuid4().hex

Failure = collections.namedtuple("Failure", "kind exception message traceback causes raised")


def install(folder):
    """Lays the runtime into a folder as the engine does, without byte code."""
    shutil.copytree(os.path.join(PYTHON_FOLDER, "axion_worker"), os.path.join(folder, PACKAGE),
                    ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(os.path.join(PYTHON_FOLDER, "worker.py"), folder)
    return folder


# Everything that this run writes to disk, workers included, lies below.
ROOT = os.path.realpath(tempfile.mkdtemp(prefix="axion-test-"))
atexit.register(shutil.rmtree, ROOT)
# The modules that were imported before the setting above took effect.
atexit.register(shutil.rmtree, os.path.join(os.path.dirname(os.path.abspath(__file__)), "__pycache__"), True)


def runtime_folder():
    """The folder with the runtime that the workers share."""
    folder = os.path.join(ROOT, "runtime")
    if not os.path.exists(folder):
        os.mkdir(folder)
        install(folder)
    return folder


def environment(extra=None):
    """The environment of a worker: this process's without its PYTHON settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env[MARK] = RUN
    env["TMPDIR"] = ROOT
    env.update(extra or {})
    return env


def wait_until(condition, what, limit=LIMIT):
    """Checks a condition until it holds: for facts that no message reports."""
    deadline = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("%s did not come true within %s s: %r" % (what, limit, found))
        time.sleep(0.001)


def processes_left():
    """The processes of this run that are alive, as `pid command`."""
    mark, left = ("%s=%s" % (MARK, RUN)).encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                if mark not in file.read().split(b"\0") or int(pid) == os.getpid():
                    continue
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                left.append("%s %r" % (pid, file.read()))
        except OSError:
            pass
    return left


class Worker:
    """One worker process and the engine's ends of its pipes."""

    def __init__(self, worker_id="cpu-0", slots=1, async_slots=0, frame_limit=1 << 26, payload_limit=1 << 27, cwd=None, env=None, restore=False,
                 configure=True, folder=None, interpreter=INTERPRETER, spawn=subprocess.Popen):
        folder = folder or runtime_folder()
        self.package = os.path.join(folder, PACKAGE)
        ours, theirs = socket.socketpair()
        self.control = ours
        down_read, self.down = os.pipe()
        self.up, up_write = os.pipe()
        self.raw_out, out_write = os.pipe()
        self.raw_err, err_write = os.pipe()
        os.set_blocking(self.down, False)
        os.set_blocking(self.raw_out, False)
        os.set_blocking(self.raw_err, False)
        page_fd, page_path = tempfile.mkstemp(dir=ROOT)
        os.unlink(page_path)
        os.truncate(page_fd, 8 + 8 * (512 + 1024))
        self.page = memoryview(mmap.mmap(page_fd, 0)).cast("Q")[1:]  # behind the mark
        self.process = spawn(
            [interpreter, os.path.join(folder, "worker.py"), PACKAGE, worker_id, str(slots)],
            stdin=theirs, stdout=out_write, stderr=err_write, cwd=cwd, env=environment(env), start_new_session=True)
        theirs.close()
        self.stacks, stacks_write = os.pipe()
        self.payloads, payloads_theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        kill_read, self.kill_pipe = os.pipe()
        fds = array.array("i", [down_read, up_write, page_fd, self.raw_out, self.raw_err, stacks_write,
                                payloads_theirs.fileno(), kill_read])
        ours.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        for fd in (down_read, up_write, page_fd, out_write, err_write, stacks_write, kill_read):
            os.close(fd)
        payloads_theirs.close()
        self._pieces, self.pieces = b"", 0  # of the next large result, and how many have come
        self._held = b""
        self._control_held = b""
        self.outputs = {}
        self.loaded = []  # what `Loaded` said so far: (seq, coroutine)
        self._seq = 0
        if configure:
            self.send("Configure", wire.PROTOCOL, worker_id, slots, async_slots, frame_limit, payload_limit, restore)
            try:
                self.ready = self.expect("Ready")
            except BaseException:
                self.close()
                raise

    def send(self, name, *values):
        self.send_raw(wire.encode(wire.DOWN, name, *values))

    def send_raw(self, data):
        """Writes to the data pipe, and reads meanwhile: a worker that waits for room answers first."""
        data = memoryview(data)
        while data:
            readable, writable, _ = select.select([self.up], [self.down], [], LIMIT)
            if writable:
                data = data[os.write(self.down, data):]
            elif readable:
                more = os.read(self.up, 1 << 20)
                if not more:
                    raise BrokenPipeError("the worker has closed its data pipe")
                self._held += more
            else:
                raise AssertionError("the worker takes nothing off its data pipe")

    def frame(self, script, params=None, raw=None, attempt=1, task=None, limit=0):
        """One task under the next sequence number: the number and its frame."""
        self._seq += 1
        raw = json.dumps(params if params is not None else {}).encode() if raw is None else raw
        return self._seq, wire.encode(
            wire.DOWN, "Run", self._seq, attempt, limit, task or uuid.uuid4().bytes, os.fsencode(script), raw)

    def submit(self, script, params=None, **options):
        """Sends one task and returns its sequence number."""
        seq, frame = self.frame(script, params, **options)
        self.send_raw(frame)
        return seq

    def submit_together(self, *tasks):
        """Sends tasks, each `(script, params)`, in one write; returns their sequence numbers."""
        frames = [self.frame(*task) for task in tasks]
        self.send_raw(b"".join(frame for _, frame in frames))
        return [seq for seq, _ in frames]

    def receive(self, limit=LIMIT):
        """The next message on the data pipe as (name, values); None at its end. `Loaded` is only noted."""
        deadline = time.monotonic() + limit
        while True:
            if len(self._held) >= 4:
                size = struct.unpack_from("<I", self._held)[0]
                if len(self._held) >= 4 + size:
                    body, self._held = self._held[4:4 + size], self._held[4 + size:]
                    name, values = wire.decode(wire.UP, body)
                    if name == "Loaded":
                        self.loaded.append(tuple(values))
                    elif name == "Piece":
                        self._pieces += values[0]
                        self.pieces += 1
                    elif name == "LargeDone":
                        return "Done", values[:2] + [self.payload(values[0], *values[2])]
                    else:
                        return name, values
                    continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.up], [], [], left)[0]:
                raise AssertionError("no message within %s s; stderr: %r" % (limit, self.raw(self.raw_err)))
            more = os.read(self.up, 1 << 20)
            if not more:
                return None
            self._held += more

    def payload(self, seq, size, is_shared):
        """A large result."""
        if not is_shared:
            data, self._pieces = self._pieces, b""
            return data
        number, fds, _, _ = socket.recv_fds(self.payloads, 8, 1)
        assert int.from_bytes(number, "little") == seq, (number, seq)
        assert fcntl.fcntl(fds[0], 1034) == 15, "it is sealed"
        with mmap.mmap(fds[0], size, access=mmap.ACCESS_READ) as memory:
            os.close(fds[0])
            return memory[:]

    def send_apart(self, data, name, *values, is_shared=True):
        """Sends a message whose payload travels apart."""
        if is_shared:
            fd = os.memfd_create("test")
            os.write(fd, data)
            socket.send_fds(self.payloads, [b"\0"], [fd])
            os.close(fd)
        else:
            for at in range(0, len(data), 1 << 19):
                self.send("Piece", data[at:at + (1 << 19)])
        self.send(name, *values, (len(data), is_shared))

    def expect(self, name):
        """The values of the next message, which must be `name`; outputs on the way are collected."""
        while True:
            message = self.receive()
            if message is not None and message[0] == "Output" and name != "Output":
                seq, stream, data = message[1]
                self.outputs.setdefault((seq, stream), bytearray()).extend(data)
                continue
            if message is None or message[0] != name:
                raise AssertionError("expected %s, got %r; stderr: %r" % (name, message, self.raw(self.raw_err)))
            return message[1]

    def result(self, seq):
        """The JSON value of the next result, which must be of task `seq` and a success."""
        found, _, data = self.expect("Done")
        assert found == seq, "expected the result of %d, got that of %d" % (seq, found)
        return json.loads(data)

    def failure(self, seq):
        """The failure of the next result: kind, exception, message, traceback, causes."""
        found, _, failure = self.expect("Failed")
        assert found == seq, "expected the failure of %d, got that of %d" % (seq, found)
        return Failure(*failure)

    def results(self, *seqs):
        """The JSON values of the results of these tasks, which may come in any order."""
        found = {}
        while len(found) < len(seqs):
            seq, _, data = self.expect("Done")
            assert seq in seqs and seq not in found, "got a result of %d, expected one of %r" % (seq, seqs)
            found[seq] = json.loads(data)
        return [found[seq] for seq in seqs]

    def output(self, seq, stream=0):
        """What a task printed so far, as text."""
        return self.outputs.get((seq, stream), b"").decode()

    def run(self, script, params=None):
        return self.result(self.submit(script, params))

    def fail(self, script, params=None):
        return self.failure(self.submit(script, params))

    def wait_for_line(self, seq, line, stream=0):
        """Reads on until a task has printed this; its result must not come before."""
        while line not in self.output(seq, stream):
            found, number, data = self.expect("Output")
            self.outputs.setdefault((found, number), bytearray()).extend(data)

    def running(self):
        """The sequence numbers of running tasks on the status page."""
        return sorted(seq for seq in self.page[:512] if seq)

    def ended(self):
        """Those of tasks that have ended."""
        return sorted(seq for seq in self.page[512:] if seq)

    def ask(self, name, *values):
        """Sends a control message and returns the answer as (name, values)."""
        self.tell(name, *values)
        return self.answer()

    def cancel(self, seq):
        """Asks a task to stop. The worker has acted on it when this returns."""
        self.tell("Cancel", seq)
        assert self.ask("Ping", 0) == ("Pong", [0])

    def dump(self):
        """Where the worker's threads are, as it tells with the interpreter lock in hand."""
        self.tell("DumpStacks")
        self.ask("Ping", 0)  # answered after it
        return os.read(self.stacks, 1 << 16).decode()

    def tell(self, name, *values):
        self.tell_raw(wire.encode(wire.CONTROL_DOWN, name, *values))

    def tell_raw(self, data):
        """Writes to the control socket, and reads meanwhile: its buffers may be small."""
        data = memoryview(data)
        while data:
            readable, writable, _ = select.select([self.control], [self.control], [], LIMIT)
            if readable:
                self._control_held += self.control.recv(1 << 16)
            if writable:
                data = data[self.control.send(data, socket.MSG_DONTWAIT):]
            elif not readable:
                raise AssertionError("the worker takes nothing off its control socket")

    def answer(self, limit=LIMIT):
        deadline = time.monotonic() + limit
        while True:
            if len(self._control_held) >= 4:
                size = struct.unpack_from("<I", self._control_held)[0]
                if len(self._control_held) >= 4 + size:
                    body = self._control_held[4:4 + size]
                    self._control_held = self._control_held[4 + size:]
                    return wire.decode(wire.CONTROL_UP, body)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.control], [], [], left)[0]:
                raise AssertionError("no answer on the control socket within %s s" % limit)
            more = self.control.recv(1 << 16)
            assert more, "the control socket ended"
            self._control_held += more

    def fall_asleep(self):
        """Waits until all threads of the worker sleep at once; returns how often they were switched so far.

        From then on nothing but a message, a signal or a timer wakes one.
        """
        before = [self._threads()]

        def asleep():
            before.append(self._threads())
            # A thread that sleeps, and was not switched since the last check, has slept in between.
            return before[-1] == before[-2] and all(state == "S" for state, _ in before[-1].values())

        wait_until(asleep, "a worker whose threads sleep")
        return sum(switches for _, switches in before[-1].values())

    def _threads(self):
        """Of each thread: its state, and how often it was switched."""
        folder, found = "/proc/%d/task" % self.process.pid, {}
        for thread in os.listdir(folder):
            try:
                with open("%s/%s/status" % (folder, thread)) as file:
                    lines = dict(line.split(":", 1) for line in file)
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            found[thread] = lines["State"].split()[0], sum(
                int(lines[kind]) for kind in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"))
        return found

    def raw(self, fd):
        """What lies in a capture pipe."""
        out = b""
        while True:
            try:
                more = os.read(fd, 1 << 16)
            except BlockingIOError:
                return out
            if not more:
                return out
            out += more

    def end(self):
        """Closes the data pipe."""
        if self.down is not None:
            os.close(self.down)
            self.down = None

    def finish(self, limit=LIMIT):
        """Closes the data pipe and returns the exit code of the process."""
        self.end()
        return self.process.wait(limit)

    def close(self):
        try:
            os.killpg(self.process.pid, 9)  # the worker, or what it left behind
        except ProcessLookupError:
            pass
        self.process.wait(LIMIT)
        self.end()
        self.control.close()
        self.payloads.close()
        for fd in (self.up, self.raw_out, self.raw_err, self.stacks, self.kill_pipe):
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
