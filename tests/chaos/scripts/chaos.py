"""Tasks of the chaos test: {"do": NAME, "i": INDEX, ...}.

One that is a step of a workflow ("step": true) returns what it was given, too: a digest of each result before it,
so that a wrong or a lost one shows.

Every execution notes its begin and its end in one file beside this script's folder. The notes tell
the test which attempts really ran, whatever the engine believes. Each is one write to a file opened
for appending, between two ends of line, so they stay whole whatever else is written there.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENDLESS = 30.0  # seconds; whatever waits so long should have been ended from outside


def open_notes():
    """Out of the reach of `do_garbage`, unless it runs in another thread at this very moment."""
    fd = os.open(os.path.join(os.path.dirname(HERE), "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 300)
    os.close(fd)
    return high


NOTES = open_notes()


def note(what, params, context):
    os.write(NOTES, b"\n%s %d %d %d\n" % (what, params["i"], context.attempt, os.getpid()))


def main(params, context):
    do = globals()["do_" + params["do"]]
    params["i"] += params.get("item_index", 0)
    if asyncio.iscoroutinefunction(do):
        return in_loop(do, params, context)
    note(b"begin", params, context)
    try:
        return told(do(params, context), params, context)
    finally:
        note(b"end", params, context)


async def in_loop(do, params, context):
    note(b"begin", params, context)
    try:
        return told(await do(params, context), params, context)
    finally:
        note(b"end", params, context)


def digest(value):
    """FNV-1a over the JSON text with sorted keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    mixed = 0xCBF29CE484222325
    for byte in text.encode():
        mixed = ((mixed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return "%016x" % mixed


def told(value, params, context):
    """The result of a step."""
    if "step" not in params:
        return value
    errors = params.get("upstream_errors", {})
    result = {
        "i": params["i"],
        "is": value,
        "attempt": context.attempt,
        "saw": {name: digest(before) for name, before in params.get("upstream_results", {}).items()},
        "errors": {name: [error["state"], error["kind"]] for name, error in errors.items()},
        "got": params.get("got"),
        "item": params.get("item"),
        "place": params.get("item_index"),
        "list": params["list"],
    }
    if "grow" in params:
        result["steps"] = json.loads(params["grow"])
    return result


def do_noop(params, context):
    return params["i"]


def do_compute(params, context):
    value = params["i"]
    for _ in range(params["rounds"]):
        value = (value * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
    return value


def do_nap(params, context):
    time.sleep(params["ms"] / 1000)
    return params["i"]


async def do_async_nap(params, context):
    await asyncio.sleep(params["ms"] / 1000)
    return params["i"]


def do_print(params, context):
    for line in range(params["lines"]):
        print("task", params["i"], "line", line)
    return params["i"]


def do_big(params, context):
    piece = "%d," % params["i"]
    return (piece * params["size"])[:params["size"]]


def do_fail(params, context):
    raise ValueError("task %d" % params["i"])


def do_picky(params, context):
    if params["item"] == 0:
        raise ValueError("task %d" % params["i"])
    return params["i"]


def do_fail_until(params, context):
    if context.attempt < params["until"]:
        raise RuntimeError("task %d" % params["i"])
    return context.attempt


def do_sys_exit(params, context):
    sys.exit(3)


def do_polite(params, context):
    """Stops when it is asked to, or after a while."""
    end = time.monotonic() + params["ms"] / 1000
    while time.monotonic() < end:
        if context.cancelled:
            return "stopped"
        time.sleep(0.002)
    return "in time"


def wait_in_small_steps():
    end = time.monotonic() + ENDLESS
    while time.monotonic() < end:
        time.sleep(0.005)


def do_soft(params, context):
    wait_in_small_steps()
    return "never interrupted"


def do_soft_caught(params, context):
    try:
        wait_in_small_steps()
    except TimeoutError:
        return "cleaned up"
    return "never interrupted"


async def do_async_soft(params, context):
    await asyncio.sleep(ENDLESS)
    return "never interrupted"


async def do_endless(params, context):
    await asyncio.sleep(10 * 3600)  # on the slowest machine, somebody has ended it before
    return "never ended"


def do_catch_all(params, context):
    end = time.monotonic() + ENDLESS
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
    return "never killed"


def do_hold_gil(params, context):
    ctypes.PyDLL(None).sleep(int(ENDLESS))
    return "never killed"


def do_exit(params, context):
    os._exit(7)


def do_kill_itself(params, context):
    os.kill(os.getpid(), signal.SIGKILL)


def do_segfault(params, context):
    ctypes.string_at(0)


def do_abort(params, context):
    os.abort()


def do_garbage(params, context):
    noise = random.Random(params["i"])
    for fd in range(1, 256):
        try:
            os.set_blocking(fd, False)
            os.write(fd, noise.getrandbits(8 * 5000).to_bytes(5000, "little"))
        except OSError:
            pass
    time.sleep(ENDLESS)
    return "never killed"


def descriptors():
    """All but the standard ones and the notes."""
    return [int(name) for name in os.listdir("/proc/self/fd") if 2 < int(name) < 300]


def write_to_pipes(data):
    """Into whatever pipe this process may write to, of which one is that of the results."""
    for fd in descriptors():
        try:
            writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            if writes and stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            pass


def attack_flags(params, context):
    for name in os.listdir("/proc/self/fd"):
        try:
            os.set_blocking(int(name), True)
        except OSError:
            pass


def attack_half_frame(params, context):
    write_to_pipes(struct.pack("<I", 70) + b"\1\0\0")


def attack_forged_count(params, context):
    """A result whose data is said to be longer than its frame."""
    write_to_pipes(struct.pack("<IIQQQ", 28, 1, 1, 1, 2**62))


def attack_huge_frame(params, context):
    write_to_pipes(struct.pack("<I", 2**32 - 1))


def attack_other_pipe(params, context):
    null = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors():
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.dup2(null, fd)
        except OSError:
            pass


def attack_closed(params, context):
    os.closerange(3, 256)


def attack_logs(params, context):
    for line in range(3000):
        context.log("attack %d" % line)


def attack_prints(params, context):
    for line in range(3000):
        print("attack", line, "." * 100)


def attack_writes(params, context):
    for _ in range(100):
        os.write(1, b"attack\n" * 2000)


def attack_daemon(params, context):
    """A process in a session of its own, whose parent is gone."""
    script = 'sleep 1000 & exec sleep 1000; : "$0"'
    subprocess.Popen(["setsid", "sh", "-c", "(%s) & :" % script, HERE], stdin=subprocess.DEVNULL).wait()


def attack_environment(params, context):
    os.environ.clear()
    with open("/proc/self/stat") as file:
        numbers = file.read().rpartition(")")[2].split()
    begin, end = int(numbers[47]), int(numbers[48])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(begin)
        memory.write(b"x" * (end - begin))


def attack_status_page(params, context):
    noise = random.Random(params["i"])
    with open("/proc/self/maps") as file:
        shared = [line for line in file if "memfd:axion-status" in line]
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        for line in shared:
            begin, end = (int(number, 16) for number in line.split()[0].split("-"))
            memory.seek(begin)
            memory.write(noise.getrandbits(8 * 4096).to_bytes(4096, "little"))


ATTACKS = [
    attack_flags,
    attack_logs,
    attack_prints,
    attack_daemon,
    attack_environment,
    attack_status_page,
    attack_half_frame,
    attack_forged_count,
    attack_huge_frame,
    attack_other_pipe,
    attack_closed,
    attack_writes,
]


def do_attack(params, context):
    """Whatever it does, the engine goes on. The task succeeds, or its worker is lost."""
    ATTACKS[params["how"]](params, context)
    return params["i"]


def do_subprocess(params, context):
    """Leaves processes behind, in the worker's group and outside of it, which must go with the worker."""
    for outside in (False, True):
        subprocess.Popen(["sh", "-c", "sleep 1000; :", HERE], stdin=subprocess.DEVNULL, start_new_session=outside)
    return params["i"]
