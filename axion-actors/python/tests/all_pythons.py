"""Runs the suite once for every CPython 3.8 to 3.13 on this machine, as the workers' interpreter.

    python3 axion-actors/python/tests/all_pythons.py [--require-all] [unittest options]

Looks in pyenv's folder ($PYENV_ROOT or ~/.pyenv) and for pythonX.Y on PATH. Ends with 1 if a run
fails or if there is no Python at all; a missing version is said loudly, and is a failure with
--require-all. The harness itself runs on the Python that runs this.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

WANTED = [(3, minor) for minor in range(8, 14)]
TOO_OLD = [(3, 7), (3, 6), (2, 7)]
HERE = os.path.dirname(os.path.abspath(__file__))
AT_ONCE = 2


def candidates():
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield sys.executable
    yield from sorted(glob.glob(os.path.join(root, "versions", "*", "bin", "python")))
    for version in WANTED + TOO_OLD:
        found = shutil.which("python%d.%d" % version)
        if found:
            yield found


def look(python):
    """The version of a CPython, or None for what is none (a pyenv shim without its version, PyPy)."""
    code = "import sys, platform; print(platform.python_implementation(), '%d %d' % sys.version_info[:2])"
    try:
        said = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(rb"CPython (\d+) (\d+)$", said.stdout.strip())
    return (int(match.group(1)), int(match.group(2))) if match else None


def find():
    """One interpreter for each version there is."""
    found = {}
    for python in candidates():
        version = look(python)
        if version:
            found.setdefault(version, python)
    return found


def run(python, options):
    env = dict(os.environ, AXION_TEST_PYTHON=python)
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-B", "-m", "unittest", "discover", "-s", HERE] + options, env=env,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ended.stdout.decode("utf-8", "replace")
    # A run of no tests is a failure too.
    ran = re.search(r"^Ran ([1-9]\d*) tests?", said, re.M)
    return ended.returncode == 0 and ran is not None, said, time.monotonic() - begun


def refuses(python):
    """An interpreter that is too old must say so."""
    ended = subprocess.run([python, os.path.join(os.path.dirname(HERE), "worker.py"), "x", "y"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return ended.returncode == 94 and b"is too old" in ended.stderr


def main(options):
    require_all = "--require-all" in options
    options = [option for option in options if option != "--require-all"]
    found = find()
    present = [version for version in WANTED if version in found]
    missing = ["%d.%d" % version for version in WANTED if version not in found]
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [(version, pool.submit(run, found[version], options)) for version in present]
        for version, future in runs:
            fine, said, seconds = future.result()
            print("%s  Python %d.%d  %.1f s  %s" % ("ok    " if fine else "FAILED", *version, seconds, found[version]))
            if not fine:
                failed.append("%d.%d" % version)
                print(said)
            sys.stdout.flush()
    for version in TOO_OLD:
        if version in found and not refuses(found[version]):
            failed.append("%d.%d" % version)
            print("FAILED  Python %d.%d does not say that it is too old" % version)
    if missing:
        print("!" * 72)
        print("!!! SKIPPED: no Python %s ON THIS MACHINE: NOT TESTED" % ", ".join(missing))
        print("!" * 72)
    # The closing line that CI counts.
    print("%d passed, %d failed, %d skipped" % (len(present) - len(failed), len(failed), len(missing)))
    return 1 if failed or not present or (require_all and missing) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
