"""Looks into a wheel, and uses it on each Python of this machine, in fresh virtual environments without Rust.

    python3 axion-python/wheel/check.py WHEEL

The Pythons are those that pyenv has and those on PATH. Versions that the package does not support must refuse it; their
interpreters run scripts as workers. A Python that is not on this machine is said loudly.
"""

import email
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "axion-actors" / "python" / "tests"))
import all_pythons  # noqa: E402

LEAST = (3, 11)
LIMIT = 600  # seconds for one command
# What a user does first. The function travels by value, so nothing of this folder is importable in the workers.
PROGRAM = """
import axion

def letters(word):
    return {letter: word.count(letter) for letter in word}

if __name__ == "__main__":
    with axion.Engine(cpu_bound_count=2) as engine:
        assert engine.submit(letters, "eel").result(60) == {"e": 2, "l": 1}
        assert sum(engine.map(abs, range(-1000, 0))) == 500500
        try:
            engine.submit(exec, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").result(60)
            raise SystemExit("a crash is no error")
        except axion.WorkerLost as lost:
            assert "SIGSEGV" in str(lost), lost
    print("works with", axion.__version__)
"""
SCRIPT = "import sys\ndef main(params, context): return [sys.version_info[:2], params['value']]\n"


def look_into(wheel):
    """What the wheel says about itself."""
    name = pathlib.Path(wheel).name
    assert "-cp311-abi3-manylinux" in name, name
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        info = next(each.split("/")[0] for each in files if ".dist-info/" in each)
        said = email.message_from_string(archive.read(info + "/METADATA").decode())
        entries = archive.read(info + "/entry_points.txt").decode()
    for key in ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "Description-Content-Type"):
        assert said[key], "no %s in the metadata" % key
    assert said["Requires-Python"] == ">=%d.%d" % LEAST
    assert "Typing :: Typed" in said.get_all("Classifier"), said.get_all("Classifier")
    assert len(said.get_payload()) > 500, "the description is missing"
    assert "axion=axion._program:main" in entries.replace(" ", ""), entries
    licences = {"LICENSE-MIT", "LICENSE-APACHE", "LICENSES-THIRD-PARTY.txt"}
    assert licences == set(said.get_all("License-File")), said.get_all("License-File")
    for needed in ["axion/py.typed", "axion/__init__.pyi", "axion/bench.py", "axion/_runtime/__init__.py"]:
        assert needed in files, needed
    assert {each for each in files if "/licenses/" in each} == {info + "/licenses/" + each for each in licences}
    strange = [each for each in files if not each.startswith(("axion/", info + "/", "axion.libs/"))]
    assert not strange, strange
    print("%s: %.1f MiB, %d files" % (name, os.path.getsize(wheel) / 2**20, len(files)), flush=True)


def without_rust(folder):
    """An environment in which neither Rust nor anything of this checkout is found."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("AXION_", "CARGO", "RUST", "PYTHON", "VIRTUAL_ENV", "CONDA"))}
    kept["PATH"] = "%s:/usr/bin:/bin" % (folder / "bin")
    kept["HOME"] = str(folder)
    return kept


def run(command, folder, **more):
    done = subprocess.run(command, cwd=folder, env=without_rust(folder), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, **more)
    assert done.returncode == 0, "%s\n%s" % (command, done.stdout)
    return done.stdout


def use(python, version, wheel, workers):
    """Installs the wheel into a fresh environment of this Python, and uses it there."""
    with tempfile.TemporaryDirectory(prefix="axion-wheel-") as made:
        folder = pathlib.Path(made)
        subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=LIMIT)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if version < LEAST:
            done = subprocess.run([*install, "--no-deps", wheel], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=LIMIT)
            # By its tag, or by its metadata.
            refusals = ("is not a supported wheel on this platform", "requires a different Python")
            assert done.returncode and any(each in done.stdout for each in refusals), done.stdout
            print("python %d.%d refuses it, as it should" % version, flush=True)
            return
        # With the settings of this machine's pip: what it needs beside the wheel comes from a registry.
        subprocess.run([*install, "--only-binary", ":all:", wheel], check=True, timeout=LIMIT)
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
        said = run(["python", "-W", "error", "program.py"], folder).strip()
        assert run(["axion", "--version"], folder) == run(["python", "-m", "axion", "--version"], folder)
        ran = ["axion", "run", "script.py", "-p", "value=21"]
        assert json.loads(run(ran, folder)) == [list(version), 21]
        for other, worker in sorted(workers.items()):
            assert json.loads(run([*ran, "--python", worker], folder)) == [list(other), 21]
        run(["axion", "bench", "round-trip", "--seconds", "0.5"], folder)
        run(["python", "-m", "pip", "check", "--disable-pip-version-check"], folder)
        shown = ", ".join("%d.%d" % each for each in sorted(workers))
        print("python %d.%d: %s; workers of %s" % (*version, said, shown), flush=True)


def main(wheel):
    wheel = os.path.abspath(wheel)
    if shutil.which("cargo", path="/usr/bin:/bin"):
        print("RUST IS IN /usr/bin: that the wheel needs none is not shown here", flush=True)
    look_into(wheel)
    found = all_pythons.find()
    for version in all_pythons.WANTED:
        if version not in found:
            print("PYTHON %d.%d IS NOT HERE: the wheel is not tested with it" % version, flush=True)
    wanted = {version: python for version, python in found.items() if version in all_pythons.WANTED}
    assert any(version >= LEAST for version in wanted), "no Python that the package supports"
    for version, python in sorted(wanted.items()):
        use(python, version, wheel, wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
