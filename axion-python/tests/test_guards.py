"""Where an engine must not start: it refuses in words, and never hangs or starts its own program without end."""

import os
import subprocess
import sys

import pytest
from helpers import LONG, run_program, skip_without

START = """
try:
    with axion.Engine(cpu_bound_count=1) as engine:
        print(engine.submit(pow, 2, 3).result())
except axion.EngineError as error:
    print(error.code, error)
"""


@pytest.mark.parametrize("patch, name", [
    ("import gevent.monkey; gevent.monkey.patch_all()", "gevent"),
    ("import eventlet; eventlet.monkey_patch()", "eventlet")])
@pytest.mark.parametrize("order", ["{patch}; import axion", "import axion; {patch}"])
def test_replaced_threads_are_refused(tmp_path, patch, name, order):
    skip_without(name)
    out = run_program(order.format(patch=patch) + START, tmp_path, "-W", "ignore")
    assert out.startswith("start_failed %s has replaced the threads of this program" % name)


@pytest.mark.parametrize("patch", ["import gevent.monkey; gevent.monkey.patch_all(thread=False)",
                                   "import eventlet; eventlet.monkey_patch(thread=False)"])
def test_with_real_threads_it_works_beside_them(tmp_path, patch):
    skip_without(patch.split()[1].split(".")[0].rstrip(";"))
    assert run_program(patch + "; import axion" + START, tmp_path, "-W", "ignore") == "8\n"


def test_a_frozen_program_has_to_name_an_interpreter(tmp_path):
    out = run_program("import axion, sys; sys.frozen = True" + START, tmp_path)
    assert out.startswith("start_failed this program is frozen") and "setting `python`" in out
    source = START.replace("cpu_bound_count=1", "cpu_bound_count=1, python=%r" % sys.executable)
    assert run_program("import axion, sys; sys.frozen = True" + source, tmp_path) == "8\n"


def host(folder, name, source):
    """A program of its own that embeds Python: whatever it is called with, it runs `source`."""
    program, path = folder / name, folder / "hosted.py"
    path.write_text("import sys; sys.executable = %r\n" % str(program) + source)
    program.write_text("#!/bin/sh\nexec %s -W error %s \"$@\"\n" % (sys.executable, path))
    program.chmod(0o755)
    done = subprocess.run([program], capture_output=True, text=True, timeout=LONG)
    assert (done.stderr, done.returncode) == ("", 0), done
    return done.stdout


def test_a_host_that_is_no_interpreter_has_to_name_one(tmp_path):
    out = host(tmp_path, "server", "import axion" + START)
    assert out.startswith("start_failed %s/server does not look like a Python interpreter" % tmp_path)


def test_a_host_that_looks_like_one_does_not_start_itself_again_and_again(tmp_path):
    out = host(tmp_path, "happy", """
with open(%r, "a") as file: file.write("x")
import axion
try:
    with axion.Engine(cpu_bound_count=1) as engine:
        print(engine.submit(pow, 2, 3).result())
except axion.RemoteError as error:
    print(error.code, error)
""" % str(tmp_path / "starts"))
    assert out.startswith("worker_start_failed") and "happy is no Python interpreter" in out, out
    assert "setting `python`" in out
    assert os.path.getsize(tmp_path / "starts") <= 3


def test_a_process_of_multiprocessing_without_a_guard_says_so(tmp_path):
    done = run_program("""
import axion, multiprocessing
with axion.Engine(cpu_bound_count=1) as engine:
    print(engine.submit(pow, 2, 3).result())
process = multiprocessing.get_context("spawn").Process(target=print)
process.start()
process.join()
""", tmp_path, check=False)
    assert done.stdout == "8\n" and "An attempt has been made to start a new process before" in done.stderr


def test_children_of_a_task_may_have_engines(tmp_path):
    assert run_program("""
import axion, multiprocessing, os, subprocess, sys
def spawned():
    here, there = multiprocessing.Pipe()
    def nested():
        with axion.Executor(1) as executor:
            there.send(executor.submit(pow, 2, 3).result())
    process = multiprocessing.get_context("fork").Process(target=nested)
    process.start()
    forked = here.recv()
    process.join()
    source = "import axion; print(axion.Executor(1).submit(pow, 2, 4).result())"
    return forked, subprocess.check_output([sys.executable, "-c", source])
with axion.Executor(1) as executor:
    print(executor.submit(spawned).result())
""", tmp_path) == "(8, b'16\\n')\n"
