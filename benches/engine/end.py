"""Tasks that end in ways that are measured: {"do": NAME, ...}."""

import os
import time


def main(params, context):
    return globals()["do_" + params["do"]](params)


def do_sleep(params):
    time.sleep(1000)


def do_work(params):
    """A millisecond of waiting, so that workers do not compete for the processor."""
    time.sleep(0.001)


def do_nap(params):
    time.sleep(params["seconds"])


def do_die_once(params):
    """The first attempt notes the time and dies, the second says how long ago that was."""
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    if os.path.exists(params["mark"]):
        with open(params["mark"]) as mark:
            return now - float(mark.read())
    with open(params["mark"], "w") as mark:
        mark.write(repr(time.clock_gettime(time.CLOCK_MONOTONIC)))
    os.kill(os.getpid(), 9)
