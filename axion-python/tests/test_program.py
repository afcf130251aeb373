"""The program `axion` that the package brings along; `make test-python` also has it do the program's own tests."""

import json
import os
import signal
import subprocess
import sys

import pytest
from helpers import LONG

import axion

PROGRAM = os.path.join(os.path.dirname(sys.executable), "axion")
WAYS = pytest.mark.parametrize("way", [[PROGRAM], [sys.executable, "-m", "axion"]], ids=["axion", "python -m axion"])


def run(command, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG, env={**kept, **environment})


@WAYS
def test_it_says_which_it_is_and_what_is_wrong(way):
    assert run(way + ["--version"]).stdout.splitlines()[0] == "axion %s" % axion.__version__
    wrong = run(way + ["run", "there-is-none.py"])
    assert (wrong.returncode, wrong.stdout) == (2, "") and "there-is-none.py" in wrong.stderr
    unknown = run(way + ["walk"])
    assert unknown.returncode == 2 and "Usage: axion" in unknown.stderr


@WAYS
def test_it_runs_a_script_in_its_own_environment(way, script):
    path = script("import sys\ndef main(params, context): return [params['value'], sys.prefix]\n")
    done = run(way + ["run", path, "-p", "value=21"])
    assert (json.loads(done.stdout), done.stderr, done.returncode) == ([21, sys.prefix], "", 0)
    failing = run(way + ["run", script("def main(params, context): 1 / 0\n")])
    assert failing.returncode == 1 and "ZeroDivisionError" in failing.stderr


def test_an_active_environment_goes_before_its_own(script, tmp_path):
    other = tmp_path / "other" / "bin"
    other.mkdir(parents=True)
    (other / "python3").write_text("#!/bin/sh\nAXION_FOUND=other exec %s \"$@\"\n" % sys.executable)
    (other / "python3").chmod(0o755)
    path = script("import os\ndef main(params, context): return os.environ.get('AXION_FOUND')\n")
    assert run([PROGRAM, "run", path], VIRTUAL_ENV=str(other.parent)).stdout == "\"other\"\n"
    assert run([PROGRAM, "run", path]).stdout == "null\n"


@WAYS
def test_a_signal_ends_it_with_the_signals_code(way, script):
    path = script("import time\ndef main(params, context):\n    print('begun', flush=True)\n    time.sleep(60)\n")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with subprocess.Popen(way + ["run", path], stderr=subprocess.PIPE, text=True) as program:
            assert program.stderr.readline() == "begun\n"
            program.send_signal(number)
            assert program.wait(LONG) == code
            assert "Traceback" not in program.stderr.read()


@pytest.mark.parametrize("way", [[PROGRAM, "bench"], [sys.executable, "-m", "axion.bench"]], ids=["program", "module"])
def test_a_bench_measures_the_package_in_its_own_environment(way):
    done = run([*way, "round-trip", "--seconds", "0.1", "--json"])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # The same interpreter: a virtual environment has several names for it.
    assert os.path.dirname(report["machine"]["python"]) == os.path.dirname(sys.executable)
    systems = {row["system"] for row in report["benches"][0]["rows"]}
    assert {"axion", "axion, from Python", "ProcessPoolExecutor", "raw pipe, one process"} == systems
