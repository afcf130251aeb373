"""Where Python is used otherwise than as a program: notebooks, and many test processes at one time."""

import os
import subprocess
import sys
import time

import pytest

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

    def end(self, cell):
        printed, raised = "", None
        while True:
            message = self._client.get_iopub_msg(timeout=40)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed += content["text"]
            elif message["msg_type"] == "error":
                raised = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed, raised

    def wait_for(self, text):
        printed = ""
        while text not in printed:
            message = self._client.get_iopub_msg(timeout=40)
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]


@pytest.fixture
def notebook(tmp_path):
    manager, client = jupyter_client.manager.start_new_kernel(
        kernel_name="python3", cwd=str(tmp_path), startup_timeout=40, env={**os.environ, "IPYTHONDIR": str(tmp_path)})
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
print(engine.submit(scaled, 20).result(20))
moved_point = engine.submit(moved, Point(1)).result(20)
print(type(moved_point) is Point, moved_point.x)
""") == ("42\nTrue 2\n", None)
    # A cell that is run again: the function itself, then what it calls, then what it reads.
    assert notebook.run("def scaled(n):\n    return -helper(n) * factor\nprint(engine.submit(scaled, 20).result(20))") == (
        "-42\n", None)
    assert notebook.run("def helper(n):\n    return n + 2\nprint(engine.submit(scaled, 20).result(20))") == ("-44\n", None)
    assert notebook.run("factor = 3\nprint(engine.submit(scaled, 20).result(20))") == ("-66\n", None)
    assert notebook.run("print(list(engine.map(lambda n: scaled(n), range(2))))") == ("[-6, -9]\n", None)
    assert notebook.run("print(await engine.run(scaled, 20), await engine.submit(scaled, 20))") == ("-66 -66\n", None)
    assert notebook.run("engine.submit(lambda: 1 / 0).result(20)")[1] == "ZeroDivisionError"


def test_a_cell_can_be_interrupted_and_the_engine_goes_on(notebook):
    notebook.run("import axion, time\nengine = axion.Engine(cpu_bound_count=1, cancel_grace=0.1).start()")
    notebook.run("engine.submit(pow, 1, 1).result(20)")
    cell = notebook.begin("future = engine.submit(time.sleep, 60)\nprint('waiting', flush=True)\nfuture.result()")
    notebook.wait_for("waiting")
    time.sleep(0.2)  # it is to be in the wait, of which there is no sign
    begun = time.monotonic()
    notebook.manager.interrupt_kernel()
    assert notebook.end(cell)[1] == "KeyboardInterrupt"
    assert time.monotonic() - begun < 5
    assert notebook.run("print(future.kill(), engine.submit(pow, 2, 5).result(20))") == ("True 32\n", None)
    # A kernel that is shut down takes its workers along.
    pid = int(notebook.run("import os\nprint(engine.submit(os.getpid).result(20))")[0])
    notebook.manager.shutdown_kernel(now=True)
    while os.path.exists("/proc/%d" % pid):
        assert time.monotonic() - begun < 20
        time.sleep(0.01)


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

@pytest.mark.parametrize("n", range(20))
def test_it(engine, n, worker_id):
    assert worker_id.startswith("gw")
    assert engine.submit(of_this_module, n).result(20) == n + 1
    with axion.Executor(1) as executor:
        assert list(executor.map(of_this_module, range(3))) == [1, 2, 3]
""")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "2", "-W", "error", "-p", "no:cacheprovider",
                           tmp_path], capture_output=True, text=True, timeout=55, cwd=tmp_path)
    assert "20 passed" in done.stdout and done.returncode == 0, done
