"""Tasks that write as fast as they can, for ever, in different ways; one that only computes is the baseline."""

import time

BEGUN = time.monotonic_ns()

import mmap
import os
import subprocess
import sys
import threading

# Writes the time to the file again and again: the last one says when this process was stopped.
BEAT = """import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    beats = mmap.mmap(file.fileno(), 8)
while True:
    beats[:8] = time.monotonic_ns().to_bytes(8, "little")
"""


def main(params, context):
    if params["do"] == "threads":
        return threads(params, context)
    write = WRITERS[params["do"]]
    while True:
        write(context)


def compute(context):
    sum(range(1000))


def log(context):
    context.log("x")


def progress(context):
    context.progress(0.5, "x")


def prints(context):
    print("x" * 40, flush=True)


def raw(context):
    os.write(1, b"x" * 4096)


WRITERS = {"compute": compute, "log": log, "progress": progress, "print": prints, "raw": raw}


def threads(params, context):
    """A process of the group that notes until when it ran, and threads that flood. In the file: when the process ran last,
    when the threads did, and when the task began."""
    with open(params["beats"], "r+b") as file:
        beats = mmap.mmap(file.fileno(), 24)
    beats[16:] = BEGUN.to_bytes(8, "little")
    subprocess.Popen([sys.executable, "-S", "-c", BEAT, params["beats"]])

    def flood(writers):
        while True:
            for write in writers:
                beats[8:16] = time.monotonic_ns().to_bytes(8, "little")
                write(context)

    for number in range(params["threads"]):
        threading.Thread(target=flood, args=([[log], [prints], [raw], [progress]][number % 4],), daemon=True).start()
    time.sleep(1000)
