"""Python in a notebook, and in many test processes at the same time."""

import itertools
import os
import queue
import subprocess
import sys

import pytest
from helpers import LONG, wait_for_the_end

pytest.importorskip("ipykernel")
jupyter_client = pytest.importorskip("jupyter_client")


class Notebook:
    """A kernel, and cells that it runs."""

    def __init__(self, manager, client):
        self.manager, self._client = manager, client

    def begin(self, source):
        return self._client.execute(source)

    def run(self, source):
        """What the cell printed, and the name of what it raised."""
        return self.end(self.begin(source))

    def end(self, cell, timeout=LONG):
        printed, raised = "", None
        while True:
            message = self._client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed += content["text"]
            elif message["msg_type"] == "error":
                raised = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed, raised

    def interrupt(self, cell):
        """As `end`. There is no sign of its being in a wait; and a signal that comes just before it sleeps does not
        wake it."""
        for patience in itertools.chain([0.2], itertools.repeat(5)):
            try:
                return self.end(cell, patience)
            except queue.Empty:
                self.manager.interrupt_kernel()

    def wait_for(self, text):
        printed = ""
        while text not in printed:
            message = self._client.get_iopub_msg(timeout=LONG)
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    # Nothing of whoever runs this, who may have kernels and settings of their own, or no home.
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    manager, client = jupyter_client.manager.start_new_kernel(
        kernel_name="python3", cwd=str(tmp_path), startup_timeout=LONG)
    try:
        yield Notebook(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_functions_of_cells_can_be_sent_and_defined_anew(notebook):
    assert notebook.run("import axion\nengine = axion.Engine(cpu_bound_count=2).start()") == ("", None)
    assert notebook.run("""
factor = 2
def scaled(n):
    return helper(n) * factor
def helper(n):
    return n + 1
class Point:
    def __init__(self, x): self.x = x
def moved(point):
    return Point(point.x + 1)
print(engine.submit(scaled, 20).result(90))
moved_point = engine.submit(moved, Point(1)).result(90)
print(type(moved_point) is Point, moved_point.x)
""") == ("42\nTrue 2\n", None)
    # A cell that is run again: the function itself, then what it calls, then what it reads.
    assert notebook.run("def scaled(n):\n    return -helper(n) * factor\nprint(engine.submit(scaled, 20).result(90))") == (
        "-42\n", None)
    assert notebook.run("def helper(n):\n    return n + 2\nprint(engine.submit(scaled, 20).result(90))") == ("-44\n", None)
    assert notebook.run("factor = 3\nprint(engine.submit(scaled, 20).result(90))") == ("-66\n", None)
    assert notebook.run("print(list(engine.map(lambda n: scaled(n), range(2))))") == ("[-6, -9]\n", None)
    assert notebook.run("print(await engine.run(scaled, 20), await engine.submit(scaled, 20))") == ("-66 -66\n", None)
    assert notebook.run("engine.submit(lambda: 1 / 0).result(90)")[1] == "ZeroDivisionError"


def test_a_cell_can_be_interrupted_and_the_engine_goes_on(notebook):
    notebook.run("import axion, time\nengine = axion.Engine(cpu_bound_count=1, cancel_grace=0.1).start()")
    notebook.run("engine.submit(pow, 1, 1).result(90)")
    cell = notebook.begin("future = engine.submit(time.sleep, 1000)\nprint('waiting', flush=True)\nfuture.result()")
    notebook.wait_for("waiting")
    assert notebook.interrupt(cell)[1] == "KeyboardInterrupt"
    assert notebook.run("print(future.kill(), engine.submit(pow, 2, 5).result(90))") == ("True 32\n", None)
    # A kernel that is shut down takes its workers along.
    pid = int(notebook.run("import os\nprint(engine.submit(os.getpid).result(90))")[0])
    notebook.manager.shutdown_kernel(now=True)
    wait_for_the_end(pid)


def test_test_processes_have_engines_at_one_time(tmp_path):
    pytest.importorskip("xdist")
    (tmp_path / "test_it.py").write_text("""
import os, pytest, axion

@pytest.fixture(scope="session")
def engine():
    with axion.Engine(cpu_bound_count=1) as engine:
        yield engine

def of_this_module(n):
    return n + 1

@pytest.mark.parametrize("n", range(6))
def test_it(engine, n, worker_id):
    assert worker_id.startswith("gw")
    assert engine.submit(of_this_module, n).result(90) == n + 1
    with axion.Executor(1) as executor:
        assert list(executor.map(of_this_module, range(3))) == [1, 2, 3]
""")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "2", "-W", "error", "-p", "no:cacheprovider",
                           tmp_path], capture_output=True, text=True, timeout=LONG, cwd=tmp_path)
    assert "6 passed" in done.stdout and done.returncode == 0, done
