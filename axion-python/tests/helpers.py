"""Functions that workers import by name."""

import asyncio
import os
import threading


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


class Stubborn(Exception):
    """An exception that a pickle cannot rebuild."""

    def __init__(self, one, two):
        super().__init__("%s and %s" % (one, two))


def fail_stubbornly():
    raise Stubborn("this", "that")


def fail_with(error):
    raise error


prepared = []


def prepare(value):
    prepared.append(value)


def what_was_prepared():
    return list(prepared)


def die():
    os.kill(os.getpid(), 9)


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
    """Becomes, where it is unpickled for the second time, the name of the thread that does it."""

    def __init__(self, here=False):
        self.here = here

    def __reduce__(self):
        return (unpickled_in, ()) if self.here else (Pickled, (True,))


def same(value):
    return value
