"""Does what its parameters say: {"do": NAME, ...}."""

import ctypes
import os
import random
import subprocess
import sys
import threading
import time

WAITING = threading.Event()


def main(params, context):
    return globals()["do_" + params["do"]](params, context)


def do_double(params, context):
    return {"result": params["value"] * 2, "status": "success"}


def do_sleep(params, context):
    time.sleep(params["seconds"])


def do_params(params, context):
    return params


def do_value(params, context):
    return params["value"]


def do_double_item(params, context):
    return params["item"] * 2


def do_span_sleep(params, context):
    begun = time.monotonic_ns()
    time.sleep(params["seconds"])
    return [begun, time.monotonic_ns()]


def do_announce_once(params, context):
    """Prints its pid and waits, but only the first time."""
    if not os.path.exists(params["mark"]):
        open(params["mark"], "w").close()
        print(os.getpid(), flush=True)
        WAITING.wait()


def do_span(params, context):
    """When it began and ended."""
    begun = time.monotonic_ns()
    time.sleep(params.get("seconds", 0))
    return [begun, time.monotonic_ns()]


def do_context(params, context):
    return [context.task_id, context.worker_id, context.attempt]


def do_pid(params, context):
    return os.getpid()


def do_announce_and_wait(params, context):
    """Prints its pid and never ends by itself."""
    print(os.getpid())
    WAITING.wait()


def do_hold_the_lock(params, context):
    """Starts a subprocess, prints both pids and holds the interpreter lock in C for ever."""
    process = subprocess.Popen(["sleep", "1000"])
    print(os.getpid(), process.pid)
    ctypes.PyDLL(None).sleep(1000)


def do_wait_for_file(params, context):
    """Prints its pid, and ends when the fifo is opened for writing."""
    print(os.getpid(), flush=True)
    with open(params["fifo"]) as fifo:
        return fifo.read()


def do_write_everywhere(params, context):
    mark = str(params["mark"])
    print("print", mark)
    os.write(1, ("fd1 %s\n" % mark).encode())
    os.write(2, ("fd2 %s\n" % mark).encode())
    if params.get("subprocess"):
        subprocess.run(["echo", "subprocess", mark], check=True)
    return mark


def do_write_and_wait(params, context):
    """Writes below Python, and ends when the fifo is opened for writing."""
    os.write(1, b"below on 1\n")
    os.write(2, b"below on 2\n")
    open(params["fifo"]).close()


def do_garbage(params, context):
    """Writes random bytes to every descriptor it can find."""
    noise = random.Random(params["seed"])
    for fd in range(3, 256):
        try:
            os.set_blocking(fd, False)
            os.write(fd, noise.randbytes(5000) if hasattr(noise, "randbytes") else os.urandom(5000))
        except OSError:
            pass
    WAITING.wait()


def do_environment(params, context):
    return os.environ.get(params["name"])


def do_exit(params, context):
    os._exit(params["code"])


def do_die_after_result_of_another(params, context):
    """Kills its own process at once."""
    os.kill(os.getpid(), 9)


def do_raise(params, context):
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("the value is bad") from error


def do_sys_exit(params, context):
    sys.exit(3)


def do_big(params, context):
    return "x" * params["size"]


def do_not_json(params, context):
    return {"rows": [1, {"when": {1, 2}}]}


def do_spin(params, context):
    """Computes for some milliseconds."""
    end = time.perf_counter() + params["seconds"]
    while time.perf_counter() < end:
        pass
    return os.getpid()
