"""Runs the tests of functions on every Python that the package supports, with the oldest and the newest cloudpickle.

    python3 axion-python/tests/function_pythons.py MATURIN FOLDER [pytest options]

Builds one wheel, which serves all of them, and keeps a virtual environment for each in FOLDER. A Python that is not on
this machine is said loudly.
"""

import glob
import os
import pathlib
import re
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
PACKAGE = TESTS.parent
WANTED = ["3.11", "3.12", "3.13", "3.14"]
CLOUDPICKLES = ["3.1.0", "3.1.3"]
# What the tests need besides the package; pinned as for `make test-python`.
NEEDED = ["coverage", "joblib", "numpy", "pytest", "pytest-timeout", "pytest-xdist", "tqdm"]


def candidates():
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for version in WANTED:
        yield from glob.glob(os.path.join(root, "versions", version + "*", "bin", "python"))
        yield "python" + version


def interpreters():
    """Version -> one interpreter of it."""
    found = {}
    for python in candidates():
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            said = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip()
        except OSError:
            continue
        if said in WANTED:
            found.setdefault(said, python)
    return found


def pinned():
    text = (PACKAGE / "requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if re.split("==", line)[0] in NEEDED]


def environment(folder, python, cloudpickle, wheel):
    """The Python of a virtual environment with the wheel in it."""
    inside = folder / "bin" / "python"
    if not (folder / "made").exists():
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip(inside, *pinned(), "cloudpickle==" + cloudpickle)
        (folder / "made").touch()
    pip(inside, "--force-reinstall", "--no-deps", wheel)
    return inside


def pip(python, *what):
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


def main():
    maturin, folder, *options = sys.argv[1:]
    folder = pathlib.Path(folder).resolve()
    wheels = folder / "wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    subprocess.run([maturin, "build", "--quiet", "--interpreter", sys.executable, "--out", wheels], cwd=PACKAGE, check=True)
    (wheel,) = wheels.glob("*.whl")
    found, failed = interpreters(), []
    for version in WANTED:
        if version not in found:
            print("PYTHON %s IS NOT HERE: nothing is tested with it" % version, flush=True)
            continue
        for cloudpickle in CLOUDPICKLES:
            name = "python %s, cloudpickle %s" % (version, cloudpickle)
            print(name, flush=True)
            python = environment(folder / ("%s-%s" % (version, cloudpickle)), found[version], cloudpickle, wheel)
            tests = [TESTS / "found", TESTS / "differential"]
            done = subprocess.run([python, "-m", "pytest", "--quiet", "-c", PACKAGE / "pyproject.toml", *tests, *options])
            if done.returncode:
                failed.append(name)
    print("failed: " + "; ".join(failed) if failed else "all passed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
