"""Fixtures: a shared engine and executor, scripts, gates, and an interrupt."""

import os
import signal
import sys
import threading

import pytest

import axion

sys.path.insert(0, os.path.dirname(__file__))
# What a shell starts in the background ignores it, and so would every program that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def engine():
    with axion.Engine(cpu_bound_count=2, cpu_bound_max=2, io_bound_count=1, io_bound_max=1, cancel_grace=0.2) as engine:
        yield engine


@pytest.fixture
def executor():
    with axion.Executor(2, cancel_grace=0.2) as executor:
        yield executor


@pytest.fixture
def script(tmp_path):
    def write(source, name="my_script.py"):
        path = tmp_path / name
        path.write_text(source, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def ctrl_c():
    """Interrupts the main thread until its handler runs: a signal just before the thread sleeps does not wake it."""
    heard, main = threading.Event(), threading.main_thread().ident

    def handler(*_):
        if not heard.is_set():
            heard.set()
            raise KeyboardInterrupt

    def press():
        while not heard.is_set():
            signal.pthread_kill(main, signal.SIGINT)
            heard.wait(0.05)

    before = signal.signal(signal.SIGINT, handler)
    yield press
    heard.set()
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def gate(tmp_path):
    """Makes tasks wait: call `helpers.at_gate(path)` in the task, `begun()` and then `open()` in the test."""
    path = str(tmp_path / "gate")
    os.mkfifo(path)
    os.mkfifo(path + ".begun")
    fd, there = os.open(path, os.O_RDWR), os.open(path + ".begun", os.O_RDWR)

    class Gate:
        def __init__(self):
            self.path = path

        def begun(self):
            """Waits until one more task has reached the gate."""
            os.read(there, 1)

        def open(self, times=1):
            os.write(fd, b"x" * times)

    yield Gate()
    # A task that comes after the test finds the gate open.
    os.write(fd, b"x" * 1000)
