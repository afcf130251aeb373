"""Functions that workers import by name."""

import array
import asyncio
import dataclasses
import os
import subprocess
import sys
import threading
import time
import types

import axion

LONG = 100  # seconds, longer than any passing test takes; a test is killed after 150


def run_program(source, folder, *flags, arguments=(), cwd=None, env=None, check=True):
    """Runs a program as a user does, in its folder or in `cwd`. Returns what it printed; unless `check`, how it ended."""
    path = folder / "program.py"
    path.write_text(source)
    env = {**os.environ, **(env or {})}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, *(flags or ("-W", "error")), path, *arguments], capture_output=True,
                          text=True, timeout=LONG, cwd=cwd or folder, env=env)
    if not check:
        return done
    assert (done.stderr, done.returncode) == ("", 0), done
    return done.stdout


def add(a, b):
    return a + b


def double(n):
    return 2 * n


def at_gate(path, value=None):
    with open(path + ".begun", "wb", 0) as file:
        file.write(b"x")
    with open(path, "rb", 0) as file:
        file.read(1)
    return value


def worker_pid(_=None):
    return os.getpid()


async def slow_double(n, seconds=0.0):
    await asyncio.sleep(seconds)
    return 2 * n


_waiting = []


async def meet(count, value=None):
    """Returns when `count` calls wait in one event loop at the same time."""
    arrived = asyncio.Event()
    _waiting.append(arrived)
    if len(_waiting) == count:
        for each in _waiting:
            each.set()
        _waiting.clear()
    await arrived.wait()
    return value


class Stubborn(Exception):
    """An exception that a pickle cannot rebuild."""

    def __init__(self, one, two):
        super().__init__("%s and %s" % (one, two))


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    reason: str


class Falsy(Exception):
    def __bool__(self):
        return False


def fail_stubbornly():
    raise Stubborn("this", "that")


def fail_with(error):
    raise error


def fail_as(kind, *args):
    raise kind(*args)


prepared = []


def prepare(value):
    prepared.append(value)


def what_was_prepared():
    return list(prepared)


def die(_data=None):
    os.kill(os.getpid(), 9)


def alive(pid):
    """Whether a process runs. One that has ended may stay a zombie until its parent reaps it."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_the_end(*pids):
    """Waits until processes have ended that are not our children."""
    for pid in pids:
        while alive(pid):
            time.sleep(0.002)


class Counter:
    def __init__(self, start):
        self.start = start

    def plus(self, n):
        return self.start + n

    def __call__(self, n):
        return self.start * n


def unpickled_in():
    return threading.current_thread().name


class Pickled:
    """Becomes the name of the unpickling thread when it is unpickled for the second time."""

    def __init__(self, here=False):
        self.here = here

    def __reduce__(self):
        return (unpickled_in, ()) if self.here else (Pickled, (True,))


def same(value):
    return value


def call_code(code, *args):
    return types.FunctionType(code, {})(*args)


def forge(payload):
    """Makes the runtime of this worker send these bytes as the call's result."""
    names = [name for name in sys.modules if name.startswith("_axion_worker_") and name.endswith(".functions")]
    (runtime,) = map(sys.modules.get, names)
    pack = runtime._pack_result

    def pack_forged(*_):
        runtime._pack_result = pack
        return payload

    runtime._pack_result = pack_forged


def add_one(numbers):
    numbers += 1
    return numbers


def sleep_with(_data):
    time.sleep(LONG)


def forge_large(how):
    """Has the worker send a large result that is not what it says."""
    import fcntl
    import gc
    import socket

    size, seals = 3 << 20, 15
    channel, = [it for it in gc.get_objects() if type(it).__name__ == "Channel"]
    seq = axion.context.current()._seq
    if how == "too few pieces":
        channel.emit("Piece", b"123")
        return channel.emit("LargeDone", seq, 1, (size, False))
    fd = os.memfd_create("axion-payload", os.MFD_ALLOW_SEALING)
    if how == "sparse":
        os.ftruncate(fd, size)
    else:
        os.write(fd, bytes(size - (how == "short")))
    if how == "no memory":
        fd = os.open("/dev/zero", os.O_RDONLY)
    else:
        fcntl.fcntl(fd, 1033, seals & ~8 if how == "unsealed" else seals)
    if how != "none":
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        channel.payload_socket.sendmsg([seq.to_bytes(8, "little")], rights)
    channel.emit("LargeDone", seq, 1, (size, True))


lock = threading.Lock()  # has no pickle


@axion.task(retries=1)
def locked_double(n):
    with lock:
        return 2 * n


@axion.task
async def async_double(n):
    with lock:
        return 2 * n


class Scale:
    def __init__(self, factor):
        self.factor = factor

    @axion.task(timeout=LONG)
    def times(self, n):
        return self.factor * n

    @axion.task
    async def async_times(self, n):
        return self.factor * n


def skip_without(package):
    """Skips a test whose program needs a package. The package is not imported here: it would patch this process."""
    import importlib.util

    import pytest

    if importlib.util.find_spec(package) is None:
        pytest.skip("%s is not installed" % package)


_kept = None


def keep(value):
    global _kept
    _kept = value


def kept():
    return _kept
