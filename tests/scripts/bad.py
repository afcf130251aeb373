"""Tasks that misbehave: {"do": NAME, ...}. Each says first which processes it has."""

import ctypes
import fcntl
import gc
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time


def main(params, context):
    return globals()["do_" + params["do"]](params, context)


def announce(*more):
    print(os.getpid(), *more)


def do_hold_the_lock(params, context):
    process = subprocess.Popen(["sleep", "1000"])
    announce(process.pid)
    ctypes.PyDLL(None).sleep(1000)


def do_crash_when_asked_for_stacks(params, context):
    handler = ctypes.CDLL(None).signal
    handler.argtypes = ctypes.c_int, ctypes.c_void_p
    handler(signal.SIGRTMAX - 2, 8)
    announce()
    ctypes.PyDLL(None).sleep(1000)


def do_ignore_signals(params, context):
    child = subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; sleep 1000"])
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    announce(child.pid)
    time.sleep(1000)


def do_catch_everything(params, context):
    announce()
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


def do_sleep(params, context):
    announce()
    time.sleep(1000)


def do_compute(params, context):
    announce()
    while True:
        pass


def do_clean_up(params, context):
    try:
        while True:
            pass
    except TimeoutError:
        return "cleaned up"


def do_ask_the_context(params, context):
    announce()
    while not context.cancelled:
        time.sleep(0.001)
    return "stopped"


def do_fail_until(params, context):
    with open(params["file"], "a") as runs:
        runs.write("x")
    if context.attempt < params["attempt"]:
        raise RuntimeError("attempt %d" % context.attempt)
    return context.attempt


def do_wait_once(params, context):
    """The first attempt waits for ever, the next one ends."""
    mark = os.path.join(params["folder"], context.task_id)
    if os.path.exists(mark):
        return "second attempt"
    open(mark, "w").close()
    announce()
    threading.Event().wait()


def do_exit(params, context):
    os._exit(params["code"])


def do_touch_and_exit(params, context):
    if params["touches"]:
        open(params["file"], "w").close()
    os._exit(1)


def do_abort(params, context):
    os.abort()


def do_segfault(params, context):
    ctypes.string_at(0)


def do_kill_itself(params, context):
    os.kill(os.getpid(), signal.SIGKILL)


def do_overflow_the_c_stack(params, context):
    # Also where there is no limit for stacks, which would let this take all memory.
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, hard))
    # A C comparison callback that calls the sort that calls it.
    libc = ctypes.CDLL(None)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    data = (ctypes.c_int * 2)(2, 1)
    sys.setrecursionlimit(1 << 30)

    def compare(_one, _other):
        libc.qsort(data, 2, 4, callback)
        return 0

    callback = kind(compare)
    libc.qsort(data, 2, 4, callback)


def do_close_everything(params, context):
    os.closerange(0, 256)
    return "unheard"


def do_replace_stdout(params, context):
    sys.stdout = open(os.devnull, "w")
    return None


def do_leave_threads(params, context):
    for _ in range(5):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return None


def do_leave_zombies(params, context):
    for _ in range(5):
        if os.fork() == 0:
            os._exit(0)
    return None


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def do_unprintable_exception(params, context):
    raise Unprintable()


def do_unpicklable_exception(params, context):
    class Local(Exception):
        def __init__(self, one, two):
            super().__init__("only one argument")

    raise Local(1, 2)


KEPT = []


def do_allocate(params, context):
    announce()
    while True:
        KEPT.append(b"x" * (8 << 20))
        time.sleep(0.005)


def do_allocate_up_to_a_limit(params, context):
    """Takes all there is, down to the last small object."""
    pages = int(open("/proc/self/statm").read().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20), hard))
    kept = []
    for size in (1 << 20, 1 << 12, 1 << 6):
        try:
            while True:
                kept.append(bytearray(size))
        except MemoryError:
            if size == 1 << 6:
                raise


def do_lift_the_limit(params, context):
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def do_scribble(params, context):
    """Writes over the runtime's own notes, as one that writes to every descriptor does."""
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "axion-status" in os.readlink("/proc/self/fd/" + fd):
                os.pwrite(int(fd), bytes(4096) if params.get("zeros") else os.urandom(4096), 0)
        except OSError:
            pass
    if params["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1000)


def do_make_every_pipe_block(params, context):
    """Clears O_NONBLOCK on everything that it can reach, then gives the engine something to read."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
        except OSError:
            pass  # the descriptor of the listing itself
    os.write(1, b"to standard output\n")
    os.write(2, b"to standard error\n")
    announce()
    if params["stays"]:
        time.sleep(1000)


def pipes(mode):
    """The descriptors of the runtime's pipes that are open for reading, or for writing."""
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
        try:
            if fd > 2 and stat.S_ISFIFO(os.fstat(fd).st_mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == mode:
                yield fd
        except OSError:
            pass  # the descriptor of the listing itself


def do_write_half_a_frame(params, context):
    announce()
    for fd in pipes(os.O_WRONLY):
        try:
            os.write(fd, (100_000).to_bytes(4, "little") + b"half")
        except OSError:
            pass  # an inherited pipe of something else
    if params["stays"]:
        time.sleep(1000)


def do_redirect_the_pipes(params, context):
    """Keeps the pipes open, so that the engine does not see their end."""
    announce()
    for fd in list(pipes(os.O_WRONLY)):
        KEPT.append(os.dup(fd))
        os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
    if params["stays"]:
        time.sleep(1000)


def do_redirect_the_pipes_and_wait_until_alone(params, context):
    """Waits until no other task runs in its worker, which has several slots. Makes an empty file after each of the two."""
    do_redirect_the_pipes({"stays": False}, context)
    open(params["redirected"], "w").close()
    server = next(it for it in gc.get_objects() if type(it).__name__ == "Threaded")
    is_alone = False
    while not is_alone:
        time.sleep(0.001)
        with server._lock:
            is_alone = len(server._running) == 1
    open(params["alone"], "w").close()
    time.sleep(1000)


def do_flood_the_control_socket(params, context):
    """Writes to the sockets of this process what an answer to a ping looks like, or garbage, or half a frame, and goes on."""
    announce()
    pong = struct.pack("<IIQ", 12, 1, 7)
    bytes_to_write = {"answers": pong * 1000, "garbage": b"\xff" * 1000, "half": pong[:6]}[params["writes"]]
    while True:
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                with socket.socket(fileno=os.dup(fd)) as one:
                    if one.type == socket.SOCK_STREAM:
                        one.send(bytes_to_write)
            except OSError:
                pass
        if params["writes"] == "half":
            time.sleep(1000)


def do_fail_with_many_causes(params, context):
    announce()
    # `Failed` of attempt 1 of this process: no texts, very many causes without texts, no exception.
    body = struct.pack("<IQQIQQQQ", 2, 1, 0, 0, 0, 0, 0, params["causes"]) + bytes(16 * params["causes"] + 8)
    result_pipe = next(pipes(os.O_WRONLY))
    frame = memoryview(struct.pack("<I", len(body)) + body)
    while frame:
        frame = frame[os.write(result_pipe, frame):]
    time.sleep(1000)


def do_eat_the_next_task(params, context):
    def eat(fd):
        if os.read(fd, 1 << 16):
            with open(params["mark"], "w"):
                pass

    for fd in pipes(os.O_RDONLY):
        threading.Thread(target=eat, args=(fd,), daemon=True).start()
    time.sleep(0.1)  # until they wait in the pipes


def do_count_and_wait(params, context):
    with open(params["file"], "a") as runs:
        runs.write("x")
    announce()
    threading.Event().wait()


def do_leak(params, context):
    KEPT.append(b"x" * (params["megabytes"] << 20))
    return os.getpid()


def do_escape(params, context):
    """Leaves a grandchild behind that is in no group and no session of ours."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execvp("sleep", ["sleep", "1000"])
        os._exit(0)
    announce(int(os.read(reader, 20)))
    if params.get("waits"):
        time.sleep(1000)


def do_surroundings(params, context):
    return [os.nice(0), os.environ.get("COLOUR"), os.getcwd()]


def do_print_much(params, context):
    line = "x" * 8191
    for _ in range(params["megabytes"] * 128):
        print(line)
    return None
