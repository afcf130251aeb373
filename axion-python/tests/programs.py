"""Programs as a user has them: files in a folder, started in a process of their own."""

import os
import subprocess
import sys
import textwrap

from helpers import LONG


class Program:
    """A folder with a program's files."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, source):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        return path

    def start(self, *arguments, cwd=".", stdin=None, command=(sys.executable,), timeout=LONG, **environment):
        """The ended process. Nothing of the tests' own environment that Axion or Python reads comes along."""
        folder = self.folder / cwd
        folder.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AXION_", "PYTHON"))}
        inherited.pop("COVERAGE_PROCESS_START", None)
        inherited.update({name: str(value) for name, value in environment.items()})
        stdin = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": textwrap.dedent(stdin)}
        return subprocess.run([*command, *map(str, arguments)], cwd=folder, env=inherited, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **stdin)

    def run(self, *arguments, **how):
        """What the program printed, as lines. It must succeed."""
        done = self.start(*arguments, **how)
        assert done.returncode == 0, "printed:\n%s\n%s" % (done.stdout, done.stderr)
        return done.stdout.splitlines()

    def main(self, source, *arguments, **how):
        """Runs a program of one file, `main.py`."""
        self.write("main.py", source)
        return self.run("main.py", *arguments, **how)
