"""What every test module starts from: a folder for scripts, workers that end with the test, gates."""

import os
import shutil
import tempfile
import textwrap
import unittest

from harness import ROOT, Worker


class Gate:
    """Holds a task up: the script waits with `gate(path)`, the test lets one waiter go with `open`."""

    SOURCE = """
def gate(path):
    with open(path, "rb", 0) as file:
        file.read(1)
"""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDWR)  # for reading too: so neither side's open waits for the other

    def open(self, times=1):
        os.write(self._fd, b"x" * times)

    def drain(self):
        """Takes back what no script has read."""
        os.read(self._fd, 1 << 10)

    def close(self):
        os.close(self._fd)


class OneWorker:
    """One worker, `one`, for all tests of a class: whatever a test did to it, it must be able to go on."""

    one = None
    env = None

    def setUp(self):
        super().setUp()
        self.fine = self.script("fine.py", "def main(p, c): return 'fine'")
        if self.one is None:
            type(self).one = Worker(slots=self.slots, cwd="/", env=self.env)

    def tearDown(self):
        super().tearDown()
        try:
            usable = self.one.run(self.fine) == "fine"
            self.one.outputs.clear()
        except (AssertionError, OSError):
            usable = False
        if not usable:
            self.tearDownClass()

    @classmethod
    def tearDownClass(cls):
        if cls.one is not None:
            cls.one.close()
            cls.one = None


class Case(unittest.TestCase):
    slots = 1
    env = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=ROOT)
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def script(self, name, source):
        """Writes a file below the test's folder and returns its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(source, str):
            source = textwrap.dedent(source).encode()
        with open(path, "wb") as file:
            file.write(source)
        return path

    def worker(self, **options):
        """A worker in the test's folder; it is gone when the test ends."""
        options.setdefault("cwd", self.folder)
        options.setdefault("slots", self.slots)
        options.setdefault("env", self.env)
        worker = Worker(**options)
        self.addCleanup(worker.close)
        return worker

    def gate(self, name="gate"):
        gate = Gate(self.path(name))
        self.addCleanup(gate.close)
        return gate

    def gated(self, name="gated.py"):
        """A script that prints `begun`, waits at the gate `params["gate"]` and returns `params`."""
        return self.script(name, Gate.SOURCE + """
def main(params, context):
    print("begun")
    gate(params["gate"])
    return params.get("value")
""")
